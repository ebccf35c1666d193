"""Maximum likelihood on the device: one search for any density with a few bounded parameters."""

import contextlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion.analysis.estimates import Status, spread_status

__all__ = ["Maximum", "Standardised", "in_double", "maximize", "movable", "standardised"]

MAX_ITERATIONS = 100
MAX_HALVINGS = 20
TOLERANCE = 1e-8
ACCEPTED = 1e-4  # tolerance where rounding ends the search before
ROUNDING = 1e-14  # of the log likelihood
DIFFERENCE = 1e-4  # of parameters, for second derivatives
RIDGE = 1e-10  # of the diagonal: two parameters that the data cannot tell apart


@contextlib.contextmanager
def in_double():
    """Float64 arithmetic by JAX's usual rules, whatever modes the user has on to debug; NaN is a
    value that is meant here.
    """
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        jax.debug_nans(False),
        jax.debug_infs(False),
    ):
        yield


class Standardised(NamedTuple):
    """Samples in units in which every search is alike."""

    z: jax.Array  # (n,) samples less their median, by half the distance of their quartiles
    median: jax.Array
    spread: jax.Array  # that half distance
    tails: jax.Array  # (2,) quantiles of 5 and 95 percent of z
    status: jax.Array  # OK, or that of samples that cannot be used, for which z is a stand-in

    @property
    def usable(self):
        """Whether z is the samples."""
        return self.status == Status.OK


def standardised(x) -> Standardised:
    """Samples (n,) in the units of their own quartiles; a Cauchy sample, quick to fit, in place of
    unusable ones.
    """
    ordered = jnp.sort(x)  # once, as it takes a tenth of a fit
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
    return Standardised(
        jnp.where(usable, (x - median) / spread, stand_in), median, spread, tails, status
    )


class Maximum(NamedTuple):
    """Where a likelihood has its maximum."""

    parameters: jax.Array  # (K,)
    log_likelihood: jax.Array  # ()
    covariance: (
        jax.Array
    )  # (K, K), inverse of the observed information; NaN at a bound, and for what has no effect
    status: jax.Array  # () int32, a Status: OK, AT_BOUND or NOT_CONVERGED
    iterations: jax.Array  # () int32


def maximize(
    log_density: Callable, x, start, lower, upper, *, weights=None, tolerance=TOLERANCE
) -> Maximum:
    """Parameters that maximise sum of weights * log_density(parameters, x), within bounds.

    Every step solves with the scores' own scatter in place of the Hessian (Berndt, Hall, Hall &
    Hausman, Ann. Econ. Soc. Meas. 3, 653, 1974), which is positive and needs first derivatives
    alone, and is halved until the likelihood grows.

    Args:
        log_density: `(parameters (K,), x (n,)) -> (n,)`, smooth, for parameters of order 1.
        x: (n,) data.
        start: (K,) within the bounds; K >= 1.
        lower: (K,) bounds, or -inf.
        upper: (K,) bounds, or inf.
        weights: (n,) of the data, with mean 1; all 1 if None.
        tolerance: squared distance left to the maximum, in standard errors, at which the search
            ends.
    """
    weights = jnp.ones_like(x) if weights is None else weights
    lower, upper = jnp.asarray(lower), jnp.asarray(upper)

    def total(parameters):
        return weights @ log_density(parameters, x)

    def scores(parameters):
        def along(direction):
            return jax.jvp(lambda p: log_density(p, x), (parameters,), (direction,))

        values, found = jax.vmap(along, out_axes=(None, 0))(jnp.eye(start.size, dtype=x.dtype))
        return weights @ values, found

    def direction_of(scatter, slope, moves):
        return jnp.linalg.solve(_restricted(scatter, moves), jnp.where(moves, slope, 0))

    def step(state):
        parameters, _, iterations, _ = state
        value, found = scores(parameters)
        slope = found @ weights
        scatter = (found * weights) @ found.T
        moves = movable(parameters, slope, lower, upper) & (jnp.diagonal(scatter) > 0)
        # Off the bound by itself, but not together with the others.
        moves = movable(parameters, direction_of(scatter, slope, moves), lower, upper) & moves
        direction = direction_of(scatter, slope, moves)
        # As far as the first bound: what lies on it then is left out of the next step.
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
            return ~(total(moved(length)) - value >= least) & (halvings < MAX_HALVINGS)

        length, halvings = jax.lax.while_loop(
            too_long, lambda search: (search[0] / 2, search[1] + 1), (first, 0)
        )
        stuck = halvings == MAX_HALVINGS
        return jnp.where(stuck, parameters, moved(length)), slope @ direction, iterations + 1, stuck

    def unfinished(state):
        return (state[1] > tolerance) & (state[2] < MAX_ITERATIONS) & ~state[3]

    start = jnp.clip(start, lower, upper)
    begin = start, jnp.asarray(jnp.inf, x.dtype), 0, False
    parameters, left, iterations, _ = jax.lax.while_loop(unfinished, step, begin)

    def gradient(parameters):
        return scores(parameters)[1] @ weights

    found = scores(parameters)[1]
    moves = movable(parameters, found @ weights, lower, upper)
    # Central differences of exact scores: second derivatives by JAX would take longer to compile
    # than all the rest.
    steps = jnp.minimum(DIFFERENCE, jnp.minimum(upper - parameters, parameters - lower) / 2)
    ends = jax.lax.map(
        gradient, jnp.concatenate([parameters + jnp.diag(steps), parameters - jnp.diag(steps)])
    )
    curvature = (ends[: start.size] - ends[start.size :]) / (2 * steps[:, None])
    known = moves & (found**2 @ weights > 0)
    information = _restricted(-(curvature + curvature.T) / 2, known)
    covariance = jnp.where(known & known[:, None], jnp.linalg.inv(information), jnp.nan)
    converged = jnp.where((~moves).any(), Status.AT_BOUND, Status.OK)
    status = jnp.where(left <= max(tolerance, ACCEPTED), converged, Status.NOT_CONVERGED)
    return Maximum(parameters, total(parameters), covariance, status.astype(jnp.int32), iterations)


def movable(parameters, slope, lower, upper):
    """Which parameters (K,) are not pushed against their bounds by the slope."""
    return ~(((parameters <= lower) & (slope < 0)) | ((parameters >= upper) & (slope > 0)))


def _restricted(matrix, moves):
    """The matrix of the moving parameters, the unit matrix for the others."""
    both = moves & moves[:, None]
    return jnp.where(both, matrix * (1 + RIDGE * jnp.eye(moves.size)), jnp.eye(moves.size))
