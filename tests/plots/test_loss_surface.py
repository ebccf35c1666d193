"""The figure of loss surfaces: that every shape of study can be drawn."""

import numpy as np
import pytest
import xarray as xr

from sgd_diffusion import plots


@pytest.fixture
def study():
    """Two planes of two seeds, of which the second diverged, and their table."""
    side = np.linspace(-1, 1, 9)
    loss = np.exp(side[:, None] ** 2 + side**2) * np.ones((2, 2, 1, 1, 1))
    members = ("plane", "seed", "learning_rate")
    path = np.linspace(0.5, 0, 4) * np.ones((2, 2, 1, 1))
    surfaces = xr.Dataset(
        {
            "loss": ((*members, "row", "column"), loss),
            "x": ((*members, "column"), side * np.ones((2, 2, 1, 1))),
            "y": ((*members, "row"), side * np.ones((2, 2, 1, 1))),
        }
        | {
            name: ((*members, "update"), path.copy())
            for name in ("path_x", "path_y", "off_plane", "path_length")
        },
        coords={
            "plane": ["random", "hessian"],
            "seed": [0, 1],
            "learning_rate": [0.1],
            "update": [0.0, 10.0, 20.0, 30.0],
        },
    )
    dims, shape = ("estimator", "surface", "seed", "learning_rate"), (2, 2, 2, 1)
    table = xr.Dataset(
        {
            name: (dims, np.full(shape, value))
            for name, value in (("raw", 1.9), ("dimension", 2.0), ("low", 2.0), ("high", 2.2))
        }
        | {"curve": ((*dims, "size"), np.array([8.0, 4, 2, 1]) * np.ones((*shape, 1)))},
        coords={
            "estimator": ["level set, boxes", "graph, boxes"],
            "surface": ["loss", "smooth"],
            "seed": [0, 1],
            "learning_rate": [0.1],
            "size": [1, 2, 4, 8],
        },
    )
    lost = {"seed": 1}
    for dataset in (surfaces, table):
        for name in dataset:
            dataset[name].loc[lost] = np.nan
    return surfaces, table


@pytest.mark.parametrize(
    "change",
    [
        lambda surfaces: surfaces,
        lambda surfaces: surfaces.sel(plane=["random"]),
        lambda surfaces: surfaces.assign(loss=surfaces.loss * 0 + 1),
        lambda surfaces: surfaces.assign(loss=-surfaces.loss),
        lambda surfaces: surfaces.assign(loss=surfaces.loss.where(surfaces.loss < 2, np.inf)),
    ],
)
def test_surfaces_can_be_drawn(study, change, png):
    surfaces, table = study
    figure = plots.loss_surface(change(surfaces), table)
    png(figure)
    assert len(figure.axes) == 6
    for axis in figure.axes:
        assert (
            (axis.get_xlabel() and axis.get_ylabel())
            or not axis.axison
            or axis.get_xlabel() == "dimension"
        )


def test_nobody_is_left(study, png, texts):
    surfaces, table = study
    figure = plots.loss_surface(
        surfaces.assign(path_length=surfaces.path_length * np.nan), table, 0.1
    )
    png(figure)
    assert texts(figure).count("all members diverged") == 6
    with pytest.raises(KeyError):
        plots.loss_surface(surfaces, table, learning_rate=0.3)
