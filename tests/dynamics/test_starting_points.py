"""Runs that start where another run stands: at the same points, with momentum zero; continued as if
never interrupted; or refused before anything is written.
"""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from sgd_diffusion.dynamics import measurements
from sgd_diffusion.dynamics.ensemble import Ensemble
from sgd_diffusion.dynamics.run import Plan, run_ensemble
from sgd_diffusion.dynamics.starting_points import first_points, last_points
from sgd_diffusion.errors import InputError, StorageError
from sgd_diffusion.storage.run_directories import DamagedResultsWarning

SOURCE = Plan(
    seeds=(3, 0, 7), learning_rates=(0.05,), num_windows=2, window=9, batch_size=10, momentum=0.5
)
TWO_RATES = dataclasses.replace(SOURCE, learning_rates=(0.02, 0.05), num_windows=1)
PLAN = dataclasses.replace(SOURCE, seeds=(0, 7), learning_rates=(0.02, 0.1), momentum=0.9)
CHOSEN = [measurements.displacements(), measurements.series(), measurements.endpoints()]


@pytest.fixture(scope="module")
def problem():
    from conftest import two_layer_regression

    return two_layer_regression()


@pytest.fixture(scope="module")
def made(problem, tmp_path_factory):
    """The directories and results of two runs to start from; not to be changed."""
    top = tmp_path_factory.mktemp("sources")
    return {
        name: (top / name, run_ensemble(problem, plan, top / name, measurements=CHOSEN))
        for name, plan in (("one", SOURCE), ("two", TWO_RATES))
    }


@pytest.fixture
def source(made, tmp_path):
    """A copy of the run with one learning rate."""
    return shutil.copytree(made["one"][0], tmp_path / "source")


@pytest.fixture(scope="module")
def uninterrupted(problem, made):
    return run_ensemble(problem, PLAN, measurements=CHOSEN, start_from=made["one"][0])


def run(problem, plan, directory, source, **options):
    return run_ensemble(problem, plan, directory, measurements=CHOSEN, start_from=source, **options)


def flat(params):
    """Parameters along the leading axis of members as vectors, leaf by leaf."""
    return np.concatenate(
        [np.asarray(leaf).reshape(len(leaf), -1) for leaf in jax.tree.leaves(params)], axis=1
    )


def configuration(directory):
    return json.loads((directory / "config.json").read_text())["configuration"]


def test_seeds_meet_their_seeds_and_all_rates_the_only_one(problem, made):
    directory, results = made["one"]
    points = last_points(directory, problem, PLAN)
    ends = results.params.sel(seed=[0, 0, 7, 7]).isel(window=-1, learning_rate=0)
    np.testing.assert_array_equal(flat(points.params), ends)
    np.testing.assert_array_equal(points.state["evaluations"], 18)
    assert points.facts["directory"] == str(directory) and points.facts["updates"] == 18


def test_rates_meet_their_rates_where_there_are_several(problem, made):
    directory, results = made["two"]
    plan = dataclasses.replace(PLAN, learning_rates=(0.05, 0.02))
    points = last_points(directory, problem, plan)
    ends = results.params.isel(window=-1).sel(seed=[0, 7], learning_rate=[0.05, 0.02])
    np.testing.assert_array_equal(flat(points.params), ends.values.reshape(4, -1))
    single = dataclasses.replace(plan, learning_rates=(float(np.float32(0.05)),))
    np.testing.assert_array_equal(
        flat(last_points(directory, problem, single).params), ends.isel(learning_rate=0)
    )


def test_members_start_at_rest(problem, made):
    points = last_points(made["one"][0], problem, PLAN)
    carry = Ensemble(problem, PLAN, measure_path=lambda record: {}).start(points[:2])
    np.testing.assert_array_equal(flat(carry.params), flat(points.params))
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(carry.optimizer_state))
    assert flat(carry.optimizer_state).shape == flat(points.params).shape  # there is a momentum
    assert (carry.diverged_at == -1).all()


