"""Curvature, noise and saddles of networks in words and numbers."""

import numpy as np
import xarray as xr

from experiments.summaries.common import paragraph
from experiments.summaries.escape_rates import verdict

NEAR = 0.25  # of 1, for traces and slopes that say C = H
CURVATURE = paragraph("""
C: covariance of the gradients of single examples; H: Hessian, both of the weights between
the hidden layers. slope: of ln v.Cv
over ln eigenvalue, over the top 100 eigenvectors v; its error takes residuals for independent.
median: of v.Cv / eigenvalue over these. r: Pearson's coefficient of v.Cv and eigenvalues, and of
the elements C_ij and H_ij with |H_ij| >= 1e-4. off-diagonal: norm of C in the basis of H off the
diagonal, over that on it. The noise of mini-batches is C / B. "C = H": the ratio of traces, the
median and the slope are 1 within a fourth. r is near 1 also where C is a hundredth of H.
""")
SADDLE = paragraph("""
Time is that until a walker is first beyond the plane through the saddle across its unstable
direction e. path: exact first passage time of one coordinate along the path of least loss, with the
noise that was measured along it. closed form: that of SGD with the Hessian for the noise, halved.
Slopes are those of ln time over B. Both look at one coordinate: they leave out what the noise
across the path does, and other ways out. Walkers are also let go for the mean time, and then
descend without noise: the census says in which valley they were.
""")


def escape_curvature(found: xr.Dataset) -> str:
    """Return how the noise compares with the Hessian through the training, as text.

    Args:
        found: as `escape_curvature.noise_and_curvature` returns it.
    """
    own = found.attrs
    lines = [
        f"noise and curvature: network of two hidden layers of {own['width']} units on "
        f"{own['dataset']}, {own['examples']} examples; learning rate {own['learning_rate']:g}, "
        f"batch {own['batch_size']}, seed {own['seed']}",
        CURVATURE,
        "",
        f"{'epoch':>6}{'loss':>11}{'Tr C/Tr H':>11}{'median':>9}{'slope':>15}{'r':>8}"
        f"{'r elements':>12}{'off-diagonal':>14}  verdict",
    ]
    for i in range(found.sizes["epoch"]):
        row = {name: found[name].isel(epoch=i) for name in found.data_vars}
        row = {name: value.item() for name, value in row.items() if value.ndim == 0}
        slope = f"{row['slope']:.3f}±{row['slope_error']:.3f}"
        lines.append(
            f"{found['epoch'].values[i]:6d}{row['loss']:11.3g}{row['trace_ratio']:11.3g}"
            f"{row['median_ratio']:9.2g}{slope:>15}{row['diagonal_correlation']:8.4f}"
            f"{row['element_correlation']:12.3f}{row['offdiagonal_ratio']:14.2f}  {_equal(row)}"
        )
    return "\n".join([*lines, ""])


def _equal(row):
    ratios = np.array([row["trace_ratio"], row["median_ratio"], row["slope"]])
    if (abs(ratios - 1) <= NEAR).all():
        return "C = H"
    return f"C differs from H, {1 / row['median_ratio']:.2g} times smaller along the top"


def escape_saddles(found: xr.Dataset) -> str:
    """Return what escapes over saddles of networks take beside what is predicted, as text.

    Args:
        found: as `escape_saddles.network_saddles` returns it.
    """
    own = found.attrs
    lines = [
        f"saddle of a network of {own['hidden']} tanh units, weight decay "
        f"{own['weight_decay']:g}, digits: {own['question']} or not; {own['trials']} walkers",
        SADDLE,
    ]
    for i in range(found.sizes["line"]):
        lines += _barrier(found.isel(line=i).dropna("point", subset=["batch_size"]))
    return "\n".join([*lines, ""])


def _barrier(row):
    number = {name: row[name].item() for name in row.data_vars if row[name].ndim == 0}
    eta = row["learning_rate"].values[0]
    settled = number["all_converged"] and number["bands_converged"]
    found = "" if settled else " NOT CONVERGED: nothing below counts"
    lines = [
        "",
        f"{row['loss'].item()}: loss {number['minimum_loss']:.5f} at the minimum, "
        f"{number['saddle_loss']:.5f} at the saddle, {number['other_loss']:.5f} beyond; gradients "
        f"<= {number['gradient_norm']:.1g}, saddle of index {number['saddle_index']:.0f}.{found}",
        f"barrier {number['barrier']:.3g}; along e: H_a {number['curvature_minimum']:.3g}, H_b "
        f"{number['curvature_saddle']:.3g}, C_a {number['minimum_noise']:.3g}; eta {eta:g}; "
        f"exponent in B / eta: path {number['exponent_limit']:.3g}, closed form "
        f"{number['exponent_of_curvature']:.3g}, minimum alone {number['exponent_of_minimum']:.3g}",
        f"{'B':>6}{'B/eta':>8}{'ln time':>16}{'path':>8}{'closed form':>13}{'escaped':>9}"
        f"{'inside':>8}",
    ]
    for j in range(row.sizes["point"]):
        point = row.isel(point=j)
        time = f"{point['log_time'].item():.2f}±{point['log_time_error'].item():.2f}"
        if not np.isfinite(point["log_time"]):
            time = f"> {point['log_time_bound'].item():.2f}"
        lines.append(
            f"{point['batch_size'].item():6.0f}{point['coldness'].item():8.3g}{time:>16}"
            f"{point['log_time_predicted'].item():8.2f}{point['log_time_closed_form'].item():13.2f}"
            f"{point['escaped'].item():9.0f}{point['censored'].item():8.0f}"
        )
    if np.isfinite(row["slope"]):
        lines.append(
            f"slope over B: {row['slope'].item():.4g}±{row['slope_error'].item():.2g}, path "
            f"{row['slope_predicted'].item():.4g}: {verdict(row)}; closed form "
            f"{number['exponent_of_curvature'] / eta:.4g}"
        )
    elif (row["escaped"] == 0).all():
        least = row["log_time_predicted"].min().item()
        bound = row["log_time_bound"].max().item()
        said = "as predicted" if least > bound else "though predicted times are shorter"
        lines.append(f"no walker left, {said}: ln time above {bound:.3g}, predicted {least:.3g}")
    lines.append(
        f"census at B = {number['census_batch_size']:.0f} after {number['census_steps']:.0f} "
        f"steps: {number['share_start']:.0%} in the valley, {number['share_other']:.0%} beyond "
        f"the saddle, {number['share_elsewhere']:.0%} elsewhere, "
        f"{number['share_unsettled']:.0%} not settled"
    )
    return lines
