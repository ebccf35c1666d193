"""All kinds of arrays and integers as arguments of planes, lines and directions, in all modes of
JAX.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from input_table import Argument, Option, input_tests, mode_tests

from sgd_diffusion.errors import InputError
from sgd_diffusion.landscape import planes
from sgd_diffusion.landscape.planes import Plane

KEY = jax.random.key(0)
KERNEL = np.array([[1.0, 2, 0], [4, 1, 3]])
DIRECTION = np.array([[3.0, 1, 5], [0, 2, 2]])
ORIGIN, FIRST, SECOND = np.array([1.0, 2, 3]), np.array([2.0, 0, 1]), np.array([0.0, 1, 5])
PLANE = Plane(ORIGIN, FIRST, SECOND)
PATH = np.array([[0.0, 1, 7], [2, 4, 1], [9, 3, 3], [5, 5, 8]])
XS = np.array([0.0, 1, 3])


def height(point):
    return (point**2).sum()


def array(name, call, value, **options):
    return Argument(name, call, value, takes_list=False, **options)


ARGUMENTS = [
    array("filter_normalize(direction)", lambda d: planes.filter_normalize(d, KERNEL), DIRECTION),
    array("filter_normalize(params)", lambda w: planes.filter_normalize(DIRECTION, w), KERNEL),
    array("layer_normalize(direction)", lambda d: planes.layer_normalize(d, KERNEL), DIRECTION),
    array("random_plane(params)", lambda w: planes.random_plane(KEY, w), KERNEL),
    array("orthonormal(origin)", lambda w: planes.orthonormal(Plane(w, FIRST, SECOND)), ORIGIN),
    array("orthonormal(first)", lambda d: planes.orthonormal(Plane(ORIGIN, d, SECOND)), FIRST),
    array("orthonormal(second)", lambda d: planes.orthonormal(Plane(ORIGIN, FIRST, d)), SECOND),
    array(
        "plane_point(origin)", lambda w: planes.plane_point(Plane(w, FIRST, SECOND), 1.0, 2), ORIGIN
    ),
    array("interpolate(start)", lambda w: planes.interpolate(w, SECOND, 0.25), ORIGIN),
    array("interpolate(end)", lambda w: planes.interpolate(ORIGIN, w, 0.25), SECOND),
    array("project(params)", lambda w: planes.project(PLANE, w), PATH),
    array("project(origin)", lambda w: planes.project(Plane(w, FIRST, SECOND), PATH), ORIGIN),
    Argument(
        "evaluate_points(coordinates)",
        lambda x: planes.evaluate_points(height, lambda point: point, x),
        PATH,
    ),
    Argument(
        "evaluate_plane(xs)", lambda xs: planes.evaluate_plane(height, PLANE, xs, [0.0, 2.0]), XS
    ),
    Argument(
        "evaluate_plane(ys)", lambda ys: planes.evaluate_plane(height, PLANE, [0.0, 2.0], ys), XS
    ),
    Argument(
        "evaluate_line(fractions)", lambda x: planes.evaluate_line(height, ORIGIN, SECOND, x), XS
    ),
]
OPTIONS = [
    Option(
        "evaluate_points(at_once)",
        lambda size: planes.evaluate_points(height, lambda x: x, XS, at_once=size),
        2,
    ),
    Option(
        "evaluate_in_chunks(chunk)",
        lambda size: list(planes.evaluate_in_chunks(height, PLANE, XS, XS, chunk=size)),
        4,
    ),
    Option(
        "evaluate_in_chunks(done)",
        lambda done: list(planes.evaluate_in_chunks(height, PLANE, XS, XS, chunk=3, done=done)),
        3,
    ),
]
PATHS = [
    array("principal_plane(path)", planes.principal_plane, PATH),
    array(
        "principal_plane(origin)",
        lambda w: planes.principal_plane(PATH, origin=w),
        ORIGIN,
        takes_none=True,
    ),
]
test_inputs = input_tests(ARGUMENTS + OPTIONS + PATHS)
test_modes = mode_tests(
    ARGUMENTS[:-4] + ARGUMENTS[-1:] + PATHS
)  # the rest is compiled anew for every input, as lines are


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float16, jnp.bfloat16, ">f8"])
def test_random_directions_for_weights_of_all_kinds(kind):
    """Apart from the table: ragged lists are pytrees."""
    np.testing.assert_allclose(
        planes.random_direction(KEY, KERNEL.astype(kind)), planes.random_direction(KEY, KERNEL)
    )


@pytest.mark.parametrize(
    "number", [2, np.uint8(2), np.array(2), np.float16(2), jnp.bfloat16(2), jnp.int32(2), [2.0]]
)
def test_numbers_of_all_kinds(number):
    call = (
        lambda: planes.plane_point(PLANE, number, 1),
        lambda: planes.interpolate(ORIGIN, SECOND, number),
    )
    if isinstance(number, list):
        for each in call:
            with pytest.raises(InputError, match=r"has shape \(1,\); expected a number"):
                each()
    else:
        np.testing.assert_array_equal(call[0](), ORIGIN + 2 * FIRST + SECOND)
        np.testing.assert_array_equal(call[1](), 2 * SECOND - ORIGIN)


def test_points_out_of_range_are_infinite_or_nan():
    """Without warnings, which are errors here."""
    single = jax.tree.map(np.float32, PLANE)
    for reach in (1e30, 1e300, np.inf):
        found = planes.evaluate_plane(height, single, [-reach, 0.0, reach], np.array([0.0, reach]))
        assert found[0, 1] == 14 and not np.isfinite(np.delete(found.ravel(), 1)).any()
        assert not np.isfinite(
            planes.evaluate_line(height, single.origin, single.second, [reach])
        ).any()


def test_planes_are_shown_in_a_few_lines():
    text = repr(Plane({"a": np.zeros((300, 300)), "b": np.zeros(3)}, *2 * [np.ones(1000)]))
    assert "90003 numbers" in text and len(text) < 300
