"""Test whether the alpha-stable law describes samples better than other laws.

The rivals are the normal law, Student's t law and the exponential power law. Each is fitted by
maximum likelihood. Fits are compared by their log likelihood ratio LLR = sum of d_i with
d_i = ln f(x_i) - ln g(x_i), positive where f is better.

Vuong's test (Econometrica 57, 307, 1989) asks whether LLR is more than the scatter of the d_i
explains. It holds for two laws if neither contains the other, such as stable and Student's t, or
stable and exponential power (`compare`). It does not hold where both have come to the same law: the
Cauchy law, or the normal law. The normal law is the stable one with alpha = 2, at the edge of the
family (`compare_with_normal`). There LLR is never negative and has its own law.

Samples in the order of time that depend on each other count for fewer (`num_blocks`). Arithmetic is
float64; everything can be jitted and mapped. NaN in a sample makes its numbers NaN.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import special
from jaxtyping import Array, Float, Int

from sgd_diffusion._arrays import in_double, integer, real_array
from sgd_diffusion._display import shown_briefly
from sgd_diffusion._types import ArrayLike, IntegerLike
from sgd_diffusion.analysis.estimates import Status
from sgd_diffusion.analysis.stable import fits, rivals
from sgd_diffusion.errors import invalid

__all__ = ["VuongTest", "compare", "compare_with_normal", "ks_distance", "vuong"]

ROUNDING = 1e-6  # of a log likelihood ratio
# ln(A ln n) and kappa of compare_with_normal, by whether laws are symmetric. Each is a constant and
# the factor of 1/ln n.
NULL_LAW = {True: ((0.840, -5.55), (1.403, -2.264)), False: ((1.520, -3.61), (1.198, -1.170))}
MAX_KAPPA = 1.1  # measured from n = 1000 on; it falls to 1 for n -> infinity
MIN_NULL_SIZE = 50  # least n for which the numbers above were measured


@shown_briefly
class VuongTest(NamedTuple):
    """Comparison of two laws on the same samples.

    Attributes:
        log_likelihood_ratio: () positive where the first law is better.
        z: () mean difference in standard errors.
        p_value: () see `compare` for what it is worth.
        effective_sample_size: () number of independent samples that the samples are worth; n
            without blocks.
        status: () int32, an `estimates.Status`: OK, or that of a fit that is not OK. All other
            fields are then NaN unless it is AT_BOUND.
    """

    log_likelihood_ratio: Float[Array, "*tests"]
    z: Float[Array, "*tests"]
    p_value: Float[Array, "*tests"]
    effective_sample_size: Float[Array, "*tests"]
    status: Int[Array, "*tests"]


def vuong(differences: ArrayLike, *, num_blocks: IntegerLike | None = None) -> VuongTest:
    r"""Return Vuong's test of two laws that do not contain each other.

    z = sqrt(n) mean(d) / sd(d) for the differences d of the log densities. It is normally
    distributed if both laws are equally far from the truth (Vuong, Econometrica 57, 307, 1989,
    Theorem 5.1, without correction for the number of parameters).

    For samples that depend on each other, the standard error of the mean comes from the means of B
    consecutive blocks. The blocks must be longer than the memory. Then z has Student's t law with
    B-1 degrees of freedom. Pass gradients (T, S) of S coordinates at T times as
    `differences.ravel()`. Blocks are then blocks of time and hold all coordinates.

    Formula:
        Vuong's test. $z = \sqrt{n} \, \frac{\overline{d}}{s_d}$ (Vuong, Econometrica 57, 307, 1989,
        Theorem 5.1)

    Args:
        differences: (n,) in the order of time, n >= 2. Status is NOT_FINITE where one is not
            finite.
        num_blocks: B, an integer in 2..n known before tracing; None for independent samples. The
            last n mod B do not enter the standard error.

    Returns:
        `VuongTest` with a two-sided p value; z = 0, p = 1 and n samples where all differences are
        0. The effective sample size is n times the variance of the mean of independent samples,
        over that from the blocks. It is above n where neighbors differ more than others do.

    Raises:
        InputError: `differences` is not one sample of at least 2, or `num_blocks` is outside 2..n.

    >>> test = vuong([1.0, 2.0, 3.0, 2.0])
    >>> float(test.log_likelihood_ratio), round(float(test.z), 3), float(test.effective_sample_size)
    (8.0, 4.899, 4.0)
    """
    differences = real_array("differences", differences)
    if differences.ndim != 1 or differences.size < 2:
        raise invalid(
            "differences",
            f"has shape {differences.shape}",
            "(n,) with n >= 2",
            "use jax.vmap for several",
        )
    n = differences.size
    if num_blocks is not None:
        num_blocks = integer(
            "num_blocks", num_blocks, 2, n, what=f"(at most the {n} differences), or None"
        )
    with in_double():
        return _vuong(jnp.asarray(differences, jnp.float64), num_blocks)


def compare(
    x: ArrayLike,
    fit: fits.StableFit,
    rival: str,
    *,
    symmetric: bool = True,
    num_blocks: IntegerLike | None = None,
) -> VuongTest:
    """Return Vuong's test of a fitted stable law against a rival.

    Neither law contains the other. Few samples, far out, carry most of the evidence for the rival,
    and others that could have come did not. The differences d grow like |x|^power, and for power >
    alpha/2 have no variance under the stable law. So the p value is too small where the rival is
    better.

    Args:
        x: (n,) samples, n >= 20.
        fit: their `fits.StableFit`.
        rival: "student_t" or "exponential_power"; fitted here.
        symmetric: as in the fit.
        num_blocks: as for `vuong`.

    Returns:
        `VuongTest`, positive where the stable law is better. Its status is that of the fits, OK or
        AT_BOUND where one of them is, with numbers. Otherwise it is that of the first fit with
        another status, such as NOT_CONVERGED, with NaN for all numbers.

    Raises:
        InputError: the rival is unknown, or as for `vuong` and the fits.

    Notes:
        The size of the test was measured on mixtures of a stable law of alpha = 1.5 and the rival,
        both equally far from the fitted laws. In samples of 200, 1000 and 5000, p < 0.05 for the
        rival came in 14, 12 and 17 percent (p < 0.01 in 5, 6 and 7) against the exponential power
        law. Against Student's t law it came in 8, 6 and 4 percent. At most 2 percent were for the
        stable law.
    """
    if rival not in _RIVALS:
        raise invalid(
            "rival",
            f"is {rival!r}",
            f"one of {', '.join(_RIVALS)}",
            "use compare_with_normal for the normal law",
        )
    fit_rival, log_density = _RIVALS[rival]
    with in_double():
        fitted = fit_rival(x)
        test = vuong(
            fits.log_density(x, fit, symmetric=symmetric) - log_density(x, fitted),
            num_blocks=num_blocks,
        )
        return _of_fits(test, fit.status, fitted.status)


def compare_with_normal(
    x: ArrayLike,
    fit: fits.StableFit,
    *,
    symmetric: bool = True,
    num_blocks: IntegerLike | None = None,
) -> VuongTest:
    """Return a test of the normal law against a fitted stable law, which contains it.

    About six in seven sets of n normal samples have their largest likelihood at alpha = 2, with LLR
    = 0 (half of them with free beta). In the others the farthest sample lies further out than
    usual, and LLR comes from that one. Vuong's z is then below 1, whatever n. So his test never
    decides for the stable law by chance: p values from z are far too large.

    Here p is the probability that n normal samples give this LLR or more. Take a sample at which
    the tail of the stable law exceeds the normal density by a factor of M times what the other
    samples lose. It gives LLR = u - 1 + exp(-u) with u = ln M. Among normal samples, the
    probability of such an M falls a little faster than exp(-u). Hence

        p = A exp(-kappa u),    LLR = u - 1 + exp(-u),    p = 1 for LLR = 0,

    with A and kappa fitted to 22,000 fits of normal samples, 50 <= n <= 20,000 (11,000 with free
    beta, n <= 10,000).

    Where samples depend on each other, n is the effective sample size (at most n), and LLR counts
    for its share of n. That is a rough correction.

    Args:
        x: (n,) samples, n >= 20.
        fit: their `fits.StableFit` (of the largest likelihood, without pins).
        symmetric: as in the fit.
        num_blocks: as for `vuong`.

    Returns:
        `VuongTest` with Vuong's z and the p value from above; its status is as in `compare`.

    Raises:
        InputError: as for `vuong` and `rivals.fit_normal`.

    Notes:
        The fitted A and kappa give p = 0.02..0.1 within 15 percent of itself (25 with free beta,
        too large for n = 10,000). Smaller p are too large, 0.002 by a factor of 2. With dependence,
        at 5 percent and n = 5000, normal samples x_{t+1} = 0.9 x_t + noise are rejected in 13
        percent of all cases without blocks and in 8 with 25 of them.
    """
    with in_double():
        normal = rivals.fit_normal(x)
        differences = fits.log_density(x, fit, symmetric=symmetric) - rivals.normal_log_density(
            x, normal
        )
        test = _of_fits(vuong(differences, num_blocks=num_blocks), fit.status, normal.status)
        return test._replace(p_value=_normal_exceedance(test, differences.size, symmetric))


def ks_distance(
    x: ArrayLike, cdf: ArrayLike | Callable[[ArrayLike], ArrayLike]
) -> Float[Array, ""]:
    r"""Return the Kolmogorov-Smirnov distance of samples from a law.

    It is the largest difference between the distribution function of the samples and that of the
    law. Its textbook p values hold for a law that is known beforehand. For a law fitted to the same
    samples they are far too large; simulate from the fit and fit again.

    Formula:
        Kolmogorov-Smirnov distance. $D = \sup_x |F_n(x) - F(x)|$ (definition)

    Args:
        x: (n,) samples.
        cdf: distribution function of the law, as a function of (n,) or as its values (n,) at x.

    Returns:
        () in 0..1, at least 1/(2n); NaN where a sample or value is.

    Raises:
        InputError: x is not one sample, or there are not as many values.

    >>> float(ks_distance([0.25, 0.5, 0.625, 1.0], lambda x: x))       # uniform
    0.25
    """
    x = real_array("x", x)
    with in_double():
        x = jnp.asarray(x, jnp.float64)
        values = jnp.asarray(real_array("cdf", cdf(x) if callable(cdf) else cdf), jnp.float64)
        if x.ndim != 1 or x.size == 0 or values.shape != x.shape:
            raise invalid(
                "x",
                f"has shape {x.shape} and cdf {values.shape}",
                "(n,) for both",
                "use jax.vmap for several",
            )
        return _distance(x, values)


_RIVALS = {
    "student_t": (rivals.fit_student_t, rivals.student_t_log_density),
    "exponential_power": (rivals.fit_exponential_power, rivals.exponential_power_log_density),
}


@jax.jit
def _of_fits(test, *statuses):
    """A test with the status of both fits, without numbers unless both have their maximum."""
    first, second = (jnp.asarray(status, jnp.int32) for status in statuses)
    usable = [(status == Status.OK) | (status == Status.AT_BOUND) for status in (first, second)]
    status = jnp.where(usable[0], jnp.where(second == Status.OK, first, second), first)
    status = jnp.where(usable[0] & usable[1] & (test.status != Status.OK), test.status, status)
    numbers = (jnp.where(usable[0] & usable[1], number, jnp.nan) for number in test[:-1])
    return VuongTest(*numbers, status.astype(jnp.int32))


@functools.partial(jax.jit, static_argnums=1)
def _vuong(differences, num_blocks):
    n = differences.size
    mean, independent = differences.mean(), differences.var(ddof=1) / n
    variance = independent if num_blocks is None else _variance_of_mean(differences, num_blocks)
    none = (differences == 0).all()
    z = jnp.where(none, 0, mean / jnp.sqrt(jnp.where(none, 1, variance)))
    effective = jnp.where(none, n, n * independent / jnp.where(none, 1, variance))
    if num_blocks is None:
        p_value, effective = (
            special.erfc(abs(z) / np.sqrt(2)),
            jnp.where(jnp.isnan(effective), effective, n),
        )
    else:
        p_value = _student_t_tails(z, num_blocks - 1)
    status = jnp.where(jnp.isfinite(differences).all(), int(Status.OK), int(Status.NOT_FINITE))
    return VuongTest(differences.sum(), z, p_value, effective, status.astype(jnp.int32))


def _variance_of_mean(values, num_blocks):
    size = values.size // num_blocks
    return (
        values[: num_blocks * size].reshape(num_blocks, size).mean(axis=1).var(ddof=1) / num_blocks
    )


@jax.jit
def _distance(x, values):
    """The Kolmogorov-Smirnov distance of samples (n,) with distribution function `values` (n,)."""
    values, rank = values[jnp.argsort(x)], jnp.arange(x.size)
    above, below = ((rank + 1) / x.size - values).max(), (values - rank / x.size).max()
    return jnp.maximum(above, below) + 0 * x.sum()


def _student_t_tails(t, nu):
    """Probability that Student's t is farther from 0.

    It is the integral of cos(phi)^(nu - 1) beyond phi = arctan(t/sqrt(nu)). JAX's incomplete beta
    function would leave the 64-bit context under an outer jit.
    """
    nodes, weights = np.polynomial.legendre.leggauss(100)
    left = jnp.arctan2(np.sqrt(nu), abs(t))
    norm = 2 / np.sqrt(np.pi) * math.exp(math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2))
    return norm * left / 2 * (weights * jnp.sin(left * (nodes + 1) / 2) ** (nu - 1)).sum()


@functools.partial(jax.jit, static_argnums=2)
def _normal_exceedance(test, num_samples, symmetric):
    """Probability that as many normal samples give a larger ratio of the likelihoods."""
    size = jnp.minimum(test.effective_sample_size, num_samples)
    ratio = test.log_likelihood_ratio * size / num_samples
    positive = ratio > ROUNDING
    ratio = jnp.where(positive, ratio, 1)

    def newton(_, u):  # it starts above the root and stays there, as the function is convex
        return u - (u - 1 + jnp.exp(-u) - ratio) / -jnp.expm1(-u)

    u = jax.lax.fori_loop(0, 20, newton, ratio + 1)
    log_size = jnp.log(jnp.maximum(size, MIN_NULL_SIZE))
    log_share, kappa = (constant + slope / log_size for constant, slope in NULL_LAW[symmetric])
    p_value = jnp.exp(log_share - jnp.minimum(kappa, MAX_KAPPA) * u) / log_size
    return jnp.where(positive, p_value, 1.0) + 0 * size
