"""Scored cases as a part of the world: questions on a budget, one answer, a score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.core.judging import Criterion, cohen_kappa, judge_all
from populace.env.cases.caseset import ABSENT, CaseSet
from populace.env.cases.sitting import HIDDEN, KNOWN, Sitting
from populace.env.cases.work import Work
from populace.env.dealing import Dealer
from populace.env.part import Batch, Opening, Part, action, query
from populace.env.ring import Ring
from populace.env.rounds import Exchange, GroupName, LastRound, Round
from populace.env.wholes import check_whole

RECORD: Final = {
    "tick": np.int32,
    "solver": np.int32,
    "nth": np.int32,
    "case": np.int32,
    "answer": np.int16,
    "truth": np.int16,
    "questions": np.int32,
    "spent": np.float64,
    "leaks": np.int32,
}
"""The columns of `Cases.records`: `answer` and `truth` are places in the answers of the set of cases."""


MOST_QUESTIONS: Final = 2**31 - 1
CASE_PROMPT: Final = (
    "You are the {judge}. A solver was told {heard} and answered {answer}; the right answer is {truth}. It asked "
    "{questions} questions and spent {spent}. Mark the work with one of {scale}."
)
"""What judges of a criterion without a prompt of its own are asked, by what `Cases.report` gives."""


class Cases(Part):
    """Cases with hidden facts, worked on by `solvers` one after another: questions on a budget, and one answer.

    Solvers act with `ask(question=)`, `examine(question=)`, `order(question=)` and `answer(value=)`; a case that is
    answered is scored, and the next one is dealt, `series` of them in all (None: without end). Cases are dealt by keyed
    draws, each as often as any other. With `holders` (as many as there are solvers, or more) every solver has one,
    drawn when the world opens, who is told the facts that it is asked for, and these alone, and tells them with
    `tell(facts={key: level}, say=text)`; without, the world tells what is asked. What comes to light reaches a solver
    as a message {'told' or 'found': [{'key', 'words', 'level'}], 'left': questions left}; a question reaches the holder
    as {'asked': question, 'facts': {key: level}}.

    Refusals are `no_case`, `bad_arguments`, `unknown_question`, `wrong_act` (the question is for another act),
    `no_questions_left`, `already_asked`, `not_yet` (facts of its `after` are not known), `too_dear`, `not_asked`,
    `unknown_level`, `unknown_answer`, `already_answered` and `in_rounds`.

    With `within_tick` whole consultations are held in a tick's rounds instead of by acts and mail:
    `await ctx.round("cases", {"ask": question})`, and `None` to listen, as `Sitting.exchange` says. Each hears its part
    with {'over': whether the exchange is}; `populace.env.cases.consult` and `attend` are loops for both sides. A solver
    who leaves without an answer goes on with the case in another tick.

    Agents see `cases.left` (questions), `cases.spent`, `cases.nth` (which case of its series, -1 for none) and
    `cases.partner` (a solver's holder, a holder's solver; -1 without a case); a solver looks up `chart`, `score`,
    `kappa(criterion=)` and `public(of=)`. With `feedback` it is told {'answer', 'truth'}
    once it has answered.

    Levers may set `questions`, `budget` and `feedback`.
    """

    name = "cases"
    settable: Mapping[str, Any] = {"questions": int, "budget": float, "feedback": bool}
    rounds_per_tick = 200

    def __init__(
        self,
        cases: CaseSet,
        *,
        solvers: Sequence[int] | None = None,
        holders: Sequence[int] | None = None,
        questions: int = 20,
        budget: float = float("inf"),
        series: int | None = 1,
        lag: int = 1,
        feedback: bool = False,
        within_tick: bool = False,
        rubric: Sequence[Criterion] = (),
        keep: int = 100_000,
        name: str | None = None,
    ) -> None:
        """Raises ScenarioError for numbers that cannot be, or fewer holders than solvers."""
        super().__init__(name)
        where = type(self).__name__
        check_whole(where, 0, questions=questions)
        if questions > MOST_QUESTIONS:
            raise ScenarioError(f"{where}(questions={questions}): is at most {MOST_QUESTIONS}")
        check_whole(where, 1, lag=lag, keep=keep, series=1 if series is None else series)
        if not budget >= 0:
            raise ScenarioError(f"{where}(budget={budget}): is at least 0")
        self.cases = cases
        self.questions = questions
        self.budget = budget
        self.series = series
        self.lag = lag
        self.feedback = feedback
        self.within_tick = within_tick
        self.heeds_blocks = not within_tick  # else no rounds are held
        self.rubric = {one.name: one for one in rubric}
        self.records = Ring("records", RECORD, keep)
        """A row an answered case."""
        self._given = (solvers, holders)

    def open(self, opening: Opening) -> None:
        """Seat the solvers and deal them their first cases."""
        solvers, holders = self._given
        self.solvers = np.arange(opening.agents) if solvers is None else np.array(list(solvers), np.int64)
        everyone = [] if holders is None else list(holders)
        both = [*self.solvers.tolist(), *everyone]
        if not len(self.solvers) or len(set(both)) < len(both) or not all(0 <= one < opening.agents for one in both):
            raise ScenarioError(
                f"part '{self.name}': solvers and holders are different agents' ids from 0 to {opening.agents - 1}, "
                "and there is at least one solver"
            )
        if holders is not None and len(everyone) < len(self.solvers):
            raise ScenarioError(
                f"part '{self.name}': {len(everyone)} holders for {len(self.solvers)} solvers: each needs one"
            )
        opening.draw(f"{self.name}/holders").shuffle(everyone)
        self.holders = np.array(everyone[: len(self.solvers)], np.int64)
        self._rank = dict(zip(self.solvers.tolist(), range(len(self.solvers)), strict=True))
        self._seats = np.full(opening.agents, ABSENT, np.int64)
        self._seats[self.solvers] = np.arange(len(self.solvers))
        self._held = dict(zip(self.holders.tolist(), range(len(self.solvers)), strict=False))
        self._dealer = Dealer(opening.draw, f"{self.name}/deal", len(self.cases), len(self.solvers))
        self.work = Work(len(self.solvers), len(self.cases.facts))
        self.due: list[list[int]] = []
        """What is ordered: [tick it comes, rank, nth case, fact]."""
        self.scores = {name: np.zeros((len(one.scale), len(one.scale)), np.int64) for name, one in self.rubric.items()}
        """For each criterion how often the judges gave which marks, shape (marks, marks); one judge: the diagonal."""
        for rank in range(len(self.solvers)):
            self._deal(rank)

    def set_parameter(self, name: str, value: Any) -> None:
        """Take a value of `settable`; cases that are dealt keep the questions that they were dealt with."""
        if name != "feedback" and not value >= 0:
            raise ScenarioError(f"{name} is at least 0")
        if name == "questions" and value > MOST_QUESTIONS:
            raise ScenarioError(f"questions is at most {MOST_QUESTIONS}")
        setattr(self, name, value)

    def _deal(self, rank: int) -> None:
        nth = int(self.work.nth[rank]) + 1
        over = self.series is not None and nth >= self.series
        case = ABSENT if over else self._dealer.thing(nth, rank)
        self.work.begin(rank, nth, case, self.questions)
        if not over:
            sitting = self._sitting(rank)
            for at, fact in enumerate(self.cases.facts):
                if fact.how == "given":
                    sitting.find([at])
            self.work.take(rank, sitting)

    def _sitting(self, rank: int) -> Sitting:
        """Where a solver's case stands; what it changes is the caller's until `work.take`."""
        work = self.work
        return Sitting(
            self.cases, int(work.case[rank]), work.stage[rank].copy(), work.told[rank].copy(),
            left=int(work.left[rank]), spent=float(work.spent[rank]), budget=self.budget, held=len(self.holders) > 0,
        )  # fmt: skip

    def _ranked(self, batch: Batch, i: int, rank: int | None) -> int | None:
        """The rank, where there is a case to act on; else the action is refused."""
        if self.within_tick:
            batch.refuse(i, "in_rounds")
        elif rank is None or self.work.case[rank] == ABSENT:
            batch.refuse(i, "no_case")
        return None if i in batch.refused else rank

    @action
    def ask(self, tick: int, batch: Batch) -> list[tuple[int, Any]]:
        """`ask(question=)`: have the holder, or without one the world, tell what answers the question."""
        return self._put("ask", tick, batch)

    @action
    def examine(self, tick: int, batch: Batch) -> list[tuple[int, Any]]:
        """`examine(question=)`: find out at once what it costs to see."""
        return self._put("examine", tick, batch)

    @action
    def order(self, tick: int, batch: Batch) -> list[tuple[int, Any]]:
        """`order(question=)`: have a test made, whose result comes after `lag` ticks."""
        return self._put("order", tick, batch)

    def _put(self, how: str, tick: int, batch: Batch) -> list[tuple[int, Any]]:
        sent: list[tuple[int, Any]] = []
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            rank = self._ranked(batch, i, self._rank.get(agent))
            if rank is None:
                continue
            if args.keys() != {"question"}:
                batch.refuse(i, "bad_arguments")
                continue
            sitting = self._sitting(rank)
            sitting.given = int(self.work.answer[rank])
            to_solver, to_holder = sitting.exchange({how: args["question"]}, None)
            if refused := to_solver.pop("refused", ""):
                batch.refuse(i, refused)
                continue
            self._take(tick, rank, sitting)
            if to_holder:
                sent.append((int(self.holders[rank]), to_holder))
            if len(to_solver) > 1:
                sent.append((agent, to_solver))
        return sent

    @action
    def tell(self, tick: int, batch: Batch) -> list[tuple[int, Any]]:
        """`tell(facts={key: level}, say='')`: a holder tells what it was asked; a level may be false, or None."""
        sent: list[tuple[int, Any]] = []
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            rank = self._ranked(batch, i, self._held.get(agent))
            if rank is None:
                continue
            if not {"facts"} <= args.keys() <= {"facts", "say"} or type(args.get("say", "")) is not str:
                batch.refuse(i, "bad_arguments")
                continue
            sitting = self._sitting(rank)
            refused, heard = sitting.tell(args["facts"])
            if refused:
                batch.refuse(i, refused)
                continue
            self.work.take(rank, sitting)
            body = {"told": heard, "left": sitting.left}
            sent.append((int(self.solvers[rank]), {**body, "said": args["say"]} if args.get("say") else body))
        return sent

    @action
    def answer(self, tick: int, batch: Batch) -> None:
        """`answer(value=)`: the one answer to the case."""
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            rank = self._ranked(batch, i, self._rank.get(agent))
            if rank is None:
                continue
            sitting = self._sitting(rank)
            sitting.given = int(self.work.answer[rank])
            refused = sitting.give(args["value"]) if args.keys() == {"value"} else "bad_arguments"
            if refused:
                batch.refuse(i, refused)
            else:
                self._take(tick, rank, sitting)

    def _take(self, tick: int, rank: int, sitting: Sitting) -> None:
        self.work.take(rank, sitting)
        nth = int(self.work.nth[rank])
        self.due += [[tick + self.lag, rank, nth, fact] for fact in sitting.ordered]

    def groups(self, tick: int) -> Mapping[GroupName, Iterable[int]]:
        """A solver with a case, and its holder, are a group of the solver's id."""
        if not self.within_tick:
            return {}
        held = len(self.holders) > 0
        return {
            int(self.solvers[rank]): [int(self.solvers[rank])] + ([int(self.holders[rank])] if held else [])
            for rank in np.flatnonzero(self.work.case != ABSENT).tolist()
        }

    def _replayed(self, group: Any, said: Sequence[Mapping[int, Any]]) -> tuple[Sitting, Any, Any]:
        rank = self._rank[int(group)]
        sitting = self._sitting(rank)
        solver, holder = int(self.solvers[rank]), int(self.holders[rank]) if len(self.holders) else ABSENT
        heard: tuple[Any, Any] = (None, None)
        for one in said:
            heard = sitting.exchange(one.get(solver), one.get(holder))
        return sitting, *heard

    def round(self, now: Round) -> Mapping[int, Any] | LastRound:
        """What the solver and the holder hear of a round; an answer ends the exchange."""
        sitting, to_solver, to_holder = self._replayed(now.group, [*now.before, now.said])
        rank = self._rank[int(now.group)]
        heard: dict[int, Any] = {int(self.solvers[rank]): {**to_solver, "over": sitting.given != ABSENT or now.last}}
        if len(self.holders):
            heard[int(self.holders[rank])] = {**to_holder, "over": sitting.given != ABSENT or now.last}
        heard = {agent: body for agent, body in heard.items() if agent in now.said}
        return LastRound(heard, "answered") if sitting.given != ABSENT else heard

    def rounds_ended(self, tick: int, exchanges: Sequence[Exchange]) -> None:
        """Take what the consultations came to."""
        for one in exchanges:
            sitting, _, _ = self._replayed(one.group, one.said)
            self._take(tick, self._rank[int(one.group)], sitting)

    def report(self, rank: int) -> dict[str, Any]:
        """What judges go by: 'answer', 'truth', 'correct', 'questions', 'spent', 'heard' (levels by key) of a case."""
        work, facts = self.work, self.cases.facts
        truth = int(self.cases.truth[work.case[rank]])
        known = np.flatnonzero((work.stage[rank] == KNOWN) & (work.told[rank] != ABSENT)).tolist()
        return {
            "answer": self.cases.answers[int(work.answer[rank])],
            "truth": self.cases.answers[truth],
            "correct": bool(work.answer[rank] == truth),
            "questions": int(work.asked[rank]),
            "spent": float(work.spent[rank]),
            "heard": {facts[at].key: facts[at].levels[int(work.told[rank, at])] for at in known},
        }

    async def consult(self, ctx: Any) -> None:
        """Judge the cases that were answered in this tick, by rule or by the model, item by item of the rubric."""
        if not self.rubric:
            return
        reports = [self.report(rank) for rank in np.flatnonzero(self.work.answer != ABSENT).tolist()]
        work = [(criterion, report) for criterion in self.rubric.values() for report in reports]
        for criterion, found in zip((one for one, _ in work), await judge_all(ctx, work, CASE_PROMPT), strict=True):
            if all(found.marks):
                first, last = (criterion.place(one) for one in (found.marks[0], found.marks[-1]))
                self.scores[criterion.name][first, last] += 1

    def advance(self, tick: int) -> Iterable[tuple[int, Any]]:
        """Let results come, put answered cases on record, deal the next ones."""
        sent: list[tuple[int, Any]] = []
        ripe = [one for one in self.due if one[0] <= tick]
        self.due = [one for one in self.due if one[0] > tick]
        for _, rank, nth, fact in ripe:
            if self.work.nth[rank] == nth and self.work.answer[rank] == ABSENT:
                sitting = self._sitting(rank)
                found = sitting.find([fact])
                self.work.take(rank, sitting)
                sent.append((int(self.solvers[rank]), {"found": found, "left": sitting.left}))
        for rank in np.flatnonzero(self.work.answer != ABSENT).tolist():
            work, solver = self.work, int(self.solvers[rank])
            truth = int(self.cases.truth[work.case[rank]])
            self.records.add(
                tick=tick, solver=solver, nth=work.nth[rank], case=work.case[rank], answer=work.answer[rank],
                truth=truth, questions=work.asked[rank], spent=work.spent[rank], leaks=work.leaks[rank],
            )  # fmt: skip
            work.add_to_totals(rank, correct=bool(work.answer[rank] == truth))
            if self.feedback:
                given = self.cases.answers[int(work.answer[rank])]
                sent.append((solver, {"answer": given, "truth": self.cases.answers[truth]}))
            self._deal(rank)
        return sent

    def observe(self, tick: int, agents: NDArray[np.int32]) -> dict[str, NDArray[Any]]:
        """`left`, `spent` and `nth` of the case that each works on; `partner`, of solvers and holders."""
        seats = np.minimum(agents, len(self._seats) - 1)  # newborns are no solvers
        ranks = np.where(agents < len(self._seats), self._seats[seats], ABSENT)
        on = (ranks != ABSENT) & (self.work.case[ranks] != ABSENT)
        return {
            "left": np.where(on, self.work.left[ranks], 0),
            "spent": np.where(on, self.work.spent[ranks], 0.0),
            "nth": np.where(on, self.work.nth[ranks], ABSENT),
            "partner": np.array([self._partner(one) for one in agents.tolist()], np.int64),
        }

    def _partner(self, agent: int) -> int:
        rank = self._rank.get(agent, self._held.get(agent))
        if rank is None or self.work.case[rank] == ABSENT or not len(self.holders):
            return ABSENT
        return int(self.holders[rank] if agent in self._rank else self.solvers[rank])

    @query
    def chart(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """`chart()`: {'known', 'words', 'open', 'answers', 'left', 'spent'} of a solver's case.

        `known` and `words` are what came to light by key; `open` the questions not yet asked, by act. Empty without a
        case.
        """
        return [self._chart(agent) for agent in agents]

    def _chart(self, agent: int) -> dict[str, Any]:
        rank = self._rank.get(int(agent))
        if rank is None or self.work.case[rank] == ABSENT:
            return {}
        work, facts = self.work, self.cases.facts
        known = np.flatnonzero(work.stage[rank] == KNOWN).tolist()
        told = {at: int(work.told[rank, at]) for at in known if work.told[rank, at] != ABSENT}
        asked: dict[str, list[str]] = {"ask": [], "examine": [], "order": []}
        for question, places in self.cases.questions.items():
            for how, names in asked.items():
                if any(facts[at].how == how and work.stage[rank, at] == HIDDEN for at in places):
                    names.append(question)
        return {
            "known": {facts[at].key: facts[at].levels[level] for at, level in told.items()},
            "words": {facts[at].key: self.cases.words(at, level) for at, level in told.items()},
            "open": asked,
            "answers": list(self.cases.answers),
            "left": int(work.left[rank]),
            "spent": float(work.spent[rank]),
        }

    @query
    def public(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
        """`public(of=)`: what came to light of another solver's case, by key, where it is for anyone."""
        found = []
        for one in args:
            rank = self._rank.get(one["of"]) if one.keys() == {"of"} and type(one["of"]) is int else None
            if rank is None:
                raise ValueError("public(of=) is asked with a solver's id")
            known = self._chart(one["of"]).get("known", {})
            found.append({key: level for key, level in known.items() if self._fact(key).to == "anyone"})
        return found

    def _fact(self, key: str) -> Any:
        return self.cases.facts[self.cases.keys[key]]

    @query
    def score(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
        """`score()`: {'answered', 'correct', 'questions', 'spent'} of the asking solver, sums over its cases so far."""
        names = ("answered", "correct", "questions", "spent")
        ranks = [self._rank.get(int(agent)) for agent in agents]
        return [
            dict(zip(names, self.work.totals[rank].tolist(), strict=True)) if rank is not None else {} for rank in ranks
        ]

    @query
    def kappa(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[float | None]:
        """`kappa(criterion=)`: how far the two judges agree on an item (Cohen's); None where nothing was judged."""
        return [self._kappa(**one) for one in args]

    def _kappa(self, /, *, criterion: Any = None, **rest: Any) -> float | None:
        if rest or type(criterion) is not str or criterion not in self.rubric:
            raise ValueError(f"kappa(criterion=) is asked with one of {sorted(self.rubric)}")
        found = self.agreement(criterion)
        return None if np.isnan(found) else found

    def agreement(self, criterion: str, weights: Literal["none", "linear", "quadratic"] = "none") -> float:
        """Cohen's kappa of the two judges on an item of the rubric; NaN where nothing was judged."""
        return cohen_kappa(self.scores[criterion], weights)

    def mean(self, column: str) -> float:
        """The mean over all cases answered so far of `correct`, `questions` or `spent`; NaN where there is none."""
        answered, *sums = self.work.totals.sum(axis=0).tolist()
        found = dict(zip(("correct", "questions", "spent"), sums, strict=True))
        if column not in found:
            raise ScenarioError(f"part '{self.name}': mean({column!r}) is of {', '.join(found)}")
        return found[column] / answered if answered else float("nan")

    def digest(self) -> bytes:
        """16 bytes over all that `state` gives; costs what changed."""
        return self.work.digest(self.records.digest(), {"due": self.due, "scores": self.scores})

    def state(self) -> dict[str, Any]:
        """The cases at work, results that are due, records, marks."""
        return {
            "work": self.work.state(),
            "due": [list(one) for one in self.due],
            "scores": {name: table.copy() for name, table in self.scores.items()},
            "records": self.records.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of a part with the same cases and solvers. Raises ScenarioError for another."""
        if np.shape(state["work"]["stage"]) != self.work.stage.shape:
            raise ScenarioError(f"part '{self.name}': the checkpoint is of other solvers or cases than these")
        self.work.restore(state["work"])
        self.due = [list(map(int, one)) for one in state["due"]]
        self.scores = {name: np.array(table, np.int64) for name, table in state["scores"].items()}
        self.records.restore(state["records"])
