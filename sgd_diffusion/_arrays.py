"""Readers of arguments: arrays in their own precision, integers and real numbers.

A public function gives for any real type, layout and kind of array what it gives for the float64
array of the same numbers, or it refuses. All rooms read their arguments here and so keep this
promise in the same way. The errors name the argument, its value, what was expected and the way out.
"""

import contextlib
import operator
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int64

from sgd_diffusion._platforms import where_float64_is
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.errors import InputError, invalid

__all__ = [
    "booleans",
    "floats",
    "host_array",
    "in_double",
    "integer",
    "integer_array",
    "is_traced",
    "nonnegative",
    "number",
    "own_precision",
    "parameter",
    "real_array",
    "usual_promotion",
]


def is_traced(*values: Any) -> bool:
    """Return whether any leaf of the values is known only when a compiled program runs."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def real_array(name: str, value: ArrayLike, *, or_complex: bool = False) -> Array | np.ndarray:
    """Return real numbers of any type as an array, with the type unchanged.

    A JAX array stays one. Anything else becomes a NumPy array in native byte order. Booleans and
    integers count as real numbers.

    Args:
        name: of the argument.
        value: what was given.
        or_complex: whether complex numbers are allowed as well.

    Returns:
        The array.

    Raises:
        InputError: the value is no array of real numbers, or some of its entries are masked.
    """
    array = value if isinstance(value, jax.Array) else _numpy_array(name, value)
    if not (
        _is_real(array.dtype) or (or_complex and jnp.issubdtype(array.dtype, jnp.complexfloating))
    ):
        raise invalid(name, f"has dtype {array.dtype}", "real numbers", _advice(array.dtype))
    return array


def host_array(name: str, value: ArrayLike) -> Float[np.ndarray, "..."]:
    """Return real numbers as a float64 NumPy array, for functions that compute on the host.

    Raises:
        InputError: as for `real_array`; or the value is traced.
    """
    if is_traced(value):
        raise invalid(
            name,
            "is traced by JAX",
            "numbers that are known",
            "call this function outside jax.jit and jax.vmap",
        )
    return np.asarray(real_array(name, value)).astype(np.float64)


@contextlib.contextmanager
def own_precision(name: str, value: ArrayLike) -> Iterator[Float[Array, "..."]]:
    """Yield real numbers as a JAX array in the precision that holds them, where JAX keeps it.

    Floating numbers of 4 bytes and fewer become float32. All others become float64, in and out of
    64-bit mode. So do integers, since float32 does not hold all of them.
    """
    array = real_array(name, value)
    single = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize <= 4
    if single:
        yield jnp.asarray(array, jnp.float32)
        return
    with where_float64_is(), jax.enable_x64(True):
        yield jnp.asarray(array, jnp.float64)


@contextlib.contextmanager
def usual_promotion() -> Iterator[None]:
    """Promote types and ranks by the usual rules of JAX, whatever debug modes the user has on.

    It is for the code of others, such as optax, which counts on them.
    """
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@contextlib.contextmanager
def in_double() -> Iterator[None]:
    """Compute in float64 by the usual rules of JAX, whatever debug modes the user has on.

    NaN is a value that is meant here. Outside of programs this is on the host, if the platform has
    no float64.
    """
    with (
        where_float64_is(),
        jax.enable_x64(True),
        usual_promotion(),
        jax.debug_nans(False),
        jax.debug_infs(False),
    ):
        yield


def integer(
    name: str,
    value: Any,
    low: int | None = None,
    high: int | None = None,
    *,
    what: str = "",
) -> int:
    """Return an integer option in low..high as a Python int.

    Integers of NumPy and JAX, and arrays of one of them, are read too.

    Args:
        name: of the argument.
        value: what was given.
        low: smallest integer allowed, or None.
        high: largest integer allowed, or None.
        what: words at the end of the message, such as "for a path of 10 steps".

    Returns:
        The integer.

    Raises:
        InputError: the value is no integer, not in the range, or not known before tracing.
    """
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:  # JAX raises one too for traced values
        number = None
    if number is None or (low is not None and number < low) or (high is not None and number > high):
        expected = _integer_range(low, high)
        raise invalid(name, f"is {_shown(value)}", f"{expected} {what}".rstrip())
    return number


def integer_array(name: str, values: ArrayLike, low: int, high: int) -> Int64[np.ndarray, "n"]:
    """Return integers in low..high as a new int64 NumPy array (L,) with L >= 1.

    Raises:
        InputError: the values are not integers known before tracing, or not all in the range.
    """
    # A new array every time: JAX would remember the type that the same array had in another mode.
    array: Any = None if is_traced(values) else np.array(real_array(name, values))
    whole = (
        array is not None
        and np.issubdtype(array.dtype, np.integer)
        and array.ndim == 1
        and array.size > 0
    )
    if not whole or np.any((array < low) | (array > high)):
        raise invalid(
            name, f"is {_shown(values)}", f"a one-dimensional array of integers in {low}..{high}"
        )
    return array.astype(np.int64)


def number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    what: str = "",
) -> float:
    """Return a real option as a Python float.

    Numbers of NumPy and JAX, and arrays of one of them, are read too.

    Args:
        name: of the argument.
        value: what was given.
        above: largest number that is too small, or None.
        at_least: smallest number allowed, or None.
        below: smallest number that is too large, or None.
        at_most: largest number allowed, or None.
        what: words at the end of the message.

    Returns:
        The number.

    Raises:
        InputError: the value is no finite real number, not in the range, or not known before
            tracing.
    """
    try:
        if (
            isinstance(value, str | bytes | bool | np.bool_)
            or np.ndim(value) > 0
            or is_traced(value)
        ):
            raise TypeError
        found = float(real_array(name, value))
    except (TypeError, InputError, OverflowError):
        found = np.nan
    inside = np.isfinite(found) and all(
        limit is None or holds(found, limit)
        for holds, limit in (
            (operator.gt, above),
            (operator.ge, at_least),
            (operator.lt, below),
            (operator.le, at_most),
        )
    )
    if not inside:
        limits = (
            (above, "above"),
            (at_least, "of at least"),
            (below, "below"),
            (at_most, "of at most"),
        )
        words = " and ".join(f"{word} {limit:g}" for limit, word in limits if limit is not None)
        expected = " ".join(part for part in ("a finite number", words, what) if part)
        raise invalid(name, f"is {_shown(value)}", expected)
    return found


def floats(name: str, value: ArrayLike) -> Float[Array, "..."]:
    """Return real numbers as a JAX array to compute with.

    It is float32, or JAX's default type for integers and for floats of 8 bytes.

    Raises:
        InputError: the value is no array of real numbers.
    """
    # Traced values may come in a list.
    array = real_array(name, jnp.asarray(value) if is_traced(value) else value)
    single = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize <= 4
    dtype = jnp.float32 if single else jnp.result_type(float)
    if isinstance(array, np.ndarray):
        with np.errstate(over="ignore"):  # too large for float32: infinite
            array = array.astype(dtype)
    return jnp.asarray(array, dtype)


def nonnegative(name: str, values: ArrayLike) -> Float[Array, "value"]:
    """Return one or more numbers as an array (R,) for `floats`, of which none is negative.

    Raises:
        InputError: there are more axes or no values, or one is negative or not finite, where that
            is known.
    """
    values = floats(name, values)
    values = values if values.ndim else values[None]
    if values.ndim > 1 or not values.size:
        raise invalid(name, f"has shape {values.shape}", "one or more numbers, (R,)")
    if not is_traced(values):
        known = np.asarray(values)
        if not np.all((known >= 0) & np.isfinite(known)):
            raise invalid(name, f"is {known.tolist()}", "finite numbers that are not negative")
    return values


def booleans(name: str, value: ArrayLike) -> Bool[Array | np.ndarray, "..."]:
    """Return booleans, or numbers that are all 0 or 1, as a boolean array.

    Raises:
        InputError: there are other numbers, or numbers whose values are not known before tracing.
    """
    array = real_array(name, value)
    if array.dtype == bool:
        return array
    if is_traced(array) or not np.isin(np.asarray(array), (0, 1)).all():
        raise invalid(
            name,
            f"is {array.dtype} of shape {array.shape}",
            "booleans, or numbers that are all 0 or 1",
        )
    return np.asarray(np.asarray(array) == 1)  # NumPy compares an array without axes to a number


def parameter(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    what: str = "",
) -> float | Float[Array, ""]:
    """Return a real parameter: a number as `number` reads it, or a traced one of shape ().

    Raises:
        InputError: the value is not one finite real number, or not in the range.
    """
    if not is_traced(value):
        return number(
            name, value, above=above, at_least=at_least, below=below, at_most=at_most, what=what
        )
    if jnp.shape(value) != ():
        raise invalid(name, f"has shape {jnp.shape(value)}", "()", "map many with jax.vmap")
    traced: Any = real_array(name, value)
    return traced.astype(float)


def _is_real(dtype):
    return any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))


def _numpy_array(name, value):
    """Return the value as a NumPy array in native byte order."""
    parts = value if isinstance(value, list | tuple) else (value,)
    masked = sum(int(np.ma.getmaskarray(part).sum()) for part in parts if np.ma.isMaskedArray(part))
    if masked:
        raise invalid(
            name,
            f"has {masked} masked entries",
            "numbers everywhere",
            "leave these out, or fill them with .filled(numpy.nan)",
        )
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever the array type of another library raises
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise invalid(
            name,
            f"is a {type(value).__name__} that NumPy cannot read ({reason[0][:150]})",
            "an array of real numbers",
            "convert a PyTorch tensor with .detach().cpu().float().numpy()",
        ) from error
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _advice(dtype):
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return "give the real and the imaginary part as two arrays"
    if jnp.issubdtype(dtype, np.object_):
        return "convert the objects with .astype(float)"
    return ""


def _integer_range(low, high):
    if low is None and high is None:
        return "an integer"
    if high is None:
        return f"an integer of at least {low}"
    return f"an integer of at most {high}" if low is None else f"an integer in {low}..{high}"


def _shown(value):
    """Return a value as text for a message: short, on one line."""
    text = " ".join(repr(value).split()) if isinstance(value, str) else " ".join(str(value).split())
    return text if len(text) <= 100 else text[:97] + "..."
