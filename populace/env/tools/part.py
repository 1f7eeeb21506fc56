"""Stateful tools as a part of the world: calls at desks, tasks graded by the state that they leave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.dealing import Dealer
from populace.env.digest import RowDigests, join_digests, state_digest
from populace.env.part import Batch, Opening, Part, action, query
from populace.env.ring import Ring
from populace.env.rounds import Exchange, GroupName, LastRound, Round
from populace.env.tools.desk import Desk
from populace.env.tools.domain import Domain, Task
from populace.env.tools.grading import pass_hat
from populace.env.tools.tables import Changes, View, difference
from populace.env.wholes import check_whole

NONE: Final = -1
HISTORY: Final = 100
"""How many of its last calls an agent's history has where all work on one database."""
RECORD: Final = {
    "tick": np.int32,
    "agent": np.int32,
    "nth": np.int32,
    "task": np.int32,
    "passed": np.bool_,
    "wrong": np.int32,
    "calls": np.int32,
    "refused": np.int32,
    "breaks": np.int32,
}
"""The columns of `Tools.records`: `wrong` counts values in which the end state differs from the goal."""


class Tools(Part):
    """Typed tools on a small database; what calls change is the run's, and a task is graded by the state it leaves.

    `agents` call with `call(tool=, args={...})` and end a task with `done()`. A call that is done comes back as a
    message {'tool', 'result', 'left': calls left}; one that is refused changes nothing, and tells why as {'tool',
    'refused', 'left'}: `unknown_tool`, `bad_arguments`, `no_calls_left`, `no_task`, `in_rounds`, the word of the tool,
    or the name of a rule that is enforced. A rule that isn't is counted where it is broken.

    With `tasks` each agent works at a desk of its own, on a database that begins anew with each task; tasks are dealt
    by keyed draws, each as often as any other, `series` of them to an agent (None: without end). Without, all work on
    one database, which lasts, their calls in the fair order of the tick. With `users` (as many as there are agents, or
    more) each agent has one, drawn when the world opens, who looks up `wish`; without, the agent does.

    With `within_tick` agent and user talk in a tick's rounds instead of by acts and mail: the agent contributes
    {'call': tool, 'args': {...}}, {'say': text} or {'done': True}, or None to listen, and hears {'tool', 'result' or
    'refused'} and {'said'}; the user contributes {'say': text} or {'done': True}. `done`, or one of them leaving to the
    end of the tick, ends the task. `populace.env.tools.serve` and `be_served` are loops for both sides.

    Agents see `tools.left` (calls), `tools.nth` (which task of their series, -1 for none), `tools.hard` (of their
    task, `Task.hard`) and `tools.partner` (an agent's user, a user's agent; -1 without a task); they look up `manual`.

    Levers may set `enforce` (whether every rule of the policy is enforced) and `calls`.
    """

    name = "tools"
    settable: Mapping[str, Any] = {"enforce": bool, "calls": int}
    rounds_per_tick = 200
    unsaved = ("_digests", "_touched", "_ended")

    def __init__(
        self,
        domain: Domain,
        tasks: Sequence[Task] = (),
        *,
        agents: Sequence[int] | None = None,
        users: Sequence[int] | None = None,
        series: int | None = 1,
        calls: int = 50,
        enforce: bool = False,
        within_tick: bool = False,
        keep: int = 100_000,
        name: str | None = None,
    ) -> None:
        """Raises ScenarioError for a task whose goal cannot be reached, and for rounds on a database that is shared."""
        super().__init__(name)
        check_whole(type(self).__name__, 0, calls=calls)
        check_whole(type(self).__name__, 1, keep=keep, series=1 if series is None else series)
        if within_tick and not tasks:
            raise ScenarioError("Tools(within_tick=True): rounds need tasks, each at a desk with a database of its own")
        self.domain = domain
        self.tasks = tuple(tasks)
        self.series = series
        self.calls = calls
        self.enforce = enforce
        self.within_tick = within_tick
        self.records = Ring("tasks", RECORD, keep)
        """A row a task that was ended."""
        self.goals = [domain.after(task.goal) for task in self.tasks]
        self._given = (agents, users)

    def open(self, opening: Opening) -> None:
        """Seat the agents and deal them their first tasks."""
        agents, users = self._given
        seated = list(range(opening.agents)) if agents is None else [int(one) for one in agents]
        everyone = [] if users is None else [int(one) for one in users]
        both = [*seated, *everyone]
        if not seated or len(set(both)) < len(both) or not all(0 <= one < opening.agents for one in both):
            raise ScenarioError(
                f"part '{self.name}': agents and users are different agents' ids from 0 to {opening.agents - 1}, "
                "and there is at least one agent"
            )
        if users is not None and len(everyone) < len(seated):
            raise ScenarioError(f"part '{self.name}': {len(everyone)} users for {len(seated)} agents: each needs one")
        opening.draw(f"{self.name}/users").shuffle(everyone)
        self.agents = tuple(seated)
        self.users = tuple(everyone[: len(seated)])
        self._desk_of = {agent: at for at, agent in enumerate(self.agents)}
        self._wisher = {user: at for at, user in enumerate(self.users or self.agents)}
        self._dealer = Dealer(opening.draw, f"{self.name}/deal", len(self.tasks), len(self.agents))
        self.passed = np.zeros(len(self.tasks), np.int64)
        self.tried = np.zeros(len(self.tasks), np.int64)
        self.broken = np.zeros(len(self.domain.policy), np.int64)
        """How often each rule of the policy was broken."""
        self.shared: Changes = {}
        self.desks = [Desk(left=self.calls) for _ in self.agents]
        self._digests = RowDigests("desks", "first", "second")
        self._touched: set[int] = set()
        self._ended: set[int] = set()
        for at in range(len(self.desks)):
            self._deal(at)

    def set_parameter(self, name: str, value: Any) -> None:
        """Take a value of `settable`; tasks that are dealt keep the calls that they were dealt with."""
        if name == "calls" and value < 0:
            raise ScenarioError("calls is at least 0")
        setattr(self, name, value)

    def _deal(self, at: int) -> None:
        nth = self.desks[at].nth + 1
        over = not self.tasks or (self.series is not None and nth >= self.series)
        task = NONE if over else self._dealer.thing(nth, at)
        self._put(at, Desk(nth=nth, task=task, left=self.calls))

    def _put(self, at: int, desk: Desk) -> None:
        self.desks[at] = desk
        self._touched.add(at)
        if desk.over:
            self._ended.add(at)

    def _busy(self, batch: Batch, i: int, agent: int) -> int | None:
        """The desk of an agent that may act; else the action is refused."""
        at = self._desk_of.get(agent)
        if self.within_tick:
            batch.refuse(i, "in_rounds")
        elif at is None or (self.tasks and (self.desks[at].task == NONE or self.desks[at].over)):
            batch.refuse(i, "no_task")
        return None if i in batch.refused else at

    @action
    def call(self, tick: int, batch: Batch) -> list[tuple[int, Any]]:
        """`call(tool=, args={...})`: call a tool."""
        sent: list[tuple[int, Any]] = []
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            at = self._busy(batch, i, agent)
            if at is None:
                continue
            if not {"tool"} <= args.keys() <= {"tool", "args"}:
                batch.refuse(i, "bad_arguments")
                continue
            desk = self.desks[at].copy()
            if not self.tasks:
                desk.left, desk.breaks, desk.changes = 1, {}, self.shared
            told = desk.make(self.domain, args["tool"], args.get("args", {}), enforce=self.enforce)
            sent.append((agent, {**told, "left": desk.left}))
            if "refused" in told:
                batch.refuse(i, told["refused"])
                continue
            if not self.tasks:
                self._count(desk)
                self.shared = desk.changes
                desk.changes, desk.history = {}, desk.history[-HISTORY:]
            self._put(at, desk)
        return sent

    @action
    def done(self, tick: int, batch: Batch) -> None:
        """`done()`: the task is done, or given up."""
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            at = self._busy(batch, i, agent)
            if at is None:
                continue
            if args or not self.tasks:
                batch.refuse(i, "bad_arguments" if args else "no_task")
                continue
            desk = self.desks[at].copy()
            desk.over = True
            self._put(at, desk)

    def _count(self, desk: Desk) -> None:
        for place, rule in enumerate(self.domain.policy):
            self.broken[place] += desk.breaks.get(rule.name, 0)

    def groups(self, tick: int) -> Mapping[GroupName, Iterable[int]]:
        """An agent with a task, and its user, are a group of the agent's id."""
        if not self.within_tick:
            return {}
        return {
            agent: [agent, self.users[at]] if self.users else [agent]
            for at, agent in enumerate(self.agents)
            if self.desks[at].task != NONE
        }

    def _replayed(self, group: Any, said: Sequence[Mapping[int, Any]]) -> tuple[Desk, dict[int, Any]]:
        """The desk after these rounds, and what was heard in the last of them."""
        at = self._desk_of[int(group)]
        agent, user = int(group), self.users[at] if self.users else NONE
        desk = self.desks[at].copy()
        heard: dict[int, Any] = {}
        for one in said:
            heard = {agent: {}, user: {}}
            mine, theirs = one.get(agent), one.get(user)
            if isinstance(mine, dict):
                if "call" in mine:
                    heard[agent] |= desk.make(self.domain, mine["call"], mine.get("args", {}), enforce=self.enforce)
                if type(mine.get("say")) is str:
                    heard[user]["said"] = mine["say"]
                desk.over |= mine.get("done") is True
            if isinstance(theirs, dict):
                if type(theirs.get("say")) is str:
                    heard[agent]["said"] = theirs["say"]
                desk.over |= theirs.get("done") is True
            heard[agent]["left"] = desk.left
        return desk, heard

    def round(self, now: Round) -> Mapping[int, Any] | LastRound:
        """What the agent and its user hear of a round; `done` ends the exchange."""
        desk, heard = self._replayed(now.group, [*now.before, now.said])
        for body in heard.values():
            body["over"] = desk.over or now.last
        heard = {agent: body for agent, body in heard.items() if agent in now.said}
        return LastRound(heard, "done") if desk.over else heard

    def rounds_ended(self, tick: int, exchanges: Sequence[Exchange]) -> None:
        """Take what was called; the tasks are ended."""
        for one in exchanges:
            desk, _ = self._replayed(one.group, one.said)
            desk.over = True
            self._put(self._desk_of[int(one.group)], desk)

    def advance(self, tick: int) -> None:
        """Grade the tasks that were ended, and deal the next ones."""
        for at in sorted(self._ended):
            desk = self.desks[at]
            wrong = len(difference(self.domain.base, desk.changes, self.goals[desk.task]))
            self.tried[desk.task] += 1
            self.passed[desk.task] += wrong == 0
            self._count(desk)
            self.records.add(
                tick=tick, agent=self.agents[at], nth=desk.nth, task=desk.task, passed=wrong == 0, wrong=wrong,
                calls=desk.calls, refused=desk.refused, breaks=sum(desk.breaks.values()),
            )  # fmt: skip
            self._deal(at)
        self._ended = set()

    def pass_hat(self, k: int) -> float:
        """pass^k over the tasks ended so far (`populace.env.pass_hat`); NaN where none was tried k times."""
        return pass_hat(self.passed, self.tried, k)

    def mean(self, column: str) -> float:
        """The mean of a column of `records` (passed, wrong, calls, refused, breaks) of the kept tasks; NaN of none."""
        if column not in ("passed", "wrong", "calls", "refused", "breaks"):
            raise ScenarioError(f"part '{self.name}': mean({column!r}) is of passed, wrong, calls, refused or breaks")
        return float(np.mean(self.records.columns()[column])) if self.records.written else float("nan")

    def view(self, agent: int | None = None) -> View:
        """The database as it is at an agent's desk, or the one that all share."""
        if not self.tasks:
            return View(self.domain.base, self.shared)
        if agent not in self._desk_of:
            raise ScenarioError(f"part '{self.name}': view(agent) is asked with one of its agents, got {agent!r}")
        return View(self.domain.base, self.desks[self._desk_of[agent]].changes)

    def observe(self, tick: int, agents: NDArray[np.int32]) -> dict[str, NDArray[Any]]:
        """`left`, `nth` and `hard` of the task that each works on; `partner`, of agents and users."""
        places = [self._desk_of.get(agent, NONE) for agent in agents.tolist()]
        left = [self.desks[at].left if at != NONE else 0 for at in places]
        nth = [self.desks[at].nth if at != NONE and self.desks[at].task != NONE else NONE for at in places]
        hard = [
            self.tasks[self.desks[at].task].hard if one != NONE else 0.0 for at, one in zip(places, nth, strict=True)
        ]
        partners = np.array([self._partner(agent) for agent in agents.tolist()], np.int64)
        plain = {"left": np.array(left, np.int64), "nth": np.array(nth, np.int64), "hard": np.array(hard)}
        return {**plain, "partner": partners}

    def _partner(self, agent: int) -> int:
        at = self._desk_of.get(agent, self._wisher.get(agent, NONE))
        if at == NONE or self.desks[at].task == NONE or not self.users:
            return NONE
        return self.users[at] if agent in self._desk_of else self.agents[at]

    @query
    def manual(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
        """`manual()`: {'tools': a line each, 'policy': a line each}."""
        told = {"tools": self.domain.manual(), "policy": self.domain.policy_text()}
        return [told] * len(agents)

    @query
    def wish(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """`wish()`: {'wish', 'facts'} of the task, to its user, or without users to the agent. Empty without a task."""
        found: list[dict[str, Any]] = []
        for agent in agents:
            at = self._wisher.get(int(agent))
            task = NONE if at is None else self.desks[at].task
            found.append({} if task == NONE else {"wish": self.tasks[task].wish, "facts": self.tasks[task].facts})
        return found

    def digest(self) -> bytes:
        """16 bytes over all that `state` gives; a desk's are taken anew where it changed."""
        rows = np.array(sorted(self._touched), np.int64)
        words = b"".join(state_digest(self.desks[at].plain()) for at in rows.tolist())
        first, second = np.frombuffer(words, "<u8").reshape(-1, 2).T
        self._digests.put(rows, rows, first, second)
        self._touched = set()
        counts = [Desk(changes=self.shared).plain(), self.passed, self.tried, self.broken]
        return join_digests(self._digests.digest(), self.records.digest(), state_digest({"counts": counts}))

    def state(self) -> dict[str, Any]:
        """The desks, the database that is shared, counts and records."""
        return {
            "desks": [desk.plain() for desk in self.desks],
            "shared": Desk(changes=self.shared).plain(),
            "passed": self.passed.copy(),
            "tried": self.tried.copy(),
            "broken": self.broken.copy(),
            "records": self.records.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of a part with the same agents and tasks. Raises ScenarioError for another."""
        if len(state["desks"]) != len(self.desks) or len(state["tried"]) != len(self.tasks):
            raise ScenarioError(f"part '{self.name}': the checkpoint is of other agents or tasks than these")
        self.desks = [Desk.of(one) for one in state["desks"]]
        self.shared = Desk.of(state["shared"]).changes
        self.passed, self.tried = np.array(state["passed"], np.int64), np.array(state["tried"], np.int64)
        self.broken = np.array(state["broken"], np.int64)
        self.records.restore(state["records"])
        self._digests = RowDigests("desks", "first", "second")
        self._touched, self._ended = set(range(len(self.desks))), set()
