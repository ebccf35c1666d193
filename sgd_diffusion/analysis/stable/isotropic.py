"""Isotropic stable vectors: what a Gaussian vector has to be multiplied with."""

import jax.numpy as jnp

__all__ = ["stable_root"]


def stable_root(uniform, exponential, alpha):
    """Square root of the positive stable number A that makes sqrt(A) times a Gaussian vector
    isotropic alpha-stable.

    A has the Laplace transform E exp(-s A) = exp(-s^(alpha/2)) (Samorodnitsky & Taqqu, Stable
    Non-Gaussian Random Processes, 1994, Sec. 2.5) and is drawn by Kanter's formula (Ann. Probab. 3,
    697, 1975).

    Args:
        uniform: (...), independent uniform numbers in (0, 1).
        exponential: (...), independent exponential numbers of mean 1.
        alpha: stability index, in (0, 2]; at 2, A is 1.

    Returns:
        (...), positive; the root, as A itself may overflow.
    """
    index = alpha / 2
    angle, sine = (
        jnp.pi * (1 - uniform),
        jnp.sin(jnp.pi * jnp.minimum(uniform, 1 - uniform)),
    )  # keeps digits at both ends
    tail = (jnp.sin((1 - index) * angle) / sine / exponential) ** ((1 - index) / alpha)
    return jnp.sqrt(jnp.sin(index * angle) / sine) * tail
