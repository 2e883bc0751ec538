"""Spaces from ConfigSpace and to it: the same configurations are legal on both sides."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import boatppl as boat

ConfigSpace = pytest.importorskip("ConfigSpace")

from ConfigSpace.exceptions import ForbiddenValueError  # noqa: E402

from boatppl.integrations.configspace import from_configspace, to_configspace  # noqa: E402

SPACE = boat.Space(
    heap_mb=boat.Integer(64, 4096, log=True, default=512),
    ratio=boat.Float(0.1, 0.9),
    gc=boat.Categorical(("serial", "parallel", "g1")),
    eager=boat.Boolean(default=True),
    threads=boat.Ordinal((1, 2, 4, 8), default=2, when={"gc": ["parallel", "g1"]}),
    region_mb=boat.Integer(1, 32, log=True, when={"gc": "g1", "eager": True}),
)


def test_a_space_comes_back_from_a_configspace_as_it_was():
    back = from_configspace(to_configspace(SPACE))
    assert back.default == SPACE.default
    kinds = {name: type(known) for name, known in SPACE.parameters.items()}
    assert {name: type(known) for name, known in back.parameters.items()} == kinds
    rows = SPACE.sample(200, 1)
    configurations = SPACE.decode(rows)
    there = back.encode(configurations)
    assert back.decode(there) == configurations
    for name in ("threads", "region_mb"):
        np.testing.assert_array_equal(back.active(there, name), SPACE.active(rows, name))


def test_what_configspace_draws_is_in_our_space_and_active_alike():
    theirs = to_configspace(SPACE)
    theirs.seed(0)
    for drawn in theirs.sample_configuration(50):
        ours = SPACE.validate({**SPACE.default, **dict(drawn)}, strict=False)
        row = SPACE.encode([ours])
        for name in SPACE.names:
            assert bool(SPACE.active(row, name)[0]) == (name in drawn)


def test_forbidden_clauses_relations_and_other_conditions_are_kept():
    theirs = ConfigSpace.ConfigurationSpace(
        {"a": (1, 8), "b": (1, 8), "kind": ["x", "y", "z"], "rate": (0.0, 1.0), "version": "2.1"}
    )
    late = ConfigSpace.Integer("late", (1, 3))
    deep = ConfigSpace.Float("deep", (0.0, 1.0))
    theirs.add(late, deep)
    theirs.add(ConfigSpace.GreaterThanCondition(late, theirs["rate"], 0.5))
    theirs.add(ConfigSpace.EqualsCondition(deep, late, 2))
    theirs.add(ConfigSpace.ForbiddenGreaterThanRelation(theirs["a"], theirs["b"]))
    theirs.add(
        ConfigSpace.ForbiddenAndConjunction(
            ConfigSpace.ForbiddenEqualsClause(theirs["kind"], "x"),
            ConfigSpace.ForbiddenInClause(theirs["a"], [1, 2]),
        )
    )
    ours = from_configspace(theirs)
    assert "version" not in ours
    for configuration in ours.decode(ours.sample(300, 0)):
        assert configuration["a"] <= configuration["b"]
        assert not (configuration["kind"] == "x" and configuration["a"] in (1, 2))
    row = {**ours.default, "rate": 0.9, "late": 2, "deep": 0.7}
    assert ours.active(ours.encode([row]), "deep")[0]
    assert not ours.active(ours.encode([row | {"rate": 0.1}]), "deep")[0]  # its parent is inactive
    assert not ours.active(ours.encode([row | {"late": 3}]), "deep")[0]


def test_a_normal_prior_gives_its_range_and_one_without_bounds_is_refused():
    bounded = ConfigSpace.NormalFloatHyperparameter("x", mu=0.5, sigma=0.1, lower=0, upper=1)
    ours = from_configspace(ConfigSpace.ConfigurationSpace({"x": bounded}))
    assert (ours.parameters["x"].low, ours.parameters["x"].high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (boat.Space(share=boat.Simplex(3, dim="m")), "cannot hold 'share' .*: it has no Simplex"),
        (boat.Space(x=boat.Float(0, 1), load=boat.Context(0, 1)), "no contexts .* the context 'load'"),
        (
            boat.Space(x=boat.Float(0, 1)).constrain(lambda x: x < 0.5),
            "constraints that are functions: `x < 0.5`",
        ),
        (
            boat.Space(x=boat.Float(0, 1), y=boat.Float(0, 1, when=lambda x: x > 0.5)),
            "when= of y is a function, which ConfigSpace cannot keep",
        ),
    ],
)
def test_what_configspace_cannot_say_is_a_sentence(space, sentence):
    with pytest.raises(boat.ModelError, match=sentence):
        to_configspace(space)


def test_fixed_parameters_become_constants():
    theirs = to_configspace(SPACE.fix(gc="g1", heap_mb=256))
    assert theirs["gc"].value == "g1"
    assert theirs["heap_mb"].value == 256
    assert "threads" in theirs.sample_configuration()  # its condition is met for good
    other = to_configspace(SPACE.fix(gc="serial"))
    assert other["threads"].value == 2  # it never moves


# -- the laws, for spaces of every kind

WORDS = st.lists(st.sampled_from(["a", "b", "auto", "", "é", "x y", "None", "1"]), min_size=2, unique=True)
CHOICES = st.one_of(
    WORDS,
    st.lists(st.integers(-5, 5), min_size=2, max_size=4, unique=True),
    st.sampled_from([[False, True], [True, False], [None, "x", 2], ["x", None], [1, 2.5, "x"], [True, "x"]]),
    st.lists(st.floats(-2, 2, width=16), min_size=2, max_size=4, unique=True),
)
ANY_FLOATS = st.one_of(
    st.integers(1, 4000).map(lambda n: n / 8), st.sampled_from([1e-13, 1e-9, 1 / 3, 1e-15, 1e40])
)
EXACT = st.integers(1, 4000).map(lambda n: n / 8)  # bounds that 13 decimals hold


@st.composite
def theirs_of_one_kind(draw, name):
    """A hyperparameter of any of ConfigSpace's kinds."""
    low, high = sorted(draw(st.lists(EXACT, min_size=2, max_size=2, unique=True)))
    range_ = {"lower": low, "upper": high, "log": draw(st.booleans())}
    whole = {"lower": int(low) + 1, "upper": int(high) + 3, "log": range_["log"]}
    kind = draw(st.sampled_from(["float", "int", "normal", "beta", "category", "ordinal", "one", "constant"]))
    if kind == "float":
        return ConfigSpace.UniformFloatHyperparameter(
            name, **range_, default_value=draw(st.sampled_from([low, high]))
        )
    if kind == "int":
        return ConfigSpace.UniformIntegerHyperparameter(name, **whole)
    if kind == "normal":
        both = ConfigSpace.NormalFloatHyperparameter, ConfigSpace.NormalIntegerHyperparameter
        kind, where = draw(st.sampled_from([(both[0], range_), (both[1], whole)]))
        return kind(name, mu=where["upper"], sigma=1 + high - low, **where)
    if kind == "beta":
        both = ConfigSpace.BetaFloatHyperparameter, ConfigSpace.BetaIntegerHyperparameter
        kind, where = draw(st.sampled_from([(both[0], range_), (both[1], whole)]))
        return kind(name, alpha=2, beta=3, default_value=where["lower"], **where)
    if kind == "one":
        return ConfigSpace.CategoricalHyperparameter(name, ["alone"])
    if kind == "constant":
        return ConfigSpace.Constant(name, draw(st.sampled_from([1, "2.1", None, True])))
    choices = draw(CHOICES)
    default = draw(st.sampled_from(choices))
    if kind == "ordinal":
        numbers = all(isinstance(c, int | float) for c in choices)
        values = sorted(choices, reverse=draw(st.booleans())) if numbers else choices
        return ConfigSpace.OrdinalHyperparameter(name, values, default_value=default)
    weights = draw(st.one_of(st.none(), st.just([0.5 + i for i in range(len(choices))])))
    return ConfigSpace.CategoricalHyperparameter(name, choices, default_value=default, weights=weights)


