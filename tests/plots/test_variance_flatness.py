"""The figure of the variance-flatness relation shows the numbers of its table."""

import importlib.util
import pathlib

import numpy as np

from experiments import summaries
from sgd_diffusion import plots, tables

SPEC = importlib.util.spec_from_file_location(
    "variance_flatness_data",
    pathlib.Path(__file__).parents[1] / "tables" / "test_variance_flatness.py",
)
DATA = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(DATA)


def test_the_figure(texts):
    dataset = DATA.dataset()
    figure = plots.variance_flatness(dataset, tables.variance_flatness(dataset), seed=1)
    assert len(figure.axes) == 9
    relation = figure.axes[6]
    later = DATA.COMPONENTS > 0
    np.testing.assert_allclose(
        relation.lines[0].get_ydata(), 1e-3 * (DATA.COMPONENTS[later] + 1.0) ** -2.5
    )
    labels = texts(figure)
    assert any("4.00" in label and "psi" in label for label in labels)
    assert sum("n_{90}" in label for label in labels) == 3


def test_the_summary_says_which_nulls_have_the_number_too():
    dataset = DATA.dataset()
    scatter = np.exp(0.02 * np.random.default_rng(0).normal(size=dataset["variance"].shape))
    dataset["variance"] = dataset["variance"] * scatter
    lines = summaries.variance_flatness(dataset, tables.variance_flatness(dataset)).splitlines()
    assert max(map(len, lines)) <= 126
    (psi,) = [line for line in lines if line.startswith("psi 1-200")][:1]
    assert psi.endswith("differs from the nulls") and "4.00" in psi and "5.00" in psi
    (gamma,) = [line for line in lines if line.startswith("gamma 20-200")][:1]
    assert gamma.endswith("the nulls have it too")
    assert any("dropped: 12 of" in line for line in lines)
