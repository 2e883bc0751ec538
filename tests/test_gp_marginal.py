"""The exact marginal likelihood: against SciPy's dense normal, differences, and broken inputs."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from scipy.stats import multivariate_normal

import boatppl
from boatppl.gp import JITTER, KINDS, LOG_DENSITY_FLOOR, correlation_matrix, log_marginal, log_normal
from boatppl.gp.kernel import correlate


def problem(rows, columns=3, seed=0, noise=0.05):
    """(residual, Z, groups, amplitude, lengthscale, noise_variance) with two lengthscales."""
    rng = np.random.default_rng(seed)
    groups = (np.arange(columns) > 0).astype(np.int64)
    lengthscale = np.array([0.4, 0.9])
    noise_variance = noise * (0.5 + rng.random(rows))
    return rng.normal(size=rows), rng.random((rows, columns)), groups, 0.8, lengthscale, noise_variance


def dense(kind, Z, groups, amplitude, lengthscale, noise_variance):
    """K by the textbook's formulas (Rasmussen & Williams 2006, chapter 4), apart from the code under test."""
    r = np.sqrt((((Z[:, None] - Z[None]) / lengthscale[groups]) ** 2).sum(-1))
    k = {
        "matern52": (1 + np.sqrt(5) * r + 5 * r**2 / 3) * np.exp(-np.sqrt(5) * r),
        "matern32": (1 + np.sqrt(3) * r) * np.exp(-np.sqrt(3) * r),
        "expquad": np.exp(-(r**2) / 2),
    }[kind]
    return amplitude**2 * (k + JITTER * np.eye(len(Z))) + np.diag(noise_variance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 2, 7, 60])
@pytest.mark.parametrize("columns", [0, 1, 5])
def test_log_density_is_scipys(kind, rows, columns):
    residual, Z, groups, amplitude, lengthscale, noise = problem(rows, columns)
    expected = multivariate_normal(cov=dense(kind, Z, groups, amplitude, lengthscale, noise)).logpdf(residual)
    got = log_marginal(KINDS[kind], residual, Z, groups, amplitude, lengthscale, noise)[0]
    assert got == pytest.approx(expected, rel=1e-10, abs=1e-10)


def differences(function, value, step=1e-5):
    """Central differences of fourth order of a scalar function of an array."""
    value = np.asarray(value, float)
    gradient = np.zeros(value.shape)
    for index in np.ndindex(value.shape):
        for offset, weight in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            moved = value.copy()
            moved[index] += offset * step
            gradient[index] += weight * function(moved) / (12 * step)
    return gradient


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("noise", [0.3, 1e-3])
def test_gradient_is_the_derivative(kind, noise):
    at = dict(zip("rZgals", problem(15, 3, noise=noise), strict=True))
    names = {"r": 1, "a": 2, "l": 3, "s": 4}

    def value(**changed):
        p = at | changed
        a = float(p["a"])
        return log_marginal(KINDS[kind], p["r"], p["Z"], p["g"], a, p["l"], p["s"])

    for name, index in names.items():
        step = 1e-5 if name != "s" else noise * 1e-4
        expected = differences(lambda x, name=name: value(**{name: x})[0], at[name], step)
        np.testing.assert_allclose(value()[index], expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_unused_lengthscale_has_no_gradient():
    residual, Z, _, amplitude, lengthscale, noise = problem(9)
    gradient = log_marginal(0, residual, Z, np.ones(3, np.int64), amplitude, lengthscale, noise)[3]
    assert gradient[0] == 0
    assert gradient[1] != 0


def test_zero_amplitude_leaves_independent_normals():
    residual, Z, groups, _, lengthscale, noise = problem(9)
    with_process = log_marginal(0, residual, Z, groups, 0.0, lengthscale, noise)
    without = log_normal(residual, noise)
    assert with_process[0] == pytest.approx(without[0], rel=1e-13)
    np.testing.assert_allclose(with_process[1], without[1], rtol=1e-12)
    np.testing.assert_allclose(with_process[4], without[2], rtol=1e-11)
    assert with_process[2] == 0
    assert not with_process[3].any()


def test_log_normal_gradient_is_the_derivative():
    residual, noise = problem(9)[0], problem(9)[5]
    _, d_residual, d_noise = log_normal(residual, noise)
    expected = differences(lambda x: log_normal(x, noise)[0], residual)
    np.testing.assert_allclose(d_residual, expected, rtol=1e-7)
    np.testing.assert_allclose(d_noise, differences(lambda x: log_normal(residual, x)[0], noise), rtol=1e-6)


def test_no_rows():
    empty = np.zeros(0)
    logp, d_residual, d_amplitude, d_lengthscale, d_noise = log_marginal(
        0, empty, np.zeros((0, 3)), np.zeros(3, np.int64), 1.0, np.ones(1), empty
    )
    assert logp == 0
    assert d_amplitude == 0
    assert d_lengthscale.tolist() == [0]
    assert not len(d_residual) + len(d_noise)
    assert log_normal(empty, empty)[0] == 0


BROKEN = {
    "negative noise": {"s": np.full(6, -1.0)},
    "noise not a number": {"s": np.full(6, np.nan)},
    "residual not a number": {"r": np.full(6, np.nan)},
    "infinite residual": {"r": np.full(6, np.inf)},
    "infinite amplitude": {"a": np.inf},
    "amplitude not a number": {"a": np.nan},
    "lengthscale zero": {"l": np.zeros(2)},
    "lengthscale not a number": {"l": np.full(2, np.nan)},
    "input not a number": {"Z": np.full((6, 3), np.nan)},
    "overflow": {"a": 1e200},
    "nothing": {"a": 0.0, "s": np.zeros(6)},
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN.keys())
def test_failure_is_the_floor_with_zero_gradients(change):
    p = dict(zip("rZgals", problem(6), strict=True)) | change
    logp, *gradients = log_marginal(0, p["r"], p["Z"], p["g"], p["a"], p["l"], p["s"])
    if change.keys() == {"l"} and not p["l"].any():  # distinct points are independent
        assert np.isfinite(logp)
    else:
        assert logp == LOG_DENSITY_FLOOR
        assert all(not np.any(gradient) for gradient in gradients)
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)


