"""Box counting with every kind of input, in every mode of JAX."""

import jax
import numpy as np
from input_table import Argument, Integers, Number, Option, input_tests, mode_tests

from sgd_diffusion.landscape import box_counting

KEY = jax.random.key(0)
HEIGHTS = np.random.default_rng(0).integers(0, 101, size=(34, 33)).astype(float)
MASK = (HEIGHTS > 60).astype(float)
GRAPHS = {
    name: getattr(box_counting, name)
    for name in ("differential_box_counting", "oscillation_dimension", "variogram_exponent")
}
SIZES = np.array([1, 2, 3, 5, 8])
CALIBRATION = box_counting.Calibration(
    *map(
        np.array,
        ([0.25, 0.5, 0.75], [2.75, 2.5, 2.25], [2.8, 2.5, 2.1], [0.1, 0.1, 0.1], [20, 20, 20]),
    )
)
ESTIMATE = box_counting.oscillation_dimension(HEIGHTS, tol=np.inf)


def calibrate(**options):
    def estimator(heights):
        return ESTIMATE._replace(value=heights.mean())

    return box_counting.calibrate(
        KEY,
        estimator,
        **{"size": 2, "truth": box_counting.graph_dimension, "hursts": [0.3, 0.6], "repeats": 10}
        | options,
    )


ARGUMENTS = [
    Argument(
        "box_counting_dimension(mask)",
        lambda mask: box_counting.box_counting_dimension(mask, tol=np.inf),
        MASK,
    ),
    Argument("box_counts(mask)", lambda mask: box_counting.box_counts(mask, [1, 2, 3]), MASK),
    Argument("level_set(heights)", lambda heights: box_counting.level_set(heights, 50.5), HEIGHTS),
    *(
        Argument(
            f"{name}(heights)",
            lambda heights, estimator=estimator: estimator(heights, tol=np.inf),
            HEIGHTS,
        )
        for name, estimator in GRAPHS.items()
    ),
    Integers(
        "box_counting_dimension(sizes)",
        lambda sizes: box_counting.box_counting_dimension(MASK, sizes=sizes, tol=np.inf),
        SIZES,
        takes_none=True,
    ),
    Integers("box_counts(sizes)", lambda sizes: box_counting.box_counts(MASK, sizes), SIZES),
    *(
        Integers(
            f"{name}(sizes)",
            lambda sizes, estimator=estimator: estimator(HEIGHTS, sizes=sizes, tol=np.inf),
            SIZES,
            takes_none=True,
        )
        for name, estimator in GRAPHS.items()
    ),
    Number(
        "Calibration.dimension(confidence)",
        lambda share: CALIBRATION.dimension(ESTIMATE, confidence=share),
        0.5,
    ),
    Number("level_set(level)", lambda level: box_counting.level_set(HEIGHTS, level), 50.5),
    Option("calibrate(size)", lambda size: calibrate(size=size), 2),
    Option("calibrate(repeats)", lambda repeats: calibrate(repeats=repeats), 10),
]
test_inputs = input_tests(ARGUMENTS)
test_modes = mode_tests(ARGUMENTS)
