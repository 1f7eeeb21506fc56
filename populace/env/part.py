"""A part of the world: what it sees at the opening, which actions it takes, which questions it answers.

A part owns state that agents share. Write one by subclassing `Part`:

```python
class Fund(Part):
    def open(self, opening):
        self.paid = np.zeros(opening.agents)

    def observe(self, tick, agents):
        return {"paid": self.paid[agents], "total": [float(self.paid.sum())] * len(agents)}

    @action
    def pay(self, tick, batch):
        for i, (agent, args) in enumerate(zip(batch.agents, batch.args)):
            if args["amount"] <= 0:
                batch.refuse(i, "not_positive")
            else:
                self.paid[agent] += args["amount"] * (1.0 - self.world.parameters.fee)

    @query
    def paid_by(self, agents, args):
        return [float(self.paid[one["agent"]]) for one in args]

    def state(self):
        return {"paid": self.paid}

    def restore(self, state):
        self.paid = state["paid"].copy()
```

An agent sees `ctx.seen["fund.paid"]`, acts with `ctx.act("fund.pay", amount=3.0)` and asks with
`await ctx.look("fund.paid_by", agent=7)`.

The society's parameters are read where they are used, as `self.world.parameters`: a lever may set them, and what
`open` keeps of `opening.parameters` would not follow. All that a part changes stands in its `state`, or is named in
`unsaved` (a cache).

A part may ask the model as the tick ends, in `async def consult(self, ctx)`: a moderator, a judge, a game master.

A part is pure: no clock, no I/O, no global random numbers. What it draws comes from `self.world.draw(purpose)`,
with the part's name in the purpose. What it gives out is plain data (None, bool, int, float, str, bytes, lists,
dicts) or NumPy arrays of them, never a set, since a set has no order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.draws import Draws
from populace.env.digest import state_digest
from populace.env.rounds import Exchange, GroupName, LastRound, Round
from populace.env.turnover import Newborn

if TYPE_CHECKING:
    from populace.env.world import World

Handler = TypeVar("Handler", bound=Callable[..., Any])

_MARK = "_populace_handles"
_ANY_ORDER = "_populace_in_any_order"
_STANDS = "_populace_stands"
_NOWHERE = np.empty(0, np.intp)
FIRST, LAST = -1, 1
"""Where actions that stand apart are taken: before the part's others, or after them."""


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """What a world is opened with, once, before tick 0.

    `agents` is how many there are (ids 0 to agents - 1); `tick_seconds` is the simulated length of a tick;
    `parameters` are the society's; `columns` holds the initial values of the agents' fields, one for each agent;
    `fields` says which of them are public, and of which type (float, int, bool, str); `draw` gives the world's
    keyed streams for the opening. In a society with types, `counts` says how many there are of each, in their order
    (ids of the first type begin at 0), and `columns` and `fields` are by type. `newborn` tries agents who are to be
    born; without it, their public fields are tried alone.
    """

    agents: int
    seed: int
    tick_seconds: float
    parameters: Any
    columns: Mapping[str, Any]
    draw: Draws
    fields: Mapping[str, Any] = {}
    counts: Mapping[str, int] = {}
    newborn: Newborn | None = None


class Action(msgspec.Struct, frozen=True):
    """One action of one agent: its `nth` of the tick; `kind` is 'part.action'."""

    agent: int
    nth: int
    kind: str
    args: dict[str, Any]


