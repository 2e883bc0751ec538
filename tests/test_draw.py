"""What a model looks like: text, Mermaid and SVG, with formulas and priors as their author wrote them."""

import base64
import linecache
import re
import xml.etree.ElementTree as ElementTree

import pymc as pm
import pytensor.tensor as pt
import pytest

import boatppl as boat
from boatppl.picture import as_svg
from boatppl.source import written

SPACE = boat.Space(
    young_mb=boat.Integer(4, 80, log=True, unit="MB"),
    survivor_ratio=boat.Integer(1, 16, log=True),
    tenuring=boat.Integer(0, 15),
)
HIGHEST = 5_000


@boat.derived(unit="MB")
def eden_mb(young_mb, survivor_ratio):
    return young_mb * survivor_ratio / (survivor_ratio + 2)


@boat.node(unit="1/s", transform="log")
def gc_rate(eden_mb):
    malloc_rate = pm.Uniform("malloc_rate", 0, 5000)  # MB/s
    return malloc_rate / eden_mb


@boat.node(unit="ms", transform="log", robust=True, residual=boat.GP(inputs=["gc_rate", "tenuring"]))
def p99(gc_rate):
    return pm.LogNormal("base", 0, 1) + 3 * gc_rate


MODEL = boat.DAGModel(SPACE, [p99, gc_rate, eden_mb])

TEXT = """\
DAGModel: 3 parameters, 1 derived, 2 nodes in 2 blocks
  young_mb [4..80 MB, log]  survivor_ratio [1..16, log]  tenuring [0..15]
  eden_mb  MB   = young_mb * survivor_ratio / (survivor_ratio + 2)  derived
  gc_rate  1/s  = malloc_rate / eden_mb  + GP(young_mb, survivor_ratio)   malloc_rate ~ Uniform(0, 5000), log scale
  p99      ms   = base + 3 * gc_rate     + GP(gc_rate, tenuring)          base ~ LogNormal(0, 1), log scale, robust"""  # noqa: E501


# -- text ---------------------------------------------------------------------------------


def test_a_model_prints_as_aligned_lines():
    assert repr(MODEL) == TEXT


def test_a_node_prints_alone():
    assert repr(MODEL["gc_rate"]) == TEXT.splitlines()[3]


def test_shared_unknowns_noise_dims_data_contexts_and_constraints_are_said():
    def spread(load):
        return 0.1 * load

    @boat.shared(unit="MB/s")
    def malloc_rate():
        return pm.Uniform("malloc_rate", 0, HIGHEST)

    @boat.node(over="machine", residual=None, noise=spread)
    def rate(malloc_rate, cores, eden_mb):
        return malloc_rate / cores / eden_mb

    space = boat.Space(
        young_mb=boat.Integer(4, 80), survivor_ratio=boat.Integer(1, 16), load=boat.Context(1, 9)
    ).constrain(lambda young_mb, survivor_ratio: young_mb > survivor_ratio)
    dag = boat.DAGModel(space, [malloc_rate, rate, eden_mb], data={"cores": ("machine", [2, 4])})
    lines = repr(dag).splitlines()
    assert lines[0] == "DAGModel: 2 parameters, 1 context, 1 derived, 1 shared, 1 node in 1 block"
    assert "  subject to young_mb > survivor_ratio" in lines
    assert "  machine: 2 elements" in lines
    assert "  data: cores along machine" in lines
    [shared] = [line for line in lines if line.startswith("  malloc_rate")]
    assert shared.split() == ["malloc_rate", "MB/s", "~", "Uniform(0,", "5000)", "shared", "by", "rate"]
    assert "noise = 0.1 * load, for each machine" in repr(dag)
    assert "~ Uniform(0, 5000)" in repr(dag["rate"])


def test_long_formulas_have_the_rest_below():
    @boat.node(unit="ms")
    def seconds(young_mb, survivor_ratio, tenuring):
        return (
            (young_mb + survivor_ratio + tenuring)
            * (young_mb - survivor_ratio) ** 2
            / (1 + tenuring + young_mb)
        )

    lines = repr(boat.DAGModel(SPACE, [seconds])).splitlines()
    start = lines[-1].index("+ GP(")
    assert lines[-2].endswith(" * (young_mb - survivor_ratio) ** 2 / (1 + tenuring + young_mb)")
    assert lines[-1][:start].isspace()
    assert all(len(line) <= 150 for line in lines)


