"""What an agent holds besides its public fields, from the newest checkpoint: its profile, memory and whatever else."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, Final

import msgspec

from populace.core.errors import CheckpointDamaged, StorageError
from populace.kernel.row_tables import decode_rows
from populace.page.rows import Rows
from populace.store.checkpoint.file import generations, read_contents, read_part
from populace.store.folder import CHECKPOINTS

_MOST_LETTERS: Final = 20_000


def held_by(folder: Path, agent: int) -> dict[str, Any] | None:
    """An agent's own fields as of the newest checkpoint, as `tick` and `fields`; None where there is none.

    A run that is complete has no checkpoints any more; agents in columns, and those who never took a turn, are in none.
    """
    checkpoints = folder / CHECKPOINTS
    try:
        found = generations(checkpoints) if checkpoints.exists() else {}
    except (StorageError, OSError):
        return None
    for number in sorted(found, reverse=True):
        try:
            contents = read_contents(found[number])
            entry = contents.blocks.get("agents")
            packed = None if entry is None else _packed(checkpoints, entry.parts, agent)
        except (CheckpointDamaged, StorageError, OSError, ValueError):
            continue  # the run has removed it meanwhile: look at the one before
        if packed is None:
            return None
        return {"tick": contents.tick, "fields": _fields(packed)}
    return None


def _packed(folder: Path, parts: Any, agent: int) -> bytes | None:
    """An agent as it was saved last: the newest part that has it says so."""
    for part in reversed(parts):
        rows = {agent: b""}
        decode_rows(read_part(folder, part), rows)
        if agent not in rows:
            return None  # it has left
        if rows[agent]:
            return rows[agent]
    return None


def _fields(packed: bytes) -> dict[str, Any]:
    try:
        given = msgspec.msgpack.decode(packed)
    except msgspec.MsgspecError:
        return {}
    if not isinstance(given, dict):
        return {}
    return {str(name): _shown(value) for name, value in given.items()}


def _shown(value: Any) -> Any:
    """A value as text or plain data that a page can show, cut where it is very long."""
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, str):
        return value[:_MOST_LETTERS]
    if isinstance(value, bytes | dt.datetime | msgspec.msgpack.Ext):
        return f"({type(value).__name__})"
    try:
        text = msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode()
    except (TypeError, msgspec.MsgspecError):
        text = str(value)
    return text[:_MOST_LETTERS]


def type_and_life(folder: Path, agent: int) -> dict[str, Any]:
    """An agent's type, and in which ticks it was born and left; None for what does not hold or is not known."""
    found: dict[str, Any] = {"type": None, "born": None, "left": None}
    rows = Rows(folder, "turnover")
    for group in rows.groups:
        if rows.may_hold(group, "agent", agent, agent):
            for one in rows.read(group, ("tick", "agent", "type", "what")).to_pylist():
                if one["agent"] == agent:
                    found["type"], found[one["what"]] = one["type"], one["tick"]
    agents = Rows(folder, "agents")
    if found["type"] is None and "type" in agents.names:
        for group in agents.groups:
            if agents.may_hold(group, "agent", agent, agent):
                table = agents.read(group, ("agent", "type"))
                at = (table.column("agent").to_numpy() == agent).nonzero()[0]
                if len(at):
                    found["type"] = table.column("type")[int(at[0])].as_py()
                    break
    return found
