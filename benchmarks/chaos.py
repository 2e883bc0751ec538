"""What a study survives: ``python -m benchmarks.chaos`` kills, damages and abuses it, and counts.

Five parts, with the promise of each:

- ``kills``: a tuner is ended by ``kill -9`` at random moments of ask, fit, run and tell. No acknowledged
  trial is lost, the store always opens, and the suggestions are those of a study that was never killed.
- ``stores``: a study file is cut, or has one bit turned. It opens with the very log, or is refused in a
  sentence.
- ``processes``: many processes tune one study, and are killed. No trial is lost, none is made twice.
- ``objectives``: runs that hang, crash, flood and lie. Each study ends with all its trials, and nothing of
  them is left running.
- ``strings``: hostile text as a parameter's value reaches a program's arguments unchanged.

Counts are printed, and kept in ``chaos.csv`` and ``chaos.md`` of ``benchmarks/results`` (``--results`` names
another folder). Several runs with seeds of their own add up: ``--only kills --kills 100 --seed 3``.
"""

import argparse
import contextlib
import csv
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import boatppl as boat
from benchmarks.figures import markdown_table
from benchmarks.machine import described, load
from benchmarks.pathological import GOOD, OBJECTIVES, left_behind
from boatppl.policy import Choice
from boatppl.retry import LOST, to_retry
from boatppl.session import resolve_orphans
from boatppl.storage import StorageError, open_storage

Counts = Counter[str]
RESULTS = Path(__file__).parent / "results"
PROMISES = (  # part, what is counted, which of its counts must be 0
    ("kills", "acknowledged trials lost, of {acknowledged} in {kills} kills", "lost"),
    ("kills", "stores that did not open after a kill", "unreadable"),
    (
        "kills",
        "finished studies of {studies} with other suggestions than one that was never killed (in {blamed}, "
        "up to a configuration that lost three processes and was blamed)",
        "different",
    ),
    ("kills", "orphans left in them", "orphans"),
    ("stores", "of {files} damaged files read wrongly or without a sentence ({right} right)", "wrong"),
    ("processes", "acknowledged trials lost, of {trials} by {processes} processes in {kills} kills", "lost"),
    ("processes", "numbers given twice", "numbers twice"),
    ("processes", "configurations run twice", "run twice"),
    ("processes", "orphans left", "orphans"),
    ("objectives", "of {objectives} bad objectives that stopped a study", "stopped"),
    ("objectives", "of {objectives} that are read back otherwise than they ended", "unreadable"),
    ("objectives", "of {objectives} that left a process behind", "left"),
    ("objectives", "trials over their limit of 0.5 s by more than 2 s", "late"),
    ("strings", "of {strings} hostile texts that reached argv changed", "changed"),
)
SPACE = boat.Space(x=boat.Float(0, 1, default=0.9), y=boat.Integer(1, 8, default=8))
N_TRIALS = 10  # of each study that is killed: four of the design, six by the posterior
SEED = 1
LIFE = 24  # lines that a process says at most before it is killed: four for each trial


def loss(configuration: dict[str, Any]) -> float:
    """The system of the killed studies: a bowl with noise that depends on the configuration alone."""
    x, y = configuration["x"], configuration["y"]
    return float(1 + (x - 0.3) ** 2 + 0.1 * abs(y - 3) + 0.01 * np.sin(1e4 * x))


# -- children that tell what they do over a pipe


@contextlib.contextmanager
def child(work: Callable[[Callable[[str], None]], None]) -> Iterator[tuple[int, int]]:
    """Run ``work(say)`` in a forked process; gives its number and the end of the pipe to read from."""
    read, write = os.pipe()
    number = os.fork()
    if number == 0:
        code = 1
        try:
            os.close(read)
            work(lambda line: os.write(write, f"{line}\n".encode()) and None)
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    try:
        yield number, read
    finally:
        os.close(read)


def lines(read: int, most: float = float("inf")) -> list[str]:
    """What a child says until it has ended, or has said enough. A line is written at once, or not at all."""
    found: list[str] = []
    while len(found) < most and (chunk := os.read(read, 1 << 16)):
        found += chunk.decode().splitlines()
    return found


# -- kill -9


