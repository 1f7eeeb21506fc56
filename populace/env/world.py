"""The environment service's heart: a world of parts, with one snapshot a tick and one order of actions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.draws import WORLD, Draws
from populace.core.errors import ScenarioError
from populace.core.places import defined_at
from populace.core.roster import Roster
from populace.core.union import union
from populace.env.acts import Acting, in_columns
from populace.env.applying import Applied, OfAction, batches, named, not_given
from populace.env.fields import Fields
from populace.env.guarding import guard, is_nothing
from populace.env.part import (
    Action,
    Batch,
    LookFailed,
    Opening,
    Part,
    action,
    digester,
    handlers,
    query,
    signal,
    stands,
    unordered,
)
from populace.env.picked import Picked
from populace.env.plain import Shown, given_out, plain_column, shown_column
from populace.env.rounds import Exchange
from populace.env.signals import read_signal
from populace.env.turnover import Birth, Turnover, columns_of

__all__ = ["Action", "Batch", "LookFailed", "Opening", "Part", "Resolved", "World", "action", "query", "signal"]


TakeBorn = Callable[[str, Mapping[str, Sequence[Any]], NDArray[np.int32]], None]
"""Is told of births: a type, the newborns' columns, and their ids."""

NOBODY: Final[NDArray[np.int32]] = np.empty(0, np.int32)


class Resolved(msgspec.Struct):
    """What the end of a tick brought: messages (to_agent, body) in order, and what became of the actions.

    Every action is either applied (counted) or refused: `reasons` has why by its place in `actions`, in order.
    `digests` are those of the parts' states at the tick's end, by name, before levers act in the next; empty where
    none were wanted. `born` are the births, whose agents have the ids `newborn`, and `left` who leaves; both take
    effect in the next tick.
    """

    emissions: list[tuple[int, Any]]
    applied: int
    actions: Acting
    reasons: dict[int, str]
    digests: dict[str, bytes] = {}
    born: list[Birth] = []
    newborn: NDArray[np.int32] = NOBODY
    left: NDArray[np.int32] = NOBODY

    @property
    def refused(self) -> list[tuple[Action, str]]:
        """The actions that were refused, each with the reason, in order."""
        return [(self.actions[at], reason) for at, reason in self.reasons.items()]


