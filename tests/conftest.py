"""Problems that compile in a blink and the measurements of a run, shared by the tests."""

import functools
import gc

# Objects that are made before Python looks for cycles among them, of which JAX leaves few. With the
# 700 of Python the search takes a tenth of the time, and 2 s of a worker's imports.
gc.set_threshold(100_000)

import itertools
import os
import pathlib
import shutil
import tempfile

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import result_types
import xarray as xr
from jax._src import compiler
from jax._src import config as jax_config
from jax._src.interpreters import mlir, partial_eval
from xdist.scheduler import LoadFileScheduling

result_types.install()  # before the package is imported

# Its rooms are loaded when they are first used, and never in the process that starts the workers.
import sgd_diffusion as sd

# At the end of a test file. Every compiled program has three; Linux gives a process 65,530.
MOST_MAPS = 45_000
# To count them takes 10 ms. A file compiles 600 programs at most.
FILES_A_COUNT = 10
files_done = itertools.count(1)
# Tests run for milliseconds and compile for seconds: LLVM at its lowest level, without its
# expensive passes, and loops that are not fused compile five times as fast. And every core has a
# worker; splitting a program among cores to generate its code takes a fifth more time, and to run
# it a little more.
QUICK_TO_COMPILE = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
    "--xla_cpu_multi_thread_eigen=false",
)
# Users have one for each core. With three, members can be left over.
DEVICES = 3
# In seconds. What takes longer to compile is written for the processes that this one starts. To
# write and to read the many small programs took a tenth of the time of tests, and to write those
# above 0.1 s a twentieth.
WORTH_WRITING = 1.0
# That a process has in memory, the last ones: the next tests of a file ask for them again.
MOST_PROGRAMS = 2_000
# What fits stable laws; a worker makes their tables in 10 s.
SAME_PROGRAMS = (
    "tests/analysis/stable/",
    "tests/experiments/test_accelerator_benchmark.py",
    "tests/experiments/test_fractal_toy.py",
    "tests/experiments/test_gradient_tails.py",
    "tests/tables/test_gradient_tails.py",
    "tests/tables/test_toy_walks.py",
    "tests/tables/test_walk_statistics.py",
)
# The disk of temporary files, if the system has it and nobody has named another. Tests write
# thousands of small files and wait for each to be on the disk.
IN_MEMORY = pathlib.Path("/dev/shm")
ENOUGH = 2**31  # bytes; all tests together take a tenth
# In the environment: where the process that started this one keeps compiled programs.
KEPT = "SGD_DIFFUSION_TESTS"


# A time limit for single examples would fail on a busy machine.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")


def pytest_addoption(parser):
    """Let programs be compiled as users' are."""
    parser.addoption(
        "--optimized",
        action="store_true",
        help="compile and draw as users do, with all optimizations of XLA and all layouts",
    )


