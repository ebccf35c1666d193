"""The standard alpha-stable law at a point, in S0.

Right of zeta = -beta tan(pi alpha/2), with y = x - zeta, the law has Zolotarev's integrals (Nolan,
Commun. Statist. - Stochastic Models 13, 759, 1997, Theorem 1) over angles phi in (0, Phi),

    p(x) = alpha/(pi |alpha - 1| y) * integral of g exp(-g) dphi,
    ln g = alpha/(alpha - 1) ln y + ln V(phi).

The distribution function is an integral of exp(-g). Left of zeta is the mirror image. The integrals
are positive, so that nothing cancels however small the density. But g exp(-g) can be narrower than
any grid (alpha -> 1). It can also have two humps (alpha -> 2 or |beta| -> 1): the bulk, and the
heavy tail of the light side.

So every point gets its own nodes. In the variable xi = ln(phi/(Phi - phi)), bisection finds the
humps. The trapezoidal rule, which converges exponentially, sums over a variable that is an asinh
around each hump. Sines and logarithms are arranged so that no digits are lost in two places. At the
ends of the interval, angles differ little from pi; near alpha = 1, ln y and ln V are both large.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgd_diffusion._least_inputs import MIN_ALPHA

__all__ = ["MIN_ALPHA", "distribution", "log_density", "standard_number"]

# Closer to alpha = 1 than this, the law is taken at this distance. It differs there by about the
# distance times ln|x|. Rounding grows like the inverse of the distance (for second derivatives like
# its fourth power), and is still small there.
NEAR_ONE = 1e-8
NEAR_ONE_FOR_DERIVATIVES = 5e-4
# Smaller y are taken at this distance, as p(zeta) is the limit of a quotient of two zeros. For
# derivatives the distance is in widths of the core.
NEAR_ZETA = 1e-10
NEAR_ZETA_FOR_DERIVATIVES = 1e-6
# For alpha > 1, p is a power series of NUM_TERMS terms where y in the scale of form (C) is below
# CLOSE.
CLOSE, NUM_TERMS = 0.1, 12
# At alpha = 2 and |beta| = 1 a heavy tail vanishes. This distance shows how fast.
EDGE = 1e-8
FARTHEST = 330.0  # xi beyond which the angles leave the range of float64
NUM_NODES = 112
# Range of asinh((xi - hump)/width). Beyond the first end g exp(-g) vanishes like exp(-exp), beyond
# the last like exp.
FIRST, LAST = -3.0, 5.5
# There are two humps if the angle at which V falls is below this share of that at which it levels.
TWO_HUMPS = 0.2
NO_HUMP = 1e30  # width of a hump that does not exist
STEEP = 2.0  # slope of ln g in xi above which a hump is narrower than the scale of the angles


def _differentiable(relative):
    """Give `function(point, for_derivatives)` of (x, alpha, beta) derivatives at the edges too.

    `relative(inside, here)` is the factor of a derivative at the edge, where the value is `here`.
    The derivative is taken where the value is `inside`.
    """

    def decorated(function):
        @jax.custom_jvp
        def value(point):
            return function(point, False)

        @value.defjvp
        def rule(points, tangents):
            (point,), (tangent,) = points, tangents
            _, alpha, beta = point
            normal = alpha == 2  # here beta means nothing
            one_sided = (abs(beta) == 1) & ~normal
            edge = jnp.stack([jnp.zeros_like(normal), normal, one_sided])
            inside = point - jnp.where(edge, EDGE * jnp.sign(point), 0)
            held = edge.at[2].set(normal | one_sided)
            both = (
                jnp.stack([point, inside]),
                jnp.stack([jnp.where(held, 0, tangent), jnp.where(edge, tangent, 0)]),
            )
            values, slopes = jax.jvp(
                jax.vmap(lambda point: function(point, True)), both[:1], both[1:]
            )
            factor = jnp.where(edge.any() & jnp.isfinite(values[0]), relative(*values[::-1]), 0)
            return value(point), slopes[0] + factor * jnp.where(factor == 0, 0, slopes[1])

        return value

    return decorated


@_differentiable(lambda inside, here: jnp.exp(jnp.minimum(inside - here, 600.0)))
def log_density(point: Any, for_derivatives: bool) -> Float[Array, ""]:
    """Return ln p at a point (x, alpha, beta)."""
    side, x, y, close, _ = _seen_from_zeta(point[0], point[1], point[2], for_derivatives)
    xi, log_weights = _nodes(side, x)
    node = _integrand(side, x, xi)
    integral = jax.nn.logsumexp(
        node.log_g - node.g + jnp.log(node.phi * node.psi / side.whole) + log_weights
    )
    value = integral + jnp.log(side.alpha / (jnp.pi * abs(side.excess) * (x + side.skew)))
    value = jnp.where(close, jnp.log(jnp.where(close, _close_to_zeta(side, y)[0], 1)), value)
    return jnp.where(side.empty | jnp.isinf(point[0]), -jnp.inf, value)


@_differentiable(lambda inside, here: 1.0)
def distribution(point: Any, for_derivatives: bool) -> Float[Array, ""]:
    """Return P(X <= x) at a point (x, alpha, beta)."""
    # Integration by parts turns the step exp(-g) into the peak g exp(-g) again.
    side, x, y, close, mirrored = _seen_from_zeta(point[0], point[1], point[2], for_derivatives)
    xi, log_weights = _nodes(side, x)
    node = _integrand(side, x, xi)
    angle = jnp.where(side.excess < 0, node.phi, node.psi)
    integral = (jnp.exp(node.log_g - node.g + log_weights) * angle * abs(node.slope)).sum() / jnp.pi
    above = jnp.where(side.excess < 0, side.whole / jnp.pi - integral, integral)
    above = jnp.where(close, side.whole / jnp.pi - _close_to_zeta(side, y)[1], above)
    above = jnp.where(side.empty | jnp.isinf(point[0]), 0.0, above)
    return jnp.where(mirrored, above, 1 - above)


def standard_number(point: Any) -> Float[Array, ""]:
    """Return the number that belongs to an angle, an exponential number, alpha and beta."""
    angle, exponential, alpha, beta = point
    right = _side(alpha, beta, NEAR_ONE)
    on_right = (angle < right.whole) & ~right.empty
    side = jax.tree.map(
        functools.partial(jnp.where, on_right), right, _side(alpha, -beta, NEAR_ONE)
    )
    psi = jnp.where(on_right, angle, jnp.pi - angle)
    inner, outer, both = _sines(side, side.whole - psi, psi)
    y = (
        side.norm
        * inner
        / outer
        * (exponential * outer / (side.norm * both)) ** (side.excess / side.alpha)
    )
    return jnp.where(on_right, 1, -1) * (y - side.skew)


class _Side(NamedTuple):
    """The law right of zeta; left of zeta it is the law of -beta."""

    alpha: jax.Array
    excess: jax.Array  # alpha - 1
    skew: jax.Array  # beta tan(pi alpha/2) = -zeta
    norm: jax.Array  # sqrt(1 + skew^2)
    middle: jax.Array  # arctan(skew)/alpha; phi minus this is Nolan's theta
    whole: jax.Array  # Phi = pi/2 + middle
    top: jax.Array  # pi - alpha Phi: 0 where the right tail is light, alpha > 1
    bottom: jax.Array  # pi - Phi: 0 where there is nothing left of zeta, alpha < 1
    empty: jax.Array  # whether there is nothing right of zeta


def _side(alpha, beta, nearest):
    excess = alpha - 1
    kept_off = jnp.where(excess < 0, -1, 1) * jnp.maximum(abs(excess), nearest)
    excess += jax.lax.stop_gradient(kept_off - excess)
    alpha, below = 1 + excess, excess < 0
    from_end = jnp.where(below, alpha, 2 - alpha)
    from_pole = jnp.where(from_end > 0.5, abs(excess), 0.5)
    tangent = jnp.where(
        from_end > 0.5, 1 / jnp.tan(jnp.pi / 2 * from_pole), jnp.tan(jnp.pi / 2 * from_end)
    )
    skew = beta * jnp.where(below, tangent, -tangent)
    # Sum and difference of the arctangents of |tan| and beta |tan|, with a small relative error
    # where they are small.
    added = jnp.arctan2(tangent * (1 + beta), 1 - beta * tangent**2)
    left = jnp.arctan2(tangent * (1 - beta), 1 + beta * tangent**2)
    whole = jnp.where(below, added, jnp.pi - added) / alpha
    empty = whole <= 0
    return _Side(
        alpha,
        excess,
        skew,
        jnp.sqrt(1 + skew**2),
        jnp.arctan(skew) / alpha,
        jnp.where(empty, 1.0, whole),
        jnp.where(below, jnp.pi - added, added),
        jnp.where(below, left, jnp.pi - left) / alpha,
        empty,
    )


def _seen_from_zeta(x, alpha, beta, for_derivatives):
    """The side on which x lies, x for the integrals, y, and two booleans.

    The x is mirrored to the right, and moved right where it is too close for the integrals. The
    booleans say whether y is close to 0, and whether x is mirrored.
    """
    nearest, least = NEAR_ONE, NEAR_ZETA
    if for_derivatives:
        core = jnp.exp((jax.lax.lgamma(1 / alpha) - jax.lax.lgamma(3 / alpha)) / 2)
        nearest, least = NEAR_ONE_FOR_DERIVATIVES, NEAR_ZETA_FOR_DERIVATIVES * core
    mirrored = x + _side(alpha, beta, nearest).skew < 0
    side = _side(alpha, jnp.where(mirrored, -beta, beta), nearest)
    x = jnp.where(jnp.isinf(x), 1.0, jnp.where(mirrored, -x, x))
    y, far = x + side.skew, CLOSE * side.norm ** (1 / side.alpha)
    close = (side.excess > 0) & (y < far)
    least = jnp.where(close, far, least)
    return (
        side,
        x + jax.lax.stop_gradient(jnp.maximum(least - y, 0)),
        jnp.where(close, y, 0),
        close,
        mirrored,
    )


def _close_to_zeta(side, y):
    """Density at y, and probability of 0..y, for alpha > 1.

    It is the power series of Zolotarev (One-dimensional Stable Distributions, 1986, Sec. 2.4).
    """
    n = np.arange(1, NUM_TERMS + 1)
    size = (
        jnp.exp(jax.lax.lgamma(1 + n / side.alpha) - jax.lax.lgamma(n + 1.0))
        * -((-1.0) ** n)
        / jnp.pi
    )
    terms, scale = size * jnp.sin(n * side.whole), side.norm ** (-1 / side.alpha)
    density = probability = 0.0
    for term, order in zip(terms[::-1], n[::-1], strict=True):
        density, probability = term + y * scale * density, term / order + y * scale * probability
    return scale * density, y * scale * probability


class _Integrand(NamedTuple):
    """Zolotarev's g at xi, and the angles there."""

    log_g: jax.Array
    g: jax.Array
    slope: jax.Array  # of ln g in xi
    phi: jax.Array
    psi: jax.Array  # Phi - phi


