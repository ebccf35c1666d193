"""Local exponents of curves, and where they cross that of normal diffusion."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sgd_diffusion._arrays import host_array, integer
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, HostArray, IntegerLike
from sgd_diffusion.analysis.least_squares import log_replicates, logarithms, replicate_error

__all__ = ["LocalExponent", "local_exponent", "normal_diffusion_crossing"]


@shown_briefly
@dataclass(frozen=True, eq=False, repr=False)
class LocalExponent:
    """Exponent along a curve; it unpacks into `lags, exponent`.

    Attributes:
        lags: (L - stride,), where each exponent belongs.
        exponent: (..., L - stride).
        error: (..., L - stride), standard error; None without replicates.
    """

    lags: Float[np.ndarray, "lag"]
    exponent: Float[np.ndarray, "*curves lag"]
    error: Float[np.ndarray, "*curves lag"] | None = None

    def __iter__(self) -> Iterator[Float[np.ndarray, "*curves lag"]]:
        return iter((self.lags, self.exponent))


def local_exponent(
    lags: ArrayLike,
    msd: ArrayLike,
    stride: IntegerLike = 20,
    replicates: ArrayLike | None = None,
) -> LocalExponent:
    r"""Return the logarithmic derivative d ln msd / d ln lag of curves, over `stride` entries.

    beta = ln(msd[k + stride] / msd[k]) / ln(lags[k + stride] / lags[k]) (Chen, Qu & Gong,
    arXiv:2009.10588, Fig. 2c, with their stride of 20). It belongs to the geometric mean of its two
    lags, where it is exact for any ln msd quadratic in ln lag. The authors' code plots it at the
    smaller lag, too early by a factor of 4.6 at lag 1.

    Formula:
        Local exponent, beta. $\beta = \frac{\ln (y_{k+s} / y_k)}{\ln (\ell_{k+s} / \ell_k)}$ (Chen,
        Qu & Gong, arXiv:2009.10588, Fig. 2c)

    Args:
        lags: (L,) positive and increasing.
        msd: (..., L).
        stride: entries between the two lags of a derivative, 1 <= stride < L.
        replicates: (..., B, L) of `msd`, for the error.

    Returns:
        `LocalExponent`; NaN where one of the two values is not positive and finite.

    Raises:
        InputError: lags not increasing and positive, shapes that do not fit, or a stride outside
            1..L-1.

    >>> local_exponent([1, 2, 4], [3.0, 6.0, 24.0], stride=1).exponent.round(6).tolist()
    [1.0, 2.0]
    """
    _, log_lags, log_msd = logarithms("lags", lags, "msd", msd)
    stride = integer("stride", stride, 1, len(log_lags) - 1, what=f"for {len(log_lags)} lags")
    first, second = log_lags[:-stride], log_lags[stride:]

    def slope(curves):
        return (curves[..., stride:] - curves[..., :-stride]) / (second - first)

    exponent, error = slope(log_msd), None
    if replicates is not None:
        spread = replicate_error(np.moveaxis(slope(log_replicates(replicates, log_msd)), -2, -1))
        error = np.where(np.isfinite(exponent), spread, np.nan)
    return LocalExponent(np.exp((first + second) / 2), exponent, error)


def normal_diffusion_crossing(lags: ArrayLike, exponent: ArrayLike) -> Float[HostArray, "*curves"]:
    """Return the lag where the local exponent first rises through that of normal diffusion, 1.

    The function looks for the first two adjacent lags with an exponent below 1 and then one of at
    least 1. Between them beta is taken to be linear in ln lag. A curve that begins at or above 1
    rises through 1 only after it has come down below it.

    Args:
        lags: (L,) positive and increasing.
        exponent: (..., L), as `local_exponent` gives it; NaN is neither below nor above.

    Returns:
        (...) lags; NaN where the exponent never rises through 1.

    Raises:
        InputError: lags not increasing and positive, or shapes that do not fit.

    >>> float(normal_diffusion_crossing([1, 10, 100], [0.5, 0.9, 1.1]).round(3))
    31.623
    """
    exponent = host_array("exponent", exponent)
    _, log_lags, _ = logarithms("lags", lags, "exponent", exponent)
    if len(log_lags) == 1:
        return np.full(exponent.shape[:-1], np.nan)
    rises = (exponent[..., :-1] < 1) & (exponent[..., 1:] >= 1)
    first = rises.argmax(axis=-1)
    below, above = (
        np.take_along_axis(exponent, (first + step)[..., None], axis=-1)[..., 0] for step in (0, 1)
    )
    rise = np.where(rises.any(axis=-1), above - below, np.nan)
    return np.exp(log_lags[first] + (1 - below) / rise * (log_lags[first + 1] - log_lags[first]))
