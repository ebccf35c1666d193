"""The benchmark of a device: its verdicts, its candidates, and its small form from end to end."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import progress
from experiments.accelerators import facts
from experiments.benchmarks import accelerator, timing
from experiments.benchmarks.questions import curvature, ensembles, products
from experiments.benchmarks.questions.catalogue import catalogue
from experiments.benchmarks.questions.measuring import measured
from experiments.benchmarks.questions.question import (
    Candidate,
    Made,
    Question,
    answer,
    choice,
    differ,
)
from sgd_diffusion._platforms import traced_on
from sgd_diffusion.problems.convolution import FORMULATIONS

QUICK = accelerator.PRESETS["quick"]
ANSWERS = ("default proved", "refuted: ", "no difference beyond the spread")


@pytest.fixture
def call(monkeypatch):
    """`call(*arguments)`: the exit code."""
    monkeypatch.setitem(progress.STYLE, "disable", True)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["accelerator", *map(str, arguments)])
        try:
            accelerator.program()
        except SystemExit as exit:
            return exit.code
        return 0

    return run


def row(median, spread=0.0, amount=1):
    return {
        "median": median,
        "min": median * (1 - spread),
        "max": median * (1 + spread),
        "amount": amount,
    }


FAILED = {"error": "ValueError: no"}


@pytest.mark.parametrize(
    ("mine", "others", "verdict"),
    [
        (row(1.0), [row(3.1), row(4.0)], "a is 3.1 x as fast as b: default proved"),
        (row(3.0), [row(4.0), row(1.0)], "refuted: c is 3 x as fast as a"),
        (row(3.0), [row(4.0, amount=8), FAILED], "refuted: b is 6 x as fast as a"),
        (row(1.0, 0.2), [row(1.3, 0.2)], "no difference beyond the spread: b takes 1.3 x"),
        (row(1.0), [row(1.04)], "no difference beyond the spread: b takes 1.04 x"),
        (FAILED, [row(1.0), row(2.0)], "refuted: a fails (ValueError: no); b works"),
        (FAILED, [FAILED], "refuted: a fails (ValueError: no); so do all others"),
        (row(1.0), [FAILED, FAILED], "all others fail: default proved (a)"),
    ],
)
def test_a_choice_is_judged_by_the_time_of_a_unit_of_work(mine, others, verdict):
    rows = dict(zip("abc", [mine, *others], strict=False))
    assert choice("a", list(rows)[1:])(rows).startswith(verdict)


def test_ways_differ_if_no_run_of_one_reaches_the_other_and_by_more_than_the_margin():
    assert differ(row(1.0, 0.1), row(1.5, 0.1)) and differ(row(1.5, 0.1), row(1.0, 0.1))
    assert not differ(row(1.0, 0.3), row(1.5, 0.3))
    assert not differ(row(1.0), row(1.03))


def judged(name, **facts):
    """The verdict of a question of the small form on rows with these medians, or facts of them."""
    (question,) = (each for each in catalogue(QUICK) if each.name == name)
    found = {
        each.name: row(0.1) | {"facts": {}, "compile": 1.0} | facts.get(f"row{number}", {})
        for number, each in enumerate(question.candidates)
    }
    return answer(question, found)


@pytest.mark.parametrize(
    ("errors", "verdict"),
    [((1e-7, 1e-2), "proved"), ((1e-7, 2e-7), "does not round"), ((1e-3, 1e-2), "refuted: ")],
)
def test_full_precision_is_judged_by_errors(errors, verdict):
    for name in ("precision of Hessian products", "precision of losses along a path"):
        exact, rounded = ({"facts": {"relative_error": error}} for error in errors)
        assert verdict in judged(name, row0=exact, row1=rounded)


@pytest.mark.parametrize(
    ("seconds", "error", "verdict"),
    [(0.4, 1e-12, "proved"), (0.6, 1e-12, "refuted: "), (0.4, 1e-3, "refuted: ")],
)
def test_the_gram_matrix_may_take_a_quarter_of_the_training(seconds, error, verdict):
    """The 20 steps take 2 s here: a run is four members with 0.1 s for each."""
    mine = {"median": seconds, "facts": {"error_of_displacements": error}}
    other = {"facts": {"error_of_displacements": 1e-3}}
    said = judged("Gram matrix", row0=mine, row1=other)
    assert verdict in said and f"{seconds / 2:.2%} of training digits" in said


def test_what_a_window_costs_beside_its_updates_is_judged_by_shares():
    assert "proved" in judged("results of a window, digits", row1=row(0.004))
    assert "refuted: copies take 10.00%" in judged("results of a window, digits", row1=row(0.01))
    assert "refuted: reports make a window +100.0%" in judged(
        "reports from a window, digits", row1=row(0.2)
    )
    assert "as long as 100 updates" in judged("compilation of a window, digits")
    assert "refuted: " in judged("compilation of a window, digits", row0={"compile": 100.0})
    few, many = ({"facts": {"products": count}, "median": 1.0} for count in (4, 8))
    assert "refuted: 4 products of 100 ms are 40%" in judged("top eigenpairs", row1=few)
    assert "proved" in judged("top eigenpairs", row1=many)
    assert judged("top eigenpairs", row0=FAILED).startswith("open: Hessian product, full")


def matrices(size):
    return Made(jax.jit(jnp.matmul), (jnp.ones((size, size)),) * 2, amount=2, passes=1)


def test_what_is_measured_of_a_candidate():
    def make():
        return matrices(8)._replace(facts=lambda result: {"corner": float(result[0, 0])})

    found = measured(Candidate("a", "products", make), repeats=4, patience=100)
    assert found["unit"] == "products" and found["runs"] == 4
    assert 0 < found["min"] <= found["median"] <= found["max"] and found["first"] > 0
    assert found["per_second"] * found["median"] == pytest.approx(2)
    assert found["flops_per_second"] * found["median"] == pytest.approx(2 * 8**3)
    assert found["bytes_at_peak"] >= 3 * 4 * 8**2 and found["facts"] == {"corner": 8.0}
    assert found["seconds"] > found["compile"] > 0


def test_a_slow_candidate_runs_three_times():
    found, result = timing.in_a_row(lambda: 7, repeats=100, patience=0)
    assert found["runs"] == timing.FEWEST == 3 and result == 7
    assert timing.in_a_row(lambda: 7, repeats=5, patience=100)[0]["runs"] == 5


def test_a_program_that_needs_more_memory_than_there_is_is_not_run():
    def make():
        huge = jax.jit(lambda x: jnp.cumsum(jnp.full((2**42,), x)))
        return Made(huge, (jnp.float32(1),))

    found = measured(Candidate("huge", "sums", make), repeats=3, patience=1)
    assert "huge needs about" in found["error"] and set(found) == {"error", "seconds"}


def precisions(made, platform):
    with traced_on(platform):
        lowered = made.function.trace(*made.arguments).lower(
            lowering_platforms=("cuda" if platform == "gpu" else platform,)
        )
    return {(each.kind, each.dtype, each.precision) for each in facts.products(lowered)}


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_candidates_have_the_precision_of_their_names_on_accelerators(platform):
    for rounded, expected in ((False, "HIGHEST"), (True, "DEFAULT")):
        product = curvature._of_product(QUICK, rounded).make()
        line = curvature._of_line(QUICK, rounded).make()
        for made in (product, line):
            assert {found[2] for found in precisions(made, platform)} == {expected}
    for dtype, expected in (("float64", "f64"), ("float32", "f32")):
        made = products._gram(QUICK, products.TYPES[dtype])
        assert precisions(made, platform) == {("dot_general", expected, "HIGHEST")}


def test_members_are_mapped_as_their_names_say_on_a_gpu():
    with traced_on("gpu"):
        assert ensembles.default(QUICK, "digits").name == "digits, 4 members, vmap"
        grouped, by_patches, exact = (
            ensembles.Training("digits", 4, 4, **options)._made(QUICK)
            for options in ({}, {"formulation": "patches"}, {"precision": "float32"})
        )
    found = [precisions(each, "gpu") for each in (grouped, by_patches, exact)]
    kinds = [{kind for kind, _, _ in each} for each in found]
    assert kinds == [{"convolution", "dot_general"}, {"dot_general"}, kinds[0]]
    assert [{precision for _, _, precision in each} for each in found] == [
        {"DEFAULT"},
        {"DEFAULT"},
        {"HIGHEST"},
    ]


def test_formulations_of_a_layer_agree():
    results = [
        made.function(*made.arguments)
        for made in (
            products._layer(QUICK, (3, 4, 4, 2), (3, 3, 2, 2), formulation, 2)
            for formulation in FORMULATIONS
        )
    ]
    for other in results[1:]:
        for one, same in zip(results[0], other, strict=True):
            np.testing.assert_allclose(one, same, rtol=1e-4, atol=1e-6)


def test_the_normal_form_asks_about_both_sizes_of_images_and_names_places_that_exist():
    questions = catalogue(accelerator.Options())
    names = [question.name for question in questions]
    assert len(set(names)) == len(names)
    assert {"mapping of members, digits", "mapping of members, cifar10"} <= set(names[:2])
    for question in questions:
        assert question.default and question.candidates
        module, _, _ = question.where.partition("(")
        module = module.split(",")[0]
        while module not in sys.modules and "." in module:
            module = module.rpartition(".")[0]
        rest = question.where.split(",")[0].partition("(")[0].removeprefix(module).split(".")[1:]
        place = sys.modules[module]
        for name in rest:
            place = getattr(place, name)
        assert module not in ("sgd_diffusion", "experiments")


@pytest.fixture
def two_questions(monkeypatch):
    """Three candidates, of which the second fails; returns the list of those that were made."""
    made = []

    def candidate(name):
        def make():
            made.append(name)
            if name == "fails":
                raise MemoryError("too much\nof it")
            return matrices(4)

        return Candidate(name, "products", make)

    one, fails, other = map(candidate, ("one", "fails", "other"))
    questions = (
        Question("first", "Which?", "one", "here", (one, fails), choice("one", ["fails"])),
        Question("second", "Which?", "fails", "here", (other, fails), choice("fails", ["other"])),
    )
    monkeypatch.setattr(accelerator, "catalogue", lambda options: questions)
    return made


def test_a_candidate_that_fails_is_a_result_and_is_measured_once(
    call, two_questions, capsys, tmp_path
):
    file = tmp_path / "facts.json"
    assert call("--quick", "--json", file) == 0
    said = capsys.readouterr().out
    assert "MemoryError: too much" in said and "of it" not in said
    assert "first: all others fail: default proved (one)" in said
    assert "second: refuted: fails fails (MemoryError: too much); other works" in said
    assert two_questions == ["one", "fails", "other"]
    assert json.loads(file.read_text())["rows"]["fails"]["error"] == "MemoryError: too much"


def test_a_second_call_goes_on_where_the_time_of_the_first_was_over(
    call, two_questions, monkeypatch, capsys, tmp_path
):
    file, now = tmp_path / "facts.json", [0.0]
    monkeypatch.setattr(accelerator, "monotonic", lambda: now[0] + 61 * len(two_questions))
    assert call("--quick", "--minutes", 2, "--json", file) == 0
    said = capsys.readouterr().out
    assert two_questions == ["one", "fails"]
    assert "second: open: not reached: other" in said and "Not reached: 1 candidates" in said
    report = json.loads(file.read_text())
    assert report["not_reached"] == ["other"] and set(report["rows"]) == {"one", "fails"}
    assert call("--quick", "--minutes", 5, "--json", file) == 0
    assert two_questions == ["one", "fails", "other"]
    after = json.loads(file.read_text())
    assert after["not_reached"] == [] and len(after["calls"]) == 2
    assert after["rows"].items() > report["rows"].items()
    assert "refuted" in after["questions"][1]["verdict"]


def test_without_time_all_questions_are_said_to_be_open(call, capsys, tmp_path):
    file = tmp_path / "facts.json"
    assert call("--minutes", 0, "--json", file) == 0
    said, report = capsys.readouterr().out, json.loads(file.read_text())
    for question in catalogue(accelerator.Options()):
        assert f"  {question.name}: open: not reached: {question.candidates[0].name}" in said
    assert report["rows"] == {} and len(report["not_reached"]) > 50


def test_a_file_of_something_else_is_refused(call, two_questions, capsys, tmp_path):
    file = tmp_path / "facts.json"
    assert call("--quick", "--json", file) == 0
    report = file.read_text()

    def with_another(part, name):
        changed = json.loads(report)
        changed["identity"][part][name] = "another"
        return json.dumps(changed)

    capsys.readouterr()
    for content, more, words in (
        (report, ["--members", 5], "options.members is 4 there and 5 here"),
        (with_another("device", "kind"), [], "device.kind is 'another' there and 'cpu' here"),
        (with_another("packages", "jax"), [], "packages.jax is 'another' there and "),
        ("[]", [], "holds no results of this program"),
        ("{", [], "holds no results of this program"),
    ):
        file.write_text(content)
        assert call("--quick", *more, "--json", file) == 2
        said = capsys.readouterr()
        assert words in said.err and "expected" in said.err and "Traceback" not in said.err
        assert file.read_text() == content and not said.out


def test_a_place_that_cannot_be_written_is_refused_before_any_work(
    call, two_questions, capsys, tmp_path
):
    assert call("--quick", "--json", tmp_path / "no" / "facts.json") == 2
    said = capsys.readouterr()
    assert "Cannot write" in said.err and not said.out and not two_questions


def test_stable_fits_are_compared_with_the_host_where_the_device_is_another():
    def ways():
        (fits,) = (each for each in catalogue(QUICK) if each.name == "stable fits")
        return [each.name for each in fits.candidates]

    with traced_on("gpu"):
        assert ways()[2:] == ["stable fits, on the host"]
        (fits,) = (each for each in catalogue(QUICK) if each.name == "stable fits")
    on_host = fits.candidates[2].make()
    one = fits.candidates[0].make().function()
    np.testing.assert_array_equal(on_host.function().alpha, one.alpha)
    assert len(ways()) == 2


# One of each room; with all of them the small form compiles for a quarter of a minute.
SOME = (
    "convolution of 8 x 8 x 2, 4 kernels",
    "Gram matrix",
    "precision of Hessian products",
    "precision of losses along a path",
    "number of walkers",
    "results of a window, digits",
    "top eigenpairs",
)
ALL = tuple(question.name for question in catalogue(QUICK))


@pytest.mark.parametrize("names", [SOME, pytest.param(ALL, marks=pytest.mark.slow)])
def test_the_small_form_answers_its_questions(call, capsys, monkeypatch, tmp_path, names):
    chosen = [question for question in catalogue(QUICK) if question.name in names]
    assert len(chosen) == len(names)
    monkeypatch.setattr(accelerator, "catalogue", lambda sizes: chosen)
    file = tmp_path / "facts.json"
    assert call("--quick", "--json", file) == 0
    said, report = capsys.readouterr().out, json.loads(file.read_text())
    rows = report["rows"]
    assert not [row for row in rows.values() if "error" in row] and report["not_reached"] == []
    for question, wanted in zip(report["questions"], chosen, strict=True):
        assert question["name"] == wanted.name and question["verdict"] == answer(wanted, rows)
        assert any(words in question["verdict"] for words in ANSWERS)
        assert said.count(question["verdict"]) >= 2  # below its table, and at the end
    assert rows["Gram matrix in float64"]["facts"]["error_of_displacements"] < 1e-12
    assert 1e-9 < rows["Gram matrix in float32"]["facts"]["error_of_displacements"] < 1e-4
    for name in (
        "Hessian product, full precision",
        "losses along a line, 1 at once, full precision",
    ):
        assert 0 < rows[name]["facts"]["relative_error"] < curvature.EXACT
    assert rows["2 top eigenpairs"]["facts"]["largest_relative_residual"] < curvature.TOLERANCE
    assert report["calls"][0]["device"]["platform"] == jax.default_backend()
