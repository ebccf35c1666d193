"""The loss on points, lines and planes."""

import functools
import operator
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array

from sgd_diffusion._arrays import integer, own_precision
from sgd_diffusion._pytrees import full_precision, in_precision_of, precision
from sgd_diffusion._types import ArrayLike, IntegerLike, PyTree
from sgd_diffusion.errors import invalid
from sgd_diffusion.landscape.planes.plane import Plane, in_own_precision, interpolate, point_at

__all__ = ["evaluate_in_chunks", "evaluate_line", "evaluate_plane", "evaluate_points"]


def evaluate_points(
    loss: Callable[[PyTree], PyTree],
    point_of: Callable[[Array], PyTree],
    coordinates: ArrayLike,
    *,
    at_once: IntegerLike = 1,
    devices: Sequence[jax.Device] | None = None,
) -> PyTree:
    """Return the loss at many points, computed in groups by one compiled program.

    Memory holds one group at a time.

    Args:
        loss: function of a point that returns a scalar or a pytree of arrays.
        point_of: function of an entry of `coordinates` that returns the point.
        coordinates: (K, ...), in JAX's current precision.
        at_once: number of points in a group, which is vmapped; known before tracing.
        devices: devices that share the points in equal parts; the default one if None.

    Returns:
        What the loss returns, every leaf with a leading axis (K,). NaN and infinite losses stay as
        they are.

    Raises:
        InputError: `coordinates` has no axis, `at_once` is not a positive integer, or there are no
            `devices`.

    Notes:
        On two cores, ResNet-14 on 1000 images of 8 x 8 pixels keeps a core busy for 29 ms a point.
        One after the other on both, points take 20 ms. So the cores of a CPU are better used as
        devices, with a point on each. Groups of vmapped points are slower there.
    """
    size = _positive("at_once", at_once)
    with own_precision("coordinates", coordinates) as coordinates:
        pass
    coordinates = coordinates.astype(jax.dtypes.canonicalize_dtype(coordinates.dtype))
    if coordinates.ndim == 0:
        raise invalid("coordinates", "has shape ()", "(K, ...), the coordinates of K points")
    if devices is not None and not len(devices):
        raise invalid("devices", "is empty", "at least one device, or None")

    def evaluate(coordinates):
        # A group of one is not vmapped, so that it costs what the loss costs alone.
        return jax.lax.map(
            lambda entry: loss(point_of(entry)), coordinates, batch_size=size if size > 1 else None
        )

    with full_precision():
        if devices is None:
            return evaluate(coordinates)
        mesh, points = Mesh(np.asarray(devices), ("points",)), PartitionSpec("points")
        spread = jax.shard_map(
            evaluate, mesh=mesh, in_specs=points, out_specs=points, check_vma=False
        )
        count = len(coordinates)
        surplus = [(0, -count % len(devices))] + [(0, 0)] * (coordinates.ndim - 1)
        losses = jax.jit(spread)(jnp.pad(coordinates, surplus, mode="edge"))
        return jax.tree.map(operator.itemgetter(slice(count)), losses)


def evaluate_plane(
    loss: Callable[[PyTree], PyTree],
    plane: Plane,
    xs: ArrayLike,
    ys: ArrayLike,
    *,
    at_once: IntegerLike = 1,
    devices: Sequence[jax.Device] | None = None,
) -> PyTree:
    """Return the loss on a grid of points of a plane.

    Args:
        loss: function of a point that returns a scalar or a pytree of arrays.
        plane: `Plane`.
        xs: (X,) coordinates along the first direction.
        ys: (Y,) coordinates along the second direction.
        at_once: as in `evaluate_points`.
        devices: as in `evaluate_points`.

    Returns:
        (Y, X), or a pytree of arrays (Y, X, ...). Entry [i, j] belongs to the point at xs[j],
        ys[i], as matplotlib's contour takes it. NaN and infinite losses stay as they are.

    Raises:
        InputError: the three pytrees of the plane do not match, `xs` or `ys` is not
            one-dimensional, or `at_once` is not a positive integer.

    >>> plane = Plane(np.zeros(2), np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    >>> evaluate_plane(lambda w: w[0] + 10 * w[1], plane, xs=[1, 2, 3], ys=[0, 1]).tolist()
    [[1.0, 2.0, 3.0], [11.0, 12.0, 13.0]]
    """
    with in_own_precision(plane) as plane:
        grid = _grid(plane, xs, ys)
        losses = evaluate_points(
            loss,
            functools.partial(point_at, plane),
            grid.reshape(-1, 2),
            at_once=at_once,
            devices=devices,
        )
        return jax.tree.map(lambda leaf: leaf.reshape(*grid.shape[:2], *leaf.shape[1:]), losses)


