"""The variance-flatness relation: where SGD moves most at late times (Feng & Tu, arXiv:2001.01678).

Late in training the loss falls slowly, and the weights move along some directions more than along
others. The directions are the principal components of the weights in a window of T steps, from
`analysis.components_of_weights`, or from `analysis.principal_components` where only a Gram matrix
was kept. Component i has the variance sigma_i^2. Its flatness F_i is the width of the loss along
it, where the loss is e times that at the end. The paper finds sigma_i^2 ~ F_i^(-psi) with psi about
4: more motion where the valley is steep. In equilibrium with white noise it would be the other way
round.

Components are numbered by rank, and rank 0 has the largest variance. It is a drift along the
weights and no noise, so fits begin with rank 1.

Every number has its null beside it. A random walk of the same mini-batch gradients at frozen
weights has the variance `random_walk_variance` in every fixed direction, which is proportional to
the noise. Principal components order and mix directions, which makes the exponent larger: a random
walk has an exponent psi too. In a quadratic valley of curvature h, `theory.limiting` has the
stationary variance, alpha C / (2 B h) (`stationary_covariance(..., discrete=False).position`), and
`quadratic_flatness` the flatness.

`alpha` is the learning rate, B the batch size, C the variance of per-example gradients along a
direction, and L_0 the loss at the base point. Everything is computed in float64. `flatness`,
`quadratic_flatness`, `correlation_times`, the temperatures and `random_walk_variance` can be jitted
and mapped. Fits and `components_for_share` compute on the host.
"""

from sgd_diffusion.theory.flatness.motion import (
    correlation_times,
    effective_temperature,
    random_walk_variance,
    temperature_at_base,
)
from sgd_diffusion.theory.flatness.profiles import Flatness, flatness, quadratic_flatness
from sgd_diffusion.theory.flatness.relation import (
    ComponentFit,
    components_for_share,
    rank_exponent,
    variance_flatness_exponent,
)

__all__ = [
    # width of the loss
    "Flatness",
    "flatness",
    "quadratic_flatness",
    # variances by rank and by flatness
    "ComponentFit",
    "components_for_share",
    "rank_exponent",
    "variance_flatness_exponent",
    # noise and motion along components
    "correlation_times",
    "effective_temperature",
    "random_walk_variance",
    "temperature_at_base",
]
