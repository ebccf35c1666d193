"""When a path has decided where it leads: similarity of ends, and the time of the last change."""

import numpy as np
from jaxtyping import Float, Int

from sgd_diffusion._arrays import booleans, host_array, number
from sgd_diffusion._types import ArrayLike, HostArray, NumberLike
from sgd_diffusion.errors import invalid

__all__ = ["freezing_index", "jaccard_similarity"]


def jaccard_similarity(sets: ArrayLike) -> Float[HostArray, "*shape set set"]:
    r"""Return the Jaccard similarity of any two sets.

    Formula:
        Jaccard similarity. $J(A, B) = |A \cap B| / |A \cup B|$ (Jaccard, New Phytol. 11, 37, 1912)

    Args:
        sets: (..., K, n) booleans; entry (k, i) says whether set k has element i.

    Returns:
        (..., K, K) float64 in 0..1, symmetric. Two empty sets are alike: 1.

    Raises:
        InputError: not booleans with at least two axes.

    >>> jaccard_similarity([[True, True, False], [False, True, True]]).round(3).tolist()
    [[1.0, 0.333], [0.333, 1.0]]
    """
    members = np.asarray(booleans("sets", host_array("sets", sets)))
    if members.ndim < 2:
        raise invalid("sets", f"has shape {members.shape}", "(..., K, n), K sets of n elements")
    members = members.astype(np.float64)  # exact up to 2^53 elements, and products of it are fast
    common = members @ np.swapaxes(members, -1, -2)
    sizes = members.sum(axis=-1)
    union = sizes[..., :, None] + sizes[..., None, :] - common
    return np.where(union > 0, common / np.where(union > 0, union, 1), 1.0)


def freezing_index(
    similarity: ArrayLike, *, threshold: NumberLike, strict: bool = False
) -> Int[HostArray, "*shape"]:
    r"""Return the first point of a path from which on all lead to the same place.

    Formula:
        Freezing time. $t_f = \min \{ t : J(s, T) \geq \theta \;\forall s \geq t \}$, strictly
        $\min \{ t : J(s, s') \geq \theta \;\forall s, s' \geq t \}$ (Yang et al., arXiv:2601.10962)

    Args:
        similarity: (..., K, K) of what the points lead to, in the order of the path; symmetric.
        threshold: in 0..1; two points lead to the same place if they are at least so similar.
        strict: whether any two later points have to be similar, or each of them and the last one.

    Returns:
        (...) integers in 0..K-1. K - 1 says that the path was not frozen before its end. NaN counts
        as not similar.

    Raises:
        InputError: no square matrices, or the threshold is outside 0..1.

    >>> similarity = [[1.0, 0.5, 0.5], [0.5, 1.0, 0.9], [0.5, 0.9, 1.0]]
    >>> int(freezing_index(similarity, threshold=0.9)), int(freezing_index(similarity, threshold=1))
    (1, 2)
    """
    similarity = host_array("similarity", similarity)
    threshold = number("threshold", threshold, at_least=0, at_most=1)
    if similarity.ndim < 2 or similarity.shape[-1] != similarity.shape[-2] or not similarity.size:
        raise invalid("similarity", f"has shape {similarity.shape}", "(..., K, K), K at least 1")
    alike = similarity >= threshold
    if strict:
        # Row t from t on: whether it is alike to all later points.
        earlier = np.tri(alike.shape[-1], k=-1, dtype=bool)
        tail = (alike | earlier).all(axis=-1)
    else:
        tail = alike[..., -1].copy()
    tail[..., -1] = True  # the end leads to itself
    stays = np.logical_and.accumulate(tail[..., ::-1], axis=-1)
    return np.asarray(alike.shape[-1] - stays.sum(axis=-1))
