"""The figure of gradient tails: what it shows, and that every shape of study can be drawn."""

import matplotlib as mpl
import numpy as np
import pytest

from sgd_diffusion import plots
from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.analysis.stable import law
from sgd_diffusion.plots.gradient_tails import SOURCE_STYLES
from sgd_diffusion.tables.members import MEMBERS, member_coordinates


@pytest.fixture(scope="module")
def table(gradient_run):
    """What a table of the run looks like, with numbers that say where they come from."""
    sources, present = list(SOURCE_STYLES), np.array([[1, 1], [1, np.nan]])[..., None]
    number = np.arange(len(sources))[:, None, None, None]
    alpha = (1 + 0.1 * number + 0.01 * np.arange(2)[:, None]) * present
    of_source = {
        "alpha": alpha,
        "alpha_error": 0.02 * present + 0 * alpha,
        "alpha_low": alpha - 0.1,
        "alpha_high": alpha + 0.2,
        "scale": 0.02 * present + 0 * alpha,
        "location": 0 * alpha,
    }
    layers = {"layer_alpha": alpha[:3], "layer_alpha_error": 0.05 + 0 * alpha[:3]}
    losses = gradient_run.loss.transpose(*MEMBERS, "point").values
    return (
        member_coordinates(gradient_run)
        .assign(
            {name: (("source", *MEMBERS), value) for name, value in of_source.items()}
            | {name: (("layer", *MEMBERS), value) for name, value in layers.items()}
            | {
                "loss_change": ((*MEMBERS, "update"), abs(np.diff(losses))),
                "moving_variance": ((*MEMBERS, "first_point"), losses[..., :102] ** 2),
            }
        )
        .assign_coords(source=sources, layer=["a", "b", "c"])
    )


@pytest.fixture(scope="module")
def panels(gradient_run, table):
    """The axes of the figure of the whole run."""
    return plots.gradient_tails(gradient_run, table).axes


def test_densities_are_those_of_the_entries_and_of_the_fit(gradient_run, panels):
    density, tail, *_ = panels
    gradients = gradient_run.gradient_sample.isel(window=0, seed=0, learning_rate=0).values.astype(
        float
    )
    weights = np.broadcast_to(
        gradient_run.coordinate_weight / gradient_run.coordinate_weight.sum() / 200, gradients.shape
    )
    points = density.containers[0].lines[0]
    width = np.diff(points.get_xdata()).min()
    inside = abs(gradients) <= 0.16  # eight scales
    shown = np.sum(points.get_ydata()) * width
    assert shown == pytest.approx(weights[inside].sum(), rel=1e-6)
    stable = next(line for line in density.lines if line.get_label().startswith("stable"))
    np.testing.assert_allclose(
        stable.get_ydata(), law.pdf(stable.get_xdata(), 1.0, scale=0.02), rtol=1e-6
    )
    normal = next(line for line in density.lines if line.get_label() == "normal")
    variance = (weights * gradients**2).sum() - (weights * gradients).sum() ** 2
    assert normal.get_ydata().max() == pytest.approx(1 / np.sqrt(2 * np.pi * variance), rel=1e-3)
    sizes = tail.containers[0].lines[0]
    assert tail.get_xscale() == tail.get_yscale() == "log" and np.all(sizes.get_ydata() > 0)


def test_alpha_of_every_source_with_its_bar(gradient_run, table, panels):
    alpha_panel = panels[2]
    assert [container.get_label() for container in alpha_panel.containers] == list(SOURCE_STYLES)
    for container, source in zip(alpha_panel.containers, SOURCE_STYLES, strict=True):
        line, _, (bars,) = container.lines
        average = ensemble_average(
            table.alpha.sel(source=source).isel(learning_rate=0).values, axis=1
        )
        np.testing.assert_allclose(line.get_ydata(), average.mean)
        np.testing.assert_allclose(
            np.ptp(bars.get_segments()[0][:, 1]), 2 * average.standard_error[0]
        )
    one = (
        plots.gradient_tails(gradient_run.isel(seed=[0]), table.isel(seed=[0]))
        .axes[2]
        .containers[0]
    )
    line, _, (bars,) = one.lines
    np.testing.assert_allclose(bars.get_segments()[0][:, 1] - line.get_ydata()[0], [-0.1, 0.2])


def test_losses_are_not_shifted(table, panels):
    change, variance = panels[4:6]
    for line, window in zip(change.lines, (0, 1), strict=True):
        np.testing.assert_array_equal(
            line.get_ydata(), table.loss_change.isel(window=window, seed=0, learning_rate=0)
        )
    first, second = variance.lines
    np.testing.assert_allclose(
        first.get_ydata(), table.moving_variance.isel(window=0, learning_rate=0).mean("seed")
    )
    assert first.get_xdata()[0] == 0 and second.get_xdata()[0] == 200


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data,
        lambda data: data.isel(window=[0]),
        lambda data: data.isel(seed=[1]),
        lambda data: data.isel(seed=[0]),
        lambda data: data.transpose("seed", ...),
    ],
)
def test_every_shape_of_study_can_be_drawn(gradient_run, table, change, png, texts):
    figure = plots.gradient_tails(change(gradient_run), change(table), learning_rate=0.1)
    assert png(figure).startswith(b"\x89PNG") and len(figure.axes) == 6
    for axis in figure.axes:
        assert axis.get_xlabel() and (axis.get_ylabel() or axis is figure.axes[3])
    assert r"$\eta$ = 0.1" in texts(figure) and "Gaussian, layer scales" in texts(figure)


def test_sources_that_were_not_recorded_are_not_drawn(gradient_run, table, texts):
    some = [source for source in SOURCE_STYLES if "noise" not in source and source != "frozen"]
    figure = plots.gradient_tails(gradient_run, table.sel(source=some))
    assert [
        container.get_label() for container in figure.axes[2].containers
    ] == some and "noise" not in texts(figure)


def test_nothing_global_is_touched(gradient_run, table):
    before = dict(mpl.rcParams)
    figure = plots.gradient_tails(gradient_run, table)
    assert dict(mpl.rcParams) == before and figure.dpi == 200 and figure.canvas.manager is None


def test_a_study_without_gradients_says_so(gradient_run, table, png, texts):
    lost = table.assign({name: table[name] * np.nan for name in ("alpha", "layer_alpha")})
    figure = plots.gradient_tails(gradient_run, lost)
    png(figure)
    assert texts(figure).count("no gradients, or all members diverged") == 6
    with pytest.raises(KeyError):
        plots.gradient_tails(gradient_run, table, learning_rate=0.3)
