"""Drive a peer from the bench: a process that answers JSON lines."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import boatppl as boat

HERE = Path(__file__).parent

# Matrices are small: on 2 busy cores BoTorch was measured 15 times slower with two threads than with one.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class PeerError(RuntimeError):
    """A peer answered with an error, or ended."""


class Peer:
    """A tuner in another process: ``with Peer(python, "botorch_peer.py", spec) as peer: peer.tell(...);
    peer.ask()``.

    ``versions`` is what it says it runs; ``seconds`` of an ask are measured inside the peer, without the
    pipe.
    """

    def __init__(
        self, python: Path | str, script: str, spec: Mapping[str, Any], log: Path | None = None
    ) -> None:
        path = log or Path("/dev/null")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._log = path.open("a")
        self._process = subprocess.Popen(
            [str(python), str(HERE / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **ONE_THREAD},
        )
        try:
            self.versions: dict[str, str] = self._exchange({"op": "open", **spec})["versions"]
        except PeerError:
            self.close()
            raise

    def tell(self, configuration: Mapping[str, Any], measurements: Mapping[str, float]) -> None:
        """Give a run's measurements."""
        self._exchange(
            {"op": "tell", "configuration": dict(configuration), "measurements": dict(measurements)}
        )

    def ask(self) -> tuple[dict[str, Any], float, dict[str, float]]:
        """Return the next configuration, the seconds it took and their parts."""
        answer = self._exchange({"op": "ask"})
        return answer["configuration"], answer["seconds"], answer["parts"]

    def best(self) -> dict[str, Any]:
        """Return the configuration the peer would recommend now."""
        return self._exchange({"op": "best"})["configuration"]

    @property
    def process(self) -> int:
        """The number of its process."""
        return self._process.pid

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exchange(self, question: dict[str, Any]) -> dict[str, Any]:
        try:
            self._process.stdin.write(json.dumps(question, default=_plain) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerError(f"the peer ended (exit code {self._process.poll()}); give log= to see why.")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer


def _plain(value: Any) -> Any:
    """Return a NumPy number as Python's own."""
    return value.item()


def spec_of(
    space: boat.Space,
    objective: str,
    *,
    seed: int,
    n_initial: int,
    outputs: Sequence[str] | None = None,
    transforms: Mapping[str, str] | None = None,
    minimize: bool = True,
    budget: int = 100,
    noisy: bool = True,
    choices: Sequence[Mapping[str, Any]] | None = None,
    network: Mapping[str, Sequence[str]] | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what a peer is opened with (``protocol.py`` says what each item means)."""
    return {
        "space": [
            {**item, **_condition(name, parameter)}
            for name, parameter in space.parameters.items()
            for item in _items(name, parameter)
        ],
        "objective": objective,
        "outputs": list(outputs or [objective]),
        "transforms": dict(transforms or {}),
        "minimize": minimize,
        "n_initial": n_initial,
        "default": spread(space, space.default),
        "seed": seed,
        "budget": budget,
        "noisy": noisy,
        "choices": None if choices is None else [dict(choice) for choice in choices],
        "network": None if network is None else {name: list(inputs) for name, inputs in network.items()},
        "options": dict(options or {}),
    }


def spread(space: boat.Space, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as a peer sees it: shares as weights in [0, 1], equal ones as 0.5; a subset as
    Booleans.

    No peer knows a simplex; weights are in proportion to shares (:func:`gathered` is the way back).
    """
    flat: dict[str, Any] = {}
    for name, value in configuration.items():
        if isinstance(space.parameters[name], boat.Simplex):
            most = max(max(value), 2 / len(value))
            flat |= {f"{name}_{i}": share / most for i, share in enumerate(value)}
        elif isinstance(space.parameters[name], boat.Subset):
            flat |= {f"{name}_{i}": taken for i, taken in enumerate(value)}
        else:
            flat[name] = value
    return flat


def gathered(space: boat.Space, flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a peer proposes as a configuration: weights as shares, none at all as equal ones; too small
    a subset as the whole."""
    found: dict[str, Any] = {}
    for name, parameter in space.parameters.items():
        if isinstance(parameter, boat.Subset):
            taken = [bool(flat[f"{name}_{i}"]) for i in range(parameter.n)]
            found[name] = taken if sum(taken) >= parameter.least else [True] * parameter.n
            continue
        if not isinstance(parameter, boat.Simplex):
            found[name] = flat[name]
            continue
        weights = [flat[f"{name}_{i}"] for i in range(parameter.n)]
        total = sum(weights)
        found[name] = [w / total for w in weights] if total > 0 else [1 / len(weights)] * len(weights)
    return found


def _items(name: str, parameter: Any) -> list[dict[str, Any]]:
    """A parameter as peers take it; a simplex is as many weights as it has shares, a subset as many Booleans
    as it is of."""
    if isinstance(parameter, boat.Simplex):
        weight = {"kind": "float", "low": 0.0, "high": 1.0, "log": False}
        return [{"name": f"{name}_{i}", **weight} for i in range(parameter.n)]
    if isinstance(parameter, boat.Subset):
        return [{"name": f"{name}_{i}", "kind": "boolean"} for i in range(parameter.n)]
    return [_parameter(name, parameter)]


def _condition(name: str, parameter: Any) -> dict[str, Any]:
    """When a parameter matters: parent -> the values that make it."""
    when = getattr(parameter, "when", None)
    if when is None:
        return {}
    if not isinstance(when, Mapping):
        raise TypeError(f"{name} matters by a function: peers take conditions such as {{'kind': 'hash'}}.")
    many = {p: list(v) if isinstance(v, list | tuple) else [v] for p, v in when.items()}
    return {"when": many}


def _parameter(name: str, parameter: Any) -> dict[str, Any]:
    match parameter:
        case boat.Boolean():
            return {"name": name, "kind": "boolean"}
        case boat.Categorical():
            return {"name": name, "kind": "categorical", "choices": list(parameter.choices)}
        case boat.Float() | boat.Integer():
            kind = "float" if isinstance(parameter, boat.Float) else "integer"
            bounds = {"low": parameter.low, "high": parameter.high, "log": parameter.log}
            return {"name": name, "kind": kind, **bounds}
    raise TypeError(f"{name} is a {type(parameter).__name__}: no peer takes that kind of parameter yet.")
