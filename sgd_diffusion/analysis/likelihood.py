"""Maximum likelihood on the device: one search for any density with a few bounded parameters."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from sgd_diffusion._types import ArrayLike
from sgd_diffusion.analysis.estimates import Status, spread_status

__all__ = ["Maximum", "Standardized", "maximize", "movable", "standardized"]

MAX_ITERATIONS = 100
MAX_HALVINGS = 20
TOLERANCE = 1e-8
ACCEPTED = 1e-4  # tolerance where rounding ends the search earlier
ROUNDING = 1e-14  # of the log likelihood
DIFFERENCE = 1e-4  # of parameters, for second derivatives
RIDGE = 1e-10  # of the diagonal, for two parameters that the data cannot tell apart


class Standardized(NamedTuple):
    """Samples in units in which every search is alike.

    Attributes:
        z: (n,) samples less their median, over half the distance of their quartiles.
        median: () of the samples.
        spread: () that half distance.
        tails: (2,) quantiles of 5 and 95 percent of z.
        status: () OK, or that of samples that cannot be used; z is then a stand-in.
    """

    z: Float[Array, "n"]
    median: Float[Array, ""]
    spread: Float[Array, ""]
    tails: Float[Array, "2"]
    status: Int[Array, ""]

    @property
    def usable(self) -> Bool[Array, ""]:
        """Return whether z has the samples."""
        return self.status == Status.OK


def standardized(x: Float[Array, "n"]) -> Standardized:
    """Return samples (n,) in the units of their own quartiles.

    A Cauchy sample, quick to fit, takes the place of unusable ones.
    """
    ordered = jnp.sort(x)  # once, since it takes a tenth of a fit
    status = spread_status(ordered)
    places = np.array([0.05, 0.25, 0.5, 0.75, 0.95]) * (x.size - 1)
    before = places.astype(int)
    lowest, low, median, high, highest = ordered[before] + (places - before) * (
        ordered[before + 1] - ordered[before]
    )
    usable = status == Status.OK
    spread = jnp.where(usable, (high - low) / 2, 1)
    stand_in = jnp.tan(jnp.pi / 2 * jnp.linspace(-0.99, 0.99, x.size))
    tails = jnp.where(
        usable, (jnp.stack([lowest, highest]) - median) / spread, np.array([-10.0, 10.0])
    )
    return Standardized(
        jnp.where(usable, (x - median) / spread, stand_in), median, spread, tails, status
    )


class Maximum(NamedTuple):
    """Maximum of a likelihood.

    Attributes:
        parameters: (K,) where it is.
        log_likelihood: () there.
        covariance: (K, K), inverse of the observed information; NaN at a bound, and for a parameter
            that is pinned or has no effect.
        status: () int32, a `Status`: OK, AT_BOUND or NOT_CONVERGED.
        iterations: () int32.
    """

    parameters: Float[Array, "k"]
    log_likelihood: Float[Array, ""]
    covariance: Float[Array, "k k"]
    status: Int[Array, ""]
    iterations: Int[Array, ""]


def maximize(
    log_density: Callable[[Array, Array], Array],
    x: Float[Array, "n"],
    start: Float[Array, "k"],
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    weights: Float[Array, "n"] | None = None,
    tol: float = TOLERANCE,
) -> Maximum:
    """Return the parameters within bounds that maximize a weighted log likelihood.

    It is the sum of weights * log_density(parameters, x).

    Every step solves with the scatter of the scores in place of the Hessian (Berndt, Hall, Hall &
    Hausman, Ann. Econ. Soc. Meas. 3, 653, 1974). The scatter is positive and needs only first
    derivatives. A step is halved until the likelihood grows.

    Args:
        log_density: `(parameters (K,), x (n,)) -> (n,)`, smooth, for parameters of order 1.
        x: (n,) data.
        start: (K,) within the bounds; K >= 1.
        lower: (K,) bounds, or -inf.
        upper: (K,) bounds, or inf. Where both are one number, the parameter is pinned to it.
        weights: (n,) of the data, with mean 1; all 1 if None.
        tol: squared distance left to the maximum, in standard errors, at which the search
            ends.

    Returns:
        `Maximum`.
    """
    weights = jnp.ones_like(x) if weights is None else weights
    sample = _Sample(log_density, x, weights)
    bounds = jnp.asarray(lower), jnp.asarray(upper)

    def unfinished(state):
        return (state[1] > tol) & (state[2] < MAX_ITERATIONS) & ~state[3]

    def step(state):
        parameters, left, stuck = _ascended(sample, state[0], bounds)
        return parameters, left, state[2] + 1, stuck

    begin: tuple[Any, ...] = jnp.clip(start, *bounds), jnp.asarray(jnp.inf, x.dtype), 0, False
    parameters, left, iterations, _ = jax.lax.while_loop(unfinished, step, begin)
    value, moves, covariance = _around(sample, parameters, bounds)
    at_bound = ~moves & (bounds[0] < bounds[1])
    converged = jnp.where(at_bound.any(), Status.AT_BOUND, Status.OK)
    status = jnp.where(left <= max(tol, ACCEPTED), converged, Status.NOT_CONVERGED)
    return Maximum(parameters, value, covariance, status.astype(jnp.int32), iterations)


class _Sample(NamedTuple):
    """A density at weighted data, as functions of its parameters."""

    log_density: Callable[[Array, Array], Array]
    x: Array
    weights: Array

    def total(self, parameters):
        """Return the log likelihood ()."""
        return self.weights @ self.log_density(parameters, self.x)

    def scores(self, parameters):
        """Return the log likelihood () and its derivatives at each datum (K, n)."""

        def along(direction):
            return jax.jvp(lambda p: self.log_density(p, self.x), (parameters,), (direction,))

        directions = jnp.eye(parameters.size, dtype=self.x.dtype)
        values, each = jax.vmap(along, out_axes=(None, 0))(directions)
        return self.weights @ values, each


def _ascended(sample, parameters, bounds):
    """Return parameters of a higher likelihood.

    With them are the squared distance that was left to the maximum, in standard errors, and whether
    no shorter step leads up.
    """
    value, each = sample.scores(parameters)
    slope = each @ sample.weights
    direction, moves = _direction(parameters, slope, (each * sample.weights) @ each.T, bounds)
    lower, upper = bounds
    # Go as far as the first bound. A parameter on it is left out of the next step.
    room = jnp.where(direction > 0, upper - parameters, parameters - lower) / jnp.where(
        moves, abs(direction), 1
    )
    first = jnp.minimum(jnp.where(direction == 0, jnp.inf, room).min(), 1)

    def moved(length):
        at_bound = (length == first) & (room <= first) & (direction != 0)
        inside = jnp.clip(parameters + length * direction, lower, upper)
        return jnp.where(at_bound, jnp.where(direction > 0, upper, lower), inside)

    def too_long(search):
        length, halvings = search
        least = 1e-4 * length * slope @ direction - ROUNDING * abs(value)
        return ~(sample.total(moved(length)) - value >= least) & (halvings < MAX_HALVINGS)

    length, halvings = jax.lax.while_loop(
        too_long, lambda search: (search[0] / 2, search[1] + 1), (first, 0)
    )
    stuck = halvings == MAX_HALVINGS
    return jnp.where(stuck, parameters, moved(length)), slope @ direction, stuck


def _direction(parameters, slope, scatter, bounds):
    """Return the direction of a step (K,), and which parameters move."""

    def solved(moves):
        return jnp.linalg.solve(_restricted(scatter, moves), jnp.where(moves, slope, 0))

    moves = movable(parameters, slope, *bounds) & (jnp.diagonal(scatter) > 0)
    # A parameter may leave its bound by itself, but not together with the others.
    moves = movable(parameters, solved(moves), *bounds) & moves
    return solved(moves), moves


def _around(sample, parameters, bounds):
    """Return the log likelihood, which parameters can move, and the inverse observed information.

    The information (K, K) is by central differences of exact scores. JAX would take longer to
    compile second derivatives than all the rest, and all points share one program.
    """
    lower, upper = bounds
    steps = jnp.minimum(DIFFERENCE, jnp.minimum(upper - parameters, parameters - lower) / 2)
    shifts = jnp.diag(steps)

    def at(point):
        value, each = sample.scores(point)
        return value, each @ sample.weights, each**2 @ sample.weights

    values, slopes, squares = jax.lax.map(
        at, jnp.concatenate([parameters[None], parameters + shifts, parameters - shifts])
    )
    moves = movable(parameters, slopes[0], lower, upper)
    _, above, below = jnp.split(slopes, [1, 1 + steps.size])
    curvature = (above - below) / (2 * steps[:, None])
    known = moves & (squares[0] > 0)
    information = _restricted(-(curvature + curvature.T) / 2, known)
    covariance = jnp.where(known & known[:, None], jnp.linalg.inv(information), jnp.nan)
    return values[0], moves, covariance


def movable(
    parameters: Float[Array, "k"], slope: Float[Array, "k"], lower: ArrayLike, upper: ArrayLike
) -> Bool[Array, "k"]:
    """Return which parameters (K,) are neither pinned nor pushed against their bounds."""
    pushed = ((parameters <= lower) & (slope < 0)) | ((parameters >= upper) & (slope > 0))
    return ~pushed & (lower < upper)


def _restricted(matrix, moves):
    """Return the matrix of the moving parameters, with the unit matrix for the others."""
    both = moves & moves[:, None]
    return jnp.where(both, matrix * (1 + RIDGE * jnp.eye(moves.size)), jnp.eye(moves.size))
