"""What is known of a program before it runs: products by precision, memory, work, collectives.

All numbers are of one device and of one pass: the body of a loop counts once, as in the cost
analysis of XLA. So those of the program `advance` are of one step of the members of a device.
"""

import collections
import math
import re
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

from experiments.accelerators.chips import Chip

COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-permute",
    "reduce-scatter",
    "collective-broadcast",
)
SHARED_BY_SEVERAL = re.compile(rf" ({'|'.join(COLLECTIVES)})(?:-start)?\(")


class Product(NamedTuple):
    """Matrix products or convolutions of one type and precision.

    Attributes:
        kind: "dot_general" or "convolution".
        dtype: of the first operand, such as "f32".
        precision: "DEFAULT", "HIGH" or "HIGHEST".
    """

    kind: str
    dtype: str
    precision: str


class Work(NamedTuple):
    """How many products there are, and their floating point operations."""

    count: int
    flops: float


def products(lowered: Any) -> dict[Product, Work]:
    """Return the products of a lowered program, with those of a function as often as it is called.

    Args:
        lowered: as `jax.jit(function).lower` returns it.
    """
    module = lowered.compiler_ir()
    functions = {
        ir.StringAttr(each.attributes["sym_name"]).value: each for each in module.body.operations
    }
    known: dict[str, collections.Counter[tuple[Product, float]]] = {}

    def of(name):
        if name not in known:
            found: collections.Counter[tuple[Product, float]] = collections.Counter()
            for operation in _operations(functions[name]):
                if operation.name == "func.call":
                    found += of(ir.FlatSymbolRefAttr(operation.attributes["callee"]).value)
                elif operation.name in FLOPS:
                    found[_product(operation), FLOPS[operation.name](operation)] += 1
            known[name] = found
        return known[name]

    by_product: dict[Product, Work] = {}
    for (product, flops), count in of("main").items():
        before = by_product.get(product, Work(0, 0))
        by_product[product] = Work(before.count + count, before.flops + count * flops)
    return by_product


def _operations(operation: Any) -> Iterator[Any]:
    """Yield all operations inside of one."""
    for region in operation.regions:
        for block in region:
            for inner in block.operations:
                yield inner.operation
                yield from _operations(inner)


def _product(operation):
    named = "precision_config" in operation.attributes
    precisions = (
        [
            stablehlo.PrecisionAttr(each).value
            for each in ir.ArrayAttr(operation.attributes["precision_config"])
        ]
        if named
        else ["DEFAULT"]
    )
    lowest = min(precisions, key=("DEFAULT", "HIGH", "HIGHEST").index)
    dtype = str(ir.RankedTensorType(operation.operands[0].type).element_type)
    return Product(operation.name.removeprefix("stablehlo."), dtype, lowest)


def _shape(value):
    return ir.RankedTensorType(value.type).shape


def _dot_flops(operation):
    numbers = stablehlo.DotDimensionNumbers(operation.attributes["dot_dimension_numbers"])
    left = _shape(operation.operands[0])
    summed = math.prod(left[axis] for axis in numbers.lhs_contracting_dimensions)
    return 2.0 * summed * math.prod(_shape(operation.results[0]))


def _convolution_flops(operation):
    """Twice the products with entries of the image; those with its padding are not made."""
    numbers = stablehlo.ConvDimensionNumbers(operation.attributes["dimension_numbers"])
    image, kernel, result = map(_shape, (*operation.operands, operation.results[0]))
    count = kernel[numbers.kernel_input_feature_dimension] * math.prod(
        result[axis] for axis in (numbers.output_batch_dimension, numbers.output_feature_dimension)
    )
    spatial = len(numbers.input_spatial_dimensions)

    def option(name, default):
        found = operation.attributes[name] if name in operation.attributes else None
        return [default] * spatial if found is None else list(ir.DenseI64ArrayAttr(found))

    padding = np.zeros((spatial, 2), int)
    if "padding" in operation.attributes:
        found = ir.DenseIntElementsAttr(operation.attributes["padding"])
        padding = np.array([*found]).reshape(spatial, 2)
    options = zip(
        option("window_strides", 1),
        padding[:, 0],
        option("lhs_dilation", 1),
        option("rhs_dilation", 1),
        strict=True,
    )
    axes = zip(
        numbers.output_spatial_dimensions,
        numbers.kernel_spatial_dimensions,
        numbers.input_spatial_dimensions,
        options,
        strict=True,
    )
    for of_result, of_kernel, of_image, (stride, before, apart, dilation) in axes:
        place = (
            np.arange(result[of_result])[:, None] * stride
            + np.arange(kernel[of_kernel])[None] * dilation
            - before
        )
        inside = (place >= 0) & (place <= (image[of_image] - 1) * apart) & (place % apart == 0)
        count *= int(inside.sum())
    return 2.0 * count


FLOPS = {"stablehlo.dot_general": _dot_flops, "stablehlo.convolution": _convolution_flops}


def compiled_facts(lowered: Any, chip: Chip) -> dict[str, Any]:
    """Compile a program, and return JSON-like facts of it.

    Args:
        lowered: for devices of this kind.
        chip: what it is compiled for.
    """
    work = products(lowered)
    begin = time.perf_counter()
    compiled = lowered.compile()
    seconds = time.perf_counter() - begin
    cost = compiled.cost_analysis() or {}
    facts = {
        "seconds": seconds,
        **memory_of(compiled),
        "flops": cost.get("flops"),
        "bytes_moved": cost.get("bytes accessed"),
        "collectives": dict(collections.Counter(SHARED_BY_SEVERAL.findall(compiled.as_text()))),
        "products": as_rows(work),
    }
    return facts | {"estimated_seconds": roofline(chip, work, facts["bytes_moved"])}


def memory_of(compiled: Any) -> dict[str, int]:
    """Return the bytes that a compiled program needs of the memory of a device."""
    memory = compiled.memory_analysis()
    return {
        "bytes_at_peak": memory.temp_size_in_bytes
        + memory.argument_size_in_bytes
        + memory.output_size_in_bytes,
        "bytes_of_arguments": memory.argument_size_in_bytes,
        "bytes_of_results": memory.output_size_in_bytes,
    }


def as_rows(work: dict[Product, Work]) -> list[dict[str, Any]]:
    """Return products as JSON-like rows."""
    return [product._asdict() | amount._asdict() for product, amount in sorted(work.items())]


def roofline(chip: Chip, work: dict[Product, Work], bytes_moved: float | None) -> float | None:
    """Return the least seconds of a pass: of its products at their peaks, or of its memory.

    It is an estimate from below, or None where nothing is known. Products of a type that the chip
    does not have are left out, and so is the memory where the compiler does not say what is moved,
    as that for GPUs.

    Formula:
        Roofline. t >= max(sum_p F_p / peak_p, bytes / bandwidth) (Williams, Waterman & Patterson
        2009, doi:10.1145/1498765.1498785)
    """
    computing = sum(
        amount.flops / chip.peaks[product.dtype, product.precision]
        for product, amount in work.items()
        if (product.dtype, product.precision) in chip.peaks
    )
    return max(computing, (bytes_moved or 0) / chip.bandwidth) or None
