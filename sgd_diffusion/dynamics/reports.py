"""Reports from running programs to the host, which JAX can keep on disk with the programs.

JAX never writes a program with a callback to its compilation cache, since it cannot find the Python
function again. So on CPU programs call a target of XLA's foreign function interface, by its name.
The target is a C function that `ctypes` makes, and hands the report on to the Python function with
the number that the program gives. The structures are those of xla/ffi/api/c_api.h, which XLA
promises to support for a year after it changes them. An XLA that does not any more says so, and the
programs have a callback then.
"""

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from sgd_diffusion._types import ArrayLike
from sgd_diffusion.dynamics.shards import shards

__all__ = ["report_to_host"]

TARGET = "sgd_diffusion_report"
API_VERSION = (0, 1)  # of the structures below; later versions only add to them
METADATA = 1  # extension by which XLA asks for this version, in place of a call
INTERNAL = 13  # error code

# Functions that programs report to, by the number that they are given. They stay as long as the
# process, like the programs that jit keeps.
_listeners: list[Callable[[Any, Any], None]] = []


def report_to_host(report: Callable[[Any, Any], None], step: ArrayLike, loss: ArrayLike) -> None:
    """Call `report(step, loss)` on the host when the program that is traced comes here.

    Mapped over members, it is called for each of them.

    Args:
        report: the function. What it raises ends the program.
        step: () int32.
        loss: () floating.
    """
    # XLA would call the target on all devices of the member.
    if shards() > 1 or not _registered(TARGET):
        jax.debug.callback(report, step, loss)
        return
    if report not in _listeners:
        _listeners.append(report)
    number = jnp.int32(_listeners.index(report))

    def by_name(step, loss):
        call = jax.ffi.ffi_call(TARGET, (), has_side_effect=True, vmap_method="broadcast_all")
        call(number, jnp.asarray(step, jnp.int32), jnp.asarray(loss, jnp.float32))

    jax.lax.platform_dependent(
        step,
        loss,
        cpu=by_name,
        default=lambda step, loss: jax.debug.callback(report, step, loss),
    )


class _Version(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("major", ctypes.c_int),
        ("minor", ctypes.c_int),
    )


class _Metadata(ctypes.Structure):
    _fields_ = (("struct_size", ctypes.c_size_t), ("version", _Version))


class _Extension(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("type", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("metadata", ctypes.POINTER(_Metadata)),
    )


class _Error(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("message", ctypes.c_char_p),
        ("code", ctypes.c_int),
    )


class _Api(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("version", _Version),
        ("internal", ctypes.c_void_p),
        ("error", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_Error))),
    )


class _Buffer(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("dtype", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("rank", ctypes.c_int64),
        ("dims", ctypes.POINTER(ctypes.c_int64)),
    )


class _Arguments(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("size", ctypes.c_int64),
        ("types", ctypes.POINTER(ctypes.c_int)),
        ("buffers", ctypes.POINTER(ctypes.POINTER(_Buffer))),
    )


class _Call(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension", ctypes.POINTER(_Extension)),
        ("api", ctypes.POINTER(_Api)),
        ("context", ctypes.c_void_p),
        ("stage", ctypes.c_int),
        ("arguments", _Arguments),
    )


@ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_Call))
def _handler(call):
    """Answer XLA: return no error, or one with what the report raised."""
    call = call.contents
    if call.extension and call.extension.contents.type == METADATA:
        version = call.extension.contents.metadata.contents.version
        version.major, version.minor = API_VERSION
        return None
    try:
        numbers, steps, losses = (
            _values(call.arguments.buffers[place].contents, kind)
            for place, kind in enumerate((ctypes.c_int32, ctypes.c_int32, ctypes.c_float))
        )
        for number, step, loss in zip(numbers, steps, losses, strict=True):
            _listeners[number](step, loss)
    except BaseException as error:  # no other way out of here
        said = f"the report of a running program failed: {type(error).__name__}: {error}"
        given = _Error(ctypes.sizeof(_Error), None, said.encode(), INTERNAL)
        return call.api.contents.error(ctypes.byref(given))
    return None


def _values(buffer, kind):
    """Return the numbers of a buffer, which belongs to XLA and is gone after the call."""
    count = 1
    for axis in range(buffer.rank):
        count *= buffer.dims[axis]
    return list((kind * count).from_address(buffer.data)) if count else []


@functools.cache
def _registered(target):
    """Give XLA the target, once; return whether it takes this version of the structures."""
    pointer = ctypes.cast(_handler, ctypes.c_void_p).value
    try:
        jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(pointer), platform="cpu")
    except jax.errors.JaxRuntimeError:
        return False
    return True
