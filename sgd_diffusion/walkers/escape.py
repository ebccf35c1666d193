r"""Simulate walkers that start in a valley, and count the steps until they leave it.

`escape_times` repeats a walk many times in one compiled program. The walk is any function
`step(key, theta) -> theta`. There are two makers of such functions:

- `minibatch_steps` are those of SGD: the noise comes from the examples that are drawn.
- `langevin_steps` add normal noise of a given diffusion to gradient descent. A constant D is white
  noise, D = eta C / (2 B) the normal noise with the covariance of mini-batches.

The times are those that `theory.escape` predicts and `theory.escape.escape_rate` reads. A barrier
that is crossed at its top is crossed twice as often as the other valley is reached.

>>> from sgd_diffusion.theory.escape import escape_rate
>>> step = langevin_steps(lambda x: x**3 - x, diffusion=0.1, learning_rate=0.05)
>>> times = escape_times(
...     jax.random.key(0), step, -1.0, lambda x: x > 1, repeats=1000, max_steps=100_000
... )
>>> escape_rate(times, 100_000, learning_rate=0.05).escaped
1000
"""

import dataclasses
import functools
import itertools
import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jaxtyping import Array, Int32, UInt32

from sgd_diffusion._arrays import floats, integer, is_traced, parameter, real_array
from sgd_diffusion._types import ArrayLike, IntegerLike, Key, NumberLike, PyTree
from sgd_diffusion.analysis.draws import open_uniform_of_words
from sgd_diffusion.errors import invalid

__all__ = ["escape_times", "langevin_steps", "minibatch_steps"]

Step = Callable[[Key, PyTree], PyTree]

MOST = 2**31 - 2**10
# Steps from one look at who is left to the next. The keys of all of them are made at once.
CHUNK = 16
# When a fourth of the trials are left, the others are dropped, down to so few that a step costs the
# same. The times of most processes are exponential: the last of 1000 takes 7 times the mean, and
# without this a call takes 4 times as long. Halves instead of fourths take longer to compile.
SHARE, FEW = 4, 16


def escape_times(
    key: Key,
    step: Step,
    start: PyTree,
    is_outside: Callable[[PyTree], ArrayLike],
    *,
    repeats: IntegerLike,
    max_steps: IntegerLike,
) -> Int32[Array, "trial"]:
    """Return the number of steps after which walkers are first outside, one for each trial.

    All trials run in one compiled program until the last has left. The same functions are compiled
    once for all keys, starts and values of `max_steps`, and the steps of one maker for all its
    numbers. Trial r depends on the key and on r alone, not on how many others there are.

    A walker stays where it was first outside. One that has become NaN is inside unless `is_outside`
    says otherwise.

    Args:
        key: PRNG key.
        step: a function `step(key, theta)` that returns the next theta. It has to be hashable, or a
            pytree as `jax.tree_util.Partial` makes it, whose arrays may be traced.
        start: theta of all trials, an array or a pytree of arrays, in which a list is an array. The
            walk has its precision: at least float32, and JAX's default for integers.
        is_outside: a function of theta that returns one boolean, of the same kind as `step`.
        repeats: R, the number of trials.
        max_steps: the number of steps after which the others are given up.

    Returns:
        (R,) int32 in 1..max_steps; -1 for a walker that was never outside.

    Raises:
        InputError: `step` or `is_outside` is no function, or returns something else; the start is
            outside already, or has no numbers; or `repeats` or `max_steps` is out of range.
    """
    count, most = integer("repeats", repeats, 1, MOST), integer("max_steps", max_steps, 1, MOST)
    step, is_outside = _pytree("step", step), _pytree("is_outside", is_outside)
    start = jax.tree.map(
        functools.partial(floats, "start"), start, is_leaf=lambda part: isinstance(part, list)
    )
    if not jax.tree.leaves(start):
        raise invalid("start", f"is {start!r}", "an array, or a pytree of arrays")
    _check_results(key, step, start, is_outside)
    return _escape_times(key, step, start, is_outside, jnp.int32(most), count)


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
    size = integer("batch_size", batch_size, 1, MOST)
    eta = parameter("learning_rate", learning_rate, above=0)
    draw = examples if callable(examples) else Partial(_with_replacement, _examples(examples))
    return _MinibatchStep(_pytree("loss", loss), _pytree("examples", draw), eta, size)


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
        noise = _pytree("diffusion", diffusion)
    else:
        noise = Partial(_everywhere, parameter("diffusion", diffusion, at_least=0))
    return Partial(_langevin_step, _pytree("gradient", gradient), noise, eta)


