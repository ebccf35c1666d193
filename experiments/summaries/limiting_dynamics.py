"""Limiting dynamics in words and numbers."""

import numpy as np
import xarray as xr

from experiments.summaries.common import paragraph, what

ERRORS = 3  # standard errors within which a number agrees
SHARE = 0.1  # of the local displacement
PARTS = ("position", "cross", "velocity", "circulation")
REGRESSION = paragraph("""
Covariances of positions x and velocities v of each mode, and the circulation E (x v' - x' v), over
those predicted with the noise at the solution. "predicted" has the noise of the stationary law
itself, whose residuals are larger. Errors are those of means over seeds. Batches of epochs are not
independent: they cut off the diffusion of flat modes, which is no part of the theory.
""")
SWEEP = paragraph("""
The network goes on from its end under each setting. local: squared displacement of one step,
predicted by eta^2 Tr(Sigma) / (S (1 - beta^2)) without a fitted constant. c: exponent of the
squared displacement from the start of a window, on its second half, predicted from the distribution
of the measured noise over the curvature, for a stationary start. gradient: squared mean gradient
over what a stationary law has; more is drift. twin: squared displacement by full-batch descent from
the start of a window, over what a stationary law has.
""")
FROZEN = paragraph("""
Batch normalization is frozen at its averages from the end of the training on, as it makes the
examples of a batch depend on each other.
""")
PAPER = paragraph("""
Kunin et al. (arXiv:2107.09133) find that a converged network keeps moving, with a squared
displacement that is a power of time, and derive the local displacement and oscillations in phase
space for noise proportional to the Hessian. No such assumption is made here.
""")


def limiting_regression(motion: xr.Dataset, table: xr.Dataset) -> str:
    """Return what the regression did beside what was predicted, as text.

    Args:
        motion: as `tables.limiting_regression` takes it.
        table: as it returns it.
    """
    eigenvalues = motion["eigenvalue"].values[motion["mode"].values]
    lines = [
        f"linear regression: learning rate {motion.attrs['learning_rate']:g}, momentum "
        f"{motion.attrs['momentum']:g}, batch {motion.attrs['batch_size']:g}, "
        f"{motion.sizes['seed']} seeds, {motion.sizes['point'] - 1} steps",
        REGRESSION,
        "",
        f"{'':12}{'eigenvalue':>11}{'predicted':>10}"
        + "".join(f"{title:>13}" for title in ("x^2", "xv", "v^2", "circulation"))
        + f"{'period':>15}{'predicted':>10}  verdict",
    ]
    for sampling in table["sampling"].values:
        here = table.sel(sampling=sampling)
        for i, eigenvalue in enumerate(eigenvalues):
            row = here.isel(mode=i)
            agree = [_agrees(row, name) for name in PARTS] + [
                _agrees(row, "period") or not np.isfinite(row["period_predicted"])
            ]
            lines.append(
                f"{sampling:12}{eigenvalue:11.3g}{float(row['position_predicted']):10.3f}"
                + "".join(f"{_measured(row, name, 3):>13}" for name in PARTS)
                + f"{_measured(row, 'period', 1):>15}{float(row['period_predicted']):10.1f}"
                + f"  {_said(all(agree))}"
            )
    for sampling in table["sampling"].values:
        here = table.sel(sampling=sampling)
        lines.append(
            f"exponent c of the displacement from the solution, {sampling}: "
            f"{_measured(here, 'exponent', 3)}, predicted "
            f"{float(here['exponent_predicted']):.3f}: {_said(_agrees(here, 'exponent'))}"
        )
    within = " ".join(f"{share:.1%}" for share in table["spiral_within"].values)
    return "\n".join([*lines, f"points of walks within their bands of 95 %: {within}", ""])


def limiting_sweep(dataset: xr.Dataset, table: xr.Dataset, *, frozen: bool = False) -> str:
    """Return what the network did beside what was predicted, as text.

    Args:
        dataset: of the training before.
        table: as `tables.limiting_sweep` returns it.
        frozen: whether the network went on with frozen batch normalization.
    """
    lines = [
        what(dataset),
        SWEEP,
        *([FROZEN] if frozen else []),
        "",
        f"{'eta':>8}{'S':>5}{'beta':>6}{'local':>10}{'predicted':>11}{'ratio':>15}"
        f"{'c':>8}{'predicted':>17}{'gradient':>12}{'twin':>8}  verdict",
    ]
    ratios, exponents = [], []
    for i in range(table.sizes["setting"]):
        row = table.isel(setting=i)
        first = row.isel(first=0)
        ratio = float(row["local"] / row["local_predicted"])
        error = float(
            np.hypot(row["local_error"] / row["local_predicted"], row["trace_scatter"] * ratio)
        )
        c, c_error, c_predicted, c_predicted_error = (
            float(first[f"exponent{end}"])
            for end in ("", "_error", "_predicted", "_predicted_error")
        )
        ratios.append(abs(ratio - 1) <= SHARE)
        exponents.append(abs(c - c_predicted) <= ERRORS * np.hypot(c_error, c_predicted_error))
        verdict = f"local {_said(ratios[-1])}, c {_said(exponents[-1])}"
        twin = f"{_over_predicted(row, 'twin'):.2f}" if "twin" in row else "-"
        lines.append(
            f"{float(row.learning_rate):8.4g}{int(row.batch_size):5d}{float(row.momentum):6.2f}"
            f"{float(row.local):10.3g}{float(row.local_predicted):11.3g}"
            f"{ratio:8.3f}±{error:<6.3f}{c:7.2f}±{c_error:<6.2f}{c_predicted:7.2f}±{c_predicted_error:<5.2f}"
            f"{_over_predicted(row, 'gradient'):10.2f}{twin:>8}  {verdict}"
        )
    lines += [
        "",
        f"local displacement within {SHARE:.0%} of the prediction: {sum(ratios)} of {len(ratios)} "
        f"settings; c within {ERRORS} errors: {sum(exponents)} of {len(exponents)}",
        _collapse(table),
        PAPER,
        "",
    ]
    return "\n".join(lines)


def _over_predicted(row, name):
    return float(row[name] / row[f"{name}_predicted"])


def _measured(row, name, digits):
    return f"{float(row[name]):.{digits}f}±{float(row[f'{name}_error']):.{digits}f}"


def _agrees(row, name):
    away = abs(float(row[name]) - float(row[f"{name}_predicted"]))
    return away <= ERRORS * float(row[f"{name}_error"])


def _said(agrees):
    return "agrees" if agrees else "differs"


def _collapse(table):
    """Whether c depends on learning rate and momentum through eta / (1 - beta) alone."""
    ratio = (table["learning_rate"] / (1 - table["momentum"])).values
    alike = (table["batch_size"] == table["batch_size"][0]).values & np.isclose(ratio, ratio[0])
    alike = table.isel(setting=alike, first=0)
    c, error = alike["exponent"].values, alike["exponent_error"].values
    spread = " ".join(f"{value:.2f}±{own:.2f}" for value, own in zip(c, error, strict=True))
    same = np.ptp(c) <= ERRORS * np.hypot(*np.sort(error)[-2:]) if len(c) > 1 else True
    return f"collapse, c at the same eta / (1 - beta): {spread}: " + (
        "the same within their errors" if same else "not the same"
    )
