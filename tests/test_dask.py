"""Trials on a real Dask cluster of this machine, with a worker that is killed while it runs one."""

import os
import signal

import pytest

import boatppl as boat

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")

SPACE = boat.Space(x=boat.Float(0, 1, default=0.9), y=boat.Integer(1, 8, default=8))
QUIET = {"minimize": "loss", "random_seed": 1, "progress": False, "control_every": 0, "n_initial": 20}


@pytest.fixture(scope="module")
def client():
    settings = {
        "distributed.scheduler.allowed-failures": 0,  # else Dask itself runs a lost task again, unseen
        "distributed.admin.log-format": "",
        "distributed.worker.daemon": False,
    }
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, resources={"machine": 1}, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_a_trial_whose_worker_is_killed_is_retried_on_another(client, tmp_path):
    there = str(tmp_path / "there")

    def run(configuration):  # sent by value: the workers know nothing of this file
        if configuration["y"] == 8 and not os.path.exists(there):  # noqa: PTH110
            open(there, "w").close()  # noqa: PTH123
            os.kill(os.getpid(), signal.SIGKILL)
        return 1 + (configuration["x"] - 0.3) ** 2

    result = boat.optimize(run, SPACE, n_trials=6, executor=client, **QUIET)
    states = list(result.trials["state"])
    assert states.count("complete") == 6
    lost = [trial for trial in result.study.trials if trial.state is boat.State.ABORTED]
    assert "its worker ended before it did: KilledWorker" in lost[0].reason
    assert SPACE.default in [t.configuration for t in result.study.trials if t.measurements]


def test_a_machine_that_is_a_resource_runs_one_trial_at_a_time(client, tmp_path):
    folder = str(tmp_path)

    def run(configuration):
        me = f"{folder}/{os.getpid()}"
        os.mkdir(me)  # noqa: PTH102 - fails where another trial runs in this worker
        try:
            __import__("time").sleep(0.2)
        finally:
            os.rmdir(me)  # noqa: PTH106
        return float(configuration["x"])

    client.wait_for_workers(2)
    result = boat.optimize(run, SPACE, n_trials=6, executor=client, resources={"machine": 1}, **QUIET)
    assert list(result.trials["state"]) == ["complete"] * 6
    with pytest.raises(boat.ModelError, match=r"no worker of .* has the resources \{'gpu': 1\}"):
        boat.optimize(run, SPACE, n_trials=2, executor=client, resources={"gpu": 1}, **QUIET)


def test_a_client_that_was_closed_is_said_to_be(client):
    with distributed.Client(client.scheduler.address) as other:
        pass
    with pytest.raises(boat.ModelError, match="is closed; executor= is a Dask client that is connected"):
        boat.optimize(lambda configuration: 1.0, SPACE, n_trials=2, executor=other, **QUIET)
