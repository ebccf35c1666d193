"""The variance-flatness relation in words and numbers."""

import numpy as np
import xarray as xr

from experiments.summaries.common import count, paragraph
from sgd_diffusion.analysis.ensembles import ensemble_average

ERRORS = 3  # standard errors within which two numbers agree
LEGEND = paragraph("""
psi: variance ~ flatness^-psi of principal components, on ranges of ranks from 0; rank 0 is the
drift. gamma: variance ~ rank^-gamma, likewise. n90: components with 90 % of the variance,
without the first. cos: of the first component with the weights. x: variance ~ curvature^x along
fixed directions, eigenvectors of the Hessian. Times and noise: exponents by flatness. sgd is the
training itself; random walk and linear have its mini-batch gradients at frozen weights, the second
with the linear force of the Hessian too. Errors are the larger of that of the fit, which is a lower
bound, and the standard deviation of seeds.
""")
PAPER = paragraph("""
Feng & Tu (arXiv:2001.01678) report psi about 4, n90 = 35, gamma between 2 and 3, and a first
component along the weights, on MNIST. They read psi as a property of SGD in its valley. A null that
has the same exponent has no valley, or a quadratic one, and no noise that changes with the weights.
""")
PAPER_VALUES = {"n90": "35", "gamma": "2 to 3", "psi": "about 4"}


def variance_flatness(dataset: xr.Dataset, table: xr.Dataset) -> str:
    """Return what was measured of the late path, beside its nulls, as text.

    Args:
        dataset: as `tables.variance_flatness` takes it.
        table: as it returns it.
    """
    motions = [str(name) for name in table["motion"].values]
    lines = [_what(dataset), LEGEND]
    for sampling in table["sampling"].values:
        here, of_training = table.sel(sampling=sampling), dataset.sel(sampling=sampling)
        lines += [
            "",
            f"batches: {sampling}; {_training(of_training)}",
            f"{'':22}" + "".join(f"{name:>15}" for name in motions) + f"{'paper':>10}  verdict",
        ]
        for label, name, at, error in _numbers(here):
            values = [_over_seeds(here, name, at, motion, error) for motion in motions]
            paper = PAPER_VALUES.get(label.split()[0], "")
            lines.append(
                f"{label:22}"
                + "".join(f"{_shown(value, name):>15}" for value in values)
                + f"{paper:>10}  {_verdict(values)}"
            )
    lines += ["", _dropped(table), PAPER, ""]
    return "\n".join(lines)


def _what(dataset):
    name, width, rate, size, every = (
        dataset.attrs[name] for name in ("dataset", "width", "learning_rate", "batch_size", "every")
    )
    return (
        f"{name}, two hidden layers of {width} units, alpha {rate:g}, B {size}, "
        f"{count(dataset.sizes['seed'], 'seed')}; the last {int(dataset['steps'])} updates, "
        f"components 0 to {int(dataset['component'][-1])}, one of {every}"
    )


def _training(run):
    accuracy, loss, epochs = (
        ensemble_average(run[name].values.ravel()).mean
        for name in ("test_accuracy", "base_loss", "epochs")
    )
    return f"{epochs:.0f} epochs to a loss of {loss:.2g}, test accuracy {accuracy:.4f}"


def _numbers(table):
    """Label, name, selection and name of the error of the numbers of the summary."""
    for i, name in enumerate(table["range"].values):
        yield f"psi {name}", "psi", {"range": i}, "psi_error"
    for i, name in enumerate(table["gamma_range"].values):
        yield f"gamma {name}", "gamma", {"gamma_range": i}, "gamma_error"
    yield "n90", "n90", {}, None
    yield "cos(first, weights)", "alignment", {}, None
    yield "x, Hessian modes", "mode_exponent", {}, "mode_exponent_error"
    for label, name in (
        ("correlation time", "position_time"),
        ("time of velocities", "velocity_time"),
        ("noise", "noise"),
    ):
        yield label, f"{name}_exponent", {}, f"{name}_exponent_error"


def _over_seeds(table, name, at, motion, error):
    """Mean over seeds, and the larger of the error of the fit and the spread of seeds."""
    here = table.sel(motion=motion).isel(at)
    average = ensemble_average(here[name].values)
    fit = 0.0 if error is None else ensemble_average(here[error].values).mean
    spread = np.nan_to_num(average.std)
    return float(average.mean), float(max(fit, spread))


def _shown(value, name):
    digits = 1 if name == "n90" else 2
    mean, error = value
    spread = f"±{error:.{digits}f}" if error > 0 else ""
    return f"{mean:.{digits}f}{spread}" if np.isfinite(mean) else "-"


def _verdict(values):
    """Whether the training differs from both walks by more than its error."""
    (own, error), *others = values
    if not np.isfinite(own):
        return "too few components"
    if not error and not any(other_error for _, other_error in others):
        return "no error of one seed"
    apart = [
        abs(own - other) > ERRORS * np.hypot(error, other_error)
        for other, other_error in others
        if np.isfinite(other)
    ]
    if all(apart):
        return "differs from the nulls"
    return "a null has it too" if any(apart) else "the nulls have it too"


def _dropped(table):
    last = table.isel(range=-1)
    dropped, entered = int(last["dropped"].sum()), int(last["num_components"].sum())
    return (
        f"components of the last range without a flatness up to the limit, dropped: {dropped} of "
        f"{dropped + entered}"
    )
