"""The emulated cluster: real processes and sockets, whose arithmetic no schedule may change."""

import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.sgd_scheduling import training
from models.sgd_scheduling.machine import Pacer, receive, send
from models.sgd_scheduling.network import Network, address
from models.sgd_scheduling.processors import Processors
from models.sgd_scheduling.real import BATCH, EmulatedCluster, emulated, links_here
from models.sgd_scheduling.schedule import Schedule, configuration_of, whole_samples
from models.sgd_scheduling.simulator import Simulation
from models.sgd_scheduling.spaces import space

STEPS = 20


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    return training.digits()


@pytest.fixture(scope="module")
def single(digits):
    """The parameters that one process arrives at ``(SIZE,)``."""
    return training.train(STEPS, BATCH, *digits)


def quick():
    """A cluster whose machines and links hold nobody up."""
    cluster = emulated(10, 0)
    links = {"up": np.full(10, 1e9), "down": np.full(10, 1e9)}
    return replace(cluster, **links, speed=cluster.speed * 1e4, dispatch=cluster.dispatch * 0)


def test_the_gradient_is_that_of_the_loss(digits):
    images, labels = (part[:7] for part in digits)
    flat, rng = training.initial(), np.random.default_rng(0)
    for _ in range(3):
        way = rng.normal(size=training.SIZE) / np.sqrt(training.SIZE)
        ends = [training.loss(flat + sign * 1e-4 * way, images, labels) for sign in (1, -1)]
        slope = training.gradient(flat, images, labels) @ way / len(labels)
        assert slope == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-4)


def test_training_learns(digits, single):
    assert training.loss(single, *digits) < 0.7 * training.loss(training.initial(), *digits)


@pytest.mark.parametrize(
    ("weights", "serves"),
    [
        ([1, 2, 0, 5, 0], [0, 0, 1, 1, 0]),
        pytest.param([0, 3, 0, 0, 0], [0, 0, 0, 0, 1], marks=pytest.mark.nightly),
    ],
)
def test_after_20_steps_the_parameters_are_those_of_a_single_process(single, weights, serves):
    run = EmulatedCluster(quick(), steps=STEPS, timeout=60)
    idle = [0] * 5
    schedule = Schedule(whole_samples(np.array(weights + idle), BATCH), np.array(serves + idle, bool))
    measured = run.measure(schedule)
    np.testing.assert_allclose(run.parameters, single, atol=1e-6, rtol=0)
    assert np.isfinite(measured["compute_time"]).tolist() == schedule.works.tolist()
    assert np.isfinite(measured["server_time"]).tolist() == schedule.serves.tolist()
    times = np.array([measured[name] for name in ("pull_time", "compute_time", "push_time", "barrier_time")])
    assert (times[:, schedule.works] > 0).all()


def test_speeds_are_imposed_on_shares_that_sum_to_the_batch(digits):
    cluster = replace(quick(), speed=np.full(10, 1000.0), startup=np.zeros(10))
    on = np.arange(10) < 2
    run = EmulatedCluster(cluster, steps=5, dropped=2, timeout=60)
    measured = run(configuration_of(on, on, np.where(on, [1, 3] * 5, 0)))
    assert measured["samples"].tolist() == [50, 150] + 8 * [0]
    assert (measured["compute_time"][:2] >= np.array([0.050, 0.150])).all()


