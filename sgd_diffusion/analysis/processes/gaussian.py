"""Gaussian processes, ballistic motion, and a period of two."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgd_diffusion._arrays import number, own_precision
from sgd_diffusion._types import ArrayLike, IntegerLike, Key, NumberLike
from sgd_diffusion.analysis.processes.parts import (
    checked_size,
    positions_from,
    random_directions,
    size_or_speed,
)
from sgd_diffusion.errors import invalid

__all__ = [
    "ballistic",
    "brownian",
    "fractional_brownian",
    "fractional_brownian_field",
    "ornstein_uhlenbeck",
    "period_two_with_drift",
    "persistent_walk",
    "scaled_brownian",
]


def ballistic(
    key: Key, steps: IntegerLike, dim: IntegerLike, *, speed: NumberLike = 1.0
) -> Float[Array, "point coordinate"]:
    """Return a path of constant velocity in a uniformly random direction.

    E|w_{i+lag} - w_i|^2 = speed^2 lag^2, on every path.

    Args:
        key: PRNG key.
        steps: number of steps.
        dim: number of coordinates.
        speed: length of a step.

    Returns:
        (steps + 1, dim) positions.
    """
    steps, dim = checked_size(steps, dim)
    return _ballistic(key, size_or_speed("speed", speed), steps, dim)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _ballistic(key, speed, steps, dim):
    return speed * jnp.arange(steps + 1.0)[:, None] * random_directions(key, 1, dim)


def brownian(
    key: Key,
    steps: IntegerLike,
    dim: IntegerLike,
    *,
    step_std: NumberLike = 1.0,
    drift: NumberLike = 0.0,
) -> Float[Array, "point coordinate"]:
    """Return a Gaussian random walk with a constant drift in a uniformly random direction.

    E|w_{i+lag} - w_i|^2 = dim step_std^2 lag + drift^2 lag^2.

    Args:
        key: PRNG key.
        steps: number of steps.
        dim: number of coordinates.
        step_std: standard deviation of a step, per coordinate.
        drift: length of the mean step; 0 for none.

    Returns:
        (steps + 1, dim) positions.
    """
    steps, dim = checked_size(steps, dim)
    step_std, drift = size_or_speed("step_std", step_std), size_or_speed("drift", drift)
    return _brownian(key, step_std, drift, steps, dim)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _brownian(key, step_std, drift, steps, dim):
    walk_key, drift_key = jax.random.split(key)
    walk = positions_from(step_std * jax.random.normal(walk_key, (steps, dim)))
    return walk + _ballistic(drift_key, drift, steps, dim)


def ornstein_uhlenbeck(
    key: Key,
    steps: IntegerLike,
    dim: IntegerLike,
    *,
    relaxation_time: NumberLike,
    std: NumberLike = 1.0,
) -> Float[Array, "point coordinate"]:
    r"""Return an Ornstein-Uhlenbeck process, a walker that is confined by a parabola.

    It has a stationary start, not at the origin. Every coordinate has variance std^2 and
    correlation exp(-lag/relaxation_time). So E|w_{i+lag} - w_i|^2 = 2 dim std^2 (1 -
    exp(-lag/relaxation_time)): exponent 1 at lag << relaxation_time, then a plateau.

    Formula:
        Ornstein-Uhlenbeck process. $E \lVert w_{i+\ell} - w_i \rVert^2 = 2 d \sigma^2 \left( 1 -
        e^{-\ell / \tau} \right)$ (Uhlenbeck & Ornstein, Phys. Rev. 36, 823, 1930)

    Args:
        key: PRNG key.
        steps: number of steps.
        dim: number of coordinates.
        relaxation_time: in steps.
        std: standard deviation of the position, per coordinate.

    Returns:
        (steps + 1, dim) positions.

    Raises:
        InputError: `relaxation_time` not positive.
    """
    steps, dim = checked_size(steps, dim)
    relaxation_time = number("relaxation_time", relaxation_time, above=0)
    std = size_or_speed("std", std)
    return std * _autoregressive(key, steps + 1, dim, relaxation_time)


def persistent_walk(
    key: Key,
    steps: IntegerLike,
    dim: IntegerLike,
    *,
    persistence_time: NumberLike,
    step_std: NumberLike = 1.0,
) -> Float[Array, "point coordinate"]:
    r"""Return a walk whose Gaussian steps forget their direction exponentially.

    It is first ballistic, then diffusive. Every coordinate of the steps has variance step_std^2 and
    correlation r^k between steps k apart, with r = exp(-1/persistence_time). Hence

    E|w_{i+lag} - w_i|^2 = dim step_std^2 [lag (1 + r)/(1 - r) - 2 r (1 - r^lag)/(1 - r)^2]

    with the asymptotes dim step_std^2 lag^2 and dim step_std^2 lag (1 + r)/(1 - r). These meet at
    lag = (1 + r)/(1 - r) = coth(1/(2 persistence_time)), about twice the persistence time.

    Formula:
        Persistent walk. $E \lVert w_{i+\ell} - w_i \rVert^2 = d \sigma^2 \left( \ell
        \frac{1+r}{1-r} - 2 r \frac{1-r^{\ell}}{(1-r)^2} \right), \quad r = e^{-1 / \tau}$ (sum of a
        geometric series)

    Args:
        key: PRNG key.
        steps: number of steps.
        dim: number of coordinates.
        persistence_time: in steps.
        step_std: standard deviation of a step, per coordinate.

    Returns:
        (steps + 1, dim) positions.

    Raises:
        InputError: `persistence_time` not positive.
    """
    steps, dim = checked_size(steps, dim)
    persistence_time = number("persistence_time", persistence_time, above=0)
    step_std = size_or_speed("step_std", step_std)
    return positions_from(step_std * _autoregressive(key, steps, dim, persistence_time))


def fractional_brownian(
    key: Key, steps: IntegerLike, dim: IntegerLike, *, hurst: NumberLike
) -> Float[Array, "point coordinate"]:
    r"""Return fractional Brownian motion, the Gaussian walk with self-similar correlations.

    E|w_{i+lag} - w_i|^2 = dim lag^(2 hurst): the exponent is 2 hurst at all lags. Steps k apart
    have the covariance (|k+1|^(2 hurst) - 2 |k|^(2 hurst) + |k-1|^(2 hurst))/2 in every coordinate
    (Mandelbrot & Van Ness, SIAM Rev. 10, 422, 1968).

    It is exact by circulant embedding (Davies & Harte, Biometrika 74, 95, 1987): the first half of
    a periodic series of 2 * steps. The eigenvalues of its covariance matrix are an FFT of its first
    row. They are computed in float64 in every precision of the path. In float32 the covariances of
    the steps are off by 1e-6 at most.

    Formula:
        Fractional Brownian motion, covariance of steps. $c_k = \frac{1}{2} \left( |k+1|^{2H} - 2
        |k|^{2H} + |k-1|^{2H} \right)$ (Mandelbrot & Van Ness, SIAM Rev. 10, 422, 1968)

    Args:
        key: PRNG key.
        steps: number of steps.
        dim: number of coordinates.
        hurst: Hurst exponent, in (0, 1); 1/2 is Brownian motion.

    Returns:
        (steps + 1, dim) positions.

    Raises:
        InputError: `hurst` outside (0, 1).
    """
    steps, dim = checked_size(steps, dim)
    hurst = number("hurst", hurst, above=0, below=1, what="as ballistic is the limit 1")
    powers = np.abs(np.arange(-1.0, steps + 2)) ** (2 * hurst)
    covariance = np.diff(powers, 2) / 2  # of steps 0..steps apart
    eigenvalues = np.fft.rfft(np.concatenate([covariance, covariance[-2:0:-1]])).real
    # Eigenvalues are negative only by rounding.
    return _colored_walk(key, np.sqrt(np.maximum(eigenvalues, 0)), dim)


@functools.partial(jax.jit, static_argnums=2)
def _colored_walk(key, gain, dim):
    """Positions of a walk whose steps have a spectrum of gain (steps + 1,)."""
    steps = len(gain) - 1
    noise = jax.random.normal(key, (2 * steps, dim))
    spectrum = jnp.fft.rfft(noise, axis=0)
    colored = jnp.fft.irfft(gain[:, None].astype(spectrum.dtype) * spectrum, 2 * steps, axis=0)
    return positions_from(colored[:steps])


def scaled_brownian(
    key: Key, steps: IntegerLike, dim: IntegerLike, *, alpha: NumberLike
) -> Float[Array, "point coordinate"]:
    r"""Return scaled Brownian motion: Gaussian steps whose variance is a power of time.

    The steps are independent, and the path ages. From the start E|w_t|^2 = dim t^alpha, between two
    times E|w_{t+lag} - w_t|^2 = dim ((t + lag)^alpha - t^alpha). The expected TAMSD is the mean of
    the latter over t = 0..T - lag. For lag << T this is about dim lag T^(alpha - 1): exponent 1 for
    every alpha (Jeon, Chechkin & Metzler, Phys. Chem. Chem. Phys. 16, 15811, 2014).

    Formula:
        Scaled Brownian motion. $E \lVert w_{t+\ell} - w_t \rVert^2 = d \left( (t+\ell)^{\alpha} -
        t^{\alpha} \right)$ (Jeon, Chechkin & Metzler, Phys. Chem. Chem. Phys. 16, 15811, 2014)

    Args:
        key: PRNG key.
        steps: number of steps.
        dim: number of coordinates.
        alpha: exponent of the displacement from the start, positive; 1 is Brownian motion.

    Returns:
        (steps + 1, dim) positions.

    Raises:
        InputError: `alpha` not positive.
    """
    steps, dim = checked_size(steps, dim)
    alpha = number("alpha", alpha, above=0)
    return _walk(key, np.sqrt(np.diff(np.arange(steps + 1.0) ** alpha)), dim)


@functools.partial(jax.jit, static_argnums=2)
def _walk(key, step_std, dim):
    """Positions of a walk with Gaussian steps of standard deviations (steps,)."""
    noise = jax.random.normal(key, (len(step_std), dim))
    return positions_from(step_std[:, None].astype(noise.dtype) * noise)


def period_two_with_drift(
    key: Key,
    steps: IntegerLike,
    dim: IntegerLike,
    *,
    amplitude: NumberLike,
    drift: NumberLike,
    step_std: NumberLike = 0.0,
) -> Float[Array, "point coordinate"]:
    """Return a walker that bounces between the walls of a valley at every step and drifts along it.

    This is the edge-of-stability picture. w_t = amplitude ((-1)^t - 1) e + drift t f + Gaussian
    walk, with random orthogonal unit vectors e and f. Hence

    E|w_{i+lag} - w_i|^2 = (2 amplitude)^2 [lag odd] + drift^2 lag^2 + dim step_std^2 lag,

    on every path without the walk.

    Args:
        key: PRNG key.
        steps: number of steps.
        dim: number of coordinates, at least 2.
        amplitude: distance of the bounces from the floor of the valley.
        drift: length of the mean step along the valley.
        step_std: standard deviation of the steps of the walk, per coordinate.

    Returns:
        (steps + 1, dim) positions.

    Raises:
        InputError: `dim` below 2.
    """
    steps, dim = checked_size(steps, dim, least_dim=2)
    amplitude, drift, step_std = (
        size_or_speed(name, value)
        for name, value in (("amplitude", amplitude), ("drift", drift), ("step_std", step_std))
    )
    return _period_two_with_drift(key, amplitude, drift, step_std, steps, dim)


@functools.partial(jax.jit, static_argnums=(4, 5))
def _period_two_with_drift(key, amplitude, drift, step_std, steps, dim):
    direction_key, walk_key = jax.random.split(key)
    along, across = random_directions(direction_key, 2, dim)
    across = across - (across * along).sum() * along
    time = jnp.arange(steps + 1.0)[:, None]
    walk = positions_from(step_std * jax.random.normal(walk_key, (steps, dim)))
    across = across / jnp.linalg.norm(across)
    return -2 * amplitude * (time % 2) * across[None] + drift * time * along[None] + walk


def fractional_brownian_field(
    key: Key, squared_displacements: ArrayLike, *, hurst: NumberLike
) -> Float[Array, "point"]:
    r"""Return a fractional Brownian field at the points of a path: a landscape of known roughness.

    The field is Levy's, on all of R^P. The values are Gaussian with E (L_i - L_j)^2 = |w_i -
    w_j|^(2 hurst), and L_0 = 0. So the mean squared loss of any path has the exponent 2 hurst in
    distance. The covariance of L_i and L_j is half |w_i - w_0|^(2 hurst) + |w_j - w_0|^(2 hurst) -
    |w_i - w_j|^(2 hurst), so that only distances are needed. hurst = 1 is a plane of random slope.

    It is exact by the eigenvectors of the covariance of the steps L_{i+1} - L_i, O(n^3). Rounding
    makes eigenvalues negative for a point visited twice, or for more points than dimensions at
    hurst = 1; they are set to zero. It works in the precision of its input.

    Formula:
        Fractional Brownian field. $E (L_i - L_j)^2 = \lVert w_i - w_j \rVert^{2H}$ (Levy's field on
        all of the space of weights)

    Args:
        key: PRNG key.
        squared_displacements: (n, n) squared distances between the points, n >= 2.
        hurst: Hurst exponent, in (0, 1].

    Returns:
        (n,) in the unit of distance to the power hurst; NaN for a path with NaN.

    Raises:
        InputError: `squared_displacements` is not one square matrix of real numbers with n >= 2, or
            `hurst` outside (0, 1].

    Notes:
        Over 1001 points of a walk the variogram was off by at most 1e-13 of its largest value from
        float64, and by 2e-4 from float32 (3e-5 at hurst >= 1/2). A point visited twice got the same
        value to 1e-7 and 2e-3 of the range of the field.
    """
    hurst = number("hurst", hurst, above=0, at_most=1, what="which is a plane")
    with own_precision("squared_displacements", squared_displacements) as squares:
        if squares.ndim != 2 or squares.shape[0] != squares.shape[1] or len(squares) < 2:
            raise invalid(
                "squared_displacements",
                f"has shape {squares.shape}",
                "(n, n) with n >= 2, the squared distances between the points of one path",
                "use jax.vmap for several paths",
            )
        return _field(key, squares, hurst)


@jax.jit
def _field(key, squares, hurst):
    covariance = -jnp.diff(jnp.diff(squares**hurst, axis=0), axis=1) / 2
    vectors, variances = jax.lax.linalg.eigh(covariance)
    # Float32 draws and the symmetric root give one field for a key in every precision and for
    # every choice of eigenvectors.
    noise = jax.random.normal(key, variances.shape, np.float32).astype(variances.dtype)
    roots = jnp.sqrt(jnp.where(variances < 0, 0, variances))
    amplitudes = roots * (vectors * noise[:, None]).sum(axis=0)
    return positions_from((vectors * amplitudes[None]).sum(axis=1))


def _autoregressive(key, steps, dim, correlation_time):
    """Return a stationary Gaussian series (steps, dim) of unit variance.

    Its correlation is exp(-k / correlation_time).
    """
    correlation = math.exp(-1 / correlation_time)
    innovation = math.sqrt(-math.expm1(-2 / correlation_time))
    return _recursion(key, correlation, innovation, steps, dim)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _recursion(key, correlation, innovation, steps, dim):
    noise = jax.random.normal(key, (steps, dim))

    def advance(value, noise):
        value = correlation * value + innovation * noise
        return value, value

    _, later = jax.lax.scan(advance, noise[0], noise[1:])
    return jnp.concatenate([noise[:1], later])
