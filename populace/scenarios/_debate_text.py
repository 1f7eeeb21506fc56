"""How a turn of a debate reads: where the speaker stands in public, and what it says."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec


class Turn(msgspec.Struct):
    """What a debater answers: stances from 1 to 6."""

    argument: str
    private: float
    public: float
    gives_in: bool


def spoken(turn: Turn) -> str:
    """A turn as the others hear it."""
    return f"[{turn.public:.2f}] {turn.argument.strip()}"


def stances(texts: Iterable[str]) -> list[float]:
    """The public stances that texts begin with; texts that begin with none are left out."""
    found = (re.match(r"\[(\d\.\d\d)\]", text) for text in texts)
    return [float(one.group(1)) for one in found if one]
