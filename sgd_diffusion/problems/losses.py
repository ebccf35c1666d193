"""Losses of a classifier, under the names that command lines use."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from sgd_diffusion._arrays import own_precision, real_array
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.errors import invalid

__all__ = ["LABEL_SMOOTHING", "LOSSES", "cross_entropy", "smoothed_kl", "softmax_mse"]

LABEL_SMOOTHING = 0.1


def cross_entropy(logits: ArrayLike, labels: ArrayLike) -> Float[Array, ""]:
    r"""Return the mean cross-entropy of the labels, in nats.

    Formula:
        Cross-entropy. $L = -\ln p_y$ (definition)

    Args:
        logits: (B, C).
        labels: (B,) integers in 0..C-1.

    Returns:
        ().

    Raises:
        InputError: `logits` or `labels` have another shape, or `labels` are no integers.
    """
    with _scores(logits, labels) as (logits, labels):
        return _cross_entropy(logits, labels)


def smoothed_kl(logits: ArrayLike, labels: ArrayLike) -> Float[Array, ""]:
    r"""Return the mean KL divergence from the smoothed labels to the softmax, in nats.

    The target is 1 - 0.1 + 0.1/C for the label and 0.1/C for every other class. The loss is 0 where
    the softmax equals the target. For unsmoothed labels the divergence would be the cross-entropy.

    Formula:
        KL loss.
        $L = \sum_c q_c \ln \frac{q_c}{p_c}, \quad q_c = 0.9 \, \delta_{cy} + \frac{0.1}{C}$
        (named by Chen, Qu & Gong, arXiv:2009.10588; the smoothing is a choice)

    Args:
        logits: (B, C).
        labels: (B,) integers in 0..C-1.

    Returns:
        ().

    Raises:
        InputError: `logits` or `labels` have another shape, or `labels` are no integers.
    """
    with _scores(logits, labels) as (logits, labels):
        return _smoothed_kl(logits, labels)


def softmax_mse(logits: ArrayLike, labels: ArrayLike) -> Float[Array, ""]:
    """Return the mean over batch and classes of (softmax - one-hot)^2.

    Args:
        logits: (B, C).
        labels: (B,) integers in 0..C-1.

    Returns:
        ().

    Raises:
        InputError: `logits` or `labels` have another shape, or `labels` are no integers.
    """
    with _scores(logits, labels) as (logits, labels):
        return _softmax_mse(logits, labels)


# One program where it is called alone. Inlined, so that programs that train stay as they are.
@functools.partial(jax.jit, inline=True)
def _cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


@functools.partial(jax.jit, inline=True)
def _smoothed_kl(logits, labels):
    targets = optax.smooth_labels(
        jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype), LABEL_SMOOTHING
    )
    return optax.losses.kl_divergence(jax.nn.log_softmax(logits), targets).mean()


@functools.partial(jax.jit, inline=True)
def _softmax_mse(logits, labels):
    one_hot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return jnp.mean((jax.nn.softmax(logits) - one_hot) ** 2)


@contextlib.contextmanager
def _scores(logits, labels):
    """Yield the logits in their own precision, at least float32, and the labels, after checks."""
    with own_precision("logits", logits) as scores:
        labels = jnp.asarray(real_array("labels", labels))
        if (
            scores.ndim != 2
            or labels.shape != scores.shape[:1]
            or not jnp.issubdtype(labels.dtype, jnp.integer)
        ):
            raise invalid(
                "logits",
                f"are {list(scores.shape)} and labels {jax.typeof(labels)}",
                "(B, C) and integers (B,)",
            )
        yield scores, labels


LOSSES = {"cross_entropy": cross_entropy, "kl": smoothed_kl, "mse": softmax_mse}
