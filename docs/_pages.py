"""Writes the pages of the API, one a room, and the formula index."""

import pathlib
import sys

import mkdocs_gen_files

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from _contents import api_page, formula_page
from _public import ROOMS, entries

everything = entries()
for room in ROOMS:
    of_room = [entry for entry in everything if entry.room == room]
    with mkdocs_gen_files.open(f"api/{room}.md", "w") as page:
        page.write("\n".join(api_page(room, of_room)))
with mkdocs_gen_files.open("formulas.md", "w") as page:
    page.write("\n".join(formula_page(everything)))
