"""Arguments are taken in whatever holds the same numbers, and refused with a reason otherwise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from input_table import Argument, Option, input_tests, mode_tests

from sgd_diffusion._arrays import (
    booleans,
    host_array,
    integer,
    integer_array,
    number,
    own_precision,
)
from sgd_diffusion.errors import InputError


def in_own_precision(values):
    with own_precision("values", values) as values:
        return values


ENTRIES = [
    Argument("own_precision(value)", in_own_precision, np.arange(12.0).reshape(3, 4), single=1e-7),
    Argument(
        "host_array(value)",
        lambda values: host_array("values", values),
        np.arange(12.0).reshape(3, 4),
        single=1e-7,
    ),
    Option("integer(value)", lambda value: integer("value", value, 0, 5), 3),
]
test_inputs = input_tests(ENTRIES)
test_modes = mode_tests(ENTRIES)


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [
        ("int8", "float64"),
        ("bool", "float64"),
        ("float16", "float32"),
        (jnp.bfloat16, "float32"),
        ("float32", "float32"),
        (">f8", "float64"),
    ],
)
def test_precision_holds_every_number(dtype, precision):
    assert in_own_precision(np.ones(3, dtype)).dtype == precision


def test_integers_beyond_single_precision_are_kept():
    assert int(in_own_precision(np.array([2**31 - 1], np.int32))[0]) == 2**31 - 1


def test_traced_integers_of_narrow_types_are_kept_too():
    assert jax.jit(in_own_precision)(np.array([200], np.uint8)).tolist() == [200.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: integer("k", 7, 1, 5), r"k is 7; expected an integer in 1\.\.5"),
        (lambda: integer("k", True, 0), "k is True; expected an integer of at least 0"),
        (
            lambda: integer("steps", 0, 1, what="for a walk"),
            "expected an integer of at least 1 for a walk",
        ),
        (lambda: jax.jit(lambda k: integer("k", k))(1), "k is .*expected an integer"),
        (
            lambda: integer_array("lags", [1.0], 1, 3),
            r"lags is \[1.0\]; expected a one-dimensional array of integers in 1..3",
        ),
        (lambda: integer_array("lags", [], 1, 3), r"lags is \[\]"),
        (lambda: integer_array("lags", [1, 4], 1, 3), r"in 1\.\.3"),
        (
            lambda: number("rate", float("nan"), above=0),
            "rate is nan; expected a finite number above 0",
        ),
        (lambda: number("rate", "1"), "rate is '1'; expected a finite number"),
        (lambda: number("share", 2, at_least=0, at_most=1), "of at least 0 and of at most 1"),
        (lambda: jax.jit(lambda x: host_array("x", x))(1.0), "outside jax.jit"),
        (lambda: host_array("x", np.ma.array([1, 2], mask=[0, 1])), "1 masked entries; .*filled"),
        (lambda: host_array("x", np.ones(2, complex)), "complex128; .*real and the imaginary part"),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    "value", [2, 2.0, np.float16(2), np.int8(2), np.array(2.0), jnp.bfloat16(2), jnp.float32(2)]
)
def test_numbers_of_any_type(value):
    assert number("x", value) == 2.0


@pytest.mark.parametrize("value", [1.0, np.float64(1.0), np.array(1), True])
def test_a_boolean_without_axes_is_an_array(value):
    found = booleans("inside", value)
    assert isinstance(found, np.ndarray) and found.shape == () and found.dtype == bool and found
