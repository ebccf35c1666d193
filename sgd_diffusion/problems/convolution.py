"""How convolutions are executed: what is fast on which backend stands here and nowhere else.

Flax layers take it as `nn.Conv(conv_general_dilated=convolution)`, or as `partial(convolution,
formulation=...)`. There are four formulations:

- "dense": the kernel as one matrix from all input pixels to all output pixels. It is for maps with
  fewer pixels than the kernel has taps (3x3 on 2 x 2). There it has the fewest multiplications and
  copies no image.
- "patches": the window of every output pixel as a row, times the kernel as a matrix. It is for
  windows that do not overlap, such as 1x1, and for float64, which XLA's libraries do not convolve.
- "canonical": a convolution whose gradients are written as fast products from the start (see
  `problems.canonical`). It is for all others.
- "xla": `lax.conv_general_dilated`. It is for GPU and TPU.

All agree up to rounding in value and in derivatives of every order and mode, under jit, vmap, scan
and shard_map.

Notes:
    On CPU (jaxlib 0.10) `lax.conv_general_dilated` has a trap. XLA's libraries need channels-last
    operands. The pass that transposes other convolutions into that form visits only the entry
    computation (xla/service/cpu/conv_canonicalization.cc, "top-level convolutions"). The gradients
    that JAX derives from a convolution have swapped dimensions, so XLA leaves them to scalar loops
    inside `lax.scan` or `lax.map`. On two cores the kernel gradient of 3x3, 16 -> 16 channels,
    batch 128 at 8 x 8, takes 94 ms in a loop and 0.36 ms outside.

    Patches of a 3x3 kernel need 9 times the memory of the map. All three products of the case above
    at 32 x 32 take 77 ms of one core with patches and 18 ms with "canonical".
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from sgd_diffusion._platforms import platform
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.canonical import CHANNELS_LAST, canonical_convolution, output_size

__all__ = ["FORMULATIONS", "convolution", "default_formulation"]

FORMULATIONS = ("xla", "canonical", "patches", "dense")


def convolution(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    precision: Any = None,
    *,
    formulation: str | None = None,
    **options: Any,
) -> Array:
    """Return `lax.conv_general_dilated` of the same arguments, in the form that is fast here.

    Args:
        lhs: images (batch, height, width, channels).
        rhs: kernel (kernel height, kernel width, channels, features). Other layouts, dilation and
            groups are left to `lax.conv_general_dilated`.
        window_strides: as in `lax.conv_general_dilated`.
        padding: as in `lax.conv_general_dilated`.
        lhs_dilation: as in `lax.conv_general_dilated`.
        rhs_dilation: as in `lax.conv_general_dilated`.
        dimension_numbers: as in `lax.conv_general_dilated`.
        feature_group_count: as in `lax.conv_general_dilated`.
        precision: as in `lax.conv_general_dilated`. In every formulation None is the precision of
            `jax.default_matmul_precision` when the function is called.
        formulation: one of `FORMULATIONS`. None chooses: by shape on CPU, "xla" elsewhere. The
            platform is that of the mesh in whose context the function is traced, or the default
            one. Name the formulation where vmap over members with their own kernels would make
            XLA's grouped convolution: "patches" becomes a batched matrix product, "canonical" a
            loop.
        options: as in `lax.conv_general_dilated`.

    Returns:
        (batch, output height, output width, features).

    Raises:
        InputError: the formulation is unknown or cannot do what is asked. All but "xla" need two
            spatial dimensions, channels last, no dilation and no groups.
    """
    if formulation not in (None, *FORMULATIONS):
        raise invalid(
            "formulation", f"is {formulation!r}", f"None or one of {', '.join(FORMULATIONS)}"
        )
    known = _is_plain(
        lhs, rhs, dimension_numbers, lhs_dilation, rhs_dilation, feature_group_count, options
    )
    if not known and formulation not in (None, "xla"):
        raise invalid(
            "formulation",
            f"is {formulation!r}, which cannot convolve images {lhs.shape} with kernel {rhs.shape} "
            "as asked",
            "NHWC images, an HWIO kernel, no dilation and no groups",
            "leave formulation=None, or take 'xla'",
        )
    if known and formulation is None:
        formulation = default_formulation(lhs, rhs, window_strides)
    if not known or formulation == "xla":
        return lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            dimension_numbers,
            feature_group_count,
            precision=precision,
            **options,
        )
    strides = tuple(window_strides)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], strides, padding)
    padding = tuple((int(low), int(high)) for low, high in padding)
    chosen = {"canonical": canonical_convolution, "patches": _patches, "dense": _dense}
    return chosen[str(formulation)](lhs, rhs, strides, padding, precision)


def _is_plain(
    lhs, rhs, dimension_numbers, lhs_dilation, rhs_dilation, feature_group_count, options
):
    """Say whether the arguments are those of an ordinary channels-last convolution of images."""
    if lhs.ndim != 4 or lhs.dtype != rhs.dtype or feature_group_count != 1 or options:
        return False
    if any(dilation != 1 for dilation in (*(lhs_dilation or ()), *(rhs_dilation or ()))):
        return False
    given, plain = (
        lax.conv_dimension_numbers(lhs.shape, rhs.shape, numbers)
        for numbers in (dimension_numbers, CHANNELS_LAST)
    )
    return given == plain


def default_formulation(images: Any, kernel: Any, strides: Sequence[int]) -> str:
    """Return the formulation that `convolution` chooses, for the reasons above.

    Args:
        images: (batch, height, width, channels), or their shape and type.
        kernel: (kernel height, kernel width, channels, features), or its shape and type.
        strides: of the window, along height and width.

    Notes:
        Those for CPU are measured. "xla" on accelerators is not yet; `python -m
        experiments.benchmarks.accelerator` compares them there.
    """
    if platform(images, kernel) != "cpu":
        return "xla"
    height, width = kernel.shape[:2]
    if images.shape[1] * images.shape[2] < height * width:
        return "dense"
    apart = height <= strides[0] and width <= strides[1]
    return "patches" if apart or images.dtype != jnp.float32 else "canonical"


def _patches(images, kernel, strides, padding, precision):
    """Multiply the kernel with one row per output pixel.

    A row holds the pixels that the taps meet, side by side on the channels.
    """
    rows, columns = output_size(images, kernel, strides, padding)
    height, width, _, features = kernel.shape
    padded = lax.pad(
        images,
        jnp.zeros((), images.dtype),
        ((0, 0, 0), (*padding[0], 0), (*padding[1], 0), (0, 0, 0)),
    )
    patches = jnp.concatenate(
        [
            padded[
                :,
                i : i + (rows - 1) * strides[0] + 1 : strides[0],
                j : j + (columns - 1) * strides[1] + 1 : strides[1],
            ]
            for i in range(height)
            for j in range(width)
        ],
        axis=-1,
    )
    return jnp.matmul(patches, kernel.reshape(-1, features), precision=precision)


def _dense(images, kernel, strides, padding, precision):
    """Multiply the images with one matrix from all input pixels to all output pixels.

    The columns of an output pixel are a window of the kernel padded with zeros.
    """
    batch, height, width, _ = images.shape
    features = kernel.shape[-1]
    rows, columns = output_size(images, kernel, strides, padding)
    # Input pixel a meets output pixel i through tap a - i stride + low. That is the entry
    # a + (outputs - 1 - i) stride of `padded`.
    margins = [
        ((outputs - 1) * stride - low, pixels - taps + low, 0)
        for outputs, stride, (low, _), pixels, taps in zip(
            (rows, columns), strides, padding, (height, width), kernel.shape, strict=False
        )
    ]
    padded = lax.pad(kernel, jnp.zeros((), kernel.dtype), (*margins, (0, 0, 0), (0, 0, 0)))
    starts = [
        [(outputs - 1 - i) * stride for i in range(outputs)]
        for outputs, stride in zip((rows, columns), strides, strict=True)
    ]
    matrix = jnp.concatenate(
        [
            padded[i : i + height, j : j + width].reshape(-1, features)
            for i in starts[0]
            for j in starts[1]
        ],
        axis=-1,
    )
    return jnp.matmul(images.reshape(batch, -1), matrix, precision=precision).reshape(
        batch, rows, columns, features
    )
