"""Looks of many turns in columns: who asks, and each question once. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.records import Look
from populace.env.packed import Asked

_pack: Final = msgspec.msgpack.Encoder().encode


class Looks(msgspec.Struct, frozen=True):
    """What `agents` (int32) ask.

    `questions` has each question once, a query and its packed arguments; `which` (int32) says which of them an agent
    asks.
    """

    agents: NDArray[np.int32]
    which: NDArray[np.int32]
    questions: list[tuple[str, bytes]]

    def __len__(self) -> int:
        return len(self.agents)

    def by_query(self) -> Iterator[tuple[str, NDArray[np.intp], Asked]]:
        """Each query, the places of the looks that ask it, in their order, and their arguments."""
        queries = dict.fromkeys(query for query, _ in self.questions)
        if len(queries) == 1:
            asked = Asked([args for _, args in self.questions], self.which.astype(np.intp))
            yield self.questions[0][0], np.arange(len(self)), asked
            return
        codes = {query: code for code, query in enumerate(queries)}
        of = np.array([codes[query] for query, _ in self.questions], np.intp)[self.which]
        for query, code in codes.items():
            places = np.flatnonzero(of == code)
            mine, which = np.unique(self.which[places], return_inverse=True)
            yield query, places, Asked([self.questions[one][1] for one in mine.tolist()], which)


def gathered(looks: Sequence[Look]) -> Looks:
    """These looks in columns."""
    known: dict[tuple[str, bytes], int] = {}
    which = [known.setdefault((one.query, _pack(one.args)), len(known)) for one in looks]
    agents = np.fromiter((one.agent for one in looks), np.int32, len(looks))
    return Looks(agents, np.array(which, np.int32), list(known))
