"""Windows of a path that was made elsewhere: their records, and what is measured of them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from sgd_diffusion._json_values import json_values
from sgd_diffusion._platforms import where_float64_is
from sgd_diffusion.analysis.streaming import StreamedGram
from sgd_diffusion.dynamics.measurements.path_statistics import (
    controls,
    loss_roughness,
    path_shape,
)
from sgd_diffusion.dynamics.measurements.schema import PathMeasurement, Schema, Windows
from sgd_diffusion.dynamics.measurements.standard import (
    displacements,
    layer_displacements,
    series,
)
from sgd_diffusion.dynamics.sgd import ALIVE
from sgd_diffusion.dynamics.window import WindowRecord
from sgd_diffusion.storage.paths import StoredPath
from sgd_diffusion.storage.provenance import environment

__all__ = ["WindowMeasures", "attributes", "description", "layers_of", "window_record"]

SHAPE_WINDOW = 100  # fewer steps have no two decades of contour length
# Coordinates that count points of the path, and steps of training when the dataset is labeled.
IN_STEPS = ("lag", "point", "update", "fit_lag", "fragment_length", "fragment")


class WindowMeasures:
    """What is measured of all windows of paths of one form, compiled once.

    Args:
        plan: their members and windows, which count points.
        path: one of them.
        with_losses: whether there is a loss at every point.
    """

    def __init__(self, plan: Windows, path: StoredPath, *, with_losses: bool):
        self._schema = Schema(plan, _measurements(plan.window, layers_of(path), with_losses))
        self._measure = jax.jit(self._schema.measure_path)
        self._path = path

    def dataset(self, index: int, records: Sequence[WindowRecord]) -> xr.Dataset:
        """Return the dataset of a window of all members, whose coordinates count steps."""
        values = [self._measured(record) for record in records]
        stacked = {name: np.stack([each[name] for each in values]) for name in values[0]}
        diverged_at = np.array([record.diverged_at for record in records], np.int32)
        return _in_steps(self._schema.label(index, stacked, diverged_at), self._path)

    def _measured(self, record):
        """Return all measurements of a member's window, on the host."""
        with where_float64_is():  # outside of 64-bit mode, as in runs
            return jax.tree.map(np.asarray, self._measure(record))


def window_record(found: StreamedGram, losses: np.ndarray | None, diverged_at: int) -> WindowRecord:
    """Return the record of a window.

    Args:
        found: its matrices. They become NaN where the member has diverged, since no statistic of
            such a window is one of training.
        losses: (T+1,) at its points, or None.
        diverged_at: the step at which the member diverged, or `ALIVE`.
    """
    if diverged_at != ALIVE:
        for gram in (found.step_gram, *found.layer_grams.values()):
            gram[:] = np.nan
    steps = len(found.step_gram)
    unknown = np.full(steps + 1, np.nan)
    with where_float64_is(), jax.enable_x64(True):
        return WindowRecord(
            step_gram=jnp.asarray(found.step_gram),
            losses=jnp.asarray(unknown if losses is None else losses),
            probe_losses=None,
            gradient_norms=jnp.asarray(unknown[1:]),
            gradient_samples=jnp.zeros((steps, 0)),
            layer_grams={layer: jnp.asarray(gram) for layer, gram in found.layer_grams.items()},
            twin_gram=None,
            diverged_at=jnp.int32(diverged_at),
        )


def layers_of(path: StoredPath) -> list[str]:
    """Return the layers of the coordinates of a path, sorted."""
    return sorted({leaf.layer for leaf in path.leaves})


def description(path: StoredPath, window: int) -> dict[str, Any]:
    """Return the form of a path and of its windows as JSON-like values."""
    return {
        "parameters": path.size,
        "first_step": path.first_step,
        "spacing": path.spacing,
        "window": window,
        "arrays": {
            leaf.name: {"shape": list(leaf.shape), "dtype": str(leaf.dtype), "layer": leaf.layer}
            for leaf in path.leaves
        },
        "left_out": path.left_out,
    }


def attributes(
    configuration: Mapping[str, Any], metadata: Mapping[str, Any] | None
) -> dict[str, str]:
    """Return the attributes that the dataset of a run has, in JSON.

    Raises:
        InputError: the metadata are not JSON-like.
    """
    return {
        "configuration": json.dumps(configuration),
        "environment": json.dumps(environment()),
        "metadata": json.dumps(json_values("metadata", dict(metadata or {}))),
    }


def _measurements(window: int, layers: Sequence[str], with_losses: bool) -> list[PathMeasurement]:
    chosen = [displacements(), controls(window)]
    if window >= SHAPE_WINDOW:
        chosen.append(path_shape(window))
    if len(layers) > 1:
        chosen.append(layer_displacements(layers))
    if with_losses:
        chosen.append(series(gradient_norms=False))
        if window >= SHAPE_WINDOW:
            chosen.append(loss_roughness(window, probe=False))
    return chosen


def _in_steps(dataset: xr.Dataset, path: StoredPath) -> xr.Dataset:
    """Return a dataset whose coordinates count steps of training, not points."""
    counted = [name for name in IN_STEPS if name in dataset.coords]
    scaled = {name: path.spacing * dataset[name] for name in counted}
    scaled["waiting_time"] = path.first_step + path.spacing * dataset["waiting_time"]
    return dataset.assign_coords(scaled)
