"""What SGD optimizes: a `Problem`, that is, a loss on parameters and the examples of the loss."""

import dataclasses
import textwrap
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx
from flax.errors import InvalidRngError
from jaxtyping import Array, Float

from sgd_diffusion._arrays import integer, real_array
from sgd_diffusion._display import WIDTH
from sgd_diffusion._json_values import json_values
from sgd_diffusion._types import IntegerLike, Key, PyTree
from sgd_diffusion.errors import InputError, invalid
from sgd_diffusion.problems import augmentation
from sgd_diffusion.problems.datasets import channel_statistics
from sgd_diffusion.problems.labeled_images import Dataset, Examples, checked
from sgd_diffusion.problems.losses import LOSSES, cross_entropy, smoothed_kl, softmax_mse
from sgd_diffusion.problems.nnx_modules import NnxNetwork, as_network
from sgd_diffusion.problems.user_code import raised

__all__ = [
    "EVALUATION_BATCH",
    "LOSSES",
    "Problem",
    "RandomizedExamples",
    "accuracy",
    "classification",
    "cross_entropy",
    "smoothed_kl",
    "softmax_mse",
]

EVALUATION_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What the dynamics need to know of an optimization problem, and nothing more.

    Attributes:
        init: `init(key) -> (params, state)`, two pytrees of arrays. SGD moves `params`, and
            displacements are measured on them; `state` is carried along and not optimized
            (batch-norm averages; `()` if there is none).
        loss: `loss(params, state, batch, train) -> (loss, (state, outputs))` with a scalar mean
            loss over the batch. `train` is a Python bool.
        examples: a pytree of arrays with the training examples along the leading axis; a batch is
            the same pytree with fewer rows.
        test_examples: the same for held-out examples, or None.
        probe: the same for a fixed batch, or None. The loss of every visited point is evaluated on
            it.
        augment: `augment(key, batch) -> batch`, applied to every mini-batch, or None. Every step
            and seed has another key. A loss that needs random numbers of its own can take them from
            here, through an entry of the batch.
        description: JSON-like facts that identify the problem, kept as JSON has them (see
            `json_values`). They are stored with the results. Only a problem of the same description
            can continue a run directory.

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

    init: Callable[[Key], tuple[PyTree, PyTree]]
    loss: Callable[[PyTree, PyTree, PyTree, bool], tuple[Array, tuple[PyTree, Any]]]
    examples: PyTree
    test_examples: PyTree | None = None
    probe: PyTree | None = None
    augment: Callable[[Key, PyTree], PyTree] | None = None
    description: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if not isinstance(self.description, Mapping):
            raise invalid("description", f"is {self.description!r:.100}", "a mapping")
        object.__setattr__(self, "description", json_values("description", self.description))
        for name in ("examples", "test_examples", "probe"):
            object.__setattr__(self, name, _arrays(name, getattr(self, name)))
        lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(self.examples)}
        if len(lengths) != 1 or () in lengths:
            raise invalid(
                "examples",
                f"has leaves with leading axes {sorted(lengths)}",
                "arrays that share one leading axis, the examples",
                "make an array of a list of numbers",
            )

    def __repr__(self) -> str:
        """Show the description, and how many examples of what shape there are."""

        def shapes(tree):
            name = partial(jax.tree_util.keystr, simple=True, separator=".")
            return ", ".join(
                f"{name(path)} {jax.typeof(leaf)}".strip()
                for path, leaf in jax.tree.leaves_with_path(tree)
            )

        parts = [f"examples={shapes(self.examples)}"]
        parts += [
            f"{name}: {len(jax.tree.leaves(value)[0])} examples"
            for name, value in (("test", self.test_examples), ("probe", self.probe))
            if value is not None
        ]
        parts += [f"{name}={value!r}" for name, value in self.description.items()]
        return textwrap.fill(f"Problem({'; '.join(parts)})", WIDTH, subsequent_indent="    ")

    @property
    def num_examples(self) -> int:
        """Return the number of training examples."""
        return jax.tree.leaves(self.examples)[0].shape[0]


