"""Every public function of the limiting dynamics with every kind of input, in every mode of JAX."""

import numpy as np
from input_table import Argument, Integers, Number, Option, input_tests, mode_tests

from sgd_diffusion.theory import limiting

HYPER = limiting.Hyperparameters(0.0078125, momentum=0.5, batch_size=4)
# As many modes, and the same lags, as in the tests of motion, so that both share their programs.
MODES = np.array([1.0, 9.0, 100.0])
NOISE = np.array([2.0, 50.0, 0.0])
LAGS = np.array([1, 2, 5, 10, 20, 50, 100])
BOWL = np.array([[2.0, 1.0], [1.0, 3.0]])
POINT = np.array([3.0, 1.0])


def law(**changed):
    values = {
        "steps": 7,
        "position": 1.0,
        "velocity": 0.0,
        "eigenvalues": MODES,
        "noise": NOISE,
        "hyper": HYPER,
    }
    return limiting.mean_and_covariance(**(values | changed))


def hyper(**changed):
    return limiting.local_displacement(MODES, NOISE, HYPER._replace(**changed))


ARGUMENTS = [
    Argument("modes(eigenvalues)", lambda x: limiting.modes(x, HYPER), MODES),
    Argument("propagator(time)", lambda t: limiting.propagator(t, 1.0, HYPER), MODES, eager=False),
    Argument(
        "propagator(eigenvalues)", lambda x: limiting.propagator(1.0, x, HYPER), MODES, eager=False
    ),
    Argument(
        "stationary_covariance(eigenvalues)",
        lambda x: limiting.stationary_covariance(x, 1.0, HYPER),
        MODES,
    ),
    Argument(
        "stationary_covariance(noise)",
        lambda x: limiting.stationary_covariance(MODES, x, HYPER),
        NOISE,
    ),
    Argument(
        "stationary_covariance_matrix(hessian)",
        lambda m: limiting.stationary_covariance_matrix(m, np.eye(2), HYPER),
        BOWL,
    ),
    Argument(
        "stationary_covariance_matrix(noise_covariance)",
        lambda m: limiting.stationary_covariance_matrix(np.eye(2), m, HYPER),
        BOWL,
    ),
    Integers("mean_and_covariance(steps)", lambda k: law(steps=k), LAGS, eager=False),
    Argument("mean_and_covariance(position)", lambda x: law(position=x), NOISE, eager=False),
    Argument("mean_and_covariance(velocity)", lambda x: law(velocity=x), NOISE, eager=False),
    Integers(
        "stationary_msd(lags)",
        lambda k: limiting.stationary_msd(k, MODES, NOISE, HYPER),
        LAGS,
        eager=False,
    ),
    Argument(
        "stationary_msd(eigenvalues)",
        lambda x: limiting.stationary_msd(LAGS, x, 1.0, HYPER),
        MODES,
        eager=False,
    ),
    Argument(
        "msd_from_point(offset)",
        lambda x: limiting.msd_from_point(LAGS, x, MODES, NOISE, HYPER),
        NOISE,
        eager=False,
    ),
    Integers(
        "position_autocorrelation(lags)",
        lambda k: limiting.position_autocorrelation(k, MODES, HYPER),
        LAGS,
        eager=False,
    ),
    Integers(
        "velocity_autocorrelation(lags)",
        lambda k: limiting.velocity_autocorrelation(k, MODES, HYPER),
        LAGS,
        eager=False,
    ),
    Integers(
        "predicted_exponent(lags)",
        lambda k: limiting.predicted_exponent(k, MODES, NOISE, HYPER),
        LAGS,
        eager=False,
    ),
    Argument("decompose(drift)", lambda m: limiting.decompose(m, np.eye(2)), BOWL),
    Argument("decompose(diffusion)", lambda m: limiting.decompose(np.eye(2), m), BOWL),
    Argument(
        "probability_current(point)",
        lambda z: limiting.probability_current(z, limiting.decompose(BOWL, np.eye(2))),
        POINT,
    ),
    Argument(
        "modified_loss(offset)",
        lambda x: limiting.modified_loss(x, POINT, BOWL, np.eye(2), HYPER),
        POINT,
    ),
    Argument(
        "modified_loss(velocity)",
        lambda v: limiting.modified_loss(POINT, v, BOWL, np.eye(2), HYPER),
        POINT,
    ),
    Argument("noise_trace(gradients)", limiting.noise_trace, BOWL, takes_list=False),
    Number("Hyperparameters(learning_rate)", lambda x: hyper(learning_rate=x), 0.0078125),
    Number("Hyperparameters(momentum)", lambda x: hyper(momentum=x), 0.5),
    Number("Hyperparameters(weight_decay)", lambda x: hyper(weight_decay=x), 0.25),
    Number("Hyperparameters(batch_size)", lambda x: hyper(batch_size=x), 4.0),
    Number("annealed(factor)", lambda x: limiting.annealed(HYPER, x), 0.5),
    Option(
        "gradient_noise(part_size)",
        lambda size: limiting.gradient_noise(lambda x: x, BOWL.astype(np.float32), part_size=size),
        2,
        eager=False,
    ),
]
test_inputs = input_tests(ARGUMENTS)
test_modes = mode_tests(ARGUMENTS)
