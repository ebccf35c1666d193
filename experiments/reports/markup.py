"""Parts of an HTML page. Every text is escaped here, so that the name of a run stays a text."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

MISSING = "-"
LONG = 50  # characters in a cell that stay on one line


def element(name: str, content: str = "", /, **attributes: Any) -> str:
    """Return an element.

    Args:
        name: of the element.
        content: HTML.
        attributes: texts, with _ for -; those that are None or False are left out, and those that
            are True have no value.
    """
    return f"{void(name, **attributes)}{content}</{name}>"


def void(name: str, /, **attributes: Any) -> str:
    """Return an element that has no content and no end; the attributes are those of `element`."""
    given = "".join(
        f" {key.rstrip('_').replace('_', '-')}"
        + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return f"<{name}{given}>"


def text(name: str, content: Any, /, **attributes: Any) -> str:
    """Return an element that holds a text."""
    return element(name, escape(str(content)), **attributes)


def section(identity: str, title: str, content: str) -> str:
    """Return a section with its heading."""
    heading = text("h2", title, id=f"{identity}-title")
    return element("section", heading + content, id=identity, aria_labelledby=f"{identity}-title")


def fold(title: str, content: str, *, opened: bool = False) -> str:
    """Return what is shown on request."""
    return element("details", text("summary", title) + content, open=opened)


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table that scrolls inside its box.

    Numbers are rounded to 6 digits, and a cell whose number is not what it shows has it in full as
    data-value, which is what is copied.

    Args:
        caption: says what it is.
        columns: their names.
        rows: values of all columns, each.
    """
    head = element("tr", "".join(text("th", name, scope="col") for name in columns))
    body = "".join(element("tr", "".join(map(_cell, row))) for row in rows)
    content = element("thead", head) + element("tbody", body)
    box = element(
        "div",
        element("table", content, aria_label=caption),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label=f"{caption} (scrolls)",
    )
    return element("figure", text("figcaption", caption) + box, class_="table")


def named_values(caption: str, values: Mapping[str, Any]) -> str:
    """Return a table of names and values."""
    return table(
        caption, ["name", "value"], [(name, said(value)) for name, value in values.items()]
    )


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def said(value: Any) -> str:
    """Return what a cell says of a JSON-like value."""
    if isinstance(value, list):
        return " ".join(map(said, value)) or "none"
    return "none" if value is None else str(value)


def _cell(value: Any) -> str:
    if isinstance(value, np.ndarray | np.generic):
        value = value.item() if value.dtype.kind in "biu" else value
    if isinstance(value, float | np.floating):
        if math.isnan(value):
            return text("td", MISSING, class_="number", data_value="")
        shown, exact = f"{value:.6g}", str(value)
        full = None if float(shown) == float(exact) else exact
        return text("td", shown, class_="number", data_value=full)
    if isinstance(value, int):
        return text("td", value, class_="number")
    return text("td", value, class_="long" if len(str(value)) > LONG else None)
