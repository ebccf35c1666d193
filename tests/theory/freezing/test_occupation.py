"""Rates and occupation in closed form: identities, high precision, SciPy, quadrature, limits."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from sgd_diffusion.errors import InputError
from sgd_diffusion.theory.escape import mean_first_passage_time
from sgd_diffusion.theory.freezing import TwoValleys, escape_times, flat_occupation, hop_rates
from sgd_diffusion.theory.freezing.dawson import log_dawson_ratio

LANDSCAPE = TwoValleys()
GAMMA = (0.8 / 0.65) ** 2
FORMS = ("ito", "fick", "erfi", "asymptotic")


def depths(y, noise):
    """z of both valleys, in NumPy."""
    return [x * y / (y + 30) / np.sqrt(2 * noise) for x in (0.8, 0.65)]


def test_dawson_is_that_of_scipy_and_of_many_digits():
    z = np.concatenate([[0.0], np.logspace(-8, 4, 400), np.linspace(5.5, 7.5, 100)])
    with jax.enable_x64(True):
        both = jax.jit(jax.vmap(jax.value_and_grad(log_dawson_ratio)))
        found, slopes = map(np.asarray, both(jnp.asarray(z)))
    assert abs(found[0]) < 1e-15 and slopes[0] == 0
    z, found, slopes = z[1:], found[1:], slopes[1:]
    dawson = scipy.special.dawsn(z)
    # SciPy's has errors of 1.4e-14 near z = 0.01, which many digits show not to be these.
    np.testing.assert_allclose(found, np.log(dawson / z), rtol=1e-13, atol=2e-14)
    expected = (1 / dawson - 2 * z - 1 / z)[z > 0.1]
    # The terms of the expected slopes cancel.
    np.testing.assert_allclose(slopes[z > 0.1], expected, rtol=1e-6, atol=1e-6)
    with mpmath.workdps(40):
        for place, value in zip(map(mpmath.mpf, z[::20]), found[::20], strict=True):
            exact = mpmath.sqrt(mpmath.pi) / 2 * mpmath.exp(-(place**2)) * mpmath.erfi(place)
            assert abs(value - mpmath.log(exact / place)) < 2e-15 + 1e-14 * abs(value)


@pytest.mark.parametrize("noise", [1e-4, 1e-3, 6e-3])
def test_escape_times_are_those_of_the_paper(noise):
    y = np.array([0.5, 2.0, 5.0, 10.0])
    for found, x, z in zip(
        escape_times(y, noise, LANDSCAPE), (0.8, 0.65), depths(y, noise), strict=True
    ):
        width = x**2 * ((y + 20) / (y + 30)) ** 2
        inside = z < 20  # erfi overflows at 27
        expected = np.log(np.pi / 2 * width * scipy.special.erfi(np.minimum(z, 20)))
        np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-12)


def test_no_barrier_overflows():
    """For high barriers it is Kramers' law."""
    times = [float(time) for time in escape_times(200.0, 1e-7, LANDSCAPE)]
    for found, x, z in zip(times, (0.8, 0.65), depths(200.0, 1e-7), strict=True):
        width = x**2 * (220 / 230) ** 2
        expected = np.log(np.sqrt(np.pi) * width / (2 * z)) + z**2
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert min(times) > 1e6


def test_escape_times_beside_exact_first_passages(y=5.0, excess=(0.0037, 0.0239)):
    """They are those with 2 in place of 1 + erf(w), and too long by what that makes."""
    noise = 1e-3
    for side, (x, z) in enumerate(zip((0.8, 0.65), depths(y, noise), strict=True)):
        floor, width = x * y / (y + 30), x**2 * ((y + 20) / (y + 30)) ** 2
        exact = mean_first_passage_time(
            lambda x, floor=floor, width=width: 2 * (x - floor) / width,
            lambda x, width=width: 2 * noise / width,
            floor,
            0.0,
            floor + 10 * noise**0.5,
            num_points=20_001,
        ).item()
        integral = mpmath.quad(lambda w: mpmath.exp(w**2) * mpmath.erfc(w), [0, z])
        paper = np.exp(escape_times(y, noise, LANDSCAPE)[side].item())
        difference = np.pi**0.5 / 2 * width * float(integral)
        np.testing.assert_allclose(paper, exact + difference, rtol=1e-6)
        assert difference / exact == pytest.approx(excess[side], rel=0.02)


def law_by_quadrature(y, noise, power):
    """P / (1 - P) from the density exp(-(L - L_0) / D) / D^power of each side, to 25 digits."""
    with mpmath.workdps(25):
        shares = []
        for x in (mpmath.mpf("0.8"), mpmath.mpf("0.65")):
            width, floor = x**2 * (mpmath.mpf(y + 20) / (y + 30)) ** 2, x * y / (y + 30)
            diffusion = 2 * noise / width

            def density(u, width=width, floor=floor, diffusion=diffusion):
                return mpmath.exp(-u * (u - 2 * floor) / width / diffusion) / diffusion**power

            far = floor + 12 * mpmath.sqrt(noise)
            shares.append(mpmath.quad(density, mpmath.linspace(0, far, 12)))
        return float(shares[0] / (shares[0] + shares[1]))


@pytest.mark.parametrize(("form", "power"), [("ito", 1), ("fick", 0)])
@pytest.mark.parametrize(("y", "noise"), [(0.3, 1e-3), (3.0, 1e-3), (2.0, 1e-4), (5.0, 6e-3)])
def test_occupation_is_the_integral_of_its_density(form, power, y, noise):
    found = flat_occupation(y, noise, LANDSCAPE, form=form)
    np.testing.assert_allclose(found, law_by_quadrature(y, noise, power), rtol=1e-12)


