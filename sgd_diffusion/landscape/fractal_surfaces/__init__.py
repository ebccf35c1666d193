"""Make reference surfaces of known roughness.

They serve to test an estimator, to calibrate it, to compare with a loss surface, and to walk on. A
random surface is a function `surface(key, size, *, ...) -> Surface`. Its arguments are a PRNG key,
the number of points along a side in some form, and its parameters:

- `fractional_brownian_surface`: exact increments of any Hurst exponent.
- `diamond_square`: midpoint displacement, the toy landscape of the literature. It is not exactly
  self-affine.
- `spectral_surface`: cheap, and continuous under periodic boundaries. Its exponent is wrong at
  short lags.
- `cone`, `paraboloid`, `gaussian_well`: smooth surfaces without a key.
- `shuffled`: a control with the heights of a surface without their order.

`clipped` and `smoothed` make another surface from a given one.

Heights have JAX's default precision: float32 or, in 64-bit mode, float64. All functions can be
jitted with everything bound that must be known before tracing. `jax.vmap` over keys gives an
ensemble:

>>> import jax
>>> keys = jax.random.split(jax.random.key(0), 3)
>>> jax.vmap(lambda key: fractional_brownian_surface(key, 16, hurst=0.5))(keys).heights.shape
(3, 16, 16)
"""

from sgd_diffusion.landscape.fractal_surfaces.brownian import fractional_brownian_surface
from sgd_diffusion.landscape.fractal_surfaces.controls import shuffled, smoothed
from sgd_diffusion.landscape.fractal_surfaces.midpoint_displacement import clipped, diamond_square
from sgd_diffusion.landscape.fractal_surfaces.shapes import cone, gaussian_well, paraboloid
from sgd_diffusion.landscape.fractal_surfaces.spectral import spectral_surface
from sgd_diffusion.landscape.fractal_surfaces.surface import Surface

__all__ = [
    "Surface",
    "clipped",
    "cone",
    "diamond_square",
    "fractional_brownian_surface",
    "gaussian_well",
    "paraboloid",
    "shuffled",
    "smoothed",
    "spectral_surface",
]
