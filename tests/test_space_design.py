"""Designs, grids and neighbourhoods honour constraints and conditions, and cover what is left."""

import numpy as np
import pytest
from scipy.stats import qmc

from boatppl.space import Boolean, Categorical, Float, Integer, Ordinal, Simplex, Space, Subset


def keys(rows):
    return {row.tobytes() for row in rows}


def test_a_design_is_quasi_random():
    space = Space(**{f"x{i}": Float(0, 1) for i in range(6)})
    unit = space.sample(128, seed=1)
    random = np.random.default_rng(0).random((128, 6))
    assert qmc.discrepancy(unit) < 0.3 * qmc.discrepancy(random)
    halves = (unit > 0.5).sum(axis=0)
    assert (halves == 64).all()  # a scrambled net is balanced in every coordinate


def test_designs_of_a_simplex_fill_it():
    space = Space(share=Simplex(3))
    shares = space.wires(space.sample(512, 2))["share"]
    np.testing.assert_allclose(shares.mean(axis=0), 1 / 3, atol=0.01)


@pytest.mark.parametrize("seed", [0, 1, np.random.SeedSequence(5)])
def test_seeds_decide(seed):
    space = Space(a=Float(0, 1), b=Integer(0, 99))
    assert (space.sample(20, seed) == space.sample(20, seed)).all()


def test_constraints_of_every_sort_hold():
    space = Space(
        a=Float(0, 10),
        b=Integer(1, 1000),
        c=Categorical(["x", "y", "z"]),
        s=Simplex(3),
        big=Integer(0, 10**6),
    )

    def tight(a, b):
        return a * 100 < b if a > 1 else b < 500  # no array goes through an if

    space = space.constrain(
        lambda a, b: a * 10 < b, tight, lambda c, b: c in ("x", "y") or b > 900, lambda s: max(s) < 0.8,
        lambda big, a: (big > 10) & (big < 500_000 + a),
    )  # fmt: skip
    for c in space.design(200, 0):
        assert c["a"] * 10 < c["b"]
        assert tight(c["a"], c["b"])
        assert c["c"] != "z" or c["b"] > 900
        assert max(c["s"]) < 0.8
        assert 10 < c["big"] < 500_000 + c["a"]


def test_feasible_agrees_row_by_row():
    space = Space(
        a=Float(0, 1, log=False),
        b=Integer(1, 10**6, log=True),
        c=Categorical([True, "x", 3]),
        d=Ordinal(["s", "m", "l"]),
    ).constrain(
        lambda a, b: a * 1e6 < b,
        lambda c, b: c == "x" or b > 100,
        lambda d, c: not (d == "l" and c is True),
        lambda b, a: 0 if False else (b % 2 == 0) | (a > 0.5),
    )
    unit = np.random.default_rng(0).random((500, space.dimension))
    by_row = [space.feasible_configuration(c) for c in space.decode(unit)]
    assert space.feasible(unit).tolist() == by_row
    assert 0 < np.mean(by_row) < 1


def test_arrays_are_passed_only_where_they_agree():
    seen = []

    def smooth(a, b):
        seen.append(type(a))
        return a < b

    def branching(a, b):
        return a < b if a > 0.5 else a < 0.4

    def misleading(a, b):
        return a < b if isinstance(a, float) else b < a

    space = Space(a=Float(0, 1), b=Float(0, 1))
    quick, slow, wrong = (space.constrain(f) for f in (smooth, branching, misleading))
    unit = np.random.default_rng(0).random((100, 2))
    seen.clear()
    assert (quick.feasible(unit) == (unit[:, 0] < unit[:, 1])).all()
    assert seen == [np.ndarray]
    a, b = unit.T
    assert (slow.feasible(unit) == np.where(a > 0.5, a < b, a < 0.4)).all()
    assert (wrong.feasible(unit) == (a < b)).all()


