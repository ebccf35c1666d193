"""The examples of README and of the site run, and print what the text around them says."""

import contextlib
import importlib
import inspect
import io
import pathlib
import re
import sys

import numpy as np
import pytest

import sgd_diffusion

ROOT = pathlib.Path(__file__).parents[1]
ROOMS = [name for name in sgd_diffusion.__all__ if inspect.ismodule(getattr(sgd_diffusion, name))]
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
            text = (ROOT / page).read_text(encoding="utf-8")
            for package in re.findall(r'^```python .*needs="(\w+)"', text, flags=re.MULTILINE):
                pytest.importorskip(package)
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


def test_what_is_recorded_is_printed(printed):
    """The numbers of a training, as others round it."""
    page = "docs/tutorials/your_pytorch_run.md"
    recorded = re.findall(r"```text\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    for output, text in zip(printed(page), recorded, strict=True):
        number = r"\d+\.?\d*"
        assert re.sub(number, "#", output) == re.sub(number, "#", text)
        found, expected = ([float(x) for x in re.findall(number, each)] for each in (output, text))
        assert found == pytest.approx(expected, abs=0.05)


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


@pytest.fixture(scope="module")
def api_pages():
    """The API pages by room, as the site has them before mkdocstrings fills them in."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        contents, public = (importlib.import_module(name) for name in ("_contents", "_public"))
    finally:
        sys.path.remove(str(ROOT / "docs"))
    entries = public.entries()
    pages = {
        room: "\n".join(contents.api_page(room, [entry for entry in entries if entry.room == room]))
        for room in public.ROOMS
    }
    return pages | {"formulas": "\n".join(contents.formula_page(entries))}


def offered(name):
    """Names and values of the `__all__` of a room, of the rooms within, and so on."""
    module = importlib.import_module(name)
    for public in module.__all__:
        value = getattr(module, public)
        if inspect.ismodule(value):
            yield from offered(value.__name__)
        else:
            yield module, public, value


def is_documented(name, value):
    """Whether a class or function has a docstring, or a constant a string below it."""
    if inspect.isclass(value) or inspect.isroutine(value):
        return bool((value.__doc__ or "").strip())
    constant = re.compile(rf'^{name} = [^\n]*\n"""', flags=re.MULTILINE)
    sources = (ROOT / "sgd_diffusion").rglob("*.py")
    return any(constant.search(source.read_text(encoding="utf-8")) for source in sources)


def missing(page, room):
    """Public names of a room that its page does not describe."""
    anchors = re.findall(r"^::: ([\w.]+)$", page, flags=re.MULTILINE)
    described = {_value(anchor) for anchor in anchors}
    offers = offered(f"sgd_diffusion.{room}")
    return {name for _, name, value in offers if id(value) not in described}


def _value(path):
    module, _, name = path.rpartition(".")
    return id(getattr(importlib.import_module(module), name))


def test_every_room_has_a_page(api_pages):
    assert set(ROOMS) == set(api_pages) - {"formulas"}
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert set(ROOMS) == set(re.findall(r"api/(\w+)\.md", navigation))


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_on_the_page_of_its_room(api_pages, room):
    assert missing(api_pages[room], room) == set()
    name = next(name for _, name, _ in offered(f"sgd_diffusion.{room}"))
    without = re.sub(rf"^::: .*\.{name}$", "", api_pages[room], flags=re.MULTILINE)
    assert missing(without, room) == {name}  # the check finds what is not there


def test_every_public_name_of_the_front_door_is_on_a_page(api_pages):
    described = {id(value) for room in ROOMS for _, _, value in offered(f"sgd_diffusion.{room}")}
    for name in sgd_diffusion.__all__:
        value = getattr(sgd_diffusion, name)
        assert name in ROOMS or id(value) in described, name


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_has_a_docstring(room):
    for module, name, value in offered(f"sgd_diffusion.{room}"):
        assert is_documented(name, value), f"{module.__name__}.{name}"


@pytest.mark.parametrize(
    ("what", "function"),
    {
        "Filter normalization": "filter_normalize",
        "Time-averaged MSD (TAMSD)": "time_averaged_msd",
        "Onset of superdiffusion, tau_0": "superdiffusion_onset",
        "Vuong's test": "stable.vuong",
        "Hill's tail index": "tails.hill",
        "Eigenvalues by thick-restart Lanczos": "top_eigenpairs",
        "Midpoint displacement": "diamond_square",
        "KL loss": "smoothed_kl",
        "Self-affinity, chi": "self_affinity",
        "Block bootstrap": "pairs.block_bootstrap",
    }.items(),
)
def test_a_formula_leads_to_its_function_in_one_step(api_pages, what, function):
    (row,) = [line for line in api_pages["formulas"].splitlines() if f"| {what} |" in line]
    label, room, anchor = re.search(r"\[`([\w.]+)`\]\(api/(\w+)\.md#([\w.]+)\)", row).groups()
    assert label == function and f"::: {anchor}\n" in api_pages[room]