def test_many_priors_continue_below_each_other():
    @boat.node(unit="ms")
    def seconds(young_mb):
        names = ("first", "second", "third", "fourth", "fifth", "sixth")
        return sum(pm.Normal(name, 0.25, 1000.0) for name in names) * young_mb

    text = repr(boat.DAGModel(SPACE, [seconds]))
    assert "first ~ Normal(0.25, 1000), second ~" in text
    assert "," in text.splitlines()[-2][-1]
    assert all(len(line) <= 150 for line in text.splitlines())


def test_generic_models_say_that_they_know_nothing():
    text = repr(boat.DAGModel(SPACE, [boat.generic("p99", ["young_mb", "tenuring"], unit="ms")]))
    assert "p99  ms  = level  + GP(young_mb, tenuring)" in text


# -- what the developer wrote ---------------------------------------------------------------


def test_one_liners_with_decorators_inside_functions():
    def around():
        @boat.node(unit="s")
        def short(young_mb): return young_mb*2 +1  # fmt: skip

        return short

    assert written(around().function).formula == "young_mb*2 +1"


def test_formulas_over_several_lines_are_put_on_one():
    def long(young_mb, tenuring):
        return (
            young_mb  # MB
            + tenuring
        )

    assert written(long).formula == "young_mb + tenuring"


def test_a_name_bound_once_stands_for_its_value():
    def once(young_mb):
        result = young_mb**2
        return result

    def twice(young_mb):
        result = young_mb**2
        result = result + 1
        return result

    assert written(once).formula == "young_mb**2"
    assert written(twice).formula == "result"


def test_variables_made_in_the_formula_appear_by_name():
    def inline(young_mb):
        return pm.LogNormal("base", 0, 1) + pt.exp(pm.Normal("slope", 0, 0.1)) * young_mb

    assert written(inline).formula == "base + pt.exp(slope) * young_mb"
    assert written(inline).priors == {"base": "LogNormal(0, 1)", "slope": "Normal(0, 0.1)"}


def test_numbers_from_around_a_function_are_put_in():
    lowest = 0.5

    def bounded(young_mb):
        return pm.Uniform("rate", lowest, HIGHEST) * young_mb + pm.Gamma("shape", alpha=2, beta=HIGHEST / 2)

    assert written(bounded).priors == {"rate": "Uniform(0.5, 5000)", "shape": "Gamma(alpha=2, beta=5000 / 2)"}


def test_returns_of_inner_functions_are_not_the_formula():
    def outer(young_mb):
        def inner(x):
            return x + 1

        return inner(young_mb)

    assert written(outer).formula == "inner(young_mb)"


def test_several_returns_leave_the_formula_open():
    def either(young_mb):
        if HIGHEST > 3:
            return young_mb
        return 2 * young_mb

    assert written(either).formula is None
    dag = boat.DAGModel(SPACE, [boat.node(either)])
    assert "= either(young_mb)" in repr(dag)


CELL = '''
@boat.node(unit="s")
def seconds(young_mb):
    """A cell of a notebook."""
    slope = pm.Uniform("slope", 0, 70_000)
    return slope * young_mb
'''


def run_cell(name, known):
    exec(compile(CELL, name, "exec"), known)
    return known["seconds"]


def test_cells_of_notebooks_are_read():
    """Notebooks keep the source of their cells where ``inspect`` finds it."""
    linecache.cache["<cell 7>"] = (len(CELL), None, CELL.splitlines(keepends=True), "<cell 7>")
    node = run_cell("<cell 7>", {"boat": boat, "pm": pm})
    assert written(node.function).formula == "slope * young_mb"
    assert "slope ~ Uniform(0, 70_000)" in repr(boat.DAGModel(SPACE, [node]))


