"""Gradient noise where windows end: how strong it is, and how it is distributed over the curvature.

That is what the limiting dynamics depend on (`theory.limiting`). Both are of the mean loss of all
training examples in evaluation mode, and exact for mini-batches that are drawn from them with
replacement. A random augmentation is drawn once for each example, and its noise is part of theirs.
Batch normalization makes the examples of a batch depend on each other. The noise of its training is
another one than what is measured here.
"""

import jax
import jax.numpy as jnp

from sgd_diffusion._arrays import integer, number
from sgd_diffusion._pytrees import full_precision, mean_over_parts
from sgd_diffusion._types import IntegerLike, NumberLike
from sgd_diffusion.dynamics.measurements.schema import StateMeasurement
from sgd_diffusion.dynamics.parameters import count, initial_shapes
from sgd_diffusion.landscape.curvature import hessian_vector_product, spectral_measure
from sgd_diffusion.problems.objectives import EVALUATION_BATCH, Problem
from sgd_diffusion.theory.limiting import gradient_noise

__all__ = ["noise_spectrum"]


def noise_spectrum(
    problem: Problem,
    *,
    num_probes: IntegerLike = 8,
    num_products: IntegerLike = 40,
    part_size: IntegerLike = 100,
    weight_decay: NumberLike = 0.0,
) -> StateMeasurement:
    """Measure the trace of the gradient noise, and its spectral measure with the Hessian.

    The variables are

    - `noise_trace`, the trace of the covariance Sigma of per-example gradients;
    - `gradient_square`, the squared norm of the mean gradient with weight decay, by which the next
      step would go without noise and momentum;
    - `noise_node` and `noise_weight` (probe, node): eigenvalues of the Hessian and the variance of
      per-example gradients along their eigenvectors, by `curvature.spectral_measure` of sums of
      per-example gradients with random signs, whose covariance is Sigma. The mean over probes of
      sum(weight * f(node)) is the trace of Sigma f(H). Weights of all probes add up to the trace
      within their scatter.

    It costs two gradients of every example, and a gradient and `num_products` products with the
    Hessian for each probe.

    Args:
        problem: its members are measured.
        num_probes: number of random sums.
        num_products: products with the Hessian for each of them.
        part_size: examples whose gradients are in memory at a time.
        weight_decay: coefficient of the weights added to the gradient.

    Raises:
        InputError: a number is out of range for this problem.
    """
    num_probes = integer("num_probes", num_probes, 1, 2**31 - 1)
    size = count(initial_shapes(problem)[0])
    num_products = integer("num_products", num_products, 1, size, what=f"for {size} parameters")
    part_size = integer("part_size", part_size, 1, 2**31 - 1)
    weight_decay = number("weight_decay", weight_decay, at_least=0)

    def measure(problem, params, state, key):
        examples, total = problem.examples, problem.num_examples
        if problem.augment is not None:
            key, own = jax.random.split(key)
            examples = problem.augment(own, examples)

        def one(params, example):
            batch = jax.tree.map(lambda leaf: leaf[None], example)
            return problem.loss(params, state, batch, False)[0]

        def loss(params, batch):
            return problem.loss(params, state, batch, False)[0]

        each = jax.vmap(jax.grad(one), (None, 0))
        found = gradient_noise(lambda part: each(params, part), examples, part_size=part_size)

        def probe(key):
            signs = jax.random.rademacher(key, (total,), jnp.float32)
            weights = (signs - signs.mean()) * total**0.5

            def weighted(params, part):
                own, weight = part
                return (jax.vmap(one, (None, 0))(params, own) * weight).mean()

            return mean_over_parts(
                lambda _, part: jax.grad(weighted)(params, part), (examples, weights), part_size
            )[0]

        with full_precision():
            vectors = jax.lax.map(probe, jax.random.split(key, num_probes))
            mean, _ = mean_over_parts(
                lambda _, part: jax.grad(loss)(params, part), examples, EVALUATION_BATCH
            )
            product = hessian_vector_product(loss, params, examples, chunk_size=EVALUATION_BATCH)
            nodes, weights = spectral_measure(product, vectors, num_products=num_products)
        return {
            "noise_trace": found.trace,
            "gradient_square": sum(
                ((leaf + weight_decay * weight) ** 2).sum()
                for leaf, weight in zip(jax.tree.leaves(mean), jax.tree.leaves(params), strict=True)
            ),
            "noise_node": nodes,
            "noise_weight": weights,
        }

    dims = {
        "noise_trace": (),
        "gradient_square": (),
        "noise_node": ("probe", "node"),
        "noise_weight": ("probe", "node"),
    }
    return StateMeasurement(
        measure,
        dims,
        description={
            "noise_probes": num_probes,
            "noise_products": num_products,
            "noise_weight_decay": weight_decay,
        },
    )
