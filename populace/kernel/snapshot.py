"""A run between two ticks, as plain data: taken from shards, world and barrier, and given to any number of shards.

No turn is alive at a tick's edge, so this is all there is: agents that ever took a turn (the others are made from the
society anew), timers, mail that nobody has read yet, the world's state, and what the barrier has counted. Nothing in
it depends on how many shards there were. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.agents.context import Scope, Terms
from populace.agents.surrogate.policy import Policy
from populace.core.draws import WORLD
from populace.core.errors import CheckpointDamaged, StorageError
from populace.core.records import Counts, Position
from populace.core.roster import before
from populace.core.trace import WorldHashes
from populace.env.fields import Fields
from populace.kernel.blocks import Block, Rows, Shape, decode_block, encode_block, room_for
from populace.kernel.bus import Frame, Outgoing, route
from populace.kernel.patches import is_frozen

_WORLD: Final = "world"
_COLUMNS: Final = "columns"
FIELDS: Final = Fields.name
"""The part that says who there is."""
_to_plain: Final = msgspec.to_builtins
_blocks_encode: Final = msgspec.msgpack.Encoder().encode
_blocks_of: Final = msgspec.msgpack.Decoder(dict[str, tuple[Shape, bytes]]).decode


class Past(msgspec.Struct, frozen=True):
    """A journal to look answers up in: its folder, its run's name, and from where on, up to which attempt.

    `own` answers are this run's: they are given as they were, with what they cost. Those of another run are given as
    replayed, cost nothing, and are put on record anew, so that a run's folder is whole by itself.
    Damage to the segments `salvaged` is known, and what follows it in them is left out.
    """

    folder: str
    run: str
    own: bool
    since: list[Position] = []
    before: int | None = None
    salvaged: list[str] = []


class Era(msgspec.Struct, frozen=True):
    """Before tick `until`, asks were put to this model: what stands in their content keys, for model roles as well.

    `minds` are those of the agents then, and `surrogate` is how surrogates went.
    """

    until: int
    model: str
    max_tokens: int
    temperature: float
    forms: dict[str, str] = {}
    by_rules: bool = False
    roles: dict[str, Terms] = {}
    minds: dict[str, dict[str, str]] = {}
    surrogate: Policy | None = None


def scope_at(scope: Scope, tick: int, parameters: Any, eras: Sequence[Era]) -> Scope:
    """What is read of a tick, with these parameters: in a past that a fork took over, the model of that past."""
    era = next((era for era in eras if tick < era.until), None)
    if era is None:
        return msgspec.structs.replace(scope, tick=tick, parameters=parameters)
    return msgspec.structs.replace(
        scope, tick=tick, parameters=parameters,
        model=era.model, max_tokens=era.max_tokens, temperature=era.temperature, forms=era.forms,
        by_rules=era.by_rules, roles=era.roles, minds=era.minds, surrogate=era.surrogate,
    )  # fmt: skip


class ShardState(msgspec.Struct, frozen=True):
    """A shard's part: its agents by id as MessagePack, and its timers as columns, int64 ticks and int32 agents.

    The agents are all that ever took a turn or were born, or those that did since the last export. Where it is to be
    restored, `roster` is the state of the roster (`Roster.state`) before the tick, and `groups` are the members of
    levers' groups that are fixed already; both None where nobody was born or has left. `fired` is what levers with
    triggers do that were fired before (`Levers.fired`), None where there are none. `columns` are those of columnar
    types, by type and field, with the agents' ids as 'id'.
    """

    agents: dict[int, bytes]
    timer_ticks: NDArray[np.int64]
    timer_agents: NDArray[np.int32]
    roster: dict[str, NDArray[np.int32]] | None = None
    groups: dict[str, dict[str, NDArray[np.int32]]] | None = None
    columns: dict[str, dict[str, NDArray[Any]]] = {}
    fired: dict[str, dict[str, NDArray[np.int32]]] | None = None


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """A run at the edge before `tick`.

    `agents` holds all agents that ever took a turn when `whole`, and otherwise those that did since the save before.
    `mail` is what was sent and not yet read, as one frame from the world to nowhere in particular. `world` is
    `World.state()`. `hashes` are the trace's, one a tick, and `world_hashes` those of the world's states.
    `positions` are the journal's, `parts` counts the tables' parts, `rows` those in the parts of each table (None: not
    known, of a run of an older populace), and `wall_s` is what the run has taken so far. `edge` is what shards have yet
    to be told of the edge before the tick. `columns` are those of columnar types, of all agents who live.
    """

    tick: int
    agents: dict[int, bytes]
    whole: bool
    timer_ticks: NDArray[np.int64]
    timer_agents: NDArray[np.int32]
    mail: Frame
    world: dict[str, Any]
    total: Counts
    hashes: list[str]
    world_hashes: WorldHashes = WorldHashes()
    positions: list[Position] = []
    parts: int = 0
    rows: dict[str, int] | None = None
    wall_s: float = 0.0
    edge: bytes = b""
    columns: dict[str, dict[str, NDArray[Any]]] = {}

    def shard(self, index: int, shards: int) -> ShardState:
        """The part of shard `index` of `shards`."""
        mine = self.timer_agents % shards == index
        roster, groups = self.world.get("parts", {}).get(FIELDS, {}).get("roster"), self.world.get("groups")
        return ShardState(
            {agent: packed for agent, packed in self.agents.items() if agent % shards == index},
            self.timer_ticks[mine],
            self.timer_agents[mine],
            None if roster is None else before(roster, self.tick),
            None if groups is None else groups["fixed"],
            {
                of: {name: column[given["id"] % shards == index] for name, column in given.items()}
                for of, given in self.columns.items()
            },
            self.world["triggers"]["fired"] if "triggers" in self.world else None,
        )


class _Facts(msgspec.Struct):
    """What a checkpoint holds besides columns."""

    version: int
    total: Counts
    hashes: list[str]
    positions: list[Position]
    parts: int
    wall_s: float
    world_hashes: WorldHashes = WorldHashes()
    rows: dict[str, int] | None = None


VERSION: Final = 1


def join_shards(parts: Sequence[ShardState]) -> tuple[dict[int, bytes], NDArray[np.int64], NDArray[np.int32]]:
    """Agents and timers of all shards together; the timers sorted by (tick, agent)."""
    agents = {agent: packed for part in parts for agent, packed in part.agents.items()}
    ticks = np.concatenate([part.timer_ticks for part in parts])
    ids = np.concatenate([part.timer_agents for part in parts])
    order = np.lexsort((ids, ticks))
    return agents, ticks[order], ids[order]


def join_mail(tick: int, frames: Iterable[Frame]) -> Frame:
    """Frames of one tick as one, in the order (sender, nth)."""
    there = [frame for frame in frames if len(frame)]
    if not there:
        none = np.empty(0, np.int32)
        return Frame(tick, 0, WORLD, WORLD, none, none, none, np.zeros(1, np.int64), b"")
    sender, receiver, nth = (
        np.concatenate([getattr(frame, name) for frame in there]) for name in ("sender", "receiver", "nth")
    )
    bodies = [body for frame in there for body in frame.bodies()]
    order = np.lexsort((nth, sender))
    bodies = [bodies[at] for at in order.tolist()]
    offsets = np.zeros(len(bodies) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, bodies), np.int64, len(bodies)), out=offsets[1:])
    return Frame(tick, 0, WORLD, WORLD, sender[order], receiver[order], nth[order], offsets, b"".join(bodies))


def split_mail(mail: Frame, *, shards: int, attempt: int, frame_bytes: int) -> list[Frame]:
    """The frames that bring this mail to `shards` shards, from the world as it were."""
    out = Outgoing(mail.tick, mail.sender, mail.receiver, mail.nth, mail.bodies())
    return route(out, source=WORLD, shards=shards, attempt=attempt, frame_bytes=frame_bytes)


def to_blocks(state: RunState) -> dict[str, Block]:
    """The blocks of a checkpoint. Raises StorageError where the world's state is not plain data and arrays."""
    mail = state.mail
    facts = _Facts(
        VERSION, state.total, state.hashes, state.positions, state.parts, state.wall_s, state.world_hashes,
        state.rows,
    )  # fmt: skip
    return {
        "agents": Rows(state.agents, whole=state.whole),
        "timers/tick": state.timer_ticks,
        "timers/agent": state.timer_agents,
        "mail/sender": mail.sender,
        "mail/receiver": mail.receiver,
        "mail/nth": mail.nth,
        "mail/offsets": mail.offsets,
        "mail/body": mail.body,
        "facts": _to_plain(facts),
        **({"edge": state.edge} if state.edge else {}),
        **(flatten(_COLUMNS, state.columns) if state.columns else {}),
        **flatten(_WORLD, state.world),
    }


