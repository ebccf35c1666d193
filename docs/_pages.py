"""Makes the pages of the API, one a room, and the formula index."""

import inspect
import pathlib
import re
import sys

import mkdocs_gen_files

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from _public import ROOMS, entries

FORMULA = re.compile(
    r"^(?P<name>[^$]*?)\.?\s*\$(?P<equation>.*)\$\s*\((?P<source>.*)\)\.?$", re.DOTALL
)


def formula(value):
    """Name, equation and source of a docstring's section "Formula", or None."""
    section = re.search(r"^Formula:\n((?:    .*\n|\n)+)", inspect.getdoc(value) or "", re.MULTILINE)
    if not section:
        return None
    text = " ".join(section[1].split())
    found = FORMULA.match(text)
    if not found:
        raise SystemExit(
            f"{value}: expected 'Name. $equation$ (source)' below Formula, not {text!r}"
        )
    return found["name"], found["equation"], found["source"]


everything = entries()
for room in ROOMS:
    with mkdocs_gen_files.open(f"api/{room}.md", "w") as page:
        package = sys.modules[f"sgd_diffusion.{room}"]
        print(f"# {room}\n\n{inspect.getdoc(package)}\n", file=page)
        topic = None
        done = set()
        for entry in everything:
            if entry.room != room:
                continue
            if entry.path in done:
                continue
            done.add(entry.path)
            if entry.topic != topic:
                topic = entry.topic
                print(
                    f"## {topic[:1].upper() + topic[1:]}\n"
                    if "." not in topic and topic
                    else f"## `{topic}`\n",
                    file=page,
                )
            print(f"::: {entry.path}\n    options: {{heading_level: 3}}\n", file=page)

with mkdocs_gen_files.open("formulas.md", "w") as page:
    print(
        "# Formulas\n\nEach row leads to the function that computes it. The sources are those of its docstring.\n",
        file=page,
    )
    print("| what | formula | function | source |\n| --- | --- | --- | --- |", file=page)
    rows = {}
    for entry in everything:
        found = formula(entry.value)
        if found and entry.path not in rows:
            name, equation, source = (
                part.replace("|", r"\|") if part is not found[1] else part for part in found
            )
            equation = equation.replace("|", r"\vert ")
            rows[entry.path] = (
                f"| {name} | ${equation}$ | [`{entry.name}`](api/{entry.room}.md#{entry.path}) | {source} |"
            )
    print("\n".join(sorted(rows.values(), key=str.lower)), file=page)
