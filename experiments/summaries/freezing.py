"""Freezing of walkers in two valleys, in words and numbers."""

import collections
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from experiments.summaries.common import number, paragraph
from sgd_diffusion.tables.freezing import NOT_FROZEN, STATIONARY

ERRORS = 3  # standard errors within which numbers agree
LEGEND = paragraph("""
flat: share of walkers that end in the flat valley, with its binomial error. y of freezing: where
they cross the ridge for the last time. theory: occupation and last crossing on the way, from the
rates of the steps themselves at fixed y, with no constant that is fitted. paper: closed form, with
the constant that fits the published curve. held: share in the flat valley if y stays at 3, of
walkers and exact; - where walkers do not hop often enough to become stationary. published: result
files of the authors.
""")


def freezing(results: Mapping[str, xr.Dataset], published: xr.Dataset | None) -> str:
    """Return what was measured beside what is predicted and published, as text.

    Args:
        results: tables by name, as `freezing.experiment` makes them.
        published: as `freezing_published.diagram` returns it.
    """
    sweep, controls = results["sweep"], results["controls"]
    lines = [
        f"two valleys, noise {sweep.attrs['noise']}: {sweep.attrs['walkers']} walkers from y = "
        f"{sweep.attrs['start_y']:g}, learning rate {sweep['learning_rate'].item():g}, "
        f"{sweep.attrs['steps']} steps",
        LEGEND,
        "",
        *_sweep(sweep, controls.sel(control="y held")),
        "",
        *_paradox(sweep),
        *_controls(controls),
        "",
        *_diagrams(results["diagrams"], published),
    ]
    return "\n".join([*lines, ""])


def _sweep(sweep, held):
    lines = [
        f"{'sigma':>6}{'flat':>14}{'theory':>8}{'publ.':>7}{'y of freezing':>16}{'theory':>8}"
        f"{'paper':>8}{'publ.':>8}{'eta t':>8}{'held':>14}{'exact':>8}"
    ]
    for i in range(sweep.sizes["sigma"]):
        row: dict[Any, float] = collections.defaultdict(lambda: np.nan)  # not all have theories
        row |= {name: x[i].item() for name, x in sweep.items() if x.dims == ("sigma",)}
        still = held.isel(sigma=i)
        relaxed = still["unfrozen_fraction"] > STATIONARY
        lines.append(
            f"{sweep['sigma'].values[i]:6.3g}{_with_error(row, 'flat_fraction', 3):>14}"
            f"{number(row['predicted_flat_fraction'], '.3f'):>8}"
            f"{number(row['published_flat_fraction'], '.3f'):>7}"
            f"{_with_error(row, 'freezing_y', 3):>16}"
            f"{number(row['predicted_freezing_y'], '.3f'):>8}"
            f"{number(row['paper_freezing_y_fitted'], '.2f'):>8}"
            f"{number(row['published_freezing_y'], '.3f'):>8}{row['freezing_time']:8.1f}"
            + (f"{_with_error(still, 'flat_fraction', 3):>14}" if relaxed else f"{'-':>14}")
            + f"{number(row['static_occupation'], '.3f'):>8}"
            + ("  not frozen" if row["unfrozen_fraction"] > NOT_FROZEN else "")
        )
    return lines


def _paradox(sweep):
    ends, places = sweep["flat_fraction"].values, sweep["freezing_y"].values
    error = float(np.hypot(*sweep["flat_fraction_error"].values[[0, -1]]))
    lines = []
    if "static_occupation" in sweep:
        static = sweep["static_occupation"].values
        falls = "falls" if (np.diff(static) < 0).all() else "does not always fall"
        lines.append(f"at a fixed y = 3, the share {falls} with the noise: {_ends(static)}")
    later = "later" if (np.diff(places) > 0).all() else "not always later"
    change = ends[-1] - ends[0]
    grows = "grows" if change > ERRORS * error else "does not grow"
    return [
        *lines,
        f"walkers freeze {later} with more noise: y {_ends(places)}",
        f"the share at the end {grows}: {_ends(ends)}, by {change:.3f}±{error:.3f}",
    ]


def _ends(values):
    return f"{values[0]:.3g} to {values[-1]:.3g}"


def _controls(controls):
    lines = []
    for name in controls["control"].values.tolist():
        if name == "y held":
            continue
        row = controls.sel(control=name)
        if name.endswith("y held"):
            row = row.isel(sigma=(row["unfrozen_fraction"] > STATIONARY).values)
        if not row.sizes["sigma"]:
            continue
        weight = row["flat_fraction_error"] ** -2
        mean = float((row["flat_fraction"] * weight).sum() / weight.sum())
        exact = 0.5 if name == "equal valleys" else controls.attrs["boltzmann"]
        lines.append(
            f"control, {name}, {row.sizes['sigma']} strengths: flat "
            f"{_ends(row['flat_fraction'].values)}, mean {mean:.3f}±"
            f"{float(weight.sum()) ** -0.5:.3f} (exact {exact:.3f})"
        )
    return lines


def _diagrams(diagrams, published):
    lines = []
    for start, cells in diagrams.groupby("start_y"):
        cells = cells.squeeze("start_y")
        flat, late = cells["flat_fraction"], cells["unfrozen_fraction"] > NOT_FROZEN
        lines.append(
            f"diagram from y = {start:g}: {diagrams.attrs['walkers']} walkers of {flat.size} "
            f"cells, {diagrams.attrs['steps']} steps; flat {float(flat.min()):.3f} to "
            f"{float(flat.max()):.3f}, {int((flat < 0.9).sum())} cells below 0.9, "
            f"{int(late.sum())} not frozen"
        )
        if published is not None and start == published.attrs["start_y"]:
            lines.append("  " + _beside(cells, published))
    return lines


def _beside(cells, published):
    """Differences from the published diagram, on its learning rates."""
    here = cells.sel(learning_rate=published["learning_rate"], method="nearest")
    share = published["flat_fraction"].values
    away = here["flat_fraction"].transpose(*published["flat_fraction"].dims).values - share
    count = cells.attrs["walkers"], published.attrs["walkers"]
    error = np.sqrt(np.maximum(share * (1 - share), 1e-4) * sum(1 / n for n in count))
    text = (
        f"published on {share.size} of them: mean difference of flat {abs(away).mean():.4f}, "
        f"largest {abs(away).max():.3f}, rms {np.sqrt((away**2 / error**2).mean()):.2f} errors"
    )
    if "freezing_y" not in published:
        return text
    ratio = here["freezing_y"].transpose(*published["freezing_y"].dims) / published["freezing_y"]
    return f"{text}; of y of freezing at most {float(abs(ratio - 1).max()):.1%}"


def _with_error(row, name, digits):
    return f"{float(row[name]):.{digits}f}±{float(row[f'{name}_error']):.{digits}f}"
