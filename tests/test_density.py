"""The compiled log density and its gradient equal a plain PyMC model's, for every option of a node.

Twins are made twice: by :mod:`boatppl.twin`, which a person opens, and by hand, from the mathematics alone.
"""

import tempfile
from types import SimpleNamespace

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.graph.replace import graph_replace

import boatppl as boat
from boatppl.compile.density import FLOOR, density_of, inducing_points
from boatppl.dag import DAGModel
from boatppl.gp.inducing import EXACT_ROWS, LEAST_POINTS
from boatppl.table import measured, tables
from boatppl.twin import block_to_pymc

POSITIONS = 60
MACHINES = ["alpha", "beta", "gamma"]
CORES = np.array([2.0, 4.0, 8.0])


def space():
    return boat.Space(
        x=boat.Float(1, 100, log=True),
        k=boat.Integer(1, 9),
        kind=boat.Categorical(["a", "b", "c"]),
        fast=boat.Boolean(),
        share=boat.Simplex(3, dim="machine"),
        load=boat.Context(10, 1000, log=True),
    )


@boat.derived
def eden(x, k):
    return x * k / (k + 2)


@boat.node(unit="1/s", transform="log")
def plain(eden):
    rate = pm.Uniform("rate", 0, 5000)
    return pm.Deterministic("per_eden", rate / 2) * 2 / eden


@boat.node(transform="log1p", robust=True, residual=boat.GP(["x", "kind"], kernel="matern32"))
def robust(x, kind, fast):
    slope = pm.LogNormal("slope", 0, 1)
    return slope * x * pt.switch(pt.eq(kind, kind.codes["b"]), 2.0, 1.0) + fast


@boat.node(
    transform="sqrt", residual=boat.GP(["share", "x"], kernel="expquad", amplitude=pm.Exponential.dist(3))
)
def shares(share, load):
    weights = pm.Dirichlet("weights", np.ones(3))
    return 1.0 + (weights * share).sum() * pt.log(load)


def spread_of(x):
    return 0.1 + pm.HalfNormal("per_x", 0.1) * pt.log1p(x)


@boat.node(transform="logit", noise=spread_of, residual=boat.GP(lengthscale=pm.HalfNormal.dist(0.5)))
def ratio(x):
    steepness = pm.TruncatedNormal("steepness", 1.0, 1.0, lower=0.0)
    return x / (x + steepness)


@boat.node(residual=None, noise=pm.InverseGamma.dist(3, 1))
def linear(x, k):
    beta = pm.Normal("beta", 0, 1, shape=3)
    return beta[0] + beta[1] * pt.log(x) + beta[2] * k


@boat.node(residual=None, robust=True)
def robust_linear(k):
    return pm.Normal("level", 0, 3) * k


@boat.node(transform="log", residual=boat.GP(["plain", "robust", "eden"]))
def child(plain, robust):
    return pm.LogNormal("base", 0, 1) + pt.sqrt(plain) * robust


@boat.shared(dims="machine")
def speed():
    return pm.LogNormal("speed", 0, 0.5, dims="machine")


@boat.node(over="machine", unit="s", transform="log", residual=boat.GP(["share", "cores"]))
def compute(share, cores, speed):
    return (0.01 + share) / (speed * cores)


@boat.node(over="machine", transform="log", robust=True)
def transfer(share, compute):
    return (0.1 + share) * pm.LogNormal("per_share", 0, 1) + compute


@boat.shared
def common():
    return pm.HalfNormal("common", 2.0)


@boat.node(transform="log", robust=True, residual=boat.GP(["x"]))
def left(common, x):
    offset = pm.HalfNormal("offset", 1.0)
    return common * x + offset


@boat.node(transform="log")
def right(common, k):
    offset = pm.HalfNormal("offset", 1.0)
    return common / k + offset


def options():
    return DAGModel(
        space(),
        [
            *(eden, plain, robust, shares, ratio, linear, robust_linear, child, speed, compute, transfer),
            *(common, left, right, boat.generic("anything", ["x", "kind", "share", "load"], transform="log")),
        ],
        coords={"machine": MACHINES},
        data={"cores": ("machine", CORES)},
    )


def trials(model, n, seed=0):
    """Finished trials with random measurements inside every node's domain."""
    rng = np.random.default_rng(seed)
    made = []
    for number, configuration in enumerate(model.space.design(n, seed)):
        measurements = {}
        for name in model.nodes:
            shape = tuple(model.sizes[dim] for dim in model.sources[name].dims)
            logit = model.nodes[name].node.transform == "logit"
            measurements[name] = (
                rng.beta(2, 3, size=shape) if logit else np.exp(rng.normal(1, 0.7, size=shape))
            )
        context = {name: 10 ** rng.uniform(1, 3) for name in model.space.contexts}
        made.append(
            SimpleNamespace(
                number=number, configuration=configuration, context=context, measurements=measurements
            )
        )
    return made


