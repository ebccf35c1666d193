"""Reference processes, analyses of them, and what an estimate is checked against."""

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from sgd_diffusion._types import ArrayLike, Key
from sgd_diffusion.analysis import displacement, scaling
from sgd_diffusion.analysis.gram import step_gram

STEPS = 1000
LAGS = np.unique(np.rint(np.geomspace(1, STEPS, 80)).astype(int))
SHORT = (1, 100)  # range of lags
# Probability that a sound estimator is too high, or too low, by chance.
BEYOND = scipy.stats.norm.sf(3)


class Check(NamedTuple):
    """An estimate against its truth.

    Attributes:
        estimator: name of the estimator.
        process: name of the process.
        truth: what the estimate should be.
        estimate: mean over paths.
        error: standard error of the estimate.
        allowance: what finite windows may differ from the truth.
        degrees_of_freedom: of the error.
    """

    estimator: str
    process: str
    truth: float
    estimate: float
    error: float
    allowance: float
    degrees_of_freedom: float = math.inf

    @property
    def passed(self) -> bool:
        """Say whether the estimate is where the truth is."""
        errors = scipy.stats.t.isf(BEYOND, self.degrees_of_freedom)
        return bool(abs(self.estimate - self.truth) <= errors * self.error + self.allowance)


class Laboratory:
    """Makes paths of the reference processes, and analyses of the same shape for all of them.

    Args:
        num_paths: independent paths of each process, at least 2.
        dim: coordinates of a path.
        seed: chooses all random numbers.
    """

    def __init__(self, num_paths: int, dim: int, *, seed: int = 0):
        self.num_paths, self.dim = num_paths, dim
        self._key = jax.random.key(seed)
        self._used = 0

    def key(self) -> Key:
        """Return a key not used before."""
        self._used += 1
        return jax.random.fold_in(self._key, self._used)

    def keys(self) -> Key:
        """Return a key for each path."""
        return jax.random.split(self.key(), self.num_paths)

    def generator(self) -> np.random.Generator:
        """Return a generator of random numbers not used before."""
        return np.random.default_rng(np.asarray(jax.random.key_data(self.key())))

    def paths(
        self, process: Callable[..., jax.Array], *, dim: int | None = None, **parameters: Any
    ) -> jax.Array:
        """Return independent paths (N, T+1, dim) of a process, in float64."""
        dim = self.dim if dim is None else dim
        with jax.enable_x64(True):
            return jnp.stack([process(key, STEPS, dim, **parameters) for key in self.keys()])

    def grams(self, process: Callable[..., jax.Array], **parameters: Any) -> np.ndarray:
        """Return step Gram matrices (N, T, T) of independent paths of a process."""
        return grams(self.paths(process, **parameters))


def grams(positions: Iterable[ArrayLike]) -> np.ndarray:
    """Return step Gram matrices of several paths."""
    return np.stack([np.asarray(step_gram(path)) for path in positions])


def each(function: Callable[..., Any], *arrays: Iterable[Any]) -> Any:
    """Compile a function of one path, map it over paths, and return the results in NumPy."""
    with jax.enable_x64(True):
        results = [compiled(function)(*values) for values in zip(*arrays, strict=True)]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *results)


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function compiled, once however often it is asked for."""
    return jax.jit(function)


def msd(gram: jax.Array) -> jax.Array:
    """Return the TAMSD at the lags of the fits."""
    return displacement.time_averaged_msd(gram, LAGS)


def check(
    estimator: str, process: str, truth: float, estimates: ArrayLike, *, allowance: float = 0.0
) -> Check:
    """Return a check of the mean over paths."""
    estimates = np.asarray(estimates, dtype=np.float64)
    error = estimates.std(ddof=1) / math.sqrt(len(estimates))
    return Check(estimator, process, truth, estimates.mean(), error, allowance, len(estimates) - 1)


def check_errors(
    process: str, stated: ArrayLike, estimates: ArrayLike, *, allowance: float
) -> Check:
    """Return a check of stated errors against the scatter of the estimates.

    The scatter is known to 1 in sqrt(2 (N - 1)).
    """
    ratio = np.std(estimates, ddof=1) / np.median(stated)
    return Check(
        "scatter / its stated error",
        process,
        1,
        ratio,
        1 / math.sqrt(2 * (len(estimates) - 1)),
        allowance,
    )


def exponents(
    curves: ArrayLike, lags: ArrayLike = LAGS, on: tuple[float, float] = SHORT
) -> np.ndarray:
    """Return exponents of curves on a range of lags."""
    return scaling.fit_power_law(lags, curves, x_min=on[0], x_max=on[1]).exponent
