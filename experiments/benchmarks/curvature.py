"""Measure what the top of a Hessian spectrum costs, and compare it with PyTorch's packages.

The program prints JSON. The network is ResNet-14, trained for some hundred updates on digits, with
running averages in its batch norms. The Hessian is that of the mean loss of 1000 images.
hessian-eigenthings and PyHessian, where they are installed, get the same weights and images in
PyTorch and are asked for the same residuals. The first does not restart: it gets the smallest basis
(in steps of 10) that gives them. The second iterates powers: it gets as small a change of the
eigenvalue as takes, and fewer eigenvalues, since it needs minutes for each of the closer ones.
Residuals are computed by one further product for every pair. The floor is the floating-point
operations of a product, as XLA counts them, in the time that this machine takes for as many in a
product of two matrices. Run from the checkout: python -m experiments.benchmarks.curvature
"""

import dataclasses
import functools
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import group, timing
from experiments.options import Checked, within
from sgd_diffusion._types import PyTree
from sgd_diffusion.dynamics.ensemble import Ensemble
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.landscape.curvature import hessian_vector_product, top_eigenpairs
from sgd_diffusion.problems.datasets import channel_statistics, load
from sgd_diffusion.problems.objectives import Problem, classification
from sgd_diffusion.problems.resnet import ResNet

MATRIX = 2048
GOAL = 3.0  # times the speed of the packages for eigenvalues
PEERS = {"torch": "torch", "hessian-eigenthings": "hessian_eigenthings", "PyHessian": "pyhessian"}


@dataclasses.dataclass(frozen=True)
class Options(Checked):
    """What is measured."""

    images: Annotated[int, *within(1, 1437)] = 1000
    """Images whose mean loss has the Hessian."""
    num_eigenvalues: Annotated[int, *within(1, 1000)] = 20
    """Largest eigenvalues."""
    tolerance: Annotated[float, *within(1e-6, 0.1)] = 1e-3
    """Relative residual that every eigenvalue has to reach."""
    updates: Annotated[int, *within(2, 10_000)] = 1000
    """Updates of training before, at learning rate 0.02 and batch 32."""
    power_iteration_eigenvalues: Annotated[int, *within(1, 100)] = 4
    """Eigenvalues that are asked of PyHessian."""
    repeats: Annotated[int, *within(1, 1000)] = 3
    """Timed runs of each candidate."""


def measure(options: Options) -> dict[str, Any]:
    """Return what was measured, and its rows."""
    versions = group.versions(PEERS)
    problem = classification(ResNet(14), load("digits"))
    params, state = trained(problem, options.updates)
    examples = jax.tree.map(lambda leaf: leaf[: options.images], problem.examples)
    candidates, results, operations = ours(options, problem, params, state, examples)
    if "torch" in versions:
        for function in (in_torch, eigenthings, pyhessian):
            function(options, versions, params, state, examples, candidates, results)
    found = timing.seconds(candidates, repeats=options.repeats)
    seconds = {name: times["median"] for name, times in found.items()}
    return {
        "peers": versions,
        "seconds": found,
        "eigenvalues": results,
        "floor": floor(seconds, results, *operations),
        "rows": rows(options, found),
    }


def rows(options: Options, found: dict) -> list[group.Row]:
    """Return gradient, product and eigenvalues beside the packages that compute the same."""
    where = f"of ResNet-14 on {options.images} digits"
    few = options.power_iteration_eigenvalues
    return [
        group.row(
            f"{what} {where}",
            found[ours]["rounds"],
            peer,
            found[theirs]["rounds"] if theirs in found else None,
            goal=goal,
        )
        for what, ours, peer, theirs, goal in (
            ("gradient", "gradient", "PyTorch", "torch_gradient", None),
            ("product with the Hessian", "product", "PyTorch", "torch_product", None),
            (
                f"{options.num_eigenvalues} eigenpairs",
                "top_eigenpairs",
                "hessian-eigenthings",
                "hessian_eigenthings",
                GOAL,
            ),
            (f"{few} eigenpairs", "top_eigenpairs_of_pyhessian", "PyHessian", "pyhessian", GOAL),
        )
        if ours in found
    ]


