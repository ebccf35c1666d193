"""The figure of fractal paths: that every shape of study can be drawn."""

import numpy as np
import pytest

from sgd_diffusion import plots


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run,
        lambda run: run.isel(window=[0]),
        lambda run: run.sel(seed=[1]),
        lambda run: run.drop_vars([name for name in run if "probe" in name]),
    ],
)
def test_fractal_paths_can_be_drawn(measured_run, change, png):
    figure = plots.fractal_path(change(measured_run))
    png(figure)
    assert len(figure.axes) == 6
    for axis in figure.axes:
        assert axis.get_xlabel() and axis.get_ylabel()


def test_fractal_paths_that_nobody_walked(measured_run, png, texts):
    figure = plots.fractal_path(measured_run * np.nan, learning_rate=0.1)
    png(figure)
    assert texts(figure).count("no member moved, or all diverged") == 6
    with pytest.raises(KeyError):
        plots.fractal_path(measured_run, learning_rate=0.3)
