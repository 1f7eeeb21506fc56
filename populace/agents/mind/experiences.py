"""Cases that were lived through, and the vote of those nearest to a new one."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.agents.mind.limits import finite
from populace.core.leaving import only_checks


class Experiences(msgspec.Struct):
    """Features and the label of each case, at most `most`, by whose nearest one judges (Cover and Hart 1967).

    `scales` divide the features, so that their differences compare; without any they are all 1. The
    oldest case goes first. Features are float64,
    (cases, features), in `features` as bytes.
    """

    most: int = 500
    scales: list[float] = []
    labels: list[str] = []
    features: bytes = b""

    @only_checks
    def __post_init__(self) -> None:
        if self.most < 1 or not all(0.0 < one < float("inf") for one in self.scales):
            raise ValueError(f"Experiences: most={self.most} has to be at least 1, and scales={self.scales} above 0")

    def __len__(self) -> int:
        return len(self.labels)

    def add(self, features: Sequence[float], label: str) -> None:
        """Keep a case. Raises ValueError for another number of features than before, and for what is no number."""
        row = np.array([finite("Experiences.add: a feature", one) for one in features], "<f8")
        self._check(len(row))
        self.features = (self.features + row.tobytes())[-self.most * row.nbytes :]
        self.labels = [*self.labels, label][-self.most :]

    def nearest(self, features: Sequence[float], k: int = 5) -> list[tuple[int, float]]:
        """Places and squared distances of the `k` nearest cases, nearest first; of equals the later one."""
        if not self.labels:
            return []
        self._check(len(features))
        cases = self._cases()
        squares = np.zeros(len(cases))
        for at, value in enumerate(features):  # one after the other: a sum in a fixed order is the same everywhere
            scale = self.scales[at] if self.scales else 1.0
            squares += ((cases[:, at] - finite("Experiences.nearest: a feature", value)) / scale) ** 2
        order = len(squares) - 1 - np.argsort(squares[::-1], kind="stable")
        return [(int(at), float(squares[at])) for at in order[:k]]

    def vote(self, features: Sequence[float], k: int = 5) -> dict[str, float]:
        """Shares of the votes of the `k` nearest, the most first; a case at distance d has 1 / (1 + d^2)."""
        votes: dict[str, float] = {}
        for at, square in self.nearest(features, k):
            votes[self.labels[at]] = votes.get(self.labels[at], 0.0) + 1.0 / (1.0 + square)
        total = sum(votes.values())
        return {label: votes[label] / total for label in sorted(votes, key=lambda one: (-votes[one], one))}

    def describe(self) -> str:
        """For a prompt: '12 cases: flu 8, cold 4'."""
        often = {label: self.labels.count(label) for label in sorted(set(self.labels))}
        ranked = sorted(often.items(), key=lambda item: (-item[1], item[0]))
        return f"{len(self)} cases: " + ", ".join(f"{label} {many}" for label, many in ranked)

    def _cases(self) -> NDArray[np.float64]:
        return np.frombuffer(self.features, "<f8").reshape(len(self.labels), -1)

    def _check(self, given: int) -> None:
        wanted = len(self.scales) or (len(self.features) // 8 // len(self.labels) if self.labels else given)
        if given != wanted or not given:
            raise ValueError(f"Experiences: {given} features, where others have {wanted or 'at least 1'}")
