"""Count boxes of sets in the plane, such as the level sets of a surface.

Counts of boxes have two problems, and there is a law for each.

The place of the grid: a set that is made by one rule again and again has boxes that fit it. Their
sizes are powers of the ratio of the rule, on the right grid; all others cover the set badly. The
counts of the best grid at the sizes that fit are an exact power law, a lower bound for all the
others. For a set without such a rule the best grid is a lucky one, and more so the fewer boxes
there are. The mean over all grids has no luck in it.

The rim: boxes stick out of the bounding box of the set, unless its sides are multiples of theirs.
If n boxes cover a side of length L, the set has boxes of the length L/n. The boxes that cover the
bounding box are E times as many as its area needs.
"""

import numpy as np
from jaxtyping import Bool, Int

from sgd_diffusion._arrays import host_array, integer_array, number
from sgd_diffusion._types import ArrayLike, NumberLike
from sgd_diffusion.errors import invalid
from sgd_diffusion.landscape.box_counting.graphs import extremes
from sgd_diffusion.landscape.box_counting.scales import (
    MIN_RANGE,
    MOST,
    TILES,
    ScalingEstimate,
    bounded_estimate,
    box_sizes,
    powers_up_to,
    scaling_estimate,
    window_means,
)

__all__ = ["box_counting_dimension", "box_counts", "level_set"]

# Sizes are powers of these: they fit sets made by a rule of such a ratio, and are dense enough.
BASES = range(2, 11)
SHORTEST = 16  # least side of a bounding box with four sizes up to a quarter of it
MIN_FITTING = 3  # sizes on one line; any two sizes are on one
COLLINEAR = 1e-6  # in logarithms of counts, which are integers below 1e6


def level_set(heights: ArrayLike, level: NumberLike) -> Bool[np.ndarray, "row column"]:
    """Return the cells of a surface that a level crosses.

    A level crosses a cell where the lowest of its four corners <= level < the highest.

    Args:
        heights: (N, M), N and M >= 2.
        level: a height, such as the median of all.

    Returns:
        (N - 1, M - 1) booleans.

    Raises:
        InputError: `heights` is not such a surface, or has NaN, as the cells of a diverged point
            are not known. Or `level` is not a finite number.

    >>> level_set([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]], 0.5).tolist()
    [[True, False]]
    """
    heights, level = host_array("heights", heights), number("level", level)
    if heights.ndim != 2 or min(heights.shape) < 2:
        raise invalid(
            "heights", f"has shape {heights.shape}", "(N, M) with N and M >= 2, one surface"
        )
    if np.isnan(heights).any():
        raise invalid(
            "heights",
            f"has {np.isnan(heights).sum()} NaN in {heights.size} numbers",
            "numbers everywhere, as a boolean image cannot say what is not known",
            "cut the surface, or fill the NaN",
        )
    lowest, highest = extremes(heights, 1)
    return (lowest <= level) & (level < highest)


def box_counts(mask: ArrayLike, sizes: ArrayLike) -> Int[np.ndarray, "size"]:
    """Return the number of boxes that cover the set pixels of an image, on the best grid.

    For box size s it is the minimum over all s^2 offsets of the grid by whole pixels. Boxes may
    stick out of the image. Nothing is set outside it, so that an empty margin changes nothing.

    Args:
        mask: (N, M) booleans, or zeros and ones.
        sizes: (K,) sides of the boxes in pixels, positive integers.

    Returns:
        (K,) integers.

    Raises:
        InputError: `mask` is not one image of booleans or of zeros and ones, or `sizes` are not
            positive integers.

    >>> box_counts(np.eye(6, dtype=bool), [1, 2, 3, 4]).tolist()
    [6, 3, 2, 2]
    """
    mask = _image(mask)
    sizes = integer_array("sizes", sizes, 1, MOST)
    return np.array([np.count_nonzero(boxes) for _, boxes in _coverings(mask, sizes)])


