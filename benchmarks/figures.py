"""What a benchmark found, in a form that `benchmarks/all.py` can gather: one JSON line a figure.

A script says `figure(...)` beside what it prints. Where the environment variable `POPULACE_FIGURES` names a file the
figure is added to it; else nothing happens, so every script can be run alone.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

VARIABLE = "POPULACE_FIGURES"


class Figure(NamedTuple):
    """One figure: `what` was measured, its `value` in `unit`, and the aim, if there is one.

    `least` and `most` are over the rounds of one benchmark. With an aim, `up` says whether more is better.
    """

    what: str
    value: float
    unit: str
    aim: float | None = None
    up: bool = True
    least: float | None = None
    most: float | None = None

    @property
    def of_aim(self) -> float | None:
        """How many times the aim was reached: 1 and more is met. None without an aim."""
        if not self.aim or not self.value:
            return None
        return self.value / self.aim if self.up else self.aim / self.value


def figure(what: str, value: float, unit: str, **more: Any) -> None:
    """Hand a figure over to whoever gathers them; `more` are further fields of `Figure`."""
    place = os.environ.get(VARIABLE)
    if place:
        with Path(place).open("a", encoding="utf-8") as out:
            out.write(json.dumps(Figure(what, float(value), unit, **more)._asdict()) + "\n")


def read(place: Path) -> list[Figure]:
    """The figures of a file, in the order in which they were found."""
    return [Figure(**json.loads(line)) for line in place.read_text(encoding="utf-8").splitlines()]
