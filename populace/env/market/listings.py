"""What sellers offer: menus with prices and stock, attributes, quality; what is so, and what is claimed. Columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.digest import RowDigests, join_digests
from populace.env.market.ring import Ring

MOST_ATTRIBUTES: Final = 62
MOST_PRICE_CENTS: Final = 2**31 - 1
UNLIMITED: Final = 2**31 - 1
"""The stock of an item that never runs out."""
_MENU: Final = ("price_cents", "stock")


class Listing(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a seller registers. `prices` is in cents by item; `stock` in units by item (None: never runs out).

    `attributes` and `quality` (0 to 1) are what is so; `claimed_attributes` and `claimed_quality` what is shown, the
    truth unless they are given. `reviews` is a number that is shown and that nobody checks. `delay` is how many ticks
    a proposal of this listing takes to arrive: a real number, of which the whole part counts ticks, and the rest
    orders what arrives in the same tick.
    """

    prices: dict[str, int]
    name: str = ""
    text: str = ""
    stock: dict[str, int] | None = None
    attributes: list[str] = []
    claimed_attributes: list[str] | None = None
    quality: float = 1.0
    claimed_quality: float | None = None
    reviews: int = 0
    delay: float = 0.0


class Listings(Ring):
    """Listings in the order in which they were registered; up to `capacity`, and none is ever dropped.

    Prices and stock are matrices, a row a listing and a column an item: price -1 is not on the menu.
    """

    def __init__(self, items: Sequence[str], attributes: Sequence[str], capacity: int) -> None:
        columns = {
            "seller": np.int32,
            "open": np.bool_,
            "attributes": np.int64,
            "claimed_attributes": np.int64,
            "quality": np.float64,
            "claimed_quality": np.float64,
            "reviews": np.int64,
            "delay": np.float64,
            "sold": np.int64,
            "name": str,
            "text": str,
        }
        super().__init__("listings", columns, capacity)
        self.items = {item: at for at, item in enumerate(items)}
        self.attribute_names = tuple(attributes)
        self._bit = {attribute: 1 << at for at, attribute in enumerate(attributes)}
        self._menus = {name: np.zeros((0, len(items)), np.int32) for name in _MENU}
        self._menu_digests: RowDigests | None = None
        self._changed: list[int] = []

    @property
    def prices(self) -> NDArray[np.int32]:
        """Prices in cents, (listings, items); -1 where an item is not on the menu."""
        return self._menus["price_cents"][: self.count]

    @property
    def stock(self) -> NDArray[np.int32]:
        """Units left, (listings, items)."""
        return self._menus["stock"][: self.count]

    def bits(self, attributes: Sequence[str]) -> int:
        """Attributes as bits. Raises KeyError for one that there is not."""
        found = 0
        for one in attributes:
            found |= self._bit[one]
        return found

    def names(self, bits: int) -> list[str]:
        """The attributes of these bits."""
        return [name for name in self.attribute_names if bits & self._bit[name]]

    def check(self, given: Mapping[str, Any]) -> Listing:
        """What is registered, typed. Raises ValueError that says what is wrong."""
        try:
            one = msgspec.convert(dict(given), Listing)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None
        if not one.prices:
            raise ValueError("prices: at least one item")
        unknown = sorted(({*one.prices} | {*(one.stock or {})}) - set(self.items))
        if unknown:
            raise ValueError(f"no item {unknown[0]!r}; there are: {', '.join(self.items)}")
        unknown = sorted({*one.attributes, *(one.claimed_attributes or ())} - set(self._bit))
        if unknown:
            raise ValueError(f"no attribute {unknown[0]!r}; there are: {', '.join(self._bit)}")
        numbers = [*one.prices.values(), *(one.stock or {}).values(), one.reviews]
        if not all(0 <= value <= MOST_PRICE_CENTS for value in numbers):
            raise ValueError(f"prices, stock and reviews are from 0 to {MOST_PRICE_CENTS}")
        claimed = one.quality if one.claimed_quality is None else one.claimed_quality
        if not (0 <= one.quality <= 1 and 0 <= claimed <= 1 and 0 <= one.delay < float("inf")):
            raise ValueError("quality and claimed_quality are from 0 to 1, delay is 0 or more ticks")
        return one

    def register(self, seller: int, one: Listing) -> int:
        """Add a checked listing; gives its number."""
        true = self.bits(one.attributes)
        claimed = true if one.claimed_attributes is None else self.bits(one.claimed_attributes)
        number = self.add(
            seller=seller,
            open=True,
            attributes=true,
            claimed_attributes=claimed,
            quality=one.quality,
            claimed_quality=one.quality if one.claimed_quality is None else one.claimed_quality,
            reviews=one.reviews,
            delay=one.delay,
            sold=0,
            name=one.name,
            text=one.text,
        )
        rows = len(self._columns["seller"])
        for name, menu in self._menus.items():
            if rows > len(menu):
                self._menus[name] = np.concatenate((menu, np.full((rows - len(menu), menu.shape[1]), -1, np.int32)))
        self.prices[number], self.stock[number] = -1, 0
        for item, cents in one.prices.items():
            at = self.items[item]
            self.prices[number, at] = cents
            self.stock[number, at] = UNLIMITED if one.stock is None else one.stock.get(item, 0)
        self.touch_menu(number)
        return number

    def touch_menu(self, listing: int) -> None:
        """Prices or stock of a listing have changed."""
        if self._menu_digests is not None:
            self._changed.append(listing)

    def has(self, listing: int, items: Sequence[int]) -> bool:
        """Whether there is a unit of each item."""
        stock = self.stock[listing]
        return bool((stock >= np.bincount(items, minlength=len(stock))).all())

    def take(self, listing: int, items: Sequence[int]) -> bool:
        """Take a unit of each item; False, and nothing taken, where one is sold out."""
        if not self.has(listing, items):
            return False
        stock = self.stock[listing]
        self.stock[listing] = np.where(stock == UNLIMITED, stock, stock - np.bincount(items, minlength=len(stock)))
        self.touch_menu(listing)
        return True

    def menu(self, listing: int) -> dict[str, int]:
        """The prices in cents by item of what is on the menu."""
        return {item: int(cents) for item, cents in zip(self.items, self.prices[listing], strict=True) if cents >= 0}

    def digest(self) -> bytes:
        """16 bytes over listings and menus, kept as they change."""
        if self._menu_digests is None:
            self._menu_digests, self._changed = RowDigests("menus", *_MENU), list(range(self.count))
        changed, width = np.unique(np.array(self._changed, np.int64)), len(self.items)
        cells = (changed[:, None] * width + np.arange(width)).ravel()
        self._menu_digests.put(cells, cells, self.prices[changed].ravel(), self.stock[changed].ravel())
        self._changed.clear()
        return join_digests(super().digest(), self._menu_digests.digest())

    def state(self) -> dict[str, Any]:
        """All listings, with their menus."""
        return {**super().state(), "prices": self.prices, "stock": self.stock}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state. Raises ScenarioError for one with other items."""
        if state["prices"].shape[1] != len(self.items):
            raise ScenarioError(f"the checkpoint has {state['prices'].shape[1]} items, this part {len(self.items)}")
        super().restore(state)
        self._menus = {"price_cents": state["prices"].copy(), "stock": state["stock"].copy()}
        self._menu_digests = None
