"""Surrogates of a path: what its MSD is without its drift, or without the order of its steps.

A smooth drift alone gives the MSD an exponent of 2. An exponent above 1 (the superdiffusion of
Chen, Qu & Gong, arXiv:2009.10588) therefore says nothing about jumps or correlations of the noise
by itself. Compare it with what is left without the drift, or without the order:

- `drift_subtracted` keeps the order and all correlations of the deviations from the mean step. It
  destroys the mean step, and with it w_T - w_0.
- `shuffled_steps` keeps the steps themselves: their lengths, the angles between them and their
  mean, hence w_T - w_0. It destroys their order: correlations in time, aging, relaxation.
- `sign_flipped_steps` keeps step lengths, in their order. It destroys mean drift and all
  correlations.

Superdiffusion that `drift_subtracted` removes was a straight motion at the scale of the window.
What `shuffled_steps` keeps of it needs no correlations beyond that mean step. `sign_flipped_steps`
has exponent 1 at lags << T, however the step lengths change over the window.

A path enters as its step Gram matrix, and a surrogate is one again. It is a JAX array in the
precision of the input (see `analysis.displacement`). So every statistic of a path can be taken of
it. All functions take one path and can be jitted. `jax.vmap` maps them over paths, or over keys for
many surrogates of one path. A matrix with NaN (a member that diverged) gives NaN.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgd_diffusion._arrays import integer
from sgd_diffusion._types import ArrayLike, IntegerLike, Key
from sgd_diffusion.analysis.displacement import time_averaged_msd
from sgd_diffusion.analysis.gram import checked_lags, non_negative, one_path
from sgd_diffusion.analysis.guarded import ratio
from sgd_diffusion.analysis.lags import MAX_WINDOW

__all__ = [
    "bridge_factor",
    "drift_subtracted",
    "drift_subtracted_msd",
    "shuffled_msd",
    "shuffled_steps",
    "sign_flipped_steps",
]


def drift_subtracted(step_gram: ArrayLike) -> Float[Array, "step step"]:
    r"""Return the step Gram matrix of a path without its mean step.

    J G J with J = I - 1/T is the matrix of the steps dw_u - (w_T - w_0)/T. This path returns to its
    start, which bends its MSD down: see `drift_subtracted_msd`.

    Formula:
        Path without its mean drift. $J G J, \quad J = I - \frac{1}{T}$ (definition)

    Args:
        step_gram: (T, T), symmetric.

    Returns:
        (T, T), symmetric, its rows summing to zero up to rounding; zero for T = 1.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1.

    >>> drift_subtracted([[9.0, 3.0], [3.0, 1.0]]).tolist()          # 3 and 1 about their mean
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    with one_path(step_gram) as gram:
        return _drift_subtracted(gram)


@jax.jit
def _drift_subtracted(gram):
    # Later passes remove what rounding left in the row sums, which adds up over long lags.
    # Compiled code does not round the terms of a row and a column alike. Only symmetry and a
    # third pass leave as little as uncompiled code does.
    return jax.lax.fori_loop(0, 3, _without_mean, gram)


def _without_mean(_, gram):
    with_mean = gram.mean(axis=0)  # <dw_u, mean dw>
    less = gram - (with_mean[:, None] + with_mean[None]) + with_mean.mean()
    return (less + less.T) / 2


def shuffled_steps(key: Key, step_gram: ArrayLike) -> Float[Array, "step step"]:
    r"""Return the step Gram matrix of a path with its steps in random order.

    G[p_u, p_v] for a permutation p of the steps, all T! of them equally likely. `shuffled_msd` is
    the average of the TAMSD over all permutations.

    Formula:
        Surrogate with steps in random order. $G_{\pi(u) \pi(v)}$ (definition)

    Args:
        key: PRNG key.
        step_gram: (T, T), symmetric.

    Returns:
        (T, T), symmetric, the entries of G.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1.
    """
    with one_path(step_gram) as gram:
        return reordered(random_order(key, len(gram)), gram)


@functools.partial(jax.jit, static_argnums=1)
def random_order(key, steps):
    """Return the order of `shuffled_steps`, a permutation of 0..T-1."""
    return jax.random.permutation(key, steps)


@jax.jit
def reordered(order, gram):
    """Return the step Gram matrix of a path with its steps in this order."""
    return gram[order][:, order]


def sign_flipped_steps(key: Key, step_gram: ArrayLike) -> Float[Array, "step step"]:
    r"""Return the step Gram matrix of a path with random signs for its steps.

    s_u s_v G[u, v] with independent signs s_u, +1 or -1 with probability 1/2 each. The average over
    signs leaves only the diagonal. It is the TAMSD of a walk with independent steps of the same
    lengths, in the same order.

    Formula:
        Surrogate with random signs of the steps. $s_u s_v G_{uv}, \quad s_u = \pm 1$ (definition)

    Args:
        key: PRNG key.
        step_gram: (T, T), symmetric.

    Returns:
        (T, T), symmetric, with the diagonal of G.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1.
    """
    with one_path(step_gram) as gram:
        return with_signs(random_signs(key, len(gram)), gram)


