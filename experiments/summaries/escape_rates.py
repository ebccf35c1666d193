"""Rates of escape in words and numbers."""

import numpy as np
import xarray as xr

from experiments.summaries.common import number, paragraph

ERRORS = 3  # standard errors within which a slope agrees
SHARE = 0.1  # of the predicted slope
LEGEND = paragraph("""
Escapes of {trials} trials of each point, in units of t = eta steps. slope: of -ln rate over what is
swept; exact: by mean first passage times of the diffusion, by quadrature, along single coordinates.
exponent: of -ln (rate / k) over B / (eta k), or over 1/D; limit: that of high barriers; with H:
limit with the curvature for the noise. excess: of -ln rate over the exact one. r: Pearson's
coefficient, which alone says nothing of the theory. relax: shortest mean time, in relaxation times
of the valley. Normal noise has the variance of mini-batches.
""")

HEADER = (
    f"{'slope':>16}{'exact':>8}{'r':>9}{'exponent':>17}{'exact':>8}{'limit':>8}{'with H':>8}"
    f"{'excess':>8}{'relax':>6}  verdict"
)


def escape_rates(table: xr.Dataset) -> str:
    """Return slopes beside those predicted, as text.

    Args:
        table: as `tables.escape_rates` returns it, with `relaxations`, `exponent_limit` and
            `exponent_of_curvature`.
    """
    lines = [LEGEND.format(trials=table.attrs["trials"])]
    for loss in dict.fromkeys(table["loss"].values.tolist()):
        lines += ["", f"{loss:33}{HEADER}"]
        here = table.isel(line=(table["loss"] == loss).values)
        lines += [_line(here.isel(line=i)) for i in range(here.sizes["line"])]
    return "\n".join([*lines, "", *_ratios(table)])


def _line(row):
    return (
        f"{row['noise'].item() + ', ' + row['sweep'].item():33}{_with_error(row, 'slope'):>16}"
        f"{number(row['slope_predicted'], '.4g'):>8}{number(row['correlation'], '.5f'):>9}"
        f"{_with_error(row, 'exponent'):>17}{number(row['exponent_predicted'], '.4g'):>8}"
        f"{number(row['exponent_limit'], '.4g'):>8}"
        f"{number(row['exponent_of_curvature'], '.3g'):>8}"
        f"{row['excess'].item():8.2f}{row['relaxations'].min().item():6.0f}  {verdict(row)}"
    )


def _ratios(table):
    """Rates at the largest k over those at the smallest, of each noise."""
    lines = []
    for i in range(table.sizes["line"]):
        row = table.isel(line=i).dropna("point", subset=["log_time"])
        if row["sweep"].item() not in ("1/k", "ln k"):
            continue
        low, high = (row.isel(point=int(place)) for place in _ends(row["sharpness"].values))
        found, exact = (
            float(np.exp(low[name] - high[name])) for name in ("log_time", "log_time_predicted")
        )
        error = found * float(np.hypot(low["log_time_error"], high["log_time_error"]))
        lines.append(
            f"rate at k = {high['sharpness'].item():g} over that at {low['sharpness'].item():g}, "
            f"{row['noise'].item()}: {found:.3g}±{error:.2g}, exact {exact:.3g}"
        )
    return [*lines, ""] if lines else []


def _ends(values):
    return values.argmin(), values.argmax()


def verdict(row: xr.Dataset) -> str:
    """Return whether the slope of a line is that predicted."""
    away = abs(row["slope"] - row["slope_predicted"]).item()
    errors = away / row["slope_error"].item()
    share = away / abs(row["slope_predicted"].item())
    if errors <= ERRORS:
        return f"agrees ({errors:.1f} errors)"
    said = "close" if share <= SHARE else "differs"
    return f"{said} ({share:.0%}, {errors:.0f} errors)"


def _with_error(row, name):
    value, error = row[name].item(), row[f"{name}_error"].item()
    return f"{value:.4g}±{error:.2g}" if np.isfinite([value, error]).all() else "-"
