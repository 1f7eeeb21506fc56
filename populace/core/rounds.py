"""Rounds within a tick: what members of a group contribute, and what they hear of it, as plain data.

`Contribution` is an effect: a turn awaits it, and goes on when every member of its group has contributed or left.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal

import msgspec


class Contribution(msgspec.Struct):
    """An effect: what a member says, does or offers in the present round of its group.

    It is to the part `part`, and `body` is packed plain data. `group` is None where the agent is in one group of that
    part only. `nth` counts those that its turn has awaited, from 0; the kernel sets it.
    """

    agent: int
    part: str
    group: str | int | None
    body: bytes
    nth: int = 0

    def __await__(self) -> Generator[Contribution, Any, Any]:
        """Hand it to the kernel; the value sent back is what the member hears of the round, or `Closed`."""
        return (yield self)


class Closed(msgspec.Struct, frozen=True):
    """What a member gets in place of what it would hear: its group holds no round any more in this tick.

    `reason` is `limit` where it has held as many rounds as a tick may have, or the part's own word.
    """

    reason: str


class Heard(msgspec.Struct, frozen=True):
    """What came of a contribution: the member's view of the round (`body`, packed), or why there is none (`reason`).

    `closed` says that its group holds no round any more, `failed` that the agent could not contribute there.
    """

    agent: int
    nth: int
    fate: Literal["heard", "closed", "failed"]
    body: bytes = b""
    reason: str = ""