@pytest.mark.parametrize("bad", [-1.0, 0.0, np.nan])
def test_log_normal_failure_is_the_floor(bad):
    logp, *gradients = log_normal(np.ones(3), np.array([1.0, bad, 1.0]))
    assert logp == LOG_DENSITY_FLOOR
    assert all(not np.any(gradient) for gradient in gradients)


def test_duplicate_rows_and_long_lengthscales_stay_finite():
    residual, Z, groups, _, _, _ = problem(40)
    Z[:] = Z[0]
    out = log_marginal(0, residual, Z, groups, 10.0, np.array([1e3, 1e3]), np.full(40, 1e-8))
    assert out[0] > LOG_DENSITY_FLOOR
    assert np.isfinite(out[0])


def test_exponential_against_numpy():
    squared = np.concatenate([np.linspace(0, 1400, 100_001), [1e10, np.inf]])
    k, slope = squared.copy(), np.empty_like(squared)
    correlate(KINDS["expquad"], k, slope)
    inside = squared <= 1400
    np.testing.assert_allclose(k[inside], np.exp(-squared[inside] / 2), rtol=1e-15)
    assert (k[~inside] < 1e-300).all()
    assert (slope <= 0).all()
    nothing = np.full(3, np.nan)
    correlate(0, nothing, slope[:3])
    assert np.isnan(nothing).all()


def test_correlation_matrix_is_the_textbooks():
    _, Z, groups, _, lengthscale, _ = problem(8)
    for kind, code in KINDS.items():
        expected = dense(kind, Z, groups, 1.0, lengthscale, np.zeros(8)) - JITTER * np.eye(8)
        np.testing.assert_allclose(correlation_matrix(code, Z, Z, groups, lengthscale), expected, atol=1e-14)


@njit
def called_from_compiled_code(residual, Z, groups, lengthscale, noise):
    return log_marginal(0, residual, Z, groups, 0.8, lengthscale, noise)[0]


def test_bit_identical_wherever_the_arrays_lie():
    residual, Z, groups, amplitude, lengthscale, noise = problem(70)
    first = log_marginal(0, residual, Z, groups, amplitude, lengthscale, noise)
    assert called_from_compiled_code(residual, Z, groups, lengthscale, noise) == first[0]
    for shift in range(1, 4):
        moved = np.empty(70 + shift)[shift:]
        moved[:] = residual
        again = log_marginal(0, moved, Z.copy(), groups, amplitude, lengthscale, noise.copy())
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_compiled_code_is_kept_across_processes_until_a_function_it_calls_is_another(tmp_path):
    copy = shutil.copytree(Path(boatppl.__file__).parent, tmp_path / "boatppl")
    program = (
        "import numpy as np\n"
        "from boatppl.gp import log_marginal\n"
        "z = np.arange(2.0)[:, None]\n"
        "n = np.zeros(1, np.int64)\n"
        "logp = log_marginal(0, np.ones(2), z, n, 1.0, np.ones(1), np.ones(2))[0]\n"
        "stats = log_marginal.stats\n"
        "print(len(stats.cache_hits), len(stats.cache_misses), logp)"
    )
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin"}

    def run():
        command = [sys.executable, "-W", "error", "-c", program]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        hits, misses, logp = done.stdout.split()
        return int(hits), int(misses), float(logp)

    first, again = run(), run()
    kernel = copy / "gp" / "kernel.py"
    kernel.write_text(kernel.read_text().replace("math.sqrt(5.0 * values[j])", "math.sqrt(4.0 * values[j])"))
    changed = run()
    assert [first[:2], again[:2], changed[:2]] == [(0, 1), (1, 0), (0, 1)]
    assert first[2] == again[2]
    assert abs(changed[2] - first[2]) > 1e-4
