"""Arguments as the library takes them in: arrays in their own precision, integers and real numbers.

A public function gives for any real type, layout and kind of array what it gives for the float64
array of the same numbers, or it refuses. All rooms read their arguments here, so that they all keep
this promise in the same way. The errors name the argument, the value, what was expected and the way
out.
"""

import contextlib
import operator

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion.errors import InputError

__all__ = [
    "booleans",
    "floats",
    "host_array",
    "integer",
    "integer_array",
    "is_traced",
    "number",
    "own_precision",
    "parameter",
    "real_array",
]


def is_traced(*values):
    """Whether any leaf of the values is known only when a compiled program runs."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def real_array(name, value, *, or_complex=False):
    """Real numbers of any type as a JAX array, if they are one, or else as a NumPy array in native
    byte order.

    Booleans and integers count as real numbers. The type stays what it is.

    Args:
        name: of the argument.
        value: what was given.
        or_complex: whether complex numbers are allowed as well.

    Raises:
        InputError: the value is no array of real numbers, or some of its entries are masked.
    """
    array = value if isinstance(value, jax.Array) else _numpy_array(name, value)
    if not (
        _is_real(array.dtype) or (or_complex and jnp.issubdtype(array.dtype, jnp.complexfloating))
    ):
        raise InputError(
            f"{name} has dtype {array.dtype}; expected real numbers{_advice(array.dtype)}"
        )
    return array


def host_array(name, value):
    """Real numbers as a float64 NumPy array, for functions that compute on the host.

    Raises:
        InputError: as for `real_array`; or the value is traced.
    """
    if is_traced(value):
        raise InputError(
            f"{name} is traced by JAX; expected numbers that are known: call this function outside "
            "jax.jit and jax.vmap"
        )
    return np.asarray(real_array(name, value)).astype(np.float64)


@contextlib.contextmanager
def own_precision(name, value):
    """Real numbers as a JAX array in the precision that holds them, where JAX keeps it.

    Floating numbers of 4 bytes and fewer become float32. All others become float64, in and out of
    64-bit mode: integers too, of which float32 does not hold all.
    """
    array = real_array(name, value)
    single = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize <= 4
    with contextlib.nullcontext() if single else jax.enable_x64(True):
        yield jnp.asarray(array, jnp.float32 if single else jnp.float64)


def integer(name, value, low=None, high=None, *, what=""):
    """An integer option in low..high as a Python int; NumPy's and JAX's integers, and arrays of one
    of them, too.

    Args:
        name: of the argument.
        value: what was given.
        low: smallest integer allowed, or None.
        high: largest integer allowed, or None.
        what: words that the message goes on with, such as "for a path of 10 steps".

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
        raise InputError(
            f"{name} is {_shown(value)}; expected {_integer_range(low, high)}{what and f' {what}'}"
        )
    return number


def integer_array(name, values, low, high):
    """Integers in low..high as an int64 NumPy array (L,) of its own; L >= 1.

    Raises:
        InputError: the values are not integers known before tracing, or not all in the range.
    """
    # A fresh array every time: JAX would remember the type that the same array had in another mode.
    array = None if is_traced(values) else np.array(real_array(name, values))
    whole = (
        array is not None
        and np.issubdtype(array.dtype, np.integer)
        and array.ndim == 1
        and array.size > 0
    )
    if not whole or np.any((array < low) | (array > high)):
        raise InputError(
            f"{name} is {_shown(values)}; expected a one-dimensional array of integers in "
            f"{low}..{high}"
        )
    return array.astype(np.int64)


def number(name, value, *, above=None, at_least=None, below=None, at_most=None, what=""):
    """A real option as a Python float; NumPy's and JAX's numbers, and arrays of one of them, too.

    Args:
        name: of the argument.
        value: what was given.
        above: largest number that is too small, or None.
        at_least: smallest number allowed, or None.
        below: smallest number that is too large, or None.
        at_most: largest number allowed, or None.
        what: words that the message goes on with.

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
        raise InputError(
            f"{name} is {_shown(value)}; expected a finite number {words}".rstrip()
            + (what and f" {what}")
        )
    return found


def floats(name, value):
    """Real numbers as a JAX array to compute with: float32, or JAX's default for integers and for
    floats of 8 bytes.

    Raises:
        InputError: the value is no array of real numbers.
    """
    array = real_array(
        name, jnp.asarray(value) if is_traced(value) else value
    )  # traced values may come in a list
    single = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize <= 4
    dtype = jnp.float32 if single else jnp.result_type(float)
    if isinstance(array, np.ndarray):
        with np.errstate(over="ignore"):  # too large for float32: infinite
            array = array.astype(dtype)
    return jnp.asarray(array, dtype)


def booleans(name, value):
    """Booleans, or numbers that are all 0 or 1, as a boolean array.

    Raises:
        InputError: there are other numbers, or numbers whose values are not known before tracing.
    """
    array = real_array(name, value)
    if array.dtype == bool:
        return array
    if is_traced(array) or not np.isin(np.asarray(array), (0, 1)).all():
        raise InputError(
            f"{name} is {array.dtype} of shape {array.shape}; expected booleans, or numbers that "
            "are all 0 or 1"
        )
    return np.asarray(array) == 1


def parameter(name, value, *, above=None, at_least=None, at_most=None):
    """A real parameter: a number in the stated range, or one known only when a compiled program
    runs, of shape ().

    Raises:
        InputError: the value is not one finite real number, or not in the range.
    """
    if not is_traced(value):
        return number(name, value, above=above, at_least=at_least, at_most=at_most)
    if jnp.shape(value) != ():
        raise InputError(
            f"{name} has shape {jnp.shape(value)}; expected (): map many with jax.vmap"
        )
    return real_array(name, value).astype(float)


def _is_real(dtype):
    return any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))


def _numpy_array(name, value):
    """The value as a NumPy array in native byte order."""
    parts = value if isinstance(value, list | tuple) else (value,)
    masked = sum(int(np.ma.getmaskarray(part).sum()) for part in parts if np.ma.isMaskedArray(part))
    if masked:
        raise InputError(
            f"{name} has {masked} masked entries; expected numbers everywhere: leave these out, or "
            "fill them with .filled(numpy.nan)"
        )
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever the array type of another library raises
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"{name} is a {type(value).__name__} that NumPy cannot read ({reason[0][:150]}); "
            "expected an array of real numbers; of a PyTorch tensor take "
            ".detach().cpu().float().numpy()"
        ) from error
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _advice(dtype):
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return ": give the real and the imaginary part as two arrays"
    if jnp.issubdtype(dtype, np.object_):
        return ": convert the objects with .astype(float)"
    return ""


def _integer_range(low, high):
    if low is None and high is None:
        return "an integer"
    if high is None:
        return f"an integer of at least {low}"
    return f"an integer of at most {high}" if low is None else f"an integer in {low}..{high}"


def _shown(value):
    """A value for a message: short, on one line."""
    text = " ".join(repr(value).split()) if isinstance(value, str) else " ".join(str(value).split())
    return text if len(text) <= 100 else text[:97] + "..."
