"""Surfaces take all kinds of arrays and integers, or refuse them."""

import functools

import jax
import numpy as np
from input_table import Argument, Number, Option, input_tests, mode_tests

from sgd_diffusion.landscape.fractal_surfaces import (
    Surface,
    clipped,
    cone,
    diamond_square,
    fractional_brownian_surface,
    gaussian_well,
    paraboloid,
    shuffled,
    smoothed,
    spectral_surface,
)

KEY = jax.random.key(0)
HEIGHTS = np.add.outer(np.arange(5.0) % 3, np.arange(5.0) ** 2 % 7) * 2
PARAMETERS = {
    "diamond_square": (
        functools.partial(diamond_square, KEY, 2, roughness=1.0),
        ("roughness", "hurst", "extent"),
    ),
    "spectral_surface": (
        functools.partial(spectral_surface, KEY, 5, hurst=1.0),
        ("hurst", "extent"),
    ),
    "fractional_brownian_surface": (
        functools.partial(fractional_brownian_surface, KEY, 4),
        ("hurst",),
    ),
    "cone": (functools.partial(cone, 4), ("slope", "extent")),
    "paraboloid": (functools.partial(paraboloid, 4), ("curvature", "extent")),
    "gaussian_well": (functools.partial(gaussian_well, 5), ("depth", "width", "extent")),
    "clipped": (functools.partial(clipped, Surface(HEIGHTS, 2.0)), ("base", "water")),
    "shuffled": (functools.partial(shuffled, KEY, Surface(HEIGHTS, 2.0)), ("smoothing", "power")),
    "smoothed": (functools.partial(smoothed, Surface(HEIGHTS, 2.0)), ("std",)),
}
ARGUMENTS = [
    *(
        Number(
            f"{name}({parameter})",
            functools.partial(
                lambda call, parameter, value: call(**{parameter: value}), call, parameter
            ),
            0.5,
            eager=False,
        )
        for name, (call, parameters) in PARAMETERS.items()
        for parameter in parameters
    ),
    Argument("clipped(surface.heights)", lambda heights: clipped(Surface(heights, 2.0)), HEIGHTS),
    Argument(
        "smoothed(surface.heights)", lambda heights: smoothed(Surface(heights, 2.0), 1.5), HEIGHTS
    ),
    Argument(
        "shuffled(surface.heights)",
        lambda heights: shuffled(KEY, Surface(heights, 2.0), power=0.7),
        HEIGHTS,
    ),
    Option(
        "diamond_square(levels)",
        lambda levels: diamond_square(KEY, levels, roughness=1.0),
        2,
        eager=False,
    ),
    Option(
        "spectral_surface(size)",
        lambda size: spectral_surface(KEY, size, hurst=0.5),
        5,
        eager=False,
    ),
    Option(
        "fractional_brownian_surface(size)",
        lambda size: fractional_brownian_surface(KEY, size, hurst=0.5),
        4,
        eager=False,
    ),
    *(
        Option(f"{shape.__name__}(size)", shape, 4, eager=False)
        for shape in (cone, paraboloid, gaussian_well)
    ),
]
test_inputs = input_tests(ARGUMENTS)
test_modes = mode_tests(ARGUMENTS)
