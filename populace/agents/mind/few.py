"""The scores of `ranking`, to the bit, where there are a few memories: by Python's own floats.

A call of NumPy's costs as much as a dozen sums, and an agent that remembers a few dozen texts is asked for them in
every turn. All is added and multiplied in the order in which `ranking` does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.agents.mind import ranking

MOST: Final = 64
"""Up to so many memories this is the faster way."""


@lru_cache(maxsize=1_024)
def asked_for(query: str) -> NDArray[np.uint32]:
    """The words of a query as the index holds them, each once."""
    found = np.array(ranking.terms_of(query), "<u4")
    found.flags.writeable = False
    return found


def bm25(
    query: NDArray[np.uint32],
    terms: bytes,
    counts: bytes,
    distinct: Sequence[int],
    words: Sequence[int],
    k1: float = 1.5,
    b: float = 0.75,
) -> list[float]:
    """See `ranking.bm25`: `query` as `asked_for` gives it, `terms` and `counts` as they are saved."""
    n = len(distinct)
    scores = [0.0] * n
    asked, places = ranking.found(query, np.frombuffer(terms, "<u4"))
    if not len(places):
        return scores
    which = asked.tolist()
    total = sum(words)
    factors = {one: ranking.idf(n, which.count(one)) * (k1 + 1.0) for one in set(which)}
    ends = list(accumulate(distinct))
    least, each = k1 * (1.0 - b), k1 * b * n / total
    for one, place in zip(which, places.tolist(), strict=True):
        owner, often = bisect_right(ends, place), float(counts[place])
        scores[owner] += factors[one] * often / (often + (least + each * words[owner]))
    return scores


def powers(base: float, exponents: Sequence[int]) -> list[float]:
    """See `ranking.powers`."""
    low = _powers(base, 255)
    most = max(exponents)
    if most < 256:
        return [low[one] for one in exponents]
    high = _powers(_powers(base, 256)[-1], most >> 8)
    return [low[one & 255] * high[one >> 8] for one in exponents]


@lru_cache(maxsize=256)
def _powers(base: float, most: int) -> list[float]:
    found: list[float] = ranking.up_to(base, most).tolist()
    return found


def to_unit(values: Sequence[float]) -> Sequence[float]:
    """See `ranking.to_unit`."""
    least = min(values)
    span = max(values) - least
    return [(one - least) / span for one in values] if span > 0.0 else [0.0] * len(values)


def best(scores: Sequence[float], k: int, among: Sequence[Any] | range) -> list[int]:
    """Those places `among` the scores with the `k` highest, best first; of equals the later one."""
    ranked = sorted([(scores[at], at) for at in among], reverse=True)
    return [at for _, at in ranked[: max(k, 0)]]
