"""How wide the loss is along directions: the distance at which it has grown by a factor."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sgd_diffusion._arrays import in_double, is_traced, number, real_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, NumberLike
from sgd_diffusion.analysis.guarded import where_known
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.parameters import real

__all__ = ["Flatness", "flatness", "quadratic_flatness"]

SMALLEST = 1e-6  # displacement that is looked at, over the limit


@shown_briefly
class Flatness(NamedTuple):
    """Where the loss has grown by a factor, on both sides of a point.

    Attributes:
        flatness: F = right - left; infinite where one of them is.
        left: the nearest displacement below 0 where the loss reaches the factor; minus infinity
            where it does not up to the limit.
        right: the nearest above 0; infinite where the loss does not reach the factor.
    """

    flatness: Float[Array, "*directions"]
    left: Float[Array, "*directions"]
    right: Float[Array, "*directions"]


def flatness(
    loss_along: Callable[[Array], ArrayLike],
    base_loss: NumberLike | Array,
    *,
    factor: NumberLike | Array = math.e,
    limit: NumberLike | Array,
    smallest: NumberLike | Array | None = None,
    ratio: NumberLike = 1.1,
    tol: NumberLike = 1e-6,
) -> Flatness:
    r"""Return the flatness of a loss along directions: its width at a multiple of the base loss.

    On each side it is the first place, going outward, where the loss is above factor * base_loss.
    The loss is looked at in the displacements smallest, smallest * ratio, smallest * ratio^2, ...
    up to the limit, and the first one above is made precise by bisection. So the loss need not be
    monotone. It can be missed where it is above between two of these displacements only. A loss
    that is NaN counts as above.

    A side on which the loss stays below up to the limit is infinite, and so is the flatness. It is
    not set to the limit: `variance_flatness_exponent` drops and counts such directions.

    Formula:
        Flatness. $F_i = \theta_i^r - \theta_i^l, \quad L(w_0 + \theta_i^{l, r} p_i) = e L_0$ (Feng
        & Tu, arXiv:2001.01678)

    Args:
        loss_along: `displacement -> loss` in JAX. For many directions at once it takes ()
            displacements, the same for all, and (d,), one for each, and returns (d,). Displacements
            are float64; convert them where the loss is computed in float32.
        base_loss: L_0, the loss at the displacement 0, above 0.
        factor: above 1.
        limit: largest displacement that is looked at.
        smallest: first displacement that is looked at; 1e-6 of the limit when None.
        ratio: of one displacement to the one before, above 1.
        tol: relative error of the result; below `smallest`, error over `smallest`.

    Returns:
        `Flatness` of the shape (d,) or (). All of it is NaN for traced arguments out of range, and
        where a traced loss at the displacement 0 is above the multiple of the base loss.

    Raises:
        InputError: an argument is not as stated, the loss at the displacement 0 is above factor *
            base_loss, or the smallest displacement is not below the limit.

    >>> found = flatness(lambda x: 1 + 4 * x**2, 1.0, factor=5, limit=100)
    >>> [round(side.item(), 5) for side in found]
    [2.0, -1.0, 1.0]
    """
    if not callable(loss_along):
        raise invalid("loss_along", f"is {loss_along!r}", "a function of displacements")
    with in_double():
        threshold = real("base_loss", base_loss, above=0) * real("factor", factor, above=1)
        far = real("limit", limit, above=0)
        first = SMALLEST * far if smallest is None else real("smallest", smallest, above=0)
        ratio = number("ratio", ratio, above=1)
        tol = number("tol", tol, above=0, below=1)
        if not is_traced(first, far) and not first < far:
            raise invalid("smallest", f"is {float(first):g}", f"below the limit, {float(far):g}")

        def above(displacement):
            values = real_array("loss_along", loss_along(displacement))
            return ~(jnp.asarray(values, jnp.float64) <= threshold)

        outside = above(jnp.zeros((), jnp.float64))
        known = ~outside & jnp.isfinite(threshold) & (first < far)
        if not is_traced(outside) and bool(outside.any()):
            raise invalid(
                "base_loss",
                f"times the factor is {float(threshold):g}, and the loss at 0 is above",
                "the loss at the displacement 0",
            )
        right, left = where_known(known, _crossings(above, ~known, first, far, ratio, tol))
        return Flatness(right + left, -left, right)


def quadratic_flatness(
    base_loss: ArrayLike, curvature: ArrayLike, *, factor: NumberLike | Array = math.e
) -> Float[Array, "..."]:
    r"""Return the flatness of a quadratic loss, L_0 + h x^2 / 2.

    Formula:
        Flatness of a quadratic loss. $F = \sqrt{8 (e - 1) L_0 / h}$ (derived)

    Args:
        base_loss: (...) L_0, above 0.
        curvature: (...) h, at least 0, of the shape of the losses or one of the two a number.
        factor: of the loss at the edges, above 1.

    Returns:
        (...) units of the weights; infinite without curvature. NaN for traced arguments out of
        range.

    Raises:
        InputError: an argument is not as stated.

    >>> round(quadratic_flatness(1.0, 8.0, factor=5).item(), 5)
    2.0
    """
    with in_double():
        growth = real("factor", factor, above=1)
        loss, bent = (
            jnp.asarray(real_array(name, value), jnp.float64)
            for name, value in (("base_loss", base_loss), ("curvature", curvature))
        )
        if () not in (loss.shape, bent.shape) and loss.shape != bent.shape:
            raise invalid("curvature", f"has shape {bent.shape}", f"{loss.shape}, or a number")
        for name, values, inside in (
            ("base_loss", loss, (loss > 0) & (loss < jnp.inf)),
            ("curvature", bent, (bent >= 0) & (bent < jnp.inf)),
        ):
            if not is_traced(values) and not bool(inside.all()):
                least = "above 0" if name == "base_loss" else "of at least 0"
                raise invalid(name, "has entries out of range", f"finite numbers {least}")
        return _quadratic_width(loss, bent, growth)


@jax.jit
def _quadratic_width(loss, bent, growth):
    loss, bent = where_known(loss > 0, loss), where_known(bent >= 0, bent)
    flat = bent == 0
    width = jnp.sqrt(8 * (growth - 1) * loss / jnp.where(flat, 1, bent))
    return jnp.where(flat, jnp.inf * loss, width)


def _crossings(
    above: Callable[[Array], Bool[Array, "*directions"]],
    outside: Bool[Array, "*directions"],
    first: Float[Array, ""],
    limit: Float[Array, ""],
    ratio: float,
    tol: float,
) -> Float[Array, "side *directions"]:
    """Return the distances from 0 at which `above` is first true, or infinity, on both sides.

    Each side has an interval from a place that is below to one that is above, or to infinity while
    there is none. One evaluation makes it smaller, or goes further out. Sides that are `outside`
    at 0 are not looked at.
    """

    def unfinished(low, high):
        found = high < jnp.inf
        return jnp.where(found, high - low > tol * jnp.maximum(high, first), low < limit)

    def look(state):
        low, high = state
        outward = jnp.clip(low * ratio, first, limit)
        place = jnp.where(high < jnp.inf, (low + high) / 2, outward)
        now = jnp.stack([above(place[0]), above(-place[1])])
        still = unfinished(low, high)
        return jnp.where(still & ~now, place, low), jnp.where(still & now, place, high)

    low = jnp.zeros((2, *outside.shape), jnp.float64)
    high = jnp.where(outside, low, jnp.inf)
    low, high = jax.lax.while_loop(lambda state: unfinished(*state).any(), look, (low, high))
    return jnp.where(high < jnp.inf, (low + high) / 2, jnp.inf)
