"""Effects that people showed in published experiments: targets for a simulation, with direction, size and source."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

import msgspec


class Target(msgspec.Struct, frozen=True):
    """One effect: means of the control and of the treated group in `unit`, over `people` in both, and its `source`."""

    name: str
    question: str
    unit: str
    control: float
    treated: float
    people: int
    source: str

    @property
    def effect(self) -> float:
        """Treated less control, in `unit`."""
        return self.treated - self.control

    @property
    def direction(self) -> int:
        """1 where treatment raises it, -1 where it lowers it."""
        return 1 if self.effect > 0 else -1

    @property
    def relative(self) -> float:
        """The effect over the control's mean: how effects of unlike units stand side by side."""
        return self.effect / self.control


@cache
def human_effects() -> tuple[Target, ...]:
    """The targets that ship, from `scenarios/data/human_effects.toml`."""
    text = (files("populace.scenarios") / "data" / "human_effects.toml").read_text(encoding="utf-8")
    return tuple(msgspec.convert(tomllib.loads(text)["effect"], list[Target]))