def _arrays(name: str, tree: PyTree) -> PyTree:
    """Convert the leaves of a pytree to JAX arrays. JAX's own and traced ones stay as they are."""

    def convert(path, leaf):
        where = f"{name}{jax.tree_util.keystr(path)}"
        if isinstance(leaf, jax.Array):
            return leaf
        array = real_array(where, leaf, or_complex=True)
        found = jnp.asarray(np.float64(array) if array.dtype == np.longdouble else array)
        if jnp.issubdtype(array.dtype, jnp.integer) and not np.array_equal(found, array):
            raise invalid(
                where,
                f"has integers beyond {found.dtype}",
                "smaller ones",
                "take floating numbers, or switch on 64-bit mode",
            )
        return found

    return jax.tree.map_with_path(convert, tree)


class RandomizedExamples(NamedTuple):
    """Examples with the key of the random layers that see them.

    Attributes:
        images: (B, H, W, C).
        labels: (B,) int32.
        key: a PRNG key.
    """

    images: Array
    labels: Array
    key: Key


def classification(
    model: linen.Module | NnxNetwork | Callable[..., nnx.Module],
    dataset: Dataset,
    *,
    loss: str = "cross_entropy",
    augment: str | Callable[[Key, Any], Any] | None = "standard",
    probe_size: IntegerLike = 0,
) -> Problem:
    """Return the problem of classifying the images of a data set with a network.

    Images stay as they are stored (uint8 where possible). The loss normalizes them per channel
    after the augmentation, so that padding is black as in the published pipeline.

    A model with random layers, such as dropout, gets random streams in training. They differ
    between steps and seeds, and are the same alone and in an ensemble. For the probe and in
    Hessians a loss has to be a function of the point alone. There the layers draw once, with a
    fixed key: every example of the batch has a mask of its own and keeps it. Evaluation
    (`train=False`) draws nothing.

    Args:
        model: a flax.linen module, called as `model.apply(variables, images, train=bool)` -> logits
            (B, num_classes). Or a function or class that makes a flax.nnx module, called as
            `model(rngs=...)` for every seed. The module is called as `module(images)` after its
            `train()` or its `eval()`; its `nnx.Param` are the parameters, its keys are drawn as
            said above, and its other variables, such as batch-norm averages, are the state.
        dataset: as returned by `datasets.load`.
        loss: "cross_entropy", "kl" (against labels smoothed by 0.1) or "mse" (softmax against
            one-hot).
        augment: "standard" (crop-4 and flip for cifar10, one-pixel shifts for digits, otherwise
            nothing), None, or a function `(key, images) -> images`.
        probe_size: the first `probe_size` training examples, not augmented, become `Problem.probe`;
            0 for none.

    Raises:
        InputError: the loss is unknown, the probe is larger than the data, or the model is no such
            module, cannot take the images or returns logits for fewer classes than there are.
    """
    model = as_network(model)
    if not isinstance(loss, str) or loss not in LOSSES:
        raise invalid("loss", f"is {loss!r}", f"one of {', '.join(LOSSES)}")
    dataset = checked(
        dataset.train, dataset.test, dataset.name, num_classes=dataset.num_classes
    )._replace(label_noise=dataset.label_noise)
    probe_size = integer(
        "probe_size",
        probe_size,
        0,
        len(dataset.train.labels),
        what="(0 for no probe, at most all training examples)",
    )
    # They get the rank of images, so that nothing is left to rank promotion.
    mean, std = (
        np.asarray(values, np.float32).reshape(1, 1, 1, -1)
        for values in channel_statistics(dataset)
    )
    measure, sample = LOSSES[loss], np.asarray(dataset.train.images[:2])

    def normalize(images):
        return (images.astype(jnp.float32) - mean) / std

    @jax.jit  # flax runs the model to know the shapes of its parameters
    def init(key):
        variables = model.init(key, normalize(jnp.asarray(sample)), train=False)
        return variables["params"], {
            name: values for name, values in variables.items() if name != "params"
        }

    def apply(params, state, images, rngs):
        return model.apply(
            {"params": params, **state},
            normalize(images),
            train=True,
            mutable=list(state),
            rngs=rngs,
        )

    random = _draws(init, apply, sample, dataset.num_classes)

    def evaluate(params, state, batch, train):
        if train:
            logits, state = apply(params, state, batch.images, _streams(batch) if random else None)
        else:
            logits = model.apply({"params": params, **state}, normalize(batch.images), train=False)
        return measure(logits, batch.labels), (state, logits)

    train = jax.tree.map(jnp.asarray, dataset.train)
    return Problem(
        init=init,
        loss=evaluate,
        examples=train,
        test_examples=jax.tree.map(jnp.asarray, dataset.test),
        probe=Examples(train.images[:probe_size], train.labels[:probe_size])
        if probe_size
        else None,
        augment=_augmentation(augment, dataset.name, random),
        description=_description(model, dataset, loss, augment, probe_size),
    )


