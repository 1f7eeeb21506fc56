"""Both sides of a consultation within a tick: one loop that asks, waits for the answer and goes on; one that tells."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from populace.core.rounds import Closed

Choose = Callable[[dict[str, Any]], Awaitable[Mapping[str, Any] | None]]
Tell = Callable[[dict[str, Any]], Awaitable[Mapping[str, Any] | None]]


async def solve(ctx: Any, choose: Choose, part: str = "cases") -> dict[str, Any]:
    """Work on the case until it is answered or left; the turn of a solver awaits it, where `Cases` are `within_tick`.

    `choose(now)` is awaited before each act, with the chart as it stands (`known`, `words`, `open`, `answers`, `left`,
    `spent`) and with `told`, what came to light since it was last awaited, first all that is known: {'key', 'words',
    'level'} each; `said`, what the holder said with it, or ''; and `refused`, why the last act was, or ''. It gives
    {'ask': question}, {'examine': question}, {'order': question} or {'answer': answer}, or None to leave the case for
    another tick. A question that was put is no longer `open`; `spent` is as of the tick's start. Gives the chart as it
    stood last; empty without a case.
    """
    now: dict[str, Any] = await ctx.look(f"{part}.chart")
    if not now:
        return now
    known, words = now["known"], now["words"]
    told = [{"key": key, "words": words[key], "level": level} for key, level in known.items()]
    said = refused = ""
    while (act := await choose({**now, "told": told, "said": said, "refused": refused})) is not None:
        heard = await ctx.round(part, dict(act))
        if isinstance(heard, Closed) or heard["over"]:
            return now
        refused, said = heard.get("refused", ""), ""
        if "ask" in act and not refused and "told" not in heard:  # the holder tells it in the next round
            heard = await ctx.round(part, None)
            if isinstance(heard, Closed):
                return now
            said = heard.get("said", "")
        told = [*heard.get("told", []), *heard.get("found", [])]
        put = {act.get(how) for how in now["open"]} if not refused else set()
        now = {
            **now,
            "known": {**now["known"], **{one["key"]: one["level"] for one in told if one["level"] is not None}},
            "words": {**now["words"], **{one["key"]: one["words"] for one in told}},
            "open": {how: [one for one in names if one not in put] for how, names in now["open"].items()},
            "left": heard["left"],
        }
    return now


async def attend(ctx: Any, tell: Tell, part: str = "cases") -> None:
    """Answer until the solver is done; the turn of a holder awaits it, where `Cases` are `within_tick`.

    `tell(heard)` is awaited whenever something is asked or said, with {'asked', 'facts': the true levels by key,
    'said'}, as far as they are; it gives {'tell': {key: level}, 'say': text}, or None for nothing. A holder whose
    solver has no case does nothing.
    """
    if ctx.seen[f"{part}.partner"] < 0:
        return
    heard = await ctx.round(part, None)
    while not isinstance(heard, Closed) and not heard["over"]:
        body = await tell(heard) if "facts" in heard or "said" in heard else None
        heard = await ctx.round(part, None if body is None else dict(body))
