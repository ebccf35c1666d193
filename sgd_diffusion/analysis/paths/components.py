"""Principal components of a path."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, IntegerLike
from sgd_diffusion.analysis.displacement import squared_displacements
from sgd_diffusion.analysis.gram import checked_integer, non_negative, one_path
from sgd_diffusion.analysis.guarded import power, ratio

__all__ = ["PrincipalComponents", "principal_components"]


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
        centered = -squared_displacements(gram) / 2
        centered = centered - centered.mean(axis=0, keepdims=True)
        centered = centered - centered.mean(axis=1, keepdims=True)
        values, vectors = jnp.linalg.eigh(centered)
        values, vectors = non_negative(values[::-1][:components]), vectors[:, ::-1][:, :components]
        sign = jnp.where(vectors.max(axis=0) < -vectors.min(axis=0), -1, 1).astype(gram.dtype)
        scores = (sign * power(values, 0.5))[None] * vectors
        return PrincipalComponents(values / steps, ratio(values, jnp.trace(centered)), scores)