def box_counting_dimension(
    mask: ArrayLike, *, sizes: ArrayLike | None = None, tol: NumberLike = 0.1
) -> ScalingEstimate:
    r"""Return the box dimension of the set pixels of an image: number of boxes ~ size^-dimension.

    If at least three sizes over a factor of 8 fit the set exactly, these are fitted. Their
    `box_counts` lie on the power law that bounds those of all sizes from below, and `curve` is
    `box_counts`. Some sets get their exact dimension: those made by one rule again and again
    (Sierpinski's triangle and carpet, Cantor dust), lines along the grid or its diagonal, and
    filled rectangles of any sides. With boxes of the lengths a along the longer and b along the
    shorter side that fill the bounding box, the law is a N = c b^(1 - dimension).

    For all other sets, `curve` is the mean number of boxes over all places of the grid. For a
    bounding box of L x M pixels the law is

        N = c size^-dimension E^(dimension - 1),    E = (L + size - 1) (M + size - 1) / (L M).

    So what sticks out counts for a filled box and not for a closed curve.

    Formula:
        Box-counting dimension. $N(s) \propto s^{-D}$ (definition)

    Args:
        mask: (N, M) booleans, or zeros and ones, N and M >= 32 for the default sizes.
        sizes: (K,) sides of the boxes in pixels. None takes all powers of 2, 3, ..., 10 up to a
            quarter of the shorter side of the bounding box (of sides from 16 pixels on).
        tol: largest deviation on the plateau that is fitted; see
            `landscape.box_counting.scales`.

    Returns:
        `scales.ScalingEstimate` of a dimension from 0 to 2. Its status is NOT_POSITIVE where
        nothing is set, and OUT_OF_RANGE where there is no plateau. The error of a set that fewer
        than five windows hold is NaN.

    Raises:
        InputError: `mask` is not one image of booleans or of zeros and ones or too small, or
            `sizes` or `tol` is not usable.

    Notes:
        Koch curves of 200 to 2187 pixels, in two directions, gave 1.245 to 1.28 for 1.262, and a
        disc gave 1.98. Lines of one pixel in every column that rise by 0.4 to 0.9 of a pixel give
        0.93 to 0.94: seen from near they are thinner than from far. A set that follows a rule only
        nearly, such as Cantor dust with one pixel too many, counts as one of the others and comes
        out low.

        Dense level sets come out low. Median level sets of exact fractional Brownian surfaces of
        1024 x 1024 points gave, on average over all sizes, 1.62, 1.43 and 1.25 for H = 0.3, 0.5 and
        0.7, whose level sets have 2 - H. The root mean square of the errors was 1.9 to 2.0 times
        the scatter from surface to surface at 256 x 256 points, which is 0.04 to 0.06. At 1024 x
        1024 points it was 1.8 to 3.6 times the scatter of 0.03 to 0.05. Level sets of small images
        seldom
        have a plateau: fit all sizes.
    """
    mask = _image(mask)
    checked, sides = box_sizes(sizes, mask.shape), _bounding_sides(mask)
    if sizes is None:
        checked = powers_up_to(
            min([*mask.shape, *(side for side in sides if side >= SHORTEST)]) // TILES, BASES
        )
    columns = []
    for size, (occupied, boxes) in zip(checked, _coverings(mask, checked), strict=True):
        columns.append(
            (
                boxes.size * window_means(boxes),
                occupied.size / size**2 * window_means(occupied),
            )
        )
    best, mean = np.stack(columns, axis=2)
    rim = np.prod([(side + checked - 1) / side for side in sides if side >= checked[-1]], axis=0)
    fit = scaling_estimate(
        checked,
        mean * rim,
        lengths=checked / rim,
        value=lambda exponent: -exponent,
        bounds=(0.0, 2.0),
        tol=tol,
    )
    law = _fitting(checked, best, sides) if mask.any() else None
    if law is None:
        return fit._replace(curve=mean[0])
    fit = bounded_estimate(checked, *law, value=lambda exponent: 1 - exponent, bounds=(0.0, 2.0))
    return fit._replace(curve=best[0])


def _bounding_sides(mask):
    """Sides of the smallest rectangle that holds the set pixels, the longer first."""
    places = (np.flatnonzero(mask.any(axis=axis)) for axis in (0, 1))
    return sorted(
        (int(place[-1] - place[0]) + 1 if len(place) else 0 for place in places), reverse=True
    )


def _fitting(sizes, curves, sides):
    """Lengths (K,), curves (10, K) and which sizes fit the set, or None.

    The curves are a power law in the lengths at the sizes that fit.
    """
    longer, shorter = (
        side / np.ceil(side / sizes) if side >= sizes[-1] else sizes for side in sides
    )
    curves = curves * longer
    x, y = np.log(shorter), np.log(curves[0])
    x = x - x.mean()
    first, second = np.nonzero(np.greater.outer(x, x))
    slopes = (y[first] - y[second]) / (x[first] - x[second])
    above = y - np.outer(slopes, x)
    lines = above.min(axis=1)  # the highest line below all points is one through two of them
    fitted = above[lines.argmax()] - lines.max() < COLLINEAR
    enough = (
        len(np.unique(shorter[fitted])) >= MIN_FITTING
        and sizes[fitted][-1] >= MIN_RANGE * sizes[fitted][0]
    )
    return (shorter, curves, fitted) if enough else None


def _coverings(mask, sizes):
    """For each size, which boxes of all grids hold a set pixel, and which boxes of the best grid.

    The first array is (N + size - 1, M + size - 1).
    """
    table = np.pad(
        mask.cumsum(axis=0, dtype=np.int32).cumsum(axis=1, dtype=np.int32), ((1, 0), (1, 0))
    )
    for size in map(int, sizes):
        (top, bottom), (left, right) = (_box_edges(length, size) for length in mask.shape)
        bands = table[bottom] - table[top]
        # Indexed by the first pixel of the box, from 1 - size on.
        occupied = bands[:, right] > bands[:, left]
        counts = _by_offset(occupied, size)
        # Of equal grids, this takes the one aligned with the image.
        row, column = np.unravel_index(counts[::-1, ::-1].argmin(), counts.shape)
        yield occupied, occupied[size - 1 - row :: size, size - 1 - column :: size]


def _box_edges(length, size):
    """First pixel and the one after the last, within the image, of every box that meets it."""
    first = np.arange(1 - size, length)
    return np.maximum(first, 0), np.minimum(first + size, length)


def _by_offset(occupied, size):
    """Number of occupied boxes for every offset of the grid, (size, size)."""
    padded = np.pad(occupied, [(0, -length % size) for length in occupied.shape])
    rows, columns = (length // size for length in padded.shape)
    by_row = padded.reshape(rows, size, columns * size).sum(axis=0, dtype=np.int32)
    return by_row.reshape(size, columns, size).sum(axis=1)


def _image(mask):
    mask = host_array("mask", mask)
    if mask.ndim != 2 or mask.size == 0 or not np.isin(mask, (0, 1)).all():
        raise invalid(
            "mask",
            f"has shape {mask.shape} and {np.count_nonzero(~np.isin(mask, (0, 1)))} values "
            "other than 0 and 1",
            "(N, M) booleans, as level_set gives, or zeros and ones",
        )
    return mask.astype(bool)
