"""Which part of a model is wrong, and what to do about it."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy.stats import rankdata

from boatppl.diagnose import sentences
from boatppl.diagnose.attribution import attribution
from boatppl.diagnose.columns import other_inputs, own_inputs, parent_columns
from boatppl.diagnose.diagnosis import Diagnosis, Finding
from boatppl.diagnose.formula import formula_of
from boatppl.diagnose.judge import FEWEST, judge
from boatppl.evidence import Evidence
from boatppl.fit import Inference
from boatppl.infer import BlockPosterior, Chains
from boatppl.propagate import NodeDraws, Posterior
from boatppl.repeats import contradictions
from boatppl.suggest import Goal
from boatppl.table import measured
from boatppl.validate.folds import of_rows
from boatppl.words import ModelError

#: Apart, so that several modes are seen; they lie far apart where it matters, and slow chains are no fault of
#: a model (R-hat of 1.1: an effective size of about 40).
CHAINS = Chains(draws=100, tune=50, chains=6, target_accept=0.9, tolerated=1.1)
NATS = 2.0  # of evidence for one cause named beforehand; right models: see benchmarks/faults.py
MOST = 250  # rows of a node that are judged: the work grows with their cube
LITTLE = 0.75  # of the prior's variance (of ranks) that is left of what is not identified
APART = 0.95  # correlation of two unknowns from which on only a combination of them is known


def diagnose(
    inference: Inference, goal: Goal, known: Evidence, seed: int, length: Chains = CHAINS
) -> Diagnosis:
    """Say which part of a model is wrong, worst first.

    Raises
    ------
    ModelError
        For fewer than 8 runs.
    """
    if len(known.trials) < FEWEST:
        raise ModelError(
            f"a diagnosis needs at least {FEWEST} finished runs; there are {len(known.trials)}. Run more of "
            "them, all over the space: space.design(n, seed) gives configurations."
        )
    data = measured(inference.model, known.trials)
    longer = replace(length, draws=2 * length.draws, tune=2 * length.tune)  # few draws may disagree by chance
    posterior = inference.posterior(data, length, longer)
    threshold = NATS + np.log(questions(posterior))
    findings: list[Finding] = []
    errors: list[tuple[str, NodeDraws, np.ndarray]] = []
    unjudged = []
    for name in posterior.model.nodes:
        node, block = thinned(posterior.nodes[name]), _block_of(posterior, name)
        if len(np.unique(node.table.trials)) < FEWEST:
            unjudged.append(name)
            continue
        formula = formula_of(posterior.model, node, block, seed)
        parents = parent_columns(node, errors)
        judged = judge(posterior.model, data, formula, parents, float(threshold))
        findings += judged.findings
        errors.append((name, node, judged.errors))
    findings += _sampling(posterior)
    findings += [sentences.repeats(each) for each in contradictions(posterior.model, known.trials)]
    findings += _unidentified(posterior, seed, {(f.node, f.what) for f in findings})
    findings.sort(key=lambda finding: -finding.nats)
    shares = attribution(posterior, goal, data, known.objective, seed)
    return Diagnosis(goal.name, tuple(findings), shares, tuple(unjudged))


def thinned(node: NodeDraws) -> NodeDraws:
    """Return a node with a table of at most about ``MOST`` rows, of trials evenly through the study."""
    table = node.table
    if len(table) <= MOST:
        return node
    numbers = np.unique(table.trials)
    count = max(FEWEST, MOST * len(numbers) // len(table))
    kept = numbers[np.linspace(0, len(numbers) - 1, count).astype(int)]
    return replace(node, table=of_rows(table, np.isin(table.trials, kept)))


def questions(posterior: Posterior) -> int:
    """Return how many causes are asked for: the more, the more evidence each of them needs."""
    model, names = posterior.model, posterior.nodes
    return sum(len(own_inputs(model, name)) + 2 * len(other_inputs(model, name)) + 4 for name in names)


def _block_of(posterior: Posterior, name: str) -> BlockPosterior:
    return next(b for b in posterior.blocks if name in [node.name for node in b.density.block.nodes])


def _sampling(posterior: Posterior) -> Iterator[Finding]:
    for block in posterior.blocks:
        if not block.verdict.good:
            yield sentences.sampler_trouble(block.density.block.nodes[0].name, block)


def _unidentified(posterior: Posterior, seed: int, said: set[tuple[str, str]]) -> Iterator[Finding]:
    """Yield the developer's unknowns of which the posterior is the prior, alone or in pairs; what nodes share
    is said of the first of them."""
    model, done = posterior.model, set[frozenset[tuple[str, int]]]()
    for name, node in posterior.nodes.items():
        block = _block_of(posterior, name)
        if not block.verdict.good or node.graph.node.standardised or not len(node.table):
            continue
        formula = formula_of(model, node, block, seed)
        ranks = [
            np.searchsorted(np.sort(formula.prior[:, i]), formula.posterior[:, i]) / len(formula.prior)
            for i in range(len(formula.labels))
        ]
        kept = [12.0 * float(np.var(rank)) for rank in ranks]
        loose = [i for i, share in enumerate(kept) if share > LITTLE]
        for i in loose:
            own = frozenset([formula.unknowns[i]])
            if (name, formula.labels[i]) not in said and own not in done:
                done.add(own)
                yield sentences.unidentified(name, formula.labels[i], min(kept[i], 1.0), None)
        for i in range(len(ranks)):
            for j in range(i):
                if {i, j} & set(loose) or min(kept[i], kept[j]) < 0.1:
                    continue
                correlation = float(np.corrcoef(rankdata(ranks[i]), rankdata(ranks[j]))[0, 1])
                both = frozenset([formula.unknowns[i], formula.unknowns[j]])
                if abs(correlation) > APART and both not in done:
                    done.add(both)
                    yield sentences.unidentified(name, formula.labels[j], correlation, formula.labels[i])
