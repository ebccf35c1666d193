"""Figures of the limiting dynamics show the numbers of their tables."""

import importlib.util
import pathlib

import numpy as np
import pytest

from sgd_diffusion import plots, tables

SPEC = importlib.util.spec_from_file_location(
    "limiting_data", pathlib.Path(__file__).parents[1] / "tables" / "test_limiting.py"
)
DATA = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(DATA)
motion = DATA.motion


def test_a_regression(motion):
    table = tables.limiting_regression(motion)
    figure = plots.limiting_regression(motion, table)
    assert len(figure.axes) == 6
    spirals = figure.axes[0].lines
    mean = table["spiral_mean_position"].isel(mode=0)
    drawn = spirals[0].get_xdata()
    np.testing.assert_allclose(drawn / drawn[0], mean / mean[0])
    np.testing.assert_allclose(figure.axes[5].lines[0].get_ydata(), table["msd"][0, 1:])


@pytest.mark.parametrize("strength", [1.0, 1.5])
def test_a_sweep(strength):
    table = tables.limiting_sweep(DATA.sweep(strength))
    figure = plots.limiting_sweep(table)
    local, ratio, curves = figure.axes[:3]
    first = table.isel(setting=[0])
    np.testing.assert_allclose(local.lines[0].get_ydata().astype(float), first["local"])
    np.testing.assert_allclose(
        ratio.lines[0].get_ydata().astype(float), first["local"] / first["local_predicted"]
    )
    np.testing.assert_allclose(curves.lines[0].get_ydata(), table["displacement"][0])
