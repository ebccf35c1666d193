"""Every integer option and every array that the dynamics take, in all kinds of numbers and all
modes.
"""

import jax
import numpy as np
from input_table import Argument, Number, Option, input_tests, mode_tests

from sgd_diffusion.dynamics.batches import batch_indices
from sgd_diffusion.dynamics.gradient_coordinates import GradientCoordinates, draw_coordinates
from sgd_diffusion.dynamics.matched_noise import gradient_with_matched_noise
from sgd_diffusion.dynamics.measurements import frozen_gradients
from sgd_diffusion.dynamics.optimizers import optimizer
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.problems.objectives import Problem

X = np.arange(12.0).reshape(6, 2) % 5


def plan(**options):
    return Plan(**{"gradient_samples": 4} | options).description()


def problem(x=X):
    return Problem(
        init=lambda key: (jax.numpy.full(2, 0.5, "float32"), ()),
        examples={"x": x},
        loss=lambda w, s, b, t: (jax.numpy.mean((b["x"].astype("float32") @ w) ** 2), (s, None)),
    )


NO_COORDINATES = GradientCoordinates(np.zeros(0, int), np.zeros(0, str), np.zeros(0))


def batches(**options):
    return batch_indices(
        jax.random.key(0),
        **{"start": 0, "num_steps": 5, "num_examples": 20, "batch_size": 4} | options,
    )


def frozen(**options):
    return frozen_gradients(NO_COORDINATES, **{"num_passes": 1, "batch_size": 2} | options).dims


def noisy(**options):
    weights = jax.numpy.full(2, 0.5, "float32")
    options = {"batch_size": 2, "scale": 1.0} | options
    return gradient_with_matched_noise(jax.random.key(0), problem(), weights, (), **options)


def stepped(**options):
    own = optimizer("sgd", **options)
    gradient, weights = jax.numpy.arange(3, dtype="float32"), jax.numpy.ones(3, "float32")
    return own.update(gradient, own.init(weights), weights)


ENTRIES = [
    *(
        Number(f"optimizer({name})", lambda value, name=name: stepped(**{name: value}), 0.5)
        for name in ("momentum", "weight_decay", "clip_norm")
    ),
    Option("gradient_with_matched_noise(batch_size)", lambda size: noisy(batch_size=size), 3),
    Number("gradient_with_matched_noise(scale)", lambda scale: noisy(scale=scale), 0.5),
    *(
        Option(f"Plan({name})", lambda value, name=name: plan(**{name: value}), 7)
        for name in (
            "num_windows",
            "window",
            "batch_size",
            "gradient_samples",
            "frozen_passes",
            "sketch_dim",
        )
    ),
    *(
        Number(
            f"Plan({name})",
            lambda value, name=name, with_=with_: plan(**{name: value}, **with_),
            0.5,
        )
        for name, with_ in (
            ("clip_norm", {}),
            ("sam_radius", {"optimizer": "sam"}),
            ("noise_variance", {"noise": "white"}),
            ("average_decay", {"average": "ema"}),
        )
    ),
    Option("Plan(schedule_steps)", lambda value: plan(schedule="step", schedule_steps=value), 7),
    Option("Plan(seeds)", lambda value: plan(seeds=(value,)), 7),
    Option("Plan(waiting_times)", lambda value: plan(waiting_times=[value], window=2), 7),
    *(
        Option(
            f"batch_indices({name})",
            lambda value, name=name: batches(**{name: value}),
            3,
            eager=False,
        )
        for name in ("start", "batch_size")
    ),
    Option(
        "batch_indices(num_examples)",
        lambda value: batches(num_examples=value, num_steps=2),
        7,
        eager=False,
    ),
    Option(
        "draw_coordinates(num_coordinates)", lambda value: draw_coordinates(problem(), value), 2
    ),
    *(
        Option(f"frozen_gradients({name})", lambda value, name=name: frozen(**{name: value}), 7)
        for name in ("num_passes", "batch_size")
    ),
    Argument(
        "Plan(learning_rates)",
        lambda value: Plan(learning_rates=value).learning_rates,
        np.array([1.0, 2.0, 3.0]),
    ),
    Argument(
        "Problem(examples)", lambda x: problem(x).examples, X, takes_complex=True, takes_list=False
    ),
]
test_inputs = input_tests(ENTRIES)
test_modes = mode_tests(ENTRIES)
