"""The memory of a window is known before it is compiled, and what makes it fit."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from sgd_diffusion import Plan
from sgd_diffusion.analysis.displacement import time_averaged_msd
from sgd_diffusion.dynamics import ensemble as ensembles
from sgd_diffusion.dynamics.ensemble import Ensemble
from sgd_diffusion.dynamics.memory import window_memory
from sgd_diffusion.errors import InputError

STEPS, PARAMETERS = 200, 60 * 100 + 100 + 100  # of the regression below
TWO = {"seeds": (0, 1)}


@pytest.fixture
def problem(make_regression):
    return make_regression(inputs=60, hidden=100, probe=True)


def plan(**changes):
    return Plan(**{"window": STEPS, "batch_size": 10, "learning_rates": (0.05,)} | changes)


def memory(problem, changes=(), **where):
    return window_memory(problem, plan(**dict(changes)), **where)


@pytest.mark.parametrize(
    ("changes", "where", "expected"),
    [
        ({}, {}, STEPS * PARAMETERS),
        ({"window": 50}, {}, 50 * PARAMETERS),
        ({"average": "ema"}, {}, 2 * STEPS * PARAMETERS),
        ({"sketch_dim": 30}, {}, STEPS * 30),
        ({"sketch_dim": 30}, {"num_devices": 4, "devices_per_member": 4, "platform": "gpu"}, 6000),
        (TWO, {}, STEPS * PARAMETERS),  # one after the other
        (TWO, {"members_at_once": 2}, 2 * STEPS * PARAMETERS),
        (TWO, {"platform": "gpu"}, 2 * STEPS * PARAMETERS),
        (TWO, {"platform": "gpu", "num_devices": 2}, STEPS * PARAMETERS),
        (TWO, {"num_devices": 2}, 2 * STEPS * PARAMETERS),  # in the memory of the CPU
        ({}, {"platform": "tpu", "num_devices": 4, "devices_per_member": 4}, STEPS * 1550),
        (TWO | {"full_batch_twin": True}, {}, STEPS * PARAMETERS),
        (TWO | {"full_batch_twin": True}, {"members_at_once": 2}, 4 * STEPS * PARAMETERS),
    ],
)
def test_increments_are_float32_for_every_update_of_the_members_side_by_side(
    problem, changes, where, expected
):
    assert memory(problem, changes, **where).rows["increments"] == 4 * expected


def test_a_lone_member_on_tpu_has_its_increments_twice(problem):
    alone, two = (memory(problem, changes, platform="tpu").rows for changes in ({}, TWO))
    assert alone["copy"] == alone["increments"] > 0 and two["copy"] == 0
    assert memory(problem, platform="gpu").rows["copy"] == 0


def test_rows_of_a_network_by_hand(problem):
    found = memory(problem, {"momentum": 0.5}, platform="gpu")
    # 60 examples and 20 of the probe of 60 inputs and a value; a counter and the time of divergence
    carry = 4 * (2 * PARAMETERS + 1 + 1)
    assert found.rows["examples"] == 4 * 80 * 61 and found.rows["weights"] == 3 * carry
    # Inputs 60, products 100, their tanh 100 and the prediction for each example.
    assert found.sizes.activations.total == 4 * 261
    assert found.rows["step"] == 4 * max(10 * 261, 20 * 201 - 20 * 41) + 8 * PARAMETERS
    assert found.total == sum(found.rows.values()) - min(found.rows["step"], found.rows["Gram"])


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        pytest.param({}, {}, marks=pytest.mark.slow),
        ({"average": "swa"}, {}),
        (TWO | {"full_batch_twin": True}, {"members_at_once": 2}),
        ({"by_layer": True}, {}),
        ({"sketch_dim": 4000}, {}),
        (TWO, {"num_devices": 3, "devices_per_member": 3}),
        ({"window": 4, "batch_size": 60}, {}),
    ],
)
def test_is_that_of_the_compiled_program(problem, changes, where):
    """Within the factors that the documentation states."""
    where = dict(where)
    number = where.pop("num_devices", 1)
    made = Ensemble(
        problem,
        plan(**changes),
        measure_path=lambda record: {"msd": time_averaged_msd(record.step_gram)},
        devices=jax.devices()[:number],
        **where,
    )
    needed = made.compile()
    print("RATIO", changes, where, made.memory().total / needed)
    assert 0.6 < made.memory().total / needed < 2


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_every_way_out_is_the_mildest_that_is_enough(problem, platform):
    where = {"num_devices": 2, "members_at_once": 2, "platform": platform}
    found = memory(problem, {"seeds": range(4), "batch_size": 60}, **where)
    available = found.total - found.rows["increments"] // 3
    ways = found.ways_out(available)
    assert {"members_at_once", "devices_per_member", "window"} <= {*ways} and "batch_size" not in (
        ways
    )
    for name, way in ways.items():
        assert way.total <= available
        if name == "sketch_dim":  # a single value is proposed
            continue
        value = getattr(way, name)
        milder = value + (-1 if name == "devices_per_member" else 1)
        changes = {name: milder}
        if name == "devices_per_member" and platform == "gpu":
            changes["num_devices"] = 2 * milder
            assert way.num_devices == 2 * value
        assert dataclasses.replace(found, **changes).total > available


def test_a_sketch_and_a_smaller_batch_are_ways_out_where_they_are(make_regression):
    wide = make_regression(inputs=500, hidden=100)
    found = memory(wide, {"batch_size": 60})
    assert found.ways_out(found.total // 2)["sketch_dim"].sketch_dim == 4096
    assert "sketch_dim" not in memory(wide, {"by_layer": True}).ways_out(found.total // 2)
    short = memory(wide, {"window": 2, "batch_size": 60}, platform="tpu")
    assert short.rows["step"] > short.rows["Gram"]
    assert short.ways_out(short.total - 1)["batch_size"].batch_size == 59
    assert not found.ways_out(0)


def test_what_certainly_does_not_fit_is_not_compiled(problem, monkeypatch):
    made = Ensemble(problem, plan(), measure_path=lambda record: {"gram": record.step_gram})
    monkeypatch.setattr(ensembles, "available_bytes", lambda device: 4 * 100 * PARAMETERS)
    monkeypatch.setattr(made, "_window", None)
    with pytest.raises(InputError) as refused:
        made.compile()
    said = str(refused.value)
    assert "a window of 200 updates of 6200 parameters needs" in said
    assert "increments 4.7 MiB" in said and "2.4 MiB that are free" in said and "window " in said
    assert "sketch_dim" not in said  # 4096 dimensions are not enough


def test_the_table_is_narrow_and_says_what_fits(problem):
    found = memory(problem, {"seeds": range(4)}, platform="gpu", num_devices=2)
    enough, little = found.table(2**40), found.table(found.total - 1)
    assert "1024.00 GiB" in enough and enough.endswith("It fits.")
    assert "members_at_once 1: " in little and "devices_per_member 2 (4 devices): " in little
    assert "no single option" in found.table(0) and "free" not in found.table()
    assert max(map(len, little.splitlines())) <= 88


def test_products_inside_of_a_scan_count_as_often_as_they_are_made(make_regression):
    problem = make_regression()
    square = jnp.eye(5)

    def loss(params, state, batch, train):
        def layer(x, _):
            return x @ square, None

        x, _ = jax.lax.scan(layer, batch["x"], None, length=7)
        return x.mean(), (state, None)

    scanned = dataclasses.replace(problem, loss=loss)
    assert memory(scanned).sizes.activations.total == 7 * 4 * 2 * 5


def test_fewer_devices_than_a_member_has_are_refused(problem):
    with pytest.raises(InputError, match="num_devices is 1"):
        memory(problem, devices_per_member=2)
