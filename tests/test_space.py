"""Laws of the space: round trips, Dirichlet shares, wires, features, gradients; every kind of parameter."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from boatppl.space import Boolean, Categorical, Context, Float, Integer, Ordinal, Simplex, Space, Subset

KINDS = {
    "float": lambda when: Float(-2.5, 7, when=when),
    "float log": lambda when: Float(1e-3, 20, log=True, unit="s", when=when),
    "integer": lambda when: Integer(-3, 40, default=5, when=when),
    "integer log": lambda when: Integer(1, 3000, log=True, when=when),
    "categorical": lambda when: Categorical(["g1", "zgc", "serial", 7, None], default="zgc", when=when),
    "ordinal": lambda when: Ordinal([1, 2, 4, 8.5], when=when),
    "ordinal text": lambda when: Ordinal(["low", "mid", "high"], when=when),
    "boolean": lambda when: Boolean(default=True, when=when),
    "simplex": lambda when: Simplex(4, dim="machine", when=when),
    "subset": lambda when: Subset(4, least=1, default=[True, False, True, False], when=when),
}
CONDITIONS = {
    "free": None,
    "dict": {"mode": ["a", "b"]},
    "function": lambda mode, level: mode == "a" and level > 3,
}


def matrix_space(kind, condition, constrained, fixed):
    space = Space(
        mode=Categorical(["a", "b", "c"]),
        level=Integer(0, 9),
        x=KINDS[kind](CONDITIONS[condition]),
        extra=Float(0, 1),
        load=Context(10, 1000, log=True),
    )
    if constrained:
        space = space.constrain(lambda level, extra: level * extra < 6)
    return space.fix(level=6) if fixed else space


MATRIX = [
    pytest.param(kind, condition, constrained, fixed, id=f"{kind}-{condition}-{constrained:d}{fixed:d}")
    for kind in KINDS
    for condition in CONDITIONS
    for constrained in (False, True)
    for fixed in (False, True)
]


@pytest.mark.parametrize(("kind", "condition", "constrained", "fixed"), MATRIX)
class TestEveryKindWithEveryFeature:
    def test_round_trips(self, kind, condition, constrained, fixed):
        space = matrix_space(kind, condition, constrained, fixed)
        unit = np.random.default_rng(1).random((300, space.dimension))
        configurations = space.decode(unit)
        snapped = space.snap(unit)
        assert space.decode(snapped) == configurations
        assert (space.snap(snapped) == snapped).all()
        assert space.decode(space.encode(configurations)) == configurations
        np.testing.assert_allclose(space.encode(configurations), snapped, atol=1e-9)
        for configuration in configurations[:40]:
            if space.feasible_configuration(configuration):
                assert space.validate(configuration) == configuration
            assert space.in_range(configuration)

    def test_design_is_feasible_and_distinct(self, kind, condition, constrained, fixed):
        space = matrix_space(kind, condition, constrained, fixed)
        design = space.design(64, seed=3)
        assert len({repr(c) for c in design}) == 64
        assert design == space.design(64, seed=3)
        assert design != space.design(64, seed=4)
        assert all(not constrained or c["level"] * c["extra"] < 6 for c in design)
        assert all(not fixed or c["level"] == 6 for c in design)
        for configuration in design:
            space.validate(configuration)

    def test_inactive_parameters_rest_at_their_default(self, kind, condition, constrained, fixed):
        space = matrix_space(kind, condition, constrained, fixed)
        unit = np.random.default_rng(2).random((200, space.dimension))
        rest = space.default["x"]
        active = space.active(unit, "x")
        expected = {
            "free": lambda c: True,
            "dict": lambda c: c["mode"] in "ab",
            "function": lambda c: c["mode"] == "a" and c["level"] > 3,
        }[condition]
        configurations = space.decode(unit)
        assert [expected(c) for c in configurations] == active.tolist()
        assert all(c["x"] == rest for c, on in zip(configurations, active, strict=True) if not on)
        features = space.features(unit, "x")
        at_rest = space.features(space.encode([space.default]), "x")
        np.testing.assert_allclose(
            features[~active], np.broadcast_to(at_rest, features[~active].shape), atol=1e-9
        )
        if condition != "free":
            assert 0 < active.mean() < 1

    def test_wires_are_the_configuration(self, kind, condition, constrained, fixed):
        space = matrix_space(kind, condition, constrained, fixed)
        unit = np.random.default_rng(3).random((50, space.dimension))
        wires = space.wires(unit, {"load": 100.0})
        assert list(wires) == [*space.names, "load"]
        codes = {
            "categorical": ["g1", "zgc", "serial", 7, None].index,
            "ordinal text": ["low", "mid", "high"].index,
        }
        for i, configuration in enumerate(space.decode(unit)):
            assert wires["mode"][i] == "abc".index(configuration["mode"])
            assert wires["level"][i] == configuration["level"]
            np.testing.assert_allclose(
                wires["x"][i], codes.get(kind, lambda v: v)(configuration["x"]), atol=1e-11
            )
        np.testing.assert_array_equal(wires["load"], 100.0)

    def test_pullback_is_the_transposed_jacobian(self, kind, condition, constrained, fixed):
        space = matrix_space(kind, condition, constrained, fixed)
        rng = np.random.default_rng(4)
        unit = 0.02 + 0.96 * rng.random((30, space.dimension))
        for relax in (False, True):
            smooth = space.continuous | (relax & np.array([_relaxes(space, c) for c in space.coordinates]))
            w = {
                n: rng.standard_normal(v.shape)
                for n, v in space.wires(unit, {"load": 50}, relax=relax).items()
            }
            f = {n: rng.standard_normal((30, space.feature_columns(n))) for n in space.names}

            def value(at, w=w, f=f, relax=relax):
                wires = space.wires(at, {"load": 50}, relax=relax)
                total = sum((w[n] * wires[n]).reshape(30, -1).sum(axis=1) for n in w)
                return total + sum((f[n] * space.features(at, n, relax=relax)).sum(axis=1) for n in f)

            pulled = space.pullback(unit, w, f, relax=relax)
            assert (pulled[:, ~smooth] == 0).all()
            for j in np.flatnonzero(smooth):
                step = np.zeros(space.dimension)
                step[j] = 1e-6
                numeric = (value(unit + step) - value(unit - step)) / 2e-6
                # a finite difference across a range's end or a condition says nothing
                calm = [_same_side(space, unit + s, unit, relax, j) for s in (step, -step)]
                rows = calm[0] & calm[1]
                assert rows.sum() > 20
                np.testing.assert_allclose(pulled[rows, j], numeric[rows], rtol=2e-4, atol=2e-4)


def _relaxes(space, coordinate):
    return isinstance(space.parameters[coordinate.partition("[")[0]], Integer | Subset)


def _same_side(space, a, b, relax, j):
    name = space.coordinates[j].split("[")[0]
    same = space.active(a, "x") == space.active(b, "x")
    if relax and isinstance(space.parameters[name], Integer):
        parameter = space.parameters[name]
        wire = parameter.from_unit(a[:, [j]], relax=True)
        same &= (wire > parameter.low) & (wire < parameter.high)
    return same


# --- random spaces ---

names = st.sampled_from(["alpha", "beta", "gamma", "delta", "eps"])
reals = st.floats(-1e6, 1e6, allow_nan=False).map(lambda v: round(v, 4))
positive = st.floats(1e-4, 1e6)


@st.composite
def parameters(draw):
    kind = draw(st.sampled_from(["float", "flog", "int", "ilog", "cat", "ord", "bool", "simplex", "subset"]))
    if kind == "float":
        low = draw(reals)
        return Float(low, low + draw(st.floats(0.01, 1e6)))
    if kind == "flog":
        low = draw(positive)
        return Float(low, low * draw(st.floats(1.01, 1e6)), log=True)
    if kind == "int":
        low = draw(st.integers(-(10**9), 10**9))
        return Integer(low, low + draw(st.integers(1, 10**9)))
    if kind == "ilog":
        low = draw(st.integers(1, 10**6))
        return Integer(low, low + draw(st.integers(1, 10**12)), log=True)
    if kind == "cat":
        return Categorical(
            draw(st.lists(st.text(max_size=3) | st.integers(2, 9), min_size=2, max_size=6, unique=True))
        )
    if kind == "ord":
        return Ordinal(sorted(draw(st.lists(st.integers(-99, 99), min_size=2, max_size=7, unique=True))))
    n = draw(st.integers(2, 40))
    if kind == "subset":
        return Subset(n, least=draw(st.integers(0, n - 1)))
    return Boolean() if kind == "bool" else Simplex(n)


@settings(max_examples=80, deadline=None)
@given(chosen=st.dictionaries(names, parameters(), min_size=1), seed=st.integers(0, 2**32 - 1))
def test_round_trips_over_random_spaces(chosen, seed):
    space = Space(**chosen)
    unit = np.random.default_rng(seed).random((20, space.dimension))
    unit[0], unit[1] = 0.0, 1.0
    configurations = space.decode(unit)
    assert [space.validate(c) for c in configurations] == configurations
    assert space.decode(space.encode(configurations)) == configurations
    snapped = space.snap(unit)
    assert (space.snap(snapped) == snapped).all()
    assert space.decode(snapped) == configurations
    assert space.validate(space.default) == space.default
    assert space.decode(space.encode([space.default])) == [space.default]
    again = Space.from_spec(space.to_spec())
    assert again == space
    assert again.decode(unit) == configurations


@settings(max_examples=60, deadline=None)
@given(value=st.floats(-1e7, 1e7), log=st.booleans(), low=st.floats(0.01, 5), width=st.floats(0.1, 1e6))
def test_validated_floats_survive_the_cube_exactly(value, log, low, width):
    space = Space(x=Float(low, low + width, log=log))
    if log:
        value = abs(value) + 1e-9
    plain = space.validate({"x": value}, strict=False)
    assert math.isclose(plain["x"], value, rel_tol=1e-9, abs_tol=1e-9 * (low + width))
    unit = space.encode([plain])
    assert (0 <= unit[0, 0] <= 1) == space.in_range(plain)
    if space.in_range(plain):
        assert space.decode(unit) == [plain]
    else:
        np.testing.assert_allclose(space.wires(unit)["x"], plain["x"], rtol=1e-9, atol=1e-9 * low)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("kind", [Float, Integer])
def test_numbers_told_out_of_range_encode_outside_in_order(kind, log):
    space = Space(x=kind(10, 100, log=log))
    values = [3, 9, 10, 40, 100, 101, 500]
    unit = space.encode([space.validate({"x": v}, strict=False) for v in values])[:, 0]
    assert (np.diff(unit) > 0).all()
    assert unit[1] < 0 <= unit[2] < unit[4] <= 1 < unit[5]
    np.testing.assert_allclose(space.wires(unit[:, None])["x"], values, rtol=1e-12)
    assert [space.in_range({"x": v}) for v in values] == [False, False, True, True, True, False, False]
    assert [c["x"] for c in space.decode(unit[:, None])] == [10, 10, 10, 40, 100, 100, 100]
    features = space.features(unit[:, None], "x")[:, 0]
    assert features[2] == 0
    assert features[4] == pytest.approx(1)
    assert (np.diff(features) > 0).all()


def test_integers_own_bins_of_equal_probability():
    space = Space(x=Integer(3, 12))
    values = [c["x"] for c in space.decode(np.linspace(0, 1, 100_001)[:, None])]
    _, counts = np.unique(values, return_counts=True)
    np.testing.assert_allclose(counts, 10_000, atol=2)
    wide = Space(x=Integer(1, 1000, log=True))
    values = np.array([c["x"] for c in wide.decode(np.linspace(0, 1, 100_001)[:, None])])
    share = (values == 10).mean()
    assert share == pytest.approx(math.log(10.5 / 9.5) / math.log(1000.5 / 0.5), rel=0.02)


def test_every_integer_of_a_large_log_range_is_exact():
    space = Space(x=Integer(1, 2**44, log=True))
    values = [1, 2, 3, 12_345, 2**33 + 1, 2**40 + 7, 2**44 - 1, 2**44]
    assert [c["x"] for c in space.decode(space.encode([{"x": v} for v in values]))] == values


@pytest.mark.parametrize("n", [2, 3, 8])
def test_uniform_coordinates_are_dirichlet_shares(n):
    space = Space(share=Simplex(n))
    shares = space.wires(np.random.default_rng(5).random((4000, n - 1)))["share"]
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-12)
    for i in range(n):  # each share of Dirichlet(1, ..., 1) is Beta(1, n - 1)
        assert stats.kstest(shares[:, i], stats.beta(1, n - 1).cdf).pvalue > 1e-3
    covariance = np.cov(shares.T)
    expected = -1 / (n * n * (n + 1))
    off = covariance[~np.eye(n, dtype=bool)]
    np.testing.assert_allclose(off, expected, atol=6 * abs(expected) / np.sqrt(4000) * n)


def test_a_subset_that_would_be_too_small_takes_the_largest_coordinates():
    space = Space(works=Subset(4, dim="machine", least=2))
    unit = [[0.1, 0.3, 0.2, 0.0], [0.1, 0.9, 0.2, 0.3], [0.6, 0.4, 0.9, 0.7], [0.4, 0.4, 0.4, 0.4]]
    taken = [np.flatnonzero(configuration["works"]).tolist() for configuration in space.decode(unit)]
    assert taken == [[1, 2], [1, 3], [0, 2, 3], [0, 1]]
    assert space.default == {"works": [True] * 4}
    assert Space(works=Subset(4, default=False)).default == {"works": [False] * 4}
    assert space.describe() == ["works [at least 2 of 4 over machine]"]


def test_opposite_subsets_are_at_distance_1():
    space = Space(works=Subset(5))
    first, second = np.array([True, False, True, True, False]), np.array([True, True, True, True, False])
    rows = space.encode([{"works": list(one)} for one in (first, ~first, second)])
    here, opposite, near = space.features(rows, "works")
    assert np.linalg.norm(opposite - here) == pytest.approx(1)
    assert np.linalg.norm(near - here) == pytest.approx(math.sqrt(1 / 5))
    np.testing.assert_array_equal(space.wires(rows)["works"], [first, ~first, second])


@pytest.mark.parametrize("n", [2, 10, 40])
def test_lopsided_shares_survive(n):
    space = Space(share=Simplex(n))
    for position in range(n):
        shares = np.full(n, 0.01 / (n - 1))
        shares[position] = 0.99
        plain = space.validate({"share": shares})
        back = space.decode(space.encode([plain]))[0]["share"]
        assert back == plain["share"]
        corner = space.validate({"share": np.eye(n)[position]})
        assert space.decode(space.encode([corner])) == [corner]


def test_features_measure_distances_as_residuals_want_them():
    space = Space(
        gc=Categorical(["serial", "g1", "zgc"]),
        young=Integer(4, 64, log=True),
        size=Ordinal([1, 2, 4, 8]),
        level=Ordinal(["low", "mid", "high"]),
        on=Boolean(),
        rate=Context(10, 1000, log=True),
    )
    rows = space.encode(
        [
            {"gc": g, "young": y, "size": s, "level": lv, "on": b}
            for g, y, s, lv, b in [
                ("serial", 4, 1, "low", False),
                ("g1", 16, 2, "mid", True),
                ("zgc", 64, 8, "high", True),
            ]
        ]
    )
    gc = space.features(rows, "gc")
    assert gc.shape == (3, space.feature_columns("gc")) == (3, 3)
    np.testing.assert_allclose(np.linalg.norm(gc[:, None] - gc[None], axis=2), 1 - np.eye(3))
    np.testing.assert_allclose(space.features(rows, "young")[:, 0], [0, 0.5, 1], atol=1e-12)
    np.testing.assert_allclose(space.features(rows, "size")[:, 0], [0, 1 / 3, 1])
    np.testing.assert_allclose(space.features(rows, "level")[:, 0], [0, 0.5, 1])
    np.testing.assert_allclose(space.features(rows, "on")[:, 0], [0, 1, 1])
    np.testing.assert_allclose(space.features(rows, "rate", {"rate": [10, 100, 10_000]})[:, 0], [0, 0.5, 1.5])
    wires = space.wires(rows, {"rate": 20})
    np.testing.assert_array_equal(wires["size"], [1, 2, 8])
    np.testing.assert_array_equal(wires["level"], [0, 1, 2])
    np.testing.assert_array_equal(wires["on"], [0, 1, 1])


def test_conditions_follow_their_parents_down_the_chain():
    space = Space(
        leaf=Float(0, 1, when=lambda branch: branch > 2),
        branch=Integer(0, 5, default=4, when={"root": True}),
        root=Boolean(),
    )
    off, on = space.encode(
        [{"root": False, "branch": 5, "leaf": 0.9}, {"root": True, "branch": 5, "leaf": 0.9}]
    )
    assert space.decode([off]) == [{"leaf": 0.5, "branch": 4, "root": False}]
    assert space.decode([on]) == [{"leaf": 0.9, "branch": 5, "root": True}]
    assert space.active([off, on], "leaf").tolist() == [False, True]
    assert space.validate({"root": False}) == {"leaf": 0.5, "branch": 4, "root": False}
    assert space.validate({"root": False, "leaf": float("nan")})["leaf"] == 0.5
    ruled_out = space.fix(root=False)
    assert ruled_out.dimension == 0
    assert ruled_out.size == 1
    assert ruled_out.design(2, 0) == [space.validate({"root": False})] * 2
    assert ruled_out.active(np.zeros((1, 0)), "leaf").tolist() == [False]
    met = space.fix(root=True)
    assert met.coordinates == ("leaf", "branch")
    assert met.active([[0.5, 0.9]], "branch").tolist() == [True]


def test_parameters_that_fixing_rules_out_leave_the_search():
    space = Space(
        gc=Categorical(["serial", "g1"]),
        region=Ordinal([1, 2, 4], when={"gc": "g1"}),
        pause=Integer(1, 500, log=True, when=lambda gc: gc == "g1"),
    )
    assert space.fix(gc="serial").coordinates == ()
    assert space.fix(gc="g1").coordinates == ("region", "pause")
    assert space.fix(gc="g1", pause=10).fix(pause=20).decode([[0.99]]) == [
        {"gc": "g1", "region": 4, "pause": 20}
    ]


def test_defaults_are_what_was_said_or_the_middle():
    space = Space(
        a=Float(0, 10), b=Float(1, 100, log=True),
        c=Integer(1, 100, log=True), d=Integer(0, 9), e=Ordinal([1, 2, 3]),
        f=Boolean(), g=Categorical(["x", "y"]), h=Simplex(4), i=Integer(0, 9, default=7),
    )  # fmt: skip
    assert space.default == {
        "a": 5.0, "b": 10.0, "c": 10, "d": 4, "e": 2, "f": False, "g": "x", "h": [0.25] * 4, "i": 7,
    }  # fmt: skip
    assert space.fix(i=3).default["i"] == 3
    space.default["h"].append(1)
    assert space.default["h"] == [0.25] * 4


def test_a_silent_default_moves_to_the_nearest_feasible_configuration():
    space = Space(young=Integer(4, 80), heap=Integer(64, 128, default=96), other=Float(0, 1))
    narrow = space.constrain(lambda young, heap: young < heap / 4)
    default = narrow.default
    assert default["heap"] == 96
    assert default["other"] == 0.5
    assert 15 <= default["young"] < 24
    with pytest.raises(ValueError, match=r"the default breaks the constraint `heap > 100`: heap=96"):
        space.constrain(lambda heap: heap > 100)


def test_values_come_back_as_plain_python():
    space = Space(
        a=Float(0, 1),
        b=Integer(0, 9),
        c=Boolean(),
        d=Categorical(["x", "y"]),
        e=Simplex(2),
        f=Ordinal([1, 2.5]),
    )
    given = {
        "f": np.int64(1),
        "e": np.array([0.5, 0.5]),
        "d": np.str_("y"),
        "c": np.int64(1),
        "b": 3.0,
        "a": np.float32(0.5),
    }
    plain = space.validate(given)
    assert plain == {"a": 0.5, "b": 3, "c": True, "d": "y", "e": [0.5, 0.5], "f": 1}
    assert [type(v) for v in plain.values()] == [float, int, bool, str, list, int]
    assert list(plain) == list(space.names)
    for v, w in zip(space.decode(space.encode([plain]))[0].values(), plain.values(), strict=True):
        assert type(v) is type(w)


def test_a_space_is_a_value():
    def build():
        return Space(a=Float(0, 1, unit="s"), b=Integer(1, 9, when={"c": "x"}), c=Categorical(["x", "y"]))

    space = build()
    assert space == build()
    assert hash(space) == hash(build())
    assert space != space.fix(a=0.5)
    assert space.constrain(lambda b: b < 5) != space.constrain(lambda b: b < 6)
    limits = [5, 6]
    by_closure = [space.constrain(lambda b, limit=limit: b < limit) for limit in limits]
    assert by_closure[0] != by_closure[1]
    assert by_closure[0].feasible_configuration({"a": 0, "b": 5, "c": "x"}) is False
    with pytest.raises(AttributeError, match="never changes"):
        space.parameters = {}
    with pytest.raises(TypeError):
        space.parameters["d"] = Boolean()
    assert "a" in space
    assert "z" not in space


def test_it_describes_itself():
    space = Space(
        young_mb=Integer(4, 80, log=True, unit="MB"),
        gc=Categorical(["serial", "g1"]),
        region=Ordinal([1, 2], unit="MB", when={"gc": "g1"}),
        share=Simplex(3, dim="machine", when=lambda gc: gc != "g1"),
        heap=Float(0.5, 2, unit="GB"),
        verbose=Boolean(),
        rate=Context(10, 100, unit="1/s"),
    )
    space = space.fix(heap=1).constrain(lambda young_mb, heap: young_mb < 60 * heap)
    lines = [
        "young_mb [4..80 MB, log]",
        "gc {serial, g1}",
        "region [1 < 2 MB] when gc = g1",
        'share [3 shares over machine] when gc != "g1"',
        "heap = 1.0 GB (fixed)",
        "verbose [False, True]",
        "rate [10..100 1/s, context]",
        "subject to young_mb < 60 * heap",
    ]
    assert space.describe() == lines
    assert repr(space) == "Space(\n" + "".join(f"    {line}\n" for line in lines) + ")"


def test_specs_hold_everything_but_functions():
    space = Space(
        a=Float(0.1, 1, log=True, default=0.5, unit="s"),
        b=Integer(1, 9, when={"c": ["x", "y"], "d": True}),
        c=Categorical(["x", "y", "z"]),
        d=Boolean(default=True),
        e=Simplex(3, dim="m", default=[0.2, 0.3, 0.5]),
        f=Ordinal(["s", "l"]),
        g=Context(1, 2),
    ).fix(f="l")
    spec = space.to_spec()
    again = Space.from_spec(spec)
    assert again == space
    assert again.to_spec() == spec
    assert again.fingerprint() == space.fingerprint()
    unit = np.random.default_rng(0).random((50, space.dimension))
    assert again.decode(unit) == space.decode(unit)
    with pytest.raises(ValueError, match=r"has constraints, which are Python functions.*b < 5"):
        Space.from_spec(space.constrain(lambda b: b < 5).to_spec())
    with pytest.raises(ValueError, match=r"a has the condition `b > 5`, a Python function"):
        Space.from_spec(Space(a=Boolean(when=lambda b: b > 5), b=Integer(0, 9)).to_spec())
    with pytest.raises(ValueError, match="version 1, got version 99"):
        Space.from_spec({**spec, "version": 99})


def test_size_counts_configurations():
    assert Space(a=Integer(1, 10), b=Boolean()).size == 20
    assert Space(a=Integer(1, 10), b=Float(0, 1)).size == math.inf
    assert Space(a=Integer(1, 10), b=Float(0, 1)).fix(b=0.5).size == 10
    assert Space(a=Integer(1, 10, when={"b": True}), b=Boolean()).size == 11
    assert Space(a=Integer(1, 10), b=Integer(1, 10)).constrain(lambda a, b: a < b).size == 45
    assert Space(a=Integer(1, 10**6), b=Integer(1, 10**6)).size == 10**12


def test_contexts_span_their_range():
    rate = Context(10, 1000, log=True)
    np.testing.assert_allclose(rate.from_unit(np.array([[0.0, 0.5, 1.0]])), [[10, 100, 1000]])
    np.testing.assert_allclose(Context(-2, 4).from_unit(np.array([0.0, 0.5, 1.0])), [-2, 1, 4])


def test_nothing_asked_is_nothing_pulled():
    space = Space(share=Simplex(3), x=Float(0, 1))
    unit = np.full((2, 3), 0.5)
    assert (space.pullback(unit) == 0).all()
    only_x = space.pullback(unit, {"x": np.ones(2)}, {"share": np.zeros((2, 3))})
    np.testing.assert_allclose(only_x, [[0, 0, 1], [0, 0, 1]])


def test_tiny_and_huge_numbers_round_trip():
    space = Space(
        tiny=Float(1e-30, 1e-20, log=True),
        huge=Float(-3e40, 5e40),
        small=Float(0, 3e-30),
        far=Float(1e9, 1e9 + 1),
    )
    configurations = space.design(50, 0)
    assert space.decode(space.encode(configurations)) == configurations
    assert len({c["far"] for c in configurations}) == 50
