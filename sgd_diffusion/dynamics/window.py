"""T steps of a member in one `lax.scan`. What remains is their Gram matrix and a few series."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from sgd_diffusion._types import ArrayLike, Key, PyTree
from sgd_diffusion.analysis.gram import increment_gram
from sgd_diffusion.dynamics.batches import take_batch
from sgd_diffusion.dynamics.gradient_descent import descend
from sgd_diffusion.dynamics.parameters import count, flatten, layer_name, real_parts
from sgd_diffusion.dynamics.sgd import ALIVE, Carry, sgd_step
from sgd_diffusion.errors import invalid
from sgd_diffusion.problems.objectives import Problem

__all__ = [
    "MINIMAL",
    "REPORT_EVERY",
    "Recording",
    "WindowRecord",
    "advance",
    "mask_diverged",
    "record_window",
]

REPORT_EVERY = 50  # steps between reports


class WindowRecord(NamedTuple):
    """What a window of T steps leaves behind; the weights themselves are not kept.

    w_t are the parameters after t updates of the window (t = 0..T) and dw_u = w_{u+1} - w_u. A
    complex parameter counts as two real ones.

    Attributes:
        step_gram: (T, T) G[u, v] = <dw_u, dw_v>, summed over all parameters; float64 where the
            backend has it.
        losses: (T+1,) mini-batch loss at w_t on the batch of step t; the last entry is an extra
            evaluation on the batch that the next window starts with.
        probe_losses: (T+1,) loss at w_t on the problem's fixed probe, or None without a probe.
        gradient_norms: (T,) Euclidean norm of the mini-batch gradient at w_t.
        gradient_samples: (T, S) the mini-batch gradient at S coordinates; S = 0 unless asked for.
        layer_grams: {layer: (T, T)} parts of step_gram by top-level layer, which add up to it;
            empty unless asked for.
        twin_gram: (T, T) step Gram matrix of the full-batch twin, which descends from w_0 without
            gradient noise (see `gradient_descent`), or None unless asked for. It is NaN also where
            the twin alone diverged.
        diverged_at: () int32, the absolute step at which the member diverged, or -1.
    """

    step_gram: Float[Array, "step step"]
    losses: Float[Array, "point"]
    probe_losses: Float[Array, "point"] | None
    gradient_norms: Float[Array, "step"]
    gradient_samples: Float[Array, "step coordinate"]
    layer_grams: dict[str, Float[Array, "step step"]]
    twin_gram: Float[Array, "step step"] | None
    diverged_at: Int[Array, ""]


class Recording(NamedTuple):
    """What to keep of a window beyond the series that cost nothing.

    Attributes:
        gradient_coordinates: (S,) positions in the flattened gradient (see `parameters.flatten`) at
            which every mini-batch gradient is kept, for example those of
            `gradient_coordinates.draw_coordinates`.
        by_layer: also keep the Gram matrix of every top-level layer.
        sketch_dim: if given, increments are replaced by a random projection to so many dimensions
            (a count sketch), for models whose T x P increments do not fit. Every squared
            displacement then has a relative standard error of at most sqrt(2 / sketch_dim), the
            same for all lags and windows in sign and size.
        full_batch_twin: also descend by the full-batch gradient from where the window starts, and
            keep the Gram matrix of that path. It costs about num_examples / batch_size times as
            much as the window itself.
        key: chooses the projection; None for `jax.random.key(0)`. It is then the same for all
            members, windows and runs, so that they can be compared.
    """

    gradient_coordinates: Sequence[int] | Int[np.ndarray, "coordinate"] = ()
    by_layer: bool = False
    sketch_dim: int | None = None
    full_batch_twin: bool = False
    key: Key | None = None


MINIMAL = Recording()


def advance(
    problem: Problem,
    optimizer: optax.GradientTransformation,
    carry: Carry,
    learning_rate: ArrayLike,
    rows: ArrayLike,
    augmentation_key: Key,
    start: ArrayLike,
    count: ArrayLike,
    *,
    report: Callable[[Any, Any], None] | None = None,
) -> Carry:
    """Return the carry after `count` <= T steps, without any record of them.

    The steps are those of `record_window`.

    Args:
        problem: what SGD optimizes.
        optimizer: as returned by `sgd`.
        carry: where the member stands.
        learning_rate: () step size, may be traced.
        rows: (T, B) rows of the examples for the batches of steps start, ..., start + T - 1.
        augmentation_key: key of the member's augmentation; the absolute step is folded in.
        start: () number of updates made before, may be traced.
        count: () number of steps, may be traced.
        report: host function, called as `report(step, loss)` from inside the program every
            `report_every` steps.
        report_every: steps between reports.
    """
    update = _updates(problem, optimizer, learning_rate, augmentation_key, start, report)
    return jax.lax.fori_loop(
        0, count, lambda offset, carry: update(carry, offset, rows[offset])[0], carry
    )


def _updates(problem, optimizer, learning_rate, augmentation_key, start, report):
    """Return the update of a member as a function of (carry, offset from `start`, rows)."""

    def update(carry, offset, rows):
        step = start + offset
        batch = take_batch(problem, rows, jax.random.fold_in(augmentation_key, step))
        carry, info = sgd_step(problem, optimizer, carry, batch, learning_rate, step)
        if report is not None:
            jax.lax.cond(
                offset % REPORT_EVERY == 0,
                lambda: jax.debug.callback(report, step, info.loss),
                lambda: None,
            )
        return carry, info

    return update


def record_window(
    problem: Problem,
    optimizer: optax.GradientTransformation,
    carry: Carry,
    learning_rate: ArrayLike,
    rows: ArrayLike,
    augmentation_key: Key,
    start: ArrayLike,
    *,
    recording: Recording = MINIMAL,
    report: Callable[[Any, Any], None] | None = None,
) -> tuple[Carry, WindowRecord]:
    """Make T steps from `carry` in one `lax.scan`, and record them.

    Args:
        problem: what SGD optimizes.
        optimizer: as returned by `sgd`.
        carry: where the member stands.
        learning_rate: () step size, may be traced.
        rows: (T+1, B) rows of the examples for the batches of steps start, ..., start + T (see
            `batch_indices`).
        augmentation_key: key of the member's augmentation; the absolute step is folded in.
        start: () waiting time t_w, the number of updates made before, may be traced.
        recording: what to keep.
        report: host function, called as `report(step, loss)` from inside the program every
            `REPORT_EVERY` steps.

    Returns:
        The carry after the window and its `WindowRecord`. From a divergence on, losses, gradient
        norms and samples are NaN. The Gram matrices are NaN in the window of the divergence and in
        all later ones, since no statistic of them is one of SGD.

    Raises:
        InputError: the gradient does not have one of the coordinates.
    """
    size = count(carry.params)
    coordinates = _checked_coordinates(recording, size)
    keep = _projection(recording, size)

    update = _updates(problem, optimizer, learning_rate, augmentation_key, start, report)

    def loss_at(carry, batch):
        # Training mode uses batch statistics, not running averages. So the loss of the probe is a
        # function of the point alone.
        return problem.loss(carry.params, carry.state, batch, True)[0]

    def probe_loss_at(carry):
        return None if problem.probe is None else loss_at(carry, problem.probe)

    def record(carry, inputs):
        probe_loss = probe_loss_at(carry)
        carry, info = update(carry, *inputs)
        norm = optax.tree.norm(real_parts(info.gradient))
        series = (*real_parts((info.loss, probe_loss)), norm, flatten(info.gradient)[coordinates])
        return carry, (keep(info.increment), mask_diverged(series, carry.diverged_at))

    def twin_gram():
        increments, diverged_at = descend(
            problem,
            optimizer,
            carry,
            learning_rate,
            start + offsets,
            batch_size=rows.shape[1],
            augmentation_key=augmentation_key,
            keep=keep,
        )
        return _grams(increments, diverged_at, by_layer=False)[0]

    offsets = jnp.arange(rows.shape[0] - 1, dtype=jnp.int32)
    end, (increments, (losses, probe_losses, norms, samples)) = jax.lax.scan(
        record, carry, (offsets, rows[:-1])
    )
    last_batch = take_batch(
        problem, rows[-1], jax.random.fold_in(augmentation_key, start + offsets.size)
    )
    closing = real_parts((loss_at(end, last_batch), probe_loss_at(end)))
    closing_loss, closing_probe_loss = mask_diverged(closing, end.diverged_at)
    total, by_layer = _grams(increments, end.diverged_at, by_layer=recording.by_layer)
    twin = None
    if recording.full_batch_twin:
        # The branch waits for `total`. So where members run one after the other, the increments of
        # the twin get the memory of those of SGD. A diverged member, whose `total` is NaN, costs
        # nothing.
        twin = jax.lax.cond(end.diverged_at == ALIVE, twin_gram, lambda: total)
    return end, WindowRecord(
        step_gram=total,
        losses=jnp.append(losses, closing_loss),
        probe_losses=None if probe_losses is None else jnp.append(probe_losses, closing_probe_loss),
        gradient_norms=norms,
        gradient_samples=samples,
        layer_grams=by_layer,
        twin_gram=twin,
        diverged_at=end.diverged_at,
    )


def _checked_coordinates(recording: Recording, size: int) -> np.ndarray:
    coordinates = np.asarray(recording.gradient_coordinates, np.int32)
    if coordinates.size and not 0 <= coordinates.min() <= coordinates.max() < size:
        raise invalid(
            "gradient_coordinates",
            f"has values from {coordinates.min()} to {coordinates.max()}",
            f"positions in the flattened gradient, 0 to {size - 1}",
        )
    return coordinates


def _projection(recording: Recording, size: int) -> Callable[[PyTree], PyTree]:
    """Return the identity, or a count sketch (Charikar, Chen, Farach-Colton 2002).

    The sketch gives every coordinate a random sign and adds it into one of `sketch_dim` random
    buckets. It is linear and costs O(P) a step. It leaves inner products unbiased, with variance
    (|x|^2 |y|^2 + <x, y>^2) / sketch_dim at most.
    """
    if recording.sketch_dim is None:
        return lambda increment: increment
    key = jax.random.key(0) if recording.key is None else recording.key
    order_key, sign_key = jax.random.split(jax.random.fold_in(key, 1))
    padded = -(-size // recording.sketch_dim) * recording.sketch_dim
    order = jax.random.permutation(order_key, padded)
    half = np.float32(0.5)  # float32, so that 64-bit mode draws the same signs
    signs = jnp.where(
        jax.random.bernoulli(sign_key, half, (padded,)), np.float32(1), np.float32(-1)
    )

    def project(increment):
        flat = jnp.pad(flatten(increment), (0, padded - size)) * signs
        return flat[order].reshape(-1, recording.sketch_dim).sum(axis=0)

    return project


def _grams(
    increments: PyTree, diverged_at: Array, *, by_layer: bool
) -> tuple[Array, dict[str, Array]]:
    """Return the step Gram matrix, and its parts by layer; NaN for a diverged member."""
    parts: dict[str, list[Array]] = {}
    for path, leaf in jax.tree.leaves_with_path(increments):
        parts.setdefault(layer_name(path) if by_layer else "", []).append(leaf)
    grams = {layer: increment_gram(leaves) for layer, leaves in parts.items()}
    with jax.enable_x64(True):
        grams = mask_diverged(grams, diverged_at)
        return sum(grams.values()), grams if by_layer else {}


def mask_diverged(values: PyTree, diverged_at: ArrayLike) -> PyTree:
    """Return a pytree of floating arrays, with NaN for every value if the member has diverged."""
    return jax.tree.map(lambda value: jnp.where(diverged_at == ALIVE, value, jnp.nan), values)
