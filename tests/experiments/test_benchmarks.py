"""The table of benchmarks: its rows, what changed since another one, and that the groups run."""

import importlib
import io
import json
import sys

import pytest
from tqdm import tqdm

from experiments import command_line
from experiments.benchmarks import __main__ as benchmarks
from experiments.benchmarks import group, start
from experiments.benchmarks.table import changes, table


@pytest.fixture
def call(monkeypatch):
    """`call(*arguments)`: the exit code."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["benchmarks", *map(str, arguments)])
        try:
            command_line.run(benchmarks.main, benchmarks.Options, "")
        except SystemExit as exit:
            return exit.code
        return 0

    return run


def test_a_ratio_is_taken_in_every_round_and_for_a_unit_of_work():
    # The third round was slow for both, ten times: no ratio of the medians of some rounds.
    row = group.row("a", [2, 4, 20], "them", [3, 3, 30], amounts=(2, 1))
    assert row["seconds"] == {"median": 2, "min": 1, "max": 10}
    assert row["ratio"] == {"median": 3, "min": 1.5, "max": 3}


def test_the_table_tells_ratio_goal_peer_and_spread():
    text = table(
        [
            group.row("fast", [0.001, 0.002, 0.004], "them", [0.004] * 3, goal=1.5),
            group.row("slow", [2.0], "them", [1.0], goal=1.5),
            group.row("alone", [20.0], goal=12.0),
            group.row("nobody there", [3e-5], "others", None),
        ]
    )
    fast, slow, alone, nobody = (line.split("  ") for line in text.splitlines()[1:])
    assert [cell.strip() for cell in fast if cell] == [
        "fast", "2 x", ">= 1.5 x", "them", "2 ms", "1 x .. 4 x",
    ]  # fmt: skip
    assert "0.5 x !" in [cell.strip() for cell in slow]
    assert [cell.strip() for cell in alone if cell.strip()] == [
        "alone", "20 s !", "<= 12 s", "20 s", "20 s .. 20 s",
    ]  # fmt: skip
    assert [cell.strip() for cell in nobody if cell.strip()] == [
        "nobody there", "-", "others: not installed", "30 us",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (([1.0, 1.1], None), ([1.3, 1.2], None), "slower: a, beside them: 1.19 x"),
        (([1.3, 1.2], None), ([1.0, 1.1], None), "faster: a, beside them: 1.19 x"),
        (([1.0, 1.3], None), ([1.2, 1.6], None), "no change: 1 rows"),
        (([1.0, 1.0], None), ([1.04, 1.04], None), "no change: 1 rows"),
        # The machine is half as fast, for both.
        (([1.0, 1.0], [3.0, 3.0]), ([2.0, 2.0], [6.0, 6.0]), "no change: 1 rows"),
        (([1.0, 1.0], [3.0, 3.0]), ([2.0, 2.0], [3.0, 3.0]), "slower: a, beside them: 2 x"),
        # The peer is gone: seconds are compared.
        (([1.0, 1.0], [3.0, 3.0]), ([2.0, 2.0], None), "slower: a, beside them: 2 x"),
    ],
)
def test_only_what_is_beyond_the_noise_has_changed(before, now, said):
    old, new = (group.row("a", ours, "them", theirs) for ours, theirs in (before, now))
    assert changes([old], [new]).startswith(said)


def test_rows_that_one_of_the_two_lacks_are_told():
    assert changes([group.row("a", [1.0])], [group.row("b", [1.0])]).splitlines()[:2] == [
        "new: b",
        "not measured now: a",
    ]


@pytest.mark.parametrize("name", benchmarks.GROUPS)
@pytest.mark.parametrize("form", ["short", "quick"])
def test_the_forms_of_a_group_are_options_that_it_has(name, form):
    kind = importlib.import_module(f"experiments.benchmarks.{name}").Options
    assert command_line.read(kind, "", getattr(benchmarks.GROUPS[name], form).split())


def test_a_first_update_is_seen_on_the_bar_and_not_before():
    for count, seen in ((0, False), (50, True)):
        said = io.StringIO()
        with tqdm(total=30_000, unit=" steps", desc="compiling", file=said) as bar:
            bar.update(count)
            bar.refresh()
            assert bool(start.STARTED.search(said.getvalue().encode())) == seen


def test_the_same_beside_several_peers_is_several_rows():
    old = [group.row("a", [1.0], peer, [2.0]) for peer in ("them", "others")]
    new = [old[0], group.row("a", [1.0], "others", [1.0])]
    assert changes(old, new).splitlines()[0] == "slower: a, beside others: 2 x"
    assert changes(old, new).splitlines()[1].startswith("no change: 1 rows")


def test_a_file_that_holds_no_results_is_refused(call, tmp_path, capsys):
    (tmp_path / "old.json").write_text("[]")
    assert call("--compare", tmp_path / "old.json") == command_line.UNUSABLE
    assert "holds no results of this program" in capsys.readouterr().err
    assert call("--compare", tmp_path / "none.json") == command_line.UNUSABLE
    assert call("--groups", "limits") == command_line.UNUSABLE


def test_a_group_runs_in_its_process_and_is_compared_with_itself(call, tmp_path, capsys):
    file = tmp_path / "now.json"
    assert call("--groups", "limiting", "--quick", "--json", file) == 0
    report = json.loads(file.read_text())
    assert report["groups"]["limiting"]["machine"]["packages"]["jax"]
    assert "stationary_msd of 10 modes at 10 lags" in capsys.readouterr().out
    rows = benchmarks.rows(report)
    assert changes(rows, rows).startswith("no change: 2 rows")


@pytest.mark.slow
@pytest.mark.parametrize("name", benchmarks.GROUPS)
def test_every_group_runs(name):
    found = benchmarks.measured(name, quick=True)
    assert found["rows"] or found["left_out"]


def test_a_group_that_fails_does_not_stop_the_others(call, monkeypatch, capsys):
    wrong = benchmarks.GROUPS["limiting"]._replace(quick="--modes 0")
    monkeypatch.setitem(benchmarks.GROUPS, "limiting", wrong)
    assert call("--groups", "limiting", "--quick") == 1
    assert "limiting: failed with exit code 2" in capsys.readouterr().err
