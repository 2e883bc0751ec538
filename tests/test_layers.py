"""The floors of the house: a lower floor never imports a higher one, and nothing imports in a circle.

Read from the source with ``ast``, so that an import that only happens sometimes is seen too.
"""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "boatppl"
FLOORS = (
    "space measurement plain trial values words text why html limit mounts stage",
    "residual node transform source wiring structure priors unknowns rows",
    "compile gp graph table warp draw picture twin dag infer propagate fit predict leave_one_out datatree "
    "transfer",
    "acquisition averaged chance search suggest incumbent feasible hedge rivals explain evidence policy "
    "fingerprint regret recommend stopping retry limits repeats",
    "validate diagnose storage processes streams launch command runner log study progress result workers "
    "session optimize",
    "check plots integrations",
    "__init__ __main__",  # the doors, which may open onto every floor
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}
FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def room_of(module: str) -> str:
    """``boatppl.gp.conditional`` is in the room ``gp``; ``boatppl`` itself is ``__init__``."""
    return [*module.split("."), "__init__"][1]


def own_imports(tree: ast.AST, module: str) -> set[str]:
    """Our own modules that ``module`` names in an import statement anywhere in ``tree``."""
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            source = ".".join(part for part in (above, node.module) if part)
            members = {f"{source}.{alias.name}" for alias in node.names}
            found |= (members & MODULES.keys()) | ({source} if members - MODULES.keys() else set())
    return {name for name in found if name in MODULES}


IMPORTS = {name: own_imports(ast.parse(path.read_text()), name) for name, path in MODULES.items()}


def test_the_walk_sees_the_imports():
    assert "boatppl.trial" in IMPORTS["boatppl.storage.storage"]
    assert own_imports(ast.parse("from . import trial"), "boatppl.table") == {"boatppl.trial"}
    assert own_imports(ast.parse("from .trial import Trial"), "boatppl.table") == {"boatppl.trial"}
    assert own_imports(ast.parse("import boatppl.trial as t, numpy"), "boatppl.table") == {"boatppl.trial"}


def test_every_module_is_on_a_known_floor():
    assert {room_of(module) for module in MODULES} <= FLOOR.keys()


def test_a_lower_floor_never_imports_a_higher_one():
    wrong = [
        f"{module} imports {name}"
        for module, names in IMPORTS.items()
        for name in names
        if FLOOR[room_of(name)] > FLOOR[room_of(module)]
    ]
    assert not wrong


def test_no_import_circles():
    # A package and its own parts are one room: only its __init__ may gather them.
    TopologicalSorter(IMPORTS).prepare()


def test_own_modules_are_imported_at_the_top_and_for_everybody():
    wrong = []
    for module, path in MODULES.items():
        tree = ast.parse(path.read_text())
        names = {getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(tree)}
        wrong += [f"{module} uses TYPE_CHECKING"] if "TYPE_CHECKING" in names else []
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                wrong += [f"{module}.{node.name} imports {name}" for name in own_imports(node, module)]
    assert not wrong
