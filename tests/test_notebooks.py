"""The notebooks run, with a small budget, and the executed ones hold the same code as their sources.

After a change: ``pip install jupytext ipykernel nbconvert``, then in ``notebooks/``
``python -m jupytext --to ipynb --execute *.py``.
"""

import ast
import json
import linecache
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))
NAMES = [source.stem for source in SOURCES]


def code_cells(source):
    """The code cells of a percent script."""
    cells = source.read_text().split("\n# %%")[1:]
    return [cell.strip() for cell in cells if not cell.startswith(" [markdown]")]


def test_there_is_a_notebook():
    assert "01_first_model" in NAMES


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_a_notebook_runs_with_a_small_budget_and_shows_its_values(source, monkeypatch, capsys):
    monkeypatch.setenv("BOATPPL_NOTEBOOK_TRIALS", "6")
    linecache.checkcache(str(source))
    names = {"__name__": "__main__"}
    for statement in ast.parse(source.read_text()).body:
        if isinstance(statement, ast.Expr):
            value = eval(compile(ast.Expression(statement.value), str(source), "eval"), names)
            as_html = getattr(value, "_repr_html_", lambda: None)
            assert as_html() or repr(value)
        else:
            exec(compile(ast.Module([statement], []), str(source), "exec"), names)
    plt.close("all")
    assert "suggested" in capsys.readouterr().out


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_the_executed_notebook_is_up_to_date(source):
    notebook = json.loads(source.with_suffix(".ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert ["".join(cell["source"]).strip() for cell in cells] == code_cells(source)
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert {"text/html", "image/png"} <= kinds
