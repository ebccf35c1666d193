"""The README's library examples run as they stand."""

import pathlib
import re

import pytest

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_there_are_examples():
    assert len(EXAMPLES) == 2
    assert all(len([line for line in example.splitlines() if line.strip()]) <= 12 for example in EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES, ids=["trajectory", "ensemble"])
def test_example_runs(example, capsys):
    exec(compile(example, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()


def test_the_exponent_of_the_example_is_that_of_brownian_motion(capsys):
    exec(compile(EXAMPLES[0], "README.md", "exec"), {})
    exponent = float(re.match(r"exponent ([\d.]+)", capsys.readouterr().out)[1])
    # the exponent of one path of 500 dimensions and 1000 steps on lags 1-100 scatters by about 0.01
    assert exponent == pytest.approx(1, abs=0.03)
