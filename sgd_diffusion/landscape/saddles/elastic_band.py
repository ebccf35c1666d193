"""Find the minimum-energy path between two minima, and the highest point on it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from sgd_diffusion._arrays import in_double, integer, is_traced, number
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._pytrees import full_precision
from sgd_diffusion._types import IntegerLike, NumberLike, PyTree
from sgd_diffusion.errors import invalid
from sgd_diffusion.landscape.saddles.arguments import check_loss, double_point, function_of_vectors

__all__ = ["ElasticBand", "nudged_elastic_band"]

MOST = 2**31 - 1
CLIMB_BELOW = 10  # tolerances, of the largest force, from which on the highest image climbs
SPRING = 0.1  # of the largest curvature: no stiffer than the loss, with two springs to an image
POWER_STEPS = 10  # products for the largest curvature, which needs to be right to half of it
# Of the fast inertial relaxation engine (FIRE) of Bitzek et al., Phys. Rev. Lett. 97, 170201, 2006.
PATIENCE, FASTER, SLOWER, MIXING, MIXING_FALLS = 5, 1.1, 0.5, 0.1, 0.99


@shown_briefly
class ElasticBand(NamedTuple):
    """A path between two minima, as m images from one end to the other.

    Attributes:
        points: pytree like the ends, with a leading axis of m, the ends included; in float64.
        losses: (m,) of the images.
        lengths: (m,) distance along the path from its start, over straight lines between images.
        tangents: pytree like the points, unit vectors along the path, from start to end.
        highest: () the image of the largest loss. It is near a saddle where it is no end.
        residual: () the largest force on an image: the gradient across the path, and the whole
            gradient of the image that climbs.
        num_steps: () steps that were made.
        converged: () whether the residual is within the tolerance.
    """

    points: PyTree
    losses: Float[Array, "*maps image"]
    lengths: Float[Array, "*maps image"]
    tangents: PyTree
    highest: Int[Array, "*maps"]
    residual: Float[Array, "*maps"]
    num_steps: Int[Array, "*maps"]
    converged: Bool[Array, "*maps"]


class _Motion(NamedTuple):
    images: jax.Array  # (m, n)
    velocity: jax.Array  # (m - 2, n) of those between the ends
    force: jax.Array  # (m - 2, n)
    time_step: jax.Array
    mixing: jax.Array
    downhill: jax.Array  # steps since the force last pointed backward
    climbs: jax.Array
    residual: jax.Array  # infinite until an image climbs
    steps: jax.Array


def nudged_elastic_band(
    loss: Callable[[PyTree], Any],
    start: PyTree,
    end: PyTree,
    *,
    through: PyTree | None = None,
    num_images: IntegerLike = 15,
    tolerance: NumberLike = 1e-3,
    max_steps: IntegerLike = 10_000,
) -> ElasticBand:
    r"""Return a minimum-energy path between two minima by the nudged elastic band method.

    The loss pulls images across the path, and springs keep them at equal distances along it. The
    tangent is that of Henkelman & Jonsson (J. Chem. Phys. 113, 9978, 2000), which points to the
    higher neighbor, so that the band does not kink. When the forces are small, the highest image
    climbs: it has no springs, and its force along the path is turned around (Henkelman, Uberuaga &
    Jonsson, J. Chem. Phys. 113, 9901, 2000). So it ends at the saddle. `critical_point` finds that
    saddle to rounding. The images move by the steps of FIRE (Bitzek et al., Phys. Rev. Lett. 97,
    170201, 2006). The largest curvature of the first guess sets their length and the springs, which
    do not change the path.

    There may be other paths with lower saddles: the method finds one near the first guess. Where
    the path has another minimum, the highest image is the highest saddle of several.

    It is computed in float64, in and out of 64-bit mode, and can be jitted and mapped.

    Formula:
        Nudged elastic band. $F_i = -\nabla L + (\nabla L \cdot \hat{\tau}_i) \hat{\tau}_i + k
        (\lvert R_{i+1} - R_i \rvert - \lvert R_i - R_{i-1} \rvert) \hat{\tau}_i$ (Henkelman &
        Jonsson, J. Chem. Phys. 113, 9978, 2000)

    Args:
        loss: `point -> ()`, differentiable.
        start: pytree of floating arrays, a minimum; n numbers in all.
        end: pytree like the start, another minimum.
        through: pytree like the start, a point through which the first guess goes, in two straight
            lines; one straight line if None.
        num_images: m, both ends included.
        tolerance: force at which the path has converged, in units of the gradient.
        max_steps: steps after which it ends unconverged.

    Returns:
        `ElasticBand`. Look at `converged` before the rest.

    Raises:
        InputError: the loss is no function or does not return one number; start and end are no
            finite floating arrays, not alike or the same point; or an option is out of range.

    >>> def loss(x):  # a double well along a parabola
    ...     return x[0] ** 4 / 4 - x[0] ** 2 / 2 + (x[1] - x[0] ** 2) ** 2
    >>> ends = jnp.array([-1.0, 1.0]), jnp.array([1.0, 1.0])
    >>> band = nudged_elastic_band(loss, *ends, num_images=9)
    >>> band.converged.item(), abs(band.losses[band.highest].item()) < 1e-6
    (True, True)
    """
    with in_double(), full_precision():
        first, last = double_point("start", start), double_point("end", end)
        check_loss(loss, first)
        corners = [ravel_pytree(first)[0], _flat_like("end", last, first)]
        if through is not None:
            corners.insert(1, _flat_like("through", double_point("through", through), first))
        apart = jnp.linalg.norm(corners[-1] - corners[0])
        if not is_traced(apart) and not bool(apart > 0):
            raise invalid("end", "is the start", "another minimum")
        count = integer("num_images", num_images, 3, MOST)
        options = (
            number("tolerance", tolerance, above=0),
            integer("max_steps", max_steps, 0, MOST),
        )
        unravel = ravel_pytree(first)[1]
        images = _lines(corners, count)
        return _relaxed(function_of_vectors(loss, unravel), images, unravel, *options)


def _relaxed(loss, images, unravel, tolerance, max_steps):
    """The band that is left when the images have come to rest."""
    stiffness = _largest_curvature(loss, images)
    longest, spring = 1 / jnp.sqrt(stiffness), SPRING * stiffness
    farthest = jnp.linalg.norm(jnp.diff(images, axis=0), axis=1).mean() / 2
    values_and_slopes = jax.vmap(jax.value_and_grad(loss))

    def forces(images, climbs):
        """Forces (m - 2, n) on the images between the ends, and the largest without springs."""
        values, slopes = values_and_slopes(images)
        tangents = _tangents(images, values)[1:-1]
        slopes = slopes[1:-1]
        along = (slopes * tangents).sum(axis=1, keepdims=True)
        gaps = jnp.linalg.norm(jnp.diff(images, axis=0), axis=1)
        stretched = spring * jnp.diff(gaps)[:, None] * tangents
        climbing = climbs & (values[1:-1] == values.max())[:, None]
        across = -slopes + jnp.where(climbing, 2, 1) * along * tangents
        return across + jnp.where(climbing, 0, stretched), jnp.linalg.norm(across, axis=1).max()

    def unfinished(motion):
        return (motion.residual > tolerance) & (motion.steps < max_steps)

    def step(motion):
        moved = _fire(motion, longest, farthest)
        force, largest = forces(moved.images, motion.climbs)
        steps = motion.steps + 1
        starts = (largest <= CLIMB_BELOW * tolerance) | (steps >= max_steps // 2)
        return moved._replace(
            force=force,
            climbs=motion.climbs | starts,
            residual=jnp.where(motion.climbs, largest, jnp.inf),
            steps=steps,
        )

    no = jnp.asarray(False)
    force, _ = forces(images, no)
    begin = _Motion(
        images,
        jnp.zeros_like(force),
        force,
        longest / 10,
        jnp.asarray(MIXING, jnp.float64),
        jnp.int32(0),
        no,
        jnp.asarray(jnp.inf, jnp.float64),
        jnp.int32(0),
    )
    motion = jax.lax.while_loop(unfinished, step, begin)
    values = jax.vmap(loss)(motion.images)
    gaps = jnp.linalg.norm(jnp.diff(motion.images, axis=0), axis=1)
    return ElasticBand(
        jax.vmap(unravel)(motion.images),
        values,
        jnp.pad(jnp.cumsum(gaps), (1, 0)),
        jax.vmap(unravel)(_tangents(motion.images, values)),
        _first_largest(values),
        motion.residual,
        motion.steps,
        motion.residual <= tolerance,
    )


def _largest_curvature(loss, images):
    """The largest absolute eigenvalue of the Hessian over images, from below; 1 for a flat loss."""

    def product(point, vector):
        return jax.jvp(jax.grad(loss), (point,), (vector,))[1]

    def of_image(point):
        def better(_, vector):
            image = product(point, vector)
            size = jnp.linalg.norm(image)
            return jnp.where(size > 0, image / jnp.where(size > 0, size, 1), vector)

        # All directions enter, with weights that no symmetry of a network has.
        vector = jnp.cos(jnp.arange(point.size) ** 2 + 1.0)
        vector = jax.lax.fori_loop(0, POWER_STEPS, better, vector / jnp.linalg.norm(vector))
        return jnp.linalg.norm(product(point, vector))

    largest = jax.vmap(of_image)(images).max()
    return jnp.where(largest > 0, largest, 1.0)


def _fire(motion, longest, farthest):
    """The motion after a step of FIRE, within a longest time and a farthest move of an image."""
    force = motion.force
    velocity = motion.velocity + motion.time_step * force
    forward = (force * velocity).sum() > 0
    size = jnp.linalg.norm(force)
    pulled = force / jnp.where(size > 0, size, 1) * jnp.linalg.norm(velocity)
    mixed = (1 - motion.mixing) * velocity + motion.mixing * pulled
    velocity = jnp.where(forward, mixed, 0)
    downhill = jnp.where(forward, motion.downhill + 1, 0)
    faster = downhill > PATIENCE
    time_step = jnp.where(faster, jnp.minimum(FASTER * motion.time_step, longest), motion.time_step)
    mixing = jnp.where(faster, MIXING_FALLS * motion.mixing, motion.mixing)
    far = time_step * jnp.linalg.norm(velocity, axis=1).max()
    velocity = velocity * jnp.minimum(1, farthest / jnp.where(far > 0, far, 1))
    return motion._replace(
        images=motion.images.at[1:-1].add(time_step * velocity),
        velocity=velocity,
        time_step=jnp.where(forward, time_step, SLOWER * time_step),
        mixing=jnp.where(forward, mixing, MIXING),
        downhill=downhill,
    )


def _first_largest(values):
    """The index of the maximum; JAX does not compile argmax of float64 outside of 64-bit mode."""
    return jnp.cumprod((values < values.max()).astype(jnp.int32)).sum(dtype=jnp.int32)


def _tangents(images, values):
    """Unit tangents (m, n): toward the higher neighbor, between both at maxima and minima."""
    forward, rise = jnp.diff(images, axis=0), jnp.diff(values)
    ahead, behind = forward[1:], forward[:-1]
    up, down = rise[1:, None], rise[:-1, None]
    larger = jnp.maximum(abs(up), abs(down))
    smaller = jnp.minimum(abs(up), abs(down))
    higher_ahead = up > -down
    mixed = jnp.where(
        higher_ahead, larger * ahead + smaller * behind, smaller * ahead + larger * behind
    )
    monotone = jnp.where(up > 0, ahead, behind)
    inner = jnp.where((up > 0) == (down > 0), monotone, mixed)
    # Of neighbors as high as the image itself, the two sides count alike.
    inner = jnp.where(larger > 0, inner, ahead + behind)
    tangents = jnp.concatenate([forward[:1], inner, forward[-1:]])
    length = jnp.linalg.norm(tangents, axis=1, keepdims=True)
    return tangents / jnp.where(length > 0, length, 1)


def _lines(corners, count):
    """Points (count, n) at equal distances on straight lines through some corners."""
    corners = jnp.stack(corners)
    gaps = jnp.linalg.norm(jnp.diff(corners, axis=0), axis=1)
    at = jnp.pad(jnp.cumsum(gaps), (1, 0))
    places = jnp.linspace(0, 1, count) * at[-1]
    return jax.vmap(lambda column: jnp.interp(places, at, column), 1, 1)(corners)


def _flat_like(name, tree, like):
    if jax.tree.structure(tree) != jax.tree.structure(like) or [
        leaf.shape for leaf in jax.tree.leaves(tree)
    ] != [leaf.shape for leaf in jax.tree.leaves(like)]:
        raise invalid(
            name, "does not match start", "a pytree with the structure and the shapes of start"
        )
    return ravel_pytree(tree)[0]