def _draws(init, apply, sample: np.ndarray, num_classes: int) -> bool:
    """Say whether a model draws random numbers in training.

    Raises:
        InputError: the model cannot take the images; so it is refused before any run.
    """
    images = jax.ShapeDtypeStruct(sample.shape, sample.dtype)
    try:
        variables = jax.eval_shape(init, jax.random.key(0))
        try:
            logits, _ = jax.eval_shape(partial(apply, rngs=None), *variables, images)
            random = False
        except InvalidRngError:
            logits, _ = jax.eval_shape(partial(apply, rngs=_streams(None)), *variables, images)
            random = True
    except InputError:
        raise
    except Exception as error:  # whatever a network of the user's own raises
        raise invalid(
            "model",
            f"raises {raised(error)} for images {sample.shape}",
            "a network with parameters that takes images (batch, height, width, channels)",
            "flax.linen modules are called as model.apply(variables, images, train=bool)",
        ) from error
    shape = getattr(logits, "shape", None)
    if shape is None or len(shape) != 2 or shape[1] < num_classes:
        raise invalid(
            "model",
            f"returns {type(logits).__name__ if shape is None else list(shape)} "
            f"for {len(sample)} images",
            f"logits ({len(sample)}, C) with C of at least {num_classes}, the number of classes",
        )
    return random


def _streams(batch: Any) -> dict[str, Key]:
    """Return the keys of the random layers, fixed ones for a batch that has none.

    Streams of other names take flax's default.
    """
    key = getattr(batch, "key", None)
    default, dropout = jax.random.split(jax.random.key(0) if key is None else key)
    return {"params": default, "dropout": dropout}


def _augmentation(
    augment, dataset_name: str, random: bool
) -> Callable[[jax.Array, Any], Any] | None:
    """Return what a problem does to a batch: change the images, and add a key for random layers."""
    if augment == "standard":
        augment = augmentation.standard_augmentation(dataset_name)
    elif augment is not None and not callable(augment):
        raise invalid(
            "augment",
            f"is {augment!r}",
            "'standard', None or a function (key, images) -> images",
        )

    def images_only(key, batch):
        return batch._replace(images=augment(key, batch.images))

    def with_key(key, batch):
        key, own = jax.random.split(key)
        batch = batch if augment is None else images_only(key, batch)
        return RandomizedExamples(*batch, own)

    return with_key if random else augment and images_only


def _description(model, dataset: Dataset, loss: str, augment, probe_size: int) -> dict:
    images = dataset.train.images
    facts = {
        "dataset": dataset.name,
        "fingerprint": zlib.crc32(np.ascontiguousarray(images).data),
        "examples": {
            "train": len(images),
            "test": len(dataset.test.labels),
            "shape": list(images.shape[1:]),
            "classes": dataset.num_classes,
        },
        "model": _describe(model),
        "loss": loss,
        "augmentation": augment.__qualname__ if callable(augment) else augment,
        "probe_size": probe_size,
    }
    if dataset.label_noise is not None:  # so runs from before there was any can be continued
        facts["label_noise"] = dataset.label_noise
    return facts


def _describe(module) -> str:
    """Return a flax module as text that is the same in every process.

    Its repr is not: it has the addresses of functions.
    """
    fields = {
        field.name: getattr(module, field.name)
        for field in dataclasses.fields(module)
        if field.repr
    }
    shown = (
        f"{name}={getattr(value, '__qualname__', repr(value))}"
        for name, value in fields.items()
        if name not in ("name", "parent")
    )
    return f"{type(module).__name__}({', '.join(shown)})"


def accuracy(
    problem: Problem, params: PyTree, state: PyTree, *, examples: Examples | None = None
) -> Float[Array, ""]:
    """Return the fraction of examples that a classification problem labels correctly.

    It uses running batch-norm averages, and works in chunks, so that memory stays bounded.

    Args:
        problem: as from `classification`.
        params: the point.
        state: the problem's state.
        examples: the test examples unless given.

    Returns:
        ().
    """
    chosen: Any = problem.test_examples if examples is None else examples
    count = len(chosen.labels)
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
    return jnp.sum(jax.lax.map(correct, (jax.tree.map(cut, chosen), real))) / count