def evaluate_line(
    loss: Callable[[PyTree], PyTree],
    start: PyTree,
    end: PyTree,
    fractions: ArrayLike,
    *,
    at_once: IntegerLike = 1,
) -> PyTree:
    """Return the loss along the straight line through two points.

    Args:
        loss: function of a point that returns a scalar or a pytree of arrays.
        start: pytree of arrays, where the fraction is 0.
        end: pytree like it, where the fraction is 1.
        fractions: (K,). Fractions outside [0, 1] give points beyond the two.
        at_once: as in `evaluate_points`.

    Returns:
        (K,), or a pytree of arrays (K, ...).

    Raises:
        InputError: the two pytrees do not match, `fractions` is not one-dimensional, or `at_once`
            is not a positive integer.
    """
    with in_precision_of("start", start, end=end) as (start, end):
        fractions = _one_axis("fractions", fractions, precision(start))
        return evaluate_points(
            loss, functools.partial(interpolate, start, end), fractions, at_once=at_once
        )


def evaluate_in_chunks(
    loss: Callable[[PyTree], PyTree],
    plane: Plane,
    xs: ArrayLike,
    ys: ArrayLike,
    *,
    chunk: IntegerLike,
    at_once: IntegerLike = 1,
    done: IntegerLike = 0,
    devices: Sequence[jax.Device] | None = None,
) -> Iterator[PyTree]:
    """Return an iterator over the loss on a grid of points of a plane, piece by piece.

    It runs on the host, so that finished pieces can be stored and shown. One compiled program
    computes all pieces. Where an evaluation was interrupted does not change the numbers, bit for
    bit, if `chunk` and `at_once` stay the same.

    Args:
        loss: function of a point that returns a scalar or a pytree of arrays.
        plane: `Plane`.
        xs: (X,) coordinates along the first direction.
        ys: (Y,) coordinates along the second direction.
        chunk: number of points in a piece.
        at_once: as in `evaluate_points`.
        done: number of points in 0..XY that are finished and not evaluated again. The first rows of
            the grid come first, each from its first x on.
        devices: as in `evaluate_points`.

    Returns:
        An iterator over the remaining pieces. Each is what the loss returns, as NumPy arrays
        (chunk, ...). The last piece is shorter where XY is no multiple of `chunk`.

    Raises:
        InputError: an argument does not fit. It is raised by the call, before the iteration.
    """
    _positive("at_once", at_once)
    with in_own_precision(plane) as own:
        coordinates = np.asarray(_grid(own, xs, ys)).reshape(-1, 2)  # x runs fastest
    size = min(_positive("chunk", chunk), len(coordinates))
    done = integer("done", done, 0, len(coordinates), what="(the number of points of the grid)")

    @jax.jit
    def evaluate(plane, part):
        return evaluate_points(
            loss, functools.partial(point_at, plane), part, at_once=at_once, devices=devices
        )

    def pieces():
        for begin in range(done, len(coordinates), size):
            part = coordinates[begin : begin + size]
            padded = np.pad(part, ((0, size - len(part)), (0, 0)), mode="edge")
            # The context ends before `yield`: it would set the caller's precision.
            with in_own_precision(plane) as own:
                losses = jax.tree.map(np.asarray, evaluate(own, padded))
            real = slice(len(part))
            yield jax.tree.map(operator.itemgetter(real), losses)

    return pieces()


def _grid(plane, xs, ys):
    """Coordinates (Y, X, 2) of the points of a grid."""
    dtype = precision(plane.origin)
    x, y = jnp.meshgrid(_one_axis("xs", xs, dtype), _one_axis("ys", ys, dtype))
    return jnp.stack([x, y], axis=-1)


def _one_axis(name, values, dtype):
    with own_precision(name, values) as values:
        if values.ndim != 1 or values.size == 0:
            raise invalid(name, f"has shape {values.shape}", "(K,), K >= 1 coordinates")
        return values.astype(dtype)


def _positive(name, value):
    return integer(name, value, 1, 2**63 - 1, what="(a number of points)")
