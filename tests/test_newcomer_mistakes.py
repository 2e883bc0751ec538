"""Mistakes that newcomers make, collected by making them: each gets a sentence that says what to do."""

import math

import pymc as pm
import pytest

import boatppl as boat

SPACE = boat.Space(
    young_mb=boat.Integer(16, 192, log=True, unit="MB", default=64),
    ratio=boat.Float(1, 32, default=8),
    gc=boat.Categorical(["serial", "g1"], default="serial"),
)
CONFIGURATION = {"young_mb": 64, "ratio": 8.0, "gc": "serial"}


@boat.node(unit="1/s", transform="log")
def gc_rate(young_mb):
    return pm.LogNormal("malloc", 5, 1) / young_mb


@boat.node(unit="ms", transform="log")
def p99(gc_rate):
    return pm.LogNormal("base", 1, 1) + gc_rate


MODEL = boat.DAGModel(SPACE, [gc_rate, p99])


def modelled(function, **options):
    """A model of one node made of a function."""
    return boat.DAGModel(SPACE, [boat.node(function, **options) if options else boat.node(function)])


def tuned(run, model=SPACE, **options):
    """Two trials of a run."""
    options = {"minimize": "p99", "n_trials": 2} | options
    return boat.optimize(run, model, random_seed=1, progress=False, **options)


def branches(young_mb):
    base = pm.Normal("base", 0, 1)
    return base if young_mb > 64 else 2 * base


def compares(gc):
    base = pm.Normal("base", 0, 1)
    return base if gc == "g1" else 2 * base


def forgets_to_return(young_mb):
    pm.Normal("slope", 0, 1) * young_mb


def takes_pythons_log(young_mb):
    return pm.Normal("slope", 0, 1) * math.log(young_mb)


def leaves_out_the_name(young_mb):
    return pm.Normal(0, 1) * young_mb


def makes_a_parameter_random(young_mb):
    return pm.Normal("young", young_mb, 1)


def counts(young_mb):
    return pm.Poisson("count", 3) * young_mb


def misspells_a_wire(yuong_mb):
    return pm.Normal("slope", 0, 1) * yuong_mb


def calls_a_node(young_mb):
    return pm.Normal("slope", 0, 1) * gc_rate(young_mb)


@boat.derived
def doubled(young_mb):
    return 2 * young_mb


def undecorated(young_mb):
    return young_mb


def one_run_told_twice():
    study = boat.Study(MODEL, minimize="p99")
    trial = study.ask()
    study.tell(trial, {"p99": 1.0})
    study.tell(trial, {"p99": 2.0})


def another_objective_in_the_same_file(folder):
    boat.Study(MODEL, minimize="p99", storage=folder / "study.db")
    boat.Study(MODEL, minimize="gc_rate", storage=folder / "study.db")


