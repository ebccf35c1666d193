"""Broken power laws as broken lines in u = ln x, v = ln y, for `scaling.fit_crossover`.

The model is v = c + a u + (b - a) s(u - u_c). The bend s goes from 0 far below to z far above,

    s(z) = z - ln(1 - (1 + exp(k z) / m)^-m) / k,

so that the asymptotes, of slopes a and b, meet at u_c for every sharpness k and asymmetry m. For
given (u_c, k, m) the model is linear in (c, a, b - a). These are projected out (Golub & Pereyra,
SIAM J. Numer. Anal. 10, 413, 1973). The search covers a grid of places and shapes for the bend that
reduces the sum of squares most: one matrix product for all curves. The place is then refined; the
shape stays one of the set.

m = 1 is the smoothly broken power law y = A x^a (1 + (x/x_c)^k)^((b-a)/k), and with k = b - a the
sum of two power laws. k = inf is two straight lines. m = inf is y = A x^b (1 -
exp(-(x/x_c)^k))^((a-b)/k). It leaves its first law slowly and reaches the second fast, as
relaxation does: a = 1, b = 0, k = 1 is an Ornstein-Uhlenbeck process.

Notes:
    A symmetric bend puts the crossover where the exponent is halfway, at 1.26 relaxation times of
    an Ornstein-Uhlenbeck process, and was found 33 to 71 percent late on the exact curve. This is
    why m is there. The set is small on purpose. From exact curves on lags 1..1000 it recovers two
    lines, sums of power laws, Ornstein-Uhlenbeck processes and persistent walks within 5 percent.
    Finer sets followed the noise more than they gained, and k < 1 bends over more decades than an
    MSD has.

    How far to trust the fit was measured on lags up to T/2 of paths with dim 200, T = 1000 and
    2000, for crossovers at T/10 and below. The first case is means over 20 paths with replicates
    over the paths. There 85 to 100 percent of the Ornstein-Uhlenbeck processes and persistent walks
    come out within 20 percent, and nominal 95 percent intervals cover 88 to 100 percent. The
    exception is 51 percent for a crossover at lag 20 of a persistent walk, T = 1000: 5 percent off,
    since its bend is not in the set. The second case is one path with a block bootstrap. There 76
    to 91 percent come out so at T/50 and 51 to 65 at T/20, covered by 81 to 94 percent.

    Of Brownian paths, a quarter seem bent alone, and 2 to 13 percent of the means over 20. Where
    little more than the bend of a law is in the range, its exponent is an extrapolation and trades
    against place and shape: at T/5 means over 20 paths fail (21 percent).
"""

from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Float

from sgd_diffusion._types import HostArray
from sgd_diffusion.analysis.least_squares import Moments, replicate_error
from sgd_diffusion.errors import invalid

__all__ = [
    "BrokenLine",
    "Uncertainty",
    "bend",
    "fit_broken_lines",
    "min_replicates",
    "uncertainty_from_replicates",
    "uncertainty_from_residuals",
]

SHARPNESS = (1.0, 1.2, 1.5, 2.0, 3.0)
ASYMMETRY = (1.0, 1.5, 3.0, np.inf)
SHAPES = np.array([(k, m) for k in SHARPNESS for m in ASYMMETRY] + [(np.inf, 1.0)])
NUM_PLACES = 100
NUM_PARAMETERS = 6  # c, a, b, u_c, k, m
MIN_POINTS = 10  # fewer leave too few residuals
ROOM_DECADES = 1 / 3  # on either side of a crossover
ROOM_POINTS = 3  # on either side of a crossover: any line goes through fewer
ROUNDING = 1e-12  # residuals of this size are those of the logarithms
BLOCK = 256  # curves whose gains are in memory at once, 4 MB


class BrokenLine(NamedTuple):
    """Least-squares broken lines.

    Every field but the last two has the leading shape (...) of the curves.

    Attributes:
        place: u_c.
        inside: whether the best place is not at an end of the allowed places.
        sharpness: k.
        asymmetry: m.
        below: slope of the lower asymptote.
        above: slope of the upper asymptote.
        rmse: root mean square residual of the broken line.
        single_rmse: root mean square residual of the straight line.
        places: (P,), the searched places.
        profile: (..., P), the smallest sum of squares at each of them.
    """

    place: Float[HostArray, "*curves"]
    inside: Bool[HostArray, "*curves"]
    sharpness: Float[HostArray, "*curves"]
    asymmetry: Float[HostArray, "*curves"]
    below: Float[HostArray, "*curves"]
    above: Float[HostArray, "*curves"]
    rmse: Float[HostArray, "*curves"]
    single_rmse: Float[HostArray, "*curves"]
    places: Float[np.ndarray, "place"]
    profile: Float[np.ndarray, "*curves place"]


