"""A dry run: systems drawn from the developer's own priors, tuned by the study itself."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from boatppl.check.prior import prior
from boatppl.dag import DAGModel
from boatppl.fit import Inference
from boatppl.graph import DAG
from boatppl.node import Node, Shared, generic
from boatppl.propagate import Luck, Posterior, needed
from boatppl.study import Study
from boatppl.suggest import Goal
from boatppl.table import measured
from boatppl.transform import Transform
from boatppl.trial import Trial

POOL = 200  # places at which a system's residuals are drawn jointly; between them they are smooth
DENSE = 1000  # places among which a system's optimum is looked for
NEAR = 0.05  # of the optimum: close enough
TRIALS = 12  # of a system at the most
LEARNED = 5  # runs that a model without one node's knowledge learns from, as the whole model does
FIRST = 0.6  # of the time, for tuning; the rest is for the nodes' shares

Say = Callable[[str], None]


@dataclass(frozen=True)
class DryRun:
    """How tuning would go if the model were right.

    ``reached``: of every system, how many trials it took until one was within 5 % of the optimum (None: not
    in ``trials``). ``covered``: the share of ``predictions``, each made before its run, whose central 90 %
    interval held what was measured. ``shares``: node -> how much of the gain goes away when the model knows
    nothing of this node, after ``LEARNED`` runs.
    """

    trials: int
    reached: tuple[int | None, ...]
    covered: float
    predictions: int
    shares: Mapping[str, float]
    seconds: float

    def lines(self) -> list[str]:
        """Return it in sentences."""
        n = len(self.reached)
        there = [count for count in self.reached if count is not None]
        typical = float(np.median([count or np.inf for count in self.reached])) if n else np.nan
        often = f"after {typical:g} trials" if np.isfinite(typical) else f"not within {self.trials} trials"
        found = [
            f"dry run on {n} systems drawn from the priors ({self.seconds:.0f} s): within {NEAR:.0%} of the "
            f"optimum {often} (median; {len(there)} of {n} within {self.trials})"
        ]
        if self.predictions:
            found.append(f"  {self.covered:.0%} of {self.predictions} runs inside their 90 % interval")
        if self.shares:
            each = ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items())
            found.append(f"  without the knowledge of a node this share of the gain would be lost: {each}")
        return found


class System:
    """One system drawn from a model's prior, noise and residuals included; it may be run anywhere."""

    def __init__(self, model: DAG, goal: Goal, seed: int) -> None:
        self.model, self.goal, self.seed = model, goal, seed
        middle = np.array([0.5])
        self.context: dict[str, Any] = {
            n: float(c.from_unit(middle)[0]) for n, c in model.space.contexts.items()
        }
        one = prior(model, 1, seed)
        self.still = _still(one)
        pool = model.space.sample(POOL, seed)
        _, self.posterior = one.realise(pool, goal.name, self.still, seed, self.context)

    def run(self, configuration: Mapping[str, Any], number: int) -> dict[str, Any]:
        """Return what one run measures of every node; what has no finite value is left out."""
        model, posterior = self.model, self.posterior
        unit = model.space.encode([configuration])
        luck = replace(self.still, noise=posterior.luck([self.seed, 91, number]).noise)
        values = dict(model.inputs(unit, self.context))
        for name in model.order:
            if name in model.derived:
                values[name] = model.evaluate_derived(name, values)
            elif name in model.nodes:
                step = posterior.step(name, values, unit, self.context)
                values[name] = posterior.measured(name, step.known(step.mean), luck, 1)
        return {name: values[name][0, 0] for name in model.nodes if np.isfinite(values[name]).all()}

    def truth(self, unit: np.ndarray) -> np.ndarray:
        """Return the objective itself ``(configuration,)``, every node at its noise-free value."""
        values = objective(self.posterior, self.goal, unit, self.context, self.still)[0]
        return self.posterior.transforms.get(self.goal.name, Transform()).inverse(values)


def objective(
    posterior: Posterior, goal: Goal, unit: np.ndarray, context: Mapping[str, Any], luck: Luck
) -> np.ndarray:
    """Return the objective ``(draw, configuration)`` on its transformed scale."""
    mean, _ = posterior.propagate(unit, goal.name, luck, context).objective()
    return np.broadcast_to(mean, (posterior.draws, len(unit)))


def _still(posterior: Posterior) -> Luck:
    luck = posterior.luck(0)
    residual = {name: np.zeros_like(each) for name, each in luck.residual.items()}
    return Luck(residual, {name: np.zeros_like(each) for name, each in luck.noise.items()})


def dry_run(model: DAGModel, goal: Goal, systems: int, seconds: float, seed: int, say: Say) -> DryRun:
    """Tune systems drawn from the prior, for about so many seconds; the last one begun is finished.

    The study is the developer's model alone (``hedge=False``): the systems are as the model says.
    """
    began = time.monotonic()
    inference = Inference(model, seed)
    inference.compile()
    tuned: list[tuple[System, Study]] = []
    reached: list[int | None] = []
    for i in range(systems):
        if i and time.monotonic() - began > FIRST * seconds:
            break
        system = System(model, goal, seed + 1 + i)
        study, near = _tuned(model, system, inference)
        tuned.append((system, study))
        reached.append(near)
        how = f"after {near} trials" if near else f"not in {TRIALS} trials"
        say(f"dry run: system {i + 1} of {systems} within {NEAR:.0%} of its optimum {how}")
    inside = [hit for _, study in tuned for hit in _inside(study)]
    shares = _shares(model, goal, inference, tuned, began + seconds, say)
    covered = float(np.mean(inside)) if inside else np.nan
    return DryRun(TRIALS, tuple(reached), covered, len(inside), shares, time.monotonic() - began)


