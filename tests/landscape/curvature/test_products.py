"""Products with curvature matrices: closed forms, dense Hessians, chunks, blocks, and what is
refused.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.curvature import (
    gauss_newton_product,
    hessian_vector_product,
    layer_block,
    mean_over_chunks,
)

N, INPUTS, CLASSES = 30, 4, 3
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N, INPUTS))
LABELS = RANDOM.integers(CLASSES, size=N)


def dense(product, like):
    """The matrix of a product, column by column."""
    flat, unravel = ravel_pytree(like)
    of_columns = jax.jit(jax.vmap(lambda vector: ravel_pytree(product(unravel(vector)))[0]))
    return np.asarray(of_columns(np.eye(flat.size, dtype=flat.dtype)))


def relu_network(params, examples):
    hidden = jax.nn.relu(examples["x"] @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    return hidden @ params["output"]["kernel"]


def cross_entropy(logits, examples):
    return optax.softmax_cross_entropy_with_integer_labels(logits, examples["label"]).mean()


def network_loss(params, examples):
    return cross_entropy(relu_network(params, examples), examples)


def network(dtype=np.float64):
    random = np.random.default_rng(1)
    return {
        "hidden": {
            "kernel": random.normal(size=(INPUTS, 5)).astype(dtype),
            "bias": random.normal(size=5).astype(dtype),
        },
        "output": {"kernel": random.normal(size=(5, CLASSES)).astype(dtype)},
    }


EXAMPLES = {"x": X, "label": LABELS}


# Closed forms


def test_linear_regression():
    with jax.enable_x64(True):
        y = jnp.asarray(X.sum(axis=1))
        product = hessian_vector_product(
            lambda w, x: jnp.mean((x @ w - y) ** 2), jnp.zeros(INPUTS), jnp.asarray(X)
        )
        np.testing.assert_allclose(dense(product, jnp.zeros(INPUTS)), 2 * X.T @ X / N, rtol=1e-12)


def test_logistic_regression():
    with jax.enable_x64(True):
        w = jnp.asarray([0.5, -1.0, 2.0, 0.1])
        signs = np.where(LABELS == 0, -1.0, 1.0)
        examples = {"x": jnp.asarray(X), "sign": jnp.asarray(signs)}
        product = hessian_vector_product(
            lambda w, batch: jnp.mean(jnp.logaddexp(0, -batch["sign"] * (batch["x"] @ w))),
            w,
            examples,
        )
        p = 1 / (1 + np.exp(-X @ np.asarray(w)))
        np.testing.assert_allclose(dense(product, w), (X.T * (p * (1 - p))) @ X / N, rtol=1e-10)


def softmax_regression():
    """Weights (INPUTS, CLASSES), and their Hessian: the mean of x x^T (x) (diag p - p p^T)."""
    w = np.random.default_rng(2).normal(size=(INPUTS, CLASSES))
    p = np.asarray(jax.nn.softmax(jnp.asarray(X @ w, jnp.float64), axis=1))
    curved = np.einsum("nc,cd->ncd", p, np.eye(CLASSES)) - p[:, :, None] * p[:, None, :]
    return w, np.einsum("ni,nj,ncd->icjd", X, X, curved).reshape(w.size, w.size) / N


def test_softmax_regression_and_its_gauss_newton_matrix():
    with jax.enable_x64(True):
        w, expected = softmax_regression()
        w, examples = jnp.asarray(w), jax.tree.map(jnp.asarray, EXAMPLES)

        def predict(w, batch):
            return batch["x"] @ w

        hessian = hessian_vector_product(
            lambda w, batch: cross_entropy(predict(w, batch), batch), w, examples
        )
        gauss_newton = gauss_newton_product(predict, cross_entropy, w, examples)
        for product in (hessian, gauss_newton):  # equal, since outputs are linear in the weights
            np.testing.assert_allclose(dense(product, w), expected, rtol=1e-10, atol=1e-14)


# Networks


def test_a_network_against_its_dense_hessian():
    with jax.enable_x64(True):
        params, examples = jax.tree.map(jnp.asarray, (network(), EXAMPLES))
        flat, unravel = ravel_pytree(params)
        expected = jax.jit(jax.hessian(lambda flat: network_loss(unravel(flat), examples)))(flat)
        found = dense(hessian_vector_product(network_loss, params, examples), params)
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-14)


def test_the_gauss_newton_matrix_of_a_network():
    with jax.enable_x64(True):
        params, examples = jax.tree.map(jnp.asarray, (network(), EXAMPLES))
        flat, unravel = ravel_pytree(params)
        jacobian = jax.jit(jax.jacobian(lambda flat: relu_network(unravel(flat), examples)))(flat)
        outputs = jax.jit(relu_network)(params, examples)
        of_outputs = jax.jit(jax.hessian(lambda outputs: cross_entropy(outputs, examples)))(outputs)
        expected = np.einsum("ncp,ncmd,mdq->pq", jacobian, of_outputs, jacobian, optimize=True)
        found = dense(
            gauss_newton_product(relu_network, cross_entropy, params, examples, chunk_size=7),
            params,
        )
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-14)
        assert np.linalg.eigvalsh(found).min() > -1e-14


@functools.cache
def product_in_chunks(chunk_size):
    """Of the network in float32 with one vector, as a list of arrays."""
    params, examples = network(np.float32), {"x": np.float32(X), "label": LABELS}
    vector = jax.tree.map(
        lambda leaf: np.cos(np.arange(leaf.size, dtype=np.float32)).reshape(leaf.shape), params
    )
    product = hessian_vector_product(network_loss, params, examples, chunk_size=chunk_size)
    return jax.tree.leaves(jax.tree.map(np.asarray, jax.jit(product)(vector)))


@pytest.mark.parametrize("chunk_size", [1, 7, 15, 29, 30, 100])
def test_ragged_chunks_add_up_to_the_whole(chunk_size):
    whole = product_in_chunks(None)
    scale = max(abs(leaf).max() for leaf in whole)
    for found, expected in zip(product_in_chunks(chunk_size), whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize("layer", ["hidden", "output"])
def test_blocks_of_layers(layer):
    with jax.enable_x64(True):
        params, examples = jax.tree.map(jnp.asarray, (network(), EXAMPLES))
        places, start = {}, 0
        for name, own in params.items():
            size = ravel_pytree(own)[0].size
            places[name], start = slice(start, start + size), start + size
        whole = dense(hessian_vector_product(network_loss, params, examples), params)
        block_loss, block = layer_block(network_loss, params, layer)
        found = dense(hessian_vector_product(block_loss, block, examples, chunk_size=8), block)
        np.testing.assert_allclose(
            found, whole[places[layer], places[layer]], rtol=1e-10, atol=1e-14
        )


def test_members_under_vmap():
    params = jnp.stack([jnp.array([1.0, 2.0]), jnp.array([-1.0, 0.5])])
    found = jax.vmap(lambda w, v: hessian_vector_product(lambda w: w[0] ** 2 * w[1], w)(v))(
        params, jnp.eye(2)
    )
    np.testing.assert_allclose(found, [[4.0, 2.0], [-2.0, 0.0]])


# Refusals


def test_wrong_arguments():
    with pytest.raises(InputError, match=r"layer is 'last'; expected one of hidden, output"):
        layer_block(network_loss, network(), "last")
    with pytest.raises(
        InputError, match=r"chunk_size is 0; expected an integer in 1.*the examples of a chunk"
    ):
        mean_over_chunks(lambda chunk: chunk.mean(), jnp.ones(3), 0)
    for examples in ({"x": jnp.ones(3), "y": jnp.ones(4)}, jnp.ones(0), jnp.ones(())):
        with pytest.raises(InputError, match="examples has leaves with leading axes"):
            mean_over_chunks(lambda chunk: chunk, examples)
