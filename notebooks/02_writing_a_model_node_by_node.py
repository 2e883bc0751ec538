# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Writing a model, node by node
#
# A store runs on a garbage-collected heap, and three flags decide how long its slowest requests take. First a
# generic tuner searches them. Then we write down what we know: one small PyMC function at a time, each looked
# at alone before they are wired together.
#
# **The system here is a simulation**: a dozen lines of arithmetic about a generational collector, with
# noise. It is fast, it needs nothing installed, and at the end we can compare with the truth. Notebook 01
# does the same with a real Java VM.

# %%
import os

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import preliz as pz
import pymc as pm
import pytensor.tensor as pt

import boatppl as boat

TRIALS = int(os.environ.get("BOATPPL_NOTEBOOK_TRIALS", 14))  # of each tuner

# %% [markdown]
# ## The system
#
# The space is every flag with its range. `default` is the configuration in use today: it is the first
# trial, and what results are compared with.

# %%
space = boat.Space(
    young_mb=boat.Integer(4, 80, log=True, unit="MB", default=24),
    survivor_ratio=boat.Integer(1, 16, log=True, default=8),
    tenuring=boat.Integer(0, 15, default=4),
)


def truth(young_mb, survivor_ratio, tenuring):
    """The collector without noise: collections and full collections per second, 99th percentile in ms."""
    eden = young_mb * survivor_ratio / (survivor_ratio + 2)
    survivor = young_mb / (survivor_ratio + 2)
    gc_rate = 210 / eden  # the application allocates 210 MB/s
    alive = 0.8 + 5 * (1 - np.exp(-eden / 30))  # MB that survive a collection
    overflow = max(alive - survivor, 0)  # what does not fit into a survivor space is promoted
    promoted = 0.25 + overflow + (alive - overflow) * 0.75 ** (tenuring + 1)
    full_rate = gc_rate * promoted / (96 - 8 - young_mb)  # a heap of 96 MB, 8 MB of it always alive
    return gc_rate, full_rate, 3 + 0.8 * gc_rate * (1 + 0.1 * alive) + 60 * full_rate


def simulated(seed):
    """A function that runs one configuration and returns what it measured, with noise of a few per cent."""
    rng = np.random.default_rng(seed)

    def run(configuration):
        gc_rate, full_rate, p99 = truth(**configuration)
        return {
            "gc_rate": gc_rate * np.exp(0.02 * rng.normal()),
            "full_rate": full_rate * np.exp(0.10 * rng.normal()),
            "p99": p99 * np.exp(0.05 * rng.normal()),
        }

    return run


# %% [markdown]
# ## Generic first
#
# With a space alone, `optimize` is a generic Bayesian optimiser: a Gaussian process over all parameters,
# fully Bayesian, expected improvement. `transform="log"` says that `p99` varies by factors. The tuner looks
# at `p99` alone; the other measurements are kept with the trials, and we will need them.

# %%
generic = boat.optimize(simulated(1), space, minimize="p99", n_trials=TRIALS, random_seed=1, transform="log")

# %%
generic

# %% [markdown]
# ## The first node
#
# A young collection runs when eden is full. So their rate is the allocation rate divided by the size of
# eden: we know the formula, not the number. The arguments are the wires, `pm.…` makes an unknown with a
# prior. `eden_mb` is *derived*: computed, not measured.


# %%
@boat.derived(unit="MB")
def eden_mb(young_mb, survivor_ratio):
    return young_mb * survivor_ratio / (survivor_ratio + 2)


@boat.node(unit="1/s", transform="log")
def gc_rate(eden_mb):
    malloc_rate = pm.LogNormal("malloc_rate", 5, 4)  # MB/s
    return malloc_rate / eden_mb


# %% [markdown]
# **Is the prior sane?** `boat.check` says what the node would measure before any run, anywhere in the space.

# %%
boat.check(boat.DAGModel(space, [eden_mb, gc_rate]), dry_run=0)

