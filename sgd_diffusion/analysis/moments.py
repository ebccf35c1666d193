"""Higher moments of displacements: moment scaling of a path, and deviations from a Gaussian.

The moments of all orders come from the step Gram matrix of a path, as its MSD does. Distributions
need coordinates. `positions`, (T+1, K), are the K coordinates of the points w_0, ..., w_T along
given directions, such as weights @ directions or principal component scores. Lags count steps.

The functions of one path work in the precision of their input and can be jitted and mapped with
`jax.vmap`, as those of `analysis.displacement` do. The fit is float64 NumPy on the host.
"""

import contextlib
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgd_diffusion._arrays import host_array, own_precision
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, HostArray, IntegerLike, NumberLike
from sgd_diffusion.analysis.gram import (
    checked_integer,
    checked_lags,
    diagonal_means,
    one_path,
    upper_squared_displacements,
)
from sgd_diffusion.analysis.guarded import power, where_known
from sgd_diffusion.analysis.scaling import fit_power_law
from sgd_diffusion.errors import invalid

__all__ = [
    "DisplacementDistribution",
    "MomentScalingSpectrum",
    "displacement_distribution",
    "displacement_moments",
    "moment_scaling_spectrum",
    "non_gaussian_parameter",
]


@shown_briefly
class MomentScalingSpectrum(NamedTuple):
    """Exponents of <|Delta|^q> ~ lag^(q nu(q)), and how straight they lie.

    (...) are the leading axes of the moments.

    Attributes:
        orders: (Q,), q.
        exponents: (..., Q), q nu(q).
        exponent_errors: (..., Q), a lower bound, see `fit_power_law`.
        nu: (...), slope of the least-squares line q nu through the origin.
        deviation: (...), root mean square of q nu(q) about that line.
    """

    orders: Float[np.ndarray, "order"]
    exponents: Float[np.ndarray, "*curves order"]
    exponent_errors: Float[np.ndarray, "*curves order"]
    nu: Float[HostArray, "*curves"]
    deviation: Float[HostArray, "*curves"]


@shown_briefly
class DisplacementDistribution(NamedTuple):
    """Densities of scaled displacements.

    Attributes:
        edges: (B+1,) of the bins, in standard deviations.
        density: (K, B), per standard deviation.
    """

    edges: Float[Array, "edge"]
    density: Float[Array, "direction bin"]


def displacement_moments(
    step_gram: ArrayLike, orders: ArrayLike, lags: ArrayLike | None = None
) -> Float[Array, "order lag"]:
    r"""Return time-averaged moments of the length of displacements.

    <|Delta|^q>(lag) = 1/(T+1-lag) * sum over i = 0..T-lag of |w_{i+lag} - w_i|^q (Castiglione et
    al., Physica D 134, 75, 1999, with a time average for their average over particles). Order 2 is
    the TAMSD. In P >> 1 dimensions |Delta| hardly scatters when its coordinates are independent.
    There the moments say how the size of the steps varies.

    Formula:
        Moments of displacements. $\langle \lVert \Delta \rVert^q \rangle (\ell) =
        \frac{1}{T+1-\ell} \sum_{i=0}^{T-\ell} \lVert w_{i+\ell} - w_i \rVert^q$ (Castiglione et
        al., Physica D 134, 75, 1999)

    Args:
        step_gram: (T, T), symmetric; only its upper triangle is read.
        orders: (Q,) positive numbers q, known before tracing.
        lags: (L,) integers in 1..T, known before tracing; all of 1..T when None.

    Returns:
        (Q, L), weight units to the power q, never negative.

    Raises:
        InputError: `step_gram` is not one square matrix of real numbers with T >= 1; an order is
            not positive and finite; a lag is not an integer in 1..T.

    >>> displacement_moments([[1.0, 1.0], [1.0, 1.0]], [1, 3]).tolist()      # steady: lag^q
    [[1.0, 2.0], [1.0, 8.0]]
    """
    orders = _checked_orders(orders)
    with one_path(step_gram) as gram:
        moments = _moments(gram, tuple(orders.tolist()))
        return moments if lags is None else moments[:, checked_lags(lags, len(gram)) - 1]