RAISED = {
    # what was done: (how, what the sentence says, what the remedy says)
    "no direction": (lambda _: boat.Study(SPACE), "what to optimise", "minimize='...'"),
    "objective misspelt": (lambda _: boat.Study(MODEL, minimize="p9"), "is no node", "Did you mean 'p99'"),
    "no budget": (lambda _: tuned(len, n_trials=None), "how long to tune", "n_trials=20"),
    "run was called": (lambda _: tuned(1.0), "run is a callable", "do not call it"),
    "run takes the parameters one by one": (
        lambda _: tuned(lambda young_mb, ratio, gc: 1.0),
        "called with one argument, the configuration",
        r"\*\*configuration",
    ),
    "budget in words": (lambda _: tuned(len, budget="2 hours"), "'2 hours'", "'2h'"),
    "choices one by one": (
        lambda _: boat.Categorical("serial", "g1"),
        "takes one list of choices",
        r"boat\.Categorical\(\['serial', 'g1'\]\)",
    ),
    "values one by one": (
        lambda _: boat.Ordinal(1, 2, 4),
        "got 3 positions",
        r"boat\.Ordinal\(\[1, 2, 4\]\)",
    ),
    "a default by position": (
        lambda _: boat.Categorical(["serial", "g1"], "g1"),
        "options by name",
        "Did you mean default='g1'",
    ),
    "a node is called": (
        lambda _: modelled(calls_a_node),
        "node gc_rate.young_mb. is no function to call",
        "an argument named gc_rate",
    ),
    "a derived is called": (
        lambda _: doubled(young_mb=64),
        "derived doubled.young_mb. is no function",
        r"undecorated function is doubled\.function",
    ),
    "a node for a run": (lambda _: tuned(gc_rate), "run is a callable", "got node gc_rate"),
    "ends swapped": (lambda _: boat.Float(10, 1), "low must be below high", "space.fix"),
    "logarithm of 0": (lambda _: boat.Float(0, 1, log=True), "needs low above 0", "leave log out"),
    "default out of range": (lambda _: boat.Integer(1, 8, default=16), r"lie in \[1..8\]", "got 16"),
    "a tuple for a range": (lambda _: boat.Space(x=(1, 8)), "must be one of Float, Integer", "Categorical"),
    "constraint forbids the default": (
        lambda _: SPACE.constrain(lambda young_mb: young_mb < 20),
        "the default breaks the constraint",
        "Change the default or the constraint",
    ),
    "wire misspelt": (lambda _: modelled(misspells_a_wire), "'yuong_mb'", "Did you mean 'young_mb'"),
    "a node left out": (lambda _: boat.DAGModel(SPACE, [p99]), "takes 'gc_rate'", "add what is missing"),
    "not decorated": (lambda _: boat.DAGModel(SPACE, [undecorated]), "@boat.node", "Decorate the function"),
    "if on a wire": (lambda _: modelled(branches), "branches or computes in Python", "pt.switch"),
    "== on a categorical": (lambda _: modelled(compares), "compares a wire in Python", r"gc.codes\['g1'\]"),
    "math.log of a wire": (lambda _: modelled(takes_pythons_log), "computes in Python", "pt.log"),
    "no return": (lambda _: modelled(forgets_to_return), "got None", "`return`"),
    "an unknown without a name": (lambda _: modelled(leaves_out_the_name), "without a name", "'slope', 0, 1"),
    "a parameter made random": (
        lambda _: modelled(makes_a_parameter_random),
        "depends on the parameter 'young_mb'",
        "in the returned expression instead",
    ),
    "a discrete unknown": (lambda _: modelled(counts), "is discrete", "continuous prior"),
    "a number for a prior": (lambda _: boat.GP(amplitude=0.1), "expects a prior", r"\.dist\("),
    "transform misspelt": (
        lambda _: boat.node(undecorated, transform="ln"),
        "transform= of node",
        "'log1p', 'sqrt'",
    ),
    "transform beside a model": (
        lambda _: boat.Study(MODEL, minimize="p99", transform="log"),
        "of the generic model",
        "Say them in the node",
    ),
    "half a configuration told": (
        lambda _: boat.Study(MODEL, minimize="p99").tell({"young_mb": 64}, {"p99": 1.0}),
        "misses 'ratio'",
        r"space.default \|",
    ),
    "a parameter misspelt in tell": (
        lambda _: boat.Study(MODEL, minimize="p99").tell(CONFIGURATION | {"youngmb": 3}, {"p99": 1.0}),
        "'youngmb', which is no parameter",
        "Did you mean 'young_mb'",
    ),
    "told twice": (lambda _: one_run_told_twice(), "A finished trial never changes", "as a new trial"),
    "best before any run": (
        lambda _: boat.Study(MODEL, minimize="p99").best,
        "no trial of this study has a measurement",
        "Run some first",
    ),
    "diagnosis before any run": (
        lambda _: boat.Study(MODEL, minimize="p99").diagnose(),
        "at least 8 finished runs",
        "space.design",
    ),
    "a shell's line": (lambda _: boat.Command("java -jar app.jar"), "takes a list", r"Command\(\['program'"),
    "placeholder misspelt": (
        lambda _: tuned(boat.Command(["java", "-Xmn{young}m"])),
        "which is no parameter",
        "Did you mean 'young_mb'",
    ),
    "a folder that is not there": (
        lambda folder: boat.Study(SPACE, minimize="p99", storage=folder / "none" / "study.db"),
        "does not exist",
        "Make it first",
    ),
    "another objective in the same file": (
        another_objective_in_the_same_file,
        "is there to minimize 'p99'",
        "another name, or another file",
    ),
}


@pytest.mark.parametrize("mistake", RAISED)
def test_a_mistake_is_told_with_its_remedy(mistake, tmp_path):
    make, what, remedy = RAISED[mistake]
    with pytest.raises((ValueError, TypeError, boat.StorageError), match=what) as raised:
        make(tmp_path)
    raised.match(remedy)
    assert type(raised.value).__module__ in ("builtins", "boatppl.words", "boatppl.storage.errors")
    assert str(raised.value).endswith((".", "?"))


# A run that goes wrong does not end a study: the remedy is the trial's reason, or the result's.
RETURNED = {
    "text": (lambda _: "12 ms", "Convert it to float"),
    "nothing": (lambda _: None, "Does the function end with return?"),
    "NaN": (lambda _: {"p99": math.nan}, "Leave out what was not measured"),
    "two numbers": (lambda _: (1.0, 2.0), "Reduce it to one number"),
    "another name": (lambda _: {"latency": 1.0}, "the runs returned latency: let them return p99"),
    "a program that is not there": (boat.Command(["no-such-program"]), "No such file or directory"),
    "a program that says nothing": (boat.Command(["true"]), "Print one such as"),
}


@pytest.mark.parametrize("mistake", RETURNED)
def test_a_run_that_returns_no_measurement_says_what_it_should_return(mistake):
    run, remedy = RETURNED[mistake]
    assert remedy in " ".join(repr(tuned(run)).split())


def test_a_negative_measurement_on_a_log_scale_names_the_other_scales():
    assert "transform='log1p' or 'sqrt'" in repr(tuned(lambda _: {"p99": -1.0, "gc_rate": 1.0}, MODEL))
