"""The examples of README and of the site run, and print what the text around them says."""

import contextlib
import io
import pathlib
import re

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): re.findall(
        r"```python[^\n]*\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}


@pytest.fixture(scope="module")
def printed():
    """What the examples of a page print, run in order in one session, as a reader would."""
    pages = {}

    def run(page):
        if page not in pages:
            session, pages[page] = {}, []
            for example in PAGES[page]:
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    exec(compile(example, page, "exec"), session)
                pages[page].append(out.getvalue())
        return pages[page]

    return run


@pytest.mark.parametrize("page", [page for page, examples in PAGES.items() if examples])
def test_examples_are_short_and_print_something(printed, page):
    for example, output in zip(PAGES[page], printed(page), strict=True):
        assert len([line for line in example.splitlines() if line.strip()]) <= 18
        assert output.strip()


def test_readme_is_one_screen_of_a_project():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120 and len(PAGES["README.md"]) == 2


def numbers(words, text):
    return [float(number) for number in re.findall(rf"{words} (-?[\d.]+)", text)]


def test_exponents_are_those_of_brownian_motion(printed):
    """That of one path of 500 dimensions and 1000 steps on lags 1-100 scatters by about 0.01."""
    assert numbers("exponent", printed("README.md")[0]) == pytest.approx([1], abs=0.03)
    trajectory = printed("docs/tutorials/your_trajectory.md")
    assert numbers("exponent", "".join(trajectory)) == pytest.approx([1, 1], abs=0.03)
    share = numbers("PC 1:", trajectory[1])
    assert share == pytest.approx([6 / np.pi**2], abs=0.1)  # scatters by 0.7 / sqrt(500) = 0.03


def test_controls_tell_drift_from_correlations(printed):
    """Steps of mean 0.1 and variance 1: the MSD of a dimension is lag + lag^2/100."""
    path, without_drift, shuffled = numbers("exponent", printed("docs/tutorials/controls.md")[0])
    assert path == pytest.approx(shuffled, abs=0.05) and path > 1.15
    assert without_drift == pytest.approx(1, abs=0.05)


def test_the_stable_law_is_found_again(printed):
    output = printed("docs/tutorials/tails.md")[0]
    found = map(float, re.findall(r"[\d.]+\d", output.splitlines()[0]))
    alpha, error, scale, scale_error = found
    assert abs(alpha - 1.7) < 3 * error < 0.1 and abs(scale - 0.01) < 3 * scale_error < 0.001
    assert float(output.rpartition(": ")[2]) < 1e-6


def test_eigenvalues_are_those_of_the_regression(printed):
    """The edges of the law of Marchenko and Pastur for 500 samples in 20 dimensions."""
    output = printed("docs/tutorials/curvature.md")[0]
    values = [float(number) for number in re.search(r"\[(.*?)\]", output)[1].split()]
    assert len(values) == 3 and 2 < values[2] < values[0] < 2 * 1.2**2 * 1.1
    assert output.strip().endswith("True")


def test_walkers_meet_walls_more_often_with_the_larger_learning_rate(printed):
    output = printed("docs/tutorials/toy.md")[0].strip()
    shape, shares = re.fullmatch(r"\((.*)\) met a wall: \[(.*)\]", output).groups()
    assert shape == "4, 2, 1, 50, 51, 2"
    small, large = map(float, shares.split())
    assert 0 < small < large <= 1
