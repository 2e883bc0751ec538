"""Does the structured model win? ``python -m models.jvm_gc.acceptance --seeds 10``: live, about eight minutes
a seed.

For each seed every method searches with the same budget, then the baseline and every method's best are
measured anew in rounds of random order, under load seeds that no search saw. The table says, for each method
and seed, the ratio baseline / best of p99 with its one-sided 95 % lower bound. Finished seeds are kept in a
file and not run again; every search's trials are in a study file beside it.
"""

import argparse
import ast
import csv
import random
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import boatppl as boat
from boatppl.node import Node
from boatppl.words import listed
from models.jvm_gc.demo import EVIDENCE_SEED, TRIALS, lower_bound, p99_or_worst
from models.jvm_gc.model import PARTS, jvm_model
from models.jvm_gc.record import Turn, identity
from models.jvm_gc.spaces import space
from models.jvm_gc.system import JvmGc
from models.jvm_gc.workload import WORKLOADS, Workload

FILE = Path(__file__).parent / "acceptance.csv"
ROUNDS = 8
DISTURBED = 1.5
COLUMNS = (
    "workload",
    "seed",
    "method",
    "trials",
    "round",
    "baseline_ms",
    "best_ms",
    "configuration",
    "commit",
)

Configuration = Mapping[str, Any]
Method = Callable[[JvmGc, boat.Space, Workload, "Search"], Configuration]


@dataclass(frozen=True)
class Search:
    """One search: its seed, how many trials it may make, and where they are logged under which name."""

    seed: int
    trials: int
    log: Path
    name: str

    def best(self, run: JvmGc, model: Any, **options: Any) -> Configuration:
        """Return what :func:`boatppl.optimize` ends with."""
        options |= {"n_trials": self.trials, "random_seed": self.seed, "storage": self.log, "name": self.name}
        result = boat.optimize(run, model, minimize="p99", control_every=0, progress=False, **options)
        return dict(result.best_configuration)


def structured(run: JvmGc, where: boat.Space, workload: Workload, search: Search) -> Configuration:
    """The model as it stands."""
    return search.best(run, jvm_model(where, workload.heap_mb))


def without_residuals(run: JvmGc, where: boat.Space, workload: Workload, search: Search) -> Configuration:
    """The same formulas with nothing for what they do not know."""
    parts = [replace(part, residual=None) if isinstance(part, Node) else part for part in PARTS]
    return search.best(run, boat.DAGModel(where, parts, data={"heap_mb": workload.heap_mb}))


def generic(run: JvmGc, where: boat.Space, workload: Workload, search: Search) -> Configuration:
    """Our own generic mode, told what the model's p99 is told: a log scale, and that a run may go wrong."""
    return search.best(run, where, transform="log", robust=True)


def random_search(run: JvmGc, where: boat.Space, workload: Workload, search: Search) -> Configuration:
    """The default and a quasi-random design; the least measured wins."""
    rows = [where.default, *where.design(search.trials - 1, search.seed)]
    return min(rows, key=lambda configuration: p99_or_worst(run, configuration))


def knowledge_alone(run: JvmGc, where: boat.Space, workload: Workload, search: Search) -> Configuration:
    """What the model recommends after zero trials: the least prior mean among many configurations."""
    study = boat.Study(jvm_model(where, workload.heap_mb), minimize="p99", random_seed=search.seed)
    rows = where.design(512, search.seed)
    draws = np.log(study.predict(rows, noise=False)["p99"].values)
    return rows[int(np.nanargmin(np.nanmean(draws, axis=0)))]


METHODS: dict[str, Method] = {
    "structured": structured,
    "generic": generic,
    "random": random_search,
    "without residuals": without_residuals,
    "zero trials": knowledge_alone,
}


def one_seed(
    name: str, seed: int, methods: Sequence[str], trials: int, turn: Turn, log: Path
) -> list[dict[str, Any]]:
    """Search with every method, then measure every best and the baseline in rounds; return the rows of the
    file. The trials stay in ``log``."""
    workload = WORKLOADS[name]
    where = space(workload)
    best: dict[str, Configuration] = {}
    for i, method in enumerate(methods):
        run = JvmGc(workload, seed=100_000 * (i + 1) + 1_000 * seed)
        turn.take()
        search = Search(seed, trials, log, f"{name}, {method}, seed {seed}")
        best[method] = METHODS[method](run, where, workload, search)
        turn.rest()
        print(f"seed {seed} {method}: {dict(best[method])}", flush=True)
    code = commit()
    fresh, order, rows = JvmGc(workload, seed=EVIDENCE_SEED + 1_000 * seed), random.Random(seed), []
    for number in range(ROUNDS):
        contenders: dict[str, Configuration] = {"": where.default, **best}
        names = list(contenders)
        order.shuffle(names)
        turn.take()
        p99 = {method: p99_or_worst(fresh, contenders[method]) for method in names}
        for method in methods:
            row = (name, seed, method, trials, number, p99[""], p99[method], dict(best[method]), code)
            rows.append(dict(zip(COLUMNS, row, strict=True)))
        turn.rest()
    return rows