def compiled(model, places):
    """A plain PyMC model's log density and gradient over our flat position; ``places``: name -> slice."""
    point = model.initial_point()
    names = [variable.name for variable in model.free_RVs]
    values = {v: pt.TensorType("float64", shape=np.shape(point[v.name]))(v.name) for v in model.value_vars}
    [total] = graph_replace([model.logp()], values, strict=False)
    gradients = pytensor.grad(total, list(values.values()))
    function = pytensor.function(list(values.values()), [total, *gradients], mode="FAST_COMPILE")
    shapes = [np.shape(point[v.name]) for v in model.value_vars]

    def density(position):
        parts = [position[places[name]].reshape(shape) for name, shape in zip(names, shapes, strict=True)]
        value, *slopes = function(*parts)
        gradient = np.full_like(position, np.nan)
        for name, slope in zip(names, slopes, strict=True):
            gradient[places[name]] = np.ravel(slope)
        return float(value), gradient

    return density


def places_of(density, found, latent="{}_precision_scale"):
    """Where each unknown stands in our flat position, the robust rows' scales included."""
    places = dict(zip(density.layout.names, density.layout.slices(), strict=True))
    tail = density.layout.size
    for node in density.block.nodes:
        if node.node.robust:
            rows = len(found[node.name].whole)
            places[latent.format(node.name)] = slice(tail, tail + rows)
            tail += rows
    for node in density.block.nodes:
        if node.node.censored:
            rows = len(found[node.name].bounded)
            places[f"{node.name}_excess"] = slice(tail, tail + rows)
            tail += rows
    assert tail == density.dimension(found)
    return places


def assert_equal_densities(density, found, twin, latent="{}_precision_scale"):
    """Both densities and gradients agree to 1e-8, relative, wherever the twin has a value."""
    rng = np.random.default_rng(1)
    ours, theirs = density.bind(found), compiled(twin, places_of(density, found, latent))
    centre = density.start(found)
    compared = 0
    for spread in np.linspace(0.1, 1.5, POSITIONS):
        position = centre + spread * rng.normal(size=len(centre))
        expected, slopes = theirs(position)
        if not (np.isfinite(expected) and np.isfinite(slopes).all()):
            continue
        value, gradient = ours(position)
        compared += 1
        assert abs(value - expected) <= 1e-8 * abs(expected)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-8, atol=1e-8 * np.abs(slopes).max())
    assert compared > 0.9 * POSITIONS


MODEL = options()
TABLES = tables(MODEL, measured(MODEL, trials(MODEL, 9)))


@pytest.mark.parametrize("block", MODEL.blocks, ids=lambda block: block.name)
def test_density_and_gradient_equal_the_twin(block):
    own = {node.name: TABLES[node.name] for node in block.nodes}
    assert_equal_densities(density_of(block), own, block_to_pymc(block, own))


def test_a_missing_element_drops_only_its_row():
    model = DAGModel(
        space(), [speed, compute], coords={"machine": MACHINES}, data={"cores": ("machine", CORES)}
    )
    some = trials(model, 6)
    some[2].measurements["compute"][1] = np.nan
    found = tables(model, measured(model, some))
    assert len(found["compute"]) == 17
    assert_equal_densities(density_of(model.blocks[0]), found, block_to_pymc(model.blocks[0], found))


def test_a_handmade_twin_of_a_log_node():
    """malloc / eden with a Matern-5/2 residual over the unit cube, from DESIGN's mathematics alone."""

    @boat.node(
        transform="log",
        noise=pm.HalfNormal.dist(0.2),
        residual=boat.GP(lengthscale=pm.LogNormal.dist(0.5, 1.0), amplitude=pm.HalfNormal.dist(0.3)),
    )
    def gc_rate(eden_mb, threads):
        return pm.Uniform("malloc_rate", 0, 5000) / eden_mb

    model = DAGModel(
        boat.Space(eden_mb=boat.Float(256, 8192, log=True), threads=boat.Float(0, 10)), [gc_rate]
    )
    some = trials(model, 8)
    eden_mb = np.array([trial.configuration["eden_mb"] for trial in some])
    threads = np.array([trial.configuration["threads"] for trial in some])
    y = np.log([float(trial.measurements["gc_rate"]) for trial in some])
    Z = np.stack([np.log(eden_mb / 256) / np.log(8192 / 256), threads / 10], axis=1)
    with pm.Model() as twin:
        malloc_rate = pm.Uniform("malloc_rate", 0, 5000)
        amplitude = pm.HalfNormal("amplitude", 0.3)
        lengthscale = pm.LogNormal("lengthscale", 0.5, 1.0, shape=2)
        noise = pm.HalfNormal("noise", 0.2)
        distance = pt.sqrt(5 * (((Z[:, None] - Z[None]) / lengthscale) ** 2).sum(-1) + 1e-300)
        K = (1 + distance + distance**2 / 3) * pt.exp(-distance) + 1e-6 * np.eye(8)
        covariance = amplitude**2 * K + (noise**2 + (1e-3 * model.nodes["gc_rate"].scale) ** 2) * np.eye(8)
        pm.MvNormal("y", pt.log(malloc_rate / eden_mb), cov=covariance, observed=y)
    _compare(model, some, twin)