# %% [markdown]
# Nobody has seen a collector run thousands of times a second, and we know more than that: a server of this
# kind allocates tens to hundreds of MB a second. [PreliZ](https://preliz.readthedocs.io) finds the prior
# that says so: half of such servers allocate less than 150 MB/s, a quarter less than 75, a quarter more than
# 300. (The bars below its density are 50 and 90 % of it.) On the right is the check that matters: how often
# would the collector run today, by the first prior and by this one?

# %%
eden_today = eden_mb.function(space.default["young_mb"], space.default["survivor_ratio"])
elicited = pz.LogNormal()
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
pz.quartile(elicited, 75, 150, 300, plot=False)
elicited.plot_pdf(pointinterval=True, levels=[0.5, 0.9], legend="title", ax=left)
left.set(xlim=(-20, 1500), xlabel="malloc_rate, MB/s")
for name, prior in {"LogNormal(5, 4)": pz.LogNormal(5, 4), "quartiles 75, 150, 300": elicited}.items():
    right.ecdf(prior.rvs(2000, random_state=1) / eden_today, label=name)
right.axvspan(1, 50, alpha=0.15, color="gray", label="what people see")
right.set(xscale="log", xlabel="gc_rate with today's flags, 1/s", ylabel="share of prior draws below")
right.legend(fontsize=8)
elicited

# %% [markdown]
# In round numbers:


# %%
@boat.node(unit="1/s", transform="log")
def gc_rate(eden_mb):
    malloc_rate = pm.LogNormal("malloc_rate", 5, 1)  # MB/s: between 30 and 770, nine times in ten
    return malloc_rate / eden_mb


first = boat.DAGModel(space, [eden_mb, gc_rate])
boat.check(first, dry_run=0)

# %% [markdown]
# A node opens as ordinary PyMC, so everything of PyMC works on it, before there are data and after.

# %%
with first["gc_rate"].to_pymc():
    draws = pm.sample_prior_predictive(draws=200, random_seed=1)
az.summary(draws, group="prior", var_names=["malloc_rate"], kind="stats")

# %% [markdown]
# **Does it fit?** The generic search has measured `gc_rate` already. A study of this node alone takes these
# runs; no new ones are needed.


# %%
def told(model, objective):
    """A study of a model that knows the runs of the generic search."""
    study = boat.Study(model, minimize=objective, random_seed=1)
    for trial in generic.study.trials.finished:
        study.tell(trial.configuration, trial.measurements)
    return study


alone = told(first, "gc_rate")
_ = boat.plots.plot_predicted_measured(alone, "gc_rate")

# %% [markdown]
# Each dot is a run that the other runs predict. The formula does the work, and what it has learned is right
# (the simulation allocates 210 MB/s):

# %%
az.summary(alone.posterior["gc_rate"], var_names=["malloc_rate"], kind="stats")

# %% [markdown]
# ## The second node
#
# What survives young collections is promoted, and fills the rest of the heap; when it is full, everything
# stops for a full collection. Say first that every collection promotes the same amount. The residual may see
# all three parameters: `inputs` are what it may depend on.

# %%
HEAP_MB = 96


@boat.node(unit="1/s", transform="log", residual=boat.GP(inputs=["young_mb", "survivor_ratio", "tenuring"]))
def full_rate(gc_rate, young_mb):
    promoted = pm.LogNormal("promoted", 0, 1)  # MB at each young collection
    live = pm.Uniform("live", 0, 14)  # MB that are never free
    return gc_rate * promoted / (HEAP_MB - young_mb - live)


simple = told(boat.DAGModel(space, [eden_mb, gc_rate, full_rate]), "full_rate")
_ = boat.plots.plot_residual_share(simple)

# %% [markdown]
# Where the residual explains a lot, the formula leaves a lot out. What? Plot what the formula left over, run
# by run, along each parameter:

# %%
_ = boat.plots.plot_residual_along(simple, "full_rate")

# %% [markdown]
# We could stop here: the residual covers what is missing. But we do know why the survivor spaces and the
# tenuring threshold matter. What does not fit into a survivor space is promoted at once; the rest stays for
# `tenuring` collections, and a part of it dies each time.


# %%
@boat.derived(unit="MB")
def survivor_mb(young_mb, survivor_ratio):
    return young_mb / (survivor_ratio + 2)


