"""The self-test: that it can fail, and, in its long form, that it passes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.self_test import __main__ as self_test
from experiments.self_test import groups
from experiments.self_test.laboratory import Check, Laboratory, check
from experiments.self_test.shapes import loss_checks

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("estimate", "error", "allowance", "passed"),
    [
        (1.29, 0.1, 0.0, True),
        (1.31, 0.1, 0.0, False),
        (0.69, 0.1, 0.0, False),
        (1.31, 0.1, 0.02, True),
        (np.nan, 0.1, 1, False),
    ],
)
def test_a_check_passes_within_three_errors_and_the_allowance(estimate, error, allowance, passed):
    assert Check("estimator", "process", 1.0, estimate, error, allowance).passed is passed


def test_an_error_from_few_paths_covers_as_much_as_three_sigma():
    """Student's t: of sound estimates from N = 5 paths as many pass as of normal ones within three
    sigma.
    """
    rng = np.random.default_rng(0)
    checks = [check("estimator", "process", 0.0, values) for values in rng.normal(size=(20_000, 5))]
    failed = sum(not found.passed for found in checks)
    expected = 20_000 * 0.0027
    assert abs(failed - expected) < 4 * np.sqrt(expected)


def test_a_wrong_estimator_fails(monkeypatch, capsys):
    def wrong_groups(lab):
        yield check("estimator", "process", 2.0, [1.0, 1.1, 0.9, 1.05, 0.95])

    monkeypatch.setattr(groups, "GROUPS", (wrong_groups,))
    assert not self_test.self_test(self_test.Options(quick=True))
    assert "FAIL" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["self_test"])
    with pytest.raises(SystemExit) as end:
        self_test.main()
    assert end.value.code == self_test.FAILED


@pytest.mark.slow
def test_losses_of_known_roughness():
    lab = Laboratory(num_paths=3, dim=20)
    results = list(loss_checks(lab))
    assert len(results) == 6 and all(result.passed for result in results), results


@pytest.mark.slow
def test_all_estimators_find_the_truth():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "experiments.self_test"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
