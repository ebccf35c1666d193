"""The checks of annotations are there, and see what they should."""

import doctest
import importlib
import inspect
import pkgutil

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float, TypeCheckError, jaxtyped
from result_types import with_checks

import sgd_diffusion
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.analysis import displacement, ensembles
from sgd_diffusion.analysis.pooling import Standardized
from sgd_diffusion.errors import InputError

PATH = jnp.zeros(3)


@jaxtyped(typechecker=with_checks)
def squares(found: ArrayLike) -> Float[Array, "point point"]:
    return found


@jaxtyped(typechecker=with_checks)
def increments(path: Float[Array, "point"], name: str = "") -> Float[Array, "point-1"]:  # noqa: F821
    return path[1:] if path[0] == 0 else path


@jaxtyped(typechecker=with_checks)
def named(*fields: ArrayLike) -> tuple[Standardized, int]:
    return Standardized(*fields), 1


def test_right_results():
    squares(jnp.zeros((2, 2)))
    increments(PATH)
    named(jnp.zeros((5, 2)), jnp.zeros(2), jnp.zeros(2), jnp.zeros(2, bool))


@pytest.mark.parametrize(
    "result",
    [
        pytest.param(np.zeros((2, 2), np.float32), id="of NumPy"),
        pytest.param(jnp.zeros((2, 2), int), id="integers"),
        pytest.param(jnp.zeros(2), id="one axis"),
        pytest.param(jnp.zeros((2, 3)), id="two sizes of one axis"),
    ],
)
def test_wrong_results(result):
    with pytest.raises(TypeCheckError, match="return value"):
        squares(result)


def test_arguments_that_have_shapes():
    with pytest.raises(TypeCheckError, match="return value"):
        increments(PATH + 1)
    with pytest.raises(TypeCheckError, match="parameters"):
        increments(PATH[0])
    increments(PATH, name=0)  # the readers of `_arrays` refuse what has no shape


@pytest.mark.parametrize(
    "scale",
    [
        pytest.param(1.0, id="a number"),
        pytest.param(jnp.zeros(3), id="other size of an axis"),
        pytest.param(jnp.zeros(2, int), id="integers"),
    ],
)
def test_fields_of_named_tuples(scale):
    with pytest.raises(TypeCheckError, match="return value"):
        named(jnp.zeros((5, 2)), jnp.zeros(2), scale, jnp.zeros(2, bool))


@pytest.mark.parametrize(
    "module",
    [module.name for module in pkgutil.walk_packages(sgd_diffusion.__path__, "sgd_diffusion.")],
)
def test_every_annotated_function_of_the_package_is_checked(module):
    module = importlib.import_module(module)
    functions = [
        function
        for function in vars(module).values()
        if inspect.isroutine(function) and getattr(function, "__module__", "") == module.__name__
    ]
    for function in functions:
        if inspect.unwrap(function).__annotations__:
            assert is_checked(inspect.unwrap(function, stop=is_checked)), function.__qualname__


def is_checked(function):
    """Return whether a function is the one with which jaxtyping has replaced another."""
    code = getattr(function, "__code__", None)
    return code is not None and code.co_filename == jaxtyped.__code__.co_filename


def test_a_public_function_with_a_wrong_result(monkeypatch):
    right = ensembles.EnsembleAverage
    ensembles.ensemble_average([1.0, 2.0])
    with pytest.raises(InputError):  # not one of the checks
        ensembles.ensemble_average(["a", "b"])
    for wrong in (
        lambda mean, error, std, count: (mean, error, std, count),
        lambda mean, error, std, count: right(mean, error, std, 1.0 * count),
        lambda mean, error, std, count: right(mean, error, std, count[None]),
    ):
        monkeypatch.setattr(ensembles, "EnsembleAverage", wrong)
        with pytest.raises(TypeCheckError, match="EnsembleAverage"):
            ensembles.ensemble_average([1.0, 2.0])


def test_examples_of_checked_functions_are_found():
    found = [
        example.name for example in doctest.DocTestFinder(exclude_empty=True).find(displacement)
    ]
    assert "sgd_diffusion.analysis.displacement.squared_displacements" in found
