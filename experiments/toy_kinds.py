"""The kinds of landscapes of experiments.fractal_toy, and the square that they fill."""

EXTENT = 2.0  # the square is [-1, 1]^2
KINDS = ("fractal", "smoothed", "shuffled", "flat", "cone", "paraboloid")
RANDOM = ("fractal", "smoothed", "shuffled")
CONVEX = ("cone", "paraboloid")  # their walkers start in a corner, to have a long way down
