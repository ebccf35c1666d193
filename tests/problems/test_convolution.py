import functools
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from sgd_diffusion._platforms import traced_on
from sgd_diffusion.errors import InputError
from sgd_diffusion.problems import canonical
from sgd_diffusion.problems.convolution import convolution

CHANNELS_LAST = ("NHWC", "HWIO", "NHWC")
ONE = ((1, 1), (1, 1))
# Images (batch, height, width, channels), kernel (height, width, features), strides, padding.
CASES = {
    "3x3": ((3, 8, 8, 2), (3, 3, 4), (1, 1), ONE),
    "3x3, stride 2, even": ((3, 8, 8, 2), (3, 3, 4), (2, 2), ONE),
    "3x3, stride 2, odd": ((2, 7, 5, 2), (3, 3, 4), (2, 2), ONE),
    "3x3 on 2x2": ((2, 2, 2, 3), (3, 3, 2), (1, 1), ONE),
    "3x3 on 1x1": ((2, 1, 1, 3), (3, 3, 2), (1, 1), ONE),
    "3x3 on 2x2, stride 2": ((2, 2, 2, 3), (3, 3, 2), (2, 2), ONE),
    "1x1": ((2, 4, 4, 3), (1, 1, 4), (1, 1), ((0, 0), (0, 0))),
    "1x1, stride 2": ((2, 7, 8, 3), (1, 1, 4), (2, 2), ((0, 0), (0, 0))),
    "uneven": ((2, 7, 6, 1), (3, 2, 4), (1, 1), ((0, 2), (2, 0))),
    "uneven, uneven strides": ((2, 7, 6, 1), (3, 2, 4), (1, 2), ((0, 2), (1, 0))),
    "cropped": ((2, 7, 6, 2), (3, 3, 4), (1, 1), ((-1, 0), (2, -1))),
    "cropped, even": ((2, 5, 8, 2), (3, 3, 4), (1, 1), ((1, 0), (1, -1))),
    "5x5, even": ((2, 5, 6, 2), (5, 5, 3), (1, 1), ((2, 2), (2, 2))),
    "uneven margins, even": ((2, 4, 5, 3), (3, 3, 4), (1, 1), ((0, 2), (0, 1))),
    "SAME": ((2, 7, 6, 2), (3, 3, 4), (2, 2), "SAME"),
    "VALID": ((2, 5, 4, 2), (3, 3, 4), (1, 1), "VALID"),
}
FORMULATIONS = ("canonical", "patches", "dense")


def draw(images_shape, kernel_shape, dtype=None, members=()):
    generator = np.random.default_rng(0)
    height, width, features = kernel_shape
    shapes = images_shape, (height, width, images_shape[-1], features)
    dtype = jax.dtypes.canonicalize_dtype(dtype or float)
    return tuple(generator.normal(size=(*members, *shape)).astype(dtype) for shape in shapes)


def evaluate(function, images, kernel, tangents):
    """Value, both gradients, and the Hessian-vector product (jvp of grad) of a nonlinear scalar of
    the output.
    """
    gradient = jax.grad(lambda *arguments: jnp.sin(function(*arguments)).sum(), argnums=(0, 1))
    return function(images, kernel), *jax.jvp(gradient, (images, kernel), tangents)


def assert_close(result, expected, tolerance):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
        result,
        expected,
    )


@functools.cache
def evaluated(case):
    """What all formulations make of a case in float64, and JAX itself, in one program."""
    images_shape, kernel_shape, strides, padding = CASES[case]
    options = {
        "window_strides": strides,
        "padding": padding,
        "dimension_numbers": CHANNELS_LAST,
    }
    functions = {
        "lax": partial(lax.conv_general_dilated, **options),
        **{name: partial(convolution, formulation=name, **options) for name in FORMULATIONS},
    }
    images, kernel = draw(images_shape, kernel_shape)
    tangents = np.cos(images), np.cos(kernel)
    return jax.jit(
        lambda *arguments: {
            name: evaluate(function, *arguments) for name, function in functions.items()
        }
    )(images, kernel, tangents)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_equals_lax_in_value_gradients_and_hessian_products(case, formulation):
    with jax.enable_x64(True):
        found = evaluated(case)
    assert_close(found[formulation], found["lax"], 1e-12)


