"""What shards report of a tick to the world, and what a tick's end came to there, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.records import Counts
from populace.core.tables import TableRows
from populace.core.traffic import Vitals
from populace.kernel.bus import Frame
from populace.kernel.columnar_tick import Whole
from populace.kernel.standing_in import Learnt


class Reports(msgspec.Struct, frozen=True):
    """What one shard's turns report of a tick: public fields of `agents` (int32, sorted).

    `fields` has, by type and name, a column with the values of those of them that are of this type, in their order.
    `shard` and `attempt` say whose report it is; -1 stands for a shard that does not say, whose report is taken.
    `whole` is what columnar types came to, by name, and `learnt` what surrogates go by.
    """

    agents: NDArray[np.int32]
    fields: dict[str, dict[str, list[Any]]]
    shard: int = -1
    attempt: int = 0
    whole: dict[str, Whole] = {}
    learnt: list[Learnt] = []


class WorldDone(msgspec.Struct, frozen=True):
    """What a tick's end came to in the world.

    `frames` are the world's messages, by shard; `changed` (int32, sorted) are the agents of which a public field
    changed and `fields` their rows in the table of agents; `outcomes` are measured after the tick; `digest` covers
    what the world sent and refused, and which levers were at work on whom. `rows` are for the tables that are
    recorded, by name; of levers, those that touched somebody as the tick began. `sent` counts the messages to each
    shard; `attempt` is the world's that says so. `parts` has 16 bytes over the state of each part at the tick's end;
    nothing in a run of trace version 1. `warnings` tell what outcomes warned of, each once. The host adds
    `vitals`, where they are measured.
    """

    tick: int
    frames: list[Frame]
    changed: NDArray[np.int32]
    fields: dict[str, Any]
    outcomes: dict[str, float]
    counts: Counts
    digest: bytes
    rows: Mapping[str, TableRows] = {}
    sent: dict[int, int] = {}
    attempt: int = 0
    parts: dict[str, bytes] = {}
    edge: bytes = b""
    warnings: list[str] = []
    vitals: Vitals | None = None