def test_small_spaces_are_used_up_before_repeating():
    space = Space(a=Integer(1, 4), b=Boolean(), c=Ordinal([1, 2, 3], when={"b": True}))
    assert space.size == 16
    rows = space.sample(40, 7)
    assert len(rows) == 40
    assert len(keys(rows[:16])) == 16
    assert keys(rows) == keys(rows[:16])
    needle = Space(**{f"b{i}": Boolean() for i in range(14)}).constrain(
        lambda b0, b1, b2, b3, b4, b5, b6: b0 and b1 and b2 and b3 and b4 and b5 and b6,
        lambda b7, b8, b9, b10, b11, b12: b7 and b8 and b9 and b10 and b11 and b12,
    )
    assert needle.size == 2
    assert len(keys(needle.sample(2, 0))) == 2
    assert all(needle.default[f"b{i}"] for i in range(13))


def test_nothing_to_choose_is_a_space_too():
    space = Space(a=Integer(1, 4), b=Boolean()).fix(a=2, b=True)
    assert space.dimension == 0
    assert space.design(2, 0) == [{"a": 2, "b": True}] * 2
    assert space.encode([space.default]).shape == (1, 0)
    assert space.wires(np.zeros((3, 0)))["a"].tolist() == [2, 2, 2]
    assert space.neighbours(np.zeros(0), np.random.default_rng(0), 5).shape == (0, 0)
    assert space.sample(0, 0).shape == (0, 0)


def test_practically_infeasible_spaces_are_refused():
    space = Space(a=Float(0, 1, default=0.5), b=Float(0, 1))
    with pytest.raises(
        ValueError, match=r"with the constraint `a \+ b < 1e-3` the space is practically infeasible"
    ):
        space.constrain(lambda a: a < 0.9, lambda a, b: a + b < 1e-3)
    with pytest.raises(ValueError, match=r"`a > 1000` the space is practically infeasible: no configuration"):
        Space(a=Integer(0, 50)).constrain(lambda a: a > 1000)
    rare = Space(a=Float(0, 1), b=Float(0, 1)).constrain(lambda a, b: a + b < 0.05)  # one in 800
    assert all(c["a"] + c["b"] < 0.05 for c in rare.design(300, 0))


MIXED = Space(
    x=Float(0, 1),
    y=Float(1e-3, 10, log=True),
    n=Integer(0, 1000),
    few=Integer(1, 3),
    gc=Categorical(["serial", "g1", "zgc"]),
    size=Ordinal([1, 2, 4, 8]),
    on=Boolean(),
    share=Simplex(5),
    region=Integer(1, 100, when={"gc": "g1"}),
)


def test_neighbours_cover_the_moves():
    rng = np.random.default_rng(3)
    row = MIXED.encode([MIXED.default])[0]
    rows = MIXED.neighbours(row, rng, 400)
    assert 300 < len(rows) <= 400
    assert row.tobytes() not in keys(rows)
    assert len(keys(rows)) == len(rows)
    assert (MIXED.snap(rows) == rows).all()
    here = MIXED.default
    changes = [{k for k in c if c[k] != here[k]} for c in MIXED.decode(rows)]
    singles = [next(iter(c)) for c in changes if len(c) == 1]
    assert set(singles) >= {"x", "y", "n", "few", "gc", "size", "on", "share"}
    assert sum(len(c) == 2 for c in changes) > 100
    decoded = MIXED.decode(rows)
    assert {c["gc"] for c in decoded} == {"serial", "g1", "zgc"}
    assert {1, -1, 4, -64} <= {c["n"] - here["n"] for c in decoded}
    woken = [c["region"] for c in decoded if c["gc"] == "g1"]
    assert here["region"] in woken
    assert len(set(woken)) > 3
    steps = [abs(c["x"] - here["x"]) for c in decoded if c["x"] != here["x"]]
    assert min(steps) < 0.005
    assert max(steps) > 0.2


