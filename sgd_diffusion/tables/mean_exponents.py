"""The exponent of a mean of curves, and its error."""

import numpy as np
from jaxtyping import Float, Int

from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.analysis.scaling import fit_power_law

__all__ = ["exponent_of_mean"]


def exponent_of_mean(
    lags: Int[np.ndarray, "lag"], curves: Float[np.ndarray, "member lag"]
) -> tuple[float, float]:
    """Return the exponent of the mean of some curves, and its jackknife error over members."""
    count = max(len(curves), 1)
    mean = ensemble_average(curves).mean
    without = (count * mean - curves) / max(count - 1, 1)
    left_out = fit_power_law(lags, without).exponent
    error = np.sqrt((count - 1) * left_out.var())
    return float(fit_power_law(lags, mean).exponent), float(error)
