"""Estimates from random vectors of what depends on all eigenvalues: the spectral density, and the trace."""

import math
import numbers
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.curvature.krylov import dot, extended, ritz, started

__all__ = ["SpectralDensity", "TraceEstimate", "smoothed_density", "spectral_density", "trace"]


class SpectralDensity(NamedTuple):
    """How eigenvalues are distributed: a quadrature for each random vector, and their mean as a smooth density."""

    nodes: jax.Array  # (probes, m), Ritz values
    weights: jax.Array  # (probes, m), adding up to 1: the share of eigenvalues at each node
    grid: jax.Array  # (points,)
    density: jax.Array  # (points,), with integral 1
    error: jax.Array  # (points,) standard error over probes


class TraceEstimate(NamedTuple):
    """The sum of all eigenvalues."""

    value: jax.Array  # ()
    error: jax.Array  # () standard error


def spectral_density(key, product, like, *, num_products=80, num_probes=10, num_points=1000, width=None):
    """Density of the eigenvalues, by stochastic Lanczos quadrature (Ghorbani, Krishnan & Xiao, ICML 2019).

    For a random vector v of unit length, the mean of v . f(A) v over v is that of f over the eigenvalues; and a Lanczos
    basis of m vectors from v on gives Gauss' quadrature of it, exact for polynomials of degree 2m - 1, with the squared
    first components of its eigenvectors as weights. Nodes are smoothed by normal laws of standard deviation ``width``.

    The moments sum(weights * nodes^p) of a probe estimate those of the spectrum; the trace is n times the first.

    Args:
        key: PRNG key.
        product: ``vector -> A vector``, pytrees like ``like``, with A symmetric.
        like: a pytree of floating arrays, of which only the shapes are taken; n numbers in all.
        num_products: m, at most n.
        num_probes: independent random vectors, at least 2; the products are num_products * num_probes.
        num_points: points of the grid, from 5 widths below the smallest node to 5 above the largest.
        width: in units of the eigenvalues; a hundredth of the range of the nodes if None.

    Returns:
        :class:`SpectralDensity`.

    Raises:
        InputError: numbers out of range.
    """
    zero, unravel = ravel_pytree(jax.tree.map(jnp.zeros_like, like))
    _check("num_products", num_products, 1, zero.size)
    _check("num_probes", num_probes, 2, math.inf)
    _check("num_points", num_points, 2, math.inf)

    def quadrature(key):
        start_key, other_key = jax.random.split(key)
        krylov = started(other_key, _normal(start_key, zero.shape, zero.dtype), num_products)
        nodes, vectors = ritz(extended(lambda vector: ravel_pytree(product(unravel(vector)))[0], krylov, 0))
        return nodes, vectors[0] ** 2

    nodes, weights = jax.lax.map(quadrature, jax.random.split(key, num_probes))
    reach = nodes.max() - nodes.min()
    width = reach / 100 if width is None else width
    grid = jnp.linspace(nodes.min() - 5 * width, nodes.max() + 5 * width, num_points)

    return SpectralDensity(nodes, weights, grid, *smoothed_density(nodes, weights, grid, width))


def smoothed_density(nodes, weights, grid, width):
    """A density that is known by quadratures, smoothed by normal laws of standard deviation ``width``.

    Args:
        nodes: (probes, m).
        weights: (probes, m), adding up to 1 for each probe.
        grid: (points,).
        width: in units of the nodes.

    Returns:
        Density (points,), the mean over probes, and its standard error (points,).
    """
    def smooth(probe):
        return dot(jax.scipy.stats.norm.pdf(grid[:, None], probe[0], width), probe[1])

    densities = jax.lax.map(smooth, (nodes, weights))
    return densities.mean(axis=0), densities.std(axis=0, ddof=1) / len(nodes) ** 0.5


def trace(key, product, like, *, num_products=90):
    """Trace, by Hutch++ (Meyer, Musco, Musco & Woodruff, SOSA 2021), exact for matrices of rank up to a third of the products.

    A third of the products with random signs span a space Q that holds the largest eigenvalues, a third give the trace in
    it, and the others, with random signs g less their projection, the mean of g . A g for the rest.

    Args:
        key: PRNG key.
        product: ``vector -> A vector``, pytrees like ``like``, with A symmetric.
        like: a pytree of floating arrays, of which only the shapes are taken; n numbers in all.
        num_products: at least 6. From 3n on, the trace is exact.

    Returns:
        :class:`TraceEstimate`, its error the standard error of the last third's mean.

    Raises:
        InputError: fewer than 6 products.
    """
    zero, unravel = ravel_pytree(jax.tree.map(jnp.zeros_like, like))
    _check("num_products", num_products, 6, math.inf)
    count = num_products // 3
    inside = min(count, zero.size)

    def images(vectors):
        return jax.lax.map(lambda vector: ravel_pytree(product(unravel(vector)))[0], vectors)

    signs = jax.random.rademacher(key, (inside + count, zero.size), jnp.int8).astype(zero.dtype)
    basis = jnp.linalg.qr(images(signs[:inside]).T)[0]
    rest = signs[inside:]
    for _ in range(2):
        rest = rest - dot(dot(rest, basis), basis.T)
    # One program for both products of the matrix.
    both = jnp.concatenate([basis.T, rest])
    forms = (both * images(both)).sum(axis=1)
    return TraceEstimate(forms[:inside].sum() + forms[inside:].mean(), forms[inside:].std(ddof=1) / count**0.5)


def _normal(key, shape, dtype):
    return jax.random.normal(key, shape, jnp.float32).astype(dtype)


def _check(name, value, low, high):
    if not isinstance(value, numbers.Integral) or not low <= value <= high:
        expected = f"an integer in {low}..{high}" if high < math.inf else f"an integer of at least {low}"
        raise InputError(f"{name} is {value}; expected {expected}")
