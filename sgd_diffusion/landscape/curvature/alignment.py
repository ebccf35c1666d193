"""How gradients and their noise lie to the eigenvectors of the curvature."""

import contextlib
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sgd_diffusion._arrays import real_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._pytrees import in_precision_of, precision
from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.curvature.krylov import dot, power_of_two

__all__ = ["NoiseAlignment", "gradient_alignment", "noise_alignment"]

MIN_BATCHES = 3  # for a variance and its error


@shown_briefly
class NoiseAlignment(NamedTuple):
    """Variance of gradients between mini-batches along k directions."""

    variance: jax.Array  # (k,) v . C v, with the covariance C of the gradients
    error: jax.Array  # (k,) its standard error, for independent mini-batches
    share: jax.Array  # (k,) of the variance of all parameters, the trace of C


def gradient_alignment(vectors, gradient):
    """Share of the squared gradient that lies along each of k orthonormal vectors (Gur-Ari, Roberts
    & Dyer, arXiv:1812.04754).

    Args:
        vectors: pytree like the gradient with a leading axis of k, as in
            `eigenpairs.Eigenpairs`.
        gradient: pytree of arrays of real numbers.

    Returns:
        (k,) squared cosines, which add up to at most 1. For a random direction each is 1/P on
        average, P the number of parameters. NaN where the gradient is zero.

    Raises:
        InputError: pytrees that do not match.
    """
    with _side_by_side(
        vectors, "gradient", jax.tree.map(lambda leaf: real_array("gradient", leaf)[None], gradient)
    ) as found:
        pairs, _ = found
        components = _components(pairs)[0]
        return components**2 / sum((gradient**2).sum() for _, gradient in pairs)


def noise_alignment(vectors, gradients):
    """Variance of mini-batch gradients at frozen parameters along each of k orthonormal vectors.

    Args:
        vectors: pytree with a leading axis of k, as for `gradient_alignment`.
        gradients: the same with a leading axis of B mini-batches.

    Returns:
        `NoiseAlignment`; variances with B - 1 in the denominator, and errors from the fourth
        moments. The share is NaN where gradients do not differ.

    Raises:
        InputError: fewer than 3 mini-batches, or pytrees that do not match.
    """
    with _side_by_side(vectors, "gradients", gradients) as (pairs, unit):
        count = len(pairs[0][1])
        if count < MIN_BATCHES:
            raise InputError(
                f"gradients has {count} mini-batches; expected at least 3 for a variance and its "
                "error"
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
    """The leaves of vectors (k, size) and gradients (B, size) in pairs, the gradients in units that
    are yielded too.
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
            raise InputError(
                f"{name} does not match vectors; expected the same pytree with the same shapes "
                "behind the leading axis, which all leaves of vectors share, and all gradients"
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
