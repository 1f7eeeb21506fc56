"""The agent's side: one loop that talks whatever is to be talked in a tick, by acts or by rounds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from populace.core.rounds import Closed
from populace.env.talk.conversation import NO_TALK, NOBODY, as_said

Speak = Callable[[dict[str, Any]], Awaitable[Any]]
Listen = Callable[[dict[str, Any]], Mapping[str, Any] | None]


async def converse(ctx: Any, speak: Speak, listen: Listen | None = None, part: str = "talk") -> dict[str, Any]:
    """Talk as long as there is to be talked in this tick; a turn awaits it with a method of the agent.

    `speak(now)` is awaited whenever the agent has the floor, with what it sees (see `Talk`), and gives a text or a
    contribution, or None to leave. `listen(now)` is called in all other turns and gives None or a contribution, such as
    {"raise_hand": True}. Gives what the agent saw last; by rounds, `over` says why the conversation ended.
    Raises LookupError where agents see no such part.
    """
    if f"{part}.by" not in ctx.seen:
        raise LookupError(f"converse: agents see no part {part!r} that talks; it is a Talk(..., name={part!r})")
    now: dict[str, Any] = {name: ctx.seen[f"{part}.{name}"] for name in NO_TALK}
    rounds = ctx.seen[f"{part}.by"] == "rounds"
    while now["conversation"] != NOBODY and not now["over"]:
        if now["floor"]:
            said = await speak(now)
            if said is None and rounds:
                return now
            said = {"leave": True} if said is None else as_said(said)
        else:
            said = dict((listen(now) if listen is not None else None) or {})
        if not rounds:
            if said:
                ctx.act(f"{part}.say", **said)
            return now
        heard = await ctx.round(part, said)
        if isinstance(heard, Closed) or heard is None or said.get("leave"):
            return now
        now = heard
    return now
