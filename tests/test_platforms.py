"""A program is for the platform of its devices, whatever the default one is."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, PartitionSpec

import sgd_diffusion as sd
from sgd_diffusion import Plan
from sgd_diffusion._arrays import in_double, own_precision
from sgd_diffusion._platforms import CHEAP_ON_CPU, host, platform, run_once, traced_on
from sgd_diffusion.dynamics.ensemble import Ensemble
from sgd_diffusion.errors import InputError

OTHERS = ("gpu", "tpu")


def seen_in_a_trace(**options):
    seen = []
    jax.jit(lambda x: seen.append(platform(x)) or x, **options).trace(1.0)
    return seen


def test_the_default_is_that_of_the_backend():
    assert platform() == jax.default_backend()
    assert seen_in_a_trace() == [jax.default_backend()]


@pytest.mark.parametrize("name", OTHERS)
def test_a_mesh_says_what_a_program_is_for(name):
    chip = AbstractDevice(device_kind="one", num_cores=1, platform=name)
    mesh = AbstractMesh((2,), ("data",), abstract_device=chip)
    with jax.sharding.use_abstract_mesh(mesh):
        assert seen_in_a_trace() == [name]
    assert seen_in_a_trace() == [jax.default_backend()]

    seen = []
    mapped = jax.shard_map(
        lambda x: seen.append(platform(x)) or x,
        mesh=mesh,
        in_specs=PartitionSpec("data"),
        out_specs=PartitionSpec("data"),
    )
    jax.eval_shape(mapped, jnp.arange(4.0))
    assert seen == [name]


def test_a_trace_for_one_platform_does_not_serve_another():
    """JAX keeps traces of a function by what decides about the platform."""
    seen = []

    @jax.jit
    def function(x):
        seen.append(platform(x))
        return x

    function.trace(1.0)
    with traced_on("tpu"):
        function.trace(1.0)
    with traced_on("gpu"):
        function.trace(1.0)
    function.trace(1.0)
    assert seen == [jax.default_backend(), "tpu", "gpu"]


def test_arrays_and_the_default_device_are_asked():
    device = jax.local_devices(backend="cpu")[-1]
    array = jax.device_put(jnp.zeros(2), device)
    with traced_on("tpu"):
        assert platform(array) == "cpu"
        assert platform(np.zeros(2)) == platform() == "tpu"
    with jax.default_device(device):
        assert platform() == "cpu"


def test_the_gram_matrix_is_float64_where_the_platform_has_it():
    dw = jax.ShapeDtypeStruct((5, 3), jnp.float32)
    for name, dtype in (("cpu", "float64"), ("gpu", "float64"), ("tpu", "float32")):
        with traced_on(name):
            assert jax.eval_shape(sd.step_gram, dw).dtype == dtype


def test_a_single_device_is_the_one_that_was_named(regression):
    device = jax.devices()[-1]
    ensemble = Ensemble(
        regression,
        Plan(window=2, batch_size=5),
        measure_path=lambda record: {"losses": record.losses},
        devices=[device],
    )
    carry, _ = ensemble.window(ensemble.start(), 0)
    for array in jax.tree.leaves(carry):
        assert array.devices() == {device}


def test_without_a_cpu_the_way_out_is_said(monkeypatch):
    def local_devices(backend):
        raise RuntimeError(f"Unknown backend {backend}")

    config = types.SimpleNamespace(jax_platforms="cuda")
    without = types.SimpleNamespace(local_devices=local_devices, config=config)
    monkeypatch.setattr("sgd_diffusion._platforms.jax", without)
    with pytest.raises(InputError, match="is 'cuda', which leaves out the CPU; expected cuda,cpu"):
        host()


def test_float64_is_on_the_host_where_the_platform_has_none(monkeypatch):
    """The host is another device here, so that it can be told where numbers were computed."""
    default, other = jax.devices()[0], jax.devices()[-1]
    monkeypatch.setattr("sgd_diffusion._platforms.host", lambda: other)
    single = jnp.arange(3, dtype=jnp.float32)
    assert default != other and single.devices() == {default}

    def places(values):
        with in_double():
            doubled = jnp.asarray(values, jnp.float64) * 2
        with own_precision("values", np.asarray(values, np.float64)) as wide:
            return doubled.devices(), wide.devices()

    assert places(single) == ({default}, {default})
    monkeypatch.setattr("sgd_diffusion._platforms.platform", lambda: "tpu")
    assert places(single) == ({other}, {other})
    with own_precision("values", single) as narrow:
        assert narrow.devices() == {default}
    assert jax.config.jax_default_device is None


def test_a_program_for_a_platform_without_float64_stays_there(monkeypatch):
    monkeypatch.setattr("sgd_diffusion._platforms.platform", lambda: "tpu")
    seen = []

    @jax.jit
    def program(x):
        with in_double():
            seen.append(jax.config.jax_default_device)
            return x * 2

    program.trace(1.0)
    assert seen == [None]


@pytest.mark.parametrize("said", ["", "--xla_backend_optimization_level=3"])
def test_what_runs_once_is_cheap_unless_the_user_says_how_to_compile(monkeypatch, said):
    monkeypatch.setenv("XLA_FLAGS", said)
    seen = []

    class Program:
        def lower(self, *arguments):
            assert arguments == (2,)
            return self

        def compile(self, compiler_options):
            seen.append(compiler_options)
            return lambda x: x + 1

    assert run_once(Program(), 2, platform="cpu") == 3
    assert run_once(Program(), 2, platform="tpu") == 3
    cheap, as_usual = seen
    assert as_usual is None
    assert cheap.keys() == CHEAP_ON_CPU.keys() - (
        {"xla_backend_optimization_level"} if said else ()
    )
