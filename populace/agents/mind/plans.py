"""A day's plan of timed steps, and routines that give one for each weekday."""

from __future__ import annotations

from itertools import pairwise
from operator import attrgetter
from typing import Final

import msgspec

from populace.agents.mind.limits import within
from populace.core.leaving import leaves_alone, only_checks


class Step(msgspec.Struct, frozen=True):
    """What is done from hour `start` to hour `end` of a day (0 to 24), and where."""

    start: float
    end: float
    what: str
    where: str = ""

    @only_checks
    def __post_init__(self) -> None:
        if 0.0 <= self.start < self.end <= 24.0:
            return
        within("Step: start", self.start, 0.0, 24.0)
        within("Step: end", self.end, 0.0, 24.0)
        if not self.start < self.end:
            raise ValueError(
                f"Step: {self.what!r} ends at {self.end:g} h and starts at {self.start:g} h: split a night"
            )


_start: Final = attrgetter("start")


class Plan(msgspec.Struct):
    """Steps of a day in the order of time, none over another (Park et al. 2023, section 4.3: plans as timed steps)."""

    steps: list[Step] = []

    def _in_order(self) -> bool:
        ended = -1.0
        for one in self.steps:
            if not ended <= one.start:
                return False
            ended = one.end
        return True

    @leaves_alone(_in_order)
    def __post_init__(self) -> None:
        self.steps = sorted(self.steps, key=_start)
        for one, other in pairwise(self.steps):
            if other.start < one.end:
                raise ValueError(f"Plan: {other.what!r} starts at {other.start:g} h, before {one.what!r} has ended")

    def at(self, hour: float) -> Step | None:
        """The step at an hour of the day; None where nothing is planned."""
        for step in self.steps:
            if step.start <= hour < step.end:
                return step
        return None

    def after(self, hour: float) -> Step | None:
        """The next step that starts later than `hour`."""
        return next((step for step in self.steps if step.start > hour), None)

    def free(self, start: float, end: float) -> bool:
        """Whether nothing is planned from `start` to `end`."""
        return all(step.end <= start or step.start >= end for step in self.steps)

    def put(self, step: Step) -> list[Step]:
        """Plan a step in the place of what stood there: steps are cut, split or dropped. Gives what lost time."""
        touched = [one for one in self.steps if one.start < step.end and step.start < one.end]
        kept = [one for one in self.steps if one not in touched]
        for one in touched:
            if one.start < step.start:
                kept.append(Step(one.start, step.start, one.what, one.where))
            if one.end > step.end:
                kept.append(Step(step.end, one.end, one.what, one.where))
        self.steps = sorted([*kept, step], key=lambda one: one.start)
        return touched

    def describe(self) -> str:
        """For a prompt, a step a line: '08:30-17:00 work (office)'."""
        return "\n".join(
            f"{_clock(one.start)}-{_clock(one.end)} {one.what}" + (f" ({one.where})" if one.where else "")
            for one in self.steps
        )


class Routine(msgspec.Struct):
    """What a day is like: `days` holds steps by weekday, 0 Monday to 6 Sunday; `usual` those of all others."""

    usual: list[Step] = []
    days: dict[int, list[Step]] = {}

    def plan(self, weekday: int) -> Plan:
        """A plan of one's own for a day, which may be changed. Raises ValueError for no weekday."""
        if weekday not in range(7):
            raise ValueError(f"Routine.plan: weekday={weekday!r} has to be 0 (Monday) to 6 (Sunday)")
        return Plan(list(self.days.get(weekday, self.usual)))


def _clock(hour: float) -> str:
    minutes = round(hour * 60.0)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
