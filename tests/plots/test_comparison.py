"""Figures of several runs: what is drawn is what the tables say."""

import numpy as np
import pytest
import xarray as xr

from sgd_diffusion import plots, tables


@pytest.fixture(scope="module")
def overview(measured_run):
    run = measured_run.assign(test_accuracy=measured_run.loss.isel(point=0, drop=True) * 0 + 0.5)
    return tables.overview(run)


def test_runs_stand_side_by_side_with_their_controls(overview):
    table = tables.over_cells([({"run": "first"}, overview), ({"run": "second"}, overview + 0)])
    figure = plots.comparison(table)
    short, long, losses, accuracies = figure.axes
    assert "2-20" in short.get_title(loc="right") and losses.get_yscale() == "log"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert set(labels) == {"first", "second", "drift subtracted", "shuffled"}
    drawn = [np.asarray(line.get_ydata(), float) for line in long.lines]
    wanted = overview.exponent.sel(motion="SGD", range="long", learning_rate=0.1).mean("seed")
    assert any(np.array_equal(values, wanted.values) for values in drawn if len(values) == 2)
    assert len(accuracies.lines) == 2


def test_an_architecture_sweep_has_a_color_for_each_depth(overview):
    cells = [
        ({"depth": depth, "shortcut": short, "batch_size": size}, overview)
        for depth in (8, 14)
        for short in (True, False)
        for size in (16, 64)
    ]
    table = tables.regimes(tables.over_cells(cells))
    figure = plots.architecture_sweep(table)
    assert len(figure.axes) == 8
    legend = [text.get_text() for text in figure.axes[3].get_legend().get_texts()]
    assert legend[:2] == ["depth 8", "depth 14"] and "without" in legend


def test_a_learning_rate_sweep_is_drawn_against_both_times(measured_run):
    run = xr.concat(
        [measured_run.assign_coords(learning_rate=[rate]) for rate in (0.1, 0.02)], "learning_rate"
    )
    times, regimes = tables.training_times(run), tables.regimes(tables.overview(run))
    figure = plots.learning_rate_sweep(run, regimes, times)
    by_update, by_time = figure.axes[2], figure.axes[3]
    for line, other, rate in zip(by_update.lines, by_time.lines, (0.02, 0.1), strict=True):
        np.testing.assert_allclose(rate * line.get_xdata(), other.get_xdata())
