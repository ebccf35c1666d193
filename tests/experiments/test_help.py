"""What --help imports: nothing that takes time."""

import pathlib
import subprocess
import sys
import textwrap

CHECKOUT = pathlib.Path(__file__).parents[2]
HEAVY = {"flax", "jax", "matplotlib", "optax", "orbax", "pandas", "scipy", "sklearn", "xarray"}
# All in one process.
HELP = """
    import contextlib, io, runpy, sys

    for name in sys.argv[1:]:
        sys.argv = [name, "--help"]
        with contextlib.redirect_stdout(io.StringIO()) as said:
            try:
                runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)
            except SystemExit as end:
                assert end.code == 0
        assert "--help" in said.getvalue()
    print(*sys.modules)
"""


def test_help_is_quick():
    programs = {
        path.stem
        for path in (CHECKOUT / "experiments").glob("*.py")
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    }
    assert len(programs) > 15
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(HELP), *sorted(programs), "self_test"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not HEAVY & set(done.stdout.split())
