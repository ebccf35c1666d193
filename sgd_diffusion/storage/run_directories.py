"""Labeled datasets in and out of run directories.

A run directory holds `config.json` (what is run, with versions and device),
`windows/window_NNNNN.nc` (one self-describing NetCDF-4 file per finished window, with its SHA-256
beside it, as `sha256sum --check` reads it) and `checkpoints/`. A window file appears under its name
only when it is complete. A checksum tells one that was damaged later. The file also says which
window of which run it is.
"""

import contextlib
import hashlib
import io
import json
import os
import pathlib
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import xarray as xr
from filelock import FileLock, Timeout

from sgd_diffusion._json_values import describe_differences, json_values, same_values
from sgd_diffusion.errors import StorageError, invalid
from sgd_diffusion.storage.files import write_atomically
from sgd_diffusion.storage.merged_runs import merge_runs, new_members
from sgd_diffusion.storage.netcdf import from_netcdf, to_netcdf
from sgd_diffusion.storage.provenance import environment

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = [
    "BusyError",
    "DamagedResultsWarning",
    "RunDirectory",
    "combine_windows",
    "digest_of",
    "environment",
    "load_run",
    "save_figure",
    "write_atomically",
]

IDENTITY = "identity"
"""Attribute of window files; it is not part of the results."""


class BusyError(StorageError):
    """Another live process writes to a directory."""


class DamagedResultsWarning(UserWarning):
    """A file of a run directory cannot be used.

    The message says which file, and what is used in its place.
    """


def load_run(directory: str | os.PathLike) -> xr.Dataset:
    """Return all finished windows of a run as one dataset.

    Members that were added later are in it once they have as many windows as the run.

    Args:
        directory: that the run was written to.

    Returns:
        A dataset with dimensions window, seed and learning_rate and those of the measurements (for
        example `msd(window, seed, learning_rate, lag)`), the coordinate `waiting_time(window)` in
        updates, and the attributes `configuration` and `environment` in JSON. Values of a member
        are NaN from its divergence on; `diverged_at(seed, learning_rate)` is that step, or -1.

    Raises:
        InputError: the directory holds no run, or no readable window.

    Warns:
        DamagedResultsWarning: a window file is damaged; the windows before it are returned.
    """
    run = RunDirectory(directory)
    if run.configuration() is None:
        raise invalid(
            "directory",
            f"is {str(directory)!r}, which holds no run (no readable config.json)",
            "a directory that a run was written to",
        )
    windows = run.load_windows()
    if not windows:
        raise invalid(
            "directory",
            f"is {str(directory)!r}, which holds a run without a finished window",
            "a run with one or more finished windows",
            "continue it with resume (--resume)",
        )
    dataset = combine_windows(windows)
    for added in map(RunDirectory, run.added()):
        theirs = added.load_windows()[: len(windows)]
        if len(theirs) == len(windows):
            dataset = merge_runs([dataset, new_members(dataset, combine_windows(theirs))])
    return dataset


def combine_windows(windows: list[xr.Dataset]) -> xr.Dataset:
    """Join datasets of consecutive windows; attributes are those of the last.

    Args:
        windows: each with a dimension `window` of one.

    Raises:
        StorageError: they are not of one ensemble.
    """
    try:
        joined = xr.concat(
            [window.drop_vars("diverged_at") for window in windows],
            "window",
            data_vars="minimal",
            coords="minimal",
            compat="override",
            join="exact",
        )
        return joined.assign(diverged_at=windows[-1].diverged_at).assign_attrs(windows[-1].attrs)
    except (ValueError, AttributeError) as error:
        raise StorageError(
            f"The windows are not those of one ensemble: {str(error).splitlines()[0][:200]}. Read "
            "them one by one with xarray.open_dataset."
        ) from error


