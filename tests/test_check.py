"""Looking at a model before the first trial: what is right is left alone, what is wrong is named."""

from functools import partial

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

import boatppl as boat
from boatppl.check.check import drawn_tables
from boatppl.check.density import densities
from boatppl.check.dry_run import System, _first_runs, _gain, _known, without_knowledge
from boatppl.check.prior import everywhere, predictions
from boatppl.check.units import parse, units
from boatppl.fit import Inference
from boatppl.suggest import Goal

SPACE = boat.Space(
    heap=boat.Float(16, 256, log=True, unit="MB"), wait=boat.Float(1, 50, unit="ms"), spare=boat.Boolean()
)


look = partial(boat.check, dry_run=0)


@boat.node(unit="1/s", transform="log")
def rate(heap):
    return pm.LogNormal("malloc", 5, 0.5) / heap


@boat.node(unit="ms", transform="log")
def pause(rate, wait):
    return pm.LogNormal("fixed", 0, 0.5) + wait + rate * pm.LogNormal("each", 0, 0.5)


@boat.node(unit="ms", transform="log", residual=None)
def odd(heap, wait):
    return wait + heap


@pytest.fixture(scope="module")
def found():
    return look(boat.DAGModel(SPACE, [rate, pause, odd]), minimize="pause")


def said(check, part):
    return [complaint.sentence for complaint in check.complaints if complaint.part == part]


def test_what_is_wrong_is_named_and_nothing_else(found):
    assert {complaint.part for complaint in found.complaints} == {"odd", "spare"}
    assert "adds or compares ms and MB" in said(found, "odd")[0]
    assert any("does not depend on this" in sentence for sentence in said(found, "odd"))
    assert "no node uses this parameter" in said(found, "spare")[0]
    assert not found.good
    assert "rate" in repr(found)
    assert "1/s" in repr(found)


def test_the_prior_predictive_is_that_of_the_formula_in_its_unit(found):
    """rate = malloc / heap: the logarithm of a normal, and of heaps all over the space."""
    rng = np.random.default_rng(0)
    heap = SPACE.wires(everywhere(found_model(), 0))["heap"]
    draws = rng.lognormal(5, 0.5, size=(4000, 1)) / heap
    low, median, high = np.quantile(draws, [0.05, 0.5, 0.95])
    rate_ = found.predicted["rate"]
    assert rate_.unit == "1/s"
    assert rate_.median == pytest.approx(median, rel=0.15)
    assert rate_.low == pytest.approx(low, rel=0.3)
    assert rate_.high == pytest.approx(high, rel=0.3)
    assert rate_.infinite == 0


def found_model():
    return boat.DAGModel(SPACE, [rate])


def test_densities_are_finite_and_their_gradients_right(found):
    assert all(each.finite > 0.95 for each in found.densities.values())
    assert all(each.gradient < 1e-4 for each in found.densities.values())


def test_a_wrong_gradient_is_found():
    model = found_model()

    class Crooked(Inference):
        def compile(self):
            super().compile()
            honest = type(self.densities[0]).bind

            def bind(by_node):
                logp = honest(self.densities[0], by_node)
                return lambda position: (logp(position)[0], 1.01 * logp(position)[1])

            self.densities[0].bind = bind

    [verdict] = densities(Crooked(model, 0), drawn_tables(model, 0), 0).values()
    assert verdict.gradient == pytest.approx(0.01, rel=0.1)


def test_values_that_are_not_finite_and_vague_priors_are_named():
    @boat.node(unit="ms", transform="log")
    def vague(heap):
        return pm.LogNormal("scale", 0, 9) * heap

    @boat.derived(unit="ms")
    def root(vague):
        return pt.sqrt(vague - 1.0)

    check = look(boat.DAGModel(SPACE.fix(spare=False, wait=2.0), [vague, root]))
    assert "anywhere between" in said(check, "vague")[0]
    assert "is not finite" in said(check, "root")[0]


def test_a_right_model_is_left_alone():
    check = look(boat.DAGModel(SPACE.fix(spare=False), [rate, pause]))
    assert check.good, check
    assert "nothing to complain of" in repr(check)


# -- units --------------------------------------------------------------------------------


def complaints_of(expression, **parts):
    @boat.derived(unit=parts.get("unit"))
    def mix(heap, wait):
        return expression(heap, wait)

    @boat.node
    def cost(mix):
        return pm.Normal("a") * mix

    return [sentence for part, sentence in units(boat.DAGModel(SPACE, [mix, cost])) if part == "mix"]


@pytest.mark.parametrize(
    ("expression", "unit", "expected"),
    [
        (lambda heap, wait: heap + wait, None, "adds or compares MB and ms"),
        (lambda heap, wait: pt.maximum(heap, 2 * wait), None, "adds or compares MB and ms"),
        (lambda heap, wait: pt.switch(heap > 3, heap, wait), None, "adds or compares"),
        (lambda heap, wait: heap / wait + wait / heap, None, "adds or compares MB/ms and ms/MB"),
        (lambda heap, wait: heap / wait, "MB", "returns MB/ms, but its unit is MB"),
        (lambda heap, wait: heap**2 / heap + heap, "MB", None),
        (lambda heap, wait: pt.sqrt(heap * heap) - heap, "MB", None),
        (lambda heap, wait: 1 + heap, "MB", None),
        (lambda heap, wait: wait / 1000, "s", None),  # a conversion
        (lambda heap, wait: pt.log(heap) + wait, None, None),  # nothing is known of a logarithm
    ],
)
def test_sums_of_unlike_units(expression, unit, expected):
    found = complaints_of(expression, unit=unit)
    assert (found == []) if expected is None else (len(found) == 1 and expected in found[0]), found


