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
# # Reading posteriors with ArviZ
#
# Tuning leaves more behind than a good configuration: a posterior for every unknown of the model. Here we
# give a study the recorded runs of a real JVM (see notebook 01) and read what they say, with
# [ArviZ](https://python.arviz.org). Nothing is converted: each node's posterior goes to ArviZ as it is.

# %%
import os
import sys
import tempfile
import warnings
from pathlib import Path

import arviz as az
import pymc as pm
import pytensor.tensor as pt
import xarray as xr

import boatppl as boat

RUNS = int(os.environ.get("BOATPPL_NOTEBOOK_TRIALS", 24))

root = next(folder for folder in [Path.cwd(), *Path.cwd().parents] if (folder / "models").is_dir())
sys.path.insert(0, str(root))  # the example system is beside the package, not in it

from models.jvm_gc import replay, spaces

# %% [markdown]
# ## A study of one node
#
# One node is enough to see everything. A young collection runs when eden is full, so there are
# `malloc_rate / eden_mb` of them a second.


# %%
@boat.derived(unit="MB")
def eden_mb(young_mb, survivor_ratio):
    return young_mb * survivor_ratio / (survivor_ratio + 2)


@boat.node(unit="1/s", transform="log1p")  # log(1 + rate): a rate of 0 occurs
def gc_rate(eden_mb):
    malloc_rate = pm.Uniform("malloc_rate", 0, 5000)  # MB/s
    return malloc_rate / eden_mb


space = spaces.space()
model = boat.DAGModel(space, [eden_mb, gc_rate])
model

# %% [markdown]
# `tell` takes runs that were made elsewhere. A run that failed is left out.

# %%
study = boat.Study(model, minimize="gc_rate", random_seed=1)

recorded = replay.Replay(seed=1)
for configuration in recorded.configurations[:RUNS]:
    try:
        study.tell(configuration, recorded(configuration))
    except replay.RunFailed as error:
        print(configuration, error)
study

# %% [markdown]
# ## Sample, and look whether it worked
#
# `study.sample()` gives an xarray `DataTree` with a child for every node. Look at the verdict before
# anything else: R-hat near 1 says that the chains agree, divergences should be rare.

# %%
posterior = study.sample(draws=500, tune=500, chains=4)
node = posterior["gc_rate"]
print(node.attrs["verdict"])
list(node.children)

# %% [markdown]
# The groups are ArviZ's: the posterior, what was observed, the leave-one-out densities, prior and posterior
# predictive draws. Dimensions have names: `trial` is the trial's number in the study.

# %%
node["posterior"].to_dataset()

# %% [markdown]
# **Trace**: chains should look like noise around one level, and their distributions should lie on each
# other.

# %%
mine = ["malloc_rate", "amplitude", "noise"]
_ = az.plot_trace_dist(node, var_names=mine)

# %% [markdown]
# **Ranks**: the same question, seen better. Curves that stay near one level mean that all chains found the
# same distribution; `p` is the probability of such curves if they did and if draws were independent. Those of
# a chain are not quite, so a small `p` where R-hat is near 1 asks for more draws, no more.

# %%
_ = az.plot_rank(node, var_names=mine)

# %% [markdown]
# ## What malloc rate did we learn?
#
# The JVM was never asked how much the application allocates. The prior said anything between 0 and 5,000
# MB/s; how often the collector ran says the rest.

# %%
az.summary(node, var_names=mine)

# %%
_ = boat.plots.plot_prior_posterior(posterior, "malloc_rate")

# %% [markdown]
# The collector's log has the allocation rate, and the study kept it with each run although no node uses it.
# So the number can be held against a measurement that the model never saw:

# %%
measured = [trial.measurements["allocation_mb_s"] for trial in study.trials]
learned = node["posterior"]["malloc_rate"]
low, high = learned.quantile([0.05, 0.95]).values
print(f"learned  {float(learned.mean()):.0f} MB/s (90 %: {low:.0f} to {high:.0f})")
average = sum(measured) / len(measured)
print(f"the log  {average:.0f} MB/s on average, {min(measured):.0f} to {max(measured):.0f}")

