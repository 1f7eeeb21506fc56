"""What a calibration aims at: a number, a series by tick, or an effect that people showed. Shell: one file."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Final

import msgspec

from populace.core.errors import SettingsError
from populace.experiments.score.targets import human_effects

PEOPLE: Final = "people:"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Its `values`, one or one a tick of `ticks`, and what it is in words."""

    values: list[float]
    ticks: list[int] = []
    told: str


def target_of(text: str) -> Target:
    """A target as the command line has it: a number, a CSV file with columns tick and value, or people:NAME.

    A tick's value is that of the world before the tick, as in the table of outcomes. Raises SettingsError, with the
    line of a file, for what is none.
    """
    if text.startswith(PEOPLE):
        name = text.removeprefix(PEOPLE)
        for one in human_effects():
            if one.name == name:
                return Target(values=[one.effect], told=f"{one.effect:+.3g} {one.unit} ({one.source})")
        there = ", ".join(one.name for one in human_effects())
        raise SettingsError(f"--target {text}: there is no such effect of people; there are {there}")
    try:
        value = float(text)
    except ValueError:
        return _series(Path(text))
    if not math.isfinite(value):
        raise SettingsError(f"--target {text}: a target is a finite number")
    return Target(values=[value], told=f"{value:g}")


def _series(path: Path) -> Target:
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"--target {path}: is no number, and no file that can be read ({error}). Give a number, a CSV file with "
            "columns tick and value, or people:NAME."
        ) from None
    found: dict[int, float] = {}
    for at, row in enumerate(rows, 2):
        try:
            tick, value = int(row["tick"]), float(row["value"])
        except (KeyError, TypeError, ValueError):
            raise SettingsError(f"{path}:{at}: a line is a tick and a value, under the heads tick,value") from None
        if tick in found or not math.isfinite(value):
            raise SettingsError(f"{path}:{at}: a tick stands once, and its value is finite")
        found[tick] = value
    if not found:
        raise SettingsError(f"{path}: has no line under its heads tick,value")
    ticks = sorted(found)
    told = f"{len(ticks)} values of {path.name}"
    return Target(values=[found[tick] for tick in ticks], ticks=ticks, told=told)
