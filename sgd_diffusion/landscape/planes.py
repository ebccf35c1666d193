"""Planes and lines through weight space, and the loss on them.

Parameters are any pytree of arrays. A `Plane` is an origin and two directions like it; its
points are origin + x first + y second, and what x and y mean follows from the directions:

    random_plane      normalised directions: a filter moves by |x| times its own norm, so that x and y are in units of the
                      weights' norm. Two random directions are nearly orthogonal, not exactly
    principal_plane   orthonormal directions: x and y are distances, in weight units
    orthonormal       makes any plane so, for instance one along given directions, Plane(origin, first, second)

Two directions show little of what many are there: most of a path lies off any plane, and
`project` says how far off. Where a network keeps running averages of batch norm, they belong
to one point; what is done about them at the others is up to the loss.

Pure JAX in the precision of the origin (or of `params`), leaf by leaf: float64 where its numbers
have 8 bytes, float32 otherwise; everything else is cast to it, and a loss is called with such
points. All can be jitted, and mapped with `jax.vmap` over planes and members; only
`evaluate_in_chunks` runs on the host.
"""

import contextlib
import functools
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion._arrays import integer, own_precision
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._pytrees import (
    behind,
    divided,
    full_precision,
    in_precision_of,
    matched,
    precision,
    take_out,
    tree_norm,
)
from sgd_diffusion.analysis.paths import principal_components
from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.directions import filter_normalize, layer_normalize, random_direction

__all__ = [
    "Plane",
    "Projection",
    "evaluate_in_chunks",
    "evaluate_line",
    "evaluate_plane",
    "evaluate_points",
    "filter_normalize",
    "interpolate",
    "layer_normalize",
    "orthonormal",
    "plane_point",
    "principal_plane",
    "project",
    "random_direction",
    "random_plane",
]

MIN_PATH = 3  # points that span a plane
FLAT = 1e-12  # variances are known to 1e-14 of the largest; of a smaller second one there is no direction
PARALLEL = 100  # roundings by which a direction has to leave the line along the other


@shown_briefly
class Plane(NamedTuple):
    """The points origin + x first + y second."""

    origin: Any  # three pytrees of arrays, alike in structure and shapes
    first: Any
    second: Any


@shown_briefly
class Projection(NamedTuple):
    """Where points are with respect to a plane; (...) are the leading axes of the points."""

    coordinates: jax.Array  # (..., 2), x and y of the nearest point of the plane
    distance: jax.Array  # (...) from that point, in weight units


def random_plane(key, params, *, normalize=filter_normalize):
    """The plane through `params` along two random directions.

    Args:
        key: PRNG key.
        params: pytree of arrays, the origin.
        normalize: function of a direction and `params` that returns the direction to take, as
            `filter_normalize`, `layer_normalize` or one of them with its option bound.

    Raises:
        InputError: as these.
    """
    directions = (
        normalize(random_direction(half, params), params) for half in jax.random.split(key)
    )
    with in_precision_of("params", params) as (origin,):
        return Plane(origin, *directions)


