"""The least that some estimates take.

Command lines show and check these numbers without importing the estimates.
"""

MIN_WINDOW = 10  # steps; fewer have no room for two ranges of lags
MIN_POINTS = 20  # of a sample; their standard deviation is known to 16 percent, fewer show no tail
MIN_REPLICATES = 10  # the standard deviation of ten is itself known to 24 percent
MIN_ALPHA = 0.3  # stability index of a law
# Steps of a walk before its final entry into the basin and after it.
MIN_BEFORE, MIN_AFTER = 60, 300
