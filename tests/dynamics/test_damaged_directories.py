"""Run directories that somebody else's hand was in: one clear message or the same results, and
nothing is lost.
"""

import hashlib
import json
import logging
import shutil

import numpy as np
import pytest
import xarray as xr

from sgd_diffusion.dynamics import measurements
from sgd_diffusion.dynamics.run import Plan, run_ensemble
from sgd_diffusion.errors import InputError, StorageError
from sgd_diffusion.storage.run_directories import DamagedResultsWarning, RunDirectory, load_run

PLAN = Plan(num_windows=3, window=9, batch_size=10)
LONGER = Plan(num_windows=4, window=9, batch_size=10)
CHOSEN = [measurements.displacements(), measurements.series()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Run directories of two seeds, to be copied, not changed."""
    from conftest import two_layer_regression

    top = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        run_ensemble(
            two_layer_regression(),
            Plan(**PLAN.description() | {"seeds": (seed,), "num_windows": 3}),
            top / str(seed),
            measurements=CHOSEN,
        )
    return top


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished / "0", tmp_path / "run")


def contents(directory):
    return {
        path: path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name != "lock"
    }


DEEP = '{"configuration": ' + 5000 * "[" + 5000 * "]" + "}"


@pytest.mark.parametrize(
    "config",
    [
        "",
        "{",
        "[]",
        "5",
        "null",
        '"text"',
        "{}",
        '{"configuration": 5}',
        '{"configuration": null}',
        '{"configuration": [1]}',
        DEEP,
        '{"configuration": ' + 300 * '{"a": ' + "1" + 301 * "}",
        b"\xff\xfe\x00",
        "directory",
    ],
)
def test_a_damaged_configuration_is_named_and_nothing_else_is_touched(regression, copied, config):
    path = copied / "config.json"
    path.unlink()
    if config == "directory":
        path.mkdir()
    else:
        path.write_bytes(config if isinstance(config, bytes) else config.encode())
    before = contents(copied)
    with pytest.raises(StorageError, match=r"config\.json is damaged"):
        run_ensemble(regression, PLAN, copied, measurements=CHOSEN, resume=True)
    with pytest.raises(InputError, match=r"no readable config\.json"):
        load_run(copied)
    assert contents(copied) == before


@pytest.mark.parametrize(
    "change",
    [
        {"plan": 5},
        {"problem": None},
        {"plan": {"seeds": "many", "window": [[1]]}},
        {"variables": {"a": 1}},
        {"plan": 50 * [[1]]},
    ],
)
def test_a_configuration_of_other_types_is_another_one(regression, copied, change):
    path = copied / "config.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"configuration": stored["configuration"] | change}))
    with pytest.raises(StorageError, match="another configuration"):
        run_ensemble(regression, PLAN, copied, measurements=CHOSEN, resume=True)
    with pytest.raises(StorageError, match="another run"):
        load_run(copied)


def put(source, target):
    """A window under another name, with a right checksum."""
    content = source.read_bytes()
    target.write_bytes(content)
    target.with_name(target.name + ".sha256").write_text(
        f"{hashlib.sha256(content).hexdigest()}  {target.name}\n"
    )


@pytest.mark.parametrize(
    ("old", "seed", "window"),
    [
        pytest.param(False, 1, 1, id="of another run"),
        pytest.param(False, 0, 2, id="a later one"),
        pytest.param(False, 0, 0, id="an earlier one", marks=pytest.mark.slow),
        # from before windows said what they are
        pytest.param(True, 1, 1, id="old of another run", marks=pytest.mark.slow),
        pytest.param(True, 0, 2, id="old and a later one"),
        pytest.param(True, 0, 0, id="old and an earlier one", marks=pytest.mark.slow),
    ],
)
def test_a_window_that_belongs_elsewhere_is_known(regression, finished, copied, seed, window, old):
    source, target = (RunDirectory(path) for path in (finished / str(seed), copied))
    path = source.window_path(window)
    if old:
        plain = (
            xr.load_dataset(path, engine="h5netcdf")
            .drop_attrs()
            .assign_attrs(configuration=json.dumps(source.configuration()))
        )
        path = copied.parent / "old.nc"
        plain.to_netcdf(path, engine="h5netcdf")
    put(path, target.window_path(1))
    before = contents(copied)
    for attempt in (
        lambda: load_run(copied),
        lambda: run_ensemble(regression, LONGER, copied, measurements=CHOSEN, resume=True),
    ):
        with pytest.raises(
            StorageError,
            match=r"window_00001\.nc is a window of another run, or another window.*Move it away",
        ):
            attempt()
    assert contents(copied) == before


def test_windows_from_before_they_said_what_they_are_can_be_read(finished, copied):
    for index in range(3):
        path = RunDirectory(copied).window_path(index)
        dataset = xr.load_dataset(path, engine="h5netcdf")
        del dataset.attrs["identity"]
        dataset.to_netcdf(copied.parent / "old.nc", engine="h5netcdf")
        put(copied.parent / "old.nc", path)
    xr.testing.assert_identical(load_run(copied), load_run(finished / "0"))


def test_a_checkpoint_that_belongs_elsewhere_is_not_used(regression, finished, copied):
    for step, source in (
        (3, finished / "1" / "checkpoints" / "3"),
        (2, copied / "checkpoints" / "1"),
    ):
        shutil.rmtree(copied / "checkpoints" / str(step))
        shutil.copytree(source, copied / "checkpoints" / str(step))
    with pytest.warns(DamagedResultsWarning) as said:
        resumed = run_ensemble(regression, LONGER, copied, measurements=CHOSEN, resume=True)
    assert [
        f"after {step} windows" in str(warning.message) and "of another run" in str(warning.message)
        for step, warning in zip((3, 2), said, strict=False)
    ] == [True, True]
    xr.testing.assert_equal(resumed, run_ensemble(regression, LONGER, measurements=CHOSEN))


@pytest.mark.parametrize("name", ["windows", "checkpoints"])
def test_a_file_in_the_place_of_a_folder_is_named(regression, copied, name):
    shutil.rmtree(copied / name)
    (copied / name).write_text("")
    for attempt in (
        lambda: load_run(copied),
        lambda: run_ensemble(regression, PLAN, copied, measurements=CHOSEN, resume=True),
    ):
        with pytest.raises(StorageError, match=rf"{name} is a file. Expected a directory"):
            attempt()


def test_what_a_killed_process_left_of_a_checkpoint_is_no_reason_for_a_warning(
    regression, copied, caplog
):
    unfinished = copied / "checkpoints" / "4.orbax-checkpoint-tmp"
    unfinished.mkdir()
    (unfinished / "carry").write_text("half")
    with caplog.at_level(logging.WARNING):
        run_ensemble(regression, LONGER, copied, measurements=CHOSEN, resume=True)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert not unfinished.exists()


def test_a_home_is_found(regression, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    run_ensemble(regression, Plan(window=9, batch_size=10), "~/run", measurements=CHOSEN)
    assert np.isfinite(load_run("~/run").loss).all() and (tmp_path / "run" / "config.json").exists()
