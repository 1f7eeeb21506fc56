"""The environment service: owns the world, shows it, applies a tick's actions in their order, measures outcomes.

Pure: a transport carries it. What it shows leaves it packed, so that a turn can neither change the world nor see
other types in one process than in several.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, Final

import msgpack
import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.agents.context import Scope
from populace.agents.surrogate.policy import Policy
from populace.core.claims import Claim
from populace.core.draws import WORLD
from populace.core.errors import ActorLost, ScenarioError, StaleOrder, TransportError
from populace.core.places import defined_at, raised_at
from populace.core.records import Answer, Ask, Counts, Look
from populace.core.rounds import Contribution, Heard
from populace.core.tables import TableRows
from populace.core.trace import DIGEST_BYTES, TRACE_VERSION
from populace.core.union import union
from populace.env import World
from populace.env.acts import Acting
from populace.env.applying import Applied
from populace.env.fields import no_column
from populace.env.part import LookFailed
from populace.env.picked import Picked
from populace.env.plain import Shown, unwritten
from populace.interventions.at_work import NO_LEVERS, Levers
from populace.interventions.groups import Membership
from populace.kernel.actions import put_in_order, refusals, taken_singly
from populace.kernel.bus import (
    Envelope,
    Outgoing,
    check_complete,
    count_messages,
    distinct,
    route,
)
from populace.kernel.consulting import Consulting
from populace.kernel.edge import Edge, pack_edge, packed_firings, packed_groups, told
from populace.kernel.events import AskModel
from populace.kernel.looks import Looks, gathered
from populace.kernel.packing import pack_seen, pack_values
from populace.kernel.pulling import Pulling
from populace.kernel.reports import Reports, WorldDone
from populace.kernel.rounds import Rounds
from populace.kernel.rows import Unmade, action_rows, ask_rows, join, part_rows, round_rows, turnover_rows
from populace.kernel.sharing import Sharing
from populace.kernel.snapshot import Era, scope_at
from populace.kernel.surrogates import Surrogates
from populace.kernel.trial import check_parts, is_sample, try_world
from populace.kernel.turn import said_of

_pack: Final = msgpack.Packer(autoreset=True).pack


class _Closing(msgspec.Struct):
    """A tick that is being closed: its actions are applied, and parts may have yet to be answered."""

    tick: int
    actions: Acting
    applied: Applied
    changed: list[NDArray[np.int32]]
    seal: bytes
    touched: TableRows
    rounds: Counts
    rows: dict[str, TableRows]
    consulting: Consulting | None = None
    sharing: Sharing | None = None


class Environment:
    """Wraps an opened world for a run of `shards` shards and of this trace version. `attempt` counts its restarts.

    Levers act whenever the world comes to a tick: now, at a tick's end, and when it is restored. A world with parts
    that consult the model needs the `scope` of what they ask; `eras` are those of a fork's past.
    """

    def __init__(
        self,
        world: World,
        outcomes: Mapping[str, Callable[[World], float]],
        *,
        shards: int,
        frame_bytes: int,
        attempt: int = 0,
        levers: Levers = NO_LEVERS,
        membership: Membership | None = None,
        record_actions: bool = False,
        record_asks: bool = False,
        record_rounds: bool = False,
        part_tables: Collection[str] = (),
        trace_version: int = TRACE_VERSION,
        scope: Scope | None = None,
        eras: Sequence[Era] = (),
    ) -> None:
        self.world = world
        self._record_actions = record_actions
        self._record_asks = record_asks
        self._record_rounds = record_rounds
        self.part_tables = part_tables
        self._scope = scope
        self._eras = eras
        self._seed = 0 if scope is None else scope.seed
        self._closing: _Closing | None = None
        self._rounds: Rounds | None = None
        self._sharing: dict[int, Sharing] = {}
        """By tick: turns may have begun in some that are to come."""
        self.surrogates = Surrogates()
        self.outcomes = outcomes
        self._warned: dict[str, str] = {}
        """What outcomes have warned of, and how that is told; nothing once it was."""
        self.attempt = attempt
        self.trace_version = trace_version
        self.anew: Callable[[], Environment] | None = None
        self._shards = shards
        self._frame_bytes = frame_bytes
        self._last: WorldDone | None = None
        self._shows = bool(world.shows)
        """Whether any part showed agents something when the run began: else, and without levers, no shard asks."""
        self._pulling = Pulling(world, levers, membership, lambda name: self.measure((name,))[name])
        if levers:
            world.at_edge = self._pulling.enter
            self._pulling.enter(world.tick)

    @property
    def observes(self) -> bool:
        """Whether shards have to ask what agents see, before turns begin."""
        return bool(self.world.shows) or (self.world.observes and bool(self._pulling.levers))

    def try_parts(self) -> None:
        """Try that the world comes back from a checkpoint, with another that is built anew (`kernel.trial`).

        Raises ScenarioError, naming part and attribute, where it would be another.
        """
        if self.anew is not None:
            if self.world.tick == 0:
                check_parts(self.world, self._pulling.parameters)
                self.world.state()  # what is made only when it is asked for is made before there is another world
            again = self.anew()
            again.follow(self)
            try_world(self.world, again.world)

    def follow(self, other: Environment) -> None:
        """Have levers stand where those of another environment stand."""
        self._pulling.follow(other._pulling)

    def rehearse(self) -> None:
        """Read all that levers go by, and set all that they will set, in their order.

        Raises SettingsError, naming the lever, for what cannot be read, and ScenarioError for what a part refuses.
        """
        self._pulling.check(list(self.outcomes))
        self._pulling.rehearse()

    def measure(self, names: Collection[str] | None = None) -> dict[str, float]:
        """The outcomes now, or some. Raises ScenarioError, naming the outcome, for one that fails or is no number."""
        was, caught = warnings.showwarning, list[str]()
        warnings.showwarning = lambda message, of, *_: caught.append(f"{of.__name__}: {message}")
        try:
            return self._measure(caught, self.outcomes if names is None else names)
        finally:
            warnings.showwarning = was

    def _measure(self, caught: Sequence[str], names: Iterable[str]) -> dict[str, float]:
        values: dict[str, float] = {}
        for name in names:
            outcome = self.outcomes[name]
            warned = len(caught)
            try:
                value = outcome(self.world)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                place = raised_at(error, outcome)
                where = f", at {place}" if place else ""
                there = ""
                if isinstance(error, KeyError):
                    there = no_column(self.world, error)
                raise ScenarioError(f"outcome {name!r}: {type(error).__name__}: {error}{where}{there}") from error
            try:
                values[name] = float(value)
            except (TypeError, ValueError):
                place = defined_at(outcome)
                where = f" ({place})" if place else ""
                given = "None: is a `return` missing?" if value is None else f"a {type(value).__name__}."
                raise ScenarioError(f"outcome {name!r}{where} has to give one number, and gives {given}") from None
            for one in caught[warned:]:
                self._warn(name, one, values[name])
        return values

    def _warn(self, name: str, warned: str, value: float) -> None:
        """Keep a warning to be told at the tick's end, unless this outcome has given it before."""
        said = f"outcome {name!r}: {warned}"
        if said not in self._warned:
            self._warned[said] = f"{said}; at tick {self.world.tick} it is {value:g}"

    def observe(self, agents: NDArray[np.int32], attempt: int = 0) -> bytes:
        """What each of these agents sees, packed (`read_seen`). Raises StaleOrder for a shard of another attempt."""
        self._check_attempt("what agents see was asked", attempt)
        return pack_seen(len(agents), self.world.observe_plain(agents, copied=False))

    def observe_columns(self, agents: NDArray[np.int32], attempt: int = 0) -> Shown:
        """What these agents see as columns; arrays are copies, read-only. Raises StaleOrder as `observe` does."""
        self._check_attempt("what agents see was asked", attempt)
        return self.world.observe_columns(agents)

    def look(self, looks: Sequence[Look] | Looks, attempt: int = 0) -> bytes:
        """The replies to these looks, in their order, packed (`read_values`). Raises StaleOrder as `observe` does."""
        self._check_attempt("a look was asked", attempt)
        asked = looks if isinstance(looks, Looks) else gathered(looks)
        try:
            return self._look(asked, copied=False)
        except TypeError:  # a part said that its answers are plain as they stand, and one holds what is not
            return self._look(asked, copied=True)

    def _look(self, looks: Looks, *, copied: bool) -> bytes:
        replies: list[tuple[bool, Any]] = [(True, None)] * len(looks)
        picked: list[tuple[Sequence[int], Picked]] = []
        queries = []
        for query, places, args in looks.by_query():
            queries.append(query)
            rows = places.tolist()
            values = self.world.look(query, looks.agents[places].tolist(), args, copied=copied)
            if isinstance(values, Picked):
                picked.append((rows, values))
                continue
            for at, value in zip(rows, values, strict=True):
                failed = type(value) is LookFailed
                replies[at] = (False, f"{query}: {value.reason}") if failed else (True, value)
        what = f"an answer of {', '.join(queries)}"
        return pack_values(what, [] if len(picked) == len(queries) == 1 else replies, picked)

    def attend(self, shard: int, tick: int, due: NDArray[np.int32], attempt: int = 0) -> NDArray[np.int32]:
        """A shard's agents (sorted) that take a turn in a tick of rounds; gives those that are in any group.

        Raises StaleOrder for a shard of another attempt, or another tick's.
        """
        return self._rounds_of(tick, attempt).attend(shard, due)

    def tell(self, shard: int, tick: int, said: Sequence[Contribution], left: Sequence[int], attempt: int = 0) -> None:
        """Contributions of a shard's agents to rounds, and whose turns have ended. Raises StaleOrder as `attend`."""
        self._rounds_of(tick, attempt).tell(shard, said, left)

    def hear(self, shard: int, tick: int, attempt: int = 0) -> list[Heard]:
        """What members on a shard have heard since the last time. Raises StaleOrder as `attend` does."""
        return self._rounds_of(tick, attempt).take(shard)

    def _rounds_of(self, tick: int, attempt: int) -> Rounds:
        self._check_open(f"tick {tick} holds rounds", tick, attempt)
        if tick > self.world.tick:
            raise StaleOrder(f"the world: tick {tick} holds rounds while it stands at tick {self.world.tick}")
        if self._rounds is None or self._rounds.tick != tick:
            blocked = self._blocked if self._pulling.levers.blocks else None
            self._rounds = Rounds(self.world, self._seed, self._shards, blocked)
        return self._rounds

    def _blocked(self, speakers: NDArray[np.int32], listeners: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Between whom levers let nothing pass in the tick that is open."""
        return self._pulling.levers.blocked(self.world.tick, speakers, listeners)[0]

    def claim(self, shard: int, tick: int, claims: Sequence[Claim], attempt: int = 0) -> list[tuple[int, int]]:
        """What agents of a shard want asked together in a tick that is not over; see `Sharing.claim`.

        Raises StaleOrder for a shard of another attempt, and a tick that is over.
        """
        return self._sharing_of(tick, attempt).claim(shard, claims)

    def tell_answers(self, tick: int, answers: Sequence[Answer], attempt: int = 0) -> None:
        """What such asks were answered. Raises StaleOrder as `claim` does."""
        self._sharing_of(tick, attempt).tell(answers)

    def hear_answers(self, shard: int, tick: int, attempt: int = 0) -> list[Answer]:
        """What other shards were answered for this one since the last time, in any tick.

        `tick` is one in which it waits. Raises StaleOrder as `claim` does.
        """
        self._sharing_of(tick, attempt)
        return [answer for one in self._sharing.values() for answer in one.take(shard)]

    @property
    def closing(self) -> bool:
        """Whether the end of a tick is under way, and waits for answers to what parts ask."""
        return self._closing is not None

    def is_open(self, tick: int) -> bool:
        """Whether turns of this tick may still be taken."""
        return tick > self.world.tick or (tick == self.world.tick and self._closing is None)

    def _sharing_of(self, tick: int, attempt: int) -> Sharing:
        self._check_open(f"agents of tick {tick} ask together", tick, attempt)
        return self._sharing.setdefault(tick, Sharing(tick))

    def _check_open(self, what: str, tick: int, attempt: int) -> None:
        self._check_attempt(what, attempt)
        if not self.is_open(tick):
            raise StaleOrder(f"the world: {what} while it stands at tick {self.world.tick}")

    def close_tick(self, tick: int, envelope: Envelope) -> WorldDone | AskModel:
        """Take what the tick's turns reported and did; move the world to the next tick; measure.

        The envelope's parcels are `(Reports, frames)`, one a shard. Doubled frames and reports count once; a tick
        closed again gives its `WorldDone` again. Where parts consult the model it gives what they ask, and `answer`
        goes on. Raises StaleOrder for another attempt's order and for a tick closed long ago, TransportError for a
        tick to come, ActorLost for what is missing; then nothing has changed.
        """
        self._check_attempt(f"tick {tick} was closed", envelope.attempt)
        if self._last is not None and self._last.tick == tick:
            return self._last
        if tick != self.world.tick:
            kind = StaleOrder if tick < self.world.tick else TransportError
            raise kind(f"the world: tick {tick} was closed while it stands at tick {self.world.tick}")
        if self._closing is not None:
            raise StaleOrder(f"the world: tick {tick} was closed again while its end is under way")
        frames = distinct([frame for _, sent in envelope.parcels for frame in sent], tick, envelope.attempt)
        check_complete(f"the world, tick {tick}", tick, frames, envelope.expected)
        given = [reports for reports, _ in envelope.parcels]
        reports = self._distinct_reports(tick, given, envelope.expected is not None)
        changed = [self.world.put_reports(one.agents, one.fields) for one in reports if len(one.agents) and one.fields]
        wholes = [(of, one) for report in reports for of, one in sorted(report.whole.items())]
        changed += [self.world.put_reports(one.agents, {of: one.fields}) for of, one in wholes if len(one.agents)]
        actions = Acting(taken_singly(frames), [act for _, one in wholes for act in one.acts])
        if self.trace_version > 1:
            put_in_order(self.world.draw, actions, self.world.unordered)
        seal, touched = self._pulling.levers.seal(tick), self._pulling.levers.touched(tick)
        applied = self.world.apply(actions)
        rounds, tables = Counts(), dict[str, TableRows]()
        if self._rounds is not None:
            held, rounds = self._rounds, self._rounds.counts
            self._rounds = None
            applied.emissions += self.world.end_rounds(held.transcript())
            if self._record_rounds and held.held:
                tables["rounds"] = round_rows(tick, held.held)
        self.surrogates.close(tick, self._policy(tick), [one for report in reports for one in report.learnt])
        sharing = self._sharing.pop(tick, None)
        closing = _Closing(tick, actions, applied, changed, seal, touched, rounds, tables, sharing=sharing)
        if not self.world.consulting:
            return self._close(closing)
        assert self._scope is not None, "parts that consult the model need the scope of what they ask"
        closing.consulting = Consulting(self.world, scope_at(self._scope, tick, self.world.parameters, self._eras))
        self._closing = closing
        return self._next(closing, closing.consulting.begin())

    def answer(self, answers: Sequence[Answer]) -> WorldDone | AskModel:
        """Take answers to what parts ask in the tick that is being closed; gives what they ask next, or the end."""
        closing = self._closing
        assert closing is not None
        assert closing.consulting is not None
        return self._next(closing, closing.consulting.answer(answers))

    def _next(self, closing: _Closing, asks: list[Ask]) -> WorldDone | AskModel:
        consulting = closing.consulting
        assert consulting is not None
        if not consulting.ended:
            return AskModel(asks)
        closing.applied.emissions += consulting.emissions
        done = self._close(closing)
        self._closing = None
        return done

    def _close(self, closing: _Closing) -> WorldDone:
        """End the tick, once parts have been answered."""
        tick, actions, changed, consulting = closing.tick, closing.actions, closing.changed, closing.consulting
        before = set(self._pulling.fixed)
        resolved = self.world.finish(closing.applied, digests=self.trace_version >= 2, born=self._pulling.born)
        if not (self._shows or self._pulling.levers) and (shown := self.world.shows):
            raise ScenarioError(
                f"tick {tick}: part '{shown[0]}' begins to show agents something, and showed nothing as the run began, "
                "so no shard asks. Have it show something from the start, or in a subclass with `shows = True`."
            )
        left = resolved.left.tolist()
        fixed = {place: members for place, members in self._pulling.fixed.items() if place not in before}
        try:
            firings, standing = packed_firings(self._pulling.firings), self.surrogates.standing(self._policy(tick + 1))
            edge = pack_edge(Edge(resolved.born, left, packed_groups(fixed), firings, standing))
        except (OverflowError, UnicodeError) as error:
            raise ScenarioError(
                f"agents born at the end of tick {tick}: a field of theirs: {unwritten(error)}"
            ) from None
        if is_sample(self.world.tick):
            self.try_parts()
        changed += self._pulling.changed
        counts = Counts() if consulting is None else consulting.counts
        counts.add(closing.rounds)
        counts.add(self.surrogates.counts)
        counts.applied = resolved.applied
        counts.acts_refused.update(Counter(resolved.reasons.values()))
        counts.sent = len(resolved.emissions)
        out = Outgoing(
            tick,
            np.full(len(resolved.emissions), WORLD, np.int32),
            np.fromiter((to for to, _ in resolved.emissions), np.int32, len(resolved.emissions)),
            np.arange(len(resolved.emissions), dtype=np.int32),
            [_pack(body) for _, body in resolved.emissions],
        )
        agents = union(resolved.newborn, *changed)
        refused = refusals(actions, resolved.reasons)
        covered = [out.receiver.tolist(), out.bodies, refused, *([closing.seal] if closing.seal else [])]
        rows = closing.rows | part_rows(self.world, self.part_tables)
        late: dict[str, Callable[[], TableRows]] = {}
        if closing.touched:
            rows["levers"] = closing.touched
        if consulting is not None and consulting.asks:
            answers = consulting.answers
            covered.append(("asks", said_of(consulting.asks, answers)))
            if self._record_asks:
                late["asks"] = partial(ask_rows, consulting.asks, answers)
        if closing.sharing:
            covered.append(("shared", closing.sharing.covered()))
            if self._record_asks:
                first = 0 if consulting is None else len(consulting.asks)
                shared, alone = partial(closing.sharing.rows, first), late.get("asks")
                late["asks"] = shared if alone is None else lambda: join(alone(), shared())
        covered += told(resolved.born, left)
        if self.surrogates.known:
            covered.append(("surrogates", self.surrogates.covered()))
        if self.surrogates.rows:
            rows["surrogates"] = self.surrogates.rows
        counts.born, counts.left = len(resolved.newborn), len(left)
        if resolved.born or left:
            rows["turnover"] = turnover_rows(tick + 1, resolved.newborn, resolved.left, self.world.roster)
        digest = blake2b(_pack(covered), digest_size=DIGEST_BYTES).digest()
        if self._record_actions and actions:
            late["actions"] = partial(action_rows, tick, actions, resolved.reasons)
        sent = route(out, source=WORLD, shards=self._shards, attempt=self.attempt, frame_bytes=self._frame_bytes)
        self._last = WorldDone(
            tick=tick,
            frames=sent,
            changed=agents,
            fields=self.world.rows_of(agents),
            outcomes=self.measure(),
            counts=counts,
            digest=digest,
            parts=resolved.digests,
            sent=count_messages(sent),
            attempt=self.attempt,
            rows=Unmade(rows, late),
            edge=edge,
            warnings=self._take_warnings(),
        )
        return self._last

    def _policy(self, tick: int) -> Policy | None:
        """How surrogates go in a tick."""
        return None if self._scope is None else scope_at(self._scope, tick, None, self._eras).surrogate

    def _take_warnings(self) -> list[str]:
        told = [text for text in self._warned.values() if text]
        self._warned = dict.fromkeys(self._warned, "")
        return told

    def export(self, tick: int) -> dict[str, Any]:
        """The world's state before `tick`. Raises TransportError where it does not stand there."""
        if self._closing is not None:
            raise TransportError(
                f"the world is amid the end of tick {self._closing.tick}: its parts wait for answers. What they were "
                "given so far is on record, and the tick is ended anew from the last checkpoint"
            )
        if self.world.tick != tick:
            raise TransportError(f"the world stands at tick {self.world.tick} and cannot be saved before tick {tick}")
        return self.world.state() | self._pulling.state(tick) | self.surrogates.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Take what `export` gave. Raises ScenarioError for the state of a world of other parts."""
        self._pulling.restore(state)
        self.world.restore(state)
        self.surrogates.restore(state)

    def _check_attempt(self, what: str, attempt: int) -> None:
        if attempt != self.attempt:
            raise StaleOrder(f"the world: {what} for its attempt {attempt}; this is its attempt {self.attempt}")

    def _distinct_reports(self, tick: int, reports: Sequence[Reports], all_of_them: bool) -> list[Reports]:
        """Each shard's report once, former attempts' dropped."""
        known = {one.shard: one for one in reports if one.shard >= 0 and one.attempt == self.attempt}
        if all_of_them and len(known) < self._shards:
            missing = [f"the report of shard {shard}" for shard in range(self._shards) if shard not in known]
            raise ActorLost(missing, f"the world, tick {tick}: {' and '.join(missing)} is missing")
        return [*(one for one in reports if one.shard < 0), *known.values()]
