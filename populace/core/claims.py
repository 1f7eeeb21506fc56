"""Asks that are put once for all agents of a type that would ask the same, as the world is told of them.

Each shard claims the archetypes of its own agents. The world says of each who asks it, the first shard that claimed it;
that one tells what it was answered, and the others hear of it.
"""

from __future__ import annotations

import msgspec

from populace.core.records import Answer
from populace.core.rounds import Heard


class Claim(msgspec.Struct, frozen=True):
    """One archetype of an ask on one shard.

    (`agent`, `nth`) is the ask's identity in its tick, an `agent` below -1 (`agents.archetypes.identity`); `rows`
    agents of the shard would ask it. Of all asks of the same `type`, `purpose` and `again` there may be at most `most`.
    The others are the ask's own.
    """

    agent: int
    nth: int
    type: str
    purpose: str
    again: int
    rows: int
    most: int
    key: bytes
    messages: tuple[tuple[str, str], ...]
    facts: str = ""
    model_role: str = ""


class News(msgspec.Struct, frozen=True):
    """What a shard waits for: what was heard of rounds, and what others asked for its agents too."""

    heard: list[Heard] = []
    answers: list[Answer] = []


def too_many(of: str, purpose: str, most: int) -> str:
    """What to say where more archetypes than `most` would be asked."""
    return (
        f"ctx.ask: agents of '{of}' have more than {most:,} different sets of facts for {purpose!r}, and each would be "
        "an ask: make facts coarser (age bands in place of ages), or give ctx.ask a higher `most`"
    )
