"""The conversation between the bench and a peer: one JSON object a line, a question and its answer.

Imported by peers under whatever Python they need, so this file uses the standard library alone.

- ``{"op": "open", "space": [...], "objective": ...}`` is answered by ``{"versions": {...}}``
- ``{"op": "tell", "configuration": {...}, "measurements": {...}}`` by ``{}``
- ``{"op": "ask"}`` by ``{"configuration": {...}, "seconds": 0.4, "parts": {...}}``
- ``{"op": "best"}`` by ``{"configuration": {...}}``

A parameter is ``{"name", "kind"}`` with ``low, high, log`` (``float``, ``integer``) or ``choices``
(``categorical``; a Boolean is ``boolean``), and ``when`` (parent -> the values that make it matter) where it
is conditional: those that know no conditions propose all parameters. ``open`` also carries ``outputs`` (the
names measured), ``transforms`` (name -> ``"log"``), ``minimize``, ``n_initial``, ``default`` (the first
configuration), ``seed``, ``budget`` (trials at most), ``noisy``, ``choices`` (all configurations of a finite
set, else null), ``network`` (node -> the names of its inputs, else null) and ``options`` (the peer's own).
What is told may be another configuration than the one asked for. A peer that raises answers ``{"error":
...}``.
"""

import json
import math
import sys
import time
import traceback


class Cube:
    """The unit cube of a space: one column a parameter, in [0, 1]; a categorical's column holds its code 0,
    1, 2..."""

    def __init__(self, space):
        self.space = space

    @property
    def categorical(self):
        """Columns of categoricals and how many choices each has."""
        return {i: len(item["choices"]) for i, item in enumerate(self.space) if item["kind"] == "categorical"}

    @property
    def binary(self):
        """Columns of Booleans."""
        return [i for i, item in enumerate(self.space) if item["kind"] == "boolean"]

    def encode(self, configuration):
        """Return a configuration's row."""
        return [self._encode(item, configuration[item["name"]]) for item in self.space]

    def decode(self, row):
        """Return a row's configuration; integers are rounded."""
        return {item["name"]: self._decode(item, value) for item, value in zip(self.space, row)}

    def uniform(self, row):
        """Return the configuration of a row of uniform numbers, a categorical's among them."""
        counts = self.categorical
        return self.decode(
            [
                min(int(value * counts[i]), counts[i] - 1) if i in counts else value
                for i, value in enumerate(row)
            ]
        )

    def flat(self, configuration):
        """Return a configuration's row with choices too as numbers in [0, 1]: :meth:`uniform`'s inverse."""
        counts = self.categorical
        row = self.encode(configuration)
        return [(value + 0.5) / counts[i] if i in counts else value for i, value in enumerate(row)]

    def parents_first(self):
        """Return the parameters, conditional ones after what decides about them."""
        return sorted(self.space, key=lambda item: self._depth(item))

    def matters(self, item, chosen):
        """Whether a parameter matters, given the values of those that matter before it."""
        return all(chosen.get(parent) in values for parent, values in (item.get("when") or {}).items())

    def active(self, configuration):
        """Return the values of the parameters that matter."""
        found = {}
        for item in self.parents_first():
            if self.matters(item, found):
                found[item["name"]] = configuration[item["name"]]
        return found

    def ordered(self, configuration):
        """Return a configuration in the space's order."""
        return {item["name"]: configuration[item["name"]] for item in self.space}

    def _depth(self, item):
        known = {other["name"]: other for other in self.space}
        return 1 + max((self._depth(known[parent]) for parent in item.get("when") or {}), default=0)

    @staticmethod
    def _encode(item, value):
        if item["kind"] == "categorical":
            return float(item["choices"].index(value))
        if item["kind"] == "boolean":
            return float(value)
        low, high = _bounds(item)
        return (_scaled(item, value) - low) / (high - low)

    @staticmethod
    def _decode(item, value):
        if item["kind"] == "categorical":
            return item["choices"][round(value)]
        if item["kind"] == "boolean":
            return bool(value > 0.5)
        low, high = _bounds(item)
        natural = low + min(max(value, 0.0), 1.0) * (high - low)
        natural = math.exp(natural) if item["log"] else natural
        natural = round(natural) if item["kind"] == "integer" else natural
        return min(max(natural, item["low"]), item["high"])


def _scaled(item, value):
    return math.log(value) if item["log"] else float(value)


def _bounds(item):
    return _scaled(item, item["low"]), _scaled(item, item["high"])


def luckiest(told):
    """Return the configuration of the least value, of pairs (value, configuration)."""
    return min(told, key=lambda pair: pair[0])[1]


def levels(space, budget):
    """Return the steps along each parameter: equal ones for numbers, all of a choice, about the budget in
    all."""
    fixed = [2 if item["kind"] == "boolean" else len(item.get("choices", [])) for item in space]
    share = float(budget)
    for n in fixed:
        share /= max(n, 1)
    numbers = sum(n == 0 for n in fixed)
    steps = max(2, int(share ** (1 / max(numbers, 1)) + 1e-9))
    return [n or min(steps, _most(item)) for n, item in zip(fixed, space)]


def _most(item):
    return item["high"] - item["low"] + 1 if item["kind"] == "integer" else sys.maxsize


def serve(tuner):
    """Answer questions from stdin on stdout until it closes. ``tuner`` has ``open, tell, ask, best``.

    What a library prints on stdout would break the pipe: it is sent to stderr.
    """
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = _answer(tuner, question)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _answer(tuner, question):
    op = question.pop("op")
    if op == "open":
        return {"versions": tuner.open(question)}
    if op == "tell":
        tuner.tell(question["configuration"], question["measurements"])
        return {}
    if op == "best":
        return {"configuration": tuner.best()}
    began = time.perf_counter()
    configuration, parts = tuner.ask()
    return {"configuration": configuration, "seconds": time.perf_counter() - began, "parts": parts}