def some_value(draw, known):
    if isinstance(known, ConfigSpace.Constant):
        return known.value
    if hasattr(known, "lower"):
        middle = (known.lower + known.upper) / 2
        return draw(st.sampled_from([known.default_value, type(known.default_value)(middle)]))
    return draw(st.sampled_from(list(getattr(known, "choices", None) or known.sequence)))


@st.composite
def conditions(draw, child, parents, depth=2):
    """A condition of any kind on a child."""
    kind = draw(st.sampled_from(["equals", "not", "in", "order", "and", "or"][: 6 if depth else 4]))
    if kind in ("and", "or") and len(parents) > 1:
        half = draw(st.integers(1, len(parents) - 1))
        parts = [draw(conditions(child, some, depth - 1)) for some in (parents[:half], parents[half:])]
        return {"and": ConfigSpace.AndConjunction, "or": ConfigSpace.OrConjunction}[kind](*parts)
    parent = draw(st.sampled_from(parents))
    value = some_value(draw, parent)
    if kind == "order" and parent.ORDERABLE:
        which = draw(st.sampled_from([ConfigSpace.LessThanCondition, ConfigSpace.GreaterThanCondition]))
        return which(child, parent, value)
    if kind == "in":
        return ConfigSpace.InCondition(child, parent, [value, some_value(draw, parent)])
    return {"not": ConfigSpace.NotEqualsCondition}.get(kind, ConfigSpace.EqualsCondition)(
        child, parent, value
    )


