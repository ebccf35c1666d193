"""Tails of gradient noise in words and numbers."""

import xarray as xr

from experiments.summaries.common import paragraph

CLOSE = 0.1  # share within which an index is that of the control
LEGEND = paragraph("""
Index of stability from the variance of logarithms, at most 2, mean±scatter of samples: one
mini-batch across the parameters, and one parameter across mini-batches. normal: independent normal
noise of the same variances, the control. formula: 1/alpha^2 = 1/4 + 6/pi^2 Var ln sigma. excess:
median excess kurtosis across mini-batches.
""")


def noise_tails(table: xr.Dataset) -> str:
    """Return indices beside those of their controls, as text.

    Args:
        table: `tables.noise_tails` of several kinds of noise, along `case`.
    """
    lines = [
        "tails of gradient noise",
        LEGEND,
        "",
        f"{'':28}{'across parameters':>19}{'normal':>8}{'formula':>9}"
        f"{'across batches':>17}{'normal':>8}{'excess':>9}  verdict",
    ]
    for i in range(table.sizes["case"]):
        row = table.isel(case=i)
        one, many = (row.sel(direction=f"across {name}") for name in ("parameters", "mini-batches"))
        excess = many["excess"].sel(kind="measured").item()
        lines.append(
            f"{row['case'].item():28}{_index(one):>19}{_normal(one):8.3f}"
            f"{one['alpha_predicted'].item():9.3f}{_index(many):>17}{_normal(many):8.3f}"
            f"{excess:9.2f}  {_verdict(one, many)}"
        )
    return "\n".join([*lines, ""])


def _index(row):
    row = row.sel(kind="measured")
    return f"{row['alpha'].item():.3f}±{row['alpha_spread'].item():.3f}"


def _normal(row):
    return row["alpha"].sel(kind="normal").item()


def _verdict(one, many):
    said = ["that of its variances" if _close(one) else "not that of its variances"]
    return ", ".join([*said, "normal" if _close(many) else "not normal"])


def _close(row):
    measured = row["alpha"].sel(kind="measured").item()
    return abs(measured / _normal(row) - 1) <= CLOSE
