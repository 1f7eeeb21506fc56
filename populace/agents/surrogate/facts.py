"""Facts as numbers: a column for each number, and one for each value of a text that was seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec

_read: Final = msgspec.json.Decoder(dict[str, Any]).decode
_MOST_VALUES: Final = 64
"""A text with more values than this is no category: it says something of its own each time."""


class Encoding(msgspec.Struct, frozen=True):
    """How facts become numbers. `numbers` has (name, mean, scale), `values` (name, value as JSON) a column each."""

    numbers: list[tuple[str, float, float]]
    values: list[tuple[str, str]]

    @property
    def names(self) -> frozenset[str]:
        """The facts that it reads."""
        return frozenset([name for name, _, _ in self.numbers] + [name for name, _ in self.values])

    def row(self, facts: str) -> list[float] | None:
        """One number a column, after a 1.0; None for facts of another form, or a text that was not seen."""
        told = told_of(facts)
        if told.keys() != self.names:
            return None
        row: list[float] = [1.0]
        for name, mean, scale in self.numbers:
            value = told[name]
            if isinstance(value, bool) or not isinstance(value, int | float):
                return None
            row.append((float(value) - mean) / scale)
        hits = [float(told[name] == value) for name, value in self.values]
        if sum(hits) != len({name for name, _ in self.values}):
            return None
        return row + hits


def told_of(facts: str) -> dict[str, Any]:
    """What facts say by name: a number as it is, all else as JSON text."""
    found = _read(facts) if facts else {}
    return {
        name: value if isinstance(value, int | float) and not isinstance(value, bool) else _json(value)
        for name, value in found.items()
    }


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def encode_facts(sample: Sequence[str]) -> Encoding | None:
    """How to read facts like these; None where they are of several forms, or a text has too many values.

    Means and scales are correctly rounded sums, so they are the same on every machine.
    """
    rows = [told_of(facts) for facts in sample]
    names = rows[0].keys()
    if any(row.keys() != names for row in rows):
        return None
    numbers, values = [], []
    for name in sorted(names):
        column = [row[name] for row in rows]
        texts = sorted({value for value in column if isinstance(value, str)})
        if not texts:
            mean = math.fsum(column) / len(column)
            spread = math.sqrt(math.fsum((value - mean) ** 2 for value in column) / len(column))
            numbers.append((name, mean, spread or 1.0))
            continue
        if any(not isinstance(value, str) for value in column) or len(texts) > _MOST_VALUES:
            return None
        values += [(name, value) for value in texts]
    return Encoding(numbers, values)
