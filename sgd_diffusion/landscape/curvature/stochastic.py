"""Estimates from random vectors of what depends on all eigenvalues: the spectral density, and the
trace.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sgd_diffusion._arrays import integer, is_traced, number, own_precision
from sgd_diffusion._display import shown_briefly
from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.curvature.flat import flat_matrix
from sgd_diffusion.landscape.curvature.krylov import (
    dot,
    extended,
    length,
    power_of_two,
    ritz,
    started,
)

__all__ = [
    "SpectralDensity",
    "TraceEstimate",
    "smoothed_density",
    "spectral_density",
    "standard_error",
    "hutchpp_trace",
]

ROUNDING = 1000  # nodes are told apart by as many units of rounding of the largest
MOST = 2**31 - 1  # entries along an axis


@shown_briefly
class SpectralDensity(NamedTuple):
    """How eigenvalues are distributed: a quadrature for each random vector, and their mean as a
    smooth density.
    """

    nodes: jax.Array  # (probes, m), Ritz values
    weights: jax.Array  # (probes, m), adding up to 1: the share of eigenvalues at each node
    grid: jax.Array  # (points,)
    density: jax.Array  # (points,), with integral 1
    error: jax.Array  # (points,) standard error over probes


@shown_briefly
class TraceEstimate(NamedTuple):
    """The sum of all eigenvalues."""

    value: jax.Array  # ()
    error: jax.Array  # () standard error


def spectral_density(
    key, matvec, like, *, num_products=80, num_probes=10, num_points=1000, width=None
):
    """Density of the eigenvalues, by stochastic Lanczos quadrature (Ghorbani, Krishnan & Xiao, ICML
    2019).

    For a random vector v of unit length, the mean of v . f(A) v over v is that of f over the
    eigenvalues; and a Lanczos basis of m vectors from v on gives Gauss' quadrature of it, exact for
    polynomials of degree 2m - 1, with the squared first components of its eigenvectors as weights.
    Nodes are smoothed by normal laws of standard deviation `width`.

    The moments sum(weights * nodes^p) of a probe estimate those of the spectrum; the trace is n
    times the first. Products are computed, and matrices scaled, as
    `eigenpairs.top_eigenpairs` says.

    Args:
        key: PRNG key.
        matvec: `vector -> A vector`, pytrees like `like`, with A symmetric.
        like: a pytree of floating arrays, of which only shapes and types are taken; n numbers in
            all. All is computed in float64 where one of them has 8 bytes, in float32 otherwise.
        num_products: m, at most n.
        num_probes: independent random vectors, at least 2; the products are num_products *
            num_probes.
        num_points: points of the grid, from 5 widths below the smallest node to 5 above the
            largest.
        width: in units of the eigenvalues; a hundredth of the range of the nodes if None, and at
            least 1000 eps of the largest node, which is the density of one value. Where all nodes
            are zero, 1000 eps.

    Returns:
        `SpectralDensity`. NaN where products are not finite.

    Raises:
        InputError: numbers out of range, a pytree of other than floating arrays, or products that
            do not match it.
    """
    num_probes = integer("num_probes", num_probes, 2, MOST)
    num_points = integer("num_points", num_points, 2, MOST)
    with flat_matrix(matvec, like) as matrix:
        zero = matrix.zero
        num_products = integer(
            "num_products", num_products, 1, zero.size, what="(the size of the matrix)"
        )

        def quadrature(key):
            start_key, other_key = jax.random.split(key)
            krylov = started(other_key, _normal(start_key, zero.shape, zero.dtype), num_products)
            krylov = extended(matrix.matvec, krylov, 0)
            nodes, vectors = ritz(krylov)
            return nodes * jnp.where(krylov.unit == 0, 1, krylov.unit), vectors[0] ** 2

        nodes, weights = jax.lax.map(quadrature, jax.random.split(key, num_probes))
        if width is None:
            largest = abs(nodes).max()
            least = ROUNDING * jnp.finfo(nodes.dtype).eps * jnp.where(largest == 0, 1, largest)
            width = jnp.maximum((nodes.max() - nodes.min()) / 100, least)
        else:
            width = _checked_width(width, nodes.dtype)
        grid = jnp.linspace(nodes.min() - 5 * width, nodes.max() + 5 * width, num_points)
        return SpectralDensity(nodes, weights, grid, *_smoothed(nodes, weights, grid, width))


def smoothed_density(nodes, weights, grid, width):
    """A density that is known by quadratures, smoothed by normal laws of standard deviation
    `width`.

    Args:
        nodes: (probes, m), from at least 2 probes.
        weights: (probes, m), adding up to 1 for each probe.
        grid: (points,).
        width: in units of the nodes, above zero.

    Returns:
        Density (points,), the mean over probes, and its standard error (points,).

    Raises:
        InputError: shapes that do not match, fewer than two probes, or a width that is not above
            zero.
    """
    with own_precision("nodes", nodes) as nodes, own_precision("weights", weights) as weights:
        with own_precision("grid", grid) as grid:
            nodes, weights, grid = _alike(nodes, weights, grid)
            if (
                nodes.ndim != 2
                or len(nodes) < 2
                or nodes.shape[1] == 0
                or weights.shape != nodes.shape
                or grid.ndim != 1
            ):
                raise InputError(
                    f"nodes, weights and grid have shapes {nodes.shape}, {weights.shape} and "
                    f"{grid.shape}; expected (probes, m), the same, and (points,), with at least 2 "
                    "probes"
                )
            return _smoothed(nodes, weights, grid, _checked_width(width, nodes.dtype))


def _smoothed(nodes, weights, grid, width):
    def smooth(probe):
        # In units of the width, the squares of which may be out of range.
        return dot(jax.scipy.stats.norm.pdf((grid[:, None] - probe[0][None]) / width), probe[1])

    densities = jax.lax.map(smooth, (nodes, weights))
    return densities.mean(axis=0) / width, standard_error(densities) / width


def hutchpp_trace(key, matvec, like, *, num_products=90):
    """Trace, by Hutch++ (Meyer, Musco, Musco & Woodruff, SOSA 2021), exact for matrices of rank up
    to a third of the products.

    A third of the products with random signs span a space Q that holds the largest eigenvalues, a
    third give the trace in it, and the others, with random signs g less their projection, the mean
    of g . A g for the rest.

    Args:
        key: PRNG key.
        matvec: `vector -> A vector`, pytrees like `like`, with A symmetric.
        like: a pytree of floating arrays, of which only shapes and types are taken; n numbers in
            all. All is computed in float64 where one of them has 8 bytes, in float32 otherwise.
        num_products: at least 6. From 3n on, the trace is exact.

    Returns:
        `TraceEstimate`, its error the standard error of the last third's mean.

    Raises:
        InputError: fewer than 6 products, a pytree of other than floating arrays, or products that
            do not match it.
    """
    num_products = integer("num_products", num_products, 6, MOST)
    with flat_matrix(matvec, like) as matrix:
        zero, count = matrix.zero, num_products // 3
        inside = min(count, zero.size)
        signs = jax.random.rademacher(key, (inside + count, zero.size), jnp.int8).astype(zero.dtype)
        found = jax.lax.map(matrix.matvec, signs[:inside])
        unit = power_of_two(abs(found).max())
        unit = jnp.where(unit == 0, 1, unit)
        basis = jnp.linalg.qr((found / unit).T)[0]
        rest = signs[inside:]
        for _ in range(2):
            rest = rest - dot(dot(rest, basis), basis.T)
        # One program for both products of the matrix.
        both = jnp.concatenate([basis.T, rest])
        forms = (both * (jax.lax.map(matrix.matvec, both) / unit)).sum(axis=1)
        return TraceEstimate(
            (forms[:inside].sum() + forms[inside:].mean()) * unit,
            standard_error(forms[inside:]) * unit,
        )


def _normal(key, shape, dtype):
    return jax.random.normal(key, shape, jnp.float32).astype(dtype)


def _alike(*arrays):
    """Arrays in the precision of the most precise."""
    dtype = max((array.dtype for array in arrays), key=lambda dtype: dtype.itemsize)
    return [array.astype(dtype) for array in arrays]


def _checked_width(width, dtype):
    smallest = float(jnp.finfo(dtype).tiny)
    return jnp.asarray(
        width if is_traced(width) else number("width", width, at_least=smallest), dtype
    )


def standard_error(samples):
    """Of the mean along the first axis, (n, ...) -> (...)."""
    count = len(samples)
    return length((samples - samples.mean(axis=0, keepdims=True)).T) / (count * (count - 1)) ** 0.5
