"""What the coordinator asks of a transport, whichever carries the shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.budget.amounts import Amount
from populace.budget.sharing import SharedWith
from populace.cluster.job import Job
from populace.core.records import Counts, Position
from populace.core.tables import TableRows
from populace.core.traffic import Vitals
from populace.kernel.barrier import ShardDone
from populace.kernel.bus import Envelope, Frame
from populace.kernel.events import RunDone, TickDone
from populace.kernel.peeking import Peeked
from populace.kernel.reports import WorldDone
from populace.kernel.snapshot import RunState, ShardState
from populace.models.dialect import EndpointForms
from populace.models.protocol import add_states
from populace.store.checkpoint.file import Piece
from populace.store.journal.recording import Missed


class Opened(msgspec.Struct, frozen=True):
    """The world before tick 0: all agents' rows in the table of agents, the outcomes, and what parts give of tables.

    `on_record` says how many answers the run's own journal, as far as it was read, holds of each tick.
    """

    fields: dict[str, Any]
    outcomes: dict[str, float]
    on_record: dict[int, int] = {}
    rows: dict[str, TableRows] = {}


class Progress(msgspec.Struct):
    """How far the tick under way has come, over all shards; `vitals` of each, where they are measured.

    `batches` says how many batches of asks are out in which state.
    """

    turns_due: int = 0
    turns_done: int = 0
    asks_waiting: int = 0
    asks_in_flight: int = 0
    vitals: list[Vitals] = []
    batches: dict[str, int] = {}

    def add(self, other: Progress) -> None:
        """Add another shard's, or the world's."""
        self.turns_due += other.turns_due
        self.turns_done += other.turns_done
        self.asks_waiting += other.asks_waiting
        self.asks_in_flight += other.asks_in_flight
        self.vitals += other.vitals
        add_states(self.batches, other.batches)


class Exported(msgspec.Struct, frozen=True):
    """A state as it was taken from its hosts: what those gave that write no piece of it. `positions` are the journal's.

    `world` is empty where it is in a piece; it may be live: freeze it before anything else happens.
    """

    shards: list[ShardState]
    world: dict[str, Any]
    positions: list[Position]


class Transport(Protocol):
    """Carries shards and the environment service. The parcels in an envelope are opaque to the coordinator."""

    @property
    def spent(self) -> Amount | None:
        """What the model has cost the run, at most, once all is closed; None where the account was lost."""

    @property
    def shared_limits(self) -> SharedWith | None:
        """Where the run shared its account's limits, and with how many, once all is closed; None where it did not."""

    @property
    def forms(self) -> EndpointForms:
        """What is known of the model's endpoints, from all shards that have told."""

    @property
    def missed(self) -> Sequence[Missed]:
        """What a replay found no answer to, in all attempts so far; it stays when all is closed."""

    async def start(self, job: Job) -> Opened:
        """Build shards and world where they are to run; called again, it ends the attempt before and builds anew.

        Raises ScenarioError, ModelError, StorageError, TransportError.
        """

    async def restore(self, state: RunState) -> tuple[dict[int, list[Any]], dict[int, int]]:
        """Put shards and world, just started, where a run stood.

        Gives the parcels that wait for each shard, and how many messages they hold.
        """

    async def reach(self, checkpoints: Path) -> None:
        """Find out which hosts reach this folder, so that they write pieces of generations there themselves."""

    async def export(self, tick: int, whole: bool) -> Exported:
        """Before `tick`: the shards' states, all of it or what changed, the world's, and positions in the journal.

        Hosts that reach the checkpoints' folder take theirs aside, for `write`.

        Where the tick is open already it is abandoned, and the states are those before it began. Raises StorageError.
        """

    async def write(self, number: int) -> list[Piece]:
        """Have the hosts write what they have taken aside as pieces of generation `number`, while the run goes on.

        What stands in the journals before the exported positions is on the disk then, and nothing of it is asked
        again. Raises StorageError; nobody writes any more then.
        """

    async def present(self) -> dict[str, NDArray[np.int32]]:
        """Between two ticks: who lives, by type (ids, sorted), but for those who are born in the tick to come."""

    async def peek(self, agents: NDArray[np.int32]) -> Peeked:
        """Between two ticks: these agents as they stand, and what the world shows them. It changes nothing."""

    async def collect(self, parcels: list[Any]) -> list[Frame]:
        """The frames in these parcels from shard to shard."""

    async def open_tick(self, shard: int, tick: int, envelope: Envelope) -> tuple[ShardDone, TickDone]:
        """Run a shard's tick; the TickDone comes without frames and fields, which travel as parcels, and rows."""

    async def settle(self, shard: int, tick: int) -> Mapping[str, TableRows]:
        """Have a shard do what the tick has left to be done, while the world ends it; gives its rows for tables.

        Raises ScenarioError for an agent that a resumed run would have otherwise.
        """

    async def close_tick(self, tick: int, envelope: Envelope) -> tuple[WorldDone, list[tuple[int, Any]]]:
        """Let the world end the tick; the WorldDone comes without frames, which travel as parcels, by shard."""

    async def wind_down(self, grace_s: float) -> Counts:
        """Have all shards abandon what is open: no call is begun, those in flight have so long to end.

        Gives what calls cost whose answers are not on record. Shards that are lost are left out.
        """

    async def end(self, shard: int, envelope: Envelope, tick: int) -> RunDone:
        """Close a shard's books; ticks before `tick` are committed."""

    async def upload(self) -> bool:
        """Where a run's folder is remote and shards may be on other machines, upload their journals so far.

        Gives whether that is so. Raises StorageError.
        """

    async def begun(self) -> None:
        """Wait until the open tick's turns wait for something, or have ended, where they are taken in this process."""

    def better_placed(self) -> Sequence[str]:
        """What would stand better elsewhere; a `start` called then moves it there."""

    async def progress(self) -> Progress:
        """How far the tick under way has come."""

    async def close(self) -> None:
        """Stop everything that `start` started."""
