"""Displacements of a path from the Gram matrix of its steps, and from nothing else.

A path w_0, ..., w_T in R^P enters as ``step_gram``, the (T, T) matrix G[u, v] = <dw_u, dw_v> of its steps
dw_u = w_{u+1} - w_u. Lags and times count steps; squared displacements carry the squared unit of the weights and sum
over all P parameters.

Precision. Every function works in the precision of its input: a float64 matrix, NumPy's or JAX's, is worked on in
float64 and gives float64 back whether or not 64-bit mode is on, and a float32 matrix gives float32. Float64 results
are JAX arrays; a program without 64-bit mode should go on with them in NumPy (``np.asarray``). One thing is out of
reach: outside 64-bit mode ``jax.jit`` and ``jax.vmap`` themselves turn a *NumPy* float64 argument into float32 before
the function sees it. Call them under ``with jax.enable_x64(True):`` there.

Measured against the weights themselves at T = 1000, P = 20,000, worst relative error of the TAMSD: below 1e-8 from
float64 for Brownian, ballistic, Ornstein-Uhlenbeck, white and period-2 motion. Where only float32 exists (TPU), from
float32 products: 1e-7 (Brownian, ballistic), 1e-5 (Ornstein-Uhlenbeck), 6e-5 (white), 1e-4 (period 2 over a walk with
steps a tenth as long). In float32 a squared displacement is known to a few 1e-4 |dw|^2, so that one percent of |dw|^2
is known to a few percent; the rounding is in the products, and no summation recovers it.

All functions take one path; map ensembles with ``jax.vmap``. All can be jitted and differentiated. A matrix with NaN
(a member that diverged) gives NaN.
"""

import jax.numpy as jnp

from sgd_diffusion.analysis.gram import (
    checked_lags,
    diagonal_means,
    each_pair_once,
    non_negative,
    one_path,
    own_precision,
    upper_squared_displacements,
)

__all__ = [
    "displacement_from_start",
    "ergodicity_breaking",
    "squared_displacements",
    "step_autocorrelation",
    "time_averaged_msd",
]


def squared_displacements(step_gram):
    """Squared distance between any two points of a path.

    D[i, j] = |w_j - w_i|^2 = sum of G[u, v] over i <= u, v < j, by two cumulative sums that both start at the
    diagonal: <w_j - w_i, dw_j> over i for every j, then its sum over j. Nothing far from the pair enters, so that
    neither a long drift nor a long confined stay costs digits; sums over the whole matrix would in float32.

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.

    Returns:
        (T+1, T+1) symmetric, zero on the diagonal and nowhere negative: rounding below zero is set to zero.

    Raises:
        InputError: ``step_gram`` is not one square matrix of real numbers with T >= 1.

    >>> squared_displacements([[1.0, 1.0], [1.0, 1.0]]).tolist()      # two equal steps
    [[0.0, 1.0, 4.0], [1.0, 0.0, 1.0], [4.0, 1.0, 0.0]]
    """
    with one_path(step_gram) as gram:
        upper = upper_squared_displacements(gram)
        return upper + upper.T


def time_averaged_msd(step_gram, lags=None):
    """Time-averaged mean squared displacement (TAMSD) of a path.

    msd(lag) = 1/(T+1-lag) * sum over i = 0..T-lag of |w_{i+lag} - w_i|^2: all pairs of a lag weigh the same
    (Chen, Qu & Gong, arXiv:2009.10588, Eq. 3). At lag T a single pair is left, so the last lags scatter most.

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.
        lags: (L,) integers in 1..T, known before tracing; all of 1..T when None.

    Returns:
        (L,) squared weight units, never negative.

    Raises:
        InputError: ``step_gram`` is not one square matrix of real numbers with T >= 1; a lag is not an integer in 1..T.

    >>> time_averaged_msd([[1.0, 1.0], [1.0, 1.0]]).tolist()          # constant velocity: lag squared
    [1.0, 4.0]
    """
    with one_path(step_gram) as gram:
        msd = diagonal_means(upper_squared_displacements(gram))[1:]
        return msd if lags is None else msd[checked_lags(lags, len(gram)) - 1]


def displacement_from_start(step_gram):
    """Squared displacement from the first point of the window, the MSD that is not averaged over time.

    |w_t - w_0|^2 for t = 1..T (Chen, Qu & Gong, arXiv:2009.10588, Eq. 4, after Baity-Jesi et al. 2018): row 0 of
    :func:`squared_displacements`, without the rest of it.

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.

    Returns:
        (T,) squared weight units, never negative.

    Raises:
        InputError: ``step_gram`` is not one square matrix of real numbers with T >= 1.
    """
    with one_path(step_gram) as gram:
        return non_negative(jnp.cumsum(each_pair_once(gram).sum(axis=0)))


def step_autocorrelation(step_gram):
    """Autocorrelation of the steps as vectors.

    C(k) = mean over u of <dw_u, dw_{u+k}> / mean over u of |dw_u|^2 for k = 0..T-1, so that C(0) = 1, and C(1) = -1/2
    for independent positions, 0 for independent steps, 1 at constant velocity. No mean step is subtracted.

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.

    Returns:
        (T,) dimensionless; NaN for a path that never moves.

    Raises:
        InputError: ``step_gram`` is not one square matrix of real numbers with T >= 1.
    """
    with one_path(step_gram) as gram:
        covariance = diagonal_means(jnp.triu(gram))
        return covariance / covariance[0]


def ergodicity_breaking(msds, *, axis=0):
    """Ergodicity-breaking parameter of an ensemble: how far time averages scatter from path to path.

    EB(lag) = <xi^2> - 1 with xi = TAMSD / <TAMSD>, averages over the paths (Metzler et al., Phys. Chem. Chem. Phys. 16,
    24128, 2014, Sec. 2): the variance of the TAMSD over its squared mean. It is 0 when every path shows the same TAMSD.
    Over N paths the average is low by about 1/N of itself.

    Args:
        msds: (..., N, ..., L), TAMSDs of N paths along ``axis``; NaN where a path has none, and left out there.
        axis: the axis of the paths.

    Returns:
        ``msds``'s shape without ``axis``; NaN where fewer than two paths are left or none has moved.
    """
    with own_precision("msds", msds) as msds:
        present = ~jnp.isnan(msds)
        count = present.sum(axis=axis, keepdims=True)
        mean = jnp.where(present, msds, 0).sum(axis=axis, keepdims=True) / count
        deviation = jnp.where(present, msds / mean - 1, 0)
        breaking = (deviation**2).sum(axis=axis) / count.squeeze(axis)
        return jnp.where(count.squeeze(axis) > 1, breaking, jnp.nan)
