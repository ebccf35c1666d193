"""Interactive figures of curves by Bokeh, with controls that a keyboard can operate."""

import importlib.util
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.reports import markup
from experiments.reports.curves import KINDS, Curve, shown_first, values
from sgd_diffusion.errors import invalid
from sgd_diffusion.plots.style import SERIES_COLORS, waiting_time_colors

SOLID = "solid"
# Lengths of strokes and gaps in pixels, in Bokeh as in SVG.
DASHES = (SOLID, "8 4", "2 3", "8 3 2 3", "18 4", "18 3 2 3 2 3")
# By kind and label: a color, a dash, or both.
Styles = dict[str, dict[str, dict[str, str]]]
BUTTONS = ("zoom in", "zoom out", "smaller lags", "larger lags", "all lags")


def check_packages() -> None:
    """Refuse a report where Bokeh is not installed.

    Raises:
        InputError: it is not.
    """
    if importlib.util.find_spec("bokeh") is None:
        raise invalid(
            "a report",
            "needs the package bokeh, which is not installed",
            "this package",
            "pip install 'bokeh>=3.9', or pip install '.[report]' in the checkout",
        )


def library() -> str:
    """Return the JavaScript of Bokeh, without its widgets, tables and extensions."""
    from bokeh.resources import Resources

    scripts = Resources(mode="inline", components=["bokeh"], log_level="error").js_raw
    return "\n".join(scripts).replace("</script", "<\\/script")


def figures(curves: Sequence[Curve]) -> str:
    """Return figures of the MSD and of local exponents, with toggles for what they show."""
    found = values(curves)
    styles = _styles(found)
    toggles = "".join(
        _toggles(kind, found[kind], shown, styles.get(kind, {}))
        for kind, shown in shown_first(found).items()
        if len(found[kind]) > 1
    )
    buttons = "".join(
        markup.text("button", name, type="button", data_zoom=name) for name in BUTTONS
    )
    zoom = markup.element("div", buttons, role="group", aria_label="zoom", class_="buttons")
    picture = markup.element(
        "div",
        id="curves-plot",
        role="group",
        aria_label="MSD and local exponents of the chosen curves against the lag",
    )
    status = markup.element("p", role="status", id="curves-status")
    # No text of a run can end the element.
    content = json.dumps(_document(curves, styles)).replace("<", "\\u003c")
    data = f'<script type="application/json" id="curves-data">{content}</script>'
    return markup.element("form", toggles + zoom, id="curves-controls") + status + picture + data


