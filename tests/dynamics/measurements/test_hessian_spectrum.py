"""Curvature where windows end: dense Hessians, both batch normalizations, chosen windows, and what
is refused.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from sgd_diffusion.dynamics.measurements import (
    StateMeasurement,
    hessian_density,
    hessian_eigenvalues,
)
from sgd_diffusion.dynamics.run import Plan, run_ensemble
from sgd_diffusion.errors import InputError, StorageError
from sgd_diffusion.problems.objectives import Problem

INPUTS, EXAMPLES, USED, BATCH, K = 6, 45, 35, 10, 3  # of 35 examples three full batches are used
PLAN = Plan(seeds=(0, 1), learning_rates=(1e-3,), num_windows=2, window=5, batch_size=BATCH)
RANDOM = np.random.default_rng(0)
X, Y = (
    RANDOM.normal(size=(EXAMPLES, INPUTS)).astype(np.float32),
    RANDOM.normal(size=EXAMPLES).astype(np.float32),
)


def normalized_regression():
    """Quartic regression whose inputs are scaled by the batch in training, and by a half in
    evaluation.
    """

    def loss(params, state, batch, train):
        scale = 1 / batch["x"].std(axis=0) if train else state["scale"]
        return jnp.mean(((batch["x"] * scale) @ params - batch["y"]) ** 4), (state, None)

    return Problem(
        init=lambda key: (jax.random.normal(key, (INPUTS,)), {"scale": jnp.full(INPUTS, 0.5)}),
        loss=loss,
        examples={"x": jnp.asarray(X), "y": jnp.asarray(Y)},
        description={"name": "normalized regression"},
    )


OPTIONS = {"num_examples": USED, "batch_size": BATCH}


def measured(problem, directory=None, **options):
    """A run that also keeps the weights where every window ends."""
    weights = StateMeasurement(
        lambda problem, params, state, key: {"weights": params}, {"weights": ("parameter",)}
    )
    options = OPTIONS | options
    chosen = [
        weights,
        hessian_eigenvalues(problem, num_eigenvalues=K, **options),
        hessian_density(problem, num_probes=30, num_products=INPUTS, windows=(1,), **options),
    ]
    return run_ensemble(problem, PLAN, directory, measurements=chosen, resume=directory is not None)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("run") / "run"


@pytest.fixture(scope="module")
def run(directory):
    return measured(normalized_regression(), directory)


def batches(kind):
    """Inputs and targets of the batches, (3, 10, ...), inputs normalized as they are."""
    x = X[: 3 * BATCH].reshape(3, BATCH, INPUTS).astype(float)
    return (x / x.std(axis=1, keepdims=True) if kind == "batch" else x / 2), Y[: 3 * BATCH].reshape(
        3, BATCH
    )


@pytest.mark.parametrize("kind", ["batch", "running"])
def test_every_number_is_that_of_the_dense_hessian(run, kind):
    x, y = batches(kind)
    for window in range(2):
        for seed in range(2):
            here = run.isel(window=window, seed=seed, learning_rate=0).sel(statistics=kind)
            w = here.weights.values.astype(float)
            error = x @ w - y
            hessian = np.einsum("bn,bni,bnj->ij", 12 * error**2, x, x) / (3 * BATCH)
            values, vectors = np.linalg.eigh(hessian)
            values, vectors = values[::-1][:K], vectors.T[::-1][:K]
            np.testing.assert_allclose(here.hessian_eigenvalue, values, rtol=1e-5)
            assert (here.hessian_converged == 1).all() and here.hessian_products == INPUTS
            assert (here.hessian_residual < 1e-4 * values[0]).all()
            gradients = np.einsum("bn,bni->bi", 4 * error**3, x) / BATCH
            mean = gradients.mean(axis=0)
            np.testing.assert_allclose(
                here.gradient_share, (vectors @ mean) ** 2 / (mean @ mean), rtol=1e-3, atol=1e-6
            )
            variances = BATCH * (gradients @ vectors.T).var(axis=0, ddof=1)
            np.testing.assert_allclose(here.noise_variance, variances, rtol=1e-3)
            np.testing.assert_allclose(
                here.noise_share,
                variances / (BATCH * gradients.var(axis=0, ddof=1).sum()),
                rtol=1e-3,
            )
            assert (here.noise_variance_error > 0).all()


def test_the_density_is_there_in_chosen_windows_only(run):
    for name in ("hessian_node", "hessian_weight", "hessian_trace", "hessian_trace_error"):
        assert (
            np.isnan(run[name].isel(window=0)).all() and np.isfinite(run[name].isel(window=1)).all()
        )
    assert np.isfinite(run.hessian_eigenvalue).all()
    for kind in ("batch", "running"):
        x, y = batches(kind)
        here = run.isel(window=1, learning_rate=0).sel(statistics=kind)
        error = np.einsum("bni,si->sbn", x, here.weights.values.astype(float)) - y
        traces = np.einsum("sbn,bni->s", 12 * error**2, x**2) / (3 * BATCH)
        # Student's t of 29 beyond 4 in 0.04 percent
        assert np.all(abs(here.hessian_trace - traces) < 4 * here.hessian_trace_error)
        # all products of a probe: its nodes are the eigenvalues
        np.testing.assert_allclose(
            here.hessian_node.max(["probe", "node"]), here.hessian_eigenvalue.sel(rank=1), rtol=1e-4
        )


def test_a_run_goes_on_with_the_same_hessian_only(run, directory):
    with pytest.raises(
        StorageError, match=r"measurements.hessian_examples is 35 there and 40 here"
    ):
        measured(normalized_regression(), directory, num_examples=40)
    assert measured(normalized_regression(), directory).equals(run)


def test_without_a_state_there_is_one_batch_normalization():
    def loss(w, state, batch, train):
        return jnp.mean((batch["x"] @ w - batch["y"]) ** 2), (state, None)

    line = Problem(
        init=lambda key: (jnp.zeros(INPUTS), ()),
        loss=loss,
        examples={"x": jnp.asarray(X), "y": jnp.asarray(Y)},
    )
    measurement = hessian_eigenvalues(line, num_eigenvalues=2, **OPTIONS)
    assert list(measurement.coords["statistics"]) == ["batch"]
    found = jax.jit(lambda key: measurement.function(line, jnp.zeros(INPUTS), (), key))(
        jax.random.key(0)
    )
    used = X[: 3 * BATCH].astype(float)
    np.testing.assert_allclose(
        found["hessian_eigenvalue"][0],
        np.linalg.eigvalsh(2 * used.T @ used / len(used))[::-1][:2],
        rtol=1e-5,
    )


def test_the_order_of_layers_does_not_matter_to_a_pytree(make_regression):
    """Against jax.hessian, over several leaves."""
    problem = make_regression()
    params, state = problem.init(jax.random.key(3))
    measurement = hessian_eigenvalues(
        problem, num_eigenvalues=4, num_examples=60, batch_size=20, statistics=("running",)
    )
    found = jax.jit(lambda key: measurement.function(problem, params, state, key))(
        jax.random.key(0)
    )
    flat, unravel = ravel_pytree(params)
    dense = jax.jit(
        jax.hessian(lambda flat: problem.loss(unravel(flat), state, problem.examples, False)[0])
    )(flat)
    np.testing.assert_allclose(
        found["hessian_eigenvalue"][0], np.linalg.eigvalsh(dense)[::-1][:4], rtol=1e-4
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_eigenvalues": 0}, r"num_eigenvalues is 0; expected an integer in 1\.\.6"),
        ({"num_eigenvalues": 7}, "num_eigenvalues is 7"),
        ({"num_examples": 29}, "num_examples is 29; expected"),
        ({"num_examples": 46}, "and at most 45"),
        ({"statistics": ()}, r"statistics is \(\)"),
        ({"statistics": ("eval",)}, "; expected one or both of batch, running"),
        ({"statistics": ("batch", "batch")}, "twice"),
    ],
)
def test_wrong_arguments(options, words):
    with pytest.raises(InputError, match=words):
        hessian_eigenvalues(normalized_regression(), **{"num_eigenvalues": 2, **OPTIONS, **options})
