"""A frequency table by facts: for facts that came often enough, the model's own answers, as often as it gave them.

Counts are whole numbers, so a table is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec


class Table(msgspec.Struct, frozen=True, tag="table"):
    """By facts (JSON text), the share of each category, out of `UNIT`, as exact sums over the answers."""

    cells: dict[str, dict[str, int]]

    def predict(self, facts: str) -> dict[str, float] | None:
        """The probability of each category; None for facts that it does not cover."""
        cell = self.cells.get(facts)
        if cell is None:
            return None
        total = sum(cell.values())
        return {category: weight / total for category, weight in cell.items()}


def fit_table(rows: Iterable[tuple[str, Mapping[str, int]]], cell: int) -> Table | None:
    """A table of these answers, each its facts and its shares; None where no facts have `cell` answers."""
    sums: dict[str, dict[str, int]] = {}
    counts: dict[str, int] = {}
    for facts, shares in rows:
        counts[facts] = counts.get(facts, 0) + 1
        own = sums.setdefault(facts, {})
        for category, share in shares.items():
            own[category] = own.get(category, 0) + share
    kept = {facts: dict(sorted(sums[facts].items())) for facts in sorted(sums) if counts[facts] >= cell}
    return Table(kept) if kept else None
