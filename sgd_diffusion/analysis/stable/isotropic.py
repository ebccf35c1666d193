"""Turn Gaussian vectors into isotropic stable vectors."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["stable_root"]


def stable_root(
    uniform: Float[Array, "..."], exponential: Float[Array, "..."], alpha: float | jax.Array
) -> Float[Array, "..."]:
    """Return the factor that makes a Gaussian vector isotropic alpha-stable.

    It is the square root of a positive stable number A with the Laplace transform E exp(-s A) =
    exp(-s^(alpha/2)) (Samorodnitsky & Taqqu, Stable Non-Gaussian Random Processes, 1994, Sec. 2.5).
    A is drawn by Kanter's formula (Ann. Probab. 3, 697, 1975).

    Args:
        uniform: (...), independent uniform numbers in (0, 1).
        exponential: (...), independent exponential numbers of mean 1.
        alpha: stability index, in (0, 2]; at 2, A is 1.

    Returns:
        (...), positive. It is the root, as A itself may overflow.
    """
    index = alpha / 2
    angle = jnp.pi * (1 - uniform)
    sine = jnp.sin(jnp.pi * jnp.minimum(uniform, 1 - uniform))  # keeps digits at both ends
    tail = (jnp.sin((1 - index) * angle) / sine / exponential) ** ((1 - index) / alpha)
    return jnp.sqrt(jnp.sin(index * angle) / sine) * tail