class RunDirectory:
    """A directory that one process at a time writes a run to, window by window.

    Args:
        path: of the directory; it need not exist.

    Raises:
        InputError: `path` is no path.
    """

    def __init__(self, path: str | os.PathLike):
        if not isinstance(path, str | os.PathLike):
            raise invalid("directory", f"is {path!r:.100}", "a path")
        self.path = pathlib.Path(path).expanduser()

    @property
    def checkpoints(self) -> pathlib.Path:
        """Return where the checkpoints go."""
        return self.path / "checkpoints"

    def added(self) -> list[pathlib.Path]:
        """Return the directories of the members that were added to the run, in their order."""
        return sorted(path.parent for path in self.path.glob("added/*/config.json"))

    def window_path(self, index: int) -> pathlib.Path:
        """Return the file of a window."""
        return self.path / "windows" / f"window_{index:05d}.nc"

    def has_windows(self, count: int) -> bool:
        """Return whether the files of the first `count` windows are there, sound or not."""
        return all(self.window_path(index).exists() for index in range(count))

    def configuration(self, part: str = "configuration") -> dict[str, Any] | None:
        """Return what the directory was made for, or its "metadata" or "environment".

        It is None if the directory does not say so.
        """
        try:
            stored = json.loads((self.path / "config.json").read_text(encoding="utf-8"))[part]
            return json_values("config.json", stored) if isinstance(stored, dict) else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def check(self, configuration: dict[str, Any], *, resume: bool) -> None:
        """Refuse a directory that this run must not write to, without writing anything.

        Raises:
            StorageError: it holds something else, a run that was not to be resumed, or one of
                another configuration.
        """
        try:
            # A process that was killed while it claimed a new directory leaves only these.
            traces = {"lock", "config.json.partial"}
            occupied = self.path.exists() and any(
                entry.name not in traces for entry in self.path.iterdir()
            )
        except OSError as error:
            raise StorageError(
                f"Cannot use {self.path}: {error.strerror}. Choose another directory."
            ) from error
        if not occupied:
            return
        stored = self.configuration()
        if stored is None and (self.path / "config.json").exists():
            raise StorageError(
                f"{self.path / 'config.json'} is damaged: it cannot be read, or has no "
                "configuration. Put a copy of it back, or choose a new directory; all else in "
                "this one stays as it is."
            )
        if stored is None:
            raise StorageError(
                f"Directory {self.path} is not empty and holds no run. Choose a new directory."
            )
        self._check_folders()
        differences = describe_differences(stored, json_values("configuration", configuration))
        if differences:
            raise StorageError(
                f"Directory {self.path} holds a run of another configuration ({differences}). "
                "Choose a new directory, or resume with the configuration of the old one."
            )
        if not resume:
            raise StorageError(
                f"Directory {self.path} holds this run already. Continue it with resume "
                "(--resume), or choose a new directory."
            )

    @contextlib.contextmanager
    def claim(
        self,
        configuration: dict[str, Any],
        *,
        resume: bool,
        metadata: Mapping[str, Any] | None = None,
    ) -> Iterator[None]:
        """Make the directory this process's own while the context lasts, however that ends.

        Raises:
            StorageError: as for `check`; or another live process writes to the directory, or it
                cannot be written to.
        """
        self.check(configuration, resume=resume)
        with self.locked():
            self.check(configuration, resume=resume)  # again, now that nobody else can change it
            if self.configuration() is None:
                self.describe(configuration, metadata or {})
            (self.path / "windows").mkdir(exist_ok=True)
            yield

    @contextlib.contextmanager
    def locked(self, *, patience: float = 0.0) -> Iterator[None]:
        """Keep other processes out of the directory while the context lasts, however that ends.

        One that is within already may enter again.

        Args:
            patience: seconds to wait for a process that is within.

        Raises:
            StorageError: another live process is within, or the directory cannot be written to.
        """
        # This is the system's own lock: it goes with the process, however that ends.
        lock = FileLock(self.path / "lock", is_singleton=True)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=patience)
        except Timeout as error:
            raise BusyError(
                f"Directory {self.path} is being written by another process. Wait for it, or "
                "choose another directory."
            ) from error
        except OSError as error:
            raise StorageError(
                f"Cannot write to {self.path}: {error.strerror}. Choose another directory."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def describe(self, configuration: dict[str, Any], metadata: Mapping[str, Any]) -> None:
        """Write config.json: what the directory is for, and under which versions it was made.

        Raises:
            StorageError: it cannot be written.
        """
        content = {
            "configuration": json_values("configuration", configuration),
            "metadata": json_values("metadata", metadata),
            "environment": environment(),
        }
        write_atomically(self.path / "config.json", json.dumps(content, indent=2).encode() + b"\n")

    def save_window(self, index: int, dataset: xr.Dataset) -> None:
        """Write a finished window; its file appears complete or not at all.

        Raises:
            StorageError: the disk is full or read-only; earlier windows stay as they are.
        """
        path = self.window_path(index)
        content = to_netcdf(dataset.assign_attrs({IDENTITY: self._identity(index)}))
        try:
            write_atomically(
                _checksum_path(path),
                f"{hashlib.sha256(content).hexdigest()}  {path.name}\n".encode(),
            )
            write_atomically(path, content)
        except StorageError as error:
            raise StorageError(
                f"{error} The {index} windows finished before stay readable; free some space and "
                "continue with resume (--resume)."
            ) from error

    def load_windows(self) -> list[xr.Dataset]:
        """Return the finished windows in order, up to the first that is missing or damaged.

        Raises:
            StorageError: a window is of another run or has another number, or the windows cannot be
                where they should.

        Warns:
            DamagedResultsWarning: a window file is damaged, or missing before later ones.
        """
        self._check_folders()
        windows: list[xr.Dataset] = []
        while (path := self.window_path(len(windows))).exists():
            try:
                window = _load_window(path)
            except (OSError, ValueError) as error:
                warnings.warn(
                    f"{path} is damaged ({error}); the {len(windows)} windows before it are used.",
                    DamagedResultsWarning,
                    stacklevel=2,
                )
                return windows
            self._check_identity(path, window, len(windows))
            windows.append(window)
        later = sorted(self.path.glob("windows/window_*.nc"))[len(windows) :]
        if later:
            warnings.warn(
                f"{path} is missing, though {later[-1].name} exists; the {len(windows)} windows "
                "before it are used.",
                DamagedResultsWarning,
                stacklevel=2,
            )
        return windows

    def _identity(self, index: int) -> str:
        """Return what a window file says of itself: its run and its number.

        It is in the file so that the checksum covers it.
        """
        return f"window {index} of a run with the configuration {digest_of(self.configuration())}"

    def _check_identity(self, path: pathlib.Path, window: xr.Dataset, index: int) -> None:
        identity = window.attrs.pop(IDENTITY, None)
        if identity is None:  # a file from before they had one
            number = (
                window.coords["window"].values.tolist() if "window" in window.coords else [index]
            )
            ours = number == [index] and _says(window, self.configuration())
        else:
            ours = identity == self._identity(index)
        if not ours:
            raise StorageError(
                f"{path} is a window of another run, or another window of this one. Move it away, "
                "or put the right one back; then continue with resume (--resume). Nothing was "
                "changed."
            )

    def _check_folders(self) -> None:
        for name in ("windows", "checkpoints"):
            folder = self.path / name
            if folder.exists() and not folder.is_dir():
                raise StorageError(
                    f"{folder} is a file. Expected a directory: move it away, or choose another "
                    "directory."
                )


def _says(window: xr.Dataset, configuration: dict | None) -> bool:
    """Say whether a window is of a run of this configuration, as far as the window tells."""
    try:
        return "configuration" not in window.attrs or same_values(
            json.loads(window.attrs["configuration"]), configuration
        )
    except (ValueError, TypeError, RecursionError):
        return False


def digest_of(configuration: dict[str, Any] | None) -> str:
    """Return the SHA-256 of JSON-like values, whatever the order of their names."""
    return hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()


def _checksum_path(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(path.name + ".sha256")


def _load_window(path: pathlib.Path) -> xr.Dataset:
    content = path.read_bytes()
    if _checksum_path(path).read_text().split()[:1] != [hashlib.sha256(content).hexdigest()]:
        raise ValueError("its checksum is wrong")
    return from_netcdf(content, checked=True)


def save_figure(figure: "matplotlib.figure.Figure", path: pathlib.Path) -> None:
    """Write a matplotlib figure as PNG, complete or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    # The same bytes as those of `savefig`, which draws a figure twice.
    FigureCanvasAgg(figure).print_png(buffer)
    write_atomically(path, buffer.getvalue())