class Uncertainty(NamedTuple):
    """What is known about broken lines; every field has the leading shape (...) of the curves.

    Attributes:
        bent: whether the difference of the slopes is significant.
        low: lower confidence limit of the place.
        high: upper confidence limit of the place.
        below_error: standard error of the lower slope.
        above_error: standard error of the upper slope.
    """

    bent: Bool[HostArray, "*curves"]
    low: Float[HostArray, "*curves"]
    high: Float[HostArray, "*curves"]
    below_error: Float[HostArray, "*curves"]
    above_error: Float[HostArray, "*curves"]


def bend(
    z: np.ndarray, sharpness: float | np.ndarray, asymmetry: float | np.ndarray
) -> Float[np.ndarray, "..."]:
    """Return the bend s(z) from the line 0 to the line z; the arguments broadcast."""
    sharp = np.isinf(sharpness)
    exponent = np.clip(np.where(sharp, 1.0, sharpness) * z, -30.0, 700.0)
    growth = np.exp(exponent)
    with np.errstate(invalid="ignore"):
        decay = np.where(np.isinf(asymmetry), growth, asymmetry * np.log1p(growth / asymmetry))
    smooth = z - np.log(-np.expm1(-decay)) / sharpness
    smooth = np.where(exponent > -30, smooth, 0.0)  # exp(-30) is below the rounding of z - z
    return np.where(sharp, np.maximum(z, 0.0), smooth)


def fit_broken_lines(u: Float[np.ndarray, "n"], v: Float[np.ndarray, "*curves n"]) -> BrokenLine:
    """Fit broken lines to the points u (n,) of curves v (..., n); NaN for a curve with NaN.

    Raises:
        InputError: no place has a third of a decade and three points on either side.
    """
    limits = _limits(u)
    straight = np.linalg.qr(np.stack([np.ones_like(u), u], axis=1))[0]  # orthonormal columns

    def bent_part(curves):
        return curves - (curves @ straight) @ straight.T

    residual = bent_part(v)
    squares = (residual**2).sum(axis=-1)
    places = np.linspace(*limits, NUM_PLACES)
    sharpness, asymmetry = (np.repeat(values, NUM_PLACES)[:, None] for values in SHAPES.T)
    columns = bent_part(bend(u - np.tile(places, len(SHAPES))[:, None], sharpness, asymmetry))
    gains, best = _search(residual, columns / np.linalg.norm(columns, axis=1, keepdims=True))
    sharpness, asymmetry = sharpness[best], asymmetry[best]  # (..., 1)

    def difference_and_gain(place):
        column = bent_part(bend(u - place[..., None], sharpness, asymmetry))
        product, norm = (residual * column).sum(axis=-1), (column**2).sum(axis=-1)
        return product / norm, product**2 / norm

    start, step = places[best % NUM_PLACES], places[1] - places[0]
    bracket = np.maximum(start - step, limits[0]), np.minimum(start + step, limits[1])
    place = _golden_section(lambda place: difference_and_gain(place)[1], *bracket)
    difference, _ = difference_and_gain(place)
    below = Moments.of(
        u, v - difference[..., None] * bend(u - place[..., None], sharpness, asymmetry)
    ).line()
    return BrokenLine(
        place=place,
        inside=(place - limits[0] > 1e-3 * step) & (limits[1] - place > 1e-3 * step),
        sharpness=sharpness[..., 0],
        asymmetry=asymmetry[..., 0],
        below=below.slope,
        above=below.slope + difference,
        rmse=below.rmse,
        single_rmse=np.sqrt(squares / len(u)),
        places=places,
        profile=np.maximum(squares[..., None] - gains, 0.0),
    )


def uncertainty_from_replicates(replicates: BrokenLine, confidence: float) -> Uncertainty:
    """Return the uncertainty from broken lines through replicates (..., B) of each curve.

    The slopes differ when the central interval of b - a over the replicates leaves out 0. The
    limits are percentiles of the places of the replicates. All are NaN, and not bent, where too few
    replicates are finite for these percentiles.
    """
    present = np.isfinite(replicates.below)
    enough = present.sum(axis=-1) >= min_replicates(confidence)
    tails = (1 - confidence) / 2, (1 + confidence) / 2

    def interval(values):
        # A row of NaN alone would warn.
        values = np.where(enough[..., None], np.where(present, values, np.nan), 0.0)
        return np.where(enough, np.nanquantile(values, tails, axis=-1), np.nan)

    low, high = interval(replicates.above - replicates.below)
    place_low, place_high = interval(replicates.place)
    below, above = replicate_error(replicates.below), replicate_error(replicates.above)
    return Uncertainty((low > 0) | (high < 0), place_low, place_high, below, above)


