"""Curvature where windows end: the Hessian's eigenvalues and density, and gradients along them.

Two curvatures of a network with batch normalization are measured side by side, since they differ by
much more than either changes. For "batch", every mini-batch of B examples is normalized by its own
statistics, as in training. For "running" it is normalized by the running averages of evaluation.
The Hessian is that of the mean loss of the first N training examples without augmentation, and
exact for them. All is computed in full precision on every device, whatever training has.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from sgd_diffusion._arrays import integer, number
from sgd_diffusion._pytrees import full_precision
from sgd_diffusion._types import IntegerLike, NumberLike
from sgd_diffusion.dynamics.measurements.schema import StateMeasurement
from sgd_diffusion.dynamics.parameters import count, initial_shapes
from sgd_diffusion.errors import invalid
from sgd_diffusion.landscape.curvature import (
    gradient_alignment,
    hessian_vector_product,
    noise_alignment,
    spectral_density,
    top_eigenpairs,
)
from sgd_diffusion.landscape.curvature.stochastic import standard_error
from sgd_diffusion.problems.objectives import EVALUATION_BATCH, Problem

__all__ = ["STATISTICS", "hessian_density", "hessian_eigenvalues"]

STATISTICS = ("batch", "running")
MIN_BATCHES = 3  # for a variance and its error


def hessian_eigenvalues(
    problem: Problem,
    *,
    num_eigenvalues: IntegerLike,
    num_examples: IntegerLike,
    batch_size: IntegerLike,
    statistics: Sequence[str] = STATISTICS,
    tol: NumberLike = 1e-3,
) -> StateMeasurement:
    """Measure the k largest eigenvalues of the Hessian, and the gradient and its noise along them.

    The variables have the dimensions `statistics` and `rank`, which counts from 1:

    - `hessian_eigenvalue`, `hessian_residual` |H v - value v| and `hessian_converged` (1 or 0),
      and, without rank, `hessian_products` (see `curvature.top_eigenpairs`);
    - `gradient_share`, the share of the squared gradient of these examples that lies along the
      eigenvector;
    - `noise_variance`, B times the variance of the gradients of the batches of B examples along the
      eigenvector, and its error `noise_variance_error`. It is the variance of single examples, if
      they are in random order. Near a minimum of a negative log-likelihood it is about the
      eigenvalue (Xie, Sato & Sugiyama, ICLR 2021). `noise_share` is its share of the variance along
      all parameters.

    Gradients and noise have the same batch normalization as the Hessian. The measurement costs some
    4 k products of the size of two gradients each (see `curvature.top_eigenpairs`), and holds N / B
    gradients.

    Args:
        problem: its members are measured.
        num_eigenvalues: k.
        num_examples: N; N // B full batches of them are used.
        batch_size: B.
        statistics: some of `STATISTICS`. Where the problem has no state they do not differ, and
            only the first is measured.
        tol: relative residual at which an eigenvalue has converged.

    Raises:
        InputError: the problem does not have this k or N, there are fewer than three batches, or
            the statistics are unknown.
    """
    num_examples, batch_size = (
        integer("num_examples", num_examples),
        integer("batch_size", batch_size, 1),
    )
    statistics, size = _checked(problem, statistics, num_examples, batch_size)
    num_eigenvalues = integer(
        "num_eigenvalues", num_eigenvalues, 1, size, what=f"for {size} parameters"
    )
    tol = number("tol", tol, at_least=0)

    def measure_one(problem, params, state, key, kind):
        loss, examples = _loss_and_examples(problem, state, kind, num_examples, batch_size)
        product = hessian_vector_product(
            loss, params, examples, chunk_size=_chunk_size(kind, batch_size)
        )
        pairs = top_eigenpairs(product, params, num_eigenvalues, tol=tol, key=key)
        batches = jax.tree.map(lambda leaf: leaf.reshape(-1, batch_size, *leaf.shape[1:]), examples)
        gradients = jax.lax.map(lambda batch: jax.grad(loss)(params, batch), batches)
        noise = noise_alignment(pairs.vectors, gradients)
        mean = jax.tree.map(lambda leaf: leaf.mean(axis=0), gradients)
        return {
            "hessian_eigenvalue": pairs.values,
            "hessian_residual": pairs.residuals,
            "hessian_converged": pairs.converged,
            "hessian_products": pairs.num_products,
            "gradient_share": gradient_alignment(pairs.vectors, mean),
            "noise_variance": batch_size * noise.variance,
            "noise_variance_error": batch_size * noise.error,
            "noise_share": noise.share,
        }

    names = (
        "hessian_eigenvalue",
        "hessian_residual",
        "hessian_converged",
        "gradient_share",
        "noise_variance",
        "noise_variance_error",
        "noise_share",
    )
    return StateMeasurement(
        _for_all(measure_one, statistics),
        dict.fromkeys(names, ("statistics", "rank")) | {"hessian_products": ("statistics",)},
        {"statistics": list(statistics), "rank": range(1, num_eigenvalues + 1)},
        description=_description(num_examples, batch_size)
        | {"hessian_tolerance": tol, "parameters": size},
    )


def hessian_density(
    problem: Problem,
    *,
    num_examples: IntegerLike,
    batch_size: IntegerLike,
    statistics: Sequence[str] = STATISTICS,
    num_probes: IntegerLike = 4,
    num_products: IntegerLike = 40,
    windows: tuple[int, ...] | None = None,
) -> StateMeasurement:
    """Measure the distribution of all eigenvalues of the Hessian by stochastic Lanczos quadrature.

    The variables are `hessian_node` and `hessian_weight` (statistics, probe, node), and
    `hessian_trace` (statistics) with its standard error `hessian_trace_error`. See
    `curvature.spectral_density`, and `curvature.smoothed_density` for a curve.

    Args:
        problem: its members are measured.
        num_examples: N, as for `hessian_eigenvalues`.
        batch_size: B.
        statistics: some of `STATISTICS`.
        num_probes: random vectors, at least 2.
        num_products: products with the Hessian for each of them.
        windows: numbers of the windows after which it is measured; None for all.

    Raises:
        InputError: as for `hessian_eigenvalues`; or there are fewer than two probes, or products
            outside 1..n for n parameters.
    """
    num_examples, batch_size = (
        integer("num_examples", num_examples),
        integer("batch_size", batch_size, 1),
    )
    statistics, size = _checked(problem, statistics, num_examples, batch_size)
    num_probes = integer("num_probes", num_probes, 2)
    num_products = integer("num_products", num_products, 1, size, what=f"for {size} parameters")

    def measure_one(problem, params, state, key, kind):
        loss, examples = _loss_and_examples(problem, state, kind, num_examples, batch_size)
        product = hessian_vector_product(
            loss, params, examples, chunk_size=_chunk_size(kind, batch_size)
        )
        density = spectral_density(
            key, product, params, num_products=num_products, num_probes=num_probes
        )
        traces = count(params) * (density.nodes * density.weights).sum(axis=1)
        return {
            "hessian_node": density.nodes,
            "hessian_weight": density.weights,
            "hessian_trace": traces.mean(),
            "hessian_trace_error": standard_error(traces),
        }

    dims: dict[str, tuple[str, ...]] = {
        **dict.fromkeys(("hessian_node", "hessian_weight"), ("statistics", "probe", "node")),
        **dict.fromkeys(("hessian_trace", "hessian_trace_error"), ("statistics",)),
    }
    return StateMeasurement(
        _for_all(measure_one, statistics),
        dims,
        {"statistics": list(statistics)},
        windows=windows,
        description=_description(num_examples, batch_size),
    )


def _checked(problem, statistics, num_examples, batch_size):
    """Return the statistics that there are to measure, and the number of parameters."""
    if (
        not statistics
        or set(statistics) - set(STATISTICS)
        or len(set(statistics)) < len(statistics)
    ):
        raise invalid(
            "statistics",
            f"is {tuple(statistics)}: empty, unknown or twice the same",
            f"one or both of {', '.join(STATISTICS)}",
        )
    if not MIN_BATCHES * batch_size <= num_examples <= problem.num_examples:
        raise invalid(
            "num_examples",
            f"is {num_examples}",
            f"at least {MIN_BATCHES} batches of batch_size = {batch_size}, and at most "
            f"{problem.num_examples}, the training examples",
        )
    params, state = initial_shapes(problem)
    return tuple(statistics) if jax.tree.leaves(state) else tuple(statistics)[:1], count(params)


def _loss_and_examples(problem, state, kind, num_examples, batch_size):
    def loss(params, batch):
        return problem.loss(params, state, batch, kind == "batch")[0]

    return loss, jax.tree.map(
        lambda leaf: leaf[: num_examples // batch_size * batch_size], problem.examples
    )


def _chunk_size(kind, batch_size):
    """Return the size of a batch in training, or what evaluation takes at once."""
    return batch_size if kind == "batch" else EVALUATION_BATCH


def _for_all(measure_one, statistics):
    def measure(*arguments):
        with full_precision():  # gradients too
            values = [measure_one(*arguments, kind) for kind in statistics]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *values)

    return measure


def _description(num_examples, batch_size):
    return {"hessian_examples": num_examples, "hessian_batch_size": batch_size}
