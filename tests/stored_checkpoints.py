"""Checkpoints in all formats, for tests: a walk of two layers, one file a point."""

import flax.serialization
import numpy as np
import orbax.checkpoint as ocp
import pytest

STEPS = 24
SHAPES = {"encoder.weight": (4, 5), "encoder.bias": (4,), "head.weight": (3, 4)}


def walk(steps=STEPS, seed=0, dtype=np.float32):
    """{name: (steps + 1, ...)} of random walks."""
    random = np.random.default_rng(seed)
    return {
        name: np.cumsum(random.normal(size=(steps + 1, *shape)), axis=0).astype(dtype)
        for name, shape in SHAPES.items()
    }


def nested(point):
    tree = {}
    for name, array in point.items():
        layer, _, leaf = name.partition(".")
        tree.setdefault(layer, {})[leaf] = array
    return tree


def save_npz(path, point):
    np.savez(path, **point)


def save_compressed(path, point):
    np.savez_compressed(path, **point)


def save_npy(path, point):
    np.save(path, np.concatenate([array.ravel() for array in point.values()]))


def save_msgpack(path, point):
    path.write_bytes(flax.serialization.to_bytes({"params": nested(point)}))


def save_orbax(path, point):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), {"params": nested(point)})


def save_safetensors(path, point):
    pytest.importorskip("safetensors.numpy").save_file(point, path)


def save_torch(path, point):
    """With what PyTorch has besides: statistics, counts, an optimizer, plain numbers."""
    torch = pytest.importorskip("torch")
    state = {name: torch.tensor(array) for name, array in point.items()}
    statistics = {
        "norm.running_mean": torch.ones(3),
        "norm.running_var": torch.ones(3),
        "norm.num_batches_tracked": torch.tensor(7),
    }
    torch.save(
        {
            "model": state | statistics,
            "optimizer": {"state": {0: {"exp_avg": torch.ones(4, 5)}}},
            "epoch": 3,
        },
        path,
    )


SAVE = {
    ".npz": save_npz,
    "compressed.npz": save_compressed,
    ".npy": save_npy,
    ".msgpack": save_msgpack,
    "": save_orbax,
    ".safetensors": save_safetensors,
    ".pt": save_torch,
}


def save_points(directory, kind, path, *, every=10, first=0):
    """Write a checkpoint a point, step_0, step_10, ..., and return the directory."""
    directory.mkdir(exist_ok=True)
    suffix = kind.removeprefix("compressed")
    for number in range(len(next(iter(path.values())))):
        point = {name: np.ascontiguousarray(array[number]) for name, array in path.items()}
        SAVE[kind](directory / f"step_{first + every * number}{suffix}", point)
    return directory
