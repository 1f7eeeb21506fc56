"""What a shard is told besides its agents: as plain data, and by type. Pure."""

from __future__ import annotations

from typing import Any

import msgspec
from numpy.typing import NDArray

from populace.agents.activation import Activation
from populace.agents.agent import Agent
from populace.core.trace import TRACE_VERSION
from populace.kernel.influence import Influence
from populace.kernel.snapshot import Era


class ShardPlan(msgspec.Struct, frozen=True):
    """What a shard has to know besides its agents. `index` of `shards`; bounds are those of the settings.

    `trace_version` is the run's. In version 1 agents are only tried, and that where the run is `saved`; see
    `kernel.saving`. `influence` is what the society declares, where it does; then turns may begin up to `ahead` ticks
    before their tick is open (`kernel.ahead`), in a run of `ticks`.
    """

    index: int
    shards: int
    attempt: int
    observes: bool
    live_turns: int
    inbox_messages: int
    frame_bytes: int
    record_messages: bool
    record_asks: bool
    eras: tuple[Era, ...] = ()
    saved: bool = False
    rounds: bool = False
    trace_version: int = TRACE_VERSION
    influence: Influence | None = None
    ahead: int = 0
    ticks: int = 0


class Hosted(msgspec.Struct, frozen=True):
    """A type of agents as a shard hosts it: its class, its public fields, when its agents are due.

    Of a columnar type, `columns` has its fields.
    """

    kind: type[Agent]
    fields: dict[str, type]
    activation: Activation
    columns: dict[str, NDArray[Any]] | None = None
