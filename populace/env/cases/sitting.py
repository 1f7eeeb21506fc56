"""One case at work: what was asked, what came to light, what it cost. The rules that every path to a fact goes by."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.env.cases.caseset import ABSENT, CaseSet

HIDDEN: Final = 0
ASKED: Final = 1
KNOWN: Final = 2


class Sitting:
    """The progress of one solver on one case; acts change it or are refused with one word, and then change nothing.

    `stage` (int8, a fact each) is HIDDEN, ASKED of the holder or KNOWN to the solver; `told` (int16) is the level that
    the solver was told, which need not be the true one, or -1. With `held` a holder tells what is asked, else the world
    does, truly.
    """

    __slots__ = ("budget", "case", "cases", "given", "held", "leaks", "left", "ordered", "spent", "stage", "told")

    def __init__(
        self,
        cases: CaseSet,
        case: int,
        stage: NDArray[np.int8],
        told: NDArray[np.int16],
        *,
        left: int,
        spent: float,
        budget: float,
        held: bool,
    ) -> None:
        self.cases = cases
        self.case = case
        self.stage = stage
        self.told = told
        self.left = left
        self.spent = spent
        self.budget = budget
        self.given = ABSENT
        self.held = held
        self.leaks = 0
        self.ordered: list[int] = []
        """Facts that were ordered in this exchange."""

    def ask(self, how: str, question: Any) -> tuple[str, list[int]]:
        """Put a question; gives why it is refused, or '' and the facts that it may bring to light."""
        if self.given != ABSENT:
            return "already_answered", []
        if type(question) is not str or question not in self.cases.questions:
            return "unknown_question", []
        facts = [at for at in self.cases.questions[question] if self.cases.facts[at].how == how]
        if not facts:
            return "wrong_act", []
        if self.left <= 0:
            return "no_questions_left", []
        hidden = [at for at in facts if self.stage[at] == HIDDEN]
        if not hidden:
            return "already_asked", []
        open_now = [at for at in hidden if all(self.stage[need] == KNOWN for need in self.cases.needs[at])]
        if not open_now:
            return "not_yet", []
        cost = sum(self.cases.facts[at].cost for at in open_now)
        if self.spent + cost > self.budget:
            return "too_dear", []
        self.left -= 1
        self.spent += cost
        self.stage[open_now] = ASKED
        return "", open_now

    def reveal(self, fact: int, level: int) -> dict[str, Any]:
        """Tell the solver a fact that was asked for; gives what it hears: words, and the level where it is stated."""
        self.stage[fact] = KNOWN
        one = self.cases.facts[fact]
        if level == ABSENT:
            return {"key": one.key, "words": "nothing known", "level": None}
        if one.stated:
            self.told[fact] = level
        return {
            "key": one.key,
            "words": self.cases.words(fact, level),
            "level": one.levels[level] if one.stated else None,
        }

    def find(self, facts: list[int]) -> list[dict[str, Any]]:
        """The world tells facts as they are; gives what the solver hears."""
        row = self.cases.values[self.case]
        return [self.reveal(at, int(row[at])) for at in facts]

    def tell(self, facts: Any) -> tuple[str, list[dict[str, Any]]]:
        """The holder tells levels by key. Gives why it is refused (nothing is told then), or '' and what is heard."""
        if type(facts) is not dict:
            return "bad_arguments", []
        levels: dict[int, int] = {}
        for key, level in facts.items():
            at = self.cases.keys.get(key, ABSENT)
            if at == ABSENT or self.stage[at] != ASKED or self.cases.facts[at].how != "ask":
                return "not_asked", []
            if level is not None and level not in self.cases.facts[at].levels:
                return "unknown_level", []
            levels[at] = ABSENT if level is None else self.cases.facts[at].levels.index(level)
        return "", [self.reveal(at, level) for at, level in levels.items()]

    def give(self, answer: Any) -> str:
        """Answer the case, once; gives why it is refused, or ''."""
        if self.given != ABSENT:
            return "already_answered"
        if answer not in self.cases.answers:
            return "unknown_answer"
        self.given = self.cases.answers.index(answer)
        return ""

    def shown(self, facts: list[int]) -> dict[str, str | None]:
        """The true levels of facts of this case, by key: what their holder is told when it is asked."""
        row = self.cases.values[self.case]
        return {
            self.cases.facts[at].key: None if row[at] == ABSENT else self.cases.facts[at].levels[int(row[at])]
            for at in facts
        }

    def exchange(self, solver: Any, holder: Any) -> tuple[Any, Any]:
        """One round of a consultation; gives what solver and holder hear of it.

        The solver contributes {'ask': question}, {'examine': question}, {'order': question}, {'answer': answer} or
        {'say': text}, or None; the holder {'tell': {key: level}, 'say': text}, or None. What the holder was not asked
        is not passed on, and counted as a leak.
        """
        to_solver: dict[str, Any] = {}
        to_holder: dict[str, Any] = {}
        if isinstance(holder, dict):
            refused, heard = self.tell(holder.get("tell", {}))
            self.leaks += refused == "not_asked"
            if refused:
                to_holder["refused"] = refused
            else:
                to_solver |= {"told": heard}
                if type(holder.get("say")) is str:
                    to_solver["said"] = holder["say"]
        if isinstance(solver, dict):
            self._act(solver, to_solver, to_holder)
        to_solver["left"] = self.left
        return to_solver, to_holder

    def _act(self, solver: dict[str, Any], to_solver: dict[str, Any], to_holder: dict[str, Any]) -> None:
        refused = ""
        if "answer" in solver:
            refused = self.give(solver["answer"])
            to_holder["over"] = not refused
        for how in ("ask", "examine", "order"):
            if how in solver:
                refused, facts = self.ask(how, solver[how])
                if refused:
                    continue
                if how == "order":
                    self.ordered += facts
                elif how == "ask" and self.held:
                    to_holder |= {"asked": solver[how], "facts": self.shown(facts)}
                else:
                    to_solver["told" if how == "ask" else "found"] = self.find(facts)
        if type(solver.get("say")) is str:
            to_holder["said"] = solver["say"]
        if refused:
            to_solver["refused"] = refused
