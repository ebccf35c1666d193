"""Every public function of the variance-flatness relation with every kind of input, in every mode
of JAX.
"""

import numpy as np
from input_table import Argument, Integers, Number, Option, input_tests, mode_tests

from sgd_diffusion.theory import flatness

VARIANCES = np.array([100.0, 64.0, 32.0, 8.0, 2.0, 1.0])
WIDTHS = np.array([1.0, 2.0, 3.0, 5.0, 8.0, 9.0])
SERIES = np.array([[1.0, 4], [2, 3], [6, 9], [4, 5], [4, 2], [1, 0]])


def width(**changed):
    values = {"base_loss": 1.0, "factor": 2.5, "limit": 16.0, "smallest": 0.25, "ratio": 1.5}
    values |= {"tol": 0.0009765625} | changed
    return flatness.flatness(lambda x: 1 + x**2, values.pop("base_loss"), **values)


def relation(**changed):
    values = {"variances": VARIANCES, "flatnesses": WIDTHS, "first": 1, "last": 5} | changed
    return flatness.variance_flatness_exponent(
        values.pop("variances"), values.pop("flatnesses"), **values
    )


ARGUMENTS = [
    *(
        Number(f"flatness({name})", lambda x, name=name: width(**{name: x}), value)
        for name, value in {
            "base_loss": 1.0,
            "factor": 2.5,
            "limit": 16.0,
            "smallest": 0.25,
            "ratio": 1.5,
            "tol": 0.0009765625,
        }.items()
    ),
    Argument(
        "quadratic_flatness(base_loss)", lambda x: flatness.quadratic_flatness(x, 2.0), WIDTHS
    ),
    Argument(
        "quadratic_flatness(curvature)", lambda x: flatness.quadratic_flatness(2.0, x), WIDTHS
    ),
    Number(
        "quadratic_flatness(factor)",
        lambda x: flatness.quadratic_flatness(2.0, WIDTHS, factor=x),
        2.5,
    ),
    Argument("variance_flatness_exponent(variances)", lambda x: relation(variances=x), VARIANCES),
    Argument("variance_flatness_exponent(flatnesses)", lambda x: relation(flatnesses=x), WIDTHS),
    Integers(
        "variance_flatness_exponent(ranks)",
        lambda x: relation(ranks=x),
        np.array([0, 1, 2, 3, 4, 5]),
        takes_none=True,
    ),
    Option("variance_flatness_exponent(first)", lambda n: relation(first=n), 1),
    Option("variance_flatness_exponent(last)", lambda n: relation(last=n), 4),
    Argument("rank_exponent(variances)", lambda x: flatness.rank_exponent(x, first=1), VARIANCES),
    Option("rank_exponent(first)", lambda n: flatness.rank_exponent(VARIANCES, first=n), 2),
    Option("rank_exponent(last)", lambda n: flatness.rank_exponent(VARIANCES, first=0, last=n), 4),
    Argument("components_for_share(variances)", flatness.components_for_share, VARIANCES),
    Number(
        "components_for_share(share)", lambda x: flatness.components_for_share(VARIANCES, x), 0.5
    ),
    Option(
        "components_for_share(skip)", lambda n: flatness.components_for_share(VARIANCES, skip=n), 1
    ),
    Argument("correlation_times(series)", flatness.correlation_times, SERIES),
    Argument(
        "effective_temperature(slopes)", lambda x: flatness.effective_temperature(x, 0.5), SERIES
    ),
    Number(
        "effective_temperature(learning_rate)",
        lambda x: flatness.effective_temperature(SERIES, x),
        0.5,
    ),
    Argument(
        "temperature_at_base(noise)", lambda x: flatness.temperature_at_base(x, 0.5, 2), WIDTHS
    ),
    Number(
        "temperature_at_base(learning_rate)",
        lambda x: flatness.temperature_at_base(WIDTHS, x, 2),
        0.5,
    ),
    Number(
        "temperature_at_base(batch_size)",
        lambda x: flatness.temperature_at_base(WIDTHS, 0.5, x),
        2.0,
    ),
    Argument(
        "random_walk_variance(noise)",
        lambda x: flatness.random_walk_variance(x, 0.5, 2, 100),
        WIDTHS,
    ),
    Number(
        "random_walk_variance(learning_rate)",
        lambda x: flatness.random_walk_variance(WIDTHS, x, 2, 100),
        0.5,
    ),
    Number(
        "random_walk_variance(batch_size)",
        lambda x: flatness.random_walk_variance(WIDTHS, 0.5, x, 100),
        2.0,
    ),
    Option(
        "random_walk_variance(num_steps)",
        lambda n: flatness.random_walk_variance(WIDTHS, 0.5, 2, n),
        100,
    ),
]
test_inputs = input_tests(ARGUMENTS)
test_modes = mode_tests(ARGUMENTS)
