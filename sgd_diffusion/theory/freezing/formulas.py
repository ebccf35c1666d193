"""The loss of two valleys and what it is made of, as compiled programs.

All take the parameters, `TwoValleys` of scalars, and coordinates that were read before.
"""

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["barrier", "both_flatnesses", "both_floors", "gradient", "hessian", "loss"]

Coordinate: TypeAlias = Float[Array, "*shape"]


class _Terms(NamedTuple):
    """What the loss at some places is made of; values by y come with their derivatives."""

    sign: Float[Array, "*shape"]  # of x, and 1 on the ridge
    distance: Float[Array, "*shape"]  # u = |x| from the ridge
    slope: Float[Array, "*shape"]  # 2 u - g
    profile: Float[Array, "*shape"]  # n = u (u - g)
    width: list[Float[Array, "*shape"]]  # g of the valley, where the loss is that of the ridge
    stiffness: list[Float[Array, "*shape"]]  # 1 / f of the valley
    base: list[Float[Array, "*shape"]]  # L_0, the loss on the ridge


def _terms(at: Any, x: Coordinate, y: Coordinate) -> _Terms:
    """Return what L = L_0 + u (u - g) / f is made of."""
    flat = x >= 0
    u, place = jnp.where(flat, x, -x), jnp.where(flat, at.x1, at.x2)
    apart, narrow = y + at.y_b, y + at.y_f
    half = place * at.y_b / apart**2
    width = [2 * place * y / apart, 2 * half, -4 * half / apart]
    scale = (at.x0 / place) ** 2 / at.f0
    root = apart / narrow
    tilt = (at.y_f - at.y_b) / narrow**2
    stiffness = [
        scale * root**2,
        2 * scale * root * tilt,
        2 * scale * (tilt**2 - 2 * root * tilt / narrow),
    ]
    fall = at.L_d * jnp.exp(-y / at.y_d)
    base = [fall + at.x0**2 / at.f0, -fall / at.y_d, fall / at.y_d**2]
    sign = jnp.where(flat, jnp.ones_like(x), -jnp.ones_like(x))
    return _Terms(sign, u, 2 * u - width[0], u * (u - width[0]), width, stiffness, base)


@jax.jit
def loss(at: Any, x: Coordinate, y: Coordinate) -> Float[Array, "..."]:
    """Return the loss at places."""
    terms = _terms(at, x, y)
    return terms.base[0] + terms.profile * terms.stiffness[0]


@jax.jit
def gradient(at: Any, x: Coordinate, y: Coordinate) -> Float[Array, "..."]:
    """Return the derivatives by x and y."""
    terms = _terms(at, x, y)
    stiff, tilt, _ = terms.stiffness
    by_x = terms.sign * terms.slope * stiff
    by_y = terms.base[1] - terms.distance * terms.width[1] * stiff + terms.profile * tilt
    return jnp.stack([by_x, by_y], axis=-1)


@jax.jit
def hessian(at: Any, x: Coordinate, y: Coordinate) -> Float[Array, "..."]:
    """Return the second derivatives."""
    terms = _terms(at, x, y)
    stiff, tilt, bend = terms.stiffness
    by_xy = terms.sign * (terms.slope * tilt - terms.width[1] * stiff)
    by_yy = (
        terms.base[2]
        - terms.distance * (terms.width[2] * stiff + 2 * terms.width[1] * tilt)
        + terms.profile * bend
    )
    rows = [jnp.stack([2 * stiff, by_xy], axis=-1), jnp.stack([by_xy, by_yy], axis=-1)]
    return jnp.stack(rows, axis=-2)


@jax.jit
def barrier(at: Any, y: Coordinate) -> Float[Array, "..."]:
    """Return the height of the ridge over the floors."""
    return at.x0**2 / at.f0 * (y / (y + at.y_f)) ** 2


@jax.jit
def both_floors(at: Any, y: Coordinate) -> Float[Array, "valley *shape"]:
    """Return x of the floor of the flat and of the sharp valley."""
    part = y / (y + at.y_b)
    return jnp.stack([at.x1 * part, -at.x2 * part])


@jax.jit
def both_flatnesses(at: Any, y: Coordinate) -> Float[Array, "valley *shape"]:
    """Return f of the flat and of the sharp valley."""
    part = at.f0 * ((y + at.y_f) / (at.x0 * (y + at.y_b))) ** 2
    return jnp.stack([at.x1**2 * part, at.x2**2 * part])
