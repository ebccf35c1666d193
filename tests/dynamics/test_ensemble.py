import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgd_diffusion import _memory as memory
from sgd_diffusion.dynamics.ensemble import Ensemble
from sgd_diffusion.dynamics.measurements import controls, displacements, series
from sgd_diffusion.dynamics.members import default_members_at_once, map_members, member_keys
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.dynamics.run import run_ensemble
from sgd_diffusion.errors import InputError
from sgd_diffusion.problems import datasets, objectives
from sgd_diffusion.problems.resnet import ResNet


def losses(problem, members_at_once=1, **plan):
    """{(seed, learning rate): losses} of one window."""
    plan = Plan(**{"window": 20, "batch_size": 10, **plan})
    ensemble = Ensemble(
        problem,
        plan,
        measure_path=lambda record: {"loss": record.losses},
        members_at_once=members_at_once,
    )
    _, values = ensemble.window(ensemble.start(), 0)
    seeds, rates = plan.members()
    return dict(
        zip(
            zip(seeds.tolist(), rates.tolist(), strict=True),
            np.asarray(values["loss"]),
            strict=True,
        )
    )


def test_a_member_alone_and_in_any_company_is_the_same(regression):
    """vmap, groups and lax.map agree to rounding; the order of the seeds does not matter; lax.map
    is bit for bit.
    """
    seeds, rates = (3, 0, 1, 2), (0.01, 0.05)
    by_map = losses(regression, 1, seeds=seeds, learning_rates=rates)
    assert len(by_map) == 8
    for at_once, order in [(3, seeds), (8, seeds[::-1])]:
        other = losses(regression, at_once, seeds=order, learning_rates=rates)
        for member, values in by_map.items():
            np.testing.assert_allclose(other[member], values, rtol=1e-5)
    alone = losses(regression, 1, seeds=(1,), learning_rates=(0.01,))
    ((member, values),) = alone.items()
    np.testing.assert_array_equal(values, by_map[member])


def test_seeds_and_learning_rates_differ(regression):
    found = losses(regression, seeds=(0, 1), learning_rates=(0.01, 0.05))
    values = list(found.values())
    assert all(
        not np.allclose(a[1:], b[1:], rtol=1e-6) for i, a in enumerate(values) for b in values[:i]
    )
    (a, b), (c, d) = [[v for (seed, _), v in found.items() if seed == s] for s in (0, 1)]
    assert (
        a[0] == b[0] and c[0] == d[0]
    )  # members of one seed start at the same point with the same batch


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, 8])
def test_resnet14_members_agree_alone_and_in_an_ensemble_of_8(at_once):
    problem = objectives.classification(ResNet(14), datasets.load("digits"))
    ensemble = losses(
        problem, at_once, seeds=tuple(range(8)), learning_rates=(0.01,), batch_size=32
    )
    for seed in (0, 5):
        ((member, values),) = losses(
            problem, 1, seeds=(seed,), learning_rates=(0.01,), batch_size=32
        ).items()
        np.testing.assert_allclose(ensemble[member], values, rtol=1e-4)


def test_members_on_several_devices_are_bit_for_bit_the_same(make_regression, tmp_path):
    """6 members on 3 devices; so are 4 that are resumed between windows, and 2 that start from a
    run.
    """
    problem, kept = make_regression(probe=True), [displacements(), series(probe=True)]
    options = {"measurements": kept, "devices": jax.devices()}
    assert len(jax.devices()) == 3
    plan = {"learning_rates": (0.05,), "window": 10, "num_windows": 2, "batch_size": 10}
    six = Plan(seeds=range(6), **plan)
    one = run_ensemble(problem, six, measurements=kept)
    assert one.equals(run_ensemble(problem, six, tmp_path / "six", **options))

    apart, directory = Plan(seeds=range(4), waiting_times=(0, 25), **plan), tmp_path / "apart"

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_ensemble(problem, apart, directory, on_window=interrupt, **options)
    resumed = run_ensemble(problem, apart, directory, resume=True, **options)
    assert resumed.equals(run_ensemble(problem, apart, measurements=kept))

    few = Plan(seeds=(3, 1), **plan)
    one = run_ensemble(problem, few, measurements=kept, start_from=directory)
    assert one.equals(run_ensemble(problem, few, start_from=directory, **options))


@pytest.mark.parametrize(
    "derive",
    [
        lambda: [displacements(), controls(40)],
        pytest.param(None, marks=pytest.mark.slow),  # all that a run measures by default
    ],
)
def test_what_is_derived_of_a_path_does_not_depend_on_the_company_or_the_devices(
    regression, derive
):
    """XLA rounds a division by a number that it knows in another way, and what it knows depends on
    the loop over the members.
    """
    options = {"window": 40, "batch_size": 10, "learning_rates": (0.05,)}
    derived = {"measurements": derive() if derive else None}
    together = run_ensemble(regression, Plan(seeds=(0, 1), **options), **derived)
    assert "drift_subtracted_msd" in together
    alone = run_ensemble(regression, Plan(seeds=(1,), **options), **derived)
    assert alone.equals(together.isel(seed=[1]))
    devices = jax.devices()[1:]
    spread = run_ensemble(regression, Plan(seeds=(0, 1), **options), devices=devices, **derived)
    assert spread.equals(together)


