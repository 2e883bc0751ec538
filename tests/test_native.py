"""The density as C sees it, against the one that Python calls."""

import ctypes
import time

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from numba.core.runtime import _nrt_python as _nrt
from numba.core.runtime import rtsys

import boatppl as boat
from boatppl import infer
from boatppl.compile.density import FLOOR, density_of
from boatppl.compile.native import native
from boatppl.infer import LATENT, Chains, Start
from boatppl.table import measured, tables
from boatppl.trial import State, Trial

SPACE = boat.Space(x=boat.Float(0, 1), z=boat.Float(0, 1))
NUMBERS = ctypes.POINTER(ctypes.c_double)
DENSITY = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_uint64, NUMBERS, NUMBERS, NUMBERS, ctypes.c_void_p)


@boat.node(transform="log")
def plain(x):
    return pm.LogNormal("level", 0, 1) * (1 + x)


@boat.node(robust=True)
def robust(x, plain):
    return pm.Normal("slope", 0, 1) * x + plain


@boat.node(residual=None)
def bare(x):
    return pm.Normal("slope", 0, 1, shape=3).sum() * x


@boat.node(unit="s", transform="log", censored=True, robust=True)
def lasting(x):
    return pm.LogNormal("seconds", 0, 1) * (1 + x)


@boat.node(over="machine")
def several(x):
    return pm.Normal("slope", 0, 1) * x


@boat.node(residual=None, noise=pm.HalfNormal.dist(1.0))
def factored(x):
    """Has no Cholesky factor, and so raises, where its unknown is below -5: never by its prior."""
    return pt.linalg.cholesky(pt.diag(pt.stack([5.0 + pm.Normal("pivot", 0, 1), 1.0])))[0, 0] + x


NODES = {
    "plain": [plain],
    "robust": [plain, robust],
    "bare": [bare],
    "lasting": [lasting],
    "several": [several],
    "factored": [factored],
    "generic": [boat.generic("cost", ["x", "z"])],
}


def bound(name, rows=9):
    """A node's density given made-up measurements, its tables and its start."""
    rng = np.random.default_rng(0)
    model = boat.DAGModel(SPACE, NODES[name], coords={"machine": list("abc")} if name == "several" else None)
    found = []
    for number, configuration in enumerate(SPACE.design(rows, 0)):
        values = {n: rng.lognormal(size=(3,) if n == "several" else ()) for n in model.nodes}
        found.append(Trial(number, configuration, {}, State.COMPLETE, values))
    if name == "lasting":
        found.append(Trial(rows, {"x": 0.5, "z": 0.5}, {}, State.TIMED_OUT, timeout=3.0))
    by_node = tables(model, measured(model, found))
    block = model.blocks[-1]
    mine = {node.name: by_node[node.name] for node in block.nodes}
    density = density_of(block)
    return density, mine, density.bind(mine), density.start(mine)


def of_c(logp, start):
    """What nutpie calls, as a Python function of u."""
    model = native(logp, start.centre, start.scale, LATENT, start.normals)
    function = DENSITY(model.compiled_logp_func.address)

    def density(u):
        u, slope, value = np.ascontiguousarray(u), np.full(len(u), np.nan), np.full(1, np.nan)
        pointers = (array.ctypes.data_as(NUMBERS) for array in (u, slope, value))
        data = ctypes.c_void_p(model.user_data.ctypes.data)
        assert function(len(u), *pointers, data) == 0
        return value[0], slope

    return density


def around(density, origin):
    rng = np.random.default_rng(1)
    size = density.layout.size
    return Start(origin, 0.3 * np.eye(size) + 0.05 * rng.normal(size=(size, size)))


@pytest.mark.parametrize("name", NODES)
def test_c_and_python_call_the_same_density(name):
    density, _, logp, origin = bound(name)
    start = around(density, origin)
    ours, theirs = of_c(logp, start), start.density(logp)
    rng, lows = np.random.default_rng(2), 0
    for away, rel in [(1.0, 1e-9), (60.0, 1e-6)] * 25:  # far away little is left of a difference's digits
        u = away * rng.normal(size=len(origin))
        (value, slope), (expected, expected_slope) = ours(u), theirs(u)
        assert value == pytest.approx(expected, rel=rel)
        np.testing.assert_allclose(
            slope, expected_slope, rtol=rel, atol=rel * (1 + np.abs(expected_slope).max())
        )
        lows += value == FLOOR
    assert (lows > 5) == (name == "factored")


def test_where_there_is_no_density_it_is_the_floor_with_no_slope(capfd):
    """And not a word of what was raised."""
    _, _, logp, origin = bound("factored")
    start = Start(origin, np.eye(len(origin)))
    negative = np.full(len(origin), -6.0)
    for u in (negative, np.full(len(origin), np.nan), np.full(len(origin), 1e300)):
        value, slope = of_c(logp, start)(u)
        assert value == FLOOR
        assert (slope == 0).all()
    assert capfd.readouterr() == ("", "")


def test_nothing_is_left_behind_by_a_call():
    density, _, logp, origin = bound("robust")
    called = of_c(logp, around(density, origin))
    called(np.zeros(len(origin)))
    _nrt.memsys_enable_stats()
    try:
        before = rtsys.get_allocation_stats()
        for _ in range(100):
            called(np.zeros(len(origin)))
        after = rtsys.get_allocation_stats()
    finally:
        _nrt.memsys_disable_stats()
    assert after.alloc - before.alloc == after.free - before.free > 0
    assert after.mi_alloc - before.mi_alloc == after.mi_free - before.mi_free > 0


def test_chains_are_those_that_python_would_have_walked():
    """To rounding, which a chain soon makes much of."""
    density, mine, logp, origin = bound("plain")
    start = infer.laplace(logp, infer.climb(logp, origin), density.layout.size)
    length = Chains(draws=4, tune=4, chains=2, target_accept=0.8, dispersed=False)
    options = {"seed": 3, "length": length, "begin": start, "cores": 2, "end": time.monotonic() + 60}
    ours = infer._nuts(density, mine, logp, **options)
    theirs = infer._nuts(density, mine, lambda position: logp(position), **options)
    np.testing.assert_allclose(ours.position, theirs.position, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["generic", "several", "lasting"])
def test_draws_are_the_same_whatever_the_threads(name):
    density, mine, _, _ = bound(name)
    length = Chains(draws=20, tune=20, chains=4, dispersed=False)
    one, four = (infer.sample(density, mine, 5, length, cores=cores) for cores in (1, 4))
    np.testing.assert_array_equal(one.position, four.position)


def test_where_the_insides_of_numba_have_moved_chains_go_through_python(monkeypatch, caplog):
    density, mine, _, _ = bound("plain")
    length = Chains(draws=4, tune=4, chains=2, target_accept=0.8, dispersed=False)
    ours = infer.sample(density, mine, 3, length)

    def moved(*_):
        raise AttributeError("module 'numba' has no attribute 'insides'")

    monkeypatch.setattr(infer, "native", moved)
    theirs = infer.sample(density, mine, 3, length)
    np.testing.assert_allclose(ours.position, theirs.position, rtol=1e-5, atol=1e-6)
    assert "through Python" in caplog.text
