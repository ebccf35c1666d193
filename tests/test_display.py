"""Results as text: a few lines, however many curves they hold."""

import enum
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion._display import WIDTH, shown_briefly
from sgd_diffusion.analysis.ensembles import ensemble_average
from sgd_diffusion.analysis.scaling import (
    fit_crossover,
    fit_power_law,
    local_exponent,
    superdiffusion_onset,
)

X = np.arange(1.0, 101.0)
CURVES = X ** np.linspace(1.1, 1.5, 200)[:, None]


class Color(enum.Enum):
    RED = 1


@shown_briefly
class Estimate(NamedTuple):
    value: Any
    error: Any = None


@shown_briefly
@dataclass(frozen=True, repr=False)
class Summary:
    exponents: Any
    exponent_errors: Any
    x: Any = None
    x_error: Any = None


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (Estimate(1 / 3, 0.01), "Estimate(value=0.3333 ± 0.01)"),
        (Estimate(1 / 3), "Estimate(value=0.3333, error=None)"),
        (Estimate(np.arange(4), np.ones(4)), "Estimate(value=[0, 1, 2, 3] ± [1, 1, 1, 1])"),
        (Estimate(np.arange(5.0), np.ones(5)), "Estimate(value=(5,) from 0 to 4 ± all 1)"),
        (
            Estimate(np.ones((20, 3)), np.full((20, 3), np.nan)),
            "Estimate(value=(20, 3) all 1 ± none finite)",
        ),
        (
            Estimate(np.array([1.0, np.nan, 2, np.inf, 3]), 1),
            "Estimate(value=(5,) from 1 to 3, 2 not finite ± 1)",
        ),
        (Estimate(np.array([], float), 1), "Estimate(value=[] ± 1)"),
        (Estimate(np.arange(9) > 3, True), "Estimate(value=(9,), 5 True ± True)"),
        (Estimate(Color.RED, "text"), "Estimate(value=RED ± 'text')"),
        (
            Estimate({"a": np.ones(3), "b": np.ones(4)}, None),
            "Estimate(value=dict of 2 arrays with 7 numbers, error=None)",
        ),
        (Estimate(jnp.bfloat16(1.5), np.float16(2)), "Estimate(value=1.5 ± 2)"),
        (Summary(1, 2, 3, 4), "Summary(exponents=1 ± 2, x=3 ± 4)"),
        (
            Summary(np.ones(2), np.ones(2)),
            "Summary(exponents=[1, 1] ± [1, 1], x=None, x_error=None)",
        ),
        (Estimate(Estimate(1, 2), 3), "Estimate(value=Estimate(value=1 ± 2) ± 3)"),
    ],
)
def test_numbers_with_their_errors(shown, text):
    assert repr(shown) == text


def test_traced_numbers_are_shown_by_their_type():
    shown = []
    jax.jit(lambda x: shown.append(repr(Estimate(x))))(np.float32(1))
    assert shown == ["Estimate(value=float32[], error=None)"]


@pytest.mark.parametrize(
    "fit",
    [
        fit_power_law,
        fit_crossover,
        local_exponent,
        superdiffusion_onset,
        lambda x, y: ensemble_average(y, axis=-1),
    ],
)
@pytest.mark.parametrize("curves", [CURVES[0], CURVES], ids=["one curve", "200 curves"])
def test_fits_take_a_few_short_lines(fit, curves):
    lines = repr(fit(X, curves)).splitlines()
    assert len(lines) <= 8 and max(map(len, lines)) <= WIDTH
    assert lines[0][0].isupper() and all(line.startswith("    ") for line in lines[1:])


def test_lines_end_between_fields():
    text = repr(fit_power_law(X, CURVES))
    assert "exponent=(200,) from 1.1 to 1.5 ± " in text and "num_points=(200,) all 34," in text
    assert all(line.endswith((",", ")")) for line in text.splitlines())