@functools.partial(jax.jit, static_argnames="count")
def _escape_times(key, step, start, is_outside, most, count):
    """`escape_times` for arguments that have been checked."""

    def run(trial, theta, time, now, remaining):
        """Go on with some trials until no more than `remaining` are inside."""
        keys = jax.vmap(functools.partial(jax.random.fold_in, key))(trial)

        def go_on(state):
            now, _, time = state
            return (now < most) & ((time < 0).sum() > remaining)

        def chunk(state):
            now, theta, time = state
            steps = now + 1 + jnp.arange(CHUNK, dtype=jnp.int32)
            fresh = jax.vmap(jax.vmap(jax.random.fold_in, (0, None)), (None, 0))(keys, steps)
            (theta, time), _ = jax.lax.scan(one_step, (theta, time), (fresh, steps))
            return now + CHUNK, theta, time

        return jax.lax.while_loop(go_on, chunk, (now, theta, time))

    def one_step(state, inputs):
        (theta, time), (keys, now) = state, inputs
        left = time > 0
        moved = jax.vmap(step, (0, -1), -1)(keys, theta)
        theta = jax.tree.map(
            lambda old, new: jnp.where(left, old, new.astype(old.dtype)), theta, moved
        )
        leaves = ~left & jax.vmap(is_outside, -1)(theta) & (now <= most)
        return (theta, jnp.where(leaves, now, time)), None

    trial, time = jnp.arange(count, dtype=jnp.int32), jnp.full(count, -1, jnp.int32)
    # The trials are the last axis, over which all arithmetic is contiguous.
    theta = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf[..., None], (*leaf.shape, count)), start
    )
    times, now = time, jnp.int32(0)
    for size, remaining in itertools.pairwise([*_sizes(count), 0]):
        inside_first = operator.itemgetter((..., jnp.argsort(time > 0)[:size]))
        trial, theta, time = jax.tree.map(inside_first, (trial, theta, time))
        now, theta, time = run(trial, theta, time, now, remaining)
        times = times.at[trial].set(time)
    return times


def _sizes(count):
    """Return how many trials go on together, from the first steps to the last."""
    sizes = [count]
    while sizes[-1] > SHARE * FEW:
        sizes.append(sizes[-1] // SHARE)
    return sizes


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
    strength = jax.tree.broadcast(diffusion(theta), theta)

    def move(x, slope, strength, normal):
        slope, strength = (jnp.asarray(value).astype(x.dtype) for value in (slope, strength))
        return x - learning_rate * slope + jnp.sqrt(2 * learning_rate * strength) * normal

    return jax.tree.map(move, theta, gradient(theta), strength, normal)


def _everywhere(diffusion, theta):
    return diffusion


def _words(key: Key, count: int) -> UInt32[Array, "word"]:
    """Return random words of 32 bits. Two are those of the key itself; more have to be drawn."""
    if count <= 2:
        return jax.random.key_data(key).ravel()[:count]
    return jax.random.bits(key, (count,), jnp.uint32)


# Arguments


def _pytree(name, function):
    """Return a function as a pytree: what it is compiled for, and the arrays that it holds.

    Raises:
        InputError: it is no function.
    """
    if not callable(function):
        raise invalid(name, f"is {function!r}", "a function")
    return Partial(function) if jax.tree_util.all_leaves([function]) else function


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


def _check_results(key, step, start, is_outside):
    """Refuse functions that do not fit the start, and a start that is outside.

    Raises:
        InputError: as said.
    """
    found, expected = jax.eval_shape(step, key, start), jax.eval_shape(lambda x: x, start)
    if _shapes(found) != _shapes(expected):
        raise invalid("step", f"returns {_shown(found)}", f"{_shown(expected)}, as the start is")
    outside = jax.eval_shape(is_outside, start)
    if getattr(outside, "shape", None) != () or outside.dtype != bool:
        raise invalid(
            "is_outside", f"returns {_shown(outside)}", "one boolean", "reduce it with .any()"
        )
    if not is_traced(start, is_outside) and bool(is_outside(start)):
        raise invalid("start", "is outside already", "a place inside of the valley")


def _shapes(tree):
    return jax.tree.structure(tree), [leaf.shape for leaf in jax.tree.leaves(tree)]


def _shown(tree):
    return jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", tree)
