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
# # A study over night
#
# Real runs take minutes, fail, and hang; kernels die, and somebody restarts the machine. Give the study a
# file, and what was measured stays measured. Here all of that happens, in fast motion.

# %%
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pymc as pm
from distributed import Client, LocalCluster

import boatppl as boat

TRIALS = int(os.environ.get("BOATPPL_NOTEBOOK_TRIALS", 16))

# %% [markdown]
# ## A system that misbehaves
#
# A simulated server with a cache and worker threads. Too much of both and it runs out of memory: the run
# raises. With very many threads it sometimes hangs. The module is written to a file, because later another
# process runs it too.

# %%
folder = Path(tempfile.mkdtemp())
storage = folder / "server.db"
(folder / "server.py").write_text('''
import time
import numpy as np
import boatppl as boat

space = boat.Space(
    cache_mb=boat.Float(16, 1024, log=True, unit="MB", default=64),
    threads=boat.Integer(1, 64, log=True, default=4),
)


def run(configuration, seconds=0.0):
    """One run: misses of the cache a second, and the latency in ms."""
    cache, threads = configuration["cache_mb"], configuration["threads"]
    time.sleep(seconds)
    if cache + 12 * threads > 1000:
        raise MemoryError(f"{cache:.0f} MB of cache and {threads} threads do not fit into 1000 MB")
    if threads > 40:
        time.sleep(3600)  # it hangs
    noise = np.random.default_rng([int(cache), threads]).lognormal(0, 0.04, size=2)
    misses = 40_000 / (1 + cache / 30)
    latency = 2 + 0.004 * misses / threads + 0.15 * threads
    return {"misses": misses * noise[0], "latency": latency * noise[1]}
''')
sys.path.insert(0, str(folder))
import server

# %% [markdown]
# ## The evening
#
# `storage=` is the file, `timeout=` the seconds that one run may take, `budget=` how long the study may go
# on. `stop=` (below) ends it sooner, when it is sure enough. A run that fails says why in its line, and the
# study goes on; what failed is avoided.


# %%
def tune(run=server.run, model=server.space, **options):
    """The same call each time: what is in the file is gone on with."""
    return boat.optimize(
        run,
        model,
        minimize="latency",
        transform="log" if model is server.space else None,
        storage=storage,
        random_seed=1,
        timeout=2,
        budget="8h",
        control_every=0,
        **options,
    )


result = tune(n_trials=TRIALS // 2)

# %% [markdown]
# ## The plug is pulled
#
# Another process goes on with the study, and is killed (`kill -9`) in the middle of a run. Every trial is in
# the file before it begins, and every measurement before the next trial is chosen.

# %%
script = f"""
import sys
sys.path.insert(0, {str(folder)!r})
import boatppl as boat, server
boat.optimize(lambda c: server.run(c, seconds=60), server.space, minimize="latency", transform="log",
              storage={str(storage)!r}, random_seed=1, n_trials=100)
"""
known = len(result.study.trials)
process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)
while True:
    time.sleep(0.2)
    study = boat.Study(server.space, minimize="latency", transform="log", storage=storage)
    if len(study.trials) > known:
        break
process.kill()
process.wait()
study.trials[-1]

# %% [markdown]
# ## The kernel is interrupted
#
# Ctrl-C, or the square in Jupyter's toolbar, ends a session and returns the result so far. (Here a callback
# plays the hand on the keyboard.) The run that the killed process left behind is found and tried again.


# %%
until = len(study.trials) + 2


def interrupt(study, trial):
    """Interrupt after two more trials."""
    if len(study.trials) >= until:
        raise KeyboardInterrupt


result = tune(n_trials=TRIALS, callbacks=[interrupt])

# %% [markdown]
# ## On with it
#
# The same call once more. `n_trials` counts all trials of the study, those of earlier sessions included.

# %%
result = tune(n_trials=TRIALS, stop=boat.stop_when(regret=0.02, probability=0.95))

# %% [markdown]
# ## The morning
#
# What became of every run, and why. A `DataFrame` holds everything.

# %%
trials = result.trials
trials["state"].value_counts()

# %%
lost = trials[trials["state"] != "complete"]
for number, trial in lost.iterrows():
    where = f"{trial['cache_mb']:5.0f} MB, {trial['threads']} threads"
    print(f"{number:2} {where}: {trial['state']}. {trial['reason']}")

# %% [markdown]
# What to set, and how sure that is:

# %%
result.study.recommend()

# %% [markdown]
# ## A better model, the same runs
#
# Over breakfast somebody writes down what they know: what does not fit into memory, and how latency comes
# about. The study opens with the new model, says what has changed, and keeps every run: `misses` was measured
# all along.


# %%
@boat.node(unit="1/s", transform="log")
def misses(cache_mb):
    asked = pm.LogNormal("asked", 10, 1)  # requests a second
    half = pm.LogNormal("half", 3, 1)  # MB that hold half of what is asked for
    return asked / (1 + cache_mb / half)


@boat.node(unit="ms", transform="log")
def latency(misses, threads):
    service = pm.LogNormal("service", 0, 1)  # ms
    per_miss = pm.LogNormal("per_miss", -5, 1)  # ms for each miss a second, shared by the threads
    per_thread = pm.LogNormal("per_thread", -2, 1)  # ms that each thread costs the others
    return service + per_miss * misses / threads + per_thread * threads


space = server.space.constrain(lambda cache_mb, threads: cache_mb + 12 * threads <= 1000)
model = boat.DAGModel(space, [misses, latency])
result = tune(model=model, n_trials=TRIALS + 3)

# %%
result

# %% [markdown]
# ## Several machines
#
# On a Dask cluster `executor=` is the client. Whoever is free gets the next configuration, chosen with those
# that run in mind; a run whose worker dies is run again. Two workers in this process are the cluster here.
# Yours is `Client("scheduler:8786")`, and gets the module by `client.upload_file("server.py")`. (An executor
# of `concurrent.futures` does as well.)

# %%
with (
    LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
    Client(cluster) as client,
):
    result = tune(model=model, n_trials=TRIALS + 7, executor=client)

# %% [markdown]
# Or hand them out yourself: `ask(n)` gives several configurations at once. Send them where you like, a thread
# pool here, a cluster's queue elsewhere; results may come back in any order. Several processes may also open
# the same file and ask.

# %%
study = result.study
batch = study.ask(3)
with ThreadPoolExecutor() as pool:
    running = {trial.number: pool.submit(server.run, dict(trial.configuration)) for trial in batch}
for trial in batch:
    try:
        study.tell(trial, running[trial.number].result())
    except MemoryError as error:
        study.fail(trial, str(error))
study

# %% [markdown]
# ## Where to go on
#
# - 07: a template for your own program, with `boat.Command`: it is ended with everything it started when its
#   time is over.
# - `optimize(..., isolate=True)` runs a Python function in a child process, which may crash without harm.
