"""What the package offers, from the `__all__` of its rooms. The API pages are made from it."""

import importlib
import inspect
import pathlib
import re
import sys
from typing import NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
ROOMS = (
    "analysis",
    "dynamics",
    "landscape",
    "theory",
    "walkers",
    "problems",
    "storage",
    "tables",
    "plots",
)
TOPIC_OR_NAME = re.compile(r"# ([^\n]*)|\"(\w+)\"")


class Entry(NamedTuple):
    """A public object, and where the API pages have it."""

    room: str
    topic: str  # a comment of `__all__`, or `room.name` of a room within
    name: str  # as in `room.name`
    path: str  # where it is defined
    value: object


def entries():
    """Return all public objects of all rooms in the order of `__all__`, rooms within last."""
    return [entry for room in ROOMS for entry in _of_package(room, f"sgd_diffusion.{room}", "")]


def _of_package(room, module_name, prefix):
    module = importlib.import_module(module_name)
    found, within, seen = [], [], set()
    for topic, name in _topics(module):
        value = getattr(module, name)
        if inspect.ismodule(value):
            inner = _of_package(room, value.__name__, f"{prefix}{name}.")
            within += [entry._replace(topic=f"{room}.{prefix}{name}") for entry in inner]
        elif hasattr(value, "__module__") and hasattr(value, "__qualname__"):
            found.append(
                Entry(room, topic, prefix + name, f"{value.__module__}.{value.__qualname__}", value)
            )
        else:
            found.append(Entry(room, topic, prefix + name, f"{module_name}.{name}", value))
    found += within
    return [entry for entry in found if not (entry.path in seen or seen.add(entry.path))]


def _topics(module):
    """Topics and names of an `__all__`, whose comments are topics."""
    source = inspect.getsource(module).partition("__all__ = [")[2].partition("]")[0]
    topic = ""
    for comment, name in TOPIC_OR_NAME.findall(source):
        topic = comment or topic
        if name:
            yield topic, name