@functools.partial(jax.jit, static_argnums=1)
def random_signs(key, steps):
    """Return the signs of `sign_flipped_steps`, T of 1 or -1."""
    # Float32 gives the same draws in every precision.
    return jnp.where(jax.random.bernoulli(key, np.float32(0.5), (steps,)), 1, -1)


@jax.jit
def with_signs(signs, gram):
    """Return the step Gram matrix of a path with its steps times these signs."""
    signs = signs.astype(gram.dtype)
    return signs[:, None] * signs[None] * gram


def bridge_factor(steps: IntegerLike, lags: ArrayLike) -> Float[np.ndarray, "lag"]:
    """Return the factor by which the return of a drift-subtracted path to its start lowers its MSD.

    It is (T - lag)/(T - 1), for steps that come in random order. Let e_u = dw_u - mean dw and s^2 =
    (1/T) sum_u |e_u|^2. The e_u sum to zero, so that <e_u, e_v> averages -s^2/(T - 1) over all
    permutations for u != v. The TAMSD is then exactly lag s^2 - lag (lag - 1) s^2/(T - 1) = s^2 lag
    (T - lag)/(T - 1). In continuous time, this is the Brownian bridge.

    Args:
        steps: T >= 1.
        lags: (L,) integers in 1..T.

    Returns:
        (L,) float64 NumPy, 1 at lag 1 and 0 at lag T; 0 for T = 1, where both are the same lag.

    Raises:
        InputError: `steps` is not a positive integer; a lag is not an integer in 1..T.

    >>> bridge_factor(5, [1, 3, 5]).tolist()
    [1.0, 0.5, 0.0]
    """
    steps = integer("steps", steps, 1, MAX_WINDOW)
    return (steps - checked_lags(lags, steps)) / max(steps - 1, 1)


def drift_subtracted_msd(
    step_gram: ArrayLike, lags: ArrayLike | None = None
) -> Float[Array, "lag"]:
    """Return the TAMSD without the mean drift, corrected for the return of the path to its start.

    This is the TAMSD of `drift_subtracted` over `bridge_factor`. For exchangeable steps, whose
    joint distribution does not depend on their order, the correction is exact in expectation.
    Brownian motion with any constant drift gets its s^2 lag and its exponent of 1 back, with s^2
    smaller by (1 - 1/T) than without subtraction.

    For correlated steps it is an approximation, good for lag << T. A persistent path loses
    displacement of its own with the mean step, and a constant velocity leaves no motion at all. A
    confined path had no drift to lose. There the noise of its two ends is subtracted, it is divided
    all the same, and its plateau turns up as (1 + lag^2/T^2) T/(T - lag).

    Args:
        step_gram: (T, T), symmetric.
        lags: (L,) integers in 1..T, known before tracing; all of 1..T when None.

    Returns:
        (L,) squared weight units, never negative; NaN at lag T, where the path is back at its start
        (0/0).

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1; a lag is not
            an integer in 1..T.

    Notes:
        Fractional Brownian motion with exponent 1.5 over T = 1000 keeps 1.42 on lags 10-100 and
        1.25 on lags 100-500.
    """
    with one_path(step_gram) as gram:
        lags = _lags_or_all(lags, len(gram))
        factor = bridge_factor(len(gram), lags)
        return ratio(
            time_averaged_msd(drift_subtracted(gram), lags), jnp.asarray(factor, gram.dtype)
        )


def shuffled_msd(step_gram: ArrayLike, lags: ArrayLike | None = None) -> Float[Array, "lag"]:
    r"""Return the TAMSD of a path with its steps in random order, averaged over all T! orders.

    lag a + lag (lag - 1) b, where a is the mean of the diagonal of G and b that of its other
    entries. This is exact; no shuffle is drawn. Lag 1 and lag T are those of the path itself.

    A shuffle keeps the mean step. So b > 0 and the exponent goes to 2 at long lags where there is a
    mean drift; without one it is 1. Every motion that ends far from its start counts as drift here,
    also persistent noise over a single window. A motion that ends near its start (confined) has b =
    -a/(T - 1). So the `bridge_factor` bends its shuffles too: to 0.98 on lags 1 to T/10.

    Formula:
        MSD over all orders of the steps. $\ell a + \ell (\ell - 1) b, \quad a = \overline{G_{uu}},
        \quad b = \overline{G_{uv}}, u \ne v$ (exact average over all T! orders)

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.
        lags: (L,) integers in 1..T, known before tracing; all of 1..T when None.

    Returns:
        (L,) squared weight units, never negative.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1; a lag is not
            an integer in 1..T.

    >>> shuffled_msd([[1.0, -1.0], [-1.0, 1.0]]).tolist()      # there and back, in either order
    [1.0, 0.0]
    """
    with one_path(step_gram) as gram:
        return _shuffled_msd(gram, jnp.asarray(_lags_or_all(lags, len(gram)), gram.dtype))


@functools.partial(jax.jit, inline=True)
def _shuffled_msd(gram, lags):
    steps = len(gram)
    diagonal = jnp.diagonal(gram).mean()
    off_diagonal = jnp.triu(gram, 1).sum() / max(steps * (steps - 1) / 2, 1)
    return non_negative(lags * diagonal + lags * (lags - 1) * off_diagonal)


def _lags_or_all(lags, steps):
    return np.arange(1, steps + 1) if lags is None else checked_lags(lags, steps)
