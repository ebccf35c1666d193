"""Docstrings as the site shows them: examples are code, and "<" is itself."""

import re

import griffe

NOT_A_TAG = re.compile(r"(`[^`]*`|\$[^$]*\$|^ *>>> .*$)|<(?=[A-Za-z])", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Reads every docstring before mkdocstrings does."""

    def on_instance(self, *, obj, **kwargs):
        """Rewrite the docstring of an object."""
        if obj.docstring:
            obj.docstring.value = _shown(obj.docstring.value)


def _shown(docstring):
    """Return a docstring with its examples in a section of their own and without HTML tags."""
    paragraphs = []
    in_examples = False
    for paragraph in docstring.split("\n\n"):
        if paragraph.startswith(">>> "):
            heading = "" if in_examples else "Examples:\n"
            paragraph = heading + re.sub("^", "    ", paragraph, flags=re.MULTILINE)
            in_examples = True
        else:
            in_examples = False
            paragraph = NOT_A_TAG.sub(lambda match: match[1] or "&lt;", paragraph)
        paragraphs.append(paragraph)
    return "\n\n".join(paragraphs)
