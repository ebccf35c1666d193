"""The table of paths and losses: values, missing members, runs without a probe."""

import numpy as np

from sgd_diffusion.tables import fractal_path


def test_fractal_path_of_a_walk_down_a_slope(measured_run):
    table = fractal_path(measured_run).isel(learning_rate=0)
    assert dict(table.sizes) == {"motion": 3, "window": 2, "seed": 2}
    shuffled, table = table.sel(motion="shuffled"), table.sel(motion="SGD")
    assert 0.8 < shuffled.dimension.isel(window=0, seed=0) < 2.5
    first = table.isel(window=0, seed=0)
    assert 1 < first.dimension < 2 and first.dimension_error > 0
    assert 0.5 < first.self_affinity < 1.2 and str(first.verdict.values) in (
        "self-affine",
        "self-similar",
        "undecided",
    )
    assert abs(first.noise_floor - 2) < 4 * first.noise_floor_error
    assert first.probe_exponent > 1.5  # the loss is a coordinate: a slope
    lost = table.isel(window=1, seed=1)
    assert (
        all(np.isnan(lost[name]) for name in table if name != "verdict")
        and str(lost.verdict.values) == "undecided"
    )


def test_fractal_path_without_a_probe(measured_run):
    table = fractal_path(measured_run.drop_vars([name for name in measured_run if "probe" in name]))
    assert "batch_exponent" in table and "probe_exponent" not in table
