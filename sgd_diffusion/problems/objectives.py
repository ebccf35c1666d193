"""What is optimised: a `Problem` is a loss on parameters together with the examples it is evaluated on."""

import dataclasses
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sgd_diffusion.errors import InputError
from sgd_diffusion.problems import augmentation
from sgd_diffusion.problems.datasets import Dataset, Examples, channel_statistics

LABEL_SMOOTHING = 0.1
EVALUATION_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What the dynamics need to know of an optimisation problem, and nothing more.

    Attributes:
      init: `init(key) -> (params, state)`, two pytrees of arrays. `params` are what SGD moves and what displacements
        are measured on; `state` is carried along without being optimised (batch-norm averages; `()` if there is none).
      loss: `loss(params, state, batch, train) -> (loss, (state, outputs))` with a scalar mean loss over the batch.
        `train` is a Python bool.
      examples: a pytree of arrays with the training examples along the leading axis; a batch is the same pytree with
        fewer rows.
      test_examples: the same for held-out examples, or None.
      probe: the same for a fixed batch on which the loss of every visited point is evaluated, or None.
      augment: `augment(key, batch) -> batch`, applied to every mini-batch, or None.
      description: JSON-like facts that identify the problem; they are stored with the results, and a run directory is
        continued only by a problem of the same description.

    A loss of one's own needs no network:

    >>> import jax.numpy as jnp
    >>> x = jnp.linspace(-1.0, 1.0, 32)
    >>> line = Problem(
    ...     init=lambda key: ({"slope": jnp.zeros(())}, ()),
    ...     loss=lambda params, state, batch, train: (
    ...         jnp.mean((params["slope"] * batch["x"] - batch["y"]) ** 2), (state, None)),
    ...     examples={"x": x, "y": 2.0 * x},
    ... )
    >>> line.num_examples
    32
    """

    init: Callable[[jax.Array], tuple[Any, Any]]
    loss: Callable[[Any, Any, Any, bool], tuple[jax.Array, tuple[Any, Any]]]
    examples: Any
    test_examples: Any = None
    probe: Any = None
    augment: Callable[[jax.Array, Any], Any] | None = None
    description: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(self.examples)}
        if len(lengths) != 1 or () in lengths:
            raise InputError(f"Parameter 'examples' has leaves with leading axes {sorted(lengths)}. Expected arrays that "
                             "share one leading axis, the examples.")

    @property
    def num_examples(self) -> int:
        """Number of training examples."""
        return jax.tree.leaves(self.examples)[0].shape[0]


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean cross-entropy of the labels, in nats; logits (B, C), labels (B,) -> ()."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def smoothed_kl(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean KL divergence from the smoothed labels to the softmax, in nats; logits (B, C), labels (B,) -> ().

    The target puts 1 - 0.1 + 0.1/C on the label and 0.1/C on every other class; the loss is 0 where the softmax equals
    it. (For unsmoothed labels the divergence is the cross-entropy.)
    """
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), LABEL_SMOOTHING)
    return optax.losses.kl_divergence(jax.nn.log_softmax(logits), targets).mean()


