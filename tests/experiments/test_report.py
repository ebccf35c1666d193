"""The page about a run: its numbers, its names, its command, and what is refused."""

import dataclasses
import html.parser
import importlib
import io
import json
import os
import shlex
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from browser import CHROMIUM, browser

from experiments import analyze_path, anomalous_diffusion, command_line, progress, report
from experiments.reports import curves, interactive, reproduction
from experiments.reports.runs import read_runs
from experiments.summaries.common import with_error
from sgd_diffusion import tables
from sgd_diffusion.storage.netcdf import from_netcdf
from sgd_diffusion.storage.run_directories import load_run

NAME = "<script>alert(1)<b> & 'co'"


class Parsed(html.parser.HTMLParser):
    """A page: its elements, its tables by caption, and texts by the element that has them."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.tables, self.texts, self.open = [], {}, {}, []
        self.caption = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img", "input"):
            self.open.append(tag)
        if tag == "figcaption":
            self.caption = ""
        elif tag == "table":
            self.rows = self.tables.setdefault(self.caption, [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.exact = dict(attributes).get("data-value")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag  # well-formed
        if tag in ("td", "th") and self.exact is not None:
            self.rows[-1][-1] = self.exact

    def handle_data(self, data):
        inside = self.open[-1] if self.open else None
        self.texts.setdefault(inside, []).append(data)
        if inside == "figcaption":
            self.caption += data
        elif inside in ("td", "th"):
            self.rows[-1][-1] += data

    def table(self, beginning):
        """The only table whose caption begins so."""
        (found,) = (rows for name, rows in self.tables.items() if name.startswith(beginning))
        return found


def analyzed(folder, directory, seed, stride=100):
    """The run directory of two random walks, the second of which diverges in its second window."""
    random, files = np.random.default_rng(seed), []
    for member in range(2):
        points = random.normal(size=(201, 30)).cumsum(axis=0).astype(np.float32)
        points[150:] = np.nan if member else points[150:]
        files.append(str(folder / f"{seed}-{member}.npy"))
        np.save(files[-1], points)
    options = analyze_path.Options(
        paths=tuple(files), window=100, stride=stride, directory=folder / directory, report=True
    )
    analyze_path.analyze_path(options)
    return folder / directory


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two run directories, the second one with windows that overlap; both have their pages."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(progress.STYLE, "disable", True)
        return analyzed(folder, NAME, 0), analyzed(folder, "other", 1, stride=50)


@pytest.fixture(scope="module")
def alone(runs):
    return Parsed((runs[0] / "report.html").read_text())


@pytest.fixture
def call(monkeypatch):
    """`call(*arguments)`: the exit code of the program."""
    monkeypatch.setitem(progress.STYLE, "disable", True)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
        try:
            command_line.run(report.report, report.Options, report.__doc__)
        except SystemExit as exit:
            return exit.code
        return 0

    return run


def test_every_number_of_the_tables_is_on_the_page(runs, alone):
    for name in ("exponents", "scaling"):
        table = from_netcdf((runs[0] / f"{name}.nc").read_bytes())
        shown = {
            caption: rows for caption, rows in alone.tables.items() if caption.startswith(name)
        }
        variables = [
            v
            for caption in shown
            for v in caption.partition(": ")[2].split(", over")[0].split(", ")
        ]
        assert sorted(map(str.strip, variables)) == sorted(table.data_vars)
        for rows in shown.values():
            text = "\n".join("\t".join(row) for row in rows)
            found = pd.read_csv(io.StringIO(text), sep="\t", na_values="", keep_default_na=False)
            names = [each for each in found.columns if each in table.data_vars]
            expected = tables.to_dataframe(table[names])
            pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_exact=True)


def test_numbers_are_rounded_only_to_be_seen(alone):
    cells = [given for tag, given in alone.elements if tag == "td" and given.get("data-value")]
    assert len(cells) > 50
    assert max(len(each["data-value"]) for each in cells) > 12


def test_names_are_texts(runs, alone):
    assert alone.texts["h1"] == [f"Report: {NAME}"]
    assert alone.texts["title"] == [f"Report: {NAME}"]
    scripts = [given for tag, given in alone.elements if tag == "script"]
    assert [given.get("type") for given in scripts] == ["application/json", None, None]
    assert json.loads(alone.texts["script"][0])["root_id"]


def test_nothing_is_loaded(alone):
    targets = [
        value
        for _, given in alone.elements
        for name, value in given.items()
        if name in ("src", "href", "srcset", "action", "data", "poster")
    ]
    assert targets and all(each.startswith(("#", "data:")) for each in targets)
    assert "url(" not in "".join(alone.texts["style"]) and "@import" not in alone.texts["style"]
    policies = [given["content"] for tag, given in alone.elements if "http-equiv" in given]
    assert policies[0].startswith("default-src 'none'") and "http" not in policies[0]


def test_all_that_is_known_of_the_run_is_there(runs, alone):
    assert (runs[0] / "summary.txt").read_text().strip() in alone.texts["pre"]
    assert alone.table("1 of 2 members diverged")[1:] == [["not given", "1", "149"]]
    environment = json.loads((runs[0] / "config.json").read_text())["environment"]
    versions = dict(alone.table("Versions and device")[1:])
    assert versions["packages.jax"] == environment["packages"]["jax"]
    assert versions["revision"] == str(environment["revision"] or "none")
    assert dict(alone.table("Options that differ")[1:])["window"] == "100"
    pictures = [given for tag, given in alone.elements if tag == "img"]
    assert len(pictures) == 2 and all(given["alt"].startswith("Figure ") for given in pictures)
    anchors = {given["href"][1:] for tag, given in alone.elements if tag == "a"}
    assert anchors == {given["id"] for tag, given in alone.elements if tag == "section"}
    assert (runs[0] / "report.html").stat().st_size < 4e6


def test_the_command_makes_the_run_again(alone, monkeypatch):
    (said,) = alone.texts["code"]
    words = shlex.split(said)
    assert words[:3] == ["python", "-m", "experiments.analyze_path"]
    again = command_line.read(analyze_path.Options, "", words[3:])
    assert again.window == 100 and len(again.paths) == 2 and again.directory is None


@pytest.mark.parametrize(
    "name",
    ["anomalous_diffusion", "fractal_path", "escape_rates", "freezing", "sweep", "fractal_toy"],
)
def test_commands_have_the_options_that_are_not_those_of_the_preset(name):
    module = importlib.import_module(f"experiments.{name}")
    for preset, default in module.PRESETS.items():
        options = dataclasses.replace(default, preset=preset)
        changes = {"by_layer": True, "seeds": (4, 7), "learning_rates": (0.5,), "average": "ema"}
        changes = {key: value for key, value in changes.items() if hasattr(options, key)}
        if name == "sweep":
            changes["average"] = ("ema", None)
        changed = dataclasses.replace(options, **changes)
        stored = json.loads(json.dumps(command_line.options_as_json(changed)))
        metadata = {"experiment": name, "options": stored}
        assert reproduction.changed_options(metadata).keys() == changes.keys()
        words = shlex.split(reproduction.command(metadata, None))
        parsed = command_line.parse(module.PRESETS, "", words[3:])
        assert command_line.options_as_json(parsed) == stored


def test_what_was_added_to_a_run_is_in_the_command():
    coords = {"seed": [0, 1], "learning_rate": [0.02], "window": range(9)}
    members = xr.Dataset(coords=coords)
    metadata = {
        "experiment": "anomalous_diffusion",
        "options": command_line.options_as_json(
            dataclasses.replace(anomalous_diffusion.PRESETS["quick"], preset="quick", seeds=(0,))
        ),
    }
    said = reproduction.command(metadata, members)
    assert said.endswith("--preset quick --seeds 0 1 --num-windows 9")
    for unknown in ({}, {"experiment": "os", "options": {}}, {"experiment": "../x", "options": {}}):
        assert reproduction.command(unknown, members) is None


def test_runs_side_by_side(runs, call, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(*runs) == 0
    assert "report.html: " in capsys.readouterr().out
    page = Parsed((tmp_path / "report.html").read_text())
    assert call(*runs) == 2
    assert "--output was not given, and there is a report.html here" in capsys.readouterr().err
    assert page.texts["h3"][:2] == [NAME, "other"]
    differences = {name: values for name, *values in page.table("What differs")}
    assert differences["options.stride"] == ["100", "50"]
    assert "configuration.path.spacing" not in differences
    loaded = [load_run(path) for path in runs]
    ranges = {"short": (1, 10), "long": (10, 50)}
    fitted = [tables.exponents(run, ranges) for run in loaded]
    head, *rows = page.table("Exponents of the MSD")
    assert head[-2:] == [NAME, "other"]
    for _, name, _, motion, time, *cells in rows:
        for table, cell in zip(fitted, cells, strict=True):
            windows = np.flatnonzero(table.waiting_time == int(time))
            row = table.isel(learning_rate=0).sel(range=name, motion=motion)
            said = [with_error(row.isel(window=window), "exponent") for window in windows]
            assert cell == (said[0] if said else "-")
    boxes = [given for tag, given in page.elements if tag == "input"]
    assert [given["value"] for given in boxes if given["name"] == "run"] == [NAME, "other"]


def test_curves_are_those_of_the_run(runs):
    run = load_run(runs[0])
    found = curves.curves_of(read_runs(runs[:1]))
    assert len(found) == 3  # a member has diverged in its second window
    for curve in found:
        member = run.sel(seed=int(curve.seed)).isel(learning_rate=0)
        member = member.isel(window=np.flatnonzero(run.waiting_time == int(curve.window))[0])
        np.testing.assert_array_equal(member.msd.sel(lag=curve.lags), curve.msd)
        assert curve.local_lags.max() <= 50 and abs(np.median(curve.local) - 1) < 0.3


def test_large_runs_have_few_curves(monkeypatch, runs):
    monkeypatch.setattr(curves, "MOST", 2)
    assert {curve.window for curve in curves.curves_of(read_runs(runs[:1]))} == {"0"}
    found = {kind: [str(n) for n in range(40)] for kind in curves.KINDS}
    for sizes in [(1, 1, 40, 3), (2, 3, 40, 3), (40, 40, 40, 40), (1, 2, 1, 1)]:
        some = {kind: found[kind][:size] for kind, size in zip(curves.KINDS, sizes, strict=True)}
        shown = curves.shown_first(some)
        assert 1 <= np.prod([len(each) for each in shown.values()]) <= curves.FIRST
        assert all(shown[kind][0] == "0" for kind in shown)
    assert curves.shown_first({kind: found[kind][:2] for kind in found}) == {
        kind: found[kind][:2] for kind in found
    }


def test_a_damaged_run_still_has_a_page(runs, call, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(runs[0], copy)
    (copy / "windows" / "window_00001.nc").write_bytes(b"damaged")
    (copy / "scaling.nc").write_bytes(b"damaged")
    assert call(copy, "--output", tmp_path / "page.html") == 0
    page = Parsed((tmp_path / "page.html").read_text())
    notes = [text for text in page.texts["p"] if text.startswith("Note: ")]
    assert len(notes) == 2 and "the 1 windows before it are used" in notes[0]


@pytest.mark.parametrize("error", [KeyError("addr overflow"), RuntimeError("H5DSget_num_scales")])
def test_a_window_in_which_hdf5_fails_is_damaged(runs, tmp_path, monkeypatch, error):
    """Whatever it raises, the run is read, and the note says which window it is."""
    copy = tmp_path / "copy"
    shutil.copytree(runs[0], copy)
    (copy / "windows" / "window_00000.nc").write_bytes(b"damaged")

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(xr, "open_dataset", fail)
    (run,) = read_runs([copy])
    assert run.members is None and any("window_00000.nc is damaged" in note for note in run.notes)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "RUN is nowhere, which is missing; expected a directory with"),
        (["file"], "RUN is file, which is a file; "),
        (["empty"], "RUN is empty, which holds no run; "),
        (["RUN", "empty"], "RUN is empty, which holds no run; "),
        (["RUN", "--output", "empty"], "--output is empty, which is a directory; "),
        (["RUN", "--output", "no/page.html"], "--output is no/page.html, which is in no directory"),
        (["RUN", "--output", "/proc/page.html"], "Cannot write /proc/page.html: "),
        (["RUN", "RUN"], "expected different values"),
        ([], "expected different values, at least one"),
    ],
)
def test_what_is_refused(runs, call, monkeypatch, capsys, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    assert call(*(runs[1] if each == "RUN" else each for each in arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line
    assert sorted(os.listdir(tmp_path)) == ["empty", "file"]


def test_without_bokeh_there_is_one_message_before_any_work(
    runs, call, monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(interactive.importlib.util, "find_spec", lambda name: None)
    assert call(runs[0], "--output", tmp_path / "page.html") == 2
    assert "pip install 'bokeh" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    with pytest.raises(command_line.InputError, match="needs the package bokeh"):
        dataclasses.replace(anomalous_diffusion.PRESETS["quick"], report=True).check()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
def test_the_page_in_a_browser(runs, call, tmp_path):
    page_file = tmp_path / "page.html"
    assert call(*runs, "--output", page_file) == 0
    with browser(tmp_path / "profile") as page:
        for width, dark in ((1400, False), (390, True)):
            page.open(page_file.as_uri(), width, dark=dark)
            page.until("document.getElementById('curves-status').textContent.endsWith('shown.')")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert page.evaluate(
                "document.querySelector('#curves-plot canvas, #curves-plot *') !== null"
            )
        shown = "Bokeh.documents[0].get_model_by_name('shown').booleans.filter(Boolean).length"
        before = page.evaluate(shown)
        page.evaluate("document.querySelector('input[name=seed]').focus()")
        page.press(" ", 32, text=" ")
        assert 0 < page.evaluate(shown) < before
        page.evaluate("document.querySelector('[data-all=none]').focus()")
        page.press("Enter", 13, text="\r")
        assert page.evaluate(shown) == 0
        lags = "Bokeh.documents[0].get_model_by_name('lags').end"
        whole = page.evaluate(lags)
        page.press("Tab", 9)
        assert page.evaluate("document.activeElement.type") == "checkbox"
        page.evaluate("document.querySelector('[data-zoom=\"zoom in\"]').focus()")
        page.press("Enter", 13, text="\r")
        assert page.evaluate(lags) < whole
        # Without a clipboard, the text to be copied is selected: every number in full.
        page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        page.evaluate("document.querySelector('#tables .copy button').focus()")
        page.press("Enter", 13, text="\r")
        page.until("document.activeElement.tagName === 'TEXTAREA'")
        selected = page.evaluate("document.getSelection().toString()")
        assert page.errors == []
        assert {url.partition(":")[0] for url in page.requests} <= {"file", "data", "about"}
    table = from_netcdf((runs[0] / "exponents.nc").read_bytes())
    names = [name for name in table.data_vars if table[name].ndim == 5]
    expected = tables.to_dataframe(table[names])
    found = pd.read_csv(io.StringIO(selected))
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_exact=True)
