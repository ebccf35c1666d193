"""Measure how gradients and their noise are aligned with the eigenvectors of the curvature."""

import contextlib
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import real_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._pytrees import in_precision_of, precision
from sgd_diffusion._types import PyTree
from sgd_diffusion.errors import invalid
from sgd_diffusion.landscape.curvature.krylov import dot, power_of_two

__all__ = ["NoiseAlignment", "gradient_alignment", "noise_alignment"]

MIN_BATCHES = 3  # for a variance and its error


@shown_briefly
class NoiseAlignment(NamedTuple):
    """Variance of gradients between mini-batches along k directions.

    Attributes:
        variance: (k,) v . C v with the covariance C of the gradients.
        error: (k,) its standard error, for independent mini-batches.
        share: (k,) its share of the variance of all parameters, the trace of C.
    """

    variance: Float[Array, "*maps k"]
    error: Float[Array, "*maps k"]
    share: Float[Array, "*maps k"]


def gradient_alignment(vectors: PyTree, gradient: PyTree) -> Float[Array, "k"]:
    r"""Return the share of the squared gradient along each of k orthonormal vectors.

    See Gur-Ari, Roberts & Dyer, arXiv:1812.04754.

    Formula:
        Gradient in the top eigenspace. $\frac{\langle g, v_i \rangle^2}{\lVert g \rVert^2}$
        (Gur-Ari, Roberts & Dyer, arXiv:1812.04754)

    Args:
        vectors: pytree like the gradient with a leading axis of k, as in `eigenpairs.Eigenpairs`.
        gradient: pytree of arrays of real numbers.

    Returns:
        (k,) squared cosines, which add up to at most 1. For a random direction each is 1/P on
        average, with P the number of parameters. NaN where the gradient is zero.

    Raises:
        InputError: the pytrees do not match.
    """
    with _side_by_side(
        vectors, "gradient", jax.tree.map(lambda leaf: real_array("gradient", leaf)[None], gradient)
    ) as (pairs, _):
        components = _components(pairs)[0]
        return components**2 / sum((gradient**2).sum() for _, gradient in pairs)


def noise_alignment(vectors: PyTree, gradients: PyTree) -> NoiseAlignment:
    r"""Return the variance of mini-batch gradients along each of k orthonormal vectors.

    The gradients are those at frozen parameters.

    Formula:
        Gradient noise along directions. $v_i^{\top} C v_i$ (definition, with the covariance C of
        mini-batch gradients)

    Args:
        vectors: pytree with a leading axis of k, as for `gradient_alignment`.
        gradients: the same with a leading axis of B mini-batches.

    Returns:
        `NoiseAlignment`. Variances have B - 1 in the denominator; errors come from the fourth
        moments. The share is NaN where all gradients are the same.

    Raises:
        InputError: there are fewer than 3 mini-batches, or the pytrees do not match.
    """
    with _side_by_side(vectors, "gradients", gradients) as (pairs, unit):
        count = len(pairs[0][1])
        if count < MIN_BATCHES:
            raise invalid(
                "gradients",
                f"has {count} mini-batches",
                "at least 3 for a variance and its error",
            )
        pairs = [
            (vectors, gradients - gradients.mean(axis=0, keepdims=True))
            for vectors, gradients in pairs
        ]
        squares = _components(pairs) ** 2
        variance = squares.sum(axis=0) / (count - 1)
        total = sum((noise**2).sum() for _, noise in pairs) / (count - 1)
        error = squares.std(axis=0, ddof=1) / count**0.5
        return NoiseAlignment(variance * unit * unit, error * unit * unit, variance / total)


@contextlib.contextmanager
def _side_by_side(vectors, name, gradients):
    """Yield the leaves of vectors (k, size) and gradients (B, size) in pairs, and a unit.

    The gradients are in this unit.
    """
    with (
        in_precision_of("vectors", vectors) as (vectors,),
        in_precision_of(name, gradients) as (gradients,),
    ):
        both = (vectors, gradients)
        shapes = [
            (jax.tree.structure(each), [leaf.shape[1:] for leaf in jax.tree.leaves(each)])
            for each in both
        ]
        lengths = [{leaf.shape[:1] for leaf in jax.tree.leaves(each)} for each in both]
        if shapes[0] != shapes[1] or any(len(each) > 1 or () in each for each in lengths):
            raise invalid(
                name,
                "does not match vectors",
                "the same pytree with the same shapes behind the leading axis, which all leaves of "
                f"vectors share, and all leaves of {name}",
            )
        dtype = precision(both)
        vectors, gradients = (
            [
                leaf.reshape(len(leaf), math.prod(leaf.shape[1:])).astype(dtype)
                for leaf in jax.tree.leaves(each)
            ]
            for each in both
        )
        unit = power_of_two(jnp.stack([abs(leaf).max(initial=0) for leaf in gradients]).max())
        unit = jnp.where(unit == 0, 1, unit)
        yield list(zip(vectors, [leaf / unit for leaf in gradients], strict=True)), unit


def _components(pairs):
    """Inner products (B, k) of the gradients with the vectors."""
    return sum(dot(gradient, vector.T) for vector, gradient in pairs)
