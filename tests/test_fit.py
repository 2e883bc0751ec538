"""Inference of a whole model: compiled once, refitted only where rows are new, the same when resumed."""

from types import SimpleNamespace

import numpy as np
import pymc as pm
import pytest

import boatppl as boat
from boatppl.fit import Inference
from boatppl.gp.inducing import log_marginal_inducing, project
from boatppl.infer import Chains, sample
from boatppl.table import measured

TINY = Chains(draws=10, tune=30, chains=2, target_accept=0.8, max_treedepth=4, dispersed=False)


@boat.node(transform="log", residual=boat.GP(["x"]))
def rate(x):
    return pm.LogNormal("malloc", 0, 1) * (1 + x)


@boat.node(residual=None)
def pause(x, rate):
    return pm.Normal("level", 0, 3) + x + rate


MODEL = boat.DAGModel(boat.Space(x=boat.Float(0, 1)), [rate, pause])


def trials(n, seed=0):
    rng = np.random.default_rng(seed)
    return [
        SimpleNamespace(
            number=i,
            configuration=configuration,
            context={},
            measurements={"rate": float(np.exp(rng.normal())), "pause": float(rng.normal())},
        )
        for i, configuration in enumerate(MODEL.space.design(n, seed))
    ]


@pytest.fixture(scope="module")
def inference():
    found = Inference(MODEL, 1)
    found.compile()
    return found


def test_a_node_of_many_rows_brings_their_likelihood():
    @boat.node(over="machine", residual=boat.GP(["share"]))
    def took(share):
        return pm.LogNormal("level", 0, 1) * share

    model = boat.DAGModel(boat.Space(share=boat.Simplex(2, dim="machine")), [took])
    Inference(model, 0).compile()
    assert len(log_marginal_inducing.signatures) == len(project.signatures) == 1


def data(some):
    return measured(MODEL, some)


def test_compiled_once_however_the_data_grow(inference):
    functions = [density.function for density in inference.densities]
    everything = trials(120)
    for n in (2, 3, 10, 60, 120):
        inference.posterior(data(everything[:n]), TINY)
    inference.compile()
    assert inference.compilations == len(MODEL.blocks) == 2
    assert [density.function for density in inference.densities] == functions


def test_only_blocks_with_new_rows_are_refitted(inference):
    some = trials(6, seed=1)
    before = inference.posterior(data(some), TINY)
    assert _fits(inference, some) == 0  # nothing is new
    some[5].measurements.pop("pause")
    assert _fits(inference, some) == 1  # one row of pause is gone
    after = inference.posterior(data(some), TINY)
    assert after.blocks[0] is before.blocks[0]
    assert after.blocks[1] is not before.blocks[1]
    some[0].measurements["rate"] = 3.0
    assert _fits(inference, some) == 2  # pause has rate as a wire
    some.append(SimpleNamespace(number=6, configuration={"x": 0.5}, context={}, measurements={}))
    assert _fits(inference, some) == 0  # a run that measured nothing


def test_another_length_is_another_fit(inference):
    some = trials(5, seed=2)
    inference.posterior(data(some), TINY)
    longer = Chains(draws=12, tune=30, chains=2, target_accept=0.8, max_treedepth=4)
    before = inference.fits
    assert inference.posterior(data(some), longer).draws == 24
    assert inference.fits == before + 2
    assert _fits(inference, some) == 0  # the short draws are still there


def test_only_blocks_whose_chains_disagree_have_longer_ones(inference):
    few = Chains(draws=100, tune=20, chains=4, target_accept=0.9, max_treedepth=2)  # short steps, few of them
    many = Chains(draws=200, tune=200, chains=2, target_accept=0.9)
    seen = set()
    for seed in range(6):
        some = trials(5, seed=10 + seed)
        before = inference.posterior(data(some), few)
        after = inference.posterior(data(some), few, many)
        for first, then in zip(before.blocks, after.blocks, strict=True):
            seen.add(first.verdict.good)
            assert (then is first) if first.verdict.good else (then.draws == many.total)
        if len(seen) == 2:
            break
    assert seen == {True, False}  # both were met


def test_draws_depend_on_tables_seed_and_length_only(inference):
    some = trials(5, seed=3)
    first = inference.posterior(data(some), TINY)
    inference.posterior(data(trials(7, seed=4)), TINY)
    again = inference.posterior(data(some), TINY)
    resumed = Inference(MODEL, 1).posterior(data(some), TINY)
    other = Inference(MODEL, 2).posterior(data(some), TINY)
    for block in (0, 1):
        np.testing.assert_array_equal(first.blocks[block].position, again.blocks[block].position)
        np.testing.assert_array_equal(first.blocks[block].position, resumed.blocks[block].position)
        assert not np.array_equal(first.blocks[block].position, other.blocks[block].position)


def test_the_posterior_before_the_newest_runs_stands_in_where_inference_fails(inference, monkeypatch):
    some = trials(7, seed=5)
    before = inference.posterior(data(some[:3]), TINY)

    def sometimes(density, found, *args, **options):
        if max(map(len, found.values())) > 4:
            raise FloatingPointError("no factor")
        return sample(density, found, *args, **options)

    monkeypatch.setattr("boatppl.fit.sample", sometimes)
    fits = inference.fits
    with pytest.raises(FloatingPointError):
        inference.posterior(data(some), TINY)
    found = inference.lasting(data(some), TINY)  # without 1 and 2 runs it fails, too; without 4 it is known
    assert inference.fits - fits == 4  # all of them in vain
    for block in (0, 1):
        np.testing.assert_array_equal(found.blocks[block].position, before.blocks[block].position)
        assert not found.blocks[block].verdict.good
        sentence = "no posterior of all 7 runs (FloatingPointError: no factor): that of 3"
        assert found.blocks[block].verdict.fallback == sentence
    assert inference.lasting(data(some[:4]), TINY).blocks[0].verdict.fallback is None
    monkeypatch.setattr("boatppl.fit.sample", lambda *args, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        inference.lasting(data(trials(5, seed=6)), TINY)


def test_no_trials_give_the_prior(inference):
    posterior = inference.posterior(data([]), TINY)
    assert posterior.draws == 20
    assert len(posterior.nodes["rate"].table) == 0


def _fits(inference, some):
    before = inference.fits
    inference.posterior(data(some), TINY)
    return inference.fits - before
