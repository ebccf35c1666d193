"""The command that compiles for devices that are not at hand: on CPU, and with the compilers."""

import importlib.util
import json
import sys

import jax
import jax.numpy as jnp
import pytest

from experiments import command_line, compile_for
from experiments.accelerators import compiling
from experiments.accelerators.chips import CHIPS, Chip
from experiments.accelerators.programs import Part, Program

ABSENT = "a_module_that_nobody_has"


@pytest.fixture
def call(monkeypatch):
    """`call(*arguments)`: the exit code."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["compile_for", *map(str, arguments)])
        try:
            command_line.run(compile_for.main, compile_for.Options, compile_for.__doc__)
        except SystemExit as exit:
            return exit.code
        return 0

    return run


@pytest.fixture
def on_cpu(monkeypatch):
    """Compile two small programs for the CPU in place of a chip; the second one cannot be."""

    def product(devices):
        square = jax.ShapeDtypeStruct((4, 4), jnp.float32)
        return jax.jit(lambda a: a @ a), (square,)

    def fails(devices):
        raise ValueError("no such program\nand more")

    programs = [
        Program("one", "quick", "product", Part(product)),
        Program("two", "quick", "nothing", Part(fails)),
    ]
    monkeypatch.setattr(compiling, "catalogue", lambda: programs)
    monkeypatch.setattr(Chip, "devices", lambda self, topology=None: jax.devices()[:1])
    monkeypatch.setitem(CHIPS, "h100", CHIPS["h100"]._replace(platform="cpu", module="jax"))


def test_prints_and_writes_what_is_known_of_a_program(call, on_cpu, capsys, tmp_path):
    file = tmp_path / "facts.json"
    assert call("h100", "--programs", "one/*", "--json", file) == 0
    said = capsys.readouterr().out
    assert "one/quick/product" in said and "1 dot_general of f32, DEFAULT: 128 FLOP" in said
    report = json.loads(file.read_text())
    assert report["chip"]["name"] == "h100" and report["chip"]["count"] == 1
    assert report["chip"]["compiler"] == f"jax {jax.__version__}"
    (row,) = report["programs"]
    assert row["program"] == "one/quick/product" and row["bytes_of_arguments"] == 64
    assert row["estimated_seconds"] > 0


def test_a_program_that_does_not_compile_is_a_row_and_the_exit_code_is_1(
    call, on_cpu, capsys, tmp_path
):
    file = tmp_path / "facts.json"
    assert call("h100", "--json", file) == 1
    said = capsys.readouterr()
    assert "two/quick/nothing\n  ValueError: no such program\n" in said.out
    assert "1 of 2 programs do not compile" in said.err
    rows = json.loads(file.read_text())["programs"]
    assert "error" not in rows[0] and rows[1]["error"] == "ValueError: no such program"


def test_a_file_is_gone_on_with(call, on_cpu, capsys, tmp_path):
    file = tmp_path / "facts.json"
    assert call("h100", "--programs", "one/*", "--json", file) == 0
    (row,) = json.loads(file.read_text())["programs"]
    capsys.readouterr()
    assert call("h100", "--json", file) == 1
    assert capsys.readouterr().out.startswith("1 programs for 1 x h100\ntwo/quick/nothing\n")
    rows = json.loads(file.read_text())["programs"]
    assert rows[0] == row and "error" in rows[1]  # which is tried again
    assert call("h100", "--json", file) == 1
    assert "two/quick/nothing" in capsys.readouterr().out


@pytest.mark.parametrize("text", ['{"chip": {}, "machine": {"packages": {}}, "programs": []}', "["])
def test_a_file_of_something_else_is_refused(call, on_cpu, capsys, tmp_path, text):
    file = tmp_path / "facts.json"
    file.write_text(text)
    assert call("h100", "--json", file) == 2
    assert f"--json is {file}, which has no results for this chip" in capsys.readouterr().err
    assert file.read_text() == text


def test_names_can_be_listed(call, capsys):
    assert call("tpu-v5e", "--list", "--programs", "freezing/quick/sweep") == 0
    assert capsys.readouterr().out == "freezing/quick/sweep\n"


def test_a_pattern_without_a_program_is_refused(call, capsys):
    assert call("tpu-v5e", "--programs", "nothing/*") == 2
    assert "--programs is nothing/*; expected patterns that name a program" in (
        capsys.readouterr().err
    )


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_compiled(
    call, on_cpu, capsys, tmp_path
):
    assert call("h100", "--json", tmp_path / "none" / "facts.json") == 2
    said = capsys.readouterr()
    assert "No such file or directory" in said.err and "quick" not in said.out


@pytest.mark.parametrize("name", CHIPS)
def test_a_compiler_that_is_not_installed_is_named_with_the_way_out(
    call, monkeypatch, capsys, tmp_path, name
):
    monkeypatch.setitem(CHIPS, name, CHIPS[name]._replace(module=ABSENT))
    file = tmp_path / "facts.json"
    assert call(name, "--programs", "freezing/quick/sweep", "--json", file) == 2
    said = capsys.readouterr().err
    assert ABSENT in said and "pip install '.[aot]'" in said
    assert not file.exists()


COMPILED = [
    "sweep/quick/model=fc2,batch_size=64/*",
    "fractal_toy/quick/landscapes",
    "fractal_toy/quick/smoothed",
]


@pytest.mark.aot
@pytest.mark.parametrize(
    ("name", "topology"), [("tpu-v5e", None), ("tpu-v5e", "2x2"), ("h100", None), ("h100", "2")]
)
def test_compiles_for_a_chip(call, name, topology, tmp_path):
    chip = CHIPS[name]
    if importlib.util.find_spec(chip.module) is None:
        pytest.skip(f"{chip.module} is not installed: pip install '.[aot]'")
    file = tmp_path / "facts.json"
    spread = ["--topology", topology] if topology else []
    assert call(name, "--programs", *COMPILED, "--json", file, *spread) == 0
    report = json.loads(file.read_text())
    rows = {row["program"]: row for row in report["programs"]}
    assert len(rows) == 6 and report["chip"]["count"] == {None: 1, "2": 2, "2x2": 4}[topology]
    for row in rows.values():
        assert 0 < row["bytes_at_peak"] < chip.memory
        assert not row["collectives"]  # members do not talk to one another
    window = rows["sweep/quick/model=fc2,batch_size=64/window"]
    exact = {each["dtype"] for each in window["products"] if each["precision"] == "HIGHEST"}
    assert exact == {"f32" if chip.platform == "tpu" else "f64"}
    if chip.platform == "tpu":
        assert window["flops"] > 0 and window["bytes_moved"] > 0
