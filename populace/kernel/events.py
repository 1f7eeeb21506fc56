"""What goes into a shard and the barrier, and what comes out: events and effects, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.claims import Claim
from populace.core.records import Answer, Ask, Counts, Look
from populace.core.rounds import Contribution, Heard
from populace.core.tables import TableRows
from populace.core.traffic import Vitals
from populace.env.plain import Shown
from populace.kernel.bus import Envelope, Frame
from populace.kernel.columnar_tick import Whole
from populace.kernel.notices import Notice
from populace.kernel.standing_in import Learnt
from populace.kernel.turn import Failure


class OpenTick(msgspec.Struct, frozen=True):
    """Event: tick `tick` begins; the envelope's frames hold what was sent to this shard in the tick before."""

    tick: int
    envelope: Envelope = Envelope()


class Seen(msgspec.Struct, frozen=True):
    """Event: what the world shows each due agent, in the order asked for."""

    values: list[dict[str, Any]]


class SeenColumns(msgspec.Struct, frozen=True):
    """Event: what the world shows the agents of columnar types, by 'part.column', in the order asked for."""

    columns: Shown


class Looked(msgspec.Struct, frozen=True):
    """Event: the world's replies to batch `batch` of looks, in the batch's order."""

    batch: int
    values: list[Any]


class Attended(msgspec.Struct, frozen=True):
    """Event: the world knows who takes a turn; of these, `members` (int32) are in a group that holds rounds."""

    members: NDArray[np.int32]


class HeardRounds(msgspec.Struct, frozen=True):
    """Event: what came of contributions to rounds, in any order."""

    heard: list[Heard]


class Claimed(msgspec.Struct, frozen=True):
    """Event: of what a `ClaimAsks` of a tick named, `of`, this shard asks `mine` itself, both by (agent, nth)."""

    mine: list[tuple[int, int]]
    of: list[tuple[int, int]]
    tick: int


class HeardAnswers(msgspec.Struct, frozen=True):
    """Event: answers to what other shards have asked for this one too, in any order."""

    answers: list[Answer]


class Answered(msgspec.Struct, frozen=True):
    """Event: answers, in any order."""

    answers: list[Answer]


class HeardShards(msgspec.Struct, frozen=True):
    """Event: what other shards tell of turns that have ended, in any order."""

    notices: list[Notice]


class Proceed(msgspec.Struct, frozen=True):
    """Effect and event: there are more turns to begin; hand it back once the other effects have been carried out.

    So what a turn touches is in the processor's cache until it ends, and a stride's calls go out while others begin.
    """


class EndRun(msgspec.Struct, frozen=True):
    """Event: no tick follows; the envelope's frames hold what was sent in the last one, which expires.

    Ticks before `tick` are committed (None: all that were closed); what a later one was billed still counts.
    """

    envelope: Envelope = Envelope()
    tick: int | None = None


Event: TypeAlias = (
    OpenTick
    | Seen
    | SeenColumns
    | Looked
    | Attended
    | HeardRounds
    | Claimed
    | HeardAnswers
    | Answered
    | HeardShards
    | Proceed
    | EndRun
)


class Observe(msgspec.Struct, frozen=True):
    """Effect: ask the world what these agents (int32, sorted) see."""

    agents: NDArray[np.int32]


class ObserveColumns(msgspec.Struct, frozen=True):
    """Effect: ask the world what these agents (int32, sorted), of columnar types, see, as columns."""

    agents: NDArray[np.int32]


class Attend(msgspec.Struct, frozen=True):
    """Effect: tell the world that these agents (int32, sorted; all of the shard's) take a turn in the tick."""

    agents: NDArray[np.int32]


class TellRounds(msgspec.Struct, frozen=True):
    """Effect: members contribute to rounds; the turns of those that `left` have ended."""

    said: list[Contribution]
    left: list[int]


class AskModel(msgspec.Struct, frozen=True):
    """Effect: put these asks to the model."""

    asks: list[Ask]


class ClaimAsks(msgspec.Struct, frozen=True):
    """Effect: have the world say which of these asks, that agents put together in a tick, this shard puts itself."""

    claims: list[Claim]
    tick: int


class TellAnswers(msgspec.Struct, frozen=True):
    """Effect: tell the world what the asks that this shard has claimed were answered; they are of one tick."""

    answers: list[Answer]


class TellShards(msgspec.Struct, frozen=True):
    """Effect: tell other shards of turns that have ended, each its own. What gets lost only has turns begin later."""

    notices: list[Notice]


class LookWorld(msgspec.Struct, frozen=True):
    """Effect: put these looks to the world's snapshot."""

    batch: int
    looks: list[Look]


class TickDone(msgspec.Struct, frozen=True):
    """Effect: all turns of the tick have ended; this is what they came to.

    `agents` (int32, sorted) are those that took a turn, and `digests` has 16 bytes for each, BLAKE2b over what the
    turn committed. `fields` are the public fields of `agents`, as in `Reports`. `frames` go to shards and to the world,
    and `sent` says how many messages they take to each. `attempt` is the shard's that says so. Of columnar
    types, by name, `whole` has their actions and fields, and `sums` how many turns they took with the digest of all of
    them. `learnt` is what surrogates go by. The host adds `vitals`, where they are measured, and, once the shard has
    settled the tick (`Shard.settle`), the `rows` for the tables that are recorded, by name.
    """

    tick: int
    shard: int
    agents: NDArray[np.int32]
    digests: bytes
    fields: dict[str, dict[str, list[Any]]]
    frames: list[Frame]
    counts: Counts
    failures: list[Failure]
    rows: Mapping[str, TableRows] = {}
    sent: dict[int, int] = {}
    attempt: int = 0
    whole: dict[str, Whole] = {}
    sums: dict[str, tuple[int, bytes]] = {}
    learnt: list[Learnt] = []
    vitals: Vitals | None = None


class RunDone(msgspec.Struct, frozen=True):
    """Effect: the shard has closed its books; messages that nobody will read have expired."""

    shard: int
    counts: Counts
    rows: dict[str, TableRows]
    attempt: int = 0


Effect: TypeAlias = (
    Observe
    | ObserveColumns
    | Attend
    | AskModel
    | LookWorld
    | TellRounds
    | ClaimAsks
    | TellAnswers
    | TellShards
    | Proceed
    | TickDone
    | RunDone
)
"""What a shard wants done.

At most one `Attend`, `Observe` and `ObserveColumns` a tick, and one `TickDone` or `RunDone`, the last.
"""
