"""Both sides of proposals on a directory: buyers ask sellers and take one of what comes, sellers answer who asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

Offer = Callable[[dict[str, Any]], Awaitable[Mapping[str, Any] | None]]
Choose = Callable[[list[dict[str, Any]]], Awaitable[int | None]]


def request(ctx: Any, listings: Iterable[int], found: Sequence[Mapping[str, Any]], items: Sequence[str]) -> int:
    """Ask by mail for proposals of `items`: of these `listings` (numbers) those that a search has `found`.

    Gives how many were asked, each once.
    """
    sellers = {one["listing"]: one["seller"] for one in found}
    asked = [one for one in dict.fromkeys(listings) if one in sellers]
    for one in asked:
        ctx.send(sellers[one], {"listing": one, "items": [*items]})
    return len(asked)


async def propose(ctx: Any, offer: Offer, part: str = "directory") -> int:
    """Answer the requests in the inbox; the turn of a seller awaits it.

    `offer(request)` is awaited with {'buyer', 'listing', 'items': what of the wish is on the menu, 'menu_cents': what
    these cost there}, and gives {'price_cents', 'text'}, or None for nothing. Nothing is proposed where `items` is
    empty. Gives how many proposals were made.
    """
    made = 0
    for message in ctx.inbox:
        body = message.body
        if not isinstance(body, Mapping) or not {"listing", "items"} <= body.keys() or "sold" in body:
            continue
        prices = (await ctx.look(f"{part}.listing", listing=body["listing"]))["prices"]
        items = [item for item in body["items"] if item in prices]
        asked = {"buyer": message.sender, "listing": body["listing"], "items": items}
        terms = await offer({**asked, "menu_cents": sum(prices[item] for item in items)})
        if items and terms is not None:
            offered = {"listing": body["listing"], "items": items, "price_cents": terms["price_cents"]}
            ctx.act(f"{part}.propose", to=message.sender, text=terms.get("text", ""), **offered)
            made += 1
    return made


async def take(ctx: Any, choose: Choose, part: str = "directory") -> bool:
    """Accept one of the proposals that have come, or none; the turn of a buyer awaits it.

    `choose(proposals)` is awaited where there are any, with what `proposals_to` gives, and gives a proposal's number,
    or None. Gives whether one was accepted; a number that is none of them accepts nothing.
    """
    proposals = await ctx.look(f"{part}.proposals_to")
    number = await choose(proposals) if proposals else None
    taken = any(one["proposal"] == number for one in proposals)
    if taken:
        ctx.act(f"{part}.accept", proposal=number)
    return taken
