"""The noise of gradients between examples: what the theory needs to know of a network."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgd_diffusion._arrays import in_double, integer, real_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._pytrees import checked_floating, full_precision, mean_over_parts
from sgd_diffusion._types import IntegerLike, PyTree
from sgd_diffusion.errors import invalid

__all__ = ["GradientNoise", "gradient_noise", "noise_trace"]


MOST = 2**31 - 1  # entries along an axis


@shown_briefly
class GradientNoise(NamedTuple):
    """Per-example gradients: their variance in all directions, and along some.

    Attributes:
        trace: () Tr Sigma, the variance summed over all parameters.
        trace_error: () its standard error, for examples that are a sample.
        along: (m,) q . Sigma q along each vector.
        along_error: (m,) its standard error.
        mean: (m,) the mean gradient along each vector.
    """

    trace: Float[Array, ""]
    trace_error: Float[Array, ""]
    along: Float[Array, "m"]
    along_error: Float[Array, "m"]
    mean: Float[Array, "m"]


def noise_trace(per_example_gradients: PyTree) -> Float[Array, ""]:
    r"""Return the trace of the covariance of per-example gradients.

    Formula:
        Trace of the gradient noise. $\mathrm{Tr}\, \Sigma = \frac{1}{n} \sum_{i=1}^n \lVert g_i -
        \bar{g} \rVert^2$ (definition, for mini-batches drawn from these n examples)

    Args:
        per_example_gradients: pytree of arrays (n, ...), such as that of a vmapped gradient.

    Returns:
        () sum over all parameters of the variance with n in the denominator, float64. For batches
        of S without replacement, Sigma is (n - S) / (n - 1) of it.

    Raises:
        InputError: the leaves are no arrays of real numbers with the same leading axis of at least
            one example.

    >>> noise_trace([[1.0, 0.0], [3.0, 0.0]]).item()
    1.0
    """
    gradients = per_example_gradients
    if not any(hasattr(leaf, "shape") for leaf in jax.tree.leaves(gradients)):
        gradients = real_array("per_example_gradients", gradients)  # lists of numbers
    with in_double():
        leaves = [
            jnp.asarray(
                real_array(f"per_example_gradients{jax.tree_util.keystr(path)}", leaf), jnp.float64
            )
            for path, leaf in jax.tree.leaves_with_path(gradients)
        ]
        lengths = {leaf.shape[:1] for leaf in leaves}
        if len(lengths) != 1 or lengths & {(), (0,)}:
            raise invalid(
                "per_example_gradients",
                f"has leaves of shapes {[leaf.shape for leaf in leaves]}",
                "(n, ...), with the same n >= 1 for all",
            )
        return jnp.stack([leaf.var(axis=0).sum() for leaf in leaves]).sum()


def gradient_noise(
    gradients: Callable[[PyTree], PyTree],
    examples: PyTree,
    *,
    vectors: PyTree | None = None,
    part_size: IntegerLike = 100,
) -> GradientNoise:
    r"""Return the noise of the gradients of all examples, computed one part after the other.

    The examples are gone through twice: for the mean gradient, and for the squared deviations from
    it. Memory is for the gradients of one part.

    Args:
        gradients: `examples (B, ...) -> gradient of each`, a pytree of floating arrays (B, ...),
            such as `jax.vmap(jax.grad(loss), (None, 0))` at some parameters.
        examples: pytree of arrays with n >= 2 examples along the leading axis. Give a random
            augmentation its keys here, and an example as often as it is to be augmented.
        vectors: pytree of m orthonormal vectors, like one gradient with a leading axis of m, as in
            `landscape.curvature.Eigenpairs`; none when None.
        part_size: examples whose gradients are in memory at a time.

    Returns:
        `GradientNoise` in the precision of the gradients, with n in the denominator of variances.

    Raises:
        InputError: there are fewer than two examples; the gradients are not floating, or do not
            have the leading axis of their examples; or the vectors do not match them.
    """
    part_size = integer("part_size", part_size, 1, MOST)
    lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(examples)}
    if len(lengths) != 1 or lengths & {(), (0,), (1,)}:
        raise invalid(
            "examples",
            f"have the leading axes {sorted(lengths)}",
            "n >= 2 examples along the leading axis of all leaves",
        )
    ((count,),) = lengths
    examples = jax.tree.map(jnp.asarray, examples)
    sizes = _check_gradients(gradients, examples, count)
    rows = _rows(vectors, sizes)

    def flat(part):
        leaves = jax.tree.leaves(gradients(part))
        return [leaf.reshape(len(leaf), math.prod(leaf.shape[1:])) for leaf in leaves]

    with full_precision():
        mean, _ = mean_over_parts(
            lambda _, part: [leaf.mean(axis=0) for leaf in flat(part)], examples, part_size
        )

        def moments(_, part):
            apart = [leaf - center[None] for leaf, center in zip(flat(part), mean, strict=True)]
            squares = sum((leaf**2).sum(axis=1) for leaf in apart)
            along = sum((leaf @ row.T for leaf, row in zip(apart, rows, strict=True))) ** 2
            return squares.mean(), (squares**2).mean(), along.mean(axis=0), (along**2).mean(axis=0)

        (trace, fourth, along, along_fourth), _ = mean_over_parts(moments, examples, part_size)
        centers = sum(row @ center for row, center in zip(rows, mean, strict=True))
        return GradientNoise(
            trace, _error(trace, fourth, count), along, _error(along, along_fourth, count), centers
        )


def _check_gradients(gradients, examples, count):
    """The shapes of one gradient, leaf by leaf."""
    found = jax.eval_shape(gradients, examples)
    checked_floating("gradients", found)
    shapes = [leaf.shape for leaf in jax.tree.leaves(found)]
    if any(shape[:1] != (count,) for shape in shapes):
        raise invalid(
            "gradients",
            f"returned shapes {shapes} for {count} examples",
            f"({count}, ...), a gradient for each example",
            "map the gradient of one example with jax.vmap",
        )
    return [shape[1:] for shape in shapes]


def _rows(vectors, shapes):
    """The vectors (m, size) leaf by leaf; none is (0, size)."""
    sizes = [math.prod(shape) for shape in shapes]
    if vectors is None:
        return [jnp.zeros((0, size)) for size in sizes]
    leaves = [jnp.asarray(real_array("vectors", leaf)) for leaf in jax.tree.leaves(vectors)]
    lengths = {leaf.shape[:1] for leaf in leaves}
    if [leaf.shape[1:] for leaf in leaves] != shapes or len(lengths) != 1:
        raise invalid(
            "vectors",
            f"have the shapes {[leaf.shape for leaf in leaves]}",
            f"(m, ...) before the shapes {shapes} of a gradient",
        )
    return [leaf.reshape(len(leaf), size) for leaf, size in zip(leaves, sizes, strict=True)]


def _error(mean, square, count):
    return jnp.sqrt(jnp.maximum(square - mean**2, 0) / (count - 1))
