"""Simulate walkers that go down a surface under noise: gradient descent in two coordinates.

    w <- w - learning_rate grad L(w) + noise_std xi

Here xi is a standard normal vector, drawn anew at every step (Chen, Qu & Gong, arXiv:2009.10588,
Eq. 10). The noise is not multiplied by the learning rate. Surfaces are losses; walkers go down.

`walk` simulates one walker, to be mapped as needed. `walk_ensemble` simulates all walkers on all
surfaces with all learning rates and noises, in the fast order of execution. Running sums keep what
is measured on every step, so that memory holds every k-th position only.

>>> from sgd_diffusion.landscape.fractal_surfaces import cone
>>> options = {"learning_rate": 0.02, "noise_std": 0.0, "steps": 100}
>>> slide = walk(jax.random.key(0), cone(65), jnp.array([0.9, 0.9]), **options)
>>> slide.positions.shape, [round(float(place), 3) for place in slide.positions[100]]
((101, 2), [0.193, 0.193])
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sgd_diffusion._arrays import (
    booleans,
    floats,
    integer,
    is_traced,
    nonnegative,
    number,
    parameter,
)
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, IntegerLike, Key, NumberLike
from sgd_diffusion.analysis.draws import open_uniform_of_words
from sgd_diffusion.analysis.stable.isotropic import stable_root
from sgd_diffusion.analysis.stable.law import MIN_ALPHA
from sgd_diffusion.errors import invalid
from sgd_diffusion.landscape.fractal_surfaces.surface import Surface, checked
from sgd_diffusion.walkers.boundaries import BOUNDARIES
from sgd_diffusion.walkers.interpolation import INTERPOLANTS, half_sides, interpolator, nearest

__all__ = ["Walk", "walk", "walk_ensemble"]

MOST_STEPS = 2**31 - 2


@shown_briefly
class Walk(NamedTuple):
    """A walker's path, every k-th point of it, and what was seen on all steps 0..T.

    Fields have leading axes if the walk was mapped. A step that did not occur within the walk is
    T + 1, so that times beyond T are censored. From the first position that is NaN on, everything
    is NaN and steps are T + 1. A start outside the square and a surface with NaN lead there.

    Attributes:
        positions: (T/k + 1, 2) positions in the unit of the surface's extent, the start first.
        losses: (T/k + 1,) heights of the interpolated surface there.
        gradients: (T/k + 1, 2) gradients of the interpolated surface there.
        lowest_loss: () lowest loss of all points visited.
        lowest_step: () integer, the first step with that loss.
        wall_steps: () integer, number of steps whose noise, at the first draw, would have carried
            the walker out of the square.
        first_wall_step: () integer, the first of these steps, from 1 on.
        region_steps: () integer, number of points visited within the region, the start included.
        first_region_step: () integer, the first step within the region; 0 where the start is.
    """

    positions: Float[Array, "*walks point 2"]
    losses: Float[Array, "*walks point"]
    gradients: Float[Array, "*walks point 2"]
    lowest_loss: Float[Array, "*walks"]
    lowest_step: Int[Array, "*walks"]
    wall_steps: Int[Array, "*walks"]
    first_wall_step: Int[Array, "*walks"]
    region_steps: Int[Array, "*walks"]
    first_region_step: Int[Array, "*walks"]


def walk(
    key: Key,
    surface: Surface,
    start: ArrayLike,
    *,
    learning_rate: NumberLike,
    noise_std: NumberLike,
    steps: IntegerLike,
    boundary: str = "reject",
    interpolant: str = "bilinear",
    alpha: NumberLike = 2.0,
    sqrt_scaling: bool = False,
    every: IntegerLike = 1,
    region: ArrayLike | None = None,
) -> Walk:
    r"""Return the path of one walker on one surface.

    The gradient is exactly that of the interpolant (`interpolation.interpolator`).

    The boundary says what happens at the walls of the square:

    - `reject` redraws the noise until the walker stays inside, with the same drift, as the
      published model does. It draws from the conditional law of the two independent normal numbers
      directly, by inversion. So no step is skipped or given up, however far outside the drift alone
      would end. There the walker comes to rest within about noise_std^2/distance of the wall.
      Without noise it stays on the wall.
    - `reflect` mirrors the path at the walls as often as is needed.
    - `periodic` continues at the opposite side. It suits surfaces whose opposite sides agree.
      `numpy.unwrap` with the side as period undoes it if every step is recorded and shorter than
      half the side.

    Noise with `alpha` below 2 is isotropic and alpha-stable: sqrt(A) times the normal vector, with
    A > 0 of Laplace transform exp(-s^(alpha/2)). Each component has the stable law of scale
    noise_std/sqrt(2), which at alpha = 2 is the normal law above. At a wall, `reject` redraws the
    normal vector and keeps A.

    Step t uses the noise of `key` and t alone. Longer walks therefore begin like shorter ones,
    whatever is recorded. The random numbers are the two words of 32 bits of a key folded with t;
    drawing from that key would hash twice more.

    Formula:
        Walker with noise. $x_{t+1} = x_t - \eta \nabla h(x_t) + \sigma \xi_t$ (Chen, Qu & Gong,
        arXiv:2009.10588, Eq. 10)

    Args:
        key: PRNG key.
        surface: one `fractal_surfaces.Surface` with heights (N, M). The walk has their precision:
            at least float32, and JAX's default for integers.
        start: (2,) position within the square.
        learning_rate: eta, in the unit of the extent squared over that of the heights; may be
            traced.
        noise_std: sigma, standard deviation per coordinate and step, in the unit of the extent; may
            be traced.
        steps: T, known before tracing.
        boundary: `"reject"`, `"reflect"` or `"periodic"`.
        interpolant: `"bilinear"` or `"bicubic"`.
        alpha: stability index of the noise, in 0.3..2, known before tracing.
        sqrt_scaling: whether the noise of a step is sqrt(eta) sigma, as in the Euler-Maruyama
            scheme of dw = -grad L dt + sigma dB with time steps of eta. Then sigma has the unit of
            extent/sqrt(eta).
        every: k, the number of steps from one recorded position to the next; divides `steps`.
        region: (N, M) booleans or None. A walker is in the region where its nearest grid point is.

    Returns:
        `Walk`.

    Raises:
        InputError: the surface does not have heights (N, M); the region has another shape; the
            start is not within the square; the learning rate or the noise is negative or infinite;
            `steps` is not positive or not a multiple of `every`; the boundary or the interpolant is
            unknown; `alpha` is outside 0.3..2. A traced start, learning rate or noise gives NaN
            instead.
    """
    options = _Options(steps, boundary, interpolant, alpha, sqrt_scaling, every)
    surface, start = checked(surface, least=2), floats("start", start)
    dtype = surface.heights.dtype
    region = _checked_region("region", region, surface)
    if start.shape != (2,):
        raise invalid(
            "start", f"has shape {start.shape}", "(2,)", "map many with jax.vmap, or walk_ensemble"
        )
    _refuse_outside(start, surface)
    learning_rate, noise_std = (
        jnp.asarray(parameter(name, value, at_least=0), dtype)
        for name, value in (("learning_rate", learning_rate), ("noise_std", noise_std))
    )
    return _walk(key, surface, start.astype(dtype), learning_rate, noise_std, region, options)


def walk_ensemble(
    keys: Key,
    surfaces: Surface,
    starts: ArrayLike,
    *,
    learning_rates: ArrayLike,
    noise_stds: ArrayLike,
    regions: ArrayLike | None = None,
    **options: Any,
) -> Walk:
    """Return the paths of many walkers on many surfaces, with every learning rate and every noise.

    Surfaces are computed one after the other, each with all its walkers. So its heights stay in the
    cache, which is several times faster on CPU than mapping the surfaces too. Walker w of a surface
    has the same start and the same random numbers with every learning rate and noise. Comparisons
    between these are therefore comparisons of paired walks.

    Args:
        keys: (S,) PRNG keys, one a surface.
        surfaces: `fractal_surfaces.Surface` with heights (S, N, M) and extent (S,).
        starts: (S, W, 2), or (W, 2) for the same starts on every surface.
        learning_rates: (R,) values of `learning_rate`.
        noise_stds: (Q,) values of `noise_std`.
        regions: (S, N, M) booleans or None.
        options: the other options of `walk`.

    Returns:
        `Walk` with leading axes (S, R, Q, W).

    Raises:
        InputError: as for `walk`, and for shapes that do not fit.
    """
    program = _Options(**options)
    surfaces, starts = checked(surfaces, dims=3, least=2), floats("starts", starts)
    number, dtype = len(surfaces.heights), surfaces.heights.dtype
    if jnp.shape(keys)[:1] != (number,):
        raise invalid(
            "keys",
            f"has shape {jnp.shape(keys)}",
            f"({number},), one key for each of the {number} surfaces",
        )
    if (
        starts.ndim not in (2, 3)
        or starts.shape[-1] != 2
        or not starts.size
        or starts.shape[:-2] not in ((), (number,))
    ):
        raise invalid(
            "starts",
            f"has shape {starts.shape}",
            f"({number}, W, 2), or (W, 2) for the same starts on every surface",
        )
    learning_rates = nonnegative("learning_rates", learning_rates).astype(dtype)
    noise_stds = nonnegative("noise_stds", noise_stds).astype(dtype)
    _refuse_outside(starts, surfaces)
    starts = jnp.broadcast_to(starts.astype(dtype), (number, *starts.shape[-2:]))
    regions = _checked_region("regions", regions, surfaces)
    return _walk_all(keys, surfaces, starts, learning_rates, noise_stds, regions, program)


@dataclasses.dataclass(frozen=True)
class _Options:
    """What the program of a walk is compiled for; see `walk`."""

    steps: IntegerLike
    boundary: str = "reject"
    interpolant: str = "bilinear"
    alpha: NumberLike = 2.0
    sqrt_scaling: bool = False
    every: IntegerLike = 1

    def __post_init__(self):
        alpha = number(
            "alpha", self.alpha, at_least=MIN_ALPHA, at_most=2, what="where 2 is normal noise"
        )
        values = {
            "steps": integer("steps", self.steps, 1, MOST_STEPS),
            "every": integer("every", self.every, 1),
            "alpha": alpha,
            "sqrt_scaling": bool(self.sqrt_scaling),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if self.steps % self.every:
            raise invalid(
                "steps",
                f"is {self.steps} and every {self.every}",
                "steps that are a multiple of every",
            )
        for name, choices in (("boundary", BOUNDARIES), ("interpolant", INTERPOLANTS)):
            if getattr(self, name) not in tuple(choices):
                raise invalid(name, f"is {getattr(self, name)!r}", f"one of {', '.join(choices)}")


@functools.partial(jax.jit, static_argnums=6)
def _walk_all(keys, surfaces, starts, learning_rates, noise_stds, regions, options):
    """`walk_ensemble` for arguments that have been checked."""

    def on_one_surface(inputs):
        key, surface, starts, region = inputs

        def one(learning_rate, noise_std, key, start):
            return _walk(key, surface, start, learning_rate, noise_std, region, options)

        walkers_of = jax.vmap(one, (None, None, 0, 0))
        noises = jax.vmap(walkers_of, (None, 0, None, None))
        keys = jax.random.split(key, len(starts))
        return jax.vmap(noises, (0, None, None, None))(learning_rates, noise_stds, keys, starts)

    return jax.lax.map(on_one_surface, (keys, surfaces, starts, regions))


@functools.partial(jax.jit, static_argnums=6)
def _walk(key, surface, start, learning_rate, noise_std, region, options):
    """`walk` for arguments that have been checked."""
    surface_at = interpolator(
        surface, interpolant=options.interpolant, periodic=options.boundary == "periodic"
    )
    height, bounded = jax.value_and_grad(surface_at, argnums=(0, 1)), BOUNDARIES[options.boundary]
    walls = half_sides(surface)
    learning_rate, noise_std = (
        jnp.where(value >= 0, value, jnp.nan) for value in (learning_rate, noise_std)
    )
    noise_std = noise_std * jnp.sqrt(learning_rate) if options.sqrt_scaling else noise_std

    def visit(place):
        return _Point(place, *height(*place))

    def step(state, time):
        point, seen = state
        uniform, std = _noise(jax.random.fold_in(key, time), noise_std, options.alpha)
        moves = [
            bounded(at - learning_rate * slope, std, level, wall)
            for at, slope, level, wall in zip(
                point.place, point.gradient, uniform, walls, strict=True
            )
        ]
        point = visit(
            tuple(
                jnp.clip(place, -wall, wall) for (place, _), wall in zip(moves, walls, strict=True)
            )
        )
        crossed = moves[0][1] | moves[1][1]
        return (
            point,
            _see(seen, time, point, crossed, _within(region, surface, point.place)),
        ), None

    def record(state, first):
        state, _ = jax.lax.scan(step, state, first + jnp.arange(options.every))
        return state, state[0]

    places = zip(start, walls, strict=True)
    origin = visit(tuple(jnp.where(jnp.abs(at) <= wall, at, jnp.nan) for at, wall in places))
    never, none = jnp.array(options.steps + 1), jnp.array(0)
    nothing = _Seen(jnp.full_like(origin.loss, jnp.inf), never, none, never, none, never)
    seen = _see(nothing, 0, origin, False, _within(region, surface, origin.place))
    (_, seen), points = jax.lax.scan(
        record, (origin, seen), 1 + options.every * jnp.arange(options.steps // options.every)
    )
    path = jax.tree.map(lambda first, rest: jnp.append(first[None], rest), origin, points)
    lowest = jnp.where(jnp.isnan(path.loss[-1]), jnp.nan, seen.lowest_loss)
    return Walk(
        jnp.stack(path.place, -1), path.loss, jnp.stack(path.gradient, -1), lowest, *seen[1:]
    )


class _Point(NamedTuple):
    place: tuple  # two separate numbers, so that all loops over walkers run over contiguous memory
    loss: jax.Array
    gradient: tuple


class _Seen(NamedTuple):
    """The fields of `Walk` from `lowest_loss` on."""

    lowest_loss: jax.Array
    lowest_step: jax.Array
    wall_steps: jax.Array
    first_wall_step: jax.Array
    region_steps: jax.Array
    first_region_step: jax.Array


def _see(seen, time, point, crossed, within):
    """What has been seen, with one more point."""
    lower, crossed, within = (
        point.loss < seen.lowest_loss,
        jnp.asarray(crossed),
        jnp.asarray(within),
    )
    return _Seen(
        jnp.where(lower, point.loss, seen.lowest_loss),
        jnp.where(lower, time, seen.lowest_step),
        seen.wall_steps + crossed.astype(int),
        jnp.where(crossed, jnp.minimum(seen.first_wall_step, time), seen.first_wall_step),
        seen.region_steps + within.astype(int),
        jnp.where(within, jnp.minimum(seen.first_region_step, time), seen.first_region_step),
    )


def _within(region, surface, place):
    if region is None:
        return False
    return nearest(surface._replace(heights=region), *place)


def _noise(key, std, alpha):
    """Two uniform numbers in (0, 1) for the normal ones, and their standard deviation."""
    uniform = _two_uniform(key, std.dtype)
    if alpha == 2:
        return uniform, std
    angle, exponential = _two_uniform(jax.random.fold_in(key, 0), std.dtype)
    return uniform, std * stable_root(angle, -jnp.log(exponential), alpha)


def _two_uniform(key, dtype):
    """Return two uniform numbers from the words of a key; no other draw uses this key."""
    return open_uniform_of_words(jax.random.key_data(key)[:2], dtype)


# Arguments


def _checked_region(name, region, surface):
    """Return booleans in the shape of the heights, or None."""
    if region is None:
        return None
    region = jnp.asarray(booleans(name, region))
    if region.shape != surface.heights.shape:
        expected = f"that of the heights, {surface.heights.shape}"
        raise invalid(name, f"has shape {region.shape}", expected)
    return region


def _refuse_outside(starts, surfaces):
    """Refuse starts that are not within the square, where they are known."""
    if is_traced(starts, surfaces.extent):
        return
    starts, walls = np.asarray(starts), np.stack(half_sides(surfaces), axis=-1)
    if walls.ndim > 1:
        walls = walls[:, None] if starts.ndim > 2 else walls.min(axis=0)
    outside = ~(np.abs(starts) <= walls).all(axis=-1)  # NaN too
    if outside.any():
        raise invalid(
            "start",
            f"is {starts[outside][0].tolist()}",
            "a position within the square, at most "
            f"{walls.min():g} from its center along each axis",
        )
