"""Occupation of the flat valley while the barrier grows, and the last crossing of the ridge."""

from typing import Literal, NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from sgd_diffusion._arrays import host_array, number
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, NumberLike
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.freezing.fixed_y import both_valleys, fixed_y
from sgd_diffusion.theory.freezing.occupation import escape_times, hop_rates
from sgd_diffusion.theory.freezing.two_valleys import TwoValleys

__all__ = ["LastCrossing", "adiabatic_occupation", "last_crossing"]

NEVER = 60.0  # rates below e^-60 are none
REFINED = 16  # points for each of the grid, between which rates are interpolated


@shown_briefly
class LastCrossing(NamedTuple):
    """When walkers cross the ridge for the last time.

    Attributes:
        occupation: (y,) that of `adiabatic_occupation`.
        hazard: (y,) crossings per unit of s = learning_rate * steps.
        survival: (y,) probability of no crossing later on.
        mean_y: expected y of the last crossing; the first y of the grid for walkers without any.
    """

    occupation: Float[np.ndarray, "y"]
    hazard: Float[np.ndarray, "y"]
    survival: Float[np.ndarray, "y"]
    mean_y: float


def adiabatic_occupation(
    y_grid: ArrayLike,
    learning_rate: NumberLike,
    sigma: NumberLike,
    landscape: TwoValleys,
    *,
    start: NumberLike = 0.5,
    rates: Literal["map", "closed"] = "map",
) -> Float[np.ndarray, "y"]:
    r"""Return the probability of the flat valley on the way, from y to y.

    It follows its stationary value as long as hops are fast against the motion of y, and freezes
    when they become rare. The slow coordinate goes at its mean speed, with the force of the noise
    towards flatter places.

    Formula:
        Adiabatic occupation. $\frac{dP}{dy} = - \frac{\kappa(y)}{\dot{y}} \left[ P - P_{ss}(y)
        \right], \quad \dot{y} = \frac{L_d}{y_d} e^{-y / y_d} + \frac{2 x_0^2 y_f y}{f_0 (y +
        y_f)^3} + \Delta_S \frac{f'}{f^2}$ (derived; $\dot{y}$ without noise of Yang et al.,
        arXiv:2601.10962)

    Args:
        y_grid: (n,) ascending y, above 0, with n >= 2. Rates are computed there, and interpolated
            between; they should not change by more than a factor of about 10 from y to y.
        learning_rate: eta, as for `fixed_y`.
        sigma: strength of the noise, as for `fixed_y`.
        landscape: `TwoValleys` of numbers.
        start: probability of the flat valley at the first y.
        rates: kappa and P_ss of SGD itself, as `fixed_y` has them ("map"), or in the limit of small
            learning rates ("closed"): the sum of `hop_rates`, and `flat_occupation`.

    Returns:
        (n,) probabilities.

    Raises:
        InputError: an argument is not as stated.

    >>> grid = [1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    >>> adiabatic_occupation(grid, 0.01, 0.05, TwoValleys()).round(2).tolist()
    [0.5, 0.7, 0.76, 0.88, 0.93, 0.94]

    Notes:
        With "map" the curves are within 0.011 of those of Fig. 4b of the paper, which are of 1000
        walkers each with the learning rate 0.01. With "closed" the ends are 0.01 higher.
    """
    return _on_the_way(y_grid, learning_rate, sigma, landscape, start, rates).occupation[::REFINED]


def last_crossing(
    y_grid: ArrayLike,
    learning_rate: NumberLike,
    sigma: NumberLike,
    landscape: TwoValleys,
    *,
    start: NumberLike = 0.5,
    rates: Literal["map", "closed"] = "map",
) -> LastCrossing:
    r"""Return when walkers cross the ridge for the last time, on average y_freeze.

    It has no constant to be fitted, unlike `freezing_point`.

    Formula:
        Last crossing. $\langle y_{\mathrm{freeze}} \rangle = y_0 + \int_{y_0} (1 - S) \, dy, \quad
        S(y) = \exp \left( - \int_y \frac{h}{\dot{y}} \, dy \right), \quad h = P k_1 + (1 - P) k_2$
        (derived; k are the rates of first passages)

    Args:
        y_grid: (n,) ascending y, as for `adiabatic_occupation`. It ends where crossings have become
            rare, as none are counted after it.
        learning_rate: eta, as for `fixed_y`.
        sigma: strength of the noise, as for `fixed_y`.
        landscape: `TwoValleys` of numbers.
        start: probability of the flat valley at the first y.
        rates: as for `adiabatic_occupation`; k are 1 / tau of `escape_times` with "closed".

    Returns:
        `LastCrossing` of float64 NumPy arrays and a Python number.

    Raises:
        InputError: an argument is not as stated.

    >>> found = last_crossing([1.0, 1.5, 2.0, 3.0, 4.0, 6.0], 0.01, 0.05, TwoValleys())
    >>> round(found.mean_y, 1)
    3.1

    Notes:
        The mean is 2 to 5 % above that of simulated walkers with the learning rate 0.01: walkers
        that have just crossed are likely to cross back soon.
    """
    way = _on_the_way(y_grid, learning_rate, sigma, landscape, start, rates)
    hazard = way.occupation * way.flat_passage + (1 - way.occupation) * way.sharp_passage
    crossings = _integrals(way.y, hazard / way.drift)
    survival = np.exp(-np.append(crossings[::-1].cumsum()[::-1], 0.0))
    mean = way.y[0] + _integrals(way.y, 1 - survival).sum()
    return LastCrossing(
        way.occupation[::REFINED], hazard[::REFINED], survival[::REFINED], float(mean)
    )


