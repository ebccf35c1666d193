"""Power laws in curves: local exponents, fits on a stated range, onsets and crossovers.

Everything here is float64 NumPy on the host and works on many curves at once: `x` is one axis of
shape (L,) and `y` is (..., L). A curve that is NaN (a member that diverged), zero or negative
inside the range has no power law there. Its numbers are NaN, and the other curves are not affected.

Lags of one window share their steps, so the residuals of a fit to an MSD are alike from lag to lag.
The textbook error of a slope is then far too small. Functions that give errors therefore take
`replicates` (..., B, L): B curves for each curve, such as those of a bootstrap over blocks of the
window or over the members of an ensemble. The error of an estimate is the standard deviation of the
same estimate over the replicates. Replicates with an estimate of NaN are left out; the error is NaN
if fewer than 10 are left.
"""

from sgd_diffusion.analysis.scaling.local import (
    LocalExponent,
    local_exponent,
    normal_diffusion_crossing,
)
from sgd_diffusion.analysis.scaling.onset import Onset, regime_boundary, superdiffusion_onset
from sgd_diffusion.analysis.scaling.power_law import (
    CrossoverFit,
    PowerLawFit,
    fit_crossover,
    fit_power_law,
)

__all__ = [
    "CrossoverFit",
    "LocalExponent",
    "Onset",
    "PowerLawFit",
    "fit_crossover",
    "fit_power_law",
    "local_exponent",
    "normal_diffusion_crossing",
    "regime_boundary",
    "superdiffusion_onset",
]
