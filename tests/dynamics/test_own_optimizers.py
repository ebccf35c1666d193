"""Transformations of one's own are told apart, continued, and refused where they cannot be used."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

from sgd_diffusion.dynamics.measurements import displacements, endpoints
from sgd_diffusion.dynamics.own_optimizers import description_of_optimizer
from sgd_diffusion.dynamics.parameters import initial_shapes
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.dynamics.run import run_ensemble
from sgd_diffusion.errors import InputError, StorageError

PLAN = {"window": 9, "batch_size": 10, "learning_rates": (0.01, 0.02)}


def run(problem, *directory, num_windows=2, **options):
    plan = Plan(num_windows=num_windows, **PLAN, **options.pop("plan", {}))
    kept = [displacements(), endpoints()]
    return run_ensemble(problem, plan, *directory, measurements=kept, **options)


def weighted(*weights):
    """Plain SGD with its update times an array, inside a function that is compiled by itself."""
    scales = jnp.array(weights)

    @jax.jit
    def scaled(leaf):
        return -leaf * scales.mean()

    return optax.stateless(lambda updates, params: jax.tree.map(scaled, updates))


def test_the_digest_is_that_of_what_is_computed(regression):
    params, _ = initial_shapes(regression)

    def digest(optimizer):
        return description_of_optimizer(optimizer, params, None)["sha256"]

    same = [digest(optax.adam(1.0)), digest(optax.adam(1.0, b1=0.9))]
    others = [
        digest(optax.adam(1.0, b1=0.8)),
        digest(optax.adamw(1.0)),
        digest(weighted(1, 1)),
        digest(weighted(1, 2)),
    ]
    assert same[0] == same[1] and len({*same, *others}) == 5
    assert digest(weighted(1, 2)) == others[-1]


def test_a_transformation_that_has_a_name_gives_the_same_path(regression):
    own = run(regression, optimizer=optax.adam(1.0), optimizer_name="mine")
    xr.testing.assert_equal(own, run(regression, plan={"optimizer": "adam"}))
    described = json.loads(own.attrs["configuration"])["optimizer"]
    assert described["name"] == "mine" and len(described["sha256"]) == 64
    clipped = run(regression, optimizer=optax.scale(-1.0), plan={"clip_norm": 0.5})
    xr.testing.assert_equal(clipped, run(regression, plan={"clip_norm": 0.5}))


def test_a_run_is_continued_with_the_same_one_only(regression, tmp_path):
    whole = run(regression, optimizer=optax.adamw(1.0))
    run(regression, tmp_path / "run", num_windows=1, optimizer=optax.adamw(1.0))
    with pytest.raises(StorageError, match=r"another optimizer .* JAX \d.* optax \d"):
        run(regression, tmp_path / "run", resume=True, optimizer=optax.adamw(1.0, eps=1e-6))
    with pytest.raises(StorageError, match="another configuration"):
        run(regression, tmp_path / "run", resume=True)
    with pytest.raises(StorageError, match="another configuration"):
        named = {"optimizer": optax.adamw(1.0), "optimizer_name": "other"}
        run(regression, tmp_path / "run", resume=True, **named)
    resumed = run(regression, tmp_path / "run", resume=True, optimizer=optax.adamw(1.0))
    xr.testing.assert_equal(resumed, whole)
    started = run(regression, start_from=tmp_path / "run", num_windows=1)
    assert np.isfinite(started.msd).all()


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("optimizer is 'adam'; expected an optax", {"optimizer": "adam"}),
        ("optimizer leads uphill", {"optimizer": optax.scale_by_adam()}),
        ("optimizer cannot be traced .*value_fn", {"optimizer": optax.lbfgs()}),
        (
            "optimizer returns a state",
            {"optimizer": optax.GradientTransformation(lambda p: 0.0, lambda g, s, p: (g, None))},
        ),
        ("optimizer_name is 'mine' without", {"optimizer_name": "mine"}),
        ("optimizer_name is 5", {"optimizer": optax.sgd(1.0), "optimizer_name": 5}),
        ("momentum is 0.5 in the plan", {"optimizer": optax.sgd(1.0), "plan": {"momentum": 0.5}}),
        (
            "optimizer is 'lion' in the plan",
            {"optimizer": optax.sgd(1.0), "plan": {"optimizer": "lion"}},
        ),
    ],
)
def test_what_cannot_be_used_is_refused(regression, words, options):
    with pytest.raises(InputError, match=words):
        run(regression, **options)
