"""How convolutions are executed: the one place that knows what is fast on which backend.

Flax layers take it as `nn.Conv(conv_general_dilated=convolution)`, or a `partial(convolution,
formulation=...)`.

On GPU and TPU `lax.conv_general_dilated` is used as it is. On CPU (jaxlib 0.10) it has a trap.
XLA's libraries need channels-last operands, and the pass that transposes other convolutions into
that form visits only the entry computation (xla/service/cpu/conv_canonicalization.cc, "top-level
convolutions"). The gradients that JAX derives from a convolution have swapped dimensions, so that
inside `lax.scan` or `lax.map` they are left to scalar loops: on two cores, for the kernel gradient
of 3x3, 16 -> 16 channels, batch 128 at 8 x 8, 94 ms in a loop and 0.36 ms outside. Hence

    dense      the kernel written out as a matrix from all input to all output pixels. Where the map has fewer pixels
               than the kernel has taps (3x3 on 2 x 2) it has the fewest multiplications and copies
               no image.
    patches    the window of every output pixel as a row, times the kernel as a matrix. Strided and 1x1 kernels, and
               float64, which the libraries do not convolve.
    canonical  a convolution whose gradients are written as channels-last convolutions from the
    start. All others.
               Patches need 9 times the memory of the map here: all three products of the case above
               at 32 x 32 took 71 ms, canonical 23 ms (interleaved, in a loop).
    xla        `lax.conv_general_dilated`.

All agree up to rounding in value and in derivatives of every order and mode, under jit, vmap, scan
and shard_map.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from sgd_diffusion.errors import InputError

FORMULATIONS = ("xla", "canonical", "patches", "dense")
_CHANNELS_LAST = ("NHWC", "HWIO", "NHWC")


def convolution(
    lhs,
    rhs,
    window_strides,
    padding,
    lhs_dilation=None,
    rhs_dilation=None,
    dimension_numbers=None,
    feature_group_count=1,
    precision=None,
    *,
    formulation=None,
    **options,
):
    """Return `lax.conv_general_dilated` of the same arguments, executed in the form that is fast on
    this backend.

    Args:
        lhs: images (batch, height, width, channels).
        rhs: kernel (kernel height, kernel width, channels, features). Other layouts, dilation and
            groups are left to `lax.conv_general_dilated`.
        window_strides: as in `lax.conv_general_dilated`, like all up to `precision`, and `options`.
            A precision of None is that of `jax.default_matmul_precision` when the function is
            called, in every formulation.
        formulation: one of `FORMULATIONS`. None chooses: by shape on CPU, "xla" elsewhere. The
            backend is `jax.default_backend()` when the function is traced; name the formulation to
            compile for another one, or where vmap over members with kernels of their own would make
            XLA's grouped convolution ("patches" becomes a batched matrix product, "canonical" a
            loop).

    Returns:
        (batch, output height, output width, features).

    Raises:
        InputError: for an unknown formulation, and for a named one that cannot do what is asked:
            all but "xla" need two spatial dimensions, channels last, no dilation or groups;
            "canonical" needs stride 1.
    """
    if formulation not in (None, *FORMULATIONS):
        raise InputError(
            f"Parameter 'formulation'={formulation!r} is unknown. Expected None or one of "
            f"{FORMULATIONS}."
        )
    known = _is_plain(
        lhs, rhs, dimension_numbers, lhs_dilation, rhs_dilation, feature_group_count, options
    )
    if not known and formulation not in (None, "xla"):
        raise InputError(
            f"Parameter 'formulation'={formulation!r} cannot convolve images {lhs.shape} with "
            f"kernel {rhs.shape} as asked. Expected NHWC images, an HWIO kernel, no dilation and "
            "no groups: leave formulation=None, or take 'xla'."
        )
    if known and formulation is None:
        formulation = _fastest(lhs, rhs, window_strides)
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
    return {"canonical": _canonical, "patches": _patches, "dense": _dense}[formulation](
        lhs, rhs, strides, padding, precision
    )


def _is_plain(
    lhs, rhs, dimension_numbers, lhs_dilation, rhs_dilation, feature_group_count, options
):
    """Whether the arguments are those of an ordinary channels-last convolution in two dimensions."""
    if lhs.ndim != 4 or lhs.dtype != rhs.dtype or feature_group_count != 1 or options:
        return False
    if any(dilation != 1 for dilation in (*(lhs_dilation or ()), *(rhs_dilation or ()))):
        return False
    given, plain = (
        lax.conv_dimension_numbers(lhs.shape, rhs.shape, numbers)
        for numbers in (dimension_numbers, _CHANNELS_LAST)
    )
    return given == plain


def _fastest(images, kernel, strides):
    """Return the formulation to use on this backend; the module's docstring has the reasons."""
    if jax.default_backend() != "cpu":
        return "xla"
    pixels, taps = images.shape[1] * images.shape[2], kernel.shape[0] * kernel.shape[1]
    if pixels < taps:
        return "dense"
    if taps == 1 or tuple(strides) != (1, 1) or images.dtype != jnp.float32:
        return "patches"
    return "canonical"


