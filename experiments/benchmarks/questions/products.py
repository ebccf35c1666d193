"""Questions about single products: the formulation of a convolution, and the type of a Gram sum."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.questions import ensembles
from experiments.benchmarks.questions.question import (
    Candidate,
    Made,
    Question,
    choice,
    judged,
    of_all,
    per_unit,
    ratio,
)
from experiments.benchmarks.questions.sizes import SHAPES, Sizes
from sgd_diffusion._platforms import platform, traced_on
from sgd_diffusion.analysis.displacement import time_averaged_msd
from sgd_diffusion.analysis.gram import GRAM_BLOCK, increment_gram
from sgd_diffusion.problems.convolution import FORMULATIONS, convolution, default_formulation

# Entries of the matrix of the formulation "dense", for each member; more are too many.
DENSE = 2**20
# Share of the training that the Gram matrix may take, and error of displacements that it may have.
ALLOWED, ERROR = 0.25, 1e-9
LAYOUT = ("NHWC", "HWIO", "NHWC")
# Platforms whose Gram matrices have these types.
TYPES = {"float64": "gpu", "float32": "tpu"}


def convolutions(sizes: Sizes, images: str, *, last: bool, members: int) -> Question:
    """Ask which formulation of a layer is fastest, forward and backward.

    Args:
        sizes: of all.
        images: name of their size.
        last: whether the layer is one of the last stage of a residual network, or of the first.
        members: that are vmapped with kernels of their own, or 1.
    """
    factor = 4 if last else 1
    side, channels = SHAPES[images][0] // factor, sizes.channels * factor
    batch = jax.ShapeDtypeStruct((sizes.batch_size, side, side, channels), jnp.float32)
    kernel = jax.ShapeDtypeStruct((3, 3, channels, channels), jnp.float32)
    what = f"{side} x {side} x {channels}" + (f", {members} kernels" if members > 1 else "")
    chosen = default_formulation(batch, kernel, (1, 1))
    ways = {
        formulation: Candidate(
            f"convolution of {what}: {formulation}",
            "passes",
            functools.partial(_layer, sizes, batch.shape, kernel.shape, formulation, members),
        )
        for formulation in FORMULATIONS
        if formulation in (chosen, "xla", "canonical", "patches")
        or (side**2 * channels) ** 2 <= DENSE
    }
    return Question(
        f"convolution of {what}",
        "Which formulation of a 3x3 convolution is fastest, forward and backward in a loop?",
        chosen,
        "sgd_diffusion.problems.convolution.default_formulation",
        tuple(ways.values()),
        choice(
            ways[chosen].name,
            [way.name for formulation, way in ways.items() if formulation != chosen],
        ),
    )


def _layer(sizes, image_shape, kernel_shape, formulation, members):
    """Return steps down the square of a convolution, along the images and the kernel."""

    def energy(images, kernel):
        made = convolution(
            images, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT, formulation=formulation
        )
        return (made**2).mean()

    def step(point, _):
        slopes = jax.grad(energy, argnums=(0, 1))(*point)
        return jax.tree.map(lambda x, slope: x - 0.01 * slope, point, slopes), None

    def descend(images, kernel):
        return jax.lax.scan(step, (images, kernel), length=sizes.passes)[0]

    leading, random = () if members == 1 else (members,), np.random.default_rng(0)
    arguments = tuple(
        jnp.asarray(random.standard_normal((*leading, *shape), np.float32) / 3)
        for shape in (image_shape, kernel_shape)
    )
    program = jax.jit(descend if members == 1 else jax.vmap(descend))
    # The vmapped "canonical" is a loop over the members within the loop.
    passes = sizes.passes if members == 1 or formulation != "canonical" else None
    return Made(program, arguments, amount=sizes.passes * members, passes=passes)


def gram(sizes: Sizes) -> Question:
    """Ask what float64 costs in a Gram matrix, and what float32 loses."""
    ways = {
        dtype: Candidate(
            f"Gram matrix in {dtype}", "matrices", functools.partial(_gram, sizes, like)
        )
        for dtype, like in TYPES.items()
    }
    chosen = "float32" if platform() == "tpu" else "float64"
    trained = {images: ensembles.default(sizes, images) for images in sizes.images}

    @of_all
    def verdict(rows):
        single, wide = (rows[ways[dtype].name] for dtype in ("float32", "float64"))
        mine = rows[ways[chosen].name]
        shares = {
            images: mine["median"] / (sizes.gram_steps * per_unit(rows[each.name]))
            for images, each in trained.items()
        }
        error = mine["facts"]["error_of_displacements"]
        found = (
            f"{chosen} takes "
            + " and ".join(f"{share:.2%} of training {images}" for images, share in shares.items())
            + f", with an error of {error:.1g}; float64 takes {ratio(wide, single):.3g} x "
            f"as long as float32, whose error is {single['facts']['error_of_displacements']:.1g}"
        )
        return judged(max(shares.values()) <= ALLOWED and error <= ERROR, found)

    return Question(
        "Gram matrix",
        f"What does the Gram matrix of {sizes.gram_steps} steps of {sizes.gram_parameters} "
        "parameters cost in float64, beside float32 at highest precision and beside the training "
        "of these steps?",
        f"{chosen}, as long as that takes at most {ALLOWED:.0%} of the training and displacements "
        f"of confined motion are right to {ERROR:.0g}",
        "sgd_diffusion.analysis.gram.increment_gram",
        (*ways.values(), *(each.candidate(sizes) for each in trained.values())),
        verdict,
    )


def _gram(sizes, like):
    def program(increments):
        with traced_on(like):
            return increment_gram(increments)

    def facts(result):
        found = np.asarray(time_averaged_msd(np.asarray(result, np.float64)))
        return {"error_of_displacements": float(np.abs(found / _reference(sizes) - 1).max())}

    return Made(jax.jit(program), (_confined(sizes),), passes=1, facts=facts)


def _confined(sizes):
    """Return the increments of white positions, whose displacements do not grow.

    They are the hardest for a Gram matrix of increments, because their sums cancel.
    """
    shape = sizes.gram_steps + 1, sizes.gram_parameters
    make = jax.jit(lambda key: jnp.diff(1e-3 * jax.random.normal(key, shape), axis=0))
    return make(jax.random.key(0))


@functools.lru_cache(maxsize=1)
def _reference(sizes):
    """Return the displacements of the same increments from sums in float64 on the host."""
    increments = np.asarray(_confined(sizes))
    total = np.zeros((sizes.gram_steps, sizes.gram_steps))
    for block in range(0, sizes.gram_parameters, GRAM_BLOCK):
        columns = increments[:, block : block + GRAM_BLOCK].astype(np.float64)
        total += columns @ columns.T
    return np.asarray(time_averaged_msd(total))