def moment_scaling_spectrum(
    orders: ArrayLike,
    lags: ArrayLike,
    moments: ArrayLike,
    *,
    x_min: NumberLike | None = None,
    x_max: NumberLike | None = None,
) -> MomentScalingSpectrum:
    r"""Fit the exponents q nu(q) with which the moments of displacements grow.

    <|Delta|^q> ~ lag^(q nu(q)) by `scaling.fit_power_law` on lags in [x_min, x_max]. One scale for
    all displacements (weak or ordinary scaling) makes the spectrum a straight line q nu, with nu =
    1/2 for diffusion and 1 for ballistic motion. A bent spectrum is strong anomalous diffusion
    (Castiglione et al., Physica D 134, 75, 1999): long displacements spread faster than typical
    ones.

    Formula:
        Moment scaling spectrum. $\langle \lVert \Delta \rVert^q \rangle (\ell) \propto \ell^{q
        \nu(q)}$ (Castiglione et al., Physica D 134, 75, 1999)

    Args:
        orders: (Q,) positive numbers q.
        lags: (L,) positive and increasing.
        moments: (..., Q, L), from `displacement_moments`, of one member or averaged over members.
        x_min: lower end of the range of lags, inclusive; the first lag when None.
        x_max: upper end, inclusive; the last lag when None.

    Returns:
        `MomentScalingSpectrum`. An order is NaN if one of its moments in the range is NaN, infinite
        or zero; nu and deviation are then NaN too. With a single order the deviation is 0.

    Raises:
        InputError: an order is not positive and finite, shapes that do not fit, lags not increasing
            and positive, or fewer than 3 lags in the range.

    >>> spectrum = moment_scaling_spectrum([1, 2], [1, 2, 4], [[1.0, 2.0, 4.0], [1.0, 4.0, 16.0]])
    >>> spectrum.exponents.round(6).tolist(), float(spectrum.nu.round(6))
    ([1.0, 2.0], 1.0)
    """
    orders, moments = _checked_orders(orders), host_array("moments", moments)
    if moments.shape[-2:-1] != orders.shape:
        raise invalid(
            "moments",
            f"has shape {moments.shape}",
            f"(..., {len(orders)}, L), a curve for each order",
        )
    fits = fit_power_law(lags, moments, x_min=x_min, x_max=x_max)
    nu = fits.exponent @ orders / (orders @ orders)
    deviation = np.sqrt(np.mean((fits.exponent - nu[..., None] * orders) ** 2, axis=-1))
    return MomentScalingSpectrum(orders, fits.exponent, fits.exponent_error, nu, deviation)


def non_gaussian_parameter(positions: ArrayLike, lags: ArrayLike) -> Float[Array, "lag direction"]:
    r"""Return the non-Gaussian parameter of the displacements along given directions.

    alpha_2(lag) = <x^4> / (3 <x^2>^2) - 1 for the displacements x = z_{i+lag} - z_i along one
    direction, with averages over all i = 0..T-lag (Rahman, Phys. Rev. 136, A405, 1964, in one
    dimension). It is a third of the excess kurtosis about zero. It is 0 for Gaussian displacements,
    positive for heavy tails or steps whose size varies, and -2/3 for displacements of one length.
    No drift is subtracted: a steady drift has -2/3.

    Over n independent Gaussian pairs its mean is -2/(n + 2) and its standard deviation about sqrt(8
    / (3n)). Pairs that overlap are fewer than they look (`displacement.effective_pairs`).

    Formula:
        Non-Gaussian parameter, alpha_2. $\alpha_2(\ell) = \frac{\langle x^4 \rangle}{3 \langle x^2
        \rangle^2} - 1$ (Rahman, Phys. Rev. 136, A405, 1964, in one dimension)

    Args:
        positions: (T+1, K), coordinates of the points of one path along K directions.
        lags: (L,) integers in 1..T, known before tracing; the work holds L (T+1) K numbers.

    Returns:
        (L, K), dimensionless, never below -2/3; NaN where a direction does not move at a lag.

    Raises:
        InputError: `positions` is not one (T+1, K) array of real numbers with T >= 1; a lag is not
            an integer in 1..T.

    >>> one_step_in_six = [[0.0]] * 6 + [[1.0]]
    >>> non_gaussian_parameter(one_step_in_six, lags=[1]).round(6).tolist()
    [[1.0]]
    """
    with _one_path_along(positions) as positions:
        return _non_gaussian(positions, checked_lags(lags, len(positions) - 1))


