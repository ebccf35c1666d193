"""Lines through escape times, where the lines are known."""

import numpy as np
import xarray as xr

from sgd_diffusion import tables

COLUMNS = ("learning_rate", "batch_size", "sharpness", "diffusion")
SETTINGS = {
    "B": [(0.1, B, 1, np.nan) for B in (1, 2, 3, 4)],
    "1/eta": [(eta, 1, 1, np.nan) for eta in (0.1, 0.2, 0.5)],
    "1/k": [(0.1, 1, k, np.nan) for k in (1, 2)],
    "ln k": [(0.1, np.nan, k, 0.1) for k in (1, 2, 4)],
    "1/D": [(0.1, np.nan, 1, D) for D in (0.1, 0.2, 0.4)],
}


def sweeps(exponent=0.4, scatter=0.0, predicted=0.5):
    """-ln Gamma = 1 + exponent * coldness - ln k for every line, and the same for predictions."""
    random, rows = np.random.default_rng(0), []
    for number, (sweep, settings) in enumerate(SETTINGS.items()):
        eta, size, k, diffusion = np.array(settings).T
        coldness = np.where(np.isnan(diffusion), size / (eta * k), 1 / diffusion)
        error = np.linspace(0.02, 0.05, len(settings))
        found, theory = (1 + slope * coldness - np.log(k) for slope in (exponent, predicted))
        columns = dict(zip(COLUMNS, (eta, size, k, diffusion), strict=True))
        rows.append(
            xr.Dataset(
                {
                    "log_time": ("point", found + scatter * error * random.normal(size=len(k))),
                    "log_time_error": ("point", error),
                    "log_time_predicted": ("point", theory),
                    "relaxations": ("point", np.exp(found)),
                    "exponent_limit": predicted,
                    "exponent_of_curvature": np.nan if number > 2 else 0.3,
                },
                coords={name: ("point", values) for name, values in columns.items()}
                | {"point": range(len(k)), "coldness": ("point", coldness)}
                | {"loss": "well" if number else "bowl", "sweep": sweep}
                | {"noise": "white noise" if number > 2 else "mini-batches"},
            )
        )
    whole = xr.concat(rows, "line", coords="all", join="outer")
    return whole.assign_attrs(trials=1000)


def test_known_slopes_and_exponents():
    table = tables.escape_rates(sweeps())
    np.testing.assert_allclose(table.exponent, [0.4, 0.4, 0.4, np.nan, 0.4], atol=1e-12)
    np.testing.assert_allclose(table.exponent_predicted, [0.5, 0.5, 0.5, np.nan, 0.5], atol=1e-12)
    # B: 0.4 / eta; 1/eta: 0.4 B; 1/k of two points: 0.4 B / eta and what ln k adds
    np.testing.assert_allclose(table.slope, [4, 0.4, 4 + 2 * np.log(2), -1, 0.4], atol=1e-12)
    np.testing.assert_allclose(table.slope_predicted[:2], [5, 0.5], atol=1e-12)
    np.testing.assert_allclose(table.correlation, [1, 1, np.nan, -1, 1], atol=1e-12)
    np.testing.assert_allclose(table.excess[3], -1, atol=1e-12)  # 0.4 * 10 for 0.5 * 10
    np.testing.assert_allclose(table.abscissa[1], [10, 5, 2, np.nan])


def test_errors_are_those_of_a_weighted_line():
    table = tables.escape_rates(sweeps(scatter=1.0))
    for name in ("B", "1/eta", "ln k", "1/D"):
        row = table.isel(line=list(SETTINGS).index(name)).dropna("point", subset=["log_time"])
        fit, covariance = np.polyfit(
            row.abscissa, row.log_time, 1, w=1 / row.log_time_error, cov="unscaled"
        )
        np.testing.assert_allclose(row.slope, fit[0], rtol=1e-9)
        np.testing.assert_allclose(row.slope_error, covariance[0, 0] ** 0.5, rtol=1e-9)
        np.testing.assert_allclose(
            row.excess_error, (row.log_time_error**-2.0).sum() ** -0.5, rtol=1e-9
        )


def test_the_stated_error_covers_the_scatter():
    """Of lines through many noisy copies; four errors of a standard deviation."""
    random, whole, count = np.random.default_rng(1), sweeps(), 100
    names = ("slope", "exponent")
    copies = []
    for _ in range(count):
        noise = random.normal(size=whole.log_time.shape) * whole.log_time_error
        table = tables.escape_rates(whole.assign(log_time=whole.log_time + noise))
        copies.append([table[name].values for name in names])
    stated = [tables.escape_rates(whole)[f"{name}_error"].values for name in names]
    ratio = np.std(copies, axis=0) / stated
    assert (abs(ratio[np.isfinite(ratio)] - 1) < 4 / (2 * count) ** 0.5).all()