class Batch:
    """Consecutive actions of one kind, in the order in which they act: `agents` (int32) and `args`, aligned.

    `args` has the arguments of each action as a dictionary, `column(name)` one argument of all of them as an array:
    where agents act in columns, that costs no Python an action.
    """

    __slots__ = ("_args", "agents", "at", "refused")

    def __init__(self, agents: NDArray[np.int32], args: list[dict[str, Any]] | None) -> None:
        self.agents = agents
        self.at: NDArray[np.intp] = _NOWHERE
        """Where each stands among all that acts on the part in the tick; told where `Part.apart` is asked."""
        self._args = args
        self.refused: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.agents)

    @property
    def args(self) -> list[dict[str, Any]]:
        """The arguments of each action."""
        if self._args is None:
            self._args = self._make()
        return self._args

    def _make(self) -> list[dict[str, Any]]:
        return [{}] * len(self.agents)

    def column(self, name: str) -> NDArray[Any]:
        """An argument of all actions, in their order. Raises KeyError where one has none of that name."""
        return np.array([one[name] for one in self.args])

    def alike(self, name: str) -> NDArray[Any] | None:
        """An argument as `column` gives it, where that changes no value: None where one has none, or types differ.

        A column of 5 and True would be of 5 and 1, one of 5 and 2.5 of floats, one of 5 and "a" of texts: what one
        agent gives would change what another one gave.
        """
        if self.in_columns() is None and len({type(one.get(name)) for one in self.args}) != 1:
            return None
        try:
            return self.column(name)
        except (KeyError, ValueError):  # one has none, or lists of several lengths
            return None

    def in_columns(self) -> frozenset[str] | None:
        """The arguments' names, where all these actions were taken in columns and have the same ones; else None.

        Then `column` gives each of them as it was given, with no Python an action; else arguments are of any type.
        """
        return None

    def refuse(self, i: int, reason: str) -> None:
        """Refuse the action at place `i`; it must have changed nothing. The first reason stands.

        `reason` is one word that counts can be grouped by, such as 'unknown_target'.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"refuse({i}, {reason!r}): the batch has {len(self)} actions")
        if not reason.isidentifier():
            raise ValueError(f"refuse({i}, {reason!r}): a reason is one word, for example 'unknown_target'")
        self.refused.setdefault(i, reason)

    def refuse_all(self, which: NDArray[np.bool_], reason: str) -> None:
        """Refuse the actions where `which`, a mask over the batch, is true; see `refuse`."""
        rows = np.flatnonzero(which).tolist()
        if rows:
            self.refuse(rows[-1], reason)
            self.refused = dict.fromkeys(rows, reason) | self.refused


class LookFailed(msgspec.Struct, frozen=True):
    """What stands in place of an answer when a query could not use the arguments that an agent gave it."""

    query: str
    reason: str


def action(method: Handler) -> Handler:
    """Mark a method `(self, tick, batch)` of a part as the handler of the action that bears its name.

    It applies the batch in order, refuses what it must with `batch.refuse(i, reason)`, and may give back or yield
    messages as (to_agent, body). An exception in it is an error in the society's code and ends the run.
    """
    setattr(method, _MARK, "action")
    return method


def in_any_order(method: Handler) -> Handler:
    """Mark an action, below `@action`, of which a batch comes to the same in every order: gifts that only add up.

    Where it is the only kind that acts on the part in a tick, no fair order is drawn: the batch stands in the order
    (agent, nth). An action that is refused by what came before it, or whose messages go by their place, is none.
    """
    setattr(method, _ANY_ORDER, True)
    return method


def query(method: Handler) -> Handler:
    """Mark a method `(self, agents, args)` of a part as the query that bears its name.

    It changes nothing and gives one plain answer for each asking agent. ValueError says that the arguments of an
    agent are no good: it fails that agent's look only. Any other exception is an error in the society's code.
    """
    setattr(method, _MARK, "query")
    return method


def as_it_stands(method: Handler) -> Handler:
    """Mark a query, below `@query`, whose answers are plain data already: what is packed at once need not be copied.

    Other queries' answers are copied as plain data first, which may take as long as making them.
    """
    setattr(method, _STANDS, True)
    return method


def stands(method: Callable[..., Any]) -> bool:
    """Whether a query is marked so."""
    return getattr(method, _STANDS, False) is True


def signal(method: Handler) -> Handler:
    """Mark a method `(self)` of a part as the signal that bears its name: what triggers of levers go by.

    It changes nothing, and gives one value (bool, int, float, str), or an array or list of such with one for each agent
    that ever was, by id: `world.agents` of them. It is called at the edge between two ticks, only where a lever reads
    it: `when = { world = { "weather.wind" = { min = 30 } } }`.
    """
    setattr(method, _MARK, "signal")
    return method


class Part:
    """Base class of the parts of a world; see the module for an example.

    `name` is unique in a world. It is the class's attribute, the class's name in lower case where it has none, or
    what the constructor is given. `world` is the world that the part belongs to, from `World(...)` on. `settable`
    names the attributes that a lever may set while the run goes on, each with its type. The part itself leaves these
    as they were made, and out of its `state`: what holds in a tick follows from the levers. `unsaved` names the
    attributes that `state` leaves out although they change: what follows from the rest (a cache, an index), or lives
    within one tick. All else that changes is saved: a part is tried for it when a run begins and while it lasts.

    `rounds_per_tick` is how many rounds a group may hold in a tick, where the part holds rounds. `heeds_blocks` says
    that its `round` lets nobody hear what `now.blocked` keeps from them: without, a run with a lever that blocks is
    refused, since it would be blocked in the mail and heard in rounds.

    `shows` is False for a part whose `observe` gives nothing as long as no lever sets it otherwise: where no part of a
    world shows anything, no tick waits for what agents see. One that begins to show something by itself then
    ends the run with ScenarioError.

    The society's parameters are `self.world.parameters`, those of the tick. A part that keeps `opening.parameters`
    is refused, since a lever would not reach it.
    """

    name: str = ""
    world: World
    settable: Mapping[str, Any] = {}
    rounds_per_tick: int = 100
    heeds_blocks: bool = False
    shows: bool = True
    unsaved: Collection[str] = ()

    def __init__(self, name: str | None = None) -> None:
        if name is not None:
            self.name = name

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.name:
            cls.name = cls.__name__.lower()

    def open(self, opening: Opening) -> None:
        """Make the part's state as of the start of tick 0. Called once, in the order of the parts."""

    def apart(self, tick: int, acts: Mapping[str, Batch]) -> Mapping[str, NDArray[np.bool_ | np.int8]]:
        """Which actions of a tick stand apart, by the name of the action: for each of the batch of all of that name.

        It is FIRST (-1) for those to be taken before the part's others, LAST (1) for those to be taken after them, and
        0 for those that are taken in order (int8); a mask says LAST. What stands apart is taken all of a name at once,
        in its order; else an action of another name in between ends a batch. It sends no message, and it and all others
        come to the same there as at its turn. It is asked before the first action of the tick, where there are several
        names, and changes nothing; `Batch.at` says where actions stand among one another.
        """
        return {}

    def observe(self, tick: int, agents: NDArray[np.int32]) -> Mapping[str, Sequence[Any] | NDArray[Any]] | None:
        """What these agents see, as columns aligned with `agents`; None where there is nothing to see."""
        return None

    def groups(self, tick: int) -> Mapping[GroupName, Iterable[int]]:
        """Who holds rounds with whom in this tick: the members' ids by the group's name, from the snapshot.

        Members that take no turn in the tick have left their group. An agent may be in several groups, and goes through
        them in their order. It changes nothing.
        """
        return {}

    def round(self, now: Round) -> Mapping[int, Any] | LastRound:
        """What each member hears of a round, by member (None where there is nothing); `LastRound` closes the exchange.

        A part that has this method holds rounds: `heard = await ctx.round("talk", "Good morning")` goes on once every
        member of the agent's group has contributed or left. It changes nothing, and goes by `now` and the snapshot:
        what the part keeps it takes in `rounds_ended`. `self.world.draw` gives the round's own streams here.
        """
        return {}

    def rounds_ended(self, tick: int, exchanges: Sequence[Exchange]) -> Iterable[tuple[int, Any]] | None:
        """Take what the groups came to, as the tick ends: after its actions, before any part consults or advances.

        Groups that held no round are left out. It may give back or yield messages as (to_agent, body).
        """
        return None

    async def consult(self, ctx: Any) -> Iterable[tuple[int, Any]] | None:
        """Ask the model as the tick ends, after all its actions and before any part's `advance`.

        `ctx` is a `populace.Consultation`. A part may change its own state here, and give back messages as
        (to_agent, body). Parts consult one after another, in the order in which the world has them, so that each sees
        what those before it made of the tick. It may await `ctx.ask` and `ctx.ask_all` only.
        """
        return None

    def advance(self, tick: int) -> Iterable[tuple[int, Any]] | None:
        """End the tick, after its actions; give back or yield messages as (to_agent, body)."""
        return None

    def grow(self, ids: NDArray[np.int32]) -> None:
        """Agents with these ids, the next ones, are born: make room for what the part keeps of each.

        It is called at the end of a tick, after every `advance`, and the agents live from the next tick on. By then
        `self.world.agents` counts them, and `self.world.values_of` gives their public fields.
        """

    def shrink(self, ids: NDArray[np.int32]) -> None:
        """Agents with these ids leave; called as `grow` is. What the part keeps by id stays where it is."""

    def table_rows(self, opening: bool) -> Mapping[str, Mapping[str, Any]]:
        """Rows for tables of the run (`populace.core.tables.PART_TABLES`), by table and column.

        All that there is as the run begins (`opening`), and what a tick changed after its end, births and exits
        included. `tick` and `part` are left out: they are added. It changes nothing.
        """
        return {}

    def set_parameter(self, name: str, value: Any) -> None:
        """Take a value of `settable`, at a tick's edge; also one that the attribute had before.

        Raises ScenarioError or ValueError for a value that the part cannot have.
        """
        setattr(self, name, value)

    def state(self) -> dict[str, Any]:
        """The part's state as plain data and NumPy arrays (no object arrays), for a checkpoint."""
        return {}

    def digest(self) -> bytes:
        """16 bytes over all that `state` gives, at every tick's end, for the world's hash.

        This one takes the whole `state()` each time: about 1 ms a megabyte of arrays, and 1 ms for some thousands of
        plain values. Where that is too much, keep `populace.env.RowDigests` and tell them the rows that change.
        """
        return state_digest(self.state())

    def restore(self, state: dict[str, Any]) -> None:
        """Take the state that `state` gave; the part has been opened before. Copy what will be changed."""


def handlers(part: Part, mark: Literal["action", "query", "signal"]) -> list[str]:
    """The names of a part's methods that are marked so, sorted."""
    cls = type(part)
    return [name for name in dir(cls) if getattr(getattr(cls, name), _MARK, None) == mark]


def unordered(part: Part) -> list[str]:
    """The names of a part's actions that are marked `in_any_order`, sorted."""
    return [name for name in handlers(part, "action") if getattr(getattr(part, name), _ANY_ORDER, False) is True]


def digester(part: Part) -> Callable[[], bytes]:
    """What digests a part's state: its own method, unless a subclass has a `state` of its own that it cannot know."""
    owner = next(cls for cls in type(part).__mro__ if "state" in vars(cls) or "digest" in vars(cls))
    return part.digest if "digest" in vars(owner) else partial(Part.digest, part)
