"""Convolutions whose derivatives of every order are products that are fast on CPU.

There are two primitives: the convolution of images with a kernel, and the correlation of images
with cotangents, which is the gradient of the kernel. Every derivative of the two is one of the two
again, so JAX derives no form of its own.

Notes:
    A custom_vjp would not do, because Hessian-vector products need forward mode over reverse mode.
    Nor would a custom_jvp, because JAX would transpose the convolution inside it by the rule that
    is to be avoided. A primitive has rules of its own for both.

    A training step of ResNet-14, batch 128, 32 x 32 x 3, takes 355 ms of one core in long windows
    (jaxlib 0.10.2), where large products do 104 GFLOP/s and would take 190 ms for its 20 GFLOP.
    PyTorch 2.13 takes 280 ms. Convolutions and gradients of images take 180 ms, gradients of
    kernels 100 ms, and all norms, activations and additions 70 ms.

    XLA has two libraries for convolutions, YNNPACK and Eigen, which takes those of 16 features and
    fewer. At 32 x 32 x 16, YNNPACK takes 9.7 ms for pairs of pixels, at the rate of large products
    but for a third more operations, and Eigen takes 13.4 ms for pixels. At 32 x 32 x 3 to 16 they
    take 3.1 and 9.9 ms. At 16 x 16 x 32, where pixels take 6.2 ms, pairs would be slower.

    These have been tried (3x3 unless said, batch 128). Shares of a step, and times of pairs, are of
    the machine above; other times are milliseconds of one core of a machine twice as fast:

    - Pairs whose neighbours are further taps of the kernel, without a copy of the images: 14.3 for
      9.7 above. Pairs as features of a convolution of stride 2, also without a copy: 2 % of a step
      slower. Copies made by `lax.pad`: 7 % slower, since the operations before it become scalar.
    - Gradient of the kernel, 32 x 32 x 16: 8.5 as a convolution whose channels are the batch, and
      15 in a step, where its transposes meet other operations; 5.8 here, of which the product takes
      3.3; 9.5 as nine products of shifted maps; 11 with patches in the same blocks; 8.5 and more as
      convolutions of blocks. At 16 x 16 x 32 and 8 x 8 x 64 the last would win, 4.0 and 3.1 against
      5.3 and 4.2, some of which the sum over blocks took, which was apart (4 % of a step). Margins
      added to all images before the blocks: 10 % of a step slower.
    - Stride 2, 32 x 32 x 16 to 16 x 16 x 32, all three products: 32 with patches, about 13 here.
    - oneDNN is in jaxlib but no option of 0.10.2 reaches it (`xla_cpu_use_onednn`,
      `xla_cpu_experimental_onednn_custom_call`). Called by the private name `__onednn$convolution`
      it takes 5.2 forward and 4.1 for the images, 32 x 32 x 16. Its description has changed between
      versions of XLA, and the process ends where it does not match.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

__all__ = ["CHANNELS_LAST", "canonical_convolution", "output_size"]

CHANNELS_LAST = ("NHWC", "HWIO", "NHWC")
# Bytes of the shifted copies of a block of images: about an L2 cache. From 0.3 to 2 MB the time is
# the same.
BLOCK = 2**20
# Pixels of so few channels and features are convolved in pairs.
NARROW = 16


def canonical_convolution(
    images: Array,
    kernel: Array,
    strides: tuple[int, int],
    padding: tuple[tuple[int, int], tuple[int, int]],
    precision: Any,
) -> Array:
    """Return the convolution of images (B, H, W, C) with a kernel (h, w, C, F)."""
    images, kernel = _varying_alike(images, kernel)
    # Read here, as lax does where it binds: the primitive is lowered later, in another context.
    if precision is None:
        precision = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    return convolution_p.bind(images, kernel, strides=strides, padding=padding, precision=precision)


def output_size(images: Any, kernel: Any, strides: Any, padding: Any) -> tuple[int, int]:
    """Return the height and width of what a convolution of these shapes gives."""
    return tuple(
        (images.shape[1 + axis] + sum(padding[axis]) - kernel.shape[axis]) // strides[axis] + 1
        for axis in range(2)
    )


convolution_p = Primitive("canonical_convolution")
correlation_p = Primitive("canonical_correlation")


def _convolve(images, kernel, *, strides, padding, precision):
    batch, (rows, columns) = len(images), output_size(images, kernel, strides, padding)
    if _gains_by_pairs(kernel, strides, padding[1], columns):
        images, kernel, padding = _pairs(images, kernel, padding)
    output = lax.conv_general_dilated(
        images, kernel, strides, padding, dimension_numbers=CHANNELS_LAST, precision=precision
    )
    return output.reshape(batch, rows, columns, -1)


def _gains_by_pairs(kernel, strides, margins, columns):
    """Say whether pairs of pixels are convolved faster than pixels.

    The kernel for pairs has one column more, so 3x3 takes 4/3 of the operations. That pays where
    the channels and features of a pixel are too few for the libraries.
    """
    width = kernel.shape[1]
    whole = width % 2 == 1 and columns % 2 == 0 and min(margins) >= 0 and strides == (1, 1)
    return whole and width > 1 and max(kernel.shape[2:]) <= NARROW


def _pairs(images, kernel, padding):
    """Let neighbouring pixels of a row be one, with twice as many channels and features."""
    # A pad would run through the operations before it, pixel by pixel.
    left, right = (
        jnp.zeros((*images.shape[:2], margin, images.shape[3]), images.dtype)
        for margin in padding[1]
    )
    images = jnp.concatenate([left, images, right], axis=2)
    # The left pixel of a pair meets the taps one column before the right one does.
    left, right = (
        lax.pad(kernel, _zero(kernel), ((0, 0, 0), (*margins, 0), (0, 0, 0), (0, 0, 0)))
        for margins in ((0, 1), (1, 0))
    )
    kernel = jnp.concatenate([left, right], axis=3)
    paired = images.shape[2] // 2, 2 * images.shape[3]
    return (
        images.reshape(*images.shape[:2], *paired),
        kernel.reshape(len(kernel), -1, paired[1], kernel.shape[3]),
        (padding[0], (0, 0)),
    )


def _correlate(images, cotangents, *, taps, strides, padding, precision):
    """Multiply images shifted along height with cotangents shifted along width.

    One product of two matrices then holds all h w taps, from h + w shifted copies. It is taken over
    blocks of images whose copies stay in the cache.
    """
    channels, features = images.shape[3], cotangents.shape[3]
    (rows, columns), width = cotangents.shape[1:3], images.shape[2]
    low, stride = padding[1][0], strides[1]
    # Column c of the images meets output (c - j + low) / stride through tap j.
    margins = (taps[1] - 1 - low, width + low - (columns - 1) * stride - 1, stride - 1)

    def product(images, cotangents):
        none = (0, 0, 0)
        images = lax.pad(images, _zero(images), (none, (*padding[0], 0), none, none))
        cotangents = lax.pad(cotangents, _zero(cotangents), (none, none, margins, none))
        down = [images[:, i : i + (rows - 1) * strides[0] + 1 : strides[0]] for i in range(taps[0])]
        across = [cotangents[:, :, j : j + width] for j in reversed(range(taps[1]))]
        # Unless they are made first, XLA transposes them as it makes them, pixel by pixel.
        down, across = lax.optimization_barrier(
            (
                jnp.concatenate(down, -1).reshape(-1, taps[0] * channels),
                jnp.concatenate(across, -1).reshape(-1, taps[1] * features),
            )
        )
        return lax.dot_general(down, across, (((0,), (0,)), ((), ())), precision=precision)

    copies = rows * width * (taps[0] * channels + taps[1] * features) * images.dtype.itemsize
    size = max(1, min(len(images), BLOCK // copies))
    # Images that are left over would be a program of their own.
    size = next((less for less in range(size, size // 2, -1) if len(images) % less == 0), size)
    whole = len(images) // size * size
    blocks = tuple(x[:whole].reshape(-1, size, *x.shape[1:]) for x in (images, cotangents))
    first, _ = _varying_alike(
        jnp.zeros((taps[0] * channels, taps[1] * features), images.dtype), images
    )
    total, _ = lax.scan(lambda total, block: (total + product(*block), None), first, blocks)
    if whole < len(images):
        total += product(images[whole:], cotangents[whole:])
    return total.reshape(taps[0], channels, taps[1], features).transpose(0, 2, 1, 3)


def _images_from(cotangents, kernel, shape, *, strides, padding, precision):
    """Return the gradient of images of a shape.

    Images come in blocks of `strides` pixels: all pixels of a block meet the same cotangents. So
    the cotangents are convolved, with stride 1, with a kernel whose features are those pixels.
    """
    batch, *pixels, channels = shape
    lows = [low for low, _ in padding]
    taps, margins, pads, blocks, starts = zip(
        *map(_blocks, pixels, cotangents.shape[1:3], kernel.shape[:2], strides, lows), strict=True
    )
    kernel = lax.pad(kernel, _zero(kernel), (*margins, (0, 0, 0), (0, 0, 0)))
    kernel = kernel.reshape(taps[0], strides[0], taps[1], strides[1], channels, -1)
    kernel = lax.rev(kernel, (0, 2)).transpose(0, 2, 5, 1, 3, 4)
    images = convolution_p.bind(
        cotangents,
        kernel.reshape(*kernel.shape[:3], -1),
        strides=(1, 1),
        padding=pads,
        precision=precision,
    )
    images = images.reshape(batch, *blocks, *strides, channels).transpose(0, 1, 3, 2, 4, 5)
    images = images.reshape(batch, blocks[0] * strides[0], blocks[1] * strides[1], channels)
    rows, columns = (slice(start, start + size) for start, size in zip(starts, pixels, strict=True))
    return images[:, rows, columns]


def _blocks(pixels, outputs, taps, stride, low):
    """Return how the pixels of an axis are dealt out to blocks of `stride`, pixel 0 as number low.

    Returns:
        Taps of a block, margins of the kernel that fill them, padding of the cotangents, number of
        blocks, and place of pixel 0.
    """
    count, first = -(-taps // stride), low // stride
    size = -(-(pixels + low) // stride) - first
    margins = (0, count * stride - taps, 0)
    return count, margins, (count - 1 - first, size + first - outputs), size, low - first * stride


# The argument that a cotangent is for comes as a placeholder with its type alone.
def _images_cotangent(cotangents, images, kernel, **parameters):
    return _images_from(cotangents, kernel, images.aval.shape, **parameters)


def _kernel_cotangent(cotangents, images, kernel, **parameters):
    return correlation_p.bind(images, cotangents, taps=kernel.aval.shape[:2], **parameters)


def _correlated_images_cotangent(kernel, images, cotangents, *, taps, **parameters):
    return _images_from(cotangents, kernel, images.aval.shape, **parameters)


def _correlated_outputs_cotangent(kernel, images, cotangents, *, taps, **parameters):
    return convolution_p.bind(images, kernel, **parameters)


def _zero(array):
    return jnp.zeros((), array.dtype)


def _batched_convolution(arguments, axes, **parameters):
    """Map over members: one longer batch if they share the kernel, else a loop over the kernels.

    The loop is faster than XLA's grouped convolution.
    """
    if axes[1] is not None:
        return _looped(convolution_p, arguments, axes, **parameters)
    images, kernel = jnp.moveaxis(arguments[0], axes[0], 0), arguments[1]
    output = convolution_p.bind(images.reshape(-1, *images.shape[2:]), kernel, **parameters)
    return output.reshape(*images.shape[:2], *output.shape[1:]), 0


def _looped(primitive, arguments, axes, **parameters):
    """Map over members in a loop."""
    mapped = [
        jnp.moveaxis(x, axis, 0)
        for x, axis in zip(arguments, axes, strict=True)
        if axis is not None
    ]

    def one(members):
        members = iter(members)
        pair = (
            x if axis is None else next(members) for x, axis in zip(arguments, axes, strict=True)
        )
        return primitive.bind(*pair, **parameters)

    return lax.map(one, mapped), 0


def _varying_alike(*arrays):
    """Let all arrays vary over every mesh axis that any of them varies over, as lax does."""
    avals = [jax.typeof(array) for array in arrays]
    # `mat` is jax 0.10's name, `vma` that of earlier versions.
    varying = [aval.mat.varying if hasattr(aval, "mat") else aval.vma for aval in avals]
    missing = [tuple(frozenset().union(*varying) - axes) for axes in varying]
    return [
        lax.pcast(array, axes, to="varying") if axes else array
        for array, axes in zip(arrays, missing, strict=True)
    ]


def _register(primitive, function, shape, cotangents, batched):
    primitive.def_impl(function)
    primitive.def_abstract_eval(
        lambda images, other, **parameters: images.update(shape=shape(images, other, **parameters))
    )
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=False))
    ad.defbilinear(primitive, *cotangents)
    batching.primitive_batchers[primitive] = batched


_register(
    convolution_p,
    _convolve,
    lambda images, kernel, *, strides, padding, precision: (
        images.shape[0],
        *output_size(images, kernel, strides, padding),
        kernel.shape[3],
    ),
    (_images_cotangent, _kernel_cotangent),
    _batched_convolution,
)
_register(
    correlation_p,
    _correlate,
    lambda images, cotangents, *, taps, **_: (*taps, images.shape[3], cotangents.shape[3]),
    (_correlated_images_cotangent, _correlated_outputs_cotangent),
    partial(_looped, correlation_p),
)
