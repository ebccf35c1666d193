"""Planes in files: an interruption of the evaluation costs at most one chunk of points.

This stands apart from `landscape`, which knows arrays and callables only.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from sgd_diffusion._arrays import integer, real_array
from sgd_diffusion._json_values import describe_differences, json_values
from sgd_diffusion._types import ArrayLike, IntegerLike, PyTree
from sgd_diffusion.errors import StorageError, invalid
from sgd_diffusion.landscape.planes import Plane, evaluate_in_chunks
from sgd_diffusion.storage.netcdf import from_netcdf, to_netcdf
from sgd_diffusion.storage.run_directories import (
    environment,
    write_atomically,
)

__all__ = ["resumable_plane"]

HALF = (np.dtype(np.float16), np.dtype(jnp.bfloat16))


def resumable_plane(
    path: str | os.PathLike,
    loss: Callable[[PyTree], Any],
    plane: Plane,
    xs: ArrayLike,
    ys: ArrayLike,
    *,
    chunk: IntegerLike,
    description: Mapping[str, Any],
    at_once: IntegerLike = 1,
    devices: Sequence[jax.Device] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """Return the loss on a grid of points of a plane, and keep it in a NetCDF file.

    The file is brought up to date after every chunk. After an interruption of any kind, another
    call goes on behind the last chunk in the file. It gives the same numbers bit for bit (on the
    same machine and versions). Once the file is complete, a call only reads it.

    Args:
        path: file, written by one process at a time; its directory is made if need be.
        loss: function of a point that returns a floating scalar, called `loss` in the file, or a
            dict of such.
        plane: see `landscape.planes`.
        xs: (X,) coordinates along the first direction.
        ys: (Y,) coordinates along the second one.
        chunk: points after which the file is written.
        description: JSON-like facts that identify loss and data, such as those of a `Problem`. The
            file is continued only under the same ones, by the same plane, grid, chunk and at_once.
        at_once: points that are evaluated side by side.
        devices: devices that share the points; the default one if None.
        progress: called as `progress(finished, total)` with numbers of points, after every chunk
            and at the start.

    Returns:
        A dataset with dimensions y and x, and the attributes `configuration` and `environment` in
        JSON. In the file, points that are not finished are NaN, and the attribute `finished` counts
        the others, row by row.

    Raises:
        InputError: as for `evaluate_in_chunks`; or the description cannot be written in JSON, or
            the loss returns something else.
        StorageError: the file holds something else or is damaged, or cannot be written; it stays as
            it was.
    """
    file = pathlib.Path(path)
    xs, ys = _storable(real_array("xs", xs)), _storable(real_array("ys", ys))
    chunk, at_once = integer("chunk", chunk, 1), integer("at_once", at_once, 1)
    total = xs.size * ys.size
    configuration = {
        "description": json_values("description", dict(description)),
        "plane": _digest(plane),
        "xs": _range(xs),
        "ys": _range(ys),
        "chunk": chunk,
        "at_once": at_once,
    }
    _make_directory(file.parent)
    stored = _read(file, configuration)
    done = 0 if stored is None else int(stored.attrs["finished"])
    chunks = evaluate_in_chunks(
        loss, plane, xs, ys, chunk=chunk, at_once=at_once, done=done, devices=devices
    )
    if stored is None:
        stored = xr.Dataset(
            coords={"y": ys, "x": xs},
            attrs={
                "configuration": json.dumps(configuration),
                "environment": json.dumps(environment()),
            },
        )
    values = {
        name: variable.values.reshape(-1).copy() for name, variable in stored.data_vars.items()
    }
    report = progress or (lambda finished, total: None)
    report(done, total)
    for losses in chunks:
        for name, part in _named(losses).items():
            values.setdefault(name, np.full(total, np.nan, part.dtype))[done : done + len(part)] = (
                part
            )
        done += len(part)
        grids = {
            name: (("y", "x"), each.reshape(ys.size, xs.size)) for name, each in values.items()
        }
        stored = stored.assign(grids).assign_attrs(finished=done)
        stored.attrs["sha256"] = _checksum(stored)
        write_atomically(file, to_netcdf(stored))
        report(done, total)
    return stored


def _storable(values: ArrayLike) -> np.ndarray:
    """Return real numbers in a type that NetCDF has.

    They keep their own type if NetCDF has it. Otherwise numbers of 16 bits become float32, and
    others float64.
    """
    values = np.asarray(values)
    if values.dtype.kind in "iu" or (values.dtype.kind == "f" and values.dtype.itemsize in (4, 8)):
        return values
    return values.astype(np.float32 if values.dtype.itemsize == 2 else np.float64)


def _named(losses: Any) -> dict[str, np.ndarray]:
    """Return what a loss gives for the points of a chunk, by name."""
    named = losses if isinstance(losses, dict) else {"loss": losses}
    named = {
        name: _storable(values) if getattr(values, "dtype", None) in HALF else values
        for name, values in named.items()
    }
    for name, values in named.items():
        if np.ndim(values) != 1 or not np.issubdtype(values.dtype, np.floating):
            shapes = jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape[1:])}", values)
            raise invalid(
                "loss", f"returns {shapes} as {name!r}", "a floating scalar, or a dict of them"
            )
    return named


def _read(path: pathlib.Path, configuration: dict) -> xr.Dataset | None:
    """Return what a file holds, if it is this plane; None if there is no file."""
    try:
        stored = from_netcdf(path.read_bytes())
        if stored.attrs["sha256"] != _checksum(stored):
            raise ValueError("its checksum is wrong")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError) as error:
        raise StorageError(
            f"{path} is no file of a plane, or it is damaged ({error}). Delete it, or choose "
            "another file."
        ) from error
    differences = describe_differences(json.loads(stored.attrs["configuration"]), configuration)
    if differences:
        raise StorageError(
            f"{path} holds a plane of another configuration ({differences}). Choose another file, "
            "or continue with the configuration of the old one."
        )
    return stored


def _make_directory(directory: pathlib.Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"Cannot write to {directory}: {error.strerror}. Choose another directory."
        ) from error


def _checksum(stored: xr.Dataset) -> str:
    """Return the SHA-256 of all that a resumed evaluation relies on."""
    arrays = {name: variable.values for name, variable in stored.variables.items()}
    return _digest((arrays, stored.attrs["configuration"], str(stored.attrs["finished"])))


def _digest(tree: PyTree) -> str:
    """Return the SHA-256 of a pytree of arrays and texts, their names included."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(tree):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _range(values: np.ndarray) -> str:
    """Describe coordinates in short, and to the last bit by a digest."""
    ends = f"{values.ravel()[:1]} to {values.ravel()[-1:]}"
    return f"{values.size} values from {ends}, SHA-256 {_digest(values)[:16]}"
