"""Freezing of networks in words and numbers, beside the published grid."""

import numpy as np
import xarray as xr

from experiments.summaries.common import count, number, paragraph

LEGEND = paragraph("""
F: inverse geometric mean of the 10 largest eigenvalues of the Hessian by the layer between the
hidden ones, F9 of the 9 largest; norm. F: F of the network of the same function with units of norm
1, which rescaling does not change. r: root mean square distance of ends from their mean. Times are
eta t. t_f: first checkpoint from which on all descents end like the last checkpoint (similarity of
wrong test images at least 0.9), median and quartiles over repeats; late: share of those after 95 %
of the training, which may not have frozen at all. Among the branches, medians: strict, any two
later ones end alike; relaxed, all later ones end like the last descent, since the last checkpoint
still has its noise. L<0.1: first checkpoint with this training loss. acc.: best test accuracy.
clones: from then on 90 % of clones end in one valley; - if never. sim.: mean similarity of the ends
of repeats. Errors are standard errors over repeats that have converged.
""")
BOOTSTRAP = paragraph("""
Spearman's correlation with eta / B over cells of sgd, with 16 to 84 % of a bootstrap over repeats,
which adds scatter, so that a range can lie below its number:
""")
PAPER = paragraph("""
Yang et al. (arXiv:2601.10962) find on MNIST that with eta / B F rises (rho 0.96), r rises (0.93),
t_f rises (0.68) and the best accuracy rises (0.42); at fixed eta F 0.93, r 0.97, t_f 0.49. These
correlations are computed from their figure. The paper has no numbers for other data sets, for
normalized F, clones, relaxed t_f or the control by normal noise.
""")
RHO = {
    "flatness": ("0.96", "0.93"),
    "radius": ("0.93", "0.97"),
    "freezing_time": ("0.68", "0.49"),
    "max_accuracy": ("0.42", ""),
}
LABELS = {
    "flatness": "F",
    "flatness_of_outliers": "F9",
    "normalized_flatness": "norm. F",
    "radius": "r",
    "freezing_time": "t_f (mean)",
    "loss_time": "time of L<0.1",
    "max_accuracy": "best accuracy",
}
# Read off the figure, within about 2 percent of the span of its colors.
BATCH_SIZES, LEARNING_RATES = (10, 20, 50, 100, 200, 500), (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
GRAY = np.nan
FLATNESS = (
    (1.98, 2.41, 3.2, 4.7, 4.9, GRAY),
    (1.80, 2.08, 2.55, 3.2, 5.2, GRAY),
    (1.71, 1.80, 2.05, 2.30, 3.8, 3.05),
    (1.68, 1.74, 1.85, 2.0, 3.1, 3.1),
    (1.7, 1.7, 1.74, 1.85, 2.7, 2.9),
    (1.7, 1.7, 1.7, 1.7, 2.55, 2.7),
)
RADIUS = (
    (0.42, 0.55, 0.78, 1.3, 2.4, GRAY),
    (0.25, 0.44, 0.59, 0.91, 1.9, GRAY),
    (0.14, 0.25, 0.42, 0.59, 1.6, 2.3),
    (0.10, 0.17, 0.28, 0.42, 1.3, 2.4),
    (0.05, 0.11, 0.20, 0.31, 1.06, 2.2),
    (0.035, 0.083, 0.10, 0.20, 0.77, 1.9),
)
FREEZING = (
    (3, 3, 22, 36, 99, GRAY),
    (6, 6, 12, 27, 55, GRAY),
    (1, 2, 5, 13, 20, 92),
    (1, 2, 8, 11, 11, 54),
    (17, 8, 1, 1, 6, 42),
    (15, 8, 1, 1, 2, 23),
)
PUBLISHED = {
    (size, rate): (FLATNESS[i][j], RADIUS[i][j], FREEZING[i][j])
    for i, size in enumerate(BATCH_SIZES)
    for j, rate in enumerate(LEARNING_RATES)
}


def freezing_networks(dataset: xr.Dataset, table: xr.Dataset) -> str:
    """Return what was measured of the cells, and how the noise orders them, as text.

    Args:
        dataset: as `tables.freezing_networks` takes it.
        table: as it returns it.
    """
    cells = [table.isel(cell=i) for i in range(table.sizes["cell"])]
    lines = [_what(dataset), LEGEND, "", HEAD, *map(_cell, cells), "", *_orderings(table)]
    lines += ["", "different step sizes at one eta / B:"]
    lines += _at_one_noise(cells) or ["no two cells have the same eta / B"]
    if table.attrs["dataset"] == "mnist":
        lines += ["", *_beside_published(cells)]
    return "\n".join([*lines, "", *_flags(table), PAPER, ""])


def _what(dataset):
    facts = dataset.attrs
    width = facts["width"]
    return paragraph(
        f"{facts['dataset']}, {facts['train_examples']} training and {facts['test_examples']} test "
        f"images, two hidden layers of {width} units, {count(dataset.sizes['repeat'], 'repeat')} "
        f"from the same weights up to eta t = {facts['duration']:g}, {facts['strides']} checkpoints"
    )


HEAD = (
    f"{'':6}{'eta':>6}{'B':>5}{'eta/B':>8}{'F':>11}{'F9':>6}{'norm. F':>11}{'r':>12}"
    f"{'t_f':>4}{'quartiles':>10}{'late':>6}{'strict':>7}{'relaxed':>8}{'L<0.1':>6}{'acc.':>7}{'clones':>7}"
    f"{'sim.':>6}"
)


def _cell(cell):
    low, median, high = cell["freezing_quartiles"].values
    clones = float(cell["clone_freezing_time"]) if "clone_freezing_time" in cell else np.nan
    among = cell["branch_freezing_time"].isel(threshold=0)
    strict, relaxed = (float(among.sel(definition=name)) for name in ("strict", "relaxed"))
    return (
        f"{_motion(cell):6}{float(cell['learning_rate']):>6g}"
        f"{int(cell['batch_size']):>5}{float(cell['temperature']):>8.2g}"
        f"{_with_error(cell, 'flatness', 2):>11}{number(cell['flatness_of_outliers'], '.2f'):>6}"
        f"{_with_error(cell, 'normalized_flatness', 2):>11}{_with_error(cell, 'radius', 3):>12}"
        f"{number(median, '.0f'):>4}{_quartiles(low, high):>10}{number(cell['late'], '.2f'):>6}"
        f"{number(strict, '.0f'):>7}{number(relaxed, '.0f'):>8}"
        f"{number(cell['loss_time'], '.1f'):>6}{number(cell['max_accuracy'], '.4f'):>7}"
        f"{number(clones, '.0f'):>7}{number(cell['similarity'], '.2f'):>6}"
    )


def _orderings(table):
    yield BOOTSTRAP
    yield f"{'':16}{'all cells':>26}{'paper':>7}{'fixed eta':>26}{'paper':>7}"
    for name in table["quantity"].values:
        own = table.sel(quantity=name)
        row = f"{LABELS[str(name)]:16}"
        for scope, paper in zip(own["scope"].values, RHO.get(str(name), ("", "")), strict=True):
            here = own.sel(scope=scope)
            low, high = float(here["ordering_low"]), float(here["ordering_high"])
            found = number(here["ordering"], ".2f")
            spread = f" ({low:.2f} to {high:.2f})" if np.isfinite(low) else ""
            row += f"{found + spread:>26}{paper:>7}"
        yield row


def _at_one_noise(cells):
    """Lines about sets of cells with the same eta / B, from the small step size on."""
    lines = []
    for noise in sorted({round(float(cell["temperature"]), 12) for cell in cells}):
        own = [cell for cell in cells if np.isclose(float(cell["temperature"]), noise)]
        if len(own) > 1:
            own.sort(key=lambda cell: float(cell["learning_rate"]))
            lines += [f"  eta/B {noise:.2g}", *map(_short, own)]
    return lines


def _short(cell):
    flat, normalized = (_with_error(cell, name, 2) for name in ("flatness", "normalized_flatness"))
    return (
        f"    {_motion(cell):6}eta {float(cell['learning_rate']):<6g}F {flat}, norm. {normalized}, "
        f"r {number(cell['radius'], '.3f')}"
    )


def _beside_published(cells):
    yield "measured / published (read off a figure; 20 repeats there):"
    for cell in cells:
        key = int(cell["batch_size"]), float(cell["learning_rate"])
        if cell["motion"] != "sgd" or key not in PUBLISHED:
            continue
        paper = PUBLISHED[key]
        own = (cell["flatness"], cell["radius"], cell["freezing_time"])
        pairs = [
            f"{name} {number(value, f'.{digits}f')} / {number(published, f'.{digits}f')}"
            for name, value, published, digits in zip(
                ("F", "r", "mean t_f"), own, paper, (2, 3, 0), strict=True
            )
        ]
        yield f"  eta {key[1]:g}, B {key[0]}: " + "; ".join(pairs)


def _flags(table):
    """What the numbers above cannot say."""
    for words, where in (
        ("no repeat converged", table["converged"] == 0),
        ("some repeats did not converge", (table["converged"] > 0) & (table["converged"] < 1)),
        ("half or more of the repeats may not have frozen", table["late"] >= 0.5),
    ):
        found = (table.isel(cell=i) for i in np.flatnonzero(where.values))
        names = [
            f"{_motion(cell)} eta {float(cell['learning_rate']):g} B {int(cell['batch_size'])}"
            for cell in found
        ]
        if names:
            yield f"{words}: {', '.join(names)}"


def _motion(cell):
    return "sgd" if cell["motion"] == "sgd" else "noise"


def _quartiles(low, high):
    return f"{low:.0f}-{high:.0f}" if np.isfinite(low) else "-"


def _with_error(cell, name, digits):
    value, error = float(cell[name]), float(cell[f"{name}_error"])
    if not np.isfinite(value):
        return "-"
    return f"{value:.{digits}f}±{error:.{digits}f}" if np.isfinite(error) else f"{value:.{digits}f}"
