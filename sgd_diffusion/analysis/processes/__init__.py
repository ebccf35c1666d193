"""Reference processes with known statistics, to test an analysis on and to compare paths with.

A process is `process(key, steps, dim, *, ...) -> positions`. It takes a PRNG key, the number of
steps and of coordinates (both at least 1, or an InputError) and its parameters. The result has the
positions at times 0..steps, (steps + 1, dim). They begin at the origin unless the process says
otherwise. The docstrings give the truth, E|w_{i+lag} - w_i|^2, summed over the dim coordinates like
every MSD of this package. Where it does not depend on i it is also the expected time-averaged MSD
(TAMSD), at any lag.

All are exact at integer times: no equation is integrated in small steps. Positions have JAX's
default precision, float32 or, in 64-bit mode, float64. In float32 a step far from the origin is
known to 6e-8 of that distance.

All can be jitted if everything but key, lengths and speeds is bound before. `jax.vmap` over keys
gives an ensemble:

>>> import jax
>>> keys = jax.random.split(jax.random.key(0), 8)
>>> jax.vmap(lambda key: brownian(key, 100, 3))(keys).shape
(8, 101, 3)
"""

from sgd_diffusion.analysis.processes.gaussian import (
    ballistic,
    brownian,
    fractional_brownian,
    fractional_brownian_field,
    ornstein_uhlenbeck,
    period_two_with_drift,
    persistent_walk,
    scaled_brownian,
)
from sgd_diffusion.analysis.processes.heavy_tailed import (
    continuous_time_random_walk,
    levy_flight,
    levy_walk,
)

__all__ = [
    "ballistic",
    "brownian",
    "continuous_time_random_walk",
    "fractional_brownian",
    "fractional_brownian_field",
    "levy_flight",
    "levy_walk",
    "ornstein_uhlenbeck",
    "period_two_with_drift",
    "persistent_walk",
    "scaled_brownian",
]
