"""The agent's side of a feed: go through what is shown, react to some of it, and have read it all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

React = Callable[[dict[str, Any]], Awaitable[tuple[str, str] | str | None]]


async def browse(
    ctx: Any, react: React, posts: Sequence[dict[str, Any]] | None = None, *, most: int | None = None,
    part: str = "feed",
) -> int:  # fmt: skip
    """React to posts of a `Platform`, in the order in which they are shown, then mark them all as read.

    `react(post)` is awaited with each of `posts` (all that the agent sees as `shown`, unless given) until `most`
    reactions are made (None: to the end), and gives 'like', 'share' or 'flag', ('comment', text) or ('quote', text), or
    None to pass on. Gives how many reactions were made. Raises ValueError for another reaction.
    """
    shown = ctx.seen[f"{part}.shown"] if posts is None else posts
    made = 0
    for post in shown:
        if most is not None and made >= most:
            break
        answer = await react(post)
        if answer is None:
            continue
        made += 1
        what, text = (answer, "") if isinstance(answer, str) else answer
        if what == "comment":
            ctx.act(f"{part}.post", text=text, reply_to=post["id"])
        elif what == "quote":
            ctx.act(f"{part}.quote", post=post["id"], text=text)
        elif what in ("like", "share", "flag"):
            ctx.act(f"{part}.{what}", post=post["id"])
        else:
            raise ValueError(f"browse: {what!r} is no reaction; they are like, share, flag, comment, quote")
    if shown:
        ctx.act(f"{part}.read", posts=[post["id"] for post in shown])
    return made
