"""The agent's side: one loop that plays whatever is to be played in a tick, by acts or by rounds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from populace.core.rounds import Closed

SEEN = ("by", "role", "seat", "partners", "frame", "stage", "moves", "so_far", "history", "payoff", "score")


async def play(ctx: Any, choose: Callable[[dict[str, Any]], Awaitable[Any]], part: str = "game") -> dict[str, Any]:
    """Move whenever there is a move to make in this tick; a turn awaits it with a method of the agent.

    `choose(now)` is awaited whenever the agent is to move, with what it sees (see `Games`), and gives a move, or None
    for none: then, by rounds, the agent leaves. Gives what the agent saw last; by rounds, with `over`. Raises
    LookupError where agents see no such part.
    """
    if f"{part}.by" not in ctx.seen:
        raise LookupError(f"play: agents see no part {part!r} that plays: Games(game, sees='all', name={part!r})")
    now: dict[str, Any] = {name: ctx.seen[f"{part}.{name}"] for name in SEEN}
    if now["by"] == "acts":
        if now["moves"] is not None:
            move = await choose(now)
            if move is not None:
                ctx.act(f"{part}.move", move=move)
        return now
    while now["role"]:
        move = None
        if now["moves"] is not None:
            move = await choose(now)
            if move is None:
                return now
        heard = await ctx.round(part, move)
        if isinstance(heard, Closed) or heard is None:
            return now
        now = heard
        if now["over"]:
            return now
    return now
