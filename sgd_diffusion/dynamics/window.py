"""T steps of a member in one `lax.scan`. What remains is their Gram matrix and a few series."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from sgd_diffusion._pytrees import full_precision
from sgd_diffusion._types import ArrayLike, Key, PyTree
from sgd_diffusion.dynamics.averages import Average, advance_average
from sgd_diffusion.dynamics.gradient_descent import descend
from sgd_diffusion.dynamics.parameters import count, flatten, layer_name, real_parts
from sgd_diffusion.dynamics.reports import report_to_host
from sgd_diffusion.dynamics.schedules import LearningRate
from sgd_diffusion.dynamics.sgd import ALIVE, Carry, update
from sgd_diffusion.dynamics.shards import cut, gram_of_shards
from sgd_diffusion.dynamics.step_gradients import (
    MINIBATCH,
    StepGradient,
    step_gradient,
    step_loss,
)
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
            evaluation on the batch that the next window starts with. Where steps are made without
            mini-batches, the loss of all examples (see `step_gradients`).
        probe_losses: (T+1,) loss at w_t on the problem's fixed probe, or None without a probe.
        gradient_norms: (T,) Euclidean norm of the gradient by which step t is made: that of the
            mini-batch at w_t, unless SAM or another noise is asked for.
        gradient_samples: (T, S) this gradient at S coordinates; S = 0 unless asked for.
        layer_grams: {layer: (T, T)} parts of step_gram by top-level layer, which add up to it;
            empty unless asked for.
        twin_gram: (T, T) step Gram matrix of the full-batch twin, which descends from w_0 without
            gradient noise (see `gradient_descent`), or None unless asked for. It is NaN also where
            the twin alone diverged.
        diverged_at: () int32, the absolute step at which the member diverged, or -1.
        average_gram: (T, T) step Gram matrix of the averaged weights, or None without an average.
    """

    step_gram: Float[Array, "step step"]
    losses: Float[Array, "point"]
    probe_losses: Float[Array, "point"] | None
    gradient_norms: Float[Array, "step"]
    gradient_samples: Float[Array, "step coordinate"]
    layer_grams: dict[str, Float[Array, "step step"]]
    twin_gram: Float[Array, "step step"] | None
    diverged_at: Int[Array | np.ndarray, ""]
    average_gram: Float[Array, "step step"] | None = None


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
    learning_rate: LearningRate,
    rows: ArrayLike,
    augmentation_key: Key,
    start: ArrayLike,
    count: ArrayLike,
    *,
    gradient: StepGradient = MINIBATCH,
    average: Average | None = None,
    report: Callable[[Any, Any], None] | None = None,
) -> Carry:
    """Return the carry after `count` <= T steps, without any record of them.

    The steps are those of `record_window`.

    Args:
        problem: what SGD optimizes.
        optimizer: as returned by `sgd`.
        carry: where the member stands.
        learning_rate: () step size, may be traced, or a function of the number of the update.
        rows: (T, B) rows of the examples for the batches of steps start, ..., start + T - 1.
        augmentation_key: key of the member's augmentation; the absolute step is folded in.
        start: () number of updates made before, may be traced.
        count: () number of steps, may be traced.
        gradient: by which gradient the steps are made.
        average: that of the weights, which the carry has too.
        report: host function, called as `report(step, loss)` from inside the program every
            `REPORT_EVERY` steps.
    """
    make = _updates(
        problem, optimizer, learning_rate, augmentation_key, start, gradient, average, report
    )
    return jax.lax.fori_loop(
        0, count, lambda offset, carry: make(carry, offset, rows[offset])[0], carry
    )


def _updates(problem, optimizer, learning_rate, augmentation_key, start, gradient, average, report):
    """Return the update of a member as a function of (carry, offset from `start`, rows).

    It returns the carry, what the step saw, and the increment of the average, or None.
    """

    def make(carry, offset, rows):
        step = start + offset
        found = step_gradient(gradient, problem, carry, rows, augmentation_key, step)
        carry, info = update(optimizer, carry, *found, learning_rate, step)
        moved = None
        if average is not None:
            carry, moved = advance_average(average, carry, step)
        if report is not None:
            jax.lax.cond(
                offset % REPORT_EVERY == 0,
                lambda: report_to_host(report, step, info.loss),
                lambda: None,
            )
        return carry, info, moved

    return make


