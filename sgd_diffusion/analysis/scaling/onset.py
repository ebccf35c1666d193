"""Where superdiffusion sets in, and when it ends."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sgd_diffusion._arrays import host_array, number
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, HostArray, IntegerLike, NumberLike
from sgd_diffusion.analysis.least_squares import Moments, logarithms, thinned
from sgd_diffusion.analysis.scaling.power_law import PowerLawFit, exp_or_inf, fit_power_law
from sgd_diffusion.errors import invalid

__all__ = ["Onset", "regime_boundary", "superdiffusion_onset"]

ONSET_POINTS = 10  # fewer points, or less than ONSET_DECADES: any smooth curve fits within 0.03
ONSET_DECADES = 0.5


@shown_briefly
class Onset(NamedTuple):
    """Where superdiffusion begins.

    Attributes:
        lag: (...), tau_0.
        fit: the longest power law that ends at the largest lag; it begins at `fit.x_min`.
    """

    lag: Float[HostArray, "*curves"]
    fit: PowerLawFit


def superdiffusion_onset(lags: ArrayLike, msd: ArrayLike, *, max_rmse: NumberLike = 0.03) -> Onset:
    r"""Return the lag tau_0 from which on the MSD is one superdiffusive power law.

    tau_0 is the smallest lag tau with a good fit on [tau, largest lag], if the exponent of that fit
    is above 1. A fit is good where the least-squares power law leaves a root mean square residual
    of ln msd of at most `max_rmse`. This is the rule of Chen, Qu & Gong, arXiv:2009.10588, for Fig.
    2a. Natural logarithms and the bound are choices: tau_0 moves with both.

    The candidates are 200 log-spaced points of `lags`. Each leaves at least 10 of these points and
    half a decade to fit, since any smooth curve is a power law over less. For lags 1..1000 the
    largest possible tau_0 is 316.

    Where this longest power law has an exponent of at most 1, the lag is NaN. `fit` then gives
    exponent and range of the law. Near exponent 1 chance decides between the two: look at the fits
    of several seeds.

    Formula:
        Onset of superdiffusion, tau_0.
        $\tau_0 = \min \{ \tau : \mathrm{rmse}(\ln \delta^2; \tau, \ell_{\max}) \le \varepsilon \}$
        (Chen, Qu & Gong, arXiv:2009.10588, Fig. 2a)

    Args:
        lags: (L,) positive and increasing.
        msd: (..., L).
        max_rmse: largest root mean square residual of ln msd.

    Returns:
        `Onset`; all NaN (`num_points` 0) where no candidate meets the bound, as for a curve that is
        NaN.

    Raises:
        InputError: lags not increasing and positive, shapes that do not fit, or lags too few for a
            candidate.
    """
    lags, log_lags, log_msd = logarithms("lags", lags, "msd", msd)
    max_rmse = number("max_rmse", max_rmse, at_least=0)
    points = thinned(log_lags, 200)
    lags, log_lags, log_msd = lags[points], log_lags[points], log_msd[..., points]
    enough = np.arange(len(points), 0, -1) >= ONSET_POINTS
    candidates = np.count_nonzero(
        enough & (log_lags[-1] - log_lags >= ONSET_DECADES * np.log(10) - 1e-9)
    )
    if candidates == 0:
        raise invalid(
            "lags",
            f"runs from {lags[0]:g} to {lags[-1]:g} with {len(points)} log-spaced points",
            f"at least {ONSET_POINTS} over {ONSET_DECADES} decades",
            "record a longer window",
        )
    lines = Moments.of_tails(log_lags, log_msd).line()
    with np.errstate(invalid="ignore"):
        good = (lines.rmse <= max_rmse)[..., :candidates]
    first, found = good.argmax(axis=-1), good.any(axis=-1)
    intercept, slope, error, rmse = (
        np.where(found, np.take_along_axis(field, first[..., None], axis=-1)[..., 0], np.nan)
        for field in lines
    )
    x_min, x_max = np.where(found, lags[first], np.nan), np.where(found, lags[-1], np.nan)
    fit = PowerLawFit(
        slope,
        error,
        exp_or_inf(intercept),
        rmse,
        x_min,
        x_max,
        np.where(found, len(points) - first, 0),
        "residuals",
    )
    return Onset(np.where(fit.exponent > 1, fit.x_min, np.nan), fit)


def regime_boundary(
    waiting_times: ArrayLike,
    lags: ArrayLike,
    msd: ArrayLike,
    *,
    x_min: NumberLike | None = None,
    x_max: NumberLike | None = None,
    num_points: IntegerLike = 50,
    max_rmse: NumberLike = 0.03,
) -> Float[HostArray, "*curves"]:
    """Return the waiting time of the first window that is subdiffusive throughout.

    The second regime begins there. It is the first window with a good single power law on [x_min,
    x_max] and an exponent below 1. A fit is good where it leaves a root mean square residual of ln
    msd of at most `max_rmse`. This is the rule of Chen, Qu & Gong, arXiv:2009.10588, for Fig. 2a;
    natural logarithms and the bound are choices. Later windows do not matter, even if one is
    superdiffusive again.

    Args:
        waiting_times: (W,) increasing, at the start of each window.
        lags: (L,) positive and increasing.
        msd: (..., W, L).
        x_min: smallest lag of the fit, inclusive; the first when None.
        x_max: largest lag, inclusive; the last when None.
        num_points: points wanted, as in `fit_power_law`.
        max_rmse: largest root mean square residual of ln msd.

    Returns:
        (...) waiting times; NaN where no window meets the rule. Windows that are NaN are passed
        over.

    Raises:
        InputError: lags not increasing and positive, shapes that do not fit, waiting times that do
            not increase, or fewer than 3 lags in the range.
    """
    fit = fit_power_law(lags, msd, x_min=x_min, x_max=x_max, num_points=num_points)
    max_rmse = number("max_rmse", max_rmse, at_least=0)
    waiting_times = host_array("waiting_times", waiting_times)
    matching = waiting_times.ndim == 1 and waiting_times.shape == fit.exponent.shape[-1:]
    if not matching or not np.all(np.diff(waiting_times) > 0):
        raise invalid(
            "waiting_times",
            f"has shape {waiting_times.shape} with msd {np.shape(msd)}",
            "(W,) increasing numbers and (..., W, L)",
        )
    subdiffusive = (fit.rmse <= max_rmse) & (fit.exponent < 1)
    return np.where(subdiffusive.any(axis=-1), waiting_times[subdiffusive.argmax(axis=-1)], np.nan)
