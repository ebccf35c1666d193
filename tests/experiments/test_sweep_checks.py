"""Sweeps with a cell that no run could train: refused before the first cell trains."""

import numpy as np
import pytest

from experiments import data_sets, summaries, sweep, sweep_work

# fmt: off
TINY = ["--model", "fc2-width5", "--seeds", 0, 1, "--learning-rates", 0.05, "--num-windows", 1,
        "--window", 20, "--batch-size", 16]
# fmt: on


@pytest.fixture(autouse=True)
def trained(monkeypatch):
    """The cells that are trained, of which nothing is left."""
    cells = []
    monkeypatch.setattr(sweep_work, "train", lambda cell, _: cells.append(cell.name))
    monkeypatch.setattr(sweep_work, "table", lambda *_: None)
    monkeypatch.setattr(sweep_work, "leave_together", lambda *_, **__: None)
    monkeypatch.setattr(summaries, "cells", lambda *_: "")
    return cells


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--optimizer", "sgd", "adam", "--momentum", 0, 0.9],
            "cell momentum=0.9,optimizer=adam: momentum is 0.9 while the optimizer is adam",
        ),
        (["--noise", "none", "white", "--noise-variance", 0.1], "cell noise=none: noise_variance"),
        (
            ["--noise", "minibatch", "none", "--fresh-label-noise", 0.1],
            "cell noise=none: noise (--noise) is 'none' while labels are drawn anew",
        ),
        (
            ["--model", "fc2-width5", "vit-patch7"],
            "cell model=vit-patch7: images has shape (2, 8, 8, 1); expected height and width",
        ),
        (["--batch-size", 16, 5000], "cell batch_size=5000: batch_size is 5000"),
        (["--sketch-dim", 10, 5000], "cell sketch_dim=5000: sketch_dim is 5000"),
        (["--probe-size", 10, 5000], "cell probe_size=5000: probe_size is 5000"),
        (["--dataset", "digits", "no.npz"], "cell dataset=no.npz: no.npz does not exist"),
        (["--start-from", "elsewhere"], "error: start_from (--start-from) is 'elsewhere'"),
        (["--num-devices", 99], "error: --num-devices is 99"),
    ],
)
def test_a_cell_that_no_run_could_train_is_named_and_nothing_is_trained(
    refused, trained, arguments, words
):
    refused(sweep, words, *TINY, *arguments)
    assert not trained


def test_normal_noise_with_batch_norm_is_refused(refused, trained, monkeypatch, tmp_path_factory):
    """It takes a gradient to see that the loss is no mean over examples."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "with_batch_norm.py").write_text(
        "from flax import linen\n"
        "class Network(linen.Module):\n"
        "    @linen.compact\n"
        "    def __call__(self, images, train):\n"
        "        flat = images.reshape(len(images), -1)\n"
        "        return linen.Dense(10)(linen.BatchNorm(use_running_average=not train)(flat))\n"
    )
    monkeypatch.syspath_prepend(folder)
    networks = ["--model", "fc2-width5", "with_batch_norm:Network"]
    words = "noise=gaussian: noise (--noise) is 'gaussian', and the loss of a batch is not the mean"
    refused(sweep, words, *TINY, *networks, "--noise", "minibatch", "gaussian")
    assert not trained


def test_every_data_set_is_loaded_once(call, monkeypatch, tmp_path):
    own, numbers = tmp_path / "own.npz", np.random.default_rng(0)
    parts = [("train", 40), ("test", 10)]
    images = {f"{part}_images": numbers.random((size, 8, 8, 1)) for part, size in parts}
    labels = {f"{part}_labels": np.arange(size) % 10 for part, size in parts}
    np.savez(own, **images, **labels)
    loaded, load = [], data_sets.load
    monkeypatch.setattr(data_sets, "load", lambda *given: loaded.append(given[0]) or load(*given))
    arguments = ["--dataset", own, "digits", "--batch-size", 8, 16]
    assert call(sweep, *TINY, *arguments, "--directory", tmp_path / "sweep") == 0
    assert sorted(loaded) == [str(own), "digits"]


def test_a_sweep_that_is_refused_when_it_goes_on_stays_what_it_is(call, capsys, tmp_path, trained):
    where = ["--directory", tmp_path / "sweep"]
    assert call(sweep, *TINY, "--batch-size", 8, 16, *where) == 0
    before = (tmp_path / "sweep" / "config.json").read_bytes()
    assert call(sweep, "--resume", *where, "--batch-size", 8, 16, 5000) == 2
    assert "cell batch_size=5000: " in capsys.readouterr().err
    assert trained == ["batch_size=8", "batch_size=16"]
    assert (tmp_path / "sweep" / "config.json").read_bytes() == before
