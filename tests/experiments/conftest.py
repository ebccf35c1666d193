"""The command lines of experiments, called in this process."""

import sys

import jax
import pytest

from experiments import command_line, progress
from sgd_diffusion.storage import run_directories


def last_of_each(arguments):
    """A command line without the options that come again."""
    groups = {}
    for argument in arguments:
        if argument.startswith("--"):
            name = argument.partition("=")[0]
            groups[name] = []
        groups[name].append(argument)
    return [argument for group in groups.values() for argument in group]


@pytest.fixture
def parsed():
    """`parsed(experiment, *arguments)`: its options; the last of an option counts."""
    return lambda experiment, *arguments: command_line.parse(
        experiment.PRESETS, "", last_of_each(map(str, arguments))
    )


@pytest.fixture
def call(monkeypatch):
    """`call(experiment, *arguments)`: the exit code of an experiment's command line; the last of an
    option counts.

    Without bars, unless a test wants them, since programs that report are compiled every time.
    """
    monkeypatch.setitem(progress.STYLE, "disable", True)
    jax.devices()  # those of the tests; programs ask for as many as there are cores

    def run(experiment, *arguments):
        monkeypatch.setattr(sys, "argv", [experiment.__name__, *last_of_each(map(str, arguments))])
        try:
            command_line.main(experiment.experiment, experiment.PRESETS, experiment.__doc__)
        except SystemExit as exit:
            return exit.code
        return 0

    return run


@pytest.fixture(scope="session", autouse=True)
def one_drawing(request):
    """Draw the first figure of each name; later runs make theirs, and leave the first as a file.

    With --optimized all are drawn, as users' are. What else is in figures is a matter of
    tests/plots.
    """
    with pytest.MonkeyPatch.context() as patch:
        save, drawn = run_directories.save_figure, {}

        def save_once(figure, path):
            if path.name in drawn and not request.config.getoption("--optimized"):
                run_directories.write_atomically(path, drawn[path.name])
            else:
                save(figure, path)
                drawn[path.name] = path.read_bytes()

        patch.setattr(run_directories, "save_figure", save_once)
        yield


@pytest.fixture
def refused(call, monkeypatch, capsys, tmp_path):
    """`refused(experiment, words, *arguments)`: exit code 2, one message with these words, and
    nothing written.
    """

    def check(experiment, words, *arguments):
        monkeypatch.chdir(tmp_path)
        assert call(experiment, *arguments) == 2
        said = capsys.readouterr()
        assert words in said.err and "Traceback" not in said.err
        assert not list(tmp_path.iterdir())

    return check
