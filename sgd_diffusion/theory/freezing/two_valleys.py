"""A landscape with a flat and a sharp valley, whose barrier grows as training goes on."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import in_double, is_traced, real_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, NumberLike
from sgd_diffusion.analysis.guarded import where_known
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.parameters import real

__all__ = ["TwoValleys"]


@shown_briefly
class TwoValleys(NamedTuple):
    r"""A loss of two coordinates, with a flat valley at x > 0 and a sharp one at x < 0.

    The slow coordinate y grows as training goes on. The fast one, x, says which valley the walker
    is in. Both valleys are as deep, and the ridge between them at x = 0 is a kink. The barrier
    grows with y, and the valleys become flatter. At x = 0 derivatives are those of the flat side.

    It is a pytree of its parameters. Methods take the numbers of jitted and mapped functions, and
    give NaN where traced parameters are out of range. They compute in float32 where all coordinates
    are floating numbers of 4 bytes and fewer, and in float64 otherwise.

    Formula:
        Two valleys. $L(x, y) = L_d e^{-y / y_d} + \frac{x_0^2}{f_0} + \frac{|x| (|x| - 2
        x_i^*)}{f_i}, \quad x_i^* = \frac{x_i y}{y + y_b}, \quad f_i = f_0 \left( \frac{x_i (y +
        y_f)}{x_0 (y + y_b)} \right)^2$ (Yang et al., arXiv:2601.10962, appendix; i = 1 for x >= 0
        and 2 for x < 0)

    Attributes:
        f0: f_0, the scale of the flatness, above 0 as all others.
        x0: x_0, the scale of x. The barrier grows up to x_0^2 / f_0.
        x1: x_1, the place of the flat valley for large y.
        x2: x_2, minus the place of the sharp one.
        y_f: scale of y on which the barrier grows.
        y_b: scale of y on which the valleys part. They become flatter with y where y_f < y_b.
        y_d: scale of y on which the loss of both falls.
        L_d: how far it falls; at least 0.

    >>> TwoValleys(L_d=0.0).loss([0.0, 0.32, -0.26], 20.0).round(4).tolist()
    [1.0, 0.75, 0.75]
    """

    f0: NumberLike | Array = 1.0
    x0: NumberLike | Array = 1.0
    x1: NumberLike | Array = 0.8
    x2: NumberLike | Array = 0.65
    y_f: NumberLike | Array = 20.0
    y_b: NumberLike | Array = 30.0
    y_d: NumberLike | Array = 100.0
    L_d: NumberLike | Array = 1.0

    @property
    def flatness_ratio(self) -> Float[Array, ""]:
        """The flatness of the flat valley over that of the sharp one, gamma = (x_1 / x_2)^2.

        It is the same for all y.
        """
        with in_double():
            return (real("x1", self.x1, above=0) / real("x2", self.x2, above=0)) ** 2

    def loss(self, x: ArrayLike, y: ArrayLike) -> Float[Array, "*shape"]:
        """Return the loss at places.

        Args:
            x: (...), the fast coordinate.
            y: (...), the slow one, above -y_f and -y_b. Shapes are broadcast.

        Returns:
            (...) loss.

        Raises:
            InputError: an argument or a parameter is not as stated.
        """
        with in_double():
            at = _terms(self, x, y)
            return at.base[0] + at.profile * at.stiffness[0]

    def gradient(self, x: ArrayLike, y: ArrayLike) -> Float[Array, "*shape 2"]:
        """Return the gradient of the loss, in the order x, y.

        Args:
            x: (...), as for `loss`.
            y: (...), as for `loss`.

        Returns:
            (..., 2) derivatives.

        Raises:
            InputError: an argument or a parameter is not as stated.

        >>> TwoValleys().gradient(0.4, 30.0).round(6).tolist()
        [0.0, -0.017008]
        """
        with in_double():
            at = _terms(self, x, y)
            by_x = at.sign * at.slope * at.stiffness[0]
            by_y = (
                at.base[1]
                - at.distance * at.width[1] * at.stiffness[0]
                + at.profile * at.stiffness[1]
            )
            return jnp.stack([by_x, by_y], axis=-1)

    def hessian(self, x: ArrayLike, y: ArrayLike) -> Float[Array, "*shape 2 2"]:
        """Return the Hessian of the loss, without the kink at the ridge.

        It has the whole second derivative by y. The programs of the paper leave out the term -n
        f''/f^2 of it, n = |x| (|x| - 2 x*); it is below 0.005, where the derivative by x is 4 to
        10.

        Args:
            x: (...), as for `loss`.
            y: (...), as for `loss`.

        Returns:
            (..., 2, 2) second derivatives.

        Raises:
            InputError: an argument or a parameter is not as stated.

        >>> TwoValleys().hessian(0.4, 30.0)[0, 0].round(6).item()
        4.5
        """
        with in_double():
            at = _terms(self, x, y)
            stiff, tilt, bend = at.stiffness
            by_xx = 2 * stiff
            by_xy = at.sign * (at.slope * tilt - at.width[1] * stiff)
            by_yy = (
                at.base[2]
                - at.distance * (at.width[2] * stiff + 2 * at.width[1] * tilt)
                + at.profile * bend
            )
            rows = [jnp.stack([by_xx, by_xy], axis=-1), jnp.stack([by_xy, by_yy], axis=-1)]
            return jnp.stack(rows, axis=-2)

    def barrier(self, y: ArrayLike) -> Float[Array, "*shape"]:
        r"""Return the height of the ridge over the floors of both valleys.

        Formula:
            Barrier of two valleys. $\Delta L = \frac{x_0^2}{f_0} \left( \frac{y}{y + y_f}
            \right)^2$ (Yang et al., arXiv:2601.10962, appendix)

        Args:
            y: (...), the slow coordinate, at least 0.

        Returns:
            (...) loss; NaN where a traced y is out of range.

        Raises:
            InputError: an argument or a parameter is not as stated.

        >>> TwoValleys().barrier([0.0, 20.0]).tolist()
        [0.0, 0.25]
        """
        with in_double():
            (y,) = _one_precision(y=y)
            known = (y >= 0) & jnp.isfinite(y)
            if not is_traced(known) and not bool(known.all()):
                raise invalid("y", "is negative or not finite", "the slow coordinate, at least 0")
            at = _parameters(self, y.dtype)
            y = where_known(known, y)
            return at.x0**2 / at.f0 * (y / (y + at.y_f)) ** 2


class _Terms(NamedTuple):
    """What the loss at some places is made of; values by y come with their derivatives."""

    sign: Float[Array, "*shape"]  # of x, and 1 on the ridge
    distance: Float[Array, "*shape"]  # u = |x| from the ridge
    slope: Float[Array, "*shape"]  # 2 u - g
    profile: Float[Array, "*shape"]  # n = u (u - g)
    width: list[Float[Array, "*shape"]]  # g of the valley, where the loss is that of the ridge
    stiffness: list[Float[Array, "*shape"]]  # 1 / f of the valley
    base: list[Float[Array, "*shape"]]  # L_0, the loss on the ridge


def _terms(landscape: TwoValleys, x: ArrayLike, y: ArrayLike) -> _Terms:
    """Return what L = L_0 + u (u - g) / f is made of."""
    x, y = _one_precision(x=x, y=y)
    at = _parameters(landscape, x.dtype)
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


def _one_precision(**coordinates: ArrayLike) -> list[Float[Array, "*shape"]]:
    """Return coordinates of one shape, in float32 where all are of 4 bytes and fewer."""
    read = {name: real_array(name, value) for name, value in coordinates.items()}
    single = all(
        jnp.issubdtype(value.dtype, jnp.floating) and value.dtype.itemsize <= 4
        for value in read.values()
    )
    dtype = jnp.float32 if single else jnp.float64
    arrays = [jnp.asarray(value, dtype) for value in read.values()]
    try:
        return jnp.broadcast_arrays(*arrays)
    except ValueError:
        shapes = [array.shape for array in arrays]
        raise invalid("y", f"has shape {shapes[-1]}", f"that of x {shapes[0]}, or ()") from None


def _parameters(landscape: TwoValleys, dtype: jnp.dtype) -> Any:
    """Return a landscape with parameters in a precision; NaN for traced ones out of range.

    Raises:
        InputError: a parameter is out of range.
    """
    *above, fall = zip(landscape._fields, landscape, strict=True)
    values = [real(name, value, above=0) for name, value in above]
    values.append(real(*fall, at_least=0))
    return TwoValleys(*(value.astype(dtype) for value in values))
