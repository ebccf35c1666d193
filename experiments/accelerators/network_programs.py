"""The programs around trained networks: planes, late paths, branches of trainings, saddles."""

import dataclasses
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from experiments import (
    escape_curvature,
    escape_rates,
    escape_saddles,
    freezing_networks,
    hidden_block,
    late_motion,
    late_training,
    loss_planes,
    loss_surface,
    network_instruments,
    noise_tails,
    tiny_networks,
    variance_flatness,
)
from experiments.accelerators.programs import (
    DATA_SETS,
    Made,
    Part,
    Program,
    blank,
    doubles,
    floats,
    keys,
    shapes,
)
from experiments.checkpointed_training import Setting, by_batches, by_matched_noise, training
from experiments.class_subset import class_subset
from experiments.continued_descent import descent, looks
from experiments.freezing_cell import Schedule
from sgd_diffusion.analysis import components_of_weights
from sgd_diffusion.dynamics.batches import SAMPLINGS
from sgd_diffusion.dynamics.sgd import initial_carry, sgd
from sgd_diffusion.landscape.planes import (
    Plane,
    evaluate_plane,
    principal_plane,
    project,
    random_plane,
)
from sgd_diffusion.problems import models, objectives
from sgd_diffusion.problems.objectives import Problem
from sgd_diffusion.theory.flatness import correlation_times


def programs() -> Iterator[Program]:
    """Yield the programs of all presets of these experiments."""
    for experiment, module, makers in (
        ("loss_surface", loss_surface, _planes),
        ("variance_flatness", variance_flatness, _late_path),
        ("escape_rates", escape_rates, _escapes_of_networks),
        ("freezing_networks", freezing_networks, _branches),
    ):
        for preset, options in module.PRESETS.items():
            for title, part in makers(options).items():
                yield Program(experiment, preset, title, part)


def _planes(options: loss_surface.Options) -> dict[str, Part]:
    def problem_and_path():
        problem = options.problem(blank(options.dataset))
        params, state = jax.eval_shape(problem.init, jax.random.key(0))
        points = options.plan().num_windows + 1
        path = jax.tree.map(lambda leaf: floats(points, *leaf.shape), params)
        return problem, Plane(params, params, params), path, state

    def losses(devices):
        problem, plane, _, state = problem_and_path()

        def on_plane(plane, xs, ys, state, examples):
            own = dataclasses.replace(problem, examples=examples)
            return evaluate_plane(loss_planes.surface_of(options, own, state)[0], plane, xs, ys)

        axes = floats(options.grid), floats(options.grid)
        return jax.jit(on_plane), (plane, *axes, state, *shapes(problem.examples))

    return {
        "losses": Part(losses),
        "random plane": Part(
            lambda devices: (
                jax.jit(random_plane),
                (*shapes(jax.random.key(0)), problem_and_path()[1].origin),
            )
        ),
        "principal plane": Part(
            lambda devices: (jax.jit(principal_plane), (problem_and_path()[2],)), wide=True
        ),
        "projection": Part(lambda devices: (jax.jit(project), problem_and_path()[1:3])),
    }


def _late_training(problem: Problem, batch_size: int, sampling: str) -> Made:
    epoch = late_training.one_epoch(
        problem, jax.random.key(0), learning_rate=0.1, batch_size=batch_size, sampling=sampling
    )
    carry = jax.eval_shape(lambda key: initial_carry(problem, sgd(), key), jax.random.key(0))
    return epoch, (carry, *shapes(0))


def _block(problem: Problem) -> hidden_block.HiddenBlock:
    """The shapes of the layer that is followed."""
    params, _ = jax.eval_shape(problem.init, jax.random.key(0))
    return jax.eval_shape(functools.partial(hidden_block.hidden_block, problem), params)


def _moments(problem: Problem) -> Made:
    """Sums over the first examples that are taken at once, in float64."""
    block = _block(problem)
    wide = jax.tree.map(lambda leaf: doubles(*leaf.shape), block)
    rows = min(hidden_block.PART, len(block.labels))
    inputs = doubles(rows, block.inputs.shape[1])
    labels = jax.ShapeDtypeStruct((rows,), block.labels.dtype)
    return hidden_block.sums, (wide._replace(inputs=inputs, labels=labels),)


