"""Networks and images of one's own through the command line of an experiment."""

import pytest

from experiments import anomalous_diffusion
from sgd_diffusion.storage.run_directories import load_run

TINY = [
    *("--model", "fc2-width5", "--seeds", "0", "1", "--learning-rates", "0.05"),
    *("--num-windows", "2", "--window", "20", "--batch-size", "16"),
]
MODULE = '''
import numpy as np
from flax import linen, nnx
from sgd_diffusion.problems import load
from sgd_diffusion.problems.mlp import MLP

def same(num_classes, initialization):
    """The network `fc2-width5`."""
    return MLP((5, num_classes), bias=False, initialization=initialization)

class Small(nnx.Module):
    def __init__(self, num_classes, *, rngs):
        self.linear = nnx.Linear(64, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.1, rngs=rngs)
        self.output = nnx.Linear(4, num_classes, rngs=rngs)
    def __call__(self, images):
        return self.output(self.drop(self.norm(self.linear(images.reshape(len(images), -1)))))

def few_outputs():
    return linen.Dense(3)

def digits():
    data = load("digits")
    def names(labels):
        return np.array([f"digit {label}" for label in labels])
    return {
        "X_train": data.train.images[..., 0] / 16, "y_train": names(data.train.labels),
        "X_test": data.test.images[..., 0] / 16, "y_test": names(data.test.labels),
    }
'''


@pytest.fixture(autouse=True)
def own(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_code.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)


def test_a_network_and_images_of_ones_own_are_trained(call, capsys, tmp_path):
    own = ["--model", "own_code:same", "--dataset", "own_code:digits"]
    assert call(anomalous_diffusion, *TINY, *own, "--directory", tmp_path / "run") == 0
    assert (
        "own_code:digits: X_train, y_train, X_test, y_test; 8 x 8 x 1 gray images, float64 pixels, "
        "0 to 1; names as labels in this order: digit 0, digit 1, "
    ) in capsys.readouterr().out
    run = load_run(tmp_path / "run")
    assert (run.loss[-1, :, :, -1] < run.loss[0, :, :, 0] - 0.05).all()


def test_a_network_of_nnx_is_trained_and_resumed(call, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert call(anomalous_diffusion, *TINY, "--model", "own_code:Small") == 0
    (directory,) = (tmp_path / "runs").iterdir()
    assert directory.name.startswith("digits-own_code.Small-")
    resumed = ["--resume", "--directory", directory, "--num-windows", 3]
    assert call(anomalous_diffusion, *resumed) == 0
    assert load_run(directory).sizes["window"] == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "no_such_code:Net"], "Python finds no module 'no_such_code'"),
        (["--model", "own_code:Smal"], "did you mean Small"),
        (["--model", "own_code:MODULE"], "there is no 'MODULE' in it"),
        (["--model", "own_code:digits"], "model own_code:digits is {"),
        (["--model", "own_code:few_outputs"], "raises TypeError"),
        (
            ["--model", "own_code:Small", "--initialization", "pytorch"],
            "initialization is 'pytorch'",
        ),
        (["--dataset", "own_code:nothing"], "there is no 'nothing' in it"),
        (["--dataset", "own_code:same"], "raises TypeError"),
    ],
)
def test_code_that_cannot_be_used_is_one_message(refused, options, words):
    refused(anomalous_diffusion, words, *TINY, *options)