class Killed:
    """A study that is tuned by one process after the other, each of them killed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "study.db"
        self.compiled = boat.Study(SPACE, minimize="loss", random_seed=SEED).rivals.inference
        for inference in self.compiled.values():
            inference.compile()  # once, here: the children have only their fits to do

    def tune(self, name: str, say: Callable[[str], None], path: Path | None) -> None:
        """Tune to the end, saying what is done before and after it is done."""
        say("open")
        study = boat.Study(SPACE, minimize="loss", storage=path, name=name, random_seed=SEED)
        study.rivals.inference = self.compiled
        resolve_orphans(study)
        while study.n_counted < N_TRIALS:
            say("ask")
            trial = study.ask_one()
            say(f"run {trial.number}")
            value = loss(trial.configuration)
            time.sleep(0.005)
            say(f"tell {trial.number}")
            study.tell(trial, value)
            say(f"told {trial.number} {value!r}")
        say("done " + json.dumps([t.configuration for t in study.trials if t.state is boat.State.COMPLETE]))

    def uninterrupted(self) -> str:
        """What a study says at its end that nobody killed."""
        with child(lambda say: self.tune("whole", say, None)) as (number, read):
            said = lines(read)
            os.waitpid(number, 0)
        return said[-1]


def kills(folder: Path, n: int, seed: int = 0) -> Counts:
    """Kill a tuner ``n`` times; studies that come to their end are followed by another one."""
    rng, killed = random.Random(seed), Killed(folder)
    whole = killed.uninterrupted()
    acknowledged: dict[tuple[str, int], float] = {}
    found = Counts()
    while found["kills"] < n:
        name = f"study {found['studies']}"
        with child(lambda say, name=name: killed.tune(name, say, killed.path)) as (number, read):
            said = lines(read, rng.randrange(LIFE))
            time.sleep(rng.choice([0, rng.uniform(0, 0.006), rng.uniform(0, 0.2)]))  # a run, a fit
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
            said += lines(read)
            status = os.waitpid(number, 0)[1]
        told = [line.split() for line in said if line.startswith("told")]
        acknowledged |= {(name, int(place)): float(value) for _, place, value in told}
        if os.WIFSIGNALED(status):
            found["kills"] += 1
            found[f"at {said[-1].split()[0] if said else 'start'}"] += 1
        elif status:
            raise RuntimeError(f"a tuner that nobody killed ended with {status}; it had said {said[-3:]}.")
        try:
            logs = _logs(killed.path)
        except StorageError:
            found["unreadable"] += 1
            continue
        values = {(record, t.number): t.measurements.get("loss") for record, ts in logs.items() for t in ts}
        gone = {key for key, value in acknowledged.items() if values.get(key) != value}
        found["lost"] = max(found["lost"], len(gone))
        if said and said[-1].startswith("done"):
            found["different"] += not _same(logs[name], json.loads(whole.removeprefix("done ")))
            found["blamed"] += any(_blamed(trial) for trial in logs[name])
            found["orphans"] += len(logs[name].running)
            found["studies"] += 1
    found["acknowledged"] = len(acknowledged)
    return found


def _same(trials: boat.Trials, whole: Sequence[dict[str, Any]]) -> bool:
    """Whether a study ran what one that nobody killed ran: up to a configuration that was blamed, if any, of
    which the other knows nothing."""
    told = [trial for trial in trials if trial.state is not boat.State.ABORTED]
    blamed = next((place for place, trial in enumerate(told) if _blamed(trial)), len(whole) - 1)
    return [trial.configuration for trial in told][: blamed + 1] == list(whole)[: blamed + 1]


def _blamed(trial: boat.Trial) -> bool:
    """Whether a configuration lost its process so often that it counts as failed: killed thrice by chance."""
    return trial.state is boat.State.FAILED and LOST in trial.marks


def _logs(path: Path) -> dict[str, boat.Trials]:
    """Every study's trials, from a file that may not be there yet."""
    if not path.exists():
        return {}
    with open_storage(path) as storage:
        return {record.name: storage.trials(record.name) for record in storage.studies()}


# -- damaged files


def stores(folder: Path, n: int, seed: int = 0) -> Counts:
    """Cut a file at half of ``n`` offsets, turn a bit at the others, and open it."""
    rng, path, bent = random.Random(seed), folder / "whole.db", folder / "bent.db"
    study = boat.Study(SPACE, minimize="loss", storage=path, random_seed=SEED, n_initial=100)
    for _ in range(30):
        trial = study.ask()
        study.tell(trial, loss(trial.configuration))
    trials = study.trials
    study.storage.close()
    content, found = path.read_bytes(), Counts(files=n)
    for case in range(n):
        offset = rng.randrange(len(content))
        turned = bytes([content[offset] ^ 1 << rng.randrange(8)])
        damaged = content[:offset] if case % 2 else content[:offset] + turned + content[offset + 1 :]
        bent.write_bytes(damaged)
        try:
            with open_storage(bent) as storage:
                found["right" if storage.trials("study") == trials else "wrong"] += 1
        except StorageError:
            found["refused"] += 1
        except Exception:
            found["wrong"] += 1
    return found