def _output_size(images, kernel, strides, padding):
    return tuple(
        (images.shape[1 + axis] + sum(padding[axis]) - kernel.shape[axis]) // strides[axis] + 1
        for axis in range(2)
    )


def _patches(images, kernel, strides, padding, precision):
    """Row per output pixel: for every tap the strided map of the pixels that it meets, side by side
    on the channels.
    """
    rows, columns = _output_size(images, kernel, strides, padding)
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
    """One matrix from all input to all output pixels: the columns of a pixel are a window of the
    zero-padded kernel.
    """
    batch, height, width, _ = images.shape
    features = kernel.shape[-1]
    rows, columns = _output_size(images, kernel, strides, padding)
    # Input pixel a meets output pixel i through tap a - i stride + low: entry a + (outputs - 1 - i)
    # stride of `padded`.
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


def _canonical(images, kernel, strides, padding, precision):
    """Bind the primitive below; stride 1 makes all three of its products convolutions without
    dilation.
    """
    if strides != (1, 1):
        raise InputError(
            f"Parameter 'window_strides'={strides} does not go with formulation='canonical'. "
            "Expected (1, 1): take 'patches'."
        )
    images, kernel = _varying_alike(images, kernel)
    if (
        precision is None
    ):  # as lax does where it binds; what the primitive becomes is traced later, in another context
        precision = jax.config.jax_default_matmul_precision
    return canonical_p.bind(images, kernel, padding=padding, precision=precision)


# A primitive and not a custom_vjp, because Hessian-vector products need forward mode over reverse
# mode; and not a custom_jvp, because JAX would transpose the convolution inside of it by its own
# rule, which is the one to avoid.
canonical_p = Primitive("canonical_convolution")


def _convolve(images, kernel, *, padding, precision):
    return lax.conv_general_dilated(
        images, kernel, (1, 1), padding, dimension_numbers=_CHANNELS_LAST, precision=precision
    )


def _abstract(images, kernel, *, padding, precision):
    rows, columns = _output_size(images, kernel, (1, 1), padding)
    return images.update(shape=(images.shape[0], rows, columns, kernel.shape[-1]))


def _images_cotangent(cotangent, images, kernel, *, padding, precision):
    full = tuple(
        (taps - 1 - low, taps - 1 - high)
        for taps, (low, high) in zip(kernel.shape, padding, strict=False)
    )
    return canonical_p.bind(
        cotangent, lax.rev(kernel, (0, 1)).swapaxes(2, 3), padding=full, precision=precision
    )


def _kernel_cotangent(cotangent, images, kernel, *, padding, precision):
    """Convolve the images with the cotangent as kernel, and the batch as the channels that are
    summed.
    """
    swapped = canonical_p.bind(
        images.transpose(3, 1, 2, 0),
        cotangent.transpose(1, 2, 0, 3),
        padding=padding,
        precision=precision,
    )
    return swapped.transpose(1, 2, 0, 3)


def _batched(arguments, axes, **parameters):
    """A shared kernel sees one longer batch; kernels of their own are a loop, faster than XLA's
    grouped convolution.
    """
    images, kernel = (
        x if axis is None else jnp.moveaxis(x, axis, 0)
        for x, axis in zip(arguments, axes, strict=True)
    )
    if axes[1] is None:
        output = canonical_p.bind(images.reshape(-1, *images.shape[2:]), kernel, **parameters)
        return output.reshape(*images.shape[:2], *output.shape[1:]), 0
    if axes[0] is None:
        return lax.map(lambda one: canonical_p.bind(images, one, **parameters), kernel), 0
    return lax.map(lambda pair: canonical_p.bind(*pair, **parameters), (images, kernel)), 0


def _varying_alike(*arrays):
    """Declare every array to vary over those mesh axes of a shard_map that any of them varies over,
    as lax does.
    """
    avals = [jax.typeof(array) for array in arrays]
    varying = [
        aval.mat.varying if hasattr(aval, "mat") else aval.vma for aval in avals
    ]  # jax 0.10; earlier ones
    missing = [tuple(frozenset().union(*varying) - axes) for axes in varying]
    return [
        lax.pcast(array, axes, to="varying") if axes else array
        for array, axes in zip(arrays, missing, strict=True)
    ]


canonical_p.def_impl(_convolve)
canonical_p.def_abstract_eval(_abstract)
mlir.register_lowering(canonical_p, mlir.lower_fun(_convolve, multiple_results=False))
ad.defbilinear(canonical_p, _images_cotangent, _kernel_cotangent)
batching.primitive_batchers[canonical_p] = _batched
