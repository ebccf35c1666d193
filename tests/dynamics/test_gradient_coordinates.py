import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgd_diffusion.dynamics.gradient_coordinates import draw_coordinates
from sgd_diffusion.dynamics.window import flatten
from sgd_diffusion.errors import InputError
from sgd_diffusion.problems.objectives import Problem


def layered(sizes):
    """A problem whose layers have so many parameters, in two leaves each where there is more than
    one.
    """

    def init(key):
        return {
            f"layer{number:02d}": {"a": jnp.zeros((size - 1, 1)), "b": jnp.zeros(())}
            if size > 1
            else jnp.zeros(1)
            for number, size in enumerate(sizes)
        }, ()

    return Problem(init=init, loss=None, examples=jnp.zeros(1))


def drawn(coordinates):
    """Coordinates of every layer, in their order."""
    return np.unique(coordinates.layers, return_counts=True)[1].tolist()


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ((42, 7), 20, [14, 6]),  # 5 of each, then 9 and 1 of the other 10
        (
            (2, 10, 100),
            60,
            [2, 10, 48],
        ),  # two layers are full, and what they cannot give comes from the third
        ((100, 100, 800), 120, [26, 26, 68]),  # 20 of each, then 6, 6, 48
        ((5, 5, 5), 3, [1, 1, 1]),
        ((1, 1000), 2, [1, 1]),
        ((3, 4), 7, [3, 4]),
        ((9,), 4, [4]),
    ],
)
def test_half_of_the_coordinates_is_shared_out_equally_and_half_by_size(sizes, count, expected):
    assert drawn(draw_coordinates(layered(sizes), count)) == expected


@settings(deadline=None, max_examples=20)
@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=12), data=st.data())
def test_coordinates_stand_for_all_parameters(sizes, data):
    count = data.draw(st.integers(len(sizes), sum(sizes)))
    found = draw_coordinates(layered(sizes), count)
    assert all(len(values) == count for values in found)
    assert (
        (np.diff(found.indices) > 0).all()
        and found.indices[0] >= 0
        and found.indices[-1] < sum(sizes)
    )
    owners = np.repeat([f"layer{number:02d}" for number in range(len(sizes))], sizes)
    assert (owners[found.indices] == found.layers).all()
    totals = [found.weights[found.layers == layer].sum() for layer in np.unique(owners)]
    np.testing.assert_allclose(totals, sizes, rtol=1e-12)
    again = draw_coordinates(layered(sizes), count)
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


def test_chosen_layers_alone_are_drawn_from(regression):
    found = draw_coordinates(regression, 5, layers=["output"])
    assert set(found.layers) == {"output"} and found.weights.sum() == pytest.approx(7)
    params, _ = regression.init(jax.random.key(0))
    np.testing.assert_array_equal(
        flatten(params)[found.indices], params["output"][found.indices - 42]
    )
    assert set(draw_coordinates(regression, 5, layers=["output", "hidden"]).layers) == {
        "hidden",
        "output",
    }


def test_every_parameter_of_a_layer_is_drawn_equally_often():
    """100 equal layers give 10 of 40 parameters each: every position in a layer is drawn 25 times,
    with variance 100 * 0.25 * 0.75, within 4.5 standard errors (40 positions at once).
    """
    found = draw_coordinates(layered([40] * 100), 1000)
    counts = np.bincount(found.indices % 40, minlength=40)
    assert counts.sum() == 1000 and np.abs(counts - 25).max() < 4.5 * np.sqrt(100 * 0.25 * 0.75)


def test_no_coordinates_are_none(regression):
    assert [values.shape for values in draw_coordinates(regression, 0)] == [(0,), (0,), (0,)]


@pytest.mark.parametrize(
    ("count", "layers", "words"),
    [
        (50, None, "gradient_samples is 50; expected 2 to 49"),
        (1, None, "gradient_samples is 1; expected 2 to 49"),
        (8, ("output",), "gradient_samples is 8; expected 1 to 7"),
        (
            5,
            ("hidden", "stem"),
            r"gradient_layers is \('hidden', 'stem'\).*expected some of hidden, output",
        ),
    ],
)
def test_what_the_layers_cannot_give_is_refused(regression, count, layers, words):
    with pytest.raises(InputError, match=words):
        draw_coordinates(regression, count, layers=layers)