@pytest.mark.parametrize("case", ["3x3", "3x3, stride 2, odd", "uneven, uneven strides"])
def test_canonical_in_reverse_over_reverse_mode(case):
    images_shape, kernel_shape, strides, padding = CASES[case]

    def product(formulation, images, kernel):
        def loss(*pair):
            return jnp.sin(
                convolution(
                    *pair,
                    strides,
                    padding,
                    dimension_numbers=CHANNELS_LAST,
                    formulation=formulation,
                )
            ).sum()

        def twice(*pair):
            return sum(jnp.cos(part).sum() for part in jax.grad(loss, argnums=(0, 1))(*pair))

        return jax.grad(twice, argnums=(0, 1))(images, kernel)

    with jax.enable_x64(True):
        arguments = draw(images_shape, kernel_shape)
        found, expected = (
            jax.jit(partial(product, formulation))(*arguments)
            for formulation in ("canonical", "xla")
        )
        assert_close(found, expected, 1e-12)


@pytest.mark.parametrize(
    ("channels", "features", "paired"), [(16, 16, True), (17, 16, False), (16, 17, False)]
)
def test_canonical_convolves_pairs_of_narrow_pixels(channels, features, paired):
    images, kernel = draw((2, 4, 4, channels), (3, 3, features))
    convolve = jax.jit(
        lambda *pair: convolution(*pair, (1, 1), ONE, dimension_numbers=CHANNELS_LAST)
    )
    program = convolve.lower(images, kernel).as_text()
    assert (f"<2x4x2x{2 * features}xf32>" in program) == paired
    expected = lax.conv_general_dilated(
        images, kernel, (1, 1), ONE, dimension_numbers=CHANNELS_LAST
    )
    assert_close(convolve(images, kernel), expected, 1e-4)


def test_canonical_kernel_gradient_in_blocks_of_images(monkeypatch):
    images, kernel = draw((5, 4, 4, 2), (3, 3, 3))
    # The copies of an image: 4 x 4 pixels of 3 taps of 2 channels and 3 of 3 features, in float32.
    monkeypatch.setattr(canonical, "BLOCK", 2 * 4 * 4 * (3 * 2 + 3 * 3) * 4)
    gradient = jax.grad(loss_of("canonical"), argnums=1)
    program = jax.jit(gradient).lower(images, kernel).as_text()
    assert re.search(r"dynamic_slice.*<2x2x4x4x2xf32>", program)  # two blocks of two, and one left
    assert_close(
        jax.jit(gradient)(images, kernel),
        jax.jit(jax.grad(loss_of("xla"), argnums=1))(images, kernel),
        2e-5,
    )


def padded(formulation):
    return partial(
        convolution,
        window_strides=(1, 1),
        padding=ONE,
        dimension_numbers=CHANNELS_LAST,
        formulation=formulation,
    )


def loss_of(formulation):
    return lambda images, kernel: jnp.sin(padded(formulation)(images, kernel)).sum()


@pytest.mark.parametrize("formulation", FORMULATIONS)
@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0), (1, 3)])
def test_vmap_equals_a_loop(axes, formulation):
    images, kernel = draw((2, 4, 4, 2), (3, 3, 3), members=(3,))
    placed = [
        x[0] if axis is None else np.moveaxis(x, 0, axis)
        for x, axis in zip((images, kernel), axes, strict=True)
    ]
    gradients = jax.jit(jax.vmap(jax.grad(loss_of(formulation), argnums=(0, 1)), axes))(*placed)
    reference = jax.jit(jax.grad(loss_of("xla"), argnums=(0, 1)))
    for member in range(3):
        pair = [
            x[0 if axis is None else member] for x, axis in zip((images, kernel), axes, strict=True)
        ]
        assert_close(tuple(np.asarray(g)[member] for g in gradients), reference(*pair), 2e-5)


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_scan_equals_a_loop_over_descent_steps(formulation):
    images, kernel = draw((2, 4, 4, 2), (3, 3, 3))
    step = lambda f: lambda k, _: (k - 0.01 * jax.grad(loss_of(f), argnums=1)(images, k), None)  # noqa: E731
    scanned, _ = jax.jit(lambda k: lax.scan(step(formulation), k, length=3))(kernel)
    expected, once = kernel, jax.jit(step("xla"))
    for _ in range(3):
        expected, _ = once(expected, None)
    assert_close(scanned, expected, 1e-4)


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_shard_map_with_a_shared_argument(formulation):
    images, kernel = draw((2, 4, 4, 2), (3, 3, 3))
    gradient = jax.grad(loss_of(formulation), argnums=(0, 1))
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    specs = (PartitionSpec("data"), PartitionSpec())
    sharded = jax.shard_map(gradient, mesh=mesh, in_specs=specs, out_specs=specs)
    assert_close(jax.jit(sharded)(images, kernel), jax.jit(gradient)(images, kernel), 2e-5)


