"""A recorder in a loop gives what the array of all points gives."""

import os
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from stored_checkpoints import nested, walk

import sgd_diffusion as sd
from experiments.summaries import what
from sgd_diffusion.dynamics import measure_paths
from sgd_diffusion.dynamics.count_sketch import CountSketch
from sgd_diffusion.errors import InputError, StorageError
from sgd_diffusion.storage import merge_runs
from sgd_diffusion.storage.paths import path_in_memory
from sgd_diffusion.storage.run_directories import RunDirectory

WINDOW = 12


def points_of(arrays):
    """The points one after the other, in arrays that are changed in place."""
    point = {name: array[0].copy() for name, array in arrays.items()}
    for step in range(len(next(iter(arrays.values())))):
        for name, array in arrays.items():
            point[name][...] = array[step]
        yield point


def recorded(arrays, losses=None, **options):
    with sd.PathRecorder(window=WINDOW, **options) as recorder:
        for step, point in enumerate(points_of(arrays)):
            assert recorder.next_step == step
            recorder.record(point, None if losses is None else losses[step])
    return recorder.run()


def assert_same(found, expected):
    xr.testing.assert_allclose(found, expected, rtol=1e-10)
    assert set(found.coords) == set(expected.coords)


def test_all_is_that_of_the_array_in_memory():
    arrays = walk(steps=2 * WINDOW + 5)
    losses = np.linspace(2, 1, 2 * WINDOW + 6) ** 2
    found = recorded(arrays, losses)
    path = path_in_memory(arrays)
    assert_same(found, measure_paths([path], window=WINDOW, losses=[losses]))
    gram = sd.step_gram({name: array[WINDOW : 2 * WINDOW + 1] for name, array in arrays.items()})
    msd = sd.analysis.time_averaged_msd(gram)
    np.testing.assert_allclose(found.msd[1, 0, 0], msd, rtol=1e-10)


