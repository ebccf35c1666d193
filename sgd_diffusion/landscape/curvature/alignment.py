"""How gradients and their noise lie to the eigenvectors of the curvature."""

from typing import NamedTuple

import jax

from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.curvature.krylov import dot

__all__ = ["NoiseAlignment", "gradient_alignment", "noise_alignment"]


class NoiseAlignment(NamedTuple):
    """Variance of gradients between mini-batches along k directions."""

    variance: jax.Array  # (k,) v . C v, with the covariance C of the gradients
    error: jax.Array  # (k,) its standard error, for independent mini-batches
    share: jax.Array  # (k,) of the variance of all parameters, the trace of C


def gradient_alignment(vectors, gradient):
    """Share of the squared gradient that lies along each of k orthonormal vectors (Gur-Ari, Roberts & Dyer, arXiv:1812.04754).

    Args:
        vectors: pytree like the gradient with a leading axis of k, as in
            :class:`~sgd_diffusion.landscape.curvature.eigenpairs.Eigenpairs`.
        gradient: pytree of floating arrays.

    Returns:
        (k,) squared cosines, which add up to at most 1. For a random direction each is 1/P on average, P the number of
        parameters. NaN where the gradient is zero.
    """
    return _components(vectors, jax.tree.map(lambda leaf: leaf[None], gradient))[0] ** 2 / sum(
        (leaf**2).sum() for leaf in jax.tree.leaves(gradient))


def noise_alignment(vectors, gradients):
    """Variance of mini-batch gradients at frozen parameters along each of k orthonormal vectors.

    Args:
        vectors: pytree with a leading axis of k, as for :func:`gradient_alignment`.
        gradients: the same with a leading axis of B mini-batches.

    Returns:
        :class:`NoiseAlignment`; variances with B - 1 in the denominator, and errors from the fourth moments.

    Raises:
        InputError: fewer than 3 mini-batches.
    """
    count = jax.tree.leaves(gradients)[0].shape[0]
    if count < 3:
        raise InputError(f"gradients has {count} mini-batches; expected at least 3 for a variance and its error")
    components = _components(vectors, gradients)
    squares = (components - components.mean(axis=0)) ** 2
    variance = squares.sum(axis=0) / (count - 1)
    total = sum(leaf.var(axis=0, ddof=1).sum() for leaf in jax.tree.leaves(gradients))
    return NoiseAlignment(variance, squares.std(axis=0, ddof=1) / count**0.5, variance / total)


def _components(vectors, gradients):
    """Inner products of (B, ...) with (k, ...), (B, k)."""
    def of_leaf(vector, gradient):
        return dot(gradient.reshape(gradient.shape[0], -1), vector.reshape(vector.shape[0], -1).T)

    return sum(jax.tree.leaves(jax.tree.map(of_leaf, vectors, gradients)))
