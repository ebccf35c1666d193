"""What every experiment's command line does: options from presets, clear refusals, and Ctrl-C at any moment."""

import contextlib
import dataclasses
import os
import pathlib
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import tyro

from sgd_diffusion.errors import InputError, StorageError
from sgd_diffusion.results import RunDirectory

UNUSABLE = 2  # exit code for input, options or directories that cannot be used
INTERRUPTED = 130  # what shells give a program that was stopped by Ctrl-C

Options = TypeVar("Options")


def main(experiment: Callable[[Options], None], presets: Mapping[str, Options], description: str) -> None:
    """Run an experiment from the command line and exit with 0, or 2 after a message about unusable input.

    Args:
      experiment: does the work.
      presets: named options to start from, "default" among them; all are dataclasses with the fields of `RunOptions`.
      description: shown by --help.
    """
    try:
        options = parse(presets, description, sys.argv[1:])
        use_cores_as_devices()
        interruptibly(lambda: experiment(options),
                      hint="; finished windows are kept: continue with --resume --directory DIR")
    except (InputError, StorageError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(UNUSABLE)


def use_cores_as_devices() -> None:
    """Give JAX one CPU device for each core, so that members of an ensemble can share a CPU as they share GPUs.

    On two cores, two members of ResNet-14 side by side made 1.3 times as many steps a second as one after the other (see
    experiments/benchmarks/results). It makes no difference to accelerators, or once JAX is in use.
    """
    with contextlib.suppress(RuntimeError):  # in use already
        jax.config.update("jax_num_cpu_devices", os.cpu_count())


def parse(presets: Mapping[str, Options], description: str, arguments: list[str]) -> Options:
    """Options from a preset, or from the run to be resumed, and what the command line gives beside it.

    Raises:
      InputError: for an unknown preset, or --resume without a directory.
      SystemExit: with code 2 for options that do not exist or do not parse, 0 after --help.
    """
    known, _ = tyro.cli(_Start, args=arguments, return_unknown_args=True, add_help=False)
    name = "quick" if known.quick else known.preset
    if name not in presets:
        raise InputError(f"Option --preset={name!r} is unknown. Expected one of {', '.join(presets)}.")
    default = dataclasses.replace(presets[name], preset=name)
    if known.resume:
        if known.directory is None:
            raise InputError("Option --resume was given without --directory. Say which run is to be continued.")
        stored = RunDirectory(known.directory).configuration("metadata")
        if stored is not None:
            default = _from_json(default, stored["options"])
    description = f"{description}\n\nPresets: {', '.join(presets)}."
    return tyro.cli(type(default), args=arguments, default=default, description=description, prog=_program())


def options_as_json(options) -> dict:
    """Options as JSON-like values, as they are stored with the results and read back by --resume."""
    def plain(value):
        return str(value) if isinstance(value, pathlib.Path) else list(value) if isinstance(value, tuple) else value
    return {name: plain(value) for name, value in dataclasses.asdict(options).items() if name not in ("resume", "directory")}


def interruptibly(work: Callable[[], Any], *, hint: str = "") -> None:
    """Do the work in a thread of its own, so that Ctrl-C ends the program at once, with a hint how to go on.

    A compiled program holds the interpreter's main thread until it returns, minutes later perhaps. Ending the process
    without ado is safe: a run directory survives a kill at any moment.
    """
    failures = []

    def attempt():
        try:
            work()
        except BaseException as error:  # handed over to the main thread
            failures.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.1)
    except KeyboardInterrupt:
        print(f"\ninterrupted{hint}", file=sys.stderr)
        sys.stdout.flush()
        os._exit(INTERRUPTED)
    if failures:
        raise failures[0]


@dataclasses.dataclass(frozen=True)
class _Start:
    """The options that decide which defaults the others have."""

    preset: str = "default"
    quick: bool = False
    directory: pathlib.Path | None = None
    resume: bool = False


def _program() -> str | None:
    """How this program was called, for its usage line, if as `python -m MODULE`."""
    spec = sys.modules["__main__"].__spec__
    return None if spec is None else f"python -m {spec.name}"


def _from_json(default: Options, stored: Mapping[str, Any]) -> Options:
    """The stored options in place of the defaults, in the types of the dataclass."""
    def typed(name, value):
        if isinstance(value, list):
            return tuple(value)
        return pathlib.Path(value) if name == "data_dir" and value is not None else value

    names = {field.name for field in dataclasses.fields(default)}
    return dataclasses.replace(default, **{name: typed(name, value) for name, value in stored.items() if name in names})
