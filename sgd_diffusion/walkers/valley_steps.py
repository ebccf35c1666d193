"""The step of SGD in two coordinates, with noise whose covariance is a function of the Hessian."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float32

from sgd_diffusion.theory.freezing import TwoValleys

__all__ = ["ISOTROPIC_CURVATURE", "NOISES", "Place", "noisy_step"]

ISOTROPIC_CURVATURE = 7.0  # between those of the two valleys, along x


def _root(curvature):
    return jnp.sqrt(jnp.maximum(curvature, 0))


def _itself(curvature):
    return jnp.maximum(curvature, 0)


def _same(curvature):
    return jnp.full_like(curvature, ISOTROPIC_CURVATURE**0.5)


NOISES = {"hessian": _root, "hessian-squared": _itself, "isotropic": _same}
"""Laws of the noise: its standard deviation along an eigenvector of the Hessian, over the root of 2
sigma, as a function of the eigenvalue.
"""


class Place(NamedTuple):
    """Two separate coordinates, so that loops over walkers run over contiguous memory."""

    x: Float32[Array, "*walkers"]
    y: Float32[Array, "*walkers"]


def noisy_step(
    landscape: TwoValleys,
    noise: str,
    place: Place,
    learning_rate: Float32[Array, "*walkers"],
    sigma: Float32[Array, "*walkers"],
    normal: tuple[Float32[Array, "*walkers"], Float32[Array, "*walkers"]],
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
    slope_x, slope_y = jnp.unstack(landscape.gradient(*place), axis=-1)
    # Taken apart one axis at a time, since XLA then never puts the matrices together.
    by_x, by_y = jnp.unstack(landscape.hessian(*place), axis=-2)
    (along_x, mixed), (_, along_y) = jnp.unstack(by_x, axis=-1), jnp.unstack(by_y, axis=-1)
    mean, half = (along_x + along_y) / 2, (along_x - along_y) / 2
    spread = jnp.sqrt(half * half + mixed * mixed)
    large, small = NOISES[noise](mean + spread), NOISES[noise](mean - spread)
    by_identity = (large + small) / 2
    by_hessian = (large - small) / (2 * jnp.maximum(spread, jnp.finfo(spread.dtype).tiny))
    first, second = normal
    strength = jnp.sqrt(2 * sigma)
    noise_x = by_identity * first + by_hessian * (half * first + mixed * second)
    noise_y = by_identity * second + by_hessian * (mixed * first - half * second)
    return Place(
        place.x - learning_rate * (slope_x + strength * noise_x),
        place.y - learning_rate * (slope_y + strength * noise_y),
    )
