"""The search finds known optima on every kind of space in few evaluations, and never what is forbidden."""

import time

import numpy as np
import pytest

from boatppl.search import Exhausted, maximise
from boatppl.search.leaps import leaps
from boatppl.space import Boolean, Categorical, Float, Integer, Ordinal, Simplex, Space, Subset

BRANIN_SPACE = Space(x=Float(-5, 10), y=Float(0, 15))


def branin(x, y):
    t = y - 5.1 / (4 * np.pi**2) * x**2 + 5 / np.pi * x - 6
    return t**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x) + 10


def minus_branin(unit):
    return -branin(**BRANIN_SPACE.wires(unit))


def branin_gradient(unit):
    w = BRANIN_SPACE.wires(unit)
    t = w["y"] - 5.1 / (4 * np.pi**2) * w["x"] ** 2 + 5 / np.pi * w["x"] - 6
    slope = 2 * t * (5 / np.pi - 5.1 / (2 * np.pi**2) * w["x"]) - 10 * (1 - 1 / (8 * np.pi)) * np.sin(w["x"])
    return -branin(**w), BRANIN_SPACE.pullback(unit, {"x": -slope, "y": -2 * t})


class Counted:
    """Counts the rows a function is given, and checks that they are snapped, feasible and few batches."""

    def __init__(self, function, space):
        self.function, self.space, self.rows, self.calls = function, space, 0, 0

    def __call__(self, unit):
        assert self.space.feasible(unit).all()
        assert (self.space.snap(unit) == unit).all()
        self.rows += len(unit)
        self.calls += 1
        return self.function(unit)


def test_a_rough_screen_finds_what_the_score_alone_finds():
    """A tenth of the first rows are scored; what ranks them is off by a tenth of their spread."""
    score, screened = Counted(minus_branin, BRANIN_SPACE), Counted(minus_branin, BRANIN_SPACE)
    rough = Counted(lambda unit: minus_branin(unit) + 5.0 * np.sin(40.0 * unit[:, 0]), BRANIN_SPACE)
    alone = maximise(score, BRANIN_SPACE, seed=0, n_candidates=1280, gradient=branin_gradient)
    found = maximise(
        screened, BRANIN_SPACE, seed=0, n_candidates=1280, gradient=branin_gradient, screen=rough
    )
    assert rough.calls == 1
    assert screened.rows < score.rows - 1000
    assert found.evaluated > rough.rows + screened.rows
    assert found.score == pytest.approx(alone.score, abs=1e-6)


def alpine(unit):
    """Alpine2 of six inputs from 0 to 10, and its slope: 729 basins, each a product of six."""
    x = 10.0 * unit
    factors = np.sqrt(x) * np.sin(x)
    slopes = np.sin(x) / (2.0 * np.sqrt(np.maximum(x, 1e-9))) + np.sqrt(x) * np.cos(x)
    others = [np.delete(factors, i, axis=1).prod(axis=1) for i in range(6)]
    return factors.prod(axis=1), 10.0 * slopes * np.stack(others, axis=1)


def test_leaps_leave_a_basin():
    """From the basin in which every input is at its lower peak; a climb that stays is at 0.05 of the best."""
    space = Space(**{f"x{i}": Float(0, 10) for i in range(6)})
    start, best = np.full((1, 6), 0.48), 2.808131180007006**6

    def share(seed, leaping):
        found = maximise(
            lambda u: alpine(u)[0], space, seed=seed, starts=start, gradient=alpine, leaping=leaping
        )
        return found.score / best

    leaping, staying = ([share(seed, does) for seed in range(20)] for does in (True, False))
    assert np.mean(leaping) > 0.8 > 0.6 > np.mean(staying)
    assert np.mean(np.array(leaping) > 0.99) > 0.4


@pytest.mark.parametrize("seed", range(3))
def test_newcomers_by_leaps_do_not_keep_a_search_going_whose_best_row_is_polished(seed):
    space = BRANIN_SPACE.constrain(lambda x, y: x + y <= 5.0)  # all three minima lie beyond the edge
    score, start = Counted(minus_branin, space), space.encode([{"x": 1.0, "y": 1.0}])
    found = maximise(score, space, seed=seed, starts=start, gradient=branin_gradient, leaping=True)
    edge = np.linspace(-5.0, 5.0, 100_001)
    assert found.score == pytest.approx(-branin(edge, 5.0 - edge).min(), abs=1e-4)
    assert score.calls < 80  # 121 where it goes on to the last round


