"""The steps that replace SGD's, beside optax and loops outside the library."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

from sgd_diffusion.dynamics.batches import batch_indices, take_batch
from sgd_diffusion.dynamics.ensemble import Ensemble, member_keys
from sgd_diffusion.dynamics.measurements import endpoints, series, step_grams
from sgd_diffusion.dynamics.measurements.standard import average_displacements
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.dynamics.run import run_ensemble
from sgd_diffusion.dynamics.sgd import update
from sgd_diffusion.dynamics.step_gradients import step_gradient
from sgd_diffusion.dynamics.step_rules import step_rule
from sgd_diffusion.errors import InputError
from sgd_diffusion.storage.checkpoints import Checkpoints
from sgd_diffusion.storage.run_directories import RunDirectory

SEED, RATE, STEPS, BATCH = 3, 0.02, 8, 10


def rows(problem, steps=STEPS):
    return batch_indices(
        member_keys(SEED).order, 0, steps, num_examples=problem.num_examples, batch_size=BATCH
    )


def increments(problem, plan):
    """Increments of the library's steps, one by one."""
    rule, keys = step_rule(plan), member_keys(SEED)
    carry = rule.first_carry(problem, keys.initialization)

    @jax.jit
    def step(carry, own, number):
        found = step_gradient(rule.gradient, problem, carry, own, keys.augmentation, number)
        return update(rule.optimizer, carry, *found, rule.learning_rate(RATE), number)

    made = []
    for number, own in enumerate(rows(problem)):
        carry, info = step(carry, own, number)
        made.append(info.increment)
    return made


def optax_increments(problem, optimizer, uphill=False):
    """The same by optax, from the same batches."""
    params, state = problem.init(member_keys(SEED).initialization)
    memory, made = optimizer.init(params), []

    @jax.jit
    def step(params, memory, own):
        batch = jax.tree.map(lambda leaf: leaf[own], problem.examples)
        gradient = jax.grad(lambda p: problem.loss(p, state, batch, True)[0])
        more = {"grad_fn": lambda p, _: gradient(p)} if uphill else {}
        return optimizer.update(gradient(params), memory, params, **more)

    for own in rows(problem):
        updates, memory = step(params, memory, own)
        params = optax.apply_updates(params, updates)
        made.append(updates)
    return made


def sam(step, radius):
    climb = optax.chain(optax.contrib.normalize(), optax.sgd(radius))
    return optax.contrib.sam(step, climb, sync_period=2, opaque_mode=True)


OPTAX = {
    "adam": ({}, optax.adam(RATE)),
    "adamw": ({"weight_decay": 0.1}, optax.adamw(RATE, weight_decay=0.1)),
    "rmsprop": ({"momentum": 0.5}, optax.rmsprop(RATE, momentum=0.5)),
    "lion": ({"weight_decay": 0.1}, optax.lion(RATE, weight_decay=0.1)),
    "sam": ({"momentum": 0.5}, sam(optax.sgd(RATE, momentum=0.5), 0.05)),
    "sgd": (
        {"momentum": 0.9, "weight_decay": 0.1, "clip_norm": 0.5},
        optax.chain(
            optax.clip_by_global_norm(0.5),
            optax.add_decayed_weights(0.1),
            optax.sgd(RATE, momentum=0.9),
        ),
    ),
}


@pytest.mark.parametrize("name", OPTAX)
def test_increments_are_those_of_optax(regression, name):
    options, optimizer = OPTAX[name]
    found = increments(regression, Plan(optimizer=name, window=STEPS, **options))
    wanted = optax_increments(regression, optimizer, uphill=name == "sam")
    for mine, theirs in zip(found, wanted, strict=True):
        jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), mine, theirs)
        assert max(float(abs(leaf).max()) for leaf in jax.tree.leaves(mine)) > 1e-4


def test_sam_without_a_slope_stays(make_regression):
    """Its gradient is that of the point itself, with no direction uphill."""
    flat = make_regression()
    flat = flat.__class__(
        init=flat.init,
        loss=lambda p, s, b, t: (0.0 * jnp.sum(p["output"]), (s, None)),
        examples=flat.examples,
    )
    for leaf in jax.tree.leaves(increments(flat, Plan(optimizer="sam", window=STEPS))):
        assert (leaf == 0).all()


def path_of(problem, rates):
    """Points (point, parameter) of SGD under given learning rates, and its losses, by a loop."""
    params, state = problem.init(member_keys(SEED).initialization)
    flat, unravel = jax.flatten_util.ravel_pytree(params)

    @jax.jit
    def slope(flat, own):
        batch = take_batch(problem, own, jax.random.key(0))
        return jax.grad(lambda w: problem.loss(unravel(w), state, batch, True)[0])(flat)

    points = [np.asarray(flat)]
    for rate, own in zip(rates, rows(problem, len(rates)), strict=True):
        points.append(points[-1] - np.float32(rate) * np.asarray(slope(points[-1], own)))
    return np.array(points)


