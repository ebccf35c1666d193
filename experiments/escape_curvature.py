"""The noise of gradients beside the Hessian, through the training of a network."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from experiments.progress import phase
from sgd_diffusion.landscape.curvature import (
    compare_with_hessian,
    dense_matrix,
    gradient_covariance,
    hessian_vector_product,
    layer_block,
)
from sgd_diffusion.problems import datasets
from sgd_diffusion.problems.mlp import MLP

LEARNING_RATE, BATCH_SIZE = 0.1, 50
CHUNK = 1000  # examples, whose gradients take 20 MB for 2500 weights
PAIRS = 2000  # elements of the matrices that are kept for a figure


def noise_and_curvature(options: Any) -> xr.Dataset:
    """Return covariances of gradients beside Hessians of one layer, at some epochs of a training.

    The network has two hidden layers of ReLU without biases, and is trained by plain SGD. The layer
    is that between the hidden layers.
    """
    inputs, labels, num_classes = _examples(options)
    model = _network(options.width, options.width, num_classes)
    key, order = jax.random.split(jax.random.key(options.seed))
    params = model.init(key, inputs[:1], True)["params"]
    train = _epochs(_loss(model), (jnp.asarray(inputs), jnp.asarray(labels)))
    rows, epoch, epochs = [], 0, sorted(options.epochs)
    for wanted in epochs:
        with phase(f"noise and curvature, epoch {wanted}"):
            params = train(params, order, epoch, wanted)
            epoch = wanted
            rows.append(_compared(params, inputs, labels, options))
    return (
        xr.concat(rows, "epoch")
        .assign_coords(epoch=epochs)
        .assign_attrs(
            width=options.width,
            dataset=options.dataset,
            examples=min(options.examples, len(labels)),
            learning_rate=LEARNING_RATE,
            batch_size=BATCH_SIZE,
            seed=options.seed,
        )
    )


def _network(*features):
    return MLP(features, bias=False, initialization="pytorch")


def _loss(model):
    def loss(params, examples):
        logits = jax.nn.log_softmax(model.apply({"params": params}, examples[0], True))
        return -jnp.take_along_axis(logits, examples[1][:, None], axis=1).mean()

    return loss


def _examples(options):
    data = datasets.load(options.dataset, data_dir=options.data_dir)
    images = np.asarray(data.train.images, np.float32).reshape(len(data.train.labels), -1)
    return images / images.max(), np.asarray(data.train.labels, np.int32), data.num_classes


def _epochs(loss, examples):
    """A function of parameters, a key and two epochs that trains from the first to the second."""
    count = len(examples[1])
    steps = count // BATCH_SIZE

    def epoch(number, params, key):
        order = jax.random.permutation(jax.random.fold_in(key, number), count)

        def step(params, rows):
            slope = jax.grad(loss)(params, tuple(part[rows] for part in examples))
            return jax.tree.map(lambda w, g: w - LEARNING_RATE * g, params, slope), None

        rows = order[: steps * BATCH_SIZE].reshape(steps, BATCH_SIZE)
        return jax.lax.scan(step, params, rows)[0]

    @jax.jit
    def train(params, key, first, last):
        return jax.lax.fori_loop(first, last, lambda i, w: epoch(i, w, key), params)

    return train


def _compared(params, inputs, labels, options):
    """One row of the dataset."""
    first, second, third = (np.asarray(layer["kernel"], np.float64) for layer in params.values())
    # What the layer takes, so that no product goes through the first layer.
    hidden = np.maximum(inputs @ first, 0)
    loss = _loss(_network(second.shape[1], third.shape[1]))
    rest = {"linear1": {"kernel": second}, "linear2": {"kernel": third}}
    with jax.enable_x64(True):
        total = float(loss(rest, (jnp.asarray(hidden), jnp.asarray(labels))))
    count = min(options.examples, len(labels))
    examples = (hidden[:count], labels[:count])
    own, block = layer_block(loss, rest, "linear1")
    covariance = np.asarray(gradient_covariance(own, block, examples, chunk_size=CHUNK))
    product = hessian_vector_product(own, block, examples, chunk_size=CHUNK)
    hessian = np.asarray(dense_matrix(product, block))
    found = compare_with_hessian(covariance, hessian)
    pairs = _elements(covariance, hessian)
    return xr.Dataset(
        {
            "loss": total,
            **{
                name: getattr(found, name)
                for name in found._fields
                if name not in ("eigenvalues", "variances")
            },
            "eigenvalue": ("mode", found.eigenvalues),
            "variance": ("mode", found.variances),
            "hessian_element": ("element", pairs[0]),
            "covariance_element": ("element", pairs[1]),
        }
    )


def _elements(covariance, hessian):
    """Elements of both matrices, equally many of each size of the Hessian's, of either sign."""
    upper = np.triu_indices(len(hessian))
    h, c = hessian[upper], covariance[upper]
    positive = np.flatnonzero((h > 0) & (c > 0))
    ordered = positive[np.argsort(h[positive])]
    places = np.geomspace(1, len(ordered), PAIRS)
    chosen = ordered[len(ordered) - np.unique(places.astype(int))]
    return np.resize(h[chosen], PAIRS), np.resize(c[chosen], PAIRS)
