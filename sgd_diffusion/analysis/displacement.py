"""Displacements of a path from the Gram matrix of its steps.

A path w_0, ..., w_T in R^P enters as `step_gram`, the (T, T) matrix G[u, v] = <dw_u, dw_v> of its
steps dw_u = w_{u+1} - w_u. Nothing else is needed. Lags and times count steps. Squared
displacements have the squared unit of the weights and are sums over all P parameters.

Functions of a Gram matrix take one path; `jax.vmap` maps them over an ensemble. All can be jitted
and differentiated. A matrix with NaN (a member that diverged) gives NaN.

Every function works in the precision of its input. A float64 matrix of NumPy or JAX gives float64,
in and out of 64-bit mode. A float32 matrix gives float32. Float64 results are JAX arrays; outside
64-bit mode, go on with them in NumPy (`np.asarray`). One case is out of reach: outside 64-bit mode,
`jax.jit` and `jax.vmap` turn a *NumPy* float64 argument into float32 before the function sees it.
Call them under `with jax.enable_x64(True):` there.

Notes:
    These are the worst relative errors of the TAMSD against the weights themselves, at T = 1000 and
    P = 20,000. From float64 they are below 1e-8 for Brownian, ballistic, Ornstein-Uhlenbeck, white
    and period-2 motion. Where only float32 exists (TPU), from float32 products, they are 1e-7
    (Brownian, ballistic), 1e-5 (Ornstein-Uhlenbeck), 6e-5 (white) and 1e-4 (period 2 over a walk
    with steps a tenth as long). In float32 a squared displacement is known to a few 1e-4 |dw|^2, so
    that one percent of |dw|^2 is known to a few percent. The products are what is rounded; no
    summation can recover it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgd_diffusion._arrays import integer, own_precision
from sgd_diffusion._memory import check_memory
from sgd_diffusion._types import ArrayLike, IntegerLike
from sgd_diffusion.analysis.gram import (
    checked_integer,
    checked_lags,
    diagonal_means,
    each_pair_once,
    non_negative,
    one_path,
    upper_squared_displacements,
)
from sgd_diffusion.analysis.guarded import power, ratio, where_known
from sgd_diffusion.errors import invalid

__all__ = [
    "displacement_from_start",
    "effective_pairs",
    "ergodicity_breaking",
    "squared_displacements",
    "step_angles",
    "step_autocorrelation",
    "time_averaged_msd",
]


def squared_displacements(step_gram: ArrayLike) -> Float[Array, "point point"]:
    r"""Return the squared distance between any two points of a path.

    D[i, j] = |w_j - w_i|^2 is the sum of G[u, v] over i <= u, v < j. Two cumulative sums compute
    it, and both start at the diagonal: <w_j - w_i, dw_j> over i for every j, then its sum over j.
    Numbers far from the pair do not enter. So neither a long drift nor a long confined stay costs
    digits; sums over the whole matrix would lose them in float32.

    Formula:
        Squared distances from the Gram matrix. $\lVert w_j - w_i \rVert^2 = \sum_{u=i}^{j-1}
        \sum_{v=i}^{j-1} G_{uv}$ (identity)

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.

    Returns:
        (T+1, T+1), symmetric, zero on the diagonal. No entry is negative, since rounding below zero
        is set to zero.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1.

    >>> squared_displacements([[1.0, 1.0], [1.0, 1.0]]).tolist()      # two equal steps
    [[0.0, 1.0, 4.0], [1.0, 0.0, 1.0], [4.0, 1.0, 0.0]]
    """
    with one_path(step_gram) as gram:
        return _squared_displacements(gram)


@jax.jit
def _squared_displacements(gram):
    upper = upper_squared_displacements(gram)
    return upper + upper.T


def time_averaged_msd(step_gram: ArrayLike, lags: ArrayLike | None = None) -> Float[Array, "lag"]:
    r"""Return the time-averaged mean squared displacement (TAMSD) of a path.

    msd(lag) = 1/(T+1-lag) * sum over i = 0..T-lag of |w_{i+lag} - w_i|^2. All pairs of a lag have
    the same weight (Chen, Qu & Gong, arXiv:2009.10588, Eq. 3). Lag T has a single pair, so the last
    lags scatter most. `effective_pairs` gives the number of independent pairs.

    Formula:
        Time-averaged MSD (TAMSD). $\overline{\delta^2}(\ell) = \frac{1}{T+1-\ell}
        \sum_{i=0}^{T-\ell} \lVert w_{i+\ell} - w_i \rVert^2$ (Chen, Qu & Gong, arXiv:2009.10588,
        Eq. 3)

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.
        lags: (L,) integers in 1..T, known before tracing; all of 1..T when None.

    Returns:
        (L,) squared weight units, never negative.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1; a lag is not
            an integer in 1..T.

    >>> time_averaged_msd([[1.0, 1.0], [1.0, 1.0]]).tolist()      # constant velocity: lag squared
    [1.0, 4.0]
    """
    with one_path(step_gram) as gram:
        return _averaged(gram, None if lags is None else checked_lags(lags, len(gram)))


@jax.jit
def _averaged(gram, lags):
    msd = diagonal_means(upper_squared_displacements(gram))
    return msd[1:] if lags is None else msd[lags]


def effective_pairs(steps: IntegerLike, lags: ArrayLike | None = None) -> Float[np.ndarray, "lag"]:
    r"""Return how many independent pairs the overlapping pairs of a TAMSD are worth.

    The formula holds for independent Gaussian steps. With K = T+1-lag pairs and n = lag,
    1/effective = (4 n^2 K + 2 K + n - n^3) / (6 n K^2) where n <= K, and 1 + (K^3 - 4 n K^2 + 4 n -
    K) / (6 n^2 K) where n > K (Qian, Sheetz & Elson, Biophys. J. 60, 910, 1991). This is the
    squared correlation of the displacements of two pairs, averaged over all pairs of pairs. The
    number falls from T at lag 1, by about 1.5 T / lag, to 1 at lag T.

    The relative standard error of the TAMSD is sqrt(2 / (d effective)) along d independent
    directions of equal strength. For steps of covariance C, d = (tr C)^2 / tr(C^2). Steps that are
    correlated in time have other numbers of pairs.

    Formula:
        Effective number of pairs of a TAMSD. $\frac{1}{K_{\mathrm{eff}}} = \frac{4 n^2 K + 2 K + n
        - n^3}{6 n K^2}, \quad n \le K$ (Qian, Sheetz & Elson, Biophys. J. 60, 910, 1991)

    Args:
        steps: T >= 1, the steps of the path.
        lags: (L,) integers in 1..T; all of 1..T when None.

    Returns:
        (L,) float64 NumPy array, dimensionless, between 1 and T+1-lag.

    Raises:
        InputError: `steps` is not a positive integer; a lag is not an integer in 1..T.

    >>> effective_pairs(1000, [1, 10, 100, 1000]).round(2).tolist()
    [1000.0, 148.28, 13.9, 1.0]
    """
    steps = integer("steps", steps, 1, what="steps of the path")
    if lags is None:
        check_memory(8 * 8 * steps, f"A number for each of {steps} lags", "choose lags")
    n = (np.arange(1, steps + 1) if lags is None else checked_lags(lags, steps)).astype(np.float64)
    pairs = steps + 1 - n
    some_disjoint = (4 * n**2 * pairs + 2 * pairs + n - n**3) / (6 * n * pairs**2)
    all_overlap = 1 + (pairs**3 - 4 * n * pairs**2 + 4 * n - pairs) / (6 * n**2 * pairs)
    return 1 / np.where(n <= pairs, some_disjoint, all_overlap)


def displacement_from_start(
    step_gram: ArrayLike, *, waiting_time: IntegerLike = 0
) -> Float[Array, "lag"]:
    r"""Return the squared displacement from one point of a path, without a time average.

    |w_{t_w + lag} - w_{t_w}|^2 for lag = 1..T-t_w (Chen, Qu & Gong, arXiv:2009.10588, Eq. 4, after
    Baity-Jesi et al. 2018). This is row t_w of `squared_displacements`, without the rest of the
    matrix. `aging.two_time_displacements` takes many waiting times at once.

    Formula:
        MSD without a time average. $\Delta(t_w, t_w + \ell) = \lVert w_{t_w + \ell} - w_{t_w}
        \rVert^2$ (Chen, Qu & Gong, arXiv:2009.10588, Eq. 4)

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.
        waiting_time: t_w, an integer in 0..T-1 known before tracing, counted from the first point
            of the window.

    Returns:
        (T - t_w,) squared weight units, never negative.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1; `waiting_time`
            is not an integer in 0..T-1.
    """
    with one_path(step_gram) as gram:
        start = checked_integer("waiting_time", waiting_time, 0, len(gram) - 1, len(gram))
        return _from_start(gram, start)


@functools.partial(jax.jit, static_argnums=1)
def _from_start(gram, start):
    return non_negative(jnp.cumsum(each_pair_once(gram[start:, start:]).sum(axis=0)))


def step_autocorrelation(step_gram: ArrayLike) -> Float[Array, "lag"]:
    r"""Return the autocorrelation of the steps of a path as vectors.

    C(k) = mean over u of <dw_u, dw_{u+k}> / mean over u of |dw_u|^2 for k = 0..T-1, so that C(0) =
    1. C(1) is -1/2 for independent positions, 0 for independent steps and 1 at constant velocity.
    The mean step is not subtracted.

    Formula:
        Step autocorrelation. $C(k) = \frac{\overline{\langle \Delta w_u, \Delta w_{u+k}
        \rangle}}{\overline{\lVert \Delta w_u \rVert^2}}$ (definition)

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.

    Returns:
        (T,) dimensionless; NaN for a path that never moves.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1.
    """
    with one_path(step_gram) as gram:
        return _autocorrelation(gram)


@jax.jit
def _autocorrelation(gram):
    covariance = diagonal_means(jnp.triu(gram))
    return ratio(covariance, covariance[0])


def step_angles(step_gram: ArrayLike, separation: IntegerLike = 1) -> Float[Array, "step"]:
    r"""Return the angles between the steps of a path as vectors.

    arccos(<dw_u, dw_{u+s}> / (|dw_u| |dw_{u+s}|)) for u = 0..T-1-s and s = `separation`. The angle
    0 goes straight on. Independent steps make pi/2 in many dimensions. The angle pi turns back, as
    a walker does that bounces between the walls of a valley (Xing et al., arXiv:1802.08770, with s
    = 1).

    An angle within e of 0 or pi changes the cosine by e^2/2. So it is known to about 1e-8 from
    float64 and to a few 1e-4 from float32. It has no derivative at 0 and pi.

    Formula:
        Angle between steps. $\theta_u = \arccos \frac{\langle \Delta w_u, \Delta w_{u+s}
        \rangle}{\lVert \Delta w_u \rVert \, \lVert \Delta w_{u+s} \rVert}$ (Xing et al.,
        arXiv:1802.08770, for s = 1)

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.
        separation: s, an integer in 1..T-1 known before tracing.

    Returns:
        (T - s,) radians in [0, pi]; NaN where one of the two steps is zero.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1; `separation`
            is not an integer in 1..T-1, which excludes T = 1.

    >>> step_angles([[1.0, 0.0], [0.0, 4.0]]).round(4).tolist()       # two steps at a right angle
    [1.5708]
    """
    with one_path(step_gram) as gram:
        apart = checked_integer("separation", separation, 1, len(gram) - 1, len(gram))
        return _angles(gram, apart)


@functools.partial(jax.jit, static_argnums=1)
def _angles(gram, apart):
    lengths = power(jnp.diagonal(gram), 0.5)
    products = lengths[:-apart] * lengths[apart:]
    cosines = jnp.diagonal(gram, apart) / jnp.where(products > 0, products, 1)
    return where_known(products > 0, jnp.arccos(jnp.clip(cosines, -1, 1)))


def ergodicity_breaking(msds: ArrayLike, *, axis: IntegerLike = 0) -> Float[Array, "*shape"]:
    r"""Return how far the time averages of an ensemble scatter from path to path.

    The ergodicity-breaking parameter is EB(lag) = <xi^2> - 1 with xi = TAMSD / <TAMSD>, with
    averages over the paths (Metzler et al., Phys. Chem. Chem. Phys. 16, 24128, 2014, Sec. 2). It is
    the variance of the TAMSD over its squared mean, and 0 when all paths have the same TAMSD. Over
    N paths the average is low by about 1/N of itself.

    Formula:
        Ergodicity-breaking parameter, EB. $\mathrm{EB}(\ell) = \langle \xi^2 \rangle - 1, \quad \xi
        = \frac{\overline{\delta^2}}{\langle \overline{\delta^2} \rangle}$ (Metzler et al., Phys.
        Chem. Chem. Phys. 16, 24128, 2014, Sec. 2)

    Args:
        msds: (..., N, ..., L), TAMSDs of N paths along `axis`; NaN where a path has none. Such
            paths are left out there.
        axis: the axis of the paths.

    Returns:
        The shape of `msds` without `axis`; NaN where fewer than two paths are left or none has
        moved.

    Raises:
        InputError: the TAMSDs are no array of real numbers with such an axis.
    """
    with own_precision("msds", msds) as msds:
        if msds.ndim == 0:
            raise invalid("msds", "has shape ()", "(..., N, ..., L), the TAMSDs of N paths")
        return _breaking(msds, integer("axis", axis, -msds.ndim, msds.ndim - 1))


@functools.partial(jax.jit, static_argnums=1)
def _breaking(msds, axis):
    present = ~jnp.isnan(msds)
    msds = jnp.where(present, msds, 0)
    count = present.sum(axis=axis, keepdims=True).astype(msds.dtype)
    mean = msds.sum(axis=axis, keepdims=True) / jnp.maximum(count, 1)
    deviation = jnp.where(present, msds / jnp.where(mean == 0, 1, mean) - 1, 0)
    breaking = (deviation**2).sum(axis=axis, keepdims=True) / jnp.maximum(count, 1)
    return where_known(((count > 1) & (mean != 0)).squeeze(axis), breaking.squeeze(axis))
