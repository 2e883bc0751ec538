"""The notebooks run from scratch, with a small budget, and the executed ones hold the same code as their
sources.

After a change: ``pip install jupytext ipykernel nbconvert``, then in ``notebooks/``
``python -m jupytext --to ipynb --execute *.py``.
"""

import ast
import json
import linecache
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import boatppl as boat
from boatppl import study
from boatppl.infer import Chains

FOLDER = Path(__file__).parent.parent / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))
NAMES = [source.stem for source in SOURCES]
FEW_TRIALS = {"01": "4", "02": "5", "03": "12", "04": "12", "05": "3", "06": "8", "07": "5"}
FEW_DRAWS = Chains(draws=100, tune=100, chains=2)


def code_cells(source):
    """The code cells of a percent script."""
    cells = source.read_text().split("\n# %%")[1:]
    return [cell.strip() for cell in cells if not cell.startswith(" [markdown]")]


def test_the_notebooks_are_numbered_in_order():
    numbers = [name[:2] for name in NAMES]
    assert numbers == sorted(set(numbers))
    assert set(FEW_TRIALS) == set(numbers)


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_a_notebook_runs_with_a_small_budget_and_shows_its_values(source, monkeypatch, capsys):
    monkeypatch.setenv("BOATPPL_NOTEBOOK_TRIALS", FEW_TRIALS[source.stem[:2]])
    monkeypatch.setattr(study, "LONG", FEW_DRAWS)
    monkeypatch.setattr(boat.Study.sample, "__defaults__", (100, 100, 2))
    monkeypatch.setattr(sys, "path", list(sys.path))
    linecache.checkcache(str(source))
    names = {"__name__": "__main__"}
    for statement in ast.parse(source.read_text()).body:
        if isinstance(statement, ast.Expr):
            value = eval(compile(ast.Expression(statement.value), str(source), "eval"), names)
            as_html = getattr(value, "_repr_html_", lambda: None)
            assert as_html() or repr(value)
        else:
            exec(compile(ast.Module([statement], []), str(source), "exec"), names)
    assert plt.get_fignums() or "06" in source.stem  # 06 draws nothing
    plt.close("all")
    assert capsys.readouterr().out or "04" in source.stem


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_the_executed_notebook_is_up_to_date(source):
    notebook = json.loads(source.with_suffix(".ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert ["".join(cell["source"]).strip() for cell in cells] == code_cells(source)
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    drawn = {"image/png"} if "boat.plots" in source.read_text() else set()
    assert {"text/html"} | drawn <= kinds
    shown = sum("image/png" in output.get("data", {}) for output in outputs)
    drawing = sum(source.read_text().count(call) for call in ("plots.plot_", "az.plot_", "plt.subplots("))
    assert shown == drawing  # a picture that a backend swallowed is none
