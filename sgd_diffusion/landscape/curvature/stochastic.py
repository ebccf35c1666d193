"""Estimate what depends on all eigenvalues from vectors: spectral density, measures and trace."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgd_diffusion._arrays import integer, is_traced, number, own_precision, real_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, IntegerLike, Key, Matvec, NumberLike, PyTree
from sgd_diffusion.errors import invalid
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
    "SpectralMeasure",
    "TraceEstimate",
    "smoothed_density",
    "spectral_density",
    "spectral_measure",
    "standard_error",
    "hutchpp_trace",
]

ROUNDING = 1000  # least width of the density in units of rounding of the largest node
MOST = 2**31 - 1  # entries along an axis


@shown_briefly
class SpectralDensity(NamedTuple):
    """The distribution of eigenvalues: a quadrature for each random vector, and a smooth density.

    Attributes:
        nodes: (probes, m) Ritz values.
        weights: (probes, m) share of eigenvalues at each node; each row adds up to 1.
        grid: (points,) where the density is evaluated.
        density: (points,) mean over the probes, smoothed, with integral 1.
        error: (points,) its standard error over the probes.
    """

    nodes: Float[Array, "*maps probe m"]
    weights: Float[Array, "*maps probe m"]
    grid: Float[Array, "*maps point"]
    density: Float[Array, "*maps point"]
    error: Float[Array, "*maps point"]


@shown_briefly
class SpectralMeasure(NamedTuple):
    """The distribution of vectors over the eigenvalues: a quadrature for each of them.

    Attributes:
        nodes: (probes, m) Ritz values.
        weights: (probes, m) squared components there; each row adds up to |v|^2.
    """

    nodes: Float[Array, "*maps probe m"]
    weights: Float[Array, "*maps probe m"]


@shown_briefly
class TraceEstimate(NamedTuple):
    """The sum of all eigenvalues.

    Attributes:
        value: () estimate.
        error: () its standard error.
    """

    value: Float[Array, "*maps"]
    error: Float[Array, "*maps"]


def spectral_density(
    key: Key,
    matvec: Matvec,
    like: PyTree,
    *,
    num_products: IntegerLike = 80,
    num_probes: IntegerLike = 10,
    num_points: IntegerLike = 1000,
    width: NumberLike | None = None,
) -> SpectralDensity:
    r"""Return the density of the eigenvalues by stochastic Lanczos quadrature.

    See Ghorbani, Krishnan & Xiao, ICML 2019. For random vectors v of unit length, the mean of v .
    f(A) v is the mean of f over the eigenvalues. A Lanczos basis of m vectors from v on gives its
    Gauss quadrature, exact for polynomials of degree 2m - 1. The weights are the squared first
    components of the eigenvectors. Nodes are smoothed by normal laws of standard deviation `width`.

    The moments sum(weights * nodes^p) of a probe estimate those of the spectrum; the trace is n
    times the first moment. Products are computed, and matrices scaled, as in
    `eigenpairs.top_eigenpairs`.

    Formula:
        Stochastic Lanczos quadrature. $\frac{1}{n} \mathrm{tr} f(A) = E \, v^{\top} f(A) v \approx
        \sum_i \tau_i^2 f(\theta_i)$ (Ghorbani, Krishnan & Xiao, ICML 2019)

    Args:
        key: PRNG key.
        matvec: `vector -> A vector`, pytrees like `like`, with A symmetric.
        like: pytree of floating arrays, n numbers in all; only shapes and types are used. The
            computation runs in float64 where one of them has 8 bytes, and in float32 otherwise.
        num_products: m, at most n.
        num_probes: number of independent random vectors, at least 2. There are
            num_products * num_probes products.
        num_points: points of the grid, from 5 widths below the smallest node to 5 above the
            largest.
        width: in units of the eigenvalues. None is a hundredth of the range of the nodes, and at
            least 1000 eps of the largest node, which is the density of one value. Where all nodes
            are zero, it is 1000 eps.

    Returns:
        `SpectralDensity`. NaN where products are not finite.

    Raises:
        InputError: a number is out of range, the pytree has other than floating arrays, or the
            products do not match it.
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
            start = _normal(start_key, zero.shape, zero.dtype)
            return _quadrature(other_key, matrix, start, num_products)

        nodes, weights = jax.lax.map(quadrature, jax.random.split(key, num_probes))
        width = None if width is None else _checked_width(width, nodes.dtype)
        return SpectralDensity(nodes, weights, *_on_grid(nodes, weights, width, num_points))