def _sines(side, phi, psi):
    """Return sin(alpha phi), sin(psi) and sin(alpha phi + psi).

    Near pi they come from the supplement, whose digits are known.
    """
    supplement = jnp.where(
        side.excess < 0, side.bottom - side.excess * phi, side.top + side.excess * psi
    )
    return (
        jnp.sin(jnp.minimum(side.alpha * phi, side.top + side.alpha * psi)),
        jnp.sin(jnp.minimum(psi, side.bottom + phi)),
        jnp.sin(jnp.minimum(side.alpha * phi + psi, supplement)),
    )


def _integrand(side, x, xi):
    alpha, excess = side.alpha, side.excess
    phi, psi = side.whole * jax.nn.sigmoid(xi), side.whole * jax.nn.sigmoid(-xi)
    inner, outer, both = _sines(side, phi, psi)
    # ln g = alpha/excess ln(quotient) + ln(norm both/outer). Near alpha = 1 the quotient is 1 +
    # O(excess). The part beyond 1 is known better than the sum, except at the ends.
    theta, size = phi - side.middle, side.norm * inner
    beyond = (
        x * outer
        - jnp.sin(alpha * theta)
        + 2 * side.skew * jnp.sin((alpha + 1) * theta / 2) * jnp.sin(excess * theta / 2)
    ) / size
    near = (abs(beyond) < 0.5) & (size > 1 + abs(x))
    log_quotient = jnp.where(
        near, jnp.log1p(jnp.where(near, beyond, 0)), jnp.log((x + side.skew) * outer / size)
    )
    log_g = alpha / excess * log_quotient + jnp.log(side.norm * both / outer)
    # The cotangents in the slope nearly cancel where g levels off. So these are their sums over one
    # denominator.
    first = phi < psi
    turned = jnp.where(
        first, jnp.sin(side.bottom + (1 + alpha) * phi), -jnp.sin(side.top + (1 + alpha) * psi)
    )
    doubled = jnp.where(
        first, -jnp.sin(2 * side.bottom + (2 - alpha) * phi), jnp.sin(side.top + (alpha - 2) * psi)
    )
    slope = (
        ((2 - alpha) * inner + alpha * doubled) / both
        - alpha * (turned + (alpha + 1) / excess * both) / inner
    ) / outer
    return _Integrand(
        log_g, jnp.exp(jnp.minimum(log_g, 700.0)), slope * phi * psi / side.whole / 2, phi, psi
    )


