"""The README's library examples run as they stand."""

import contextlib
import io
import pathlib
import re

import numpy as np
import pytest

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def outputs():
    """What each example prints, run in order in one session, as a reader would."""
    printed, session = [], {}
    for example in EXAMPLES:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(example, "README.md", "exec"), session)
        printed.append(out.getvalue())
    return printed


def test_examples_are_short_and_print_something(outputs):
    assert len(outputs) == 6
    assert all(
        len([line for line in example.splitlines() if line.strip()]) <= 12 for example in EXAMPLES
    )
    assert all(output.strip() for output in outputs)


def test_the_exponents_of_the_examples_are_those_of_brownian_motion(outputs):
    found = [
        float(number)
        for output in outputs[:2]
        for number in re.findall(r"(?:exponent|drift) ([\d.]+)", output)
    ]
    assert len(found) == 3
    # the exponent of one path of 500 dimensions and 1000 steps on lags 1-100 scatters by about 0.01
    assert found == pytest.approx([1, 1, 1], abs=0.03)


def test_the_share_of_the_first_component_is_that_of_brownian_motion(outputs):
    share = float(re.search(r"PC 1: ([\d.]+)", outputs[1])[1])
    assert share == pytest.approx(6 / np.pi**2, abs=0.1)  # scatters by 0.7 / sqrt(500) = 0.03


def test_the_stable_law_of_the_example_is_found_again(outputs):
    alpha, error, scale, scale_error = map(
        float, re.findall(r"[\d.]+\d", outputs[2].splitlines()[0])
    )
    assert abs(alpha - 1.7) < 3 * error < 0.1 and abs(scale - 0.01) < 3 * scale_error < 0.001
    assert float(outputs[2].rpartition(": ")[2]) < 1e-6


def test_the_eigenvalues_of_the_example_are_those_of_the_regression(outputs):
    values = [float(number) for number in re.search(r"\[(.*?)\]", outputs[3])[1].split()]
    # of 500 samples in 20 dimensions, 2 (1 +- sqrt(20 / 500))^2, the edges of Marchenko and
    # Pastur's law
    assert len(values) == 3 and 2 < values[2] < values[0] < 2 * 1.2**2 * 1.1
    assert outputs[3].strip().endswith("True")


def test_the_walkers_of_the_example_meet_walls_more_often_with_the_larger_learning_rate(outputs):
    shape, shares = re.fullmatch(r"\((.*)\) met a wall: \[(.*)\]", outputs[4].strip()).groups()
    assert shape == "4, 2, 1, 50, 51, 2"
    small, large = map(float, shares.split())
    assert 0 < small < large <= 1
