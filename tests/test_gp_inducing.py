"""The variational bound for many rows: a bound, exact where it must be; its gradient; its conditional."""

import numpy as np
import pytest

from boatppl.gp import (
    KINDS,
    LOG_DENSITY_FLOOR,
    Conditional,
    choose_inducing,
    correlation_matrix,
    log_marginal,
    log_marginal_inducing,
)
from boatppl.gp.inducing import enough_points

GROUPS = np.array([0, 1, 1])
LENGTHSCALE = np.array([0.6, 0.9])


def problem(rows, seed=0, noise=0.05):
    """residual (row,), Z (row, 3), noise_variance (row,): a smooth function with noise."""
    rng = np.random.default_rng(seed)
    Z = rng.random((rows, 3))
    noise_variance = noise * (0.5 + rng.random(rows))
    return np.sin(5 * Z[:, 0]) * Z[:, 1] + rng.normal(size=rows) * np.sqrt(noise_variance), Z, noise_variance


def dense_bound(kind, residual, Z, amplitude, noise_variance, inducing):
    """Titsias 2009, eq. 9, by dense matrices of size (row, row)."""

    def k(A, B):
        return amplitude**2 * correlation_matrix(kind, A, B, GROUPS, LENGTHSCALE)

    K_points = k(inducing, inducing) + amplitude**2 * 1e-7 * np.eye(len(inducing))
    Q = k(Z, inducing) @ np.linalg.solve(K_points, k(inducing, Z))
    S = noise_variance + amplitude**2 * 1e-6
    K = Q + np.diag(S)
    fit = residual @ np.linalg.solve(K, residual) + np.linalg.slogdet(2 * np.pi * K)[1]
    return -0.5 * fit - 0.5 * np.sum((amplitude**2 - np.diag(Q)) / S)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("rows", [40, 600])  # one tile, two tiles
def test_bound_is_the_papers(kind, rows):
    residual, Z, noise = problem(rows)
    inducing = choose_inducing(Z, 15, 0)
    got = log_marginal_inducing(kind, residual, Z, GROUPS, 0.8, LENGTHSCALE, noise, inducing)[0]
    assert got == pytest.approx(dense_bound(kind, residual, Z, 0.8, noise, inducing), rel=1e-8)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_bound_grows_with_the_points_up_to_the_exact_value(kind):
    residual, Z, noise = problem(80)
    exact = log_marginal(kind, residual, Z, GROUPS, 0.8, LENGTHSCALE, noise)[0]
    bounds = [
        log_marginal_inducing(kind, residual, Z, GROUPS, 0.8, LENGTHSCALE, noise, Z[:points].copy())[0]
        for points in (5, 20, 50, 80)
    ]
    assert np.all(np.diff(bounds) > 0)
    assert np.all(np.array(bounds) <= exact)
    assert bounds[-1] == pytest.approx(exact, abs=1e-3)


