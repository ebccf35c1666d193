"""The figure of Hessian spectra: that every shape of study can be drawn, and what it says where
nothing is left.
"""

import numpy as np
import pytest
import xarray as xr

from sgd_diffusion import plots


@pytest.fixture
def run():
    """Three windows of two seeds, of which seed 1 diverges in the last; a density in the first."""
    random = np.random.default_rng(0)
    members, spectrum = ("window", "seed", "learning_rate", "statistics"), (3, 2, 1, 2)
    values = np.sort(random.gamma(1, 5, size=(*spectrum, 4)))[..., ::-1].copy()
    nodes = np.sort(random.normal(size=(*spectrum, 2, 10)))
    weights = np.full(nodes.shape, 0.1)
    nodes[1:] = weights[1:] = np.nan
    converged = np.ones(values.shape)
    for array in (values, converged, nodes, weights):
        array[2, 1] = np.nan
    return xr.Dataset(
        {
            "hessian_eigenvalue": ((*members, "rank"), values),
            "hessian_converged": ((*members, "rank"), converged),
            "noise_variance": ((*members, "rank"), values**1.5),
            "hessian_node": ((*members, "probe", "node"), nodes),
            "hessian_weight": ((*members, "probe", "node"), weights),
        },
        coords={
            "seed": [0, 1],
            "learning_rate": [0.1],
            "statistics": ["batch", "running"],
            "rank": [1, 2, 3, 4],
            "waiting_time": ("window", [0, 10, 500]),
            "update": np.arange(10),
        },
    )


@pytest.mark.parametrize(
    ("change", "panels"),
    [
        (lambda run: run, 7),
        (lambda run: run.isel(window=[0]), 6),
        (lambda run: run.sel(seed=[1]), 7),
        (lambda run: run.sel(statistics=["running"]), 4),
        (lambda run: run.drop_vars(["hessian_node", "hessian_weight"]), 7),
        (lambda run: run.assign(hessian_eigenvalue=-run.hessian_eigenvalue), 7),
    ],
)
def test_spectra_can_be_drawn(run, change, panels, png):
    figure = plots.hessian_spectrum(change(run))
    png(figure)
    assert (
        len([axis for axis in figure.findobj() if type(axis).__name__ == "Axes"]) == panels
    )  # with the color bar


def test_eigenvalues_that_have_not_converged_are_left_out(run, png):
    run.hessian_converged.loc[{"rank": 1}] = 0
    figure = plots.hessian_spectrum(run)
    png(figure)
    highest = np.nanmax(
        [line.get_ydata() for line in figure.axes[0].lines if len(line.get_xdata()) == 3]
    )
    assert highest == pytest.approx(
        run.hessian_eigenvalue.sel(rank=2, statistics="batch").mean("seed").max()
    )


def test_the_edge_of_stability_is_drawn(run, png):
    lines = plots.hessian_spectrum(run, 0.1).axes[0].lines
    assert any(np.allclose(line.get_ydata(), 20) for line in lines)


def test_nobody_is_left(run, png, texts):
    figure = plots.hessian_spectrum(run * np.nan)
    png(figure)
    assert texts(figure).count("all members diverged") == 6
    with pytest.raises(KeyError):
        plots.hessian_spectrum(run, learning_rate=0.3)
