"""The documentation site: ``make docs`` builds it into ``build/docs``, warnings as errors.

Nothing is executed: the notebooks keep the outputs they were executed with, the pictures of the reference are
those that the tests compare with, and the tables are those of the repository. All are copied into
``docs/generated`` at every build, which git ignores.
"""

import re
import shutil
import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
ROOT = DOCS.parent
GENERATED = DOCS / "generated"
NOTEBOOKS = GENERATED / "notebooks"
PICTURES = GENERATED / "plots"
sys.path.insert(0, str(ROOT))

project = "boatppl"
author = "The boatppl developers"
project_copyright = author
version = release = installed("boatppl")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
templates_path: list[str] = []
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True
suppress_warnings = ["mystnb.unknown_mime_type"]  # a model's Mermaid text, beside its HTML

html_theme = "furo"
html_title = "boatppl"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_show_copyright = False
pygments_style = "friendly"
pygments_dark_style = "native"

default_role = "literal"  # a single backtick in a docstring is code
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_use_param = False  # parameters that are explained together stay together
autodoc_typehints = "none"  # shapes and units are in the sentences
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
add_module_names = False
# Other people's objects, to which there is no link without a network.
nitpick_ignore_regex = [(r"py:.*", r"(collections|os|numpy|pandas|xarray|optuna|matplotlib)\..*")]

#: Tables of the repository that become pages: the page's name -> the file.
TABLES = {
    "promises": "benchmarks/results/promises.md",
    "chaos": "benchmarks/results/chaos.md",
    "wrong-models": "benchmarks/results/wrong_models.md",
    "faults": "benchmarks/results/faults.md",
    "jvm": "models/jvm_gc/acceptance.md",
    "jvm-system": "models/jvm_gc/README.md",
    "scheduling": "models/sgd_scheduling/README.md",
}
COMPARISONS = "benchmarks/results/compare"
TABLES |= {
    f"compare-{path.stem}": f"{COMPARISONS}/{path.name}" for path in sorted((ROOT / COMPARISONS).glob("*.md"))
}
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:]+)\)")
HIDDEN = "\N{RATIO}"  # a colon, where none may be seen
FIGURES = re.compile(r"<!-- figures:.*?-->\n(.*)<!-- end of the figures -->", re.DOTALL)


def with_links(text: str, folder: str) -> str:
    """Return Markdown whose links to files of the repository lead to their pages here, or are their names."""
    pages = {source: f"{page}.md" for page, source in TABLES.items()}

    def link(found: re.Match[str]) -> str:
        path = str(Path(folder) / found[2])
        return f"[{found[1]}]({pages[path]})" if path in pages else f"`{path}`"

    return LINK.sub(link, text)


def write(page: Path, text: str) -> None:
    """Write a page unless it stands there: Sphinx reads again what is newer."""
    if not page.exists() or page.read_text() != text:
        page.write_text(text)


def mirror(source: Path, pattern: str, folder: Path) -> None:
    """Have the files of a pattern, and no others, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {path.name: path for path in source.glob(pattern)}
    for stale in [path for path in folder.iterdir() if path.name not in wanted]:
        stale.unlink()
    for name, path in wanted.items():
        shutil.copy2(path, folder / name)


def generate() -> None:
    """Copy what the site shows and other folders keep."""
    mirror(ROOT / "notebooks", "*.ipynb", NOTEBOOKS)
    mirror(ROOT / "tests" / "data" / "plots", "*.png", PICTURES)
    for page, path in TABLES.items():
        write(GENERATED / f"{page}.md", with_links((ROOT / path).read_text(), str(Path(path).parent)))
    for picture in (ROOT / COMPARISONS).glob("*.png"):
        shutil.copy2(picture, GENERATED / picture.name)
    [figures] = FIGURES.findall((ROOT / "README.md").read_text())
    write(GENERATED / "figures.md", "# In short\n\n" + with_links(figures, ""))


def hide_colons(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """A property's docstring is a sentence; napoleon would take what is before a colon for its type."""
    if what == "property" and lines:
        lines[0] = lines[0].replace(":", HIDDEN)


def show_colons(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Undo :func:`hide_colons`, after napoleon."""
    lines[:] = [line.replace(HIDDEN, ":") for line in lines]


def setup(app: Sphinx) -> None:
    """Read docstrings as they are meant."""
    app.connect("autodoc-process-docstring", hide_colons, priority=400)
    app.connect("autodoc-process-docstring", show_colons, priority=600)


generate()