def test_gradient_is_the_exact_one_where_all_rows_are_inducing():
    residual, Z, noise = problem(60)
    exact = log_marginal(0, residual, Z, GROUPS, 0.8, LENGTHSCALE, noise)
    bound = log_marginal_inducing(0, residual, Z, GROUPS, 0.8, LENGTHSCALE, noise, Z)
    for a, b in zip(exact[1:], bound[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


def slope(function, value, step):
    """Central difference of fourth order."""
    return (
        function(value - 2 * step)
        - 8 * function(value - step)
        + 8 * function(value + step)
        - function(value + 2 * step)
    ) / (12 * step)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("longer", [1.0, 10.0])
def test_gradient_is_the_derivative(kind, longer):
    residual, Z, noise = problem(530)
    inducing = choose_inducing(Z, 20, 0)
    lengthscale = longer * LENGTHSCALE

    def value(r=residual, a=0.8, ell=lengthscale, s=noise):
        return log_marginal_inducing(kind, r, Z, GROUPS, a, ell, s, inducing)

    _, d_residual, d_amplitude, d_lengthscale, d_noise = value()
    assert d_amplitude == pytest.approx(slope(lambda a: value(a=a)[0], 0.8, 1e-3), rel=1e-6)
    for j, unit in enumerate(np.eye(2)):
        got = slope(lambda x, unit=unit: value(ell=lengthscale + x * unit)[0], 0.0, 1e-3 * longer)
        assert d_lengthscale[j] == pytest.approx(got, rel=1e-6)
    for i in (0, 511, 512, 529):  # both sides of the tiles' edge
        unit = np.zeros(530)
        unit[i] = 1.0
        got = slope(lambda x, unit=unit: value(r=residual + x * unit)[0], 0.0, 1e-3)
        assert d_residual[i] == pytest.approx(got, rel=1e-5, abs=1e-6)
        got = slope(lambda x, unit=unit: value(s=noise + x * unit)[0], 0.0, 1e-2 * noise[i])
        assert d_noise[i] == pytest.approx(got, rel=1e-5, abs=1e-5)


def test_zero_amplitude_leaves_independent_normals():
    residual, Z, noise = problem(30)
    logp, d_residual, d_amplitude, d_lengthscale, _ = log_marginal_inducing(
        0, residual, Z, GROUPS, 0.0, LENGTHSCALE, noise, Z[:5].copy()
    )
    assert logp == pytest.approx(-0.5 * np.sum(residual**2 / noise + np.log(2 * np.pi * noise)))
    np.testing.assert_allclose(d_residual, -residual / noise)
    assert d_amplitude == 0
    assert not d_lengthscale.any()


@pytest.mark.parametrize(
    "change",
    [
        {"a": np.inf},
        {"a": np.nan},
        {"l": np.full(2, np.nan)},
        {"s": np.full(30, -1.0)},
        {"r": np.full(30, np.nan)},
    ],
    ids=str,
)
def test_failure_is_the_floor_with_zero_gradients(change):
    residual, Z, noise = problem(30)
    p = {"r": residual, "a": 0.8, "l": LENGTHSCALE, "s": noise} | change
    logp, *gradients = log_marginal_inducing(0, p["r"], Z, GROUPS, p["a"], p["l"], p["s"], Z[:5].copy())
    assert logp == LOG_DENSITY_FLOOR
    assert all(not np.any(gradient) for gradient in gradients)


def conditionals(inducing_points=None, rows=80, draws=3):
    """(exact, inducing) conditionals of the same draws; all rows are inducing if no number is given."""
    rng = np.random.default_rng(4)
    residual, Z, noise = problem(rows)
    at = {
        "Z": Z,
        "groups": GROUPS,
        "amplitude": 0.7 + 0.3 * rng.random(draws),
        "lengthscale": 0.6 + rng.random((draws, 2)),
        "noise_variance": noise * (0.5 + rng.random((draws, 1))),
        "residual": residual + 0.1 * rng.normal(size=(draws, 1)),
    }
    inducing = Z if inducing_points is None else choose_inducing(Z, inducing_points, 0)
    return Conditional.from_data(0, **at), Conditional.from_inducing(0, **at, inducing=inducing), at, inducing


def test_conditional_is_exact_where_all_rows_are_inducing():
    exact, through, _, _ = conditionals()
    Zs = np.random.default_rng(5).random((40, 3))
    for a, b in zip(exact.predict(Zs), through.predict(Zs), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_conditional_is_the_papers():
    _, through, at, inducing = conditionals(12)
    Zs = np.random.default_rng(6).random((25, 3))
    mean, variance = through.predict(Zs)
    for s in range(3):
        a = at["amplitude"][s]

        def k(A, B, a=a, s=s):
            return a**2 * correlation_matrix(0, A, B, GROUPS, at["lengthscale"][s])

        S = at["noise_variance"][s] + a**2 * 1e-6
        K_points, cross, probe = (
            k(inducing, inducing) + a**2 * 1e-7 * np.eye(12),
            k(inducing, at["Z"]),
            k(inducing, Zs),
        )
        Sigma = K_points + (cross / S) @ cross.T
        np.testing.assert_allclose(
            mean[s], probe.T @ np.linalg.solve(Sigma, (cross / S) @ at["residual"][s]), atol=1e-8
        )
        explained = probe * (np.linalg.solve(K_points, probe) - np.linalg.solve(Sigma, probe))
        np.testing.assert_allclose(variance[s], a**2 - explained.sum(axis=0), atol=1e-8)


def test_extension_of_an_inducing_conditional_interpolates_and_is_associative():
    _, through, _, _ = conditionals(12)
    rng = np.random.default_rng(7)
    Zs, normals = rng.random((8, 3)), rng.normal(size=(3, 8))
    joint, extended = through.extend(Zs, normals)
    mean, variance = extended.predict(Zs)
    np.testing.assert_allclose(mean, joint, atol=1e-5)
    assert (variance < 1e-6).all()
    first, middle = through.extend(Zs[:3], normals[:, :3])
    second, _ = middle.extend(Zs[3:], normals[:, 3:])
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), joint, atol=1e-8)


def test_zero_amplitude_conditional_is_zero():
    *_, at, inducing = conditionals(12)
    through = Conditional.from_inducing(0, **at | {"amplitude": np.zeros(3)}, inducing=inducing)
    mean, variance = through.predict(at["Z"][:4])
    assert not mean.any()
    assert not variance.any()


def grid(rows):
    """A full grid with every point repeated, and a column that never moves."""
    axis = np.linspace(0, 1, 5)
    points = np.stack([*(a.ravel() for a in np.meshgrid(axis, axis)), np.full(25, 0.5)], axis=1)
    return points[np.arange(rows) % 25]


@pytest.mark.parametrize("points", [10, 25, 60])
def test_duplicates_and_grids_stay_stable(points):
    residual, _, noise = problem(1000)
    Z = grid(1000)
    inducing = choose_inducing(Z, points, 1)
    assert inducing.shape == (min(points, 25), 3)
    for longer in (0.1, 1.0, 1e3):
        out = log_marginal_inducing(2, residual, Z, GROUPS, 5.0, longer * LENGTHSCALE, noise * 1e-3, inducing)
        assert out[0] > LOG_DENSITY_FLOOR
    if points >= 25:
        exact = log_marginal(0, residual, Z, GROUPS, 0.8, LENGTHSCALE, noise)[0]
        bound = log_marginal_inducing(0, residual, Z, GROUPS, 0.8, LENGTHSCALE, noise, inducing)[0]
        assert bound == pytest.approx(exact, abs=0.02)


def test_chosen_points_are_repeatable_and_better_than_the_first_rows():
    residual, Z, noise = problem(900)
    chosen = choose_inducing(Z, 30, 3)
    np.testing.assert_array_equal(chosen, choose_inducing(Z, 30, 3))
    assert chosen.flags.c_contiguous

    def bound(inducing):
        return log_marginal_inducing(0, residual, Z, GROUPS, 0.8, LENGTHSCALE, noise, inducing)[0]

    assert bound(chosen) > bound(Z[:30].copy()) + 5


def test_rows_without_columns_have_one_place():
    assert choose_inducing(np.zeros((7, 0)), 3, 0).shape == (1, 0)


# -- how many points ----------------------------------------------------------------------


@pytest.mark.parametrize(("columns", "lost"), [(1, 0.001), (2, 0.15), (3, 0.1)])
def test_as_many_points_as_are_enough_lose_little(columns, lost):
    """Nats a row of a process as smooth as our prior expects, with noise of a tenth."""
    rows, rng = 400, np.random.default_rng(0)
    Z, lengthscale = rng.random((rows, columns)), np.full(columns, 0.3 * np.sqrt(columns))
    groups, noise = np.arange(columns), np.full(rows, 0.01)
    K = correlation_matrix(KINDS["matern52"], Z, Z, groups, lengthscale) + 0.01 * np.eye(rows)
    y = np.linalg.cholesky(K) @ rng.normal(size=rows)
    known = (KINDS["matern52"], y, Z, groups, 1.0, lengthscale, noise)
    points = choose_inducing(Z, enough_points(rows, columns), 0)
    assert 0.0 <= log_marginal(*known)[0] - log_marginal_inducing(*known, points)[0] < lost * rows


def test_points_set_in_as_rows_become_many_and_cost_is_bounded():
    assert [enough_points(200, columns) for columns in (1, 6)] == [0, 0]
    assert [enough_points(201, columns) for columns in (1, 2, 3, 6)] == [50, 50, 0, 0]
    assert [enough_points(rows, 3) for rows in (350, 351)] == [0, 200]
    counts = [enough_points(rows, 6) for rows in (1_000, 1_001, 4_000, 10_000, 1_000_000)]
    assert counts == [200, 199, 100, 63, 50]
