"""Do the tests notice a bug? ``python -m benchmarks.mutants [--n 40] [--seconds 110]``

One place at a time of the modules that keep trials is changed as a slip of the pen would (a comparison turned
round, a condition negated, a number off by one, a statement left out), and their tests are run against it. A
mutant that passes them all has survived. Figures are added to ``benchmarks/results/mutants.csv``, one row a
mutant, so that a few minutes at a time will do.

What the tests import from others is imported once, and every mutant is tried in a fork: most of the time of a
mutant would else be spent on imports.
"""

import argparse
import ast
import compileall
import copy
import csv
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import arviz  # noqa: F401  # here and below: for the forks
import distributed  # noqa: F401
import hypothesis.stateful  # noqa: F401
import nutpie  # noqa: F401
import pymc  # noqa: F401
import pytest

from boatppl.processes import end_tree, new_mark

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "mutants.csv"
COMPILES = "tests/test_storage.py::test_the_command_line_writes_the_posterior_of_a_model"  # for a minute
STORAGE = [
    "tests/test_storage.py",
    "boatppl/storage/storage.py",
    "tests/test_log.py",
    f"--deselect={COMPILES}",
]
TESTS = {  # the quick ones first: the first failure ends a mutant
    **{f"storage/{room}.py": STORAGE for room in ("storage", "file", "rows", "schema")},
    **{
        f"{room}.py": ["tests/test_trial.py", f"boatppl/{room}.py", "tests/test_log.py"]
        for room in ("trial", "measurement", "plain", "values")
    },
    "retry.py": ["tests/test_log.py", "tests/test_states.py"],
    "log.py": ["tests/test_log.py", "tests/test_states.py"],
}
SAID = "said.txt"  # what the tests print
ALREADY_IMPORTED = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


def slips(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every place and kind of a slip: the number of the node in the order of ``ast.walk``, and what to do."""
    quiet = set(_said_to_people(tree))
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in quiet:
            continue
        if isinstance(node, ast.Compare) and type(node.ops[0]) in TURNED:
            yield number, "comparison turned"
        elif isinstance(node, ast.BoolOp):
            yield number, "and for or"
        elif isinstance(node, ast.If | ast.IfExp):
            yield number, "condition negated"
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            yield number, "off by one"
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield number, "statement left out"
        elif isinstance(node, ast.Raise) and node.exc is not None:
            yield number, "error left out"


def places(tree: ast.Module) -> dict[int, tuple[str, str, str]]:
    """Where each node stands, by its number: the function, its text there, and which one of that text. They
    stay as they are when other code changes, so that what was found of a place stays known."""
    numbers = {id(node): number for number, node in enumerate(ast.walk(tree))}
    found: dict[int, tuple[str, str, str]] = {}
    times: Counter[tuple[str, str]] = Counter()

    def visit(node: ast.AST, where: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            where = f"{where}.{node.name}".lstrip(".")
        elif isinstance(node, ast.expr | ast.stmt):
            text = ast.unparse(node).partition("\n")[0]
            found[numbers[id(node)]] = where, text, str(times[where, text])
            times[where, text] += 1
        for inner in ast.iter_child_nodes(node):
            visit(inner, where)

    visit(tree, "")
    return found


def _said_to_people(tree: ast.Module) -> Iterator[int]:
    """What stands in sentences and type hints: a slip there changes no behaviour."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield from (id(inner) for inner in ast.walk(node))
        for hint in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(hint, ast.AST):
                yield from (id(inner) for inner in ast.walk(hint))


def slipped(tree: ast.Module, number: int, kind: str) -> str:
    """The source with one slip."""
    mutant = copy.deepcopy(tree)
    node = list(ast.walk(mutant))[number]
    if isinstance(node, ast.Compare):
        node.ops[0] = TURNED[type(node.ops[0])]()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.If | ast.IfExp):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        node.value = node.value + 1
    elif isinstance(node, ast.Expr):
        node.value = ast.Constant(None)
    elif isinstance(node, ast.Raise):
        node.exc, node.cause = ast.Call(ast.Name("RuntimeError"), [], []), None
    return ast.unparse(ast.fix_missing_locations(mutant))