def test_forms_of_the_paper():
    y, noise = np.meshgrid([0.5, 3.0, 8.0], [5e-4, 2e-3])
    flat, sharp = np.exp(escape_times(y, noise, LANDSCAPE))
    found = flat_occupation(y, noise, LANDSCAPE, form="erfi")
    np.testing.assert_allclose(found, flat / (flat + sharp), rtol=1e-12)
    steep = (0.8**2 - 0.65**2) * (y / (y + 30)) ** 2 / (2 * noise)
    found = flat_occupation(y, noise, LANDSCAPE, form="asymptotic")
    np.testing.assert_allclose(found, 1 / (1 + GAMMA**-0.5 * np.exp(-steep)), rtol=1e-12)


def test_the_map_of_the_paper():
    """P_ss of Fig. 4c, in its slice at y = 5."""
    noises = np.logspace(-4, np.log10(4e-3), 6)
    found = flat_occupation(5.0, noises, LANDSCAPE, form="erfi")
    np.testing.assert_allclose(found, [1, 1, 0.995, 0.929, 0.791, 0.707], rtol=0, atol=5e-4)


def test_without_a_barrier_only_the_powers_of_gamma_remain():
    odds = [GAMMA, 1, GAMMA**1.5, GAMMA**0.5]
    for form, expected in zip(FORMS, odds, strict=True):
        found = flat_occupation(0.0, 1e-3, LANDSCAPE, form=form)
        np.testing.assert_allclose(found, expected / (1 + expected), rtol=1e-14)
    times, rates = (each(0.0, 1e-3, LANDSCAPE) for each in (escape_times, hop_rates))
    assert np.isneginf(times).all() and np.isposinf(rates).all()


positive = functools.partial(st.floats, allow_subnormal=False)
valleys = st.builds(
    lambda x1, x2, y_f, y_b: TwoValleys(x1=x1, x2=x2, y_f=y_f, y_b=y_b),
    *(positive(low, high) for low, high in ((0.3, 2.0), (0.3, 2.0), (5.0, 50.0), (5.0, 50.0))),
)


@jax.jit
def rates_and_shares(y, noise, landscape):
    shares = [flat_occupation(y, noise, landscape, form=form) for form in FORMS]
    return jnp.stack(hop_rates(y, noise, landscape)), jnp.stack(shares)


@settings(max_examples=100, deadline=None)
@given(valleys, positive(0.01, 50.0), positive(1e-4, 1.0))
def test_hops_have_the_ratio_of_the_occupation(landscape, y, noise):
    """Detailed balance of two states; and mirrored landscapes have mirrored walkers."""
    mirrored = landscape._replace(x1=landscape.x2, x2=landscape.x1)
    with jax.enable_x64(True):
        (rates, shares), (mirrored_rates, mirrored_shares) = (
            map(np.asarray, rates_and_shares(y, noise, each)) for each in (landscape, mirrored)
        )
    if rates.min() > 1e-300:
        np.testing.assert_allclose(rates[1] / rates.sum(), shares[0], rtol=1e-9)
    np.testing.assert_allclose(mirrored_rates, rates[::-1], rtol=1e-9)
    np.testing.assert_allclose(mirrored_shares, 1 - shares, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("form", FORMS)
def test_more_noise_selects_less_at_a_fixed_y(form):
    """The static half of the paradox: it falls from 1 to 0.7128 in the limit of SGD."""
    found = np.asarray(
        flat_occupation(3.0, 0.01 * np.geomspace(0.005, 0.2, 11), LANDSCAPE, form=form)
    )
    assert (np.diff(found) < 0).all()
    if form == "ito":
        np.testing.assert_allclose(found[[0, -1]], [1.0, 0.7128], rtol=0, atol=5e-5)


def test_jit_vmap_and_grad():
    y, noise = np.array([1.0, 3.0, 6.0]), 1e-3

    def log_time(y, x2):
        return escape_times(y, noise, LANDSCAPE._replace(x2=x2)).sharp

    with jax.enable_x64(True):
        many = jax.jit(jax.vmap(log_time, (0, None)))(jnp.asarray(y), 0.65)
        slope = jax.jit(jax.grad(log_time, 1))(5.0, 0.65)
        ahead, behind = (log_time(5.0, 0.65 + step).item() for step in (1e-5, -1e-5))
    np.testing.assert_allclose(many, escape_times(y, noise, LANDSCAPE).sharp, rtol=1e-13)
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-7)
    for function in (hop_rates, escape_times, flat_occupation):
        traced = jax.jit(function)(jnp.float32(-1.0), 1e-3, LANDSCAPE)
        assert np.isnan(traced).all()
        assert np.isnan(jax.jit(function)(1.0, jnp.float32(0.0), LANDSCAPE)).all()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: escape_times(-1.0, 1e-3, LANDSCAPE), "y is negative"),
        (lambda: hop_rates(1.0, [1e-3, 0.0], LANDSCAPE), "noise is not above 0 .* Delta_S"),
        (lambda: flat_occupation(1.0, 1e-3, LANDSCAPE, form="it"), "form is 'it'; expected \"erfi"),
        (lambda: flat_occupation(1.0, 1e-3, (1, 2)), "landscape is a tuple"),
        (lambda: hop_rates([1.0, 2.0], [1e-3] * 3, LANDSCAPE), r"noise has shape \(3,\); .* \(2,"),
        (lambda: hop_rates(1.0, 1e-3, TwoValleys(y_b=0.0)), "y_b is 0.0"),
    ],
)
def test_out_of_range(call, expected):
    with pytest.raises(InputError, match=expected):
        call()
