"""Compiled programs are kept for the next start, whatever the state of the directory, unless
nobody wants that.
"""

import os
import pathlib
import subprocess
import sys
import textwrap

import jax
import pytest

from experiments import anomalous_diffusion, command_line, compiled_programs
from experiments.compiled_programs import keep_compiled_programs

CHECKOUT = pathlib.Path(__file__).parents[2]
# What a program with a report returns and reports, and how many programs came from the disk; then
# the same when the files are damaged.
CHILD = """
    import jax, pathlib
    from experiments import compiled_programs
    from sgd_diffusion.dynamics.reports import report_to_host

    compiled_programs.LEAST_SECONDS = 0.0
    compiled_programs.keep_compiled_programs()
    found, reported = [], []
    jax.monitoring.register_event_listener(lambda name, **_: found.append(name.split("/")[-1]))

    def report(step, loss):
        reported.append((step, loss))

    @jax.jit
    def program(x):
        report_to_host(report, 3, x)
        return x + 1

    def run():
        found.clear(), reported.clear(), jax.clear_caches()
        print(float(program(0.5)), reported, found.count("cache_hits"))

    run()
    for kept in pathlib.Path(jax.config.jax_compilation_cache_dir).glob("*-cache"):
        kept.write_bytes(kept.read_bytes()[:-20])
    run()
    for kept in pathlib.Path(jax.config.jax_compilation_cache_dir).glob("*-cache"):
        kept.unlink()  # JAX does not write it again while it is there
    run()
    print(jax.config.jax_compilation_cache_max_size)
"""


def start(home):
    environment = {key: os.environ[key] for key in os.environ if not key.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(CHILD)],
        cwd=CHECKOUT,
        env=environment | {"XDG_CACHE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="the cache is elsewhere")
def test_a_program_with_a_report_is_kept_and_what_is_damaged_is_compiled_again(tmp_path):
    first, second = start(tmp_path), start(tmp_path)
    compiled, taken = (f"1.5 [(3, 0.5)] {hits}" for hits in (0, 1))
    bound = str(compiled_programs.MOST_BYTES)
    assert first == [compiled, compiled, compiled, bound]
    assert second == [taken, compiled, compiled, bound]
    directory = tmp_path / "sgd-diffusion" / "programs"
    assert directory.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def no_directory():
    """JAX keeps programs nowhere."""
    names = ["jax_compilation_cache_dir", "jax_enable_compilation_cache"]
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_a_directory_that_was_chosen_stays():
    before = jax.config.jax_compilation_cache_dir  # that of the tests
    keep_compiled_programs()
    assert before and jax.config.jax_compilation_cache_dir == before


def test_a_directory_that_cannot_be_used_costs_a_sentence(
    no_directory, capsys, monkeypatch, tmp_path
):
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", pathlib.Path("nowhere")):
        monkeypatch.setattr(
            compiled_programs.platformdirs, "user_cache_path", lambda *_, home=home, **__: home
        )
        keep_compiled_programs()
        said = capsys.readouterr().err
        assert said.startswith("compiled programs are not kept") and said.count("\n") == 1
        assert jax.config.jax_compilation_cache_dir is None


def test_programs_that_were_not_written_to_their_end_go(tmp_path):
    for name in ("whole-cache", "whole-atime", "cut-cache"):
        (tmp_path / name).touch()
    compiled_programs._make_ready(tmp_path)
    assert {path.name for path in tmp_path.glob("*-*")} == {"whole-cache", "whole-atime"}


def test_nothing_is_kept_on_demand(no_directory, monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "true")
    monkeypatch.setattr(sys, "argv", ["anomalous_diffusion", "--no-cache"])
    seen = []
    command_line.main(seen.append, anomalous_diffusion.PRESETS, "")
    assert not jax.config.jax_enable_compilation_cache
    assert os.environ["JAX_ENABLE_COMPILATION_CACHE"] == "false"
    assert "no_cache" not in command_line.options_as_json(seen[0])