def softmax_mse(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over batch and classes of (softmax - one-hot)^2; logits (B, C), labels (B,) -> ()."""
    return jnp.mean((jax.nn.softmax(logits) - jax.nn.one_hot(labels, logits.shape[-1])) ** 2)


LOSSES = {"cross_entropy": cross_entropy, "kl": smoothed_kl, "mse": softmax_mse}


def classification(model, dataset: Dataset, *, loss: str = "cross_entropy", augment: str | Callable | None = "standard",
                   probe_size: int = 0) -> Problem:
    """The problem of classifying the images of `dataset` with the flax.linen module `model`.

    Images stay as they are stored (uint8 where possible) and are normalised per channel inside the loss, after the
    augmentation, so that padding is black as in the published pipeline.

    Args:
      model: called as `model.apply(variables, images, train=bool)` -> logits (B, num_classes).
      dataset: as returned by `datasets.load`.
      loss: "cross_entropy", "kl" (against labels smoothed by 0.1) or "mse" (softmax against one-hot).
      augment: "standard" (crop-4 and flip for cifar10, one-pixel shifts for digits, otherwise nothing), None, or a
        function `(key, images) -> images`.
      probe_size: the first `probe_size` training examples, not augmented, become `Problem.probe`; 0 for none.

    Raises:
      InputError: for an unknown loss, a probe larger than the data, or images the model cannot take.
    """
    if loss not in LOSSES:
        raise InputError(f"Parameter 'loss'={loss!r} is unknown. Expected one of {', '.join(LOSSES)}.")
    if not 0 <= probe_size <= len(dataset.train.labels):
        raise InputError(f"Parameter 'probe_size'={probe_size} is out of range. Expected 0 (no probe) to "
                         f"{len(dataset.train.labels)}, the number of training examples.")
    mean, std = (np.asarray(values, np.float32) for values in channel_statistics(dataset))
    measure, sample = LOSSES[loss], dataset.train.images[:2]

    def normalise(images):
        return (images.astype(jnp.float32) - mean) / std

    def init(key):
        variables = model.init(key, normalise(jnp.asarray(sample)), train=False)
        return variables["params"], {name: values for name, values in variables.items() if name != "params"}

    def evaluate(params, state, batch, train):
        variables, images = {"params": params, **state}, normalise(batch.images)
        if train:
            logits, state = model.apply(variables, images, train=True, mutable=list(state))
        else:
            logits = model.apply(variables, images, train=False)
        return measure(logits, batch.labels), (state, logits)

    if augment == "standard":
        transform = augmentation.standard_augmentation(dataset.name)
    elif augment is None or callable(augment):
        transform = augment
    else:
        raise InputError(f"Parameter 'augment'={augment!r} is unknown. Expected 'standard', None or a function "
                         "(key, images) -> images.")
    jax.eval_shape(init, jax.random.key(0))  # a model that cannot take these images says so here, before any run
    train = jax.tree.map(jnp.asarray, dataset.train)
    return Problem(
        init=init,
        loss=evaluate,
        examples=train,
        test_examples=jax.tree.map(jnp.asarray, dataset.test),
        probe=Examples(train.images[:probe_size], train.labels[:probe_size]) if probe_size else None,
        augment=transform and (lambda key, batch: batch._replace(images=transform(key, batch.images))),
        description=_description(model, dataset, loss, augment, probe_size),
    )


def _description(model, dataset: Dataset, loss: str, augment, probe_size: int) -> dict:
    images = dataset.train.images
    return {
        "dataset": dataset.name,
        "fingerprint": zlib.crc32(np.ascontiguousarray(images)),
        "examples": {"train": len(images), "test": len(dataset.test.labels), "shape": list(images.shape[1:]),
                     "classes": dataset.num_classes},
        "model": _describe(model),
        "loss": loss,
        "augmentation": augment.__qualname__ if callable(augment) else augment,
        "probe_size": probe_size,
    }


def _describe(module) -> str:
    """A flax module as text that is the same in every process, which its repr, with addresses of functions, is not."""
    fields = {field.name: getattr(module, field.name) for field in dataclasses.fields(module) if field.repr}
    shown = (f"{name}={getattr(value, '__qualname__', repr(value))}" for name, value in fields.items()
             if name not in ("name", "parent"))
    return f"{type(module).__name__}({', '.join(shown)})"


def accuracy(problem: Problem, params, state, *, examples=None) -> jax.Array:
    """Fraction of `examples` (the test examples unless given) that a classification problem labels correctly, ().

    Evaluated with running batch-norm averages, in chunks, so that memory stays bounded.
    """
    examples = problem.test_examples if examples is None else examples
    count = len(examples.labels)
    size = min(count, EVALUATION_BATCH)
    chunks = -(-count // size)

    def cut(leaf):
        padding = [(0, chunks * size - count)] + [(0, 0)] * (leaf.ndim - 1)
        return jnp.pad(leaf, padding).reshape(chunks, size, *leaf.shape[1:])

    def correct(chunk):
        batch, real = chunk
        logits = problem.loss(params, state, batch, False)[1][1]
        return jnp.sum((jnp.argmax(logits, axis=-1) == batch.labels) & real)

    real = cut(jnp.ones(count, bool))  # False for the rows that pad the last chunk
    return jnp.sum(jax.lax.map(correct, (jax.tree.map(cut, examples), real))) / count
