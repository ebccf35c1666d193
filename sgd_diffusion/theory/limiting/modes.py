r"""The modes of SGD with momentum near a minimum, as damped oscillators in continuous time.

With t = eta k for step k, an eigenvalue of the Hessian and h = eigenvalue + weight decay, the
position x and the velocity v of a mode obey dx = v dt and dv = -(2 gamma v + omega^2 x) dt + noise.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgd_diffusion._arrays import in_double, is_traced, real_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.analysis.guarded import where_known
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.limiting.hyperparameters import Hyperparameters, checked, curvatures
from sgd_diffusion.theory.limiting.response import of_time

__all__ = ["Modes", "modes", "propagator", "rates"]

CRITICAL = 1e-12  # relative difference of squared rates that rounding makes


@shown_briefly
class Modes(NamedTuple):
    """Damped oscillators, one for each eigenvalue.

    Attributes:
        damping: () gamma, per unit of time t = learning_rate * steps; the same for all modes.
        frequency: (...) omega, radians per unit of time; NaN where the curvature is negative.
        oscillation: (...) delta = sqrt(|omega^2 - gamma^2|). Under-damped modes oscillate with it;
            over-damped modes relax at the rates gamma - delta and gamma + delta.
        regime: (...) "under", "critical" or "over", as NumPy strings; None inside `jax.jit` and
            `jax.vmap`.
    """

    damping: Float[Array, ""]
    frequency: Float[Array, "*modes"]
    oscillation: Float[Array, "*modes"]
    regime: Any


def modes(eigenvalues: ArrayLike, hyper: Hyperparameters) -> Modes:
    r"""Return the damping, the frequency and the regime of modes.

    Formula:
        Modes of SGD with momentum. $\gamma = \frac{1 - \beta}{\eta (1 + \beta)}, \quad \omega =
        \sqrt{\frac{2 h}{\eta (1 + \beta)}}, \quad \delta = \sqrt{\lvert \omega^2 - \gamma^2
        \rvert}$ (Kunin et al., arXiv:2107.09133; public code)

    Args:
        eigenvalues: (...) of the Hessian.
        hyper: `Hyperparameters`.

    Returns:
        `Modes`. NaN for traced eigenvalues or hyperparameters out of range.

    Raises:
        InputError: an argument is not as stated, or the steps are too long for an eigenvalue,
            learning_rate * (eigenvalue + weight_decay) >= 2 * (1 + momentum).

    >>> modes([1.0, 0.1], Hyperparameters(0.01, momentum=0.9)).regime.tolist()
    ['under', 'over']
    """
    with in_double():
        hyper = checked(hyper)
        h = curvatures(eigenvalues, hyper)
        damping, frequency, oscillation, excess = _frequencies(*rates(h, hyper))
        regime = None
        if not is_traced(excess):
            excess = np.asarray(excess)
            critical = abs(excess) <= CRITICAL * np.asarray(damping) ** 2
            regime = np.where(critical, "critical", np.where(excess > 0, "under", "over"))
        return Modes(damping, frequency, oscillation, regime)


def propagator(
    time: ArrayLike, eigenvalues: ArrayLike, hyper: Hyperparameters
) -> Float[Array, "*times_and_modes 2 2"]:
    r"""Return the matrix that takes the mean (x, v) of modes from time 0 to another time.

    It is finite and has derivatives at critical damping and at zero curvature.

    Formula:
        Propagator of a mode. $E(t) = e^{-\gamma t} \begin{pmatrix} C + \gamma s & s \\ -\omega^2 s
        & C - \gamma s \end{pmatrix}, \quad C = \cos \delta t, \; s = \frac{\sin \delta t}{\delta}$
        (Kunin et al., arXiv:2107.09133; public code; cosh and sinh where a mode is over-damped)

    Args:
        time: (...) at least 0, in units of learning_rate * steps.
        eigenvalues: (...) of the Hessian.
        hyper: `Hyperparameters`.

    Returns:
        The shape of `time`, that of `eigenvalues`, and (2, 2). NaN for traced arguments out of
        range.

    Raises:
        InputError: as for `modes`; or a time is negative or not finite.
    """
    with in_double():
        hyper = checked(hyper)
        h = curvatures(eigenvalues, hyper)
        time = jnp.asarray(real_array("time", time), jnp.float64)
        forward = (time >= 0) & (time < jnp.inf)
        if not is_traced(time) and not bool(forward.all()):
            raise invalid("time", "has entries that are negative or not finite", "times >= 0")
        time = where_known(forward, time).reshape(*time.shape, *(1,) * h.ndim)
        squared, friction = rates(h, hyper)
        return _propagator(time, squared, friction)


@jax.jit
def _frequencies(squared, friction):
    """The damping, the frequency without and with it, and omega^2 - gamma^2."""
    damping = friction / 2
    excess = squared - damping**2
    bound = squared >= 0
    frequency = where_known(bound, jnp.sqrt(jnp.where(squared > 0, squared, 1)) * (squared > 0))
    oscillation = jnp.sqrt(jnp.where(excess == 0, 1, abs(excess))) * (excess != 0)
    return damping, frequency, oscillation, excess


@jax.jit
def _propagator(time, squared, friction):
    _, (velocity, _, kept) = of_time(squared, friction, time)
    rows = [[kept, velocity], [-squared * velocity, kept - friction * velocity]]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def rates(
    curvature: Float[Array, "*modes"], hyper: Hyperparameters
) -> tuple[Float[Array, "*modes"], float | Float[Array, ""]]:
    """Return omega^2 and 2 gamma of modes of curvature h."""
    mass = hyper.learning_rate * (1 + hyper.momentum)
    return 2 * curvature / mass, 2 * (1 - hyper.momentum) / mass