def test_map_members_agrees_with_a_loop():
    def function(shared, member):
        return {"value": shared * member[0] + member[1]}

    members = jnp.arange(7.0), jnp.arange(7.0) ** 2
    expected = 3 * np.arange(7) + np.arange(7) ** 2
    for at_once in (1, 2, 7, 100):
        found = jax.jit(map_members(function, members_at_once=at_once))(3.0, members)
        np.testing.assert_array_equal(found["value"], expected)


def test_keys_of_a_seed_are_distinct_and_its_own():
    data = [
        tuple(jax.random.key_data(key).tolist()) for seed in range(3) for key in member_keys(seed)
    ]
    assert len(set(data)) == 12


def test_members_start_while_their_window_is_compiled(regression):
    """To the same numbers, and a window is then compiled no more."""
    ensemble = Ensemble(
        regression,
        Plan(seeds=(0, 1), window=20, batch_size=10),
        measure_path=lambda record: {"loss": record.losses},
    )
    jax.tree.map(np.testing.assert_array_equal, ensemble.start_and_compile(), ensemble.start())
    compiled = ensemble._compiled
    assert compiled is not None
    ensemble.window(ensemble.start(), 0)
    assert ensemble._compiled is compiled
    params, state = regression.init(jax.random.key(0))
    with pytest.raises(InputError, match="points"):
        ensemble.start_and_compile((params, state))


def test_default_mapping_follows_the_platform():
    assert default_members_at_once(12, "cpu") == 1
    assert default_members_at_once(12, "gpu") == default_members_at_once(12, "tpu") == 12


def test_bad_arguments_are_refused_before_anything_is_compiled(regression):
    def make(members_at_once=1, **plan):
        Ensemble(
            regression,
            Plan(**plan),
            measure_path=lambda record: {},
            members_at_once=members_at_once,
        )

    for words, arguments in [
        ("batch_size is 61", {"batch_size": 61}),
        ("members_at_once is 0", {"batch_size": 5, "members_at_once": 0}),
        ("gradient_samples is 50", {"batch_size": 5, "gradient_samples": 50}),
        (
            "gradient_layers is",
            {"batch_size": 5, "gradient_samples": 5, "gradient_layers": ("stem",)},
        ),
        ("sketch_dim is 1000", {"batch_size": 5, "sketch_dim": 1000}),
    ]:
        with pytest.raises(InputError, match=words):
            make(**arguments)


def test_what_does_not_fit_into_memory_is_refused_with_its_size(regression, monkeypatch):
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "available_bytes", lambda device: 1000)
    ensemble = Ensemble(
        regression,
        Plan(window=20, batch_size=10),
        measure_path=lambda record: {"g": record.step_gram},
    )
    with pytest.raises(InputError, match=r"a window needs about .* GiB of memory.*sketch_dim"):
        ensemble.compile()
    with pytest.raises(InputError, match=r"3 members of 49 parameters needs.*smaller model"):
        Ensemble(
            regression,
            Plan(seeds=(0, 1, 2), window=20, batch_size=10),
            measure_path=lambda record: {},
        ).start()


def test_the_memory_estimate_holds_the_increments(regression):
    """At least 4 T P bytes for the increments, and T^2 float64 for what is kept."""
    ensemble = Ensemble(
        regression,
        Plan(window=300, batch_size=10),
        measure_path=lambda record: {"g": record.step_gram},
    )
    carry = ensemble.start()
    size = sum(leaf.size for leaf in jax.tree.leaves(carry.params))
    needed = ensemble.compile()
    assert 300 * size * 4 + 300**2 * 8 <= needed < 20 * (300 * size * 4 + 300**2 * 8)


def test_members_one_after_the_other_hold_one_set_of_increments_at_a_time(make_regression):
    """The twin's T P increments take the place of those of SGD; its work space is a small part of
    them.
    """
    problem = make_regression(inputs=50, hidden=100)

    def needed(full_batch_twin):
        ensemble = Ensemble(
            problem,
            Plan(window=100, batch_size=10, full_batch_twin=full_batch_twin),
            members_at_once=1,
            measure_path=lambda record: {"g": record.step_gram, "twin": record.twin_gram},
        )
        return ensemble.compile()

    assert needed(True) < needed(False) + 0.5 * 100 * 50 * 100 * 4
