"""Fit the alpha-stable law quickly, from five quantiles or from Fourier components.

Both fits take samples (n,) and can be jitted and mapped. Arithmetic is float64 whatever the
precision of the samples. Their asymptotic efficiency for symmetric laws is the variance of the
maximum-likelihood alpha over that of the fit:

    alpha                      0.5   0.7   1.0   1.3   1.7   1.95
    quantiles                  0.36  0.45  0.60  0.69  0.33  0.05
    characteristic function    0.69  0.80  0.91  0.96  0.99  0.99
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float, Int
from numpy.polynomial import chebyshev

from sgd_diffusion._arrays import in_double, real_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._platforms import host
from sgd_diffusion._types import ArrayLike
from sgd_diffusion.analysis.estimates import Status, one_sample, spread_status
from sgd_diffusion.analysis.likelihood import movable
from sgd_diffusion.analysis.stable import law
from sgd_diffusion.errors import invalid

__all__ = ["QuickFit", "characteristic_function", "from_quantiles", "quantiles"]

PROBABILITIES = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
# Grid of the table, denser at the ends of beta, where light tails appear. The law itself is
# evaluated at fewer points: polynomials in alpha and splines in arcsin(beta) give the others.
ALPHAS = np.linspace(law.MIN_ALPHA, 2, 171)
ANGLES = np.pi / 2 * np.linspace(-1, 1, 111)
BETAS = np.sin(ANGLES)
NUM_ALPHAS, BETA_STRIDE = 20, 5
HALVINGS = 13  # number of halvings of the interval of a quantile

NUM_FREQUENCIES = 10
# Each regression has the weights of the law from the one before. Those of alpha = 2 would make the
# error of alpha too small.
LARGEST_ALPHAS = (1.9, 1.99)
MAX_ITERATIONS = 50
TOLERANCE = 1e-6  # squared change of the last iteration, in standard errors


@shown_briefly
class QuickFit(NamedTuple):
    """An alpha-stable law in Nolan's S0 parameterization, with errors for independent samples.

    The standard errors are asymptotic (delta method at the fitted law). They are NaN for a
    parameter that is pinned or lies on its bound.

    Attributes:
        alpha: () stability.
        alpha_error: () its standard error.
        beta: () skewness; 0 where alpha is 2, which has no skewness.
        beta_error: () its standard error.
        location: () location in the units of the samples.
        location_error: () its standard error.
        scale: () scale in the units of the samples.
        scale_error: () its standard error.
        status: () int32, an `estimates.Status`.
    """

    alpha: Float[Array, "*samples"]
    alpha_error: Float[Array, "*samples"]
    beta: Float[Array, "*samples"]
    beta_error: Float[Array, "*samples"]
    location: Float[Array, "*samples"]
    location_error: Float[Array, "*samples"]
    scale: Float[Array, "*samples"]
    scale_error: Float[Array, "*samples"]
    status: Int[Array, "*samples"]


def quantiles(x: ArrayLike, *, symmetric: bool = True) -> QuickFit:
    r"""Fit the alpha-stable law to the quantiles of 5, 25, 50, 75 and 95 percent.

    alpha and beta are those of the law with the sample's values of (q95 - q05)/(q75 - q25) and (q95
    + q05 - 2 q50)/(q95 - q05). Its quartiles and median then give scale and location (McCulloch,
    Commun. Statist. - Simul. Comput. 15, 1109, 1986). The table is made from `law.cdf` at first
    use, in 2 s. Quantiles of the sample are those of its ECDF with steps of 1/n joined at half
    height.

    Formula:
        McCulloch's fit by quantiles. $\nu_{\alpha} = \frac{q_{95} - q_{05}}{q_{75} - q_{25}}, \quad
        \nu_{\beta} = \frac{q_{95} + q_{05} - 2 q_{50}}{q_{95} - q_{05}}$ (McCulloch, Commun.
        Statist. - Simul. Comput. 15, 1109, 1986)

    Args:
        x: (n,) samples, n >= 20.
        symmetric: whether beta is pinned to 0.

    Returns:
        `QuickFit`. Its status is OK; AT_BOUND; NOT_FINITE; or CONSTANT where more than half of x
        are one value. With the last two, all else is NaN. AT_BOUND means that the tails are lighter
        than those of alpha = 2 or heavier than those of 0.3, or that the skewness exceeds that of
        beta = +-1. The fit is the nearest law then.

    Raises:
        InputError: x is not one sample of at least 20.
    """
    return _fit(_fit_quantiles, x, symmetric)


def characteristic_function(x: ArrayLike, *, symmetric: bool = True) -> QuickFit:
    r"""Fit the alpha-stable law to the empirical characteristic function at ten frequencies.

    For phi(k) = E exp(i k X), ln(-ln|phi|) is a line in ln|k| of slope alpha, and the phase gives
    beta and the location (Koutrouvelis, J. Amer. Statist. Assoc. 75, 918, 1980). Both regressions
    are done as one, by generalized least squares with the covariances of the law itself (as in his
    Commun. Statist. - Simul. Comput. 10, 17, 1981). They start from the quantile fit and are
    repeated for standardized samples, until nothing changes.

    The frequencies are where |phi| is between exp(-s_min) and exp(-s_max), with s log-spaced. s_max
    = ln(sqrt(n/50)) is kept within 0.7..2.5, so that the noise of phi remains small against it.
    s_min = 100/n is kept within 0.02..0.2.

    Formula:
        Fit by the characteristic function. $\ln (-\ln |\phi(k)|) = \alpha \ln |k| + \alpha \ln
        \sigma$ (Koutrouvelis, J. Amer. Statist. Assoc. 75, 918, 1980)

    Args:
        x: (n,) samples, n >= 20.
        symmetric: whether beta is pinned to 0.

    Returns:
        `QuickFit`, with the status of `quantiles` or NOT_CONVERGED.

    Raises:
        InputError: x is not one sample of at least 20.
    """
    return _fit(_fit_characteristic_function, x, symmetric)


def from_quantiles(values: ArrayLike, *, symmetric: bool = True) -> Float[Array, "4"]:
    """Return the parameters (alpha, beta, location, scale) of the law with given quantiles.

    This is the fit of `quantiles`, from which other fits start.

    Args:
        values: (5,) quantiles of 5, 25, 50, 75 and 95 percent.
        symmetric: whether beta is pinned to 0.

    Returns:
        (4,), float64.

    Raises:
        InputError: there are not five quantiles.
    """
    values = real_array("values", values)
    if values.shape != PROBABILITIES.shape:
        raise invalid(
            "values",
            f"has shape {values.shape}",
            f"the 5 quantiles of {PROBABILITIES.tolist()}",
        )
    with in_double():
        return _from_quantiles(jnp.asarray(values, jnp.float64), symmetric)


@functools.partial(jax.jit, static_argnums=1)
def _from_quantiles(values, symmetric):
    table = _table()
    low, lower, middle, upper, high = values
    log_ratio = jnp.log((high - low) / (upper - lower))
    if symmetric:
        beta = jnp.zeros_like(log_ratio)
        alpha = jnp.interp(-log_ratio, -table.log_ratio[:, len(BETAS) // 2], ALPHAS)
    else:
        # For each beta, take the alpha that gives the ratio, and the skewness of both, which grows
        # with beta.
        alphas = jax.vmap(lambda ratios: jnp.interp(-log_ratio, -ratios, ALPHAS), in_axes=1)(
            table.log_ratio
        )
        skewness = jax.vmap(
            lambda alpha, column: jnp.interp(alpha, ALPHAS, column), in_axes=(0, 1)
        )(alphas, table.skewness)
        beta = jnp.interp((high + low - 2 * middle) / (high - low), skewness, BETAS)
        alpha = jnp.interp(beta, BETAS, alphas)
        beta = jnp.where(alpha == 2, 0, beta)
    standard = _at(table.quantiles, alpha, beta)
    scale = (upper - lower) / (standard[3] - standard[1])
    return jnp.stack([alpha, beta, middle - scale * standard[2], scale])


def _fit(function, x, symmetric):
    with in_double():
        return _usable_fit(function, one_sample(x), symmetric)


@functools.partial(jax.jit, static_argnums=(0, 2))
def _usable_fit(function, x, symmetric):
    """`QuickFit` by a `function(sorted samples, symmetric)`.

    The function returns parameters, covariance and status.
    """
    x = jnp.sort(x)
    of_data = spread_status(x)
    usable = of_data == Status.OK
    parameters, covariance, status = function(
        jnp.where(usable, x, jnp.linspace(-1, 1, x.size)), symmetric
    )
    alpha, beta = parameters[:2]
    bound = jnp.stack([(alpha <= law.MIN_ALPHA) | (alpha >= 2), abs(beta) >= 1])
    held = jnp.append(
        bound.at[1].set(bound[1] | (alpha >= 2) | symmetric), np.array([False, False])
    )
    errors = jnp.where(held, jnp.nan, jnp.sqrt(jnp.diagonal(covariance)))
    status = jnp.where((status == Status.OK) & bound.any(), Status.AT_BOUND, status)
    status = jnp.where(usable, status, of_data).astype(jnp.int32)
    values = jnp.where(usable, jnp.stack([parameters, errors], axis=1).ravel(), jnp.nan)
    return QuickFit(*values, status)


# Quantiles


class _Table(NamedTuple):
    """Properties of the standard law, on the grid of ALPHAS and BETAS, (A, B, ...)."""

    quantiles: np.ndarray  # (A, B, 5)
    log_density: np.ndarray  # (A, B, 5) there
    log_ratio: np.ndarray  # (A, B) of the distance of the outer quantiles to that of the quartiles
    skewness: np.ndarray  # (A, B) of the outer quantiles about the median


@functools.cache
def _table():
    nodes = chebyshev.chebpts1(NUM_ALPHAS)
    alphas = (ALPHAS[0] + ALPHAS[-1]) / 2 + (ALPHAS[-1] - ALPHAS[0]) / 2 * nodes
    angles = ANGLES[::BETA_STRIDE]
    half = np.stack(
        _standard_quantiles(alphas[:, None, None], np.sin(angles[len(angles) // 2 :, None]))
    )
    signs = np.array([-1, 1])[:, None, None, None]  # -beta is the mirror image
    values = np.concatenate([signs * half[:, :, :0:-1, ::-1], half], axis=2)
    degree = NUM_ALPHAS - 1
    to_grid = chebyshev.chebvander(np.linspace(-1, 1, len(ALPHAS)), degree) @ np.linalg.inv(
        chebyshev.chebvander(nodes, degree)
    )
    values = np.einsum(
        "ag,vgbq->vabq",
        to_grid,
        scipy.interpolate.CubicSpline(angles, values, axis=2, bc_type="clamped")(ANGLES),
    )
    values[:, -1] = values[:, -1, :1]  # alpha = 2 has no skewness
    z = np.sinh(values[0])
    low, lower, middle, upper, high = np.moveaxis(z, -1, 0)
    return _Table(
        z,
        values[1],
        np.log((high - low) / (upper - lower)),
        (high + low - 2 * middle) / (high - low),
    )


def _standard_quantiles(alpha, beta):
    """The asinh of the quantiles of the standard law, and its log density there, (..., 5)."""
    shape = np.broadcast_shapes(alpha.shape, beta.shape, PROBABILITIES.shape)
    high = np.broadcast_to(4 / alpha, shape)  # beyond the quantiles of all skewnesses
    low, below, above = -high, np.zeros(shape), np.ones(shape)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        with jax.ensure_compile_time_eval(), jax.default_device(host()):
            share = np.asarray(law.cdf(np.sinh(middle), alpha, beta))
        left = share < PROBABILITIES
        low, below = np.where(left, middle, low), np.where(left, share, below)
        high, above = np.where(left, high, middle), np.where(left, above, share)
    density = (above - below) / (np.sinh(high) - np.sinh(low))
    return low + (high - low) * (PROBABILITIES - below) / (above - below), np.log(density)


def _at(table, alpha, beta):
    """Values of a table (A, B, 5) between its nodes, (5,)."""
    position = (alpha - ALPHAS[0]) / (ALPHAS[1] - ALPHAS[0])
    row = jnp.clip(jnp.floor(position), 0, len(ALPHAS) - 2).astype(jnp.int32)
    of_beta = jnp.asarray(table)[row] * (row + 1 - position) + jnp.asarray(table)[row + 1] * (
        position - row
    )
    return jax.vmap(lambda column: jnp.interp(beta, BETAS, column), in_axes=1)(of_beta)


def _fit_quantiles(x, symmetric):
    position = jnp.clip(x.size * PROBABILITIES - 0.5, 0, x.size - 1)
    values = jnp.interp(position, jnp.arange(x.size, dtype=x.dtype), x)
    parameters = _from_quantiles(values, symmetric)
    spacing = parameters[3] * jnp.exp(-_at(_table().log_density, parameters[0], parameters[1]))
    joint = (
        np.minimum(PROBABILITIES, PROBABILITIES[:, None]) - PROBABILITIES * PROBABILITIES[:, None]
    )
    gradient = jax.jacfwd(functools.partial(_from_quantiles, symmetric=symmetric))(values) * spacing
    covariance = jnp.einsum("ip,pq,jq->ij", gradient, joint / x.size, gradient)
    return parameters, covariance, jnp.int32(Status.OK)


# Characteristic function


def _log_characteristic(k, parameters):
    """Logarithm of E exp(i k X) for parameters (alpha, beta, location, ln scale) and any real k."""
    alpha, beta, location, log_scale = parameters
    sign, log_k = jnp.sign(k), jnp.log(jnp.where(k == 0, 1, abs(k))) + log_scale
    excess = jnp.where(abs(1 - alpha) < 1e-9, 1e-9, 1 - alpha)
    # This is tan(pi alpha/2) (|k|^(1 - alpha) - 1).
    tilt = jnp.expm1(excess * log_k) / jnp.tan(jnp.pi / 2 * excess)
    return sign**2 * -jnp.exp(alpha * log_k) * (1 + 1j * beta * sign * tilt) + 1j * k * location


def _responses(log_phi):
    """Quantities that are nearly linear in the parameters: ln(-ln|phi|) and the phase, (2K,)."""
    return jnp.concatenate([jnp.log(-log_phi.real), log_phi.imag])


def _response_covariance(k, parameters):
    """Covariance of the responses of n samples, times n, (2K, 2K), for small errors of phi."""
    phi = jnp.exp(_log_characteristic(k, parameters))
    # Products of relative errors of phi, with and without complex conjugation.
    with_conjugate = (
        jnp.exp(_log_characteristic(k[:, None] - k, parameters)) / (phi[:, None] * phi.conj()) - 1
    )
    without = jnp.exp(_log_characteristic(k[:, None] + k, parameters)) / (phi[:, None] * phi) - 1
    real, imaginary = (with_conjugate + without).real / 2, (with_conjugate - without).real / 2
    mixed = (without - with_conjugate).imag / 2
    weight = 1 / jnp.log(abs(phi))
    return jnp.block(
        [[weight[:, None] * real * weight, weight[:, None] * mixed], [mixed.T * weight, imaginary]]
    )


def _fit_characteristic_function(x, symmetric):
    parameters, _, _ = _fit_quantiles(x, symmetric)
    for largest_alpha in LARGEST_ALPHAS:
        parameters, covariance, status = _regression(x, parameters, largest_alpha, symmetric)
    return parameters, covariance, status


def _regression(x, about, largest_alpha, symmetric):
    """Parameters, covariance and status of one regression.

    Frequencies and weights are those of the law with parameters `about`.
    """
    alpha, beta, location, scale = about
    # The law of standardized samples.
    law_about = jnp.stack([jnp.minimum(alpha, largest_alpha), beta, 0 * location, 0 * scale])
    lowest, highest = np.clip(100 / x.size, 0.02, 0.2), np.clip(np.log(x.size / 50) / 2, 0.7, 2.5)
    k = jnp.asarray(np.geomspace(lowest, highest, NUM_FREQUENCIES)) ** (1 / alpha)
    empirical = jnp.exp(1j * k[:, None] * (x - location) / scale).mean(axis=1)
    expected = _log_characteristic(k, law_about).imag
    phase = expected + jnp.angle(empirical * jnp.exp(-1j * expected))
    observed = _responses(jnp.log(abs(empirical)) + 1j * phase)
    weights = x.size * jnp.linalg.inv(_response_covariance(k, law_about))
    end = np.array([np.inf, np.inf])
    lower, upper = np.append([law.MIN_ALPHA, -1], -end), np.append([2, 1], end)

    def model(parameters):
        return _responses(_log_characteristic(k, parameters))

    def improved(state):
        parameters, _, _, iterations = state
        design = jax.jacfwd(model)(parameters)
        slope = (observed - model(parameters)) @ weights @ design
        free = jnp.stack([True, (parameters[0] < 2) & (not symmetric), True, True])
        moves = movable(parameters, slope, lower, upper) & free
        information = jnp.where(moves & moves[:, None], design.T @ weights @ design, jnp.eye(4))
        change = jnp.where(moves, jnp.linalg.solve(information, jnp.where(moves, slope, 0)), 0)
        moved = jnp.clip(parameters + jnp.clip(change, -0.5, 0.5), lower, upper)
        return (
            moved.at[1].multiply(moved[0] < 2),
            jnp.linalg.inv(information),
            slope @ change,
            iterations + 1,
        )

    def unfinished(state):
        return (state[2] > TOLERANCE) & (state[3] < MAX_ITERATIONS)

    begin = law_about, jnp.eye(4), jnp.inf, 0
    (alpha, beta, shift, log_factor), covariance, left, _ = jax.lax.while_loop(
        unfinished, improved, begin
    )
    units = jnp.stack([1, 1, scale, scale * jnp.exp(log_factor)])
    status = jnp.where(left <= TOLERANCE, Status.OK, Status.NOT_CONVERGED)
    return (
        jnp.stack([alpha, beta, location + scale * shift, units[3]]),
        covariance * units * units[:, None],
        status,
    )