@functools.partial(jax.jit, static_argnums=3, inline=True)
def _on_grid(nodes, weights, width, num_points):
    """The other fields of `SpectralDensity`."""
    if width is None:
        largest = abs(nodes).max()
        least = ROUNDING * jnp.finfo(nodes.dtype).eps * jnp.where(largest == 0, 1, largest)
        width = jnp.maximum((nodes.max() - nodes.min()) / 100, least)
    grid = jnp.linspace(nodes.min() - 5 * width, nodes.max() + 5 * width, num_points)
    return grid, *_smoothed(nodes, weights, grid, width)


def spectral_measure(
    matvec: Matvec, vectors: PyTree, *, num_products: IntegerLike = 80
) -> SpectralMeasure:
    r"""Return how vectors are distributed over the eigenvalues of a matrix.

    The weight at an eigenvalue is the squared component of a vector along its eigenvector. A
    Lanczos basis of m vectors gives its Gauss quadrature, exact for polynomials of degree 2m - 1.
    For vectors v with E v v^T = C, the mean over them is the trace of C f(A), without any
    eigenvector: how the noise of gradients is distributed over the curvature, say.

    Formula:
        Spectral measure of a vector. $v^{\top} f(A) v \approx \sum_i \omega_i f(\theta_i), \quad
        \omega_i = \lVert v \rVert^2 \tau_i^2$ (Gauss quadrature; Golub & Meurant, Matrices, Moments
        and Quadrature, 2010)

    Args:
        matvec: `vector -> A vector`, pytrees like one of the vectors, with A symmetric.
        vectors: pytree of floating arrays with a leading axis, that of the probes.
        num_products: m, at most the size of a vector. There are m products for each vector.

    Returns:
        `SpectralMeasure`. NaN where products are not finite.

    Raises:
        InputError: a number is out of range, the pytree has other than floating arrays or no common
            leading axis, or the products do not match it.
    """
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf)[1:], real_array("vectors", leaf).dtype),
        vectors,
    )
    with flat_matrix(matvec, like) as matrix:
        rows = matrix.flat("vectors", vectors)
        num_products = integer(
            "num_products", num_products, 1, rows.shape[1], what="(the size of the matrix)"
        )

        def quadrature(row):
            # Beyond an invariant subspace the basis goes on at random, and the weights are zero.
            nodes, weights = _quadrature(jax.random.key(0), matrix, row, num_products)
            return nodes, length(row) ** 2 * weights

        return SpectralMeasure(*jax.lax.map(quadrature, rows))


def _quadrature(key, matrix, start, num_products):
    """The Gauss quadrature (m,), (m,) of the unit vector along a start (n,)."""
    krylov = extended(matrix.matvec, started(key, start, num_products), 0)
    nodes, vectors = ritz(krylov)
    return nodes * jnp.where(krylov.unit == 0, 1, krylov.unit), vectors[0] ** 2


