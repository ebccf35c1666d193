"""The alpha-stable law: closed forms, SciPy, the characteristic function, asymptotics, identities,
chance, transforms.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats
from scipy.stats._levy_stable import levy_stable_gen

from sgd_diffusion.analysis.stable import law
from sgd_diffusion.analysis.stable.law import MIN_ALPHA, cdf, logpdf, pdf, sample
from sgd_diffusion.errors import InputError

SCIPY = levy_stable_gen(
    name="levy_stable"
)  # an instance of its own, so that its settings change nobody else's
SCIPY.parameterization = "S0"
SCIPY.pdf_default_method = "piecewise"
# Points per call, so that the tests share what is compiled.
FEW, PADDED = 64, 512

# x, alpha, beta, ln p, P(X <= x): inversions of the characteristic function along bent rays (as
# `inversion` below), with mpmath at 30 and more digits until halving the step changed nothing.
REFERENCES = np.array(
    [
        (0.5, 1.99, 0.0, -1.32823788033279, 0.638161636742835),
        (4.5, 1.99, 0.5, -6.16356792501986, 0.998702232509658),
        (6.3, 1.99, -0.7, -10.3935228551275, 0.999949999592294),
        (8.0, 1.99, 0.0, -10.6061590266315, 0.999911598294084),
        (-9.5, 1.99, 0.3, -11.5544923842345, 4.24281959170417e-5),
        (14.0, 1.99, -0.9, -14.7462858750821, 0.999997312704542),
        (0.5, 1.9999, 0.0, -1.32801438457961, 0.638163176222878),
        (4.5, 1.9999, 0.5, -6.32621859492203, 0.999263014355467),
        (6.3, 1.9999, -0.7, -11.1759953506659, 0.99999534710131),
        (8.0, 1.9999, 0.0, -15.1013897013723, 0.999999122565931),
        (-9.5, 1.9999, 0.3, -16.1707629060246, 4.17095025563436e-7),
        (14.0, 1.9999, -0.9, -19.3656508467778, 0.999999973660554),
        (0.5, 1.999999999, 0.0, -1.32801212350726, 0.63816319508393),
        (4.5, 1.999999999, 0.5, -6.32801210553247, 0.99926864165039),
        (6.3, 1.999999999, -0.7, -11.1880120025965, 0.999995800889805),
        (8.0, 1.999999999, 0.0, -17.2654350652986, 0.999999992282675),
        (-9.5, 1.999999999, 0.3, -23.8070857984515, 1.34126611995131e-11),
        (14.0, 1.999999999, -0.9, -30.8787196107631, 0.999999999999737),
        (-6.0, 1.5, 0.99, -10.2524976491095, 0.000132150333796827),
        (-14.0, 1.3, 0.99, -11.8744324909543, 7.70228276836144e-5),
        (-4.0, 1.7, 0.99, -7.09584838529841, 0.000358086189354761),
        (-2.2, 0.8, 0.99, -7.32012180538796, 0.00156005645547694),
        (-1.3, 0.6, 0.99, -6.26443841003119, 0.00264818693285549),
        (-6.0, 1.5, 0.9999, -14.8596700778976, 1.31961713878927e-6),
        (-14.0, 1.3, 0.9999, -16.4809951029492, 7.69541533340922e-7),
        (-4.0, 1.7, 0.9999, -7.22049750205046, 0.000201380108560761),
        (-2.2, 0.8, 0.9999, -11.9202074732871, 1.55982339811775e-5),
        (-1.3, 0.6, 0.9999, -10.8453344029626, 2.65576340319152e-5),
        (-6.0, 1.5, 0.99999999, -23.9003587846745, 1.32546395281804e-10),
        (-14.0, 1.3, 0.99999999, -25.6913495339649, 7.69534604938525e-11),
        (-4.0, 1.7, 0.99999999, -7.22183928504243, 0.000199799091549788),
        (-2.2, 0.8, 0.99999999, -21.1304961004848, 1.55982109630066e-9),
        (-1.3, 0.6, 0.99999999, -20.0553137915007, 2.65584203411737e-9),
        (-2.0, 0.9999999, 0.5, -3.19695139296984, 0.0750112079124323),
        (5.0, 0.9999999, 0.99, -3.63402811447589, 0.859661845551563),
        (-2.6, 0.9999999, 0.99, -7.53984881088375, 0.00110367178757719),
        (300.0, 0.9999999, -0.9, -14.8730889221014, 0.999894957864776),
        (-2.0, 1.0, 0.5, -3.19695127845309, 0.0750112037475826),
        (5.0, 1.0, 0.99, -3.63402816176187, 0.859661870827026),
        (-2.6, 1.0, 0.99, -7.53984866887072, 0.00110367168562363),
        (300.0, 1.0, -0.9, -14.8730894459684, 0.999894957930531),
        (-2.0, 1.00001, 0.5, -3.19693982674683, 0.0750107872667405),
        (5.0, 1.00001, 0.99, -3.63403289045947, 0.859664398357337),
        (-2.6, 1.00001, 0.99, -7.53983446652254, 0.00110366149039446),
        (300.0, 1.00001, -0.9, -14.8731418327655, 0.999894964505825),
        (-0.4, 0.3, 0.5, -1.90900530307604, 0.183451696823862),
        (0.1, 0.3, 0.5, -1.43108384918354, 0.465419430694533),
        (30.0, 0.3, 0.5, -6.3543706363799, 0.796860257093554),
        (0.1, 0.4, -0.95, -1.26869120930445, 0.703270498293702),
        (30.0, 0.4, -0.95, -9.84390063785705, 0.995414224242216),
        (0.1, 0.35, 1.0, -1.59041234266316, 0.329680813996339),
        (30.0, 0.35, 1.0, -6.01588668680691, 0.765422839707989),
    ]
)
# x, alpha, beta, derivatives of ln p in x, alpha and beta: central differences of such numbers.
SLOPES = np.array(
    [
        (0.2, 1.0, 0.0, -0.3846153845, -0.2962392264, -0.2147179714),
        (7.0, 1.0, 0.5, -0.2742477674, -1.011602968, 0.7969177223),
        (-3.0, 1.0, 0.9, 0.8467237424, 0.3554680807, -9.894194137),
        (1.5, 0.9999, -0.3, -1.200597068, 1.175338848, 0.4205123531),
        (-3.0, 1.001, 0.5, 0.7128902515, 0.2387473762, -1.904922945),
    ]
)
# x, alpha, beta, ln p, P(X <= x), derivatives of ln p in x, alpha and beta, of P in alpha and beta:
# the characteristic function and its derivatives integrated over k with mpmath at 40 digits.
EDGES = np.array(
    [
        (1, 2, 0, -1.51551212, 0.760249939, -0.5, 0.109662037, 0, 0.00763024982, 0),
        (3, 2, 0, -3.51551212, 0.983052573, -1.5, -0.0544831915, 0, 0.057653487, 0),
        (6, 2, 0, -10.2655121, 0.999988955, -3, -211.216241, 0, 0.0172946351, 0),
        (12, 2, 0, -37.2655121, 1, -6, -9.66994993e12, 0, 0.00362806692, 0),
        (-3, 2, 0.5, -3.51551212, 0.0169474268, 1.5, 1.11887072, 0, 0.00129182235, 0),
        (6, 2, -1, -10.2655121, 0.999988955, -3, 13.2939908, 0, -0.000166595356, 0),
        (0, 2, 0, -1.26551212, 0.5, 0, -0.00912249349, 0, 0, 0),
        (0.5, 2, 1, -1.32801212, 0.638163195, -0.25, 0.0637359362, 0, 0.196435411, 0),
        (-9, 2, 0.7, -21.5155121, 9.83080221e-11, 4.5, -1076554.65, 0, -0.00200980837, 0),
        (
            -2,
            1.3,
            1,
            -3.15291339,
            0.0125979405,
            2.66990928,
            2.65023639,
            -0.552310614,
            0.0602003406,
            -0.108365349,
        ),
        (
            -6,
            1.5,
            1,
            -25.7577832,
            5.86644226e-13,
            10.8179117,
            73.0147805,
            -540721294,
            4.506945e-11,
            -0.013195975,
        ),
        (
            2,
            1.3,
            1,
            -2.26502697,
            0.773156929,
            -0.603275355,
            0.172372562,
            0.229747279,
            0.218329516,
            -0.1084887,
        ),
        (
            0,
            1.3,
            1,
            -1.30219373,
            0.398781654,
            -0.169466148,
            0.102651548,
            -0.109803762,
            0.11737072,
            -0.107460138,
        ),
        (
            -2,
            1.7,
            -1,
            -2.23901703,
            0.142640296,
            0.782822406,
            -0.0302270481,
            -0.12658205,
            -0.207626759,
            -0.050043792,
        ),
        (
            3,
            1.7,
            -1,
            -4.38000447,
            0.995315688,
            -2.33022949,
            3.75882288,
            1.56417989,
            -0.0251672819,
            -0.0307460802,
        ),
        (
            9,
            1.9,
            -1,
            -25.6700048,
            1,
            -5.65616778,
            47.9629879,
            24544596.7,
            -6.19854859e-11,
            -0.000772212882,
        ),
        (
            -1,
            1,
            1,
            -1.5061496,
            0.096160961,
            1.02025274,
            -0.163683278,
            0.220907984,
            0.149089677,
            -0.121708935,
        ),
        (
            2,
            1,
            1,
            -2.34837539,
            0.704107862,
            -0.518947347,
            0.400610422,
            0.271412555,
            0.244523586,
            -0.150988256,
        ),
        (
            -2.5,
            1,
            1,
            -11.1128369,
            7.68815894e-07,
            17.8910684,
            59.4144311,
            -4055.54279,
            5.20197772e-05,
            -0.115971422,
        ),
        (
            1.5,
            1,
            -1,
            -2.47152501,
            0.981249957,
            -3.11605222,
            2.4154579,
            -0.804376428,
            -0.106401768,
            -0.161180483,
        ),
        (
            0,
            1,
            0.5,
            -1.22922063,
            0.437511484,
            -0.341196634,
            -0.0902535496,
            -0.239195387,
            0.0372904176,
            -0.136281257,
        ),
        (0, 1, 0, -1.14472989, 0.5, 0, -0.422784335, 0, 0, -0.116968349),
        (
            40,
            1,
            0.3,
            -8.23470676,
            0.989495456,
            -0.0503696571,
            -3.19987988,
            0.856078868,
            0.0444723626,
            -0.00862477542,
        ),
        (
            0.5,
            0.8,
            1,
            -1.64279157,
            0.45618388,
            -0.574828569,
            0.540109055,
            -0.0828506562,
            0.140537312,
            -0.199919525,
        ),
        (
            -1.0,
            0.8,
            1,
            -1.47068444,
            0.0620139862,
            1.59109548,
            -0.117221165,
            0.566167378,
            0.20080943,
            -0.136957083,
        ),
        (
            0.2,
            0.7,
            -1,
            -1.26694964,
            0.71841176,
            0.550858769,
            -0.146651873,
            0.355878697,
            -0.0942247268,
            -0.179597779,
        ),
        (
            1,
            0.8,
            0.5,
            -1.97276633,
            0.641248582,
            -0.739926778,
            0.812705004,
            0.101706038,
            0.117334824,
            -0.203655277,
        ),
        (0, 0.8, 0, -1.01985817, 0.5, 0, -0.894603854, 0, 0, -0.114616847),
        (0, 1.5, 0, -1.24704472, 0.5, 0, -0.0807847041, 0, 0, -0.0751461607),
        (
            0,
            1.5,
            0.5,
            -1.25778224,
            0.46218656,
            -0.0638721221,
            -0.0292692337,
            -0.0405831235,
            0.0605657018,
            -0.0765257976,
        ),
        (
            0.001,
            1.5,
            0,
            -1.24704509,
            0.500287353,
            -0.000738488042,
            -0.0807842796,
            -0.000140784793,
            -2.32136635e-05,
            -0.0751461809,
        ),
        (
            20,
            1.5,
            0.5,
            -8.20953045,
            0.996493899,
            -0.129494056,
            -3.91028001,
            0.757147933,
            0.0159948426,
            -0.00254198846,
        ),
        (
            -20,
            1.5,
            0.5,
            -9.39806766,
            0.00110316287,
            0.125901558,
            -3.78237091,
            -2.08934304,
            -0.00494516497,
            -0.0022692804,
        ),
        (
            20,
            1.8,
            0,
            -10.1551603,
            0.999575638,
            -0.143242493,
            -7.00629077,
            1.04262239,
            0.00320547998,
            -0.000436176457,
        ),
        (
            15,
            1.2,
            -0.5,
            -7.78910819,
            0.994769812,
            -0.1463979,
            -2.51840706,
            2.1410369,
            0.0179244543,
            -0.0109359291,
        ),
        (
            -0.3,
            1.4,
            -1,
            -1.35674081,
            0.509155102,
            0.289533513,
            0.189871752,
            0.0816926257,
            -0.133347793,
            -0.100246611,
        ),
        (
            1,
            1.999999,
            0.5,
            -1.51551225,
            0.760249831,
            -0.50000015,
            0.122193274,
            -2.50620405e-08,
            0.108233268,
            -2.01206134e-07,
        ),
        (
            6,
            1.999999,
            0.5,
            -10.2651887,
            0.999988929,
            -2.99925457,
            -323.367169,
            0.00022443801,
            0.0260253266,
            -1.74612719e-08,
        ),
        (
            -2,
            1.3,
            0.999999,
            -3.15291284,
            0.0125980488,
            2.66990556,
            2.65023347,
            -0.552311559,
            0.0602001821,
            -0.108365352,
        ),
        (
            3,
            1.3,
            -0.99999999,
            -7.35705915,
            0.999903986,
            -6.02117477,
            15.167996,
            60.682577,
            -0.00178112385,
            -0.0645415315,
        ),
    ]
)


def on_points(function, x, alpha, beta):
    """A function of the law at points (n,), so many at a time as others take too."""
    points = np.array(np.broadcast_arrays(*np.atleast_1d(x, alpha, beta)), float)
    slopes = function in (log_density_slopes, distribution_slopes)
    at_once = FEW if slopes or points.shape[1] <= FEW else PADDED
    blocks = []
    for start in range(0, points.shape[1], at_once):
        block = points[:, start : start + at_once]
        missing = at_once - block.shape[1]
        blocks.append(
            np.asarray(function(*np.pad(block, ((0, 0), (0, missing)), mode="edge")))[
                : block.shape[1]
            ]
        )
    return np.concatenate(blocks)


def log_density_slopes(x, alpha, beta):
    """Derivatives of ln p in x, alpha and beta at points (n,), (n, 3)."""
    with jax.enable_x64(True):
        return np.stack(SLOPES_AT_POINTS(x, alpha, beta), axis=-1)


SLOPES_AT_POINTS = jax.jit(jax.vmap(jax.grad(logpdf, argnums=(0, 1, 2))))


def inversion(x, alpha, beta, *, num_nodes=4000):
    """p and P(X <= x) in S0 from the characteristic function, and by how much they may be wrong (p
    relatively).

    Integrals over u = ln|k| along k = exp(u - i angle), with an angle that bends from `start` to
    `end` about u = `turn`: of a few such paths that along which the integrand is smallest.
    """
    if x < 0:
        density, below, *errors = inversion(-x, alpha, -beta, num_nodes=num_nodes)
        return density, 1 - below, *errors

    def path(u, start, end, turn):
        bend = 1 / (1 + np.exp(np.clip(u - turn, -700, 700)))
        return u - 1j * (end + (start - end) * bend), 1 + 1j * (start - end) * bend * (1 - bend)

    def exponent(log_k):
        skewed = (
            1j * beta * 2 / np.pi * log_k
            if alpha == 1
            else -1j * beta / np.tan(np.pi / 2 * (alpha - 1)) * np.expm1((1 - alpha) * log_k)
        )
        return -np.exp(alpha * log_k) * (1 + skewed) - 1j * np.exp(log_k) * x

    coarse, lowest = np.linspace(-60, 16, 440), np.inf
    with np.errstate(over="ignore", invalid="ignore"):
        for start in (1.5, 1.3, 0.9, 0.4, 0.1, -0.4):
            for end in (-0.3, 0.0, 0.3):
                for turn in np.arange(-1, 8, 1.5) - np.log(x + 0.01):
                    size = exponent(path(coarse, start, end, turn)[0]).real + coarse
                    size = np.nan_to_num(size, nan=-np.inf, posinf=np.inf)
                    if size[-1] < -60 and size.max() < lowest:
                        lowest, chosen = size.max(), (start, end, turn)
                        top = coarse[size > lowest - 50].max() + 0.2
        u = np.linspace(-38 / min(alpha, 1), top, num_nodes)
        log_k, stretch = path(u, *chosen)
        values = np.exp(exponent(log_k)) * stretch
    terms = np.array([(values * np.exp(log_k)).real, values.imag]) * (u[1] - u[0]) / np.pi
    density, imaginary = terms.sum(axis=1)
    # The change from half of the nodes bounds what is left of it, and there is rounding.
    halved = abs(2 * terms[:, ::2].sum(axis=1) - terms.sum(axis=1))
    rounding = 1e-14 * abs(terms).max(axis=1) / (u[1] - u[0])
    return (
        density,
        0.5 + chosen[0] / np.pi - imaginary,
        (halved[0] + rounding[0]) / abs(density),
        halved[1] + rounding[1],
    )


def inversions(points, *, accuracy):
    """The `points` (n, 3) at which `inversion` is accurate, and ln p and P(X <= x) there."""
    found = np.array([inversion(*point) for point in points])
    good = (found[:, 2:] < accuracy).all(axis=1) & (found[:, 0] > 0)
    return points[good], np.log(found[good, 0]), found[good, 1]


def random_points(seed, num_points):
    """x in both tails, alpha over its range and near 1 and 2, beta over its range and near its
    ends, (n, 3).
    """
    random = np.random.default_rng(seed)
    kind = random.integers(5, size=num_points)
    alpha = random.uniform(0.3, 1.99, num_points)
    beta = random.uniform(-0.9, 0.9, num_points)
    sign = random.choice([-1, 1], num_points)
    alpha = np.where(
        (kind == 1) | (kind == 2), 1 + sign * 10 ** random.uniform(-9, -1, num_points), alpha
    )
    alpha = np.where(kind == 3, 2 - 10 ** random.uniform(-9, -1, num_points), alpha)
    beta = np.where(
        (kind == 2) | (kind == 4), sign * (1 - 10 ** random.uniform(-6, -1, num_points)), beta
    )
    x = random.choice([-1, 1], num_points) * 10 ** random.uniform(-2, 3, num_points)
    return np.stack([x, alpha, beta], axis=-1)


def zeta(alpha, beta):
    return -beta * np.tan(np.pi * alpha / 2)


# Closed forms


def test_normal_law():
    x = np.r_[-40:40:81j]
    np.testing.assert_allclose(
        on_points(logpdf, x, 2, 0), -(x**2) / 4 - np.log(4 * np.pi) / 2, rtol=0, atol=1e-7
    )
    np.testing.assert_allclose(
        on_points(logpdf, x, 2, 0.7), -(x**2) / 4 - np.log(4 * np.pi) / 2, rtol=0, atol=1e-7
    )
    np.testing.assert_allclose(
        on_points(cdf, x, 2, 0), stats.norm.cdf(x, scale=np.sqrt(2)), rtol=0, atol=1e-7
    )


def test_cauchy_law():
    x = np.r_[-np.geomspace(1e-6, 1e6, 50), 0, np.geomspace(1e-6, 1e6, 50)]
    np.testing.assert_allclose(
        on_points(logpdf, x, 1, 0), stats.cauchy.logpdf(x), rtol=0, atol=1e-6
    )
    np.testing.assert_allclose(on_points(cdf, x, 1, 0), stats.cauchy.cdf(x), rtol=0, atol=1e-7)


@pytest.mark.parametrize("beta", [-1, 1])
def test_levy_law(beta):
    y = np.geomspace(1e-3, 1e6, 100)  # down to ln p = -500
    np.testing.assert_allclose(
        on_points(logpdf, beta * (y - 1), 0.5, beta), stats.levy.logpdf(y), rtol=1e-9, atol=1e-6
    )
    below = on_points(cdf, beta * (y - 1), 0.5, beta)
    np.testing.assert_allclose(
        below if beta > 0 else 1 - below, special.erfc(1 / np.sqrt(2 * y)), rtol=0, atol=1e-7
    )


def test_landau_law():
    # exp(-pi/2 |k| - i k ln|k|), whose density is an integral over exponentials
    x = np.array([-2.0, -0.5, 1.0, 8.0, 40.0])
    integral = [
        integrate.quad(
            lambda t, x=x: np.exp(-t * np.log(t) - x * t) * np.sin(np.pi * t),
            0,
            np.inf,
            epsabs=0,
            epsrel=1e-10,
            limit=500,
        )[0]
        / np.pi
        for x in x
    ]
    scale = np.pi / 2
    np.testing.assert_allclose(
        on_points(logpdf, (x - np.log(scale)) / scale, 1, 1),
        np.log(integral) + np.log(scale),
        rtol=0,
        atol=1e-6,
    )


def test_values_at_zeta():
    alpha, beta = (
        values.ravel()
        for values in np.meshgrid([0.3, 0.5, 0.8, 1.2, 1.7, 2.0], [-0.99, -0.5, 0.0, 0.2, 0.9])
    )
    center = zeta(alpha, beta)
    theta0 = np.arctan(-center) / alpha
    expected = (
        special.gamma(1 + 1 / alpha)
        * np.cos(theta0)
        * np.cos(alpha * theta0) ** (1 / alpha)
        / np.pi
    )
    np.testing.assert_allclose(
        on_points(logpdf, center, alpha, beta), np.log(expected), rtol=0, atol=1e-6
    )
    np.testing.assert_allclose(
        on_points(cdf, center, alpha, beta), 0.5 - theta0 / np.pi, rtol=0, atol=1e-6
    )
    # and on both sides of it, where y is as small
    for beside in (center * (1 - 1e-12), center * (1 + 1e-12)):
        np.testing.assert_allclose(
            on_points(logpdf, beside, alpha, beta), np.log(expected), rtol=0, atol=1e-6
        )


# Other integrals


def test_stored_values():
    x, alpha, beta, log_density, below = REFERENCES.T
    np.testing.assert_allclose(on_points(logpdf, x, alpha, beta), log_density, rtol=0, atol=1e-6)
    np.testing.assert_allclose(on_points(cdf, x, alpha, beta), below, rtol=0, atol=1e-6)


def test_stored_values_are_those_of_the_inversion():
    points, log_density, below = inversions(REFERENCES[::2, :3], accuracy=1e-8)
    stored = {tuple(row[:3]): row[3:] for row in REFERENCES}
    expected = np.array([stored[tuple(point)] for point in points])
    assert len(points) > 15
    np.testing.assert_allclose(np.stack([log_density, below], axis=-1), expected, rtol=0, atol=1e-8)


def against_inversion(seed, num_points):
    points, log_density, below = inversions(random_points(seed, num_points), accuracy=1e-7)
    assert len(points) > 0.8 * num_points
    np.testing.assert_allclose(on_points(logpdf, *points.T), log_density, rtol=0, atol=2e-6)
    np.testing.assert_allclose(on_points(cdf, *points.T), below, rtol=0, atol=2e-6)


def test_random_points():
    against_inversion(0, 150)


@pytest.mark.slow
def test_many_random_points():
    against_inversion(1, 10_000)


def against_scipy(alphas, betas, xs):
    """Log density to 1e-4 and cdf to 1e-5; where SciPy's differ more, as they do in places, the
    inversion decides.
    """
    points = np.array(np.meshgrid(alphas, betas, xs, indexing="ij")).reshape(3, -1)[[2, 0, 1]]
    with np.errstate(all="ignore"):  # SciPy takes logarithms of zero
        theirs = np.hstack(
            [[np.log(SCIPY.pdf(xs, a, b)), SCIPY.cdf(xs, a, b)] for a in alphas for b in betas]
        )
    ours = np.array([on_points(logpdf, *points), on_points(cdf, *points)])
    disputed = ~(abs(ours - theirs) < [[1e-4], [1e-5]]).all(axis=0)
    assert disputed.mean() < 0.1
    for point, values in zip(points.T[disputed], ours.T[disputed], strict=True):
        density, below, error, below_error = inversion(*point)
        assert max(error, below_error) < 1e-8
        np.testing.assert_allclose(
            values, [np.log(density), below], rtol=0, atol=1e-6, err_msg=str(point)
        )


def test_against_scipy():
    against_scipy(
        [0.5, 0.8, 0.97, 1.0, 1.03, 1.5, 1.95, 2.0],
        [-0.9, 0.0, 0.5],
        np.array([-50, -3, -0.3, 0, 1.1, 6, 25.0]),
    )


@pytest.mark.slow
def test_against_scipy_on_a_long_grid():
    xs = np.r_[-np.geomspace(0.01, 50, 20), 0, np.geomspace(0.01, 50, 20)]
    against_scipy(np.r_[0.5:2:31j], [-0.9, -0.6, -0.3, 0.0, 0.2, 0.5, 0.9], xs)


# Asymptotics


def tail_series(y, alpha, beta, most=60):
    """Density at y right of zeta: the characteristic function's expansion at small k, term by term,
    up to the smallest.
    """
    n = np.arange(1, most + 1)
    coefficient = -(
        1 + 1j * zeta(alpha, beta)
    )  # ln of the characteristic function is coefficient k^alpha - i k zeta
    terms = (
        np.exp(
            n * np.log(coefficient + 0j)
            + special.gammaln(n * alpha + 1)
            - special.gammaln(n + 1)
            - (n * alpha + 1) * np.log(y * 1j)
        ).real
        / np.pi
    )
    size = (
        special.gammaln(n * alpha + 1)
        - special.gammaln(n + 1)
        + n * np.log(abs(coefficient))
        - n * alpha * np.log(y)
    )
    return terms[: np.argmin(size) + 1].sum()


@pytest.mark.parametrize("alpha", [0.4, 0.9, 1.1, 1.5, 1.9, 1.99])
def test_far_tails(alpha):
    beta = np.array([-0.9, 0.0, 0.0, 0.5, 1.0])
    for y in (1e3, 1e4, 1e6, 1e9):
        expected = np.log([tail_series(y, alpha, b) for b in beta])
        np.testing.assert_allclose(
            on_points(logpdf, y + zeta(alpha, beta), alpha, beta), expected, rtol=0, atol=1e-6
        )


@pytest.mark.parametrize("alpha", [0.4, 0.5, 0.7, 1.2, 1.5, 1.8])
def test_light_tails(alpha):
    # For beta = 1 the cumulants are generated by K = -rate^alpha/cos(pi alpha/2) at -rate: the
    # inversion about its saddle point, next order included. The one after that is a small multiple
    # of its square.
    exponent = np.array([-20.0, -80.0, -300.0, -1000.0])  # (1 - alpha) K
    rate = (-np.cos(np.pi * alpha / 2) * exponent / (1 - alpha)) ** (1 / alpha)
    y = alpha * exponent / ((alpha - 1) * rate)
    curvature = -alpha * exponent  # of K in ln(rate)
    next_order = (2 - alpha) * (2 * alpha - 1) / (24 * curvature)
    expected = exponent - np.log(2 * np.pi * curvature / rate**2) / 2 + np.log1p(next_order)
    found = on_points(logpdf, zeta(alpha, 1) + y, alpha, 1) - expected
    assert (abs(found) < 1e-6 + 0.1 / curvature**2).all()


# Smooth in the parameters


def test_slopes_near_alpha_1():
    x, alpha, beta = SLOPES.T[:3]
    # Within 5e-4 of alpha = 1 they are those at that distance, and second derivatives are up to
    # 2.3.
    error = abs(on_points(log_density_slopes, x, alpha, beta) - SLOPES[:, 3:]).max(axis=1)
    assert (error < np.where(abs(alpha - 1) < 5e-4, 1.2e-3, 1e-7)).all()


def distribution_slopes(x, alpha, beta):
    """Derivatives of P(X <= x) in x, alpha and beta at points (n,), (n, 3)."""
    with jax.enable_x64(True):
        return np.stack(DISTRIBUTION_SLOPES(x, alpha, beta), axis=-1)


DISTRIBUTION_SLOPES = jax.jit(jax.vmap(jax.grad(cdf, argnums=(0, 1, 2))))


def test_slopes_at_the_edges():
    x, alpha, beta, log_density, below = EDGES.T[:5]
    np.testing.assert_allclose(on_points(cdf, x, alpha, beta), below, rtol=0, atol=1e-6)
    tolerance = np.where(
        (abs(alpha - 1) < 5e-4) & (x < -2), 0.04, np.where(abs(alpha - 1) < 5e-4, 3e-3, 2e-5)
    )[:, None]
    np.testing.assert_allclose(on_points(logpdf, x, alpha, beta), log_density, rtol=0, atol=1e-6)
    for function, expected in (
        (log_density_slopes, EDGES[:, 5:8]),
        (distribution_slopes, np.c_[np.exp(log_density), EDGES[:, 8:]]),
    ):
        found = on_points(function, x, alpha, beta)
        assert (abs(found - expected) < tolerance * (1 + abs(expected))).all(), found - expected


@pytest.mark.parametrize(
    "edge", ["x near zeta", "alpha near 2", "alpha = 2", "alpha near 1", "beta near 1", "beta = 1"]
)
@pytest.mark.parametrize("n", [FEW, pytest.param(20 * FEW, marks=pytest.mark.slow)])
def test_slope_of_the_distribution_function_is_the_density_at_all_edges(edge, n):
    random = np.random.default_rng(4)
    alpha, beta, sign = (
        random.uniform(MIN_ALPHA, 2, n),
        random.uniform(-1, 1, n),
        random.choice([-1, 1], n),
    )
    small = 10 ** random.uniform(-9, -1, n)
    alpha = {
        "alpha near 2": 2 - small,
        "alpha = 2": np.full(n, 2.0),
        "alpha near 1": 1 + sign * small,
    }.get(edge, alpha)
    beta = {"beta near 1": 1 - small, "beta = 1": np.ones(n)}.get(edge, beta)
    x = random.choice([-1, 1], n) * 10 ** random.uniform(-9, 3, n)
    x = zeta(alpha, beta) + sign * 10 ** random.uniform(-14, 0, n) if edge == "x near zeta" else x
    slope = on_points(distribution_slopes, x, alpha, beta)[:, 0]
    tolerance = np.where(abs(alpha - 1) < 5e-4, 2e-4, 5e-5)
    assert (abs(slope - on_points(pdf, x, alpha, beta)) < tolerance).all()


def test_slopes_far_out_and_outside_the_support():
    x = np.array([np.inf, -np.inf, -3.0, 1e5, 1e300])
    alpha, beta = np.repeat([0.7, 2.0], len(x)), np.repeat([1.0, 0.0], len(x))
    of_log_density = on_points(log_density_slopes, np.tile(x, 2), alpha, beta)
    assert np.isfinite(of_log_density).all()
    assert np.isfinite(on_points(distribution_slopes, np.tile(x, 2), alpha, beta)).all()
    assert (of_log_density[:3] == 0).all()


def test_continuous_at_alpha_1():
    x, beta = (
        values.ravel()
        for values in np.meshgrid([-200.0, -3.0, -0.5, 0.3, 2.0, 1e4], [-0.7, -0.4, 0.0, 0.6])
    )
    at_1, slope = on_points(logpdf, x, 1, beta), on_points(log_density_slopes, x, 1, beta)
    below_x = on_points(cdf, x, 1, beta)
    for excess in (
        -1e-5,
        -1e-7,
        -1e-12,
        1e-12,
        1e-7,
        1e-5,
    ):  # the second derivative adds nothing yet
        np.testing.assert_allclose(
            on_points(logpdf, x, 1 + excess, beta), at_1 + excess * slope[:, 1], rtol=0, atol=1e-6
        )
        np.testing.assert_allclose(
            on_points(cdf, x, 1 + excess, beta), below_x, rtol=0, atol=1e-6 + abs(excess)
        )
    second_derivative = 6 * (
        1 + np.log1p(abs(x[:, None])) ** 2
    )  # a bound; the slopes on both sides are 1e-3 apart
    assert (
        abs(on_points(log_density_slopes, x, 1 - 1e-9, beta) - slope) < 1e-3 * second_derivative
    ).all()


def test_slopes_are_those_of_the_values():
    points = random_points(2, 400)
    points = points[(abs(abs(points[:, 1] - 1) - 0.5) < 0.45) & (abs(points[:, 2]) < 0.95)]
    points[:, 0] = np.clip(points[:, 0], -50, 50)
    slopes = on_points(log_density_slopes, *points.T)
    for axis in range(3):
        step = 1e-4 * np.eye(3)[axis]
        secants = [
            (on_points(logpdf, *(points + k * step).T) - on_points(logpdf, *(points - k * step).T))
            / (2e-4 * k)
            for k in (1, 2)
        ]
        third = abs(secants[1] - secants[0]) / 3  # the error of the first
        assert np.median(third) < 1e-5
        assert (abs(slopes[:, axis] - secants[0]) < 3e-3 + 3 * third).all()


# Identities


@given(st.floats(MIN_ALPHA, 2), st.floats(-1, 1), st.floats(-8, 4))
@settings(deadline=None, max_examples=20)
def test_density_is_finite_and_the_distribution_function_grows(alpha, beta, log_x):
    x = np.exp(log_x) * np.r_[-2, -1, -0.3, 0, 0.3, 1, 2]
    if alpha < 1 and abs(beta) == 1:
        x = zeta(alpha, beta) + beta * abs(x + np.exp(log_x) / 10)
    x = np.sort(x)
    assert np.isfinite(on_points(logpdf, x, alpha, beta)).all()
    below = on_points(cdf, x, alpha, beta)
    assert (np.diff(below) > -3e-6).all()
    assert ((below > -3e-6) & (below < 1 + 3e-6)).all()


@pytest.mark.parametrize(
    ("alpha", "beta"), [(0.5, 0.3), (0.95, -0.9), (1.0, 0.5), (1.4, 1.0), (1.99, 0.2)]
)
def test_distribution_function_is_the_integral_of_the_density(alpha, beta):
    ends = np.linspace(-4, 4, 17)
    nodes, weights = np.polynomial.legendre.leggauss(30)
    x = (ends[:-1, None] + ends[1:, None]) / 2 + nodes / 4
    integral = (on_points(pdf, x.ravel(), alpha, beta).reshape(x.shape) * weights / 4).sum(axis=1)
    np.testing.assert_allclose(
        np.diff(on_points(cdf, ends, alpha, beta)), integral, rtol=0, atol=2e-6
    )


def test_mirror_image():
    x, alpha, beta = random_points(3, 400).T
    np.testing.assert_allclose(
        on_points(logpdf, -x, alpha, -beta), on_points(logpdf, x, alpha, beta), rtol=1e-12
    )
    np.testing.assert_allclose(
        on_points(cdf, -x, alpha, -beta), 1 - on_points(cdf, x, alpha, beta), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("alpha", [0.7, 1.0, 1.6])
def test_location_scale_and_parameterization(alpha):
    x, beta, scale, location = np.linspace(-30, 20, 8), 0.4, 2.5, 3.0
    arguments = {"location": location, "scale": scale}
    standard = np.asarray(logpdf((x - location) / scale, alpha, beta))
    np.testing.assert_allclose(
        logpdf(x, alpha, beta, **arguments), standard - np.log(scale), rtol=1e-12
    )
    np.testing.assert_allclose(
        pdf(x, alpha, beta, **arguments), np.exp(standard) / scale, rtol=1e-12
    )
    np.testing.assert_allclose(
        cdf(x, alpha, beta, **arguments), cdf((x - location) / scale, alpha, beta), rtol=1e-12
    )
    theirs = stats.levy_stable.pdf(
        x, alpha, beta, loc=location, scale=scale
    )  # S1 is SciPy's default
    np.testing.assert_allclose(
        pdf(x, alpha, beta, **arguments, parameterization="S1"), theirs, rtol=1e-6
    )


# Random numbers


@pytest.mark.parametrize(
    ("seed", "alpha", "beta"),
    [
        (0, 0.4, -0.3),
        (1, 0.8, 1.0),
        pytest.param(2, 1.0, 0.0, marks=pytest.mark.slow),
        (3, 1.0, 0.7),
        (4, 1.3, -1.0),
        pytest.param(5, 1.7, 0.5, marks=pytest.mark.slow),
        (6, 2.0, 0.3),
    ],
)
def test_random_numbers_have_the_law(seed, alpha, beta):
    n = 10 * PADDED
    x = np.asarray(sample(jax.random.key(seed), alpha, beta, shape=(n,)))
    assert x.dtype == np.float64
    assert stats.kstest(on_points(cdf, x, alpha, beta), "uniform").pvalue > 1e-3
    for k in (0.3, 1.0, 2.0):
        turned = (
            2 / np.pi * np.log(k)
            if alpha == 1
            else np.tan(np.pi * alpha / 2) * (k ** (1 - alpha) - 1)
        )
        expected = np.exp(-(k**alpha) * (1 + 1j * beta * turned))
        for part in (np.real, np.imag):
            values = part(np.exp(1j * k * x))
            assert abs(values.mean() - part(expected)) < 4 * values.std() / np.sqrt(n)


def test_random_numbers_in_s1_and_with_arrays_of_parameters():
    key, alpha, location = jax.random.key(7), np.array([[0.6], [1.0], [1.5]]), np.array([0.0, 5.0])
    standard = np.asarray(sample(key, alpha, 0.5, shape=(3, 2)))
    np.testing.assert_allclose(
        sample(key, alpha, 0.5, shape=(3, 2), location=location, scale=2.0), location + 2 * standard
    )
    shift = 0.5 * np.where(
        alpha == 1, 2 / np.pi * np.log(2), np.tan(np.pi * np.where(alpha == 1, 0, alpha) / 2)
    )
    np.testing.assert_allclose(
        sample(key, alpha, 0.5, shape=(3, 2), scale=2.0, parameterization="S1"),
        2 * (standard + shift),
        rtol=1e-9,
    )


# Transforms, precision and edges


def test_precision_follows_x_and_the_arithmetic_does_not():
    x = np.geomspace(1e-6, 1e6, 8, dtype=np.float32)
    single, double = logpdf(x, np.float32(1.25), 0.5), logpdf(np.float64(x), 1.25, 0.5)
    assert (single.dtype, double.dtype, logpdf(jnp.asarray(x), 1.25, 0.5).dtype) == (
        np.float32,
        np.float64,
        np.float32,
    )
    np.testing.assert_allclose(single, double, rtol=1e-7)
    assert (cdf(list(range(8)), 1.25).dtype, pdf(x, 1.25).dtype) == (np.float64, np.float32)


def mean_log_density(parameters, x):
    alpha, beta, location, scale = parameters
    return logpdf(x, alpha, beta, location=location, scale=scale).mean()


def values_beside(parameters, x):
    """mean_log_density in float64 as a function of the distance from `parameters`."""

    def value(shift):
        alpha, beta, location, scale = np.float64(parameters) + shift
        return np.mean(on_points(logpdf, (np.float64(x) - location) / scale, alpha, beta)) - np.log(
            scale
        )

    return value


def test_slopes_in_32_bit_mode():
    x, parameters = (
        np.linspace(-3, 2, 8, dtype=np.float32),
        np.array([1.4, 0.3, 0.2, 1.5], np.float32),
    )
    slopes = jax.jit(jax.vmap(jax.grad(mean_log_density), in_axes=(0, None)))(parameters[None], x)
    assert slopes.dtype == np.float32
    value = values_beside(parameters, x)
    secants = [
        (value(step) - value(-step)) / 2e-3 for step in 1e-3 * np.eye(4)
    ]  # third derivatives are of order 1
    np.testing.assert_allclose(slopes[0], secants, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("double", [False, True])
def test_second_derivatives(double):
    precision = np.float64 if double else np.float32
    with jax.enable_x64(double):
        x, parameters = (
            np.linspace(-3, 2, 8, dtype=precision),
            np.array([1.4, 0.3, 0.2, 1.5], precision),
        )
        hessian = jax.jit(jax.hessian(mean_log_density))
        found = np.asarray(hessian(parameters, x))
        # At alpha = 1, beta = 0, x = 0.2
        at_1 = np.asarray(hessian(np.array([1, 0, 0, 1], precision), np.full(8, 0.2, precision)))
        forward = jax.jacfwd(jax.jacfwd(mean_log_density))(parameters, x)
        in_alpha = jax.hessian(lambda alpha: logpdf(x, alpha).mean())(parameters[0])
    assert found.dtype == in_alpha.dtype == precision
    value = values_beside(parameters, x)
    steps = 1e-3 * np.eye(4)
    secants = [
        [(value(a + b) - value(a - b) - value(b - a) + value(-a - b)) / 4e-6 for a in steps]
        for b in steps
    ]
    np.testing.assert_allclose(found, secants, rtol=0, atol=1e-4)
    np.testing.assert_allclose(forward, found, rtol=0, atol=1e-9 if double else 1e-5)
    # In alpha and beta from differences of inversions of 26 digits, in x from Cauchy's law.
    np.testing.assert_allclose(
        at_1[:2, :2], [[0.780337, 0.981452], [0.981452, -0.660628]], rtol=0, atol=5e-3
    )
    np.testing.assert_allclose(at_1[2, 2], 2 * (0.2**2 - 1) / (1 + 0.2**2) ** 2, rtol=0, atol=3e-3)


@pytest.mark.slow
def test_derivatives_of_the_distribution_function():
    slope, in_location = jax.grad(
        lambda x, location: cdf(x, 1.3, 0.3, location=location), argnums=(0, 1)
    )(0.7, 0.1)
    np.testing.assert_allclose([slope, -in_location], pdf(0.6, 1.3, 0.3), rtol=1e-5)


def test_transforms_of_random_numbers():
    keys = jax.random.split(jax.random.key(0), 3)
    mapped = jax.jit(jax.vmap(lambda key, alpha: sample(key, alpha, 0.5, shape=(4,))))(
        keys, jnp.array([0.5, 1.0, 1.5])
    )
    for row, key, alpha in zip(mapped, keys, (0.5, 1.0, 1.5), strict=True):
        np.testing.assert_allclose(row, sample(key, alpha, 0.5, shape=(4,)), rtol=1e-9)


def test_shapes(monkeypatch):
    together = logpdf(np.arange(4.0), np.array([[1.2], [1.6]]), 0.5)
    assert together.shape == (2, 4)
    np.testing.assert_allclose(together[1], on_points(logpdf, np.arange(4.0), 1.6, 0.5), rtol=1e-12)
    assert jax.eval_shape(logpdf, 0.0, 1.5).shape == ()
    assert logpdf(np.zeros((0, 2)), 1.5).shape == (0, 2)
    assert sample(jax.random.key(0), 1.5, shape=(0,)).shape == (0,)
    many, alphas = np.linspace(-9, 9, 2 * FEW + 7, dtype=np.float32), np.array([1.2, 1.6])
    expected = [on_points(logpdf, many, alpha, 0.5) for alpha in alphas]
    monkeypatch.setattr(law, "CHUNK", FEW)  # three of them
    mapped = jax.jit(jax.vmap(logpdf, in_axes=(None, 0, None)))(many, alphas, 0.5)
    np.testing.assert_allclose(mapped, expected, rtol=2e-6)


def test_values_without_a_density():
    x = np.array([-np.inf, np.inf, np.nan, 1.0, -np.inf, np.inf, np.nan, 1.0])
    alpha = np.array([0.7, 0.7, 0.7, 0.7, 1.5, 1.5, 1.5, 1.5])
    np.testing.assert_array_equal(np.isnan(logpdf(x, alpha, 0.5)), np.isnan(x))
    np.testing.assert_array_equal(np.asarray(logpdf(x, alpha, 0.5))[np.isinf(x)], -np.inf)
    np.testing.assert_array_equal(np.asarray(cdf(x, alpha, 0.5))[[0, 1, 4, 5]], [0, 1, 0, 1])
    np.testing.assert_array_equal(np.isnan(cdf(x, alpha, 0.5)), np.isnan(x))
    outside = zeta(0.7, 1.0) - np.array([1e-9, 1e-3, 0.1, 3.0, 10.0, 1e6, 1e100, np.inf])
    np.testing.assert_array_equal(logpdf(outside, 0.7, 1.0), -np.inf)
    np.testing.assert_array_equal(logpdf(-outside, 0.7, -1.0), -np.inf)
    np.testing.assert_array_equal(cdf(outside, 0.7, 1.0), 0)
    np.testing.assert_array_equal(cdf(-outside, 0.7, -1.0), 1)


def test_traced_parameters_out_of_range_give_nan():
    alpha, beta = (
        jnp.array([1.5, 0.2, 2.1, jnp.nan, *4 * [1.5]]),
        jnp.array([*5 * [0.0], 1.5, 0.0, 0.0]),
    )
    scale = jnp.array([*6 * [1.0], 0.0, jnp.inf])
    found = jax.jit(lambda *parameters: logpdf(0.5, *parameters[:2], scale=parameters[2]))(
        alpha, beta, scale
    )
    np.testing.assert_array_equal(
        np.isnan(found), [False, True, True, True, False, True, True, True]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 0.2}, r"alpha is 0\.2; expected numbers in 0\.3\.\.2"),
        ({"alpha": np.array([1.0, np.nan])}, "alpha is"),
        ({"alpha": 1.5, "beta": -1.1}, r"beta is -1\.1; expected numbers in -1\.\.1"),
        ({"alpha": 1.5, "scale": 0.0}, r"scale is 0\.0; expected positive, finite numbers"),
        (
            {"alpha": 1.5, "parameterization": "A"},
            "parameterization is 'A'; expected one of S0, S1",
        ),
    ],
)
def test_unusable_arguments(arguments, message):
    for function in (logpdf, pdf, cdf):
        with pytest.raises(InputError, match=message):
            function(0.0, **arguments)
    with pytest.raises(InputError, match=message):
        sample(jax.random.key(0), **arguments)


def test_x_that_is_no_number():
    with pytest.raises(InputError, match="x has dtype complex128; expected real numbers"):
        logpdf(1j, 1.5)
