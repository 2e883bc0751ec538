"""The tuners compared, behind one face: ask for a configuration, tell what it measured, say what is best."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import boatppl as boat
from benchmarks.peers.environment import environment
from benchmarks.peers.peer import Peer, gathered, spec_of, spread
from benchmarks.problems import Problem


class Tuner(Protocol):
    """What the comparison needs of a tuner."""

    versions: Mapping[str, str]
    process: int  # its number

    def ask(self) -> dict[str, Any]:
        """Return the next configuration."""
        ...

    def tell(self, configuration: Mapping[str, Any], measurements: Mapping[str, float]) -> None:
        """Take the measurements of the configuration that was run for the one last asked for."""
        ...

    def best(self) -> dict[str, Any]:
        """Return the configuration it would recommend now."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class Boat:
    """Our own study: with the problem's model, or generic, which is told the objective alone."""

    def __init__(self, problem: Problem, seed: int, entrant: "Entrant") -> None:
        model = problem.structured(problem.space) if entrant.model else problem.space
        options: dict[str, Any] = {} if entrant.model or problem.noise else {"noise": 0}
        self._study = boat.Study(
            model, minimize=problem.objective, hedge=entrant.hedge, random_seed=seed, **options
        )
        self._names = list(self._study.model.nodes)
        self.versions: Mapping[str, str] = {}
        self.process = os.getpid()

    def ask(self) -> dict[str, Any]:
        """Return the next configuration."""
        self._trial = self._study.ask()
        return dict(self._trial.configuration)

    def tell(self, configuration: Mapping[str, Any], measurements: Mapping[str, float]) -> None:
        """Tell the study what its model has nodes for; a node may be without a measurement."""
        known = {name: measurements[name] for name in self._names if name in measurements}
        self._study.tell(self._trial, known)

    def best(self) -> dict[str, Any]:
        """Return the incumbent."""
        return dict(self._study.best.configuration)

    def close(self) -> None:
        """Nothing is held."""


class Other:
    """A peer in a process of its own.

    It is told the objective alone (all that was measured where it knows the graph) and, where it has no
    opinion of its own, makes as many initial trials as our generic tuner.
    """

    def __init__(self, problem: Problem, seed: int, budget: int, entrant: "Entrant") -> None:
        graph = problem.network if entrant.graph else None
        spec = spec_of(
            problem.space,
            problem.objective,
            seed=seed,
            n_initial=boat.Study(problem.space, minimize=problem.objective).n_initial,
            outputs=list(graph) if graph else None,
            budget=budget,
            noisy=bool(problem.noise),
            choices=problem.choices,
            network=graph,
            options=entrant.options,
        )
        python = environment(entrant.environment) if entrant.environment else sys.executable
        self._names, self._space = spec["outputs"], problem.space
        self._peer = Peer(python, entrant.script, spec, log=LOG)
        self.versions, self.process = self._peer.versions, self._peer.process

    def ask(self) -> dict[str, Any]:
        """Return the next configuration."""
        self._flat = self._peer.ask()[0]
        self._asked = gathered(self._space, self._flat)
        return dict(self._asked)

    def tell(self, configuration: Mapping[str, Any], measurements: Mapping[str, float]) -> None:
        """Tell the peer what it is meant to see."""
        as_asked = configuration == self._space.validate(self._asked, strict=False)
        flat = self._flat if as_asked else spread(self._space, configuration)
        self._peer.tell(flat, {name: measurements[name] for name in self._names})

    def best(self) -> dict[str, Any]:
        """Return what the peer recommends."""
        return gathered(self._space, self._peer.best())

    def close(self) -> None:
        """End the peer's process."""
        self._peer.close()


LOG = Path(__file__).parent / ".environments" / "peers.log"  # what peers print


@dataclass(frozen=True)
class Entrant:
    """A tuner of the comparison: what it is run with, said in the tables, and which problems it can take."""

    settings: str
    script: str = ""
    environment: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    graph: bool = False
    numbers_only: bool = False
    model: bool = False
    hedge: bool = True

    @property
    def ours(self) -> bool:
        """Whether it is boatppl."""
        return not self.script

    def takes(self, problem: Problem) -> bool:
        """Whether the tuner can be run on a problem."""
        if self.model and problem.structured is None:
            return False
        numbers = all(isinstance(p, boat.Float | boat.Integer) for p in problem.space.parameters.values())
        return (numbers or not self.numbers_only) and (problem.network is not None or not self.graph)

    def tuner(self, problem: Problem, seed: int, budget: int) -> Tuner:
        """Return a fresh tuner, its environment built where it is not there. Raises Unavailable."""
        if self.ours:
            return Boat(problem, seed, self)
        return Other(problem, seed, budget, self)


def _opentuner(technique: str, said: str) -> Entrant:
    settings = f"technique {technique} ({said}), --parallelism 1"
    return Entrant(settings, "opentuner_peer.py", "opentuner", {"technique": technique})


ENTRANTS: dict[str, Entrant] = {
    "structured": Entrant("the problem's model, hedged with the generic one; defaults", model=True),
    "structured-alone": Entrant("the problem's model; hedge=False, else defaults", model=True, hedge=False),
    "generic": Entrant("the space alone; noise=0 where runs do not scatter, else defaults"),
    "botorch": Entrant(
        "SingleTaskGP, told by train_Yvar where runs do not scatter, qLogNEI, 10 restarts of 512; initial "
        "trials as ours",
        "botorch_peer.py",
        "botorch",
    ),
    "botorch-bayes": Entrant(
        "fully Bayesian Matern GP by NUTS 256 + 128, qLogNEI; stands in for Spearmint",
        "bayesian_peer.py",
        "bayesian",
        {"prior": "plain"},
        numbers_only=True,
    ),
    "saasbo": Entrant(
        "SAAS prior by NUTS 256 + 128, qLogNEI",
        "bayesian_peer.py",
        "bayesian",
        {"prior": "saas"},
        numbers_only=True,
    ),
    "function-network": Entrant(
        "EI-FN (Astudillo & Frazier 2021) on BoTorch: knows the graph, sees every node",
        "network_peer.py",
        "botorch",
        graph=True,
        numbers_only=True,
    ),
    "ax": Entrant("Client, method fast, its own Sobol trials", "ax_peer.py", "ax"),
    "optuna": Entrant("TPESampler, defaults", "optuna_peer.py", "optuna", {"sampler": "tpe"}),
    "optuna-gp": Entrant(
        "GPSampler, deterministic_objective where it is", "optuna_peer.py", "optuna", {"sampler": "gp"}
    ),
    "smac": Entrant(
        "black-box facade for numbers, else hyperparameter facade; its own design and repeats",
        "smac_peer.py",
        "smac",
    ),
    "hebo": Entrant("defaults", "hebo_peer.py", "hebo"),
    "cma-es": Entrant("IPOP, first step 0.3, first mean the default", "cma_peer.py", "cma"),
    "opentuner": _opentuner("AUCBanditMetaTechniqueA", "its default ensemble"),
    "opentuner-evolution": _opentuner("DifferentialEvolutionAlt", "evolution"),
    "opentuner-greedy": _opentuner("UniformGreedyMutation20", "greedy mutation"),
    "opentuner-climbing": _opentuner("PatternSearch", "hill climbing"),
    "opentuner-simplex": _opentuner("RandomNelderMead", "Nelder-Mead"),
    "grid": Entrant("full factorial of the budget's size, in random order", "grid_peer.py"),
    "random": Entrant("uniform", "random_peer.py"),
}
