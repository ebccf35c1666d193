"""The response of one mode to a push, in discrete and in continuous time, by addition of times.

A mode of curvature h obeys a linear law. In steps it is x_{k+1} = x_k + eta v_{k+1} with v_{k+1} =
beta v_k - h x_k, and in the continuous time of the Langevin equation it is x'' = -2 gamma x' -
omega^2 x. Two numbers say all about either: the velocity s that is left of a unit velocity given at
the start, and its sum T, the way made. The displacement that is left of a unit displacement is A =
1 - c T, with the curvature c.

The responses of two times give that of their sum by three products. So the response to k steps
comes from that of one step by the binary digits of k, and the response to a long time from that of
a short one by doubling. There is no formula for over-damped and another for under-damped modes. All
is polynomial, so derivatives exist everywhere, at critical damping and at zero curvature too. The
way is a sum of terms that do not cancel, which keeps its digits where the curvature is tiny.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sgd_diffusion._types import ArrayLike

__all__ = ["Law", "Response", "after_steps", "later", "of_steps", "of_time"]

TERMS = 24  # of the series for short times: 1 / 24! is below rounding
SHORT = 0.5  # times that the series takes, in units of the fastest rate
DOUBLINGS = 64


class Law(NamedTuple):
    """What adds up the responses of a mode.

    Attributes:
        curvature: c, eta h in steps and omega^2 in time.
        friction: 1 - beta - eta h in steps and 2 gamma in time.
        inertia: beta in steps and 1 in time.
    """

    curvature: Float[Array, "*modes"]
    friction: Float[Array, "*modes"]
    inertia: Float[Array, "*modes"]


class Response(NamedTuple):
    """The response of modes to a push at time 0.

    Attributes:
        velocity: s, what is left of a unit velocity.
        way: T, the sum or the integral of s.
        kept: A = 1 - c T, what is left of a unit displacement.
    """

    velocity: Float[Array, "..."]
    way: Float[Array, "..."]
    kept: Float[Array, "..."]


@jax.jit
def of_steps(curvature: ArrayLike, momentum: ArrayLike) -> tuple[Law, Response]:
    """Return the law of steps of curvature eta h, and the response to one of them."""
    curvature = jnp.asarray(curvature)
    momentum = jnp.broadcast_to(momentum, curvature.shape)
    law = Law(curvature, 1 - momentum - curvature, momentum)
    one = jnp.ones_like(curvature)
    return law, Response(one, one, 1 - curvature)


@jax.jit
def of_time(curvature: ArrayLike, friction: ArrayLike, time: ArrayLike) -> tuple[Law, Response]:
    """Return the law of a Langevin equation, and the response to a time.

    Args:
        curvature: omega^2.
        friction: 2 gamma.
        time: at least 0.
    """
    curvature, friction, time = jnp.broadcast_arrays(curvature, friction, time)
    law = Law(curvature, friction, jnp.ones_like(curvature))
    rates = jax.lax.stop_gradient((friction, jnp.sqrt(abs(jax.lax.stop_gradient(curvature)))))
    needed = jnp.ceil(jnp.log2(jnp.maximum(sum(rates) * jax.lax.stop_gradient(time) / SHORT, 1)))
    response = _short(law, time * 2.0**-needed)

    def doubled(response, count):
        twice = later(law, response, response)
        return Response(
            *(jnp.where(count < needed, new, old) for new, old in zip(twice, response, strict=True))
        ), None

    return law, jax.lax.scan(doubled, response, jnp.arange(DOUBLINGS))[0]


def later(law: Law, first: Response, second: Response) -> Response:
    """Return the response to the sum of two times."""
    pushed = law.inertia * first.velocity * second.velocity
    velocity = (
        first.kept * second.velocity
        + first.velocity * second.kept
        - law.friction * first.velocity * second.velocity
    )
    way = first.way + first.kept * second.way + pushed
    kept = first.kept * second.kept - law.curvature * pushed
    # Products keep the digits of what has decayed, and the way those of what has hardly begun to.
    kept = jnp.where(abs(kept) > 0.5, 1 - law.curvature * way, kept)
    return Response(velocity, way, kept)


def after_steps(
    law: Law, one: Response, steps: Int[Array, "..."], most: int | None = None
) -> Response:
    """Return the response to numbers of steps from that to one, by their binary digits.

    Args:
        law: of modes whose shape broadcasts with that of the steps.
        one: the response to one step.
        steps: at least 0.
        most: the largest of them where it is known, which saves digits.
    """
    digits = steps.dtype.itemsize * 8 - 1 if most is None else int(most).bit_length()
    return _after_steps(law, one, steps, digits)


@functools.partial(jax.jit, static_argnums=3)
def _after_steps(law, one, steps, digits):
    shape = jnp.broadcast_shapes(steps.shape, one.way.shape)
    nothing, everything = jnp.zeros(shape), jnp.ones(shape)

    def with_digit(response, digit):
        twice = later(law, response, response)
        and_one = later(law, twice, one)
        odd = (steps >> digit) & 1 == 1
        return jax.tree.map(lambda new, old: jnp.where(odd, new, old), and_one, twice), None

    start = Response(nothing, nothing, everything)
    return jax.lax.scan(with_digit, start, jnp.arange(digits)[::-1])[0]


def _short(law, time):
    """The response to a short time, by the series of exp at the two rates of the mode."""
    term, before = jnp.ones_like(time), jnp.zeros_like(time)
    velocity, way = jnp.zeros_like(time), jnp.zeros_like(time)
    factorial = 1.0
    for order in range(TERMS):
        factorial *= order + 1
        velocity = velocity + term / factorial
        way = way + term / (factorial * (order + 2))
        term, before = (
            -law.friction * time * term - law.curvature * time * time * before,
            term,
        )
    velocity, way = velocity * time, way * time * time
    return Response(velocity, way, 1 - law.curvature * way)
