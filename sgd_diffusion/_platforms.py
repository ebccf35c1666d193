"""Which platform a program is for, asked of its devices and not of the process.

A program may be for other devices than the default ones: for some of several, for those of another
process, or for a chip that is not at hand, when it is only compiled. JAX keeps the mesh of the
program that is traced, and the platform of its devices.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import jax
from jax.sharding import AbstractDevice, AbstractMesh

from sgd_diffusion.errors import invalid

__all__ = ["host", "platform", "run_once", "traced_on", "where_float64_is"]

# Without any optimization (level 0), numbers would differ in their last digits.
CHEAP_ON_CPU = {
    "xla_backend_optimization_level": 1,
    "xla_cpu_use_fusion_emitters": False,
    "xla_llvm_disable_expensive_passes": True,
}


def platform(*arrays: object) -> str:
    """Return the platform that a computation runs on: "cpu", "gpu" or "tpu".

    It is that of the arrays, where one of them is no tracer; then that of the mesh in whose context
    the computation is traced (`jax.set_mesh`, `jax.shard_map`, `traced_on`); then that of
    `jax.default_device`, and last the default backend. All of these belong to the keys of JAX's
    caches of traces.
    """
    for array in arrays:
        if isinstance(array, jax.Array) and not isinstance(array, jax.core.Tracer):
            return array.addressable_shards[0].device.platform
    device = jax.sharding.get_abstract_mesh().abstract_device
    if device is not None:
        return device.platform
    default = jax.config.jax_default_device  # type: ignore[attr-defined]
    if default is None:
        return jax.default_backend()
    return default if isinstance(default, str) else default.platform


@contextlib.contextmanager
def traced_on(platform: str) -> Iterator[None]:
    """Let what is traced inside be for a platform of which no device need be at hand."""
    device = AbstractDevice(device_kind=platform, num_cores=None, platform=platform)
    with jax.sharding.use_abstract_mesh(AbstractMesh((1,), ("devices",), abstract_device=device)):
        yield


@contextlib.contextmanager
def where_float64_is() -> Iterator[None]:
    """Compute on the host what is computed inside, if the platform is TPU.

    TPUs emulate sums and products of float64. Their compiler refuses Fourier transforms and
    decompositions of matrices of it, and takes minutes for much else. Arrays that are bound to a
    device, and programs that are being traced, stay where they are.
    """
    if platform() != "tpu" or isinstance(jax.lax.add(0, 0), jax.core.Tracer):
        yield
        return
    with jax.default_device(host()):
        yield


def host() -> jax.Device:
    """Return the CPU as a device of this process.

    Raises:
        InputError: JAX was told to leave it out.
    """
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        left = jax.config.jax_platforms  # type: ignore[attr-defined]
        raise invalid(
            "JAX_PLATFORMS",
            f"is {left!r}, which leaves out the CPU",
            f"{left},cpu",
            "some tables are made on the host; programs run on the first platform all the same",
        ) from error


def run_once(program: Any, *arguments: Any, platform: str) -> Any:
    """Return the results of a jitted program that runs once on a platform.

    On CPU it takes half the time to compile, and gives the same numbers bit for bit. It runs at
    once, also where another program is traced. What XLA_FLAGS says goes before.
    """
    said = os.environ.get("XLA_FLAGS", "")
    cheap = {name: value for name, value in CHEAP_ON_CPU.items() if f"--{name}" not in said}
    options = cheap if platform == "cpu" else None
    return program.lower(*arguments).compile(compiler_options=options)(*arguments)
