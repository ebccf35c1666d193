"""A member on several devices: the same path up to the order of sums, and less memory on each."""

import jax
import numpy as np
import pytest

from sgd_diffusion import Plan
from sgd_diffusion.dynamics.ensemble import Ensemble
from sgd_diffusion.errors import InputError
from sgd_diffusion.problems import datasets, objectives
from sgd_diffusion.problems.resnet import ResNet

EPSILON = np.finfo(np.float32).eps


def measured(record):
    return {"gram": record.step_gram, "loss": record.losses, "probe": record.probe_losses} | {
        f"gram of {layer}": gram for layer, gram in record.layer_grams.items()
    }


def ensemble(problem, devices_per_member=1, measure=measured, **plan):
    plan = Plan(**{"window": 20, "batch_size": 10, "learning_rates": (0.05,)} | plan)
    return Ensemble(
        problem,
        plan,
        measure_path=measure,
        devices=jax.devices()[:devices_per_member],
        devices_per_member=devices_per_member,
    )


def one_window(problem, devices_per_member, **plan):
    made = ensemble(problem, devices_per_member, **plan)
    carry, values = made.window(made.start(), 0)
    return made.placement.collect(carry.params), values


def check_close(found, expected, updates):
    """Each update rounds sums of float32 in another order, and the next ones begin there."""
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        scale = np.abs(other).max()
        np.testing.assert_allclose(one, other, rtol=0, atol=20 * updates * EPSILON * scale)


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"seeds": (0, 1), "by_layer": True, "momentum": 0.5},  # batches of 10 on 3 devices
        {"full_batch_twin": True, "batch_size": 9},
        {"sketch_dim": 30},
    ],
)
def test_the_path_is_that_of_one_device(make_regression, plan):
    problem = make_regression(probe=True)
    check_close(one_window(problem, 3, **plan), one_window(problem, 1, **plan), 20)


def test_every_device_has_its_part_of_the_increments(make_regression):
    """P parameters and T steps: 4 T P / 3 bytes on each of 3 devices, and little else."""
    problem, steps = make_regression(inputs=60, hidden=100), 200

    def bytes_of_a_device(devices):
        made = ensemble(problem, devices, lambda record: {"gram": record.step_gram}, window=steps)
        made.compile()
        return made._compiled.memory_analysis().temp_size_in_bytes

    size = sum(leaf.size for leaf in jax.tree.leaves(problem.init(jax.random.key(0))[0]))
    one, three = bytes_of_a_device(1), bytes_of_a_device(3)
    assert one > 4 * steps * size
    assert 4 * steps * size / 3 < three < 0.45 * one


def test_devices_that_cannot_be_grouped_are_refused(regression):
    with pytest.raises(InputError, match="devices_per_member is 2 for 3 devices; expected a div"):
        Ensemble(
            regression,
            Plan(batch_size=10),
            measure_path=dict,
            devices=jax.devices(),
            devices_per_member=2,
        )


@pytest.mark.slow
def test_batch_norm_is_that_of_the_whole_batch():
    images = np.random.default_rng(0).normal(size=(60, 8, 8, 1)).astype(np.float32)
    examples = datasets.Examples(images, np.arange(60) % 3)
    problem = objectives.classification(
        ResNet(8, width=2, num_classes=3),
        datasets.Dataset(examples, examples, 3, "noise"),
        probe_size=20,
    )
    check_close(one_window(problem, 3, batch_size=30), one_window(problem, 1, batch_size=30), 20)
