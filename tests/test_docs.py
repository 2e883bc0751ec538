"""The documentation site: what its pages say in code is so, and every public name is on a page.

That it builds without a warning is what ``make docs`` says.
"""

import doctest
import importlib.util
import re
from pathlib import Path

import pytest

import boatppl as boat

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "generated" not in page.parts)
TEXTS = {str(page.relative_to(DOCS)): page.read_text() for page in PAGES}
FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
WITH_CODE = [name for name, text in TEXTS.items() if "```pycon" in text]
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.parametrize("name", WITH_CODE)
def test_what_a_page_says_in_code_is_so(name):
    page = "\n".join(code for language, code in FENCE.findall(TEXTS[name]) if language == "pycon")
    test = doctest.DocTestParser().get_doctest(page, {}, name, str(DOCS / name), 0)
    said: list[str] = []
    results = doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=said.append)
    assert results.attempted > 0
    assert results.failed == 0, "".join(said)


def test_all_code_is_run_or_included_from_what_is_run():
    for name, text in TEXTS.items():
        languages = {language for language, _ in FENCE.findall(text)}
        directives = {language for language in languages if language.startswith("{")}
        assert languages - directives <= {"pycon"}, name
        assert directives <= {"{toctree}", "{include}", "{literalinclude}", "{eval-rst}"}, name
    included = re.findall(r"```\{literalinclude\} (\S+)", "".join(TEXTS.values()))
    assert included == ["../README.md"]  # tests/test_readme.py runs its example


def test_every_public_name_is_in_the_reference():
    reference = "".join(text for name, text in TEXTS.items() if name.startswith("api/"))
    documented = set(re.findall(r"auto\w+:: boatppl\.(\w+)$", reference, re.MULTILINE))
    assert "automodule:: boatppl.plots\n   :members:" in reference
    assert documented | {"plots"} == set(boat.__all__)


def test_what_is_included_is_there():
    for page in PAGES:
        for path, options in re.findall(r"```\{(?:literal)?include\} (\S+)\n((?::.*\n)*)", page.read_text()):
            text = (page.parent / path).read_text()
            for mark in re.findall(r":(?:start-after|end-before): \"(.*)\"", options):
                assert mark in text, (page, mark)


def test_names_of_methods_and_pictures_in_the_texts_exist():
    texts = "".join(TEXTS.values())
    owners = {"study": boat.Study, "boat": boat, "boat.plots": boat.plots, "result": boat.Result}
    for owner, name in re.findall(r"`(study|boat\.plots|boat|result)\.(\w+)", texts):
        assert hasattr(owners[owner], name), f"{owner}.{name}"
    for name in re.findall(r"\bplot_\w+", texts):
        assert name in boat.plots.__all__
    for target in re.findall(r"`make ([a-z-]+)", texts):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
    for module in re.findall(r"`python -m ([\w.]+)", texts):
        assert importlib.util.find_spec(module), module
