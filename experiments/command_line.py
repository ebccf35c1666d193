"""What every experiment's command line does: presets, clear refusals, and Ctrl-C at any moment.

It imports nothing that takes time before the options are read, so that --help is quick.
"""

import collections
import contextlib
import dataclasses
import gc
import math
import os
import pathlib
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

import tyro

from experiments.compiled_programs import keep_compiled_programs
from experiments.interrupts import interruptibly
from experiments.jobs import JOB, ending_together, join, name_in_job
from experiments.options import Checked, flag
from experiments.output import safe_output
from sgd_diffusion.errors import InputError, StorageError, invalid

UNUSABLE = 2  # exit code for input, options or directories that cannot be used
# Objects that are made before Python looks for cycles among them. After its 700 it looks a hundred
# times while modules are imported and programs traced, and finds next to nothing: a tenth of the
# time until training begins.
CYCLES_AFTER = 100_000
# The key decides, and the options behind it are not looked at.
INSTEAD_OF = {"quick": {"preset", "num_paths", "dim"}, "waiting_times": {"num_windows"}}
# What a call does, not what a run is.
NOT_STORED = ("resume", "directory", "csv", "report", "no_cache", "memory", *JOB)
ADDING = ("add_seeds", "add_learning_rates")  # only where there is something to add

Options = TypeVar("Options", bound=Checked)


def main(
    experiment: Callable[[Options], None], presets: Mapping[str, Options], description: str
) -> None:
    """Run an experiment from the command line, or only print its memory, and exit.

    The exit code is 0, or 2 after a message about unusable input.

    Args:
        experiment: does the work.
        presets: named options to start from, "default" among them; all are dataclasses with the
            fields of `RunOptions`.
        description: shown by --help.
    """
    with program():
        options = parse(presets, description, sys.argv[1:])
        use_cores_as_devices()
        join(options)
        keep_compiled_programs(wanted=not options.no_cache)
        work = experiment
        if getattr(options, "memory", None):
            from experiments.memory import show as work
        with ending_together():
            interruptibly(
                lambda: work(options),
                hint="; finished windows are kept: continue with --resume --directory DIR",
            )


def run(work: Callable[[Options], None], kind: type[Options], description: str) -> None:
    """Run a program that has neither presets nor run directories, as `main` does.

    Args:
        work: does it.
        kind: dataclass of its options.
        description: shown by --help.
    """
    with program():
        options = read(kind, description)
        interruptibly(lambda: work(options))


@contextlib.contextmanager
def program() -> Iterator[None]:
    """Do what all programs do: print what standard output allows, and refuse unusable input.

    After a message about unusable input the program exits with 2.
    """
    gc.set_threshold(CYCLES_AFTER)
    with safe_output():
        try:
            yield
        except (InputError, StorageError) as error:
            print(f"{name_in_job()}error: {error}", file=sys.stderr)
            sys.exit(UNUSABLE)


def use_cores_as_devices() -> None:
    """Give JAX one CPU device for each core that this process may use.

    So members of an ensemble can share a CPU as they share GPUs. It makes no difference to
    accelerators, or once JAX is in use.

    Notes:
        On two cores, two members of ResNet-14 side by side made 1.3 times as many steps a second as
        one after the other (see experiments/benchmarks/results).
    """
    import jax

    with contextlib.suppress(RuntimeError):  # in use already
        jax.config.update("jax_num_cpu_devices", usable_cores())