class _Way(NamedTuple):
    """What happens on the way, at the points of the grid and at those between; per unit of s."""

    y: Float[np.ndarray, "point"]
    occupation: Float[np.ndarray, "point"]
    drift: Float[np.ndarray, "point"]  # of y
    flat_passage: Float[np.ndarray, "point"]
    sharp_passage: Float[np.ndarray, "point"]


def _on_the_way(y_grid, learning_rate, sigma, landscape, start, rates) -> _Way:
    """Return what happens on the way from the first y to the last.

    Raises:
        InputError: as for `adiabatic_occupation`.
    """
    grid = _ascending(y_grid)
    initial = number("start", start, at_least=0, at_most=1)
    if rates not in RATES:
        raise invalid("rates", f"is {rates!r}", " or ".join(f'"{name}"' for name in RATES))
    eta = number("learning_rate", learning_rate, above=0)
    noise = eta * number("sigma", sigma, above=0)
    found = np.maximum(RATES[rates](grid, eta, noise, landscape), np.exp(-NEVER))
    drift = _drift(grid, noise, landscape, found[0] / (found[0] + found[1]))
    y, (to_flat, to_sharp, *passages, drift) = _between(grid, [*found, drift])
    stationary = to_flat / (to_flat + to_sharp)
    decays = _integrals(y, (to_flat + to_sharp) / drift)
    # exact between two points for a constant rate and a stationary value that is linear
    lags = np.diff(stationary) * scipy.special.exprel(-decays)
    apart = [initial - stationary[0]]
    for decay, lag in zip(decays, lags, strict=True):
        apart.append(apart[-1] * np.exp(-decay) - lag)
    return _Way(y, stationary + np.array(apart), drift, *passages)


def _between(y, rates):
    """Return points between those of a grid, and the rates there; logarithms of them are smooth."""
    places = np.arange((len(y) - 1) * REFINED + 1) / REFINED
    points = np.interp(places, np.arange(len(y)), y)
    curves = scipy.interpolate.PchipInterpolator(y, np.log(rates), axis=1)
    return points, np.exp(curves(points))


def _rates_of_map(y, eta, noise, landscape):
    """Return the rates of SGD: of hops to either valley, and of passages from either."""
    floors, _ = both_valleys(landscape, y)
    barriers = (floors**2).min(axis=0) / (2 * noise)
    found = np.zeros((4, len(y)))
    for place in np.flatnonzero(barriers < NEVER):
        at = fixed_y(y[place], eta, noise / eta, landscape)
        flat = at.flat_occupation
        found[:, place] = (
            at.spectral_gap * flat,
            at.spectral_gap * (1 - flat),
            at.flat_passage_rate,
            at.sharp_passage_rate,
        )
    return found


def _rates_in_closed_form(y, eta, noise, landscape):
    """Return the same in the limit of small learning rates."""
    hops, times = hop_rates(y, noise, landscape), escape_times(y, noise, landscape)
    return np.concatenate([np.asarray(hops)[::-1], np.exp(-np.asarray(times))])


RATES = {"map": _rates_of_map, "closed": _rates_in_closed_form}


def _drift(y, noise, landscape, occupation):
    """Return the mean speed of y.

    Raises:
        InputError: it is not positive everywhere.
    """
    floors, (flat, sharp) = both_valleys(landscape, y)
    y_f, y_b = float(landscape.y_f), float(landscape.y_b)
    widening = 2 * (y_b - y_f) / ((y + y_b) * (y + y_f))  # d ln f / dy
    entropic = noise * widening * (occupation / flat + (1 - occupation) / sharp)
    drift = entropic - np.asarray(landscape.gradient(floors[0], y))[:, 1]
    if not (drift > 0).all():
        raise invalid(
            "sigma",
            f"makes the walkers stop at y={y[(drift <= 0).argmax()]:.4g}",
            "noise with which y grows on the whole grid",
        )
    return drift


def _ascending(y_grid: ArrayLike) -> Float[np.ndarray, "y"]:
    """Return the grid.

    Raises:
        InputError: it is no array of ascending numbers above 0.
    """
    y = host_array("y_grid", y_grid)
    if y.ndim != 1 or len(y) < 2:
        raise invalid("y_grid", f"has shape {y.shape}", "(n,) with n >= 2")
    if not (y[0] > 0 and np.isfinite(y[-1]) and (np.diff(y) > 0).all()):
        raise invalid("y_grid", "is not ascending from above 0", "finite y in ascending order")
    return y


def _integrals(y, values):
    """Return the integrals between neighbors, by the trapezoidal rule."""
    return np.diff(y) * (values[1:] + values[:-1]) / 2
