"""The figure of fractal paths: that every shape of study can be drawn."""

import numpy as np
import pytest

from sgd_diffusion import plots, tables


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run,
        lambda run: run.isel(window=[0]),
        lambda run: run.sel(seed=[1]),
        lambda run: run.drop_vars([name for name in run if "probe" in name]),
        lambda run: run.drop_vars(
            [name for name in run if "loss" in name or "msl" in name or "pair" in name]
        ),
    ],
)
def test_fractal_paths_can_be_drawn(measured_run, change, png):
    run = change(measured_run)
    figure = plots.fractal_path(run, tables.fractal_path(run))
    png(figure)
    assert len(figure.axes) == 6
    for axis in figure.axes:
        assert (axis.get_xlabel() and axis.get_ylabel()) or "no losses are known" in [
            text.get_text() for text in axis.texts
        ]


def test_fractal_paths_that_nobody_walked(measured_run, png, texts):
    run = measured_run * np.nan
    table = tables.fractal_path(run)
    figure = plots.fractal_path(run, table, learning_rate=0.1)
    png(figure)
    assert texts(figure).count("no member moved, or all diverged") == 6
    with pytest.raises(KeyError):
        plots.fractal_path(run, table, learning_rate=0.3)
