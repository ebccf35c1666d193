"""The hyperparameters of SGD with momentum that its limiting dynamics depend on."""

import functools
import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import in_double, is_traced, number, real_array
from sgd_diffusion._types import ArrayLike, NumberLike
from sgd_diffusion.analysis.guarded import where_known
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.parameters import real

__all__ = ["Hyperparameters", "annealed", "checked", "curvatures"]


class Hyperparameters(NamedTuple):
    """Hyperparameters of SGD with heavy-ball momentum.

    The step is v <- beta v - (g + lambda w) and w <- w + eta v, with the mean gradient g of a
    mini-batch. This is `torch.optim.SGD` without dampening and without Nesterov momentum, and the
    chain of `optax.add_decayed_weights` and `optax.sgd`.

    Attributes:
        learning_rate: eta, positive.
        momentum: beta, 0 <= beta < 1.
        weight_decay: lambda >= 0, the factor of w in the gradient.
        batch_size: S, examples a mini-batch, at least 1. It need not be a whole number.
    """

    learning_rate: float | Array
    momentum: float | Array = 0.0
    weight_decay: float | Array = 0.0
    batch_size: float | Array = 1

    @property
    def inverse_temperature(self) -> Any:
        """S (1 - beta^2), what the velocities are divided by."""
        return self.batch_size * (1 - self.momentum) * (1 + self.momentum)


def annealed(
    hyper: Hyperparameters,
    factor: NumberLike,
    *,
    keep: Literal["temperature", "damping"] = "temperature",
) -> Hyperparameters:
    """Return hyperparameters that are changed by a factor, with the same limiting dynamics.

    With "temperature", the batch size is divided by the factor. Momentum and learning rate follow,
    so that S (1 - beta^2) and eta (1 + beta) stay. So does the whole stationary law of the Langevin
    equation. With "damping", the learning rate is multiplied by the factor, and the momentum
    follows, so that the damping rate (1 - beta) / (eta (1 + beta)) stays.

    Source: the public code of Kunin et al. (arXiv:2107.09133).

    Args:
        hyper: before.
        factor: positive; below 1 it makes the noise smaller, or the steps shorter.
        keep: what stays.

    Returns:
        `Hyperparameters` of Python floats.

    Raises:
        InputError: `hyper`, the factor or `keep` is not as stated, or there is no momentum in 0..1
            or no batch of at least 1 that keeps what is asked for.

    >>> annealed(Hyperparameters(0.1, momentum=0.9, batch_size=128), 0.1).batch_size
    1280.0
    """
    factor = number("factor", factor, above=0)
    eta, beta, decay, size = (float(value) for value in checked(hyper))
    if keep == "temperature":
        squared = 1 - factor * (1 - beta) * (1 + beta)
        momentum = squared**0.5 if squared >= 0 else math.nan
        changed = Hyperparameters(eta * (1 + beta) / (1 + momentum), momentum, decay, size / factor)
    elif keep == "damping":
        more, less = 1 + beta, factor * (1 - beta)
        changed = Hyperparameters(factor * eta, (more - less) / (more + less), decay, size)
    else:
        raise invalid("keep", f"is {keep!r}", '"temperature" or "damping"')
    if not (changed.momentum >= 0 and changed.batch_size >= 1):
        raise invalid(
            "factor",
            f"is {factor:g}",
            f"one that leaves a momentum of at least 0 and a batch of at least 1 (for {hyper})",
        )
    return changed


def checked(hyper: Hyperparameters) -> Hyperparameters:
    """Return the hyperparameters as float64 JAX scalars; traced ones out of range are NaN.

    Raises:
        InputError: they are none, or out of range.
    """
    if not isinstance(hyper, Hyperparameters):
        raise invalid("hyper", f"is {hyper!r}", "Hyperparameters(learning_rate, momentum, ...)")
    eta, beta, decay, size = hyper
    with in_double():
        values = (
            real("hyper.learning_rate", eta, above=0),
            real("hyper.momentum", beta, at_least=0, below=1),
            real("hyper.weight_decay", decay, at_least=0),
            real("hyper.batch_size", size, at_least=1),
        )
        if not is_traced(*values):
            return Hyperparameters(*values)
        known = jnp.isfinite(jnp.stack(values)).all()
        return Hyperparameters(*(where_known(known, value) for value in values))


def curvatures(
    eigenvalues: ArrayLike, hyper: Hyperparameters, *, stationary: bool = False
) -> Float[Array, "*modes"]:
    """Return h = eigenvalue + weight decay of modes in float64; NaN for traced ones out of range.

    Args:
        eigenvalues: of the Hessian, any shape.
        hyper: as `checked` returns them.
        stationary: whether negative curvature is out of range too.

    Raises:
        InputError: the eigenvalues are no finite numbers, or one is out of range.
    """
    eigenvalues = jnp.asarray(real_array("eigenvalues", eigenvalues), jnp.float64)
    h, in_range, (finite, stable, bound) = _curvatures(eigenvalues, hyper, stationary)
    if not is_traced(h):
        if not bool(finite):
            raise invalid("eigenvalues", "are not all finite", "finite numbers")
        if not bool(stable):
            raise invalid(
                "eigenvalues",
                f"reach {float(h.max()) - float(hyper.weight_decay):g}",
                "learning_rate * (eigenvalue + weight_decay) < 2 * (1 + momentum), as steps do not "
                "settle otherwise",
                "take a smaller learning rate, or leave these modes out",
            )
        if not bool(bound):
            raise invalid(
                "eigenvalues",
                f"go down to {float(h.min()) - float(hyper.weight_decay):g}",
                "eigenvalue + weight_decay >= 0, as there is no stationary law otherwise",
                "leave these modes out, or start from a point with mean_and_covariance",
            )
    return in_range


@functools.partial(jax.jit, static_argnums=2)
def _curvatures(eigenvalues, hyper, stationary):
    """Curvatures, the same with NaN where one is out of range, and whether all are in range."""
    h = eigenvalues + hyper.weight_decay
    stable = hyper.learning_rate * h < 2 * (1 + hyper.momentum)  # NaN is not
    bound = h >= 0 if stationary else jnp.isfinite(h)
    whether = jnp.isfinite(h).all(), stable.all(), bound.all()
    return h, where_known(stable & bound, h), whether
