"""The table and the summary of freezing networks on cells whose numbers are known."""

import numpy as np
import pytest
import xarray as xr

from experiments import summaries
from sgd_diffusion import tables

REPEATS, POINTS = 4, 11
CELLS = [("sgd", rate, size) for rate in (0.1, 0.05) for size in (10, 20, 50)]
CELLS += [("matched noise", 0.02, 10)]


def cell(motion, rate, size):
    """Flatness and spread rise with eta / B; the noisiest cell does not converge."""
    noise = 0.01 if motion != "sgd" else rate / size
    repeat, point = np.arange(REPEATS), np.arange(POINTS)
    of_repeats = noise * 100 + 0.01 * repeat
    distance = noise**2 * (repeat[:, None] != repeat)
    accuracy = np.broadcast_to(np.minimum(point[:, None] / 5, 1), (POINTS, REPEATS)).copy()
    accuracy[-1, : {10: 4 if rate == 0.1 else 1}.get(size, 0)] = 0.9
    values = {
        **{
            name: ("repeat", of_repeats)
            for name in ("flatness", "flatness_of_outliers", "normalized_flatness", "share")
        },
        "train_loss": (("point", "repeat"), np.exp(-point)[:, None] * np.ones(REPEATS)),
        "train_accuracy": (("point", "repeat"), accuracy),
        "test_accuracy": (("point", "repeat"), accuracy * 0.9),
        "squared_distance": (("repeat", "other_repeat"), distance),
        "barrier": ("pair", np.full(6, 0.1)),
        "pair_similarity": ("pair", np.full(6, 0.8)),
    }
    similarity = np.full((4, 4), 0.96)
    similarity[[0, 1], [1, 0]] = 0.5  # like the last, and not like each other
    if size == 10:
        similarity[3, :3] = similarity[:3, 3] = 0.8  # the last is like no other
    if motion == "sgd":
        last = POINTS - 1
        values |= {
            "freezing_point": (
                "repeat",
                np.array([0, 1, 2, last]) if size < 50 else np.full(REPEATS, 2),
            ),
            "similarity": (("repeat", "branch", "other_branch"), np.stack([similarity] * REPEATS)),
            "clone_share": ("clone_branch", np.array([0.5, 0.8 if size == 10 else 1.0])),
        }
    facts = {
        "learning_rate": 0.02 if motion != "sgd" else rate,
        "batch_size": size,
        "temperature": noise,
        "motion": motion,
        "time_of_point": 10.0,
    }
    return (
        xr.Dataset(values)
        .expand_dims("cell")
        .assign_coords({name: ("cell", [value]) for name, value in facts.items()})
        .assign_coords(branch=[0, 3, 6, 10], clone_branch=[0, 4])
    )


@pytest.fixture(scope="module")
def dataset():
    found = xr.concat([cell(*each) for each in CELLS], "cell")
    facts = {"width": 50, "train_examples": 1000, "test_examples": 200, "strides": 10}
    return found.assign_attrs(dataset="mnist", duration=100.0, clones=4, per_class=100, **facts)


@pytest.fixture(scope="module")
def table(dataset):
    return tables.freezing_networks(dataset)


def test_means_are_over_repeats_that_have_converged(table):
    np.testing.assert_allclose(table["converged"], [0, 1, 1, 0.75, 1, 1, 0.75])
    flat = table["flatness"].values
    np.testing.assert_allclose(flat[1:3], 100 * np.array([0.005, 0.002]) + 0.015)
    assert np.isnan(flat[0]) and flat[3] == pytest.approx(0.5 + 0.02)
    error = 0.01 * np.sqrt(5 / 3) / 2
    assert float(table["flatness_error"][1]) == pytest.approx(error)
    # Distances of d between any two of n points: d sqrt((n - 1) / 2n) from their mean.
    radius = np.array([0.005, 0.002]) * np.sqrt(3 / 8)
    np.testing.assert_allclose(table["radius"][1:3], radius)
    assert float(table["radius"][3]) == pytest.approx(0.005 * np.sqrt(2 / 6))
    np.testing.assert_allclose(table["loss_time"][1:3], 30)


def test_freezing_times(table):
    np.testing.assert_allclose(table["freezing_quartiles"][:, 1], [7.5, 15, 40])
    np.testing.assert_allclose(table["late"][1:6], [0.25, 0, 1 / 3, 0.25, 0])
    among = table["branch_freezing_time"].sel(threshold=0.9)
    np.testing.assert_allclose(among.isel(cell=1), [0, 30, 0])
    np.testing.assert_allclose(among.isel(cell=3), [100, 100, 0])
    np.testing.assert_allclose(
        table["branch_freezing_time"].sel(threshold=0.99)[:, 1], [100, 100, 60]
    )
    np.testing.assert_allclose(table["clone_freezing_time"], [np.nan, 40, 40] * 2 + [np.nan])
    assert np.isnan(table["freezing_time"][-1])


def test_orderings(table):
    """At 0.05 there are three cells that have converged, at 0.1 two, which have no ordering."""
    flat = table.sel(quantity="flatness")
    np.testing.assert_allclose(flat["ordering"][1], 1)
    assert 0.95 < flat["ordering"][0] < 1  # two cells have one eta / B and not one flatness
    assert (flat["ordering_low"] > 0.8).all()
    assert np.isnan(table["ordering"].sel(quantity="loss_time")).all()  # all alike


def test_the_summary_stands_beside_the_paper_and_says_what_is_missing(dataset, table):
    lines = summaries.freezing_networks(dataset, table).splitlines()
    assert max(map(len, lines)) <= 126
    assert any("eta 0.05, B 20: F 0.27 / 5.20; r 0.002 / 1.900" in line for line in lines)
    assert "no repeat converged: sgd eta 0.1 B 10" in lines
    assert any("some repeats did not converge: sgd eta 0.05 B 10" in line for line in lines)
    (same,) = [line for line in lines if line == "  eta/B 0.005"]
    below = lines[lines.index(same) + 1 :][:2]
    assert "sgd   eta 0.05" in below[0] and "sgd   eta 0.1" in below[1]