def _tuned(model: DAGModel, system: System, inference: Inference) -> tuple[Study, int | None]:
    """Tune one system; return the study and after how many trials it was near the optimum."""
    goal = system.goal
    objective_is: dict[str, Any] = {"maximize" if goal.maximize else "minimize": goal.name}
    study = Study(model, **objective_is, hedge=False, random_seed=system.seed)
    study.rivals.inference[study.rivals.first].densities = list(inference.densities)
    space = model.space
    values = system.truth(np.concatenate([space.sample(DENSE, system.seed), space.encode([space.default])]))
    best = goal.sign * float((goal.sign * values[np.isfinite(values)]).min(initial=np.inf))
    for number in range(TRIALS):
        trial = study.ask_one(context=system.context)
        found = system.run(trial.configuration, number)
        if not found:
            study.fail(trial, "the drawn system has no finite value here")
            continue
        study.tell(trial, found)
        loss = goal.sign * (system.truth(space.encode([trial.configuration]))[0] - best)
        if loss <= NEAR * abs(best):
            return study, number + 1
    return study, None


def _inside(study: Study) -> list[bool]:
    """Return of every run that was predicted whether its 90 % interval held what was measured."""
    known, found = study.evidence().objective, []
    for trial in study.trials.finished:
        if trial.suggestion and trial.number in known:
            said = trial.suggestion["predicted"]
            found.append(bool(said["low"] <= known[trial.number] <= said["high"]))
    return found


def _shares(
    model: DAGModel,
    goal: Goal,
    inference: Inference,
    tuned: list[tuple[System, Study]],
    end: float,
    say: Say,
) -> dict[str, float]:
    """Return node -> the share of the gain over the default that is lost without its knowledge.

    Every model learns from the same few runs of a system and chooses where its own posterior is best.
    """
    names = [n for n in needed(model, goal.name) if n in model.nodes and _known(model, n)]
    runs = [(system, _first_runs(system)) for system, _ in tuned]
    full = [_gain(inference, goal, system, trials) for system, trials in runs]
    found = {}
    for name in names:
        if time.monotonic() > end:
            say(f"dry run: no time left for the share of {name}")
            break
        blind = Inference(without_knowledge(model, name), inference.seed)
        gains: list[float] = []
        for system, trials in runs:
            if gains and time.monotonic() > end:
                break
            gains.append(_gain(blind, goal, system, trials))
        total = sum(full[: len(gains)])
        found[name] = float(np.clip(1.0 - sum(gains) / total, 0.0, 1.0)) if total > 0 else 0.0
        say(f"dry run: without what is known of {name}, {found[name]:.0%} of the gain is lost")
    return found


def _known(model: DAG, name: str) -> bool:
    node = model.nodes[name].node
    return not node.standardised


def without_knowledge(model: DAGModel, name: str) -> DAGModel:
    """Return a model in which one node is a residual alone, over all that its formula and residual used: of a
    vector, also over what tells its elements apart."""
    old = model.nodes[name].node
    along = {item for item, (dims, _) in model.data.items() if set(dims) & set(old.over)}
    varying = {*model.space.slices, *model.space.contexts, *model.nodes, *along}
    inputs = [item for item in model.origins((*old.wires, *model.inputs_of(name))) if item in varying]
    options: dict[str, Any] = {"unit": old.unit, "transform": old.transform, "robust": old.robust}
    options["noise"] = 0 if old.deterministic else None
    blank = replace(generic(name, list(dict.fromkeys(inputs)), **options), over=old.over)
    parts = [blank if part.name == name else part for part in model.parts.values()]
    used = {wire for part in parts if isinstance(part, Node) for wire in part.wires}
    kept = [part for part in parts if not isinstance(part, Shared) or part.name in used]
    return DAGModel(model.space, kept, coords=model.coords, data=model.data)


def _first_runs(system: System) -> list[Trial]:
    """Return the default and a small design, run."""
    space = system.model.space
    chosen = [space.default, *space.design(LEARNED - 1, system.seed)]
    return [
        Trial(i, configuration, system.context, measurements=system.run(configuration, 100 + i))
        for i, configuration in enumerate(chosen)
    ]


def _gain(inference: Inference, goal: Goal, system: System, trials: list[Trial]) -> float:
    """Return how much better than the default is what a model chooses after some runs, in the objective's
    unit over that of the default."""
    posterior = inference.posterior(measured(inference.model, trials))
    space = system.model.space
    unit = np.concatenate([space.encode([space.default]), space.sample(POOL, [system.seed, 92])])
    luck = posterior.luck([system.seed, 93])
    mean = objective(posterior, goal, unit, system.context, luck)
    mean = np.where(np.isfinite(mean), goal.sign * mean, np.inf)
    truth = system.truth(unit)
    chosen = int(np.argmin(np.median(mean, axis=0)))
    gain = goal.sign * (truth[0] - truth[chosen]) / max(abs(truth[0]), 1e-300)
    return float(gain) if np.isfinite(gain) else 0.0
