"""What the real cluster trains: a small network on scikit-learn's handwritten digits, in numpy and float64.

Parameters are one flat vector, so that servers may hold any part of it. A gradient is a sum over samples: the
sums of parts are the sum of the whole, whoever computes them.
"""

from itertools import pairwise

import numpy as np

LAYERS = (64, 640, 640, 10)
RATE = 0.05
SEED = 0

SIZE = sum((a + 1) * b for a, b in pairwise(LAYERS))  # parameters; 8 bytes each


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return images ``(sample, 64)`` in 0 .. 1 and labels ``(sample,)``; needs scikit-learn."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise RuntimeError("the digits come with scikit-learn: pip install 'boatppl[demo]'.") from error
    images, labels = load_digits(return_X_y=True)
    return images / 16.0, labels.astype(np.int64)


def initial() -> np.ndarray:
    """Return the parameters ``(SIZE,)`` before the first step (Glorot & Bengio 2010)."""
    rng, parts = np.random.default_rng(SEED), []
    for a, b in pairwise(LAYERS):
        parts += [rng.normal(size=a * b) * np.sqrt(2.0 / (a + b)), np.zeros(b)]
    return np.concatenate(parts)


def layers(flat: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return weights ``(in, out)`` and biases ``(out,)`` of each layer as views of the flat vector."""
    found, start = [], 0
    for a, b in pairwise(LAYERS):
        found.append((flat[start : start + a * b].reshape(a, b), flat[start + a * b : start + (a + 1) * b]))
        start += (a + 1) * b
    return found


def gradient(flat: np.ndarray, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the gradient ``(SIZE,)`` of the cross-entropy, summed over samples."""
    known, values = layers(flat), [images]
    for weights, biases in known[:-1]:
        values.append(np.tanh(values[-1] @ weights + biases))
    weights, biases = known[-1]
    logits = values[-1] @ weights + biases
    logits -= logits.max(axis=1, keepdims=True)
    slope = np.exp(logits)
    slope /= slope.sum(axis=1, keepdims=True)
    slope[np.arange(len(labels)), labels] -= 1.0
    result = np.empty_like(flat)
    for number in reversed(range(len(known))):
        d_weights, d_biases = layers(result)[number]
        d_weights[...] = values[number].T @ slope
        d_biases[...] = slope.sum(axis=0)
        if number:
            slope = (slope @ known[number][0].T) * (1.0 - values[number] ** 2)
    return result


def batch_of(step: int, batch: int, total: int) -> np.ndarray:
    """Return which samples ``(batch,)`` a step takes; the same for every schedule."""
    return np.random.default_rng([SEED, step]).choice(total, batch, replace=False)


def loss(flat: np.ndarray, images: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean cross-entropy."""
    value = images
    known = layers(flat)
    for weights, biases in known[:-1]:
        value = np.tanh(value @ weights + biases)
    logits = value @ known[-1][0] + known[-1][1]
    top = logits.max(axis=1)
    log_total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float((log_total - logits[np.arange(len(labels)), labels]).mean())


def train(steps: int, batch: int, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the parameters after some steps of one process: what every schedule must arrive at."""
    flat = initial()
    for step in range(steps):
        rows = batch_of(step, batch, len(labels))
        flat -= RATE / batch * gradient(flat, images[rows], labels[rows])
    return flat