def test_units_are_products_of_powers():
    assert parse("MB/s") == {"MB": 1, "s": -1}
    assert parse("1/s") == {"s": -1}
    assert parse("MB*s/MB") == {"s": 1}
    assert parse("m^2") == {"m": 2}
    assert parse("") is None


# -- what cannot be checked ---------------------------------------------------------------


def test_errors_are_sentences():
    with pytest.raises(boat.ModelError, match="takes a DAGModel"):
        look(SPACE)
    with pytest.raises(boat.ModelError, match="no node or derived quantity"):
        look(found_model(), minimize="latency")
    with pytest.raises(boat.ModelError, match="both minimize= and maximize="):
        look(found_model(), minimize="rate", maximize="rate")


def test_vectors_contexts_and_generic_nodes_are_looked_at_too():
    space = boat.Space(share=boat.Simplex(3, dim="machine"), load=boat.Context(1, 9), x=boat.Float(0, 1))

    @boat.node(over="machine", unit="s", transform="log")
    def took(share, load, cores):
        return pm.LogNormal("work", 0, 0.5) * load * (share + 0.01) / cores

    data = {"cores": ("machine", np.array([2.0, 4.0, 8.0]))}

    @boat.derived(unit="s")
    def slowest(took):
        return took.max()

    model = boat.DAGModel(space, [took, slowest, boat.generic("cost", ["took", "x"])], data=data)
    check = look(model, minimize="slowest")
    assert predictions(model, 0)["slowest"].median > 0
    assert [complaint.part for complaint in check.complaints] == ["cost"]


# -- the dry run --------------------------------------------------------------------------

SMALL = boat.DAGModel(SPACE.fix(spare=False), [rate, pause])


def test_a_drawn_system_is_one_system():
    """Its residual is one function, its noise has the prior's size, and its truth is what runs scatter
    around."""
    system = System(SMALL, Goal("pause"), 3)
    place = {"heap": 60.0, "wait": 9.0, "spare": False}
    unit = SMALL.space.encode([place])
    assert system.truth(unit)[0] == system.truth(np.repeat(unit, 3, axis=0))[2]
    runs = [system.run(place, number)["pause"] for number in range(60)]
    assert runs[3] == system.run(place, 3)["pause"]
    noise = float(system.posterior.nodes["pause"].variables["noise"][0])
    assert np.log(np.median(runs)) == pytest.approx(np.log(system.truth(unit)[0]), abs=noise + 0.1)
    assert System(SMALL, Goal("pause"), 4).truth(unit)[0] != system.truth(unit)[0]


def test_drawn_systems_follow_the_prior():
    unit = SMALL.space.encode([{"heap": 60.0, "wait": 9.0, "spare": False}])
    rates = [System(SMALL, Goal("rate"), seed).truth(unit)[0] * 60 for seed in range(60)]
    assert np.mean(np.log(rates)) == pytest.approx(5, abs=0.25)
    assert np.std(np.log(rates)) == pytest.approx(0.5, abs=0.2)


def test_a_model_without_the_knowledge_of_a_node():
    blind = without_knowledge(SMALL, "pause")
    assert blind.nodes["pause"].node.standardised
    assert set(blind.inputs_of("pause")) == {"rate", "wait"}
    assert blind.parts["rate"] is SMALL.parts["rate"]


def test_a_vector_too_can_be_without_knowledge():
    space = boat.Space(share=boat.Simplex(3, dim="machine"))

    @boat.node(over="machine", unit="s", transform="log")
    def took(share, speed):
        return (share + 0.01) / speed * pm.LogNormal("work", 0, 0.3)

    @boat.derived
    def slowest(took):
        return took.max()

    model = boat.DAGModel(space, [took, slowest], data={"speed": ("machine", np.array([1.0, 2.0, 8.0]))})
    assert _known(model, "took")
    blind, goal = without_knowledge(model, "took"), Goal("slowest")
    assert blind.nodes["took"].node.over == ("machine",)
    assert set(blind.inputs_of("took")) == {"share", "speed"}
    system = System(model, goal, 3)
    assert np.isfinite(_gain(Inference(blind, 0), goal, system, _first_runs(system)))


def test_the_dry_run_tunes_systems_drawn_from_the_priors(capsys):
    tried = boat.check(SMALL, minimize="pause", dry_run=2, seconds=8).dry_run
    assert len(tried.reached) >= 1
    assert all(near is None or 1 <= near <= tried.trials for near in tried.reached)
    assert set(tried.shares) <= {"rate", "pause"}
    assert all(0 <= share <= 1 for share in tried.shares.values())
    assert "system 1 of 2" in capsys.readouterr().out
    assert "within 5% of the optimum" in tried.lines()[0]