def principal_plane(path, *, origin=None):
    """The plane along the first two principal components of a path, orthonormal, as Li et al.
    (NeurIPS 2018, Sec. 7) show.

    The components are those of the positions about their mean, from their Gram matrix in float64;
    the largest score of each, by magnitude, is positive. They say little of the landscape: a random
    walk too has most of its variance in two components, and shows there as a Lissajous figure
    (`paths.principal_components`).

    Args:
        path: pytree of positions w_0, ..., w_T, stacked along the leading axis of every leaf, T >=
            2.
        origin: pytree without that axis; the last point when None.

    Returns:
        `Plane`. The second direction is NaN for a path along a straight line, both for one
        that stands still or has NaN.

    Raises:
        InputError: fewer than three points, leaves of different lengths, or an origin that does not
            match.
    """
    with in_precision_of("path", path) as (path,):
        lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(path)}
        if len(lengths) > 1 or min(lengths) < (MIN_PATH,):
            raise InputError(
                f"path has leaves with leading axes {sorted(lengths)}; expected the same for all, "
                f"{MIN_PATH} or more points"
            )
        last = jax.tree.map(lambda leaf: leaf[-1], path)
        origin = last if origin is None else matched("origin", origin, last)[0]
        with jax.enable_x64(True):
            components = principal_components(
                sum(_step_gram(leaf) for leaf in jax.tree.leaves(path)), 2
            )
            known = components.variances > FLAT * components.variances[:1]
            weights = jnp.where(known[None], components.scores, jnp.nan) / (
                components.scores**2
            ).sum(axis=0, keepdims=True)
            directions = [
                jax.tree.map(lambda leaf, weight=weight: _combination(weight, leaf), path)
                for weight in weights.T
            ]
        return orthonormal(Plane(origin, *directions))


def _step_gram(leaf):
    steps = (leaf[1:].astype(jnp.float64) - leaf[:-1].astype(jnp.float64)).reshape(
        len(leaf) - 1, -1
    )
    return jax.lax.dot_general(steps, steps, (((1,), (1,)), ((), ())))


def _combination(weights, leaf):
    """Sum over the points of their weights times their position about the mean, in float64 until it
    is done.
    """
    positions = leaf.astype(jnp.float64)
    positions = positions - positions.mean(axis=0, keepdims=True)
    return jax.lax.dot_general(weights, positions, (((0,), (0,)), ((), ()))).astype(leaf.dtype)


def orthonormal(plane):
    """The same plane through the same origin with orthonormal directions: first keeps its sense,
    second its side of it.

    Directions that are parallel up to rounding span no plane: then the second is NaN, and so is a
    first that is zero.

    Raises:
        InputError: the three pytrees of the plane do not match.
    """
    with _own_precision(plane) as plane:
        first, second, _ = _frame(plane)
        return Plane(plane.origin, first, second)


def plane_point(plane, x, y):
    """The point origin + x first + y second, a pytree; x and y are numbers.

    Raises:
        InputError: the three pytrees of the plane do not match, or `x` or `y` has axes.
    """
    with _own_precision(plane) as plane:
        dtype = precision(plane.origin)
        return _point(plane, (_number("x", x, dtype), _number("y", y, dtype)))


def interpolate(start, end, fraction):
    """The point (1 - fraction) start + fraction end, a pytree; beyond the two for fractions outside
    [0, 1].

    Raises:
        InputError: the two pytrees do not match, or `fraction` has axes.
    """
    with in_precision_of("start", start, end=end) as (start, end):
        fraction = _number("fraction", fraction, precision(start))

        def between(start, end):
            part = fraction.astype(start.dtype)
            return (1 - part) * start + part * end  # exact at both ends

        return jax.tree.map(between, start, end)


def project(plane, params):
    """Coordinates of the points of a plane that are nearest to `params`, and the distances from
    them.

    Least squares: params - origin = x first + y second + something orthogonal to both directions,
    the norm of which is the distance. A point of the plane itself has a distance of rounding, about
    1e-8 (float64: 1e-16) of the norm of the weights.

    Args:
        plane: `Plane`; its directions need be neither orthogonal nor of length 1.
        params: pytree of points, each leaf with the shape of the origin's behind leading axes (...)
            that all share.

    Returns:
        `Projection`; NaN for a plane whose directions are parallel up to rounding, and for a
        point with NaN.

    Raises:
        InputError: pytrees that do not match.

    >>> plane = Plane(np.zeros(3), np.array([2.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.0]))
    >>> on_plane = project(plane, np.array([[5.0, 3.0, 4.0]]))
    >>> on_plane.coordinates.tolist(), on_plane.distance.tolist()
    ([[1.0, 3.0]], [4.0])
    """
    with _own_precision(plane) as plane:
        params, batch = matched("params", params, plane.origin, batched=True)
        first, second, (length, along, across) = _frame(plane)
        rest = jax.tree.map(
            lambda points, origin: points - behind(batch, origin), params, plane.origin
        )
        u, rest = take_out(rest, first, batch)
        v, rest = take_out(rest, second, batch)
        y = v / across
        return Projection(jnp.stack([(u - along * y) / length, y], axis=-1), tree_norm(rest, batch))