@boat.node(unit="1/s", transform="log", residual=boat.GP(inputs=["young_mb", "survivor_ratio", "tenuring"]))
def full_rate(gc_rate, young_mb, survivor_mb, tenuring):
    surviving = pm.LogNormal("surviving", 1, 1)  # MB that outlive a young collection
    stays = pm.Beta("stays", 2, 2)  # the share of them that outlives the next one
    live = pm.Uniform("live", 0, 14)  # MB that are never free
    overflow = pt.softplus(surviving - survivor_mb)  # a rounded max(…, 0): slopes everywhere
    promoted = overflow + pt.maximum(surviving - overflow, 0) * stays ** (tenuring + 1)
    return gc_rate * promoted / (HEAP_MB - young_mb - live)


parts = [eden_mb, survivor_mb, gc_rate, full_rate]
better = told(boat.DAGModel(space, parts), "full_rate")
_ = boat.plots.plot_residual_share(better)

# %% [markdown]
# ## The last node, and the whole
#
# The slowest requests are those that met a collection. Constants are unknowns with wide priors.


# %%
@boat.node(unit="ms", transform="log")
def p99(gc_rate, full_rate):
    floor = pm.LogNormal("floor", 1, 1)  # ms without any collection
    per_young = pm.LogNormal("per_young", 0, 1)  # ms for each young collection per second
    per_full = pm.LogNormal("per_full", 4, 1)  # ms for each full collection per second
    return floor + per_young * gc_rate + per_full * full_rate


model = boat.DAGModel(space, [*parts, p99])
model

# %% [markdown]
# Before the whole model is used, check it once more. Now there is an objective, so `boat.check` can also
# rehearse: it draws systems from the priors and tunes them. That says how many runs this knowledge should
# take, if the priors are right.

# %%
boat.check(model, minimize="p99", dry_run=3 if TRIALS >= 12 else 0, seconds=60, progress=False)

# %% [markdown]
# ## The same search with the model
#
# Every suggestion was predicted before it was run: compare the columns *predicted* and *measured*. The
# generic model is kept beside ours and weighed by how well it predicted, so a wrong model would not cost
# much; the last line of the table says how much each is listened to. At the end the best configuration and
# the default are run three more times each, in turns.

# %%
result = boat.optimize(simulated(1), model, minimize="p99", n_trials=TRIALS, random_seed=1, confirm=3)

# %%
result

# %% [markdown]
# This is a simulation, so we can ask for the truth: the best of all configurations, and what each tuner
# chose. One seed proves nothing about tuners in general; `benchmarks/` has many.

# %%
everything = [
    {"young_mb": young, "survivor_ratio": ratio, "tenuring": tenuring}
    for young in range(4, 81)
    for ratio in range(1, 17)
    for tenuring in range(16)
]
best_of_all = min(everything, key=lambda configuration: truth(**configuration)[2])
for name, configuration in {
    "default": space.default,
    "generic": generic.best_configuration,
    "structured": result.best_configuration,
    "best of all": best_of_all,
}.items():
    print(f"{name:12} {truth(**configuration)[2]:6.2f} ms   {dict(configuration)}")

# %% [markdown]
# ## Predicting configurations that were never run
#
# `predict` gives draws of every node, joint over configurations; `noise=False` is the quantity itself
# rather than one measurement of it.

# %%
wanted = [space.default | {"young_mb": young, "tenuring": 12} for young in (16, 32, 48, 64, 80)]
predicted = result.study.predict(wanted, noise=False)["p99"].quantile([0.05, 0.5, 0.95], dim="sample")
for configuration, (low, median, high) in zip(wanted, predicted.values.T, strict=True):
    print(
        f"young {configuration['young_mb']:2} MB: {median:5.1f} ms, 90 % {low:5.1f} to {high:5.1f}; "
        f"the truth is {truth(**configuration)[2]:5.1f}"
    )

# %% [markdown]
# ## Where to go on
#
# - 03: read what was learned, with ArviZ.
# - 04: when a node does not fit, let `study.diagnose()` say why.
# - 06: `result.study` goes on, with `study.ask()` and `study.tell(...)`, or in a file.
