"""What a window keeps of its path: the same numbers as the analysis gives, for every member, and
NaN for a diverged one.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion.analysis import displacement, paths, roughness, surrogates
from sgd_diffusion.analysis.gram import step_gram
from sgd_diffusion.analysis.lags import standard_lags
from sgd_diffusion.dynamics import measurements
from sgd_diffusion.dynamics.measurements import path_statistics, step_grams
from sgd_diffusion.dynamics.run import Plan, run_ensemble
from sgd_diffusion.dynamics.window import WindowRecord
from sgd_diffusion.errors import InputError

STEPS = 80


def in_one_program(function, *arguments):
    """What a function makes of the arguments, in double precision."""
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, jax.jit(function)(*arguments))


@pytest.fixture(scope="module")
def record():
    random = np.random.default_rng(0)
    weights = (
        0.1 * random.normal(size=(STEPS + 1, 6)).cumsum(axis=0)
        + 0.02 * np.arange(STEPS + 1)[:, None]
    )
    losses = jnp.asarray(random.normal(size=STEPS + 1), jnp.float32)
    return WindowRecord(
        step_gram(weights),
        losses,
        (losses**2),
        jnp.ones(STEPS),
        jnp.zeros((STEPS, 0)),
        {},
        None,
        jnp.int32(-1),
    )


@pytest.fixture(scope="module")
def measured(record):
    """All three, under jit, of the record and of one that is lost, side by side."""
    parts = [
        measurements.controls(STEPS),
        measurements.path_shape(STEPS),
        measurements.loss_roughness(STEPS, probe=True),
    ]

    def measure(record):
        values = {}
        for part in parts:
            found = part.function(record)
            assert found.keys() == part.dims.keys()
            for name, value in found.items():
                assert value.ndim == len(part.dims[name])
                for dim, size in zip(part.dims[name], value.shape, strict=True):
                    assert dim not in part.coords or len(part.coords[dim]) == size
            values |= found
        return values

    with jax.enable_x64(True):
        lost = jax.tree.map(lambda leaf: leaf * jnp.nan if leaf.dtype.kind == "f" else leaf, record)
        both = jax.tree.map(lambda *leaves: jnp.stack(leaves), record, lost)
        return jax.tree.map(np.asarray, jax.jit(jax.vmap(measure))(both))


def test_controls_are_the_surrogates(measured, record):
    gram, lags = np.asarray(record.step_gram), standard_lags(STEPS)
    functions = (
        surrogates.drift_subtracted_msd,
        displacement.time_averaged_msd,
        surrogates.shuffled_msd,
    )
    without_drift, raw, shuffled = in_one_program(
        lambda gram: [function(gram, lags) for function in functions], gram
    )
    np.testing.assert_allclose(measured["drift_subtracted_msd"][0], without_drift, rtol=1e-9)
    for name, expected in (
        ("shuffled_msd", shuffled),
        ("sign_flipped_msd", lags * np.diagonal(gram).mean()),
    ):
        draws = measured[name][0]
        assert len(np.unique(draws[:, 20])) == path_statistics.NUM_DRAWS
        error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
        short = lags < STEPS / 4
        assert np.all(np.abs(draws.mean(axis=0) - expected)[short] < 5 * error[short] + 1e-12)
    replicates = measured["msd_replicates"][0]
    short = lags < STEPS / 4
    assert np.all(np.abs(replicates.mean(axis=0) / raw - 1)[short] < 0.1) and np.all(
        replicates.std(axis=0)[short] > 0
    )


def test_shape_is_that_of_the_path(measured, record):
    gram = np.asarray(record.step_gram)
    ratio = in_one_program(
        lambda gram: paths.principal_components(gram, 10).explained_variance_ratio, gram
    )
    scores = in_one_program(lambda gram: paths.principal_components(gram, 3).scores, gram)
    np.testing.assert_allclose(measured["explained_variance_ratio"][0], ratio, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(measured["scores"][0], scores, rtol=1e-6, atol=1e-9)
    assert np.all(measured["fragments"][0].sum(axis=1) == STEPS * (STEPS + 1) / 2)
    lengths = standard_lags(STEPS)
    lengths = lengths[(lengths >= 2) & (lengths <= STEPS // 2)]
    functions = displacement.time_averaged_msd, surrogates.drift_subtracted_msd
    raw, without_drift = in_one_program(
        lambda gram: [function(gram, lengths) for function in functions], gram
    )
    np.testing.assert_allclose(measured["squared_end_to_end_by_length"][0, 0], raw, rtol=1e-9)
    excursions = [
        np.asarray(paths.transverse_excursions(gram, int(n)).squared_excursion).mean()
        for n in lengths
    ]
    np.testing.assert_allclose(measured["squared_excursion_by_length"][0, 0], excursions, rtol=1e-9)
    np.testing.assert_allclose(
        measured["squared_end_to_end_by_length"][0, 1], without_drift, rtol=1e-9
    )
    whole = np.sqrt(np.diagonal(gram)).sum()  # a shuffle keeps the whole length
    assert np.nanmax(measured["contour_length"][0, 2]) <= whole * (1 + 1e-9)
    assert np.isfinite(measured["excursion_slope_error"][0])


def test_roughness_is_that_of_the_losses(measured, record):
    gram, losses = np.asarray(record.step_gram), np.asarray(record.losses, np.float64)
    for kind, values in (("batch", losses), ("probe", np.asarray(record.probe_losses, np.float64))):
        expected = in_one_program(
            partial(roughness.mean_squared_loss, bins=path_statistics.EDGES), gram, values
        )
        np.testing.assert_allclose(measured[f"{kind}_msl"][0], expected.msl, rtol=1e-9)
        np.testing.assert_allclose(measured["pairs"][0], expected.counts)
    distances, contour = measured["pair_distance"][0], measured["pair_contour_length"][0]
    assert np.all(distances <= contour * (1 + 1e-9)) and len(distances) == path_statistics.NUM_PAIRS
    assert np.all(measured["pair_batch_difference"][0] >= 0)


def test_a_diverged_member_has_nothing_but_nan(measured):
    for name, values in measured.items():
        assert np.isnan(values[1]).all(), name
        assert np.isfinite(values[0]).any(), name


def test_the_statistics_of_a_run_are_those_of_its_gram_matrices(make_regression):
    problem, plan = (
        make_regression(),
        Plan(seeds=(0, 1), learning_rates=(0.05,), num_windows=2, window=40, batch_size=10),
    )
    chosen = [path_statistics.path_shape(40), step_grams()]
    run = run_ensemble(problem, plan, measurements=chosen)
    gram = run.step_gram.isel(window=1, seed=1, learning_rate=0).values
    ratios = run.explained_variance_ratio.isel(window=1, seed=1, learning_rate=0)
    expected = in_one_program(
        lambda gram: paths.principal_components(gram, 10).explained_variance_ratio, gram
    )
    np.testing.assert_allclose(ratios, expected, rtol=1e-6, atol=1e-12)
    assert (
        run.fragments.sel(seed=0, window=0, learning_rate=0.05, motion="SGD").sum() == 40 * 41 / 2
    )


def test_measurements_can_be_chosen_where_a_program_is_traced_and_without_jit():
    """What they draw is known by then."""

    @jax.jit
    def replicates(gram):
        record = WindowRecord(gram, *[None] * (len(WindowRecord._fields) - 1))
        return path_statistics.controls(len(gram)).function(record)["msd_replicates"]

    gram = np.eye(12)
    with jax.enable_x64(True):
        traced = replicates(gram)
        np.testing.assert_allclose(traced, replicates.__wrapped__(jnp.asarray(gram)), rtol=1e-12)
        path_statistics._drawn.cache_clear()
        with jax.disable_jit():
            np.testing.assert_allclose(replicates(jnp.asarray(gram)), traced, rtol=1e-9)


def test_the_slope_of_excursions_needs_ten_fragments():
    """A window of 10 steps has 9 of two steps."""
    record = WindowRecord(np.eye(10), *[None] * (len(WindowRecord._fields) - 1))
    with pytest.raises(InputError, match="N >= 10 fragments"):
        jax.eval_shape(lambda: path_statistics.path_shape(10).function(record))
