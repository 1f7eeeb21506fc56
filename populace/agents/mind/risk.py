"""Risk as it is perceived: a belief that warnings move through trust and false alarms wear down."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from populace.agents.mind.limits import clip, within
from populace.core.leaving import only_checks

_GRID: Final = 2.0**20


class Risk(msgspec.Struct):
    """How likely a hazard is held to be, and how bad (protective action decision model, Lindell and Perry 2012).

    `probability` and `severity` are 0 to 1. What is perceived is w(probability) severity; from `threshold` on one
    protects oneself. Warnings move the belief by `rate` and trust; without news it fades to `base`, `keep` of the
    distance left a tick. `curvature` is Prelec's (1998): w(p) = exp(-(-ln p)^curvature), 1 for w(p) = p.
    """

    probability: float = 0.0
    severity: float = 0.5
    threshold: float = 0.2
    rate: float = 0.5
    keep: float = 0.95
    base: float = 0.0
    curvature: float = 1.0
    belief_in_warnings: float = 1.0
    wear: float = 0.2

    @only_checks
    def __post_init__(self) -> None:
        names = ("probability", "severity", "threshold", "rate", "keep", "base", "belief_in_warnings", "wear")
        for name in names:
            within(f"Risk: {name}", getattr(self, name), 0.0, 1.0)
        if not self.curvature > 0.0:
            raise ValueError(f"Risk: curvature={self.curvature!r} has to be above 0")

    def warn(self, probability: float, trust: float = 1.0) -> None:
        """Hear a warning: p := p + rate trust belief_in_warnings (warning - p)."""
        within("Risk.warn: probability", probability, 0.0, 1.0)
        within("Risk.warn: trust", trust, 0.0, 1.0)
        by = self.rate * trust * self.belief_in_warnings
        self.probability = clip(self.probability + by * (probability - self.probability), 0.0, 1.0)

    def resolve(self, came: bool) -> None:
        """Learn whether what was warned of came: a false alarm takes `wear` of the belief in warnings (Breznitz 1984).

        One that came gives back `wear` of what is missing.
        """
        missing = 1.0 - self.belief_in_warnings
        self.belief_in_warnings = (
            1.0 - missing * (1.0 - self.wear) if came else self.belief_in_warnings * (1.0 - self.wear)
        )

    def pass_tick(self) -> None:
        """Let a tick pass without news."""
        self.probability = clip(self.base + self.keep * (self.probability - self.base), 0.0, 1.0)

    def perceived(self) -> float:
        """w(probability) severity, 0 to 1; w is rounded to 2**-20, so that it is the same on any processor."""
        p = self.probability
        if self.curvature != 1.0 and 0.0 < p < 1.0:
            p = round(math.exp(-((-math.log(p)) ** self.curvature)) * _GRID) / _GRID
        return p * self.severity

    def protects(self) -> bool:
        """Whether it is perceived as high enough to act."""
        return self.perceived() >= self.threshold

    def describe(self) -> str:
        """For a prompt: 'the danger seems likely (0.70) and grave (0.90)'."""
        likely = "likely" if self.probability >= 0.5 else "possible" if self.probability >= 0.1 else "unlikely"
        grave = "grave" if self.severity >= 0.7 else "moderate" if self.severity >= 0.3 else "slight"
        return f"the danger seems {likely} ({self.probability:.2f}) and {grave} ({self.severity:.2f})"
