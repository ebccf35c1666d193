"""Lags at which curves of a window are kept, and ranges of lags on which exponents are fitted."""

import numpy as np
from jaxtyping import Int

from sgd_diffusion._arrays import integer
from sgd_diffusion._least_inputs import MIN_WINDOW
from sgd_diffusion._types import IntegerLike

__all__ = ["MAX_WINDOW", "MIN_WINDOW", "STANDARD_STRIDE", "standard_lags", "standard_ranges"]

MAX_WINDOW = 10**9
STANDARD_STRIDE = 8  # between standard_lags for local exponents: a third of a decade


def standard_ranges(window: IntegerLike) -> dict[str, tuple[int, int]]:
    """Return the ranges of lags for the short-lag and the long-lag exponents of a window.

    They are `{"short": (10, 100), "long": (100, T/2)}` for windows of T >= 1000 steps. Below they
    leave out the bouncing between the first few lags, and above the last lags, which have few
    independent pairs. Shorter windows use the same shares of T as T = 1000 does, (T/100, T/10) and
    (T/10, T/2), with at least three lags in each.

    Args:
        window: T, steps of the window.

    Returns:
        First and last lag of each range.

    Raises:
        InputError: T is not an integer of at least 10.

    >>> standard_ranges(1000)
    {'short': (10, 100), 'long': (100, 500)}
    """
    window = integer("window", window, MIN_WINDOW, MAX_WINDOW, what="steps for two ranges of lags")
    middle = min(100, max(3, window // 10))
    return {"short": (max(1, middle // 10), middle), "long": (middle, window // 2)}


def standard_lags(window: IntegerLike) -> Int[np.ndarray, "lag"]:
    """Return the lags at which curves of a window are kept for fits, about 24 a decade up to T.

    They are even. Under the bouncing of period two at the edge of stability, odd and even lags
    follow two different curves. A local exponent between one of each would belong to neither.
    Windows of T < 60 steps have too few even lags for two ranges, and take all lags.

    Args:
        window: T, steps of the window.

    Returns:
        (L,) increasing integers in 1..T.

    Raises:
        InputError: T is not an integer of at least 10.

    >>> standard_lags(60).tolist()
    [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 34, 38, 42, 46, 50, 54, 60]
    """
    window = integer(
        "window",
        window,
        MIN_WINDOW,
        MAX_WINDOW,
        what="steps for power laws in the lag",
    )
    step = 2 if window >= 60 else 1
    longest = window // step
    targets = np.geomspace(1, longest, int(24 * np.log10(longest)) + 2)
    return step * np.unique(np.rint(targets).astype(int))
