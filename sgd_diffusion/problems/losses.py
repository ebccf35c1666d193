"""Losses of a classifier, by the names that command lines use."""

import contextlib

import jax
import jax.numpy as jnp
import optax

from sgd_diffusion._arrays import own_precision, real_array
from sgd_diffusion.errors import InputError

LABEL_SMOOTHING = 0.1


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean cross-entropy of the labels, in nats; logits (B, C), labels (B,) -> ()."""
    with _scores(logits, labels) as (logits, labels):
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def smoothed_kl(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean KL divergence from the smoothed labels to the softmax, in nats; logits (B, C), labels
    (B,) -> ().

    The target puts 1 - 0.1 + 0.1/C on the label and 0.1/C on every other class; the loss is 0 where
    the softmax equals it. (For unsmoothed labels the divergence is the cross-entropy.)
    """
    with _scores(logits, labels) as (logits, labels):
        targets = optax.smooth_labels(
            jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype), LABEL_SMOOTHING
        )
        return optax.losses.kl_divergence(jax.nn.log_softmax(logits), targets).mean()


def softmax_mse(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over batch and classes of (softmax - one-hot)^2; logits (B, C), labels (B,) -> ()."""
    with _scores(logits, labels) as (logits, labels):
        one_hot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
        return jnp.mean((jax.nn.softmax(logits) - one_hot) ** 2)


@contextlib.contextmanager
def _scores(logits, labels):
    """Logits in their own precision, at least float32, and labels; refuses what is not (B, C) and
    (B,) integers.
    """
    with own_precision("logits", logits) as scores:
        labels = jnp.asarray(real_array("labels", labels))
        if (
            scores.ndim != 2
            or labels.shape != scores.shape[:1]
            or not jnp.issubdtype(labels.dtype, jnp.integer)
        ):
            raise InputError(
                f"logits are {list(scores.shape)} and labels {jax.typeof(labels)}; expected (B, C) "
                "and integers (B,)"
            )
        yield scores, labels


LOSSES = {"cross_entropy": cross_entropy, "kl": smoothed_kl, "mse": softmax_mse}
