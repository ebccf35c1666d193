"""The command lines of experiments, called in this process."""

import sys

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

    def run(experiment, *arguments):
        monkeypatch.setattr(sys, "argv", [experiment.__name__, *last_of_each(map(str, arguments))])
        try:
            command_line.main(experiment.experiment, experiment.PRESETS, experiment.__doc__)
        except SystemExit as exit:
            return exit.code
        return 0

    return run


@pytest.fixture(scope="session", autouse=True)
def one_layout(request):
    """Lay out the first figure of each name, and draw those of later runs as they stand.

    With --optimized all are laid out, as users' are.
    """
    with pytest.MonkeyPatch.context() as patch:
        save, drawn = run_directories.save_figure, set()

        def save_as_it_stands(figure, path):
            if path.name in drawn and not request.config.getoption("--optimized"):
                figure.set_layout_engine("none")
            drawn.add(path.name)
            save(figure, path)

        patch.setattr(run_directories, "save_figure", save_as_it_stands)
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
