"""Conditionals: against the textbook's dense formulas, and the laws of conditioning and sampling."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from boatppl.gp import JITTER, KINDS, Conditional, correlation_matrix, whiten
from boatppl.gp import conditional as conditional_module
from boatppl.gp.conditional import rehearse
from boatppl.gp.inducing import project

DRAWS = 3


def setting(rows, columns=3, seed=0, noise=0.05, draws=DRAWS):
    """Keyword arguments of ``Conditional.from_data`` (kind left out)."""
    rng = np.random.default_rng(seed)
    return {
        "Z": rng.random((rows, columns)),
        "groups": np.minimum(np.arange(columns), 1).astype(np.int64),
        "amplitude": 0.5 + rng.random(draws),
        "lengthscale": 0.3 + rng.random((draws, 2)),
        "noise_variance": noise * (0.5 + rng.random((draws, rows))),
        "residual": rng.normal(size=(draws, rows)),
    }


def textbook(kind, at, draw, Zs):
    """Mean and covariance of g at ``Zs`` (point, column) by Rasmussen & Williams 2006, eq. 2.25-2.26."""
    a, scale = at["amplitude"][draw], at["lengthscale"][draw]

    def k(A, B):
        return a**2 * correlation_matrix(kind, A, B, at["groups"], scale)

    K = k(at["Z"], at["Z"]) + np.diag(a**2 * JITTER + at["noise_variance"][draw])
    cross = k(at["Z"], Zs)
    solved = np.linalg.solve(K, cross)
    return solved.T @ at["residual"][draw], k(Zs, Zs) - cross.T @ solved


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("rows", [0, 1, 2, 5, 6, 7, 40])
@pytest.mark.parametrize("columns", [1, 4])
def test_prediction_is_the_textbooks(kind, rows, columns):
    at = setting(rows, columns)
    Zs = np.random.default_rng(1).random((DRAWS, 130, columns))  # two full tiles and a rest
    mean, variance = Conditional.from_data(kind, **at).predict(Zs)
    for s in range(DRAWS):
        expected_mean, expected_covariance = textbook(kind, at, s, Zs[s])
        np.testing.assert_allclose(mean[s], expected_mean, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(variance[s], np.diag(expected_covariance), rtol=1e-8, atol=1e-10)


def test_prior_without_rows():
    at = setting(0)
    mean, variance = Conditional.from_data(0, **at).predict(np.random.default_rng(0).random((9, 3)))
    assert not mean.any()
    np.testing.assert_allclose(variance, np.repeat(at["amplitude"][:, None] ** 2, 9, axis=1))


def test_points_shared_by_the_draws_or_not():
    conditional = Conditional.from_data(0, **setting(12))
    Zs = np.random.default_rng(2).random((20, 3))
    for shared, apart in zip(
        conditional.predict(Zs), conditional.predict(np.repeat(Zs[None], DRAWS, axis=0)), strict=True
    ):
        np.testing.assert_array_equal(shared, apart)


def test_threads_change_nothing(monkeypatch):
    at = setting(20, draws=7)
    Zs = np.random.default_rng(3).random((30, 3))
    normals = np.random.default_rng(4).normal(size=(7, 30))
    weights = np.ones((7, 30))
    outcomes = []
    for work in (np.inf, 1.0):
        monkeypatch.setattr(conditional_module, "_WORK_PER_THREAD", work)
        monkeypatch.setattr(conditional_module, "_cpus", lambda: 3)
        conditional = Conditional.from_data(0, **at)
        values, extended = conditional.extend(Zs, normals)
        outcomes.append((*extended.predict(Zs[:5] + 0.1), values, conditional.pullback(Zs, weights, weights)))
    for alone, threaded in zip(*outcomes, strict=True):
        np.testing.assert_array_equal(alone, threaded)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("rows", [0, 1, 13])
def test_pullback_is_the_derivative(kind, rows):
    rng = np.random.default_rng(5)
    conditional = Conditional.from_data(kind, **setting(rows))
    Zs, d_mean, d_variance = (
        rng.random((DRAWS, 4, 3)),
        rng.normal(size=(DRAWS, 4)),
        rng.normal(size=(DRAWS, 4)),
    )
    step, expected = 1e-5, np.zeros(Zs.shape)
    for index in np.ndindex(Zs.shape):
        for sign in (1, -1):
            moved = Zs.copy()
            moved[index] += sign * step
            mean, variance = conditional.predict(moved)
            expected[index] += sign * np.sum(d_mean * mean + d_variance * variance) / (2 * step)
    np.testing.assert_allclose(conditional.pullback(Zs, d_mean, d_variance), expected, rtol=1e-6, atol=1e-7)


def test_pullback_of_shared_points_is_each_draws():
    conditional = Conditional.from_data(0, **setting(9))
    Zs, weights = np.random.default_rng(6).random((70, 3)), np.ones((DRAWS, 70))
    shared = conditional.pullback(Zs, weights, weights)
    np.testing.assert_array_equal(
        shared, conditional.pullback(np.repeat(Zs[None], DRAWS, axis=0), weights, weights)
    )


def test_sequential_extension_is_the_joint_one():
    rng = np.random.default_rng(7)
    start = Conditional.from_data(0, **setting(10))
    Zs, normals, probe = rng.random((DRAWS, 9, 3)), rng.normal(size=(DRAWS, 9)), rng.random((15, 3))
    joint, after_joint = start.extend(Zs, normals)
    first, middle = start.extend(Zs[:, :4], normals[:, :4])
    second, after_both = middle.extend(Zs[:, 4:], normals[:, 4:])
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), joint, atol=1e-10)
    for a, b in zip(after_joint.predict(probe), after_both.predict(probe), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8)


@pytest.mark.parametrize("rows", [0, 15])
def test_extension_interpolates_and_is_what_conditioning_on_its_values_gives(rows):
    rng = np.random.default_rng(8)
    at = setting(rows, draws=1)
    Zs, probe = rng.random((1, 12, 3)), rng.random((25, 3))
    values, extended = Conditional.from_data(0, **at).extend(Zs, rng.normal(size=(1, 12)))
    mean, variance = extended.predict(Zs)
    np.testing.assert_allclose(mean, values, atol=1e-6)
    assert (variance < 1e-7).all()
    told = at | {
        "Z": np.concatenate([at["Z"], Zs[0]]),
        "residual": np.concatenate([at["residual"], values], axis=1),
        "noise_variance": np.concatenate([at["noise_variance"], np.full((1, 12), 1e-12)], axis=1),
    }
    for a, b in zip(extended.predict(probe), Conditional.from_data(0, **told).predict(probe), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)  # the nuggets differ: JITTER against EXTENSION_JITTER


def test_an_extended_conditional_shares_the_root_and_has_the_right_slopes():
    rng = np.random.default_rng(12)
    start = Conditional.from_data(0, **setting(7))
    _, middle = start.extend(rng.random((5, 3)), rng.normal(size=(DRAWS, 5)))
    _, last = middle.extend(rng.random((4, 3)), rng.normal(size=(DRAWS, 4)))
    assert last.root is start.root
    assert (last.rows, last.observed) == (16, 7)
    Zs, d_mean, d_variance = rng.random((DRAWS, 6, 3)), *rng.normal(size=(2, DRAWS, 6))
    direction, step = rng.normal(size=Zs.shape), 1e-6
    totals = []
    for sign in (1, -1):
        mean, variance = last.predict(Zs + sign * step * direction)
        totals.append(np.sum(d_mean * mean + d_variance * variance))
    slope = np.sum(last.pullback(Zs, d_mean, d_variance) * direction)
    np.testing.assert_allclose(slope, (totals[0] - totals[1]) / (2 * step), rtol=1e-5)
    some = np.array([2, 0])
    for whole, part in zip(last.predict(Zs), last.take(some).predict(Zs[some]), strict=True):
        np.testing.assert_array_equal(whole[some], part)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads resident memory from /proc")
def test_large_roots_go_back_to_the_system():
    """200 rows under 100 draws are 16 MB, and a suggestion makes several of them."""

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    rng = np.random.default_rng(13)
    at = setting(200, draws=100)
    Conditional.from_data(0, **at)
    before = resident()
    known = [Conditional.from_data(0, **at) for _ in range(4)]
    beside = [one.extend(rng.random((12, 3)), rng.normal(size=(100, 12)))[1] for one in known]
    held = resident() - before
    assert 64 < held < 90  # the extended ones have 2 MB of their own each
    last = np.zeros(1000)  # after them in the heap
    del known, beside
    assert resident() - before < 16
    assert not last.any()


def test_after_a_rehearsal_nothing_is_compiled():
    """Arrays of other shapes and layouts are served by the same compiled code."""
    compiled = [whiten.condition, whiten.predict, whiten.extend, whiten.pull_back, project]
    rehearse(slopes=True, many_rows=True)
    assert [len(function.signatures) for function in compiled] == [1] * 5
    rng, at = np.random.default_rng(14), setting(9)
    Zs = np.asfortranarray(rng.random((DRAWS, 4, 3)))[:, ::2]
    one = Conditional.from_data(1, **{**at, "Z": np.asfortranarray(at["Z"])})
    many = Conditional.from_inducing(1, **at, inducing=at["Z"][::2])
    for known in (one, many):
        _, extended = known.extend(Zs, rng.normal(size=(2, DRAWS)).T)
        extended.predict(Zs[0])
        extended.take(np.array([1])).pullback(Zs[1:2], *np.ones((2, 1, 2)))
    assert [len(function.signatures) for function in compiled] == [1] * 5


def test_sample_is_extend_without_the_rest():
    rng = np.random.default_rng(9)
    conditional = Conditional.from_data(0, **setting(10))
    Zs, normals = rng.random((8, 3)), rng.normal(size=(DRAWS, 8))
    np.testing.assert_array_equal(conditional.sample(Zs, normals), conditional.extend(Zs, normals)[0])


def test_extending_at_known_points_again_and_again_is_stable():
    rng = np.random.default_rng(10)
    known = Conditional.from_data(2, **setting(10, noise=0.0))
    Zs = np.repeat(rng.random((5, 3)), 2, axis=0)  # each point twice
    values, extended = known.extend(Zs, rng.normal(size=(DRAWS, 10)))
    for _ in range(4):
        again, extended = extended.extend(Zs, rng.normal(size=(DRAWS, 10)))
        np.testing.assert_allclose(again, values, atol=1e-2)
        assert np.isfinite(extended.tail).all()
    mean, variance = extended.predict(Zs)
    np.testing.assert_allclose(mean, values, atol=1e-2)
    assert ((variance >= 0) & (variance < 1e-6)).all()


def test_samples_have_the_posteriors_moments():
    draws = 20_000
    one = setting(6, draws=1)
    many = {
        name: array if name in ("Z", "groups") else np.repeat(array, draws, axis=0)
        for name, array in one.items()
    }
    rng = np.random.default_rng(11)
    Zs = rng.random((4, 3))
    first, middle = Conditional.from_data(0, **many).extend(Zs[:2], rng.normal(size=(draws, 2)))
    second, _ = middle.extend(Zs[2:], rng.normal(size=(draws, 2)))
    samples = np.concatenate([first, second], axis=1)
    mean, covariance = textbook(0, one, 0, Zs)
    deviation = np.sqrt(np.diag(covariance))
    np.testing.assert_array_less(np.abs(samples.mean(0) - mean) / deviation, norm.isf(1e-5) / np.sqrt(draws))
    spread = np.sqrt((covariance**2 + np.outer(deviation**2, deviation**2)) / draws)
    np.testing.assert_array_less(np.abs(np.cov(samples.T) - covariance) / spread, norm.isf(1e-5))


def test_zero_amplitude_is_a_process_that_is_zero():
    at = setting(5) | {"amplitude": np.zeros(DRAWS)}
    values, extended = Conditional.from_data(0, **at).extend(np.full((2, 3), 0.4), np.ones((DRAWS, 2)))
    mean, variance = extended.predict(np.full((1, 3), 0.4))
    assert np.abs(values).max() < 1e-100
    assert not mean.any()
    assert not variance.any()


def test_read_only_inputs_are_taken():
    at = setting(5)
    for array in at.values():
        array.flags.writeable = False
    Zs = np.zeros((2, 3))
    Zs.flags.writeable = False
    assert Conditional.from_data(0, **at).predict(Zs)[0].shape == (DRAWS, 2)


def test_no_points_and_no_columns():
    conditional = Conditional.from_data(0, **setting(4))
    nowhere, nothing = np.zeros((0, 3)), np.zeros((DRAWS, 0))
    assert conditional.predict(nowhere)[0].shape == (DRAWS, 0)
    assert conditional.pullback(nowhere, nothing, nothing).shape == (DRAWS, 0, 3)
    assert conditional.extend(nowhere, nothing)[1].rows == 4
    at = setting(4, columns=0)  # one unknown constant
    mean, _ = Conditional.from_data(0, **at).predict(np.zeros((1, 0)))
    prior = at["amplitude"][:, None] ** 2
    precision = 1 / (at["noise_variance"] + prior * JITTER)
    expected = np.sum(at["residual"] * precision, axis=1) / (np.sum(precision, axis=1) + 1 / prior[:, 0])
    np.testing.assert_allclose(mean[:, 0], expected, rtol=1e-9)


def test_a_process_without_rows_needs_no_compiled_code_and_says_the_same(monkeypatch):
    """The first run on a machine would wait for it; ``extend`` and a far row take the compiled way."""
    rng, groups = np.random.default_rng(0), np.zeros(1, np.int64)
    amplitude, lengthscale = rng.uniform(0.5, 2.0, 5), np.full((5, 1), 0.3)
    point, normals = np.array([[0.4]]), rng.normal(size=(5, 1))

    def given(n):
        Z = np.full((n, 1), 1e3)
        return Conditional.from_data(2, Z, groups, amplitude, lengthscale, np.ones((5, n)), np.zeros((5, n)))

    expected = given(0).extend(point, normals)[0]
    moments = given(1).predict(point)
    for name in ("condition", "predict", "extend"):
        monkeypatch.setattr(whiten, name, None)
    np.testing.assert_allclose(given(0).sample(point, normals), expected, rtol=1e-12)
    np.testing.assert_allclose(given(0).predict(point), moments, rtol=1e-12)
