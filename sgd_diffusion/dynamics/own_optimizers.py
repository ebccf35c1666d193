"""Optax transformations of a user's own: whether they can be used, and which one it is.

A transformation is a pair of functions, which no file can hold. What stands for it is a digest of
the programs that JAX traces from them, for the shapes of the problem, with the arrays that they
close over. It tells transformations apart that compute something else, also by another constant. It
does not see what a host callback does.

The text of a program is that of a version of JAX, and optax may write the same step in another way
in its next one. So a digest that differs says that the transformation or the versions are others.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool

from sgd_diffusion._arrays import usual_promotion
from sgd_diffusion._types import PyTree
from sgd_diffusion.errors import StorageError, invalid
from sgd_diffusion.storage.checkpoints import described, digest
from sgd_diffusion.storage.run_directories import RunDirectory

__all__ = ["check_same_optimizer", "description_of_optimizer"]

ARGUMENT = "optimizer"
ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of functions in the text of a program
WAY_OUT = (
    "an optax transformation whose update, times the learning rate, is added to the weights",
    "for example optax.adam(1.0), or optax.chain(optax.scale_by_adam(), optax.scale(-1.0))",
)


def description_of_optimizer(
    optimizer: optax.GradientTransformation, params: PyTree, name: str | None
) -> dict[str, Any]:
    """Return what the configuration of a run says of a transformation: its digest, and its name.

    Args:
        optimizer: the transformation.
        params: shapes and dtypes of the parameters.
        name: for the reader; it is compared too on resuming. None for no name.

    Raises:
        InputError: it is no transformation, cannot be traced for these parameters, returns updates
            or a state of another form, leads uphill, or the name is no text.
    """
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise invalid(ARGUMENT, f"is {optimizer!r:.100}", *WAY_OUT)
    if name is not None and not isinstance(name, str):
        raise invalid("optimizer_name", f"is {name!r:.100}", "a text, or None")
    try:
        with usual_promotion():
            state = jax.eval_shape(optimizer.init, params)
            updates, after = jax.eval_shape(optimizer.update, params, state, params)
            programs = [
                jax.make_jaxpr(optimizer.init)(params),
                jax.make_jaxpr(optimizer.update)(params, state, params),
            ]
    except Exception as error:  # a function of somebody else raises anything
        first = (str(error).strip().splitlines() or [""])[0]
        raise invalid(
            ARGUMENT, f"cannot be traced ({type(error).__name__}: {first:.200})", *WAY_OUT
        ) from error
    results: list[tuple[str, Any, Any]] = [("updates", updates, params), ("a state", after, state)]
    for what, found, wanted in results:
        forms = {jax.tree.structure(each) for each in (found, wanted)}
        if len(forms) > 1 or described(found) != described(wanted):
            raise invalid(
                ARGUMENT, f"returns {what} {described(found)}", f"{described(wanted)}, as before"
            )
    if _leads_uphill(optimizer, params):
        raise invalid(ARGUMENT, "leads uphill: its first update is along the gradient", *WAY_OUT)
    text = ADDRESS.sub("", "\n".join(map(str, programs)))
    constants = digest([each for program in programs for each in _constants(program)])
    facts = {"sha256": hashlib.sha256(f"{text}\n{constants}".encode()).hexdigest()}
    return facts if name is None else {"name": name} | facts


def check_same_optimizer(
    run: RunDirectory, configuration: Mapping[str, Any], *, resume: bool
) -> None:
    """Refuse to continue a run whose own transformation has another digest, and say why it may.

    Raises:
        StorageError: the digests differ.
    """
    there, here = ((each or {}).get(ARGUMENT) for each in (run.configuration(), configuration))
    if not (resume and isinstance(there, dict) and isinstance(here, dict)):
        return  # `RunDirectory.check` says what else differs
    if there.get("sha256") == here["sha256"]:
        return
    packages = (run.configuration("environment") or {}).get("packages")
    versions = packages if isinstance(packages, dict) else {}
    raise StorageError(
        f"{run.path} holds a run of another optimizer (its digest is {there.get('sha256')!s:.12} "
        f"there and {here['sha256']:.12} here). If it is the same one, other versions have changed "
        f"its program: the run was made with JAX {versions.get('jax')} and optax "
        f"{versions.get('optax')}, this is JAX {jax.__version__} and optax {optax.__version__}. "
        "Continue it with the optimizer and the versions that it was made with, or choose another "
        "directory."
    )


def _leads_uphill(optimizer: optax.GradientTransformation, params: PyTree) -> bool:
    """Return whether the first update for a gradient of ones at the origin is along it."""

    @jax.jit
    def uphill() -> Bool[Array, ""]:
        origin = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), params)
        ones = jax.tree.map(jnp.ones_like, origin)
        updates, _ = optimizer.update(ones, optimizer.init(origin), origin)
        return sum(leaf.real.astype(jnp.float32).sum() for leaf in jax.tree.leaves(updates)) > 0

    with usual_promotion(), jax.debug_nans(False), jax.debug_infs(False):
        return bool(uphill())


def _constants(program: Any) -> Iterator[Any]:
    """Yield the arrays that a program and the programs within it close over, in order."""
    yield from getattr(program, "consts", ())
    equations = getattr(getattr(program, "jaxpr", program), "eqns", ())
    for equation in equations:
        for value in equation.params.values():
            for within in value if isinstance(value, tuple | list) else (value,):
                if hasattr(within, "eqns") or hasattr(within, "jaxpr"):
                    yield from _constants(within)
