"""Power-law tails above a threshold that the data choose, and whether a power law fits there.

P(X > x) = (x / x_min)^-alpha for x >= x_min: alpha is the exponent of the survival function, and the density falls with
exponent alpha + 1, which Clauset, Shalizi & Newman (SIAM Rev. 51, 661, 2009) call alpha. Everything here is float64
NumPy on the host; samples have shape (..., n), a sample along the last axis, and every result shape (...). A sample with
NaN or infinity, with fewer than 20 positive values, or with a single value throughout its tail has no fit: its numbers
are NaN, its status says why, and the other samples are not affected.

``side`` is the tail that is meant: "right", "left", or "both", the tail of |X|.
"""

import numbers
from typing import NamedTuple

import jax
import numpy as np

from sgd_diffusion.analysis.estimates import MIN_POINTS, Status
from sgd_diffusion.analysis.tails.extremes import tail_values
from sgd_diffusion.errors import InputError

__all__ = ["GoodnessOfFit", "PowerLawTail", "fit_power_law_tail", "goodness_of_fit"]

VALUES_AT_ONCE = 2**22  # of bootstrap samples, 32 MiB an array


class PowerLawTail(NamedTuple):
    """Pareto laws above a threshold; every array has the leading shape (...) of the samples."""

    alpha: np.ndarray  # exponent of the survival function
    error: np.ndarray  # its standard error, for a given threshold
    x_min: np.ndarray  # the smallest value of the tail
    num_points: np.ndarray  # values in the tail, x_min among them
    distance: np.ndarray  # Kolmogorov-Smirnov distance between tail and law
    status: np.ndarray  # of Status, integers


class GoodnessOfFit(NamedTuple):
    """Whether power-law tails fit; every array has the leading shape (...) of the samples."""

    p_value: np.ndarray  # small where the tail is no power law
    error: np.ndarray  # its standard error, from the finite number of draws
    fit: PowerLawTail


def fit_power_law_tail(samples, *, side="both", num_candidates=200):
    """Power-law tail of a sample above the threshold at which it fits best.

    For each candidate x_min: 1/alpha = mean of ln(x / x_min) over the values above it, which is Hill's estimator, and the
    Kolmogorov-Smirnov distance max |S(x) - (x / x_min)^-alpha| between empirical and fitted survival function on
    [x_min, inf). The x_min of smallest distance is taken (Clauset, Shalizi & Newman, SIAM Rev. 51, 661, 2009, Sec. 3).
    Three details differ from the paper. The candidates are not all values but those that leave log-spaced numbers of
    tail points, from 20 to n; x_min itself, which has no freedom, is not counted in the mean, which would make alpha
    high by 1/num_points; and the distance looks at both sides of every jump of the empirical function.

    The standard error alpha / sqrt(num_points - 1) is that at a given x_min; the choice adds to the scatter, by how much
    depends on the law. The 200 samples of n = 5000 from Student's t with 3 degrees of freedom gave 2.58 on average, with a
    scatter of 0.25 where the errors say 0.13: the smallest distance still has a bias.

    Args:
        samples: (..., n), n >= 20.
        side: "both", "right" or "left".
        num_candidates: at most so many values of x_min.

    Returns:
        :class:`PowerLawTail`; tied values at x_min are all in the tail.

    Raises:
        InputError: fewer than 20 values, an unknown side, or fewer than one candidate.
    """
    values, logs = _values_and_logs(samples, side, num_candidates)
    tail = _best_tail(logs.reshape(-1, logs.shape[-1]), num_candidates)
    alpha, log_min, count, distance = (field.reshape(logs.shape[:-1]) for field in tail)
    found = count > 0
    status = np.select(
        [~np.isfinite(values).all(axis=-1), np.isneginf(logs[..., MIN_POINTS - 1]), ~found],
        [Status.NOT_FINITE, Status.NOT_POSITIVE, Status.CONSTANT],
        Status.OK,
    )
    error = alpha / np.sqrt(np.where(found, count - 1, 1))
    return PowerLawTail(alpha, error, np.exp(log_min), count, np.where(found, distance, np.nan), status)


