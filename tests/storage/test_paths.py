"""Paths on a disk: every format gives the Gram matrix of the array in memory."""

import h5py
import ml_dtypes
import numpy as np
import pytest
from stored_checkpoints import SAVE, STEPS, save_points, walk

from sgd_diffusion.analysis.gram import step_gram
from sgd_diffusion.analysis.streaming import streamed_gram
from sgd_diffusion.errors import InputError
from sgd_diffusion.storage.paths import open_path, path_in_memory
from sgd_diffusion.storage.paths.steps import in_order, natural_key, regular_steps
from sgd_diffusion.storage.paths.stored_path import cut

MATRICES = 8 * STEPS**2 * 3
MEMORIES = 20_000, 10**7  # in several parts, and in one


def gram(path, memory=20_000, **how):
    return streamed_gram(
        path.read,
        path.num_points,
        path.leaves,
        grain=path.grain,
        memory=MATRICES + memory,
        **how,
    ).step_gram


def assert_is(path, truth, **how):
    np.testing.assert_allclose(gram(path, **how), truth, rtol=1e-10, atol=1e-12 * truth.max())


def write_npz(path, arrays):
    np.savez(path, **arrays)


def write_compressed(path, arrays):
    np.savez_compressed(path, **arrays)


def write_columns(path, arrays):
    np.savez(path, **{name: np.asfortranarray(array) for name, array in arrays.items()})


def write_npy(path, arrays):
    flat = [array.reshape(len(array), -1) for array in arrays.values()]
    np.save(path, np.concatenate(flat, axis=1))


def write_hdf5(path, arrays):
    with h5py.File(path, "w") as file:
        for number, (name, array) in enumerate(arrays.items()):
            chunks = {} if number else {"chunks": (5, *array.shape[1:]), "compression": "gzip"}
            file.create_dataset("run/" + name.replace(".", "/"), data=array, **chunks)


def write_netcdf(path, arrays):
    import xarray as xr

    xr.Dataset(
        {
            name: (("step", *(f"{name} {axis}" for axis in range(array.ndim - 1))), array)
            for name, array in arrays.items()
        },
        {"step": np.arange(STEPS + 1.0)},
    ).to_netcdf(path, engine="h5netcdf")


def write_zarr(path, arrays):
    zarr = pytest.importorskip("zarr")
    root = zarr.open_group(str(path), mode="w")
    for name, array in arrays.items():
        root.create_array(name.replace(".", "/"), data=array)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("path.npy", write_npy),
        ("path.npz", write_npz),
        ("compressed.npz", write_compressed),
        ("columns.npz", write_columns),
        ("path.h5", write_hdf5),
        ("path.h5::/run", write_hdf5),
        ("path.nc", write_netcdf),
        ("path.zarr", write_zarr),
    ],
)
def test_a_file_of_all_points(tmp_path, name, write):
    arrays = walk()
    write(tmp_path / name.partition("::")[0], arrays)
    path = open_path(f"{tmp_path}/{name}", steps_per_checkpoint=3)
    assert path.num_points == STEPS + 1 and path.size == 36 and path.spacing == 3
    assert path.nbytes == 36 * 4 * (STEPS + 1)
    truth = np.asarray(step_gram(arrays))
    for memory in MEMORIES:
        assert_is(path, truth, memory=memory)


@pytest.mark.parametrize("name", ["path.h5::/run/head/weight", "path.zarr::head/weight"])
def test_one_array_of_several(tmp_path, name):
    arrays = walk()
    write = write_hdf5 if ".h5" in name else write_zarr
    write(tmp_path / name.partition("::")[0], arrays)
    path = open_path(f"{tmp_path}/{name}")
    assert [leaf.name for leaf in path.leaves] == ["weight"]
    assert_is(path, np.asarray(step_gram(arrays["head.weight"])))
    with pytest.raises(InputError, match=r"nothing is not there; expected one of .*weight"):
        open_path(f"{tmp_path}/{name.partition('::')[0]}::nothing")


@pytest.mark.parametrize("kind", SAVE)
def test_a_file_a_point(tmp_path, kind):
    """Natural order, whatever the directory says, and steps from the names."""
    arrays = walk()
    path = open_path(save_points(tmp_path / "run", kind, arrays, first=50))
    assert (path.num_points, path.first_step, path.spacing) == (STEPS + 1, 50, 10)
    assert path.size == 36 and (path.grain == 36) == (kind in ("compressed.npz", ".msgpack", ""))
    truth = np.asarray(step_gram(arrays))
    for memory in MEMORIES:
        assert_is(path, truth, memory=memory)
    if kind != ".npy":
        assert {leaf.layer for leaf in path.leaves} == {"encoder", "head"}


