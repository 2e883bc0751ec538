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
# # Your own system, in 30 lines
#
# Copy this notebook and change three things: the space, the command, and the name of what you minimise. As
# an example it tunes a real program that every machine has: zlib, which packs files. How long until eight
# megabytes are packed and sent over a slow line? Packing harder costs time and saves sending.

# %%
import os
import sys
import tempfile
from pathlib import Path

import pymc as pm

import boatppl as boat

TRIALS = int(os.environ.get("BOATPPL_NOTEBOOK_TRIALS", 15))

# %% [markdown]
# ## The program
#
# Yours exists already. All it has to do is to print a JSON object with what it measured; or give
# `boat.Command(parse=...)` a function that reads what it prints.

# %%
program = Path(tempfile.mkdtemp()) / "pack.py"
program.write_text("""
import json, os, pathlib, sys, time, zlib

level, memory, window = map(int, sys.argv[1:])
sources = sorted(pathlib.Path(os.__file__).parent.glob("*.py"))
data = b"".join(source.read_bytes() for source in sources)[:2_000_000] * 4   # text that is on every machine
start = time.process_time()   # of the processor: other programs disturb it least
packer = zlib.compressobj(level, zlib.DEFLATED, window, memory)
size = len(packer.compress(data)) + len(packer.flush())
pack_s, size_mb = time.process_time() - start, size / 1e6
print(json.dumps({"pack_s": pack_s, "size_mb": size_mb, "delivery_s": pack_s + size_mb / 5}))
""")

# %% [markdown]
# ## The 30 lines
#
# What can be set, with today's values; the command, with a place for each parameter; and go. No shell reads
# the command, and a run that fails or takes over 30 seconds is a failed trial, not the end.

# %%
space = boat.Space(
    level=boat.Integer(1, 9, default=6),  # how hard to look for repetitions
    memory=boat.Integer(1, 9, default=8),  # of the compressor's tables, as a power of two
    window=boat.Integer(9, 15, default=15),  # how far back to look, as a power of two
)

run = boat.Command(
    [sys.executable, str(program), "{level}", "{memory}", "{window}"],
    timeout=30,
)

result = boat.optimize(
    run,
    space,
    minimize="delivery_s",
    transform="log",  # a time: it varies by factors
    robust=True,  # another program may have disturbed a run
    n_trials=TRIALS,
    confirm=2,  # at the end, run the best and the default again, in turns
    random_seed=1,
)
result

# %% [markdown]
# That is all a first session needs. `result.best_configuration` is a dict:

# %%
result.best_configuration

# %% [markdown]
# Was it worth it, and which parameter mattered?

# %%
_ = boat.plots.plot_importance(result)

# %%
result.study.recommend()

# %% [markdown]
# ## Then say what you know
#
# The time is the sum of packing and sending: that needs no learning. Sizes fall and packing times grow with
# the level. Both were measured all along; only now they are used. The runs are kept: a study of the model
# takes them over.


# %%
@boat.node(unit="s", transform="log", robust=True, residual=boat.GP(inputs=["level", "memory", "window"]))
def pack_s(level):
    fastest = pm.LogNormal("fastest", -2, 1)  # s at level 1
    growth = pm.HalfNormal("growth", 0.5)  # each level costs so much more, on the log scale
    return fastest * pm.math.exp(growth * (level - 1))


@boat.node(unit="MB", transform="log", residual=boat.GP(inputs=["level", "memory", "window"]))
def size_mb(level):
    at_best = pm.LogNormal("at_best", 1, 1)  # MB at level 9
    lost = pm.HalfNormal("lost", 0.1)  # by each level below, on the log scale
    return at_best * pm.math.exp(lost * (9 - level))


@boat.derived(unit="s")
def delivery_s(pack_s, size_mb):
    return pack_s + size_mb / 5  # a line of 5 MB/s


model = boat.DAGModel(space, [pack_s, size_mb, delivery_s])
study = boat.Study(model, minimize="delivery_s", random_seed=1)
for trial in result.study.trials.finished:
    if trial.measurements:
        study.tell(trial.configuration, {name: trial.measurements[name] for name in ("pack_s", "size_mb")})
study.recommend()

# %% [markdown]
# Which of the two quantities moves with what? The residual has found what the formulas leave out.

# %%
_ = boat.plots.plot_slice(study, "level", "pack_s")

# %%
_ = boat.plots.plot_slice(study, "level", "size_mb")

# %% [markdown]
# And a question that no run answered: what if packing cost nothing? `do=` holds a node at a value.

# %%
fast = study.predict(study.best.configuration, noise=False, do={"pack_s": 0.001})
fast["delivery_s"].quantile([0.05, 0.5, 0.95]).round(3).values

# %% [markdown]
# ## Where to go on
#
# - 02: write such a model step by step. 06: keep the study in a file, and let it run over night.
# - A Python function works as well as a command: `run(configuration)` returns a number or a dict.
