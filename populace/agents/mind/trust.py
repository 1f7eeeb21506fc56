"""Trust in sources, learnt from how they did: a beta distribution for each, or a delta rule."""

from __future__ import annotations

import msgspec

from populace.agents.mind.limits import within
from populace.core.leaving import only_checks


class Trust(msgspec.Struct):
    """Beta reputation (Josang and Ismail 2002): trust = (good + a) / (good + bad + a + b), its mean.

    `a` and `b` are the prior. `keep` is what is left of a source's past at each new outcome (1: all counts alike). At
    most `most` sources are kept: the one with least evidence goes, of equals the one longest known. Sources are ids
    as text, or names.
    """

    a: float = 1.0
    b: float = 1.0
    keep: float = 1.0
    most: int = 150
    good: dict[str, float] = {}
    bad: dict[str, float] = {}

    @only_checks
    def __post_init__(self) -> None:
        if not (self.a > 0.0 and self.b > 0.0) or self.most < 1:
            raise ValueError(f"Trust: a={self.a}, b={self.b} have to be above 0, and most={self.most} at least 1")
        within("Trust: keep", self.keep, 0.0, 1.0)

    def of(self, source: int | str) -> float:
        """Trust in a source, 0 to 1; the prior's mean for one that is unknown."""
        good, bad = self.good.get(str(source), 0.0), self.bad.get(str(source), 0.0)
        return (good + self.a) / (good + bad + self.a + self.b)

    def variance(self, source: int | str) -> float:
        """The variance of that distribution: how little is known."""
        one = self.good.get(str(source), 0.0) + self.a
        other = self.bad.get(str(source), 0.0) + self.b
        both = one + other
        return one * other / (both * both * (both + 1.0))

    def learn(self, source: int | str, outcome: float, weight: float = 1.0) -> None:
        """Meet an outcome: 1 it was right, 0 it was not, or between. `weight` says how much it counts."""
        within("Trust.learn: outcome", outcome, 0.0, 1.0)
        within("Trust.learn: weight", weight, 0.0, float("inf"))
        name = str(source)
        self.good[name] = self.keep * self.good.get(name, 0.0) + weight * outcome
        self.bad[name] = self.keep * self.bad.get(name, 0.0) + weight * (1.0 - outcome)
        if len(self.good) > self.most:
            least = min((one for one in self.good if one != name), key=lambda one: self.good[one] + self.bad[one])
            del self.good[least], self.bad[least]

    def describe(self) -> str:
        """For a prompt, the most trusted first: 'radio 0.83, Ben 0.25'."""
        ranked = sorted(self.good, key=lambda one: (-self.of(one), one))
        return ", ".join(f"{one} {self.of(one):.2f}" for one in ranked)


class DeltaTrust(msgspec.Struct):
    """Trust by the delta rule (Rescorla and Wagner 1972): trust := trust + rate (outcome - trust), from `first` on.

    It forgets what is long past, at a constant rate; `most` as in `Trust`, but the one longest unheard of goes.
    """

    first: float = 0.5
    rate: float = 0.2
    most: int = 150
    trust: dict[str, float] = {}

    @only_checks
    def __post_init__(self) -> None:
        within("DeltaTrust: first", self.first, 0.0, 1.0)
        within("DeltaTrust: rate", self.rate, 0.0, 1.0)
        if self.most < 1:
            raise ValueError(f"DeltaTrust: most={self.most} has to be at least 1")

    def of(self, source: int | str) -> float:
        """Trust in a source, 0 to 1."""
        return self.trust.get(str(source), self.first)

    def learn(self, source: int | str, outcome: float) -> None:
        """Meet an outcome, 0 to 1."""
        if not 0.0 <= outcome <= 1.0:
            within("DeltaTrust.learn: outcome", outcome, 0.0, 1.0)
        name = str(source)
        before = self.trust.pop(name, self.first)
        self.trust[name] = before + self.rate * (outcome - before)
        if len(self.trust) > self.most:
            del self.trust[next(iter(self.trust))]

    def describe(self) -> str:
        """For a prompt, the most trusted first."""
        ranked = sorted(self.trust, key=lambda one: (-self.trust[one], one))
        return ", ".join(f"{one} {self.trust[one]:.2f}" for one in ranked)
