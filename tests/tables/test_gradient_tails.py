"""The table of gradient tails: planted laws, sources, missing members, losses."""

import jax
import numpy as np
import pytest

from sgd_diffusion.analysis.estimates import Status
from sgd_diffusion.analysis.stable import fits
from sgd_diffusion.errors import InputError
from sgd_diffusion.tables import gradient_tails

ROUNDING = 1e-3  # the density comes from a table
FEW = {"num_entries": 1000, "num_resamples": 5}
NUMBERS = (
    "alpha",
    "alpha_error",
    "alpha_low",
    "alpha_high",
    "scale",
    "location",
    "ks_stable",
    "ks_normal",
    "hill",
    "hill_error",
    "mohammadi",
    "mohammadi_error",
    "excess_kurtosis",
    "excess_kurtosis_error",
)
COMPARED = ("log_likelihood_ratio", "vuong_z", "vuong_p", "effective_entries")


@pytest.fixture(scope="module")
def table(gradient_run):
    return gradient_tails(gradient_run, **FEW)


def test_every_source_has_its_numbers(table):
    assert table.source.values.tolist() == [
        "pooled",
        "per coordinate",
        "frozen",
        "noise",
        "noise per coordinate",
        "Gaussian, layer scales",
        "Gaussian, coordinate scales",
    ]
    sound = table.isel(window=0)
    for name in NUMBERS:
        assert (
            table[name].dims == ("source", "window", "seed", "learning_rate")
            and np.isfinite(sound[name]).all()
        )
    for name in COMPARED:
        assert (
            table[name].dims == ("source", "rival", "window", "seed", "learning_rate")
            and np.isfinite(sound[name]).all()
        )
    assert np.all(sound.alpha_low <= sound.alpha_high) and np.all(
        table.status.isel(window=0) <= Status.AT_BOUND
    )
    assert table.layer_alpha.dims == (
        "layer",
        "window",
        "seed",
        "learning_rate",
    ) and table.layer.values.tolist() == list("abc")
    assert table.status.attrs["flag_meanings"].split()[Status.CONSTANT] == "CONSTANT"
    assert table.waiting_time.values.tolist() == [0, 200]


def test_planted_laws_are_told_from_mixtures_of_scales(table):
    first, second = (table.isel(window=window, seed=0, learning_rate=0) for window in (0, 1))
    for source in ("pooled", "Gaussian, layer scales", "Gaussian, coordinate scales"):
        assert first.alpha.sel(source=source) < 1.5  # normal numbers of two scales
    for source in ("per coordinate", "noise per coordinate"):
        # at alpha = 1.9, 1000 entries have an error of 0.04; the 60 batches of a pass standardize
        # to 10 %
        assert first.alpha.sel(source=source) > 1.85
    cauchy = second.sel(source="per coordinate")
    assert abs(cauchy.alpha - 1) < 4 * cauchy.alpha_information_error
    assert (
        cauchy.ks_stable < 1.95 / np.sqrt(1000) < cauchy.ks_normal
    )  # 0.1 % of the textbook's law, an upper bound here
    assert (
        cauchy.log_likelihood_ratio.sel(rival="normal") > 100
        and cauchy.vuong_p.sel(rival="normal") < 1e-3
    )
    assert cauchy.vuong_p.sel(rival="student_t") > 0.01  # as a t law of one degree of freedom
    null = first.sel(source="per coordinate", rival="normal")
    assert (
        -ROUNDING < null.log_likelihood_ratio < 5
    )  # of 60 normal samples of this size the largest had 4
    for layer in ("a", "b"):
        assert (
            first.layer_alpha.sel(layer=layer) > 1.85
            and abs(second.layer_alpha.sel(layer=layer) - 1) < 4 * 0.04
        )
    assert (
        np.isnan(first.layer_alpha.sel(layer="c"))
        and first.layer_status.sel(layer="c") == Status.CONSTANT
    )


def test_coordinates_without_a_scale_are_counted(table):
    counts = table.num_coordinates.isel(seed=0, window=0, learning_rate=0)
    assert counts.sel(source="pooled") == 10 and counts.sel(
        source=["per coordinate", "noise per coordinate"]
    ).values.tolist() == [9, 9]


