"""Scored cases: hidden facts with their reveal rules, and the truth, in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.cases.bayes import BayesNet

How = Literal["given", "ask", "examine", "order"]
HOWS: Final = ("given", "ask", "examine", "order")
ABSENT: Final = -1
"""Stands for a fact that a case does not have, and for one that nobody has told."""


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """A fact that every case may have, and the rule by which it is revealed.

    `levels` are the values it may have. `how` says which act brings it to light: 'ask' (the case's holder tells it),
    'examine' or 'order' (the world answers; what is ordered comes after the part's lag), or 'given' (the solver has it
    from the start). It answers the questions in `on` (its own key where none are named), once all facts in `after`
    are known to the solver. `cost` is what one such act costs. `words` are the wordings by level (the level itself
    where none is given). A fact that is not `stated` is only implied: its words are given and its level is not. `to` is
    'solver', or 'anyone' where others may look up what came to light.
    """

    key: str
    levels: tuple[str, ...] = ("present", "absent")
    how: How = "ask"
    on: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    cost: float = 0.0
    words: Mapping[str, str] = {}
    stated: bool = True
    to: Literal["solver", "anyone"] = "solver"


class CaseSet:
    """Cases that share their facts: a column a fact, a row a case.

    `facts` declare the columns. `values` has for each key the cases' levels, as text or as indices into the fact's
    levels (-1 or None: that case has no such fact). `answers` are what may be answered, `truth` is the right answer of
    each case, as text or as an index. Raises ScenarioError, naming the fact, for what does not fit.
    """

    def __init__(
        self,
        facts: Sequence[Fact],
        values: Mapping[str, Any],
        answers: Sequence[str],
        truth: Any,
    ) -> None:
        self.facts = tuple(facts)
        self.keys = {one.key: at for at, one in enumerate(self.facts)}
        self.answers = tuple(answers)
        self.truth = _indices("truth", truth, self.answers)
        if not self.facts or len(self.keys) != len(self.facts) or not len(self.truth) or np.any(self.truth < 0):
            raise ScenarioError("CaseSet: it needs facts with different keys, and a true answer for each of its cases")
        if undeclared := sorted(set(values) - set(self.keys)):
            raise ScenarioError(f"CaseSet: values for {undeclared}, which no Fact declares")
        self.values = np.full((len(self.truth), len(self.facts)), ABSENT, np.int16)
        for at, fact in enumerate(self.facts):
            if fact.how not in HOWS or set(fact.words) - set(fact.levels):
                raise ScenarioError(f"Fact('{fact.key}'): how is one of {HOWS}, and words are keyed by its levels")
            if unknown := [one for one in fact.after if one not in self.keys]:
                raise ScenarioError(f"Fact('{fact.key}'): after names '{unknown[0]}', which is no fact")
            column = _indices(f"values of '{fact.key}'", values.get(fact.key, []), fact.levels)
            if fact.key in values and len(column) != len(self.truth):
                raise ScenarioError(
                    f"CaseSet: {len(column)} values of '{fact.key}' for {len(self.truth)} cases: give one for each"
                )
            if fact.key in values:
                self.values[:, at] = column
        self.questions: dict[str, list[int]] = {}
        """Which facts, by their place, a question may bring to light."""
        for at, fact in enumerate(self.facts):
            for question in fact.on or (fact.key,):
                self.questions.setdefault(question, []).append(at)
        self.needs = [tuple(self.keys[one] for one in fact.after) for fact in self.facts]

    def __len__(self) -> int:
        return len(self.truth)

    @classmethod
    def from_network(
        cls,
        network: BayesNet,
        diagnosis: str | Mapping[str, str],
        sample: Mapping[str, NDArray[np.integer]],
        facts: Sequence[Fact],
    ) -> CaseSet:
        """Cases from joint samples of a network (`BayesNet.sample`).

        `diagnosis` is the variable whose level is to be found; or, where several variables are disorders, the level
        that says of each that it is there: then only samples with exactly one of them become cases.
        """
        picked: dict[str, Any] = dict(sample)
        if isinstance(diagnosis, str):
            answers, truth = network.levels[diagnosis], sample[diagnosis]
        else:
            answers = tuple(diagnosis)
            there = np.stack([sample[one] == network.level(one, level) for one, level in diagnosis.items()], axis=1)
            only = there.sum(axis=1) == 1
            truth = there[only].argmax(axis=1)
            picked = {name: column[only] for name, column in sample.items()}
        return cls(facts, {one.key: picked[one.key] for one in facts}, answers, truth)

    @classmethod
    def from_rows(cls, facts: Sequence[Fact], rows: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> CaseSet:
        """Cases from rows such as wishes or quizzes: each has levels by key, and the right answer under 'truth'."""
        values = {one.key: [row.get(one.key) for row in rows] for one in facts}
        return cls(facts, values, answers, [row["truth"] for row in rows])

    def words(self, fact: int, level: int) -> str:
        """The wording of a fact's level."""
        one = self.facts[fact]
        return one.words.get(one.levels[level], one.levels[level])


def _indices(what: str, given: Any, levels: Sequence[str]) -> NDArray[np.int64]:
    if isinstance(given, np.ndarray) and given.dtype.kind in "iu":
        column = given.astype(np.int64)
    else:
        places: dict[Any, int] = {level: at for at, level in enumerate(levels)}
        places[None] = ABSENT
        listed = [one.item() if isinstance(one, np.generic) else one for one in given]
        if unknown := [one for one in listed if type(one) is not int and one not in places]:
            raise ScenarioError(f"CaseSet: {what} has {unknown[0]!r}; its levels are {', '.join(levels)}")
        column = np.array([one if type(one) is int else places[one] for one in listed], np.int64)
    if np.any((column < ABSENT) | (column >= len(levels))):
        raise ScenarioError(f"CaseSet: {what} has an index outside 0 to {len(levels) - 1}")
    return column
