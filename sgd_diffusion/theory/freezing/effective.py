"""The potential whose Boltzmann law is that of SGD in two valleys."""

from typing import Literal

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
from sgd_diffusion.theory.freezing.formulas import both_flatnesses, loss
from sgd_diffusion.theory.freezing.two_valleys import TwoValleys, checked

__all__ = ["effective_potential"]

WEIGHTS = {"fick": 0.0, "ito": 1.0, "stratonovich": 0.5}


def effective_potential(
    x: ArrayLike,
    y: ArrayLike,
    noise: ArrayLike,
    landscape: TwoValleys,
    *,
    convention: Literal["fick", "ito", "stratonovich"] = "fick",
) -> Float[Array, "*shape"]:
    r"""Return the potential in which white noise has the law of x that SGD has at a fixed y.

    Each valley has a temperature of its own, D = 2 Delta_S / f, and the flat one is colder. The
    potential is that for the common temperature T = sqrt(D_1 D_2). It makes the flat valley deeper
    and the sharp one less deep. The conventions differ by a step at the ridge: the paper has none
    ("fick"); "ito" is that of SGD itself, with T ln gamma from one side to the other.

    Formula:
        Effective potential. $L_{\mathrm{eff}} = L_0 + \gamma^{\pm 1/2} (L - L_0) + \alpha T \ln
        \frac{D_i}{T}, \quad T = \frac{2 \Delta_S}{\sqrt{f_1 f_2}}$ (Yang et al., arXiv:2601.10962,
        for alpha = 0, "fick"; derived for 1, "ito", and 1/2, "stratonovich"; the upper sign is
        that of x >= 0)

    Args:
        x: (...), the fast coordinate.
        y: (...), the slow one, at least 0.
        noise: (...), Delta_S = learning_rate * sigma, above 0. Shapes are broadcast.
        landscape: `TwoValleys`.
        convention: the reading of the noise.

    Returns:
        (...) loss; NaN for traced arguments out of range.

    Raises:
        InputError: an argument is not as stated.

    >>> effective_potential([0.32, -0.26], 20.0, 0.001, TwoValleys(L_d=0.0)).round(4).tolist()
    [0.6923, 0.7969]
    """
    if convention not in WEIGHTS:
        names = " or ".join(f'"{name}"' for name in WEIGHTS)
        raise invalid("convention", f"is {convention!r}", names)
    with in_double():
        fast, slow, strength = of_one_shape(x=x, y=y, noise=noise_strength(noise))
        at = checked(landscape)
        return _potential(at, fast, slow_coordinate(slow), strength, WEIGHTS[convention])


@jax.jit
def _potential(at, x, y, noise, weight):
    ridge = loss(at, jnp.zeros_like(x), y)
    temperature = 2 * noise / jnp.sqrt(both_flatnesses(at, y).prod(axis=0))
    half = jnp.where(x >= 0, 1, -1) * jnp.log(at.x1 / at.x2)  # of ln gamma
    return ridge + jnp.exp(half) * (loss(at, x, y) - ridge) - weight * temperature * half
