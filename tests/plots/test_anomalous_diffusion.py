"""The figure of anomalous diffusion: what it shows, and that every shape of study can be drawn."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

from sgd_diffusion import plots
from sgd_diffusion.tables import exponents


def study(windows=2, seeds=2, learning_rates=(0.1,), steps=100):
    """Superdiffusion beyond a lag that grows with the waiting time; seeds differ by a factor."""
    lags = np.arange(1, steps + 1)
    onset = (0.05 + np.arange(windows)[:, None, None, None]) * steps
    factor = 1 + 0.1 * np.arange(seeds)[:, None, None]
    rate = np.array(learning_rates)[:, None]
    msd = factor * rate**2 * (lags**0.7 + (lags / onset) ** (1.8 + 0.05 * factor))
    return xr.Dataset(
        {"msd": (("window", "seed", "learning_rate", "lag"), msd)},
        coords={
            "waiting_time": ("window", np.arange(windows) * steps),
            "seed": np.arange(seeds),
            "learning_rate": list(learning_rates),
            "lag": lags,
        },
    )


def figure_of(dataset, ranges=None, *, curve="msd", learning_rates=None):
    table = exponents(dataset, ranges, curve=curve)
    return plots.anomalous_diffusion(dataset, table, learning_rates)


def lines_over_lags(axis, steps):
    return [line for line in axis.lines if len(line.get_xdata()) == steps]


@pytest.mark.parametrize(
    ("shape", "steps"),
    [
        ((1, 1, (0.1,)), 1000),
        ((24, 3, (0.1,)), 1000),
        ((2, 2, (0.01, 0.1, 0.5)), 100),
        ((2, 1, (0.1,)), 10),
    ],
)
def test_every_shape_of_study_can_be_drawn(shape, steps, png, texts):
    dataset = study(*shape, steps=steps)
    figure = figure_of(dataset)
    assert png(figure).startswith(b"\x89PNG")
    panels = figure.axes
    assert len(panels) == 3 * len(shape[2])
    assert len(lines_over_lags(panels[0], steps)) == shape[0]
    for axis in panels[-3:]:
        assert axis.get_xlabel()
        assert axis.get_ylabel()
    assert ("waiting time $t_w$ (steps)" in texts(figure)) and (
        len(panels[1].child_axes) == (shape[0] > 1)
    )


def test_lines_are_the_means_over_seeds():
    dataset = study(windows=3, seeds=4)
    figure = figure_of(dataset)
    msd, _, fitted = figure.axes
    mean = dataset.msd.mean("seed").isel(learning_rate=0)
    for line, expected in zip(lines_over_lags(msd, 100), mean.values, strict=True):
        np.testing.assert_allclose(line.get_ydata(), expected)
    table = exponents(dataset).exponent.sel(motion="SGD").isel(learning_rate=0)
    for container, name in zip(fitted.containers, ("short", "long"), strict=True):
        line, _, (bars,) = container.lines
        np.testing.assert_allclose(line.get_ydata(), table.sel(range=name).mean("seed"))
        heights = [np.ptp(segment[:, 1]) for segment in bars.get_segments()]
        np.testing.assert_allclose(
            heights, 2 * table.sel(range=name).std("seed", ddof=1) / 2
        )  # 2 * std / sqrt(4)


def test_order_of_dimensions_and_selection():
    dataset = study(learning_rates=(0.1, 0.5))
    figure = figure_of(dataset.transpose("lag", "learning_rate", ...), learning_rates=[0.5])
    assert len(figure.axes) == 3
    assert figure.axes[0].get_title(loc="right") == r"$\eta$ = 0.5"
    expected = dataset.msd.sel(learning_rate=0.5).mean("seed")
    np.testing.assert_allclose(lines_over_lags(figure.axes[0], 100)[0].get_ydata(), expected[0])
    with pytest.raises(KeyError):
        figure_of(dataset, learning_rates=[0.3])


def test_diverged_members_are_left_out_and_told(png, texts):
    dataset = study(seeds=3, learning_rates=(0.1, 0.5))
    dataset.msd[1:, 2, 0] = np.nan  # one seed from the second window on
    dataset.msd[:, :, 1] = np.nan  # a whole learning rate
    figure = figure_of(dataset)
    assert figure.axes[0].get_title(loc="right") == r"$\eta$ = 0.1, 1/3 diverged"
    assert figure.axes[3].get_title(loc="right") == r"$\eta$ = 0.5, 3/3 diverged"
    assert texts(figure).count("all members diverged") == 3
    expected = dataset.msd.isel(window=1, learning_rate=0, seed=[0, 1]).mean("seed")
    np.testing.assert_allclose(lines_over_lags(figure.axes[0], 100)[1].get_ydata(), expected)
    png(figure)


@pytest.mark.parametrize(
    ("factor", "note"), [(np.nan, "all members diverged"), (0.0, "no member moved")]
)
def test_a_study_without_any_curve_says_why(factor, note, png, texts):
    dataset = study()
    dataset["msd"] = dataset.msd * factor
    figure = figure_of(dataset)
    png(figure)
    assert texts(figure).count(note) == 3


def test_ranges_of_the_caller():
    figure = figure_of(study(), ranges={"early": (2, 8), "middle": (8, 30), "late": (30, 90)})
    assert [text.get_text() for text in figure.axes[1].texts] == ["2-8", "8-30", "30-90"]
    legend = figure.axes[2].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [
        "early lags",
        "middle lags",
        "late lags",
    ]


def test_nothing_global_is_touched():
    before = dict(mpl.rcParams)
    figure = figure_of(study())
    assert dict(mpl.rcParams) == before
    assert figure.dpi == 200
    assert figure.canvas.manager is None  # no pyplot window


def test_controls_and_bands_are_drawn(measured_run, png, texts):
    figure = figure_of(measured_run)
    png(figure)
    _, local, fitted = figure.axes
    assert {"drift subtracted", "shuffled"} <= set(texts(figure))
    table = (
        exponents(measured_run)
        .exponent.sel(motion="drift subtracted", range="long")
        .isel(learning_rate=0)
    )
    expected = table.mean("seed").values
    assert any(
        np.array_equal(line.get_ydata(), expected)
        for line in fitted.lines
        if len(line.get_ydata()) == 2
    )
    one_seed = figure_of(measured_run.sel(seed=[0]))
    assert len(local.collections) == len(
        one_seed.axes[1].collections
    )  # bands: over seeds, or from the bootstrap


def test_the_msd_that_is_not_averaged(measured_run, png, texts):
    figure = figure_of(measured_run, curve="displacement_from_start")
    expected = measured_run.displacement_from_start.isel(learning_rate=0, window=0).mean("seed")
    np.testing.assert_allclose(lines_over_lags(figure.axes[0], 200)[0].get_ydata(), expected)
    assert "drift subtracted" not in texts(figure)
    png(figure)
