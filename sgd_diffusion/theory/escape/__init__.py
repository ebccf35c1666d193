"""The diffusion theory of escape: how long SGD stays in a valley (Xie et al., arXiv:2002.03495).

SGD with the learning rate eta and mini-batches of B examples is read as a diffusion, dx = -L'(x) dt
+ sqrt(2 D(x)) dW, in the time t = eta * steps. Its diffusion is D = eta C / (2 B), with the
variance C of per-example gradients. Where the loss is a negative log-likelihood of a model that is
right, C is about the Hessian. Then the time to leave a valley of curvature H over a barrier Delta L
grows about as exp(2 B Delta L / (eta H)). With white noise it depends on H by a power only.

`kramers_white` and `kramers_sgd` are the closed forms. They hold for barriers that are high over
the noise. `mean_first_passage_time` is exact in one dimension, for any force and any noise. Only
the closed form for SGD takes C for the Hessian; `quasi_potential` takes the C that was measured,
and `effective_path` says which closed form has the same exponent. The potentials are those that
escape is tried on, and `escape_rate` reads the rate from trials.

Times are in units of t; divide them by the learning rate for steps. The closed forms return the
logarithm of the time, which does not overflow. Noise that depends on the place has three readings.
"ito" is that of SGD itself; "stratonovich" and "klimontovich" are those of other derivations. They
change the prefactor and not the exponent.

Everything is computed in float64, in and out of 64-bit mode, and can be jitted, mapped and
differentiated. Traced arguments that are out of range give NaN. `escape_rate` computes on the host.
The Hessian of a potential is `jax.jacfwd(jax.grad(loss))`, since `jax.hessian` warns of results in
float64 outside of 64-bit mode.
"""

from sgd_diffusion.theory.escape.kramers import kramers_sgd, kramers_white
from sgd_diffusion.theory.escape.passage import mean_first_passage_time
from sgd_diffusion.theory.escape.potentials import (
    double_well,
    logistic_double_well,
    sharpened,
    styblinski_tang,
    styblinski_tang_noise,
)
from sgd_diffusion.theory.escape.quasi_potential import effective_path, quasi_potential
from sgd_diffusion.theory.escape.rates import EscapeRate, escape_rate

__all__ = [
    # escape times
    "kramers_sgd",
    "kramers_white",
    "mean_first_passage_time",
    # noise that is measured
    "effective_path",
    "quasi_potential",
    # potentials
    "double_well",
    "logistic_double_well",
    "sharpened",
    "styblinski_tang",
    "styblinski_tang_noise",
    # rates of trials
    "EscapeRate",
    "escape_rate",
]