@st.composite
def forbidden(draw, known, depth=1):
    """A forbidden clause of any kind. Not "at most": ConfigSpace 1.2 draws what such a clause forbids."""
    kind = draw(st.sampled_from(["equals", "in", "order", "relation", "and", "or"][: 6 if depth else 4]))
    if kind in ("and", "or"):
        parts = [draw(forbidden(known, depth - 1)), draw(forbidden(known, depth - 1))]
        both = {"and": ConfigSpace.ForbiddenAndConjunction, "or": ConfigSpace.ForbiddenOrConjunction}
        return both[kind](*parts)
    numbers = [one for one in known if hasattr(one, "lower")]
    if kind == "relation" and len(numbers) > 1:
        which = [ConfigSpace.ForbiddenLessThanRelation, ConfigSpace.ForbiddenGreaterThanRelation]
        return draw(st.sampled_from(which))(*draw(st.permutations(numbers))[:2])
    one = draw(st.sampled_from(known))
    value = some_value(draw, one)
    if kind == "order" and one.ORDERABLE:
        which = [ConfigSpace.ForbiddenLessThanClause, ConfigSpace.ForbiddenGreaterThanClause]
        return draw(st.sampled_from([*which, ConfigSpace.ForbiddenGreaterThanEqualsClause]))(one, value)
    if kind == "in":
        return ConfigSpace.ForbiddenInClause(one, [value, some_value(draw, one)])
    return ConfigSpace.ForbiddenEqualsClause(one, value)


@st.composite
def their_spaces(draw):
    names = draw(st.permutations(["a", "self", "_b", "gc", "données"]))[: draw(st.integers(1, 5))]
    known = [draw(theirs_of_one_kind(name)) for name in names]
    space = ConfigSpace.ConfigurationSpace(seed=1)
    space.add(known)
    for i, child in enumerate(known):
        if i and draw(st.booleans()):
            added = draw(conditions(child, known[:i]))
            try:
                space.add(added)
            except ValueError:  # "or" beside an inactive parent may confuse it
                assume(False)
    for _ in range(draw(st.integers(0, 2))):
        added = draw(forbidden(known))
        try:
            space.add(added)
        except ValueError:  # it forbids the default
            assume(False)
    return space


