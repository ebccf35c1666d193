"""Mean first passage times of one coordinate, exact up to a quadrature in logarithms."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import in_double, integer, is_traced
from sgd_diffusion._types import ArrayLike, IntegerLike, NumberLike
from sgd_diffusion.analysis.guarded import where_known
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.escape.arguments import (
    Convention,
    along_path,
    noise_along_path,
    weight_of_minimum,
)
from sgd_diffusion.theory.parameters import real

__all__ = ["mean_first_passage_time"]

MOST_POINTS = 10**8
NOTHING = -1e300  # the logarithm of nothing; finite, so that derivatives exist


def mean_first_passage_time(
    force: Callable[[Array], ArrayLike],
    diffusion: Callable[[Array], ArrayLike],
    start: NumberLike | Array,
    end: NumberLike | Array,
    reflecting: NumberLike | Array,
    *,
    convention: Convention = "ito",
    num_points: IntegerLike = 200_001,
) -> Float[Array, ""]:
    r"""Return the mean time until a walker first reaches a point.

    The walker obeys dx = -L'(x) dt + sqrt(2 D(x)) dW. Both integrals are trapezoidal, in logarithms
    throughout. So barriers of hundreds of times the noise are no problem, and only a time above
    1e308 is infinite.

    Formula:
        Mean first passage time. $T = \int_{x_0}^{x_1} \frac{e^{\psi(y)}}{D(y)^{1 - \alpha}}
        \int_{x_r}^{y} \frac{e^{-\psi(z)}}{D(z)^{\alpha}} \, dz \, dy, \quad \psi = \int
        \frac{L'}{D} \, dx$ (solution of the backward equation; alpha is 1 for "ito", 1/2 for
        "stratonovich", 0 for "klimontovich")

    Args:
        force: L', a function of points (n,) that returns a number for each, or one for all. Map a
            derivative with `jax.vmap(jax.grad(loss))`.
        diffusion: D, a function of the same kind, positive on the whole path. Of SGD it is eta C /
            (2 B), with the variance C of per-example gradients.
        start: x_0.
        end: x_1, which absorbs.
        reflecting: x_r, a wall behind the start. For a walker without one, put it where the loss is
            many D above the minimum.
        convention: the reading of the noise; "ito" is that of SGD.
        num_points: of the path, half of them on each side of the start.

    Returns:
        () in units of t = learning_rate * steps; NaN for traced arguments out of range.

    Raises:
        InputError: a number is not finite; the order is neither reflecting <= start < end nor the
            opposite; a function returns something else; the diffusion vanishes or is negative on
            the path; or there is no such convention.

    >>> round(mean_first_passage_time(lambda x: 0.0, lambda x: 0.5, 1.0, 2.0, 0.0).item(), 6)
    3.0
    """
    alpha = weight_of_minimum(convention)
    half = integer("num_points", num_points, 9, MOST_POINTS) // 2
    with in_double():
        first, start, end = (
            real(name, value)
            for name, value in (("reflecting", reflecting), ("start", start), ("end", end))
        )
        path, ordered = _path(first, start, end, half)
        if not is_traced(ordered) and not bool(ordered):
            raise invalid(
                "start",
                f"is {float(start):g}, for reflecting={float(first):g} and end={float(end):g}",
                "reflecting <= start < end, or the opposite order for a walker to the left",
                "put the reflecting wall behind the start",
            )
        slope = along_path("force", force, path)
        strength = noise_along_path("diffusion", diffusion, path)
        return _time(path, slope, strength, alpha)


@functools.partial(jax.jit, static_argnums=3)
def _path(first, start, end, half):
    """The points from the wall over the start to the end, and whether these are in order."""
    ordered = ((first <= start) & (start < end)) | ((first >= start) & (start > end))
    # The start is a point of the path, whatever its place.
    before, after = jnp.linspace(first, start, half + 1), jnp.linspace(start, end, half + 1)
    return where_known(ordered, jnp.concatenate([before, after[1:]])), ordered


@jax.jit
def _time(path, force, diffusion, alpha):
    """The time from the middle point of a path to its last."""
    steps, log_diffusion = jnp.diff(path), jnp.log(diffusion)
    pull = force / diffusion
    potential = jnp.pad(jnp.cumsum((pull[1:] + pull[:-1]) / 2 * steps), (1, 0))
    wide = steps != 0  # as they are not where the start is the wall
    log_halves = jnp.where(wide, jnp.log(jnp.where(wide, abs(steps), 1) / 2), NOTHING)

    def of_steps(log_values):
        return jnp.logaddexp(log_values[1:], log_values[:-1]) + log_halves

    density = jax.lax.cumlogsumexp(of_steps(-potential - alpha * log_diffusion))
    density = jnp.pad(density, (1, 0), constant_values=NOTHING)
    waiting = of_steps(density + potential - (1 - alpha) * log_diffusion)
    return jnp.exp(jax.nn.logsumexp(waiting[len(path) // 2 :]))
