"""The exponent of escape times for noise of any strength along a path."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import in_double, integer, is_traced
from sgd_diffusion._types import ArrayLike, IntegerLike, NumberLike
from sgd_diffusion.analysis.guarded import ratio, where_known
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.escape.arguments import along_path, noise_along_path
from sgd_diffusion.theory.parameters import real

__all__ = ["effective_path", "quasi_potential"]

MOST_POINTS = 10**8


def quasi_potential(
    force: Callable[[Array], ArrayLike],
    noise: Callable[[Array], ArrayLike],
    start: NumberLike | Array,
    end: NumberLike | Array,
    *,
    num_points: IntegerLike = 200_001,
) -> Float[Array, ""]:
    r"""Return the factor of B / eta in the logarithm of the time that SGD takes along a path.

    Take C as it is measured, from the minimum to the saddle. With C = |L''| the integral diverges
    wherever the curvature changes its sign.

    Formula:
        Quasi-potential. $\Phi = \int_a^b \frac{2 L'(x)}{C(x)} \, dx, \quad \tau \sim e^{\Phi B /
        \eta}$ (derived; the exponent of Xie et al., arXiv:2002.03495, is that of a piecewise
        constant C)

    Args:
        force: L', a function of points (n,) that returns a number for each, or one for all.
        noise: C, the variance of per-example gradients along the path, a function of the same kind.
        start: a, a minimum.
        end: b, a saddle.
        num_points: of the trapezoidal rule.

    Returns:
        () Phi, in units of the learning rate; NaN for traced arguments out of range.

    Raises:
        InputError: a number is not finite; start and end are the same; a function returns something
            else; or the noise vanishes or is negative on the path.

    >>> round(quasi_potential(lambda x: x**3 - x, lambda x: 1 + x**2, -1.0, 0.0).item(), 6)
    0.386294
    """
    count = integer("num_points", num_points, 9, MOST_POINTS)
    with in_double():
        first, last = real("start", start), real("end", end)
        apart = first != last
        if not is_traced(apart) and not bool(apart):
            raise invalid("end", f"is {float(last):g}, as the start", "another point")
        path = where_known(apart, jnp.linspace(first, last, count))
        slope = along_path("force", force, path)
        strength = noise_along_path("noise", noise, path)
        return _integral(path, slope, strength)


def effective_path(
    potential: NumberLike | Array,
    curvature_minimum: NumberLike | Array,
    curvature_saddle: NumberLike | Array,
    barrier: NumberLike | Array,
) -> Float[Array, ""]:
    r"""Return the share s of the barrier with which `kramers_sgd` has a given quasi-potential.

    It says what one number of the theory a measured noise amounts to. It is not in 0..1 where the
    noise is not between the two Hessians; then no path of the theory has the same exponent.

    Formula:
        Effective path. $s = \frac{\Phi / (2 \Delta L) - 1 / \lvert H_{be} \rvert}{1 / H_{ae} - 1 /
        \lvert H_{be} \rvert}$ (derived; equal exponents)

    Args:
        potential: Phi, as `quasi_potential` returns it.
        curvature_minimum: H_ae, as for `kramers_sgd`.
        curvature_saddle: H_be, negative.
        barrier: Delta L.

    Returns:
        () without unit; NaN for traced arguments out of range.

    Raises:
        InputError: an argument is out of range; or H_ae = -H_be, where all paths have the same
            exponent.

    >>> round(effective_path(0.386294, 2.0, -1.0, 0.25).item(), 5)
    0.45482
    """
    with in_double():
        exponent = real("potential", potential)
        minimum = 1 / real("curvature_minimum", curvature_minimum, above=0)
        saddle = -1 / real("curvature_saddle", curvature_saddle, below=0)
        height = real("barrier", barrier, above=0)
        differ = minimum != saddle
        if not is_traced(differ) and not bool(differ):
            raise invalid(
                "curvature_saddle",
                "is that of the minimum with the other sign",
                "another curvature, as all paths have the same exponent otherwise",
                "use any path",
            )
        return ratio(exponent / (2 * height) - saddle, minimum - saddle)


@jax.jit
def _integral(path, slope, strength):
    return jnp.trapezoid(2 * slope / strength, path)