@settings(max_examples=150, deadline=None)
@given(their_spaces())
def test_any_configspace_is_read_as_it_is_or_refused_in_a_sentence(theirs):
    try:
        ours = from_configspace(theirs)
    except ValueError as error:
        said = ("never active", "also where", "means the middle", "at least one parameter", "practically")
        if not any(text in str(error) for text in said):
            raise
        return
    kept = set(ours.names)
    resting = {known.name: known.default_value for known in theirs.values()}
    for drawn in theirs.sample_configuration(20):
        try:  # by its values: whole numbers that it draws along a logarithm have vectors between those
            drawn = as_theirs(theirs, resting | dict(drawn))
        except ForbiddenValueError:
            continue
        given = {name: value for name, value in drawn.items() if name in kept}
        plain = ours.validate(given)  # legal, and complete where its parents are active
        row = ours.encode([plain])
        assert {name for name in kept if ours.active(row, name)[0]} == set(given)
    assert {**resting, **ours.default} == resting
    for configuration in ours.design(20, 0):
        drawn = as_theirs(theirs, resting | configuration)
        row = ours.encode([configuration])
        assert {name for name in kept if ours.active(row, name)[0]} == set(drawn) & kept


def as_theirs(theirs, values):
    """A configuration of ConfigSpace, checked; what is inactive by its conditions has no value."""
    vector = np.array([known.to_vector(values[name]) for name, known in theirs.items()])
    for name in theirs:  # parents come first
        if not all(condition.satisfied_by_vector(vector) for condition in theirs.parent_conditions_of[name]):
            vector[theirs.index_of[name]] = np.nan
    found = ConfigSpace.Configuration(theirs, vector=vector)
    found.check_valid_configuration()
    return found


@st.composite
def our_spaces(draw):
    """A space of all kinds that ConfigSpace has, with conditions, some of it fixed."""
    parameters = {}
    for name in draw(st.permutations(["a", "b", "c", "d", "e"]))[: draw(st.integers(1, 5))]:
        kind = draw(st.sampled_from(["float", "float", "integer", "category", "ordinal", "boolean"]))
        options = {"when": draw(whens(parameters))} if parameters and draw(st.booleans()) else {}
        if kind in ("float", "integer"):
            numbers = st.integers(1, 2**44) if kind == "integer" else ANY_FLOATS
            low, high = sorted(draw(st.lists(numbers, min_size=2, max_size=2, unique=True)))
            given = draw(st.sampled_from([None, low, high]))
            new = {"float": boat.Float, "integer": boat.Integer}[kind]
            options |= {"log": draw(st.booleans()), "unit": draw(st.sampled_from([None, "MB"]))}
            parameters[name] = new(low, high, default=given, **options)
        elif kind == "boolean":
            parameters[name] = boat.Boolean(default=draw(st.booleans()), **options)
        else:
            choices = draw(
                st.one_of(CHOICES, st.sampled_from([[True, 2], ["a", "a\0"], [2**53, 2**53 + 1, 0.5]]))
            )
            if kind == "ordinal" and all(type(choice) in (int, float) for choice in choices):
                choices = sorted(choices)
            new = {"category": boat.Categorical, "ordinal": boat.Ordinal}[kind]
            parameters[name] = new(choices, default=draw(st.sampled_from([None, *choices])), **options)
    space = boat.Space(**parameters)
    held = draw(st.sets(st.sampled_from(list(parameters)), max_size=len(parameters) - 1))
    held = held if draw(st.booleans()) else ()
    return space.fix(**{name: space.design(1, 1)[0][name] for name in held})


@st.composite
def whens(draw, parameters):
    """A condition as a dict, on one or two of the parameters before."""
    few = {n: p for n, p in parameters.items() if not isinstance(p, boat.Float) and (p.levels or 0) < 100}
    found = {}
    for name in draw(st.permutations(list(few)))[:2]:
        known = few[name]
        several = known.values_of(known.from_unit(np.array([[0.1], [0.6]])))
        if several[0] == several[1]:
            several.pop()
        found[name] = draw(st.sampled_from([*several, several]))
    return found or None