def test_a_link_carries_its_rate_for_all_flows_together():
    link, size = Pacer(20e6), 1_000_000
    pairs = [socket.socketpair() for _ in range(2)]
    sent, got = np.random.default_rng(0).random((2, size // 8)), np.zeros((2, size // 8))
    flows = [threading.Thread(target=send, args=(pair[0], v, link)) for pair, v in zip(pairs, sent)]
    flows += [threading.Thread(target=receive, args=(pair[1], v, None)) for pair, v in zip(pairs, got)]
    began = time.monotonic()
    for flow in flows:
        flow.start()
    for flow in flows:
        flow.join()
    took = time.monotonic() - began
    for pair in pairs:
        for end in pair:
            end.close()
    np.testing.assert_array_equal(got, sent)
    assert took >= 2 * size / 20e6 - 0.01  # never faster; on a busy machine slower


@pytest.fixture
def namespaces():
    """Skips where no network namespace can be made."""
    if links_here() != "namespaces":
        pytest.skip("no network namespace can be made here")


@pytest.fixture
def quotas():
    """Skips where no control group can be made."""
    try:
        with Processors([0.5]):
            pass
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture
def slow_links(namespaces):
    """Three machines whose networks send and receive 4, 2 and 1 MB/s."""
    rates = np.array([4e6, 2e6, 1e6])
    with Network(rates, rates) as network:
        yield network


LISTENS = """
import socket, sys, time
server = socket.create_server(("0.0.0.0", 5000))
print("ready", flush=True)
connection, _ = server.accept()
began, count = time.monotonic(), 0
while part := connection.recv(65536):
    count += len(part)
print(count / (time.monotonic() - began))
"""
SENDS = """
import socket, sys
connection = socket.create_connection((sys.argv[1], 5000))
connection.sendall(bytes(1_500_000))
"""


@pytest.mark.parametrize(("sender", "receiver", "rate"), [(0, 1, 2e6), (2, 0, 1e6)])
def test_the_slower_end_of_a_wire_between_namespaces_decides(slow_links, sender, receiver, rate):
    python = [sys.executable, "-c"]
    pipe = {"stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*slow_links.on(receiver), *python, LISTENS], **pipe) as listening:
        assert listening.stdout.readline() == "ready\n"
        subprocess.run([*slow_links.on(sender), *python, SENDS, address(receiver)], check=True)
        measured = float(listening.stdout.read())
    assert 0.6 * rate < measured < 1.1 * rate  # a burst is free; a busy machine is slower


def test_nothing_of_a_network_outlives_it(namespaces):
    with Network([1e6] * 3, [1e6] * 3) as network:
        inside = [int(word) for i in range(3) for word in network.on(i) if word.isdigit()]
        assert len(set(inside)) == 3
        assert all(Path(f"/proc/{pid}").exists() for pid in inside)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in inside):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_is_missing_for_a_network_is_said(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match="need unshare"), Network([1e6], [1e6]):
        pass


def test_other_links_and_speeds_are_refused():
    with pytest.raises(ValueError, match=r"links= is 'namespaces' or 'paced'.* got 'wifi' and 'waiting'"):
        EmulatedCluster(quick(), links="wifi")


def test_in_namespaces_the_parameters_are_those_of_a_single_process(single, namespaces):
    schedule = Schedule(whole_samples(np.array([1, 2, 0, 5, 0] + 5 * [0]), BATCH), np.arange(10) % 5 == 2)
    run = EmulatedCluster(quick(), links="namespaces", steps=STEPS, timeout=60)
    measured = run.measure(schedule)
    np.testing.assert_allclose(run.parameters, single, atol=1e-6, rtol=0)
    assert np.isfinite(measured["compute_time"]).tolist() == schedule.works.tolist()


def test_a_quota_slows_a_machine_as_waiting_does(digits, quotas):
    cluster = replace(quick(), speed=np.full(10, 500.0), startup=np.zeros(10))
    on, times = np.arange(10) < 2, {}
    for speeds in ("waiting", "quotas"):
        run = EmulatedCluster(cluster, speeds=speeds, steps=5, dropped=2, timeout=60)
        measured = run(configuration_of(on, on, np.where(on, [1, 3] * 5, 0)))
        times[speeds] = measured["compute_time"][:2]
    assert (times["quotas"] > 0.8 * times["waiting"]).all()


def test_a_machine_that_dies_is_told(digits):
    run = EmulatedCluster(replace(quick(), speed=np.ones(10)), steps=5, timeout=3)
    on = np.arange(10) < 2
    with pytest.raises(RuntimeError, match="machine 0 of the emulated cluster ended before"):
        run(configuration_of(on, on, on))  # 100 s a step: the watchdog ends it


@pytest.mark.nightly
def test_the_simulation_foretells_the_emulated_cluster(digits):
    cluster = emulated(10, 0)
    run, simulation = EmulatedCluster(cluster), Simulation(cluster)
    for configuration in [space().default, *space().design(4, 0)]:
        ratio = run(configuration)["iteration_time"] / simulation.exact(configuration)["iteration_time"]
        assert 0.6 < ratio < 1.8
