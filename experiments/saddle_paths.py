"""A way over a saddle as one coordinate: the loss and the noise along it, and predicted times."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from experiments.tiny_networks import Network
from sgd_diffusion._arrays import in_double
from sgd_diffusion.landscape.saddles import ElasticBand
from sgd_diffusion.theory.escape import kramers_sgd, mean_first_passage_time, quasi_potential


def along(own: Network, halves: Sequence[ElasticBand]) -> dict[str, Any]:
    """Return loss, slope and noise along a path of two halves, over the length from the saddle."""
    points, tangents = (
        np.concatenate([np.asarray(getattr(half, name))[skip:] for skip, half in enumerate(halves)])
        for name in ("points", "tangents")
    )
    with in_double():

        @jax.jit
        @jax.vmap
        def at(point, tangent):
            value, slope = jax.value_and_grad(own.loss)(point)
            slopes = jax.vmap(lambda x, t: jax.grad(own.example_loss)(point, x, t) @ tangent)(
                own.inputs, own.targets
            )
            return value, slope @ tangent, slopes.var()

        loss, slope, noise = map(np.asarray, at(points, tangents))
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    return {
        name: ("image", values)
        for name, values in {
            "position": np.append(0, np.cumsum(steps)) - steps[: len(steps) // 2].sum(),
            "path_loss": loss,
            "path_slope": slope,
            "path_noise": noise,
        }.items()
    }


def _corners(geometry):
    return (float(geometry[name]) for name in ("curvature_minimum", "curvature_saddle", "barrier"))


def _functions(geometry):
    """Slope and noise along the path as functions, a parabola of the same noise behind it."""
    position, slope, noise = (
        geometry[name].values for name in ("position", "path_slope", "path_noise")
    )
    curvature = float(geometry["curvature_minimum"])

    def force(x):
        behind = curvature * (x - position[0])
        return jnp.where(x < position[0], behind, jnp.interp(x, position, slope))

    return force, lambda x: jnp.interp(x, position, noise)


def predicted(geometry: xr.Dataset, size: int, learning_rate: float) -> dict[str, float]:
    """Return logarithms of the mean time to the saddle, by quadrature and in closed form."""
    force, noise = _functions(geometry)
    first = float(geometry["position"][0])
    scale = learning_rate / (2 * size)
    time = mean_first_passage_time(
        force, lambda x: scale * noise(x), first, 0.0, 3 * first, num_points=20_001
    )
    closed = kramers_sgd(*_corners(geometry), batch_size=size, learning_rate=learning_rate)
    return {
        "log_time_predicted": math.log(float(time)),
        # The first passage to the saddle takes half of the time.
        "log_time_closed_form": float(closed) - math.log(2),
    }


def exponents(geometry: xr.Dataset) -> dict[str, float]:
    """Return the factors of B / eta in the logarithm of the time, for high barriers."""
    found = {
        name: float(
            kramers_sgd(*_corners(geometry), batch_size=2, learning_rate=1, path=share)
            - kramers_sgd(*_corners(geometry), batch_size=1, learning_rate=1, path=share)
        )
        for name, share in (("exponent_of_curvature", 0.5), ("exponent_of_minimum", 1.0))
    }
    force, noise = _functions(geometry)
    limit = quasi_potential(force, noise, float(geometry["position"][0]), 0.0)
    return found | {"exponent_limit": float(limit)}
