"""Aging: how displacements depend on the waiting time, and their collapse on one curve.

The two-time displacements of one path come from its step Gram matrix, in its precision, under
`jax.jit` and `jax.vmap`. The collapse is float64 NumPy on the host. It takes displacements of any
origin: of one window, of windows along a training run, averaged over members.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float, Int
from numpy.polynomial import legendre

from sgd_diffusion._arrays import host_array, integer_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, HostArray
from sgd_diffusion.analysis.gram import checked_lags, one_path, upper_squared_displacements
from sgd_diffusion.analysis.guarded import where_known
from sgd_diffusion.errors import invalid

__all__ = ["AgingFit", "fit_aging", "two_time_displacements"]

# Degree of the polynomial in ln(lag / t_w^mu): 0.3 % off a crossover over five decades, and smooth
# across the noise.
MASTER_DEGREE = 7
MIN_LAGS = MASTER_DEGREE + 2
MIN_WAITING_TIMES = 3  # one is left out in turn, and two curves have to be left to compare
SEARCHED = np.linspace(-1.0, 2.0, 31)  # aging exponents
ROUNDING = 1e-9  # smaller residuals of ln Delta are rounding


@shown_briefly
class AgingFit(NamedTuple):
    """Collapse Delta = t_w^a F(lag / t_w^mu); (...) are the leading axes of the displacements.

    Attributes:
        amplitude_exponent: (...), a.
        amplitude_exponent_error: (...), jackknife; infinite where the curves do not determine a and
            mu.
        aging_exponent: (...), mu.
        aging_exponent_error: (...), jackknife; infinite where the curves do not determine a and mu.
        rmse: (...), root mean square of the residuals of ln Delta about the master curve.
        num_points: (...), displacements that entered.
        searched: (M,), the searched aging exponents mu.
        searched_amplitude_exponent: (..., M), the best a for each of them; NaN where successive
            curves do not overlap.
        searched_rmse: (..., M), the rmse that it leaves; NaN where successive curves do not
            overlap.
    """

    amplitude_exponent: Float[HostArray, "*curves"]
    amplitude_exponent_error: Float[HostArray, "*curves"]
    aging_exponent: Float[HostArray, "*curves"]
    aging_exponent_error: Float[HostArray, "*curves"]
    rmse: Float[HostArray, "*curves"]
    num_points: Int[HostArray, "*curves"]
    searched: Float[np.ndarray, "mu"]
    searched_amplitude_exponent: Float[np.ndarray, "*curves mu"]
    searched_rmse: Float[np.ndarray, "*curves mu"]


def two_time_displacements(
    step_gram: ArrayLike, waiting_times: ArrayLike, lags: ArrayLike
) -> Float[Array, "waiting_time lag"]:
    r"""Return squared displacements over several lags after several waiting times.

    Delta(t_w, t_w + lag) = |w_{t_w + lag} - w_{t_w}|^2 (Baity-Jesi et al., ICML 2018, who divide by
    the number of parameters), entries of `displacement.squared_displacements`.

    Formula:
        Two-time displacements. $\Delta(t_w, t_w + \ell) = \lVert w_{t_w + \ell} - w_{t_w} \rVert^2$
        (Baity-Jesi et al., ICML 2018)

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.
        waiting_times: (W,) integers t_w in 0..T-1 known before tracing, counted from the first
            point of the window.
        lags: (L,) integers in 1..T, known before tracing.

    Returns:
        (W, L) squared weight units, never negative; NaN where t_w + lag lies beyond the window.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1; a waiting time
            is not an integer in 0..T-1; a lag is not an integer in 1..T.

    >>> steady = [[1.0, 1.0], [1.0, 1.0]]                              # constant velocity
    >>> two_time_displacements(steady, [0, 1], [1, 2]).tolist()
    [[1.0, 4.0], [1.0, nan]]
    """
    with one_path(step_gram) as gram:
        steps = len(gram)
        start = integer_array("waiting_times", waiting_times, 0, steps - 1)
        lags = checked_lags(lags, steps)
        end = start[:, None] + lags
        return _two_time_displacements(gram, start[:, None], end)


@jax.jit
def _two_time_displacements(gram, start, end):
    inside = upper_squared_displacements(gram)[start, jnp.minimum(end, len(gram))]
    return where_known(end <= len(gram), inside)


def fit_aging(waiting_times: ArrayLike, lags: ArrayLike, displacements: ArrayLike) -> AgingFit:
    r"""Fit the aging exponents that make two-time displacements fall on one master curve.

    Delta(t_w, t_w + lag) = t_w^a F(lag / t_w^mu). mu = 1 is full aging, 0 < mu < 1 sub-aging
    (Herrera Segura et al., arXiv:2209.02517), and mu = 0 no aging of the time scale. Scaled
    Brownian motion <x^2> = t^alpha has a = alpha and mu = 1, a stationary process a = mu = 0. To
    collapse by the strength of the noise instead (Baity-Jesi et al., ICML 2018), divide each curve
    by its D(t_w) first. Then a is what the noise does not explain.

    ln F is a polynomial of degree 7, so that for every mu everything else is a linear least squares
    problem. All displacements have the same weight: log-spaced lags and waiting times serve best.
    mu is searched in -1..2 where successive curves overlap in lag / t_w^mu, since curves that
    nowhere meet lie on one master curve for any mu.

    Where F is one power law lag^b, any mu collapses the curves as well as any other: only a - mu b
    is determined. Both errors are then infinite, and the exponents no measurement. The test is
    whether the mean squared residual at one end of the search is at most 1 + 4/W times the least
    one. This is two standard errors if each of W waiting times were one independent residual.
    `searched_amplitude_exponent` gives the a that belongs to each mu.

    The errors are those of a jackknife over waiting times. The curves of one path share their
    steps, which the jackknife cannot see. The spread over seeds is the honest uncertainty here too.

    Formula:
        Aging exponent, mu. $\Delta(t_w, t_w + \ell) = t_w^{a} \, F \left( \frac{\ell}{t_w^{\mu}}
        \right)$ (Herrera Segura et al., arXiv:2209.02517)

    Args:
        waiting_times: (W,) positive and increasing, W >= 3.
        lags: (L,) positive and increasing, L >= 9.
        displacements: (..., W, L); those that are NaN, infinite, zero or negative have no logarithm
            and are left out.

    Returns:
        `AgingFit`; all NaN but `num_points` and `searched` where fewer than 3 waiting times or 9
        lags are left, or successive curves overlap for fewer than 3 of the searched mu.

    Raises:
        InputError: waiting times or lags too few, or not increasing and positive; shapes that do
            not fit.

    Notes:
        For scaled Brownian motion, 8 waiting times and 300 or 3000 dimensions, two errors cover the
        truth in 65 to 90 % of the paths.
    """
    log_times = _log_axis("waiting_times", waiting_times, MIN_WAITING_TIMES)
    log_lags = _log_axis("lags", lags, MIN_LAGS)
    displacements = host_array("displacements", displacements)
    shape = (len(log_times), len(log_lags))
    if displacements.shape[-2:] != shape:
        raise invalid(
            "displacements",
            f"has shape {displacements.shape}",
            f"(..., {shape[0]}, {shape[1]}), one value for each waiting time and lag",
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        curves = np.log(
            np.where((displacements > 0) & (displacements < np.inf), displacements, np.nan)
        )
    fits = [_fit_one(log_times, log_lags, member) for member in curves.reshape(-1, *shape)]
    fields = (np.array(field) for field in zip(*fits, strict=True))
    fit = AgingFit(*(field.reshape(curves.shape[:-2] + field.shape[1:]) for field in fields))
    return fit._replace(searched=SEARCHED.copy())  # one axis for all of them


def _fit_one(log_times, log_lags, curves):
    """Return the `AgingFit` of one set of curves (W, L), NaN where a displacement is missing."""
    left = np.isfinite(curves).any(axis=1)
    log_times, curves = log_times[left], curves[left]
    times, points = len(log_times), np.count_nonzero(np.isfinite(curves))
    if times < MIN_WAITING_TIMES:
        return AgingFit(*np.full(5, np.nan), points, SEARCHED, *np.full((2, len(SEARCHED)), np.nan))
    exponents, rmse, amplitudes, rmses = _search(log_times, log_lags, curves)
    left_out = [
        _search(np.delete(log_times, k), log_lags, np.delete(curves, k, axis=0))[0]
        for k in range(times)
    ]
    errors = np.sqrt(times - 1) * np.std(left_out, axis=0)
    if not np.isnan(rmse):
        at_ends = rmses[np.isfinite(rmses)][[0, -1]].min()
        contrast = (at_ends**2 + ROUNDING**2) / (rmse**2 + ROUNDING**2)
        errors = np.where(np.isnan(errors) | (contrast <= 1 + 4 / times), np.inf, errors)
    (amplitude, aging), (amplitude_error, aging_error) = exponents, errors
    return AgingFit(
        amplitude, amplitude_error, aging, aging_error, rmse, points, SEARCHED, amplitudes, rmses
    )


def _search(log_times, log_lags, curves):
    """Return the best (a, mu) and its residual, and the best a and residual of every searched mu.

    Residuals are root mean squares.
    """
    present = np.isfinite(curves)
    overlap = _successive_overlap(log_times, np.where(present, log_lags, np.nan))
    amplitudes, rmses = np.full((2, len(SEARCHED)), np.nan)
    if np.count_nonzero(overlap) < 3 or np.count_nonzero(present.any(axis=0)) < MIN_LAGS:
        return np.full(2, np.nan), np.nan, amplitudes, rmses
    times, lags = (
        np.broadcast_to(axis, curves.shape)[present] for axis in (log_times[:, None], log_lags)
    )
    points = times, lags, curves[present]
    candidates = SEARCHED[overlap]
    amplitudes[overlap], rmses[overlap] = np.transpose(
        [_collapse(mu, *points) for mu in candidates]
    )
    nearest = np.argmin(rmses[overlap])
    bracket = candidates[max(nearest - 1, 0)], candidates[min(nearest + 1, len(candidates) - 1)]
    best = scipy.optimize.minimize_scalar(
        lambda mu: _collapse(mu, *points)[1], bounds=bracket, method="bounded"
    )
    amplitude, rmse = _collapse(best.x, *points)
    return np.array([amplitude, best.x]), rmse, amplitudes, rmses


def _collapse(mu, log_times, log_lags, log_displacements):
    """Return amplitude exponent and residual of the best master curve for one aging exponent.

    The residual is a root mean square.
    """
    scaled = log_lags - mu * log_times
    middle, half = (scaled.max() + scaled.min()) / 2, (scaled.max() - scaled.min()) / 2
    basis, _ = np.linalg.qr(legendre.legvander((scaled - middle) / half, MASTER_DEGREE))
    # The parts of the two that the master curve cannot follow; a is the slope of one on the other.
    times, displacements = (
        values - basis @ (values @ basis) for values in (log_times, log_displacements)
    )
    amplitude = times @ displacements / (times @ times)
    return amplitude, np.sqrt(np.mean((displacements - amplitude * times) ** 2))


def _successive_overlap(log_times, log_lags):
    """Return for every searched mu whether curves of successive waiting times overlap.

    Curves overlap if they share values of lag / t_w^mu.
    """
    shift = SEARCHED[:, None] * log_times
    low, high = np.nanmin(log_lags, axis=1) - shift, np.nanmax(log_lags, axis=1) - shift
    return np.all((low[:, 1:] < high[:, :-1]) & (low[:, :-1] < high[:, 1:]), axis=1)


def _log_axis(name, axis, fewest):
    """Return natural logarithms of a checked axis."""
    axis = host_array(name, axis)
    if (
        axis.ndim != 1
        or len(axis) < fewest
        or not (np.all(np.diff(axis) > 0) and 0 < axis[0] and axis[-1] < np.inf)
    ):
        raise invalid(name, f"is {axis}", f"at least {fewest} increasing, positive, finite numbers")
    return np.log(axis)