def displacement_distribution(
    positions: ArrayLike, lag: IntegerLike, *, bins: ArrayLike
) -> DisplacementDistribution:
    r"""Return the distribution of displacements along given directions, in standard deviations.

    Each direction has its own standard deviation. The density of x / sqrt(<x^2>) for the
    displacements x = z_{i+lag} - z_i, i = 0..T-lag, is the self part of the van Hove function
    (Phys. Rev. 95, 249, 1954), scaled. For self-similar motion the curves of all lags are one
    curve. For Gaussian displacements it is the standard normal density. The standard deviation is
    taken about zero, as in `non_gaussian_parameter`. So the fourth moment of the density is 3 (1 +
    alpha_2), and a drift shows.

    Formula:
        Distribution of displacements, scaled. $p(y; \ell), \quad y = \frac{z_{i+\ell} -
        z_i}{\sqrt{\langle (z_{i+\ell} - z_i)^2 \rangle}}$ (van Hove, Phys. Rev. 95, 249, 1954, self
        part)

    Args:
        positions: (T+1, K), coordinates of the points of one path along K directions.
        lag: an integer in 1..T, known before tracing.
        bins: (B+1,) increasing edges of the bins, known before tracing, in standard deviations.

    Returns:
        `DisplacementDistribution`, its density over *all* displacements. Over the bins it
        integrates to the share of them inside. NaN for a direction that does not move at this lag.

    Raises:
        InputError: `positions` is not one (T+1, K) array of real numbers with T >= 1; `lag` is not
            an integer in 1..T; `bins` is not increasing and finite.

    >>> one_step_each_way = [[0.0], [1.0], [0.0]]
    >>> displacement_distribution(one_step_each_way, 1, bins=[-2, 0, 2]).density.tolist()
    [[0.25, 0.25]]
    """
    edges = host_array("bins", bins)
    if (
        edges.ndim != 1
        or len(edges) < 2
        or not np.all((np.diff(edges) > 0) & (np.diff(edges) < np.inf))
    ):
        raise invalid(
            "bins",
            f"is {bins}",
            "(B+1,) increasing, finite edges of B >= 1 bins, in standard deviations",
        )
    with _one_path_along(positions) as positions:
        steps = len(positions) - 1
        lag = checked_integer("lag", lag, 1, steps, steps)
        places = jnp.asarray(edges, positions.dtype)
        return DisplacementDistribution(places, _density(positions, places, lag))


@functools.partial(jax.jit, static_argnums=1)
def _moments(gram, orders):
    upper = upper_squared_displacements(gram)
    return jnp.stack([diagonal_means(power(upper, order / 2))[1:] for order in orders])


@jax.jit
def _non_gaussian(positions, lags):
    steps = len(positions) - 1
    end = jnp.arange(steps + 1)[None] + lags[:, None]
    # (L, T+1, K), T+1-lag of them on the path.
    displacements = positions[jnp.minimum(end, steps)] - positions[None]
    displacements = jnp.where((end <= steps)[:, :, None], displacements, 0)
    scaled = displacements / _largest(displacements, axis=1)
    squares, moved = jnp.sum(scaled**2, axis=1), jnp.any(displacements != 0, axis=1)
    pairs = (steps + 1 - lags[:, None]).astype(positions.dtype)
    kurtosis = pairs * jnp.sum(scaled**4, axis=1) / jnp.where(moved, squares, 1) ** 2
    return where_known(moved, kurtosis / 3 - 1)


@functools.partial(jax.jit, static_argnums=2)
def _density(positions, places, lag):
    displacements = positions[lag:] - positions[:-lag]
    scaled = displacements / _largest(displacements, axis=0)
    spread = jnp.sqrt(jnp.mean(scaled**2, axis=0))  # NaN for a coordinate with NaN
    scaled = scaled / jnp.where(spread == 0, 1, spread)[None]
    shares = jnp.mean(scaled[:, :, None] < places[None, None], axis=0, dtype=scaled.dtype)
    density = jnp.diff(shares) / jnp.diff(places)[None]
    return where_known(spread[:, None] > 0, density)


@contextlib.contextmanager
def _one_path_along(positions):
    """Yield coordinates (T+1, K) of one path as a JAX array in its own precision."""
    with own_precision("positions", positions) as positions:
        if positions.ndim != 2 or len(positions) < 2 or positions.shape[1] == 0:
            raise invalid(
                "positions",
                f"has shape {positions.shape}",
                "(T+1, K) with T, K >= 1, the points of one path along K directions",
                "use jax.vmap for several paths",
            )
        yield positions


def _largest(displacements, axis):
    """Return the largest displacement, or 1 where there is none.

    In its units float32 does not lose the powers of displacements.
    """
    largest = jax.lax.stop_gradient(jnp.abs(displacements).max(axis=axis, keepdims=True))
    return jnp.where(largest == 0, 1, largest)


def _checked_orders(orders):
    values = host_array("orders", orders)
    if values.ndim != 1 or len(values) == 0 or not np.all((values > 0) & (values < np.inf)):
        raise invalid("orders", f"is {orders}", "(Q,) positive, finite numbers")
    return values
