"""Planes in weight space: through random directions or a path, their points, and projections."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import in_double, own_precision
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._pytrees import (
    behind,
    divided,
    in_precision_of,
    matched,
    precision,
    take_out,
    tree_norm,
)
from sgd_diffusion._types import Key, NumberLike, PyTree
from sgd_diffusion.analysis.paths import principal_components
from sgd_diffusion.errors import invalid
from sgd_diffusion.landscape.planes.directions import filter_normalize, random_direction

__all__ = [
    "Plane",
    "Projection",
    "interpolate",
    "orthonormal",
    "plane_point",
    "principal_plane",
    "project",
    "random_plane",
]

MIN_PATH = 3  # points that span a plane
# Share of the largest variance below which a component has no direction: rounding is 1e-14 of it.
FLAT = 1e-12
PARALLEL = 100  # roundings by which a direction has to leave the line along the other


@shown_briefly
class Plane(NamedTuple):
    """The points origin + x first + y second.

    Attributes:
        origin: pytree of arrays.
        first: pytree like `origin`, the direction of x.
        second: pytree like `origin`, the direction of y.
    """

    origin: PyTree
    first: PyTree
    second: PyTree


@shown_briefly
class Projection(NamedTuple):
    """Where points are with respect to a plane; (...) are the leading axes of the points.

    Attributes:
        coordinates: (..., 2) x and y of the nearest point of the plane.
        distance: (...) distance from that point, in weight units.
    """

    coordinates: Float[Array, "*points 2"]
    distance: Float[Array, "*points"]


def random_plane(
    key: Key, params: PyTree, *, normalize: Callable[[PyTree, PyTree], PyTree] = filter_normalize
) -> Plane:
    """Return the plane through `params` along two random directions.

    Args:
        key: PRNG key.
        params: pytree of arrays, the origin.
        normalize: function of a direction and `params` that returns the direction to take. Examples
            are `filter_normalize`, `layer_normalize`, or one of them with its option bound.

    Returns:
        `Plane`.

    Raises:
        InputError: as for `random_direction` and `normalize`.
    """
    directions = (
        normalize(random_direction(half, params), params) for half in jax.random.split(key)
    )
    with in_precision_of("params", params) as (origin,):
        return Plane(origin, *directions)


def principal_plane(path: PyTree, *, origin: PyTree | None = None) -> Plane:
    """Return the orthonormal plane along the first two principal components of a path.

    Li et al. (NeurIPS 2018, Sec. 7) show such planes. The components are those of the positions
    about their mean, from their Gram matrix in float64. The largest score of each component, by
    magnitude, is positive.

    Args:
        path: pytree of positions w_0, ..., w_T with T >= 2, stacked along the leading axis of every
            leaf.
        origin: pytree without that axis; the last point if None.

    Returns:
        `Plane`. The second direction is NaN for a path along a straight line. Both are NaN for a
        path that stands still or has NaN.

    Raises:
        InputError: the path has fewer than three points or leaves of different lengths, or the
            origin does not match.

    Notes:
        The components say little about the landscape. A random walk too has most of its variance in
        two components, where it looks like a Lissajous figure (`paths.principal_components`).
    """
    with in_precision_of("path", path) as (path,):
        lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(path)}
        if len(lengths) > 1 or min(lengths) < (MIN_PATH,):
            raise invalid(
                "path",
                f"has leaves with leading axes {sorted(lengths)}",
                f"the same for all, {MIN_PATH} or more points",
            )
        last = jax.tree.map(lambda leaf: leaf[-1], path)
        origin = last if origin is None else matched("origin", origin, last)[0]
        with in_double():
            components = principal_components(_step_gram(path), 2)
            directions = _along(components.scores, components.variances, path)
        return orthonormal(Plane(origin, *directions))


@functools.partial(jax.jit, inline=True)
def _step_gram(path):
    """The inner products of all steps, in float64."""

    def of_leaf(leaf):
        points = leaf.astype(jnp.float64)
        steps = (points[1:] - points[:-1]).reshape(len(leaf) - 1, -1)
        return jax.lax.dot_general(steps, steps, (((1,), (1,)), ((), ())))

    return sum(map(of_leaf, jax.tree.leaves(path)))


@functools.partial(jax.jit, inline=True)
def _along(scores, variances, path):
    """The directions of the components with these scores (T + 1, 2), one pytree for each."""
    known = variances > FLAT * variances[:1]
    weights = jnp.where(known[None], scores, jnp.nan) / (scores**2).sum(axis=0, keepdims=True)
    return [jax.tree.map(functools.partial(_combination, weight), path) for weight in weights.T]


def _combination(weights, leaf):
    """Sum over the points of their weights times their position about the mean.

    It is computed in float64 and cast at the end.
    """
    positions = leaf.astype(jnp.float64)
    positions = positions - positions.mean(axis=0, keepdims=True)
    return jax.lax.dot_general(weights, positions, (((0,), (0,)), ((), ()))).astype(leaf.dtype)


def orthonormal(plane: Plane) -> Plane:
    """Return the same plane through the same origin with orthonormal directions.

    The first direction keeps its sense, and the second its side of the first. Directions that are
    parallel up to rounding span no plane: then the second is NaN, and so is a first that is zero.

    Args:
        plane: `Plane`.

    Returns:
        `Plane`.

    Raises:
        InputError: the three pytrees of the plane do not match.
    """
    with in_own_precision(plane) as plane:
        first, second, _ = _frame(plane)
        return Plane(plane.origin, first, second)


def plane_point(plane: Plane, x: NumberLike, y: NumberLike) -> PyTree:
    """Return the point origin + x first + y second of a plane.

    Args:
        plane: `Plane`.
        x: () coordinate along the first direction.
        y: () coordinate along the second direction.

    Returns:
        Pytree like the origin.

    Raises:
        InputError: the three pytrees of the plane do not match, or `x` or `y` has axes.
    """
    with in_own_precision(plane) as plane:
        dtype = precision(plane.origin)
        return point_at(plane, (_number("x", x, dtype), _number("y", y, dtype)))


def interpolate(start: PyTree, end: PyTree, fraction: NumberLike) -> PyTree:
    """Return the point (1 - fraction) start + fraction end.

    Args:
        start: pytree of arrays.
        end: pytree like `start`.
        fraction: (). Fractions outside [0, 1] give points beyond the two.

    Returns:
        Pytree like `start`.

    Raises:
        InputError: the two pytrees do not match, or `fraction` has axes.
    """
    with in_precision_of("start", start, end=end) as (start, end):
        fraction = _number("fraction", fraction, precision(start))

        def between(start, end):
            part = fraction.astype(start.dtype)
            return (1 - part) * start + part * end  # exact at both ends

        return jax.tree.map(between, start, end)


def project(plane: Plane, params: PyTree) -> Projection:
    """Return the plane coordinates nearest to `params`, and the distances from the plane.

    This is least squares: params - origin = x first + y second + rest, with a rest that is
    orthogonal to both directions. The norm of the rest is the distance. For a point of the plane
    itself the distance is rounding, about 1e-8 (float64: 1e-16) of the norm of the weights.

    Args:
        plane: `Plane`; its directions need be neither orthogonal nor of length 1.
        params: pytree of points. Each leaf has the shape of the origin's leaf behind leading axes
            (...) that all leaves share.

    Returns:
        `Projection`. It is NaN for a plane whose directions are parallel up to rounding, and for a
        point with NaN.

    Raises:
        InputError: the pytrees do not match.

    >>> import numpy as np
    >>> plane = Plane(np.zeros(3), np.array([2.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.0]))
    >>> on_plane = project(plane, np.array([[5.0, 3.0, 4.0]]))
    >>> on_plane.coordinates.tolist(), on_plane.distance.tolist()
    ([[1.0, 3.0]], [4.0])
    """
    with in_own_precision(plane) as plane:
        params, batch = matched("params", params, plane.origin, batched=True)
        return _projected(plane, params, batch)


@functools.partial(jax.jit, static_argnums=2, inline=True)
def _projected(plane, params, batch):
    """`project` for arguments that have been checked."""
    first, second, (length, along, across) = _frame(plane)
    rest = jax.tree.map(lambda points, origin: points - behind(batch, origin), params, plane.origin)
    u, rest = take_out(rest, first, batch)
    v, rest = take_out(rest, second, batch)
    y = v / across
    return Projection(jnp.stack([(u - along * y) / length, y], axis=-1), tree_norm(rest, batch))


@contextlib.contextmanager
def in_own_precision(plane):
    """Yield a plane, checked, as arrays in the precision of its origin."""
    with in_precision_of("origin", plane.origin, first=plane.first, second=plane.second) as parts:
        yield Plane(*parts)


def point_at(plane: Plane, coordinates: Sequence[Array] | Array) -> PyTree:
    """Return the point of a plane, checked before, at coordinates (x, y)."""

    def point(origin, first, second):
        return (
            origin
            + coordinates[0].astype(origin.dtype) * first
            + coordinates[1].astype(origin.dtype) * second
        )

    return jax.tree.map(point, *plane)


@functools.partial(jax.jit, inline=True)
def _frame(plane):
    """Orthonormal directions q, r, and (a, b, c) in first = a q and second = b q + c r."""
    length = tree_norm(plane.first)
    q = divided(plane.first, length)
    along, rest = take_out(plane.second, q)
    correction, rest = take_out(rest, q)  # once is not enough if the two are nearly parallel
    across = tree_norm(rest)
    rounding = PARALLEL * jnp.finfo(across.dtype).eps * tree_norm(plane.second)
    across = jnp.where(across > rounding, across, jnp.nan)
    return q, divided(rest, across), (length, along + correction, across)


def _number(name, value, dtype):
    with own_precision(name, value) as value:
        if value.ndim != 0:
            raise invalid(
                name, f"has shape {value.shape}", "a number", "use jax.vmap for several points"
            )
        return value.astype(dtype)
