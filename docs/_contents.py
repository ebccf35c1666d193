"""The pages of the API and the formula index as Markdown, from the docstrings."""

import inspect
import itertools
import re
import sys

FORMULA = re.compile(
    r"^(?P<name>[^$]*?)\.?\s*\$(?P<equation>.*)\$\s*\((?P<source>.*)\)\.?$", re.DOTALL
)


def formula(value):
    """Return name, equation and source from a docstring's section "Formula", or None."""
    section = re.search(
        r"^Formula:\n((?:    .*\n?|\n)+)", inspect.getdoc(value) or "", re.MULTILINE
    )
    if not section:
        return None
    text = " ".join(section[1].split())
    found = FORMULA.match(text)
    if not found:
        raise SystemExit(f"{value}: expected 'Name. $equation$ (source)', not {text!r}")
    equation = found["equation"].replace("|", r"\vert ").rstrip()  # a bar would end the cell
    return found["name"], equation, found["source"]


def summary(value):
    """Return the first line of a docstring, for a cell of a table."""
    documented = inspect.isroutine(value) or inspect.isclass(value)
    return inspect.getdoc(value).partition("\n")[0].replace("|", r"\|") if documented else ""


def api_page(room, entries_of_room):
    """Yield the lines of a room's page, its objects by topic, each topic with its contents."""
    yield f"# sgd_diffusion.{room}\n\n{inspect.getdoc(sys.modules[f'sgd_diffusion.{room}'])}\n"
    for topic, group in itertools.groupby(entries_of_room, lambda entry: entry.topic):
        objects = list(group)
        room_within = sys.modules.get(f"sgd_diffusion.{topic}")
        if room_within:
            yield f"## {topic}\n\n{inspect.getdoc(room_within)}\n"
        elif topic:
            yield f"## {topic[:1].upper() + topic[1:]}\n"
        yield "| name | what it is or does |\n| --- | --- |"
        yield from (
            f"| [`{entry.name}`](#{entry.path}) | {summary(entry.value)} |" for entry in objects
        )
        for entry in objects:
            name = f"{room}.{entry.name}"
            yield f"\n::: {entry.path}\n    options:\n      heading_level: 3"
            yield f"      heading: {name}\n      toc_label: {entry.name}"
        yield ""


def formula_page(everything):
    """Yield the lines of the index of formulas."""
    yield "---\nhide: [navigation, toc]\nsearch: {boost: 5}\n---\n"
    yield "# Formulas\n\nEach row leads to the function that computes it.\n"
    yield "| what | formula | function | source |\n| --- | --- | --- | --- |"
    rows = set()
    for entry in everything:
        if found := formula(entry.value):
            name, equation, source = found
            link = f"[`{entry.name}`](api/{entry.room}.md#{entry.path})"
            rows.add(f"| {name} | ${equation}$ | {link} | {source} |")
    yield from sorted(rows, key=str.lower)
