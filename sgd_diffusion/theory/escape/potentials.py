"""Losses with two valleys in every coordinate, on which theories of escape are tried.

They are sums over coordinates, so that every coordinate escapes by itself. A loss of n coordinates
has n ways out, and n times the rate of one.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import in_double, is_traced, real_array
from sgd_diffusion._types import ArrayLike, NumberLike
from sgd_diffusion.analysis.guarded import where_known
from sgd_diffusion.errors import invalid
from sgd_diffusion.theory.parameters import real

__all__ = [
    "double_well",
    "logistic_double_well",
    "sharpened",
    "styblinski_tang",
    "styblinski_tang_noise",
]


def double_well(theta: ArrayLike) -> Float[Array, ""]:
    r"""Return the double well of every coordinate, summed.

    Its minima are at -1 and 1, with the curvature 2. Its saddle at 0 has the curvature -1, and the
    barrier is 1/4.

    Formula:
        Double well. $L(\theta) = \sum_i \left( \frac{\theta_i^4}{4} - \frac{\theta_i^2}{2} \right)$
        (definition)

    Args:
        theta: (n,) or any other shape.

    Returns:
        () loss.

    Raises:
        InputError: `theta` is no array of real numbers.

    >>> double_well([1.0, -1.0]).item()
    -0.5
    """
    with in_double():
        return _double_well(_coordinates(theta))


def styblinski_tang(theta: ArrayLike, shift_std: NumberLike | Array = 0.0) -> Float[Array, ""]:
    r"""Return the Styblinski-Tang function, averaged over normal shifts of the data.

    The loss of an example x is `styblinski_tang(theta - x)`. For x of mean 0 and standard deviation
    `shift_std` in every coordinate, the expected loss is `styblinski_tang(theta, shift_std)`, and
    `styblinski_tang_noise` is the variance of the gradients. Without a shift, a coordinate has its
    minima at -2.903534 and 2.746803, and the saddle at 0.156731.

    Formula:
        Styblinski-Tang function. $L(\theta) = \frac{1}{2} \sum_i \left[ \theta_i^4 - (16 - 6
        \sigma^2) \theta_i^2 + 5 \theta_i + 3 \sigma^4 - 16 \sigma^2 \right]$ (derived from the
        function at sigma = 0 and the moments of a normal shift)

    Args:
        theta: (n,) or any other shape.
        shift_std: sigma, at least 0.

    Returns:
        () loss; NaN for a traced `shift_std` out of range.

    Raises:
        InputError: an argument is not as stated.

    >>> round(styblinski_tang([-2.903534]).item(), 6)
    -39.166166
    """
    with in_double():
        return _styblinski_tang(_coordinates(theta), real("shift_std", shift_std, at_least=0))


def styblinski_tang_noise(theta: ArrayLike, shift_std: NumberLike | Array) -> Float[Array, "*n"]:
    r"""Return the variance of per-example gradients of the Styblinski-Tang function.

    Coordinates of the noise are independent. Of the family `sharpened(loss, k)` the variance is k
    times that at sqrt(k) theta.

    Formula:
        Noise of the Styblinski-Tang function. $C_{ii} = \sigma^2 (6 \theta_i^2 - 16)^2 + \sigma^4
        (144 \theta_i^2 - 192) + 60 \sigma^6$ (derived from the moments of a normal shift)

    Args:
        theta: (n,) or any other shape.
        shift_std: sigma, at least 0.

    Returns:
        The shape of `theta`; NaN for a traced `shift_std` out of range.

    Raises:
        InputError: an argument is not as stated.

    >>> styblinski_tang_noise([0.0], 1.0).tolist()
    [124.0]
    """
    with in_double():
        shift = real("shift_std", shift_std, at_least=0)
        return _styblinski_tang_noise(_coordinates(theta), shift)


def logistic_double_well(
    theta: ArrayLike, inputs: ArrayLike, labels: ArrayLike
) -> Float[Array, ""]:
    r"""Return the loss of logistic regression with a double well in every coordinate.

    The minima of the double well alone are at 1 / sqrt(2) and -1 / sqrt(2), and its barrier is 1/8.
    It has curvature and no noise, so the covariance of gradients is not the Hessian. Measure it,
    from `jax.vmap(jax.grad(logistic_double_well), (None, 0, 0))` over the examples.

    Formula:
        Logistic double well. $L(\theta) = \left\langle \ln(1 + e^{x \cdot \theta}) - y \, x \cdot
        \theta \right\rangle + \frac{1}{2} \sum_i (\theta_i^4 - \theta_i^2)$ (reconstruction of an
        experiment of Xie et al., arXiv:2002.03495, which has no public code)

    Args:
        theta: (n,).
        inputs: (..., n), x of examples, or of one.
        labels: (...), y, which are 0 or 1.

    Returns:
        () mean loss of the examples; NaN for traced labels out of range.

    Raises:
        InputError: the shapes do not match, or labels are not in 0..1.

    >>> round(logistic_double_well([0.0], [[1.0], [2.0]], [0, 1]).item(), 6)
    0.693147
    """
    with in_double():
        x, features = _coordinates(theta), jnp.asarray(real_array("inputs", inputs), jnp.float64)
        y = jnp.asarray(real_array("labels", labels), jnp.float64)
        if x.ndim != 1 or features.shape != (*y.shape, *x.shape) or not y.size:
            raise invalid(
                "inputs",
                f"has shape {features.shape}",
                f"those of the labels {y.shape} and of theta {x.shape}, which is (n,)",
            )
        binary = (y >= 0) & (y <= 1)
        if not is_traced(y) and not bool(binary.all()):
            raise invalid("labels", "has entries out of 0..1", "0 or 1 for each example")
        return _logistic_double_well(x, features, where_known(binary, y))


def sharpened(loss: Callable[..., Any], k: NumberLike | Array) -> Callable[..., Any]:
    r"""Return the loss with valleys that are k times as sharp and barriers that are as high.

    SGD on it with the learning rate eta makes the steps of SGD on the loss with k eta, over
    sqrt(k). So where the noise comes from the data, this family and that of learning rates are one.

    Formula:
        Sharpness family. $L_k(\theta) = L(\sqrt{k} \, \theta)$ (definition)

    Args:
        loss: a function of theta, and of data that are handed on as they are.
        k: positive; the Hessian is k times as large, positions are shorter by sqrt(k).

    Returns:
        A function of the same arguments. It gives NaN where a traced k is out of range.

    Raises:
        InputError: the loss is no function, or k is not positive.

    >>> sharpened(double_well, 4.0)(0.5).item()
    -0.25
    """
    if not callable(loss):
        raise invalid("loss", f"is {loss!r}", "a function of theta")
    with in_double():
        scale = jnp.sqrt(real("k", k, above=0))

    def sharper(theta, *data):
        with in_double():
            return loss(scale * _coordinates(theta), *data)

    return sharper


def _coordinates(theta: ArrayLike) -> Float[Array, "*n"]:
    return jnp.asarray(real_array("theta", theta), jnp.float64)


@jax.jit
def _double_well(x):
    return (x**4 / 4 - x**2 / 2).sum()


@jax.jit
def _styblinski_tang(x, shift):
    variance = shift**2
    quartic = x**4 + 6 * variance * x**2 + 3 * variance**2
    return ((quartic - 16 * (x**2 + variance) + 5 * x) / 2).sum()


@jax.jit
def _styblinski_tang_noise(x, shift):
    squares, variance = x**2, shift**2
    linear = variance * (6 * squares - 16) ** 2
    return linear + variance**2 * (144 * squares - 192) + 60 * variance**3


@jax.jit
def _logistic_double_well(x, features, labels):
    # A product of matrices warns in derivatives of float32.
    logits = (features * x).sum(axis=-1)
    fit = (jax.nn.softplus(logits) - labels * logits).mean()
    return fit + ((x**4 - x**2) / 2).sum()
