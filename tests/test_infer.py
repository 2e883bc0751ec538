"""NUTS on a block: right draws, an honest verdict, the same for the same seed, never the end of a study."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import stats
from threadpoolctl import threadpool_info, threadpool_limits

import boatppl as boat
from boatppl import infer
from boatppl.compile.density import density_of
from boatppl.dag import DAGModel
from boatppl.infer import LONG, SHORT, Chains, SamplerFailed, Verdict, climb, judge, laplace, sample
from boatppl.table import measured, tables

QUICK = Chains(draws=200, tune=200, chains=2, target_accept=0.8)


@boat.node(residual=None, noise=pm.HalfNormal.dist(1.0))
def line(x):
    return pm.Normal("slope", 0, 2) * x


def problem(n=8, node=line):
    """A compiled block and its tables."""
    model = DAGModel(boat.Space(x=boat.Float(-1, 1)), [node])
    rng = np.random.default_rng(0)
    return density_of(model.blocks[0]), table_of(model, lambda x: 1.5 * x + 0.3 * rng.normal(), n)


def table_of(model, run, n):
    """Tables of ``n`` runs of a model with the one parameter x and one node."""
    [name] = model.nodes
    trials = [
        SimpleNamespace(number=i, configuration=c, context={}, measurements={name: run(c["x"])})
        for i, c in enumerate(model.space.design(n, 0))
    ]
    return tables(model, measured(model, trials))


DENSITY, TABLES = problem()


def test_draws_have_the_posterior_that_integration_finds():
    posterior = sample(DENSITY, TABLES, 1, Chains(1000, 500, 4, target_accept=0.9))
    x, y = next(iter(TABLES["line"].wires.values())), TABLES["line"].y
    slope, noise = np.meshgrid(np.linspace(-3, 6, 401), np.linspace(0.01, 3, 400), indexing="ij")
    logp = stats.norm.logpdf(slope, 0, 2) + stats.halfnorm.logpdf(noise, scale=1)
    logp += stats.norm.logpdf(y, slope[..., None] * x, noise[..., None]).sum(-1)
    weight = np.exp(logp - logp.max())
    weight /= weight.sum()
    for name, grid in {"slope": slope, "noise": noise}.items():
        mean = (weight * grid).sum()
        deviation = np.sqrt((weight * (grid - mean) ** 2).sum())
        draws = posterior.variables[name]
        error = deviation / np.sqrt(posterior.verdict.ess)
        assert abs(draws.mean() - mean) < 4 * error
        assert draws.std() == pytest.approx(deviation, rel=0.15)
    assert posterior.verdict.good
    assert posterior.draws == len(posterior.position) == 4000


@pytest.mark.parametrize("length", [SHORT, QUICK], ids=["short", "dispersed"])
def test_the_same_seed_gives_the_same_draws_whatever_the_cores(length):
    one = sample(DENSITY, TABLES, 7, length, cores=1)
    two = sample(DENSITY, TABLES, 7, length, cores=2)
    np.testing.assert_array_equal(one.position, two.position)
    assert not np.array_equal(one.position, sample(DENSITY, TABLES, 8, length).position)


def test_the_same_draws_in_a_fresh_process():
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from importlib.util import module_from_spec, spec_from_file_location\n"
        f"spec = spec_from_file_location('again', {__file__!r})\n"
        "module = module_from_spec(spec); spec.loader.exec_module(module)\n"
        "print(module.sample(module.DENSITY, module.TABLES, 7, cores=1).position.tobytes().hex())"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == sample(DENSITY, TABLES, 7).position.tobytes().hex()


SUGGESTS = """
import boatppl as boat, pymc as pm

@boat.node(unit="s")
def loss(x):
    return pm.Normal("level", 0, 1) + x

study = boat.Study(boat.DAGModel(boat.Space(x=boat.Float(0, 1)), [loss]), minimize="loss", random_seed=1)
for _ in range(5):
    trial = study.ask()
    study.tell(trial, trial.configuration["x"])
    print(trial.configuration["x"].hex())
