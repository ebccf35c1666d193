"""Compiled programs, kept on disk so that the next start does not compile them again.

JAX keeps them, by a key of the program, the versions of JAX and of its compiler, the options, and
the devices with what their processors can do. A process that writes has a lock.
"""

import os
import pathlib
import sys
import warnings

import filelock
import platformdirs

MOST_BYTES = 2**29  # then those that were not used for longest go
LEAST_SECONDS = 0.2  # to compile; what is quicker is not worth a file
PATIENCE = 10  # seconds to wait for another process that writes
TROUBLE = "Error (reading|writing) persistent compilation cache entry|Cache value for key"


def keep_compiled_programs(wanted: bool = True) -> None:
    """Let JAX keep the programs of this process on disk, and take those that are there.

    It has to be called before anything is compiled. A directory that JAX was given otherwise, as by
    JAX_COMPILATION_CACHE_DIR, stays. Whatever is wrong with the directory, programs run: they are
    compiled then.

    Args:
        wanted: if not, nothing is read or written by this process and those that it starts.
    """
    import jax

    if not wanted:
        jax.config.update("jax_enable_compilation_cache", False)
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
        return
    if jax.config.jax_compilation_cache_dir is not None:
        return
    directory = platformdirs.user_cache_path("sgd-diffusion", appauthor=False) / "programs"
    try:
        _make_ready(directory)
    except OSError as error:
        print(
            f"compiled programs are not kept, since {directory} cannot be used "
            f"({error.strerror or error}); --no-cache does without",
            file=sys.stderr,
        )
        return
    warnings.filterwarnings("ignore", TROUBLE)  # JAX compiles what it cannot read
    for name, value in {
        "jax_compilation_cache_dir": os.fspath(directory),
        "jax_compilation_cache_max_size": MOST_BYTES,
        "jax_persistent_cache_min_compile_time_secs": LEAST_SECONDS,
    }.items():
        jax.config.update(name, value)


def _make_ready(directory: pathlib.Path) -> None:
    """Make the directory, for this user alone, and remove what was not written to its end.

    JAX writes the time of the last use after the program. It cannot do without that time, and takes
    a program that is there for a whole one.

    Raises:
        OSError: it cannot be used.
    """
    if not directory.is_absolute():  # a user without a home
        raise OSError("its path is not absolute")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with filelock.FileLock(directory / ".lockfile", timeout=PATIENCE):
        for program in directory.glob("*-cache"):
            if not program.with_name(f"{program.name.removesuffix('-cache')}-atime").exists():
                program.unlink()
