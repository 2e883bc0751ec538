"""Posteriors as ArviZ takes them: every group, leave-one-out against brute force, plots, files."""

import time
from types import SimpleNamespace

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from scipy import integrate, stats

import boatppl as boat
from boatppl import propagate
from boatppl.datatree import tree
from boatppl.fit import Inference
from boatppl.infer import Chains
from boatppl.leave_one_out import chain_rule, log_likelihood, mixture
from boatppl.table import measured

LENGTH = Chains(draws=100, tune=100, chains=2, target_accept=0.9)
CORES = np.array([2.0, 4.0, 8.0])


@boat.node(unit="1/s", transform="log")
def rate(x, z):
    malloc = pm.LogNormal("malloc", 0, 1)
    pm.Deterministic("half", malloc / 2)
    return malloc * (0.5 + x)


@boat.derived(transform="log")
def work(rate, z):
    return rate * (1 + z)


@boat.node(unit="ms", robust=True, residual=boat.GP(["x", "work"], kernel="matern32"))
def pause(rate):
    return pm.Normal("base", 0, 1) + rate


@boat.node(residual=None, robust=True)
def linear(x):
    return pm.Normal("slope", 0, 1) * x


@boat.shared(dims="machine")
def speed():
    return pm.LogNormal("speed", 0, 0.5, dims="machine")


@boat.node(over="machine", transform="log", residual=boat.GP(["x", "cores"], kernel="expquad"))
def took(x, cores, speed):
    return (1 + x) / (speed * cores)


@boat.node(over="machine", robust=True, residual=boat.GP(["x", "cores"]))
def waited(x, cores, speed):
    return pm.Normal("base", 0, 1) + x * speed


MODEL = boat.DAGModel(
    boat.Space(x=boat.Float(0, 1), z=boat.Float(0, 1)),
    [rate, work, pause, linear, speed, took, waited],
    coords={"machine": ["a", "b", "c"]},
    data={"cores": ("machine", CORES)},
)