def goodness_of_fit(key, samples, *, side="both", num_candidates=200, num_draws=100):
    """Fit of :func:`fit_power_law_tail` with the probability that a power-law tail fits as badly.

    Semi-parametric bootstrap (Clauset, Shalizi & Newman, SIAM Rev. 51, 661, 2009, Sec. 4): a draw takes each of its n
    values from the fitted law with probability num_points / n, and from the values below x_min otherwise, and is fitted
    as the sample was, threshold and all. p = (1 + draws whose distance is at least that of the sample) / (1 + draws),
    with standard error sqrt(p (1-p) / (1 + draws)). Below 0.1, Clauset et al. say, the power law is ruled out; a large p
    only says that nothing speaks against it in so many points, and other laws may fit as well. The test is conservative:
    of 600 samples of a power law planted above a uniform body 8.3 and 20 percent had p <= 0.1 and 0.25 for n = 300, 6.7
    and 18 percent for n = 1000.

    Args:
        key: PRNG key; every sample sees the same random numbers.
        samples: (..., n), n >= 20, independent values. Values that depend on each other make p too small.
        side: "both", "right" or "left".
        num_candidates: at most so many values of x_min.
        num_draws: draws of the bootstrap.

    Returns:
        :class:`GoodnessOfFit`; NaN where there is no fit.

    Raises:
        InputError: fewer than 20 values, an unknown side, or fewer than one candidate or draw.
    """
    if not isinstance(num_draws, numbers.Integral) or num_draws < 1:
        raise InputError(f"num_draws is {num_draws}; expected a positive integer, such as 100")
    fit = fit_power_law_tail(samples, side=side, num_candidates=num_candidates)
    _, logs = _values_and_logs(samples, side, num_candidates)
    p_value = np.full(fit.status.shape, np.nan)
    for member in map(tuple, np.argwhere(fit.status == Status.OK)):
        draws = _draws(key, logs[member], PowerLawTail(*(field[member] for field in fit)), num_draws)
        distances = np.concatenate([_best_tail(drawn, num_candidates).distance for drawn in draws])
        p_value[member] = (1 + np.count_nonzero(distances >= fit.distance[member])) / (1 + num_draws)
    return GoodnessOfFit(p_value, np.sqrt(p_value * (1 - p_value) / (1 + num_draws)), fit)


class _Tail(NamedTuple):
    """The best tails of rows (R, n) of descending logarithms; every array is (R,)."""

    alpha: np.ndarray  # NaN where no candidate leaves different values
    log_min: np.ndarray
    count: np.ndarray  # 0 there
    distance: np.ndarray  # infinite there


def _best_tail(logs, num_candidates):
    """Tails above the candidate thresholds, those of smallest Kolmogorov-Smirnov distance."""
    rows, n = logs.shape
    is_last = np.append(logs[:, 1:] < logs[:, :-1], np.ones((rows, 1), bool), axis=1)  # of a group of equal values
    ends = np.minimum.accumulate(np.where(is_last, np.arange(1, n + 1), n)[:, ::-1], axis=1)[:, ::-1]
    best = _Tail(np.full(rows, np.nan), np.full(rows, np.nan), np.zeros(rows, int), np.full(rows, np.inf))
    for k in np.unique(np.rint(np.geomspace(MIN_POINTS, n, num_candidates)).astype(int)):
        tail = _tail_above(logs, logs[:, k - 1], np.where(np.isneginf(logs[:, k - 1]), 0, ends[:, k - 1]))
        better = tail.distance < best.distance
        best = _Tail(*(np.where(better, new, old) for new, old in zip(tail, best, strict=True)))
    return best


def _tail_above(logs, log_min, count):
    """Tails of the first ``count`` (R,) values of each row, log_min the last of them."""
    width = max(count.max(), 1)
    inside = np.arange(width) < count[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):  # where count is 0, or all values are alike
        excess = np.where(inside, logs[:, :width] - log_min[:, None], 0)
        alpha = (count - 1) / excess.sum(axis=-1)
        law = np.exp(-alpha[:, None] * excess)
        above = np.arange(width) / count[:, None]  # share of the tail above each of its values
        gaps = np.maximum(law - above, above + 1 / count[:, None] - law)
    distance = np.where(inside, gaps, 0).max(axis=-1)
    return _Tail(alpha, log_min, count, np.where(np.isfinite(alpha), distance, np.inf))


def _draws(key, logs, tail, num_draws):
    """Bootstrap samples of one sample (n,) of descending logarithms, as rows of descending logarithms, a few at once."""
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    n, body = len(logs), logs[tail.num_points :]
    for rows in np.diff(np.append(np.arange(0, num_draws, max(VALUES_AT_ONCE // n, 1)), num_draws)):
        drawn = np.log(tail.x_min) + random.exponential(1 / tail.alpha, (rows, n))
        if len(body):
            from_body = random.random((rows, n)) >= tail.num_points / n
            drawn = np.where(from_body, random.choice(body, (rows, n)), drawn)
        yield -np.sort(-drawn, axis=-1)


def _values_and_logs(samples, side, num_candidates):
    """Checked values (..., n) whose right tail is meant, and their logarithms, descending; -inf where there is none."""
    if not isinstance(num_candidates, numbers.Integral) or num_candidates < 1:
        raise InputError(f"num_candidates is {num_candidates}; expected a positive integer, such as 200")
    values = tail_values(np.asarray(samples, dtype=np.float64), side)
    if values.ndim == 0 or values.shape[-1] < MIN_POINTS:
        raise InputError(f"samples has shape {values.shape}; expected (..., n) with n >= {MIN_POINTS}: take a longer sample")
    usable = np.isfinite(values).all(axis=-1, keepdims=True) & (values > 0)
    logs = np.log(np.where(usable, values, 1))
    return values, -np.sort(-np.where(usable, logs, -np.inf), axis=-1)
