"""Every public function of freezing with every kind of input, in every mode of JAX."""

import functools

import numpy as np
from input_table import Argument, Number, input_tests, mode_tests

from sgd_diffusion.theory import freezing

LANDSCAPE = freezing.TwoValleys()
X = np.array([1.0, 2.0, 0.0])
Y = np.array([5.0, 3.0, 8.0])
NOISES = np.array([1.0, 2.0, 3.0])
DEEP = LANDSCAPE._replace(x1=40.0, x2=32.0, f0=4096.0)  # for noises that are whole numbers
PARAMETERS = freezing.TwoValleys(
    f0=1.5, x0=1.25, x1=0.75, x2=0.5, y_f=20.0, y_b=30.0, y_d=128.0, L_d=1.5
)


def at_fixed_y(**changed):
    values = {"y": 3.0, "learning_rate": 0.0625, "sigma": 0.125} | changed
    return freezing.fixed_y(**values, landscape=LANDSCAPE)


def on_the_way(function, **changed):
    values = {"y_grid": np.array([1.0, 2.0, 4.0]), "learning_rate": 0.0625, "sigma": 0.125}
    values |= {"start": 0.5, "rates": "closed"} | changed
    return function(**values, landscape=LANDSCAPE)


ARGUMENTS = [
    *(
        Argument(f"{name}(x)", lambda x, name=name: getattr(LANDSCAPE, name)(x, 5.0), X)
        for name in ("loss", "gradient", "hessian")
    ),
    *(
        Argument(f"{name}(y)", lambda y, name=name: getattr(LANDSCAPE, name)(2.0, y), Y)
        for name in ("loss", "gradient", "hessian")
    ),
    *(
        Argument(f"{name}(y)", getattr(LANDSCAPE, name), Y)
        for name in ("barrier", "floors", "flatnesses")
    ),
    *(
        Number(
            f"TwoValleys({name})",
            lambda value, name=name: PARAMETERS._replace(**{name: value}).hessian(X - 1, Y),
            getattr(PARAMETERS, name),
        )
        for name in PARAMETERS._fields
    ),
    Argument("effective_potential(x)", lambda x: freezing.effective_potential(x, 5, 1, DEEP), X),
    *(
        Argument(f"{name}(y)", lambda y, function=function: function(y, 1.0, DEEP), Y)
        for name, function in {
            "effective_potential": functools.partial(
                freezing.effective_potential, 2.0, convention="ito"
            ),
            "escape_times": freezing.escape_times,
            "hop_rates": freezing.hop_rates,
            "flat_occupation": freezing.flat_occupation,
        }.items()
    ),
    *(
        Argument(
            f"{name}(noise)", lambda noise, function=function: function(5.0, noise, DEEP), NOISES
        )
        for name, function in {
            "effective_potential": functools.partial(
                freezing.effective_potential, 2.0, convention="ito"
            ),
            "escape_times": freezing.escape_times,
            "hop_rates": freezing.hop_rates,
            "flat_occupation": freezing.flat_occupation,
        }.items()
    ),
    Argument(
        "freezing_point(noise)",
        lambda noise: freezing.freezing_point(noise, DEEP, epsilon=0.5),
        NOISES,
    ),
    Number(
        "freezing_point(epsilon)",
        lambda value: freezing.freezing_point(1.0, DEEP, epsilon=value),
        0.5,
    ),
    Number(
        "freezing_constant(y_f)",
        lambda value: freezing.freezing_constant(PARAMETERS._replace(y_f=value)),
        20.0,
    ),
    *(
        Number(f"fixed_y({name})", lambda value, name=name: at_fixed_y(**{name: value}), number)
        for name, number in {"y": 3.0, "learning_rate": 0.0625, "sigma": 0.125}.items()
    ),
    *(
        Argument(
            f"{function.__name__}(y_grid)",
            lambda y, function=function: on_the_way(function, y_grid=y),
            np.array([1.0, 2.0, 4.0]),
        )
        for function in (freezing.adiabatic_occupation, freezing.last_crossing)
    ),
    *(
        Number(
            f"last_crossing({name})",
            lambda value, name=name: on_the_way(freezing.last_crossing, **{name: value}),
            number,
        )
        for name, number in {"learning_rate": 0.0625, "sigma": 0.125, "start": 0.5}.items()
    ),
]
test_inputs = input_tests(ARGUMENTS)
test_modes = mode_tests(ARGUMENTS)