def from_blocks(tick: int, blocks: Mapping[str, Any]) -> RunState:
    """What `to_blocks` gave. Raises CheckpointDamaged where a block is missing or of another kind."""
    try:
        facts = msgspec.convert(blocks["facts"], _Facts)
        if facts.version != VERSION:
            raise CheckpointDamaged(
                f"the checkpoint is of version {facts.version}, and this populace reads version {VERSION}: resume the "
                "run with the populace that began it (its version is in run.json)."
            )
        columns = [blocks[f"mail/{name}"] for name in ("sender", "receiver", "nth", "offsets", "body")]
        return RunState(
            tick=tick,
            agents=blocks["agents"],
            whole=True,
            timer_ticks=blocks["timers/tick"],
            timer_agents=blocks["timers/agent"],
            mail=Frame(tick - 1, 0, WORLD, WORLD, *columns),
            world=unflatten(_WORLD, blocks),
            total=facts.total,
            hashes=facts.hashes,
            world_hashes=facts.world_hashes,
            positions=facts.positions,
            parts=facts.parts,
            rows=facts.rows,
            wall_s=facts.wall_s,
            edge=blocks.get("edge", b""),
            columns=unflatten(_COLUMNS, blocks),
        )
    except (KeyError, msgspec.ValidationError) as error:
        raise CheckpointDamaged(f"a checkpoint of tick {tick} is not one of a run: {error!r}") from None


