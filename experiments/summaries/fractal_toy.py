"""Walkers on toy landscapes in words and numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from experiments.summaries.common import paragraph
from experiments.toy_kinds import RANDOM
from sgd_diffusion.tables.walk_statistics import EARLY, MIN_AFTER, MIN_BEFORE, PARTS

SHARES = (("started", "start"), ("reached", "reach"), ("ended", "end"), ("walls", "walls"))
WALKS = """
Walkers in percent that start in the wide basin, reach it, end in it, meet a wall; steps of first
passages from outside and of stays in the basin; exponents of the MSD before the final entry
({before} steps or more before; lags {b[0]}-{b[1]}), after it ({after} steps left; {a[0]}-{a[1]}),
of the first {early} steps ({e[0]}-{e[1]}), and of whole paths ({w[0]}-{w[1]}); depth, 0 at the
median and 1 at the lowest height. ± is by resampling landscapes, 10 or more. Flat: basins without
heights, a control.
"""
GRADIENTS = paragraph("""
Excess kurtosis of the gradients of single walkers (median), of those of a landscape (mean) and of
all pooled; alpha of the stable law, of those of a landscape (mean) and pooled; LLR: ln likelihood
over the normal law, and its p, pooled. inner: before any wall.
""")
PHASES = """
Percent superdiffusive/trapped/escaped at sigma = {noise:g} (standard error at most {error:.0f}),
and the exponent of the first {early} steps of all walkers (at most ±{early_error:.2f}). Of free
walkers 5 are called superdiffusive and 5 trapped, outside exponents of {low:.2f} to {high:.2f}.
The figure has all noises.
"""
PAPER = paragraph("""
Chen, Qu & Gong (arXiv:2009.10588, Fig. 8; one landscape and path picked by hand, no error bars)
report superdiffusion before the final basin and subdiffusion in it; gradients stable rather than
normal, ln likelihood ratio 39.37; an exponent close to 2 on a convex surface (first 144 steps),
and subdiffusion on a shuffled one.
""")


def fractal_toy(options: Mapping[str, Any], results: Mapping[str, xr.Dataset]) -> str:
    """Return what a run of experiments.fractal_toy measured, as text.

    Args:
        options: of the experiment.
        results: its datasets: "statistics", "table" and, with a phase diagram, "phases".
    """
    table, statistics = results["table"], results["statistics"]
    number, total = int(statistics["selected"].sum()), statistics.sizes["landscape"]
    ranges = {name[0]: lags for name, (_, lags) in PARTS.items()}
    scaled = " sqrt(learning rate)" if options["noise_scaling"] == "sqrt" else ""
    lines = [
        f"{total} landscapes (diamond-square, {2 ** options['levels'] + 1}^2 points, roughness "
        f"{options['roughness']:g}, hurst {options['hurst']:g}), "
        f"{statistics.sizes['walker']} walkers on each, {options['steps']} steps",
        f"learning rate {options['learning_rate']:g}, noise {options['noise_std']:g}{scaled}, "
        f"alpha {options['alpha']:g}, {options['boundary']} at walls, {options['interpolant']}",
        f"selected: {number} of {total}, whose basin covers {100 * options['min_area']:g} % of the "
        f"square or more with its lowest point {100 * options['min_margin']:g} % of the side "
        "from the walls or more",
        "",
        paragraph(WALKS.format(before=MIN_BEFORE, after=MIN_AFTER, early=EARLY, **ranges)),
        "",
        f"{'':21}"
        + "".join(f"{title:>6}" for _, title in SHARES)
        + f"{'passage':>10}{'stay':>18}"
        + "".join(f"{part:>11}" for part in PARTS)
        + f"{'depth':>11}",
    ]
    rows = [
        (kind, selection)
        for kind in table["surface"].values
        for selection in table["selection"].values
        if selection == "all" or kind in ("fractal", "smoothed", "flat")
    ]
    lines += [
        _walks(table.sel(surface=kind, selection=selection), f"{kind}, {selection}")
        for kind, selection in rows
    ]
    lines += [
        "",
        GRADIENTS,
        "",
        f"{'':29}{'walker':>8}{'landscape':>12}{'pooled':>12}"
        f"{'alpha land.':>12}{'alpha pooled':>14}{'LLR':>10}{'p':>10}",
    ]
    lines += [
        _gradients(
            table.sel(surface=kind, selection=selection, visits=visits),
            f"{kind}, {selection}, {visits}",
        )
        for kind, selection in rows
        if kind in RANDOM
        for visits in table["visits"].values
    ]
    if "phases" in results:
        lines += ["", *_phases(results["phases"], options["noise_std"])]
    return "\n".join([*lines, "", PAPER])


def _walks(row, name):
    shares = "".join(f"{100 * row[share].item():6.0f}" for share, _ in SHARES)
    passage, stay = _with_error(row, "passage", ".0f"), _with_error(row, "stay", ".3g")
    exponents = "".join(f"{_with_error(row.sel(part=part), 'exponent'):>11}" for part in PARTS)
    return f"{name:21}{shares}{passage:>10}{stay:>18}{exponents}{_with_error(row, 'depth'):>11}"


def _gradients(row, name):
    return (
        f"{name:29}"
        f"{_number(row['walker_excess'], '.2f'):>8}"
        f"{_with_error(row, 'landscape_excess'):>12}"
        f"{_with_error(row, 'excess'):>12}"
        f"{_with_error(row, 'landscape_alpha'):>12}"
        f"{_with_error(row, 'alpha', '.3f'):>14}"
        f"{_number(row['likelihood_ratio'], '.0f'):>10}"
        f"{_number(row['p_value'], '.1g'):>10}"
    )


def _phases(phases, noise):
    nearest = phases["noise_std"].values[np.abs(phases["noise_std"].values - noise).argmin()]
    here = phases.sel(noise_std=nearest)
    legend = PHASES.format(
        noise=nearest,
        error=100 * here["share_error"].max().item(),
        low=phases["free_low"].item(),
        high=phases["free_high"].item(),
        early=EARLY,
        early_error=here["early_exponent_error"].max().item(),
    )
    lines = [
        paragraph(legend),
        "",
        f"{'hurst':>6}"
        + "".join(f"{f'eta {rate:g}':>16}" for rate in here["learning_rate"].values),
    ]
    for hurst in here["hurst"].values:
        shares = (
            here["share"].sel(hurst=hurst, learning_rate=rate)
            for rate in here["learning_rate"].values
        )
        cells = [
            "/".join(
                f"{100 * share.sel(fate=fate).item():.0f}"
                for fate in ("superdiffusive", "trapped", "escaped")
            )
            for share in shares
        ]
        early = here["early_exponent"].sel(hurst=hurst).values
        lines.append(
            f"{hurst:6g}"
            + "".join(
                f"{f'{cell} {value:.2f}':>16}" for cell, value in zip(cells, early, strict=True)
            )
        )
    return lines


def _with_error(row, name, spec=".2f"):
    value, error = row[name].item(), row[f"{name}_error"].item()
    return f"{value:{spec}}±{error:{spec}}" if np.isfinite([value, error]).all() else "-"


def _number(value, spec):
    return f"{value.item():{spec}}" if np.isfinite(value.item()) else "-"