def _styles(found: dict[str, list[str]]) -> Styles:
    """Return what tells curves apart: colors of runs, or of the windows of one; dashes of rates.

    More runs than there are colors have dashes of their own.
    """
    shades = waiting_time_colors(np.array(list(map(int, found["window"]))))
    runs = {
        run: {"color": _hexadecimal(SERIES_COLORS[number % len(SERIES_COLORS)])}
        for number, run in enumerate(found["run"])
    }
    windows = {
        window: {"color": _hexadecimal(shades.to_rgba(int(window)))} for window in found["window"]
    }
    if len(runs) > len(SERIES_COLORS):
        for number, run in enumerate(runs):
            runs[run]["dash"] = DASHES[number // len(SERIES_COLORS) % len(DASHES)]
        return {"run": runs}
    rates = {
        rate: {"dash": DASHES[number % len(DASHES)]} for number, rate in enumerate(found["rate"])
    }
    return {"rate": rates, **({"run": runs} if len(runs) > 1 else {"window": windows})}


def _hexadecimal(color: Any) -> str:
    from matplotlib.colors import to_hex

    return to_hex(color)


def _toggles(
    kind: str, labels: Sequence[str], shown: Sequence[str], styles: dict[str, dict[str, str]]
) -> str:
    """Return a box for each label, with the line that it stands for."""
    boxes = [
        markup.element(
            "label",
            markup.void("input", type="checkbox", name=kind, value=label, checked=label in shown)
            + (_line(**styles[label]) if label in styles else "")
            + markup.text("span", label),
        )
        for label in labels
    ]
    title = KINDS[kind]
    buttons = [
        markup.text("button", word, type="button", data_all=word, aria_label=f"{word}: {title}")
        for word in ("all", "none")
    ]
    inside = markup.element("div", "".join(buttons + boxes), class_="buttons")
    return markup.element("fieldset", markup.text("legend", title) + inside)


def _line(color: str = "currentColor", dash: str = SOLID) -> str:
    line = markup.element(
        "line", x1=0, y1=5, x2=36, y2=5, stroke=color, stroke_width=3,
        stroke_dasharray=None if dash == SOLID else dash,
    )  # fmt: skip
    return markup.element("svg", line, width=36, height=10, aria_hidden="true")


def _document(curves: Sequence[Curve], styles: Styles) -> dict[str, Any]:
    """Return the two figures, one above the other on the same lags, as Bokeh reads them."""
    from bokeh.embed import json_item
    from bokeh.layouts import column
    from bokeh.models import BooleanFilter, CDSView, ColumnDataSource, Range1d, Span

    columns = {name: [getattr(curve, name) for curve in curves] for name in Curve._fields}
    for curve in curves:
        style = {"color": "#000000", "dash": SOLID}
        for kind, by_label in styles.items():
            style |= by_label[getattr(curve, kind)]
        for name, value in style.items():
            columns.setdefault(name, []).append(value)
    lags = np.concatenate([curve.lags for curve in curves])
    shared = {
        "source": ColumnDataSource(columns, name="curves"),
        "view": CDSView(filter=BooleanFilter(booleans=[True] * len(curves), name="shown")),
        "lags": Range1d(lags.min(), lags.max(), name="lags"),
    }
    msd = _panel("msd", "lags", "MSD", "log", **shared)
    local = _panel("local", "local_lags", "local exponent", "linear", **shared)
    local.add_layout(Span(location=1, dimension="width", line_color="#737373", line_dash="dashed"))
    return json_item(column(msd, local, sizing_mode="stretch_width"))


def _panel(y: str, x: str, label: str, scale: str, *, source: Any, view: Any, lags: Any) -> Any:
    """Return a figure of two columns; the page sets the range of its vertical axis."""
    from bokeh.models import Range1d
    from bokeh.plotting import figure

    plot = figure(
        name=f"{y}-plot",
        height=340,
        sizing_mode="stretch_width",
        min_border_left=75,  # the same for both, so that lags stand below one another
        tools="pan,box_zoom,wheel_zoom,reset,save",
        active_drag="box_zoom",
        x_axis_type="log",
        x_axis_label="lag (steps)",
        x_range=lags,
        y_axis_type=scale,
        y_axis_label=label,
        y_range=Range1d(0.1, 2, name=f"{y}-range"),
    )
    lines = plot.multi_line(
        x, y, source=source, view=view, line_color="color", line_dash="dash",
        line_width=1.5, hover_line_width=3.5,
    )  # fmt: skip
    plot.add_tools(_hover(lines, label))
    _label_lags(plot.xaxis[0], lags.end)
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font_size = "14px"
    plot.axis.major_label_text_font_size = "13px"
    plot.toolbar.logo = None
    return plot


def _label_lags(axis: Any, longest: float) -> None:
    """Label lags by 1, 2 and 5 times powers of ten, as far as there is room."""
    from bokeh.models import BasicTickFormatter, FixedTicker, NoOverlap

    powers = [10**power for power in range(len(str(int(longest))))]
    axis.ticker = FixedTicker(
        ticks=[digit * power for power in powers for digit in (1, 2, 5)],
        minor_ticks=[digit * power for power in powers for digit in range(1, 10)],
    )
    axis.formatter = BasicTickFormatter(use_scientific=longest >= 1e6)
    axis.major_label_policy = NoOverlap()


def _hover(lines: Any, label: str) -> Any:
    from bokeh.models import HoverTool

    said = [("run", "@run"), ("learning rate", "@rate"), ("t_w", "@window"), ("seed", "@seed")]
    return HoverTool(
        renderers=[lines],
        line_policy="nearest",
        limit=3,
        tooltips=[*said, ("lag", "$snap_x{0}"), (label, "$snap_y{%.4g}")],
        formatters={"$snap_y": "printf"},
    )
