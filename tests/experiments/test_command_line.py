import errno
import io
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
import xarray as xr

from experiments import anomalous_diffusion, command_line, output, progress, sweep, training
from experiments.directories import new_directory
from sgd_diffusion.errors import InputError, StorageError
from sgd_diffusion.storage.run_directories import load_run

CHECKOUT = pathlib.Path(__file__).parents[2]
TINY = [
    "--model",
    "fc2-width5",
    "--seeds",
    "0",
    "1",
    "--learning-rates",
    "0.05",
    "--num-windows",
    "2",
    "--window",
    "20",
    "--batch-size",
    "16",
]


def parse(*arguments):
    return command_line.parse(anomalous_diffusion.PRESETS, "", list(arguments))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("run") / "run"


def test_a_run_leaves_results_figure_and_summary(call, capsys, directory):
    assert call(anomalous_diffusion, *TINY, "--directory", directory) == 0
    out = capsys.readouterr().out
    assert {"config.json", "exponents.nc", "summary.txt", "anomalous_diffusion.png"} <= {
        p.name for p in directory.iterdir()
    }
    assert (directory / "anomalous_diffusion.png").read_bytes().startswith(b"\x89PNG")
    summary = (directory / "summary.txt").read_text()
    assert summary in out and "learning rate 0.05" in summary and len(summary.splitlines()) < 40
    run = load_run(directory)
    assert dict(run.msd.sizes) == {"window": 2, "seed": 2, "learning_rate": 1, "lag": 20}
    assert ((0 <= run.test_accuracy) & (run.test_accuracy <= 1)).all()


def test_windows_apart_with_a_twin_and_the_msd_that_is_not_averaged(
    call, capsys, monkeypatch, tmp_path
):
    monkeypatch.setitem(progress.STYLE, "disable", False)
    directory = tmp_path / "run"
    one = [argument for argument in TINY if argument not in ("--num-windows", "2")]
    assert (
        call(
            anomalous_diffusion,
            *one,
            "--seeds",
            0,
            "--waiting-times",
            0,
            50,
            "--full-batch-twin",
            "--not-averaged",
            "--optimizer",
            "sam",
            "--schedule",
            "step",
            "--average",
            "ema",
            "--fresh-label-noise",
            0.0,
            "--directory",
            directory,
        )
        == 0
    )
    assert (directory / "not_averaged.png").read_bytes().startswith(b"\x89PNG")
    said, bar = capsys.readouterr()
    assert (
        "full batch" in said
        and "averaged" in said
        and "optimizer sam, sam radius 0.05, schedule step, schedule steps 70, " in said
        and "no drift" in said
        and "shuffled" in said
        and "signs flipped" in said
    )
    assert "window 2/2" in bar and "loss" in bar
    run = load_run(directory)
    assert run.waiting_time.values.tolist() == [0, 50] and np.isfinite(run.twin_msd).all()
    assert (run.twin_msd.sel(lag=10) < run.msd.sel(lag=10)).all()  # without noise, less far


def test_resume_takes_the_options_of_the_run(call, capsys, directory):
    assert call(anomalous_diffusion, *TINY, "--directory", directory) == 2
    assert "holds this run already" in capsys.readouterr().err
    assert call(anomalous_diffusion, "--resume", "--directory", directory, "--num-windows", 3) == 0
    assert load_run(directory).sizes["window"] == 3
    assert call(anomalous_diffusion, "--resume", "--directory", directory, "--momentum", 0.9) == 2
    assert "plan.momentum is 0.0 there and 0.9 here" in capsys.readouterr().err


def test_a_diverged_member_is_named_in_the_summary(call, capsys, tmp_path):
    directory = tmp_path / "run"
    two = ["--seeds", "0", "--learning-rates", "0.05", "1e4"]  # as many members as in other runs
    assert call(anomalous_diffusion, *TINY, *two, "--directory", directory) == 0
    assert (
        "learning rate 10000   (diverged and left out from there on: seed 0 at step"
        in capsys.readouterr().out
    )
    run = load_run(directory)
    assert (
        np.isnan(run.msd.sel(learning_rate=1e4)).all()
        and np.isfinite(run.msd.sel(learning_rate=0.05)).all()
    )


