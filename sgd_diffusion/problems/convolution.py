"""How convolutions are executed; flax layers take it as `nn.Conv(conv_general_dilated=convolution)`."""

import jax
import jax.numpy as jnp
from jax import lax

FORMULATIONS = ("xla", "patches")


def default_formulation():
    """Return "patches" on CPU and "xla" elsewhere."""
    return "patches" if jax.default_backend() == "cpu" else "xla"


def convolution(lhs, rhs, window_strides, padding, lhs_dilation=None, rhs_dilation=None, dimension_numbers=None,
                feature_group_count=1, precision=None, formulation=None, **rest):
    """Return `lax.conv_general_dilated` of the same arguments, computed in the form that is fast on this backend."""
    formulation = default_formulation() if formulation is None else formulation
    if formulation not in FORMULATIONS:
        raise ValueError(f"formulation={formulation!r}: expected one of {FORMULATIONS}")
    dims = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    plain = (feature_group_count == 1 and not rest and all(d == 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ())))
             and dims == lax.conv_dimension_numbers(lhs.shape, rhs.shape, ("NHWC", "HWIO", "NHWC")))
    if formulation == "xla" or not plain:
        return lax.conv_general_dilated(lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers,
                                        feature_group_count, precision=precision, **rest)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], window_strides, padding)
    return _patches_times_matrix(lhs, rhs, window_strides, padding, precision)


def _patches_times_matrix(x, kernel, strides, padding, precision):
    """Gather the window of every output pixel into a row, and multiply the rows by the kernel as a matrix."""
    height, width, channels, features = kernel.shape
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (*padding[0], 0), (*padding[1], 0), (0, 0, 0)))
    rows, columns = ((x.shape[1] - height) // strides[0], (x.shape[2] - width) // strides[1])
    patches = jnp.concatenate(
        [lax.slice(x, (0, i, j, 0), (x.shape[0], i + rows * strides[0] + 1, j + columns * strides[1] + 1, channels),
                   (1, *strides, 1)) for i in range(height) for j in range(width)], axis=-1)
    return lax.dot_general(patches, kernel.reshape(-1, features), (((3,), (0,)), ((), ())), precision=precision)
