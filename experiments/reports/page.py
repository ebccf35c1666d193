"""One HTML page about one run, or about several side by side, that needs nothing but itself."""

import base64
import inspect
import pathlib
import re
from collections.abc import Callable, Sequence

from experiments.reports import datasets, interactive, markup
from experiments.reports.curves import MOST, curves_of
from experiments.reports.interactive import check_packages
from experiments.reports.reproduction import changed_options, command
from experiments.reports.runs import Run, read_runs
from sgd_diffusion import plots
from sgd_diffusion.storage.files import write_atomically

PAGE = "report.html"
CHANGED = "+changes"  # behind the revision of a checkout that had some
HERE = pathlib.Path(__file__).parent
# The page asks nobody for anything, whatever is in it.
POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)


def write_report(paths: Sequence[pathlib.Path], output: pathlib.Path) -> int:
    """Write a page about run directories, and return its size in bytes.

    Raises:
        InputError: one holds no run, or Bokeh is missing.
        StorageError: the page cannot be written.
    """
    check_packages()
    content = page(read_runs(paths)).encode()
    write_atomically(output, content)
    return len(content)


def page(runs: Sequence[Run]) -> str:
    """Return the HTML of a page about runs."""
    curves = curves_of(runs)
    parts = {
        ("summary", "Summary and verdicts"): _for_each(runs, _summary),
        ("differences", "Differences"): datasets.differences(runs) if len(runs) > 1 else "",
        ("figures", "Figures"): _for_each(runs, _figures),
        ("curves", "Interactive curves"): _curves(runs, curves) if curves else "",
        ("exponents", "Exponents side by side"): datasets.exponents(runs)
        if curves and len(runs) > 1
        else "",
        ("diverged", "What diverged"): _for_each(runs, datasets.diverged),
        ("tables", "Tables"): _for_each(runs, datasets.of_run),
        ("reproduce", "How to reproduce"): _for_each(runs, _reproduce),
        ("configuration", "Configuration"): _for_each(runs, _configuration),
        ("versions", "Versions and device"): _for_each(runs, _versions),
    }
    there = {identity: content for identity, content in parts.items() if content}
    links = "".join(
        markup.element("li", markup.text("a", title, href=f"#{identity}"))
        for identity, title in there
    )
    names = ", ".join(run.name for run in runs)
    body = (
        markup.element("header", markup.text("h1", f"Report: {names}"))
        + markup.element("nav", markup.element("ol", links), aria_label="contents")
        + markup.element(
            "main",
            "".join(markup.section(*identity, content) for identity, content in there.items()),
        )
    )
    scripts = [interactive.library()] if curves else []
    scripts.append((HERE / "page.js").read_text(encoding="utf-8"))
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        + markup.void("meta", http_equiv="Content-Security-Policy", content=POLICY)
        + '<meta name="viewport" content="width=device-width, initial-scale=1">'
        + '<link rel="icon" href="data:,">'
        + markup.text("title", f"Report: {names}")
        + markup.element("style", (HERE / "page.css").read_text(encoding="utf-8"))
        + "</head><body>"
        + body
        + "".join(markup.element("script", script) for script in scripts)
        + "</body></html>\n"
    )


def _for_each(runs: Sequence[Run], content: Callable[[Run], str]) -> str:
    """Return a part of each run, side by side under their names where there are several."""
    if len(runs) == 1:
        return content(runs[0])
    parts = [markup.element("div", markup.text("h3", run.name) + content(run)) for run in runs]
    return markup.element("div", "".join(parts), class_="side")


def _summary(run: Run) -> str:
    made_by = run.metadata.get("experiment")
    notes = markup.text("p", f"Made by experiments.{made_by}.") if made_by else ""
    notes += "".join(markup.text("p", f"Note: {note}") for note in run.notes)
    if not run.summary:
        return notes + markup.text("p", "The run has no summary: it is not complete yet.")
    return notes + markup.text(
        "pre", run.summary.strip(), tabindex=0, role="region", aria_label="summary (scrolls)"
    )


def _figures(run: Run) -> str:
    """Return the figures with what their panels show, which the function that draws them says."""
    found = []
    for path in run.figures:
        name = path.stem.replace("_", " ")
        content = base64.b64encode(path.read_bytes()).decode("ascii")
        picture = markup.void(
            "img", src=f"data:image/png;base64,{content}", alt=f"Figure {name} of {run.name}"
        )
        caption = markup.text("figcaption", name)
        explained = _legend(path.stem)
        if explained:
            caption += markup.fold("What the panels show", markup.text("pre", explained))
        found.append(markup.element("figure", picture + caption))
    return "".join(found) or markup.text("p", "The run has no figures yet.")


def _legend(stem: str) -> str:
    """Return what a figure shows, by its name with or without a learning rate."""
    names = [stem, re.sub(r"_[-+.e\d]+$", "", stem)]
    drawn = next((getattr(plots, name) for name in names if name in plots.__all__), None)
    return (inspect.getdoc(drawn) or "").partition("\n\nArgs:")[0].replace("`", "")


def _curves(runs: Sequence[Run], curves: Sequence) -> str:
    lags = max(len(curve.lags) for curve in curves)
    longest = max(int(run.members["lag"][-1]) for run in runs if run.has_curves)
    said = (
        f"Of lags up to {longest}, {lags} are drawn, spaced evenly in their logarithm; local "
        "exponents up to half of the window, since few pairs of points are farther apart. Point at "
        "a curve to see which one it is. The figures above have means and errors."
    )
    total = sum(
        run.members["msd"].sizes["window"]
        * run.members.sizes["seed"]
        * run.members.sizes["learning_rate"]
        for run in runs
        if run.has_curves
    )
    if total > MOST:
        said += (
            f" The page has at most {MOST} of all {total} curves, those of windows evenly apart."
        )
    return (
        markup.text("p", said)
        + interactive.figures(curves)
        + markup.element("noscript", markup.text("p", "The curves need JavaScript."))
    )


def _reproduce(run: Run) -> str:
    line = command(run.metadata, run.members)
    if line is None:
        return markup.text("p", "No experiment of this checkout made this; see the configuration.")
    code = markup.element("pre", markup.text("code", line))
    revision = str(run.environment.get("revision") or "")
    at = f" at revision {revision.removesuffix(CHANGED)}" if revision else ""
    said = f"In a checkout of sgd-diffusion{at}, with the versions below."
    if revision.endswith(CHANGED):
        said += " The checkout had changes that are not in that revision."
    return markup.element("figure", code, class_="command") + markup.text("p", said)


def _configuration(run: Run) -> str:
    options, changed = run.metadata.get("options"), changed_options(run.metadata)
    found = ""
    if changed is not None:
        preset = run.metadata["options"].get("preset")
        origin = f"the preset {preset}" if preset else "the defaults"
        found += (
            markup.named_values(f"Options that differ from {origin}", changed)
            if changed
            else markup.text("p", f"All options are those of {origin}.")
        )
    if isinstance(options, dict):
        found += markup.fold("All options", markup.named_values("All options", options))
    if run.configuration:
        flat = markup.flat(run.configuration)
        found += markup.fold(
            "What decides the results", markup.named_values("What decides the results", flat)
        )
    return found or markup.text("p", "The directory holds no configuration.")


def _versions(run: Run) -> str:
    if not run.environment:
        return markup.text("p", "The directory does not say.")
    return markup.named_values("Versions and device", markup.flat(run.environment))