def trials(n, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for number, configuration in enumerate(MODEL.space.design(n, seed)):
        x = configuration["x"]
        rate_ = (0.5 + x) * np.exp(0.1 * rng.normal())
        values = {
            "rate": rate_,
            "pause": rate_ + 0.2 * rng.normal() + (5.0 if number == 3 else 0.0),
            "linear": x + 0.1 * rng.normal(),
            "took": (1 + x) / CORES * np.exp(0.1 * rng.normal(size=3)),
            "waited": x + 0.1 * rng.standard_t(4, size=3),
        }
        if number == 5:
            values["took"] = values["took"] * [1, np.nan, 1]
        made.append(
            SimpleNamespace(number=number + 10, configuration=configuration, context={}, measurements=values)
        )
    return made


N = 8


@pytest.fixture(scope="module")
def posterior():
    return Inference(MODEL, 0).posterior(measured(MODEL, trials(N)), LENGTH)


@pytest.fixture(scope="module")
def found(posterior):
    return tree(posterior, 0)


def block_of(posterior, name):
    return next(b for b in posterior.blocks if name in [node.name for node in b.density.block.nodes])


# -- groups -------------------------------------------------------------------------------


def test_every_node_has_every_group(found):
    groups = {
        "posterior", "sample_stats", "observed_data", "constant_data", "log_likelihood",
        "log_prior", "posterior_predictive", "prior", "prior_predictive",
    }  # fmt: skip
    assert set(found.children) == set(MODEL.nodes)
    for name in MODEL.nodes:
        assert set(found[name].children) == groups
        for group in groups:
            for dataset in (found[name], found[name][group]):
                assert dataset.attrs["chains"] == "2 x 100 draws after 100"
                assert "R-hat" in dataset.attrs["verdict"]
            assert all(np.isfinite(v).all() for v in found[name][group].data_vars.values())


def test_log_prior_is_that_of_each_unknown_in_its_own_unit(found):
    rate_, took_ = found["rate"], found["took"]
    assert set(rate_["log_prior"]) == {"malloc", "amplitude", "lengthscale", "noise"}
    expected = stats.lognorm.logpdf(rate_["posterior"]["malloc"], 1.0)  # no Jacobian
    np.testing.assert_allclose(rate_["log_prior"]["malloc"], expected)
    assert took_["log_prior"]["speed"].dims == ("chain", "draw", "machine")
    np.testing.assert_allclose(
        took_["log_prior"]["speed"], stats.lognorm.logpdf(took_["posterior"]["speed"], 0.5)
    )


@pytest.mark.parametrize(("centre", "conflict"), [(0.0, False), (4.0, True)])
def test_psense_finds_the_prior_that_the_measurements_contradict(centre, conflict):
    @boat.node(residual=None, noise=pm.HalfNormal.dist(0.3))
    def level(x):
        return pm.Normal("height", centre, 0.5 if conflict else 5.0) + x

    model = boat.DAGModel(boat.Space(x=boat.Float(0, 1)), [level])
    rng = np.random.default_rng(0)
    runs = [
        SimpleNamespace(
            number=i, configuration=c, context={}, measurements={"level": c["x"] + 0.3 * rng.normal()}
        )
        for i, c in enumerate(model.space.design(5, 0))
    ]
    length = Chains(draws=500, tune=300, chains=2, target_accept=0.9)
    found = tree(Inference(model, 0).posterior(measured(model, runs), length), 0)["level"]
    sensitivity = float(az.psense(found, var_names=["height"], group="prior")["height"])
    assert (sensitivity > 0.05) == conflict
    assert np.isfinite(float(az.psense(found, var_names=["height"], group="likelihood")["height"]))


def test_posterior_holds_the_unknowns_with_their_dims(found, posterior):
    rate_ = found["rate"]["posterior"]
    assert set(rate_) == {"malloc", "half", "amplitude", "lengthscale", "noise"}
    assert rate_["malloc"].dims == ("chain", "draw")
    assert list(rate_["rate_input"].values) == ["x", "z"]
    np.testing.assert_array_equal(rate_["half"], rate_["malloc"] / 2)
    assert set(found["took"]["posterior"]) == {
        "speed", "took::amplitude", "took::lengthscale", "took::noise",
    }  # fmt: skip
    assert found["took"]["posterior"]["speed"].dims == ("chain", "draw", "machine")
    assert list(found["took"]["posterior"]["machine"].values) == ["a", "b", "c"]
    xr.testing.assert_equal(found["took"]["posterior"]["speed"], found["waited"]["posterior"]["speed"])
    draws = posterior.blocks[0].variables["malloc"]
    np.testing.assert_array_equal(rate_["malloc"].values.ravel(), draws)  # chains one after the other


def test_observed_data_is_what_was_measured(found):
    observed = found["rate"]["observed_data"]["rate"]
    assert observed.attrs["units"] == "1/s"
    assert list(observed["trial"].values) == list(range(10, 10 + N))
    np.testing.assert_allclose(observed, [trial.measurements["rate"] for trial in trials(N)])
    vector = found["took"]["observed_data"]["took"]
    assert vector.dims == ("row",)
    assert vector.sizes["row"] == 3 * N - 1
    assert vector["trial"].values[[0, -1]].tolist() == [10, 17]
    assert vector["machine"].values[:4].tolist() == ["a", "b", "c", "a"]


def test_constant_data_is_what_arrived(found):
    constant = found["pause"]["constant_data"]
    np.testing.assert_allclose(constant["rate"], found["rate"]["observed_data"]["rate"])
    assert list(constant["residual_column"].values) == ["x", "work"]
    np.testing.assert_allclose(
        constant["residual_input"].sel(residual_column="x"), [t.configuration["x"] for t in trials(N)]
    )
    assert found["took"]["constant_data"]["cores"].dims == ("row",)


def test_replicates_look_like_the_measurements(found):
    for name in ("rate", "took"):
        draws = np.log(found[name]["posterior_predictive"][name])
        observed = np.log(found[name]["observed_data"][name])
        score = (observed - draws.mean(("chain", "draw"))) / draws.std(("chain", "draw"))
        assert draws.dims[:2] == ("chain", "draw")
        assert float(abs(score).max()) < 4
        assert 0.3 < float(score.std()) < 2


def test_the_prior_is_wider_than_the_posterior(found):
    prior, post = found["rate"]["prior"], found["rate"]["posterior"]
    assert set(prior) == set(post)
    assert float(prior["malloc"].std()) > 2 * float(post["malloc"].std())
    assert np.log(prior["malloc"]).std() == pytest.approx(1.0, rel=0.15)


def test_prior_replicates_have_the_priors_own_spread(found):
    """Row by row: the variance of T(y) is that of the formula, of the residual and of the noise together."""
    prior, replicates = found["rate"]["prior"], found["rate"]["prior_predictive"]["rate"]
    assert replicates.dims == ("chain", "draw", "trial")
    x = found["rate"]["constant_data"]["x"].values
    formula = np.log(prior["malloc"].values[0])[:, None] + np.log(0.5 + x)
    rest = np.log(replicates.values[0]) - formula
    expected = np.sqrt(np.mean(prior["amplitude"].values ** 2 + prior["noise"].values ** 2))
    assert np.sqrt(np.mean(rest**2)) == pytest.approx(expected, rel=0.15)
    assert np.corrcoef(np.log(replicates.values[0]).mean(1), formula.mean(1))[0, 1] > 0.5
    Z = found["rate"]["constant_data"]["residual_input"].values
    apart = np.linalg.norm(Z[:, None] - Z[None], axis=-1) + np.eye(len(Z)) * 9
    near = np.unravel_index(np.argmin(apart), apart.shape)  # joint over rows: a residual is smooth
    amplitude, lengthscale = prior["amplitude"].values[0], prior["lengthscale"].values[0].min(axis=-1)
    clear = (amplitude > 2 * prior["noise"].values[0]) & (lengthscale > 2 * apart.min())
    scaled = rest[clear] / amplitude[clear, None]
    assert clear.sum() > 20
    assert np.corrcoef(scaled[:, near].T)[0, 1] > 0.5


def test_what_arrives_carries_its_unit(found):
    assert found["pause"]["constant_data"]["rate"].attrs["units"] == "1/s"
    assert found["rate"]["constant_data"]["x"].attrs["units"] == ""


# -- leave one out ------------------------------------------------------------------------


def covariance(name, posterior, draw):
    """The residual's prior covariance over all rows under one draw, by hand."""
    table, block = posterior.nodes[name].table, block_of(posterior, name)
    prefix = posterior.nodes[name].graph.prefix
    if posterior.nodes[name].residual is None:
        return np.zeros((len(table), len(table)))
    lengthscale = np.ravel(block.variables[f"{prefix}lengthscale"][draw])[table.groups]
    r = np.sqrt((((table.Z[:, None] - table.Z[None]) / lengthscale) ** 2).sum(-1))
    kernel = {
        "rate": lambda: (1 + np.sqrt(5) * r + 5 / 3 * r**2) * np.exp(-np.sqrt(5) * r),
        "pause": lambda: (1 + np.sqrt(3) * r) * np.exp(-np.sqrt(3) * r),
        "took": lambda: np.exp(-0.5 * r**2),
    }
    matern52 = kernel["rate"]
    amplitude = block.variables[f"{prefix}amplitude"][draw]
    return amplitude**2 * (kernel.get(name, matern52)() + 1e-6 * np.eye(len(table)))


def unknowns(name, posterior, draw):
    """Residuals, noise variances and scales of all rows under one draw, and the log Jacobian of each row."""
    node, block = posterior.nodes[name], block_of(posterior, name)
    table, v = node.table, {n: value[draw] for n, value in block.variables.items()}
    x = table.wires and next((value for key, value in table.wires.items() if key.name == "x"), None)
    machine = table.rows.elements.get("machine")
    mean = {
        "rate": lambda: np.log(v["malloc"] * (0.5 + x)),
        "pause": lambda: v["base"] + next(iter(table.wires.values())),
        "linear": lambda: v["slope"] * x,
        "took": lambda: np.log((1 + x) / (v["speed"][machine] * CORES[machine])),
        "waited": lambda: v["waited::base"] + x * v["speed"][machine],
    }[name]()
    noise = v[f"{node.graph.prefix}noise"]
    variance = np.full(len(table), noise**2 + (1e-3 * node.graph.scale) ** 2)
    scales = block.scales[name][draw] if name in block.scales else np.ones(len(table))
    jacobian = -np.log(table.natural) if node.graph.node.transform == "log" else np.zeros(len(table))
    return table.y - mean, variance, scales, jacobian


def conditioned(residual, prior, noise, rows):
    """Mean and covariance of the residual at ``rows`` given all other rows."""
    others = np.setdiff1d(np.arange(len(residual)), rows)
    gain = prior[np.ix_(rows, others)] @ np.linalg.inv(prior[np.ix_(others, others)] + np.diag(noise[others]))
    return gain @ residual[others], prior[np.ix_(rows, rows)] - gain @ prior[np.ix_(others, rows)]


@pytest.mark.parametrize("name", list(MODEL.nodes))
def test_log_likelihood_is_what_refitting_without_the_trial_gives(name, posterior):
    table = posterior.nodes[name].table
    found = log_likelihood(posterior.nodes[name], block_of(posterior, name))
    assert found.shape == (200, N)
    for draw in (0, 77, 199):
        residual, variance, scales, jacobian = unknowns(name, posterior, draw)
        prior = covariance(name, posterior, draw)
        for place, number in enumerate(np.unique(table.trials)):
            rows = np.flatnonzero(table.trials == number)
            mean, smooth = conditioned(residual, prior, variance / scales, rows)
            error, own = residual[rows] - mean, variance[rows]
            if posterior.nodes[name].graph.node.robust:
                expected, tolerance = integrated(error, smooth, own)
            else:
                expected = stats.multivariate_normal.logpdf(error, cov=smooth + np.diag(own))
                tolerance = 1e-6
            assert found[draw, place] - jacobian[rows].sum() == pytest.approx(expected, abs=tolerance)


def integrated(error, smooth, noise):
    """log density of a normal residual plus Student-t noise, by quadrature (one row) or many draws
    (several)."""
    if len(error) == 1:
        deviation = np.sqrt(noise[0])

        def density(g):
            normal = stats.norm.pdf(g, 0, np.sqrt(smooth[0, 0]))
            return normal * stats.t.pdf((error[0] - g) / deviation, 4) / deviation

        if smooth[0, 0] < 1e-12:
            return stats.t.logpdf(error[0] / deviation, 4) - np.log(deviation), 1e-6
        reach = 12 * np.sqrt(smooth[0, 0])
        inside = [p for p in (0.0, error[0]) if -reach < p < reach]
        return np.log(integrate.quad(density, -reach, reach, points=inside, limit=500)[0]), 1e-5
    rng = np.random.default_rng(0)
    g = rng.multivariate_normal(np.zeros(len(error)), smooth, size=40_000, method="svd")
    terms = stats.t.logpdf((error - g) / np.sqrt(noise), 4).sum(axis=1) - 0.5 * np.log(noise).sum()
    weights = np.exp(terms - terms.max())
    return np.log(weights.mean()) + terms.max(), 0.05 + 5 * weights.std() / weights.mean() / 200


def test_the_mixture_is_student_t():
    log_weights, scales = mixture()
    error = np.array([0.0, 0.5, 3.0, 30.0, 300.0])[:, None]
    found = chain_rule(error, np.zeros((5, 1, 1)), np.full((5, 1), 0.25), log_weights, scales)
    np.testing.assert_allclose(found, stats.t.logpdf(error[:, 0] / 0.5, 4) - np.log(0.5), atol=3e-5)


def test_the_chain_rule_is_the_joint_normal_density():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4))
    error, noise = rng.normal(size=4), rng.uniform(0.1, 1, size=4)
    found = chain_rule(error[None], (root @ root.T)[None], noise[None], np.zeros(1), np.ones(1))
    expected = stats.multivariate_normal.logpdf(error, cov=root @ root.T + np.diag(noise))
    np.testing.assert_allclose(found, expected)


