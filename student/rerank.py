"""A small neural network that scores the candidates of a product against each other.

One network scores every candidate; a softmax over a row's candidates, and over a place that stands for "none of
these", is trained on the cross-entropy with the row's labels (ListNet with one relevant item, Cao et al., 2007).
Several networks are each trained on part of the rows, so that the rows left out tell how far to trust their sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Figures = NDArray[np.float32]
HIDDEN = (64, 32)
BOUND = np.float32(4)
_EPOCHS = 10
_BATCH = 128
_RATE = 6e-3
_DECAY = 1e-3
_SLOPE = np.float32(0.01)
_LEAST_DEVIATION = 1e-3  # a figure that varies less is the same for all rows of training, but for a hair's breadth
_CONSTANT = np.float32(1e9)


@dataclass
class Scale:
    """Maps each figure to how many standard deviations it is from the mean, no more than `BOUND` either way.

    Attributes
    ----------
    mean, deviation : ndarray of float32, shape (figures,)
        Of the figures in training.
    """

    mean: Figures
    deviation: Figures

    @classmethod
    def fit(cls, figures: Figures) -> Scale:
        """Measure the figures, shape (places, figures).

        One that hardly varies in training becomes 0 everywhere. A left-out row's count of a class that holds all rows
        is by one less than a new row's: in deviations of next to nothing that would be as far off as can be.
        """
        deviation = figures.std(axis=0, dtype=np.float64).astype(np.float32)
        return cls(
            figures.mean(axis=0, dtype=np.float64).astype(np.float32),
            np.where(deviation < _LEAST_DEVIATION, _CONSTANT, deviation),
        )

    @classmethod
    def empty(cls) -> Scale:
        """Return a scale of no figures, for a model that is still being fitted."""
        return cls(np.zeros(0, dtype=np.float32), np.ones(0, dtype=np.float32))

    def apply(self, figures: Figures) -> Figures:
        """Return the scaled figures, same shape."""
        return ((figures - self.mean) / self.deviation).clip(-BOUND, BOUND)


@dataclass
class Network:
    """Two hidden layers and one output.

    Attributes
    ----------
    layers : list of ndarray of float32
        Weights and biases in turn; the output layer has no bias, which a softmax would not notice.
    """

    layers: list[Figures]

    def forward(self, flat: Figures) -> tuple[list[Figures], Figures]:
        """Return what each layer received, and the scores, shape (rows, 1)."""
        first, first_bias, second, second_bias, out = self.layers
        a = np.asarray(flat @ first + first_bias, dtype=np.float32)
        np.maximum(a, _SLOPE * a, out=a)
        b = np.asarray(a @ second + second_bias, dtype=np.float32)
        np.maximum(b, _SLOPE * b, out=b)
        return [flat, a, b], np.asarray(b @ out, dtype=np.float32)

    def score(self, scaled: Figures) -> Figures:
        """Return a score for each place, shape (places,)."""
        return self.forward(scaled)[1][:, 0]


def softmax(scores: Figures, starts: NDArray[np.int64]) -> Figures:
    """Return probabilities over each row's places.

    Parameters
    ----------
    scores : ndarray of float32, shape (places,)
        Row after row.
    starts : ndarray of int64, shape (rows + 1,)
        Where each row begins; every row has a place.
    """
    sizes = np.diff(starts)
    raised = np.exp(scores - np.repeat(np.maximum.reduceat(scores, starts[:-1]), sizes))
    return np.asarray(raised / np.repeat(np.add.reduceat(raised, starts[:-1]), sizes), dtype=np.float32)


def train_network(
    scaled: Figures,
    starts: NDArray[np.int64],
    truth: Figures,
    rows: NDArray[np.int64],
    *,
    seed: int,
    progress: Callable[[float], None] = lambda _: None,
) -> Network:
    """Train on some rows with Adam (Kingma and Ba, 2015), the step falling linearly to nothing.

    Parameters
    ----------
    scaled : ndarray of float32, shape (places, figures)
        Scaled figures, row after row.
    starts : ndarray of int64, shape (all rows + 1,)
        Where each row begins.
    truth : ndarray of float32, shape (places,)
        The share of the row's label on each place; adds up to 1 over a row.
    rows : ndarray of int64
        The rows to train on.
    seed : int
        For the first weights and the order of rows.
    progress : callable, optional
        Told the share done.
    """
    random = np.random.default_rng(seed)
    sizes = (scaled.shape[1], *HIDDEN)
    layers: list[Figures] = []
    for before, after in pairwise(sizes):
        layers.append((random.standard_normal((before, after)) * np.sqrt(2 / before)).astype(np.float32))
        layers.append(np.zeros(after, dtype=np.float32))
    layers.append((random.standard_normal((HIDDEN[-1], 1)) * np.sqrt(1 / HIDDEN[-1])).astype(np.float32))
    network = Network(layers)
    first = [np.zeros_like(layer) for layer in layers]
    second = [np.zeros_like(layer) for layer in layers]
    batch = max(1, min(_BATCH, len(rows)))
    steps = _EPOCHS * (len(rows) // batch)
    for step in range(steps):
        turn = step % (len(rows) // batch)
        if turn == 0:
            order = random.permutation(rows)
            progress(step / steps)
        picked = order[turn * batch : (turn + 1) * batch]
        lengths = starts[picked + 1] - starts[picked]
        own_starts = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(own_starts[-1]) + np.repeat(starts[picked] - own_starts[:-1], lengths)
        inputs, scores = network.forward(scaled[places])
        flow = ((softmax(scores[:, 0], own_starts) - truth[places]) / batch)[:, None]
        gradients = [inputs[2].T @ flow]
        flow = flow @ layers[4].T * np.where(inputs[2] > 0, np.float32(1), _SLOPE)
        gradients[:0] = [inputs[1].T @ flow, flow.sum(axis=0)]
        flow = flow @ layers[2].T * np.where(inputs[1] > 0, np.float32(1), _SLOPE)
        gradients[:0] = [inputs[0].T @ flow, flow.sum(axis=0)]
        rate = np.float32(_RATE * (1 - step / steps))
        for layer, gradient, mean, square in zip(layers, gradients, first, second, strict=True):
            mean += 0.1 * (gradient - mean)
            square += 0.01 * (gradient * gradient - square)
            moved = (mean / (1 - 0.9 ** (step + 1))) / (np.sqrt(square / (1 - 0.99 ** (step + 1))) + 1e-8)
            layer -= rate * (moved + _DECAY * layer).astype(np.float32)
    return network
