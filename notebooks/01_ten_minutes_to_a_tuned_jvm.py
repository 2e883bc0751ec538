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
# # Ten minutes to a tuned JVM
#
# A Java server collects garbage. While it does, requests wait, and the slowest one in a hundred (the 99th
# percentile of latency, `p99`) says how long. Three flags decide when and how it collects. We want values
# for them that keep `p99` low, in twelve runs.
#
# The system is real: an H2 database under load inside a JVM with the serial collector. A live run takes 7
# seconds. So that this notebook runs everywhere, it plays back **recorded runs** of that system by default.
# Set `LIVE = True` to run it here and now; `models/jvm_gc/README.md` says what that needs.

# %%
import os
import sys
from pathlib import Path

import arviz as az

import boatppl as boat

LIVE = False
TRIALS = int(os.environ.get("BOATPPL_NOTEBOOK_TRIALS", 12))

root = next(folder for folder in [Path.cwd(), *Path.cwd().parents] if (folder / "models").is_dir())
sys.path.insert(0, str(root))  # the example system is beside the package, not in it

from models.jvm_gc import replay, spaces, system
from models.jvm_gc.model import jvm_model

# %% [markdown]
# ## What can be set
#
# A space names every parameter with its range. `default` is what the server uses today: it is run first, and
# results are compared with it. The heap is fixed at 96 MB.

# %%
space = spaces.space()
space

# %% [markdown]
# ## What one run returns
#
# `run` takes a configuration (a dict) and returns what it measured (a dict). Recorded runs exist at some
# configurations only, so the space is narrowed to those.

# %%
if LIVE:
    run = system.JvmGc()
else:
    run = replay.Replay(seed=1)
    recorded = [tuple(configuration[name] for name in space.names) for configuration in run.configurations]
    space = space.constrain(
        lambda young_mb, survivor_ratio, tenuring: (young_mb, survivor_ratio, tenuring) in recorded
    )
    print(len(recorded), "configurations were recorded")

run(space.default)

# %% [markdown]
# ## What we know
#
# The model says how a collector works, one measured quantity at a time. Its source,
# `models/jvm_gc/model.py`, is 80 lines of formulas; notebook 02 shows how to write one. Two nodes of it:
#
# ```python
# @boat.node(unit="1/s", transform="log1p", robust=True)
# def gc_rate(eden_mb):                                  # collections a second
#     malloc_rate = pm.Uniform("malloc_rate", 0, 5000)   # MB/s: not known, so it gets a prior
#     return malloc_rate / eden_mb
#
# @boat.node(unit="1/s", transform="sqrt", ...)
# def full_rate(promoted_mb_s, young_mb, heap_mb):       # full collections a second
#     live_mb = pm.LogNormal("live_mb", 2.5, 0.8)
#     free = _positive(heap_mb - young_mb - live_mb, 2.0) + 0.5
#     return promoted_mb_s / free
# ```
#
# Names of arguments are the wires. Each node also gets a *residual*, a Gaussian process that learns what
# its formula leaves out.

# %%
model = jvm_model(space)
model

# %% [markdown]
# ## Tune
#
# The first run is the default, the second the model's own proposal, the third a point of a design; from then
# on every configuration comes from the posterior. The column *predicted* was written before the run, *why*
# says what was hoped for. On a live system `confirm=4` runs the best configuration and the default four more
# times each at the end, in turns.

# %%
result = boat.optimize(
    run,
    model,
    minimize="p99",
    n_trials=TRIALS,
    confirm=4 if LIVE else 0,
    control_every=0,  # no extra runs of the default in between
    random_seed=1,
)

# %%
result

# %% [markdown]
# ## Is it true?
#
# Two repeats of each recorded configuration were held back: nothing above has seen them. Their median judges
# the result. A live system is judged by running it again. (Twelve runs need not find the best of all. Single
# runs are noisy: among the recorded ones some took several times their usual `p99`.)

# %%
best, default = dict(result.best_configuration), space.default
for name, configuration in {"default": default, "best found": best}.items():
    if LIVE:
        print(f"{name:11} {run(configuration)['p99']:6.1f} ms   {configuration}")
    else:
        print(f"{name:11} {run.truth(configuration):6.1f} ms   {configuration}")
if not LIVE:
    configuration, value = run.best()
    print(f"{'best of all':11} {value:6.1f} ms   {configuration}")

# %% [markdown]
# ## Look at it
#
# What was measured, and the best configuration as the posterior sees it, trial by trial:

# %%
_ = boat.plots.plot_convergence(result)

# %% [markdown]
# The tuner learned things that nobody measured for it. `malloc_rate` is how much the application allocates:
# the prior said anything up to 5,000 MB/s.

# %%
az.summary(result.posterior["gc_rate"], var_names=["malloc_rate"], kind="stats")

# %%
_ = boat.plots.plot_prior_posterior(result, "malloc_rate")

# %% [markdown]
# ## Where to go on
#
# - 02: write such a model for your own system, node by node.
# - 03: read what it learned.
# - 04: find out which part of a model is wrong.
# - 06: let it run over night. 07: a template for your own program.