# -- many processes


def _next_of_row(study: boat.Study) -> dict[str, Any]:
    """What to run next: a function of the log, so that processes that ask at once want the same."""
    number = sum(trial.state is not boat.State.ABORTED for trial in study.trials)
    return SPACE.validate({"x": float((number * 0.6180339887498949) % 1.0), "y": 1 + number % 8})


def processes(folder: Path, n: int, n_trials: int, n_kills: int, seed: int = 0) -> Counts:
    """``n`` processes make ``n_trials`` each on one file; some are killed and begin again."""
    rng, path = random.Random(seed), folder / "shared.db"
    boat.Study(SPACE, minimize="loss", storage=path, random_seed=SEED).storage.close()

    def work(say: Callable[[str], None], wanted: int) -> None:
        study = boat.Study(SPACE, minimize="loss", storage=path, random_seed=SEED)

        def quick(trials: boat.Trials, known: Any, context: Any) -> Choice:
            again = to_retry(trials, context)
            return Choice(_next_of_row(study) if again is None else again.configuration, "design")

        study.policy.choose = quick  # type: ignore[method-assign]
        for done in range(wanted):
            resolve_orphans(study)
            trial = study.ask_one()
            time.sleep(0.002)
            study.tell(trial, loss(trial.configuration))
            say(f"{trial.number} {done}")

    wanted, said, kills_left = [n_trials] * n, list[str](), n_kills
    running: dict[int, tuple[int, int]] = {}  # process -> (place, pipe)
    with contextlib.ExitStack() as stack:

        def begin(place: int) -> None:
            number, read = stack.enter_context(child(lambda say: work(say, wanted[place])))
            running[number] = place, read

        for place in range(n):
            begin(place)
        while running:
            if kills_left and rng.random() < 0.5:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(list(running)), signal.SIGKILL)
                kills_left -= 1
            number, status = os.waitpid(-1, os.WNOHANG)
            if not number:
                time.sleep(0.05)
                continue
            place, read = running.pop(number)
            heard = lines(read)
            said += heard
            wanted[place] -= len(heard)
            if status and wanted[place]:
                begin(place)
    return Counts(processes=n, kills=n_kills) + _counted(path, said)


def _counted(path: Path, said: Sequence[str]) -> Counts:
    told = [int(line.split()[0]) for line in said]
    study = boat.Study(SPACE, minimize="loss", storage=path, random_seed=SEED)
    resolve_orphans(study)
    complete = [t for t in study.trials if t.state is boat.State.COMPLETE]
    twice = len(complete) - len({tuple(t.configuration.values()) for t in complete})
    lost = len(set(told) - {t.number for t in complete})
    return Counts(
        {
            "trials": len(complete),
            "lost": lost,
            "numbers twice": len(told) - len(set(told)),
            "run twice": twice,
            "orphans": len(study.trials.running),
        }
    )


# -- bad objectives


def objectives(folder: Path, times: int = 3, limit: float = 0.5) -> Counts:
    """Tune every pathological objective: good at the default, then bad ``times`` times."""
    n, found = 1 + times, Counts(objectives=len(OBJECTIVES))
    store = folder / "bad.db"
    for name, bad in OBJECTIVES.items():

        def run(configuration: dict[str, Any], bad: Any = bad) -> Any:
            return GOOD if configuration == SPACE.default else bad(configuration)

        options = {"timeout": limit, "memory": 2**30, "n_initial": n, "progress": False, "random_seed": SEED}
        options |= {"storage": store, "name": name}
        try:
            result = boat.optimize(run, SPACE, minimize="loss", n_trials=n, control_every=0, **options)
        except Exception as error:
            found["stopped"] += 1
            print(f"  {name}: {type(error).__name__}: {error}", flush=True)
            continue
        states = list(result.trials["state"])
        if len(states) != n or states[0] != "complete":
            found["stopped"] += 1
            print(f"  {name}: {states}", flush=True)
        kept = boat.Study(SPACE, minimize="loss", storage=store, name=name).trials
        found["unreadable"] += [str(trial.state) for trial in kept] != states
        found["late"] += sum(seconds > limit + 2 for seconds in result.trials["seconds"])
        found["left"] += bool(left_behind())
    return found