def flatten(name: str, value: Any) -> dict[str, Block]:
    """A nested dict as blocks: one for each array, and one for whatever holds none; names are joined by '/'."""
    if not _holds_array(value):
        return {name: value}
    if isinstance(value, np.ndarray):
        return {name: value}
    if type(value) is not dict:
        raise StorageError(
            f"{name} of a checkpoint is a {type(value).__name__} that holds an array: arrays stand in dicts, so that "
            "each has a name."
        )
    blocks: dict[str, Block] = {}
    for key, inner in value.items():
        if type(key) is not str or not key or "/" in key:
            raise StorageError(f"{name} of a checkpoint has the key {key!r}: beside arrays, keys are text without '/'.")
        blocks.update(flatten(f"{name}/{key}", inner))
    return blocks


def unflatten(name: str, blocks: Mapping[str, Any]) -> Any:
    """What `flatten` took apart."""
    if name in blocks:
        return blocks[name]
    tree: dict[str, Any] = {}
    for path, value in blocks.items():
        if path.startswith(f"{name}/"):
            at = tree
            *outer, last = path.removeprefix(f"{name}/").split("/")
            for key in outer:
                at = at.setdefault(key, {})
            at[last] = value
    return tree


def _holds_array(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return True
    if isinstance(value, dict):
        return any(map(_holds_array, value.values()))
    return isinstance(value, list | tuple) and any(map(_holds_array, value))


def pack_world_state(state: dict[str, Any]) -> bytes:
    """A world's state for another process. Raises StorageError where it is not plain data and arrays."""
    blocks = {name: encode_block(name, block) for name, block in flatten(_WORLD, state).items()}
    return _blocks_encode({name: (shape, bytes(data)) for name, (shape, data) in blocks.items()})


def copied_world_state(state: dict[str, Any]) -> dict[str, Any]:
    """What another process would read of a world's state, a block at a time. Raises StorageError as packing it does.

    An array that nobody can write to stands for itself.
    """
    blocks = {}
    for name, block in flatten(_WORLD, state).items():
        shape, data = encode_block(name, block)
        sealed = isinstance(block, np.ndarray) and is_frozen(block) and shape.kind == "array"
        blocks[name] = block if sealed else _read(shape, data)
    copied: dict[str, Any] = unflatten(_WORLD, blocks)
    return copied


def unpack_world_state(packed: bytes) -> dict[str, Any]:
    """What `pack_world_state` packed."""
    blocks = {name: _read(shape, data) for name, (shape, data) in _blocks_of(packed).items()}
    state: dict[str, Any] = unflatten(_WORLD, blocks)
    return state


def _read(shape: Shape, data: bytes | memoryview) -> Any:
    """A block in memory of its own."""
    room = room_for(shape, len(data))
    if isinstance(room, np.ndarray):
        room.reshape(-1).view(np.uint8)[:] = np.frombuffer(data, np.uint8)
    else:
        room[:] = data
    return decode_block(shape, room)
