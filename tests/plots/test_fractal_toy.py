"""The figures of toy landscapes: that every shape of study can be drawn."""

import numpy as np
import pytest
import scipy.stats
import xarray as xr

from sgd_diffusion import plots
from sgd_diffusion.tables.walk_statistics import GRADIENT_EDGES, LAGS, PARTS

SURFACES = ["fractal", "smoothed", "shuffled", "flat", "cone", "paraboloid"]

LAWS = {"alpha": 1.7, "location": 0.0, "scale": 0.5, "mean": 0.0, "std": 1.0}


@pytest.fixture
def study():
    """A table with power laws, gradients, and a walker that runs along the diagonal of a bowl."""
    dims, shape = ("surface", "selection", "part"), (6, 2, 4)
    msd = LAGS * np.ones((*shape, 1))
    msd[..., LAGS > 100] = np.nan
    table = xr.Dataset(
        {
            "msd": ((*dims, "lag"), msd),
            "msd_error": ((*dims, "lag"), 0.1 * msd),
            "exponent": (dims, np.ones(shape)),
            "exponent_error": (dims, np.full(shape, 0.1)),
        }
        | {
            name: (("surface", "selection", "visits"), np.full((6, 2, 2), value))
            for name, value in LAWS.items()
        },
        coords={
            "surface": SURFACES,
            "selection": ["all", "selected"],
            "part": list(PARTS),
            "lag": LAGS,
            "visits": ["all", "inner"],
        },
    )
    random = np.random.default_rng(0)
    sample = random.normal(size=(6, 2, 5, 200))
    counts = np.apply_along_axis(lambda values: np.histogram(values, GRADIENT_EDGES)[0], -1, sample)
    gradients = ("surface", "visits", "landscape")
    statistics = xr.Dataset(
        {
            "gradient_counts": ((*gradients, "bin"), counts),
            "gradient_sample": ((*gradients, "sample"), sample),
            "depth": (("landscape", "walker"), np.ones((5, 3))),
        },
        coords={"surface": SURFACES, "visits": ["all", "inner"]},
        attrs={"steps": 50},
    )
    side = np.linspace(-1, 1, 65)
    height = np.stack([side[:, None] ** 2 + side**2] * 2)
    path = np.stack([np.linspace(-0.9, 0, 51)[:, None] * [1, 1]] * 2)
    examples = xr.Dataset(
        {
            "height": (("surface", "row", "column"), height),
            "path": (("surface", "step", "axis"), path),
            "region": (("row", "column"), height[0] < 0.3),
        },
        coords={"surface": ["fractal", "shuffled"]},
        attrs={"extent": 2.0, "final_entry": 30, "selected": 1},
    )
    return table, statistics, examples


@pytest.mark.parametrize("final_entry", [0, 30, 51])
def test_walks_can_be_drawn(study, png, final_entry):
    table, statistics, examples = study
    figure = plots.fractal_toy(statistics, table, examples.assign_attrs(final_entry=final_entry))
    png(figure)
    assert len(figure.axes) == 6
    assert all(axis.get_xlabel() and axis.get_ylabel() for axis in figure.axes)


def test_the_laws_are_those_of_the_table(study):
    """The figure fits nothing: its curves and its alpha are those that the table has."""
    table, statistics, examples = study
    panel = plots.fractal_toy(statistics, table, examples).axes[2]
    lines = {line.get_label(): line for line in panel.lines}
    stable, normal = lines[r"stable, $\alpha$ = 1.70"], lines["normal"]
    x = stable.get_xdata()
    expected = scipy.stats.levy_stable.pdf(x, 1.7, 0, 0.0, 0.5)
    np.testing.assert_allclose(stable.get_ydata(), expected, rtol=1e-6)
    np.testing.assert_allclose(normal.get_ydata(), scipy.stats.norm.pdf(x))


def test_without_selected_landscapes(study, png):
    table, statistics, examples = study
    for name in table:
        table[name].loc[{"selection": "selected"}] = np.nan
    png(plots.fractal_toy(statistics, table, examples.assign_attrs(selected=0)))


def test_walkers_move(study, tmp_path):
    plots.walker_animation(study[2], tmp_path / "walkers.gif", frames=3)
    assert (tmp_path / "walkers.gif").read_bytes().startswith(b"GIF89a")


def test_phases_can_be_drawn(png, texts):
    """Cells without a value stay empty; the others say theirs."""
    dims, shape = ("hurst", "learning_rate", "noise_std"), (2, 3, 2)
    share = np.full((4, *shape), 0.25)
    exponent = np.full(shape, 1.5)
    exponent[0] = np.nan
    phases = xr.Dataset(
        {
            "share": (("fate", *dims), share),
            "depth": (dims, np.full(shape, 0.5)),
            "early_exponent": (dims, exponent),
        },
        coords={
            "fate": ["superdiffusive", "diffusive", "trapped", "escaped"],
            "hurst": [0.5, 1.0],
            "learning_rate": [0.01, 0.1, 1.0],
            "noise_std": [0.0, 0.1],
        },
    )
    figure = plots.phase_diagram(phases)
    png(figure)
    assert len(figure.axes) == 10
    said = texts(figure)
    assert said.count("25") == 36 and said.count("50") == 12 and said.count("1.50") == 6