def trained(problem: Problem, updates: int) -> tuple[PyTree, PyTree]:
    """Return parameters and state after so many updates."""
    plan = Plan(learning_rates=(0.02,), window=updates, batch_size=32)
    ensemble = Ensemble(problem, plan, measure_path=lambda record: {})
    carry = jax.tree.map(lambda leaf: leaf[0], ensemble.window(ensemble.start(), 0)[0])
    return carry.params, carry.state


def ours(
    options: Options, problem: Problem, params: PyTree, state: PyTree, examples: PyTree
) -> tuple[dict[str, Any], dict[str, Any], list[float]]:
    """Return this library's candidates and results, and operations of a product and of matrices."""

    def loss(params, state, batch):
        return problem.loss(params, state, batch, False)[0]

    @jax.jit
    def product(params, state, examples, vector):
        return hessian_vector_product(
            lambda point, batch: loss(point, state, batch), params, examples
        )(vector)

    @functools.partial(jax.jit, static_argnums=3)
    def pairs(params, state, examples, k):
        matvec = hessian_vector_product(
            lambda point, batch: loss(point, state, batch), params, examples
        )
        return top_eigenpairs(matvec, params, k, tol=options.tolerance)

    gradient = jax.jit(jax.grad(loss))
    ones = jax.tree.map(jnp.ones_like, params)
    top = pairs(params, state, examples, options.num_eigenvalues)
    result = described(top.values, top.residuals, int(top.num_products))
    few = options.power_iteration_eigenvalues
    matrix = jax.random.normal(jax.random.key(0), (MATRIX, MATRIX))
    multiply = jax.jit(jnp.matmul)
    operations = [
        compiled.compile().cost_analysis()["flops"]
        for compiled in (
            product.lower(params, state, examples, ones),
            multiply.lower(matrix, matrix),
        )
    ]
    candidates = {
        "gradient": lambda: gradient(params, state, examples),
        "product": lambda: product(params, state, examples, ones),
        "top_eigenpairs": lambda: pairs(params, state, examples, options.num_eigenvalues),
        "top_eigenpairs_of_pyhessian": lambda: pairs(params, state, examples, few),
        "matrix_product": lambda: multiply(matrix, matrix),
    }
    return candidates, {"top_eigenpairs": result}, operations


def floor(seconds, results, of_product: float, of_matrices: float) -> dict:
    """Return what limits a product.

    These are its operations, and the seconds that they would take at the speed of a product of
    matrices.
    """
    speed = of_matrices / seconds["matrix_product"]
    least = of_product / speed
    per_product = {name: seconds[name] / results[name]["products"] for name in results}
    return {
        "operations_of_product": of_product,
        "operations_per_second_of_matrix_product": speed,
        "least_seconds_of_product": least,
        "product_over_least": seconds["product"] / least,
        "seconds_per_product_in_eigenpairs": per_product,
    }


def described(values, residuals, num_products: int) -> dict:
    """Return eigenvalues, their largest relative residual and what they took, for JSON."""
    values, residuals = np.asarray(values, float), np.asarray(residuals, float)
    return {
        "values": values.tolist(),
        "largest_relative_residual": float((residuals / abs(values)).max()),
        "products": num_products,
    }


def in_torch(
    options: Options,
    versions: Mapping[str, str],
    params: PyTree,
    state: PyTree,
    examples: PyTree,
    candidates: dict[str, Any],
    results: dict[str, Any],
) -> None:
    """Add gradient and exact product in PyTorch."""
    import torch
    from torch.nn import functional

    model, batch, target = torch_problem(params, state, examples)
    weights = list(model.parameters())
    ones = [torch.ones_like(weight) for weight in weights]

    def gradient(**options):
        return torch.autograd.grad(
            functional.cross_entropy(model(batch), target), weights, **options
        )

    candidates["torch_gradient"] = gradient
    candidates["torch_product"] = lambda: torch.autograd.grad(
        gradient(create_graph=True), weights, grad_outputs=ones
    )


