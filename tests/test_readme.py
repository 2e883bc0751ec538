"""The README: its example runs, its figures are the tables', its commands and paths exist."""

import contextlib
import io
import re
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import matplotlib.pyplot as plt
import pytest

import boatppl as boat
from benchmarks.readme import BEGIN, END, README, ROOT, figures, replaced

MAKEFILE = (ROOT / "Makefile").read_text()


@pytest.fixture(scope="module")
def example() -> tuple[dict[str, Any], str]:
    """The names that the example leaves, and what it printed."""
    [code] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 25
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "README.md", "exec"), names)
    return names, printed.getvalue()


def test_the_example_of_the_readme_runs_as_it_stands(example):
    names, printed = example
    assert "better" in printed
    malloc_rate = float(printed.splitlines()[-1])
    assert 190 < malloc_rate < 235  # the stand-in allocates 212 MB/s
    assert names["result"].best_value < 0.9 * names["result"].best.default


SNIPPETS = (
    'model["gc_rate"].to_pymc(result.study.trials)',
    "study.weights",
    "study.recommend()",
    'study.predict([configuration], do={"gc_rate": 2.0})',
    'plot_slice(result, "young_mb", "gc_rate", ax=ax)',
    "study.cross_validate()",
    'study.compare({"structured": model, "generic": None})',
    "study.diagnose()",
    'boat.check(model, minimize="latency")',
    'boat.optimize(run, space, minimize="latency", n_trials=20)',
    'study.tell(trial, {"gc_rate": 3.1, "latency": 12.0})',
)


@pytest.mark.nightly
@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippets_of_the_readme_run_on_its_example(snippet, example):
    assert snippet in " ".join(README.read_text().split())
    names, _ = example
    study = names["result"].study
    here = names | {
        "study": study,
        "trial": study.ask(),
        "configuration": dict(names["result"].best_configuration),
        "plot_slice": boat.plots.plot_slice,
        "ax": plt.figure().subplots(),
    }
    assert eval(snippet, here) is not None
    plt.close("all")


def test_the_figures_are_what_their_command_writes():
    text = README.read_text()
    assert replaced(text, figures()) == text, "figures have changed: type python -m benchmarks.readme"


def test_figures_say_what_they_are_about():
    section = figures()
    assert "The workload was sized so that the collector's flags matter" in section
    for found in re.findall(r"\n\n\*\*(.*?)\*\*", section):
        assert re.search("live|simulation|Speed", found)  # each part says whether a real system was run


def test_a_text_without_a_place_for_the_figures_is_refused():
    with pytest.raises(ValueError, match="no place for the figures"):
        replaced("# boatppl", figures())
    assert replaced(f"a {BEGIN} b {END} c", "x") == "a x c"


def test_commands_and_paths_of_the_readme_exist():
    text = README.read_text()
    for target in re.findall(r"`?make (\w+)", text):
        assert f"\n{target}:" in MAKEFILE, target
    for module in re.findall(r"python -m\s([\w.]+)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    for link in re.findall(r"\]\((?!http)([^)]+)\)", text):
        assert (ROOT / link).exists(), link


def test_the_pictures_are_those_of_the_notebooks() -> None:
    spec = spec_from_file_location("pictures", ROOT / "docs" / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    pictures = module_from_spec(spec)
    spec.loader.exec_module(pictures)
    for name, (notebook, call) in pictures.PICTURES.items():
        assert f"docs/pictures/{name}" in README.read_text()
        written = (pictures.FOLDER / name).read_bytes()
        assert written == pictures.picture(notebook, call), "run python docs/pictures.py"
    with pytest.raises(LookupError, match="execute the notebook"):
        pictures.picture(notebook, "plot_nothing(")