# %% [markdown]
# ## The other unknowns
#
# Beside the formula's own unknowns every node has three kinds: `noise` (from run to run), and the residual's
# `amplitude` and `lengthscale`. All are on the node's transformed scale (here `log1p`, so 0.05 is about 5 %).
# A small amplitude says that the formula leaves little out. A lengthscale well below 1 says that the
# residual changes quickly along that input.

# %%
_ = az.plot_forest(node, var_names=["amplitude", "noise", "lengthscale"], combined=True)

# %% [markdown]
# **Pairs** show what cannot be told apart. A narrow diagonal band means that the data know a combination of
# two unknowns, not each of them.

# %%
_ = az.plot_pair(node, var_names=["malloc_rate", "amplitude", "noise"])

# %% [markdown]
# ## Does the model reproduce what was measured?
#
# **Posterior predictive check**: thin lines are data sets as the model would measure them, the dark line is
# what was measured (each is the share of runs below a value).

# %%
_ = az.plot_ppc_dist(node, num_samples=60)

# %% [markdown]
# That check is lenient: each run was used to predict itself. **LOO-PIT** leaves each run out, and asks where
# in its own prediction it fell. If the model's uncertainty is right, the curve is flat but for chance, which
# `p` judges. Above 0 on the left and below on the right: predictions too sure. The other way round: too wide,
# as where a few odd runs make the model careful about all.

# %%
_ = az.plot_loo_pit(node)

# %% [markdown]
# ## Is another formula better?
#
# The posterior of `malloc_rate` lies below what the log says. A formula that leaves something out pushes its
# unknowns off the truth. Here it is this: a *full* collection empties eden too, so the young ones are fewer.
# `az.loo` scores a node by how well it predicts runs that were left out, and `az.compare` ranks formulas.


# %%
@boat.node(unit="1/s", transform="sqrt", residual=boat.GP(inputs=["young_mb", "survivor_ratio", "tenuring"]))
def full_rate():
    return pm.LogNormal("usual", 0, 1)


@boat.node(unit="1/s", transform="log1p")
def gc_rate(eden_mb, full_rate):
    malloc_rate = pm.Uniform("malloc_rate", 0, 5000)  # MB/s
    return pt.softplus(malloc_rate / eden_mb - full_rate)  # softplus: a rounded max(…, 0)


better = boat.Study(boat.DAGModel(space, [eden_mb, full_rate, gc_rate]), minimize="gc_rate", random_seed=1)
for trial in study.trials:
    better.tell(trial.configuration, trial.measurements)
mended = better.posterior["gc_rate"]
print(mended.attrs["verdict"])
az.summary(mended, var_names=mine)

# %%
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Estimated shape parameter")  # the column diag_elpd says it too
    table = az.compare({"malloc_rate / eden": node, "less full collections": mended})
table

# %% [markdown]
# `diag_elpd` counts the runs that are unlike the others (Pareto shape k̂ above 0.7), where `elpd` is rough:
# trust a difference of several `dse`, not the last digit. (Where full collections took over are such runs.)

# %%
_ = az.plot_compare(table)

# %% [markdown]
# ## Keep it
#
# The tree is written as an ordinary file, and needs neither boatppl nor the model to be read again.

# %%
file = Path(tempfile.mkdtemp()) / "posterior.nc"
posterior.to_netcdf(file)
az.summary(xr.open_datatree(file)["gc_rate"], var_names=["malloc_rate"], kind="stats")

# %% [markdown]
# ## Where to go on
#
# - `result.posterior` after `boat.optimize(...)` is such a tree, with a child for every node.
# - `boat.plots` draws what needs the whole model: slices, maps, importance, residual shares.
# - 04: what to do when these pictures look wrong.