# -- hostile strings

SPICES = (
    "'", '"', "`", "$(reboot)", ";", "&&", "|", ">", "\\", "\n", "\t", " ", "--help", "-rf", "{x}", "{{x}}",
    "%s", "%n", "*", "?", "~", "#", "!", "\x1b[2J", "\u202e", "\ufeff", "é", "日本", "🚤", "$HOME", "..",
    "=",
)  # fmt: skip


def strings(folder: Path, n: int, seed: int = 0, at_once: int = 100) -> Counts:
    """Give hostile texts as values to a program that says what it was given."""
    rng, wrong = random.Random(seed), 0
    program = "import sys, json; print(json.dumps({'said': [a.encode().hex() for a in sys.argv[1:]]}))"
    names = [f"p{i}" for i in range(at_once)]
    command = boat.Command([sys.executable, "-S", "-c", program, *(f"{{{name}}}" for name in names)])
    for _ in range(-(-n // at_once)):
        values = {name: _hostile(rng) for name in names}
        said = command(values)["said"]
        wrong += sum(bytes.fromhex(a).decode() != b for a, b in zip(said, values.values(), strict=True))
    return Counts(strings=n, changed=wrong)


def _hostile(rng: random.Random) -> str:
    letters = [chr(c) for c in (rng.randrange(1, 0xD800), rng.randrange(0xE000, 0x110000))]
    return "".join(rng.choice([*SPICES, *letters]) for _ in range(rng.randrange(12)))


# -- the whole


def measure(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Counts]]:
    """Run the parts that are asked for."""
    parts: dict[str, Callable[[], Counts]] = {
        "kills": lambda: kills(folder, options.kills, options.seed),
        "stores": lambda: stores(folder, options.offsets, options.seed),
        "processes": lambda: processes(
            folder, options.processes, options.trials, options.process_kills, options.seed
        ),
        "objectives": lambda: objectives(folder, options.times),
        "strings": lambda: strings(folder, options.strings, options.seed),
    }
    for name in options.only or parts:
        began = time.monotonic()
        counts = parts[name]()
        print(f"{name}: {dict(counts)} in {time.monotonic() - began:.0f} s", flush=True)
        yield name, counts


def kept(path: Path, measured: dict[tuple[str, int], Counts]) -> dict[str, Counts]:
    """Add counts to those in a file, where a part with the same seed is replaced; return the sums."""
    known: dict[tuple[str, int], Counts] = {}
    if path.exists():
        with path.open() as file:
            for part, seed, what, count in csv.reader(file):
                known.setdefault((part, int(seed)), Counts())[what] = int(count)
    known |= measured
    rows = [(*key, what, count) for key, counts in sorted(known.items()) for what, count in counts.items()]
    with path.open("w") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    sums: dict[str, Counts] = {}
    for (part, _), counts in known.items():
        sums.setdefault(part, Counts()).update(counts)
    return sums


def report(sums: dict[str, Counts]) -> tuple[str, bool]:
    """The table of promises, and whether all were kept."""
    rows = []
    for part, what, key in PROMISES:
        if part in sums:
            rows.append([part, what.format_map(sums[part]), "0", str(sums[part][key])])
    at = ", ".join(f"{k} {n}" for k, n in sums.get("kills", Counts()).items() if k.startswith("at "))
    table = markdown_table(["part", "counted", "promised", "found"], rows)
    return f"{table}\n\nThe kills came: {at}." if at else table, all(row[-1] == "0" for row in rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, keep; the exit code is 1 where a promise was not kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--offsets", type=int, default=200)
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--trials", type=int, default=50, help="of each process")
    parser.add_argument("--process-kills", type=int, default=40)
    parser.add_argument("--times", type=int, default=3, help="runs of each bad objective")
    parser.add_argument("--strings", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", nargs="*", choices=["kills", "stores", "processes", "objectives", "strings"]
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    options, about = parser.parse_args(arguments), described()
    with tempfile.TemporaryDirectory() as folder:
        measured = {(name, options.seed): counts for name, counts in measure(options, Path(folder))}
    about["load after"] = load()
    options.results.mkdir(parents=True, exist_ok=True)
    table, well = report(kept(options.results / "chaos.csv", measured))
    where = "\n".join(f"- {name}: {value}" for name, value in about.items())
    title = "# What a study survives\n\nMade by `python -m benchmarks.chaos`; the last part of it here:"
    (options.results / "chaos.md").write_text(f"{title}\n\n{where}\n\n{table}\n")
    print(table)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
