"""Planes in files: kills and errors at any chunk lose no more than it, and what does not belong
there is refused.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from sgd_diffusion.errors import InputError, StorageError
from sgd_diffusion.landscape.planes import Plane, evaluate_plane
from sgd_diffusion.storage.plane_files import resumable_plane

ROOT = str(pathlib.Path(__file__).parents[1])
XS, YS = (
    np.linspace(-1.0, 2.0, 7),
    np.linspace(-1.0, 1.5, 5),
)  # 35 points: nine chunks of 4, the last with 3
PLANE = Plane(
    *(np.sin(np.arange(12) * factor).reshape(3, 4).astype(np.float32) for factor in (1, 2, 3))
)
OPTIONS = {"chunk": 4, "description": {"loss": "waves", "rate": 0.1}}


def waves(params):
    square = jnp.tanh(params).sum() + jnp.sin(params @ params.T).sum()
    return {"loss": square, "signed": jnp.log(square)}  # NaN on one side of the plane


class Interruption(Exception):
    pass


def evaluate(path, seen=None, stop_at=None, **changes):
    def progress(finished, total):
        assert total == 35
        if seen is not None:
            seen.append(finished)
        if finished == stop_at:
            raise Interruption

    arguments = {"loss": waves, "plane": PLANE, "xs": XS, "ys": YS} | OPTIONS | changes
    return resumable_plane(path, progress=progress, **arguments)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return evaluate(tmp_path_factory.mktemp("whole") / "plane.nc")


def test_the_file_is_the_labeled_plane(uninterrupted, tmp_path):
    seen = []
    evaluate(tmp_path / "new" / "plane.nc", seen)
    assert seen == [*range(0, 35, 4), 35]
    stored = xr.load_dataset(tmp_path / "new" / "plane.nc")
    xr.testing.assert_identical(stored, uninterrupted)
    expected = evaluate_plane(waves, PLANE, XS, YS)
    for name, values in expected.items():
        assert stored[name].dims == ("y", "x") and stored[name].dtype == np.float32
        np.testing.assert_allclose(stored[name], values, rtol=2e-5)
    assert np.isnan(stored.signed).any() and np.isfinite(stored.signed).any()
    np.testing.assert_array_equal(stored.x, XS)
    assert json.loads(stored.attrs["configuration"])["description"] == OPTIONS["description"]
    assert "packages" in json.loads(stored.attrs["environment"])
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("stop_at", [4, 16, 35])
def test_an_error_loses_nothing_that_is_finished(uninterrupted, tmp_path, stop_at):
    with pytest.raises(Interruption):
        evaluate(tmp_path / "plane.nc", stop_at=stop_at)
    partly = xr.load_dataset(tmp_path / "plane.nc")
    assert partly.attrs["finished"] == stop_at
    np.testing.assert_array_equal(
        partly.loss.values.ravel()[:stop_at], uninterrupted.loss.values.ravel()[:stop_at]
    )
    assert np.isnan(partly.loss.values.ravel()[stop_at:]).all()
    seen = []
    xr.testing.assert_identical(evaluate(tmp_path / "plane.nc", seen), uninterrupted)
    assert seen[0] == stop_at


CHILD = """
    import os, signal, sys
    sys.path.insert(0, sys.argv[1])
    import test_plane_files
    from sgd_diffusion.storage import plane_files
    die = lambda: os.kill(os.getpid(), signal.SIGKILL)
    write, written = plane_files.write_atomically, []

    def write_and_die(path, content):
        written.append(path)
        if len(written) == 3:
            if path.stem == "half":
                path.with_name(path.name + ".partial").write_bytes(content[: len(content) // 2])
                die()
        write(path, content)
        if len(written) == 3:
            die()

    plane_files.write_atomically = write_and_die
    other = os.fork()  # before JAX has any thread
    if other and os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) != -signal.SIGKILL:
        sys.exit("the other one was not killed")
    test_plane_files.evaluate(os.path.join(sys.argv[2], "half.nc" if other else "after.nc"))
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A directory with the files of two processes that were killed at their third file: when half
    of it was written, and after that.
    """
    directory = tmp_path_factory.mktemp("killed")
    child = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(CHILD),
            str(pathlib.Path(__file__).parent),
            directory,
        ],
        env=os.environ | {"PYTHONPATH": ROOT},
        timeout=300,
    )
    assert child.returncode == -signal.SIGKILL
    return directory


@pytest.mark.parametrize(("moment", "finished"), [("half", 8), ("after", 12)])
def test_a_kill_loses_one_chunk_at_most_and_the_numbers_are_the_same(
    uninterrupted, killed, moment, finished
):
    seen = []
    resumed = evaluate(killed / f"{moment}.nc", seen)
    assert seen[0] == finished
    for name in ("loss", "signed"):
        assert resumed[name].values.tobytes() == uninterrupted[name].values.tobytes()
    assert not list(killed.glob(f"{moment}*.partial"))


def test_a_finished_plane_is_read_and_not_evaluated(uninterrupted, tmp_path):
    evaluate(tmp_path / "plane.nc")

    def fails(params):
        raise AssertionError("evaluated again")

    xr.testing.assert_identical(evaluate(tmp_path / "plane.nc", loss=fails), uninterrupted)


def test_one_scalar_is_called_loss(tmp_path):
    found = evaluate(tmp_path / "plane.nc", loss=lambda params: params.sum(), at_once=2)
    np.testing.assert_allclose(
        found.loss, evaluate_plane(lambda params: params.sum(), PLANE, XS, YS), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"description": {"loss": "waves", "rate": 0.2}},
            r"description\.rate is 0\.1 there and 0\.2 here",
        ),
        ({"chunk": 5}, "chunk is 4 there and 5 here"),
        ({"at_once": 2}, "at_once is 1 there and 2 here"),
        ({"plane": PLANE._replace(second=PLANE.second + np.float32(1e-6))}, "plane is '.*' there"),
        ({"xs": XS[:-1]}, "xs is '7 values.*6 values"),
        ({"ys": np.nextafter(YS, 9)}, "ys is '5 values.*SHA-256"),
    ],
)
def test_a_file_of_another_configuration_is_refused_and_kept(tmp_path, changes, words):
    with pytest.raises(Interruption):
        evaluate(tmp_path / "plane.nc", stop_at=8)
    content = (tmp_path / "plane.nc").read_bytes()
    with pytest.raises(StorageError, match=words):
        evaluate(tmp_path / "plane.nc", **changes)
    assert (tmp_path / "plane.nc").read_bytes() == content


@pytest.mark.parametrize("how", ["truncated", "other", "changed", "no plane"])
def test_a_damaged_file_is_refused_and_kept(uninterrupted, tmp_path, how):
    path = tmp_path / "plane.nc"
    whole = bytes(uninterrupted.to_netcdf(engine="h5netcdf"))
    changed = uninterrupted.assign(loss=uninterrupted.loss + np.float32(1e-3))
    content = {
        "truncated": whole[: len(whole) // 2],
        "other": b"notes",
        "no plane": bytes(xr.Dataset().to_netcdf(engine="h5netcdf")),
        "changed": bytes(changed.to_netcdf(engine="h5netcdf")),
    }[how]
    path.write_bytes(content)
    with pytest.raises(
        StorageError, match=r"plane\.nc is no file of a plane, or it is damaged.*Delete it"
    ):
        evaluate(path)
    assert path.read_bytes() == content


def test_a_directory_that_cannot_be_made_is_said_before_anything_is_evaluated(tmp_path):
    (tmp_path / "file").write_text("")
    seen = []
    with pytest.raises(StorageError, match=r"Cannot write to .*file: File exists"):
        evaluate(tmp_path / "file" / "plane.nc", seen)
    assert not seen


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (
            lambda params: params.sum(axis=0),
            r"loss returns float32\[4\] as 'loss'; .*floating scalar",
        ),
        (lambda params: {"count": (params > 0).sum()}, r"returns int32\[\] as 'count'"),
        (lambda params: (params.sum(),), r"returns \('float32\[\]',\) as 'loss'"),
    ],
)
def test_losses_that_a_file_does_not_take(tmp_path, loss, words):
    with pytest.raises(InputError, match=words):
        evaluate(tmp_path / "plane.nc", loss=loss)
    assert not (tmp_path / "plane.nc").exists()


def test_inputs_of_other_types_are_those_of_plain_ones(tmp_path):
    """Integers of NumPy, half-precision coordinates and losses, which NetCDF does not have."""
    options = {
        "chunk": np.int8(4),
        "at_once": np.array(2),
        "description": {"rate": np.float32(0.5), "shape": (np.int64(3),)},
        "xs": jnp.arange(3, dtype=jnp.bfloat16),
        "ys": [0, 1],
        "loss": lambda w: waves(w)["loss"].astype(jnp.float16),
    }
    plain = options | {
        "chunk": 4,
        "at_once": 2,
        "xs": np.arange(3.0),
        "loss": lambda w: waves(w)["loss"],
        "description": {"rate": 0.5, "shape": [3]},
    }
    found, expected = (
        resumable_plane(
            tmp_path / f"{len(each['xs'])}{type(each['chunk']).__name__}.nc", plane=PLANE, **each
        )
        for each in (options, plain)
    )
    np.testing.assert_allclose(found.loss, expected.loss, rtol=2e-3)
    np.testing.assert_array_equal(found.x, expected.x)
    assert (
        json.loads(found.configuration)["description"]
        == json.loads(expected.configuration)["description"]
    )
    for wrong in (
        {"chunk": 2.5},
        {"at_once": "2"},
        {"description": {"model": object()}},
        {"xs": [1j]},
    ):
        with pytest.raises(InputError, match=next(iter(wrong))):
            resumable_plane(tmp_path / "refused.nc", plane=PLANE, **plain | wrong)
    assert not (tmp_path / "refused.nc").exists()
