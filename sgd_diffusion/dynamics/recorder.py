"""A recorder for the path of any training loop: what a run measures, window by window."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from sgd_diffusion._arrays import integer
from sgd_diffusion._json_values import json_values
from sgd_diffusion._types import IntegerLike, PyTree
from sgd_diffusion.analysis.lags import MIN_WINDOW
from sgd_diffusion.analysis.streaming import Leaf
from sgd_diffusion.dynamics.recorded_points import RecordedPoints
from sgd_diffusion.dynamics.sgd import ALIVE
from sgd_diffusion.dynamics.stored_paths import MEMORY, PathWindows
from sgd_diffusion.dynamics.window_measures import (
    WindowMeasures,
    attributes,
    description,
    window_record,
)
from sgd_diffusion.errors import StorageError, invalid
from sgd_diffusion.storage.paths import chosen_leaves
from sgd_diffusion.storage.paths.points import as_numpy, as_tree, forms
from sgd_diffusion.storage.paths.stored_path import check_same
from sgd_diffusion.storage.run_directories import RunDirectory, combine_windows, load_run

__all__ = ["PathRecorder"]

SOURCE = "PathRecorder"


class PathRecorder:
    """A recorder of the path of a training loop in PyTorch, NumPy or JAX.

    `record` copies the parameters of a step into a window of T+1 points in memory. Nothing else
    happens in the loop. When the window is full, what a run measures of its windows is measured of
    it, and is written if there is a directory. Its last point is the first one of the next window.

    The points take (T+1) P numbers of memory, of the types of the parameters. With `sketch_dim`
    they take (T+1) `sketch_dim` numbers of float64, and each squared displacement has a relative
    standard error of at most sqrt(2 / `sketch_dim`) (see `Recording`). The projection is the same
    for all windows and runs of one form.

    A window is on the disk as a whole or not at all. The points of one that is not full are lost
    with the process. With `resume` the recorder goes on behind the last window in the directory;
    `next_step` says which step is recorded next.

    Args:
        window: T, steps from point to point in a window.
        directory: a run directory for the windows, which `load_run` reads; None keeps them in
            memory.
        sketch_dim: dimension of the projection; None for none.
        seed: label of the run.
        learning_rate: label of the run; NaN if it has none.
        spacing: steps of training from one recorded point to the next.
        include: patterns of names of arrays (see `chosen_leaves`).
        exclude: patterns of names of arrays that are left out besides.
        memory: bytes for blocks and matrices while a window is measured (see `streamed_gram`).
        metadata: JSON-like values stored with the results.
        resume: go on with the run in the directory, if there is one.

    Raises:
        InputError: an argument is not usable.
        StorageError: the directory holds something else, a run that was not to be resumed, or one
            of another form; or it cannot be used.

    >>> with PathRecorder(window=10) as recorder:
    ...     for step in range(31):
    ...         recorder.record({"w": np.sin(np.arange(4.0) + step)})
    >>> dict(recorder.run().msd.sizes)
    {'window': 3, 'seed': 1, 'learning_rate': 1, 'lag': 10}
    """

    def __init__(
        self,
        *,
        window: IntegerLike = 1000,
        directory: str | os.PathLike | None = None,
        sketch_dim: IntegerLike | None = None,
        seed: IntegerLike = 0,
        learning_rate: float = float("nan"),
        spacing: IntegerLike = 1,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        memory: IntegerLike = MEMORY,
        metadata: Mapping[str, Any] | None = None,
        resume: bool = False,
    ):
        window = integer("window", window, MIN_WINDOW, 2**31 - 1)
        self._plan = PathWindows(
            (integer("seed", seed),),
            (float(learning_rate),),
            window,
            range(0, 2**31 - 1, window),
        )
        self._sketch_dim = None if sketch_dim is None else integer("sketch_dim", sketch_dim, 1)
        self._spacing = integer("spacing", spacing, 1, 2**31)
        self._memory = integer("memory", memory, 1)
        self._patterns = {"include": include, "exclude": exclude}
        self._metadata = json_values("metadata", dict(metadata or {}))
        self._run = None if directory is None else RunDirectory(directory)
        self._windows: list[xr.Dataset] = []  # without a directory
        self._index = self._row = 0  # of the window, and of the next point in it
        self._diverged_at = ALIVE
        # Known from the first point on, or from the directory.
        self._points: RecordedPoints | None = None
        self._with_losses = False
        self._structure: Any = None  # of the pytree that was recorded last
        self._places: list[int] = []  # of the coordinates among its leaves
        self._claim = contextlib.ExitStack()
        self._closed = False
        if self._run is not None:
            stored = self._run.configuration()
            if resume and stored is not None:
                self._go_on(self._run, stored)
            else:
                self._run.check(stored or {}, resume=False)

    @property
    def num_windows(self) -> int:
        """Return how many windows are finished."""
        return self._index

    @property
    def next_step(self) -> int:
        """Return the step of training whose point is recorded next.

        After a resume it is that of the last point on the disk, which the new window begins with.
        """
        return self._spacing * (self._index * self._plan.window + self._row)

    def record(self, parameters: PyTree, loss: Any = None) -> None:
        """Record the parameters of a step.

        The values are copied at once, so that an optimizer may change them in place.

        Args:
            parameters: `model.named_parameters()` or `model.state_dict()` of PyTorch, a pytree of
                arrays of PyTorch, NumPy or JAX, or an array. Which arrays are coordinates says
                `chosen_leaves`. Arrays on an accelerator are copied to the host.
            loss: () at this point; at every one or at none. In most loops it belongs to the
                parameters before the step of the optimizer.

        Raises:
            InputError: names, shapes or types are not those of the first step; a loss is missing or
                not asked for; points in a full window are NaN or infinite before others that are
                not; or there is too little memory.
            StorageError: a full window cannot be written. Its points are kept, and the next call
                tries again.
        """
        if self._closed:
            raise invalid(
                "record", "is called after close()", "an open recorder", "record within the `with`"
            )
        if self._row > self._plan.window:
            self._finish_window()
        value = float("nan") if loss is None else self._read_loss(loss)
        tree = as_tree(parameters)
        leaves, structure = jax.tree.flatten(tree)
        if self._structure is None or structure != self._structure:
            self._read_structure(tree, structure, loss)
        points = self._known_points()
        point = [as_numpy(leaves[place]) for place in self._places]
        if any(
            (array.shape, array.dtype) != (leaf.shape, leaf.dtype)
            for array, leaf in zip(point, points.leaves, strict=True)
        ):
            self._check_arrays(_arrays(tree))
        if (loss is not None) != self._with_losses:
            raise invalid(
                "loss",
                f"is {'missing' if loss is None else 'given'} at step {self.next_step}",
                f"one at {'every' if self._with_losses else 'no'} step, as at the first",
            )
        points.put(self._row, point, value)
        self._row += 1
        if self._row > self._plan.window:
            self._finish_window()

    def run(self) -> xr.Dataset:
        """Return the finished windows as the dataset of a run, like that of `run_ensemble`.

        Points of a window that is not full are not in it.

        Raises:
            InputError: no window is finished.
        """
        if not self._index:
            raise invalid(
                "run()",
                f"is called after {self._row} points",
                f"at least the {self._plan.window + 1} of a window",
                "record more points, or take a shorter window",
            )
        return combine_windows(self._windows) if self._run is None else load_run(self._run.path)

    def close(self) -> None:
        """Record no more, and let other processes write to the directory."""
        self._closed = True
        self._claim.close()
        self._points = self._structure = None

    def __enter__(self) -> "PathRecorder":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read_structure(self, tree: PyTree, structure: Any, loss: Any) -> None:
        """Find the coordinates among the leaves of a pytree."""
        arrays = _arrays(tree)
        if not arrays:
            raise invalid(
                "parameters",
                f"is a {type(tree).__name__} without arrays",
                "model.named_parameters() of PyTorch, or a pytree of arrays",
            )
        leaves, left_out = chosen_leaves(
            "parameters",
            {name: (leaf.shape, leaf.dtype) for name, leaf in arrays.items()},
            **self._patterns,
        )
        if self._points is None:
            self._begin(leaves, left_out, with_losses=loss is not None, resume=False)
        self._check_arrays({leaf.name: leaf for leaf in leaves})
        names = [leaf and leaf.name for leaf in forms(tree)]
        self._places = [names.index(leaf.name) for leaf in leaves]
        self._structure = structure

    def _begin(
        self,
        leaves: tuple[Leaf, ...],
        left_out: dict[str, str],
        *,
        with_losses: bool,
        resume: bool,
    ) -> None:
        """Make room for the points of a window, and claim the directory."""
        window = self._plan.window
        points = RecordedPoints(
            "the recorded path",
            leaves,
            window + 1,
            sketch_dim=self._sketch_dim,
            memory=self._memory,
        )
        path = points.path._replace(spacing=self._spacing, left_out=left_out)
        configuration = {
            "plan": {
                "seeds": list(self._plan.seeds),
                "learning_rates": list(self._plan.learning_rates),
            },
            "path": description(path._replace(leaves=leaves), window)
            | {
                "sources": [SOURCE],
                "sketch_dim": self._sketch_dim,
                "with_losses": with_losses,
            },
        }
        self._labels = attributes(configuration, self._metadata)
        self._measures = WindowMeasures(self._plan, path, with_losses=with_losses)
        if self._run is not None:
            self._claim.enter_context(
                self._run.claim(configuration, resume=resume, metadata=self._metadata)
            )
        self._points, self._with_losses = points, with_losses

    def _go_on(self, run: RunDirectory, stored: Mapping[str, Any]) -> None:
        """Take up the run of a directory behind its last window."""
        try:
            form = stored["path"]
            leaves = tuple(
                Leaf(name, tuple(array["shape"]), jnp.dtype(array["dtype"]), array["layer"])
                for name, array in form["arrays"].items()
            )
            left_out, with_losses = form["left_out"], form["with_losses"]
        except (KeyError, TypeError):
            raise StorageError(
                f"Directory {run.path} holds a run that no {SOURCE} wrote. Choose a new directory."
            ) from None
        self._begin(leaves, left_out, with_losses=with_losses, resume=True)
        windows = run.load_windows()
        self._index = len(windows)
        if windows:
            self._diverged_at = windows[-1].diverged_at.item()

    def _finish_window(self) -> None:
        """Measure the points of a full window, keep the results, and begin the next one."""
        points = self._known_points()
        first = self._plan.starts()[self._index]
        found = points.gram(first)
        if self._diverged_at == ALIVE and not found.known.all():
            last = first + int(np.argmin(found.known)) - 1
            self._diverged_at = self._spacing * max(last, 0)
        record = window_record(
            found, points.losses if self._with_losses else None, self._diverged_at
        )
        window = self._measures.dataset(self._index, [record]).assign_attrs(self._labels)
        if self._run is None:
            self._windows.append(window)
        else:
            self._run.save_window(self._index, window)
        points.begin_again()
        self._index, self._row = self._index + 1, 1

    def _known_points(self) -> RecordedPoints:
        assert self._points is not None
        return self._points

    def _check_arrays(self, arrays: Mapping[str, Leaf]) -> None:
        """Refuse arrays that are not those of the first step."""
        leaves = self._known_points().leaves
        step = f"the parameters of step {self.next_step}"
        check_same(step, "the first step", arrays, leaves)
        if more := sorted(arrays.keys() - {leaf.name for leaf in leaves}):
            raise invalid(step, f"has the array {more[0]!r} too", "the arrays of the first step")

    def _read_loss(self, loss: Any) -> float:
        """Return the loss of a point."""
        try:
            # A tensor of PyTorch that has a gradient warns when float() is asked for it.
            return float(loss.item() if hasattr(loss, "item") else loss)
        except (RuntimeError, TypeError, ValueError) as error:
            raise invalid(
                "loss", f"is {loss!r:.100} at step {self.next_step}", "one real number"
            ) from error


def _arrays(tree: PyTree) -> dict[str, Leaf]:
    return {leaf.name: leaf for leaf in forms(tree) if leaf is not None}
