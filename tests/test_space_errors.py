"""Every mistake is a sentence at the earliest moment: what, what was expected, what came, and the remedy."""

import numpy as np
import pytest

from boatppl.space import Boolean, Categorical, Context, Float, Integer, Ordinal, Simplex, Space, Subset

CONSTRUCTION = {
    "Float: the range from 1e-300 to 1e.300 is too wide to compute with.*Use another unit": lambda: Float(
        1e-300, 1e300
    ),
    "Float: .* is too wide to compute with, expected bounds within 1e.100 and above 1e-100": lambda: Float(
        1e-300, 1, log=True
    ),
    "Float: .* is narrower than the 12 digits.*difference from its middle": lambda: Float(1e9, 1e9 + 1e-5),
    "low must be below high, got low=5 and high=1.*space.fix": lambda: Float(5, 1),
    "Integer: low must be below high, got low=3 and high=3": lambda: Integer(3, 3),
    "Context: low must be below high": lambda: Context(3, 3),
    "log=True needs low above 0, got low=0": lambda: Float(0, 1, log=True),
    "Integer: log=True needs low above 0, got low=-1": lambda: Integer(-1, 5, log=True),
    "Context: log=True needs low above 0": lambda: Context(0, 5, log=True),
    "low must be finite, got nan": lambda: Float(float("nan"), 1),
    "high must be finite, got inf": lambda: Float(0, float("inf")),
    "too wide": lambda: Float(-1e308, 1e308),
    "low must be a number, got '1'": lambda: Float("1", 2),
    "high must be a number, got True": lambda: Integer(0, True),
    "log must be True or False, got 'yes'": lambda: Float(1, 2, log="yes"),
    "unit must be a text such as 'MB', got 3": lambda: Float(1, 2, unit=3),
    "Integer: low must be a whole number, got 0.5": lambda: Integer(0.5, 2),
    r"bounds must stay within \+-2\*\*44.*larger unit": lambda: Integer(0, 2**50),
    r"the default must lie in \[1..5 MB\], got 9": lambda: Integer(1, 5, unit="MB", default=9),
    r"the default must lie in \[0..1\], got 1.5": lambda: Float(0, 1, default=1.5),
    "the default must be a whole number, got 2.5": lambda: Integer(1, 5, default=2.5),
    "expected a list of choices, got 'abc'": lambda: Categorical("abc"),
    r"needs at least two choices, got \['a'\]": lambda: Categorical(["a"]),
    "choices must differ, but 'a' is there twice": lambda: Categorical(["a", "b", "a"]),
    "but True is there twice": lambda: Categorical([1, True]),
    "must be a text, a number, a bool or None, got <object.*look the object up": lambda: Categorical(
        [object(), 1]
    ),
    r"choices must be whole characters, got half of one in 'caf\\udce9'": lambda: Categorical(
        ["caf\udce9", "b"]
    ),
    "choices must be finite, got inf": lambda: Categorical([1.0, float("inf")]),
    "the default must be one of 'serial', 'parallel', got 'paralel'. Did you mean 'parallel'": lambda: (
        Categorical(["serial", "parallel"], default="paralel")
    ),
    r"numbers must be in increasing order, got \[1, 4, 2\]": lambda: Ordinal([1, 4, 2]),
    "Ordinal: needs at least two choices": lambda: Ordinal([1]),
    "Ordinal: unit must be a text": lambda: Ordinal([1, 2], unit=1),
    "the default must be one of 1, 2, got 3": lambda: Ordinal([1, 2], default=3),
    "the default must be True or False, got 'on'": lambda: Boolean(default="on"),
    "n must be at least 2 shares, got 1": lambda: Simplex(1),
    "n must be a whole number, got 2.5": lambda: Simplex(2.5),
    "'my dim' cannot name": lambda: Simplex(3, dim="my dim"),
    "the default must have 3 shares, got 2": lambda: Simplex(3, default=[0.5, 0.5]),
    "shares must sum to 1, got 0.9": lambda: Simplex(2, default=[0.5, 0.4]),
    "no share may be negative, got -0.5": lambda: Simplex(2, default=[1.5, -0.5]),
    "must be a list of 2 shares, got 'ab'": lambda: Simplex(2, default="ab"),
    "n must be at least 2 things, got 1. For one, use Boolean": lambda: Subset(1),
    "least must be from 0 to 2, so that something can be chosen, got 3": lambda: Subset(3, least=3),
    "the default must take at least 2 of 3, got 1": lambda: Subset(3, least=2, default=[True, False, False]),
    "the default must have 3 Booleans, got 2": lambda: Subset(3, default=[True, False]),
    r"the default\[1\] must be True or False, got 2": lambda: Subset(2, default=[True, 2]),
    "the default must be a list of 2 Booleans, got 'ab'": lambda: Subset(2, default="ab"),
    "compares 'on', a Subset, with a value": lambda: Space(a=Boolean(when={"on": True}), on=Subset(2)),
    "'young-mb' cannot name a parameter": lambda: Space(**{"young-mb": Boolean()}),
    "'lambda' cannot name a parameter": lambda: Space(**{"lambda": Boolean()}),
    "needs at least one parameter": lambda: Space(),
    r"takes its parameters by name.*Space\(\*\*parameters\); got \{'a': ": lambda: Space({"a": Boolean()}),
    "at least one parameter to choose": lambda: Space(rate=Context(1, 2)),
    r"a must be one of Float.*got 3. A value is held with space.fix\(a=3\)": lambda: Space(a=3),
    r"Call it: a=Boolean\(...\)": lambda: Space(a=Boolean),
    r"A list of choices is Categorical": lambda: Space(a=["x", "y"]),
    "a must be one of Float": lambda: Space(a=None),
    "when= of a names 'colector', which is no parameter. Did you mean 'collector'": lambda: Space(
        a=Boolean(when={"colector": 1}), collector=Integer(0, 3)
    ),
    "when= of a names 'rate', which is a context": lambda: Space(
        a=Boolean(when={"rate": 1}), rate=Context(0, 3)
    ),
    "when= of a is empty": lambda: Space(a=Boolean(when={})),
    "when= of a must be a dict such as": lambda: Space(a=Boolean(when="gc"), gc=Boolean()),
    "gc in when= of a must be one of 'x', 'y', got 'z'": lambda: Space(
        a=Boolean(when={"gc": "z"}), gc=Categorical(["x", "y"])
    ),
    "compares 'x', a Float, with a value.*lambda x: x >": lambda: Space(
        a=Boolean(when={"x": 1}), x=Float(0, 2)
    ),
    "the condition `abl` uses 'abl', which is no parameter. Did you mean 'able'": lambda: Space(
        a=Boolean(when=lambda abl: abl), able=Boolean()
    ),
    "conditions form a circle: .*a": lambda: Space(a=Boolean(when={"b": True}), b=Boolean(when=lambda a: a)),
    "conditions form a circle: a -> a": lambda: Space(a=Boolean(when={"a": True})),
    "the condition `b` must give True or False, got 0 at": lambda: Space(
        a=Boolean(when=lambda b: b), b=Integer(0, 2)
    ),
    r"the condition `1 / b > 1` raised ZeroDivisionError.*'b': 0": lambda: Space(
        a=Boolean(when=lambda b: 1 / b > 1), b=Integer(0, 2)
    ),
}


