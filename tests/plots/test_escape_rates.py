"""Figures of escapes and of the tails of noise show the numbers of their tables."""

import importlib.util
import pathlib

import numpy as np
import pytest
import xarray as xr

from sgd_diffusion import plots, tables

SPEC = importlib.util.spec_from_file_location(
    "escape_data", pathlib.Path(__file__).parents[1] / "tables" / "test_escape_rates.py"
)
DATA = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(DATA)


@pytest.fixture(scope="module")
def table():
    return tables.escape_rates(DATA.sweeps())


def test_every_sweep_has_a_panel_and_sweeps_of_examples_one_together(table, texts):
    figure = plots.escape_rates(table)
    assert len(figure.axes) == 6 and all(axis.axison for axis in figure.axes)
    theory, measured = figure.axes[0].lines[:2]
    np.testing.assert_allclose(theory.get_ydata(), table["log_time_predicted"][0])
    np.testing.assert_allclose(measured.get_xdata().astype(float), [1, 2, 3, 4])
    np.testing.assert_allclose(measured.get_ydata().astype(float), table["log_time"][0])
    written = "\n".join(texts(figure))
    assert "exact 5" in written and "$r$ = 1.00000" in written
    together = figure.axes[-1]
    places = np.concatenate([line.get_xdata() for line in together.lines]).astype(float)
    assert {10, 20, 40, 5, 2} <= set(places)
    assert {"mini-batches", "white noise"} <= set(texts(figure))


def test_rates_over_the_sharpness_are_those_of_all_kinds_of_noise(table):
    axis = plots.escape_rates(table).axes[3]
    assert axis.get_xlabel() == r"$\ln k$"
    theory, examples, _, white = (line.get_ydata().astype(float) for line in axis.lines[:4])
    np.testing.assert_allclose(theory, [0, 0.5 * 5 + np.log(2)])
    np.testing.assert_allclose(examples, [0, 0.4 * 5 + np.log(2)])
    np.testing.assert_allclose(white, np.log([1, 2, 4]), atol=1e-12)


def test_one_line_of_white_noise_has_one_panel(table):
    assert len(plots.escape_rates(table.isel(line=[4])).axes) == 1


def noise_cases():
    """Two kinds of noise, one of them of a single scale."""
    random = np.random.default_rng(0)
    scales = {"wide": np.arange(1, 301) ** -0.5, "even": np.ones(300)}
    found = [
        tables.noise_tails(
            xr.Dataset(
                {"noise": (("batch", "parameter"), random.normal(size=(1000, 300)) * width)}
            ).astype(np.float32)
        )
        for width in scales.values()
    ]
    return xr.concat(found, "case").assign_coords(case=list(scales))


def test_tails_of_noise():
    table = noise_cases()
    figure = plots.noise_tails(table)
    assert len(figure.axes) == 3
    indices = figure.axes[2]
    assert [label.get_text() for label in indices.get_yticklabels()] == ["wide", "even"]
    across = table.sel(direction="across parameters", kind="measured")
    np.testing.assert_allclose(indices.lines[0].get_xdata().astype(float), across["alpha"])
    density = table["density"].sel(direction="across parameters", kind="measured")[0].values
    np.testing.assert_allclose(
        figure.axes[0].lines[0].get_ydata(), np.where(density > 0, density, np.nan)
    )
