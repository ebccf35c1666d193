"""Progress says what is being done: compiling, windows, what comes at their ends, and phases by
name.
"""

import sys
import time

import pytest

from experiments.progress import STYLE, PointProgress, Progress, phase


def test_windows_and_what_is_done_at_their_ends(capsys):
    progress = Progress([120, 240], num_members=2, at_ends="Hessian spectra")
    assert progress._bar.desc.startswith("compiling")
    seen = []
    for window in range(2):
        for _ in range(3):  # reports of 120 updates at offsets 0, 50 and 100
            for _ in range(2):
                progress.report(0, 0.5)
                seen.append((progress._bar.desc.rstrip(": "), progress._bar.n))
        progress.window(window, None)
    progress.close()
    assert seen[0] == ("window 1/2", 50) and seen[5] == ("window 1/2, Hessian spectra", 240)
    assert seen[6] == ("window 2/2", 290) and seen[-1] == ("window 2/2, Hessian spectra", 480)
    assert "loss 0.5" in capsys.readouterr().err


def test_nobody_is_told_where_there_is_no_bar(monkeypatch, capsys):
    monkeypatch.setitem(STYLE, "disable", True)
    progress = Progress([120, 240], num_members=2)
    assert progress.report is None
    progress.window(0, None)
    progress.close()
    assert not capsys.readouterr().err


def test_a_phase_is_named_with_its_seconds(capsys):
    with phase("figures"):
        assert "figures: 00:00" in capsys.readouterr().err
    with pytest.raises(ValueError), phase("fits"):
        raise ValueError


def test_the_clock_of_a_phase_goes_on_in_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with phase("fits"):
        time.sleep(1.5)
        assert "fits: 00:01" in capsys.readouterr().err


def test_points_of_planes_that_are_named(capsys):
    progress = PointProgress(200)
    progress.doing("random plane of seed 0")
    report = progress.plane()
    report(0, 100)
    report(100, 100)
    progress.skip(100)
    assert progress._bar.n == 200 and progress._bar.desc.startswith("random plane of seed 0")
    progress.close()
    capsys.readouterr()