@pytest.mark.parametrize("sentence", CONSTRUCTION)
def test_construction(sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        CONSTRUCTION[sentence]()


SPACE = Space(
    young_mb=Integer(4, 80, log=True, unit="MB"),
    ratio=Float(0, 1),
    gc=Categorical(["serial", "g1"]),
    big=Boolean(),
    size=Ordinal([1, 2]),
    share=Simplex(2),
    region=Integer(1, 9, when={"gc": "g1"}),
    rate=Context(10, 100, log=True, unit="1/s"),
)
GOOD = {"young_mb": 8, "ratio": 0.5, "gc": "serial", "big": True, "size": 1, "share": [0.5, 0.5]}


def _returns_nothing(ratio, young_mb):
    pass


CONSTRAINTS = {
    "uses 'yuong_mb', which is no parameter. Did you mean 'young_mb'": (lambda yuong_mb: yuong_mb > 3),
    "`rate > 3` uses 'rate', which is a context": (lambda rate: rate > 3),
    "a constraint must be a function of parameters, such as .* got 3": 3,
    "must name its parameters one by one": (lambda *names: True),
    "names no parameter": (lambda: True),
    "the constraint `_returns_nothing` must give True or False, got None": _returns_nothing,
    "the constraint `ratio / 0 > 1` raised ZeroDivisionError": (lambda ratio: ratio / 0 > 1),
}


@pytest.mark.parametrize("sentence", CONSTRAINTS)
def test_constraints(sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        SPACE.constrain(CONSTRAINTS[sentence])


def test_no_constraint():
    with pytest.raises(TypeError, match="constrain needs a function"):
        SPACE.constrain()


def test_constants_of_a_constraint_are_no_parameters():
    space = SPACE.constrain(lambda young_mb, limit=50: young_mb < limit)
    assert all(c["young_mb"] < 50 for c in space.design(20, 0))


def test_explicit_defaults_that_contradict():
    space = Space(a=Integer(0, 9, default=8), b=Integer(0, 9), c=Float(0, 1))
    with pytest.raises(ValueError, match="the default breaks the constraint `a < 5`: a=8"):
        space.constrain(lambda a: a < 5)
    with pytest.raises(
        ValueError, match=r"no configuration keeps the given defaults of a and satisfies `a \+ b < 8`"
    ):
        space.constrain(lambda a, b: a + b < 8)
    with pytest.raises(ValueError, match="the default breaks the constraint `b > 3`: b=2"):
        space.constrain(lambda b: b > 3).fix(b=2)


CONFIGURATIONS = {
    "names 'yuong_mb', which is no parameter. Did you mean 'young_mb'": {**GOOD, "yuong_mb": 3},
    "names 'rate', which is a context; the world sets it": {**GOOD, "rate": 3},
    r"misses 'ratio' \(0..1\)": {k: v for k, v in GOOD.items() if k != "ratio"},
    r"young_mb must lie in \[4..80 MB, log\], got 81": {**GOOD, "young_mb": 81},
    "young_mb must be a whole number, got 8.5": {**GOOD, "young_mb": 8.5},
    r"young_mb must be a number, got '8' \(str\)": {**GOOD, "young_mb": "8"},
    "young_mb must be finite, got nan": {**GOOD, "young_mb": float("nan")},
    "ratio must be a number, got True": {**GOOD, "ratio": True},
    r"ratio must lie in \[0..1\], got 1.5": {**GOOD, "ratio": 1.5},
    "gc must be one of 'serial', 'g1', got 'seriel'. Did you mean 'serial'": {**GOOD, "gc": "seriel"},
    "gc must be one of 'serial', 'g1', got 1": {**GOOD, "gc": 1},
    "big must be True or False, got 'yes'": {**GOOD, "big": "yes"},
    "size must be one of 1, 2, got 3": {**GOOD, "size": 3},
    "size must be a number, got '1'": {**GOOD, "size": "1"},
    "share must have 2 shares, got 3": {**GOOD, "share": [0.2, 0.3, 0.5]},
    "share: shares must sum to 1, got 0.8": {**GOOD, "share": [0.4, 0.4]},
    "each share of share must be a number": {**GOOD, "share": ["a", 1]},
    r"misses 'region' \(1..9\)": {**GOOD, "gc": "g1"},
    "a configuration is a dict of young_mb, .* got 3": 3,
}


@pytest.mark.parametrize("sentence", CONFIGURATIONS)
def test_configurations(sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        SPACE.validate(CONFIGURATIONS[sentence])


def test_a_configuration_that_breaks_a_constraint():
    space = SPACE.constrain(lambda young_mb, ratio: young_mb * ratio < 20)
    bad = {**GOOD, "young_mb": 80}
    with pytest.raises(ValueError, match=r"breaks the constraint `young_mb \* ratio < 20`: \{'young_mb': 80"):
        space.validate(bad)
    assert space.validate(bad, strict=False)["young_mb"] == 80
    assert not space.feasible_configuration(bad)
    assert space.in_range(bad)


def test_runs_made_elsewhere():
    assert SPACE.validate({**GOOD, "young_mb": 200}, strict=False)["young_mb"] == 200
    with pytest.raises(ValueError, match="young_mb has a logarithmic range and must be above 0, got 0"):
        SPACE.validate({**GOOD, "young_mb": 0}, strict=False)
    with pytest.raises(ValueError, match="x has a logarithmic range and must be above 0, got -1"):
        Space(x=Float(1, 2, log=True)).validate({"x": -1}, strict=False)
    with pytest.raises(ValueError, match=r"young_mb must stay within"):
        SPACE.validate({**GOOD, "young_mb": 2**60}, strict=False)
    with pytest.raises(ValueError, match="gc must be one of"):
        SPACE.validate({**GOOD, "gc": "zgc"}, strict=False)


def test_fixed_values():
    space = SPACE.fix(young_mb=16)
    assert space.validate({k: v for k, v in GOOD.items() if k != "young_mb"})["young_mb"] == 16
    with pytest.raises(ValueError, match="young_mb is fixed at 16 in this space, got 8"):
        space.validate(GOOD)
    with pytest.raises(ValueError, match=r"'yuong_mb' is no parameter. Did you mean 'young_mb'"):
        SPACE.fix(yuong_mb=3)
    with pytest.raises(ValueError, match="'rate' is a context"):
        SPACE.fix(rate=30)
    with pytest.raises(ValueError, match=r"young_mb must lie in \[4..80 MB, log\], got 100"):
        SPACE.fix(young_mb=100)


def test_contexts():
    assert SPACE.validate_context({"rate": np.float32(20)}) == {"rate": 20.0}
    unit = SPACE.sample(3, 0)
    for call in (
        lambda context: SPACE.wires(unit, context),
        lambda context: SPACE.features(unit, "rate", context),
        SPACE.validate_context,
    ):
        with pytest.raises(ValueError, match=r"the context 'rate' is missing: give context=\{'rate': ...\}"):
            call(None)
    with pytest.raises(ValueError, match=r"'rato' is no context. Did you mean 'rate'"):
        SPACE.validate_context({"rato": 3})
    with pytest.raises(ValueError, match="'speed' is no context"):
        SPACE.wires(unit, {"rate": 3, "speed": 4})
    with pytest.raises(ValueError, match=r"one for each configuration, shape \(3,\); got shape \(2,\)"):
        SPACE.wires(unit, {"rate": [1, 2]})
    with pytest.raises(ValueError, match="'rate' must be finite and above 0"):
        SPACE.wires(unit, {"rate": [1, 2, -3]})
    with pytest.raises(ValueError, match="context rate has a logarithmic range"):
        SPACE.validate_context({"rate": 0})
    with pytest.raises(TypeError, match="context rate must be a number, got 'fast'"):
        SPACE.validate_context({"rate": "fast"})


def test_unit_rows():
    with pytest.raises(ValueError, match=r"shape \(configuration, 7\).*got shape \(7,\). Write unit\[None\]"):
        SPACE.decode(np.zeros(7))
    with pytest.raises(ValueError, match=r"got shape \(2, 3\)"):
        SPACE.snap(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="holds NaN"):
        SPACE.wires(np.full((1, 7), np.nan), {"rate": 20})
    with pytest.raises(
        ValueError, match=r"'yuong' is neither parameter nor context. Did you mean 'young_mb'"
    ):
        SPACE.features(np.zeros((1, 7)), "yuong")
    with pytest.raises(ValueError, match="'x' is neither"):
        SPACE.pullback(np.zeros((1, 7)), {"x": np.zeros(1)})
    with pytest.raises(ValueError, match="cannot encode ratio"):
        SPACE.encode([{"young_mb": 4}])
    with pytest.raises(ValueError, match="must not be negative"):
        SPACE.sample(-1, 0)