# The loss


def evaluate_points(loss, point_of, coordinates, *, at_once=1):
    """The loss at many points, one group after the other in one compiled program; memory holds one
    group.

    Args:
        loss: function of a point that returns a scalar or a pytree of arrays.
        point_of: function of an entry of `coordinates` that returns the point.
        coordinates: (K, ...), in JAX's current precision.
        at_once: how many points make a group, which is vmapped; known before tracing.

    Returns:
        What the loss returns, every leaf with a leading axis (K,). NaN and infinite losses stay
        what they are.

    Raises:
        InputError: `at_once` is not a positive integer.
    """
    size = _positive("at_once", at_once)
    with own_precision("coordinates", coordinates) as coordinates:
        pass
    coordinates = coordinates.astype(jax.dtypes.canonicalize_dtype(coordinates.dtype))
    if coordinates.ndim == 0:
        raise InputError("coordinates has shape (); expected (K, ...), the coordinates of K points")
    with full_precision():
        # a group of one is not vmapped, so that it costs what the loss costs alone
        return jax.lax.map(
            lambda entry: loss(point_of(entry)), coordinates, batch_size=size if size > 1 else None
        )


def evaluate_plane(loss, plane, xs, ys, *, at_once=1):
    """The loss on a grid of points of a plane.

    Args:
        loss: function of a point that returns a scalar or a pytree of arrays.
        plane: `Plane`.
        xs: (X,) coordinates along the first direction.
        ys: (Y,) coordinates along the second one.
        at_once: as in `evaluate_points`.

    Returns:
        (Y, X), or a pytree of arrays (Y, X, ...): entry [i, j] belongs to the point at xs[j],
        ys[i], as matplotlib's contour takes it. NaN and infinite losses stay what they are.

    Raises:
        InputError: the three pytrees of the plane do not match; `xs` or `ys` is not
            one-dimensional; `at_once` is not a positive integer.

    >>> plane = Plane(np.zeros(2), np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    >>> evaluate_plane(lambda w: w[0] + 10 * w[1], plane, xs=[1, 2, 3], ys=[0, 1]).tolist()
    [[1.0, 2.0, 3.0], [11.0, 12.0, 13.0]]
    """
    with _own_precision(plane) as plane:
        grid = _grid(plane, xs, ys)
        losses = evaluate_points(
            loss, functools.partial(_point, plane), grid.reshape(-1, 2), at_once=at_once
        )
        return jax.tree.map(lambda leaf: leaf.reshape(*grid.shape[:2], *leaf.shape[1:]), losses)


def evaluate_line(loss, start, end, fractions, *, at_once=1):
    """The loss along the straight line from one point to another, and beyond them.

    Args:
        loss: function of a point that returns a scalar or a pytree of arrays.
        start: pytree of arrays, where the fraction is 0.
        end: pytree like it, where the fraction is 1.
        fractions: (K,).
        at_once: as in `evaluate_points`.

    Returns:
        (K,), or a pytree of arrays (K, ...).

    Raises:
        InputError: the two pytrees do not match; `fractions` is not one-dimensional; `at_once`
            is not a positive integer.
    """
    with in_precision_of("start", start, end=end) as (start, end):
        fractions = _one_axis("fractions", fractions, precision(start))
        return evaluate_points(
            loss, functools.partial(interpolate, start, end), fractions, at_once=at_once
        )