def record_window(
    problem: Problem,
    optimizer: optax.GradientTransformation,
    carry: Carry,
    learning_rate: LearningRate,
    rows: ArrayLike,
    augmentation_key: Key,
    start: ArrayLike,
    *,
    gradient: StepGradient = MINIBATCH,
    average: Average | None = None,
    recording: Recording = MINIMAL,
    report: Callable[[Any, Any], None] | None = None,
) -> tuple[Carry, WindowRecord]:
    """Make T steps from `carry` in one `lax.scan`, and record them.

    Args:
        problem: what SGD optimizes.
        optimizer: as returned by `sgd`.
        carry: where the member stands.
        learning_rate: () step size, may be traced, or a function of the number of the update.
        rows: (T+1, B) rows of the examples for the batches of steps start, ..., start + T (see
            `batch_indices`).
        augmentation_key: key of the member's augmentation; the absolute step is folded in.
        start: () waiting time t_w, the number of updates made before, may be traced.
        gradient: by which gradient the steps are made.
        average: that of the weights, which the carry has too (see `averages.start_average`).
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

    make = _updates(
        problem, optimizer, learning_rate, augmentation_key, start, gradient, average, report
    )

    def probe_loss_at(carry):
        # Training mode uses batch statistics, not running averages. So the loss of the probe is a
        # function of the point alone.
        if problem.probe is None:
            return None
        with full_precision():
            return problem.loss(carry.params, carry.state, problem.probe, True)[0]

    def record(carry, inputs):
        probe_loss = probe_loss_at(carry)
        carry, info, moved = make(carry, *inputs)
        norm = optax.tree.norm(real_parts(info.gradient))
        series = (*real_parts((info.loss, probe_loss)), norm, flatten(info.gradient)[coordinates])
        kept = keep(info.increment), None if moved is None else keep(moved)
        return carry, (*kept, mask_diverged(series, carry.diverged_at))

    def twin_gram():
        increments, diverged_at = descend(
            problem,
            optimizer,
            carry,
            learning_rate,
            start + offsets,
            batch_size=rows.shape[1],
            augmentation_key=augmentation_key,
            radius=gradient.radius,
            keep=keep,
        )
        return _grams(increments, diverged_at, by_layer=False)[0]

    offsets = jnp.arange(rows.shape[0] - 1, dtype=jnp.int32)
    end, (increments, averaged, (losses, probe_losses, norms, samples)) = jax.lax.scan(
        record, carry, (offsets, rows[:-1])
    )
    last = step_loss(gradient, problem, end, rows[-1], augmentation_key, start + offsets.size)
    closing_loss, closing_probe_loss = mask_diverged(
        real_parts((last, probe_loss_at(end))), end.diverged_at
    )
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
        average_gram=None
        if averaged is None
        else _grams(averaged, end.diverged_at, by_layer=False)[0],
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
    """Return what is kept of an increment: its leaves as vectors, or a count sketch of all.

    TPUs keep the last two axes of an array in tiles of 8 x 128, and those of a kernel fill few of
    them: its increments would take three times their memory.

    The sketch (Charikar, Chen, Farach-Colton 2002) gives every coordinate a random sign and adds it
    into one of `sketch_dim` random buckets. It is linear and costs O(P) a step. It leaves inner
    products unbiased, with variance (|x|^2 |y|^2 + <x, y>^2) / sketch_dim at most.
    """
    if recording.sketch_dim is None:
        return lambda increment: cut(jax.tree.map(jnp.ravel, increment))
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
    increments: PyTree, diverged_at: ArrayLike, *, by_layer: bool
) -> tuple[Array, dict[str, Array]]:
    """Return the step Gram matrix, and its parts by layer; NaN for a diverged member."""
    parts: dict[str, list[Array]] = {}
    for path, leaf in jax.tree.leaves_with_path(increments):
        parts.setdefault(layer_name(path) if by_layer else "", []).append(leaf)
    grams = {layer: gram_of_shards(leaves) for layer, leaves in parts.items()}
    with jax.enable_x64(True):
        grams = mask_diverged(grams, diverged_at)
        return sum(grams.values()), grams if by_layer else {}


def mask_diverged(values: PyTree, diverged_at: ArrayLike) -> PyTree:
    """Return a pytree of floating arrays, with NaN for every value if the member has diverged."""
    return jax.tree.map(lambda value: jnp.where(diverged_at == ALIVE, value, jnp.nan), values)
