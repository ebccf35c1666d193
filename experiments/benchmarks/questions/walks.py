"""Questions about small programs: walkers on landscapes, and fits of stable laws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.questions.question import Candidate, Made, Question, choice
from experiments.benchmarks.questions.sizes import Sizes
from experiments.benchmarks.walkers import LEARNING_RATE, NOISE_STD, ROUGHNESS
from sgd_diffusion._platforms import host, platform
from sgd_diffusion.analysis.stable import fits, law
from sgd_diffusion.landscape.fractal_surfaces import diamond_square
from sgd_diffusion.walkers.walk import walk_ensemble

ALPHA = 1.5


def _walks(sizes, landscapes, walkers, side_by_side):
    """Return walkers on fractal landscapes; of their paths the ends are kept."""
    keys, surfaces = jax.tree.map(lambda leaf: leaf[:landscapes], _landscapes(sizes))
    starts = np.random.default_rng(0).uniform(-1, 1, size=(walkers, 2)).astype(np.float32)
    walks = functools.partial(
        walk_ensemble,
        learning_rates=[LEARNING_RATE],
        noise_stds=[NOISE_STD],
        steps=sizes.walk,
        every=sizes.walk,
    )

    def one(key, surface, starts):
        alone = jax.tree.map(lambda leaf: leaf[None], (key, surface))
        return walks(*alone, starts)

    program = jax.vmap(one, (0, 0, None)) if side_by_side else walks
    return Made(
        jax.jit(program),
        (keys, surfaces, jnp.asarray(starts)),
        amount=landscapes * walkers * sizes.walk,
    )


@functools.lru_cache(maxsize=1)
def _landscapes(sizes):
    """Return keys and fractal landscapes."""
    make = functools.partial(diamond_square, levels=sizes.levels, roughness=ROUGHNESS)
    keys = jax.random.split(jax.random.key(0), sizes.landscapes)
    return keys, jax.jit(lambda keys: jax.lax.map(make, keys))(keys)


def numbers(sizes: Sizes) -> Question:
    """Ask how many walkers are worth simulating at once."""
    several = [
        Candidate(
            f"{walkers} walkers on a landscape",
            "walker-steps",
            functools.partial(_walks, sizes, 1, walkers, False),
        )
        for walkers in sorted(sizes.walkers)
    ]
    return Question(
        "number of walkers",
        "Does the device make more steps of walkers a second, the more walkers it has at once?",
        "all walkers of a landscape at once",
        "sgd_diffusion.walkers.walk.walk_ensemble",
        tuple(several),
        choice(several[-1].name, [each.name for each in several[:-1]]),
    )


def landscapes(sizes: Sizes) -> Question:
    """Ask whether landscapes are worth mapping too."""
    walkers = min(sizes.walkers)
    mine, rival = (
        Candidate(
            f"{walkers} walkers on each of {sizes.landscapes} landscapes, {how}",
            "walker-steps",
            functools.partial(_walks, sizes, sizes.landscapes, walkers, side_by_side),
        )
        for how, side_by_side in (("one after the other", False), ("side by side", True))
    )
    return Question(
        "landscapes",
        "Are landscapes to be walked on one after the other, or side by side?",
        "one after the other",
        "sgd_diffusion.walkers.walk.walk_ensemble",
        (mine, rival),
        choice(mine.name, [rival.name]),
    )


def _fits(sizes, how):
    """Return fits of many samples, one after the other, side by side, or on the host."""
    key, shape = jax.random.key(0), (sizes.fits, sizes.points_of_fit)
    many = np.asarray(law.sample(key, ALPHA, shape=shape), np.float64)

    def in_turns():
        return fits.fit(many)

    def on_host():
        with jax.default_device(host()):
            return fits.fit(many)

    vmapped = jax.jit(jax.vmap(fits.fit))

    def side_by_side():
        with jax.enable_x64(True):
            return vmapped(jnp.asarray(many))

    ways = {"one after the other": in_turns, "side by side": side_by_side, "on the host": on_host}
    return Made(ways[how], (), amount=sizes.fits)


def stable_fits(sizes: Sizes) -> Question:
    """Ask where and how stable laws are fitted."""
    places = ["on the host"] if platform() != "cpu" else []
    ways = [
        Candidate(f"stable fits, {how}", "fits", functools.partial(_fits, sizes, how))
        for how in ("one after the other", "side by side", *places)
    ]
    return Question(
        "stable fits",
        "Are stable laws to be fitted on the device, and one after the other?",
        "one after the other, on the device",
        "sgd_diffusion.analysis.stable.fits.fit",
        tuple(ways),
        choice(ways[0].name, [way.name for way in ways[1:]]),
    )