@pytest.mark.parametrize("kind", [".npz", ""])
def test_patterns_and_lists(tmp_path, kind):
    arrays = walk()
    run = save_points(tmp_path / "run", kind, arrays)
    (run / "notes.json").write_text("{}")
    suffix = kind.removeprefix("compressed")
    pattern = open_path(f"{run}/step_1?0{suffix}")
    assert (pattern.num_points, pattern.first_step, pattern.spacing) == (10, 100, 10)
    backwards = [f"run/step_{10 * number}{suffix}" for number in range(9, -1, -1)]
    (tmp_path / "list.txt").write_text("\n".join(backwards) + "\n\n")
    path = open_path(tmp_path / "list.txt", steps_per_checkpoint=7)
    assert (path.num_points, path.first_step, path.spacing) == (10, 0, 7)
    truth = np.asarray(step_gram({name: array[9::-1] for name, array in arrays.items()}))
    assert_is(path, truth)


def test_statistics_and_states_are_no_coordinates(tmp_path):
    run = save_points(tmp_path / "run", ".pt", walk(steps=3))
    path = open_path(run)
    assert path.left_out == {
        "model.norm.num_batches_tracked": "is int64",
        "model.norm.running_mean": "batch normalization",
        "model.norm.running_var": "batch normalization",
        "optimizer.state.0.exp_avg": "optimizer",
    }
    chosen = open_path(run, include=["model.*weight", "*running_mean"], exclude=["*head*"])
    names = [leaf.name for leaf in chosen.leaves]
    assert names == ["model.encoder.weight", "model.norm.running_mean"]
    with pytest.raises(InputError, match=r"--include .* is 'nothing\*', which matches no array"):
        open_path(run, include=["nothing*"])
    with pytest.raises(InputError, match=r"no array of parameters; left out are .*is int64"):
        open_path(run, include=["*tracked"])


def test_bfloat16_of_torch_and_of_safetensors(tmp_path):
    torch, files = (pytest.importorskip(name) for name in ("torch", "safetensors.torch"))
    weights = walk()["encoder.weight"]
    truth = np.asarray(step_gram(weights.astype(ml_dtypes.bfloat16)))
    for number, point in enumerate(torch.tensor(weights).to(torch.bfloat16)):
        for folder in ("pt", "safetensors"):
            (tmp_path / folder).mkdir(exist_ok=True)
        torch.save({"w": point.clone()}, tmp_path / "pt" / f"{number}.pt")
        files.save_file({"w": point.clone()}, tmp_path / "safetensors" / f"{number}.safetensors")
    assert_is(open_path(tmp_path / "pt"), truth)
    assert_is(open_path(tmp_path / "safetensors"), truth)


def test_a_path_in_memory():
    arrays = walk()
    assert_is(path_in_memory(arrays), np.asarray(step_gram(arrays)))
    with pytest.raises(InputError, match="has arrays with different first axes"):
        path_in_memory(arrays | {"other": np.zeros((3, 2))})


@pytest.mark.parametrize("shape", [(), (7,), (3, 4), (2, 3, 4), (1, 1, 5)])
def test_any_part_of_a_flattened_array(shape):
    array = np.arange(2 * np.prod(shape, dtype=int)).reshape(2, *shape)
    flat = array.reshape(2, -1)
    for start in range(flat.shape[1]):
        for stop in range(start + 1, flat.shape[1] + 1):
            found = cut(array, shape, start, stop, (slice(0, 2),))
            np.testing.assert_array_equal(found.reshape(2, -1), flat[:, start:stop])


def test_names_are_in_the_order_of_their_numbers():
    assert sorted(["a10", "a9", "a1b2", "a1"], key=natural_key) == ["a1", "a1b2", "a9", "a10"]
    names = [f"run2/epoch={step // 100}-step={step}.pt" for step in (900, 1000, 50, 100)]
    ordered, steps = in_order("run", names)
    assert steps == [50, 100, 900, 1000] and ordered[0] == names[2]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["s1.pt", "s2.pt", "best.pt"], "names of several forms, best.pt beside s#.pt"),
        (["s1-9.pt", "s2-3.pt"], "whose last one does not increase"),
    ],
)
def test_names_without_an_order_are_refused(names, words):
    with pytest.raises(InputError, match=words):
        in_order("run", names)


def test_steps_at_equal_distances():
    assert regular_steps("run", [5, 8, 11]) == (5, 3)
    assert regular_steps("run", [4]) == (4, 1)
    with pytest.raises(InputError, match="every 10 steps, and 3 of them are missing: 20, 50, 60;"):
        regular_steps("run", [0, 10, 30, 40, 70, 80])
    with pytest.raises(InputError, match="and 99999996 of them are missing: 3, 4"):
        regular_steps("run", [0, 1, 2, 10**8 - 1])
    with pytest.raises(InputError, match="irregular steps, 0, 10, 15, 40"):
        regular_steps("run", [0, 10, 15, 40])