def usable_cores() -> int:
    """Return how many cores this process may use, whatever the machine has.

    A batch system or a container leaves it some of them, or a share of their time.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    try:
        quota, period = pathlib.Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such group, or no limit ("max")
        return cores


def parse(presets: Mapping[str, Options], description: str, arguments: list[str]) -> Options:
    """Return the options of a preset, or of the run to be resumed, with those of the command line.

    Raises:
        InputError: a value is out of range, a preset is unknown, --resume has no directory, or the
            options of the run cannot be read; or an option is given twice, or with one that makes
            it meaningless.
        SystemExit: with code 2 for options that do not exist or do not parse, 0 after --help.
    """
    known, _ = tyro.cli(_Start, args=arguments, return_unknown_args=True, add_help=False)
    known, given = known.expanded(), _given(arguments)
    name = "quick" if known.quick else known.preset
    if name not in presets:
        raise invalid("--preset", f"is {name!r}", f"one of {', '.join(presets)}")
    default = dataclasses.replace(presets[name], preset=name)
    if known.resume:
        if known.directory is None:
            raise invalid(
                "--resume",
                "was given without --directory",
                "both",
                "say which run is to be continued",
            )
        if os.path.exists(known.directory / "config.json"):
            from sgd_diffusion.storage.run_directories import RunDirectory

            default = _stored(
                default, RunDirectory(known.directory).configuration("metadata"), known.directory
            )
            if {"preset", "quick"} & given and name != default.preset:
                raise invalid(
                    "--preset",
                    f"is {name!r} and the run in {known.directory} was made with "
                    f"{default.preset!r}",
                    "the same",
                    "leave it out to continue that run",
                )
    return read(
        type(default), f"{description}\n\nPresets: {', '.join(presets)}.", arguments, default
    )


def read(
    kind: type[Options],
    description: str,
    arguments: list[str] | None = None,
    default: Options | None = None,
) -> Options:
    """Return checked options from the command line alone.

    Args:
        kind: their dataclass.
        description: shown by --help.
        arguments: those of the program by default.
        default: what they are if not given; by default what the dataclass says.

    Raises:
        InputError: as for `parse`.
        SystemExit: as for `parse`.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    given, others = _given(arguments), {} if default is None else {"default": default}
    options = tyro.cli(
        kind, args=arguments, description=description, prog=_program(), **others
    ).expanded()
    for decisive, meaningless in INSTEAD_OF.items():
        clash = sorted(given & meaningless)
        if clash and getattr(options, decisive, None) not in (None, False):
            raise invalid(
                flag(clash[0]),
                f"was given, and is not looked at beside {flag(decisive)}",
                "one of them",
                "leave out the other",
            )
    options.check()
    return options


def _given(arguments: list[str]) -> set[str]:
    """Return the names of the options on a command line.

    Raises:
        InputError: one is there twice.
    """
    names = [
        argument[2:].partition("=")[0].replace("-", "_").removeprefix("no_")
        for argument in arguments
        if argument.startswith("--")
    ]
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    if twice:
        raise invalid(flag(twice[0]), "was given twice", "it once", "leave out one of them")
    return set(names)


def options_as_json(options: Checked) -> dict[str, Any]:
    """Return options as JSON-like values, as results store them and --resume reads them.

    Paths are absolute, because a run can be resumed from another working directory.
    """

    def plain(value):
        return (
            str(value.absolute())
            if isinstance(value, pathlib.Path)
            else list(value)
            if isinstance(value, tuple)
            else value
        )

    return {
        name: plain(value)
        for name, value in dataclasses.asdict(options).items()
        if name not in NOT_STORED and not (name in ADDING and not value)
    }


def decisive(options: Checked, nothing: Collection[str] = ()) -> dict[str, Any]:
    """Return the options that decide the results, as JSON-like values.

    Args:
        options: all of them.
        nothing: names of those that decide nothing, besides what a preset is called.
    """
    stored = options_as_json(options)
    return {name: stored[name] for name in stored if name not in {"preset", "quick", *nothing}}


@dataclasses.dataclass(frozen=True)
class _Start(Checked):
    """The options that decide which defaults the others have."""

    preset: str = "default"
    quick: bool = False
    directory: pathlib.Path | None = None
    resume: bool = False


def _program() -> str | None:
    """Return how this program was called, for its usage line, if as `python -m MODULE`."""
    spec = sys.modules["__main__"].__spec__
    return None if spec is None else f"python -m {spec.name}"


def _stored(default: Options, metadata: Any, directory: pathlib.Path) -> Options:
    """Return the defaults with the options that a run has stored, in the types of the dataclass."""

    def typed(name, value):
        if isinstance(value, list):
            return tuple(value)
        is_path = name in ("data_dir", "start_from") and isinstance(value, str)
        return pathlib.Path(value) if is_path else value

    stored = metadata.get("options") if isinstance(metadata, Mapping) else None
    if not isinstance(stored, Mapping):
        raise StorageError(
            f"{directory / 'config.json'} holds no options of a run; expected those it was made "
            "with: choose another directory, or restore that file"
        )
    # What --quick stood for is stored as the preset.
    names = {field.name for field in dataclasses.fields(default)} - {"quick"}
    options = dataclasses.replace(
        default, **{name: typed(name, value) for name, value in stored.items() if name in names}
    )
    try:
        options.check()
    except InputError as error:
        raise StorageError(f"{directory / 'config.json'} cannot be used: {error}") from error
    return options