def eigenthings(
    options: Options,
    versions: Mapping[str, str],
    params: PyTree,
    state: PyTree,
    examples: PyTree,
    candidates: dict[str, Any],
    results: dict[str, Any],
) -> None:
    """Add Lanczos without restarts.

    It gets the smallest basis of 20, 30, ... vectors that gives the residuals.
    """
    if "hessian-eigenthings" not in versions:
        return
    from hessian_eigenthings import HessianOperator, lanczos
    from torch.nn import functional

    model, batch, target = torch_problem(params, state, examples)
    operator = HessianOperator(
        model,
        [(batch, target)],
        lambda model, data: functional.cross_entropy(model(data[0]), data[1]),
    )

    def solved(size):
        return lanczos(
            operator,
            k=options.num_eigenvalues,
            max_iter=size,
            tol=options.tolerance,
            which="LA",
            seed=0,
            reorthogonalize=True,
        )

    size = options.num_eigenvalues
    while True:
        found = solved(size)
        residuals = [
            (operator.matvec(vector) - value * vector).norm().item()
            for value, vector in zip(found.eigenvalues, found.eigenvectors, strict=True)
        ]
        result = described(found.eigenvalues, residuals, found.iterations)
        if result["largest_relative_residual"] <= options.tolerance:
            break
        size += 10
    results["hessian_eigenthings"] = result
    candidates["hessian_eigenthings"] = lambda: solved(size)


def pyhessian(
    options: Options,
    versions: Mapping[str, str],
    params: PyTree,
    state: PyTree,
    examples: PyTree,
    candidates: dict[str, Any],
    results: dict[str, Any],
) -> None:
    """Add power iteration with deflation.

    It gets the relative change of the eigenvalue that a residual of the tolerance squared allows.
    """
    if "PyHessian" not in versions:
        return
    import torch
    from pyhessian import hessian
    from torch.nn import functional

    module = sys.modules[hessian.__module__]

    model, batch, target = torch_problem(params, state, examples)
    operator = hessian(model, functional.cross_entropy, data=(batch, target), cuda=False)
    product, counted = module.hessian_vector_product, [0]

    def counting(*arguments):
        counted[0] += 1
        return product(*arguments)

    module.hessian_vector_product = counting

    def solved():
        torch.manual_seed(0)
        counted[0] = 0
        return operator.eigenvalues(
            maxIter=2000, tol=options.tolerance**2 / 10, top_n=options.power_iteration_eigenvalues
        )

    values, vectors = solved()
    products = counted[0]
    residuals = [
        sum(
            ((image - value * part) ** 2).sum()
            for image, part in zip(
                product(operator.gradsH, operator.params, vector), vector, strict=True
            )
        )
        .sqrt()
        .item()
        for value, vector in zip(values, vectors, strict=True)
    ]
    results["pyhessian"] = described(values, residuals, products)
    candidates["pyhessian"] = solved


def torch_problem(params: PyTree, state: PyTree, examples: PyTree) -> tuple[Any, Any, Any]:
    """Return the same network with the same weights in PyTorch, with images and labels.

    The network is in evaluation mode.
    """
    from experiments.benchmarks.torch_resnet import as_tensors, load_weights, network

    images = np.asarray(examples.images, np.float32)
    mean, std = (np.asarray(values, np.float32) for values in channel_statistics(load("digits")))
    model = network(14, images.shape[-1]).eval()
    load_weights(model, params, state)
    return model, *as_tensors((images - mean) / std, np.asarray(examples.labels))


if __name__ == "__main__":
    group.program(measure, Options, __doc__)
