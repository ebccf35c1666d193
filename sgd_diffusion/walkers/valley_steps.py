"""The step of SGD in two coordinates, with noise whose covariance is a function of the Hessian."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float32

from sgd_diffusion.theory.freezing import TwoValleys

__all__ = ["ISOTROPIC_CURVATURE", "NOISES", "Place", "noisy_step"]

ISOTROPIC_CURVATURE = 7.0

NOISES = {
    "hessian": lambda curvature: jnp.sqrt(jnp.maximum(curvature, 0)),
    "hessian-squared": lambda curvature: jnp.maximum(curvature, 0),
    "isotropic": lambda curvature: jnp.full_like(curvature, ISOTROPIC_CURVATURE**0.5),
}
"""Noise along an eigenvector of the Hessian: its standard deviation for sigma = 1/2, a function of
the eigenvalue.
"""


class Place(NamedTuple):
    """Two separate coordinates, so that loops over walkers run over contiguous memory."""

    x: Float32[Array, "walker"]
    y: Float32[Array, "walker"]


def noisy_step(
    landscape: TwoValleys,
    noise: str,
    place: Place,
    learning_rate: Float32[Array, "walker"],
    sigma: Float32[Array, "walker"],
    normal: tuple[Float32[Array, "walker"], Float32[Array, "walker"]],
) -> Place:
    r"""Return the places of walkers after a step of SGD.

    With the eigenvalues m + d and m - d of the Hessian H, a function of it is (f(m + d) + f(m - d))
    / 2 + (H - m) (f(m + d) - f(m - d)) / (2 d). So no eigenvector is needed.

    Args:
        landscape: the loss.
        noise: one of `NOISES`.
        place: where the walkers are.
        learning_rate: eta of each.
        sigma: strength of the noise of each.
        normal: two independent standard normal numbers for each.

    Returns:
        `Place`.
    """
    slope, hessian = landscape.gradient(*place), landscape.hessian(*place)
    mean = (hessian[..., 0, 0] + hessian[..., 1, 1]) / 2
    along, mixed = (hessian[..., 0, 0] - hessian[..., 1, 1]) / 2, hessian[..., 0, 1]
    spread = jnp.sqrt(along * along + mixed * mixed)
    large, small = NOISES[noise](mean + spread), NOISES[noise](mean - spread)
    by_identity = (large + small) / 2
    by_hessian = (large - small) / (2 * jnp.maximum(spread, jnp.finfo(spread.dtype).tiny))
    first, second = normal
    strength = jnp.sqrt(2 * sigma)
    noise_x = by_identity * first + by_hessian * (along * first + mixed * second)
    noise_y = by_identity * second + by_hessian * (mixed * first - along * second)
    return Place(
        place.x - learning_rate * (slope[..., 0] + strength * noise_x),
        place.y - learning_rate * (slope[..., 1] + strength * noise_y),
    )