def test_a_run_starts_from_another_with_random_labels_and_is_resumed(
    call, capsys, directory, monkeypatch, tmp_path
):
    """From where the first run of this file ends; also from elsewhere and when that run is gone."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(directory, "source")
    start = ["--start-from", "source", "--label-noise", "0.5"]
    assert call(anomalous_diffusion, *TINY, *start, "--num-windows", 1, "--directory", "run") == 0
    windows = load_run(directory).sizes["window"]
    assert "digits with label noise 0.5, batch 16" in (said := capsys.readouterr().out)
    assert f"from {tmp_path / 'source'} after {20 * windows} updates" in said
    stored = json.loads(pathlib.Path("run/config.json").read_text())["configuration"]
    assert stored["problem"]["label_noise"] == {"share": 0.5, "key": [0, 0]}
    assert (stored["start"]["directory"], stored["start"]["updates"]) == (
        str(tmp_path / "source"),
        20 * windows,
    )
    assert call(anomalous_diffusion, *TINY, *start, "--directory", "whole") == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    shutil.rmtree(tmp_path / "source")
    resume = ["--resume", "--directory", tmp_path / "run"]
    assert call(anomalous_diffusion, *resume, "--num-windows", 2) == 0
    whole = load_run(tmp_path / "whole").drop_attrs()
    xr.testing.assert_identical(load_run(tmp_path / "run").drop_attrs(), whole)
    capsys.readouterr()
    assert call(anomalous_diffusion, *resume, "--label-noise", 0.4) == 2
    assert "problem.label_noise.share is 0.5 there and 0.4 here" in capsys.readouterr().err
    assert call(anomalous_diffusion, *resume, "--start-from", directory) == 2
    assert "start.directory is" in capsys.readouterr().err
    assert call(anomalous_diffusion, *resume, "--start-from", tmp_path / "run") == 2
    assert "the directory of the run itself" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seeds", "0", "5"], "has no seed 5; expected a run with a member of every seed"),
        (["--model", "fc2-width6"], "where this model has params.linear1.kernel float32[2, 64, 6]"),
        (["--model", "fc3-width5"], "where this model has"),
        (["--start-from", "nowhere"], "start_from (--start-from) is 'nowhere', which holds no run"),
    ],
)
def test_a_run_that_cannot_start_from_another_is_refused(refused, directory, arguments, words):
    refused(anomalous_diffusion, words, *TINY, "--start-from", directory, *arguments)


def test_presets_are_defaults_that_options_override():
    paper = parse("--preset", "paper")
    assert (
        paper.dataset,
        paper.model,
        paper.batch_size,
        paper.learning_rates,
        paper.num_windows,
        paper.window,
    ) == ("cifar10", "resnet14", 1024, (0.1,), 24, 1000)
    assert parse("--preset", "paper", "--seeds", "4", "5").seeds == (4, 5)
    assert parse("--preset", "paper-long-run").plan().starts() == (0, 23_000, 230_000)
    assert parse("--preset", "paper-long-windows").window == 10_000
    assert (
        parse("--quick").window < parse().window and parse("--quick", "--window", "77").window == 77
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset", "minst"], "minst"),
        (["--dataset", "nowhere.npz"], "nowhere.npz"),
        (["--model", "resnet15"], "15"),
        (["--model", "transformer"], "transformer"),
        (["--loss", "hinge"], "hinge"),
        (["--batch-size", "100000"], "batch_size"),
        (
            ["--window", "9"],
            "--window is 9; expected an integer in 10..100000 for two ranges of lags",
        ),
        (["--seeds", "1", "1"], "--seeds is 1 1; expected different values, at least one"),
        (["--seeds"], "--seeds is empty"),
        (["--learning-rates", "nan"], "--learning-rates is nan; expected a finite number"),
        (["--preset", "huge"], "--preset is 'huge'; expected one of default, quick"),
        (["--resume"], "--directory"),
        (["--nonsense"], "nonsense"),
        (["--seeds", "one"], "one"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(
    call, monkeypatch, capsys, tmp_path, arguments, words
):
    monkeypatch.chdir(tmp_path)
    assert call(anomalous_diffusion, *TINY, *arguments) == 2
    said = capsys.readouterr()
    assert words in said.err and "Traceback" not in said.err
    assert not list(tmp_path.iterdir())  # nothing was written


def test_images_too_small_for_the_network_are_refused(call, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    images = np.zeros((8, 3, 3), np.uint8)
    np.savez(
        "small.npz",
        train_images=images,
        train_labels=np.arange(8),
        test_images=images,
        test_labels=np.arange(8),
    )
    assert (
        call(
            anomalous_diffusion,
            "--dataset",
            "small.npz",
            "--batch-size",
            "4",
            "--model",
            "resnet14",
        )
        == 2
    )
    assert "(2, 3, 3, 1)" in capsys.readouterr().err and list(tmp_path.iterdir()) == [
        tmp_path / "small.npz"
    ]


def test_an_unprepared_data_set_fails_within_seconds(call, capsys, tmp_path):
    begin = time.monotonic()
    assert call(anomalous_diffusion, "--dataset", "cifar10", "--data-dir", tmp_path) == 2
    assert str(tmp_path) in capsys.readouterr().err and time.monotonic() - begin < 20


def test_an_unwritable_directory_is_refused(call, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert call(anomalous_diffusion, *TINY, "--directory", tmp_path / "file" / "run") == 2
    assert "Cannot" in capsys.readouterr().err


def test_ctrl_c_ends_at_once_and_the_run_can_be_continued(tmp_path):
    arguments = [
        sys.executable,
        "-m",
        "experiments.anomalous_diffusion",
        *TINY[:7],
        "--window",
        "400",
        "--num-windows",
        "400",
        "--directory",
        str(tmp_path / "run"),
    ]
    child = subprocess.Popen(
        arguments,
        cwd=CHECKOUT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    deadline = time.monotonic() + 120
    while (
        not (tmp_path / "run" / "windows" / "window_00001.nc").exists()
        and child.poll() is None
        and (time.monotonic() < deadline)
    ):
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    begin = time.monotonic()
    _, said = child.communicate(timeout=30)
    assert child.returncode == 130 and time.monotonic() - begin < 5
    assert "interrupted" in said and "Traceback" not in said
    assert load_run(tmp_path / "run").sizes["window"] >= 2


@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_ctrl_c_is_quiet_during_imports_too(seconds, tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-m", "experiments.anomalous_diffusion", *TINY],
        cwd=tmp_path,
        text=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
    )
    time.sleep(seconds)
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=30) == ("", "\ninterrupted\n") and child.returncode == 130


def test_importing_experiments_leaves_ctrl_c_alone():
    """As Python sets it, or ignores it for a job that a shell put into the background."""
    assert signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN)


def test_runs_of_the_same_second_have_directories_of_their_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    made = [new_directory("digits-fc3") for _ in range(5)]
    assert len(set(made)) == 5 and all(
        path.is_dir() and path.parent == pathlib.Path("runs") for path in made
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    pathlib.Path("runs").write_text("")
    with pytest.raises(StorageError, match="--directory"):
        new_directory("digits-fc3")


def test_a_run_refused_late_leaves_no_directory_of_its_own(refused, monkeypatch):
    def refuse(*_, **__):
        raise InputError("too large for this machine")

    monkeypatch.setattr(training, "run_ensemble", refuse)
    refused(anomalous_diffusion, "too large for this machine", *TINY)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"options": {"window": "20"}}, "--window is '20'"),
        ({"options": {"seeds": [[0]]}}, "--seeds is"),
        ({"options": {"loss": 3}}, "--loss is 3"),
        ({"options": {"model": None}}, "--model is None"),
        ({"options": {"seeds": 4}}, "--seeds is 4"),
        ({"options": 5}, "holds no options"),
        ({}, "holds no options"),
        ([], "holds no options"),
        ("{", "holds no options"),
        ("", "holds no options"),
        ("[" * 10_000, "holds no options"),
    ],
)
def test_a_damaged_configuration_is_one_message_and_exit_code_2(
    call, capsys, tmp_path, metadata, words
):
    directory = tmp_path / "run"
    directory.mkdir()
    text = (
        metadata
        if isinstance(metadata, str)
        else json.dumps({"metadata": metadata, "configuration": {}})
    )
    (directory / "config.json").write_text(text)
    assert call(anomalous_diffusion, "--resume", "--directory", directory) == 2
    said = capsys.readouterr().err
    assert words in said and str(directory / "config.json") in said and len(said.splitlines()) == 1


def test_a_run_is_resumed_by_its_own_preset_alone(call, capsys, tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    options = command_line.options_as_json(anomalous_diffusion.PRESETS["quick"]) | {
        "preset": "quick",
        "quick": True,
    }
    (directory / "config.json").write_text(
        json.dumps({"metadata": {"options": options}, "configuration": {}})
    )
    where = ["--resume", "--directory", str(directory)]
    for preset in ([], ["--quick"], ["--preset", "quick"]):
        assert parse(*where, *preset).num_windows == 4
    assert call(anomalous_diffusion, *where, "--preset", "paper") == 2
    assert "was made with 'quick'" in capsys.readouterr().err


class _Pipe(io.StringIO):
    """A stream that cannot be written to, with a file descriptor that can be given up."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise OSError(self.error, os.strerror(self.error))

    def fileno(self):
        return self.descriptor


