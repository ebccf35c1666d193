"""Every public function of the theory of escape with every kind of input, in every mode of JAX."""

import numpy as np
from input_table import Argument, Integers, Number, Option, input_tests, mode_tests

from sgd_diffusion.theory import escape

VALLEY = np.array([2.0, 3.0, 5.0])
THETA = np.array([1.0, 2.0, 0.0])
TIMES = np.array([3, 8, 1, 40])


def slope(x):
    return x**3 - x


def noise(x):
    return 1 + x**2


def white(**changed):
    values = {
        "curvatures_minimum": 2.0,
        "curvatures_saddle": -1.0,
        "barrier": 0.25,
        "diffusion": 0.125,
    }
    return escape.kramers_white(**(values | changed))


def sgd(**changed):
    values = {
        "curvature_minimum": 2.0,
        "curvature_saddle": -1.0,
        "barrier": 0.25,
        "batch_size": 2.0,
        "learning_rate": 0.125,
        "path": 0.5,
    }
    return escape.kramers_sgd(**(values | changed))


def passage(**changed):
    values = {"start": -1.0, "end": 0.5, "reflecting": -2.0, "num_points": 101}
    return escape.mean_first_passage_time(slope, noise, **(values | changed))


def exponent(**changed):
    values = {"start": -1.0, "end": 0.5, "num_points": 101}
    return escape.quasi_potential(slope, noise, **(values | changed))


def path(**changed):
    values = {
        "potential": 0.375,
        "curvature_minimum": 2.0,
        "curvature_saddle": -1.0,
        "barrier": 0.25,
    }
    return escape.effective_path(**(values | changed))


def rate(**changed):
    values = {"times": TIMES, "max_steps": 64, "learning_rate": 0.125, "min_escapes": 2}
    return escape.escape_rate(**(values | changed))


def logistic(**changed):
    values = {"theta": THETA, "inputs": np.eye(3), "labels": [0, 1, 0]}
    return escape.logistic_double_well(**(values | changed))


ARGUMENTS = [
    Argument(
        "kramers_white(curvatures_minimum)",
        lambda x: white(curvatures_minimum=x, curvatures_saddle=np.array([-1.0, 2.0, 3.0])),
        VALLEY,
    ),
    Number("kramers_white(curvatures_saddle)", lambda x: white(curvatures_saddle=x), -1.0),
    Number("kramers_white(barrier)", lambda x: white(barrier=x), 0.25),
    Number("kramers_white(diffusion)", lambda x: white(diffusion=x), 0.125),
    *(
        Number(f"kramers_sgd({name})", lambda x, name=name: sgd(**{name: x}), value)
        for name, value in {
            "curvature_minimum": 2.0,
            "curvature_saddle": -1.0,
            "barrier": 0.25,
            "batch_size": 2.0,
            "learning_rate": 0.125,
            "path": 0.5,
        }.items()
    ),
    *(
        Number(f"mean_first_passage_time({name})", lambda x, name=name: passage(**{name: x}), value)
        for name, value in {"start": -1.0, "end": 0.5, "reflecting": -2.0}.items()
    ),
    Option("mean_first_passage_time(num_points)", lambda n: passage(num_points=n), 101),
    Number("quasi_potential(start)", lambda x: exponent(start=x), -1.0),
    Number("quasi_potential(end)", lambda x: exponent(end=x), 0.5),
    Option("quasi_potential(num_points)", lambda n: exponent(num_points=n), 101),
    *(
        Number(f"effective_path({name})", lambda x, name=name: path(**{name: x}), value)
        for name, value in {
            "potential": 0.375,
            "curvature_minimum": 2.0,
            "curvature_saddle": -1.0,
            "barrier": 0.25,
        }.items()
    ),
    Argument("double_well(theta)", escape.double_well, THETA),
    Argument("styblinski_tang(theta)", escape.styblinski_tang, THETA),
    Number("styblinski_tang(shift_std)", lambda x: escape.styblinski_tang(THETA, x), 0.5),
    Argument("styblinski_tang_noise(theta)", lambda x: escape.styblinski_tang_noise(x, 1.0), THETA),
    Number(
        "styblinski_tang_noise(shift_std)", lambda x: escape.styblinski_tang_noise(THETA, x), 0.5
    ),
    Argument("logistic_double_well(theta)", lambda x: logistic(theta=x), THETA),
    Argument("logistic_double_well(inputs)", lambda x: logistic(inputs=x), np.eye(3)),
    Argument("logistic_double_well(labels)", lambda x: logistic(labels=x), np.array([0.0, 1, 0])),
    Argument(
        "sharpened(double_well)(theta)", lambda x: escape.sharpened(escape.double_well, 4)(x), THETA
    ),
    Number("sharpened(k)", lambda k: escape.sharpened(escape.double_well, k)(THETA), 0.5),
    Integers("escape_rate(times)", lambda t: rate(times=t), TIMES),
    Option("escape_rate(max_steps)", lambda n: rate(max_steps=n), 64),
    Number("escape_rate(learning_rate)", lambda x: rate(learning_rate=x), 0.125),
    Option("escape_rate(min_escapes)", lambda n: rate(min_escapes=n), 2),
]
test_inputs = input_tests(ARGUMENTS)
test_modes = mode_tests(ARGUMENTS)
