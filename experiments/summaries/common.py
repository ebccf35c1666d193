"""What all summaries share: what was run, means with their spread, and who is missing."""

import collections
import json
import textwrap

import numpy as np
import xarray as xr

from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.dynamics.rule_options import RULE_OPTIONS
from sgd_diffusion.problems.label_noise import FRESH

CELL = 11
COLUMNS_OF_TEXT = 126


def paragraph(text: str) -> str:
    """Fill the lines of a legend."""
    return textwrap.fill(" ".join(text.split()), COLUMNS_OF_TEXT)


def what(dataset: xr.Dataset) -> str:
    """Return a line about what was trained and where, or which paths were read."""
    configuration, environment = (
        json.loads(dataset.attrs[name]) for name in ("configuration", "environment")
    )
    if "path" in configuration:
        return _what_path(configuration["path"], dataset)
    problem, plan = configuration["problem"], configuration["plan"]
    options = json.loads(dataset.attrs["metadata"]).get("options", {})
    device = environment["device"]
    noise, start = problem.get("label_noise"), configuration.get("start")
    labels = f" with label noise {noise['share']:g}" if noise else ""
    origin = f"; from {start['directory']} after {start['updates']} updates" if start else ""
    return (
        f"{options.get('model', '')} on {problem['dataset']}{labels}, batch {plan['batch_size']}, "
        f"{count(len(plan['seeds']), 'seed')}, {count(dataset.sizes['window'], 'window')} of "
        f"{plan['window']} updates; momentum {plan['momentum']:g}, weight decay "
        f"{plan['weight_decay']:g}{_rule(plan, problem)}, loss {problem['loss']}{origin}; "
        f"{device['platform']} "
        f"({device['kind']}), JAX {environment['packages']['jax']}"
    )


def _what_path(path: dict, dataset: xr.Dataset) -> str:
    """Return a line about paths that were made elsewhere."""
    sources, windows = path["sources"], dataset.sizes["window"]
    arrays = [array["dtype"] for array in path["arrays"].values()]
    last = int(dataset.waiting_time[-1]) - path["first_step"]
    ends = last // path["spacing"] + path["window"]
    points = path.get("points", ends + 1)  # a recorder does not know how many will come
    spacing = f", every {path['spacing']} steps" if path["spacing"] > 1 else ""
    others = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
    reasons = collections.Counter(path["left_out"].values())
    left_out = ", ".join(f"{number} {reason}" for reason, number in reasons.items())
    return (
        f"{sources[0]}{others}: {points} points{spacing}, {path['parameters']} parameters in "
        f"{count(len(arrays), 'array')} of {', '.join(sorted(set(arrays)))}"
        + (f" (left out: {left_out})" if left_out else "")
        + f"; {count(windows, 'window')} of {path['window']}"
        + f" x {path['spacing']}" * (path["spacing"] > 1)
        + " steps"
        + (f", the last {count(points - 1 - ends, 'point')} in none" if ends < points - 1 else "")
    )


def rate_in_words(learning_rate: float) -> str:
    """Return the title of a learning rate, which may not be known (NaN)."""
    if np.isfinite(learning_rate):
        return f"learning rate {learning_rate:g}"
    return "learning rate not given"


def _rule(plan: dict, problem: dict) -> str:
    """Return what moves the walker other than plain SGD."""
    said = (
        f"{name.replace('_', ' ')} {value:g}"
        if isinstance(value, float)
        else f"{name.replace('_', ' ')} {value}"
        for name, value in {
            **{name: plan[name] for name in RULE_OPTIONS if plan.get(name) is not None},
            **{name: problem[name] for name in (FRESH,) if name in problem},
        }.items()
    )
    return "".join(f", {each}" for each in said)


def count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}" + ("s" if number != 1 else "")


def diverged(dataset: xr.Dataset) -> str:
    """Return which members of one learning rate are left out."""
    steps = zip(dataset.seed.values, dataset.diverged_at.values, strict=True)
    gone = [f"seed {seed} at step {step}" for seed, step in steps if step >= 0]
    return f"   (diverged and left out from there on: {', '.join(gone)})" if gone else ""


def mean(values: np.ndarray, spec: str = ".3f") -> str:
    """Return the mean over the members that are left."""
    average = ensemble_average(values)
    return "-" if average.count == 0 else f"{average.mean:{spec}}"


def with_error(row: xr.Dataset, name: str, motion: str | None = None) -> str:
    """Return mean and standard deviation over members, or a single value with its own error."""
    value, error = (
        row[key] if motion is None else row[key].sel(motion=motion)
        for key in (name, f"{name}_error")
    )
    average = ensemble_average(value.values)
    if average.count == 0:
        return "-"
    return f"{average.mean:.2f}±{average.std if average.count > 1 else np.nanmax(error.values):.2f}"


def number(value: float, spec: str) -> str:
    """Return a number, or a dash where it is not finite."""
    return f"{float(value):{spec}}" if np.isfinite(float(value)) else "-"
