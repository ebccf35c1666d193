"""Place planes and lines in weight space, and evaluate the loss on them.

Parameters are any pytree of arrays. A `Plane` has an origin and two directions like it. Its points
are origin + x first + y second. The directions say what x and y mean:

- `random_plane`: normalized directions. A filter moves by |x| times its own norm, so that x and y
  are in units of the norm of the weights. Two random directions are nearly orthogonal, not exactly.
- `principal_plane`: orthonormal directions. Here x and y are distances in weight units.
- `orthonormal`: makes any plane orthonormal, for instance one along given directions,
  Plane(origin, first, second).

Two directions show little of a space with many. Most of a path lies off any plane; `project` says
how far off. If a network keeps running averages of batch norm, they belong to one point. The loss
decides what happens to them at the other points.

All functions are pure JAX in the precision of the origin (or of `params`), leaf by leaf: float64
where its numbers have 8 bytes, and float32 otherwise. Everything else is cast to it, and a loss is
called with such points. All functions can be jitted, and mapped with `jax.vmap` over planes and
members; only `evaluate_in_chunks` runs on the host.
"""

from sgd_diffusion.landscape.planes.directions import (
    filter_normalize,
    layer_normalize,
    random_direction,
)
from sgd_diffusion.landscape.planes.evaluation import (
    evaluate_in_chunks,
    evaluate_line,
    evaluate_plane,
    evaluate_points,
)
from sgd_diffusion.landscape.planes.plane import (
    Plane,
    Projection,
    interpolate,
    orthonormal,
    plane_point,
    principal_plane,
    project,
    random_plane,
)

__all__ = [
    "Plane",
    "Projection",
    "evaluate_in_chunks",
    "evaluate_line",
    "evaluate_plane",
    "evaluate_points",
    "filter_normalize",
    "interpolate",
    "layer_normalize",
    "orthonormal",
    "plane_point",
    "principal_plane",
    "project",
    "random_direction",
    "random_plane",
]
