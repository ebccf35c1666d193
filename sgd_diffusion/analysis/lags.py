"""Which lags of a window curves are kept at, and on which ranges of lags exponents are fitted."""

import numpy as np

from sgd_diffusion._arrays import integer

__all__ = ["MAX_WINDOW", "MIN_WINDOW", "STANDARD_STRIDE", "standard_lags", "standard_ranges"]

MIN_WINDOW = 10  # fewer steps have no two ranges of lags
MAX_WINDOW = 10**9
STANDARD_STRIDE = 8  # between standard_lags for local exponents: a third of a decade


def standard_ranges(window_length):
    """Ranges of lags on which short-lag and long-lag exponents of a window are fitted.

    `{"short": (10, 100), "long": (100, T/2)}` for windows of T >= 1000 steps: the bouncing
    between the first few lags is left out below, and the last lags, for which few independent pairs
    are left, above. Shorter windows use the same shares of T as T = 1000 does, (T/100, T/10) and
    (T/10, T/2), with at least three lags in each.

    Raises:
        InputError: T is not an integer of at least 10.

    >>> standard_ranges(1000)
    {'short': (10, 100), 'long': (100, 500)}
    """
    window_length = integer(
        "window_length", window_length, MIN_WINDOW, MAX_WINDOW, what="steps for two ranges of lags"
    )
    middle = min(100, max(3, window_length // 10))
    return {"short": (max(1, middle // 10), middle), "long": (middle, window_length // 2)}


def standard_lags(window_length):
    """Lags at which curves of a window are kept for fits, about 24 a decade, as far as T.

    Even lags alone: under the bouncing of period two at the edge of stability odd and even lags
    follow two different curves, and a local exponent between one of each would be neither's.
    Windows of T < 60 steps, which have too few even lags for two ranges, take all.

    Returns:
        (L,) increasing integers in 1..T.

    Raises:
        InputError: T is not an integer of at least 10.

    >>> standard_lags(60).tolist()
    [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 34, 38, 42, 46, 50, 54, 60]
    """
    window_length = integer(
        "window_length",
        window_length,
        MIN_WINDOW,
        MAX_WINDOW,
        what="steps for power laws in the lag",
    )
    step = 2 if window_length >= 60 else 1
    longest = window_length // step
    targets = np.geomspace(1, longest, int(24 * np.log10(longest)) + 2)
    return step * np.unique(np.rint(targets).astype(int))
