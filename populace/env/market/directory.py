"""A two-sided marketplace as a part of the world: a directory of listings, search, proposals, payment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.digest import join_digests
from populace.env.market.directory_queries import DirectoryQueries
from populace.env.market.ledger import MOST_CENTS, Ledger
from populace.env.market.listings import MOST_ATTRIBUTES, MOST_PRICE_CENTS, UNLIMITED, Listings
from populace.env.market.proposals import DECLINED, OPEN, TAKEN, Proposals
from populace.env.market.ranking import Ranking, Words
from populace.env.market.ring import Ring
from populace.env.part import Batch, Opening, action
from populace.env.wholes import check_whole

_POSTED: Final = -1
_SALE: Final = {
    "tick": np.int32,
    "buyer": np.int32,
    "seller": np.int32,
    "listing": np.int32,
    "price_cents": np.int64,
    "proposal": np.int64,
    "rank": np.int32,
}


class Directory(DirectoryQueries):
    """Sellers register listings; buyers search them, buy at the posted price, or take a proposal made to them.

    A listing has a menu (prices in cents and stock by item), attributes, a quality from 0 to 1, and what it claims of
    these two; the truth is shown to nobody before it has paid. See `listings.Listing` for what `register` takes.

    Sellers act with `register(...)`, `reprice(listing=, prices=)`, `restock(listing=, stock=)`, `withdraw(listing=)`
    and `propose(to=, listing=, items=, price_cents=, text="")`. Buyers act with `buy(listing=, items=)`,
    `accept(proposal=)` and `decline(proposal=)`. Anybody may `pay(to=, cents=)`. Items are units of what `items`
    names, up to `basket` at once. Refusals are `bad_arguments`, `unknown_listing` (there is none, or it is withdrawn),
    `not_yours`, `not_on_menu`, `sold_out`, `no_cash`, `unknown_agent`, `directory_full`, `unknown_proposal` (it has
    not arrived, or is kept no longer), `expired` and `closed` (it was taken or declined).

    What is scarce goes to who acts first in the fair order of the tick, which favours no id: the last unit, and the
    last cent. Stock is taken when a purchase is paid, and the money goes to the seller: the sum of all accounts never
    changes.

    A proposal takes the listing's `delay` in ticks to arrive, beyond the tick in which it is made; then its buyer is
    sent {'proposal', 'listing', 'seller', 'name', 'items', 'price_cents', 'text', 'claimed_quality', 'attributes',
    'reviews'}. Proposals reach a buyer in the order of their times, and by a keyed draw at one time, whoever sent them.
    Who buys is sent {'bought': listing, 'items', 'price_cents', 'quality', 'attributes'}, now the true ones, and the
    seller {'sold': listing, 'items', 'price_cents', 'buyer'}.

    Agents see `cents`, their account, and ask for `search(...)`, `listing(listing=)`, `own()` and `proposals_to()`.

    Levers may set `ranking` ('perfect', 'lexical' or 'random'), `show` (results a page), `valid_ticks` (after which
    a proposal that has arrived expires; 0: never) and `delay_factor` (by which delays are multiplied).
    """

    name = "directory"
    unsaved = ("_words",)
    settable: Mapping[str, Any] = {"ranking": Ranking, "show": int, "valid_ticks": int, "delay_factor": float}

    def __init__(
        self,
        items: Sequence[str],
        attributes: Sequence[str] = (),
        *,
        listings: Mapping[int, Sequence[Mapping[str, Any]]] | None = None,
        cents: int | Sequence[int] | NDArray[np.integer] = 0,
        ranking: Ranking = "perfect",
        show: int = 10,
        valid_ticks: int = 0,
        delay_factor: float = 1.0,
        basket: int = 8,
        capacity: int = 100_000,
        keep: int = 100_000,
        name: str | None = None,
    ) -> None:
        """`listings` are there from the start, by seller; `cents` is what each agent begins with.

        `capacity` is how many listings there may ever be; `keep` proposals and sales are kept. Raises ScenarioError
        for what is out of range.
        """
        super().__init__(name)
        where = f"{type(self).__name__}"
        if not items or len({*items}) != len(items) or len({*attributes}) != len(attributes):
            raise ScenarioError(f"{where}(items, attributes): at least one item, and no name twice")
        if len(attributes) > MOST_ATTRIBUTES or len(items) > np.iinfo(np.int16).max:
            raise ScenarioError(f"{where}: up to {np.iinfo(np.int16).max} items and {MOST_ATTRIBUTES} attributes")
        check_whole(where, 1, basket=basket, capacity=capacity, keep=keep)
        self.items, self.attributes = tuple(items), tuple(attributes)
        self.basket, self.capacity, self.keep = basket, capacity, keep
        self.ranking: Ranking = "perfect"
        self.show, self.valid_ticks, self.delay_factor = 10, 0, 1.0
        given = {"ranking": ranking, "show": show, "valid_ticks": valid_ticks, "delay_factor": delay_factor}
        for setting, value in given.items():
            self.set_parameter(setting, value)
        self._start = listings or {}
        self._cents = cents

    def set_parameter(self, name: str, value: Any) -> None:
        """Take a value of `settable`. Raises ScenarioError for one that is out of range."""
        fits = {
            "ranking": value in get_args(Ranking),
            "show": type(value) is int and value >= 1,
            "valid_ticks": type(value) is int and value >= 0,
            "delay_factor": type(value) in (int, float) and 0 <= value < float("inf"),
        }
        if not fits[name]:
            raise ScenarioError(
                f"part '{self.name}': {name}={value!r}: ranking is one of {', '.join(get_args(Ranking))}, show at "
                "least 1, valid_ticks and delay_factor 0 or more"
            )
        setattr(self, name, float(value) if name == "delay_factor" else value)

    def open(self, opening: Opening) -> None:
        """Open accounts and register the first listings. Raises ScenarioError, naming the listing that is no good."""
        self.ledger = Ledger.of(self._cents, opening.agents, f"part '{self.name}', cents")
        self.listings = Listings(self.items, self.attributes, self.capacity)
        self.proposals = Proposals(self.keep, self.basket, opening.agents)
        self.sales = Ring("sales", _SALE, self.keep)
        self.turnover_cents = 0
        self._words = Words()
        for seller, rows in self._start.items():
            for at, row in enumerate(rows):
                where = f"part '{self.name}', listing {at} of seller {seller}"
                if not 0 <= seller < opening.agents or self.listings.count == self.capacity:
                    raise ScenarioError(f"{where}: sellers are 0 to {opening.agents - 1}, capacity={self.capacity}")
                try:
                    self.listings.register(seller, self.listings.check(row))
                except ValueError as error:
                    raise ScenarioError(f"{where}: {error}") from None

    @action
    def register(self, tick: int, batch: Batch) -> None:
        """`register(prices=, name=, text=, stock=, attributes=, quality=, ...)`: add a listing; see `Listing`."""
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            if self.listings.count == self.capacity:
                batch.refuse(i, "directory_full")
                continue
            try:
                self.listings.register(agent, self.listings.check(args))
            except ValueError:
                batch.refuse(i, "bad_arguments")

    @action
    def reprice(self, tick: int, batch: Batch) -> None:
        """`reprice(listing=, prices={item: cents})`: change posted prices, or put items on the menu."""
        for _, listing, prices in self._changes(batch, "prices"):
            for item, cents in prices.items():
                at = self.listings.items[item]
                if self.listings.prices[listing, at] < 0 and listing < len(self._words):
                    self._words.more(listing, item)
                self.listings.prices[listing, at] = cents
            self.listings.touch_menu(listing)

    @action
    def restock(self, tick: int, batch: Batch) -> None:
        """`restock(listing=, stock={item: units})`: add units to what is left."""
        for i, listing, units in self._changes(batch, "stock"):
            at = [self.listings.items[item] for item in units]
            left = self.listings.stock[listing, at].astype(np.int64) + list(units.values())
            limited = self.listings.stock[listing, at] != UNLIMITED
            if (left[limited] >= UNLIMITED).any():
                batch.refuse(i, "bad_arguments")
                continue
            self.listings.stock[listing, at] = np.where(limited, left, UNLIMITED)
            self.listings.touch_menu(listing)

    def _changes(self, batch: Batch, what: str) -> Iterable[tuple[int, int, dict[str, int]]]:
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            values: Any = args.get(what)
            listing: Any = args.get("listing")
            known = type(values) is dict and not values.keys() - self.listings.items.keys()
            whole = known and all(type(one) is int and 0 <= one < MOST_PRICE_CENTS for one in values.values())
            if args.keys() != {"listing", what} or not whole:
                batch.refuse(i, "bad_arguments")
            elif reason := self._not_of(listing, agent):
                batch.refuse(i, reason)
            else:
                yield i, listing, values

    @action
    def withdraw(self, tick: int, batch: Batch) -> None:
        """`withdraw(listing=)`: take a listing out of the directory, and so every proposal of it that is open."""
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            if args.keys() != {"listing"}:
                batch.refuse(i, "bad_arguments")
            elif reason := self._not_of(args["listing"], agent):
                batch.refuse(i, reason)
            else:
                self.listings.put("open", args["listing"], False)

    def _not_of(self, listing: Any, agent: int) -> str:
        if not self._there(listing):
            return "unknown_listing"
        return "" if self.listings.get("seller", listing) == agent else "not_yours"

    @action
    def propose(self, tick: int, batch: Batch) -> None:
        """`propose(to=, listing=, items=[...], price_cents=, text="")`: offer items at a price to somebody."""
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            listing: Any = args.get("listing")
            to, cents = args.get("to"), args.get("price_cents")
            text, items = args.get("text", ""), self._items(args.get("items"))
            named = args.keys() <= {"to", "listing", "items", "price_cents", "text"}
            if not named or type(to) is not int or type(text) is not str or type(cents) is not int or not items:
                batch.refuse(i, "bad_arguments")
            elif not 0 <= to < self.world.agents:
                batch.refuse(i, "unknown_agent")
            elif not 0 <= cents <= MOST_CENTS:
                batch.refuse(i, "bad_arguments")
            elif reason := self._not_of(listing, agent):
                batch.refuse(i, reason)
            elif (self.listings.prices[listing][items] < 0).any():
                batch.refuse(i, "not_on_menu")
            else:
                number = np.array([self.proposals.count])
                self.proposals.propose(
                    items,
                    tick=tick,
                    listing=listing,
                    seller=agent,
                    buyer=to,
                    price_cents=cents,
                    time=tick + self.listings.get("delay", listing) * self.delay_factor,
                    tie=self.world.draw.words(f"{self.name}.arrival", number)[0],
                    text=text,
                )

    def _items(self, given: Any) -> list[int]:
        """The items' places; none where they are not what they should be."""
        if type(given) is not list or not 1 <= len(given) <= self.basket:
            return []
        places = [self.listings.items.get(item, -1) if type(item) is str else -1 for item in given]
        return [] if min(places) < 0 else places

    @action
    def buy(self, tick: int, batch: Batch) -> Iterable[tuple[int, Any]]:
        """`buy(listing=, items=[...])`: buy a unit of each at the posted price."""
        told: list[tuple[int, Any]] = []
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            listing: Any = args.get("listing")
            items = self._items(args.get("items"))
            if args.keys() != {"listing", "items"} or not items:
                batch.refuse(i, "bad_arguments")
            elif not self._there(listing):
                batch.refuse(i, "unknown_listing")
            elif (basket := self.listings.prices[listing][items]).min() < 0:
                batch.refuse(i, "not_on_menu")
            elif reason := self._sell(told, tick, agent, listing, items, int(basket.sum(dtype=np.int64)), _POSTED, -1):
                batch.refuse(i, reason)
        return told

    @action
    def accept(self, tick: int, batch: Batch) -> Iterable[tuple[int, Any]]:
        """`accept(proposal=)`: pay what was proposed, and get it."""
        told: list[tuple[int, Any]] = []
        for i, agent, one in self._answered(batch):
            proposal, listing = self.proposals.of(one), self.proposals.get("listing", one)
            if not self._there(listing):
                batch.refuse(i, "unknown_listing")
                continue
            cents, rank = proposal["price_cents"], proposal["rank"]
            if reason := self._sell(told, tick, agent, listing, self.proposals.items_of(one), cents, one, rank):
                batch.refuse(i, reason)
            else:
                self.proposals.put("status", one, TAKEN)
        return told

    @action
    def decline(self, tick: int, batch: Batch) -> None:
        """`decline(proposal=)`: close a proposal."""
        for _, _, one in self._answered(batch):
            self.proposals.put("status", one, DECLINED)

    def _answered(self, batch: Batch) -> Iterable[tuple[int, int, int]]:
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            one = args.get("proposal")
            if args.keys() != {"proposal"} or type(one) is not int:
                batch.refuse(i, "bad_arguments")
            elif not self.proposals.kept(one) or self.proposals.get("rank", one) < 0:
                batch.refuse(i, "unknown_proposal")
            elif self.proposals.get("buyer", one) != agent:
                batch.refuse(i, "not_yours")
            elif self.proposals.get("status", one) != OPEN:
                batch.refuse(i, "closed")
            elif self._expired(one):
                batch.refuse(i, "expired")
            else:
                yield i, agent, one

    def _sell(
        self,
        told: list[tuple[int, Any]],
        tick: int,
        buyer: int,
        listing: int,
        items: list[int],
        cents: int,
        proposal: int,
        rank: int,
    ) -> str:
        """Move goods and money, or say why not."""
        row = self.listings.of(listing)
        if self.ledger.cents[buyer] < cents:
            return "no_cash"
        if not self.listings.take(listing, items):
            return "sold_out"
        self.ledger.pay(buyer, row["seller"], cents)
        self.listings.put("sold", listing, row["sold"] + 1)
        self.turnover_cents += cents
        sale = {"buyer": buyer, "seller": row["seller"], "listing": listing, "price_cents": cents}
        self.sales.add(tick=tick, proposal=proposal, rank=rank, **sale)
        names = [self.items[item] for item in items]
        truth = {"quality": row["quality"], "attributes": self.listings.names(row["attributes"])}
        told.append((buyer, {"bought": listing, "items": names, "price_cents": cents, **truth}))
        told.append((row["seller"], {"sold": listing, "items": names, "price_cents": cents, "buyer": buyer}))
        return ""

    @action
    def pay(self, tick: int, batch: Batch) -> None:
        """`pay(to=, cents=)`: move money to another account."""
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            to, cents = args.get("to"), args.get("cents")
            if args.keys() != {"to", "cents"} or type(to) is not int or type(cents) is not int:
                batch.refuse(i, "bad_arguments")
            elif not 0 <= to < self.world.agents:
                batch.refuse(i, "unknown_agent")
            elif not 0 <= cents <= MOST_CENTS:
                batch.refuse(i, "bad_arguments")
            elif reason := self.ledger.pay(agent, to, cents):
                batch.refuse(i, reason)

    def advance(self, tick: int) -> Iterable[tuple[int, Any]]:
        """Let proposals arrive."""
        return [(self.proposals.get("buyer", one), self._proposal(one)) for one in self.proposals.arrive(tick)]

    def grow(self, ids: NDArray[np.int32]) -> None:
        """Accounts of the newborns, which are empty."""
        self.ledger.grow(len(ids))
        self.proposals.grow(len(ids))

    def shrink(self, ids: NDArray[np.int32]) -> None:
        """The listings of those who leave are withdrawn; what they own stays on their accounts."""
        gone = np.flatnonzero(np.isin(self.listings.column("seller"), ids) & self.listings.column("open"))
        for listing in gone.tolist():
            self.listings.put("open", listing, False)

    def digest(self) -> bytes:
        """The digests of listings, proposals, sales and accounts, kept as they change."""
        tables = (self.listings, self.proposals, self.sales, self.ledger)
        return join_digests(*(one.digest() for one in tables), self.turnover_cents)

    def state(self) -> dict[str, Any]:
        """Listings, proposals, sales and accounts."""
        return {
            "listings": self.listings.state(),
            "proposals": self.proposals.state(),
            "sales": self.sales.state(),
            "cents": self.ledger.state(),
            "turnover_cents": self.turnover_cents,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of a directory with the same bounds. Raises ScenarioError for another."""
        if len(state["cents"]) != self.world.agents:
            raise ScenarioError(
                f"part '{self.name}' has {self.world.agents} agents; the checkpoint's {len(state['cents'])}"
            )
        self.listings.restore(state["listings"])
        self.proposals.restore(state["proposals"])
        self.sales.restore(state["sales"])
        self.ledger.restore(state["cents"])
        self.turnover_cents = state["turnover_cents"]
        self._words = Words()