def smoothed_density(
    nodes: ArrayLike, weights: ArrayLike, grid: ArrayLike, width: NumberLike
) -> tuple[Float[Array, "point"], Float[Array, "point"]]:
    """Return a density that is known by quadratures, smoothed by normal laws, and its error.

    Args:
        nodes: (probes, m), from at least 2 probes.
        weights: (probes, m), adding up to 1 for each probe.
        grid: (points,) where the density is evaluated.
        width: standard deviation of the normal laws in units of the nodes, above zero.

    Returns:
        Density (points,), the mean over probes, and its standard error (points,).

    Raises:
        InputError: the shapes do not match, there are fewer than two probes, or the width is not
            above zero.
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
                raise invalid(
                    "nodes, weights and grid",
                    f"have shapes {nodes.shape}, {weights.shape} and {grid.shape}",
                    "(probes, m), the same, and (points,), with at least 2 probes",
                )
            return _smoothed(nodes, weights, grid, _checked_width(width, nodes.dtype))


@jax.jit
def _smoothed(nodes, weights, grid, width):
    def smooth(probe):
        # In units of the width, as its square may be out of range.
        return dot(jax.scipy.stats.norm.pdf((grid[:, None] - probe[0][None]) / width), probe[1])

    densities = jax.lax.map(smooth, (nodes, weights))
    return densities.mean(axis=0) / width, standard_error(densities) / width


def hutchpp_trace(
    key: Key, matvec: Matvec, like: PyTree, *, num_products: IntegerLike = 90
) -> TraceEstimate:
    r"""Return the trace by Hutch++ (Meyer, Musco, Musco & Woodruff, SOSA 2021).

    It is exact for matrices of rank up to a third of the products. A third of the products with
    random signs span a space Q that holds the largest eigenvalues. A third give the trace in Q. The
    others, with random signs g minus their projection, give the mean of g . A g for the rest.

    Formula:
        Hutch++. $\mathrm{tr} A = \mathrm{tr}(Q^{\top} A Q) + E \, g^{\top} (I - QQ^{\top}) A (I -
        QQ^{\top}) g$ (Meyer, Musco, Musco & Woodruff, SOSA 2021)

    Args:
        key: PRNG key.
        matvec: `vector -> A vector`, pytrees like `like`, with A symmetric.
        like: pytree of floating arrays, n numbers in all; only shapes and types are used. The
            computation runs in float64 where one of them has 8 bytes, and in float32 otherwise.
        num_products: at least 6. From 3n on, the trace is exact.

    Returns:
        `TraceEstimate`. Its error is the standard error of the last third's mean.

    Raises:
        InputError: there are fewer than 6 products, the pytree has other than floating arrays, or
            the products do not match it.
    """
    num_products = integer("num_products", num_products, 6, MOST)
    with flat_matrix(matvec, like) as matrix:
        zero, count = matrix.zero, num_products // 3
        inside = min(count, zero.size)
        first, rest = _signs(key, inside, count, zero)
        both, unit = _apart(jax.lax.map(matrix.matvec, first), rest)
        # One program for both products of the matrix.
        return _trace(both, jax.lax.map(matrix.matvec, both), unit, inside)


@functools.partial(jax.jit, static_argnums=(1, 2), inline=True)
def _signs(key, inside, count, zero):
    """Random signs, (inside, n) and (count, n)."""
    signs = jax.random.rademacher(key, (inside + count, zero.size), jnp.int8).astype(zero.dtype)
    return signs[:inside], signs[inside:]


@functools.partial(jax.jit, inline=True)
def _apart(images, rest):
    """A basis of images (inside, n), then the rest without its projection on it, and a unit."""
    unit = power_of_two(abs(images).max())
    unit = jnp.where(unit == 0, 1, unit)
    basis = jnp.linalg.qr((images / unit).T)[0]
    for _ in range(2):
        rest = rest - dot(dot(rest, basis), basis.T)
    return jnp.concatenate([basis.T, rest]), unit


@functools.partial(jax.jit, static_argnums=3, inline=True)
def _trace(vectors, images, unit, inside):
    """The trace in the space of the first vectors, and the mean outside, with its error."""
    forms = (vectors * (images / unit)).sum(axis=1)
    within, outside = forms[:inside], forms[inside:]
    return TraceEstimate((within.sum() + outside.mean()) * unit, standard_error(outside) * unit)


def _normal(key, shape, dtype):
    return jax.random.normal(key, shape, jnp.float32).astype(dtype)


def _alike(*arrays):
    """Arrays in the precision of the most precise one."""
    dtype = max((array.dtype for array in arrays), key=lambda dtype: dtype.itemsize)
    return [array.astype(dtype) for array in arrays]


def _checked_width(width, dtype):
    smallest = float(jnp.finfo(dtype).tiny)
    return jnp.asarray(
        width if is_traced(width) else number("width", width, at_least=smallest), dtype
    )


def standard_error(samples: Float[Array, "n *shape"]) -> Float[Array, "*shape"]:
    """Return the standard error of the mean along the first axis, (n, ...) -> (...)."""
    count = len(samples)
    return length((samples - samples.mean(axis=0, keepdims=True)).T) / (count * (count - 1)) ** 0.5
