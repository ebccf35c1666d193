"""A run that grows is the run that had all members from the start."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from experiments import anomalous_diffusion, sweep, training
from sgd_diffusion.dynamics import measurements
from sgd_diffusion.storage.run_directories import load_run

# Two members and more on a device compute what each would among many.
# fmt: off
TINY = ["--model", "fc2-width5", "--seeds", 0, 1, "--learning-rates", 0.05, "--num-windows", 1,
        "--window", 20, "--batch-size", 16, "--num-devices", 1]
# fmt: on


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture
def train(parsed):
    """`train(directory, *arguments)`: a run that measures what is quick to compile."""

    def run(directory, *arguments):
        options = parsed(anomalous_diffusion, *arguments, "--directory", directory)
        quick = [measurements.displacements(), measurements.series()]
        return training.train(options, "anomalous_diffusion", lambda problem, plan: quick)[0]

    return run


def without_origin(dataset):
    """What is measured, and the configuration."""
    return dataset.drop_attrs().assign_attrs(configuration=dataset.attrs["configuration"])


def test_seeds_and_learning_rates_are_added(train, monkeypatch, directory):
    """A lone seed first, and a learning rate of which the training is interrupted."""
    grown, trained, run_ensemble = directory / "grown", [], training.run_ensemble

    def run(problem, plan, *arguments, **options):
        trained.append((plan.seeds, plan.learning_rates))
        if len(trained) == 3:
            options["on_window"] = lambda *_: exec("raise KeyboardInterrupt")
        return run_ensemble(problem, plan, *arguments, **options)

    members = ["--seeds", 0, 1, 7, "--learning-rates", 0.05, 0.2, "--num-windows", 2]
    at_once = train(directory / "at_once", *TINY, *members)
    train(grown, *TINY)
    resume, more = ["--resume"], ["--add-seeds", 7, 1, "--add-learning-rates", 0.2]
    monkeypatch.setattr(training, "run_ensemble", run)
    with pytest.raises(KeyboardInterrupt):
        train(grown, *resume, *more)
    assert trained == [((0, 1), (0.05,)), ((7,), (0.05,)), ((0, 1, 7), (0.2,))]
    # More windows are made of all members, old and new.
    more += ["--num-windows", 2]
    for found in (train(grown, *resume, *more), load_run(grown)):
        xr.testing.assert_identical(without_origin(found), without_origin(at_once))
    assert load_run(grown / "added" / "00002").seed.values.tolist() == [0, 1, 7]


def test_members_that_lag_behind_are_left_out(directory, tmp_path):
    run = shutil.copytree(directory / "grown", tmp_path / "run")
    (run / "added" / "00002" / "windows" / "window_00001.nc").unlink()
    found = load_run(run)
    assert found.seed.values.tolist() == [0, 1, 7] and found.learning_rate.values == [0.05]


def test_the_cells_of_a_sweep_grow(call, directory):
    path = directory / "sweep"
    where = ["--directory", path]
    assert call(sweep, *TINY, *where) == 0
    assert call(sweep, "--resume", *where, "--add-seeds", 7, 8, "--csv") == 0
    table = xr.load_dataset(path / "table.nc", engine="h5netcdf")
    assert table.seed.values.tolist() == [0, 1, 7, 8] and np.isfinite(table.exponent).all()
    frame = pd.read_csv(path / "table.csv").dropna(subset=["exponent"])
    assert frame.exponent.tolist() == table.exponent.values.ravel().tolist()
    assert (path / "cells" / "run" / "exponents.csv").exists()


def test_only_a_run_that_is_there_can_grow(refused):
    words = "--add-seeds was given without --resume; expected both"
    refused(anomalous_diffusion, words, *TINY, "--add-seeds", 3)
    refused(sweep, f"error: {words}", *TINY, "--add-seeds", 3)


def test_a_group_that_cannot_be_read_is_named(call, capsys, directory):
    path = directory / "sweep" / "cells" / "run" / "added" / "00001" / "config.json"
    path.write_text("{")
    assert call(anomalous_diffusion, "--resume", "--directory", path.parents[2]) == 2
    said = capsys.readouterr().err
    assert str(path) in said and "Put a copy of it back" in said


def test_a_run_starts_from_all_members_of_one_that_has_grown(train, call, capsys, tmp_path):
    grown, resume = tmp_path / "grown", ["--resume", "--add-seeds", 2]
    train(grown, *TINY)
    train(grown, *resume)
    members = [*TINY, "--seeds", 2, 1]
    train(tmp_path / "at_once", *TINY, "--seeds", 0, 1, 2)
    found = train(tmp_path / "run", *members, "--start-from", grown)
    expected = train(tmp_path / "other", *members, "--start-from", tmp_path / "at_once")
    xr.testing.assert_identical(found.drop_attrs(), expected.drop_attrs())
    facts = [json.loads(each.attrs["configuration"])["start"] for each in (found, expected)]
    assert facts[0]["sha256"] == facts[1]["sha256"] and facts[0]["updates"] == 20
    # Members that are behind are not where the run stands.
    train(grown, "--resume", "--num-windows", 2)
    (path,) = (grown / "added").glob("*/checkpoints/2")
    shutil.rmtree(path)
    again = [*members, "--start-from", grown, "--directory", tmp_path / "new"]
    assert call(anomalous_diffusion, *again) == 2
    said = capsys.readouterr().err
    assert "no seed 2" in said and "choose seeds among 0, 1; continue that run" in said
