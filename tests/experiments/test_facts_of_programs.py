"""Products, work and bounds of programs, against closed forms and against XLA's own count."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from experiments.accelerators.chips import CHIPS
from experiments.accelerators.facts import Product, Work, compiled_facts, products, roofline
from sgd_diffusion import Plan
from sgd_diffusion.analysis.gram import increment_gram
from sgd_diffusion.dynamics.ensemble import Ensemble
from sgd_diffusion.problems.datasets import gaussian
from sgd_diffusion.problems.mlp import MLP
from sgd_diffusion.problems.objectives import classification
from sgd_diffusion.problems.resnet import ResNet


def floats(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def flops(function, *arguments):
    return sum(work.flops for work in products(jax.jit(function).lower(*arguments)).values())


def by_xla(function, *arguments):
    return jax.jit(function).lower(*arguments).cost_analysis()["flops"]


def test_of_matrix_products_by_precision():
    def function(a, b):
        once = jnp.einsum("bij,bjk->bik", a, b, precision="highest")
        return once, jnp.einsum("bij,bjk->ik", a, b), once @ once.mT

    lowered = jax.jit(function).lower(floats(3, 4, 5), floats(3, 5, 7))
    dot = Product("dot_general", "f32", "DEFAULT")
    assert products(lowered) == {
        dot._replace(precision="HIGHEST"): Work(1, 2 * 3 * 4 * 5 * 7),
        dot: Work(2, 2 * 3 * 4 * 5 * 7 + 2 * 3 * 4 * 7 * 4),
    }


def test_a_function_counts_as_often_as_it_is_called():
    @jax.jit
    def square(a):
        return a @ a

    (work,) = products(jax.jit(lambda a: square(square(square(a)))).lower(floats(4, 4))).values()
    assert work == Work(3, 3 * 2 * 4**3)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": "SAME"},
        {"padding": "VALID", "window_strides": (2, 1)},
        {"padding": ((2, 1), (0, 3)), "rhs_dilation": (2, 2)},
        {"padding": ((3, 3), (3, 3)), "lhs_dilation": (2, 3)},
        {"padding": "SAME", "feature_group_count": 2},
    ],
)
def test_of_convolutions_as_xla_counts_them(options):
    groups = options.get("feature_group_count", 1)

    def convolution(image, kernel):
        given = {"window_strides": (1, 1)} | options
        return lax.conv_general_dilated(
            image, kernel, dimension_numbers=("NHWC", "HWIO", "NHWC"), **given
        )

    arguments = floats(2, 9, 8, 6), floats(3, 3, 6 // groups, 4)
    assert flops(convolution, *arguments) == by_xla(convolution, *arguments) > 0


def test_the_gram_matrix_of_a_window_takes_two_t_squared_p():
    steps, sizes = 7, (11, 24)
    leaves = [floats(steps, size) for size in sizes]
    expected = 2 * steps**2 * sum(sizes)
    assert flops(lambda *leaves: increment_gram(list(leaves)), *leaves) == expected


def step_of(model, *, batch_size, members):
    """The program of one step, lowered."""
    data = gaussian(train_size=2 * batch_size, test_size=1, shape=(8, 8, 1))
    plan = Plan(seeds=range(members), learning_rates=[0.1], window=3, batch_size=batch_size)
    problem = classification(model, data, augment=None)
    ensemble = Ensemble(problem, plan, measure_path=lambda _: {}, members_at_once=members)
    program, arguments = ensemble.programs()["advance"]
    return program.lower(*arguments)


def test_a_step_of_a_dense_network_takes_three_passes_less_the_gradient_of_the_images():
    widths, batch, members = (64, 20, 30, 10), 16, 2
    layers = [2 * batch * one * other for one, other in itertools.pairwise(widths)]
    expected = members * (3 * sum(layers) - layers[0])
    lowered = step_of(MLP(widths[1:]), batch_size=batch, members=members)
    assert sum(work.flops for work in products(lowered).values()) == expected


def test_products_are_nearly_all_of_what_xla_counts_in_a_step_of_a_residual_network():
    """The rest are batch normalization and additions."""
    lowered = step_of(ResNet(8), batch_size=4, members=1)
    ours = sum(work.flops for work in products(lowered).values())
    assert 0.9 < ours / lowered.cost_analysis()["flops"] < 1


def test_the_bound_is_that_of_the_products_or_of_the_memory():
    chip = CHIPS["tpu-v5e"]
    rounded, exact = (Product("dot_general", "f32", name) for name in ("DEFAULT", "HIGHEST"))
    assert roofline(chip, {rounded: Work(1, 197e12)}, 0) == pytest.approx(1)
    both = {rounded: Work(1, 197e12), exact: Work(1, 197e12)}
    assert roofline(chip, both, 0) == pytest.approx(1 + 6)
    assert roofline(chip, both, 819e9 * 8) == pytest.approx(8)
    assert roofline(chip, {}, None) is None
    assert roofline(chip, both | {exact._replace(dtype="f64"): Work(1, 1e20)}, None) == (
        pytest.approx(7)
    )


def test_facts_of_a_compiled_program():
    lowered = jax.jit(lambda a, b: (a @ b).sum(axis=0)).lower(floats(4, 5), floats(5, 6))
    found = compiled_facts(lowered, CHIPS["h100"])
    assert found["bytes_of_arguments"] == 4 * (4 * 5 + 5 * 6)
    assert found["bytes_of_results"] == 4 * 6
    assert found["bytes_at_peak"] >= found["bytes_of_arguments"] + found["bytes_of_results"]
    assert found["flops"] >= 2 * 4 * 5 * 6 and found["bytes_moved"] > 0
    assert found["collectives"] == {} and found["seconds"] > 0
    assert found["products"] == [
        {
            "kind": "dot_general",
            "dtype": "f32",
            "precision": "DEFAULT",
            "count": 1,
            "flops": 2.0 * 4 * 5 * 6,
        }
    ]


def test_what_devices_send_is_counted():
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("members",))
    spec = jax.sharding.PartitionSpec
    sums = jax.shard_map(
        lambda x: lax.psum(x, "members"), mesh=mesh, in_specs=spec("members"), out_specs=spec()
    )
    found = compiled_facts(jax.jit(sums).lower(floats(4)), CHIPS["h100"])
    assert found["collectives"] == {"all-reduce": 1}
