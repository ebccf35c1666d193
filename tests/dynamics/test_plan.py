import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.errors import InputError


def test_members_are_the_product_with_learning_rates_varying_fastest():
    plan = Plan(seeds=(5, 1), learning_rates=(0.1, 0.2, 0.3))
    seeds, rates = plan.members()
    assert plan.num_members == 6
    np.testing.assert_array_equal(seeds, [5, 5, 5, 1, 1, 1])
    np.testing.assert_allclose(rates, [0.1, 0.2, 0.3] * 2, rtol=1e-7)


def test_description_leaves_out_how_long_the_run_is():
    assert Plan(num_windows=3).description() == Plan(num_windows=9).description()
    assert Plan(momentum=0.5).description() != Plan().description()


def test_runs_from_before_the_full_batch_twin_are_described_as_they_were():
    assert "full_batch_twin" not in Plan().description()
    twin = Plan(full_batch_twin=True)
    assert twin.description() == Plan().description() | {"full_batch_twin": True}
    assert Plan(**twin.description()) == twin


def test_options_of_gradients_are_described_where_they_are_set():
    assert not {"gradient_layers", "frozen_passes"} & Plan(gradient_samples=5).description().keys()
    plan = Plan(gradient_samples=5, gradient_layers=["stem"], frozen_passes=2)
    assert plan.description() == Plan(gradient_samples=5).description() | {
        "gradient_layers": ["stem"],
        "frozen_passes": 2,
    }
    assert Plan(**plan.description()) == plan


def test_options_of_the_step_are_described_where_they_are_set_and_with_their_defaults():
    """Defaults that stand for None are written down, so that a run keeps them."""
    new = {
        "optimizer": "sam",
        "sam_radius": 0.05,
        "schedule": "cosine",
        "schedule_steps": 1000,
        "clip_norm": 2.0,
        "noise": "white",
        "noise_variance": 0.5,
        "average": "ema",
        "average_decay": 0.999,
    }
    filled_in = ("sam_radius", "schedule_steps", "average_decay")
    plan = Plan(**{name: value for name, value in new.items() if name not in filled_in})
    assert plan.description() == Plan().description() | new
    assert Plan(**plan.description()) == plan
    assert not new.keys() & Plan().description().keys()


def test_windows_begin_where_they_are_told_or_one_after_the_other():
    assert list(Plan(num_windows=3, window=20).starts()) == [0, 20, 40]
    plan = Plan(window=20, waiting_times=(5, 100))
    assert (list(plan.starts()), plan.num_windows) == ([5, 100], 2)
    assert Plan(**plan.description()) == plan and plan.description()["waiting_times"] == [5, 100]