def _late_path(options: variance_flatness.Options) -> dict[str, Part]:
    @functools.cache
    def problem():
        return late_training.network(blank(options.dataset), options.width)

    size, batch = options.width**2, options.batch_size

    def steps():
        in_epoch = problem().num_examples // batch
        return options.epochs(in_epoch) * in_epoch

    def widths(devices):
        count = len(range(0, min(options.num_components, size), options.every))
        return late_motion.widths, (
            _block(problem()),
            doubles(),
            doubles(count, size),
            doubles(),
        )

    def along(function):
        places = doubles(late_motion.PLACES)
        return lambda devices: (function, (_block(problem()), doubles(size), places))

    def epoch(sampling):
        return lambda devices: _late_training(problem(), batch, sampling)

    def gradients(devices):
        rows = jax.ShapeDtypeStruct((steps(), batch), jnp.int32)
        return late_motion.batch_gradients, (_block(problem()), rows)

    def components(devices):
        return jax.jit(components_of_weights), (floats(steps() + 1, size),)

    def times(devices):
        return jax.jit(correlation_times), (doubles(steps() + 1, options.num_components),)

    return {
        **{f"epoch, {each}": Part(epoch(each), training=True) for each in SAMPLINGS},
        "Hessian and gradients": Part(lambda devices: _moments(problem()), wide=True),
        "gradients of mini-batches": Part(gradients),
        "components": Part(components, wide=True),
        "correlation times": Part(times, wide=True),
        "flatness": Part(widths, wide=True),
        "losses": Part(along(late_motion.losses_along), wide=True),
        "slopes": Part(along(late_motion.slopes_along), wide=True),
    }


def _escapes_of_networks(options: escape_rates.Options) -> dict[str, Part]:
    @functools.cache
    def curved():
        return late_training.network(blank(options.dataset), options.width)

    @functools.cache
    def noisy():
        model = models.model(noise_tails.MODEL, num_classes=noise_tails.CLASSES)
        return objectives.classification(model, blank(noise_tails.DATASET))

    def tails(number):
        def make(devices):
            point = jax.eval_shape(noisy().init, jax.random.key(0))
            params, state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), point)
            size = sum(leaf.size for leaf in jax.tree.leaves(params))
            program = noise_tails.training_and_gradients(noisy(), params, state)[number]
            return program, (floats(size), *shapes(jax.random.key(0)))[: 2 - number]

        return make

    def search(number):
        def make(devices):
            own = blank_network()
            point = doubles(own.size)
            many = doubles(tiny_networks.AT_ONCE, own.size)
            return tiny_networks.programs(own)[number], ((many,), (point,), (point, point))[number]

        return make

    found: dict[str, dict[str, Part]] = {
        "curvature": {
            "epoch": Part(
                lambda devices: _late_training(curved(), escape_curvature.BATCH_SIZE, "epochs"),
                training=True,
            ),
            "Hessian and gradients": Part(lambda devices: _moments(curved()), wide=True),
        },
        "tails": {"training": Part(tails(0), training=True), "gradients": Part(tails(1))},
        "saddle": {
            name: Part(search(number), wide=True)
            for number, name in enumerate(("settle", "climb", "band"))
        },
    }
    return {
        f"{panel}/{name}": program
        for panel in options.panels
        for name, program in found.get(panel, {}).items()
    }


def blank_network() -> tiny_networks.Network:
    """Return the network of the panel `saddle` without data."""
    hidden, decay, _ = escape_saddles.NETWORK
    count = DATA_SETS["digits"][0]
    return tiny_networks.Network(
        hidden, decay, np.zeros((count, tiny_networks.COMPONENTS)), np.zeros(count)
    )


def _branches(options: freezing_networks.Options) -> dict[str, Part]:
    @functools.cache
    def problem():
        data = class_subset(blank(options.dataset), options.per_class, options.test_per_class)
        return late_training.network(data, options.width, bias=True, initialization="kaiming")

    def params(*leading):
        shape = jax.eval_shape(problem().init, jax.random.key(0))[0]
        return jax.tree.map(lambda leaf: floats(*leading, *leaf.shape), shape)

    schedule = Schedule(
        options.repeats, options.strides, options.duration, options.branch_every, options.clones
    )
    setting = jax.tree.map(lambda _: floats(), Setting(0.0, 0.0, 0.0))
    count = jax.ShapeDtypeStruct((), jnp.int32)

    def trained(stride):
        arguments = params(), keys(options.repeats), count, setting._replace(steps=count)
        return training(stride, options.strides), arguments

    def by_size(size):
        rate = max(options.learning_rates)
        return lambda devices: trained(
            by_batches(problem(), batch_size=size, steps=schedule.steps(rate))
        )

    def descended(devices):
        left = jax.ShapeDtypeStruct((options.repeats,), jnp.int32)
        every = shapes(looks(max(options.learning_rates)))
        return descent(problem()), (params(options.repeats), left, floats(), *every)

    def measured(measure):
        points = 2 if measure is network_instruments.barrier else 1
        return lambda devices: (
            network_instruments.instrument(problem(), measure),
            (params(),) * points,
        )

    return {
        **{
            f"training, B = {size}": Part(by_size(size), training=True)
            for size in options.batch_sizes
        },
        "training, matched noise": Part(
            lambda devices: trained(by_matched_noise(problem())), training=True
        ),
        "descent": Part(descended, training=True),
        **{
            measure.__name__.replace("_", " "): Part(measured(measure))
            for measure in network_instruments.MEASURES
        },
    }
