"""Annotations of the package, checked while the tests run.

`install` lets jaxtyping's import hook decorate every function of `sgd_diffusion`. Checked are its
result and those of its arguments that are annotated with a shape; names of axes stand for one size
in all of them. Fields of a named tuple that a function returns are part of its result. All other
arguments are left to the readers of `_arrays`, which have errors of their own.
"""

import ast
import doctest
import functools
import inspect
import sys
import typing

import jaxtyping
from beartype import BeartypeConf, beartype
from beartype.door import die_if_unbearable
from beartype.vale import Is
from jaxtyping._import_hook import JaxtypingTransformer

PACKAGE = "sgd_diffusion"
CONF = BeartypeConf(is_pep484_tower=True)  # an int is a float


def install():
    """Check the annotations of the package in this process, if it is not imported yet."""
    if PACKAGE not in sys.modules:
        pass_over_unannotated()
        jaxtyping.install_import_hook(PACKAGE, f"{__name__}.with_checks")
        find_through_decorators()


def with_checks(function):
    """Let a function check its result, or else its arguments that have shapes.

    jaxtyping asks twice: for a function of the same arguments that returns anything, which it calls
    first, and for one that returns the result.
    """
    hints = function.__annotations__
    result = hints.get("return", typing.Any)
    if result is typing.Any:
        hints = {name: hint for name, hint in hints.items() if _has_shape(hint)}
    else:
        hints = {"return": _with_fields(result)}
    function.__annotations__ = hints
    return _at_first_call(function) if hints else function


def pass_over_unannotated():
    """Let the import hook decorate only functions with annotations.

    In the others there is nothing to check. But to decorate a function within another takes
    milliseconds whenever the other one is called.
    """
    visit = JaxtypingTransformer.visit_FunctionDef

    def visit_annotated(self, node):
        arguments = [part for part in ast.walk(node.args) if isinstance(part, ast.arg)]
        if node.returns or any(argument.annotation for argument in arguments):
            return visit(self, node)
        return self.generic_visit(node)

    JaxtypingTransformer.visit_FunctionDef = visit_annotated


def find_through_decorators():
    """Let doctest find the examples of functions that are decorated, which it takes for functions
    of jaxtyping.
    """
    from_module = doctest.DocTestFinder._from_module

    def from_module_of_function(self, module, object):
        return from_module(self, module, inspect.unwrap(object))

    doctest.DocTestFinder._from_module = from_module_of_function


def _at_first_call(function):
    """Return a function with beartype's checks, which take longer to write than most imports."""
    checking = functools.cache(lambda: beartype(conf=CONF)(function))
    return lambda *values, **named: checking()(*values, **named)


def _has_shape(hint):
    """Return whether an annotation is that of an array with a shape, or has a part that is."""
    return _is_shaped(hint) or any(_has_shape(part) for part in typing.get_args(hint))


def _is_shaped(hint):
    return inspect.isclass(hint) and issubclass(hint, jaxtyping.AbstractArray)


@functools.cache
def _with_fields(hint, within=False):
    """Return an annotation that also asks the named tuples of the package for their fields.

    A named tuple within another has axes of its own: training and test examples differ in number.
    """
    if inspect.isclass(hint) and hasattr(hint, "_fields") and hint.__module__.startswith(PACKAGE):
        return typing.Annotated[hint, Is[_fields_fit_within if within else _fields_fit]]
    if typing.get_origin(hint) is tuple:
        return tuple[tuple(_with_fields(part, within) for part in typing.get_args(hint))]
    return hint


@functools.cache
def _field_hints(cls):
    hints = typing.get_type_hints(cls, include_extras=True)
    return {name: _with_fields(hint, within=True) for name, hint in hints.items()}


def _fields_fit(result):
    """Raise an error unless the fields of a named tuple are what their annotations say."""
    for name, hint in _field_hints(type(result)).items():
        die_if_unbearable(
            getattr(result, name),
            hint,
            conf=CONF,
            exception_prefix=f"{type(result).__name__}.{name} ",
        )
    return True


def _fields_fit_within(result):
    with jaxtyping.jaxtyped("context"):
        return _fields_fit(result)
