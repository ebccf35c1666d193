"""The command that makes a run again, from the options that it has stored."""

import dataclasses
import importlib
import shlex
from typing import Any

import xarray as xr

from experiments.command_line import options_as_json
from experiments.options import flag
from sgd_diffusion._json_values import same_values

MEMBERS = {"seeds": "seed", "learning_rates": "learning_rate"}
"""Options of members, and the dimension of each."""


def changed_options(metadata: dict[str, Any]) -> dict[str, Any] | None:
    """Return the options of a run that are not those of its preset.

    Args:
        metadata: of the run.

    Returns:
        {name: value}; None if the experiment or its options are not known here.
    """
    stored, module = metadata.get("options"), _module(metadata.get("experiment"))
    if not isinstance(stored, dict) or module is None:
        return None
    preset = getattr(module, "PRESETS", {}).get(str(stored.get("preset", "default")))
    if preset is not None:
        default = options_as_json(preset)
    elif hasattr(module, "Options"):
        default = {
            field.name: field.default if field.default != () else []
            for field in dataclasses.fields(module.Options)
        }
    else:
        return None
    said = {"preset", "quick"}
    return {
        name: value
        for name, value in stored.items()
        if name not in said and not (name in default and same_values(default[name], value))
    }


def command(metadata: dict[str, Any], members: xr.Dataset | None) -> str | None:
    """Return the command that makes a run again, or None where it is not known.

    Args:
        metadata: of the run.
        members: of the run, with windows and members that were added later.
    """
    options = changed_options(metadata)
    if options is None:
        return None
    if members is not None:
        options |= _grown(metadata["options"], members)
    words = ["python", "-m", f"experiments.{metadata['experiment']}"]
    words += [str(path) for path in options.pop("paths", [])]
    preset = metadata["options"].get("preset", "default")
    words += ["--preset", preset] if preset != "default" else []
    for name, value in options.items():
        words += _words(name, value)
    return shlex.join(words)


def _grown(stored: dict[str, Any], members: xr.Dataset) -> dict[str, Any]:
    """Return the options of which a run has more by now than it has stored."""
    grown = {
        name: members[dim].values.tolist()
        for name, dim in MEMBERS.items()
        if name in stored and members.sizes.get(dim, 0) > len(stored[name])
    }
    windows = members.sizes.get("window", 0)
    if stored.get("waiting_times") is None and windows > stored.get("num_windows", windows):
        grown["num_windows"] = windows
    return grown


def _words(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag(name) if value else f"--no-{name.replace('_', '-')}"]
    values = value if isinstance(value, list) else [value]
    return [flag(name), *map(str, values)]


def _module(experiment: Any) -> Any:
    """Return the module of an experiment, if it is one of those here."""
    if not isinstance(experiment, str) or not experiment.isidentifier():
        return None
    try:
        return importlib.import_module(f"experiments.{experiment}")
    except ImportError:
        return None
