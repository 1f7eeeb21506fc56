"""What agents said in a month, until it is closed: arrays as acts came, so that none costs an object of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.env.economy.sharing import Ints, distinct

if TYPE_CHECKING:
    from populace.env.economy.base import Holdings

Floats = NDArray[np.float64]

_LOW = np.int64(2**32 - 1)
_LISTS: Final = ("hours", "spend", "shares", "orders", "sought", "quits")


class Pending:
    """Hours, budgets, applications and notices of the month so far; empty between two months."""

    def __init__(self) -> None:
        self.hours: list[tuple[Ints, Floats]] = []
        self.spend: list[tuple[Ints, Ints]] = []
        self.shares: list[tuple[Ints, Floats]] = []
        self.orders: list[tuple[Ints, Ints, Ints]] = []
        self.sought: list[tuple[Ints, Ints]] = []
        self.quits: list[Ints] = []

    def state(self) -> dict[str, dict[str, NDArray[Any]]]:
        """What was said so far: by list its columns, joined; lists of which nothing is there are left out."""
        chunks = {name: getattr(self, name) for name in _LISTS}
        chunks["quits"] = [(one,) for one in self.quits]
        joined = {name: [np.concatenate(one) for one in zip(*said, strict=True)] for name, said in chunks.items()}
        return {
            name: {f"column{at}": column for at, column in enumerate(columns)}
            for name, columns in joined.items()
            if columns and len(columns[0])
        }

    def restore(self, state: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Take what `state` gave."""
        for name, columns in state.items():
            said = tuple([columns[f"column{at}"].copy() for at in range(len(columns))])
            setattr(self, name, list(said) if name == "quits" else [said])

    def worked(self) -> tuple[Ints, Floats]:
        """Who works, sorted ids, and how many hours; of several statements of one agent the last holds."""
        return _last(self.hours)

    def budgets(self, wallets: Ints) -> tuple[Ints, Ints]:
        """Who spends at any firm, sorted ids, and how many cents; statements in cents of one agent add up.

        A share is of what is in the wallet (`wallets`, by id) as the market opens; of several the last holds.
        """
        ids, cents = _joined(self.spend)
        who, share = _last(self.shares)
        part = np.floor(np.maximum(wallets[who], 0) * share).astype(np.int64)
        return _summed(np.concatenate((ids, who)), np.concatenate((cents, part)))

    def named(self) -> tuple[Ints, Ints, Ints]:
        """Orders at a firm that was named: buyers, firms, cents; different pairs."""
        ids = np.concatenate([one[0] for one in self.orders] or [np.zeros(0, np.int64)])
        firms = np.concatenate([one[1] for one in self.orders] or [np.zeros(0, np.int64)])
        cents = np.concatenate([one[2] for one in self.orders] or [np.zeros(0, np.int64)])
        pairs, total = _summed((ids << 32) | firms, cents)
        return pairs >> 32, pairs & _LOW, total

    def quitting(self) -> Ints:
        """Who leaves a job."""
        return np.concatenate(self.quits or [np.zeros(0, np.int64)])

    def applications(self, hiring: Ints, living: Ints, economy: Holdings) -> tuple[Ints, Ints]:
        """Different pairs of applicant and firm; an application to any firm (-1) goes by lot to one that is hiring."""
        ids, firms = _joined(self.sought)
        anywhere = np.flatnonzero(firms < 0)
        choice = hiring if len(hiring) else living
        firms = firms.copy()
        if len(choice):
            drawn = economy.words("application", ids[anywhere]) % np.uint64(len(choice))
            firms[anywhere] = choice[drawn.astype(np.int64)]
        keep = firms >= 0
        keep &= economy.firms.alive[firms] if len(economy.firms) else False
        pairs = distinct((ids[keep] << 32) | firms[keep])
        who, where = pairs >> 32, pairs & _LOW
        other = economy.people.employer[who] != where
        return who[other], where[other]


def _joined(chunks: list[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    none = np.zeros(0, np.int64)
    return np.concatenate([one[0] for one in chunks] or [none]), np.concatenate([one[1] for one in chunks] or [none])


def _last(chunks: list[tuple[Ints, Floats]]) -> tuple[Ints, Floats]:
    """Different ids, sorted, with the last value that each was given."""
    if not chunks:
        return np.zeros(0, np.int64), np.zeros(0)
    ids, values = np.concatenate([one[0] for one in chunks]), np.concatenate([one[1] for one in chunks])
    order = np.argsort(ids, kind="stable")
    ids, last = ids[order], order[np.diff(ids[order], append=-1) != 0]
    return ids[np.diff(ids, append=-1) != 0], values[last]


def _summed(ids: Ints, cents: Ints) -> tuple[Ints, Ints]:
    """Different ids, sorted, with the sum of what stands beside each."""
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    starts = np.flatnonzero(np.diff(ids, prepend=-1))
    return ids[starts], np.add.reduceat(cents[order], starts) if len(starts) else cents[:0]
