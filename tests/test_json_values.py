import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion._json_values import json_values, same_values
from sgd_diffusion.errors import InputError


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ((64, 10), [64, 10]),
        ({"a": {"b": (1, (2,))}}, {"a": {"b": [1, [2]]}}),
        ({2: 0, None: 1, True: 2, 0.5: 3}, None),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.array([[1, 2]], ">i4"), [[1, 2]]),
        (jnp.ones(2, jnp.bfloat16), [1.0, 1.0]),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.array(3), 3),
        (np.str_("a"), "a"),
        (pathlib.Path("a/b"), "a/b"),
        ({np.int16(3): 1}, {"3": 1}),
        (np.longdouble(1.5), 1.5),
    ],
)
def test_values_are_what_is_read_back(value, stored):
    found = json_values("description", value)
    assert json.loads(json.dumps(found)) == found
    assert stored is None or found == stored


def test_numbers_that_are_none_survive():
    found = json_values("description", {"noise": float("nan"), "limit": np.float32("inf")})
    assert same_values(json.loads(json.dumps(found)), found)
    assert not same_values(found, {"noise": 0.0, "limit": np.inf})


def contained():
    loop = []
    loop.append(loop)
    return loop


def deep(levels):
    return [deep(levels - 1)] if levels else 0


@pytest.mark.parametrize(
    "value",
    [
        {"f": print},
        1j,
        {1, 2},
        b"x",
        {(1, 2): 3},
        {1: "a", "1": "b"},
        np.array([1, None]),
        np.datetime64("2020-01-01"),
        np.ma.array([1, 2], mask=[0, 1]),
        jax.random.key(0),
        contained(),
        deep(200),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(InputError, match=r"^description[\w.]* (is|has) .*expected"):
        json_values("description", value)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (1, 1.0, True),
        ([1, [2]], [1, [2]], True),
        ({"a": 1}, {"a": 1, "b": None}, False),
        ([], {}, False),
        ("1", 1, False),
        (float("nan"), float("nan"), True),
        ([float("nan")], [1.0], False),
        (None, None, True),
        ([1], 1, False),
    ],
)
def test_sameness(first, second, same):
    assert same_values(first, second) is same
