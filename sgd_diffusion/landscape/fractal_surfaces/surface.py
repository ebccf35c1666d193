"""What every surface here is, and how surfaces and their parameters are read."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sgd_diffusion.arrays import is_traced, number, real_array
from sgd_diffusion.display import shown_briefly
from sgd_diffusion.errors import InputError

__all__ = ["MOST_POINTS", "Surface", "booleans", "checked", "floats", "parameter"]

MOST_POINTS = 2**15 + 1  # along a side, 4 GiB in float32


@shown_briefly
class Surface(NamedTuple):
    """Heights above the points of a square grid, with points on all four sides of the square.

    A position is (x, y), x along the first axis. The square is centred on the origin: x goes from -extent/2 to extent/2, y
    from -(M - 1)/(N - 1) extent/2 to the opposite, and heights[i, j] is at

        x = (i/(N - 1) - 1/2) extent,    y = (j - (M - 1)/2)/(N - 1) extent.

    Heights are a loss: walkers go down.
    """

    heights: jax.Array  # (N, M)
    extent: jax.Array  # (), length of the side along the first axis, so that neighbours are extent / (N - 1) apart


def floats(name, value):
    """Real numbers as a JAX array to compute with: float32, or JAX's default for integers and for floats of 8 bytes.

    Raises:
        InputError: the value is no array of real numbers.
    """
    array = real_array(name, jnp.asarray(value) if is_traced(value) else value)  # traced values may come in a list
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
        raise InputError(f"{name} is {array.dtype} of shape {array.shape}; expected booleans, or numbers that are all 0 or 1")
    return np.asarray(array) == 1


def parameter(name, value, *, above=None, at_least=None, at_most=None):
    """A real parameter: a number in the stated range, or one known only when a compiled program runs, of shape ().

    Raises:
        InputError: the value is not one finite real number, or not in the range.
    """
    if not is_traced(value):
        return number(name, value, above=above, at_least=at_least, at_most=at_most)
    if jnp.shape(value) != ():
        raise InputError(f"{name} has shape {jnp.shape(value)}; expected (): map many with jax.vmap")
    return real_array(name, value).astype(float)


def checked(surface, *, dims=2, least=1):
    """A surface with heights and extent as floats of one type.

    Args:
        surface: :class:`Surface` with heights of any real type.
        dims: of the heights; 3 for many surfaces, whose extents are (S,).
        least: points along a side.

    Raises:
        InputError: no surface; heights of another shape; extents of another shape, or known and not positive and finite.
    """
    if not (hasattr(surface, "heights") and hasattr(surface, "extent")):
        raise InputError(f"surface is a {type(surface).__name__}; expected a Surface(heights, extent)")
    heights, extent = floats("heights", surface.heights), floats("extent", surface.extent)
    if heights.ndim != dims or min(heights.shape[-2:]) < least:
        expected = "(N, M)" if dims == 2 else "(S, N, M)"
        raise InputError(
            f"heights has shape {heights.shape}; expected {expected} with at least {least} points a side"
            + (": map many with jax.vmap" if heights.ndim > dims else "")
        )
    if extent.shape != heights.shape[:-2]:
        raise InputError(f"extent has shape {extent.shape}; expected {heights.shape[:-2]}, one length for each surface")
    if not is_traced(extent):
        known = np.asarray(extent)
        if not np.all((known > 0) & np.isfinite(known)):
            raise InputError(f"extent is {known.tolist()}; expected finite positive lengths of a side")
    return Surface(heights, extent.astype(heights.dtype))