@pytest.mark.parametrize(
    ("error", "said"),
    [(errno.EPIPE, ""), (errno.ENOSPC, "warning: cannot write output: No space left")],
)
def test_output_that_nobody_takes_ends_nothing(monkeypatch, capsys, error, said):
    monkeypatch.setattr(sys, "stdout", _Pipe(error))
    with tempfile.TemporaryFile() as file:
        sys.stdout.descriptor = file.fileno()
        with output.safe_output():
            print("lost")
            print("lost too", flush=True)
    assert capsys.readouterr().err.startswith(said) and not isinstance(sys.stdout, output.Output)


def test_output_without_streams_or_with_few_characters(monkeypatch):
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", narrow)
    monkeypatch.setattr(sys, "stderr", None)
    with output.safe_output():
        print("1.0±0.1 m²")
        print("to nobody", file=sys.stderr)
    assert narrow.buffer.getvalue() == b"1.0+-0.1 m?\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "shell",
    [
        "PYTHONIOENCODING=ascii {}",
        "{} | head -1",
        "{} 2>&1 | head -1",
        "{} > /dev/full",
        "{} >&-",
        "{} 2>&-",
    ],
)
def test_a_run_ends_well_whatever_becomes_of_its_output(shell, tmp_path):
    program = shlex.join(
        [
            sys.executable,
            "-W",
            "error",
            "-m",
            "experiments.anomalous_diffusion",
            *TINY,
            "--directory",
            "run",
        ]
    )
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell.format(program)}"],
        cwd=tmp_path,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        timeout=200,
    )
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert "±" in (tmp_path / "run" / "summary.txt").read_text(encoding="utf-8")