def test_noise_is_less_the_gradient_of_all_examples(gradient_run):
    shifted = gradient_run.isel(window=[0], seed=[0])
    shifted["frozen_gradient"] = shifted.frozen_gradient + 1000.0
    shifted["full_gradient"] = shifted.full_gradient + 1000.0
    found = gradient_tails(shifted, **FEW).location.isel(window=0, seed=0, learning_rate=0)
    assert abs(found.sel(source="frozen") - 1000) < 1 and abs(found.sel(source="noise")) < 1


def test_diverged_members_have_no_numbers(table):
    lost = table.isel(window=1, seed=1)
    names = (
        *NUMBERS,
        *COMPARED,
        "alpha_information_error",
        "layer_alpha",
        "loss_change",
        "moving_variance",
        "mean_loss_change",
        "mean_moving_variance",
    )
    assert all(np.isnan(lost[name]).all() for name in names)
    assert np.all(lost.status == Status.NOT_FINITE) and np.all(
        lost.layer_status == Status.NOT_FINITE
    )
    assert np.isfinite(table.alpha.isel(window=1, seed=0)).all()


def test_without_frozen_gradients_there_is_no_noise(gradient_run, table):
    part = gradient_run.drop_vars(["frozen_gradient", "full_gradient"]).isel(window=[0], seed=[0])
    found = gradient_tails(part, key=jax.random.key(1), **FEW)
    assert found.source.values.tolist() == [
        "pooled",
        "per coordinate",
        "Gaussian, layer scales",
        "Gaussian, coordinate scales",
    ]
    other, same = (
        where.alpha.sel(source="pooled").isel(window=0, seed=0) for where in (found, table)
    )
    assert other != same and abs(other - same) < 4 * np.hypot(
        *(
            t.alpha_information_error.sel(source="pooled").isel(window=0, seed=0, learning_rate=0)
            for t in (found, table)
        )
    )


def test_losses(gradient_run, table):
    losses = gradient_run.loss.isel(window=0, seed=1, learning_rate=0).values.astype(float)
    here = table.isel(window=0, seed=1, learning_rate=0)
    np.testing.assert_allclose(here.loss_change, abs(np.diff(losses)), atol=1e-6)
    np.testing.assert_allclose(
        here.moving_variance, [losses[t : t + 100].var(ddof=1) for t in range(102)], rtol=1e-4
    )
    np.testing.assert_allclose(
        [here.mean_loss_change, here.mean_moving_variance],
        [here.loss_change.mean(), here.moving_variance.mean()],
        rtol=1e-6,
    )


@pytest.mark.slow
def test_the_whole_of_one_small_sample(gradient_run):
    """All entries of a window are drawn: the fit is that of the window itself."""
    part = gradient_run.isel(window=[1], seed=[0], coordinate=slice(5)).assign_coords(
        coordinate_weight=("coordinate", [1.0] * 5)
    )
    found = gradient_tails(part, **FEW).sel(source="pooled").isel(window=0, seed=0, learning_rate=0)
    expected = fits.fit(part.gradient_sample.values.ravel().astype(float))
    for name in ("alpha", "scale", "location"):
        np.testing.assert_allclose(
            found[name], np.asarray(getattr(expected, name)), rtol=1e-4, atol=1e-4
        )
    np.testing.assert_allclose(
        found.alpha_information_error, np.asarray(expected.alpha_error), rtol=1e-2
    )


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda run: run.drop_vars("gradient_sample"), {}, "gradient_sample"),
        (lambda run: run.isel(point=slice(100), update=slice(99)), {}, "99 updates"),
        (lambda run: run, {"num_entries": 10}, "10"),
        (lambda run: run, {"num_entries": 200.0}, "num_entries is 200.0"),
        (lambda run: run, {"num_resamples": 1}, "num_resamples is 1"),
        (lambda run: run, {"num_resamples": np.array(True)}, "num_resamples is True"),
    ],
)
def test_bad_input_says_what_is_expected(gradient_run, change, options, words):
    with pytest.raises(InputError, match=words):
        gradient_tails(change(gradient_run), **options)
