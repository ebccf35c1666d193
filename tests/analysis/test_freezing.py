"""Similarity of sets and freezing times, against hand-made matrices and plain loops."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sgd_diffusion.analysis.freezing import freezing_index, jaccard_similarity
from sgd_diffusion.errors import InputError


def test_similarity_of_sets():
    sets = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 0, 0]], bool)
    expected = [[1, 1 / 3, 0, 1], [1 / 3, 1, 0, 1 / 3], [0, 0, 1, 0], [1, 1 / 3, 0, 1]]
    np.testing.assert_allclose(jaccard_similarity(sets), expected)
    np.testing.assert_allclose(jaccard_similarity(np.stack([sets, sets])), [expected] * 2)
    np.testing.assert_array_equal(jaccard_similarity(np.zeros((2, 3), bool)), 1)  # no union
    assert jaccard_similarity(np.zeros((2, 0), bool)).tolist() == [[1, 1], [1, 1]]


LATER_CHANGE = np.array(
    [
        [1.0, 0.2, 0.2, 0.95, 0.95],
        [0.2, 1.0, 0.9, 0.9, 0.9],
        [0.2, 0.9, 1.0, 0.8, 0.9],
        [0.95, 0.9, 0.8, 1.0, 0.9],
        [0.95, 0.9, 0.9, 0.9, 1.0],
    ]
)


@pytest.mark.parametrize(
    ("similarity", "threshold", "tail", "strict"),
    [
        pytest.param(LATER_CHANGE, 0.9, 0, 3, id="similar to the last, not to each other"),
        pytest.param(LATER_CHANGE, 0.91, 4, 4, id="never frozen"),
        pytest.param(np.ones((4, 4)), 1.0, 0, 0, id="frozen at the beginning"),
        pytest.param(np.eye(3), 0.5, 2, 2, id="always elsewhere"),
        pytest.param(np.full((3, 3), np.nan), 0.5, 2, 2, id="nothing known"),
        pytest.param(np.ones((1, 1)), 0.5, 0, 0, id="one point"),
        pytest.param(np.zeros((2, 2)), 0.0, 0, 0, id="all is similar"),
    ],
)
def test_both_definitions(similarity, threshold, tail, strict):
    assert freezing_index(similarity, threshold=threshold) == tail
    assert freezing_index(similarity, threshold=threshold, strict=True) == strict
    both = np.stack([similarity, np.ones_like(similarity)])
    assert freezing_index(both, threshold=threshold).tolist() == [tail, 0]


@hypothesis.given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(0, 6))), st.floats(0, 1))
def test_properties(sets, threshold):
    similarity = jaccard_similarity(sets)
    assert (similarity == similarity.T).all() and (np.diagonal(similarity) == 1).all()
    assert ((similarity >= 0) & (similarity <= 1)).all()
    last = len(sets) - 1
    tail, strict = (
        int(freezing_index(similarity, threshold=threshold, strict=each)) for each in (False, True)
    )
    assert 0 <= tail <= strict <= last
    assert (similarity[tail:, last] >= threshold).all()
    assert tail == 0 or similarity[tail - 1, last] < threshold
    assert (similarity[strict:, strict:] >= threshold).all()
    assert strict == 0 or (similarity[strict - 1, strict:] < threshold).any()


@pytest.mark.parametrize("shape", [(3,), (2, 3), (0, 0)])
def test_what_is_no_similarity(shape):
    with pytest.raises(InputError, match="similarity has shape"):
        freezing_index(np.zeros(shape), threshold=0.9)


def test_what_are_no_sets():
    with pytest.raises(InputError, match="sets has shape"):
        jaccard_similarity([True, False])
    with pytest.raises(InputError, match="sets is"):
        jaccard_similarity([[0.0, 2.0]])
