"""Both sides of a task within a tick: one loop that listens, calls and speaks, and one that is served."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from populace.core.rounds import Closed

Step = Callable[[dict[str, Any]], Awaitable[Mapping[str, Any] | None]]
Say = Callable[[dict[str, Any]], Awaitable[str | None]]


async def serve(ctx: Any, step: Step, part: str = "tools") -> dict[str, Any]:
    """Work on the task until it is over; the turn of an agent at a desk awaits it, where `Tools` are `within_tick`.

    `step(now)` is awaited once a round, after the user's first words, with `tools` and `policy` (texts for a prompt),
    `said` (all that the user said, a list of texts), `calls` (all calls so far: {'tool', 'args', and 'result' or
    'refused'}), `left` (calls), `hard` (of the task) and, without users, `wish` and `facts`. It gives {'call': tool,
    'args': {...}}, {'say': text} or {'done': True}, or None to leave, which ends the task as it stands. Gives what was
    last known; empty without a task.
    """
    if ctx.seen[f"{part}.nth"] < 0:
        return {}
    now = {**(await ctx.look(f"{part}.manual")), **(await ctx.look(f"{part}.wish"))}
    now |= {"said": [], "calls": [], "hard": ctx.seen[f"{part}.hard"], "left": ctx.seen[f"{part}.left"]}
    body: Any = None
    heard: Any = {"over": False}
    if ctx.seen[f"{part}.partner"] >= 0:
        heard = await ctx.round(part, None)
    while not isinstance(heard, Closed) and not heard["over"]:
        said = [*now["said"], *([heard["said"]] if "said" in heard else [])]
        now = {**now, "said": said, "left": heard.get("left", now["left"])}
        if (body := await step(now)) is None:
            return now
        heard = await ctx.round(part, dict(body))
        if not isinstance(heard, Closed) and "call" in body:
            came = {name: heard[name] for name in ("result", "refused") if name in heard}
            now = {**now, "calls": [*now["calls"], {"tool": body["call"], "args": body.get("args", {}), **came}]}
    return now


async def be_served(ctx: Any, say: Say, *, patience: int | None = None, part: str = "tools") -> None:
    """Say what is wanted and answer until the task is over; the turn of a user awaits it, `Tools` `within_tick`.

    `say(now)` is awaited first with {'wish', 'facts', 'said': ''}, then whenever the agent has said something, which is
    `said`; it gives a text, or None for nothing. After `patience` rounds the user ends the task (None: never). A user
    whose agent has no task does nothing.
    """
    task = await ctx.look(f"{part}.wish")
    if not task:
        return
    heard: Any = {"said": "", "over": False}
    waited = 0
    while not isinstance(heard, Closed) and not heard["over"]:
        body: dict[str, Any] | None = None
        if patience is not None and waited >= patience:
            body = {"done": True}
        elif "said" in heard:
            text = await say({**task, "said": heard["said"]})
            body = None if text is None else {"say": text}
        heard, waited = await ctx.round(part, body), waited + 1
