"""The crowd of `crowd` as a part of the world: who answered what last, what one hears of it, and how wise it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace.env import Part, action, query
from populace.env.part import Batch, Opening
from populace.scenarios._crowd_rules import QUESTIONS, TRUTH, shown

Floats = NDArray[np.float64]
TRUE = np.array([TRUTH[name] for name in QUESTIONS])


class Crowd(Part):
    """Takes down answers, `answer(estimates=)`: a number for each question in order; the last one counts.

    Refusal: `bad_arguments`. `heard()` looks up, by question, one's own last answer and, as `society.hears` says, what
    the others of one's session answered: their mean, each of them, or nothing. Sessions are of `size` people, by id.
    """

    name = "crowd"

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def open(self, opening: Opening) -> None:
        """Nobody has answered."""
        self.given = np.full((opening.agents, len(TRUE)), np.nan)

    @action
    def answer(self, tick: int, batch: Batch) -> None:
        """`answer(estimates=)`: an answer to each question."""
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            told = args.get("estimates")
            if set(args) != {"estimates"} or not _fit(told):
                batch.refuse(i, "bad_arguments")
            else:
                self.given[agent] = told

    @query
    def heard(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, dict[str, Any]]]:
        """`heard()`: {question: {'own': number, 'others': number, list, or not there}}; empty before one answered."""
        return [self._heard(agent) for agent in agents]

    def _heard(self, agent: int) -> dict[str, dict[str, Any]]:
        if np.isnan(self.given[agent]).any():
            return {}
        hears, first = self.world.parameters.hears, agent // self.size * self.size
        session = self.given[first : first + self.size]
        others = np.delete(session, agent - first, axis=0)
        others = others[~np.isnan(others).any(axis=1)]
        found: dict[str, dict[str, Any]] = {}
        for at, name in enumerate(QUESTIONS):
            found[name] = {"own": shown(self.given[agent, at])}
            if len(others) and hears == "mean":
                found[name]["others"] = shown(others[:, at].mean())
            elif len(others) and hears == "all":
                found[name]["others"] = [shown(one) for one in others[:, at].tolist()]
        return found

    def state(self) -> dict[str, Any]:
        """What was answered last."""
        return {"given": self.given}

    def restore(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        self.given = state["given"].copy()

    def answered(self) -> Floats:
        """The answers of those who gave them, over the truth: (people, questions)."""
        there: Floats = self.given[~np.isnan(self.given).any(axis=1)] / TRUE
        return there

    def spread(self) -> float:
        """The interquartile range over the truth, mean over questions."""
        there = self.answered()
        low, high = np.quantile(there, [0.25, 0.75], axis=0) if len(there) else (np.nan, np.nan)
        return float(np.mean(high - low))

    def off(self) -> float:
        """How far the median is from the truth, as a share of it, mean over questions."""
        there = self.answered()
        return float(np.abs(np.median(there, axis=0) - 1.0).mean()) if len(there) else float("nan")

    def exact(self) -> float:
        """The share of answers that are within a hundredth of the truth."""
        there = self.answered()
        return float((np.abs(there - 1.0) <= 0.01).mean()) if len(there) else float("nan")

    def _sessions(self) -> list[Floats]:
        """Common logarithms of answers over the truth by session and question, of answers above zero."""
        found = []
        for first in range(0, len(self.given), self.size):
            for at, true in enumerate(TRUE):
                told = self.given[first : first + self.size, at]
                if len(told := told[told > 0.0]) > 1:
                    found.append(np.log10(told / true))
        return found

    def diversity(self) -> float:
        """The variance of logarithms within a session, mean over sessions and questions."""
        return _mean([float(one.var()) for one in self._sessions()])

    def collective_error(self) -> float:
        """The square of a session's mean logarithm, which is 0 at the truth; mean over sessions and questions."""
        return _mean([float(one.mean() ** 2) for one in self._sessions()])

    def wisdom(self) -> float:
        """How far inside the session's answers the truth lies: 0 outside of them, 1 where as many are on each side.

        The indicator of Lorenz, Rauhut, Schweitzer and Helbing (2011), as a share of its maximum.
        """
        return _mean([
            min(1.0, min(np.sum(one <= 0.0), np.sum(one >= 0.0)) / (len(one) / 2.0)) for one in self._sessions()
        ])  # fmt: skip


def _fit(told: Any) -> bool:
    return isinstance(told, list) and len(told) == len(TRUE) and all(type(one) is float and one >= 0.0 for one in told)


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