def test_a_leap_draws_one_or_two_numbers_anew_and_leaves_vectors_alone():
    space = Space(
        shares=Simplex(3, dim="machine"),
        a=Float(0, 1),
        b=Integer(0, 9),
        c=Categorical(["x", "y", "z"]),
        d=Float(0, 1),
    )
    rows = space.sample(2, 0)
    found = leaps(space, np.random.default_rng(1), rows, 600)
    changed = np.abs(found - rows[np.arange(600) % 2]) > 1e-12
    vector = np.zeros(space.dimension, bool)
    vector[space.slices["shares"]] = True
    assert not changed[:, vector].any()
    counts = changed.sum(axis=1)
    assert counts.max() == 2
    assert (counts == 1).sum() > (counts == 2).sum() > 50
    assert changed[:, ~vector].any(axis=0).all()
    assert (space.snap(found) == found).all()
    only = Space(shares=Simplex(3, dim="machine"))
    assert leaps(only, np.random.default_rng(1), only.sample(2, 0), 10).shape == (0, only.dimension)


def test_a_screen_never_loses_what_is_left():
    space = Space(n=Integer(0, 999))
    rows = space.encode([{"n": n} for n in range(1000)])
    left = rows[[123]]
    found = maximise(
        lambda unit: np.zeros(len(unit)),
        space,
        seed=0,
        avoid=np.delete(rows, 123, axis=0),
        screen=lambda u: -u[:, 0],
    )
    np.testing.assert_array_equal(found.unit, left[0])
    with pytest.raises(Exhausted):
        maximise(lambda unit: np.zeros(len(unit)), space, seed=0, avoid=rows, screen=lambda u: -u[:, 0])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("with_gradient", [False, True])
def test_branin(seed, with_gradient):
    score = Counted(minus_branin, BRANIN_SPACE)
    gradient = Counted(branin_gradient, BRANIN_SPACE) if with_gradient else None
    found = maximise(score, BRANIN_SPACE, seed=seed, gradient=gradient)
    assert found.score == pytest.approx(-0.39788736, abs=1e-6 if with_gradient else 1e-5)
    assert found.score == minus_branin(found.unit[None])[0]
    rows = score.rows + (gradient.rows if with_gradient else 0)
    assert found.evaluated == rows
    assert rows < (900 if with_gradient else 2800)
    assert score.calls < 45


def test_the_ascent_follows_a_curved_valley():
    space = Space(**{f"x{i}": Float(-2, 2) for i in range(10)})

    def rosenbrock(unit):
        x = 4 * unit - 2
        bend = x[:, 1:] - x[:, :-1] ** 2
        slope = np.zeros_like(x)
        slope[:, :-1] += -400 * bend * x[:, :-1] - 2 * (1 - x[:, :-1])
        slope[:, 1:] += 200 * bend
        return -(100 * bend**2 + (1 - x[:, :-1]) ** 2).sum(axis=1), -4 * slope

    found = maximise(lambda u: rosenbrock(u)[0], space, seed=0, gradient=rosenbrock)
    assert found.score > -1e-3
    assert found.evaluated < 2500


def test_the_ascent_stops_at_walls():
    space = Space(a=Float(0, 1), b=Float(0, 1), c=Float(0, 1))
    aim = np.array([1.4, -0.3, 0.6])
    bend = np.array([[2.0, 0.9, 0.3], [0.9, 1.5, 0.2], [0.3, 0.2, 1.0]])

    def bowl(unit):
        away = unit - aim
        return -np.einsum("ri,ij,rj->r", away, bend, away), -2 * away @ bend

    found = maximise(lambda u: bowl(u)[0], space, seed=0, gradient=bowl)
    mesh = np.stack(np.meshgrid(*[np.linspace(0, 1, 101)] * 3), axis=-1).reshape(-1, 3)
    assert found.score >= bowl(mesh)[0].max() - 1e-9


MIXED = Space(
    n=Integer(0, 1000),
    gc=Categorical(list("abcdef")),
    x=Float(0, 1),
    k=Integer(1, 100, when={"gc": "e"}),
    share=Simplex(5),
    level=Ordinal([1, 2, 4, 8, 16]),
    on=Boolean(),
)
SHARES = np.array([0.1, 0.2, 0.3, 0.15, 0.25])


def mixed(unit):
    w = MIXED.wires(unit)
    smooth = ((w["n"] - 637) / 300) ** 2 + 5 * (w["x"] - 0.3123) ** 2 + ((w["k"] - 77) / 50) ** 2
    shares = 3 * ((w["share"] - SHARES) ** 2).sum(axis=1)
    return -smooth - shares - (w["gc"] != 4) - 0.1 * (np.log2(w["level"]) - 3) ** 2 - 0.2 * (w["on"] != 1)


@pytest.mark.parametrize("seed", range(4))
def test_a_mixed_conditional_space(seed):
    found = maximise(mixed, MIXED, seed=seed)
    best = MIXED.decode(found.unit[None])[0]
    assert (best["gc"], best["level"], best["on"]) == ("e", 8, True)
    assert abs(best["n"] - 637) <= 1
    assert abs(best["k"] - 77) <= 1
    assert best["x"] == pytest.approx(0.3123, abs=3e-3)
    np.testing.assert_allclose(best["share"], SHARES, atol=3e-3)
    assert found.evaluated < 6000


