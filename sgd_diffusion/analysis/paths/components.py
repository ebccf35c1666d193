"""Principal components of a path."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import in_double, real_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, IntegerLike
from sgd_diffusion.analysis.displacement import squared_displacements
from sgd_diffusion.analysis.gram import checked_integer, non_negative, one_path
from sgd_diffusion.analysis.guarded import power, ratio
from sgd_diffusion.errors import invalid

__all__ = [
    "PrincipalComponents",
    "WeightComponents",
    "components_of_weights",
    "principal_components",
]


@shown_briefly
class PrincipalComponents(NamedTuple):
    """Principal components of the points of a path, largest variance first.

    Attributes:
        variances: (K,) along the components, with T in the denominator for the T+1 points.
        explained_variance_ratio: (K,) shares of the total variance.
        scores: (T+1, K) coordinates of the points along the components, about their mean.
    """

    variances: Float[Array, "component"]
    explained_variance_ratio: Float[Array, "component"]
    scores: Float[Array, "point component"]


@shown_briefly
class WeightComponents(NamedTuple):
    """Principal components of points with their directions, largest variance first.

    Attributes:
        variances: (K,) along the components, with T in the denominator for the T+1 points.
        explained_variance_ratio: (K,) shares of the total variance.
        scores: (T+1, K) coordinates of the points along the components, about their mean.
        directions: (K, P) unit vectors; of a component without variance any, or zero.
    """

    variances: Float[Array, "component"]
    explained_variance_ratio: Float[Array, "component"]
    scores: Float[Array, "point component"]
    directions: Float[Array, "component parameter"]


def principal_components(step_gram: ArrayLike, k: IntegerLike | None = None) -> PrincipalComponents:
    r"""Return the principal components of the points w_0, ..., w_T of a path.

    They are eigenvectors of the doubly centered Gram matrix of the positions, -J D J / 2 with J = I
    - 1/(T+1) and D the squared distances. Those of a random walk in many dimensions explain 6 / (pi
    k)^2 of the variance, k = 1, 2, ..., and their scores are cosines (Antognini & Sohl-Dickstein,
    NeurIPS 2018). Large first components are therefore no sign of structure.

    Formula:
        Principal components of a path. $-\frac{1}{2} J D J, \quad \frac{\lambda_k}{\sum_j
        \lambda_j} = \frac{6}{\pi^2 k^2}$ (share of a random walk: Antognini & Sohl-Dickstein,
        NeurIPS 2018)

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.
        k: K in 1..T, an integer known before tracing; all T components when None.

    Returns:
        `PrincipalComponents`. Variances are known to about 1e-14 (from float32 1e-5) of the largest
        one; rounding below zero is set to zero. The largest score of each component, by magnitude,
        is positive. A path that never moves has variances 0 and ratios NaN.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1; `k` is not an
            integer in 1..T.

    >>> points = principal_components([[4.0, 4.0], [4.0, 4.0]])       # -2, 0, 2 on a line
    >>> points.variances.round(6).tolist(), abs(points.scores[:, 0]).round(6).tolist()
    ([4.0, 0.0], [2.0, 0.0, 2.0])
    """
    with one_path(step_gram) as gram:
        steps = len(gram)
        components = steps if k is None else checked_integer("k", k, 1, steps, steps)
        return _of_gram(gram, components)


@functools.partial(jax.jit, static_argnums=1)
def _of_gram(gram, components):
    centered = -squared_displacements(gram) / 2
    centered = centered - centered.mean(axis=0, keepdims=True)
    centered = centered - centered.mean(axis=1, keepdims=True)
    values, vectors = _largest(centered, components)
    scores = (_signs(vectors) * power(values, 0.5))[None] * vectors
    shares = ratio(values, jnp.trace(centered))
    return PrincipalComponents(values / len(gram), shares, scores)


def components_of_weights(weights: ArrayLike, k: IntegerLike | None = None) -> WeightComponents:
    r"""Return the principal components of points with their directions, from the points themselves.

    They are those of `principal_components`. The directions are eigenvectors of the covariance of
    the points. Where there are fewer points than coordinates, they follow from the Gram matrix.

    Formula:
        Directions of principal components. $\frac{1}{T} \sum_t (w_t - \bar{w}) (w_t -
        \bar{w})^{\top} p_i = \sigma_i^2 p_i, \quad \theta_i(t) = p_i \cdot (w_t - \bar{w})$
        (definition)

    Args:
        weights: (T+1, P) points, T >= 1.
        k: K in 1..min(T, P), an integer known before tracing; so many when None.

    Returns:
        `WeightComponents` in float64. Variances are known to about 1e-14 of the largest one;
        rounding below zero is set to zero. The largest score of each component, by magnitude, is
        positive.

    Raises:
        InputError: not at least two points of real numbers; `k` is not an integer in the range.

    >>> found = components_of_weights([[0.0, 0.0], [3.0, 4.0]])
    >>> found.variances.round(6).tolist(), found.directions.shape
    ([12.5], (1, 2))
    """
    with in_double():
        points = jnp.asarray(real_array("weights", weights), jnp.float64)
        if points.ndim != 2 or len(points) < 2 or not points.size:
            raise invalid(
                "weights", f"has shape {points.shape}", "(T+1, P), at least two points of a path"
            )
        steps = len(points) - 1
        most = min(steps, points.shape[1])
        components = most if k is None else checked_integer("k", k, 1, most, steps)
        return _of_points(points, components)


@functools.partial(jax.jit, static_argnums=1)
def _of_points(points, components):
    steps, coordinates = len(points) - 1, points.shape[1]
    apart = points - points.mean(axis=0, keepdims=True)
    if coordinates <= steps:
        values, directions = _largest(apart.T @ apart, components)
    else:
        values, vectors = _largest(apart @ apart.T, components)
        root = power(values, 0.5)
        directions = apart.T @ (vectors / jnp.where(root > 0, root, 1)[None])
    scores = apart @ directions
    sign = _signs(scores)[None]
    share = ratio(values, (apart**2).sum())
    return WeightComponents(values / steps, share, sign * scores, (sign * directions).T)


def _largest(
    symmetric: Float[Array, "n n"], k: int
) -> tuple[Float[Array, "k"], Float[Array, "n k"]]:
    """Return the k largest eigenvalues, falling, and their eigenvectors in columns."""
    values, vectors = jnp.linalg.eigh(symmetric)
    return non_negative(values[::-1][:k]), vectors[:, ::-1][:, :k]


def _signs(columns: Float[Array, "n k"]) -> Float[Array, "k"]:
    """Return the signs that make the largest entry of each column, by magnitude, positive."""
    return jnp.where(columns.max(axis=0) < -columns.min(axis=0), -1, 1).astype(columns.dtype)