def evaluate_in_chunks(loss, plane, xs, ys, *, chunk, at_once=1, done=0):
    """As `evaluate_plane`, on the host and piece by piece, so that what is finished can be
    kept and shown.

    One compiled program for all pieces. The numbers do not depend on where an evaluation was
    interrupted, bit for bit, if `chunk` and `at_once` stay the same.

    Args:
        loss: function of a point that returns a scalar or a pytree of arrays.
        plane: `Plane`.
        xs: (X,) coordinates along the first direction.
        ys: (Y,) coordinates along the second one.
        chunk: points of a piece.
        at_once: as in `evaluate_points`.
        done: points that are finished already and not evaluated again, 0..XY: the first rows of the
            grid come first, each from its first x on.

    Returns:
        An iterator over the pieces that are left: what the loss returns, as NumPy arrays (chunk,
        ...), the last of them shorter where XY is no multiple.

    Raises:
        InputError: at once, for arguments that do not fit.
    """
    _positive("at_once", at_once)
    with _own_precision(plane) as own:
        coordinates = np.asarray(_grid(own, xs, ys)).reshape(-1, 2)  # x runs fastest
    size = min(_positive("chunk", chunk), len(coordinates))
    done = integer("done", done, 0, len(coordinates), what="(the number of points of the grid)")

    @jax.jit
    def evaluate(plane, part):
        return evaluate_points(loss, functools.partial(_point, plane), part, at_once=at_once)

    def pieces():
        for begin in range(done, len(coordinates), size):
            part = coordinates[begin : begin + size]
            padded = np.pad(part, ((0, size - len(part)), (0, 0)), mode="edge")
            with _own_precision(
                plane
            ) as own:  # not across yield, which would set the caller's precision
                found = jax.tree.map(np.asarray, evaluate(own, padded))
            real = slice(len(part))
            yield jax.tree.map(operator.itemgetter(real), found)

    return pieces()


# Parts


@contextlib.contextmanager
def _own_precision(plane):
    """A plane, checked, as arrays in the precision of its origin."""
    with in_precision_of("origin", plane.origin, first=plane.first, second=plane.second) as parts:
        yield Plane(*parts)


def _point(plane, coordinates):
    def point(origin, first, second):
        return (
            origin
            + coordinates[0].astype(origin.dtype) * first
            + coordinates[1].astype(origin.dtype) * second
        )

    return jax.tree.map(point, *plane)


def _frame(plane):
    """Orthonormal directions q, r of a plane, and (a, b, c) in first = a q and second = b q + c r."""
    length = tree_norm(plane.first)
    q = divided(plane.first, length)
    along, rest = take_out(plane.second, q)
    correction, rest = take_out(rest, q)  # once is not enough where the two are nearly parallel
    across = tree_norm(rest)
    rounding = PARALLEL * jnp.finfo(across.dtype).eps * tree_norm(plane.second)
    across = jnp.where(across > rounding, across, jnp.nan)
    return q, divided(rest, across), (length, along + correction, across)


def _grid(plane, xs, ys):
    """Coordinates (Y, X, 2) of the points of a grid."""
    dtype = precision(plane.origin)
    x, y = jnp.meshgrid(_one_axis("xs", xs, dtype), _one_axis("ys", ys, dtype))
    return jnp.stack([x, y], axis=-1)


def _one_axis(name, values, dtype):
    with own_precision(name, values) as values:
        if values.ndim != 1 or values.size == 0:
            raise InputError(f"{name} has shape {values.shape}; expected (K,), K >= 1 coordinates")
        return values.astype(dtype)


def _number(name, value, dtype):
    with own_precision(name, value) as value:
        if value.ndim != 0:
            raise InputError(
                f"{name} has shape {value.shape}; expected a number; use jax.vmap for several "
                "points"
            )
        return value.astype(dtype)


def _positive(name, value):
    return integer(name, value, 1, 2**63 - 1, what="(a number of points)")
