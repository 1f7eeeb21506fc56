"""The survey of `panel` as a part of the world: who answered what in which wave, and how near twins came."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace.env import Part, action
from populace.env.part import Batch, Opening
from populace.experiments.score import measures
from populace.probes import Item, retest_scales
from populace.scenarios._panel_rules import INSTRUMENT

Floats = NDArray[np.float64]
SITTINGS = 4
APART = 14
"""Days between the waves."""
BLOCKS: list[list[Item]] = [INSTRUMENT.rated[at::SITTINGS] for at in range(SITTINGS)]
"""The questions of each sitting: items of all scales, so that none stand beside those of their own."""


class Panel(Part):
    """Takes down answers: `answer(answers=)`, the numbers of the sitting's items in order, on days with a sitting.

    Refusals: `no_sitting`, `bad_answers`, `answered` before. Twin i stands for respondent i. `groups` are labels of
    respondents by name, for `gap`.
    """

    name = "panel"

    def __init__(self, groups: Mapping[str, Sequence[str]]) -> None:
        self.labels = {name: np.array(labels) for name, labels in groups.items()}

    def open(self, opening: Opening) -> None:
        """Nobody has answered."""
        self.respondents, self.twins = opening.counts["respondent"], opening.counts["twin"]
        self.given = np.full((2, opening.agents, len(INSTRUMENT.items)), np.nan)

    @action
    def answer(self, tick: int, batch: Batch) -> None:
        """`answer(answers=)`: the answers of a sitting."""
        wave, sitting = divmod(tick, APART)
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            if wave > 1 or sitting >= SITTINGS:
                batch.refuse(i, "no_sitting")
                continue
            block, answers = BLOCKS[sitting], args.get("answers")
            if set(args) != {"answers"} or not isinstance(answers, list) or not _fit(block, answers):
                batch.refuse(i, "bad_answers")
            elif not np.isnan(self.given[wave, agent, sitting]):
                batch.refuse(i, "answered")
            else:
                self.given[wave, agent, sitting::SITTINGS] = answers

    def state(self) -> dict[str, Any]:
        """What was answered."""
        return {"given": self.given}

    def restore(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        self.given = state["given"].copy()

    def both(self) -> tuple[Floats, Floats, Floats]:
        """The answers of respondents in either wave, and of twins: (twins, items) each, NaN where there is none."""
        first, second = (wave[: self.twins] for wave in self.given)
        return first, second, self.given[0, self.respondents : self.respondents + self.twins]

    def accuracy(self, of: Any = slice(None)) -> float:
        """The share of items on which a twin answers as its respondent does in the first wave."""
        first, _, twin = self.both()
        return _over(measures.accuracy, first[of], twin[of])

    def consistency(self, of: Any = slice(None)) -> float:
        """The share of items on which a respondent answers in the second wave as in the first."""
        first, second, _ = self.both()
        return _over(measures.accuracy, first[of], second[of])

    def normalised_accuracy(self, of: Any = slice(None)) -> float:
        """The one divided by the other, over what all three answers are there of: 1 where twins are as near."""
        first, second, twin = self.both()
        return _over(measures.over_retest, first[of], twin[of], second[of])

    def gap(self, group: str) -> float:
        """The highest normalised accuracy of a group's labels less the lowest."""
        labels = self.labels[group][: self.twins]
        each = [self.normalised_accuracy(labels == one) for one in np.unique(labels)]
        return float(np.max(each) - np.min(each))

    def trait_correlation(self) -> float:
        """Of twins' scores with their respondents', the mean over scales; 0 for a scale on which twins don't differ."""
        first, _, twin = self.both()
        return _mean_r(first, twin)

    def retest_r(self) -> float:
        """Of respondents' scores in the two waves, the mean over scales."""
        first, second, _ = self.both()
        return _mean_r(first, second)

    def wasserstein(self) -> float:
        """How far twins' answers would have to move to be distributed as respondents', of an item's range; the mean."""
        first, _, twin = self.both()
        far = []
        for at, item in enumerate(INSTRUMENT.rated):
            given = [one[~np.isnan(one)] for one in (first[:, at], twin[:, at])]
            if all(map(len, given)):
                steps = np.arange(item.low, item.high)
                one, other = (np.mean(values[:, None] <= steps, axis=0) for values in given)
                far.append(float(np.abs(one - other).mean()))
        return float(np.mean(far)) if far else float("nan")


def _fit(block: list[Item], answers: list[Any]) -> bool:
    return len(answers) == len(block) and all(
        type(one) is float and one in item.labels for item, one in zip(block, answers, strict=True)
    )


def _over(measure: Callable[..., float], *answers: Floats) -> float:
    """A measure of answers that are all there."""
    there = ~np.isnan(answers).any(axis=0)
    return measure(*(one[there] for one in answers)) if there.any() else float("nan")


def _mean_r(one: Floats, other: Floats) -> float:
    scales = retest_scales(INSTRUMENT, one, other)
    r = [scales[scale.name].r for scale in INSTRUMENT.scales if scale.name in scales]
    return float(np.mean(np.nan_to_num(r))) if r else float("nan")