def test_a_member_moves_as_one_of_a_problem_that_starts_there(problem, made, uninterrupted):
    """And not as the source would have gone on, whose momentum is not zero."""
    points = last_points(made["one"][0], problem, PLAN)
    own = jax.tree.map(lambda leaf: jnp.asarray(leaf[3]), (points.params, points.state))
    there = dataclasses.replace(problem, init=lambda key: own)
    alone = run_ensemble(
        there,
        dataclasses.replace(PLAN, seeds=(7,), learning_rates=(0.1,)),
        measurements=CHOSEN,
    )
    # up to rounding: the compiler removes the loop over members when there is one
    member = uninterrupted.sel(seed=[7], learning_rate=[0.1])
    xr.testing.assert_allclose(alone, member, rtol=1e-5, atol=1e-7)
    assert (uninterrupted.state[0] == 18 + 9).all()


def test_members_side_by_side_are_those_one_after_the_other(problem, made, uninterrupted):
    together = run(problem, PLAN, None, made["one"][0], members_at_once=4)
    xr.testing.assert_allclose(together, uninterrupted, rtol=1e-4, atol=1e-6)


def test_the_directory_says_where_the_run_started(problem, made, tmp_path, uninterrupted):
    found = run(problem, PLAN, tmp_path / "run", made["one"][0])
    xr.testing.assert_equal(found, uninterrupted)
    start = configuration(tmp_path / "run")["start"]
    assert start == last_points(made["one"][0], problem, PLAN).facts
    assert json.loads(found.attrs["configuration"])["start"] == start
    params, state = first_points(tmp_path / "run", problem, PLAN)
    np.testing.assert_array_equal(
        flat(params), flat(last_points(made["one"][0], problem, PLAN).params)
    )
    np.testing.assert_array_equal(state["evaluations"], 18)


def test_an_interrupted_run_is_a_source_too(problem, tmp_path):
    def interrupt(index, window):
        if index == 1:
            raise KeyboardInterrupt

    plan = dataclasses.replace(SOURCE, waiting_times=(4, 20, 40))
    with pytest.raises(KeyboardInterrupt):
        run_ensemble(problem, plan, tmp_path, measurements=CHOSEN, on_window=interrupt)
    points = last_points(tmp_path, problem, PLAN)
    assert points.facts["updates"] == 29 and (points.state["evaluations"] == 29).all()


def content(directory):
    return {path: path.read_bytes() if path.is_file() else None for path in directory.rglob("*")}


def test_the_source_is_only_read(problem, source):
    """Another process may be writing a checkpoint there."""
    (source / "checkpoints" / "3.orbax-checkpoint-tmp").mkdir()
    before = content(source)
    last_points(source, problem, PLAN)
    assert content(source) == before


@pytest.mark.parametrize(
    "fate", [pytest.param("stays", marks=pytest.mark.slow), "gone", "moved on"]
)
def test_an_interruption_changes_nothing_whatever_becomes_of_the_source(
    problem, source, uninterrupted, tmp_path, fate
):
    def interrupt(index, window):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(problem, PLAN, tmp_path / "run", source, on_window=interrupt)
    if fate == "gone":
        shutil.rmtree(source)
    elif fate == "moved on":
        longer = dataclasses.replace(SOURCE, num_windows=3)
        run_ensemble(problem, longer, source, measurements=CHOSEN, resume=True)
    resumed = run(problem, PLAN, tmp_path / "run", source, resume=True)
    same = uninterrupted.drop_attrs(), resumed.drop_attrs()  # they started from two copies
    xr.testing.assert_equal(*same)


def test_the_start_is_kept_for_good(problem, made, tmp_path):
    """Beside the three newest checkpoints, to go back to if these are damaged."""
    longer = dataclasses.replace(PLAN, num_windows=4)
    found = run(problem, longer, tmp_path / "run", made["one"][0])
    checkpoints = tmp_path / "run" / "checkpoints"
    assert {path.name for path in checkpoints.iterdir()} == {"0", "2", "3", "4"}
    for name in "234":
        shutil.rmtree(checkpoints / name / "carry")
    with pytest.warns(DamagedResultsWarning):
        again = run(
            problem,
            dataclasses.replace(PLAN, num_windows=5),
            tmp_path / "run",
            made["one"][0],
            resume=True,
        )
    xr.testing.assert_equal(again.isel(window=slice(4)), found)


