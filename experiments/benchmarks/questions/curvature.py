"""Questions about a loss: precision of Hessian products and of losses, points at once, pairs."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.questions.question import (
    NO_DIFFERENCE,
    Candidate,
    Made,
    Question,
    choice,
    judged,
    of_all,
    ratio,
)
from experiments.benchmarks.questions.sizes import SHAPES, Sizes
from sgd_diffusion._platforms import host
from sgd_diffusion.landscape.curvature import hessian_vector_product, top_eigenpairs
from sgd_diffusion.landscape.planes import evaluate_line
from sgd_diffusion.problems import models
from sgd_diffusion.problems.datasets import gaussian
from sgd_diffusion.problems.objectives import classification

# Largest relative error of what is said to have full precision. Float32 has 6e-8 a product.
EXACT = 1e-4
# Rounding of the platform makes errors larger by more than this factor, if there is any.
ROUNDED = 10
TOLERANCE, RESTARTS = 1e-2, 10


class Loss:
    """The mean loss of the network over some images, in evaluation mode.

    Args:
        sizes: of all.
        rounded: whether products have the precision of the platform, whatever the library asks for.
    """

    def __init__(self, sizes: Sizes, *, rounded: bool = False):
        data = gaussian(train_size=sizes.examples, test_size=1, shape=SHAPES[sizes.images[0]])
        self.problem = classification(models.model(sizes.model), data, augment=None)
        self.rounded = rounded

    def __call__(self, params, state, examples):
        """Return the loss ()."""
        # The innermost context is the one that counts.
        own = jax.default_matmul_precision("default") if self.rounded else contextlib.nullcontext()
        with own:
            return self.problem.loss(params, state, examples, False)[0]

    def product(self, params, state, examples, vector):
        """Return the Hessian times a vector."""
        loss = functools.partial(_of_point, self, state)
        return hessian_vector_product(loss, params, examples)(vector)

    def line(self, start, state, examples, end, *, points, at_once=1):
        """Return the losses at some points between two."""
        fractions = np.linspace(0, 1, points)
        return evaluate_line(
            lambda point: self(point, state, examples), start, end, fractions, at_once=at_once
        )

    def pairs(self, params, state, examples, *, k):
        """Return eigenpairs of the Hessian."""
        loss = functools.partial(_of_point, self, state)
        matvec = hessian_vector_product(loss, params, examples)
        return top_eigenpairs(matvec, params, k, tol=TOLERANCE, max_restarts=RESTARTS)


def _of_point(loss, state, params, examples):
    return loss(params, state, examples)


@functools.lru_cache(maxsize=1)
def _places(sizes):
    """Return a point of weight space, the state there, and another point, on the host.

    All weights are normal numbers, so that no part of the Hessian is small because the last layer
    starts so.
    """
    problem = Loss(sizes).problem
    params, state = jax.eval_shape(problem.init, jax.random.key(0))
    random = np.random.default_rng(0)

    def point():
        return jax.tree.map(
            lambda leaf: random.normal(
                scale=np.sqrt(2 / max(1, np.prod(leaf.shape[:-1]))) if leaf.ndim > 1 else 0.5,
                size=leaf.shape,
            ).astype(np.float32),
            params,
        )

    # Running averages: means of any sign would do, variances are positive.
    state = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), state)
    return point(), state, point()


def _arguments(sizes):
    start, state, end = jax.tree.map(jnp.asarray, _places(sizes))
    return start, state, Loss(sizes).problem.examples, end


@functools.lru_cache(maxsize=1)
def _reference(sizes):
    """Return product and line in float64 on the CPU, as NumPy arrays."""
    loss = Loss(sizes)

    def both(start, state, examples, end):
        return (
            loss.product(start, state, examples, end),
            loss.line(start, state, examples, end, points=sizes.points),
        )

    with jax.default_device(host()), jax.enable_x64(True):
        wide = jax.tree.map(
            lambda leaf: np.asarray(leaf, np.float64) if leaf.dtype == np.float32 else leaf,
            jax.tree.map(np.asarray, _arguments(sizes)),
        )
        return jax.tree.map(np.asarray, jax.jit(both)(*wide))


def _product(sizes, rounded):
    def facts(result):
        pairs = zip(*map(jax.tree.leaves, (result, _reference(sizes)[0])), strict=True)
        squares = [(np.sum((np.asarray(a, float) - b) ** 2), np.sum(b**2)) for a, b in pairs]
        return {"relative_error": float(np.sqrt(np.divide(*np.sum(squares, axis=0))))}

    program = jax.jit(Loss(sizes, rounded=rounded).product)
    return Made(program, _arguments(sizes), passes=1, facts=facts)


def _line(sizes, rounded, at_once):
    def facts(result):
        exact = _reference(sizes)[1]
        error = np.abs(np.asarray(result, float) - exact).max() / exact.std()
        return {"relative_error": float(error)}

    line = functools.partial(
        Loss(sizes, rounded=rounded).line, points=sizes.points, at_once=at_once
    )
    return Made(
        jax.jit(line),
        _arguments(sizes),
        amount=sizes.points,
        passes=sizes.points / at_once,
        facts=facts,
    )


def _pairs(sizes):
    def facts(result):
        residuals = np.asarray(result.residuals) / np.abs(np.asarray(result.values))
        return {
            "products": int(result.num_products),
            "largest_relative_residual": float(residuals.max()),
        }

    program = jax.jit(functools.partial(Loss(sizes).pairs, k=sizes.eigenpairs))
    return Made(program, _arguments(sizes)[:3], amount=sizes.eigenpairs, facts=facts)


def _of_product(sizes, rounded=False):
    how = "of the platform" if rounded else "full"
    return Candidate(
        f"Hessian product, {how} precision",
        "products",
        functools.partial(_product, sizes, rounded),
    )


def _of_line(sizes, rounded=False, at_once=1):
    how = "of the platform" if rounded else "full"
    return Candidate(
        f"losses along a line, {at_once} at once, {how} precision",
        "points",
        functools.partial(_line, sizes, rounded, at_once),
    )


def rounding(exact: str, rounded: str):
    """Return a verdict on full precision, beside that of the platform."""

    @of_all
    def verdict(rows):
        mine, other = rows[exact], rows[rounded]
        errors = [row["facts"]["relative_error"] for row in (mine, other)]
        found = (
            f"relative errors {errors[0]:.1g} at full precision and {errors[1]:.1g} at that of the "
            f"platform, in {ratio(mine, other):.3g} x its time"
        )
        if errors[0] > EXACT:
            return judged(False, found)
        if errors[1] <= ROUNDED * errors[0]:
            return f"{NO_DIFFERENCE}, this platform does not round here: {found}"
        return judged(True, found)

    return verdict


def precision_of_products(sizes: Sizes) -> Question:
    """Ask what rounding would do to a product of the Hessian."""
    mine, rival = _of_product(sizes), _of_product(sizes, rounded=True)
    return Question(
        "precision of Hessian products",
        "How wrong is a product of the Hessian at the precision of the platform, and how much "
        "faster?",
        f"full precision, right to {EXACT:.0g}",
        "sgd_diffusion._pytrees.in_precision_of",
        (mine, rival),
        rounding(mine.name, rival.name),
    )


def precision_of_losses(sizes: Sizes) -> Question:
    """Ask what rounding would do to the losses of a path."""
    mine, rival = _of_line(sizes), _of_line(sizes, rounded=True)
    return Question(
        "precision of losses along a path",
        "How wrong are losses at fixed points at the precision of the platform, beside their "
        "scatter?",
        f"full precision, right to {EXACT:.0g}",
        "sgd_diffusion.landscape.planes.evaluation, sgd_diffusion.dynamics.window",
        (mine, rival),
        rounding(mine.name, rival.name),
    )


def points_at_once(sizes: Sizes) -> Question:
    """Ask how many points of a surface are worth evaluating at once."""
    mine, rival = _of_line(sizes), _of_line(sizes, at_once=sizes.points)
    return Question(
        "points of a surface",
        "Are points of a loss surface to be evaluated one after the other, or side by side?",
        "one after the other",
        "sgd_diffusion.landscape.planes.evaluate_plane(at_once=1)",
        (mine, rival),
        choice(mine.name, [rival.name]),
    )


def eigenpairs(sizes: Sizes) -> Question:
    """Ask whether products are the cost of eigenpairs."""
    product = _of_product(sizes)
    pairs = Candidate(
        f"{sizes.eigenpairs} top eigenpairs", "pairs", functools.partial(_pairs, sizes)
    )

    @of_all
    def verdict(rows):
        one, all_of_it = rows[product.name], rows[pairs.name]
        products = all_of_it["facts"]["products"]
        share = products * one["median"] / all_of_it["median"]
        return judged(
            share >= 1 / 2,
            f"{products} products of {1e3 * one['median']:.3g} ms are {share:.0%} of the time",
        )

    return Question(
        "top eigenpairs",
        "Are the products the cost of eigenpairs, or the algebra around them?",
        "full reorthogonalization on the device, as long as products are half of the time",
        "sgd_diffusion.landscape.curvature.krylov",
        (product, pairs),
        verdict,
    )