def min_replicates(confidence: float) -> int:
    """Return how many replicates put at least one beyond each end of the central interval."""
    return int(np.ceil(2 / (1 - confidence) - 1e-9))


def uncertainty_from_residuals(
    u: Float[np.ndarray, "n"], fit: BrokenLine, confidence: float
) -> Uncertainty:
    """Return the uncertainty as if residuals were independent.

    It is an F-test of the bend, the F-bound on the profile, and linearized errors.
    """
    freedom = len(u) - NUM_PARAMETERS
    squares, single = len(u) * fit.rmse**2, len(u) * fit.single_rmse**2
    extra = NUM_PARAMETERS - 2
    bent = single - squares > squares * extra / freedom * scipy.stats.f.ppf(
        confidence, extra, freedom
    )
    bounds = squares * (1 + scipy.stats.f.ppf(confidence, 1, freedom) / freedom)
    limits = np.empty((2, *squares.shape))
    for curve in np.ndindex(squares.shape):
        limits[:, *curve] = _profile_interval(
            fit.places, fit.profile[curve], fit.place[curve], bounds[curve]
        )
    z, width = u - fit.place[..., None], 1e-4
    shape = fit.sharpness[..., None], fit.asymmetry[..., None]
    slope = (bend(z + width, *shape) - bend(z - width, *shape)) / (2 * width)
    design = np.stack([np.ones_like(z), z, bend(z, *shape), slope], axis=-1)
    covariance = np.linalg.inv(design.mT @ design) * (squares / freedom)[..., None, None]
    # Variances of a, and of a + (b - a).
    below, above = covariance[..., 1, 1], covariance[..., 1:3, 1:3].sum(axis=(-2, -1))
    return Uncertainty(bent, limits[0], limits[1], np.sqrt(below), np.sqrt(above))


def _limits(u) -> tuple[float, float]:
    """Return the lowest and the highest place that leave room for a law on either side."""
    room = ROOM_DECADES * np.log(10)
    low, high = max(u[0] + room, u[ROOM_POINTS - 1]), min(u[-1] - room, u[-ROOM_POINTS])
    if not low < high:
        raise invalid(
            f"the {len(u)} points",
            f"run from {np.exp(u[0]):g} to {np.exp(u[-1]):g}",
            f"a third of a decade and {ROOM_POINTS} points on either side of a crossover",
            "widen the range",
        )
    return low, high


def _search(residual, columns):
    """Return the largest gain at each place, (..., P), and the index of the best column, (...)."""
    curves = residual.reshape(-1, residual.shape[-1])
    gains, best = np.empty((len(curves), NUM_PLACES)), np.empty(len(curves), dtype=int)
    for start in range(0, len(curves), BLOCK):
        block = slice(start, start + BLOCK)
        gain = (curves[block] @ columns.T) ** 2
        gains[block] = gain.reshape(len(gain), -1, NUM_PLACES).max(axis=1)
        best[block] = gain.argmax(axis=1)
    return gains.reshape(*residual.shape[:-1], NUM_PLACES), best.reshape(residual.shape[:-1])


def _golden_section(function, low, high, iterations=30):
    """Return the places of the maxima of a function, each in its own bracket.

    30 iterations shrink a bracket to 5e-7 of itself.
    """
    for _ in range(iterations):
        reach = (high - low) * (np.sqrt(5) - 1) / 2
        left, right = high - reach, low + reach
        lower = function(left) > function(right)
        low, high = np.where(lower, low, left), np.where(lower, right, high)
    return (low + high) / 2


def _profile_interval(places, profile, place, bound):
    """Return the first and last place where the profile of one curve crosses the bound.

    They are interpolated.
    """
    at = np.searchsorted(places, place)
    places = np.insert(places, at, place)
    profile = np.insert(profile, at, min(bound, profile.min()))
    allowed = np.flatnonzero(profile <= bound)
    if len(allowed) == 0:  # NaN
        return np.nan, np.nan
    ends = []
    for end, beyond in ((allowed[0], allowed[0] - 1), (allowed[-1], allowed[-1] + 1)):
        if 0 <= beyond < len(places):
            share = (bound - profile[end]) / (profile[beyond] - profile[end])
            ends.append(places[end] + share * (places[beyond] - places[end]))
        else:
            ends.append(places[end])
    return ends