@pytest.mark.parametrize(
    "arguments",
    [
        {"seeds": ()},
        {"seeds": (1, 1)},
        {"seeds": (-1,)},
        {"seeds": (0.5,)},
        {"seeds": (2**32,)},
        {"learning_rates": ()},
        {"learning_rates": (0.1, 0.1)},
        {"learning_rates": (0.0,)},
        {"learning_rates": (-0.1,)},
        {"learning_rates": (math.nan,)},
        {"learning_rates": (math.inf,)},
        {"learning_rates": (0.1, 0.1 + 1e-12)},
        {"learning_rates": ("fast",)},
        {"num_windows": 0},
        {"window": 1},
        {"window": 2.5},
        {"batch_size": 0},
        {"momentum": 1.0},
        {"momentum": -0.1},
        {"momentum": math.nan},
        {"weight_decay": -1.0},
        {"weight_decay": math.inf},
        {"sampling": "sorted"},
        {"gradient_samples": -1},
        {"frozen_passes": -1},
        {"frozen_passes": 1.5},
        {"gradient_layers": ()},
        {"gradient_layers": "stem"},
        {"gradient_layers": ("stem", "stem")},
        {"sketch_dim": 0},
        {"waiting_times": ()},
        {"waiting_times": (-1,)},
        {"seeds": 5},
        {"seeds": "12"},
        {"seeds": ("1",)},
        {"seeds": (True,)},
        {"seeds": ((1, 2),)},
        {"seeds": np.array(3)},
        {"seeds": np.zeros((2, 2), int)},
        {"seeds": None},
        {"learning_rates": 0.1},
        {"learning_rates": ("0.1",)},
        {"learning_rates": (1e-50,)},
        {"learning_rates": (1e40,)},
        {"learning_rates": (0.1j,)},
        {"weight_decay": 1e40},
        {"momentum": 1 - 1e-12},
        {"momentum": "0.5"},
        {"momentum": None},
        {"window": "10"},
        {"window": True},
        {"window": np.float32(20)},
        {"batch_size": np.array([8])},
        {"by_layer": "no"},
        {"by_layer": 1},
        {"full_batch_twin": None},
        {"sampling": None},
        {"sampling": np.array(["epochs"])},
        {"gradient_layers": 5},
        {"gradient_layers": (1, 2)},
        {"sketch_dim": 2.0},
        {"waiting_times": 5},
        {"waiting_times": (0, 999)},
        {"waiting_times": (2000, 0)},
        {"waiting_times": (0.5,)},
        {"optimizer": "sgdm"},
        {"optimizer": None},
        {"schedule": "linear"},
        {"schedule": 5},
        {"clip_norm": 0.0},
        {"clip_norm": "1"},
        {"clip_norm": 1e40},
        {"noise": "pink"},
        {"noise": True},
        {"average": "mean"},
        {"average": 1},
        {"average": ""},
        {"sam_radius": 0.1},
        {"schedule_steps": 100},
        {"noise_variance": 1.0},
        {"average_decay": 0.9},
    ],
)
def test_each_bad_value_is_named(arguments):
    (name,) = arguments
    with pytest.raises(InputError) as refusal:
        Plan(**arguments)
    assert str(refusal.value).startswith(f"{name} is ") and "expected" in str(refusal.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"sketch_dim": 4, "by_layer": True},
        {"num_windows": 10**6, "window": 10**6},
        {"gradient_samples": 0, "frozen_passes": 1},
        {"gradient_samples": 0, "gradient_layers": ("stem",)},
        {"optimizer": "adam", "momentum": 0.5},
        {"optimizer": "rmsprop", "weight_decay": 0.5},
        {"optimizer": "adam", "sam_radius": 0.5},
        {"noise": "gaussian", "noise_variance": 0.5},
        {"average": "swa", "average_decay": 0.5},
    ],
)
def test_each_bad_combination_is_named(arguments):
    with pytest.raises(InputError) as refusal:
        Plan(**arguments)
    assert all(name in str(refusal.value) for name in arguments)


def test_numbers_of_any_kind_become_pythons():
    plan = Plan(
        seeds=np.arange(2, dtype=np.uint8),
        learning_rates=jnp.array([0.5, 0.25]),
        window=np.int16(300),
        num_windows=np.array(200),
        batch_size=jnp.int32(8),
        momentum=np.float32(0.5),
        weight_decay=0,
        gradient_samples=np.uint64(4),
        by_layer=np.bool_(True),
        waiting_times=None,
    )
    same = Plan(
        seeds=(0, 1),
        learning_rates=(0.5, 0.25),
        window=300,
        num_windows=200,
        batch_size=8,
        momentum=0.5,
        weight_decay=0.0,
        gradient_samples=4,
        by_layer=True,
    )
    assert plan == same and json.dumps(plan.description()) == json.dumps(same.description())
    assert plan.starts()[-1] == 300 * 199  # beyond int16


def test_a_plan_shows_what_was_chosen():
    shown = " ".join(
        repr(Plan(seeds=range(40), learning_rates=(0.1, 0.2), batch_size=8, momentum=0.9)).split()
    )
    assert shown == (
        "Plan(seeds=(0, 1, 2, ..., 39: 40 values), learning_rates=(0.1, 0.2), num_windows=1, "
        "window=1000, batch_size=8, momentum=0.9)"
    )