def recorded(problem, directory=None, kept=(), *, resume=False, **options):
    plan = Plan(**{"window": 9, "batch_size": BATCH, "seeds": (SEED,)} | options)
    measurements = [step_grams(), endpoints(), *kept]
    return run_ensemble(problem, plan, directory, measurements=measurements, resume=resume)


SHAPES = {
    "cosine": lambda t: 0.5 * (1 + np.cos(np.pi * t / 20)),
    "step": lambda t: np.where(t < 10, 1.0, np.where(t < 15, 0.1, 0.01)),
    "warmup-cosine": lambda t: np.where(
        t < 1, 0.0, 0.5 * (1 + np.cos(np.pi * np.maximum(t - 1, 0) / 19))
    ),
}


@pytest.mark.parametrize("schedule", SHAPES)
def test_the_path_under_a_schedule_is_that_of_a_loop(regression, schedule):
    """Over two windows: the schedule goes on from one to the next."""
    options = {"schedule": schedule, "schedule_steps": 20, "num_windows": 2}
    found = recorded(regression, learning_rates=(0.1,), **options).squeeze()
    points = path_of(regression, 0.1 * SHAPES[schedule](np.arange(18)))
    np.testing.assert_allclose(found.params, points[[9, 18]], atol=1e-6)
    steps = np.diff(points[9:], axis=0)
    np.testing.assert_allclose(found.step_gram[1], steps @ steps.T, rtol=1e-2, atol=1e-9)


@pytest.mark.parametrize(
    "options", [{"average": "ema", "average_decay": 0.75}, {"average": "swa"}], ids=lambda o: str(o)
)
def test_the_path_of_the_average_is_that_of_a_loop(regression, options):
    """Also over updates between windows that are not recorded."""
    found = recorded(
        regression,
        kept=[average_displacements()],
        waiting_times=(0, 13),
        learning_rates=(0.1,),
        **options,
    ).squeeze()
    points = path_of(regression, [0.1] * 22)
    averages = [points[0]]
    for count, point in enumerate(points[1:], start=2):
        share = 0.25 if options["average"] == "ema" else 1 / count
        averages.append(averages[-1] + share * (point - averages[-1]))
    if options["average"] == "swa":
        np.testing.assert_allclose(averages[-1], points.mean(axis=0), atol=1e-6)
    own = np.array(averages)[13:]
    for lag in (1, 4, 9):
        msd = np.mean(np.sum((own[lag:] - own[:-lag]) ** 2, axis=1))
        np.testing.assert_allclose(found.average_msd[1].sel(lag=lag), msd, rtol=1e-3)
    np.testing.assert_allclose(found.params, points[[9, 22]], atol=1e-6)  # those of the walker


RULES = {
    "adam": {"optimizer": "adam", "schedule": "cosine", "schedule_steps": 40, "average": "ema"},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "noise": "white"},
    "rmsprop": {
        "optimizer": "rmsprop",
        "schedule": "cosine",
        "schedule_steps": 40,
        "average": "swa",
        "waiting_times": (0, 13),
    },
    "lion": {"optimizer": "lion", "clip_norm": 0.5, "noise": "none", "full_batch_twin": True},
    "sam": {"optimizer": "sam", "noise": "gaussian", "momentum": 0.5, "full_batch_twin": True},
}


def run_by_rule(problem, name, *directory, **how):
    members = {"seeds": (0, 7), "learning_rates": (0.01, 0.02), "num_windows": 2}
    plan = Plan(**{**members, "window": 9, "batch_size": BATCH, **RULES[name]})
    return run_ensemble(problem, plan, *directory, measurements=[step_grams(), series()], **how)


@pytest.fixture(scope="module")
def regression():
    from conftest import two_layer_regression

    return two_layer_regression()


@pytest.fixture(scope="module")
def whole(regression):
    """Uninterrupted runs in memory, by the names of their rules."""
    return functools.cache(functools.partial(run_by_rule, regression))


def slow_but(*names):
    return [name if name in names else pytest.param(name, marks=pytest.mark.slow) for name in RULES]


@pytest.mark.parametrize("name", slow_but("rmsprop", "sam"))
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(regression, whole, tmp_path, name):
    def interrupt(*_):
        raise KeyboardInterrupt

    assert np.isfinite(whole(name).step_gram).all()
    with pytest.raises(KeyboardInterrupt):
        run_by_rule(regression, name, tmp_path / "run", on_window=interrupt)
    xr.testing.assert_equal(
        run_by_rule(regression, name, tmp_path / "run", resume=True), whole(name)
    )


