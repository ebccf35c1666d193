"""Walkers: closed forms on flat, linear, quadratic and conical surfaces, the laws at the walls, and
what is kept of them.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sgd_diffusion.analysis import stable
from sgd_diffusion.analysis.scaling import fit_power_law
from sgd_diffusion.analysis.segments import segment_msd
from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape.fractal_surfaces import Surface, cone, diamond_square, paraboloid
from sgd_diffusion.walkers.boundaries import BOUNDARIES
from sgd_diffusion.walkers.walk import walk, walk_ensemble

KEY = jax.random.key(11)
FLAT = Surface(jnp.zeros((5, 5)), jnp.float32(2))
ROUGH = jax.jit(functools.partial(diamond_square, levels=6, roughness=3.0, hurst=0.4))(KEY)

every_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)


# Three walkers on the rough surface, in one program for all tests.
SHORT = {"steps": 20}
# And a crowd of 200 on surfaces of the same size, in one program for each boundary.
REGION = np.zeros(ROUGH.heights.shape, bool)
REGION[20:40, 10:50] = True
CROWD = {"steps": 200, "alpha": 2.0, "boundary": "reject", "region": REGION}
LARGE_AND_FLAT = ROUGH._replace(heights=np.zeros_like(ROUGH.heights))


def crowd(seed):
    return np.random.default_rng(seed).uniform(-1, 1, size=(200, 2))


@functools.cache
def keys_of(number):
    return jax.random.split(KEY, number)


@functools.cache
def program(**options):
    """Walkers on one surface, for all rates and noises."""

    def one(key, start, surface, learning_rate, noise_std, region):
        values = {"learning_rate": learning_rate, "noise_std": noise_std, "region": region}
        return walk(key, surface, start, **values, **options)

    return jax.jit(jax.vmap(one, (0, 0, None, None, None, None)))


def walks(surface, starts, *, learning_rate, noise_std, region=None, **options):
    """Walkers from (W, 2), as float64 arrays."""
    found = program(**options)(
        keys_of(len(starts)), np.float32(starts), surface, learning_rate, noise_std, region
    )
    return jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float64 if leaf.dtype == np.float32 else leaf.dtype), found
    )


# Motion away from walls


def test_free_diffusion():
    """Steps of variance sigma^2 per coordinate, independent and normal; a TAMSD of exponent 1."""
    path = walks(
        FLAT._replace(extent=jnp.float32(1e3)),
        np.zeros((100, 2)),
        learning_rate=0.1,
        noise_std=0.5,
        steps=1000,
    )
    steps = np.diff(path.positions, axis=1)
    assert abs(steps.var() / 0.25 - 1) < 4 * np.sqrt(2 / steps.size)
    assert abs(np.mean(steps[..., 0] * steps[..., 1])) < 4 * 0.25 / np.sqrt(steps[..., 0].size)
    assert abs(np.mean(steps[:, 1:] * steps[:, :-1])) < 4 * 0.25 / np.sqrt(steps.size)
    assert stats.kstest(steps.ravel() / 0.5, "norm").pvalue > 1e-3
    msd, _ = segment_msd(path.positions, np.arange(1, 31))
    fits = fit_power_law(range(1, 31), msd).exponent
    assert np.std(fits) / np.sqrt(100) < 0.005
    assert abs(np.mean(fits) - 1) < 0.02
    assert not path.wall_steps.any()
    assert np.all(path.first_wall_step == 1001)


def test_a_bowl_without_noise_is_a_geometric_series():
    """w_t = (1 - eta k)^t w_0; the bicubic interpolant of a paraboloid is the paraboloid."""
    start = np.array([[0.6, -0.3]])
    path = walks(
        paraboloid(65, curvature=5.0),
        start,
        learning_rate=0.02,
        noise_std=0.0,
        steps=60,
        interpolant="bicubic",
    )
    np.testing.assert_allclose(path.positions[0], 0.9 ** np.arange(61)[:, None] * start, atol=2e-6)
    np.testing.assert_allclose(path.gradients[0], 5 * path.positions[0], atol=2e-4)
    np.testing.assert_allclose(
        path.losses[0], 2.5 * (path.positions[0] ** 2).sum(axis=-1), atol=2e-5
    )


def test_a_bowl_has_the_plateau_of_the_discrete_ornstein_uhlenbeck_process():
    """Variance V = sigma^2/(1 - a^2) with a = 1 - eta k, and MSD(lag) = 4 V (1 - a^lag) over two
    coordinates.

    Mean of 2000 walkers after 12 relaxation times, over 300 steps; errors from the scatter over
    walkers.
    """
    path = walks(
        paraboloid(65, curvature=10.0),
        np.zeros((2000, 2)),
        learning_rate=0.02,
        noise_std=0.02,
        steps=360,
        interpolant="bicubic",
    )
    stationary = path.positions[:, 60:]
    variance, lags = 0.02**2 / (1 - 0.8**2), np.array([1, 2, 5, 20, 50])
    for values, expected in [
        ((stationary**2).mean(axis=(1, 2))[:, None], np.array([variance])),
        (segment_msd(stationary, lags)[0], 4 * variance * (1 - 0.8**lags)),
    ]:
        error = values.std(axis=0, ddof=1) / np.sqrt(2000)
        assert np.all(error < 0.004 * expected)
        assert np.all(np.abs(values.mean(axis=0) - expected) < 4 * error)


def test_a_cone_from_its_corner():
    """Exponent 1.9 on lags 10 to 60 of the first 144 steps, nearly ballistic; on shorter lags noise
    shows.
    """
    path = walks(cone(1025), np.ones((200, 2)), learning_rate=0.02, noise_std=0.01, steps=144)
    lags = np.arange(1, 61)
    msd = segment_msd(path.positions, lags)[0].mean(axis=0)
    assert abs(float(fit_power_law(lags, msd, x_min=10).exponent) - 1.9) < 0.1
    assert abs(float(fit_power_law(lags, msd, x_max=10).exponent) - 1.59) < 0.1
    drift = path.gradients[:, :50]
    np.testing.assert_allclose(np.hypot(*np.moveaxis(drift, -1, 0)), 0.5, atol=2e-3)


def test_descent_agrees_with_a_loop():
    """On a rough surface, from the corners of its cells in float64."""
    heights, learning_rate = (
        np.asarray(ROUGH.heights, float),
        2e-4,
    )  # steps within a cell or two, else rounding grows
    path = walks(
        ROUGH, np.full((3, 2), [0.31, -0.42]), learning_rate=learning_rate, noise_std=0.0, **SHORT
    ).positions[0]
    position, spacing = np.float32([0.31, -0.42]).astype(float), 2 / 64
    for expected in path:
        np.testing.assert_allclose(position, expected, atol=1e-4)
        (i, j), (s, t) = np.divmod((position + 1) / spacing, 1)
        a, b, c, d = heights[int(i) : int(i) + 2, int(j) : int(j) + 2].ravel()
        slopes = (
            np.array([(c - a) * (1 - t) + (d - b) * t, (b - a) * (1 - s) + (d - c) * s]) / spacing
        )
        position = position - learning_rate * slopes


def test_stable_noise():
    """Each component has the law of scale sigma/sqrt(2), by Kolmogorov and Smirnov; at alpha = 2
    nothing changes.
    """
    far = FLAT._replace(extent=jnp.float32(1e6))
    options = {"learning_rate": 0.0, "noise_std": 0.5, "steps": 20, "boundary": "periodic"}
    path = walks(far, np.zeros((200, 2)), alpha=1.5, **options)
    steps = np.diff(path.positions, axis=1)
    ordinary = np.abs(steps) < 100  # long steps leave few digits to those after them
    law = functools.partial(stable.cdf, alpha=1.5, scale=0.5 / np.sqrt(2))
    first = steps[:, 0, 0]  # independent, and with all their digits
    assert stats.kstest(first, lambda x: np.asarray(law(x))).pvalue > 1e-3
    assert np.corrcoef(np.abs(steps[ordinary.all(axis=-1)]).T)[0, 1] > 0.2  # the components share A
    options = {"learning_rate": 0.01, "noise_std": 0.05, **SHORT}
    np.testing.assert_array_equal(
        walks(ROUGH, np.zeros((3, 2)), alpha=2.0, **options).positions,
        walks(ROUGH, np.zeros((3, 2)), **options).positions,
    )


def test_noise_may_scale_with_the_root_of_the_learning_rate():
    options = {"learning_rate": 0.01, **SHORT}
    plain = walks(ROUGH, np.zeros((3, 2)), noise_std=0.05 * np.sqrt(0.01), **options)
    scaled = walks(ROUGH, np.zeros((3, 2)), noise_std=0.05, sqrt_scaling=True, **options)
    # rounding grows from step to step
    np.testing.assert_allclose(plain.positions[:, :6], scaled.positions[:, :6], atol=1e-5)


# Walls


@every_boundary
@pytest.mark.parametrize("alpha", [2.0, pytest.param(1.2, marks=pytest.mark.slow)])
def test_no_walker_leaves_the_square_and_none_rests(boundary, alpha):
    """On a surface so steep that single steps lead far outside; a skipped step would leave a
    position as it was.
    """
    options = CROWD | {"boundary": boundary, "alpha": alpha}
    path = walks(ROUGH, crowd(0), learning_rate=0.02, noise_std=0.05, **options)
    assert np.isfinite(path.positions).all()
    assert np.abs(path.positions).max() <= 1
    assert (path.wall_steps > 0).all()
    assert path.wall_steps.mean() > 20
    moved = np.any(np.diff(path.positions, axis=1) != 0, axis=-1)
    assert (
        moved.all() if boundary != "reject" else moved.mean() > 0.97
    )  # far outside, depths are finer than float32 tells
    assert not np.any(np.all(path.positions == 0, axis=-1))


def test_a_rejecting_walk_on_a_flat_surface_avoids_its_walls():
    """Density ~ chance that the first draw is accepted: detailed balance. That chance is also what
    wall_steps count.
    """
    std = 0.3
    path = walks(LARGE_AND_FLAT, crowd(1), learning_rate=0.0, noise_std=std, **CROWD)
    last = path.positions[:, 40::40].ravel()  # after 40 steps a correlation of 0.01 is left

    def accepted(x):
        return stats.norm.cdf((1 - x) / std) - stats.norm.cdf((-1 - x) / std)

    edges = np.linspace(-1, 1, 21)
    fine = np.linspace(-1, 1, 2001)
    middles = (fine[1:] + fine[:-1]) / 2
    shares = accepted(middles).reshape(20, 100).sum(axis=1)
    counts = np.histogram(last, edges)[0]
    assert stats.chisquare(counts, shares / shares.sum() * len(last)).pvalue > 1e-3
    outside = (
        1 - ((accepted(middles) ** 2).sum() / accepted(middles).sum()) ** 2
    )  # in either coordinate, when stationary
    per_walker = path.wall_steps / 200
    error = per_walker.std(ddof=1) / np.sqrt(200)
    assert error < 0.01
    assert (
        abs(per_walker.mean() - outside) < 4 * error + 0.004
    )  # the first few steps are not stationary


@every_boundary
def test_the_longest_jumps_end_within_the_walls(boundary):
    """alpha = 0.3: up to 1e20 sides; where such a jump ends within the square has no meaning, but
    it does.
    """
    options = CROWD | {"boundary": boundary, "alpha": 0.3}
    path = walks(ROUGH, np.zeros((200, 2)), learning_rate=0.02, noise_std=0.05, **options)
    assert np.abs(path.positions).max() <= 1  # and not NaN
    assert path.wall_steps.mean() > 20


@pytest.mark.parametrize("boundary", ["reflect", "periodic"])
def test_other_walls_leave_the_uniform_law_as_it_is(boundary):
    options = CROWD | {"boundary": boundary}
    path = walks(LARGE_AND_FLAT, crowd(2), learning_rate=0.0, noise_std=0.8, **options)
    independent = path.positions[:, 10::10].ravel()  # after 10 steps 1e-3 of a correlation is left
    assert stats.kstest(independent, "uniform", (-1, 2)).pvalue > 1e-3


# What is kept


def test_sums_over_steps_are_those_of_the_path():
    options = CROWD | {"boundary": "reflect"}
    path = walks(ROUGH, crowd(3), learning_rate=0.002, noise_std=0.03, **options)
    nearest = np.rint((path.positions + 1) * 32).astype(int)
    inside = REGION[nearest[..., 0], nearest[..., 1]]
    assert 0.1 < inside.mean() < 0.9
    np.testing.assert_array_equal(path.region_steps, inside.sum(axis=1))
    np.testing.assert_array_equal(
        path.first_region_step, np.where(inside.any(axis=1), inside.argmax(axis=1), 201)
    )
    np.testing.assert_array_equal(path.lowest_loss, path.losses.min(axis=1))
    np.testing.assert_array_equal(path.lowest_step, path.losses.argmin(axis=1))
    assert np.all((path.wall_steps > 0) == (path.first_wall_step <= 200))
    assert np.any(path.wall_steps > 0)


def test_a_walk_does_not_depend_on_how_long_it_is_or_what_is_recorded():
    options = {"learning_rate": 0.01, "noise_std": 0.02}
    long, short, sparse = (
        walks(ROUGH, np.zeros((3, 2)), **length, **options)
        for length in ({"steps": 40}, SHORT, {"steps": 40, "every": 10})
    )
    np.testing.assert_allclose(short.positions, long.positions[:, :21], atol=1e-6)
    for found, whole in zip(sparse[:3], long[:3], strict=True):
        np.testing.assert_allclose(found, whole[:, ::10], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sparse.lowest_loss, long.lowest_loss, rtol=1e-4)


def test_an_ensemble_is_its_walks():
    """Over surfaces, learning rates, noises and walkers; members of a surface share starts and
    random numbers.
    """
    keys, rates, noises = jax.random.split(KEY, 2), [0.01, 0.02], [0.0, 0.01, 0.02]
    rough = jax.tree.map(np.asarray, ROUGH)
    surfaces = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf]), rough)
    starts = np.random.default_rng(4).uniform(-1, 1, size=(2, 4, 2)).astype(np.float32)
    regions = np.stack([rough.heights > 0, rough.heights < 0])
    found = walk_ensemble(
        keys,
        surfaces,
        starts,
        learning_rates=rates,
        noise_stds=noises,
        steps=6,
        every=2,
        regions=regions,
    )
    assert found.positions.shape == (2, 2, 3, 4, 4, 2)
    one = walk(
        jax.random.split(keys[1], 4)[2],
        jax.tree.map(lambda leaf: leaf[1], surfaces),
        starts[1, 2],
        learning_rate=rates[0],
        noise_std=noises[2],
        steps=6,
        every=2,
        region=regions[1],
    )
    for member, whole in zip(one, found, strict=True):
        np.testing.assert_allclose(member, whole[1, 0, 2, 2], rtol=1e-4, atol=1e-5)
    shared = walk_ensemble(
        keys,
        surfaces,
        starts[0],
        learning_rates=rates,
        noise_stds=noises,
        steps=6,
        every=2,
        regions=regions,
    )
    np.testing.assert_allclose(shared.positions[0], found.positions[0], atol=1e-5)


def test_double_precision():
    with jax.enable_x64(True):
        surface = Surface(jnp.asarray(ROUGH.heights, jnp.float64), jnp.float64(2))
        path = walk(KEY, surface, jnp.zeros(2), learning_rate=0.01, noise_std=0.01, steps=3)
        assert path.positions.dtype == jnp.float64
    single = walk(KEY, ROUGH, jnp.zeros(2), learning_rate=0.01, noise_std=0.01, steps=3)
    np.testing.assert_allclose(path.positions, single.positions, atol=1e-4)


# Arguments


def test_what_cannot_be_known_before_tracing_gives_nan():
    starts = np.array([[0.0, 1.5], [0.0, 1.0], [0.0, 0.0]])
    path = walks(ROUGH, starts, learning_rate=0.01, noise_std=0.1, **SHORT)
    assert np.isnan(path.positions[0, :, 1]).all()
    assert np.isnan([path.lowest_loss[0]]).all()
    assert np.isfinite(path.positions[1]).all()
    noise = walks(ROUGH, np.zeros((3, 2)), learning_rate=0.01, noise_std=-0.1, **SHORT)
    assert np.isnan(noise.positions[:, 1:]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"start": [0.0, 1.5]},
            r"start is \[0.0, 1.5\]; expected a position within the square, at most 1 from",
        ),
        ({"start": [np.nan, 0.0]}, "start is .*; expected a position within"),
        ({"start": np.zeros((3, 2))}, r"start has shape \(3, 2\); expected \(2,\)"),
        ({"noise_std": -0.1}, "noise_std is -0.1; expected a finite number of at least 0"),
        ({"noise_std": np.inf}, "noise_std is inf; expected a finite number"),
        ({"learning_rate": np.nan}, "learning_rate is nan; expected a finite number"),
        ({"learning_rate": [0.1]}, r"learning_rate is \[0.1\]; expected a finite number"),
        ({"steps": 0}, "steps is 0; expected an integer"),
        ({"steps": 10, "every": 3}, "steps is 10 and every 3; expected .* a multiple"),
        ({"boundary": "absorb"}, "boundary is 'absorb'; expected one of reject, reflect, periodic"),
        ({"interpolant": "spline"}, "interpolant is 'spline'"),
        ({"alpha": 2.1}, "alpha is 2.1; expected a finite number of at least 0.3 and of at most 2"),
        (
            {"region": np.ones((4, 5), bool)},
            r"region has shape \(4, 5\); expected that of the heights, \(5, 5\)",
        ),
    ],
)
def test_errors_say_what_was_expected(change, message):
    arguments = {"start": [0.0, 0.0], "learning_rate": 0.1, "noise_std": 0.1, "steps": 3} | change
    with pytest.raises(ValueError, match=message):
        walk(KEY, FLAT, **arguments)


def test_ensembles_refuse_what_does_not_fit():
    keys, surfaces = (
        jax.random.split(KEY, 2),
        jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), FLAT),
    )
    options = {"learning_rates": [0.1], "noise_stds": [0.1], "steps": 2}
    for starts in (np.zeros(2), np.zeros((3, 3)), np.zeros((1, 2, 3, 2))):
        with pytest.raises(ValueError, match="starts has shape"):
            walk_ensemble(keys, surfaces, starts, **options)
    with pytest.raises(ValueError, match=r"heights has shape \(5, 5\); expected \(S, N, M\)"):
        walk_ensemble(keys, FLAT, np.zeros((3, 2)), **options)
    for starts in (np.array([[0.0, 0.0], [0.0, -1.1]]), np.array([[[0.0, 0.0]], [[0.0, -1.1]]])):
        with pytest.raises(
            ValueError, match=r"start is \[.*-1.1.*\]; expected a position within the square"
        ):
            walk_ensemble(keys, surfaces, starts, **options)
    three, starts = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), FLAT), np.zeros((4, 2))
    for change, message in (
        ({"surfaces": three}, r"keys has shape \(2,\); expected \(3,\)"),
        (
            {"surfaces": three, "keys": jax.random.split(KEY, 3), "starts": np.zeros((2, 4, 2))},
            r"starts has shape \(2, 4, 2\)",
        ),
        (
            {"regions": np.ones((2, 4, 4), bool)},
            r"regions has shape \(2, 4, 4\); expected that of the heights, \(2, 5, 5\)",
        ),
        ({"regions": np.ones((5, 5), bool)}, r"regions has shape \(5, 5\)"),
        ({"regions": np.full((2, 5, 5), 2)}, "regions is int64 .* expected booleans"),
        ({"learning_rates": np.ones((2, 2))}, r"learning_rates has shape \(2, 2\)"),
        ({"learning_rates": []}, r"learning_rates has shape \(0,\)"),
        (
            {"learning_rates": [0.1, np.nan]},
            "learning_rates is .*nan.*; expected finite numbers that are not negative",
        ),
        ({"noise_stds": [-0.1]}, "noise_stds is .*-0.1.*; expected finite numbers"),
        ({"noise_stds": [np.inf]}, "noise_stds is .*inf.*; expected finite numbers"),
    ):
        with pytest.raises(InputError, match=message):
            walk_ensemble(
                **({"keys": keys, "surfaces": surfaces, "starts": starts} | options | change)
            )


# Heights of any type


@pytest.mark.parametrize(
    "dtype",
    [
        "int8",
        "bool",
        jnp.bfloat16,
        "float64",
        *(pytest.param(rare, marks=pytest.mark.slow) for rare in ("uint16", "int64", "float16")),
    ],
)
@pytest.mark.parametrize("double", [False, True])
def test_walks_on_heights_of_any_type_are_those_on_floats(dtype, double):
    """Start (.7, -.3) on whole heights; in 64-bit mode too, and many at once."""
    heights = np.add.outer(np.arange(9) % 2, np.arange(9) < 4).clip(max=1)
    options = {"learning_rate": 0.01, "noise_std": 0.01, "steps": 4, "region": heights > 0}
    with jax.enable_x64(double):
        expected = walk(KEY, Surface(jnp.asarray(heights, float), 2.0), (0.7, -0.3), **options)
        found = walk(KEY, Surface(heights.astype(dtype), 2), (0.7, -0.3), **options)
        assert found.positions[0] == pytest.approx([0.7, -0.3])
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
        many = walk_ensemble(
            jax.random.split(KEY, 1),
            Surface(jnp.asarray(heights, np.float32)[None], np.float32([2])),
            [[0.7, -0.3]],
            learning_rates=[0.01],
            noise_stds=np.float64([0.01]),
            steps=4,
        )
        assert many.positions.dtype == np.float32
        np.testing.assert_array_equal(many.positions[0, 0, 0, 0, 0], np.float32([0.7, -0.3]))


@pytest.mark.parametrize(
    "boundary", ["reject", "periodic", pytest.param("reflect", marks=pytest.mark.slow)]
)
def test_walks_can_be_differentiated(boundary):
    """By learning rate, noise, start and heights: no NaN, with or without noise; on a slope the
    derivative is known.
    """
    heights = np.broadcast_to(np.linspace(0, 1, 9)[:, None], (9, 9))

    def last(learning_rate, noise_std, start, heights):
        return walk(
            KEY,
            Surface(heights, 2.0),
            start,
            learning_rate=learning_rate,
            noise_std=noise_std,
            steps=3,
            boundary=boundary,
        ).positions[-1, 0]

    slopes = jax.jit(jax.grad(last, argnums=(0, 1, 2, 3)))
    for noise in (0.0, 1e-3):
        found = slopes(0.1, noise, jnp.array([0.5, 0.0]), jnp.asarray(heights, np.float32))
        assert all(np.isfinite(leaf).all() for leaf in found)
        assert found[0] == pytest.approx(-1.5, rel=1e-4)
        np.testing.assert_allclose(found[2], [1, 0], atol=1e-4)


def test_a_walk_is_shown_in_a_few_lines():
    text = repr(walk(KEY, ROUGH, jnp.zeros(2), learning_rate=0.01, noise_std=0.01, steps=3))
    assert len(text.splitlines()) < 10 and "positions=(4, 2) from" in text
