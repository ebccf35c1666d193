"""Training has the precision that the plan names; what is measured on the way has its own."""

import re

import jax
import jax.numpy as jnp
import pytest

from sgd_diffusion import Plan
from sgd_diffusion._platforms import traced_on
from sgd_diffusion.dynamics.ensemble import Ensemble
from sgd_diffusion.errors import InputError


def measured(record):
    """The Gram matrix, the losses of the probe, and a product of float32 numbers."""
    found = {
        "gram": record.step_gram,
        "product": jnp.outer(record.losses, record.losses) @ record.losses,
    }
    return found if record.probe_losses is None else found | {"probe": record.probe_losses}


def products(problem, platform, program, **plan):
    """How many products of a program of an ensemble are of float32 operands that may be rounded,
    and how many are not.
    """
    plan = Plan(window=3, batch_size=5, **plan)
    with traced_on(platform):
        ensemble = Ensemble(
            problem,
            plan,
            measure_path=measured,
            measure_state=lambda window, problem, params, state, key: {
                "loss": problem.loss(params, state, problem.examples, False)[0]
            },
        )
        carry = jax.eval_shape(ensemble.start)
        arguments = {
            "window": lambda: ensemble._arguments(carry, 0),
            "states": lambda: ensemble._state_arguments(carry, 0),
            "advance": lambda: (
                (problem.examples, jnp.int32(0), jnp.int32(3)),
                (*ensemble._members(), carry),
            ),
        }[program]()
        lowered = (
            getattr(ensemble, f"_{program}")
            .trace(*arguments)
            .lower(lowering_platforms=({"gpu": "cuda"}.get(platform, platform),))
        )
    lines = [
        line
        for line in lowered.as_text().splitlines()
        if "stablehlo.dot_general" in line and "f64" not in line
    ]
    full = [line for line in lines if len(re.findall("HIGHEST", line)) == 2]
    return len(lines) - len(full), len(full)


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_of_training(make_regression, platform):
    problem = make_regression()
    for program in ("window", "advance", "states"):
        rounded, _ = products(problem, platform, program)
        assert rounded > 0
        assert products(problem, platform, program, precision="float32")[0] == 0


def test_of_what_a_window_measures(make_regression):
    _, plain = products(make_regression(), "tpu", "window")
    assert plain == 4  # the Gram matrix, float32 on TPU, of three leaves; the product of losses
    _, probed = products(make_regression(probe=True), "tpu", "window")
    assert probed == plain + 4  # two products in the loss, in the window and where it ends


def test_the_users_own_default_holds_where_the_plan_says_nothing(regression):
    with jax.default_matmul_precision("highest"):
        assert products(regression, "tpu", "advance")[0] == 0


def test_is_in_the_configuration_where_it_is_not_the_default():
    assert "precision" not in Plan().description()
    assert Plan(precision="float32").description()["precision"] == "float32"
    with pytest.raises(InputError, match="precision is 'half'; expected one of default, float32"):
        Plan(precision="half")