RECORD = f"""
import os, signal, sys
import numpy as np
import sgd_diffusion as sd
arrays = dict(np.load(sys.argv[2]))
recorder = sd.PathRecorder(window={WINDOW}, directory=sys.argv[1])
for step in range(41):
    recorder.record({{name: array[step] for name, array in arrays.items()}})
    if step == 2 * {WINDOW} + 7:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_windows_survive_a_kill_and_the_recorder_goes_on(tmp_path):
    arrays = walk(steps=40)
    np.savez(tmp_path / "walk.npz", **arrays)
    process = subprocess.run(
        [sys.executable, "-c", RECORD, tmp_path / "run", tmp_path / "walk.npz"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.returncode == -signal.SIGKILL
    expected = measure_paths([path_in_memory(arrays)], window=WINDOW)
    assert_same(sd.load_run(tmp_path / "run"), expected[{"window": slice(2)}])

    def going_on(**options):
        return sd.PathRecorder(directory=tmp_path / "run", **{"window": WINDOW} | options)

    with pytest.raises(StorageError, match="holds this run already"):
        going_on()
    with pytest.raises(StorageError, match=r"path\.window is 12 there and 13 here"):
        going_on(resume=True, window=13)
    with going_on(resume=True) as recorder:
        assert recorder.num_windows == 2 and recorder.next_step == 2 * WINDOW
        with pytest.raises(InputError, match=r"step 24 has no array 'encoder.bias'; expected all"):
            recorder.record({"other": np.ones(3)})
        for point in list(map(dict, copies(arrays)))[recorder.next_step :]:
            recorder.record(point)
    assert_same(recorder.run(), expected)


def copies(arrays):
    for point in points_of(arrays):
        yield {name: array.copy() for name, array in point.items()}


def test_a_window_that_cannot_be_written_is_kept(tmp_path, monkeypatch):
    arrays = walk(steps=2 * WINDOW)
    recorder = sd.PathRecorder(window=WINDOW, directory=tmp_path / "run", resume=True)
    save, failures = RunDirectory.save_window, [1]

    def full_once(self, index, dataset):
        if failures:
            raise StorageError(f"Cannot write: no space {failures.pop()}.")
        save(self, index, dataset)

    monkeypatch.setattr(RunDirectory, "save_window", full_once)
    for step, point in enumerate(points_of(arrays)):
        if step != WINDOW:
            recorder.record(point)
            continue
        with pytest.raises(StorageError, match="no space"):
            recorder.record(point)
        with pytest.raises(InputError, match=r"run\(\) is called after 13 points"):
            recorder.run()
    assert_same(recorder.run(), measure_paths([path_in_memory(arrays)], window=WINDOW))


def test_a_path_that_diverged_is_nan_from_that_window_on():
    arrays = walk(steps=4 * WINDOW)
    arrays["head.weight"][WINDOW + 3 :, 1, 1] = np.nan
    found = recorded(arrays)
    assert_same(found, measure_paths([path_in_memory(arrays)], window=WINDOW))
    assert found.diverged_at.item() == WINDOW + 2 and found.msd.isnull().any("lag").sum() == 3
    arrays["head.weight"][2 * WINDOW + 5 :, 1, 1] = 1
    with pytest.raises(InputError, match=r"the recorded path has 5 points that are NaN .*: 24, 25"):
        recorded(arrays)


def test_a_sketch_has_the_stated_error():
    arrays = walk(steps=WINDOW) | {"w": walk(steps=WINDOW, seed=1)["head.weight"]}
    dim = 1024
    ratio = recorded(arrays, sketch_dim=dim).msd / recorded(arrays).msd
    assert 0 < abs(ratio - 1).max() < 4 * np.sqrt(2 / dim)


LABELED = {"learning_rate": 0.1, "spacing": 10, "sketch_dim": 8}


def test_labels_of_a_run_and_of_several():
    runs = []
    for seed in (3, 4):
        recorder = sd.PathRecorder(window=10, seed=seed, **LABELED)
        for point in points_of(walk(steps=20, seed=seed)):
            recorder.record(nested(point))
        runs.append(recorder.run())
    assert recorder.next_step == 210
    both = merge_runs(runs)
    assert both.seed.values.tolist() == [3, 4] and both.learning_rate.values.tolist() == [0.1]
    assert both.waiting_time.values.tolist() == [0, 100] and both.lag.values.max() == 100
    assert "layer_msd" not in both  # a sketch has no layers
    assert what(both).startswith(
        "PathRecorder: 21 points, every 10 steps, 36 parameters in 3 arrays of float32; 2 windows "
        "of 10 x 10 steps"
    )


def test_parameters_come_from_any_library():
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    for tensor in model.parameters():
        torch.nn.init.zeros_(tensor)
    arrays = {name: p.detach().numpy() for name, p in model.named_parameters()}
    recorder = sd.PathRecorder(window=10)
    for parameters in (
        model.named_parameters,
        model.state_dict,
        lambda: list(model.named_parameters()),
        lambda: jax.tree.map(jnp.asarray, arrays),
        lambda: dict(reversed(arrays.items())),
        lambda: arrays,
    ):
        sd.PathRecorder(window=10).record(parameters())  # as the first point too
        recorder.record(parameters())
        recorder.record(arrays)
        with torch.no_grad():
            for tensor in model.parameters():
                tensor += 1
    # Every other step is 0, the others are 1 in each of the 12 parameters.
    assert recorder.run().msd.sel(lag=[1, 2, 10]).squeeze().values.tolist() == [6, 12, 300]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"window": 9}, "window is 9; expected an integer in 10"),
        ({"sketch_dim": 0}, "sketch_dim is 0"),
        ({"spacing": 1.5}, "spacing is 1.5"),
        ({"metadata": {"f": print}}, "metadata.f is <built-in"),
    ],
)
def test_options_that_are_refused(given, words):
    with pytest.raises(InputError, match=words):
        sd.PathRecorder(**given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["w"], "parameters is a list without arrays; expected model.named_parameters"),
        ({"w": np.ones(3, int)}, "type int64; expected .* float64"),
        ({"w": np.ones((3, 2))}, r"w in the parameters of step 1 has shape \(3, 2\)"),
        ({"w": np.ones(3, np.float32)}, "type float32; expected .* float64, as in the first step"),
        ({"w": np.ones(3), "v": np.ones(1)}, "step 1 has the array 'v' too; expected the arrays"),
        ({"w": np.ma.masked_equal([1.0, 2, 3], 2)}, "has 1 masked entries"),
    ],
)
def test_parameters_that_are_refused(given, words):
    recorder = sd.PathRecorder()
    recorder.record({"w": np.ones(3)})
    with pytest.raises(InputError, match=words):
        recorder.record(given)
    assert recorder.next_step == 1


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (1.0, None, "loss is missing at step 1; expected one at every step, as at the first"),
        (None, 1.0, "loss is given at step 1; expected one at no step"),
        (1.0, "low", "loss is 'low' at step 1; expected one real number"),
    ],
)
def test_losses_are_there_at_all_steps_or_at_none(first, second, words):
    recorder = sd.PathRecorder()
    recorder.record(np.ones(3), first)
    with pytest.raises(InputError, match=words):
        recorder.record(np.ones(3), second)


def test_too_little_memory_and_a_closed_recorder(tmp_path):
    with pytest.raises(InputError, match="A window of 1000001 points of 1000000 parameters needs"):
        sd.PathRecorder(window=10**6, memory=2**60).record(np.broadcast_to(1.0, 10**6))
    with sd.PathRecorder(memory=1000, directory=tmp_path / "run") as recorder:
        with pytest.raises(InputError, match=r"memory is .*; expected at least"):
            recorder.record(np.ones(3))
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=r"record is called after close\(\)"):
        recorder.record(np.ones(3))


def sketches(monkeypatch, points, dim, seeds):
    """Squared norms of the sketches of points by many projections, relative to those of points."""
    from sgd_diffusion.analysis.streaming import Leaf

    leaves = [Leaf("w", points.shape[1:], points.dtype)]
    found = []
    for seed in range(seeds):
        monkeypatch.setattr("sgd_diffusion.dynamics.count_sketch.SEED", seed)
        sketch = CountSketch(leaves, dim)
        found.append([(sketch([point]) ** 2).sum() for point in points])
    return np.array(found) / (np.abs(points) ** 2).sum(axis=1)


def test_sketches_are_unbiased_with_the_stated_variance(monkeypatch):
    """Also of points whose numbers all lie at the distance `dim`."""
    dim, seeds = 16, 2000
    points = np.random.default_rng(0).normal(size=(3, 320)) + 0j
    points[1] *= np.arange(320) % dim == 3
    points[2] = 1j
    norms = sketches(monkeypatch, points, dim, seeds)
    variance = 2 / dim
    assert (abs(norms.mean(axis=0) - 1) < 4 * np.sqrt(variance / seeds)).all()
    # The kurtosis of a squared norm is at most that of chi^2 with one degree of freedom, 15.
    assert (norms.var(axis=0) < variance * (1 + 4 * np.sqrt(14 / seeds))).all()
    assert (norms.var(axis=0) > variance / 2).all()


def test_a_sketch_is_linear_and_the_same_everywhere():
    from sgd_diffusion.analysis.streaming import Leaf

    leaves = [Leaf("v", (7, 3), np.dtype(np.float32)), Leaf("w", (), np.dtype(np.float32))]
    random = np.random.default_rng(0)
    one, other = ([random.normal(size=leaf.shape) for leaf in leaves] for _ in range(2))
    sketch = CountSketch(leaves, 5)
    both = sketch([2 * a - b for a, b in zip(one, other, strict=True)])
    np.testing.assert_allclose(both, 2 * sketch(one) - sketch(other), atol=1e-12)
    numbers = [np.arange(21, dtype=np.float32).reshape(7, 3), np.array(100, np.float32)]
    assert sketch(numbers).tolist() == CountSketch(leaves, 5)(numbers).tolist()