def test_without_source_the_wires_and_pymcs_own_words_are_shown():
    node = run_cell("<nowhere>", {"boat": boat, "pm": pm})
    assert written(node.function).formula is None
    text = repr(boat.DAGModel(SPACE, [node]))
    assert "= seconds(young_mb)" in text
    assert "slope ~ Uniform(0, 70000)" in text


# -- pictures -----------------------------------------------------------------------------


def test_mermaid_has_every_quantity_and_arrow():
    lines = MODEL.to_mermaid().splitlines()
    assert lines[0] == "flowchart LR"
    assert '  young_mb["<b>young_mb</b><br/>4..80 MB, log"]:::parameter' in lines
    assert '  gc_rate("<b>gc_rate</b><br/>1/s<br/>malloc_rate / eden_mb"):::node' in lines
    arrows = {line.strip() for line in lines if "->" in line}
    wired = {"young_mb --> eden_mb", "survivor_ratio --> eden_mb", "eden_mb --> gc_rate", "gc_rate --> p99"}
    assert arrows == wired | {"tenuring -.-> p99"}


def test_mermaid_escapes_what_it_reads_as_its_own():
    @boat.node
    def seconds(young_mb):
        return pt.switch(young_mb < 8, 1.0, 2.0) + len("ab")

    line = boat.DAGModel(SPACE, [seconds]).to_mermaid()
    assert "pt.switch(young_mb &lt; 8, 1.0, 2.0) + len(#quot;ab#quot;)" in line


def boxes(svg):
    """Every box of a picture as ``(title, x, y, width, height)``."""
    space = "{http://www.w3.org/2000/svg}"
    found = []
    for group in ElementTree.fromstring(svg).iter(f"{space}g"):
        shape = group.find(f"{space}rect")
        found.append(
            (group.find(f"{space}title").text, *(float(shape.get(k)) for k in ("x", "y", "width", "height")))
        )
    return found


@pytest.fixture(scope="module")
def wide():
    """Twelve nodes, each using three of what came before: arrows pass many columns."""
    parts = []
    known = ["young_mb", "survivor_ratio", "tenuring"]
    for i in range(12):
        wires = [known[-1], known[i % len(known)], known[(5 * i + 1) % len(known)]]
        names = ", ".join(dict.fromkeys(wires))
        around = {"boat": boat}
        exec(f"@boat.node\ndef part_{i}({names}):\n    return {names.replace(',', ' +')}", around)
        parts.append(around[f"part_{i}"])
        known.append(f"part_{i}")
    return boat.DAGModel(SPACE, parts)


def test_boxes_never_overlap(wide):
    for model in (MODEL, wide):
        places = boxes(as_svg(model))
        assert len(places) == len(model.sources)
        for i, (_, x, y, width, height) in enumerate(places):
            for _, x2, y2, width2, height2 in places[:i]:
                beside = x + width <= x2 or x2 + width2 <= x
                assert beside or y + height <= y2 or y2 + height2 <= y


def test_arrows_go_from_left_to_right(wide):
    left = {title.split("\n")[0].split()[1]: x for title, x, *_ in boxes(as_svg(wide))}
    for name in wide.order:
        for wire in wide.parts[name].wires:
            assert left[wire] < left[name]


def test_everything_is_inside_the_picture(wide):
    for model in (MODEL, wide):
        root = ElementTree.fromstring(as_svg(model))
        for _, x, y, width, height in boxes(as_svg(model)):
            assert x >= 0
            assert y >= 0
            assert x + width <= float(root.get("width"))
            assert y + height <= float(root.get("height"))


def test_notebooks_get_a_picture_text_and_mermaid():
    bundle = MODEL._repr_mimebundle_()
    assert bundle["text/plain"] == TEXT
    assert bundle["text/vnd.mermaid"] == MODEL.to_mermaid()
    assert bundle["text/html"] == MODEL._repr_html_()
    [drawing] = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', bundle["text/html"])
    assert base64.b64decode(drawing).decode() == as_svg(MODEL)
    assert "malloc_rate ~ Uniform(0, 5000)" in bundle["text/html"]
    assert "malloc_rate / eden_mb" in bundle["text/html"]