def test_neighbours_are_feasible_and_reproducible():
    space = MIXED.constrain(lambda n, x: n < 600 * x + 250, lambda share: share[0] < 0.3)
    rows = space.sample(20, 1)
    for row in rows:
        near = space.neighbours(row, np.random.default_rng(1), 60)
        assert len(near) > 20
        assert space.feasible(near).all()
        assert (near == space.neighbours(row, np.random.default_rng(1), 60)).all()


def test_a_tiny_space_gives_its_few_neighbours():
    space = Space(a=Boolean(), b=Boolean())
    rows = space.neighbours(space.encode([{"a": True, "b": False}])[0], np.random.default_rng(0), 50)
    assert len(rows) == 3


def test_all_subsets_are_listed_before_any_repeats():
    space = Space(works=Subset(5, least=3), on=Boolean())
    assert space.size == 2 * (10 + 5 + 1)
    rows = space.sample(32, 0)
    assert len(keys(rows)) == 32
    assert min(sum(c["works"]) for c in space.decode(rows)) == 3
    odd = space.constrain(lambda works: sum(works) % 2 == 1)
    assert odd.size == 2 * (10 + 1)
    assert all(sum(c["works"]) % 2 for c in odd.design(22, 1))
    assert Space(works=Subset(300, least=1)).size == 2**300 - 1


def test_neighbours_of_a_subset_put_in_put_out_and_swap():
    space = Space(works=Subset(6, least=2))
    here = np.array([True, True, False, False, False, False])
    rows = space.neighbours(space.encode([{"works": here.tolist()}])[0], np.random.default_rng(0), 60)
    works = np.array([c["works"] for c in space.decode(rows)])
    assert works.sum(axis=1).min() == 2
    moves = {(int((here & ~one).sum()), int((one & ~here).sum())) for one in works}
    assert moves == {(0, 1), (1, 1)}  # out alone would leave too few
    empty = space.neighbours(space.encode([{"works": [True] * 6}])[0], np.random.default_rng(0), 60)
    assert {sum(c["works"]) for c in space.decode(empty)} == {5}


def test_predicates_keep_their_answers_out_of_range():
    space = Space(
        parent=Integer(0, 9),
        child=Float(0, 1, default=0.5, when=lambda parent: parent > 5),
        text=Ordinal(["low", "mid", "high"]),
    ).constrain(lambda text, child: text == "low" or child < 2)
    told = [
        space.validate({"parent": p, "child": c, "text": "mid"}, strict=False)
        for p, c in ((30, 0.9), (-4, 0.9))
    ]
    assert [c["child"] for c in told] == [0.9, 0.5]
    assert space.wires(space.encode(told))["child"].tolist() == pytest.approx([0.9, 0.5])
    outside = space.validate({"parent": 9, "child": 3, "text": "mid"}, strict=False)
    assert not space.feasible_configuration(outside)
    assert space.feasible(space.encode([outside])).tolist() == [True]  # rows are read within the ranges


def test_functions_without_source_are_known_by_what_they_do():
    scope = {}
    exec("less = lambda a: a < 5\nfewer = lambda a: a < 6", scope)
    space = Space(a=Integer(0, 9))
    less, fewer = (space.constrain(scope[name]) for name in ("less", "fewer"))
    assert less.describe()[-1] == "subject to <lambda>"
    assert less != fewer
    assert less == space.constrain(scope["less"])

    class Below:
        def __init__(self, limit):
            self.limit = limit

        def __call__(self, a):
            return a < self.limit

    assert space.constrain(Below(5)).size == 5
    assert space.constrain(Below(5)) == space.constrain(Below(5))
    assert space.constrain(Below(5)) != space.constrain(Below(6))


def test_functions_that_fail_on_some_arrays_only():
    def careful(a, b):
        if isinstance(a, np.ndarray) and len(a) != 64:
            raise RuntimeError("not with arrays of this length")
        return a < b

    space = Space(a=Float(0, 1), b=Float(0, 1)).constrain(careful)
    unit = np.random.default_rng(0).random((10, 2))
    assert (space.feasible(unit) == (unit[:, 0] < unit[:, 1])).all()
