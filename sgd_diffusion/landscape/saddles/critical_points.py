"""Find minima and saddles of a loss to rounding, by Newton's method with the dense Hessian."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from sgd_diffusion._arrays import in_double, integer, number
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._pytrees import full_precision
from sgd_diffusion._types import IntegerLike, NumberLike, PyTree
from sgd_diffusion.landscape.saddles.arguments import check_loss, double_point, function_of_vectors

__all__ = ["CriticalPoint", "critical_point"]

MOST = 2**31 - 1
FLAT = 1e-12  # of the largest absolute eigenvalue; a step along a flatter direction is not longer


@shown_briefly
class CriticalPoint(NamedTuple):
    """A point at which the gradient vanishes, and the curvature there.

    Attributes:
        point: pytree like the start, in float64.
        loss: () at the point.
        gradient_norm: () |g|.
        eigenvalues: (n,) of the Hessian, rising.
        direction: pytree like the point, the unit eigenvector of the lowest eigenvalue. At a saddle
            of index 1 it is the direction of escape, with either sign.
        index: () number of negative eigenvalues: 0 at a minimum. Those within rounding of zero do
            not count.
        num_flat: () number of eigenvalues within rounding of zero. With any of them, the point is
            one of a valley or of a ridge of such points.
        num_steps: () steps that were made.
        converged: () whether the gradient norm is within the tolerance, and the index is the one
            that was asked for.
    """

    point: PyTree
    loss: Float[Array, "*maps"]
    gradient_norm: Float[Array, "*maps"]
    eigenvalues: Float[Array, "*maps n"]
    direction: PyTree
    index: Int[Array, "*maps"]  # type: ignore[assignment]
    num_flat: Int[Array, "*maps"]
    num_steps: Int[Array, "*maps"]
    converged: Bool[Array, "*maps"]


def critical_point(
    loss: Callable[[PyTree], Any],
    start: PyTree,
    *,
    index: IntegerLike = 1,
    tolerance: NumberLike = 1e-10,
    max_step: NumberLike = 0.1,
    max_steps: IntegerLike = 100,
) -> CriticalPoint:
    r"""Return the minimum or the saddle that Newton's method with eigenvector following finds.

    A step goes uphill along the eigenvectors of the lowest `index` eigenvalues, and downhill along
    all others. Near a critical point of that index it is Newton's step, which squares the distance.
    Elsewhere it does not fall into points of another index, as Newton's step does. Index 0 finds a
    minimum, index 1 a saddle between two of them. A step costs n products with the Hessian and its
    eigenvalues, n^3 operations.

    It is computed in float64, in and out of 64-bit mode, and can be jitted and mapped.

    Formula:
        Eigenvector following. $\Delta = -\sum_i \sigma_i \frac{g_i}{\lvert \lambda_i \rvert} v_i$
        (Cerjan & Miller, J. Chem. Phys. 75, 2800, 1981, with absolute eigenvalues; sigma is -1 for
        the lowest `index` of them, and 1 for all others)

    Args:
        loss: `point -> ()`, twice differentiable. A network with ReLU is not, and Newton's method
            does not settle at its kinks.
        start: pytree of floating arrays, n numbers in all, near the point that is looked for.
        index: number of negative eigenvalues that are wanted.
        tolerance: gradient norm at which it has converged.
        max_step: the longest step, in units of the point.
        max_steps: steps after which it ends unconverged.

    Returns:
        `CriticalPoint`. Look at `converged` before the rest: it is False where the search ended
        elsewhere, which is then described as it is.

    Raises:
        InputError: the loss is no function or does not return one number, the start has other than
            finite floating arrays, or an option is out of range.

    >>> saddle = critical_point(lambda x: x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2,
    ...                         jnp.array([0.3, 0.2]))
    >>> saddle.eigenvalues.tolist(), saddle.index.item(), saddle.converged.item()
    ([-1.0, 2.0], 1, True)
    """
    with in_double(), full_precision():
        point = double_point("start", start)
        flat, unravel = ravel_pytree(point)
        check_loss(loss, point)
        wanted = integer("index", index, 0, flat.size, what="(the number of coordinates)")
        limits = (
            number("tolerance", tolerance, above=0),
            number("max_step", max_step, above=0),
            integer("max_steps", max_steps, 0, MOST),
        )
        return _followed(function_of_vectors(loss, unravel), flat, unravel, wanted, *limits)


class _Search(NamedTuple):
    point: jax.Array
    gradient: jax.Array
    eigenvalues: jax.Array
    vectors: jax.Array
    steps: jax.Array


def _followed(loss, flat, unravel, wanted, tolerance, max_step, max_steps):
    gradient, hessian = jax.grad(loss), jax.jacfwd(jax.grad(loss))

    def at(point, steps):
        curvature = hessian(point)
        values, vectors = jnp.linalg.eigh((curvature + curvature.T) / 2)
        return _Search(point, gradient(point), values, vectors, steps)

    def unfinished(search):
        away = jnp.linalg.norm(search.gradient)
        return (away > tolerance) & (search.steps < max_steps)

    def step(search):
        along = search.gradient @ search.vectors
        size = abs(search.eigenvalues)
        size = jnp.maximum(size, FLAT * size.max())
        uphill = np.arange(len(flat)) < wanted
        move = jnp.where(uphill, 1.0, -1.0) * along / jnp.where(size > 0, size, 1)
        length = jnp.linalg.norm(move)
        move = move * jnp.minimum(1, max_step / jnp.where(length > 0, length, 1))
        return at(search.point + search.vectors @ move, search.steps + 1)

    search = jax.lax.while_loop(unfinished, step, at(flat, jnp.int32(0)))
    values, norm = search.eigenvalues, jnp.linalg.norm(search.gradient)
    rounding = len(flat) * jnp.finfo(values.dtype).eps * abs(values).max(initial=0)
    index = (values < -rounding).sum(dtype=jnp.int32)
    return CriticalPoint(
        unravel(search.point),
        loss(search.point),
        norm,
        values,
        unravel(search.vectors[:, 0]),
        index,
        (abs(values) <= rounding).sum(dtype=jnp.int32),
        search.steps,
        (norm <= tolerance) & (index == wanted),
    )