def test_a_handmade_twin_of_a_robust_vector_node():
    """One unknown for each machine, Student-t noise as a scale mixture, squared-exponential residual."""

    @boat.shared(dims="machine")
    def pace():
        return pm.Normal("pace", 0, 1, dims="machine")

    @boat.node(
        over="machine",
        robust=True,
        noise=pm.Exponential.dist(2.0),
        residual=boat.GP(
            ["x"], "expquad", lengthscale=pm.HalfNormal.dist(1.0), amplitude=pm.Exponential.dist(1.0)
        ),
    )
    def took(x, cores, pace):
        return pace * x / cores

    model = DAGModel(
        boat.Space(x=boat.Float(0, 2)),
        [pace, took],
        coords={"machine": MACHINES},
        data={"cores": ("machine", CORES)},
    )
    some = trials(model, 5)
    x = np.repeat([trial.configuration["x"] for trial in some], 3)
    machine = np.tile(np.arange(3), 5)
    y = np.concatenate([trial.measurements["took"] for trial in some])
    least = 1e-3 * model.nodes["took"].scale
    with pm.Model() as twin:
        pace_ = pm.Normal("pace", 0, 1, shape=3)
        amplitude = pm.Exponential("amplitude", 1.0)
        lengthscale = pm.HalfNormal("lengthscale", 1.0, shape=1)
        noise = pm.Exponential("noise", 2.0)
        scale = pm.Gamma("scale", 2, 2, shape=15)
        K = pt.exp(-0.5 * ((x[:, None] - x[None]) / 2 / lengthscale[0]) ** 2) + 1e-6 * np.eye(15)
        covariance = amplitude**2 * K + pt.diag((noise**2 + least**2) / scale)
        pm.MvNormal("y", pace_[machine] * x / CORES[machine], cov=covariance, observed=y)
    _compare(model, some, twin, latent="scale")


def test_a_handmade_twin_of_two_nodes_with_a_shared_unknown():
    @boat.node(residual=None, transform="sqrt", noise=pm.HalfNormal.dist(1.0))
    def first(common, x):
        return common * x

    def spread(x):
        return 0.5 + pm.HalfNormal("more", 1.0) * x

    @boat.node(residual=None, noise=spread)
    def second(common, x):
        return common + pm.Normal("shift", 0, 1) * x

    model = DAGModel(boat.Space(x=boat.Float(1, 2)), [common, first, second])
    some = trials(model, 6)
    x = np.array([trial.configuration["x"] for trial in some])
    y = {name: np.array([float(t.measurements[name]) for t in some]) for name in ("first", "second")}
    with pm.Model() as twin:
        common_ = pm.HalfNormal("common", 2.0)
        shift = pm.Normal("second::shift", 0, 1)
        more = pm.HalfNormal("second::more", 1.0)
        noise = pm.HalfNormal("first::noise", 1.0)
        least = {name: 1e-3 * node.scale for name, node in model.nodes.items()}
        spread1, spread2 = (
            pt.sqrt(noise**2 + least["first"] ** 2),
            pt.sqrt((0.5 + more * x) ** 2 + least["second"] ** 2),
        )
        pm.Normal("y1", pt.sqrt(common_ * x), spread1, observed=np.sqrt(y["first"]))
        pm.Normal("y2", common_ + shift * x, spread2, observed=y["second"])
    _compare(model, some, twin)


def _compare(model, some, twin, latent="no robust node"):
    found = tables(model, measured(model, some))
    assert_equal_densities(density_of(model.blocks[0]), found, twin, latent)


def test_variables_come_back_in_their_own_units():
    block = next(block for block in MODEL.blocks if block.name == "shares")
    density = density_of(block)
    positions = density.centre + np.random.default_rng(0).normal(size=(7, len(density.centre)))
    found = density.constrain(positions)
    model, slices, shapes = block.model, density.layout.slices(), density.layout.shapes
    inverse = model.compile_fn(model.replace_rvs_by_values(model.free_RVs), inputs=model.value_vars)
    for draw, position in enumerate(positions):
        parts = [position[place].reshape(shape) for place, shape in zip(slices, shapes, strict=True)]
        point = {v.name: part for v, part in zip(model.value_vars, parts, strict=True)}
        for name, value in zip(density.layout.names, inverse(point), strict=True):
            np.testing.assert_allclose(found[name][draw], value)
    np.testing.assert_allclose(found["weights"].sum(axis=1), 1.0)


