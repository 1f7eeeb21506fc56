"""What agents see of a directory, and what they may ask it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace.env.market.ledger import Ledger
from populace.env.market.listings import UNLIMITED, Listings
from populace.env.market.proposals import OPEN, Proposals
from populace.env.market.ranking import Ranking, Words, by_fit
from populace.env.part import Part, query


class DirectoryQueries(Part):
    """The queries of a `Directory`, which says what they go by."""

    name = "directory"
    ranking: Ranking
    show: int
    valid_ticks: int
    items: tuple[str, ...]
    attributes: tuple[str, ...]
    listings: Listings
    proposals: Proposals
    ledger: Ledger
    _words: Words

    def observe(self, tick: int, agents: NDArray[np.int32]) -> Mapping[str, NDArray[Any]]:
        """Each agent's account."""
        return {"cents": self.ledger.cents[agents]}

    @query
    def search(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """`search(items=[], attributes=[], text="", value_cents=None, page=0, n=show)`: a page of listings, best first.

        'perfect' puts those first that have most of what is wanted, in truth, and among these the ones of the highest
        surplus, `value_cents` * true quality - price (without a value, of the highest quality). 'lexical' goes by how
        the words of the query occur in names, menus and texts, 'random' by lot. Ties are broken by lot.

        A listing is shown as {'listing', 'seller', 'name', 'text', 'prices' (of the wanted items on the menu, or of
        all), 'total_cents' (None where a wanted item is lacking), 'attributes' and 'claimed_quality' (what is
        claimed), 'reviews', 'sold_out' (whether a wanted item is)}.
        """
        return [self._search(agent, **one) for agent, one in zip(agents, args, strict=True)]

    def _search(
        self,
        agent: int,
        /,
        *,
        items: Any = (),
        attributes: Any = (),
        text: Any = "",
        value_cents: Any = None,
        page: Any = 0,
        n: Any = None,
        **rest: Any,
    ) -> list[dict[str, Any]]:
        n = self.show if n is None else n
        if rest or type(n) is not int or n < 1 or type(page) is not int or page < 0 or type(text) is not str:
            raise ValueError(f"n is at least 1, page at least 0, text a str: {n!r}, {page!r}, {text!r} {rest or ''}")
        if value_cents is not None and (type(value_cents) is not int or value_cents < 0):
            raise ValueError(f"value_cents is None, or 0 or more, got {value_cents!r}")
        if not all(
            type(one) in (list, tuple) and all(type(name) is str for name in one) for one in (items, attributes)
        ):
            raise ValueError(f"items and attributes are lists of names, got {items!r} and {attributes!r}")
        wanted = [one for one in items if one not in self.listings.items]
        lacking = [one for one in attributes if one not in self.attributes]
        if wanted or lacking:
            raise ValueError(f"no item or attribute {[*wanted, *lacking]}; there are {self.items}, {self.attributes}")
        found = np.flatnonzero(self.listings.column("open"))
        places = [self.listings.items[one] for one in items]
        lot = self.world.draw.words(f"{self.name}.search.{agent}", found)
        if self.ranking == "perfect":
            columns = (self.listings.column(name, found) for name in ("attributes", "quality"))
            menus = self.listings.prices[found], self.listings.stock[found]
            bits = self.listings.bits(attributes)
            keys = (lot, *by_fit(*menus, *columns, items=places, wanted=bits, value_cents=value_cents))
        elif self.ranking == "lexical":
            words = " ".join((text, *items, *attributes))
            keys = (lot, -self._index().scores(words)[found])
        else:
            keys = (lot,)
        best = found[np.lexsort(keys)][page * n : (page + 1) * n]
        return [self._shown(one, places) for one in best.tolist()]

    def _index(self) -> Words:
        """The index of words, with the listings registered since it was last asked."""
        for number in range(len(self._words), self.listings.count):
            row = self.listings.of(number)
            self._words.add(" ".join((row["name"], row["text"], *self.listings.menu(number))))
        return self._words

    def _shown(self, listing: int, items: Sequence[int] = ()) -> dict[str, Any]:
        row, menu = self.listings.of(listing), self.listings.prices[listing]
        on_menu = [item for item in items if menu[item] >= 0] if items else np.flatnonzero(menu >= 0).tolist()
        prices = {self.items[item]: int(menu[item]) for item in on_menu}
        return {
            "listing": listing,
            "seller": row["seller"],
            "name": row["name"],
            "text": row["text"],
            "prices": prices,
            "total_cents": sum(int(menu[item]) for item in items) if len(on_menu) >= len(items) else None,
            "attributes": self.listings.names(row["claimed_attributes"]),
            "claimed_quality": row["claimed_quality"],
            "reviews": row["reviews"],
            "sold_out": bool((self.listings.stock[listing, on_menu] <= 0).any()),
        }

    @query
    def listing(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """`listing(listing=)`: one listing, with its whole menu."""
        return [self._listing(**one) for one in args]

    def _listing(self, /, *, listing: Any = None, **rest: Any) -> dict[str, Any]:
        if rest or not self._there(listing):
            raise ValueError(f"there is no listing {listing!r}, or it was withdrawn {rest or ''}")
        return self._shown(listing)

    @query
    def own(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """`own()`: the asking agent's listings, oldest first, with their stock by item."""
        if any(args):
            raise ValueError("write look('directory.own') without arguments")
        sellers = self.listings.column("seller")
        found = []
        for agent in agents:
            mine = np.flatnonzero((sellers == agent) & self.listings.column("open")).tolist()
            found.append([{**self._shown(one), "stock": self._stock(one)} for one in mine])
        return found

    def _stock(self, listing: int) -> dict[str, int | None]:
        left = self.listings.stock[listing].tolist()
        on_menu = self.listings.prices[listing] >= 0
        return {item: None if left[at] == UNLIMITED else left[at] for at, item in enumerate(self.items) if on_menu[at]}

    @query
    def proposals_to(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """`proposals_to()`: the proposals that the asking agent can accept, in the order in which they arrived."""
        if any(args):
            raise ValueError("write look('directory.proposals_to') without arguments")
        found = []
        for agent in agents:
            chain, one = [], int(self.proposals.newest[agent])
            while self.proposals.kept(one):
                if self._acceptable(one):
                    chain.append(self._proposal(one))
                one = self.proposals.get("before", one)
            found.append(chain[::-1])
        return found

    def _there(self, listing: Any) -> bool:
        return type(listing) is int and self.listings.kept(listing) and self.listings.get("open", listing)

    def _acceptable(self, one: int) -> bool:
        if self.proposals.get("status", one) != OPEN or self._expired(one):
            return False
        listing, items = self.proposals.get("listing", one), self.proposals.items_of(one)
        return self._there(listing) and self.listings.has(listing, items)

    def _expired(self, one: int) -> bool:
        return self.valid_ticks > 0 and self.world.tick > int(self.proposals.get("time", one)) + self.valid_ticks

    def _proposal(self, one: int) -> dict[str, Any]:
        row = self.proposals.of(one)
        shown = self._shown(row["listing"])
        return {
            "proposal": one,
            **{name: shown[name] for name in ("listing", "seller", "name")},
            "items": [self.items[item] for item in self.proposals.items_of(one)],
            "price_cents": row["price_cents"],
            "text": row["text"],
            **{name: shown[name] for name in ("claimed_quality", "attributes", "reviews")},
        }