@settings(max_examples=100)
@given(our_spaces())
def test_any_space_comes_back_from_configspace_as_it_was_or_is_refused_in_a_sentence(ours):
    try:
        theirs = to_configspace(ours)
    except boat.ModelError as error:
        said = ("13 decimals", "in one NumPy array", "Negative lower bound", "Illegal default value")
        if not any(text in str(error) for text in said):
            raise
        return
    resting = {known.name: known.default_value for known in theirs.values()}
    for configuration in ours.design(20, 0):
        drawn = dict(as_theirs(theirs, configuration))
        row = ours.encode([configuration])
        active = {name for name in ours.slices if ours.active(row, name)[0]}
        still = {name for name in drawn if type(theirs[name]) is ConfigSpace.Constant}
        assert active <= drawn.keys() <= active | still
        assert_close(ours.validate(drawn), configuration)
    for drawn in theirs.sample_configuration(20):
        drawn = dict(as_theirs(theirs, resting | dict(drawn)))
        configuration = ours.validate(drawn)
    if not ours.fixed:
        back = from_configspace(theirs)
        assert without_defaults(back) == without_defaults(ours)
        assert_close({name: back.default[name] for name in ours.names}, ours.default)


def assert_close(some, others):
    """Equal, but for the decimals that ConfigSpace does not keep."""
    assert some.keys() == others.keys()
    for name, value in some.items():
        assert value == (pytest.approx(others[name], abs=1e-13) if type(value) is float else others[name])


def without_defaults(space):
    """The parameters by name, with their kinds and no defaults; a choice of False and True is a Boolean."""
    known = dict(space.parameters)
    for name, p in known.items():
        if isinstance(p, boat.Categorical) and all(isinstance(choice, bool) for choice in p.choices):
            known[name] = boat.Boolean(when=p.when)
        elif isinstance(p, boat.Categorical | boat.Ordinal):
            known[name] = type(p), p.text(), p.when
        else:
            known[name] = replace(p, default=None)
    return known


@pytest.mark.parametrize(
    ("hyperparameter", "sentence"),
    [
        *(
            (ConfigSpace.Float(name, (0, 1)), "'.*' cannot name a parameter")
            for name in ("svm:C", "a b", "lambda", "")
        ),
        (
            ConfigSpace.Integer("x", (0, 2**60)),
            "'x' cannot be a parameter of boatppl: .*2\\*\\*44.*larger unit",
        ),
        (ConfigSpace.Float("x", (1, 1 + 1e-12)), "'x' cannot be .* narrower than the 12 digits"),
        (
            ConfigSpace.Categorical("x", [(1, 2), (3, 4)]),
            "'x' cannot be .* each choice must be .* got \\(1, 2\\)",
        ),
        (ConfigSpace.OrdinalHyperparameter("x", [1, 5, 3]), "'x' cannot be .* increasing order"),
        (
            ConfigSpace.OrdinalHyperparameter("x", ["a", "b", "c", None], default_value=None),
            "Give None another name",
        ),
    ],
)
def test_a_hyperparameter_that_cannot_be_ours_is_named_in_a_sentence(hyperparameter, sentence):
    theirs = ConfigSpace.ConfigurationSpace()
    theirs.add(hyperparameter)
    with pytest.raises(boat.ModelError, match=sentence):
        from_configspace(theirs)


def test_a_condition_that_holds_beside_an_inactive_parent_is_refused_with_the_remedy():
    theirs = ConfigSpace.ConfigurationSpace({"gc": ["g1", "zgc"], "regions": (1, 9), "size": (0.0, 1.0)})
    guard = ConfigSpace.EqualsCondition(theirs["regions"], theirs["gc"], "g1")
    theirs.add(guard, ConfigSpace.NotEqualsCondition(theirs["size"], theirs["regions"], 2))
    with pytest.raises(
        boat.ModelError, match=r"also where 'regions' is inactive.*Add `regions \| gc == 'g1'`"
    ):
        from_configspace(theirs)
    both = [ConfigSpace.NotEqualsCondition(theirs["size"], theirs["regions"], 2)]
    both.append(ConfigSpace.EqualsCondition(theirs["size"], theirs["gc"], "g1"))
    mended = ConfigSpace.ConfigurationSpace(list(theirs.values()))
    mended.add(guard, ConfigSpace.AndConjunction(*both))
    assert from_configspace(mended).names == ("gc", "regions", "size")