def test_deterministics_of_variables_come_along():
    block = next(block for block in MODEL.blocks if block.name == "linear")
    assert set(density_of(block).constrain(np.zeros((2, 4)))) == {"beta", "noise"}


def test_no_rows_leave_the_prior():
    block = next(block for block in MODEL.blocks if block.name == "left+right")
    nothing = tables(MODEL, measured(MODEL, []))
    own = {node.name: nothing[node.name] for node in block.nodes}
    assert_equal_densities(density_of(block), own, block.model)


def test_names_that_are_also_dtypes():
    """A wire ``bytes`` and a variable ``int8`` are names like any other: compiled, inverted and predicted."""

    @boat.node(transform="log")
    def sent(bytes, float32):
        int8 = pm.Normal("int8", 0, 1)
        return pt.exp(int8) * bytes * (1 + float32)

    model = DAGModel(boat.Space(bytes=boat.Float(1, 100, log=True), float32=boat.Float(0, 1)), [sent])
    some = trials(model, 5)
    found = tables(model, measured(model, some))
    density = density_of(model.blocks[0])
    assert_equal_densities(density, found, block_to_pymc(model.blocks[0], found))
    variables = density.constrain(density.start(found)[None] + 0.3)
    np.testing.assert_allclose(variables["int8"], [0.3])
    graph, table = model.nodes["sent"], found["sent"]
    wires = {key: value[None] for key, value in table.wires.items()}
    mean, _ = graph.evaluator(variables, wires, {}, len(table))
    by_hand = [0.3 + np.log(t.configuration["bytes"] * (1 + t.configuration["float32"])) for t in some]
    np.testing.assert_allclose(mean, [by_hand])
    slopes = graph.evaluator.pullback(variables, wires, [np.ones((1, 5)), np.zeros((1, 5))], {}, 5)
    assert {key.name for key in slopes} == {"bytes", "float32"}


def of_a_factor(a):
    return pt.linalg.cholesky(pt.stack([pt.stack([a, 1.0]), pt.stack([1.0, a])]))[1, 1]


@pytest.mark.parametrize("part", [pt.sqrt, pytest.param(of_a_factor, marks=pytest.mark.nightly)])
def test_not_finite_is_the_floor_and_never_raises(part):
    """A factor that does not exist raises in compiled code, which takes long to compile."""

    @boat.node(residual=None)
    def factor(x):
        a = pm.Normal("a", 5, 1)
        return part(a) + pt.log(a) * x

    model = DAGModel(boat.Space(x=boat.Float(1, 2)), [factor])
    found = tables(model, measured(model, trials(model, 3)))
    density = density_of(model.blocks[0])
    logp = density.bind(found)
    assert logp(np.array([5.0, 0.0]))[0] > FLOOR
    for position in ([-1.0, 0.0], [np.nan, 0.0], [5.0, np.inf]):
        value, gradient = logp(np.array(position))
        assert value == FLOOR
        np.testing.assert_array_equal(gradient, 0.0)


def test_one_compilation_serves_any_number_of_rows():
    block = next(block for block in MODEL.blocks if block.name == "plain")
    density = density_of(block)
    function = density.function
    for n in (0, 2, 40):
        found = tables(MODEL, measured(MODEL, trials(MODEL, n)))
        twin = compiled(block_to_pymc(block, found) if n else block.model, places_of(density, found))
        position = density.start(found) + 0.3
        np.testing.assert_allclose(density.bind(found)(position)[0], twin(position)[0], rtol=1e-8)
    assert density.function is function


def test_compiling_leaves_no_file_in_the_systems_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    @boat.node
    def once(x):
        return pm.Uniform("slope", 0, 1) * x

    [block] = DAGModel(boat.Space(x=boat.Float(0, 1)), [once]).blocks
    density_of(block)
    assert list(tmp_path.iterdir()) == []


def test_large_tables_use_inducing_points_and_are_close_to_exact():
    block = next(block for block in MODEL.blocks if block.name == "plain")
    density = density_of(block)
    many = tables(MODEL, measured(MODEL, trials(MODEL, EXACT_ROWS + 1)))
    assert inducing_points(many["plain"]).shape == (LEAST_POINTS, 2)
    assert inducing_points(TABLES["plain"]).shape == (0, 2)
    places = places_of(density, many)
    exact = compiled(block_to_pymc(block, many), places)
    position = density.start(many)
    position[places["noise"]] = 0.0  # log 1: as noisy as the data
    bound, gradient = density.bind(many)(position)
    value, slopes = exact(position)
    assert value - 1.0 < bound <= value
    np.testing.assert_allclose(gradient, slopes, atol=0.02 * np.abs(slopes).max())
