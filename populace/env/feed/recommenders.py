"""Recommenders: functions from columns of readers and candidate posts to scores. The highest are shown first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from populace.core.errors import ScenarioError
from populace.env.feed.candidates import Candidates, Matrix

Score = Callable[[Candidates], Any]
Sources = tuple[Literal["newest", "popular", "followed"], ...]

GRAVITY: Final = 1.5
"""How fast `engagement` forgets, as a power of age."""


@dataclass(frozen=True)
class Recommender:
    """A score, and where its candidates are from.

    `newest` are the platform's newest posts and `popular` those with most likes and shares (`pool` of each);
    `followed` are the newest posts and shares of those whom the reader follows.
    """

    score: Score
    sources: Sources = ("newest", "popular", "followed")

    def __post_init__(self) -> None:
        if not callable(self.score) or not self.sources or set(self.sources) - {"newest", "popular", "followed"}:
            raise ScenarioError(
                f"Recommender({self.score!r}, sources={self.sources!r}): a function of candidates, and one or more of "
                "'newest', 'popular', 'followed'"
            )


def recency(candidates: Candidates) -> Matrix:
    """Newest first."""
    return candidates.posts


def popularity(candidates: Candidates) -> Matrix:
    """Most likes and shares first."""
    return candidates.likes + candidates.shares


def interest(candidates: Candidates) -> Matrix:
    """The nearest to the reader's interests first, by the inner product of their vectors."""
    return candidates.affinity


def engagement(candidates: Candidates) -> Matrix:
    """What is expected to engage: reactions so far over a power of age, times e to the reader's affinity.

    (1 + likes + 2 shares + comments) / (1 + age)**1.5 * exp(affinity): the form of a hot list with gravity, made
    personal. It goes by what engages and by nothing else; labels are the platform's to heed.
    """
    reactions = 1.0 + candidates.likes + 2.0 * candidates.shares + candidates.comments
    return reactions / (1.0 + candidates.age) ** GRAVITY * np.exp(candidates.affinity)


def random_mix(share: float) -> Score:
    """Chronological, but that for this share of reader and post the place is drawn by lot. Raises ScenarioError."""
    if not 0.0 <= share <= 1.0:
        raise ScenarioError(f"random_mix(share={share}): a share is from 0 to 1")

    def mixed(candidates: Candidates) -> Matrix:
        span = max(1, int(np.ptp(candidates.posts)) if candidates.posts.size else 1)
        place = (candidates.posts - candidates.posts.min(initial=2**62)) / span
        by_lot = candidates.draw("mix.which") < share
        return np.where(by_lot, candidates.draw("mix.place"), place)

    return mixed


READY: Final[Mapping[str, Recommender]] = {
    "recency": Recommender(recency, ("newest",)),
    "followed": Recommender(recency, ("followed",)),
    "popularity": Recommender(popularity, ("popular",)),
    "interest": Recommender(interest),
    "engagement": Recommender(engagement),
    "mix": Recommender(random_mix(0.5), ("newest",)),
}
"""The recommenders that every platform has, by name."""
