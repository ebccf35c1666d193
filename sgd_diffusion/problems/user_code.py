"""Networks and data sets of the user's own, named as `package.module:name`."""

import difflib
import importlib
import pathlib
import re
import traceback
from collections.abc import Mapping
from typing import Any

from flax import linen, nnx

from sgd_diffusion.errors import InputError, invalid
from sgd_diffusion.problems.image_forms import read_arrays
from sgd_diffusion.problems.labeled_images import ARRAYS, Dataset, checked
from sgd_diffusion.problems.nnx_modules import NnxNetwork, as_network, parameters_of

__all__ = ["REFERENCE", "is_reference", "raised", "users_dataset", "users_network"]

REFERENCE = "package.module:name of your own"
NAME = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
PACKAGE = pathlib.Path(__file__).parents[1]


def is_reference(name: Any) -> bool:
    """Return whether a name is meant as `package.module:name`."""
    return isinstance(name, str) and ":" in name


def _resolve(argument: str, reference: str) -> Any:
    """Return what `package.module:name` stands for.

    Args:
        argument: what messages call it.
        reference: the text. Python looks for the module where it looks for all of them, and
            experiments that are run as `python -m` look in the working directory too.

    Raises:
        InputError: the text has another form, there is no such module or name, or the module cannot
            be imported.
    """
    if not re.fullmatch(f"{NAME}:{NAME}", reference):
        raise invalid(argument, f"is {reference!r:.100}", "package.module:name")
    module_name, _, name = reference.partition(":")
    found = _imported(argument, reference, module_name)
    for part in name.split("."):
        if not hasattr(found, part):
            names = [each for each in dir(found) if not each.startswith("_")]
            close = difflib.get_close_matches(part, names, n=1) or names[:20]
            raise invalid(
                argument,
                f"is {reference!r}, and there is no {part!r} in it",
                "a name that the module has",
                f"did you mean {', '.join(close)}?" if close else "it has none",
            )
        found = getattr(found, part)
    return found


def _imported(argument: str, reference: str, module_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{module_name}.".startswith(f"{missing}."):
            raise invalid(
                argument,
                f"is {reference!r}, and Python finds no module {missing!r}",
                "a module that can be imported",
                "start in the directory that has it, or add that to PYTHONPATH",
            ) from error
        raise invalid(
            argument,
            f"is {reference!r}, and importing {module_name} raises {raised(error)}",
            "a module that can be imported",
            "import it in Python to see where it fails",
        ) from error


def _called(argument: str, reference: str, function: Any, **options: Any) -> Any:
    """Return what a function of the user's own returns.

    Args:
        argument: what messages call it.
        reference: the name of the function.
        function: that, or something that cannot be called.
        options: what it is called with.

    Raises:
        InputError: it cannot be called, or raises something.
    """
    if not callable(function):
        raise invalid(
            argument,
            f"is {reference!r}, a {type(function).__name__}, which cannot be called",
            "the name of a function or a class",
        )
    try:
        return function(**options)
    except InputError:
        raise
    except Exception as error:
        shown = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise invalid(
            argument,
            f"is {reference!r}, which raises {raised(error)}",
            "a function that can be called",
            f"call it with ({shown}) in Python to see where it fails",
        ) from error


def users_network(
    reference: str, *, num_classes: int, initialization: str
) -> linen.Module | NnxNetwork:
    """Return the network that `package.module:name` stands for, see `models.model`."""
    found = _resolve("model", reference)
    ready = isinstance(found, linen.Module | nnx.Module)
    given = {"num_classes": num_classes, "initialization": initialization}
    taken = set() if ready else parameters_of(found)
    options = {name: value for name, value in given.items() if name in taken}
    if initialization != "paper" and "initialization" not in options:
        raise invalid(
            "initialization",
            f"is {initialization!r}, and {reference} does not take it",
            "'paper', which leaves it to the network",
            "let the factory take an argument of this name",
        )
    if "rngs" in taken:
        return _called("model", reference, lambda **given: NnxNetwork(found, given), **options)
    made = found if ready else _called("model", reference, found, **options)
    return as_network(made, f"model {reference}")


def users_dataset(reference: str) -> Dataset:
    """Return the data set of the function `package.module:name`, see `datasets.load`."""
    found = _called("name_or_npz", reference, _resolve("name_or_npz", reference))
    expected = f"a function that returns {', '.join(ARRAYS)} by these names or in this order"
    if isinstance(found, Dataset):
        return checked(found.train, found.test, reference, num_classes=found.num_classes)
    if isinstance(found, tuple | list) and len(found) == 2:  # as those of Keras
        found = [array for split in found for array in split]
    if isinstance(found, tuple | list) and len(found) == len(ARRAYS):
        found = dict(zip(ARRAYS, found, strict=True))
    if not isinstance(found, Mapping):
        size = f" of {len(found)}" if isinstance(found, tuple | list) else ""
        raise invalid(reference, f"returns a {type(found).__name__}{size}", expected)
    return read_arrays(found, reference, reference, expected)


def raised(error: Exception) -> str:
    """Return an error as text: its type, the last line of the user's own in it, what it says."""
    ours = ("site-packages", str(PACKAGE), "<frozen")
    places = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not any(part in frame.filename for part in ours)
    ]
    where = f" in {pathlib.Path(places[-1].filename).name}:{places[-1].lineno}" if places else ""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}{where} ({said:.300})"
