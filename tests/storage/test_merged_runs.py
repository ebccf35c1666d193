"""Runs with other members as one: every member is where its seed and learning rate say."""

import json

import numpy as np
import pytest
import xarray as xr

from sgd_diffusion.errors import InputError
from sgd_diffusion.storage import merge_runs


def run(seeds, rates, windows=2, momentum=0.0, **others):
    """What a run of these members is: every number tells where it belongs."""
    seed, rate = np.meshgrid(seeds, rates, indexing="ij")
    value = np.arange(windows)[:, None, None] * 100 + seed * 10 + rate
    plan = {"seeds": list(seeds), "learning_rates": list(rates), "momentum": momentum}
    return xr.Dataset(
        {
            "loss": (("window", "seed", "learning_rate"), value),
            "msd": (("lag", "window", "seed", "learning_rate"), [value, 2 * value, 3 * value]),
            "diverged_at": (("seed", "learning_rate"), (seed * 10).astype(np.int32)),
            "layer_size": ("layer", [3, 4]),
            **others,
        },
        {"seed": list(seeds), "learning_rate": list(rates), "window": range(windows)},
        {"configuration": json.dumps({"plan": plan, "problem": {"dataset": "digits"}})},
    )


WHOLE = run((3, 0, 7), (0.5, 0.1))


@pytest.mark.parametrize(
    "parts",
    [
        [run((3, 0, 7), (0.5, 0.1))],
        [run((3, 0), (0.5, 0.1)), run((7,), (0.5, 0.1))],
        [run((3,), (0.5, 0.1)), run((0,), (0.1, 0.5)), run((7,), (0.5, 0.1))],
        [run((3, 0), (0.5,)), run((7,), (0.5,)), run((3, 0, 7), (0.1,))],
        [run((3,), (0.5,)), run((3,), (0.1,)), run((7, 0), (0.5, 0.1)).sel(seed=[0, 7])],
    ],
)
def test_the_parts_of_a_run_are_the_run(parts):
    merged = merge_runs(parts)
    xr.testing.assert_identical(merged, WHOLE)
    assert merged.diverged_at.dtype == np.int32
    merged.to_netcdf(engine="h5netcdf")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], "runs is .*expected one or more datasets"),
        (["run"], "read runs with load_run"),
        ([run((0,), (0.1,)), run((1,), (0.2,))], "runs lacks seed 0 with learning rate 0.2"),
        ([run((0, 1), (0.1,)), run((1,), (0.1,))], "has twice seed 1 with learning rate 0.1"),
        (
            [run((0,), (0.1,)), run((1,), (0.1,), momentum=0.5)],
            r"runs\[1\] has a configuration in which plan.momentum is 0.0 there and 0.5 here",
        ),
        ([run((0,), (0.1,)), run((1,), (0.1,), windows=3)], r"runs\[1\] has other windows"),
        (
            [run((0,), (0.1,)), run((1,), (0.1,), norm=("window", [1, 2]))],
            "has other variables .norm only in one",
        ),
    ],
)
def test_what_does_not_fit_is_refused(parts, words):
    with pytest.raises(InputError, match=words):
        merge_runs(parts)
