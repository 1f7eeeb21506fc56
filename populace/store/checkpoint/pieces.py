"""What stands in the pieces of a checkpoint that hosts write themselves, and how they are one state again. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from populace.core.errors import CheckpointDamaged
from populace.kernel.blocks import Block, Rows
from populace.kernel.columnar import join_columns
from populace.kernel.snapshot import ShardState, flatten, join_shards, unflatten

_WORLD: Final = "world"
_COLUMNS: Final = "columns"
NO_SHARD: Final = ShardState({}, np.empty(0, np.int64), np.empty(0, np.int32))
"""What is left for the generation's own file, where every shard has written its piece."""


def shard_blocks(state: ShardState, *, whole: bool) -> dict[str, Block]:
    """The blocks of the piece of a checkpoint that a shard writes itself."""
    return {
        "agents": Rows(state.agents, whole=whole),
        "timers/tick": state.timer_ticks,
        "timers/agent": state.timer_agents,
        **(flatten(_COLUMNS, state.columns) if state.columns else {}),
    }


def world_blocks(world: dict[str, Any]) -> dict[str, Block]:
    """The blocks of the piece that the world's host writes itself. Raises StorageError for what is not plain data."""
    return flatten(_WORLD, world)


def join_blocks(blocks: Mapping[str, Any], pieces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The blocks of a checkpoint, as one process would have written them all: its own and those of its pieces.

    Raises CheckpointDamaged where a piece of a shard lacks something.
    """
    if not pieces:
        return dict(blocks)
    try:
        shards = [_shard_in(one) for one in (blocks, *pieces) if "agents" in one]
    except KeyError as error:
        raise CheckpointDamaged(f"a piece of a checkpoint is not one of a run: {error!r}") from None
    agents, ticks, ids = join_shards(shards)
    columns = join_columns([one.columns for one in shards if one.columns])
    worlds = [one for one in pieces if "agents" not in one]
    mine = (_COLUMNS, _WORLD) if worlds else (_COLUMNS,)
    joined = {name: block for name, block in blocks.items() if name.partition("/")[0] not in mine}
    for world in worlds:
        joined.update(world)
    joined.update({"agents": dict(sorted(agents.items())), "timers/tick": ticks, "timers/agent": ids})
    return joined | (flatten(_COLUMNS, columns) if columns else {})


def _shard_in(blocks: Mapping[str, Any]) -> ShardState:
    columns = unflatten(_COLUMNS, blocks)
    return ShardState(blocks["agents"], blocks["timers/tick"], blocks["timers/agent"], columns=columns)
