"""Tails of noise whose law is known: a mixture of scales looks heavy, its parts do not."""

import numpy as np
import pytest
import xarray as xr

from sgd_diffusion import tables


def noise(values):
    return xr.Dataset({"noise": (("batch", "parameter"), values.astype(np.float32))})


@pytest.mark.parametrize(
    ("batches", "parameters"), [(1000, 300), pytest.param(5000, 1000, marks=pytest.mark.slow)]
)
def test_normal_noise_of_variances_that_differ(batches, parameters):
    """With variances 1/j: 1.58 across parameters and 2 across mini-batches, and their biases.

    The index is f(V) of the variance V of logarithms. The mean of f over samples is higher by half
    of f'' Var V, and that of min(f, 2) lower by the half of a normal law above 2.
    """
    scales = np.arange(1, parameters + 1) ** -0.5
    table = tables.noise_tails(
        noise(np.random.default_rng(3).normal(size=(batches, parameters)) * scales)
    )
    formula = (0.25 + 6 / np.pi**2 * np.var(np.log(scales))) ** -0.5
    rows = table.sel(direction="across parameters")
    assert rows.alpha_predicted == pytest.approx(formula, rel=0.01)
    assert formula == pytest.approx(1.58, abs=0.03)
    for kind in ("measured", "normal"):
        row = rows.sel(kind=kind)
        higher = 1.5 * row.alpha_spread**2 / formula
        assert abs(row.alpha - formula - higher) < 4 * row.alpha_error + 0.2 * higher
    fourth = np.pi**4 / 16 + 2 * (np.pi**2 / 8) ** 2  # m_4 - V^2 of the logarithms
    scatter = 24 / np.pi**2 * (fourth / batches) ** 0.5
    expected = 2 - scatter / (2 * np.pi) ** 0.5 + 0.375 * scatter**2
    columns = table.sel(direction="across mini-batches", kind="measured")
    assert abs(columns.alpha - expected) < 4 * columns.alpha_error + 0.2 * scatter**2
    assert abs(columns.excess) < 4 * (24 / batches) ** 0.5
    row = rows.sel(kind="measured")
    assert columns.alpha - row.alpha > 20 * np.hypot(columns.alpha_error, row.alpha_error)


def test_heavy_noise_of_single_parameters_is_seen():
    random = np.random.default_rng(4)
    table = tables.noise_tails(noise(random.standard_t(1.5, size=(1000, 300))))
    columns = table.sel(direction="across mini-batches")
    assert columns.alpha.sel(kind="measured") < 1.7 < 1.8 < columns.alpha.sel(kind="normal")
    assert columns.excess.sel(kind="measured") > 5


def test_parameters_without_noise_are_left_out():
    values = np.random.default_rng(5).normal(size=(1000, 600))
    values[:, ::2] = 0
    table = tables.noise_tails(noise(values))
    assert table.parameters == 300
    assert np.isfinite(table.alpha).all()
    share = (table.density * np.diff(np.logspace(-3, 2, 61))).sum("size")
    np.testing.assert_allclose(share, 1, atol=0.01)
