"""Chips that programs can be compiled for, with what their makers say of them."""

import importlib.util
import os
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import jax
from jax.experimental import topologies

from sgd_diffusion.errors import invalid

TARGET = pathlib.Path(__file__).with_name("h100.txtpb")
# The compiler for TPUs asks no cloud where it runs, and several processes may use it.
SETTINGS = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


class Chip(NamedTuple):
    """A kind of chip.

    Attributes:
        platform: "tpu" or "gpu".
        generation: what the compiler calls it.
        topology: that of a single chip.
        peaks: operations a second of dense products, {(type, precision): number}.
        bandwidth: bytes a second of its memory.
        memory: bytes.
        source: of these numbers.
        module: what has to be installed.
    """

    platform: str
    generation: str
    topology: str
    peaks: Mapping[tuple[str, str], float]
    bandwidth: float
    memory: float
    source: str
    module: str

    def devices(self, topology: str | None = None) -> list[jax.Device]:
        """Return the chips of a topology, such as "2x2", which need not be at hand.

        Raises:
            InputError: the compiler for this chip is not installed, or does not know the topology.
        """
        if importlib.util.find_spec(self.module) is None:
            raise invalid(
                "chip",
                f"is a {self.generation}, whose compiler, {self.module}, is not installed",
                "a compiler",
                "pip install '.[aot]' brings those of all chips, without CUDA",
            )
        wanted = topology or self.topology
        try:
            if self.platform == "tpu":
                return self._tpus(wanted)
            described = topologies.get_topology_desc(
                platform="cuda", topology=_of_gpus(wanted), target_config=TARGET.read_text()
            )
            return list(described.devices)
        except Exception as error:  # of the plugin, of several types
            raise invalid(
                "--topology",
                f"is {wanted}",
                f"one that the compiler for {self.generation} knows",
                str(error).splitlines()[0],
            ) from error

    def _tpus(self, topology):
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        # All in one host: this process can only compile for devices that are its own.
        sides = (*map(int, topology.split("x")), 1)[:3]
        described = topologies.get_topology_desc(
            platform="tpu",
            topology_name=f"{self.generation}:{topology}",
            chips_per_host_bounds=sides,
        )
        return list(described.devices)


def _of_gpus(topology: str) -> str:
    """Return slices x hosts x chips: all chips are in one host."""
    count = 1
    for side in topology.split("x"):
        count *= int(side)
    return f"1x1x{count}"


def _tpu(generation: str, peak: float, bandwidth: float, memory: float, page: str) -> Chip:
    """A TPU, whose products of float32 are one, three or six of bfloat16."""
    passes = {"DEFAULT": 1, "HIGH": 3, "HIGHEST": 6}
    peaks = {("f32", name): peak / count for name, count in passes.items()}
    return Chip(
        "tpu",
        generation,
        "1x1x1",
        peaks | {("bf16", name): peak for name in passes},
        bandwidth,
        memory,
        f"Google Cloud, {page}, https://cloud.google.com/tpu/docs/{generation}",
        "libtpu",
    )


CHIPS = {
    "tpu-v5e": _tpu("v5e", 197e12, 819e9, 16e9, "TPU v5e"),
    "tpu-v6e": _tpu("v6e", 918e12, 1640e9, 32e9, "TPU v6e"),
    "h100": Chip(
        "gpu",
        "H100 SXM",
        "1",
        {
            ("f32", "DEFAULT"): 494.5e12,  # TF32 without sparsity
            ("f32", "HIGH"): 494.5e12 / 3,
            ("f32", "HIGHEST"): 67e12,
            **{("bf16", name): 989.5e12 for name in ("DEFAULT", "HIGH", "HIGHEST")},
            **{("f64", name): 67e12 for name in ("DEFAULT", "HIGH", "HIGHEST")},
        },
        3.35e12,
        80e9,
        "NVIDIA H100 Tensor Core GPU datasheet, https://www.nvidia.com/en-us/data-center/h100",
        "jax_cuda13_plugin",
    ),
}