def test_many_rows_leave_one_out_of_the_inducing_points(posterior, monkeypatch):
    """Tables that go through inducing points: a twin of the formula, and close to the exact values."""
    exact = {
        name: log_likelihood(posterior.nodes[name], block_of(posterior, name)) for name in ("rate", "took")
    }
    monkeypatch.setattr(
        propagate, "inducing_points", lambda table: np.ascontiguousarray(table.Z[: len(table) - 2])
    )
    tables = {name: node.table for name, node in posterior.nodes.items()}
    sparse = propagate.condition(MODEL, tables, posterior.blocks)
    for name in exact:
        assert sparse.nodes[name].residual.rows < len(tables[name])
        found = log_likelihood(sparse.nodes[name], block_of(posterior, name))
        table, points = tables[name], tables[name].Z[: len(tables[name]) - 2]
        residual, variance, _, jacobian = unknowns(name, posterior, 7)
        everything = covariance(name, posterior, 7)
        amplitude = block_of(posterior, name).variables[f"{sparse.nodes[name].graph.prefix}amplitude"][7]
        within = everything[: len(points), : len(points)] - amplitude**2 * (1e-6 - 1e-7) * np.eye(len(points))
        across = everything[:, : len(points)] - amplitude**2 * 1e-6 * np.eye(len(table))[:, : len(points)]
        low_rank = across @ np.linalg.solve(within, across.T)
        total = low_rank + np.diag(np.diag(everything) - np.diag(low_rank))
        for place, number in enumerate(np.unique(table.trials)):
            rows = np.flatnonzero(table.trials == number)
            mean, smooth = conditioned(residual, total, variance, rows)
            expected = stats.multivariate_normal.logpdf(
                residual[rows], mean, smooth + np.diag(variance[rows])
            )
            assert found[7, place] == pytest.approx(expected + jacobian[rows].sum(), abs=1e-4)
        assert np.abs(found - exact[name]).mean() < 0.3


