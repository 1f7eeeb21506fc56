"""Multinomial logistic regression on facts, with a ridge: for facts that seldom come twice, such as numbers.

It is the same on every machine: sums are over whole numbers, products and quotients are single operations that IEEE 754
rounds correctly, and the exponential is a polynomial of these. No library's `exp`, `dot` or `sum` has a say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.agents.surrogate.facts import Encoding, encode_facts
from populace.agents.surrogate.policy import UNIT

MOST_CATEGORIES: Final = 32
STEPS: Final = 300
RIDGE: Final = 1e-3
_GRID: Final = 2.0**20
_FIXED: Final = 2.0**32
_LN2: Final = 0.6931471805599453
_TAYLOR: Final = (
    1 / 479001600, 1 / 39916800, 1 / 3628800, 1 / 362880, 1 / 40320, 1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 0.5,
    1.0, 1.0,
)  # fmt: skip

Floats = NDArray[np.float64]


class Logit(msgspec.Struct, frozen=True, tag="logit"):
    """Weights by category and column, on a grid of 2**-20, for facts as `encoding` reads them."""

    encoding: Encoding
    categories: list[str]
    weights: list[list[float]]

    def predict(self, facts: str) -> dict[str, float] | None:
        """The probability of each category; None for facts of another form than those it was fitted to."""
        row = self.encoding.row(facts)
        if row is None:
            return None
        scores = []
        for weights in self.weights:
            score = 0.0
            for weight, value in zip(weights, row, strict=True):
                score += weight * value
            scores.append(score)
        shares = softmax(np.array([scores]))[0].tolist()
        return dict(zip(self.categories, shares, strict=True))


def fit_logit(rows: Sequence[tuple[str, Mapping[str, int]]]) -> Logit | None:
    """Weights for these answers, each its facts and its shares; None for what it can't read, or one category only.

    Accelerated gradient descent (Nesterov 1983), a fixed number of steps of the length that the curvature allows.
    """
    encoding = encode_facts([facts for facts, _ in rows]) if rows else None
    categories = sorted({category for _, shares in rows for category in shares})
    if encoding is None or not 2 <= len(categories) <= MOST_CATEGORIES:
        return None
    place = {category: at for at, category in enumerate(categories)}
    known: dict[str, int] = {}
    for facts, _ in rows:
        known.setdefault(facts, len(known))
    told = np.zeros((len(known), len(categories)), np.int64)
    for facts, shares in rows:
        for category, share in shares.items():
            told[known[facts], place[category]] += share
    x = np.array([encoding.row(facts) for facts in known], np.float64)
    counts = told.sum(axis=1)
    weights = _descend(x, told / counts[:, None], counts / float(UNIT) / len(rows))
    return Logit(encoding, categories, (np.rint(weights * _GRID) / _GRID).T.tolist())


def _descend(x: Floats, shares: Floats, mass: Floats) -> Floats:
    """Weights by column and category. `shares` are those of each row, and `mass` how much of the sample it is."""
    curvature = 0.5 * float(_exact(mass[:, None] * x * x, 0).sum()) / _FIXED + RIDGE
    weights = before = np.zeros((x.shape[1], shares.shape[1]))
    for step in range(STEPS):
        ahead = weights + (weights - before) * (step / (step + 3.0))
        scores = np.zeros(shares.shape)
        for column in range(x.shape[1]):
            scores += x[:, column, None] * ahead[column]
        off = (softmax(scores) - shares) * mass[:, None]
        slope = np.stack([_exact(off * x[:, column, None], 0) / _FIXED for column in range(x.shape[1])])
        before, weights = weights, ahead - (slope + RIDGE * ahead) / curvature
    return np.asarray(weights)


def _exact(values: Floats, axis: int) -> NDArray[Any]:
    """A sum in whole multiples of 2**-32, which comes to the same in any order."""
    return np.asarray(np.rint(values * _FIXED).astype(np.int64).sum(axis=axis))


def softmax(scores: Floats) -> Floats:
    """Probabilities by row, the same on every machine."""
    found = exponential(scores - scores.max(axis=1, keepdims=True))
    total = np.zeros(len(found))
    for column in range(found.shape[1]):
        total = total + found[:, column]
    return np.asarray(found / total[:, None])


def exponential(x: Floats) -> Floats:
    """E to the power of what is at most 0, to about 1e-15 of itself, by operations that are correctly rounded."""
    x = np.maximum(x, -700.0)
    twos = np.rint(x / _LN2)
    rest = x - twos * _LN2
    found = np.zeros_like(x)
    for term in _TAYLOR:
        found = found * rest + term
    return np.asarray(np.ldexp(found, twos.astype(np.int64)))
