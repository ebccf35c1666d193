"""Networks of flax.nnx in the form of flax.linen: parameters, state and keys outside the module."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx
from flax.errors import InvalidRngError
from jaxtyping import Array

from sgd_diffusion._types import Key, PyTree
from sgd_diffusion.errors import invalid

__all__ = ["NnxNetwork", "as_network", "parameters_of"]

WAY_OUT = "such as lambda rngs: Net(rngs=rngs), which gives every seed weights of its own"


@dataclasses.dataclass(frozen=True)
class NnxNetwork:
    """A flax.nnx module with the `init` and `apply` of a flax.linen module.

    A flax.nnx module holds its weights, its batch-norm averages and the keys of its random layers.
    Here they are apart: `nnx.Param` are the parameters, keys and their counters are made anew for
    every call from the key that is given, and all other variables are the state. In training the
    module is called after its `train()`, otherwise after its `eval()`, as `module(images)`; or as
    `module(images, train=train)` if it takes that.

    Attributes:
        factory: `factory(rngs=..., **options)` makes the module from a `flax.nnx.Rngs`.
        options: what else the factory is called with.

    Raises:
        InputError: the factory makes something else than a flax.nnx module.
    """

    factory: Callable[..., nnx.Module]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        self._abstract  # noqa: B018 - refuses what makes no module

    @functools.cached_property
    def _abstract(self) -> nnx.Module:
        return nnx.eval_shape(lambda: self._make(jax.random.key(0)))

    @functools.cached_property
    def _parts(self) -> tuple[Any, ...]:
        """The graph of the module, and shapes of its parameters, keys and state."""
        return nnx.split(self._abstract, nnx.Param, nnx.RngState, ...)

    def _make(self, key: Key) -> nnx.Module:
        made: Any = self.factory(rngs=nnx.Rngs(key), **self.options)
        if not isinstance(made, nnx.Module):
            raise invalid(
                "model", f"makes a {type(made).__name__} from rngs", "a flax.nnx module", WAY_OUT
            )
        return made

    def init(self, key: Key, images: Array, train: bool = False) -> dict[str, PyTree]:
        """Return parameters and state of the module that the factory makes from a key."""
        del images, train
        parts: Any = nnx.split(self._make(key), nnx.Param, nnx.RngState, ...)
        _, params, _, state = parts
        return {"params": _values(params)} | ({"state": _values(state)} if state else {})

    def apply(
        self,
        variables: Mapping[str, PyTree],
        images: Array,
        *,
        train: bool,
        mutable: Any = False,
        rngs: Mapping[str, Key] | None = None,
    ) -> Any:
        """Return the logits, and with `mutable` the collections of these names after the call.

        Raises:
            InvalidRngError: the module draws random numbers, and no key is given.
        """
        graph, params, random, state = self._parts
        key = jax.random.key(0) if rngs is None else rngs["dropout"]
        module = nnx.merge(
            graph,
            _filled(params, variables["params"]),
            _keyed(random, key),
            _filled(state, variables.get("state", {})),
        )
        module.train() if train else module.eval()
        before = _counters(module)
        takes_train = "train" in parameters_of(type(module).__call__)
        logits = module(images, **{"train": train} if takes_train else {})
        drawn = any(a is not b for a, b in zip(before, _counters(module), strict=True))
        if drawn and rngs is None:
            raise InvalidRngError("the module draws random numbers and has no key")
        if mutable is False:
            return logits
        # What the call adds, such as values that are recorded in passing, is left out.
        found = dict(nnx.to_flat_state(nnx.state(module)))
        after = nnx.from_flat_state([(path, found[path]) for path, _ in nnx.to_flat_state(state)])
        return logits, dict.fromkeys(mutable, _values(after))


def as_network(model: Any, name: str = "model") -> Any:
    """Return what has `init` and `apply`, from a flax.linen module or a function of `rngs`.

    Args:
        model: that.
        name: what messages call it.

    Raises:
        InputError: it is something else; so is a flax.nnx module, which has weights already.
    """
    if isinstance(model, nnx.Module):
        raise invalid(
            name,
            f"is a {type(model).__name__} of flax.nnx, which has weights already",
            "a function or a class that makes it from rngs",
            WAY_OUT,
        )
    if isinstance(model, linen.Module) or (
        not inspect.isclass(model) and hasattr(model, "init") and hasattr(model, "apply")
    ):
        return model
    whole, options = model, {}
    if isinstance(model, functools.partial) and not model.args:
        whole, options = model.func, model.keywords
    if callable(whole) and "rngs" in parameters_of(whole):
        return NnxNetwork(whole, options)
    raise invalid(
        name,
        f"is {model!r:.100}",
        "a flax.linen module, or a function of rngs that makes a flax.nnx module",
    )


def parameters_of(function: Callable) -> set[str]:
    """Return the names of the parameters of a function or a class, as far as they are known."""
    try:
        # Metaclasses hide the signature of a class.
        signature = inspect.signature(function.__init__ if inspect.isclass(function) else function)
    except (TypeError, ValueError):
        return set()
    return set(signature.parameters)


def _values(state: Any) -> dict[str, Any]:
    """Return the values of variables in nested dictionaries, whose keys are all text."""
    tree: dict[str, Any] = {}
    for path, variable in nnx.to_flat_state(state):
        *parents, name = map(str, path)
        functools.reduce(lambda part, key: part.setdefault(key, {}), parents, tree)[name] = (
            variable.get_value()
        )
    return tree


def _filled(state: Any, tree: Mapping[str, Any]) -> Any:
    """Return variables like those of a state, with the values of `_values`."""
    return nnx.from_flat_state(
        [
            (path, variable.replace(functools.reduce(lambda part, key: part[str(key)], path, tree)))
            for path, variable in nnx.to_flat_state(state)
        ]
    )


def _keyed(state: Any, key: Key) -> Any:
    """Return keys like those of a state, all from one key, and counters that stand at 0."""

    def fresh(number, variable):
        like = variable.get_value()
        if isinstance(variable, nnx.RngCount):
            return variable.replace(jnp.zeros(like.shape, like.dtype))
        own = jax.random.fold_in(key, number)
        return variable.replace(jax.random.split(own, like.shape) if like.shape else own)

    return nnx.from_flat_state(
        [
            (path, fresh(number, variable))
            for number, (path, variable) in enumerate(nnx.to_flat_state(state))
        ]
    )


def _counters(module: nnx.Module) -> list[Array]:
    """Return the counters of random numbers, which are other arrays once a number is drawn."""
    counters = nnx.to_flat_state(nnx.state(module, nnx.RngCount))
    return [variable.get_value() for _, variable in counters]