def commit() -> str:
    """Return the commit of the code that searches, ``unknown`` where git does not say."""
    asked = ["git", "-C", str(FILE.parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table: for each method, the median ratio, its bounds, and in how many seeds the bound
    is 2. The method with the highest ratio is in bold, ours or not; what was :func:`disturbed` is named
    below."""
    apart = disturbed(rows)
    rows = [row for row in rows if (row["method"], row["seed"]) not in apart]
    found = {method: _bounds(rows, method) for method in dict.fromkeys(row["method"] for row in rows)}
    highest = max(np.median(ratios) for ratios, _ in found.values())
    lines = [
        "| method | seeds | ratio (median) | lower bound (median) | bound at least 2 |",
        "|---|---|---|---|---|",
    ]
    for method, (ratios, bounds) in found.items():
        cells = f"{np.median(ratios):.2f}", f"{np.median(bounds):.2f}"
        name = f"**{method}**" if len(found) > 1 and np.median(ratios) == highest else method
        reached = f"{(bounds >= 2).sum()} of {len(bounds)}"
        lines.append(f"| {name} | {len(ratios)} | {' | '.join(cells)} | {reached} |")
    if apart:
        which = listed(f"{method} of seed {seed}" for method, seed in sorted(apart))
        lines += ["", f"Left out, since the baseline took over {DISTURBED:g} times its usual p99: {which}."]
    return "\n".join(lines)


def disturbed(rows: Sequence[Mapping[str, Any]]) -> set[tuple[str, int]]:
    """Return (method, seed) of what was measured while the machine was busy with something else: its
    baseline, which is the same configuration in every seed, took over ``DISTURBED`` times its usual p99."""
    baselines: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        baselines.setdefault((row["method"], row["seed"]), []).append(float(row["baseline_ms"]))
    medians = {key: float(np.median(values)) for key, values in baselines.items()}
    usual = float(np.median(list(medians.values())))
    return {key for key, median in medians.items() if median > DISTURBED * usual}


def _bounds(rows: Sequence[Mapping[str, Any]], method: str) -> tuple[np.ndarray, np.ndarray]:
    """The ratio of each seed and its lower bound, both ``(seed,)``."""
    mine = [row for row in rows if row["method"] == method]
    pairs = {
        seed: [(float(r["baseline_ms"]), float(r["best_ms"])) for r in mine if r["seed"] == seed]
        for seed in dict.fromkeys(row["seed"] for row in mine)
    }
    ratios, bounds = np.transpose([lower_bound(values) for values in pairs.values()])
    return ratios, bounds


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the seeds that are missing and print the table."""
    parser = argparse.ArgumentParser(prog="python -m models.jvm_gc.acceptance", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--workload", choices=sorted(WORKLOADS), default="small-rows")
    parser.add_argument(
        "--methods", nargs="+", choices=sorted(METHODS), default=["structured", "generic", "random"]
    )
    parser.add_argument("--file", type=Path, default=FILE)
    parser.add_argument("--lock", type=Path, help="file to hold an advisory lock on during runs")
    options = parser.parse_args(arguments)
    rows, turn, log = read(options.file), Turn(options.lock, 60.0), options.file.with_suffix(".db")
    for seed in range(1, options.seeds + 1):
        known = {r["method"] for r in rows if r["workload"] == options.workload and int(r["seed"]) == seed}
        missing = [method for method in options.methods if method not in known]
        if missing:
            rows += one_seed(options.workload, seed, missing, options.trials, turn, log)
            _write(options.file, rows)
    text = report(rows, identity(JvmGc(WORKLOADS[options.workload])))
    options.file.with_suffix(".md").write_text(text)
    print(text)


EXPLAINED = """\
At most {trials} trials a search, the default among them; then {rounds} rounds of baseline and best in random
order under load seeds that no search saw. Ratio: p99 with SerialGC's defaults / p99 of the best, geometric
mean; bound: one-sided 95 % (Student's t on log ratios). The bar is a bound of at least 2. In bold: the
method with the highest ratio, whosever it is. The workload was sized so that the flags matter. {cores} cores,
{cpu}, {java}, H2 {h2}, store on {medium}."""


def report(rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> str:
    """Return what the file says of a system (see ``record.identity``), workload by workload, as Markdown."""
    said = EXPLAINED.format(
        trials=max(int(row["trials"]) for row in rows),
        rounds=ROUNDS,
        java=about["java"][0],
        **{name: about[name] for name in ("h2", "medium")},
        **{name: about["machine"][name] for name in ("cores", "cpu")},
    )
    parts = ["# Acceptance: live runs", said]
    for workload in dict.fromkeys(row["workload"] for row in rows):
        mine = [row for row in rows if row["workload"] == workload]
        parts += [f"## {workload}", summary(mine), details(mine)]
    return "\n\n".join(parts) + "\n"


def details(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table with a row for each method and seed."""
    lines = [
        "| method | seed | recommended | ms | baseline ms | ratio | bound | commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for method, seed in dict.fromkeys((row["method"], row["seed"]) for row in rows):
        mine = [row for row in rows if (row["method"], row["seed"]) == (method, seed)]
        pairs = [(float(row["baseline_ms"]), float(row["best_ms"])) for row in mine]
        (ratio, bound), (before, after) = lower_bound(pairs), np.median(pairs, axis=0)
        sizes = ", ".join(str(value) for value in ast.literal_eval(str(mine[0]["configuration"])).values())
        found = f"{after:.1f} | {before:.1f} | {ratio:.2f} | {bound:.2f} | {mine[0]['commit']}"
        lines.append(f"| {method} | {seed} | {sizes} | {found} |")
    return "\n".join(lines)


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of finished seeds, none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{**row, "seed": int(row["seed"])} for row in csv.DictReader(file)]


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