@pytest.mark.parametrize("name", slow_but("sam"))
def test_all_ways_to_run_the_members_agree(regression, whole, name):
    """On three devices bit for bit; side by side to rounding."""
    one = whole(name)
    xr.testing.assert_equal(run_by_rule(regression, name, devices=jax.devices()), one)
    together = run_by_rule(regression, name, members_at_once=4)
    xr.testing.assert_allclose(together, one, rtol=2e-3, atol=1e-6)


def test_noise_free_steps_are_those_of_the_twin(regression):
    plan = Plan(**{**RULES["lion"], "window": 9, "batch_size": BATCH, "optimizer": "sgd"})
    ensemble = Ensemble(
        regression,
        plan,
        measure_path=lambda record: {"own": record.step_gram, "twin": record.twin_gram},
    )
    _, found = ensemble.window(ensemble.start(), 0)
    np.testing.assert_array_equal(found["own"], found["twin"])


def test_learning_rates_share_one_program(regression):
    """An ensemble is compiled once, and two of other learning rates have the same program."""

    def program(*rates):
        plan = Plan(
            learning_rates=rates,
            window=9,
            batch_size=BATCH,
            optimizer="adam",
            schedule="cosine",
            average="ema",
        )
        ensemble = Ensemble(regression, plan, measure_path=lambda record: {"g": record.step_gram})
        made = []
        compile_it = ensemble.compile
        ensemble.compile = lambda: made.append(compile_it())
        carry = ensemble.start()
        for window in range(3):
            carry, _ = ensemble.window(carry, 9 * window)
        assert len(made) == 1
        return ensemble._window.lower(*ensemble._arguments(ensemble.start(), 0)).as_text()

    assert program(0.1, 0.2) == program(0.003, 0.7)


def test_a_run_from_before_these_options_is_described_as_it_was(regression, tmp_path):
    """So are its checkpoints, whose arrays keep their order."""
    recorded(regression, tmp_path / "run", momentum=0.5)
    run = RunDirectory(tmp_path / "run")
    assert run.configuration()["plan"] == {
        "seeds": [SEED],
        "learning_rates": [0.1],
        "window": 9,
        "batch_size": BATCH,
        "momentum": 0.5,
        "weight_decay": 0.0,
        "sampling": "epochs",
        "gradient_samples": 0,
        "by_layer": False,
        "sketch_dim": None,
    }
    assert Checkpoints(run.checkpoints, read_only=True).arrays() == [
        "params.hidden.bias float32[1, 7]",
        "params.hidden.kernel float32[1, 5, 7]",
        "params.output float32[1, 7]",
        "state.evaluations int32[1]",
        "optimizer_state.0.trace.hidden.bias float32[1, 7]",
        "optimizer_state.0.trace.hidden.kernel float32[1, 5, 7]",
        "optimizer_state.0.trace.output float32[1, 7]",
        "diverged_at int32[1]",
    ]


def test_members_start_from_a_run_of_another_optimizer(regression, tmp_path):
    recorded(regression, tmp_path / "run", **RULES["adam"])
    plan = Plan(window=9, batch_size=BATCH, seeds=(SEED,))
    found = run_ensemble(regression, plan, measurements=[endpoints()], start_from=tmp_path / "run")
    assert np.isfinite(found.params).all()


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("momentum is 0.5 while the optimizer is adam", {"optimizer": "adam", "momentum": 0.5}),
        ("weight_decay is 0.1.*take adamw", {"optimizer": "adam", "weight_decay": 0.1}),
        ("weight_decay is 0.1.*take adamw", {"optimizer": "rmsprop", "weight_decay": 0.1}),
        ("weight_decay is 0 .*this is adam", {"optimizer": "adamw"}),
        ("sam_radius is 0.1 while optimizer is 'sgd'", {"sam_radius": 0.1}),
        ("noise_variance is 1.0 while noise is 'none'", {"noise": "none", "noise_variance": 1.0}),
        ("average_decay is 0.9 while average is 'swa'", {"average": "swa", "average_decay": 0.9}),
        ("schedule_steps is 50 while schedule is 'constant'", {"schedule_steps": 50}),
        ("schedule_steps is 500 in a plan of 1000", {"schedule": "cosine", "schedule_steps": 500}),
        ("schedule_steps is 3", {"schedule": "step", "schedule_steps": 3}),
    ],
)
def test_options_that_have_no_meaning_together_are_refused(words, options):
    with pytest.raises(InputError, match=words):
        Plan(**options)


def test_the_length_of_a_schedule_stays_when_a_run_grows(regression, tmp_path):
    short = {"schedule": "cosine", "num_windows": 1}
    assert Plan(window=9, **short).description()["schedule_steps"] == 9
    recorded(regression, tmp_path / "run", **short)
    with pytest.raises(OSError, match=r"plan\.schedule_steps is 9 there and 18 here"):
        recorded(regression, tmp_path / "run", resume=True, schedule="cosine", num_windows=2)
