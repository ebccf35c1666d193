"""The sizes of a problem and of what a window records of it, on which its memory depends."""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.extend import core

from sgd_diffusion._platforms import traced_on
from sgd_diffusion._types import PyTree
from sgd_diffusion.dynamics.batches import take_batch
from sgd_diffusion.dynamics.parameters import initial_shapes, layer_names, real_shapes
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.dynamics.step_rules import step_rule
from sgd_diffusion.problems.objectives import Problem

__all__ = ["Sizes", "sizes_of"]

PRODUCTS = ("dot_general", "conv_general_dilated")


class Products(NamedTuple):
    """Bytes of operands and results of products: of all of them, and of the largest one."""

    total: int
    largest: int


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Of a problem, in bytes where not said otherwise, and of what a window records of it.

    Attributes:
        problem: whose sizes these are.
        batch_size: for which the loss is traced.
        num_examples: for training.
        probe_size: number of examples of the probe.
        example_bytes: of both.
        num_parameters: P, with complex ones as two.
        parameter_bytes: of the parameters of a member.
        carry_bytes: of a member: parameters, state, optimizer and average.
        increment_bytes: of one update of a member.
        largest_leaf: numbers in the largest array of parameters.
        num_grams: Gram matrices of a member.
        average: whether the weights are averaged.
        twin: whether there is a full-batch twin.
        by_layer: whether there are Gram matrices of layers.
        measured: shapes of what is measured of a member, made with `window` updates.
        window: T.
    """

    problem: Problem
    batch_size: int
    num_examples: int
    probe_size: int
    example_bytes: int
    num_parameters: int
    parameter_bytes: int
    carry_bytes: int
    increment_bytes: int
    largest_leaf: int
    num_grams: int
    average: bool
    twin: bool
    by_layer: bool
    measured: tuple[jax.ShapeDtypeStruct, ...]
    window: int

    def result_bytes(self, window: int) -> int:
        """Return the bytes of what is measured of a member in a window of another length."""

        def scaled(leaf):
            axes = sum(side in (self.window, self.window + 1) for side in leaf.shape)
            return bytes_of(leaf) * (window / self.window) ** axes

        return round(sum(map(scaled, self.measured)))

    @functools.cached_property
    def activations(self) -> Products:
        """Products of the training loss for each example: what is kept for the gradient.

        What lies between two products, such as norms and ReLUs, XLA computes again or in place.
        The loss is traced as for accelerators, where a convolution is a single product.
        """
        params, state = initial_shapes(self.problem)

        def loss(params, state, rows, key):
            batch = take_batch(self.problem, rows, key)
            return self.problem.loss(params, state, batch, True)[0]

        def of_batch(size):
            rows = jax.ShapeDtypeStruct((size,), jnp.int32)
            with traced_on("gpu"):
                traced = jax.make_jaxpr(loss)(params, state, rows, jax.random.key(0))
            return _products(traced.jaxpr)

        # The difference leaves out the parameters.
        once, twice = of_batch(self.batch_size), of_batch(2 * self.batch_size)
        return Products(
            *(-(-(more - less) // self.batch_size) for less, more in zip(once, twice, strict=True))
        )


def sizes_of(
    problem: Problem,
    plan: Plan,
    optimizer: optax.GradientTransformation | None,
    measured: Mapping[str, jax.ShapeDtypeStruct],
) -> Sizes:
    """Return the sizes of a problem, and of what the windows of a plan record.

    Args:
        problem: what SGD optimizes.
        plan: of the members.
        optimizer: in place of that of the plan, or None.
        measured: shapes of what is measured, with a leading axis of members.
    """
    params, _ = initial_shapes(problem)
    real = jax.tree.leaves(real_shapes(params))
    rule = step_rule(plan, optimizer)
    carry = jax.eval_shape(lambda key: rule.first_carry(problem, key), jax.random.key(0))
    probe = jax.tree.leaves(problem.probe)
    return Sizes(
        problem=problem,
        batch_size=plan.batch_size,
        num_examples=problem.num_examples,
        probe_size=probe[0].shape[0] if probe else 0,
        example_bytes=bytes_of((problem.examples, problem.probe)),
        num_parameters=sum(leaf.size for leaf in real),
        parameter_bytes=bytes_of(params),
        carry_bytes=bytes_of(carry),
        increment_bytes=bytes_of(real),
        largest_leaf=max(leaf.size for leaf in real),
        num_grams=(len(layer_names(problem)) if plan.by_layer else 1)
        + (plan.average is not None)
        + plan.full_batch_twin,
        average=plan.average is not None,
        twin=plan.full_batch_twin,
        by_layer=plan.by_layer,
        measured=tuple(leaf.update(shape=leaf.shape[1:]) for leaf in measured.values()),
        window=plan.window,
    )


def bytes_of(tree: PyTree) -> int:
    """Return the bytes of a pytree of arrays or of their shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _products(jaxpr: core.Jaxpr) -> Products:
    """Return the bytes of operands and results of the products of a program, each once."""
    seen: set[Any] = set()
    total = largest = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name in PRODUCTS:
            variables = [
                each
                for each in (*equation.invars, *equation.outvars)
                if not isinstance(each, core.Literal)
            ]
            largest = max(largest, sum(bytes_of(each.aval) for each in variables))
            total += sum(bytes_of(each.aval) for each in {*variables} - seen)
            seen.update(variables)
        for inner in _inside(equation.params):
            found = _products(inner)
            total += found.total * equation.params.get("length", 1)  # of a scan
            largest = max(largest, found.largest)
    return Products(total, largest)


def _inside(params: Mapping[str, Any]) -> Iterator[core.Jaxpr]:
    """Yield the programs inside of an operation."""
    for value in params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, core.ClosedJaxpr):
                yield each.jaxpr
            elif isinstance(each, core.Jaxpr):
                yield each
