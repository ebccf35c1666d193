"""A landscape with a flat and a sharp valley, whose barrier grows as training goes on."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import in_double, is_traced, number
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, NumberLike
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.freezing import formulas
from sgd_diffusion.theory.freezing.arguments import of_one_shape, slow_coordinate
from sgd_diffusion.theory.parameters import real

__all__ = ["BothValleys", "TwoValleys", "checked"]


@shown_briefly
class BothValleys(NamedTuple):
    """One number for each of the two valleys.

    Attributes:
        flat: of the valley at x > 0.
        sharp: of the valley at x < 0.
    """

    flat: Float[Array, "*shape"]
    sharp: Float[Array, "*shape"]


@shown_briefly
class TwoValleys(NamedTuple):
    r"""A loss of two coordinates, with a flat valley at x > 0 and a sharp one at x < 0.

    The slow coordinate y grows as training goes on. The fast one, x, says which valley the walker
    is in. Both valleys are equally deep, and the ridge between them at x = 0 is a kink. The barrier
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
            at = checked(self)
            return jnp.asarray((at.x1 / at.x2) ** 2, jnp.float64)

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
            return formulas.loss(*_places(self, x, y))

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
            return formulas.gradient(*_places(self, x, y))

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
            return formulas.hessian(*_places(self, x, y))

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
            return formulas.barrier(*_slow(self, y))

    def floors(self, y: ArrayLike) -> BothValleys:
        """Return the places x_1* and -x_2* of the floors of both valleys.

        Args:
            y: (...), the slow coordinate, at least 0.

        Returns:
            `BothValleys` of (...) x; NaN where a traced y is out of range.

        Raises:
            InputError: an argument or a parameter is not as stated.

        >>> TwoValleys().floors(20.0)
        BothValleys(flat=0.32, sharp=-0.26)
        """
        with in_double():
            return BothValleys(*formulas.both_floors(*_slow(self, y)))

    def flatnesses(self, y: ArrayLike) -> BothValleys:
        """Return the flatness f_1 and f_2 of both valleys, where the curvature by x is 2 / f.

        Half of it is the time in which x relaxes.

        Args:
            y: (...), the slow coordinate, at least 0.

        Returns:
            `BothValleys` of (...) f; NaN where a traced y is out of range.

        Raises:
            InputError: an argument or a parameter is not as stated.

        >>> TwoValleys().flatnesses(20.0)
        BothValleys(flat=0.4096, sharp=0.2704)
        """
        with in_double():
            return BothValleys(*formulas.both_flatnesses(*_slow(self, y)))


def _places(landscape: TwoValleys, x: ArrayLike, y: ArrayLike) -> tuple[Any, Any, Any]:
    """Return the parameters and both coordinates in one precision.

    Raises:
        InputError: a parameter is out of range, or a coordinate is no array of real numbers.
    """
    x, y = of_one_shape(x=x, y=y)
    return checked(landscape, x.dtype), x, y


def _slow(landscape: TwoValleys, y: ArrayLike) -> tuple[Any, Any]:
    """Return the parameters and the slow coordinate; NaN where traced ones are out of range.

    Raises:
        InputError: a parameter is out of range, or y is negative or not finite.
    """
    (slow,) = of_one_shape(y=y)
    return checked(landscape, slow.dtype), slow_coordinate(slow)


def checked(landscape: TwoValleys, dtype: Any = jnp.float64) -> Any:
    """Return a landscape with parameters in a precision; NaN for traced ones out of range.

    Raises:
        InputError: it is something else, or a parameter is out of range.
    """
    if not isinstance(landscape, TwoValleys):
        raise invalid("landscape", f"is a {type(landscape).__name__}", "TwoValleys(...)")
    return TwoValleys(*(_scalar(name, value, dtype) for name, value in landscape._asdict().items()))


def _scalar(name: str, value: NumberLike | Array, dtype: Any) -> float | Float[Array, ""]:
    above, at_least = (None, 0.0) if name == "L_d" else (0.0, None)
    if is_traced(value):
        return real(name, value, above=above, at_least=at_least).astype(dtype)
    # A Python float takes the precision of the coordinates.
    return number(name, value, above=above, at_least=at_least)