class World:
    """The parts of a world. Each is an attribute by its name: `world.network`, `world.feed`, `world.clock`.

    `columns` and `start` are the agents' public fields now and at tick 0, by name; `tick` is the tick that the
    snapshot belongs to; `agents` is how many agents there ever were (ids go from 0 to agents - 1), and `roster` who
    they are; `parameters` are the society's, as of this tick; `draw` gives the world's keyed streams of this tick;
    `actions`, `queries` and `signals` are all that agents can do and ask, and triggers read ('part.name'), `unordered`
    the actions that are marked `in_any_order`; `observes` is True where any part may show agents something,
    `consulting` are the parts that ask the model as a tick ends, and
    `exchanging` those that hold rounds within one. `at_edge(tick)` is called whenever the world comes to a tick, also
    by `restore`.
    """

    def __init__(self, *parts: Part) -> None:
        """A world of these parts, in this order, and of `Fields`. Raises ScenarioError for names that clash."""
        self.parts: dict[str, Part] = {}
        self.tick = 0
        self.agents = 0
        self.draw = Draws(0)
        self.parameters: Any = None
        self.at_edge: Callable[[int], None] | None = None
        self._edge: list[tuple[NDArray[np.int32], str, NDArray[Any]]] = []
        self._opening: Opening | None = None
        self._turnover: Turnover | None = None
        public = next((part for part in parts if isinstance(part, Fields)), None)
        self._columns = public or Fields()
        for part in (*parts, *(() if public else (self._columns,))):
            self._add(part)
        self.actions = self._names("action")
        self.unordered = frozenset(f"{name}.{act}" for name, part in self.parts.items() for act in unordered(part))
        self.queries = self._names("query")
        self.signals = self._names("signal")
        self.observes = bool(self._showing())
        self.exchanging = [part for part in self.parts.values() if type(part).round is not Part.round]
        self.consulting = [part for part in self.parts.values() if type(part).consult is not Part.consult]

    def _showing(self) -> list[Part]:
        return [part for part in self.parts.values() if type(part).observe is not Part.observe]

    @property
    def shows(self) -> list[str]:
        """The parts that show agents something with no lever that has them do so."""
        return [part.name for part in self._showing() if part.shows]

    def _names(self, mark: Literal["action", "query", "signal"]) -> frozenset[str]:
        return frozenset(f"{name}.{method}" for name, part in self.parts.items() for method in handlers(part, mark))

    def _add(self, part: Any) -> None:
        if not isinstance(part, Part):
            shown = f"the class {part.__name__}: write {part.__name__}()" if isinstance(part, type) else repr(part)[:60]
            raise ScenarioError(f"World(...) is made of parts, and was given {shown}")
        name = part.name
        if name in self.parts:
            raise ScenarioError(f"two parts are named '{name}'. Give one another name: {type(part).__name__}(name=...)")
        if not name.isidentifier() or name.startswith("_") or name in vars(self):
            raise ScenarioError(f"a part cannot be named '{name}': it is no name, or a world has such an attribute")
        if hasattr(type(self), name) and not isinstance(part, Fields):
            raise ScenarioError(f"a part cannot be named '{name}': a world has an attribute of that name")
        if "world" in vars(part):
            raise ScenarioError(f"part '{name}' already belongs to a world: make a new one for each world")
        part.world = self
        self.parts[name] = part

    def __getattr__(self, name: str) -> Any:
        parts = self.__dict__.get("parts", {})
        if name in parts:
            return parts[name]
        raise AttributeError(f"the world has no part '{name}'; there are: {', '.join(parts)}")

    @property
    def settable(self) -> dict[str, Mapping[str, Any]]:
        """What a lever can set, by part and name, each with its type."""
        return {name: part.settable for name, part in self.parts.items()}

    @property
    def columns(self) -> Mapping[str, Any]:
        """The agents' public fields as of the start of the tick, by name; read-only, and following the run.

        `world.columns["wealth"]`, or of a society with types `world.columns["firm"]["wealth"]`, is an array with a row
        for each agent of `world.ids()`, or `world.ids("firm")`.
        """
        return self._columns.values

    @property
    def start(self) -> Mapping[str, Any]:
        """The agents' public fields as of tick 0, as `columns` are."""
        return self._columns.start

    @property
    def roster(self) -> Roster:
        """Who there is: types and ids."""
        return self._columns.roster

    @property
    def public_names(self) -> tuple[str, ...]:
        """The names of all public fields, of any type."""
        return self._columns.names

    def ids(self, type: str | None = None) -> NDArray[np.int32]:  # noqa: A002
        """The ids of the agents who live, or of those of one type: int32, sorted, read-only."""
        return self.roster.ids(type)

    def spawn(
        self,
        type: str,  # noqa: A002
        columns: Mapping[str, Any] | None = None,
        n: int | None = None,
    ) -> NDArray[np.int32]:
        """Let agents of a type be born at the end of this tick; gives their ids, which nobody else ever has.

        `columns` are of their fields, `{"wealth": [1.0, 2.0]}` for two; with `n` they are one row, `{"wealth": 1.0}`,
        for each of so many. In a society with one class of agents the type is "agent". They live from the next tick on,
        and read what is sent to them now. Called by a part while a tick ends: in an action, in `consult` or in
        `advance`. Raises ScenarioError for a type or a field that there is not, and for values that do not fit.
        """
        rows, count = columns_of(columns, n)
        return self._now_ends("spawn").spawn(type, rows, count)

    def retire(self, agents: int | Iterable[int]) -> None:
        """Let these agents, one id or several, leave at the end of this tick; they take no turn from the next on.

        Mail to them is refused as 'retired', and their timers are dropped. Who has left already stays so. Called as
        `spawn` is. Raises ScenarioError for an agent that there is not.
        """
        self._now_ends("retire").retire(agents)

    def _now_ends(self, what: str) -> Turnover:
        if self._turnover is None:
            raise ScenarioError(
                f"world.{what}: agents are born and leave while a tick ends: call it in an action of a part, in "
                "`consult`, in `rounds_ended` or in `advance`"
            )
        return self._turnover

    def values_of(self, field: str, agents: Sequence[int] | NDArray[np.integer]) -> NDArray[Any]:
        """A public field of these agents, by id and of any types, in their order. Raises ScenarioError."""
        return self._columns.of_agents(field, agents)

    def signal(self, name: str) -> Any:
        """A signal now, 'part.name': one plain value, or a read-only array with a value for each agent that ever was.

        Raises ScenarioError, naming part and signal, when it fails, and for what is no signal.
        """
        self._opened()
        part, _, method = name.partition(".")
        return read_signal(name, getattr(self.parts[part], method), self.agents)

    def open(self, opening: Opening) -> None:
        """Open every part, in order. Raises ScenarioError when it was opened before, or when a part cannot open."""
        if self._opening is not None:
            raise ScenarioError("a world is opened once: make a new one for each run")
        if not 0 < opening.agents < 2**31:
            raise ScenarioError(f"a world has 1 to {2**31 - 1} agents, not {opening.agents}")
        self._opening = opening
        self.agents = opening.agents
        self.parameters = opening.parameters
        self.draw = Draws(opening.seed, WORLD, 0)
        for part in self.parts.values():
            guard(f"part '{part.name}', open", part.open, opening)

    def observe(self, agents: Sequence[int] | NDArray[np.integer]) -> list[dict[str, Any]]:
        """What each of `agents` sees of the snapshot, as one plain dict an agent with keys 'part.column'."""
        ids = np.asarray(agents, dtype=np.int32)
        columns = self.observe_plain(ids)
        if not columns:
            return [{} for _ in range(len(ids))]
        keys = tuple(columns)
        return [dict(zip(keys, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def observe_plain(self, agents: NDArray[np.int32], *, copied: bool = True) -> dict[str, Sequence[Any]]:
        """What each of `agents` sees, by 'part.column': lists of plain values, one an agent.

        Columns may be `Picked`, which have more than one agent see the same row, where they need not be `copied`.
        """
        size = len(agents)
        return {
            name: values
            if not copied and isinstance(values, Picked) and values.flat and len(values) == size
            else plain_column(at, values, size)
            for name, at, values in self._shown(agents)
        }

    def observe_columns(self, agents: NDArray[np.int32]) -> Shown:
        """What each of `agents` sees, as columns: arrays of int64, float64 or bool where numbers are, else lists."""
        return {name: shown_column(at, values, len(agents)) for name, at, values in self._shown(agents)}

    def _shown(self, ids: NDArray[np.int32]) -> Iterator[tuple[str, str, Any]]:
        """What the parts show these agents: 'part.column', where that comes from in words, its values."""
        self._opened()
        for part in self._showing():
            where = f"part '{part.name}', observe"
            seen = guard(where, part.observe, self.tick, ids)
            if is_nothing(seen):
                continue
            if not isinstance(seen, Mapping):
                raise ScenarioError(
                    f"{where} ({defined_at(part.observe)}) gives a {type(seen).__name__}: it has to give a dictionary "
                    'of columns, each with a value for every agent: {"paid": [...]}'
                )
            for name, values in seen.items():
                yield f"{part.name}.{name}", f"{where} ({defined_at(part.observe)}), column '{name}'", values

    def look(
        self, query: str, agents: Sequence[int], args: Sequence[dict[str, Any]], *, copied: bool = True
    ) -> Sequence[Any]:
        """Answer one query for several agents, each with its own arguments: one plain answer an agent.

        Answers may be parts of one another, and of what a part holds, where they need not be `copied`.
        `LookFailed` stands in place of an answer whose arguments are no good. Raises LookupError for a query that
        there is not, and ScenarioError, naming part, query and agents, when the part fails.
        """
        self._opened()
        if query not in self.queries:
            there = ", ".join(sorted(self.queries))
            raise LookupError(f"the world has no query '{query}'; there are: {there}")
        name, _, method = query.partition(".")
        return self._answers(query, getattr(self.parts[name], method), agents, args, copied)

    def _answers(
        self,
        query: str,
        handler: Callable[..., Any],
        agents: Sequence[int],
        args: Sequence[dict[str, Any]],
        copied: bool,
    ) -> Sequence[Any]:
        """The batch's answers; where its arguments are no good, the bad ones are found by halving."""
        where = f"query '{query}', {named(agents)}"
        try:
            answers = guard(where, handler, agents, args, passing=ValueError)
        except ValueError as error:
            if len(agents) == 1:
                return [LookFailed(query, str(error))]
            half = len(agents) // 2
            return [
                *self._answers(query, handler, agents[:half], args[:half], copied),
                *self._answers(query, handler, agents[half:], args[half:], copied),
            ]
        as_given = isinstance(answers, list) or (isinstance(answers, Picked) and answers.flat)
        if not copied and as_given and stands(handler) and len(answers) == len(agents):
            return answers  # type: ignore[no-any-return]
        return plain_column(f"{where} ({defined_at(handler)})", answers, len(agents))

    def put_reports(
        self, agents: NDArray[np.int32], fields: Mapping[str, Mapping[str, Sequence[Any] | NDArray[Any]]]
    ) -> NDArray[np.int32]:
        """`put_fields` by type: `fields` has columns of those of `agents` (sorted) that are of each type."""
        self._opened()
        return self._columns.report(agents, fields)

    def rows_of(self, agents: NDArray[np.int32]) -> dict[str, Any]:
        """What the table of agents shows of these: see `Fields.rows`."""
        return self._columns.rows(agents)

    def put_fields(
        self, agents: NDArray[np.int32], fields: Mapping[str, Sequence[Any] | NDArray[Any]]
    ) -> NDArray[np.int32]:
        """Set public fields of `agents`; gives those of which any value changed, sorted. NaN equals NaN."""
        self._opened()
        return self._columns.put(agents, fields)

    def change(
        self, agents: NDArray[np.int32], fields: Mapping[str, Sequence[Any] | NDArray[Any]]
    ) -> NDArray[np.int32]:
        """`put_fields` by a lever, at the tick's edge. `state` gives the world as it was without it."""
        changed = []
        for name, values in fields.items():
            rows = self._columns.having(name, agents)
            ids, own = agents[rows], [values[row] for row in rows.tolist()]
            self._edge.append((ids, name, self._columns.of_agents(name, ids)))
            changed.append(self.put_fields(ids, {name: own}))
        return union(*changed) if changed else np.empty(0, np.int32)

    def resolve(self, actions: Sequence[Action], *, digests: bool = False) -> Resolved:
        """Apply the tick's actions, given in the order in which they act, end the tick, and step to the next.

        Part after part takes its actions, in batches of consecutive ones of a kind; then each part's `advance`.
        With `digests`, the parts' states are digested as they stand then. Raises ScenarioError, naming part, action
        and agents, when a handler fails. No part consults the model here: see `apply` and `finish`.
        """
        return self.finish(self.apply(actions), digests=digests)

    def apply(self, actions: Sequence[Action]) -> Applied:
        """Apply the tick's actions; `finish` then ends the tick."""
        self._opened()
        assert self._opening is not None
        self._turnover = Turnover(self.roster, self._opening.newborn or self._columns.newborn)
        acting = in_columns(actions)
        reasons: dict[int, str] = dict.fromkeys(acting.unknown(self.actions), "unknown_action")
        emissions: list[tuple[int, Any]] = []
        for kind, places, batch, apart in batches(self.parts, self.tick, self.actions, acting):
            where, handler = OfAction(kind, batch), getattr(self.parts[kind.partition(".")[0]], kind.partition(".")[2])
            try:
                given = guard(where, handler, self.tick, batch)
                sent = self.messages(where, handler, given) if given is not None else []
            except ScenarioError as error:
                raise ScenarioError(f"{error}{not_given(kind, error.__cause__, batch)}") from error.__cause__
            if apart and sent:
                raise ScenarioError(f"{where}: sends messages, and its part said that it stands apart")
            emissions += sent
            if batch.refused:
                refused = batch.refused
                reasons.update(zip(places[list(refused)].tolist(), refused.values(), strict=True))
        return Applied(acting, emissions, reasons)

    def end_rounds(self, exchanges: Mapping[str, Sequence[Exchange]]) -> list[tuple[int, Any]]:
        """Let each part that holds rounds take what its groups came to in the tick; gives the parts' messages."""
        emissions: list[tuple[int, Any]] = []
        for part in self.exchanging:
            where = f"part '{part.name}', rounds_ended"
            given = guard(where, part.rounds_ended, self.tick, exchanges.get(part.name, []))
            emissions += self.messages(where, part.rounds_ended, given)
        return emissions

    def finish(self, applied: Applied, *, digests: bool = False, born: TakeBorn | None = None) -> Resolved:
        """End a tick whose actions are applied: each part's `advance`, births and exits, digests, the step to the next.

        `born` is told of births before levers act in the next tick.
        """
        actions, emissions, reasons = applied.actions, list(applied.emissions), applied.reasons
        for part in self.parts.values():
            where = f"part '{part.name}', advance"
            emissions += self.messages(where, part.advance, guard(where, part.advance, self.tick))
        turnover = self._now_ends("finish")
        newborn, left = self._turn_over(turnover, born)
        digested = self.digests() if digests else {}
        self._step(self.tick + 1)
        reasons = {at: reasons[at] for at in sorted(reasons)}
        return Resolved(
            emissions, len(actions) - len(reasons), actions, reasons, digested, turnover.born, newborn, left
        )

    def _turn_over(self, turnover: Turnover, born: TakeBorn | None) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Let agents be born and leave at the edge of the next tick; gives who."""
        self._turnover, edge = None, self.tick + 1
        newborn, left = np.arange(self.roster.size, turnover.size, dtype=np.int32), turnover.left
        if not (len(newborn) or len(left)):
            return newborn, left
        self._columns.retire(left, edge)
        if turnover.born:
            ids = self._columns.spawn(turnover.born, turnover.public, edge)
            ends = np.cumsum([birth.count for birth in turnover.born])
            for birth, public, own in zip(turnover.born, turnover.public, np.split(ids, ends[:-1]), strict=True):
                if born is not None:
                    born(birth.type, {**birth.columns, **public}, own)
        self.agents = self.roster.size
        for part in self.parts.values():
            for name, ids in (("grow", newborn), ("shrink", left)):
                if len(ids):
                    guard(f"part '{part.name}', {name}", getattr(part, name), ids)
        return newborn, left

    def digests(self) -> dict[str, bytes]:
        """16 bytes over each part's state as it is now, by name. Raises ScenarioError for a state of no plain data."""
        return {
            name: bytes(guard(f"part '{name}', digest of its state", digester(part)))
            for name, part in self.parts.items()
        }

    def messages(self, where: object, handler: Callable[..., Any], given: Any) -> list[tuple[int, Any]]:
        """The messages (to_agent, body) that a part's `handler` gave. Raises ScenarioError for what are none."""
        emitted = () if is_nothing(given) else given
        if not isinstance(emitted, Iterable) or isinstance(emitted, str | Mapping):
            raise ScenarioError(
                f"{where} ({defined_at(handler)}) gives a {type(emitted).__name__}: it has to give nothing, or "
                "messages as (to_agent, body)"
            )
        emitted = guard(where, list, emitted)
        if not emitted:
            return []
        sent = guard(f"{where}, messages", given_out, emitted)
        size = self.agents if self._turnover is None else self._turnover.size
        for one in sent:
            if not (isinstance(one, tuple) and len(one) == 2 and type(one[0]) is int and 0 <= one[0] < size):
                raise ScenarioError(
                    f"{where} ({defined_at(handler)}): emits (to_agent, body), with an id from 0 to "
                    f"{size - 1}, not {str(one)[:200]}"
                )
        return list(sent)

    def state(self) -> dict[str, Any]:
        """The world's state between two ticks, as plain data and NumPy arrays, before levers act in the next.

        They act anew when it is restored, so that another run, with other levers, can go on from it.
        """
        self._opened()
        edge = self._edge
        now = [(agents, name, self._columns.of_agents(name, agents)) for agents, name, _ in edge]
        for agents, name, values in reversed(edge):
            self.put_fields(agents, {name: values})
        state = self._state()
        for agents, name, values in now:
            self.put_fields(agents, {name: values})
        return state

    def _state(self) -> dict[str, Any]:
        return {
            "tick": self.tick,
            "parts": {name: guard(f"part '{name}', state", part.state) for name, part in self.parts.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take what `state` gave; open the world as that one was opened before. ScenarioError if it has other parts."""
        self._opened()
        if set(state["parts"]) != set(self.parts):
            raise ScenarioError(f"the checkpoint has the parts {sorted(state['parts'])}, not {sorted(self.parts)}")
        self._columns.restore_roster(state["parts"][self._columns.name])
        self.agents = self.roster.size
        for name, part in self.parts.items():
            guard(f"part '{name}', restore", part.restore, state["parts"][name])
        self._step(int(state["tick"]))

    def _step(self, tick: int) -> None:
        assert self._opening is not None
        self.tick = tick
        self.draw = Draws(self._opening.seed, WORLD, tick)
        self._edge = []
        if self.at_edge is not None:
            self.at_edge(tick)

    def _opened(self) -> None:
        if self._opening is None:
            raise ScenarioError("the world is not open: call world.open(Opening(...)) first")