def test_leave_one_out_is_fast():
    """2,000 draws, 60 trials, Student-t: about a second (measured; the bound is for a crowded machine)."""
    inference = Inference(boat.DAGModel(MODEL.space, [rate, work, pause]), 0)
    posterior = inference.posterior(
        measured(inference.model, trials(60)), Chains(1000, 50, 2, 0.8, max_treedepth=3, dispersed=False)
    )
    begun = time.process_time()
    assert log_likelihood(posterior.nodes["pause"], posterior.blocks[1]).shape == (2000, 60)
    assert time.process_time() - begun < 10


# -- ArviZ --------------------------------------------------------------------------------


def test_summary_and_convergence(found):
    summary = az.summary(found["took"])
    assert "speed[a]" in summary.index
    assert "took::lengthscale[cores]" in summary.index
    assert float(az.ess(found["rate"])["malloc"]) > 10
    assert float(az.rhat(found["rate"])["malloc"]) < 1.3


@pytest.mark.parametrize("name", list(MODEL.nodes))
@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto:UserWarning")
def test_loo_has_one_term_for_each_trial(name, found):
    loo = az.loo(found[name], pointwise=True)
    assert loo.n_data_points == N
    assert np.isfinite(loo.elpd)
    assert loo.elpd_i.sizes == {"trial": N}