def _nodes(side, x):
    """Nodes xi for the integral at x, (NUM_NODES,), and the logarithms of their weights.

    They are equidistant in t = asinh((s - bulk)/width) + asinh((s - tail)/width), with the humps of
    `_humps`.
    """
    direction, two, (bulk, tail), (bulk_width, tail_width), falls, larger = _humps(
        *jax.lax.stop_gradient((side, x))
    )
    apart, tail_width = jnp.where(two, tail - bulk, 0), jnp.where(two, tail_width, NO_HUMP)
    first = FIRST + jnp.arcsinh((bulk_width * math.sinh(FIRST) - apart) / tail_width)
    last = LAST + jnp.where(
        two, jnp.arcsinh((tail_width * math.sinh(LAST) + apart) / bulk_width), 0
    )
    step = (last - first) / NUM_NODES
    t = first + step * (np.arange(NUM_NODES) + 0.5)
    # A quadratic equation gives exp(of_bulk), where of_bulk is the first term of t.
    lower, upper = bulk_width + tail_width * jnp.exp(-t), bulk_width + tail_width * jnp.exp(t)
    of_bulk = jnp.arcsinh(apart / jnp.sqrt(lower * upper)) + jnp.log(upper / lower) / 2
    s = bulk + bulk_width * jnp.sinh(of_bulk)
    dt_ds = 1 / (bulk_width * jnp.cosh(of_bulk)) + 1 / (tail_width * jnp.cosh(t - of_bulk))
    # For derivatives, the nodes move with the larger hump if it is steep. Near alpha = 1 it moves
    # 1/(alpha - 1)^2 times as fast as all else. Fixed nodes would leave an error that does not
    # cancel.
    moving, fall = jnp.where(larger, tail, bulk), jnp.where(larger, falls[1], falls[0])
    log_g = _integrand(side, x, direction * moving).log_g
    motion = jnp.where(fall > STEEP, (log_g - jax.lax.stop_gradient(log_g)) / fall, 0)
    return direction * (jnp.clip(s, -FARTHEST, FARTHEST) + motion), jnp.log(step / dt_ds)


