"""Problems of every kind of parameters, state and facts: trained right, or refused before anything
is trained or written.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from input_table import MODES

from sgd_diffusion.dynamics import measurements
from sgd_diffusion.dynamics.run import Plan, run_ensemble
from sgd_diffusion.errors import InputError
from sgd_diffusion.problems.datasets import Dataset, Examples
from sgd_diffusion.problems.objectives import Problem, classification

REAL, IMAGINARY = jax.random.normal(jax.random.key(0), (2, 40, 3))
X = REAL + 1j * IMAGINARY
Y = X @ jnp.array([1 + 2j, -1j, 0.5])
PLAN = Plan(
    learning_rates=(0.05,), num_windows=2, window=9, batch_size=8, momentum=0.5, weight_decay=0.01
)
CHOSEN = [measurements.displacements(), measurements.series(), measurements.endpoints()]


def complex_loss(w, state, batch, train):
    return jnp.mean(jnp.abs(batch["x"] @ w - batch["y"]) ** 2), (state, None)


def real_loss(w, state, batch, train):
    return complex_loss(jax.lax.complex(w[:, 0], w[:, 1]), state, batch, train)


def regression(init=lambda key: (jnp.zeros(3), ()), loss=None, **changes):
    def plain(w, state, batch, train):
        return jnp.mean((batch["x"] @ w - batch["y"]) ** 2), (state, None)

    return Problem(
        init=init, loss=loss or plain, **{"examples": {"x": REAL, "y": REAL.sum(1)}} | changes
    )


def test_complex_parameters_are_two_real_ones():
    """Descent along the conjugate of JAX's gradient, and both parts in every sum, sketch and
    sample.
    """
    examples, rest = {"x": X, "y": Y}, measurements.step_grams()
    problems = [
        Problem(
            init=lambda key: (jnp.zeros(3, jnp.complex64), ()), loss=complex_loss, examples=examples
        ),
        Problem(init=lambda key: (jnp.zeros((3, 2)), ()), loss=real_loss, examples=examples),
    ]
    for options in ({"gradient_samples": 4}, {"sketch_dim": 4}):
        plan = Plan(**PLAN.description() | options | {"num_windows": 2})
        chosen = [*CHOSEN, rest] + (
            []
            if "sketch_dim" in options
            else measurements.default_measurements(problems[0], plan)[2:]
        )
        of_complex, of_real = (
            run_ensemble(problem, plan, measurements=chosen) for problem in problems
        )
        xr.testing.assert_allclose(of_complex, of_real, rtol=1e-4, atol=1e-6)
        assert of_complex.loss[-1, 0, 0, -1] < 0.1 * of_complex.loss[0, 0, 0, 0]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, pytest.param(jnp.float16, marks=pytest.mark.slow)])
def test_short_parameters_are_measured_as_they_stand(dtype, tmp_path):
    """The path of the stored weights, whose increments are no numbers of 16 bits."""

    def loss(w, state, batch, train):
        return jnp.mean((batch["x"].astype(dtype) @ w - batch["y"].astype(dtype)) ** 2), (
            state,
            None,
        )

    problem = regression(lambda key: (-jnp.ones(3, dtype), ()), loss)
    found = run_ensemble(problem, PLAN, tmp_path / "run", measurements=CHOSEN)
    assert (found.diverged_at == -1).all() and found.loss[-1, 0, 0, -1] < found.loss[0, 0, 0, 0]
    moved = found.params[1, 0, 0] - found.params[0, 0, 0]
    np.testing.assert_allclose(
        found.displacement_from_start[1, 0, 0, -1], (moved**2).sum(), rtol=1e-6
    )
    np.testing.assert_array_equal(
        found.params, np.asarray(found.params.astype(np.float32)).astype(dtype)
    )
    xr.testing.assert_identical(
        run_ensemble(problem, PLAN, tmp_path / "run", measurements=CHOSEN, resume=True), found
    )


@pytest.mark.parametrize(
    "make",
    [jax.random.key, pytest.param(jax.random.PRNGKey, marks=pytest.mark.slow)],
    ids=["typed", "raw"],
)
def test_a_random_key_in_the_state_survives_an_interruption(make, tmp_path):
    """Beside an array without entries, which checkpoints leave out, and one of 16 bits."""

    def loss(w, state, batch, train):
        key, own = jax.random.split(state["key"])
        kept = w * jax.random.bernoulli(own, 0.9, w.shape) / 0.9
        return jnp.mean((batch["x"] @ kept - batch["y"]) ** 2), (state | {"key": key}, None)

    problem = regression(
        lambda key: (
            jnp.zeros(3),
            {"key": make(7), "none": jnp.zeros((0, 3)), "half": jnp.bfloat16(1)},
        ),
        loss,
    )
    first = Plan(**PLAN.description() | {"num_windows": 1})
    run_ensemble(problem, first, tmp_path / "run", measurements=CHOSEN)
    resumed = run_ensemble(problem, PLAN, tmp_path / "run", measurements=CHOSEN, resume=True)
    xr.testing.assert_equal(resumed, run_ensemble(problem, PLAN, measurements=CHOSEN))


@pytest.mark.parametrize(
    "facts",
    [
        {
            "shape": X.shape,
            "noise": float("nan"),
            "widths": {1: 10, 2: 5},
            "size": np.int64(3),
            "std": np.float32(0.1),
        }
    ],
)
def test_facts_of_any_kind_are_found_again(facts, tmp_path):
    problem = regression(description=facts)
    first = run_ensemble(
        problem, Plan(window=9, batch_size=8), tmp_path / "run", measurements=CHOSEN, metadata=facts
    )
    again = run_ensemble(
        problem, Plan(window=9, batch_size=8), tmp_path / "run", measurements=CHOSEN, resume=True
    )
    np.testing.assert_array_equal(again.loss, first.loss)


def measured(value, dims=("side",), coords=None, **more):
    return [
        measurements.StateMeasurement(lambda *_: {"a": value()}, {"a": dims}, coords or {}, **more)
    ]


def never(*_):
    raise AssertionError("it was trained")


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ({"init": lambda key: (jnp.zeros(3, int), ())}, "params is int32; expected floating"),
        (
            {"init": lambda key: ({"w": jnp.zeros(3), "n": jnp.zeros(2, bool)}, ())},
            r"params\['n'\] is bool",
        ),
        ({"init": lambda key: ((), ())}, "params is empty"),
        ({"init": lambda key: jnp.zeros(3)}, "init of the problem returned"),
        ({"loss": lambda w, s, b, t: jnp.mean(b["x"] @ w)}, "loss of the problem returned"),
        (
            {"loss": lambda w, s, b, t: (b["x"] @ w, (s, None))},
            r"returned float32\[8\]; expected a real floating scalar",
        ),
        ({"loss": lambda w, s, b, t: (jnp.sum(w) + 1j, (s, None))}, r"returned complex64\[\]"),
        ({"loss": lambda w, s, b, t: (jnp.sum(w), ({"n": 1}, None))}, "turned the state"),
    ],
)
def test_problems_of_another_form_are_refused(problem, words, tmp_path):
    with pytest.raises(InputError, match=words):
        run_ensemble(regression(**problem), PLAN, tmp_path / "run", measurements=CHOSEN)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"measurements": measured(lambda: jnp.zeros((2, 2)))},
            r"returned 'a' of shape \(2, 2\); expected \(side: 2\)",
        ),
        (
            {"measurements": measured(lambda: jnp.zeros(2), coords={"side": [1, 2, 3]})},
            r"shape \(2,\); expected \(side: 3\)",
        ),
        (
            {"measurements": measured(lambda: jnp.zeros(2, jnp.complex64))},
            r"complex64\[2\]; expected real numbers",
        ),
        ({"measurements": measured(lambda: jax.random.key(0), dims=())}, "random keys"),
        (
            {"measurements": measured(lambda: jnp.zeros(2), coords={"side": [{"a": 1}, print]})},
            "NetCDF",
        ),
        (
            {"measurements": measured(lambda: jnp.zeros(2), description={"f": print})},
            "description.f is",
        ),
        ({"metadata": {"f": print}}, "metadata.f is"),
        ({"metadata": {1: 0, "1": 0}}, "metadata has the keys"),
        ({"members_at_once": 1.5}, "members_at_once is 1.5"),
        ({"directory": 5}, "directory is 5"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_it_is_trained(options, words, tmp_path, monkeypatch):
    monkeypatch.setattr("sgd_diffusion.dynamics.ensemble.Ensemble.window", never)
    with pytest.raises(InputError, match=words):
        run_ensemble(
            regression(), PLAN, **{"directory": tmp_path / "run", "measurements": CHOSEN} | options
        )
    assert not (tmp_path / "run").exists()


def test_a_state_that_no_checkpoint_holds_is_refused_before_it_is_trained(tmp_path, monkeypatch):
    problem = regression(lambda key: (jnp.zeros(3), {"n": jnp.zeros(3, jnp.uint2)}))
    monkeypatch.setattr("sgd_diffusion.dynamics.ensemble.Ensemble.window", never)
    with pytest.raises(InputError, match=r"state\.n is uint2"):
        run_ensemble(problem, PLAN, tmp_path / "run", measurements=CHOSEN)
    assert not (tmp_path / "run").exists()


def run_in_some_mode():
    """Also of a member that diverges, whose NaN is a value."""
    plan = Plan(
        **PLAN.description()
        | {"learning_rates": (0.05, 1e25), "gradient_samples": 2, "full_batch_twin": True}
    )
    problem = regression(lambda key: (0.1 * jax.random.normal(key, (3,), jnp.float32), ()))
    return run_ensemble(problem, plan, measurements=[*CHOSEN, measurements.twin_displacements()])


@pytest.fixture(scope="module")
def in_no_mode():
    return run_in_some_mode()


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "no jit"])
def test_modes_for_debugging_change_nothing(mode, in_no_mode):
    with MODES[mode]():
        found = run_in_some_mode()
    xr.testing.assert_equal(found, in_no_mode)


def test_dropout_is_the_same_alone_and_in_company(tmp_path):
    """And resumed; other masks in every step, so that a learning rate of almost nothing still sees
    other losses.
    """

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(x.reshape(len(x), -1)))

    images = np.random.default_rng(0).normal(size=(8, 4, 4)).astype(np.float32)
    examples = Examples(images, np.arange(8) % 3)
    problem = classification(Net(), Dataset(examples, examples, 3, "noise"), probe_size=4)
    plan = Plan(seeds=(0, 1), learning_rates=(1e-20,), num_windows=2, window=9, batch_size=8)
    chosen = [measurements.series(probe=True)]
    found = run_ensemble(problem, plan, measurements=chosen)
    run_ensemble(
        problem,
        Plan(**plan.description() | {"num_windows": 1}),
        tmp_path / "run",
        measurements=chosen,
    )
    xr.testing.assert_equal(
        run_ensemble(problem, plan, tmp_path / "run", measurements=chosen, resume=True), found
    )
    alone = run_ensemble(
        problem, Plan(**plan.description() | {"num_windows": 2, "seeds": (1,)}), measurements=chosen
    )
    xr.testing.assert_allclose(alone, found.isel(seed=[1]), rtol=1e-6)
    losses = (
        found.loss.isel(point=slice(9)).transpose("seed", ...).values.reshape(2, -1)
    )  # every batch has all examples
    assert len(np.unique(losses[0])) == 18 and not np.isin(losses[0], losses[1]).any()
    assert (found.probe_loss.max("point") == found.probe_loss.min("point")).all()
