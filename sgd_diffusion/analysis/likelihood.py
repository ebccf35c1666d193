"""Maximum likelihood on the device: one search for any density with a few bounded parameters."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from sgd_diffusion._types import ArrayLike
from sgd_diffusion.analysis.estimates import Status, spread_status

__all__ = ["Maximum", "Standardized", "in_double", "maximize", "movable", "standardized"]

MAX_ITERATIONS = 100
MAX_HALVINGS = 20
TOLERANCE = 1e-8
ACCEPTED = 1e-4  # tolerance where rounding ends the search earlier
ROUNDING = 1e-14  # of the log likelihood
DIFFERENCE = 1e-4  # of parameters, for second derivatives
RIDGE = 1e-10  # of the diagonal, for two parameters that the data cannot tell apart


@contextlib.contextmanager
def in_double() -> Iterator[None]:
    """Compute in float64 by the usual rules of JAX, whatever debug modes the user has on.

    NaN is a value that is meant here.
    """
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        jax.debug_nans(False),
        jax.debug_infs(False),
    ):
        yield


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
            that has no effect.
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
    tolerance: float = TOLERANCE,
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
        upper: (K,) bounds, or inf.
        weights: (n,) of the data, with mean 1; all 1 if None.
        tolerance: squared distance left to the maximum, in standard errors, at which the search
            ends.

    Returns:
        `Maximum`.
    """
    weights = jnp.ones_like(x) if weights is None else weights
    lower, upper = jnp.asarray(lower), jnp.asarray(upper)

    def total(parameters):
        return weights @ log_density(parameters, x)

    def scores(parameters):
        def along(direction):
            return jax.jvp(lambda p: log_density(p, x), (parameters,), (direction,))

        values, each = jax.vmap(along, out_axes=(None, 0))(jnp.eye(start.size, dtype=x.dtype))
        return weights @ values, each

    def direction_of(scatter, slope, moves):
        return jnp.linalg.solve(_restricted(scatter, moves), jnp.where(moves, slope, 0))

    def step(state):
        parameters, _, iterations, _ = state
        value, each = scores(parameters)
        slope = each @ weights
        scatter = (each * weights) @ each.T
        moves = movable(parameters, slope, lower, upper) & (jnp.diagonal(scatter) > 0)
        # A parameter may leave its bound by itself, but not together with the others.
        moves = movable(parameters, direction_of(scatter, slope, moves), lower, upper) & moves
        direction = direction_of(scatter, slope, moves)
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
            return ~(total(moved(length)) - value >= least) & (halvings < MAX_HALVINGS)

        length, halvings = jax.lax.while_loop(
            too_long, lambda search: (search[0] / 2, search[1] + 1), (first, 0)
        )
        stuck = halvings == MAX_HALVINGS
        return jnp.where(stuck, parameters, moved(length)), slope @ direction, iterations + 1, stuck

    def unfinished(state):
        return (state[1] > tolerance) & (state[2] < MAX_ITERATIONS) & ~state[3]

    start = jnp.clip(start, lower, upper)
    begin: tuple[Any, ...] = start, jnp.asarray(jnp.inf, x.dtype), 0, False
    parameters, left, iterations, _ = jax.lax.while_loop(unfinished, step, begin)

    def gradient(parameters):
        return scores(parameters)[1] @ weights

    each = scores(parameters)[1]
    moves = movable(parameters, each @ weights, lower, upper)
    # Central differences of exact scores. JAX would take longer to compile second derivatives than
    # all the rest.
    steps = jnp.minimum(DIFFERENCE, jnp.minimum(upper - parameters, parameters - lower) / 2)
    ends = jax.lax.map(
        gradient, jnp.concatenate([parameters + jnp.diag(steps), parameters - jnp.diag(steps)])
    )
    curvature = (ends[: start.size] - ends[start.size :]) / (2 * steps[:, None])
    known = moves & (each**2 @ weights > 0)
    information = _restricted(-(curvature + curvature.T) / 2, known)
    covariance = jnp.where(known & known[:, None], jnp.linalg.inv(information), jnp.nan)
    converged = jnp.where((~moves).any(), Status.AT_BOUND, Status.OK)
    status = jnp.where(left <= max(tolerance, ACCEPTED), converged, Status.NOT_CONVERGED)
    return Maximum(parameters, total(parameters), covariance, status.astype(jnp.int32), iterations)


def movable(
    parameters: Float[Array, "k"], slope: Float[Array, "k"], lower: ArrayLike, upper: ArrayLike
) -> Bool[Array, "k"]:
    """Return which parameters (K,) are not pushed against their bounds by the slope."""
    return ~(((parameters <= lower) & (slope < 0)) | ((parameters >= upper) & (slope > 0)))


def _restricted(matrix, moves):
    """Return the matrix of the moving parameters, with the unit matrix for the others."""
    both = moves & moves[:, None]
    return jnp.where(both, matrix * (1 + RIDGE * jnp.eye(moves.size)), jnp.eye(moves.size))
