"""Paths of others from the command line: what is left behind, and what is refused."""

import os
import pickle
import shutil
import sys
import zipfile

import numpy as np
import pytest
import xarray as xr
from stored_checkpoints import SAVE, save_points, walk

from experiments import analyze_path, command_line, progress
from sgd_diffusion import PathRecorder, tables
from sgd_diffusion.dynamics.stored_paths import measure_paths
from sgd_diffusion.storage.paths import numpy_files, open_path, path_in_memory
from sgd_diffusion.storage.run_directories import load_run


@pytest.fixture
def call(monkeypatch):
    """`call(*arguments)`: the exit code of the program."""
    monkeypatch.setitem(progress.STYLE, "disable", True)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["analyze_path", *map(str, arguments)])
        try:
            command_line.run(analyze_path.analyze_path, analyze_path.Options, analyze_path.__doc__)
        except SystemExit as exit:
            return exit.code
        return 0

    return run


@pytest.fixture
def refused(call, capsys, monkeypatch, tmp_path):
    """`refused(words, *arguments)`: exit code 2, one line with these words, nothing written."""

    def check(words, *arguments):
        monkeypatch.chdir(tmp_path)
        before = sorted(os.listdir(tmp_path))
        assert call(*arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line and line.startswith("error: ") and len(line) < 1000
        assert sorted(os.listdir(tmp_path)) == before

    return check


def brownian(steps, dim=40, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(steps + 1, dim)).cumsum(axis=0).astype(np.float32)


def test_results_tables_figures_and_summary_are_those_of_a_run(call, capsys, tmp_path):
    files = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for seed, file in enumerate(files):
        np.save(file, brownian(230, seed=seed))
    losses = tmp_path / "losses.csv"
    rows = [f"{10 * point},{1 / (1 + point)}" for point in range(231)]
    losses.write_text("\n".join(["step,loss", *rows]))
    directory = tmp_path / "run"
    options = ["--window", 100, "--steps-per-checkpoint", 10, "--losses", losses, losses, "--csv"]
    assert call(*files, *options, "--learning-rate", 0.1, "--directory", directory) == 0
    said = capsys.readouterr().out
    assert "2 paths of 231 points and 40 parameters, 2 windows of 100: read by blocks of " in said
    assert (
        "every 10 steps, 40 parameters in 1 array of float32; 2 windows of 100 x 10 steps" in said
    )
    assert "the last 30 points in none" in said and "learning rate 0.1" in said
    summary = (directory / "summary.txt").read_text()
    assert summary in said and "lags 100-1000" not in summary and "lags 10-100" in summary
    names = {path.name for path in directory.iterdir()}
    assert {"config.json", "exponents.nc", "scaling.csv", "fractal_path.png"} <= names
    run = load_run(directory)
    assert run.waiting_time.values.tolist() == [0, 1000] and run.sizes["seed"] == 2
    assert (run.fragments.sum("contour_bin") == 100 * 101 / 2).all()
    with xr.open_dataset(directory / "exponents.nc", engine="h5netcdf") as table:
        exponent = table.exponent.sel(motion="SGD", range="short")
        assert abs(exponent.mean() - 1) < 0.1 and table.lag_min.values.tolist() == [10, 100]
    assert call(files[0], "--directory", directory) == 2  # a run is there already


def test_checkpoints_without_losses_or_rate(call, capsys, tmp_path):
    run = save_points(tmp_path / "run", ".msgpack", walk(steps=12))
    assert call(run, "--directory", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "learning rate not given" in said and "12 updates" not in said
    found = load_run(tmp_path / "out")
    assert found.layer.values.tolist() == ["encoder", "head"]
    np.testing.assert_allclose(found.layer_msd.sum("layer"), found.msd, rtol=1e-10)
    assert not (tmp_path / "out" / "fractal_path.png").exists()  # too short


@pytest.mark.parametrize("steps", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_training_in_pytorch_has_the_exponents_of_its_array(steps, tmp_path):
    """A small network on the digits, with checkpoints of two kinds and a recorder in the loop."""
    torch, files = (pytest.importorskip(name) for name in ("torch", "safetensors.torch"))
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.tensor(digits.data / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target)
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(64, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Linear(16, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    points, recorder = [], PathRecorder(window=steps)
    for folder in ("pt", "safetensors"):
        (tmp_path / folder).mkdir()
    for step in range(steps + 1):
        points.append({name: p.detach().numpy().copy() for name, p in model.named_parameters()})
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
        torch.save(state, tmp_path / "pt" / f"step_{step}.pt")
        files.save_file(model.state_dict(), tmp_path / "safetensors" / f"step_{step}.safetensors")
        rows = torch.randint(len(labels), (32,))
        loss = torch.nn.functional.cross_entropy(model(images[rows]), labels[rows])
        recorder.record(model.named_parameters(), loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    array = np.stack([np.concatenate([a.ravel() for a in p.values()]) for p in points])
    stored = [open_path(tmp_path / "pt"), open_path(tmp_path / "safetensors")]
    assert {path.size for path in stored} == {array.shape[1]} and len(stored[0].leaves) == 6
    runs = [measure_paths([path], memory=2**26) for path in stored] + [recorder.run()]
    expected = tables.exponents(measure_paths([path_in_memory({"weights": array})]))
    for run in runs:
        table = tables.exponents(run)
        for name in ("exponent", "exponent_error"):
            np.testing.assert_allclose(table[name], expected[name], rtol=0, atol=1e-6)
    assert np.isfinite(expected.exponent).all() and (expected.exponent_error > 0).all()


def truncate(path, share=0.6):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


@pytest.mark.parametrize("kind", [kind for kind in SAVE if kind])
def test_a_checkpoint_that_is_cut_off(refused, tmp_path, kind):
    run = save_points(tmp_path / "run", kind, walk(steps=12))
    damaged = sorted(run.iterdir())[5]
    truncate(damaged)
    refused(f"{damaged} cannot be read (", run)


def test_a_checkpoint_of_orbax_without_its_data(refused, tmp_path):
    # Of one array: with several, what Orbax leaves behind may fail later, in another test.
    name, array = next(iter(walk(steps=12).items()))
    run = save_points(tmp_path / "run", "", {name: array})
    shutil.rmtree(run / "step_50" / "d")
    shutil.rmtree(run / "step_50" / "ocdbt.process_0")
    refused(f"{run / 'step_50'} cannot be read (", run)


@pytest.mark.parametrize("name", ["path.npy", "path.npz", "path.h5"])
def test_a_file_of_all_points_that_is_cut_off(refused, tmp_path, name):
    import h5py

    file = tmp_path / name
    if name == "path.h5":
        with h5py.File(file, "w") as written:
            written["weights"] = brownian(20)
    else:
        {"path.npy": np.save, "path.npz": np.savez}[name](file, brownian(20))
    truncate(file)
    refused(f"{file} cannot be read (", file)


def test_a_file_with_a_damaged_chunk(refused, tmp_path):
    import h5py

    with h5py.File(tmp_path / "path.h5", "w") as file:
        weights = file.create_dataset("weights", data=brownian(20), chunks=(1, 40), compression=1)
        place = weights.id.get_chunk_info(7)
    with open(tmp_path / "path.h5", "r+b") as file:
        file.seek(place.byte_offset)
        file.write(b"damaged " * (place.size // 8))
    refused("path.h5 cannot be read (", "path.h5")


@pytest.mark.parametrize("kind", [".npz", "compressed.npz", ".msgpack", ".safetensors", ".pt"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda point: point | {"head.weight": point["head.weight"][:2]}, "has shape (2, 4)"),
        (lambda point: point | {"head.weight": point["head.weight"].astype("f8")}, "type float64"),
        (lambda point: {"encoder.bias": point["encoder.bias"]}, "has no array"),
    ],
    ids=["shape", "type", "arrays"],
)
def test_arrays_that_change_midway(refused, tmp_path, kind, change, words):
    arrays = walk(steps=12)
    run = save_points(tmp_path / "run", kind, arrays)
    file = run / f"step_70{kind.removeprefix('compressed')}"
    point = {name: np.ascontiguousarray(array[7]) for name, array in arrays.items()}
    SAVE[kind](file, change(point))
    refused(words, run)
    refused(str(file), run)


@pytest.mark.parametrize("kind", [".npz", ".msgpack"])
def test_points_that_are_nan(refused, tmp_path, kind):
    arrays = walk(steps=12)
    arrays["encoder.bias"][[3, 8], 1] = np.nan
    run = save_points(tmp_path / "run", kind, arrays)
    refused("run has 2 points that are NaN or infinite before others that are not: 3, 8", run)


class Harmful:
    """An object whose unpickling makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def save_pickle(path, harmful):
    path.write_bytes(pickle.dumps(harmful))


def save_objects(path, harmful):
    save = np.savez if path.suffix == ".npz" else np.save
    save(path, np.array([harmful], dtype=object))


def save_module(path, harmful):
    pytest.importorskip("torch").save({"model": harmful}, path)


@pytest.mark.parametrize(
    ("name", "save", "words"),
    [
        ("0.npy", save_pickle, "cannot be read (the magic string is not correct"),
        ("0.npy", save_objects, "has dtype object; expected an .npy file as written by numpy.save"),
        ("0.npz", save_objects, "has no array of parameters; left out are arr_0 (is object)"),
        ("0.pt", save_pickle, "cannot be read (it is cut off, or not in the format of PyTorch"),
        ("0.pt", save_module, "cannot be read (Weights only load failed"),
        ("0.msgpack", save_pickle, "cannot be read ("),
        ("0.safetensors", save_pickle, "cannot be read ("),
        ("0.h5", save_pickle, "cannot be read ("),
    ],
)
def test_nothing_is_unpickled(refused, tmp_path, name, save, words):
    if name.endswith((".pt", ".safetensors")):
        pytest.importorskip("torch")
        pytest.importorskip("safetensors")
    run, trace = tmp_path / "run", tmp_path / "trace"
    run.mkdir()
    save(run / name, Harmful(trace))
    shutil.copy(run / name, run / name.replace("0", "1"))
    refused(words, run / name if name.endswith(".h5") else run)
    assert not trace.exists()
    with pytest.raises(FileExistsError):  # unpickling it does do harm
        trace.mkdir()
        pickle.loads(pickle.dumps(Harmful(trace)))


def deflated(source, target):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))


def test_archives_that_grow_when_they_are_unpacked(refused, monkeypatch, tmp_path):
    file = tmp_path / "bomb.npz"
    np.savez_compressed(file, weights=np.zeros((101, 10_000), np.float32))
    assert file.stat().st_size < 10_000
    monkeypatch.setattr(numpy_files, "MAX_UNPACKED", 10**6)
    refused("is compressed and has 0.00376 GiB when unpacked; expected at most", file)
    run = tmp_path / "run"
    run.mkdir()
    for number in range(12):
        np.savez_compressed(run / f"{number}.npz", weights=np.zeros(10**6, np.float32))
    refused("is compressed and has 0.00373 GiB when unpacked", run)


def test_an_archive_whose_header_lies(refused, tmp_path):
    file = tmp_path / "lie.npz"
    header = {"descr": "<f4", "fortran_order": False, "shape": (1001, 10**12)}
    with zipfile.ZipFile(file, "w") as archive, archive.open("weights.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, header)
        member.write(b"\0" * 100)
    refused("has a header that says (1001, 1000000000000) of float32", file)


def test_a_compressed_archive_of_pytorch(refused, tmp_path):
    pytest.importorskip("torch")
    run = save_points(tmp_path / "run", ".pt", walk(steps=12))
    deflated(run / "step_40.pt", tmp_path / "copy.pt")
    shutil.move(tmp_path / "copy.pt", run / "step_40.pt")
    refused("in it is compressed; torch.save never does", run)


def test_fewer_than_two_points(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    refused("empty has no checkpoints; expected a .npy, .npz", "empty")
    save_points(tmp_path / "one", ".npz", walk(steps=0))
    refused("one has 1 point; expected two or more", "one")
    np.save(tmp_path / "one.npy", brownian(0))
    refused("one.npy has 1 point; ", "one.npy")
    np.save(tmp_path / "none.npy", np.zeros((0, 3)))
    refused("none.npy has 0 points; ", "none.npy")
    (tmp_path / "list.txt").write_text("\n")
    refused("list.txt has 0 points", "list.txt")
    np.save(tmp_path / "nine.npy", brownian(8))
    refused("nine.npy has 9 points; expected 11 or more", "nine.npy")


def test_sources_that_are_no_paths(refused, tmp_path):
    refused("nowhere does not exist; expected a .npy", "nowhere")
    refused("no_*.pt has no checkpoints", "no_*.pt")
    (tmp_path / "notes.md").write_text("")
    refused("notes.md has no checkpoints", "notes.md")
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    refused("has no array of parameters; left out are weights (is <U1)", "text.npy")
    np.save(tmp_path / "a.npy", brownian(20))
    refused("a.npy::weights has a name behind ::", "a.npy::weights")
    run = save_points(tmp_path / "run", ".npz", walk(steps=12))
    (tmp_path / "list.txt").write_text("run/step_0.npz\nrun/step_1.npz\n")
    refused("step_1.npz cannot be read ([Errno 2] No such file", "list.txt")
    (run / "step_30.npz").unlink()
    refused("every 10 steps, and 1 of them are missing: 30; expected every one", "run")
    np.save(run / "other.npy", np.zeros(3))
    refused("checkpoints of several kinds, .npy, .npz", "run")


@pytest.mark.parametrize("package", ["safetensors", "torch", "zarr"])
def test_a_package_that_is_not_installed(refused, monkeypatch, tmp_path, package):
    monkeypatch.setitem(sys.modules, package, None)
    run = tmp_path / "run"
    run.mkdir()
    names = {"safetensors": "{}.safetensors", "torch": "{}.pt", "zarr": "zarr.json"}
    for number in range(2):
        (run / names[package].format(number)).write_text("{}")
    refused(f"it to be installed: pip install {package}", run)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1\n2\n", "has losses of shape (2,); expected (21,), one at each point of"),
        ("loss\n1\nx\n", "cannot be read (could not convert string to float: 'x')"),
        ("step,error\n0,1\n", "it has the columns step, error"),
        ("1,2\n", "it has 2 columns and no header"),
        ("", "it is empty"),
        ("step,loss\n1\n", "lines with too few columns"),
        (
            "step,loss\n" + "".join(f"{2 * line},1\n" for line in range(21)),
            "has step 2 in line 2 of its numbers; expected step 1",
        ),
    ],
)
def test_losses_that_do_not_fit(refused, tmp_path, content, words):
    np.save(tmp_path / "path.npy", brownian(20))
    (tmp_path / "losses.csv").write_text(content)
    refused(words, "path.npy", "--losses", "losses.csv")


def test_options_that_do_not_fit(refused, tmp_path):
    np.save(tmp_path / "path.npy", brownian(20))
    np.save(tmp_path / "losses.npy", np.array([{}]))
    np.save(tmp_path / "large.npy", np.zeros((1501, 10), np.float32))
    refused("losses.npy cannot be read (Object arrays cannot", "path.npy", "--losses", "losses.npy")
    refused("is 2 files; expected 1", "path.npy", "--losses", "losses.npy", "losses.npy")
    refused("--window is 9", "path.npy", "--window", 9)
    refused("window (--window) is 21; expected an integer in 10..20", "path.npy", "--window", 21)
    refused("for 1000 steps of 10 parameters; expected at least", "large.npy", "--memory", 0.01)
    refused("large.npy has num_points 1501; expected 21", "path.npy", "large.npy")
    refused("Choose a new directory", "path.npy", "--directory", tmp_path)