def test_slopes_of_integers_are_hints():
    space = Space(**{f"n{i}": Integer(0, 10_000) for i in range(12)})
    target = np.linspace(800, 9100, 12)

    def score(unit):
        wires = np.stack(list(space.wires(unit).values()), axis=1)
        return -(((wires - target) / 1000) ** 2).sum(axis=1)

    def hinted(unit):
        wires = space.wires(unit)
        slopes = {name: -2e-6 * (wires[name] - aim) for name, aim in zip(wires, target, strict=True)}
        return score(unit), space.pullback(unit, slopes, relax=True)

    with_hints = maximise(score, space, seed=1, gradient=hinted)
    without = maximise(score, space, seed=1)
    assert with_hints.score > -0.5
    assert with_hints.score > without.score


def test_a_group_is_left_out_of_a_set_where_leaving_out_one_of_it_costs(monkeypatch):
    """Ten of forty servers are slow: the slowest one decides, and every server that is left out adds load."""
    order = np.random.default_rng(5).permutation(40)
    slow, cost = order < 10, np.where(order < 10, 1.5 + 0.03 * order, 1.0)
    space = Space(serves=Subset(40, least=1), share=Simplex(40))

    def score_of(wires):
        each = wires["serves"] * cost
        worst = (each**32).sum(axis=1) ** (1 / 32)
        unequal = ((wires["share"] - 1 / 40) ** 2).sum(axis=1)
        return -worst * 40 / wires["serves"].sum(axis=1) - unequal, each, worst

    def score(unit):
        return score_of(space.wires(unit))[0]

    def hinted(unit):
        wires = space.wires(unit)
        values, each, worst = score_of(wires)
        count = wires["serves"].sum(axis=1)[:, None]
        d_worst = each**31 * cost * worst[:, None] ** -31
        slopes = {
            "serves": -d_worst * 40 / count + worst[:, None] * 40 / count**2,
            "share": -2 * (wires["share"] - 1 / 40),
        }
        return values, space.pullback(unit, slopes, relax=True)

    everyone = space.encode([space.validate({"serves": [True] * 40, "share": [1 / 40] * 40})])
    found = maximise(score, space, seed=1, starts=everyone, gradient=hinted)
    assert np.array_equal(space.decode(found.unit[None])[0]["serves"], ~slow)
    monkeypatch.setattr("boatppl.search.maximum.chained", lambda trail, gradient, front: front)
    assert maximise(score, space, seed=1, starts=everyone, gradient=hinted).score < found.score - 0.01


QUADRATIC = Space(a=Float(0, 1), b=Float(0, 1), c=Float(0, 1)).constrain(lambda a, b: a + b < 1)


def quadratic(unit):
    away = unit - [0.8, 0.7, 0.4]
    return -(away**2).sum(axis=1), -2 * away


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("with_gradient", [False, True])
def test_optima_on_a_constraint(seed, with_gradient):
    score = Counted(lambda u: quadratic(u)[0], QUADRATIC)
    found = maximise(score, QUADRATIC, seed=seed, gradient=quadratic if with_gradient else None)
    np.testing.assert_allclose(found.unit, [0.55, 0.45, 0.4], atol=0.01)
    assert found.score == pytest.approx(-0.125, abs=1e-4)
    assert found.evaluated < 3500


def test_a_corner_of_two_constraints():
    space = Space(a=Float(0, 1), b=Float(0, 1), c=Float(0, 1)).constrain(
        lambda a, b: a + b < 1, lambda b, c: c < b
    )
    found = maximise(
        lambda u: u @ [3.0, 2.0, 2.0],
        space,
        seed=0,
        gradient=lambda u: (u @ [3.0, 2.0, 2.0], 0 * u + [3, 2, 2]),
    )
    assert found.score > 3.93  # 4 at the end of a knife's edge, (0, 1, 1)


def test_constraints_among_integers():
    space = Space(a=Integer(1, 100), b=Integer(1, 100), mode=Categorical(["x", "y"])).constrain(
        lambda a, b: a * b <= 1000, lambda a, mode: a % 2 == 0 if mode == "x" else a > 50
    )

    def score(unit):
        w = space.wires(unit)
        return 3 * w["a"] + 5 * w["b"] - 40 * w["mode"]

    found = maximise(Counted(score, space), space, seed=3)
    every = space.encode(
        [{"a": a, "b": b, "mode": "x"} for a in range(2, 101, 2) for b in range(1, 101) if a * b <= 1000]
    )
    assert found.score == score(every).max() == 530


