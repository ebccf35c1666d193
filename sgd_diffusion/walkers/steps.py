r"""The steps of walkers in a valley: those of SGD, and gradient descent with normal noise.

Each maker returns a function `step(key, theta) -> theta`, for `escape_times` and `jax.lax.scan`:

- `minibatch_steps` are those of SGD: the noise comes from the examples that are drawn.
- `langevin_steps` add normal noise of a given diffusion to gradient descent. A constant D is white
  noise, D = eta C / (2 B) the normal noise with the covariance of mini-batches.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jaxtyping import Array, UInt32

from sgd_diffusion._arrays import floats, integer, parameter, real_array
from sgd_diffusion._pytrees import full_precision
from sgd_diffusion._types import ArrayLike, IntegerLike, Key, NumberLike, PyTree
from sgd_diffusion.analysis.draws import open_uniform_of_words
from sgd_diffusion.errors import invalid

__all__ = ["Step", "as_pytree", "langevin_steps", "minibatch_steps"]

Step = Callable[[Key, PyTree], PyTree]

MOST_EXAMPLES = 2**31 - 2**10  # of a batch


def minibatch_steps(
    loss: Callable[..., ArrayLike],
    examples: tuple[ArrayLike, ...] | Callable[[Key, int], tuple[Array, ...]],
    learning_rate: NumberLike | Array,
    batch_size: IntegerLike,
) -> Step:
    r"""Return the step of SGD, with mini-batches that are drawn with replacement.

    Formula:
        SGD. $\theta_{t+1} = \theta_t - \frac{\eta}{B} \sum_{j=1}^{B} \nabla \ell(\theta_t, x_j)$
        (definition)

    Args:
        loss: a function `loss(theta, *example)` that returns the loss of one example.
        examples: a tuple of arrays (N, ...), one for each part of an example. Or a function
            `examples(key, batch_size)` that draws such a tuple of arrays (batch_size, ...), for
            examples from a distribution.
        learning_rate: eta, may be traced.
        batch_size: B.

    Returns:
        A function `step(key, theta)`, for `escape_times` and `jax.lax.scan`.

    Raises:
        InputError: an argument is not as stated.

    >>> step = minibatch_steps(lambda theta, x: (theta - x) ** 2 / 2, (jnp.ones(9),), 0.5, 3)
    >>> step(jax.random.key(0), 0.0).item()
    0.5
    """
    size = integer("batch_size", batch_size, 1, MOST_EXAMPLES)
    eta = parameter("learning_rate", learning_rate, above=0)
    draw = examples if callable(examples) else Partial(_with_replacement, _examples(examples))
    return _MinibatchStep(as_pytree("loss", loss), as_pytree("examples", draw), eta, size)


def langevin_steps(
    gradient: Callable[[PyTree], PyTree],
    diffusion: NumberLike | Array | Callable[[PyTree], PyTree],
    learning_rate: NumberLike | Array,
) -> Step:
    r"""Return the step of gradient descent with normal noise, by the scheme of Euler and Maruyama.

    The noise is evaluated where the step begins, as Ito's reading has it. With D = eta C / (2 B) it
    has the covariance of mini-batches of B examples, where C is the variance of their gradients.

    Formula:
        Langevin steps. $\theta_{t+1} = \theta_t - \eta \, L'(\theta_t) + \sqrt{2 \eta D(\theta_t)}
        \, \xi_t$ (Euler-Maruyama scheme)

    Args:
        gradient: L', a function of theta that returns a pytree of its structure.
        diffusion: D, at least 0: a number, which may be traced, or a function of theta. The
            function returns one number, or a pytree of the structure of theta with the strength of
            the noise of each coordinate. Negative values give NaN.
        learning_rate: eta, the time of a step; may be traced.

    Returns:
        A function `step(key, theta)`, for `escape_times` and `jax.lax.scan`.

    Raises:
        InputError: an argument is not as stated.

    >>> step = langevin_steps(lambda x: x, diffusion=0.0, learning_rate=0.5)
    >>> step(jax.random.key(0), 1.0).item()
    0.5
    """
    eta = parameter("learning_rate", learning_rate, above=0)
    if callable(diffusion):
        noise = as_pytree("diffusion", diffusion)
    else:
        noise = Partial(_everywhere, parameter("diffusion", diffusion, at_least=0))
    return Partial(_langevin_step, as_pytree("gradient", gradient), noise, eta)


def as_pytree(name, function):
    """Return a function as a pytree: what it is compiled for, and the arrays that it holds.

    Raises:
        InputError: it is no function.
    """
    if not callable(function):
        raise invalid(name, f"is {function!r}", "a function")
    return Partial(function) if jax.tree_util.all_leaves([function]) else function


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["loss", "draw", "learning_rate"],
    meta_fields=["batch_size"],
)
@dataclasses.dataclass(frozen=True)
class _MinibatchStep:
    """A pytree, so that a program is compiled for a batch size and takes all learning rates."""

    loss: Callable[..., Any]
    draw: Callable[..., Any]
    learning_rate: Any
    batch_size: int

    def __call__(self, key, theta):
        batch = self.draw(key, self.batch_size)
        of_one = jax.grad(self.loss)
        with full_precision():
            slopes = jax.vmap(lambda *example: of_one(theta, *example))(*batch)
        return jax.tree.map(lambda x, slope: x - self.learning_rate * slope.mean(0), theta, slopes)


def _with_replacement(examples, key, batch_size):
    """Return a batch; the remainders of 32 random bits are uniform to N / 2^32."""
    chosen = _words(key, batch_size) % np.uint32(len(examples[0]))
    return tuple(part[chosen] for part in examples)


def _langevin_step(gradient, diffusion, learning_rate, key, theta):
    theta = jax.tree.map(jnp.asarray, theta)
    flat, unravel = ravel_pytree(theta)
    # The quantile of a uniform number, since its word of random bits is at hand.
    uniform = open_uniform_of_words(_words(key, flat.size), flat.dtype)
    normal = unravel(math.sqrt(2) * jax.lax.erf_inv(2 * uniform - 1))
    with full_precision():
        strength = jax.tree.broadcast(diffusion(theta), theta)
        slopes = gradient(theta)

    def move(x, slope, strength, normal):
        slope, strength = (jnp.asarray(value).astype(x.dtype) for value in (slope, strength))
        return x - learning_rate * slope + jnp.sqrt(2 * learning_rate * strength) * normal

    return jax.tree.map(move, theta, slopes, strength, normal)


def _everywhere(diffusion, theta):
    return diffusion


def _words(key: Key, count: int) -> UInt32[Array, "word"]:
    """Return random words of 32 bits. Two are those of the key itself; more have to be drawn."""
    if count <= 2:
        return jax.random.key_data(key).ravel()[:count]
    return jax.random.bits(key, (count,), jnp.uint32)


# Arguments


def _examples(examples):
    """Return a tuple of arrays, with one entry for each example.

    Raises:
        InputError: it is no tuple, or its arrays do not have the same number of entries.
    """
    if not isinstance(examples, tuple):
        raise invalid(
            "examples",
            f"is a {type(examples).__name__}",
            "a tuple of arrays (N, ...), or a function of a key and of the batch size",
            "write (examples,) for examples of one part",
        )
    parts = tuple(map(_part, examples))
    lengths = {part.shape[:1] for part in parts}
    if len(lengths) != 1 or lengths & {(), (0,)}:
        raise invalid(
            "examples",
            f"has arrays of the shapes {[part.shape for part in parts]}",
            "arrays (N, ...) with the same N of at least 1",
        )
    return parts


def _part(values):
    """Return numbers as `floats` reads them, and integers, which may be labels, as they are."""
    array = real_array("examples", values)
    whole = not jnp.issubdtype(array.dtype, jnp.floating)
    return jnp.asarray(array) if whole else floats("examples", array)
