"""All kinds of numbers as arguments of the searches for saddles, in all modes of JAX."""

import numpy as np
import pytest
from input_table import Number, Option, input_tests, mode_tests

from sgd_diffusion.landscape.saddles import critical_point, nudged_elastic_band

START, END = np.array([2.0, 1.0]), np.array([0.0, 1.0])


def loss(x):
    return ((x - 1.0) ** 4).sum() - ((x - 1.0) ** 2).sum()


def point(start=START, **options):
    return critical_point(loss, start, **({"max_steps": 2} | options))


def band(start=START, end=END, **options):
    return nudged_elastic_band(loss, start, end, **({"num_images": 3, "max_steps": 2} | options))


NUMBERS = [
    Option("critical_point(index)", lambda n: point(index=n), 1, eager=False),
    Option("critical_point(max_steps)", lambda n: point(max_steps=n), 2, eager=False),
    Number("critical_point(tolerance)", lambda value: point(tolerance=value), 0.5, eager=False),
    Number("critical_point(max_step)", lambda value: point(max_step=value), 0.5, eager=False),
    Option("nudged_elastic_band(num_images)", lambda n: band(num_images=n), 3, eager=False),
    Option("nudged_elastic_band(max_steps)", lambda n: band(max_steps=n), 2, eager=False),
    Number("nudged_elastic_band(tolerance)", lambda x: band(tolerance=x), 0.5, eager=False),
]
# Integers are refused as starts, as elsewhere for weights: they have no derivatives. A search is
# traced anew for every number.
test_numbers = pytest.mark.slow(input_tests(NUMBERS))
test_modes = mode_tests(NUMBERS)
