"""Rates of hopping between two valleys at a fixed slow coordinate, and how full the flat one is."""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import in_double
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.freezing.arguments import (
    noise_strength,
    of_one_shape,
    slow_coordinate,
)
from sgd_diffusion.theory.freezing.dawson import log_dawson_ratio
from sgd_diffusion.theory.freezing.formulas import both_flatnesses, both_floors
from sgd_diffusion.theory.freezing.two_valleys import BothValleys, TwoValleys, checked

__all__ = ["escape_times", "flat_occupation", "hop_rates"]


def log_side(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return the logarithm of twice the share of a parabola on its side of the ridge."""
    return jnp.log1p(jax.lax.erf(z))


# P / (1 - P) of each is a power of gamma, and the ratio of exp(z^2) times a factor of z.
FORMS = {
    "erfi": (1.5, log_dawson_ratio),
    "asymptotic": (0.5, jnp.zeros_like),
    "ito": (1.0, log_side),
    "fick": (0.0, log_side),
}


def escape_times(y: ArrayLike, noise: ArrayLike, landscape: TwoValleys) -> BothValleys:
    r"""Return the logarithms of the mean times from the floor of each valley to the ridge.

    They hold for small learning rates and high barriers; `fixed_y` has those of SGD. A walker on
    the ridge may fall back, so they are no times between two hops; `hop_rates` has those.

    Formula:
        Escape to the ridge. $\tau_i = \frac{\pi}{2} f_i \, \mathrm{erfi}(z_i), \quad z_i =
        \frac{x_i^*}{\sqrt{2 \Delta_S}} = \sqrt{\frac{f_i \Delta L}{2 \Delta_S}}$ (Yang et al.,
        arXiv:2601.10962)

    Args:
        y: (...), the slow coordinate, at least 0.
        noise: (...), Delta_S = learning_rate * sigma, above 0. Shapes are broadcast.
        landscape: `TwoValleys`.

    Returns:
        `BothValleys` of (...) log tau, in units of s = learning_rate * steps; minus infinity at y =
        0, and NaN for traced arguments out of range.

    Raises:
        InputError: an argument is not as stated.

    >>> escape_times(5.0, 0.001, TwoValleys())
    BothValleys(flat=4.455, sharp=2.098)

    Notes:
        The form of the paper takes the valley for full before the walker leaves. The exact mean
        first passage time has 1 + erf(w) in place of 2 under the integral erfi(z) = (2 / sqrt(pi))
        int_0^z exp(w^2) dw. It is shorter by 0.4 % for the flat and 2.3 % for the sharp valley of
        the example, and by half without a barrier.
    """
    with in_double():
        return BothValleys(*_log_times(*_valleys(y, noise, landscape)))


def hop_rates(y: ArrayLike, noise: ArrayLike, landscape: TwoValleys) -> BothValleys:
    r"""Return the rates at which walkers leave each valley for the other one.

    A walker on the ridge goes on to the flat floor with the probability pi_1. The rate is that of
    reaching the ridge, times the probability of going on, for the share of walkers that are on this
    side of the ridge at all. The ratio of both rates is that of `flat_occupation` with the form
    "ito". Their sum is the slowest rate of relaxation over high barriers. It is 1.8 times below the
    sum of the rates of reaching the ridge.

    Formula:
        Hops between two valleys. $k_i = \frac{1}{\tau_i} \frac{2 (1 - \pi_i)}{1 + \mathrm{erf}
        z_i}, \quad \pi_1 = 1 - \pi_2 = \frac{D(z_2)}{D(z_1) + D(z_2)}$ (derived; D is Dawson's
        integral, tau and z those of `escape_times`)

    Args:
        y: (...), the slow coordinate, at least 0.
        noise: (...), Delta_S = learning_rate * sigma, above 0. Shapes are broadcast.
        landscape: `TwoValleys`.

    Returns:
        `BothValleys` of (...) rates of leaving, per unit of s = learning_rate * steps; infinite at
        y = 0, and NaN for traced arguments out of range.

    Raises:
        InputError: an argument is not as stated.

    >>> hop_rates(5.0, 0.001, TwoValleys())
    BothValleys(flat=0.005008, sharp=0.06991)

    Notes:
        Beside the exact map with the learning rate 0.01 the sum of both is up to 11 % too high
        where the barrier is above the noise, and 2 % with 0.001.
    """
    with in_double():
        return BothValleys(*_hops(*_valleys(y, noise, landscape)))


def flat_occupation(
    y: ArrayLike,
    noise: ArrayLike,
    landscape: TwoValleys,
    *,
    form: Literal["erfi", "asymptotic", "ito", "fick"] = "erfi",
) -> Float[Array, "*shape"]:
    r"""Return the probability of the flat valley at a fixed slow coordinate.

    All forms fall when the noise grows: at a fixed y, more noise selects less. "erfi" is the
    quasi-steady state of the paper, with the rates of reaching the ridge, and "asymptotic" the form
    of it for high barriers. "fick" has a continuous P at the ridge, as the effective potential of
    the paper. "ito" has a continuous D P. It alone is the limit of SGD for small learning rates,
    since SGD draws the noise before it makes the step.

    Formula:
        Flat occupation. $\frac{P}{1 - P} = \gamma \, e^{z_1^2 - z_2^2} \, \frac{1 + \mathrm{erf}
        z_1}{1 + \mathrm{erf} z_2}$ (derived, "ito"; without gamma: "fick"; $\tau_1 / \tau_2$,
        "erfi", and $\sqrt{\gamma} \, e^{z_1^2 - z_2^2}$, "asymptotic", of Yang et al.,
        arXiv:2601.10962)

    Args:
        y: (...), the slow coordinate, at least 0.
        noise: (...), Delta_S = learning_rate * sigma, above 0. Shapes are broadcast.
        landscape: `TwoValleys`.
        form: one of the four.

    Returns:
        (...) probability; NaN for traced arguments out of range.

    Raises:
        InputError: an argument is not as stated.

    >>> [
    ...     round(flat_occupation(3.0, noise, TwoValleys(), form="ito").item(), 4)
    ...     for noise in (0.0005, 0.001)
    ... ]
    [0.9017, 0.7916]

    Notes:
        Beside the exact map (`fixed_y`) with the learning rate 0.01, "ito" is up to 0.021 too high.
        The difference falls as the square root of the learning rate. Those of the other forms do
        not vanish: at y = 3 with the noise 0.001, "erfi" is 0.038 too low in the limit, and "fick"
        0.077.
    """
    if form not in FORMS:
        raise invalid("form", f"is {form!r}", " or ".join(f'"{each}"' for each in FORMS))
    with in_double():
        power, factor = FORMS[form]
        return _occupation(*_valleys(y, noise, landscape), power, factor)


def _valleys(y: ArrayLike, noise: ArrayLike, landscape: TwoValleys) -> tuple[Any, Any, Any]:
    """Return the parameters, y and the noise; NaN where traced ones are out of range.

    Raises:
        InputError: an argument is out of range, or the shapes do not fit.
    """
    slow, strength = of_one_shape(y=y, noise=noise_strength(noise))
    return checked(landscape), slow_coordinate(slow), strength


def _depths(at, y, noise):
    """Return z of the flat and of the sharp valley."""
    return abs(both_floors(at, y)) / jnp.sqrt(2 * noise)


@jax.jit
def _log_times(at, y, noise):
    z = _depths(at, y, noise)
    return jnp.log(jnp.sqrt(jnp.pi) * both_flatnesses(at, y) * z) + z**2 + log_dawson_ratio(z)


@jax.jit
def _hops(at, y, noise):
    z = _depths(at, y, noise)
    dawson = log_dawson_ratio(z)
    odds = jnp.log(at.x1 / at.x2) + dawson[0] - dawson[1]  # log D(z_1) / D(z_2)
    crossing = jax.nn.log_sigmoid(jnp.stack([odds, -odds]))
    return jnp.exp(crossing - log_side(z) + jnp.log(2.0) - _log_times(at, y, noise))


@functools.partial(jax.jit, static_argnames=("power", "factor"))
def _occupation(at, y, noise, power, factor):
    z = _depths(at, y, noise)
    logarithms = z**2 + factor(z)
    return jax.nn.sigmoid(2 * power * jnp.log(at.x1 / at.x2) + logarithms[0] - logarithms[1])
