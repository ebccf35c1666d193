"""Escape times over high barriers in closed form, for white noise and for the noise of SGD."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import in_double, is_traced, real_array
from sgd_diffusion._types import ArrayLike, NumberLike
from sgd_diffusion.analysis.guarded import where_known
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.escape.arguments import Convention, weight_of_minimum
from sgd_diffusion.theory.parameters import real

__all__ = ["kramers_sgd", "kramers_white"]


def kramers_white(
    curvatures_minimum: ArrayLike,
    curvatures_saddle: ArrayLike,
    barrier: NumberLike | Array,
    diffusion: NumberLike | Array,
) -> Float[Array, ""]:
    r"""Return the logarithm of the mean time in which white noise leaves a valley over a saddle.

    The noise is that of Langevin dynamics, or of gradient descent with added noise of the same
    strength everywhere. The barrier has to be high over the noise, barrier >> diffusion. For paths
    over several saddles the rates add, 1 / time. The first passage to the saddle takes half of it.

    Formula:
        Escape with white noise. $\tau = \frac{2 \pi}{\lvert H_{be} \rvert} \sqrt{\frac{- \det
        H_b}{\det H_a}} \, e^{\Delta L / D}$ (Eyring-Kramers law; the comparison of Xie et al.,
        arXiv:2002.03495, derived here)

    Args:
        curvatures_minimum: (n,) eigenvalues of the Hessian at the minimum a, all positive; or one
            number.
        curvatures_saddle: (n,) eigenvalues at the saddle b, one negative and all others positive;
            or one negative number. The negative one is H_be.
        barrier: Delta L, loss at the saddle over that at the minimum.
        diffusion: D, with the noise sqrt(2 D) dW.

    Returns:
        () log tau, in units of t = learning_rate * steps; NaN for traced arguments out of range.

    Raises:
        InputError: the barrier or the diffusion is not positive; there is negative or no curvature
            at the minimum; the saddle has no or several negative eigenvalues, or a zero; or the two
            shapes differ.

    >>> round(kramers_white(2.0, -1.0, barrier=0.25, diffusion=0.05).item(), 4)
    6.4913
    """
    with in_double():
        height, noise = _barrier(barrier), real("diffusion", diffusion, above=0)
        minimum = _eigenvalues("curvatures_minimum", curvatures_minimum)
        saddle = _eigenvalues("curvatures_saddle", curvatures_saddle)
        if minimum.shape != saddle.shape:
            raise invalid(
                "curvatures_saddle",
                f"has shape {saddle.shape}",
                f"{minimum.shape}, that of curvatures_minimum",
            )
        log_time, valley, saddle_point = _white(minimum, saddle, height, noise)
        if not is_traced(minimum) and not bool(valley):
            raise invalid(
                "curvatures_minimum",
                f"has the eigenvalue {float(minimum.min()):g}",
                "eigenvalues above 0, as there is no valley to escape from otherwise",
                "leave out the directions that are flat at both points",
            )
        if not is_traced(saddle) and not bool(saddle_point):
            raise invalid(
                "curvatures_saddle",
                f"has {int((saddle < 0).sum())} eigenvalues below 0 and {int((saddle == 0).sum())} "
                "equal to 0",
                "exactly one below 0 and all others above",
                "take the lowest saddle on the way out, with the signs of its eigenvalues",
            )
        return log_time


@jax.jit
def _white(minimum, saddle, height, noise):
    """The logarithm of the time, and whether there are a valley and a saddle point."""
    negative, valley = saddle < 0, (minimum > 0).all()
    saddle_point = (negative.sum() == 1) & (saddle != 0).all()
    log_minimum = jnp.log(where_known(valley, minimum))
    log_saddle = jnp.log(abs(where_known(saddle_point, saddle)))
    downhill = jnp.where(negative, log_saddle, 0).sum()
    determinants = (log_saddle.sum() - log_minimum.sum()) / 2
    log_time = math.log(2 * math.pi) - downhill + determinants + height / noise
    return log_time, valley, saddle_point


def kramers_sgd(
    curvature_minimum: NumberLike | Array,
    curvature_saddle: NumberLike | Array,
    barrier: NumberLike | Array,
    *,
    batch_size: NumberLike | Array,
    learning_rate: NumberLike | Array,
    path: NumberLike | Array = 0.5,
    convention: Convention = "klimontovich",
) -> Float[Array, ""]:
    r"""Return the logarithm of the mean time in which SGD leaves a valley over a saddle.

    The covariance of per-example gradients is taken for the absolute Hessian. So the temperature is
    eta H / (2 B), with the curvature at the minimum up to a point c on the path, and with that at
    the saddle beyond. No determinants are left, in any number of dimensions. The exponent has to be
    large. The first passage to the saddle takes half of the time.

    Formula:
        Escape of SGD. $\tau = \frac{2 \pi}{H_{ae}^{\alpha} \lvert H_{be} \rvert^{1 - \alpha}} \exp
        \left[ \frac{2 B \Delta L}{\eta} \left( \frac{s}{H_{ae}} + \frac{1 - s}{\lvert H_{be}
        \rvert} \right) \right]$ (derived from the assumptions of Xie et al., arXiv:2002.03495;
        alpha is 1 for "ito", 1/2 for "stratonovich", 0 for "klimontovich")

    Args:
        curvature_minimum: H_ae, of the loss at the minimum along the direction e of the escape;
            e . H_a e where e is no eigenvector.
        curvature_saddle: H_be, the negative eigenvalue at the saddle.
        barrier: Delta L, loss at the saddle over that at the minimum.
        batch_size: B, at least 1. It need not be a whole number.
        learning_rate: eta.
        path: s in 0..1, the share of the barrier at the point c, as `effective_path` finds it for
            a measured noise. With 1 only the minimum counts, as other authors restate it.
        convention: the reading of the noise, "klimontovich", "stratonovich" or "ito". SGD itself is
            Ito's; the first has the prefactor that is reported for the paper. They differ by powers
            of H_ae / |H_be|, so slopes in B / eta do not depend on it.

    Returns:
        () log tau, in units of t = learning_rate * steps; NaN for traced arguments out of range.

    Raises:
        InputError: an argument is out of range, or there is no such convention.

    >>> log_time = kramers_sgd(2.0, -1.0, barrier=0.25, batch_size=1, learning_rate=0.1)
    >>> round(log_time.item(), 4)
    5.5879
    """
    alpha = weight_of_minimum(convention)
    with in_double():
        minimum = real(
            "curvature_minimum", curvature_minimum, above=0, what="along the way out of a valley"
        )
        saddle = -real(
            "curvature_saddle", curvature_saddle, below=0, what="with the sign that a saddle has"
        )
        height = _barrier(barrier)
        batch = real("batch_size", batch_size, at_least=1)
        rate = real("learning_rate", learning_rate, above=0)
        share = real("path", path, at_least=0, at_most=1)
        return _sgd(minimum, saddle, height, batch, rate, share, alpha)


@jax.jit
def _sgd(minimum, saddle, height, batch, rate, share, alpha):
    prefactor = alpha * jnp.log(minimum) + (1 - alpha) * jnp.log(saddle)
    coldness = share / minimum + (1 - share) / saddle
    return math.log(2 * math.pi) - prefactor + 2 * batch * height / rate * coldness


def _barrier(value):
    return real("barrier", value, above=0, what="as a saddle is above its minimum")


def _eigenvalues(name: str, value: ArrayLike) -> Float[Array, "*modes"]:
    """Return eigenvalues in float64.

    Raises:
        InputError: they are not (n,) or one number, or not finite.
    """
    array = jnp.asarray(real_array(name, value), jnp.float64)
    if array.ndim > 1 or not array.size:
        raise invalid(name, f"has shape {array.shape}", "(n,) or ()", "map many with jax.vmap")
    finite = jnp.isfinite(array)
    if not is_traced(array) and not bool(finite.all()):
        raise invalid(name, "is not finite", "finite eigenvalues")
    return where_known(finite, array)