@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto:UserWarning")
def test_compare_prefers_the_better_model(found):
    @boat.node(unit="1/s", transform="log", residual=None)
    def rate(x):
        return pm.LogNormal("malloc", 0, 1) / (0.5 + x)  # upside down

    model = boat.DAGModel(MODEL.space, [rate])
    wrong = tree(Inference(model, 0).posterior(measured(model, trials(N)), LENGTH), 0)
    table = az.compare({"right": found["rate"], "wrong": wrong["rate"]})
    assert list(table.index) == ["right", "wrong"]


@pytest.mark.parametrize("name", ["rate", "pause", "took"])
@pytest.mark.parametrize(
    "plot",
    ["trace_dist", "forest", "ppc_dist", "rank_dist", "prior_posterior", "dist"],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_plots(plot, name, found):
    getattr(az, f"plot_{plot}")(found[name], backend="matplotlib")
    assert plt.get_fignums()
    plt.close("all")


@pytest.mark.parametrize(
    "plot", ["autocorr", "energy", "ess", "mcse", "loo_pit", "ppc_interval", "ridge", "trace"]
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_more_plots(plot, found):
    getattr(az, f"plot_{plot}")(found["rate"], backend="matplotlib")
    assert plt.get_fignums()
    plt.close("all")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_the_prior_predictive_is_a_group_like_the_other(found):
    az.plot_ppc_dist(found["rate"], group="prior_predictive", backend="matplotlib")
    assert plt.get_fignums()
    plt.close("all")


@pytest.mark.parametrize(
    "function",
    ["bfmi", "ess", "eti", "extract", "hdi", "kde", "loo", "loo_metrics", "mcse", "mode", "rhat", "summary"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_functions_take_a_node_untouched(function, found):
    assert getattr(az, function)(found["rate"]) is not None


@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto:UserWarning")
def test_loo_pit_of_a_scalar_node(found):
    pit = az.loo_pit(found["rate"])
    assert pit["rate"].sizes == {"trial": N}


def test_saved_and_opened_again(found, tmp_path):
    found.to_netcdf(tmp_path / "posterior.nc")
    with xr.open_datatree(tmp_path / "posterior.nc") as opened:
        xr.testing.assert_equal(opened, found)
        assert opened["rate"].attrs["verdict"] == found["rate"].attrs["verdict"]
        assert list(az.summary(opened["rate"]).index) == list(az.summary(found["rate"]).index)


def test_saved_as_zarr_and_opened_by_plain_arviz(found, tmp_path):
    found.to_zarr(tmp_path / "posterior.zarr", zarr_format=2)
    with az.from_zarr(tmp_path / "posterior.zarr") as opened:
        draws = opened["rate"]["posterior"]["malloc"]
        np.testing.assert_array_equal(draws, found["rate"]["posterior"]["malloc"])
        assert opened["rate"]["observed_data"]["rate"].attrs["units"] == "1/s"
        assert list(opened["rate"]["observed_data"]["trial"].values) == list(range(10, 10 + N))


def test_saved_as_netcdf_and_opened_by_plain_arviz(found, tmp_path):
    found.to_netcdf(tmp_path / "posterior.nc")
    with az.from_netcdf(tmp_path / "posterior.nc") as opened:
        assert az.summary(opened["took"]).equals(az.summary(found["took"]))


def test_no_trials_give_a_tree_of_the_prior():
    model = boat.DAGModel(MODEL.space, [rate])
    empty = tree(Inference(model, 0).posterior(measured(model, []), LENGTH), 0)
    assert empty["rate"]["observed_data"].sizes["trial"] == 0
    assert az.summary(empty["rate"]).shape[0] == 6