def pytest_configure(config):
    """Let every worker, and the processes that it starts, compile a program once."""
    keep_files_in_memory()
    if KEPT not in os.environ or hasattr(config, "workerinput"):
        config.compiled = tempfile.TemporaryDirectory()  # of this worker: no other writes there
        os.environ[KEPT] = config.compiled.name
    if not config.getoption("--optimized"):
        os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *QUICK_TO_COMPILE])
    cache = {
        "jax_compilation_cache_dir": os.environ[KEPT],
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in cache.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", WORTH_WRITING)
    jax.config.update("jax_num_cpu_devices", DEVICES)
    # Before the workers start. Every core has one. The threads of PyTorch wait for one another
    # busily, which takes up to four times as long where they have no core of their own.
    for library in ("OPENBLAS", "OMP"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    share_mlir_context()
    keep_traces()
    keep_programs()


def keep_files_in_memory():
    """Put temporary files where they need no disk."""
    named = {"TMPDIR", "TEMP", "TMP", "PYTEST_DEBUG_TEMPROOT"} & os.environ.keys()
    if named or not os.access(IN_MEMORY, os.W_OK) or shutil.disk_usage(IN_MEMORY).free < ENOUGH:
        return
    os.environ["TMPDIR"] = str(IN_MEMORY)
    tempfile.tempdir = None  # look again


def share_mlir_context():
    """Let the programs of this process share one MLIR context.

    JAX makes one for every program, and keeps it with the program. To make it takes four times as
    long as to lower a single operation, and each one that is kept slows the next one down. A
    program that is lowered while another one is gets its own, since it would become part of the
    other. A JAX without this function goes its own way.
    """
    make = getattr(mlir, "make_ir_context", None)
    if make is None:
        return
    shared = functools.cache(make)
    mlir.make_ir_context = lambda: shared() if mlir.ir.Context.current is None else make()


def keep_traces():
    """Let JAX trace what an operation is made of once, and not whenever it is lowered.

    A quarter of the time to lower small programs went into loops of the random number generator. A
    JAX without these parts goes its own way.
    """
    trace = getattr(partial_eval, "trace_to_jaxpr_dynamic", None)
    context = getattr(jax_config, "trace_context", None)
    if trace is None or context is None:
        return
    kept = {}

    def trace_or_recall(function, avals, **options):
        # Functions that are made anew never come again.
        rule = getattr(function, "f", None)
        if not options.get("lower") or not isinstance(rule, functools.partial):
            return trace(function, avals, **options)
        key = rule, function.params, tuple(avals), tuple(options.items()), context()
        if key not in kept:
            kept[key] = trace(function, avals, **options)
        return kept[key]

    partial_eval.trace_to_jaxpr_dynamic = trace_or_recall


def keep_programs():
    """Let functions that are made anew have the programs of those before them, from memory.

    JAX keeps programs with the functions, and looks for those of other functions on disk. A JAX
    without these parts goes its own way.
    """
    read, write = (getattr(compiler, name, None) for name in ("_cache_read", "_cache_write"))
    if read is None or write is None:
        return
    kept = {}  # by their texts: the programs, and what they took to compile

    def keep(key, found):
        kept[key] = found
        if len(kept) > MOST_PROGRAMS:
            kept.pop(next(iter(kept)), None)  # another thread may compile too

    def read_or_recall(name, key, *where):
        found = kept.pop(key, None) or read(name, key, *where)
        if found[0] is not None:
            keep(key, found)
        return found

    def keep_and_write(key, seconds, name, backend, program, callbacks):
        if not callbacks:  # they are part of the program, and not of its text
            keep(key, (program, seconds))
        write(key, seconds, name, backend, program, callbacks)

    compiler._cache_read, compiler._cache_write = read_or_recall, keep_and_write


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Let one worker run the files that take long to compile the same programs."""
    return ByPrograms(config, log)


class ByPrograms(LoadFileScheduling):
    """Deals out the tests by file, those that fit stable laws all together."""

    def _split_scope(self, nodeid):
        file = super()._split_scope(nodeid)
        return SAME_PROGRAMS[0] if file.startswith(SAME_PROGRAMS) else file


def pytest_unconfigure(config):
    """Leave nothing behind, and look for no cycles among all that is left, which takes seconds."""
    gc.freeze()
    if hasattr(config, "compiled"):
        config.compiled.cleanup()
        del os.environ[KEPT]


@pytest.fixture(scope="module", autouse=True)
def few_compiled_programs():
    """Forget compiled programs before they take all memory maps, which ends the process."""
    yield
    maps = pathlib.Path("/proc/self/maps")
    look = next(files_done) % FILES_A_COUNT == 0 and maps.exists()
    if look and maps.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()


def pytest_terminal_summary(terminalreporter):
    """Say how large the table of inputs is (see input_table)."""
    properties = [
        dict(report.user_properties) for report in terminalreporter.stats.get("passed", [])
    ]
    inputs = [found["inputs"] for found in properties if "inputs" in found]
    if inputs:
        terminalreporter.write_line(f"table of inputs: {sum(inputs)} in {len(inputs)} tests")


def two_layer_regression(num_examples=60, inputs=5, hidden=7, *, probe=False, augment=None, seed=0):
    """Noisy regression by a two-layer network that counts its own training steps in its state."""
    keys = jax.random.split(jax.random.key(seed), 3)
    x = jax.random.normal(keys[0], (num_examples, inputs))
    y = jnp.sin(x.sum(axis=1)) + 0.3 * jax.random.normal(keys[1], (num_examples,))
    examples = {"x": x, "y": y}

    def init(key):
        first, second = jax.random.split(key)
        return {
            "hidden": {
                "kernel": 0.5 * jax.random.normal(first, (inputs, hidden)),
                "bias": jnp.zeros(hidden),
            },
            "output": 0.5 * jax.random.normal(second, (hidden,)),
        }, {"evaluations": jnp.int32(0)}

    def loss(params, state, batch, train):
        prediction = (
            jnp.tanh(batch["x"] @ params["hidden"]["kernel"] + params["hidden"]["bias"])
            @ params["output"]
        )
        state = {"evaluations": state["evaluations"] + 1} if train else state
        return jnp.mean((prediction - batch["y"]) ** 2), (state, prediction)

    return sd.Problem(
        init=init,
        loss=loss,
        examples=examples,
        test_examples=examples,
        augment=augment,
        probe=jax.tree.map(lambda leaf: leaf[:20], examples) if probe else None,
        description={"name": "two-layer regression", "seed": seed},
    )


@pytest.fixture
def make_regression():
    """The factory of `two_layer_regression` problems."""
    return two_layer_regression


@pytest.fixture
def regression():
    """A `two_layer_regression` with its defaults."""
    return two_layer_regression()


@pytest.fixture(scope="session")
def measured_run():
    """Two windows of two seeds: Brownian motion along a steep slope, then confined, with what a run
    measures of them.

    Seed 1 diverges in the second window.
    """
    steps, random = 200, np.random.default_rng(0)
    walk = random.normal(size=(steps + 1, 100)).cumsum(axis=0)
    drift = 4.0 * np.arange(steps + 1)[:, None] * np.eye(1, 100)
    confined = random.normal(size=(steps + 1, 100))
    for time in range(1, steps + 1):
        confined[time] += 0.8 * confined[time - 1]
    parts = [
        sd.dynamics.measurements.controls(steps),
        sd.dynamics.measurements.path_shape(steps),
        sd.dynamics.measurements.loss_roughness(steps, probe=True),
    ]
    dims = {name: dims for part in parts for name, dims in part.dims.items()}
    dims |= {
        "msd": ("lag",),
        "displacement_from_start": ("lag",),
        "loss": ("point",),
        "probe_loss": ("point",),
    }

    @jax.jit
    def measure(gram, probe_losses, losses):
        record = sd.dynamics.window.WindowRecord(
            gram, losses, probe_losses, losses[1:], jnp.zeros((steps, 0)), {}, None, jnp.int32(-1)
        )
        found = {name: value for part in parts for name, value in part.function(record).items()}
        return found | {
            "msd": sd.analysis.time_averaged_msd(gram),
            "displacement_from_start": sd.analysis.displacement_from_start(gram),
            "loss": losses,
            "probe_loss": probe_losses,
        }

    values = []
    with jax.enable_x64(True):
        for path in (walk + drift, walk[::-1] + drift, confined, np.nan * confined):
            probe = path[:, 0]
            found = measure(sd.step_gram(path), probe, probe + random.normal(size=steps + 1))
            values.append(jax.tree.map(np.asarray, found))
    stacked = {
        name: np.reshape([value[name] for value in values], (2, 2, 1, *np.shape(values[0][name])))
        for name in dims
    }
    coords = {name: coord for part in parts for name, coord in part.coords.items()}
    return xr.Dataset(
        {
            name: (("window", "seed", "learning_rate", *dims[name]), value)
            for name, value in stacked.items()
        },
        coords=coords
        | {
            "seed": [0, 1],
            "learning_rate": [0.1],
            "waiting_time": ("window", [0, steps]),
            "lag": np.arange(1, steps + 1),
            "point": np.arange(steps + 1),
        },
    )


@pytest.fixture(scope="session")
def gradient_run():
    """Gradients of two windows of two seeds: normal in the first window of seed 0, Cauchy
    otherwise.

    Layer "a" has four coordinates for 4 parameters each, "b" five for 20 each, a hundred times
    smaller, and "c" one that is always zero. The noise at frozen weights is normal, about a
    gradient that is not zero. Seed 1 diverges in the second window.
    """
    steps, random = 200, np.random.default_rng(0)
    scales = np.array([1.0] * 4 + [0.01] * 5 + [0.0])
    shape = (2, 2, 1, steps, 10)
    gradients = scales * random.standard_cauchy(size=shape)
    gradients[0, 0] = scales * random.normal(size=shape[2:])
    full = scales * random.normal(size=(2, 2, 1, 2, 10))
    frozen = full[..., None, :] + scales * random.normal(size=(2, 2, 1, 2, 30, 10))
    times = np.arange(2)[:, None, None, None] * steps + np.arange(steps + 1)
    losses = np.exp(-times / 100) * (1 + 0.1 * random.normal(size=(2, 2, 1, steps + 1)))
    for values in (gradients, full, frozen, losses):
        values[1, 1] = np.nan
    members = ("window", "seed", "learning_rate")
    return xr.Dataset(
        {
            "gradient_sample": ((*members, "update", "coordinate"), gradients.astype(np.float32)),
            "full_gradient": ((*members, "frozen_pass", "coordinate"), full.astype(np.float32)),
            "frozen_gradient": (
                (*members, "frozen_pass", "frozen_batch", "coordinate"),
                frozen.astype(np.float32),
            ),
            "loss": ((*members, "point"), losses.astype(np.float32)),
        },
        coords={
            "seed": [0, 1],
            "learning_rate": [0.1],
            "waiting_time": ("window", [0, steps]),
            "update": np.arange(steps),
            "point": np.arange(steps + 1),
            "coordinate": np.arange(10),
            "coordinate_layer": ("coordinate", ["a"] * 4 + ["b"] * 5 + ["c"]),
            "coordinate_weight": ("coordinate", [4.0] * 4 + [20.0] * 5 + [1.0]),
        },
    )
