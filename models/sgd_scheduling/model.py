"""What an engineer knows of synchronous SGD with parameter servers, as a structured model.

Written from how the system works (Li et al., "Scaling distributed machine learning with the parameter
server", OSDI 2014; Dean & Barroso, "The tail at scale", CACM 2013) and from the cluster's catalogue; it has
seen neither the simulation's code nor a measurement. Every prior's source is beside it.

    shares, who works -> samples -> compute time (each machine, by its speed) -----------------\
    who serves, who works -> shortest pull -> transfer time (each machine, by its link) -> slowest worker
                                                                     slowest worker -> iteration time
"""

import numpy as np
import pymc as pm
import pytensor.tensor as pt

import boatppl as boat
from models.sgd_scheduling.cluster import Cluster


@boat.derived(dims="machine", transform="sqrt")
def assigned(works, share, batch):  # samples: whole in the end, but hundreds
    mine = works * (share + 1e-6)  # the whole batch is done, however little the workers' shares add up to
    return batch * mine / mine.sum()


@boat.shared(dims="machine", unit="1/s")
def speed(cores, ghz):
    # a core does 0.5 to 50 small samples a second and GHz; machines are off their catalogue by factors of 2
    per_core_ghz = pm.LogNormal("per_core_ghz", np.log(5), 1)
    return pm.LogNormal("machine_speed", pt.log(per_core_ghz * cores * ghz), 0.6, dims="machine")


@boat.node(
    over="machine",
    unit="s",
    transform="log",
    residual=boat.GP(inputs=["assigned"], amplitude=pm.HalfNormal.dist(0.1)),
)
def compute_time(assigned, speed):
    overhead = pm.LogNormal("overhead_s", np.log(0.05), 1)  # starting a batch: 10 to 250 ms
    return overhead + assigned / speed


@boat.shared(dims="machine", unit="MB/s")
def bandwidth(gbit):
    # 1 Gbit/s is 125 MB/s less what protocols take; links are as far off as machines are
    efficiency = pm.LogNormal("link_efficiency", np.log(0.8), 0.5)
    return pm.LogNormal("link_bandwidth", pt.log(125 * gbit * efficiency), 0.6, dims="machine")


@boat.node(unit="s", transform="log", residual=None)
def shortest_pull(serves, works, bandwidth, parameters_mb):
    # every worker wants a part from every server, all at once: nobody is done before the slowest of them
    each_mb = works.sum() * parameters_mb / serves.sum()
    return _longest(serves * each_mb / bandwidth) + 1e-3


@boat.node(over="machine", unit="s", transform="log", residual=None, robust=True)  # stragglers: a heavy tail
def transfer_time(shortest_pull, bandwidth, parameters_mb):
    own = parameters_mb / bandwidth
    crowded = pm.Beta("pushes_crowded", 1, 1)  # pulls begin together, pushes as gradients get ready
    return pt.maximum(own, shortest_pull) + pt.maximum(own, crowded * shortest_pull)


@boat.derived(unit="s")
def slowest_worker(assigned, compute_time, transfer_time):  # a share may round to no sample at all
    return pt.switch(assigned > 0.5, compute_time + transfer_time, 0.0).max()


@boat.node(unit="s", transform="log", residual=None)
def iteration_time(slowest_worker):
    return slowest_worker + pm.LogNormal("update_s", np.log(0.1), 1)  # barrier and sums: 20 to 500 ms


def _longest(seconds):
    """The largest of a few times, at most 7 % too long where ten are equal, with a slope in each of them."""
    return (seconds**32).sum() ** (1 / 32)


PARTS = [
    assigned,
    speed,
    compute_time,
    bandwidth,
    shortest_pull,
    transfer_time,
    slowest_worker,
    iteration_time,
]


def scheduling_model(space: boat.Space, cluster: Cluster) -> boat.DAGModel:
    """Return the model over :func:`models.sgd_scheduling.spaces.space`, given a cluster's catalogue alone."""
    data = {
        "cores": ("machine", cluster.cores),
        "ghz": ("machine", cluster.ghz),
        "gbit": ("machine", cluster.gbit),
        "batch": float(cluster.batch),
        "parameters_mb": cluster.parameter_bytes / 1e6,
    }
    machines = [f"machine {i}" for i in range(len(cluster))]
    return boat.DAGModel(space, PARTS, coords={"machine": machines}, data=data)
