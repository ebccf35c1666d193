"""Rates of escape in words and numbers."""

import numpy as np
import xarray as xr

from experiments.summaries.common import paragraph

ERRORS = 3  # standard errors within which a slope agrees
SHARE = 0.1  # of the predicted slope
LEGEND = paragraph("""
slope: of -ln rate over what is swept. exponent: of -ln (rate / k) over B / (eta k), or over 1/D;
predicted: by exact first passage times of the diffusion. barrier: the exponent of high barriers.
curvature: that with the curvature for the noise, half of the barrier with that of either end.
excess: of -ln rate over that predicted. r: Pearson's coefficient; alone it says nothing of the
theory. relax.: shortest mean time in relaxation times of the valley.
""")


def escape_rates(table: xr.Dataset) -> str:
    """Return slopes beside those predicted, as text.

    Args:
        table: as `tables.escape_rates` returns it, with `relaxations`, `exponent_limit` and
            `exponent_of_curvature`.
    """
    lines = [
        f"escapes: {table.attrs['trials']} trials of each point",
        LEGEND,
        "",
        f"{'':42}{'slope':>19}{'predicted':>11}{'r':>8}{'exponent':>16}{'predicted':>10}"
        f"{'barrier':>9}{'curvature':>10}{'excess':>13}{'relax.':>7}  verdict",
    ]
    for i in range(table.sizes["line"]):
        row = table.isel(line=i)
        name = f"{row['loss'].item()}, {row['noise'].item()}, {row['sweep'].item()}"
        lines.append(
            f"{name:42}{_with_error(row, 'slope'):>19}{_number(row['slope_predicted'], '.4g'):>11}"
            f"{_number(row['correlation'], '.4f'):>8}{_with_error(row, 'exponent'):>16}"
            f"{_number(row['exponent_predicted'], '.4g'):>10}"
            f"{_number(row['exponent_limit'], '.4g'):>9}"
            f"{_number(row['exponent_of_curvature'], '.4g'):>10}"
            f"{row['excess'].item():7.2f}±{row['excess_error'].item():<5.2f}"
            f"{row['relaxations'].min().item():7.0f}  {verdict(row)}"
        )
    return "\n".join([*lines, ""])


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


def _number(value, spec):
    return f"{value.item():{spec}}" if np.isfinite(value.item()) else "-"