def test_without_any_checkpoint_a_run_starts_again_from_the_same_points_or_not_at_all(
    problem, source, tmp_path
):
    directory, longer = tmp_path / "run", dataclasses.replace(PLAN, num_windows=3)
    found = run(problem, PLAN, directory, source)
    shutil.rmtree(directory / "checkpoints")
    xr.testing.assert_equal(run(problem, PLAN, directory, source, resume=True), found)
    assert not list((directory / "checkpoints").iterdir())  # no start that it did not have
    with pytest.warns(DamagedResultsWarning, match="computed again"):
        again = run(problem, longer, directory, source, resume=True)
    xr.testing.assert_equal(again.isel(window=slice(2)), found)
    run_ensemble(
        problem,
        dataclasses.replace(SOURCE, num_windows=3),
        source,
        measurements=CHOSEN,
        resume=True,
    )
    shutil.rmtree(directory / "checkpoints")
    with pytest.raises(StorageError, match="18 updates, which has other points after 27 now"):
        run(
            problem,
            dataclasses.replace(PLAN, num_windows=4),
            directory,
            source,
            resume=True,
        )


def test_another_start_is_another_run(problem, made, source, tmp_path):
    plan = dataclasses.replace(PLAN, num_windows=1)
    run(problem, plan, tmp_path / "run", source)
    for other, words in [
        (None, "start is .* there and None here"),
        (made["one"][0], "start.directory is"),
    ]:
        with pytest.raises(StorageError, match=f"another configuration .*{words}"):
            run(problem, plan, tmp_path / "run", other, resume=True)
    run_ensemble(problem, plan, tmp_path / "plain", measurements=CHOSEN)
    with pytest.raises(StorageError, match="start is None there and"):
        run(problem, plan, tmp_path / "plain", source, resume=True)


def refused(problem, plan, directory, source, words, **options):
    before = content(directory) if directory.exists() else None
    with pytest.raises(InputError, match=rf"^start_from \(--start-from\) is .*{words}"):
        run(problem, plan, directory, source, **options)
    assert (content(directory) if directory.exists() else None) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": (0, 5, 6)}, "has no seed 5, 6; expected .*: choose seeds among 3, 0, 7"),
        (
            {"learning_rates": (0.02, 0.1)},
            "several learning rates, and not 0.1; expected .*: choose .* among 0.02, 0.05",
        ),
    ],
)
def test_members_that_the_source_lacks_are_named(problem, made, tmp_path, changes, words):
    plan = dataclasses.replace(PLAN, **{"learning_rates": (0.05,)} | changes)
    refused(problem, plan, tmp_path / "run", made["two"][0], words)


def test_another_model_is_named(make_regression, made, tmp_path):
    wider = make_regression(hidden=8)
    words = r"params.hidden.bias float32\[3, 7\] where this model has .* float32\[3, 8\]"
    refused(wider, PLAN, tmp_path / "run", made["one"][0], words)
    plain = make_regression()

    def init(key):
        params, state = plain.init(key)
        return {"hidden": params["hidden"], "readout": params["output"]}, state

    renamed = dataclasses.replace(plain, init=init)
    refused(
        renamed, PLAN, tmp_path / "run", made["one"][0], "have params.output .* has params.readout"
    )

    def more(key):
        params, _ = plain.init(key)
        return params, {"evaluations": jnp.int32(0), "more": jnp.zeros(2)}

    longer = dataclasses.replace(plain, init=more)
    refused(longer, PLAN, tmp_path / "run", made["one"][0], "where this model has state.more")


def test_a_source_of_an_older_version_says_no_names(problem, make_regression, source, tmp_path):
    """Its checkpoints fit, or are refused."""
    facts = source / "checkpoints" / "2" / "digest" / "metadata"
    stored = json.loads(facts.read_text())
    assert stored.pop("arrays")
    facts.write_text(json.dumps(stored))
    assert last_points(source, problem, PLAN).facts["updates"] == 18
    for number in "01":
        shutil.rmtree(source / "checkpoints" / number)
    with pytest.warns(DamagedResultsWarning, match="its arrays have other shapes"):
        refused(
            make_regression(hidden=8),
            PLAN,
            tmp_path / "run",
            source,
            "no checkpoint that can be read",
        )


