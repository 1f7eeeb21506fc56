"""What a day of a citizen is made of: its hours, by work, weekday and where the evening goes."""

from __future__ import annotations

from functools import cache
from typing import Final

from populace import Choice
from populace.mind import Memory, Need, Needs, Plan, Routine, Step

EVENING: Final = Choice("out", "shop", "home")
WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
WORK_HOURS: Final = 8
MEAL_UNITS: Final = 15.0
"""Goods that a meal at home takes, in units."""
CUSHION_CENTS: Final = 30_000
"""Of what the wallet holds beyond this, a visit to the shop spends half (a buffer stock, Carroll 1997)."""


def needs() -> Needs:
    """Hunger, energy, safety and social, the most basic first (Maslow 1943); by the hour, figures to begin with."""
    return Needs(
        {
            "hunger": Need(0.9, 0.08),
            "energy": Need(0.9, 0.05),
            "safety": Need(0.8, 0.01, threshold=0.5),
            "social": Need(0.7, 0.04),
        },
        {
            "meal": {"hunger": 0.6},
            "sleep": {"energy": 0.12},
            "income": {"safety": 0.4},
            "talk": {"social": 0.15},
            "hear": {"social": 0.01},
        },
    )


def memory() -> Memory:
    """What friends said, forgotten beyond a few dozen; a tick is an hour (Park et al. 2023: 0.995 an hour)."""
    return Memory(max_entries=32, max_tokens=1_000, decay=0.995)


@cache
def routine(rises: int, works: bool) -> Routine:
    """The usual day of who rises at an hour: of work on weekdays, of errands and company where there is none."""
    at, end = float(rises), 24.0
    free = [
        Step(at, at + 5, "morning", "home"),
        Step(at + 5, at + 6, "out", "leisure"),
        Step(at + 6, end, "supper", "home"),
    ]
    if not works:
        return Routine(free)
    usual = [
        Step(at, at + 2, "morning", "home"),
        Step(at + 2, at + 6, "work", "work"),
        Step(at + 6, at + 7, "lunch", "work"),
        Step(at + 7, at + 11, "desk", "work"),
        Step(at + 11, end, "supper", "home"),
    ]
    return Routine(usual, {5: free, 6: free})


def plan(weekday: str, rises: int, works: bool, evening: str) -> Plan:
    """The day as its routine has it, with the evening out or at the shop in the place of supper's first hours."""
    made = routine(rises, works).plan(WEEKDAYS.index(weekday))
    if evening != "home":
        what, where, hours = ("out", "leisure", 2.0) if evening == "out" else ("shop", "shop", 1.0)
        made.put(Step(rises + 12.0, rises + 12.0 + hours, what, where))
    return made


def next_tick(tick: int, hour: int, rises: int, steps: list[Step], here: str) -> int:
    """When to be awake again: as the next step begins, an hour before it where it is elsewhere, or to rise."""
    for step in steps:
        start = int(step.start)
        if start > hour:
            leaves = start - 1 if step.where != here else start
            return tick + max(leaves - hour, 1)
    return tick + (rises - hour - 1) % 24 + 1
