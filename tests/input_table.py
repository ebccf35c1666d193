"""One table of inputs for every public function: all kinds of arrays and integers, in all modes of
JAX.

A test file lists the arguments of its room and takes the tests from here::

    from input_table import Argument, Option, input_tests, mode_tests

    ARGUMENTS = [
        Argument("time_averaged_msd(step_gram)", time_averaged_msd, GRAM),
        Option("displacement_from_start(waiting_time)", lambda t: displacement_from_start(GRAM,
        waiting_time=t), 3),
    ]
    test_inputs = input_tests(ARGUMENTS)
    test_modes = mode_tests(ARGUMENTS)

Every kind of input has to give what the float64 array of the same numbers gives, or InputError;
never another exception or warning, and never another number. pytest's last lines say how many
inputs were tried.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.errors import InputError

try:
    import torch
except ModuleNotFoundError:
    torch = None

DOUBLE = 1e-9  # relative tolerance where the numbers arrive in double precision


class Argument(NamedTuple):
    """An argument of a public function that takes an array.

    Attributes:
        name: as "function(argument)".
        call: the function of this argument alone.
        value: float64 array; whole numbers in 0..100, which every type holds.
        single: relative tolerance of results from numbers of 16 and 32 bits.
        takes_complex: whether complex numbers have a meaning there; refused otherwise.
        takes_list: whether a list of arrays is this array; False where a list has another meaning.
        takes_none: whether None has a meaning there.
        eager: whether it finishes soon under jax_disable_jit.
    """

    name: str
    call: Callable[[Any], Any]
    value: np.ndarray
    single: float = 1e-4
    takes_complex: bool = False
    takes_list: bool = True
    takes_none: bool = False
    eager: bool = True


class Integers(NamedTuple):
    """An argument that takes an int64 array in all types that integers have, and refuses other
    numbers.
    """

    name: str
    call: Callable[[Any], Any]
    value: np.ndarray
    takes_none: bool = False
    eager: bool = True


class Option(NamedTuple):
    """An integer option of a public function: its value in the types that integers have, and
    others, which it refuses.
    """

    name: str
    call: Callable[[Any], Any]
    value: int
    eager: bool = True


class Number(NamedTuple):
    """A real option of a public function: its value, which 16 bits hold, in all types, and others,
    which it refuses.
    """

    name: str
    call: Callable[[Any], Any]
    value: float
    eager: bool = True


class Kind(NamedTuple):
    """How a float64 array becomes an input, and what has to come out."""

    make: Callable[[np.ndarray], Any]
    # "value" of the float64 array, "refused", or "any": whatever the function documents for it
    expected: str
    single: bool = False


def _typed(dtype):
    return lambda value: np.asarray(value).astype(dtype)[()]


def _read_only(value):
    value = value.copy()
    value.setflags(write=False)
    return value


def _spread_out(value):
    """The same numbers, not next to one another in memory."""
    return np.repeat(value, 2, axis=-1)[..., ::2] if value.ndim else value


def _first_set(number):
    def make(value):
        value = value.copy()
        value.flat[:1] = number
        return value

    return make


def _masked(value):
    mask = np.zeros(value.shape, bool)
    mask.flat[:1] = True
    return np.ma.array(value, mask=mask)


ARRAYS = {
    "bool": Kind(lambda value: value > np.median(value), "value"),
    **{kind: Kind(_typed(kind), "value") for kind in ("uint8", "uint16", "uint32", "uint64")},
    **{kind: Kind(_typed(kind), "value") for kind in ("int8", "int16", "int32", "int64")},
    **{kind: Kind(_typed(kind), "value", single=True) for kind in ("float16", "float32")},
    "bfloat16": Kind(_typed(jnp.bfloat16), "value", single=True),
    "longdouble": Kind(_typed(np.longdouble), "value"),
    "big-endian float": Kind(_typed(">f8"), "value"),
    "big-endian integer": Kind(_typed(">i4"), "value"),
    "read-only": Kind(_read_only, "value"),
    "strided": Kind(_spread_out, "value"),
    "Fortran order": Kind(np.asfortranarray, "value"),
    "reversed twice": Kind(lambda value: np.flip(np.flip(value).copy()), "value"),
    "nested lists": Kind(lambda value: value.tolist(), "value"),
    "list of arrays": Kind(lambda value: list(value) if value.ndim else value.tolist(), "value"),
    "JAX array": Kind(lambda value: jnp.asarray(value, jnp.float32), "value", single=True),
    "JAX integers": Kind(lambda value: jnp.asarray(value, jnp.int32), "value"),
    "nothing masked": Kind(np.ma.array, "value"),
    "one masked": Kind(_masked, "refused"),
    "complex64": Kind(_typed("complex64"), "refused", single=True),
    "complex128": Kind(_typed("complex128"), "refused"),
    "objects": Kind(_typed(object), "refused"),
    "strings": Kind(_typed(str), "refused"),
    "None": Kind(lambda value: None, "refused"),
    "ragged": Kind(lambda value: [[1.0], [1.0, 2.0]], "refused"),
    "NaN": Kind(_first_set(np.nan), "any"),
    "infinity": Kind(_first_set(np.inf), "any"),
    "empty": Kind(lambda value: np.atleast_1d(value)[:0], "any"),
    "one element": Kind(lambda value: np.atleast_1d(value)[:1], "any"),
    "zero-dimensional": Kind(lambda value: np.float64(1.0), "any"),
}
if torch is not None:
    ARRAYS["torch tensor"] = Kind(
        lambda value: torch.tensor(value.tolist(), dtype=torch.float64), "value"
    )
    ARRAYS["torch integers"] = Kind(lambda value: torch.tensor(value.astype(int).tolist()), "value")
    ARRAYS["torch with gradient"] = Kind(
        lambda value: torch.tensor(value.tolist(), requires_grad=True), "refused"
    )

# What an argument of integers takes of these; NaN, infinity and what has a gradient are none.
WHOLE = (
    "int",
    "read-only",
    "strided",
    "Fortran",
    "reversed",
    "nested",
    "list of",
    "JAX integers",
    "nothing",
    "torch integers",
)
INTEGER_ARRAYS = {
    name: kind
    if kind.expected != "value" or any(word in name for word in WHOLE)
    else kind._replace(expected="refused")
    for name, kind in ARRAYS.items()
    if name not in ("NaN", "infinity", "torch with gradient")
}

NUMBERS = {
    **{
        kind: Kind(_typed(kind), "value")
        for kind in ("float16", "float32", "float64", "longdouble")
    },
    "float": Kind(float, "value"),
    "zero-dimensional": Kind(np.array, "value"),
    "JAX": Kind(lambda value: jnp.asarray(value, jnp.float32), "value"),
    "NaN": Kind(lambda value: float("nan"), "refused"),
    "infinity": Kind(lambda value: np.float64("inf"), "refused"),
    "bool": Kind(lambda value: True, "refused"),
    "string": Kind(str, "refused"),
    "list": Kind(lambda value: [value], "refused"),
    "complex": Kind(complex, "refused"),
    "masked": Kind(lambda value: np.ma.masked, "refused"),
    "huge": Kind(lambda value: 10**400, "refused"),
}

INTEGERS = {
    **{
        kind: Kind(lambda value, kind=kind: np.dtype(kind).type(value), "value")
        for kind in ("uint8", "int8", "int16", "int32", "int64", "uint64")
    },
    "zero-dimensional": Kind(np.array, "value"),
    "JAX": Kind(lambda value: jnp.asarray(value, jnp.int32), "value"),
    "float": Kind(float, "refused"),
    "NumPy float": Kind(np.float64, "refused"),
    "NaN": Kind(lambda value: float("nan"), "refused"),
    "bool": Kind(lambda value: True, "refused"),
    "string": Kind(str, "refused"),
    "list": Kind(lambda value: [value], "refused"),
    "complex": Kind(complex, "refused"),
    "huge": Kind(lambda value: 10**30, "refused"),
    "negative": Kind(lambda value: -(10**6), "refused"),
}

# They are read as others are, and tried in the slow tests only.
RARE = {
    *("uint16", "uint32", "uint64", "int16", "int32", "longdouble", "big-endian integer"),
    *("Fortran order", "reversed twice", "nothing masked", "JAX integers", "torch integers"),
    "one element",  # of a shape of its own, it compiles everything anew
}

MODES = {
    "debug_nans": lambda: jax.debug_nans(True),
    "strict promotion": lambda: jax.numpy_dtype_promotion("strict"),
    "no rank promotion": lambda: jax.numpy_rank_promotion("raise"),
    "64 bits": lambda: jax.enable_x64(True),
    "no jit": lambda: jax.disable_jit(True),
}


def input_tests(entries):
    """A test that tries the usual kinds of inputs on every entry; a slow one tries the rare."""
    slow = pytest.param(RARE.__contains__, marks=pytest.mark.slow, id="rare")

    @pytest.mark.parametrize(
        "chosen", [pytest.param(lambda name: name not in RARE, id="usual"), slow]
    )
    @pytest.mark.parametrize("entry", entries, ids=lambda entry: entry.name)
    def test(entry, chosen, record_property):
        _try_all(entry, record_property, chosen)

    return test


def mode_tests(entries):
    """A slow test, since every mode compiles anew, that tries all kinds of inputs on every entry in
    every mode.

    `test_debug_modes` is its short form.
    """
    cases = [
        (entry, mode) for entry in entries for mode in MODES if mode != "no jit" or entry.eager
    ]

    @pytest.mark.slow
    @pytest.mark.parametrize(("entry", "mode"), cases, ids=lambda case: getattr(case, "name", case))
    def test(entry, mode, record_property):
        with MODES[mode]():
            _try_all(entry, record_property, nans_stop=mode == "debug_nans")

    return test


def _try_all(entry, record_property, chosen=lambda name: True, nans_stop=False):
    kinds = {Integers: INTEGER_ARRAYS, Option: INTEGERS, Number: NUMBERS}.get(type(entry), ARRAYS)
    kinds = {name: kind for name, kind in kinds.items() if chosen(name)}
    usual = functools.cache(lambda: _outcome(entry, entry.value, False))
    wrong = {
        name: problem
        for name, kind in kinds.items()
        if (problem := _problem(entry, name, kind, usual, nans_stop))
    }
    record_property("inputs", len(kinds))
    assert not wrong, "\n".join(
        f"{entry.name} of {name}: {problem}" for name, problem in wrong.items()
    )


def _problem(entry, name, kind, usual, nans_stop):
    """What is wrong with the outcome of one input, or None."""
    given = kind.make(entry.value)
    expected = kind.expected
    if isinstance(entry, Argument) and name.startswith("complex") and entry.takes_complex:
        expected = "value"
    if isinstance(entry, Argument) and "list" in name and not entry.takes_list:
        expected = "any"
    if name == "None" and entry.takes_none:
        expected = "any"
    found = _outcome(entry, given, nans_stop and name in ("NaN", "infinity"))
    if isinstance(found, Exception):
        return f"{type(found).__name__}: {found}"
    if expected == "any":
        return None
    if expected == "refused":
        return None if found is InputError else f"{_short(found)} in place of InputError"
    # All types but one hold the same numbers.
    reference = _outcome(entry, given.astype(np.float64), False) if name == "bool" else usual()
    if found is InputError or reference is InputError or isinstance(reference, Exception):
        same = found is reference
        return None if same else f"{_short(found)} in place of {_short(reference)}"
    tolerance = entry.single if kind.single and isinstance(entry, Argument) else DOUBLE
    return _difference(found, reference, tolerance)


def _outcome(entry, given, nans_stop):
    """The result, InputError where it was refused, or an exception that should not have come."""
    try:
        return jax.block_until_ready(entry.call(given))
    except InputError:
        return InputError
    except FloatingPointError as error:
        return InputError if nans_stop else error  # the user asked JAX to stop there
    except Exception as error:
        return error


def _difference(found, reference, tolerance):
    found, reference = _leaves(found), _leaves(reference)
    if len(found) != len(reference):
        return f"{len(found)} results in place of {len(reference)}"
    for one, other in zip(found, reference, strict=True):
        one, other = np.asarray(one), np.asarray(other)
        if other.dtype.kind not in "biufc":
            if one.tolist() != other.tolist():
                return f"{_short(one)} in place of {_short(other)}"
            continue
        size = np.abs(other[np.isfinite(other)].astype(complex)).max(initial=0)
        with contextlib.suppress(TypeError):
            if one.shape == other.shape and np.allclose(
                one, other, tolerance, tolerance * size, equal_nan=True
            ):
                continue
        return f"{_short(one)} in place of {_short(other)}"
    return None


def _leaves(result):
    """All numbers and words of a result, whatever holds them; keys as their words."""
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        result = [getattr(result, field.name) for field in dataclasses.fields(result)]
        return [leaf for part in result for leaf in _leaves(part)]
    leaves = jax.tree.leaves(result)
    return [
        jax.random.key_data(leaf)
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else leaf
        for leaf in leaves
        if not callable(leaf)
    ]


def _short(result):
    text = "InputError" if result is InputError else " ".join(str(result).split())
    return text if len(text) <= 150 else text[:147] + "..."
