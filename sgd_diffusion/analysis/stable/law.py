"""Compute the alpha-stable law: density, distribution function and random numbers.

They are exact for all parameters: stability alpha in [0.3, 2] and skewness beta in [-1, 1]. In
Nolan's S0 parameterization, the standard law has the characteristic function

    E exp(i k X) = exp(-|k|^alpha [1 + i beta sgn(k) tan(pi alpha/2) (|k|^(1 - alpha) - 1)]).

It is continuous in all parameters, through alpha = 1 too. S1 is the form of most textbooks
(Samorodnitsky & Taqqu, Stable Non-Gaussian Random Processes, 1994, Def. 1.1.6):

    exp(-|k|^alpha [1 - i beta sgn(k) tan(pi alpha/2)]),    alpha != 1,
    exp(-|k| [1 + i beta (2/pi) sgn(k) ln|k|]),             alpha = 1.

S1 differs in location by beta tan(pi alpha/2), which goes beyond every scale at alpha -> 1. With
location and scale, X stands for (X - location)/scale in S0; S1 is as in `scipy.stats.levy_stable`.
They agree for beta = 0. alpha = 2 is the normal law of variance 2 scale^2, (1, 0) the Cauchy law,
(1/2, 1) Levy's law.

The integrals behind them are in `analysis.stable.standard_law`. Arithmetic is float64 whatever the
precision of the input and the JAX mode, and takes 25 microseconds a point on one core.

Notes:
    Errors were measured against inversions of the characteristic function, at 9400 random points
    with |x| in 0.01..1000, many of them near the limits. Errors of ln p are 3e-8 for |beta| <= 0.9
    more than 0.1 away from alpha = 1 and 2, and 1e-6 elsewhere. Those of the distribution function
    are the same.

    Derivatives (those above 1 relatively) have errors of 1e-3 within 5e-4 of alpha = 1, and up to
    1e-2 there in light tails. The errors are 1e-4 near alpha = 1 and |beta| = 1, and 4e-6
    elsewhere, usually much less. At alpha = 2 and |beta| = 1 themselves, the derivatives in alpha
    and beta are one-sided, from inside.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgd_diffusion._arrays import in_double, integer, is_traced, own_precision, real_array
from sgd_diffusion._types import ArrayLike, IntegerLike, Key
from sgd_diffusion.analysis.draws import open_uniform_double
from sgd_diffusion.analysis.stable.standard_law import (
    MIN_ALPHA,
    distribution,
    log_density,
    standard_number,
)
from sgd_diffusion.errors import invalid

__all__ = ["MIN_ALPHA", "cdf", "logpdf", "pdf", "sample"]

PARAMETERIZATIONS = ("S0", "S1")
MAX_SIZE = 2**31 - 1  # of an axis of random numbers
CHUNK = 8192  # points whose nodes are in memory at a time, 60 MB of them


def logpdf(
    x: ArrayLike,
    alpha: ArrayLike,
    beta: ArrayLike = 0.0,
    *,
    location: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    parameterization: str = "S0",
) -> Float[Array, "*shape"]:
    r"""Return the logarithm of the density of the alpha-stable law.

    It can be jitted, mapped and differentiated in all arguments except the parameterization.
    Derivatives at alpha within 5e-4 of 1 are those at that distance.

    Formula:
        Alpha-stable law, characteristic function (S0). $E e^{i k X} = \exp \left( -|k|^{\alpha}
        \left[ 1 + i \beta \, \mathrm{sgn}(k) \tan \frac{\pi \alpha}{2} \left( |k|^{1-\alpha} - 1
        \right) \right] \right)$ (Nolan, Commun. Statist. - Stochastic Models 13, 759, 1997)

    Args:
        x: any shape; the shapes of all arguments are broadcast.
        alpha: stability, 0.3 <= alpha <= 2.
        beta: skewness, -1 <= beta <= 1.
        location: in the units of x.
        scale: positive, in the units of x.
        parameterization: "S0" or "S1", see the module.

    Returns:
        The logarithm of a density per unit of x, float64 if x is, or holds Python numbers, and
        float32 otherwise. It is -inf outside the support (alpha < 1, beta = +-1) and at infinite x.
        It is NaN for NaN in x and for traced parameters out of range.

    Raises:
        InputError: parameters that are known before tracing are out of range, or the
            parameterization is unknown.

    >>> [round(float(value), 6) for value in logpdf([0.0, 1.0], 2.0)]     # normal, variance 2
    [-1.265512, -1.515512]
    """
    return _of_location_scale(
        log_density,
        lambda value, scale: value - jnp.log(scale),
        x,
        alpha,
        beta,
        location,
        scale,
        parameterization,
    )


def pdf(
    x: ArrayLike,
    alpha: ArrayLike,
    beta: ArrayLike = 0.0,
    *,
    location: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    parameterization: str = "S0",
) -> Float[Array, "*shape"]:
    """Return the density of the alpha-stable law per unit of x.

    Arguments and errors are those of `logpdf`.
    """
    return _of_location_scale(
        log_density,
        lambda value, scale: jnp.exp(value) / scale,
        x,
        alpha,
        beta,
        location,
        scale,
        parameterization,
    )


def cdf(
    x: ArrayLike,
    alpha: ArrayLike,
    beta: ArrayLike = 0.0,
    *,
    location: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    parameterization: str = "S0",
) -> Float[Array, "*shape"]:
    """Return the distribution function P(X <= x) of the alpha-stable law.

    Arguments and errors are those of `logpdf`.

    >>> [round(float(value), 6) for value in cdf([-1.0, 0.0, 1.0], 1.0)]     # Cauchy
    [0.25, 0.5, 0.75]
    """
    return _of_location_scale(
        distribution, lambda value, scale: value, x, alpha, beta, location, scale, parameterization
    )


def sample(
    key: Key,
    alpha: ArrayLike,
    beta: ArrayLike = 0.0,
    *,
    shape: Sequence[IntegerLike] = (),
    location: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    parameterization: str = "S0",
) -> Float[Array, "*shape"]:
    r"""Return independent random numbers of the alpha-stable law.

    The method is that of Chambers, Mallows & Stuck (J. Amer. Statist. Assoc. 71, 340, 1976). A
    uniform angle in (0, pi) decides the side of zeta and phi there. Then g of the module is
    exponentially distributed. The other arguments and the errors are those of `logpdf`.

    Formula:
        Alpha-stable random numbers, beta = 0. $X = \frac{\sin \alpha \phi}{(\cos \phi)^{1/\alpha}}
        \left( \frac{\cos ((1-\alpha) \phi)}{g} \right)^{(1-\alpha)/\alpha}$ (Chambers, Mallows &
        Stuck, J. Amer. Statist. Assoc. 71, 340, 1976)

    Args:
        key: PRNG key.
        alpha: stability, 0.3 <= alpha <= 2.
        beta: skewness, -1 <= beta <= 1.
        shape: of the result; the shapes of the parameters are broadcast to it.
        location: in the units of the result.
        scale: positive, in the units of the result.
        parameterization: "S0" or "S1", see the module.

    Returns:
        Array of shape `shape`, float64. There the largest of many numbers keep their digits and do
        not overflow.
    """
    if not isinstance(shape, tuple | list):
        raise invalid("shape", f"is {shape}", "a tuple of integers")
    shape = tuple(integer("shape", size, 0, MAX_SIZE) for size in shape)
    with in_double():
        angle, exponential = _angle_and_exponential(key, shape)
        alpha, beta, location, scale = _parameters(alpha, beta, location, scale, parameterization)
        if _together(alpha=alpha, beta=beta, location=location, scale=scale, shape=angle) != shape:
            raise invalid(
                "shape",
                f"is {shape}",
                "a shape to which all parameters broadcast, as each gets its own numbers",
            )
        return location + scale * _on_points(standard_number, angle, exponential, alpha, beta)


@functools.partial(jax.jit, static_argnums=1)
def _angle_and_exponential(key, shape):
    """Uniform numbers in (0, pi) and exponential ones, in double precision."""
    angle_key, exponential_key = jax.random.split(key)
    angle = jnp.pi * open_uniform_double(angle_key, shape)
    return angle, -jnp.log(open_uniform_double(exponential_key, shape))


def _of_location_scale(function, rescaled, x, alpha, beta, location, scale, parameterization):
    """`rescaled(function((x - location)/scale, alpha, beta), scale)` in the precision of x.

    The computation runs in float64.
    """
    with own_precision("x", x) as x, in_double():
        alpha, beta, location, scale = _parameters(alpha, beta, location, scale, parameterization)
        _together(x=x, alpha=alpha, beta=beta, location=location, scale=scale)
        value = _on_points(function, (x.astype(jnp.float64) - location) / scale, alpha, beta)
        return rescaled(value, scale).astype(x.dtype)


def _parameters(alpha, beta, location, scale, parameterization):
    """Parameters of S0 in float64, NaN where traced ones are out of range."""
    if parameterization not in PARAMETERIZATIONS:
        raise invalid(
            "parameterization",
            f"is {parameterization!r}",
            f"one of {', '.join(PARAMETERIZATIONS)}",
        )
    alpha = _in_range(
        "alpha", alpha, lambda a: (a >= MIN_ALPHA) & (a <= 2), f"numbers in {MIN_ALPHA}..2"
    )
    beta = _in_range("beta", beta, lambda b: abs(b) <= 1, "numbers in -1..1")
    scale = _in_range("scale", scale, lambda c: (c > 0) & (c < np.inf), "positive, finite numbers")
    location = jnp.asarray(real_array("location", location), jnp.float64)
    if parameterization == "S1":
        tangent = jnp.where(
            alpha == 1,
            2 / jnp.pi * jnp.log(scale),
            jnp.tan(jnp.pi / 2 * jnp.where(alpha == 1, 0, alpha)),
        )
        location = location + beta * scale * tangent
    return alpha, beta, location, scale


def _together(**arguments):
    """The shape of all arguments after broadcasting."""
    shapes = {name: argument.shape for name, argument in arguments.items()}
    try:
        return np.broadcast_shapes(*shapes.values())
    except ValueError:
        raise invalid(
            ", ".join(shapes),
            f"have shapes {', '.join(map(str, shapes.values()))}",
            "shapes that broadcast",
        ) from None


def _in_range(name, value, accepted, expected):
    value = real_array(name, value)
    if is_traced(value):
        value = value.astype(jnp.float64)
        return jnp.where(accepted(value), value, jnp.nan)
    value = np.asarray(value, np.float64)
    if not np.all(accepted(value)):
        raise invalid(name, f"is {value}", expected)
    return jnp.asarray(value)


def _on_points(function, *arguments):
    """A function of points (as many numbers as there are arguments) on broadcast arguments."""
    shape = np.broadcast_shapes(*(argument.shape for argument in arguments))
    n = math.prod(shape)
    if n == 0:
        return jnp.zeros(shape)
    # There are few sizes, as each takes longer to compile than to run: above 512 points, steps of
    # an eighth to a quarter. A program that is traced is compiled for its own sizes anyway.
    few = max(64, 2 ** ((min(n, CHUNK) - 1).bit_length() - 3))
    step = 1 if is_traced(*arguments) else few
    chunks = -(-n // CHUNK)
    size = -(-n // (chunks * step)) * step
    return _of_shape(_mapped(function, _in_chunks(arguments, chunks, size)), shape)


# What depends on n itself is little, and two programs in place of eight.
@functools.partial(jax.jit, static_argnums=(1, 2))
def _in_chunks(arguments, chunks, size):
    """Points of broadcast arguments, (chunks, size, arguments); the last one fills the rest."""
    points = jnp.stack(jnp.broadcast_arrays(*arguments), axis=-1).reshape(-1, len(arguments))
    rest = chunks * size - len(points)
    return jnp.pad(points, ((0, rest), (0, 0)), mode="edge").reshape(chunks, size, -1)


@functools.partial(jax.jit, static_argnums=1)
def _of_shape(values, shape):
    return values.ravel()[: math.prod(shape)].reshape(shape)


# Without jit, its loops would be compiled at every call.
@functools.partial(jax.jit, static_argnums=0)
def _mapped(function, chunks):
    """A function of a point on points (chunks, n, ...).

    It handles one chunk at a time, so that the nodes stay in the cache.
    """
    return (
        jax.vmap(function)(chunks[0])
        if len(chunks) == 1
        else jax.lax.map(jax.vmap(function), chunks)
    )