def test_a_damaged_checkpoint_of_the_source_gives_way_to_an_earlier_one(problem, source):
    shutil.rmtree(source / "checkpoints" / "2" / "carry")
    with pytest.warns(DamagedResultsWarning, match="checkpoint after 2 windows .* is damaged"):
        points = last_points(source, problem, PLAN)
    assert points.facts["updates"] == 9 and (points.state["evaluations"] == 9).all()
    assert (source / "checkpoints" / "2").exists()


def test_what_holds_no_run_with_a_checkpoint_is_refused(problem, source, tmp_path):
    refused(problem, PLAN, tmp_path / "run", tmp_path / "nowhere", "holds no run of an ensemble")
    refused(problem, PLAN, tmp_path / "run", 5, "expected the path of a run")
    shutil.rmtree(source / "checkpoints")
    refused(problem, PLAN, tmp_path / "run", source, "holds no checkpoint that can be read")
    (source / "config.json").write_text('{"configuration": {"plan": {"seeds": "all"}}}')
    refused(problem, PLAN, tmp_path / "run", source, "holds no run of an ensemble")


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_does_not_start_from_itself(problem, source, tmp_path, resume):
    (tmp_path / "link").symlink_to(source)
    for same in (source, source / ".." / "source", tmp_path / "link"):
        refused(problem, SOURCE, source, same, "the directory of the run itself", resume=resume)


def test_diverged_members_are_refused_and_the_others_taken(problem, tmp_path):
    plan = dataclasses.replace(SOURCE, seeds=(0, 7), learning_rates=(0.05, 1e20), num_windows=1)
    run_ensemble(problem, plan, tmp_path / "source", measurements=CHOSEN)
    plan = dataclasses.replace(PLAN, learning_rates=(0.05, 1e20))
    words = "diverged for seed 0, seed 7; expected .*: leave these seeds out"
    refused(problem, plan, tmp_path / "run", tmp_path / "source", words)
    sound = dataclasses.replace(PLAN, learning_rates=(0.05,))
    assert np.isfinite(flat(last_points(tmp_path / "source", problem, sound).params)).all()


def test_random_keys_and_short_numbers_are_found_again(problem, tmp_path):
    def init(key):
        return {"w": jax.random.normal(key, (5,), jnp.bfloat16)}, {
            "key": jax.random.key(7),
            "none": jnp.zeros((0, 3)),
        }

    def loss(params, state, batch, train):
        key, own = jax.random.split(state["key"])
        kept = params["w"] * jax.random.bernoulli(own, 0.9, (5,))
        return jnp.mean((batch["x"] @ kept.astype(jnp.float32)) ** 2), ({**state, "key": key}, None)

    random = dataclasses.replace(problem, init=init, loss=loss)
    run_ensemble(
        random, dataclasses.replace(PLAN, num_windows=1), tmp_path / "source", measurements=CHOSEN
    )
    points = last_points(tmp_path / "source", random, PLAN)
    assert points.params["w"].dtype == jnp.bfloat16 and points.state["none"].shape == (4, 0, 3)
    assert (points.state["key"] != jax.random.key(7)).all()
    first = dataclasses.replace(PLAN, num_windows=1)
    run(random, first, tmp_path / "run", tmp_path / "source")
    resumed = run(random, PLAN, tmp_path / "run", tmp_path / "source", resume=True)
    xr.testing.assert_equal(resumed, run(random, PLAN, None, tmp_path / "source"))


def test_points_of_another_form_are_refused(problem, made):
    params, state, _ = last_points(made["one"][0], problem, PLAN)
    ensemble = Ensemble(problem, PLAN, measure_path=lambda record: {})
    for other in (
        (params, ()),
        (params["hidden"], state),
        (jax.tree.map(lambda leaf: leaf[:3], params), state),
    ):
        with pytest.raises(InputError, match=r"points have .*; expected .* for every member"):
            ensemble.start(other)


def test_the_first_points_have_to_be_there(problem, made, tmp_path):
    plan = dataclasses.replace(PLAN, num_windows=1)
    run(problem, plan, tmp_path / "run", made["one"][0])
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "0")
    with pytest.raises(StorageError, match="cannot be read, which says where the members"):
        first_points(tmp_path / "run", problem, PLAN)
