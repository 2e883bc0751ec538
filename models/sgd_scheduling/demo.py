"""Tune the schedule of machines that train a network together, simulated or emulated: default against best.

python -m models.sgd_scheduling.demo [--trials 10] [--seed 1] [--machines 10] [--real]
"""

import argparse
from collections.abc import Sequence

import boatppl as boat
from models.sgd_scheduling.cluster import make_cluster
from models.sgd_scheduling.measurements import observed
from models.sgd_scheduling.model import scheduling_model
from models.sgd_scheduling.real import EmulatedCluster, emulated, links_here
from models.sgd_scheduling.simulator import Simulation
from models.sgd_scheduling.spaces import space


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m models.sgd_scheduling.demo", description=__doc__)
    parser.add_argument("--machines", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--storage", default=None, help="a .db file that keeps the study")
    parser.add_argument("--real", action="store_true", help="processes and sockets instead of a simulation")
    options = parser.parse_args(arguments)
    run: Simulation | EmulatedCluster
    if options.real:
        run = EmulatedCluster(emulated(options.machines, options.seed), links=links_here())
    else:
        run = Simulation(make_cluster(options.machines, options.seed), seed=options.seed)
    machines = space(options.machines)
    size = f"{options.machines} machines, {machines.dimension} coordinates"
    print(f"{run.kind}: {size}, cluster {options.seed}")
    if isinstance(run, EmulatedCluster):
        print(f"links: {run.links}, speeds imposed by {run.speeds}")
    result = boat.optimize(
        observed(run),
        scheduling_model(machines, run.cluster),
        minimize="iteration_time",
        n_trials=options.trials,
        storage=options.storage,
        random_seed=options.seed,
        control_every=0,
    )
    best = run.schedule(result.best_configuration)
    print(f"workers take {', '.join(map(str, best.samples))} samples")
    print(f"servers: {', '.join(str(i) for i, on in enumerate(best.serves) if on)}")
    again, how = (run, "measured anew") if options.real else (run.exact, "without noise")
    before, after = (again(c)["iteration_time"] for c in (machines.default, dict(result.best_configuration)))
    print(f"{how}: {before:.2f} s an iteration with the default, {after:.2f} s with the best")
    print(f"{before / after:.2f}x better ({run.kind})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