def test_what_is_avoided_is_never_returned():
    score = Counted(minus_branin, BRANIN_SPACE)
    best = maximise(minus_branin, BRANIN_SPACE, seed=0, gradient=branin_gradient).unit
    avoid = np.concatenate([best[None], BRANIN_SPACE.sample(50, 1)])
    found = maximise(score, BRANIN_SPACE, seed=0, gradient=branin_gradient, avoid=avoid, starts=avoid)
    assert np.abs(avoid - found.unit).max(axis=1).min() > 1e-6
    assert found.score > -0.3980


def test_a_finite_space_is_used_up_from_the_top():
    space = Space(a=Integer(0, 9), b=Categorical(["x", "y", "z"]), c=Boolean(when={"b": "y"}))

    def score(unit):
        w = space.wires(unit)
        return w["a"] * 1.7 + w["b"] * 1.3 - w["c"] * 0.37

    avoid = np.empty((0, 3))
    scores = []
    for turn in range(space.size):
        found = maximise(score, space, seed=turn, avoid=avoid, n_candidates=16)
        avoid = np.concatenate([avoid, found.unit[None]])
        scores.append(found.score)
    assert scores == sorted(scores, reverse=True)
    assert len({row.tobytes() for row in avoid}) == space.size == 40
    with pytest.raises(Exhausted, match="every configuration of the space has been run or is pending"):
        maximise(score, space, seed=99, avoid=avoid, n_candidates=16)


def test_starts_lead_to_a_needle():
    space = Space(**{f"x{i}": Float(0, 1) for i in range(6)}, gc=Categorical(["a", "b", "c"]))
    needle = np.array([0.21, 0.83, 0.44, 0.67, 0.12, 0.91, 5 / 6])

    def score(unit):
        return -np.minimum(((unit - needle) ** 2).sum(axis=1), 0.05)

    start = space.snap(needle[None] + 0.03 * np.array([1, -1, 1, -1, 1, -1, 0]))
    assert maximise(score, space, seed=0, starts=start).score > -1e-4


def test_nothing_to_be_gained_is_still_an_answer():
    for hopeless in (-np.inf, np.nan):
        found = maximise(lambda u, h=hopeless: np.full(len(u), h), MIXED, seed=0, gradient=None)
        assert found.score == -np.inf
        assert (MIXED.snap(found.unit[None]) == found.unit).all()
    flat = maximise(
        lambda u: np.zeros(len(u)), MIXED, seed=0, gradient=lambda u: (np.zeros(len(u)), np.zeros_like(u))
    )
    assert flat.score == 0
    assert flat.evaluated < 2500


def test_nan_and_minus_infinity_are_walked_around():
    def holed(unit):
        values = minus_branin(unit)
        return np.where(unit[:, 0] < 0.4, np.nan, np.where(unit[:, 1] > 0.9, -np.inf, values))

    def holed_gradient(unit):
        _, slope = branin_gradient(unit)
        return holed(unit), np.where(np.isfinite(holed(unit))[:, None], slope, np.nan)

    found = maximise(holed, BRANIN_SPACE, seed=2, gradient=holed_gradient)
    assert found.score == pytest.approx(-0.39788736, abs=1e-6)


def test_the_same_seed_gives_the_same_answer():
    for space, score in ((MIXED, mixed), (BRANIN_SPACE, minus_branin)):
        first, second = (maximise(score, space, seed=[7, 1]) for _ in range(2))
        assert (first.unit == second.unit).all()
        assert first.evaluated == second.evaluated
        assert (maximise(score, space, seed=8).unit != first.unit).any()


def test_time_is_kept():
    def slow(unit):
        time.sleep(0.02)
        return mixed(unit)

    begun = time.monotonic()
    found = maximise(slow, MIXED, seed=0, budget_seconds=0.1)
    assert time.monotonic() - begun < 1.0
    assert np.isfinite(found.score)


def test_a_space_without_coordinates():
    space = Space(a=Integer(0, 9)).fix(a=3)
    found = maximise(lambda u: np.ones(len(u)), space, seed=0)
    assert found.unit.shape == (0,)
    assert found.score == 1
    with pytest.raises(Exhausted):
        maximise(lambda u: np.ones(len(u)), space, seed=0, avoid=np.empty((1, 0)))


@pytest.mark.filterwarnings("error")
def test_slopes_beyond_measure_are_followed_without_a_word():
    """A log acquisition falls by any number where draws are far from all that was measured."""
    space = Space(x=Float(0, 1), y=Float(0, 1))

    def score(unit):
        return -1e200 * np.abs(unit - 0.3).sum(axis=1)

    def gradient(unit):
        return score(unit), -1e200 * np.sign(unit - 0.3)

    found = maximise(score, space, seed=0, gradient=gradient)
    np.testing.assert_allclose(found.unit, 0.3, atol=0.05)