def test_gradients_hold_only_convolutions_that_xla_executes_fast_inside_loops():
    images, kernel = draw((2, 8, 8, 2), (3, 3, 2))
    strided = partial(padded("canonical"), window_strides=(2, 2))
    loss = lambda k: jnp.sin(strided(padded("canonical")(images, k), k)).sum()  # noqa: E731
    product = lambda k: jax.jvp(jax.grad(loss), (k,), (k,))  # noqa: E731
    program = jax.jit(product).lower(kernel).as_text()
    numbers = re.findall(r"stablehlo.convolution.*?dim_numbers = (.*?),\s*window", program)
    assert len(numbers) > 5
    assert set(numbers) == {"[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"}
    assert set(re.findall(r"[lr]hs_dilate = \[(.*?)\]", program)) <= {"1, 1"}


@pytest.mark.parametrize(
    ("case", "dtype", "primitive"),
    [
        ("3x3", "float32", "canonical_convolution"),
        ("3x3", "float64", "dot_general"),
        ("3x3, stride 2, even", "float32", "canonical_convolution"),
        ("1x1, stride 2", "float32", "dot_general"),
        ("1x1", "float32", "dot_general"),
        ("3x3 on 2x2", "float32", "dot_general"),
    ],
)
def test_choice_on_cpu(case, dtype, primitive):
    with traced_on("cpu"):
        assert primitive in traced(case, dtype)


@pytest.mark.parametrize("case", CASES)
def test_choice_elsewhere_is_lax(case):
    with traced_on("gpu"):
        assert "conv_general_dilated" in traced(case, "float32")


def traced(case, dtype):
    """Names of the primitives that the convolution of a case becomes."""
    images_shape, kernel_shape, strides, padding = CASES[case]
    with jax.enable_x64(True):
        arguments = draw(images_shape, kernel_shape, dtype)
        jaxpr = jax.make_jaxpr(
            lambda *pair: convolution(*pair, strides, padding, dimension_numbers=CHANNELS_LAST)
        )
        return str(jaxpr(*arguments))


UNUSUAL = {
    "dilated kernel": {"rhs_dilation": (2, 2), "dimension_numbers": CHANNELS_LAST},
    "dilated images": {"lhs_dilation": (2, 1), "dimension_numbers": CHANNELS_LAST},
    "groups": {"feature_group_count": 2, "dimension_numbers": CHANNELS_LAST},
    "channels first": {},
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_convolutions_are_left_to_lax(name):
    options = UNUSUAL[name]
    images, kernel = jnp.ones((2, 4, 4, 4)), jnp.ones((3, 3, 2 if name == "groups" else 4, 4))
    kernel = jnp.ones((3, 4, 3, 3)) if name == "channels first" else kernel
    np.testing.assert_array_equal(
        convolution(images, kernel, (1, 1), ONE, **options),
        lax.conv_general_dilated(images, kernel, (1, 1), ONE, **options),
    )
    with pytest.raises(
        InputError,
        match=r"formulation is 'patches', which cannot convolve images .* leave formulation=None",
    ):
        convolution(images, kernel, (1, 1), ONE, **options, formulation="patches")


def test_unknown_formulation():
    with pytest.raises(InputError, match=r"formulation is 'winograd'; .*canonical"):
        convolution(*draw((2, 4, 4, 2), (3, 3, 2)), (1, 1), ONE, formulation="winograd")
