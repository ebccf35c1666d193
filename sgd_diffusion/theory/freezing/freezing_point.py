"""The place where walkers no longer follow, in closed form with one constant that is fitted."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import in_double, is_traced
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, NumberLike
from sgd_diffusion.analysis.guarded import where_known
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.freezing.arguments import noise_strength
from sgd_diffusion.theory.freezing.two_valleys import TwoValleys, checked
from sgd_diffusion.theory.parameters import real

__all__ = ["FreezingPoint", "freezing_constant", "freezing_point"]


@shown_briefly
class FreezingPoint(NamedTuple):
    """Where hops out of the sharp valley become too rare.

    Attributes:
        y: y_freeze.
        flat_occupation: P_tr, the probability of the flat valley there, which then stays.
    """

    y: Float[Array, "*shape"]
    flat_occupation: Float[Array, "*shape"]


def freezing_point(
    noise: ArrayLike, landscape: TwoValleys, *, epsilon: NumberLike | Array
) -> FreezingPoint:
    r"""Return the place where the occupation freezes, and the occupation with which it does.

    More noise freezes later, and fuller: the selectivity at a fixed y falls with noise, and that of
    the endpoint grows. The paper writes the constant as epsilon * Phi, with Phi of
    `freezing_constant`. Only the product matters, so it is one number here. `last_crossing` has no
    such constant.

    Formula:
        Freezing point. $y_{\mathrm{freeze}} = \frac{y_b Q}{x_2 - Q}, \quad Q = \sqrt{\Delta_S \ln
        \frac{\Delta_S}{\epsilon^2}}, \quad \frac{P_{tr}}{1 - P_{tr}} = \sqrt{\gamma} \left(
        \frac{\sqrt{\Delta_S}}{\epsilon} \right)^{\gamma - 1}$ (Yang et al., arXiv:2601.10962;
        epsilon stands for the product of their epsilon and Phi)

    Args:
        noise: (...), Delta_S = learning_rate * sigma, above epsilon^2, with Q below x_2.
        landscape: `TwoValleys`.
        epsilon: a rate, above 0, to be fitted. 4e-4 gives the curve of Fig. 4c of the paper.

    Returns:
        `FreezingPoint` of (...) arrays; NaN for traced arguments out of range.

    Raises:
        InputError: an argument is not as stated.

    >>> freezing_point(0.001, TwoValleys(), epsilon=4e-4)
    FreezingPoint(y=5.04, flat_occupation=0.9211)
    """
    with in_double():
        strength, constant = noise_strength(noise), real("epsilon", epsilon, above=0)
        found = _point(checked(landscape), strength, constant)
        known = found.y > 0
        if not is_traced(known) and not bool(known.all()):
            raise invalid(
                "noise",
                f"has no freezing point with epsilon={float(constant):.4g}",
                "Delta_S above epsilon^2, with Q below x2",
                "take another epsilon, or last_crossing",
            )
        return found


@jax.jit
def _point(at, noise, epsilon):
    times = jnp.log(noise) / 2 - jnp.log(epsilon)  # log of sqrt(Delta_S) / epsilon
    square = 2 * noise * times
    known = (square > 0) & (square < at.x2**2)
    root = jnp.sqrt(where_known(known, square))
    ratio = (at.x1 / at.x2) ** 2
    occupation = jax.nn.sigmoid(jnp.log(ratio) / 2 + (ratio - 1) * times)
    return FreezingPoint(at.y_b * root / (at.x2 - root), where_known(known, occupation))


def freezing_constant(landscape: TwoValleys) -> Float[Array, ""]:
    r"""Return Phi of the paper, the scale of the speed at which the two valleys become different.

    It is half of what the paper's own chain rule gives. The curve of Fig. 4c of the paper has
    epsilon = 30 Phi: its programs multiply 0.01 Phi by 3000.

    Formula:
        Freezing constant. $\Phi = \frac{2 (x_1^2 - x_2^2)}{27 y_b} \left( \frac{L_d}{y_d} + \frac{8
        x_0^2}{27 f_0 y_f} \right)$ (Yang et al., arXiv:2601.10962, for f_0 = 1)

    Args:
        landscape: `TwoValleys`.

    Returns:
        () rate; NaN for traced parameters out of range.

    Raises:
        InputError: it is no landscape, or a parameter is out of range.

    >>> freezing_constant(TwoValleys()).round(10).item()
    1.33265e-05
    """
    with in_double():
        at = checked(landscape)
        speed = at.L_d / at.y_d + 8 * at.x0**2 / (27 * at.f0 * at.y_f)  # its largest, bounded
        return jnp.asarray(2 * (at.x1**2 - at.x2**2) / (27 * at.y_b) * speed, jnp.float64)
