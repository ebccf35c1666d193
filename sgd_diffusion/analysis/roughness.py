"""Roughness of the loss along a path: how much losses differ, by the distance between the points.

On a fractal landscape the mean squared loss difference grows as distance^(2H) with a Hurst exponent
0 < H < 1. On a smooth landscape it grows as distance^2 along a slope, and as distance^4 on the way
down to a quadratic minimum. A path samples the landscape where it goes. Mini-batch losses add a
floor of their own: `batch_noise_floor`.

A path w_0, ..., w_T enters as `step_gram`, as in `analysis.displacement`. Precision,
transformations and NaN are handled as there. `losses`, (T+1,), belong to the same points: L at w_t,
before the update that starts there. The functions of losses alone and the fit are float64 NumPy on
the host.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sgd_diffusion._arrays import host_array, number, real_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, HostArray, NumberLike
from sgd_diffusion.analysis.gram import one_path, upper_squared_displacements
from sgd_diffusion.analysis.guarded import power
from sgd_diffusion.analysis.pairs import PairAverages, average, in_bins
from sgd_diffusion.analysis.paths import contour_length
from sgd_diffusion.analysis.scaling import fit_power_law
from sgd_diffusion.errors import invalid

__all__ = [
    "HurstFit",
    "MeanSquaredLoss",
    "NoiseFloor",
    "batch_noise_floor",
    "hurst_exponent",
    "loss_by_contour",
    "loss_by_distance",
    "mean_squared_loss",
]

MIN_BINS = 5  # fewer do not tell a power law from anything else
MIN_PAIRS = 30  # a bin with fewer pairs shows those few, not a mean
FLOOR_MARGIN = 2  # with less than half left above the floor, the error of the floor decides


@shown_briefly
class MeanSquaredLoss(NamedTuple):
    """Mean squared loss differences of the pairs of points of a path, by distance.

    Attributes:
        distances: (K,) weight units, geometric mean over the pairs of a bin; NaN where it is empty.
        msl: (K,) squared unit of the loss; NaN where the bin is empty.
        counts: (K,) pairs.
    """

    distances: Float[Array | np.ndarray, "bin"]
    msl: Float[Array, "bin"]
    counts: Float[Array | np.ndarray, "bin"]


@shown_briefly
class NoiseFloor(NamedTuple):
    """The part of every mean squared loss difference that comes from batch noise.

    (...) are the leading axes of the losses.

    Attributes:
        floor: (...), squared unit of the loss.
        standard_error: (...), of the floor.
    """

    floor: Float[HostArray, "*paths"]
    standard_error: Float[HostArray, "*paths"]


@shown_briefly
class HurstFit(NamedTuple):
    """Power law msl - noise_floor ~ distance^(2H); every field is ().

    Attributes:
        exponent: 2H.
        exponent_error: standard error of 2H.
        hurst: H; where it is 1 or more, it is no Hurst exponent of a fractal.
        x_min: first distance that entered.
        x_max: last distance that entered.
        num_points: how many distances entered.
        error_source: as in `fit_power_law`.
    """

    exponent: Float[HostArray, ""]
    exponent_error: Float[HostArray, ""]
    hurst: Float[HostArray, ""]
    x_min: Float[HostArray, ""]
    x_max: Float[HostArray, ""]
    num_points: Int[HostArray, ""] | int
    error_source: str


def loss_by_distance(step_gram: ArrayLike, losses: ArrayLike, *, bins: ArrayLike) -> PairAverages:
    """Return the squared loss differences of all pairs of points, by the distance between them.

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.
        losses: (T+1,) at the points of the path, taken in the precision of `step_gram`.
        bins: (K+1,) increasing, positive distances, known before tracing: the edges of the bins. Or
            K, for so many bins of equal ratio from the smallest positive distance to the largest.

    Returns:
        `pairs.PairAverages`, n = T+1. A loss that is NaN makes the bins NaN that hold a pair with
        it.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1; `losses` is
            not (T+1,); `bins` is neither.
    """
    with one_path(step_gram) as gram:
        squared_distances = upper_squared_displacements(gram)
        return in_bins(power(squared_distances, 0.5), _squared_differences(losses, gram), bins)


def loss_by_contour(step_gram: ArrayLike, losses: ArrayLike, *, bins: ArrayLike) -> PairAverages:
    """Return the squared loss differences of all pairs of points, by contour length.

    The contour length between two points is s_j - s_i of `paths.contour_length`.

    Args:
        step_gram: as for `loss_by_distance`.
        losses: as for `loss_by_distance`.
        bins: as for `loss_by_distance`, of contour lengths in place of distances.

    Returns:
        `pairs.PairAverages`, as from `loss_by_distance`.

    Raises:
        InputError: as from `loss_by_distance`.
    """
    with one_path(step_gram) as gram:
        length = contour_length(gram)
        return in_bins(length[None] - length[:, None], _squared_differences(losses, gram), bins)


def _squared_differences(losses, gram):
    losses = jnp.asarray(real_array("losses", losses), gram.dtype)
    if losses.shape != (len(gram) + 1,):
        raise invalid(
            "losses",
            f"has shape {losses.shape}",
            f"({len(gram) + 1},), one loss for each of the T+1 points of a path of "
            f"T = {len(gram)} steps",
        )
    return (losses[None] - losses[:, None]) ** 2


def mean_squared_loss(
    step_gram: ArrayLike, losses: ArrayLike, *, bins: ArrayLike
) -> MeanSquaredLoss:
    r"""Return the mean squared loss difference of the pairs of points of a path, by distance.

    MSL(d) = mean of (L(w_j) - L(w_i))^2 over the pairs of one window with |w_j - w_i| in the bin
    (Chen, Qu & Gong, arXiv:2009.10588, Eq. 9; their code squares the mean instead of averaging the
    squares). For errors take `loss_by_distance`; this is its average.

    Formula:
        Mean squared loss, MSL. $\mathrm{MSL}(d) = \langle (L(w_j) - L(w_i))^2 \rangle, \quad \lVert
        w_j - w_i \rVert = d$ (Chen, Qu & Gong, arXiv:2009.10588, Eq. 9)

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.
        losses: (T+1,) at the points of the path.
        bins: edges (K+1,), or their number K, as in `loss_by_distance`.

    Returns:
        `MeanSquaredLoss`.

    Raises:
        InputError: as `loss_by_distance`.

    >>> steady, losses = [[1.0, 1.0], [1.0, 1.0]], [3.0, 2.0, 0.0]
    >>> mean_squared_loss(steady, losses, bins=[0.5, 1.5, 2.5]).msl.tolist()
    [2.5, 9.0]
    """
    with one_path(step_gram) as gram:
        pairs = loss_by_distance(gram, losses, bins=bins)
        return MeanSquaredLoss(pairs.x, average(pairs), pairs.counts.sum(axis=0))


def batch_noise_floor(losses: ArrayLike, probe_losses: ArrayLike | None = None) -> NoiseFloor:
    r"""Return the mean squared loss difference that mini-batch noise makes at every distance.

    It is 2 Var(noise), the mean over t of (e_{t+1} - e_t)^2 for e = losses - probe_losses. The
    noise of successive batches is independent. Differences remove what probe and whole data set
    differ by, as far as it changes little in one step. Without a probe e = losses: an upper bound,
    which contains the loss difference of one step. Batches drawn without replacement are
    anticorrelated within their epoch. This makes the floor high by 1/(batches per epoch) of itself.

    The standard error is that of the mean of q_t = (e_{t+1} - e_t)^2. Successive q share a batch
    and no others do. So its square is (c_0 + 2 c_1)/T, with c_0 the variance of q and c_1 its
    covariance at lag 1. c_1 is not negative for independent noise, and set to 0 where the estimate
    is negative.

    Formula:
        Noise floor of the MSL. $2 \, \mathrm{Var}(\varepsilon) = \overline{(e_{t+1} - e_t)^2}$
        (definition)

    Args:
        losses: (..., T+1) mini-batch losses at w_t, on the batch of step t.
        probe_losses: (..., T+1) losses at the same points on a fixed set of examples, or None.

    Returns:
        `NoiseFloor`; NaN for a member with a loss that is NaN, and an error of NaN for T = 1.

    Raises:
        InputError: fewer than two losses, or shapes that do not fit.

    >>> batch_noise_floor([1.0, 3.0, 1.0, 3.0], [0.0, 0.0, 0.0, 0.0]).floor.tolist()
    4.0
    """
    losses = host_array("losses", losses)
    if losses.ndim == 0 or losses.shape[-1] < 2:
        raise invalid("losses", f"has shape {losses.shape}", "(..., T+1) losses with T >= 1")
    probe_losses = (
        np.zeros_like(losses) if probe_losses is None else host_array("probe_losses", probe_losses)
    )
    if probe_losses.shape != losses.shape:
        raise invalid(
            "probe_losses", f"has shape {probe_losses.shape}", f"{losses.shape}, that of losses"
        )
    with np.errstate(invalid="ignore"):  # infinite losses
        noise = losses - probe_losses
        squares = np.diff(noise, axis=-1) ** 2
        steps, floor = squares.shape[-1], squares.mean(axis=-1)
        deviation = squares - floor[..., None]
        variance = (deviation**2).sum(axis=-1) / (steps - 1 or np.nan)
        covariance = (deviation[..., 1:] * deviation[..., :-1]).sum(axis=-1) / steps
        return NoiseFloor(floor, np.sqrt((variance + 2 * np.maximum(covariance, 0)) / steps))


def hurst_exponent(
    distances: ArrayLike,
    msl: ArrayLike,
    counts: ArrayLike,
    *,
    noise_floor: NumberLike = 0.0,
    replicates: ArrayLike | None = None,
    x_min: NumberLike | None = None,
    x_max: NumberLike | None = None,
) -> HurstFit:
    r"""Fit the Hurst exponent of the loss along one path to its mean squared loss differences.

    Power law msl - noise_floor ~ distance^(2H) by `scaling.fit_power_law`, on the bins in [x_min,
    x_max] with at least 30 pairs and at least twice the noise floor. Near the floor the exponent is
    that of the noise, and a floor that is too low makes it too small. Chen, Qu & Gong,
    arXiv:2009.10588, call 2H = 1.8 over a range a fractal landscape; a slope gives 2 and a
    quadratic minimum 4.

    Errors from replicates are about this path, and hold for distances that it covers many times.

    Formula:
        Hurst exponent of the loss, H. $\mathrm{MSL}(d) - f \propto d^{2H}$ (Chen, Qu & Gong,
        arXiv:2009.10588, who call 2H = 1.8 fractal)

    Args:
        distances: (K,) increasing, NaN where a bin is empty, from `mean_squared_loss` of one path.
            Every path has bins of its own.
        msl: (K,), from the same.
        counts: (K,), from the same.
        noise_floor: number to subtract first, as `batch_noise_floor` finds it; 0 for losses without
            batch noise.
        replicates: (B, K) of `msl` from `block_bootstrap`. Without them the error is that of
            `fit_power_law`, a lower bound. It does not contain the error of the floor.
        x_min: smallest distance, inclusive; the smallest there is when None.
        x_max: largest distance, inclusive; the largest there is when None.

    Returns:
        `HurstFit`; NaN, with `num_points` telling, where fewer than 5 bins are left.

    Raises:
        InputError: shapes that do not fit, or a range that is no number.

    Notes:
        For Brownian motion down a slope (T = 1000, 100 dimensions, 10 blocks) the error was
        compared with the scatter of 2H between paths. It is 0.8 of that for x_max reached in T/20
        steps, 0.6 in T/5, 0.4 in T/2 and 0.3 for all distances. There 2H also comes out low, 1.84
        on average.
    """
    distances, msl = host_array("distances", distances), host_array("msl", msl)
    counts = host_array("counts", counts)
    if distances.ndim != 1 or not distances.shape == msl.shape == counts.shape:
        raise invalid(
            "distances, msl and counts",
            f"have shapes {distances.shape}, {msl.shape} and {counts.shape}",
            "(K,), the bins of one path",
        )
    noise_floor = host_array("noise_floor", noise_floor)
    if noise_floor.ndim > 0:
        raise invalid("noise_floor", f"has shape {noise_floor.shape}", "a number, that of one path")
    if replicates is not None:
        replicates = host_array("replicates", replicates)
        if replicates.shape[1:] != msl.shape:
            raise invalid(
                "replicates",
                f"has shape {replicates.shape}",
                f"(B, {len(msl)}), B replicates of the curve",
            )
    low = -np.inf if x_min is None else number("x_min", x_min)
    high = np.inf if x_max is None else number("x_max", x_max)
    kept = (distances >= low) & (distances <= high) & (counts >= MIN_PAIRS)
    kept = np.flatnonzero(kept & (msl > 0) & (msl >= FLOOR_MARGIN * noise_floor))
    if len(kept) < MIN_BINS:
        return HurstFit._make([*np.full(5, np.nan), len(kept), "none"])
    above = None if replicates is None else replicates[:, kept] - noise_floor
    fit = fit_power_law(distances[kept], msl[kept] - noise_floor, replicates=above)
    return HurstFit(
        fit.exponent,
        fit.exponent_error,
        fit.exponent / 2,
        fit.x_min,
        fit.x_max,
        fit.num_points,
        fit.error_source,
    )
