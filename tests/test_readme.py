"""The README: its example runs, its figures are the tables', its commands and paths exist."""

import re

import pytest

from benchmarks.readme import BEGIN, END, README, ROOT, figures, replaced

MAKEFILE = (ROOT / "Makefile").read_text()


def test_the_example_of_the_readme_runs_as_it_stands(capsys):
    [example] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "better" in printed
    malloc_rate = float(printed.splitlines()[-1])
    assert 190 < malloc_rate < 235  # the stand-in allocates 212 MB/s
    assert names["result"].best_value < 0.9 * names["result"].best.default


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
