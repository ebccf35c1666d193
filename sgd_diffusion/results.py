"""Labelled datasets in and out of run directories.

A run directory holds `config.json` (what is run, with versions and device), `windows/window_NNNNN.nc` (one
self-describing NetCDF-4 file per finished window, with its SHA-256 beside it, as `sha256sum --check` reads it) and
`checkpoints/`. A window file appears under its name only when it is complete, and one that was damaged later is known by
its checksum.
"""

import contextlib
import hashlib
import io
import json
import os
import pathlib
import platform
import subprocess
import warnings
from collections.abc import Iterator, Mapping

import xarray as xr

from sgd_diffusion import __version__
from sgd_diffusion.errors import InputError, StorageError


class DamagedResultsWarning(UserWarning):
    """A file of a run directory cannot be used; the message says which, and what is used in its place."""


def environment() -> dict:
    """Versions, device and source revision that a result depends on, as JSON-like values."""
    import flax
    import jax
    import numpy
    import optax

    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        "packages": {"sgd_diffusion": __version__, "jax": jax.__version__, "flax": flax.__version__,
                     "optax": optax.__version__, "numpy": numpy.__version__},
        "device": {"platform": device.platform, "kind": device.device_kind, "count": jax.device_count(),
                   "host": platform.machine(), "cores": os.cpu_count()},
        "revision": _git_revision(),
    }


def _git_revision() -> str | None:
    """Revision of the checkout that this file belongs to, marked if it has uncommitted changes; None outside git."""
    here = pathlib.Path(__file__).resolve().parent

    def git(*arguments):
        return subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True).stdout

    try:
        if not git("ls-files", "--", pathlib.Path(__file__).name).strip():
            return None  # installed below somebody else's checkout
        return git("rev-parse", "HEAD").strip() + ("+changes" if git("status", "--porcelain", "-uno").strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def load_run(directory: str | os.PathLike) -> xr.Dataset:
    """All finished windows of a run as one dataset.

    Returns:
      A dataset with dimensions window, seed and learning_rate beside those of the measurements (for example
      `msd(window, seed, learning_rate, lag)`), coordinate `waiting_time(window)` in updates, and attributes
      `configuration` and `environment` in JSON. Values of a member are NaN from its divergence on; `diverged_at(seed,
      learning_rate)` is that step, or -1.

    Raises:
      InputError: if the directory holds no run, or no readable window.

    Warns:
      DamagedResultsWarning: if a window file is damaged; the windows before it are returned.
    """
    run = RunDirectory(directory)
    if run.configuration() is None:
        raise InputError(f"Parameter 'directory'={str(directory)!r} holds no run (no readable config.json). Expected a "
                         "directory that a run was written to.")
    windows = run.load_windows()
    if not windows:
        raise InputError(f"Parameter 'directory'={str(directory)!r} holds a run without a finished window. Continue it "
                         "with resume (--resume).")
    return combine_windows(windows)


def combine_windows(windows: list[xr.Dataset]) -> xr.Dataset:
    """Datasets of consecutive windows, each with a `window` dimension of one, as one dataset; attributes of the last."""
    joined = xr.concat([window.drop_vars("diverged_at") for window in windows], "window", data_vars="minimal",
                       coords="minimal", compat="override", join="exact")
    return joined.assign(diverged_at=windows[-1].diverged_at).assign_attrs(windows[-1].attrs)


class RunDirectory:
    """A directory that one process at a time writes a run to, window by window."""

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)

    @property
    def checkpoints(self) -> pathlib.Path:
        """Where the checkpoints go."""
        return self.path / "checkpoints"

    def window_path(self, index: int) -> pathlib.Path:
        """File of a window."""
        return self.path / "windows" / f"window_{index:05d}.nc"

    def configuration(self, part: str = "configuration") -> dict | None:
        """What the directory was made for, or its "metadata" or "environment"; None if it holds no run."""
        try:
            return json.loads((self.path / "config.json").read_text())[part]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def check(self, configuration: dict, *, resume: bool) -> None:
        """Refuse, without writing anything, a directory that this run must not write to.

        Raises:
          StorageError: if it holds something else, a run that was not to be resumed, or one of another configuration.
        """
        try:
            # a process that was killed while it claimed a new directory leaves these and nothing else
            traces = {"lock", "config.json.partial"}
            occupied = self.path.exists() and any(entry.name not in traces for entry in self.path.iterdir())
        except OSError as error:
            raise StorageError(f"Cannot use {self.path}: {error.strerror}. Choose another directory.") from error
        if not occupied:
            return
        stored = self.configuration()
        if stored is None:
            raise StorageError(f"Directory {self.path} is not empty and holds no run. Choose a new directory.")
        differences = describe_differences(stored, configuration)
        if differences:
            raise StorageError(f"Directory {self.path} holds a run of another configuration ({differences}). Choose a new "
                               "directory, or resume with the configuration of the old one.")
        if not resume:
            raise StorageError(f"Directory {self.path} holds this run already. Continue it with resume (--resume), or "
                               "choose a new directory.")

    @contextlib.contextmanager
    def claim(self, configuration: dict, *, resume: bool, metadata: Mapping | None = None) -> Iterator[None]:
        """Make the directory this process's own for as long as the context lasts; it is freed however that ends.

        Raises:
          StorageError: as `check` does, if another live process writes to it, or if it cannot be written to.
        """
        import fcntl

        self.check(configuration, resume=resume)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = open(self.path / "lock", "a")
        except OSError as error:
            raise StorageError(f"Cannot write to {self.path}: {error.strerror}. Choose another directory.") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StorageError(f"Directory {self.path} is being written by another process. Wait for it, or choose "
                                   "another directory.") from error
            self.check(configuration, resume=resume)  # again, now that nobody else can change it
            if self.configuration() is None:
                content = {"configuration": configuration, "metadata": dict(metadata or {}), "environment": environment()}
                write_atomically(self.path / "config.json", json.dumps(content, indent=2).encode() + b"\n")
            (self.path / "windows").mkdir(exist_ok=True)
            yield

    def save_window(self, index: int, dataset: xr.Dataset) -> None:
        """Write a finished window; its file appears complete or not at all.

        Raises:
          StorageError: if the disk is full or read-only; earlier windows stay as they are.
        """
        path, content = self.window_path(index), bytes(dataset.to_netcdf(engine="h5netcdf"))
        try:
            write_atomically(_checksum_path(path), f"{hashlib.sha256(content).hexdigest()}  {path.name}\n".encode())
            write_atomically(path, content)
        except StorageError as error:
            raise StorageError(f"{error} The {index} windows finished before stay readable; free some space and continue "
                               "with resume (--resume).") from error

    def load_windows(self) -> list[xr.Dataset]:
        """The finished windows in order, in memory, up to the first that is missing or damaged.

        Warns:
          DamagedResultsWarning: if a window file is damaged or missing before later ones.
        """
        windows = []
        while (path := self.window_path(len(windows))).exists():
            try:
                windows.append(_load_window(path))
            except (OSError, ValueError, IndexError) as error:
                warnings.warn(f"{path} is damaged ({error}); the {len(windows)} windows before it are used.",
                              DamagedResultsWarning, stacklevel=2)
                return windows
        later = sorted(self.path.glob("windows/window_*.nc"))[len(windows):]
        if later:
            warnings.warn(f"{path} is missing, though {later[-1].name} exists; the {len(windows)} windows before it are "
                          "used.", DamagedResultsWarning, stacklevel=2)
        return windows


