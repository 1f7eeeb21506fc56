"""Needs that grow with time and are met by sources, in an order of precedence (Maslow 1943)."""

from __future__ import annotations

import msgspec

from populace.agents.mind.limits import clip, within
from populace.core.leaving import only_checks


class Need(msgspec.Struct):
    """One need. `level` is 1 where it is met and 0 where it is wholly unmet; it falls by `fall_per_h` an hour.

    Below `threshold` it asks to be met. The figures of `Needs` are round ones to begin with, no estimates.
    """

    level: float = 1.0
    fall_per_h: float = 0.0
    threshold: float = 0.3

    @only_checks
    def __post_init__(self) -> None:
        if 0.0 <= self.level <= 1.0 and 0.0 <= self.threshold <= 1.0 and 0.0 <= self.fall_per_h < float("inf"):
            return
        within("Need: level", self.level, 0.0, 1.0)
        within("Need: threshold", self.threshold, 0.0, 1.0)
        within("Need: fall_per_h", self.fall_per_h, 0.0, float("inf"))


def _usual() -> dict[str, Need]:
    return {
        "hunger": Need(fall_per_h=0.12),
        "energy": Need(fall_per_h=0.05),
        "safety": Need(threshold=0.5),
        "social": Need(fall_per_h=0.02),
    }


def _usual_sources() -> dict[str, dict[str, float]]:
    return {"meal": {"hunger": 0.7}, "sleep": {"energy": 0.12}, "shelter": {"safety": 1.0}, "talk": {"social": 0.3}}


class Needs(msgspec.Struct):
    """Needs by name, the most basic first; and what meets them, by source: `amount` of a need an hour, or a use.

    ```python
    needs = Needs()
    needs.pass_time(6.0)
    assert needs.urgent() == "hunger"
    needs.use("meal")
    assert needs.urgent() is None
    ```
    """

    needs: dict[str, Need] = msgspec.field(default_factory=_usual)
    sources: dict[str, dict[str, float]] = msgspec.field(default_factory=_usual_sources)

    def pass_time(self, hours: float) -> None:
        """Let time pass: each level falls by its `fall_per_h`, to 0 at the least."""
        within("Needs.pass_time: hours", hours, 0.0, float("inf"))
        for need in self.needs.values():
            level = need.level - need.fall_per_h * hours
            need.level = level if level > 0.0 else 0.0  # noqa: FURB136  # in every turn of every agent

    def change(self, name: str, amount: float) -> None:
        """Raise a level, or lower it by a negative amount; it stays from 0 to 1. Raises KeyError for no such need."""
        need = self.needs[name]
        need.level = clip(need.level + amount, 0.0, 1.0)

    def use(self, source: str, times: float = 1.0) -> None:
        """Use a source so many times, or hours. Raises KeyError for no such source."""
        needs = self.needs
        for name, amount in self.sources[source].items():
            need = needs[name]
            level = need.level + amount * times
            need.level = 0.0 if level < 0.0 else 1.0 if level > 1.0 else level  # noqa: FURB136  # `clip`, in every turn

    def gain(self, source: str, times: float = 1.0) -> float:
        """What a use would meet of all needs together: levels stop at 1, so who has eaten gains little by a meal."""
        return sum(
            clip(self.needs[name].level + amount * times, 0.0, 1.0) - self.needs[name].level
            for name, amount in self.sources[source].items()
        )

    def urgent(self) -> str | None:
        """The first need, in their order, that is below its threshold; None where none is."""
        return next((name for name, need in self.needs.items() if need.level < need.threshold), None)

    def describe(self) -> str:
        """For a prompt: 'hunger 0.28 (urgent), energy 0.70'."""
        return ", ".join(
            f"{name} {need.level:.2f}" + (" (urgent)" if need.level < need.threshold else "")
            for name, need in self.needs.items()
        )