def _humps(side, x):
    """Direction of xi in which g falls, and the humps of g exp(-g) in s = direction * xi.

    Returns the direction, whether there are two humps, their places, widths and falls, and whether
    the second is larger. The integrand falls like exp(-exp) before a hump and like exp behind it.
    Where g levels off before its final fall (by `ratio` of the angles), there are two humps: first
    that of the bulk, then that of the tail.
    """
    direction = jnp.where(side.excess < 0, -1.0, 1.0)
    ratio = jnp.where(side.excess < 0, side.bottom, side.top) / abs(side.excess)
    two = (ratio > math.exp(-FARTHEST)) & (ratio < TWO_HUMPS)
    ratio = jnp.where(two, ratio, TWO_HUMPS)
    split, end = jnp.log(side.whole / jnp.sqrt(ratio) - 1), jnp.log(side.whole / ratio)
    far, near = math.asinh(FARTHEST), jnp.arcsinh(split)
    low, high = (
        jnp.where(two, jnp.stack([-far, near]), -far),
        jnp.where(two, jnp.stack([near, far]), far),
    )
    of_tail = two & np.array([False, True])

    def at(s):
        point = _integrand(side, x, direction * s)
        fall = jnp.maximum(-direction * point.slope, math.exp(-2 * FARTHEST))
        # g where the integrand peaks: 1 up to the change of the angles with xi. The hump of the
        # tail is where g = 1.
        peak = jnp.where(of_tail, 1, 1 + direction * (point.phi - point.psi) / (side.whole * fall))
        peak = jnp.maximum(peak, math.exp(-2 * FARTHEST))
        return point, fall, peak, point.log_g - jnp.log(peak)

    def closer(step, state):
        low, high, s = state
        _, fall, _, excess = at(jnp.sinh(s))
        low, high = jnp.where(excess > 0, s, low), jnp.where(excess > 0, high, s)
        # Where g falls so fast that ten halvings of the interval do not find the hump, Newton's
        # method finds it.
        newton = jnp.arcsinh(
            jnp.sinh(s) + jnp.where(fall > STEEP, jnp.clip(excess / fall, -1, 1), 0)
        )
        return low, high, jnp.where(step < 10, (low + high) / 2, newton)

    hump = jnp.sinh(jax.lax.fori_loop(0, 13, closer, (low, high, (low + high) / 2))[-1])
    hump = jnp.where(of_tail, jnp.maximum(hump, end), hump)
    point, fall, peak, _ = at(hump)
    width = jax.lax.rsqrt(
        jnp.maximum(fall**2 * peak + 2 * point.phi * point.psi / side.whole**2, 1.0)
    )
    log_size = point.log_g - point.g + jnp.log(point.phi * point.psi * width)
    return direction, two, hump, width, fall, log_size[1] > log_size[0]
