"""The shadow audit: a sequential test of whether what a surrogate says is still what the model says, by betting.

The null hypothesis is that at each audited ask, given all that came before, the total variation between the
surrogate's distribution q and the model's p is at most the tolerance. For any function f of a category with values in
[0, 1] that is chosen beforehand, E[f(answer)] - sum of q f is then at most the tolerance, so a bettor who stakes a
share of his money on it cannot expect to gain. By Ville's inequality (1939) the chance that his money ever grows 1 /
level times is at most `level`, however often one looks. Bounded means are so tested in Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting", J. R. Stat. Soc. B 86(1), 2024. Money that is set aside for
later bets keeps the test awake for what changes late: a mixture over the time of the change, as Shin, Ramdas and
Rinaldo discuss, "E-detectors: a nonparametric framework for sequential change detection", 2023.

His money is spread over witnesses f, over stakes, and over the asks at which he begins: of the money for each, the part
1 / (t (t + 1)) is brought in at ask t. All are fixed beforehand but one witness, which bets on the deviations that were
seen for the same facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from populace.agents.surrogate.policy import UNIT

STAKES: Final = (0.05, 0.15, 0.4, 0.8)
"""Shares of the money that are staked; below 1 / (1 + tolerance), so nobody is ruined."""
MAIN: Final = 4
"""So many categories, the most frequent ones of a fit, have witnesses of their own."""
_CELLS: Final = 4096


class Audit(msgspec.Struct):
    """The test of one fit. `asks` are counted; `money` is by witness and stake, without what is set aside.

    `seen` has, by facts, the sum over asks of what was answered less what was to be expected, out of `UNIT`, by
    category. `surprise` and `expected` are sums over asks: the probability that the surrogate gave another category
    than the answered one, and the mean of that were the answers its own.
    """

    tolerance: float
    main: list[str]
    asks: int = 0
    money: dict[str, list[float]] = {}
    seen: dict[str, dict[str, int]] = {}
    surprise: float = 0.0
    expected: float = 0.0

    @property
    def evidence(self) -> float:
        """By how much the money has grown: an e-value, at most 1 in the mean under the null hypothesis."""
        total = 0.0
        for stakes in self.money.values():
            for money in stakes:
                total += money
        lanes = len(STAKES) * max(1, len(self.money))
        return total / lanes + 1.0 / (self.asks + 1)

    def take(self, facts: str, told: Mapping[str, int], q: Mapping[str, float]) -> None:
        """An audited ask: what the model answered, as shares out of `UNIT`, where the surrogate would say q."""
        whole = sum(told.values()) or 1
        p = {category: share / whole for category, share in sorted(told.items())}
        off = {category: p.get(category, 0.0) - q.get(category, 0.0) for category in sorted({*p, *q})}
        gains = self._gains(facts, off, q)
        self.asks += 1
        begin = 1.0 / (self.asks * (self.asks + 1.0))
        for witness, gain in gains.items():
            stakes = self.money.get(witness) or [0.0] * len(STAKES)
            self.money[witness] = [
                (money + begin) * (1.0 + stake * (gain - self.tolerance) / (1.0 + self.tolerance))
                for money, stake in zip(stakes, STAKES, strict=True)
            ]
        if facts in self.seen or len(self.seen) < _CELLS:
            own = self.seen.setdefault(facts, {})
            for category, by in off.items():
                own[category] = own.get(category, 0) + round(by * UNIT)
        agreed = self_agreed = 0.0
        for category, share in q.items():
            agreed += share * p.get(category, 0.0)
            self_agreed += share * share
        self.surprise += 1.0 - agreed
        self.expected += 1.0 - self_agreed

    def _gains(self, facts: str, off: Mapping[str, float], q: Mapping[str, float]) -> dict[str, float]:
        """What each witness gains at even stakes: the sum of `off` over the categories that it bets on."""
        top = max(sorted(q), key=lambda category: q[category])
        gains = {"top": off[top], "not top": -off[top]}
        for category in self.main:
            by = off.get(category, 0.0)
            gains[f"is {category}"], gains[f"not {category}"] = by, -by
        unheard = alike = 0.0
        known = self.seen.get(facts, {})
        for category, by in off.items():
            unheard += by if category not in q else 0.0
            alike += by if known.get(category, 0) > 0 else 0.0
        return {**gains, "unheard of": unheard, "as before": alike}
