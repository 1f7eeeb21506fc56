"""Looks for rows of a large table, newest first, for so long as an answer may take; the rest is looked at next time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.page.rows import Group, Rows

BUDGET_S: Final = 0.08
SHOWN_LETTERS: Final = 600


class Found(NamedTuple):
    """Rows as plain data, newest first, each with its number as `row`; `before` is where to go on, None at the end."""

    rows: list[dict[str, Any]]
    before: int | None


def scan(
    rows: Rows,
    by: Sequence[str],
    match: Callable[[Any], NDArray[np.bool_]],
    shown: Sequence[str],
    *,
    want: int,
    before: int | None = None,
    may_hold: Callable[[Group], bool] = lambda _: True,
    budget_s: float = BUDGET_S,
) -> Found:
    """Rows that match, before the row `before`: at most `want` of them, and what there was time for.

    `match` is given the columns `by` of a row group and gives a mask over it; groups of which `may_hold` is false are
    not read. At least one group is read, so that to go on always comes to an end; another one only where there is time
    for one that takes as long as the longest so far.
    """
    began_s = time.monotonic()
    until_s, longest_s = began_s + budget_s, 0.0
    found: list[dict[str, Any]] = []
    for group in reversed(rows.groups):
        if (before is not None and group.first >= before) or not may_hold(group):
            continue
        there = np.flatnonzero(match(rows.read(group, by)))
        if before is not None:
            there = there[there < before - group.first]
        newest = there[::-1][: want - len(found)]
        if len(newest):
            taken = rows.read(group, shown).take(newest).to_pylist()
            found += [{"row": group.first + int(at), **one} for at, one in zip(newest, taken, strict=True)]
        if len(found) >= want and (len(there) > len(newest) or group.first > 0):
            return Found(found, found[-1]["row"])
        now_s = time.monotonic()
        longest_s, began_s = max(longest_s, now_s - began_s), now_s
        if now_s + longest_s > until_s and group.first > 0:
            return Found(found, group.first)
    return Found(found, None)


def plain_text(text: str | None) -> str:
    """A body as people read it: JSON of a text is that text, other JSON stays as it is."""
    if text is None:
        return ""
    if text.startswith('"'):
        try:
            return msgspec.json.decode(text, type=str)
        except msgspec.MsgspecError:
            return text
    return text


def shortened(row: dict[str, Any], *names: str) -> dict[str, Any]:
    """A row with these columns as people read them, at most `SHOWN_LETTERS` of each; `long` names those cut short."""
    whole = {name: plain_text(row[name]) for name in names if row.get(name) is not None}
    cut = {name: text[:SHOWN_LETTERS] for name, text in whole.items()}
    return {**row, **cut, "long": [name for name in whole if len(whole[name]) > SHOWN_LETTERS]}