def noticed(folder: Path, module: str, source: str, limit: float) -> str:
    """Run the module's tests against a mutant: ``killed``, ``timed out`` or ``survived``."""
    place = folder / "boatppl" / module
    original = place.read_text()
    place.write_text(source)
    try:
        return tested(folder, TESTS[module], limit)
    finally:
        place.write_text(original)


def tested(folder: Path, tests: list[str], limit: float) -> str:
    """Run tests in a fork, for so many seconds at most."""
    mark, deadline = new_mark(), time.monotonic() + limit
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            os.chdir(folder)
            os.environ |= {mark: "1", "PYTHONPATH": str(folder)}
            for stream in (1, 2):
                os.dup2(os.open(folder / SAID, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
            sys.dont_write_bytecode = True  # of a mutant: its file may have the size and time of the next one
            for name in [n for n in sys.modules if n.partition(".")[0] in ("boatppl", "benchmarks")]:
                del sys.modules[name]
            code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *ALREADY_IMPORTED, *tests])
            sys.stdout.flush()
            os._exit(int(code))
        finally:
            os._exit(70)
    status: list[int] = []

    def ended() -> bool:
        if not status:
            number, code = os.waitpid(child, os.WNOHANG)
            status.extend([code] if number else [])
        return bool(status)

    while not ended() and time.monotonic() < deadline:
        time.sleep(0.05)
    in_time = ended()
    end_tree(child, mark, ended)
    if not in_time:
        return "timed out"
    return "killed" if status[0] else "survived"


def prepared(folder: Path) -> None:
    """Copy what is tested into a folder."""
    for part in ("boatppl", "tests", "benchmarks", "models"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns(".env*", "results"))
    for file in ("pyproject.toml", "conftest.py"):
        shutil.copy(ROOT / file, folder)
    compileall.compile_dir(folder, quiet=1)


def limit_of(folder: Path, module: str) -> float:
    """How many seconds the tests of a module may take: they must pass without any mutant."""
    began = time.monotonic()
    if (found := tested(folder, TESTS[module], 600.0)) != "survived":
        said = (folder / SAID).read_text()[-3000:]
        raise RuntimeError(f"mend the tests of {module}, {found} without any mutant, first: {said}")
    print(f"{module}: its tests take {time.monotonic() - began:.0f} s", flush=True)
    return 3 * (time.monotonic() - began) + 30


def main() -> None:
    """Try mutants drawn at random that were not tried before; print each, and the share that was noticed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants", description=__doc__)
    parser.add_argument("--n", type=int, default=100, help="mutants altogether, those of before included")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin none after so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--survivors", action="store_true", help="try those again that have survived")
    options, began = parser.parse_args(), time.monotonic()
    trees = {module: ast.parse((ROOT / "boatppl" / module).read_text()) for module in TESTS}
    where = {module: places(tree) for module, tree in trees.items()}
    every = [(module, *slip) for module, tree in trees.items() for slip in slips(tree)]
    random.Random(options.seed).shuffle(every)
    rows = list(csv.reader(RESULTS.open())) if RESULTS.exists() else []
    again = [row[:-1] for row in rows if options.survivors and row[-1] == "survived"]
    rows = [row for row in rows if row[:-1] not in again]
    every.sort(key=lambda slip: [slip[0], slip[2], *where[slip[0]][slip[1]]] not in again)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared(folder)
        limits: dict[str, float] = {}
        for module, number, kind in every:
            place = [module, kind, *where[module][number]]
            late = time.monotonic() - began > options.seconds
            if late or len(rows) >= options.n or place in [row[:-1] for row in rows]:
                continue
            if module not in limits:
                limits[module] = limit_of(folder, module)
            mutant = slipped(trees[module], number, kind)
            rows.append([*place, noticed(folder, module, mutant, limits[module])])
            print(": ".join(rows[-1]), flush=True)
            with RESULTS.open("w") as file:
                csv.writer(file, lineterminator="\n").writerows(sorted(rows))
    for module in TESTS:
        mine = [row[-1] for row in rows if row[0] == module]
        print(f"{module}: {len(mine) - mine.count('survived')} of {len(mine)} noticed")
    survived = sum(row[-1] == "survived" for row in rows)
    print(f"{len(rows)} of {len(every)} possible mutants tried, {len(rows) - survived} noticed")


if __name__ == "__main__":
    main()
