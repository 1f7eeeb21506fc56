"""Proposals that sellers make to buyers: under way until they arrive, then open until one of them is taken. Columns."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Final

import numpy as np

from populace.env.digest import RowDigests, join_digests
from populace.env.market.ring import Ring

UNDER_WAY: Final = 0
OPEN: Final = 1
TAKEN: Final = 2
DECLINED: Final = 3
NONE: Final = -1


class Proposals(Ring):
    """The last `keep` proposals, and which of them have not arrived yet.

    One arrives in the tick into which its time falls. Those that arrive in one tick do so by their time, and at one
    time by a keyed draw, whoever sent them. `rank` counts what the buyer received before, from 0.
    """

    def __init__(self, keep: int, basket: int, agents: int) -> None:
        columns = {
            "tick": np.int32,
            "listing": np.int32,
            "seller": np.int32,
            "buyer": np.int32,
            "price_cents": np.int64,
            "time": np.float64,
            "tie": np.uint64,
            "status": np.int8,
            "rank": np.int32,
            "before": np.int64,
            "text": str,
            **{f"item_{at}": np.int16 for at in range(basket)},
        }
        super().__init__("proposals", columns, keep)
        self._basket = [f"item_{at}" for at in range(basket)]
        self.received = np.zeros(agents, np.int64)
        """How many proposals have reached each agent."""
        self.newest = np.full(agents, NONE, np.int64)
        """The one that reached each agent last."""
        self._under_way: list[tuple[float, int, int]] = []
        self._reached: list[int] = []
        self._buyers: RowDigests | None = None

    def propose(self, items: Sequence[int], **values: Any) -> int:
        """A proposal sets out; gives its number."""
        filled = [*items, *([-1] * (len(self._basket) - len(items)))]
        number = self.add(
            **values, status=UNDER_WAY, rank=-1, before=NONE, **dict(zip(self._basket, filled, strict=True))
        )
        heappush(self._under_way, (values["time"], int(values["tie"]), number))
        if len(self._under_way) > 2 * self.keep:  # those of long delays are no longer kept
            self._under_way = [one for one in self._under_way if self.kept(one[2])]
            heapify(self._under_way)
        return number

    def arrive(self, tick: int) -> list[int]:
        """Let those arrive whose time falls into this tick; gives them in their order."""
        found = []
        while self._under_way and self._under_way[0][0] < tick + 1:
            number = heappop(self._under_way)[2]
            if not self.kept(number):
                continue
            buyer = self.get("buyer", number)
            for name, value in (("status", OPEN), ("rank", self.received[buyer]), ("before", self.newest[buyer])):
                self.put(name, number, value)
            self.received[buyer] += 1
            self.newest[buyer] = number
            if self._buyers is not None:
                self._reached.append(buyer)
            found.append(number)
        return found

    def grow(self, agents: int) -> None:
        """So many agents more, whom nothing has reached."""
        self._reached += range(len(self.received), len(self.received) + agents)
        self.received = np.concatenate((self.received, np.zeros(agents, np.int64)))
        self.newest = np.concatenate((self.newest, np.full(agents, NONE, np.int64)))

    def digest(self) -> bytes:
        """16 bytes over proposals and what has reached whom, kept as they change."""
        if self._buyers is None:
            self._buyers, self._reached = RowDigests("buyers", "received", "newest"), list(range(len(self.received)))
        reached = np.unique(np.array(self._reached, np.int64))
        self._buyers.put(reached, reached, self.received[reached], self.newest[reached])
        self._reached.clear()
        return join_digests(super().digest(), self._buyers.digest())

    def state(self) -> dict[str, Any]:
        """The kept proposals, and what has reached whom."""
        return {**super().state(), "received": self.received, "newest_of": self.newest}

    def items_of(self, number: int) -> list[int]:
        """The items of a proposal."""
        return [item for name in self._basket if (item := self.get(name, number)) >= 0]

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state."""
        super().restore(state)
        self.received, self.newest = state["received"].copy(), state["newest_of"].copy()
        self._buyers = None
        numbers = self.numbers()
        under_way = numbers[self.column("status", numbers) == UNDER_WAY]
        self._under_way = [(self.get("time", one), self.get("tie", one), one) for one in under_way.tolist()]
        heapify(self._under_way)
