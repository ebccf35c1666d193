"""The exact law of the fast coordinate of SGD, while the slow one is held."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sgd_diffusion._arrays import host_array, in_double, number
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, NumberLike
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.freezing.chains import factorized
from sgd_diffusion.theory.freezing.two_valleys import TwoValleys, checked

__all__ = ["FixedYOperator", "fixed_y"]

EDGE = 8.5  # standard deviations from a floor to the edge, beyond which are 1e-17 of the walkers
NODES_PER_STEP = 1.5  # points for each standard deviation of a step leave errors of 1e-9
LEAST_POINTS, MOST_POINTS = 32, 2000  # on each side of the ridge
MOST_BARRIER = 600.0  # over the noise; times are about the exponential of it, and finite
MOST_ITERATIONS, PRECISION = 1000, 1e-12


@shown_briefly
class FixedYOperator(NamedTuple):
    """What one step of SGD does to the law of x at a fixed y, in its slowest parts.

    Times are in units of s = learning_rate * steps, and rates are per such unit.

    Attributes:
        flat_occupation: stationary probability of x >= 0.
        spectral_gap: kappa, the rate at which the law of x becomes the stationary one, at last.
        flat_passage_rate: rate at which walkers that have been in the flat valley for long cross
            the ridge.
        sharp_passage_rate: that of the sharp valley.
        flat_passage_time: mean time from the floor of the flat valley to the first x < 0.
        sharp_passage_time: mean time from the floor of the sharp valley to the first x >= 0.
        points: (n,) x, ascending.
        density: (n,) stationary probability density at the points.
    """

    flat_occupation: float
    spectral_gap: float
    flat_passage_rate: float
    sharp_passage_rate: float
    flat_passage_time: float
    sharp_passage_time: float
    points: Float[np.ndarray, "n"]
    density: Float[np.ndarray, "n"]


def fixed_y(
    y: NumberLike, learning_rate: NumberLike, sigma: NumberLike, landscape: TwoValleys
) -> FixedYOperator:
    r"""Return the stationary law, the slowest rate and first passages of x at a fixed y, exactly.

    This is SGD with steps as large as they are, not its limit of small learning rates. The law of x
    after a step is an integral over the law before. The integrand is smooth but at the ridge, so a
    Gauss quadrature on each side has errors of 1e-9. The smallest rates are as precise as others.

    Formula:
        Fixed-y operator. $p_{t+1}(x') = \int \mathcal{N} \left( x'; \; x - \eta L_x(x), \; \eta^2
        \frac{4 \sigma}{f_i} \right) p_t(x) \, dx$ (derived from the dynamics of Yang et al.,
        arXiv:2601.10962, with the noise of the x direction alone)

    Args:
        y: the slow coordinate, at least 0.
        learning_rate: eta, above 0 and below the flatness f of the sharper valley, where SGD is
            stable.
        sigma: strength of the noise, above 0; the covariance of gradients is 2 sigma times the
            Hessian.
        landscape: `TwoValleys` of numbers.

    Returns:
        `FixedYOperator` of Python numbers and float64 NumPy arrays.

    Raises:
        InputError: an argument is not as stated; the barrier is more than 600 times the noise; or
            steps are so short that more than 2000 points a side would be needed.

    >>> at = fixed_y(3.0, 0.01, 0.1, TwoValleys())
    >>> round(at.flat_occupation, 4), round(at.spectral_gap, 4)
    (0.7713, 0.7761)
    """
    slow = number("y", y, at_least=0)
    eta = number("learning_rate", learning_rate, above=0)
    noise = eta * number("sigma", sigma, above=0)
    floors, flatnesses = both_valleys(landscape, slow)
    sharpest = flatnesses.min()
    if not eta < sharpest:
        raise invalid(
            "learning_rate",
            f"is {eta:g}",
            f"below the flatness of the sharper valley, {sharpest:.4g} at y={slow:g}",
        )
    barrier = (floors**2).max() / (2 * noise)
    if barrier > MOST_BARRIER:
        raise invalid(
            "sigma",
            f"makes the barrier {barrier:.4g} times the noise at y={slow:g}",
            f"at most {MOST_BARRIER:g} times, as nobody crosses it",
            "take the flat occupation for that of the start",
        )
    return _operator(floors, flatnesses, eta, noise)


def both_valleys(landscape: TwoValleys, y: ArrayLike) -> Float[np.ndarray, "2 valley *y"]:
    """Return the floors, and the flatness, of the flat and of the sharp valley on the host.

    Raises:
        InputError: it is no landscape, is traced, or an argument is out of range.
    """
    with in_double():
        pairs = checked(landscape).floors(y), landscape.flatnesses(y)
    return np.array([[host_array("landscape", value) for value in pair] for pair in pairs])


def _operator(
    floors: Float[np.ndarray, "valley"],
    flatnesses: Float[np.ndarray, "valley"],
    eta: float,
    noise: float,
) -> FixedYOperator:
    """Return the operator of two parabolas that meet at the ridge.

    Raises:
        InputError: the steps are too short for the number of points.
    """
    points, weights = _quadrature(floors, flatnesses, eta, noise)

    def chances(places):
        """Return the probabilities of the next point, from places."""
        sharp = (places < 0).astype(int)
        mean = places - 2 * eta * (places - floors[sharp]) / flatnesses[sharp]
        std = 2 * np.sqrt(eta * noise / flatnesses[sharp])[:, None]
        apart = (points - mean[:, None]) / std
        return weights * np.exp(-(apart**2) / 2) / (std * np.sqrt(2 * np.pi))

    transitions, flat = chances(points), points >= 0
    stationary, relaxation = _whole_chain(transitions, flat, abs(points - floors[0]).argmin())
    rates, times = [], []
    for here, floor in zip((flat, ~flat), floors[:, None], strict=True):
        stay = transitions[np.ix_(here, here)]
        chain = factorized(stay, transitions[np.ix_(here, ~here)].sum(axis=1))
        rates.append(_rate(chain.visits, stationary[here]))
        later = chain.times(np.ones(len(stay)))
        times.append(float(1 + chances(floor)[0, here] @ later))
    return FixedYOperator(
        float(stationary[flat].sum()),
        relaxation / eta,
        rates[0] / eta,
        rates[1] / eta,
        times[0] * eta,
        times[1] * eta,
        points,
        stationary / weights,
    )


def _quadrature(floors, flatnesses, eta, noise):
    """Return points that are dense against the steps, and their weights, in ascending order."""
    step = 2 * np.sqrt(eta * noise / flatnesses.max())
    # Both sides are as long: large steps over a floor end as far on the other side.
    length = (abs(floors) + EDGE * np.sqrt(noise / (1 - eta / flatnesses))).max()
    count = max(int(np.ceil(NODES_PER_STEP * length / step)), LEAST_POINTS)
    if count > MOST_POINTS:
        raise invalid(
            "learning_rate",
            f"is {eta:g}, for which {count} points a side are needed",
            f"steps that need at most {MOST_POINTS}",
            "use the limit of small learning rates, flat_occupation and hop_rates",
        )
    nodes, weights = np.polynomial.legendre.leggauss(count)
    right, right_weights = length * (1 + nodes) / 2, length * weights / 2
    both = np.concatenate([right_weights[::-1], right_weights])
    return np.concatenate([-right[::-1], right]), both


def _whole_chain(transitions, flat, origin):
    """Return the stationary law, and the rate of its slowest relaxation per step.

    The chain ends at the floor of the flat valley, from where most walkers hardly ever leave.
    """
    others = np.arange(len(flat)) != origin
    chain = factorized(transitions[np.ix_(others, others)], transitions[others, origin])
    stationary = np.ones(len(flat))
    stationary[others] = chain.visits(transitions[origin, others])
    stationary /= stationary.sum()

    def visits_in_excess(law):
        found = np.zeros(len(flat))
        found[others] = chain.visits(law[others])
        return found - found.sum() * stationary

    apart = np.where(flat, -1 / stationary[flat].sum(), 1 / stationary[~flat].sum()) * stationary
    return stationary, _rate(visits_in_excess, apart)


def _rate(visits, law):
    """Return the rate per step at which a law decays that visits make longer and longer."""
    length = 0.0
    for _ in range(MOST_ITERATIONS):
        before, law = length, visits(law)
        length = abs(law).sum()
        law /= length
        if abs(length - before) <= PRECISION * length:
            break
    return float(-np.log1p(-1 / length))