"""


@pytest.mark.nightly
def test_compiled_and_read_from_the_cache_are_the_same_to_the_last_bit(tmp_path):
    places = {
        "PYTENSOR_FLAGS": f"base_compiledir={tmp_path / 'pytensor'}",
        "NUMBA_CACHE_DIR": str(tmp_path / "numba"),
    }
    said = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SUGGESTS],
            env=os.environ | places, capture_output=True, text=True, check=True,
        ).stdout
        for _ in range(2)
    ]  # fmt: skip
    assert said[0].count("\n") == 5
    assert said[0] == said[1]


def test_every_robust_row_has_a_scale():
    @boat.node(robust=True, residual=None)
    def outliers(x):
        return pm.Normal("slope", 0, 2) * x

    density, nine = problem(9, outliers)
    posterior = sample(density, nine, 1)
    assert posterior.position.shape == (100, 2 + 9)
    assert posterior.scales["outliers"].shape == (100, 9)
    assert (posterior.scales["outliers"] > 0).all()


def test_a_block_without_unknowns_is_certain():
    def certain(x):
        return 0.1 + 0 * x

    @boat.node(residual=None, noise=certain)
    def known(x):
        return 2 * x

    density, found = problem(4, known)
    posterior = sample(density, found, 0)
    assert posterior.position.shape == (100, 0)
    assert posterior.verdict.good
    assert posterior.variables == {}


def test_an_empty_table_gives_the_prior():
    density, nothing = problem(0)
    posterior = sample(density, nothing, 0, Chains(500, 500, 4, target_accept=0.9))
    assert posterior.variables["slope"].std() == pytest.approx(2.0, rel=0.15)
    assert posterior.variables["noise"].mean() == pytest.approx(np.sqrt(2 / np.pi), rel=0.15)


# -- the verdict --------------------------------------------------------------------------


def test_chains_that_agree_are_good():
    chains = np.random.default_rng(0).normal(size=(4, 500, 3))
    verdict = judge(chains, 0)
    assert verdict.good
    assert verdict.r_hat < 1.01
    assert 1500 < verdict.ess < 2600


@pytest.mark.parametrize(
    "spoil",
    [
        lambda chains: chains + np.arange(4)[:, None, None],  # chains in different places
        lambda chains: chains * np.array([1, 1, 1, 9.0])[:, None, None],  # one much wider
        lambda chains: np.cumsum(chains, axis=1),  # a random walk
        lambda chains: np.zeros_like(chains),  # stuck
    ],
)
def test_chains_that_do_not_agree_are_not_good(spoil):
    verdict = judge(spoil(np.random.default_rng(0).normal(size=(4, 500, 2))), 0)
    assert not verdict.good
    assert "do not agree" in str(verdict)


def test_divergences_spoil_a_verdict():
    assert Verdict(1.0, 1000, 5, 2000).good
    assert not Verdict(1.0, 1000, 200, 2000).good
    assert not Verdict(1.0, 1000, 0, 2000, fallback="drawn otherwise").good


def test_two_modes_far_apart_are_found_out(caplog):
    """Chains begin at every mode, or are not believed: a posterior with two modes cannot look like one."""

    @boat.node(residual=None, noise=pm.HalfNormal.dist(0.05))
    def folded(x):
        return abs(pm.Normal("root", 0, 1)) + 0 * x

    density, found = problem(8, folded)
    y = found["folded"].y
    y[:] = 1.0 + 0.01 * np.random.default_rng(0).normal(size=8)
    for seed in range(6):  # with two chains, every second time both begin at the same mode
        verdict = sample(density, found, seed, replace(QUICK, chains=2)).verdict
        assert verdict.retried
        assert not verdict.good
        assert f"folded: {verdict}" in caplog.text  # said aloud


def test_chains_begin_at_the_modes_that_have_mass():
    centres, scale = np.array([[-3.0, 0.0], [3.0, 0.0], [0.0, 5.0]]), np.array([0.2, 0.1])
    shares = np.log([0.5, 0.5, 1e-4])

    def logp(position):
        away = (position - centres) / scale
        terms = shares - 0.5 * (away**2).sum(axis=1)
        weights = np.exp(terms - terms.max())
        slope = -(weights[:, None] * away / scale).sum(axis=0) / weights.sum()
        return float(terms.max() + np.log(weights.sum())), slope

    origin = np.array([0.0, 2.0])
    near = laplace(logp, climb(logp, origin), 2)
    start = infer.among_modes(logp, origin, near, seed=0)
    found = start.modes[np.argsort(start.modes[:, 0])]
    np.testing.assert_allclose(found, centres[:2], atol=1e-3)
    np.testing.assert_allclose(np.sqrt(np.diag(start.scale @ start.scale.T)), scale, rtol=1e-2)
    assert {start.mode(seed) for seed in range(20)} == {0, 1}
    first = np.array([start.position(start.normals(seed)) for seed in range(200)])
    assert np.abs(np.abs(first[:, 0]) - 3.0).max() < 5 * scale[0]


def test_a_position_has_its_coordinates():
    rng = np.random.default_rng(2)
    start = infer.Start(rng.normal(size=4), rng.normal(size=(2, 2)))  # two robust rows
    u = rng.normal(size=4)
    np.testing.assert_allclose(start.of(start.position(u)), u)


# -- failures -----------------------------------------------------------------------------


class Broken:
    """A density with another function inside: what the real part does when it goes wrong."""

    def __init__(self, logp):
        self.logp = logp

    def bind(self, tables):
        return self.logp

    def __getattr__(self, name):
        return getattr(DENSITY, name)


def good(position):
    return -0.5 * float(position @ position), -position


def test_no_call_of_the_density_has_threads_of_blas():
    """Beside other work they made a suggestion take five times as long."""
    found = set()

    def blas():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    def logp(position):
        found.update(blas())
        return good(position)

    with threadpool_limits(2):
        sample(Broken(logp), TABLES, 0, Chains(draws=5, tune=5, chains=1))
        assert blas() == {2}
    assert found == {1}


def test_a_region_without_density_is_survived():
    def logp(position):
        return (infer.FLOOR, 0 * position) if position[0] > 1 else good(position)

    posterior = sample(Broken(logp), TABLES, 0, QUICK)
    assert posterior.verdict.fallback is None
    assert posterior.position[:, 0].max() <= 1.0
    assert posterior.verdict.divergences > 0


def test_not_a_number_is_survived():
    def logp(position):
        return (np.nan, np.nan * position) if position[0] > 1 else good(position)

    assert sample(Broken(logp), TABLES, 0, QUICK).position[:, 0].max() <= 1.0


@pytest.mark.parametrize(
    "logp",
    [
        lambda position: (np.nan, position),
        lambda position: (infer.FLOOR, 0 * position),
        lambda position: (0.0, np.zeros(5)),  # a gradient of the wrong length: a panic in Rust, no Exception
    ],
    ids=["nan", "floor", "panic"],
)
def test_a_sampler_that_fails_gives_way_to_the_mode_and_says_so(logp, capfd):
    def broken(position):
        return logp(position) if np.any(position != 0) else good(position)

    posterior = sample(Broken(broken), TABLES, 0, SHORT)
    assert posterior.verdict.fallback.startswith("the sampler failed (")
    assert "normal draws around the mode" in str(posterior.verdict)
    assert not posterior.verdict.good
    assert posterior.position.shape == (100, 2)
    assert np.isfinite(posterior.position).all()
    assert sample(DENSITY, TABLES, 0).verdict.good  # the process is well


def test_a_callback_that_raises_late_is_survived(capfd):
    calls = [0]

    def logp(position):
        calls[0] += 1
        if 400 < calls[0] < 600:
            raise ValueError("late")
        return good(position)

    posterior = sample(Broken(logp), TABLES, 0, Chains(100, 100, 2))
    assert np.isfinite(posterior.position).all()
    assert posterior.verdict.retried or posterior.verdict.fallback


def test_the_fallback_has_the_normal_posterior():
    def logp(position):
        return -0.5 * float(((position - 3) ** 2 * [4.0, 25.0]).sum()), -(position - 3) * [4.0, 25.0]

    mode = climb(logp, np.zeros(2))
    np.testing.assert_allclose(mode, 3.0, atol=1e-4)
    near = laplace(logp, mode, 2)
    posterior = infer._around_mode(DENSITY, TABLES, logp, near, 0, Chains(5000, 0, 1), "a test")
    np.testing.assert_allclose(posterior.position.std(axis=0), [0.5, 0.2], rtol=0.05)


def gaussian(covariance):
    """The log density of a normal around 1 with its gradient, and a count of its calls."""
    precision, calls = np.linalg.inv(covariance), [0]

    def logp(position):
        calls[0] += 1
        slope = -precision @ (position - 1.0)
        return 0.5 * float(slope @ (position - 1.0)), slope

    return logp, calls


def test_the_normal_at_a_mode_is_exact_for_a_normal():
    root = np.array([[3.0, 0.0, 0.0], [0.5, 0.01, 0.0], [0.2, 0.003, 0.1]])
    covariance = root @ root.T
    covariance *= 4.0 / np.linalg.eigvalsh(covariance).max()  # as wide as is believed
    near = laplace(gaussian(covariance)[0], np.ones(3), 3)
    np.testing.assert_allclose(near.scale @ near.scale.T, covariance, rtol=1e-6, atol=1e-9)
    u = np.random.default_rng(0).normal(size=(4, 5))
    two = replace(near, centre=np.arange(5.0))  # two robust rows behind the unknowns
    expected = np.concatenate([u[:, :3] @ near.scale.T, infer.LATENT * u[:, 3:]], axis=1)
    np.testing.assert_allclose(two.position(u), np.arange(5.0) + expected)
    np.testing.assert_allclose(two.position(u)[1], two.position(u[1]))


def test_where_the_curvature_says_nothing_the_normal_is_as_wide_as_a_prior():
    near = laplace(lambda position: (0.0, np.array([0.0, np.nan, 3.0 * position[2]])), np.zeros(3), 3)
    np.testing.assert_allclose(near.scale @ near.scale.T, 4.0 * np.eye(3))


def test_the_density_in_the_modes_coordinates_has_the_right_gradient():
    rng = np.random.default_rng(1)
    logp, _ = gaussian(np.diag([1.0, 4.0, 0.3, 2.0]))
    start = infer.Start(rng.normal(size=4), rng.normal(size=(2, 2)))  # two robust rows
    u, step = rng.normal(size=4), 1e-6
    value, slope = start.density(logp)(u)
    assert value == logp(start.position(u))[0]
    each = [start.density(logp)(u + step * e)[0] - start.density(logp)(u - step * e)[0] for e in np.eye(4)]
    np.testing.assert_allclose(slope, np.array(each) / (2 * step), rtol=1e-6)


def test_short_chains_know_correlations_and_scales_from_the_first_step():
    """Unknowns of very different sizes, two of them nearly one: a warm-up this short could not learn it."""
    covariance = np.array([[1.0, 0.9999e-3, 0.0], [0.9999e-3, 1e-6, 0.0], [0.0, 0.0, 1e-4]])
    logp, calls = gaussian(covariance)

    class Correlated(Broken):
        layout = replace(DENSITY.layout, size=3)
        constrain = staticmethod(lambda position: {})
        start = staticmethod(lambda tables: np.zeros(3))

    posterior = sample(Correlated(logp), TABLES, 0, SHORT)
    assert posterior.verdict.good
    assert not posterior.verdict.retried
    assert posterior.verdict.ess > 40
    assert calls[0] < 1200
    normed = (posterior.position - 1.0) / np.sqrt(np.diag(covariance))
    assert np.abs(normed.mean(axis=0)).max() < 0.5
    assert (np.abs(normed.std(axis=0) - 1.0) < 0.35).all()


def test_a_deadline_ends_the_sampler():
    def slow(position):
        time.sleep(0.005)
        return good(position)

    begun = time.monotonic()
    posterior = sample(Broken(slow), TABLES, 0, replace(QUICK, max_treedepth=4), deadline=0.5)
    assert time.monotonic() - begun < 5.0
    assert "not ready in time" in posterior.verdict.fallback


def test_what_was_not_ready_in_time_is_repeated_without_a_clock(monkeypatch):
    late = sample(DENSITY, TABLES, 3, SHORT, deadline=0.0)
    assert (late.verdict.in_time, late.verdict.retried) == (0, False)
    again = sample(DENSITY, TABLES, 3, SHORT, attempts=0)
    np.testing.assert_array_equal(again.position, late.position)
    spoiled = replace(SHORT, draws=4, tune=1)  # too short to agree
    real, clock = infer._nuts, [0.0]

    def slow(*args, **kwargs):
        clock[0] += 10.0
        return real(*args, **{**kwargs, "end": time.monotonic() + 60})

    whole = sample(DENSITY, TABLES, 3, spoiled)
    assert whole.verdict.retried
    assert whole.verdict.in_time is None
    monkeypatch.setattr(infer, "_nuts", slow)
    monkeypatch.setattr(infer.time, "monotonic", lambda: clock[0])
    first = sample(DENSITY, TABLES, 3, spoiled, deadline=5.0)
    monkeypatch.undo()
    assert (first.verdict.in_time, first.verdict.retried) == (1, False)
    assert "no time to sample twice" in str(first.verdict)
    np.testing.assert_array_equal(sample(DENSITY, TABLES, 3, spoiled, attempts=1).position, first.position)


def test_a_sampler_that_hangs_is_left_behind(monkeypatch):
    monkeypatch.setattr(infer, "PATIENCE", 0.2)
    over, hung = threading.Event(), threading.Event()

    def hangs(position):
        if threading.current_thread() is not threading.main_thread():
            hung.set()
            over.wait(60)
        return good(position)

    begun = time.monotonic()
    posterior = sample(Broken(hangs), TABLES, 0, QUICK, deadline=0.5)
    assert time.monotonic() - begun < 20.0
    over.set()
    assert hung.is_set()
    assert "not ready in time" in posterior.verdict.fallback
    assert posterior.position.std() == pytest.approx(1.0, rel=0.3)


def test_a_bad_first_attempt_is_sampled_again_and_the_better_one_kept(monkeypatch):
    """The first attempt is spoiled from outside; the second one is real."""
    attempts = []
    real = infer._nuts

    def spoiled(*args, length, **kwargs):
        attempts.append(length)
        posterior = real(*args, length=length, **kwargs)
        if len(attempts) == 1:
            return replace(posterior, verdict=Verdict(9.0, 1.0, 0, 400))
        return posterior

    monkeypatch.setattr(infer, "_nuts", spoiled)
    posterior = sample(DENSITY, TABLES, 0, QUICK)
    assert [length.tune for length in attempts] == [200, 600]
    assert attempts[1].target_accept > attempts[0].target_accept
    assert posterior.verdict.good
    assert posterior.verdict.retried
    assert "sampled twice" in str(posterior.verdict)
    assert posterior.chains == QUICK


def test_an_interrupt_is_passed_on(monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(infer.nutpie, "sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sample(DENSITY, TABLES, 0)


def test_the_reason_of_a_failure_is_one_line():
    def logp(position):
        return (np.nan, position)

    with pytest.raises(SamplerFailed, match=r"\A[^\n]+\Z"):
        infer._nuts(
            DENSITY, TABLES, logp, seed=0, length=SHORT, begin=infer.Start(np.zeros(2), np.eye(2)),
            cores=2, end=time.monotonic() + 60,
        )  # fmt: skip


@boat.node(transform="log", robust=True, residual=boat.GP(["x"]))
def heavy(x):
    return pm.LogNormal("base", 0, 1) + pt.exp(x)


def test_short_chains_of_many_robust_rows_agree_at_once():
    """One latent scale a row: a mass matrix of correlations that so few draws imagine makes them diverge."""
    model = DAGModel(boat.Space(x=boat.Float(-1, 1)), [heavy])
    rng = np.random.default_rng(0)
    found = table_of(model, lambda x: (1 + np.exp(x) + 0.3 * np.sin(9 * x)) * np.exp(0.1 * rng.normal()), 100)
    density = density_of(model.blocks[0])
    for seed in range(6):
        verdict = sample(density, found, seed).verdict
        assert verdict.good, verdict
        assert not verdict.retried
        assert verdict.divergences == 0


# -- long chains --------------------------------------------------------------------------


@boat.node(transform="log", residual=boat.GP(["x"]))
def curved(x):
    return pm.LogNormal("base", 0, 1) + pt.exp(x)


CURVED = DAGModel(boat.Space(x=boat.Float(-1, 1)), [curved])
CURVED_DENSITY = density_of(CURVED.blocks[0])


@pytest.mark.parametrize("n", [2, 12])
@pytest.mark.parametrize("noise", [0.0, 0.1], ids=["exact", "noisy"])
def test_long_chains_get_a_good_verdict(n, noise):
    """Also from measurements that the parametric part fits exactly: there noise has no bound but ours."""
    rng = np.random.default_rng(n)
    found = table_of(CURVED, lambda x: (1 + np.exp(x)) * np.exp(noise * rng.normal()), n)
    posterior = sample(CURVED_DENSITY, found, 2, LONG)
    assert posterior.verdict.good, posterior.verdict
    assert posterior.verdict.ess > 100
    assert posterior.stats["n_steps"].mean() < 100
