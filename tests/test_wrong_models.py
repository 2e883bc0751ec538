"""The suite of wrong models: systems worth tuning, models that differ as they say, and honest ratios."""

import numpy as np
import pytest

from benchmarks.wrong_models import Arrival, Case, arrive, cases, interval, ratio, suite, summary
from benchmarks.wrong_systems import OTHER_SYSTEM, RIGHT, SYSTEMS, WRONG

INF = float("inf")


@pytest.mark.parametrize("name", SYSTEMS)
def test_there_is_something_to_tune_and_nothing_is_better_than_the_optimum(name):
    problem = SYSTEMS[name].problem
    gaps = [problem.gap(configuration) for configuration in problem.space.design(400, 0)]
    assert min(gaps) >= -0.01  # grids leave values out
    assert problem.gap(problem.space.default) > 0.5
    assert np.mean(np.array(gaps) < 0.05) < 0.05  # not found by chance in a few trials


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_wrong_model_can_be_built_and_differs_from_the_right_one(name):
    system, found = SYSTEMS[name], {}
    kinds = [kind for kind in (RIGHT, *WRONG) if kind not in OTHER_SYSTEM]
    for kind in kinds:
        model = system.model(system.problem.space, kind)
        scales = [model.nodes[node].scale for node in model.nodes]  # the spread of prior draws over the space
        assert np.isfinite(scales).all()
        found[kind] = (str(model), *scales)
    assert len(set(found.values())) == len(kinds)


@pytest.mark.parametrize("name", SYSTEMS)
def test_systems_that_differ_do_so_where_they_say(name):
    system = SYSTEMS[name]
    for kind in OTHER_SYSTEM:
        gaps = [system.gap(kind, configuration) for configuration in system.problem.space.design(60, 0)]
        assert min(gaps) >= -0.01
    truths = [system.of(kind).truth(system.problem.space.default) for kind in (RIGHT, "heavy tails")]
    assert truths[0] == truths[1]  # only the noise is another
    rng, objective = np.random.default_rng(0), system.problem.objective
    runs = [system.run("heavy tails", system.problem.space.default, rng)[objective] for _ in range(600)]
    far = np.abs(np.log(np.array(runs) / np.median(runs))) > np.log(1.6)
    assert 0.1 < far.mean() < 0.25
    parameter, edge = system.jump
    above = [c for c in system.problem.space.design(60, 1) if c[parameter] > edge]
    jumped, plain = (
        np.array([p.truth(c) for c in above]) for p in (system.of("regime change"), system.problem)
    )
    assert len(above) > 10
    np.testing.assert_allclose(jumped / plain, 1.8)


def test_ratios_are_of_pairs_and_count_what_never_arrived():
    assert ratio([4, 9], [2, 3], 30) == pytest.approx(6**0.5)
    assert ratio([INF], [31.0], 30) == 1.0
    value, low, high = interval([4, 8, 6, 7], [2, 4, 3, 3.5], 30)
    assert [value, low, high] == pytest.approx([2.0] * 3)  # every pair has the same ratio


def test_the_summary_pairs_a_seed_with_its_own_seed():
    found = [Arrival(Case("job", RIGHT, "generic", seed, 30), 10.0 * seed, 0.0) for seed in (1, 2)] + [
        Arrival(Case("job", "nonsense", way, seed, 30), scale * seed, 0.0)
        for seed in (1, 2)
        for way, scale in (("structured", INF), ("hedged", 12.0))
    ]
    assert "1.20 (1.20-1.20)" in summary(found, 30)


def test_a_suite_goes_on_where_it_was(tmp_path):
    wanted = [case for case in cases(["nonsense"], ["service"], 1, 2) if case.way != "structured"]
    lines = []
    first = suite(wanted[:1], tmp_path / "found.csv", 1, lines.append)
    both = suite(wanted, tmp_path / "found.csv", 1, lines.append)
    assert len(lines) == 2
    assert first == both[:1]
    assert {arrival.case.way for arrival in both} == {"generic", "hedged"}


def test_a_right_model_arrives_and_a_nonsense_one_alone_does_not():
    """The quick subset; the whole suite is `make nightly`'s."""
    assert arrive(Case("service", RIGHT, "hedged", 1, 12)).trials <= 12
    assert arrive(Case("service", "nonsense", "structured", 1, 12)).trials == INF
