"""How the theory of escape reads its arguments: conventions, and functions along a path."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from sgd_diffusion._arrays import is_traced, real_array
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.analysis.guarded import where_known
from sgd_diffusion.errors import invalid

__all__ = ["Convention", "along_path", "noise_along_path", "weight_of_minimum"]

Convention = Literal["ito", "stratonovich", "klimontovich"]
WEIGHTS = {"ito": 1.0, "stratonovich": 0.5, "klimontovich": 0.0}


def weight_of_minimum(convention: Convention) -> float:
    """Return alpha, the share of the noise that the reading of an SDE puts to the walker's place.

    Raises:
        InputError: there is no such convention.
    """
    if convention not in WEIGHTS:
        names = " or ".join(f'"{name}"' for name in WEIGHTS)
        raise invalid("convention", f"is {convention!r}", names)
    return WEIGHTS[convention]


def along_path(
    name: str, function: Callable[[Array], ArrayLike], points: Float[Array, "point"]
) -> Float[Array, "point"]:
    """Return the values of a function at points; traced ones that are not finite are NaN.

    Raises:
        InputError: it is no function, or returns no finite number for some point.
    """
    if not callable(function):
        raise invalid(name, f"is {function!r}", "a function of the points of the path")
    values = jnp.asarray(real_array(name, function(points)), jnp.float64)
    if values.shape not in ((), points.shape):
        raise invalid(
            name,
            f"returns the shape {values.shape} for points of the shape {points.shape}",
            "one number for each point",
            "map a function of one point with jax.vmap",
        )
    if is_traced(values):
        values = where_known(jnp.isfinite(values), values)
    elif not np.isfinite(np.asarray(values)).all():
        raise invalid(name, "is not finite on the path", "finite numbers")
    return jnp.broadcast_to(values, points.shape)


def noise_along_path(
    name: str, function: Callable[[Array], ArrayLike], points: Float[Array, "point"]
) -> Float[Array, "point"]:
    """Return the strength of noise at points; NaN where a traced one vanishes.

    Raises:
        InputError: as for `along_path`; or the noise vanishes or is negative on the path.
    """
    values = along_path(name, function, points)
    absent = _vanishes(values)
    if is_traced(absent):
        return where_known(~absent, values)
    known = np.asarray(absent)
    if known.any():
        raise invalid(
            name,
            f"vanishes or is negative near {float(np.asarray(points)[known.argmax()]):.4g}",
            "noise on the whole path, as the Ito process never climbs across a point without it",
            "take the noise that was measured, or one between those of the two ends; add points "
            "where it has a floor that num_points do not resolve",
        )
    return values


@jax.jit
def _vanishes(values: Float[Array, "point"]) -> Bool[Array, "point"]:
    """Return where values are not positive, or fall to less than half and rise within two points.

    A zero between two points does so, such as that of |x| or of x^2, and so does what the points do
    not resolve. A jump does not.
    """
    twice = 2 * values[2:-2]
    fall = jnp.maximum(values[:-4], values[1:-3]) >= twice
    rise = jnp.maximum(values[3:-1], values[4:]) >= twice
    return (values <= 0) | jnp.pad(fall & rise, 2)