def _checksum_path(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(path.name + ".sha256")


def _load_window(path: pathlib.Path) -> xr.Dataset:
    content = path.read_bytes()
    if _checksum_path(path).read_text().split()[0] != hashlib.sha256(content).hexdigest():
        raise ValueError("its checksum is wrong")
    return xr.load_dataset(io.BytesIO(content), engine="h5netcdf")


def describe_differences(stored: dict, wanted: dict, prefix: str = "") -> str:
    """Where two configurations differ, as text; empty if they do not."""
    found = []
    for name in sorted(stored.keys() | wanted.keys()):
        old, new = stored.get(name), wanted.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found.append(describe_differences(old, new, f"{prefix}{name}."))
        elif old != new:
            found.append(f"{prefix}{name} is {old!r} there and {new!r} here")
    return ", ".join(filter(None, found))


def write_atomically(path: pathlib.Path, content: bytes) -> None:
    """Write a file so that it exists under its name complete, on disk, or as it was before.

    Raises:
      StorageError: if it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise StorageError(f"Cannot write {path}: {error.strerror}.") from error


def save_figure(figure, path: pathlib.Path) -> None:
    """Write a matplotlib figure as PNG, atomically.

    Raises:
      StorageError: if it cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_atomically(path, buffer.getvalue())


def _sync_directory(path: pathlib.Path) -> None:
    """Make a rename in this directory survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
