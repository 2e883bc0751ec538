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
# # Scheduling SGD on ten machines
#
# Ten machines, none like another, train a network together. Which of them work, which serve the parameters,
# and how many samples of each batch does a worker take? Thirty numbers, far too many to try; but an engineer
# knows how such a system works, and that is enough for ten runs.
#
# **Every figure here comes from a simulation** (`models/sgd_scheduling` has real processes, too).

# %%
import os
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import boatppl as boat

root = next(folder for folder in [Path.cwd(), *Path.cwd().parents] if (folder / "models").is_dir())
sys.path.insert(0, str(root))  # the example system is beside the package, not in it

from models.sgd_scheduling.cluster import make_cluster
from models.sgd_scheduling.measurements import observed
from models.sgd_scheduling.model import scheduling_model
from models.sgd_scheduling.peers import k_fastest
from models.sgd_scheduling.simulator import Simulation
from models.sgd_scheduling.spaces import space

TRIALS = int(os.environ.get("BOATPPL_NOTEBOOK_TRIALS", 10))

# %% [markdown]
# ## The system
#
# The catalogue says how many cores a machine has and what network; the truth is off by a third to a factor of
# two, either way, and the model is told the catalogue only.

# %%
cluster = make_cluster(10, seed=2)
run = Simulation(cluster, seed=2)
machines = space(10)
machines

# %% [markdown]
# The default is equal shares with everyone working and serving. What people do by hand: keep the k fastest
# machines, shares by speed, for every k.

# %%
default = run(machines.default)
by_hand = [run.exact(schedule)["iteration_time"] for schedule in islice(k_fastest(10, default, 0), TRIALS)]
print(f"default: {run.exact(machines.default)['iteration_time']:.2f} s an iteration")
print(f"the best of {len(by_hand)} by hand: {min(by_hand):.2f} s")

# %% [markdown]
# ## What an engineer knows
#
# A worker computes its samples at its machine's speed; whoever has the slowest link holds the pull up; the
# slowest worker holds everybody up. `over="machine"` makes a node of a vector: the function is about one
# machine, and its unknowns are shared or each machine's own (`models/sgd_scheduling/model.py` has the lines).

# %%
model = scheduling_model(machines, cluster)
model

# %% [markdown]
# ## Ten runs
#
# Every run measures all machines, so each one teaches about ten speeds and ten links at once.

# %%
result = boat.optimize(
    observed(run), model, minimize="iteration_time", n_trials=TRIALS, random_seed=2, control_every=0
)
result

# %%
found = run.exact(dict(result.best_configuration))["iteration_time"]
print(f"without noise: {found:.2f} s an iteration (by hand {min(by_hand):.2f} s)")

# %%
_ = boat.plots.plot_convergence(result)

# %% [markdown]
# ## What was learned about the machines
#
# The speed of every machine, in samples a second: what the catalogue suggests, what ten runs found, and the
# truth that the simulation hides. (That truth is of a machine whose network is idle. Busy ones compute more
# slowly, and that is what the runs see: all posteriors lie below, in the right order.)

# %%
speed = result.study.posterior["compute_time/posterior"]["machine_speed"].stack(draws=["chain", "draw"])
low, middle, high = np.quantile(speed.values, [0.05, 0.5, 0.95], axis=-1)
fig, ax = plt.subplots(figsize=(7, 3))
where = np.arange(len(cluster))
ax.vlines(where, low, high, lw=4, alpha=0.4, label="90 % of the posterior")
ax.plot(where, middle, "o", label="posterior median")
ax.plot(where, cluster.suggested_speed, "_", ms=14, color="gray", label="catalogue")
ax.plot(where, cluster.speed, "kx", label="truth")
ax.set(xlabel="machine", ylabel="samples / s", xticks=where)
ax.legend(fontsize=8)
_ = ax

# %% [markdown]
# ## Is the model right?
#
# It has no residual for the transfers, and says nothing of how flows disturb each other. `diagnose` finds
# where that shows.

# %%
diagnosis = result.study.diagnose() if len(result.study.trials) >= 8 else "eight runs are needed"
diagnosis

# %% [markdown]
# ## The next network on the same machines
#
# Another network: three times the parameters, half the batch. The best schedule is another one, but the
# machines are the same. `prior_from=` starts from what is known of their speeds and links. (The first run is
# the default and the third a point of the design, with or without.)

# %%
other = replace(cluster, parameter_bytes=3e8, batch=1024)
other_run = Simulation(other, seed=3)
few = min(TRIALS, 4)
for earlier in (None, result.study):
    next_one = boat.optimize(
        observed(other_run),
        scheduling_model(machines, other),
        minimize="iteration_time",
        n_trials=few,
        random_seed=3,
        control_every=0,
        prior_from=earlier,
        progress=False,
    )
    seconds = [other_run.exact(dict(t.configuration))["iteration_time"] for t in next_one.study.trials]
    print("from scratch:" if earlier is None else "prior_from:  ", *(f"{s:6.2f}" for s in seconds), "s")

# %% [markdown]
# ## Where to go on
#
# - `python -m models.sgd_scheduling.demo --real` runs the processes, `... .compare` the peers.
# - Over more machines the rows of a vector node grow; nothing in the model changes.
# - Notebook 06 keeps a study over night.
