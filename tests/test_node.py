"""The developer's functions: what a declaration keeps, and every option that cannot work."""

import dataclasses

import pymc as pm
import pytest

import boatppl as boat
from boatppl.residual import GP


def rate(eden_mb):
    return pm.Uniform("malloc_rate", 0, 5000) / eden_mb


def test_a_node_keeps_what_it_was_told():
    sd = pm.HalfNormal.dist(0.1)
    node = boat.node(unit="1/s", transform="log", robust=True, residual=None, noise=sd, over="machine")(rate)
    assert (node.name, node.arguments, node.unit, node.transform) == ("rate", ("eden_mb",), "1/s", "log")
    assert node.robust
    assert node.residual is None
    assert node.noise is sd
    assert node.over == ("machine",)
    assert node.dims == ()
    assert node.function is rate


def test_decorators_work_with_and_without_parentheses():
    assert boat.node(rate).name == boat.node()(rate).name == "rate"
    assert boat.derived(rate).name == boat.derived(unit="MB")(rate).name == "rate"
    assert boat.shared(rate).name == boat.shared(dims="machine")(rate).name == "rate"


def test_specifications_are_frozen():
    for part in (boat.node(rate), boat.derived(rate), boat.shared(rate), GP(["eden_mb"])):
        with pytest.raises(dataclasses.FrozenInstanceError):
            part.name = "other"


def test_a_noise_function_is_wired_too():
    def spread(young_mb, eden_mb):
        return 0.1 * young_mb / eden_mb

    node = boat.node(noise=spread)(rate)
    assert node.noise_arguments == ("young_mb", "eden_mb")
    assert node.wires == ("eden_mb", "young_mb")
    assert boat.node(noise=pm.HalfNormal.dist(1.0))(rate).noise_arguments == ()


@pytest.mark.parametrize("kernel", ["matern52", "matern32", "expquad"])
def test_a_residual_keeps_its_inputs_once(kernel):
    gp = GP(["a", "b", "a"], kernel)
    assert gp.inputs == ("a", "b")
    assert gp.kernel == kernel
    assert GP().inputs is None
    assert GP(name for name in "ab").inputs == ("a", "b")  # read once, whatever gives the names


def with_default(eden_mb, scale=2.0):
    return eden_mb * scale


def with_stars(*wires):
    return wires[0]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: boat.node(transform="logarithm")(rate),
            r"transform= of node 'rate' is one of .*Did you mean 'log",
        ),
        (lambda: boat.node(robust=1)(rate), r"robust= of node 'rate' is True or False; got 1"),
        (
            lambda: boat.node(residual=["young_mb"])(rate),
            r"residual= of node 'rate' is a boat.GP\(...\) or None",
        ),
        (lambda: boat.node(noise=0.1)(rate), r"noise= of node 'rate' is a prior .*or 0 where .*; got 0.1"),
        (lambda: boat.node(noise=True)(rate), r"noise= of node 'rate' is a prior .*or 0 where .*; got True"),
        (lambda: boat.node(noise="no")(rate), r"noise= of node 'rate': expects a prior .* got 'no'.*\.dist"),
        (lambda: boat.node(noise=pm.Poisson.dist(1.0))(rate), r"expects a continuous prior"),
        (lambda: boat.node(noise=with_default)(rate), r"argument scale=2.0 of noise= of node 'rate'"),
        (lambda: boat.node(over=["a", "a"])(rate), r"dims of 'rate' are one name or several different names"),
        (lambda: boat.derived(dims=[1])(rate), r"dims of 'rate' are one name or several"),
        (lambda: boat.node(with_default), r"argument scale=2.0 of node 'with_default': wires are plain"),
        (lambda: boat.shared(with_stars), r"argument \*wires of shared 'with_stars'"),
        (lambda: boat.derived(lambda eden_mb: eden_mb), r"a lambda has no name: use def"),
        (lambda: boat.node("rate"), r"@boat.node decorates a function; got 'rate'"),
        (lambda: GP("young_mb"), r"inputs of a GP are a list of names.*got 'young_mb'"),
        (lambda: GP([1]), r"inputs of a GP are a list of names"),
        (lambda: GP(3), r"inputs of a GP are a list of names.*got 3"),
        (lambda: boat.node(over=3)(rate), r"dims of 'rate' are one name or several.*got 3"),
        (lambda: boat.derived(dims=None)(rate), r"dims of 'rate' are one name or several.*got None"),
        (lambda: boat.node(unit=3)(rate), r"unit= of 'rate' is a text such as 'MB', or None; got 3"),
        (lambda: boat.derived(unit=3)(rate), r"unit= of 'rate' is a text"),
        (lambda: boat.shared(unit=3)(rate), r"unit= of 'rate' is a text"),
        (lambda: boat.generic("p99", ["a"], unit=3), r"unit= of 'p99' is a text"),
        (lambda: boat.generic(3, ["a"]), r"a node's name is a Python identifier; got 3"),
        (lambda: GP(kernel="matern"), r"kernel of a GP is one of .*Did you mean 'matern"),
        (lambda: GP(lengthscale=0.3), r"lengthscale= of a GP expects a prior"),
        (lambda: GP(amplitude="big"), r"amplitude= of a GP expects a prior"),
        (lambda: boat.generic("p 99", ["a"]), r"a node's name is a Python identifier; got 'p 99'"),
        (lambda: boat.generic("p99", ["a"], transform="ln"), r"transform= of node 'p99'"),
        (lambda: boat.generic("p99", ["a"], noise=0.1), r"noise= of the generic node 'p99' is 0 .*got 0.1"),
        (
            lambda: boat.generic("p99", ["a"], noise=False),
            r"noise= of the generic node 'p99' is 0 .*got False",
        ),
        (lambda: boat.generic("p99", ["a"], noise=0, robust=True), r"noise=0.* and robust=True.* drop one"),
    ],
)
def test_options_that_cannot_work_are_named(make, sentence):
    with pytest.raises(boat.ModelError, match=sentence):
        make()


def test_generic_knows_nothing():
    node = boat.generic("p99", ["a", "b"], unit="ms", transform="log", robust=True)
    assert node.standardised
    assert node.residual.inputs == ("a", "b")
    assert (node.unit, node.transform, node.robust, node.arguments) == ("ms", "log", True, ())
