"""Do the tests notice a bug? ``python -m benchmarks.mutants [--n 40] [--seconds 110]``

One place at a time of the modules that keep trials is changed as a slip of the pen would (a comparison turned
round, a condition negated, a number off by one, a statement left out), and their tests are run against it. A
mutant that passes them all has survived. Figures are added to ``benchmarks/results/mutants.csv``, one row a
mutant, so that a few minutes at a time will do.
"""

import argparse
import ast
import copy
import csv
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "mutants.csv"
TESTS = {
    "storage.py": ["tests/test_storage.py", "boatppl/storage.py"],
    "trial.py": ["tests/test_trial.py", "boatppl/trial.py", "tests/test_states.py"],
    "retry.py": ["tests/test_states.py", "tests/test_session.py"],
    "log.py": ["tests/test_states.py", "tests/test_study.py"],
}
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


def _said_to_people(tree: ast.Module) -> Iterator[int]:
    """What stands in sentences and type hints: a slip there changes no behaviour."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield from (id(inner) for inner in ast.walk(node))
        for hint in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(hint, ast.AST):
                yield from (id(inner) for inner in ast.walk(hint))


def slipped(tree: ast.Module, number: int, kind: str) -> tuple[str, int]:
    """The source with one slip, and its line."""
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
    return ast.unparse(ast.fix_missing_locations(mutant)), getattr(node, "lineno", 0)


def noticed(folder: Path, module: str, source: str) -> str:
    """Run the module's tests against a mutant: ``killed``, ``timed out`` or ``survived``."""
    place = folder / "boatppl" / module
    original = place.read_text()
    place.write_text(source)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *TESTS[module]]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=150, env={**os.environ})
        return "killed" if done.returncode else "survived"
    except subprocess.TimeoutExpired:
        return "timed out"
    finally:
        place.write_text(original)


def main() -> None:
    """Try mutants drawn at random that were not tried before; print each, and the share that was noticed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants", description=__doc__)
    parser.add_argument("--n", type=int, default=40, help="mutants altogether, those of before included")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin none after so long")
    parser.add_argument("--seed", type=int, default=0)
    options, began = parser.parse_args(), time.monotonic()
    trees = {module: ast.parse((ROOT / "boatppl" / module).read_text()) for module in TESTS}
    every = [(module, *slip) for module, tree in trees.items() for slip in slips(tree)]
    chosen = random.Random(options.seed).sample(every, min(options.n, len(every)))
    rows = list(csv.reader(RESULTS.open())) if RESULTS.exists() else []
    tried = {(module, int(number), kind) for module, number, kind, *_ in rows}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("boatppl", "tests", "benchmarks", "models"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns(".env*", "results"))
        for file in ("pyproject.toml", "conftest.py"):
            shutil.copy(ROOT / file, folder)
        for module, number, kind in chosen:
            if (module, number, kind) in tried or time.monotonic() - began > options.seconds:
                continue
            source, line = slipped(trees[module], number, kind)
            verdict = noticed(folder, module, source)
            rows.append([module, str(number), kind, str(line), verdict])
            print(f"{module}:{line} {kind}: {verdict}", flush=True)
            with RESULTS.open("a") as file:
                csv.writer(file, lineterminator="\n").writerow(rows[-1])
    survived = sum(row[-1] == "survived" for row in rows)
    print(f"{len(rows)} of {len(every)} possible mutants tried, {len(rows) - survived} noticed")


if __name__ == "__main__":
    main()
