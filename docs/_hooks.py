"""Equations become MathML, which browsers draw without scripts. Public names become links.

Examples that need a package run where it is installed. Elsewhere the page shows what was recorded.
"""

import html
import importlib.util
import pathlib
import re
import sys

from latex2mathml.converter import convert

MATH = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
CODE = re.compile(
    r"(?<!<pre>)(?<!<b>)<code>((?:sgd_diffusion\.|sd\.)?[A-Za-z_][\w.]*)</code>(?!</a>)"
)
# An example that needs a package, and what it printed when the page was written.
NEEDING = re.compile(
    r'^(```python [^\n]*) needs="(\w+)"\n(.*?^```\n)\n(```text\n.*?^```\n)',
    re.DOTALL | re.MULTILINE,
)
PAGES = {}


def on_pre_build(config):
    """Know where every public object stands."""
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    from _public import entries

    for entry in entries():
        *_, module, name = entry.path.split(".")
        qualified = f"{entry.room}.{entry.name}"
        for known in {entry.path, entry.name, qualified, name, f"{module}.{name}"}:
            PAGES.setdefault(known, set()).add((entry.room, entry.path))


def on_page_markdown(markdown, page, config, files):
    """Run examples, or show what they printed before."""

    def example(match):
        opening, package, code, output = match.groups()
        installed = importlib.util.find_spec(package) is not None
        return f"{opening}\n{code}" if installed else f"```python\n{code}\n{output}"

    return NEEDING.sub(example, markdown)


def on_page_content(content, page, config, files):
    """Draw equations and link names, where a name means one object only."""

    def mathml(match):
        display = "block" if match[2] == "[" else "inline"
        return convert(html.unescape(match[3]), display=display)

    def link(match):
        places = PAGES.get(match[1].removeprefix("sgd_diffusion.").removeprefix("sd."), ())
        if len(places) != 1 or len(match[1]) < 4:
            return match[0]
        room, path = next(iter(places))
        up = "../" * page.url.count("/")
        return f'<a href="{up}api/{room}.html#{path}">{match[0]}</a>'

    return CODE.sub(link, MATH.sub(mathml, content))