@pytest.mark.slow
def test_quick_runs_the_real_network_within_a_minute_or_so(tmp_path):
    subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-m",
            "experiments.anomalous_diffusion",
            "--quick",
            "--directory",
            str(tmp_path / "run"),
        ],
        cwd=CHECKOUT,
        check=True,
        timeout=240,
    )
    run = load_run(tmp_path / "run")
    assert run.sizes["window"] == 4 and np.isfinite(run.msd).all()
    assert (run.test_accuracy.isel(window=-1) > 0.8).all()


def test_memory_is_printed_in_place_of_training(call, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert call(anomalous_diffusion, *TINY, "--memory", "here") == 0
    assert "free" in (said := capsys.readouterr().out) and "It fits." in said
    many = ["--seeds", *range(90), "--window", 9000, "--memory", "tpu-v5e", "--num-devices", 2]
    assert call(anomalous_diffusion, "--model", "fc2-width5", *many) == 0
    said = capsys.readouterr().out
    assert "180 members on 2 x tpu, each of them:" in said and "14.90 GiB" in said
    assert "It does not fit. One of these makes it fit:" in said
    few = ["--model", "fc2-width5", "--batch-size", 16, 32, "--memory", "h100"]
    assert call(sweep, "--quick", *few) == 0
    said = capsys.readouterr().out
    assert "batch_size=32\nA window of" in said and said.count("It fits.") == 2
    assert not list(tmp_path.iterdir())
