"""The tuners compared, behind one face: ask for a configuration, tell what it measured, say what is best."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import boatppl as boat
from benchmarks.peers.environment import environment
from benchmarks.peers.peer import Peer, spec_of
from benchmarks.problems import Problem


class Tuner(Protocol):
    """What the comparison needs of a tuner."""

    def ask(self) -> dict[str, Any]:
        """Return the next configuration."""
        ...

    def tell(self, configuration: Mapping[str, Any], measurements: Mapping[str, float]) -> None:
        """Take the measurements of the configuration last asked for."""
        ...

    def best(self) -> dict[str, Any]:
        """Return the configuration it would recommend now."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class Boat:
    """Our own study: with the problem's model, or generic, which is told the objective alone."""

    def __init__(self, problem: Problem, seed: int, structured: bool) -> None:
        model = problem.structured(problem.space) if structured else problem.space
        self._study = boat.Study(model, minimize=problem.objective, random_seed=seed)
        self._names = list(self._study.model.nodes)

    def ask(self) -> dict[str, Any]:
        """Return the next configuration."""
        self._trial = self._study.ask()
        return dict(self._trial.configuration)

    def tell(self, configuration: Mapping[str, Any], measurements: Mapping[str, float]) -> None:
        """Tell the study what its model has nodes for."""
        self._study.tell(self._trial, {name: measurements[name] for name in self._names})

    def best(self) -> dict[str, Any]:
        """Return the incumbent."""
        return dict(self._study.best.configuration)

    def close(self) -> None:
        """Nothing is held."""


class Other:
    """A peer in a process of its own, told the objective alone, with as many initial trials as our generic
    tuner."""

    def __init__(self, problem: Problem, seed: int, python: Path | str, script: str) -> None:
        n_initial = boat.Study(problem.space, minimize=problem.objective).n_initial
        spec = spec_of(problem.space, problem.objective, seed=seed, n_initial=n_initial)
        self._objective = problem.objective
        self._peer = Peer(python, script, spec)

    def ask(self) -> dict[str, Any]:
        """Return the next configuration."""
        return self._peer.ask()[0]

    def tell(self, configuration: Mapping[str, Any], measurements: Mapping[str, float]) -> None:
        """Tell the peer the objective."""
        self._peer.tell(configuration, {self._objective: measurements[self._objective]})

    def best(self) -> dict[str, Any]:
        """Return what the peer recommends."""
        return self._peer.best()

    def close(self) -> None:
        """End the peer's process."""
        self._peer.close()


TUNERS: dict[str, Callable[[Problem, int], Tuner]] = {
    "structured": lambda problem, seed: Boat(problem, seed, structured=True),
    "generic": lambda problem, seed: Boat(problem, seed, structured=False),
    "botorch": lambda problem, seed: Other(problem, seed, environment("botorch"), "botorch_peer.py"),
    "random": lambda problem, seed: Other(problem, seed, sys.executable, "random_peer.py"),
}
