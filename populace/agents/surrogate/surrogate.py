"""What is known of the asks of one type and purpose: a sample, a fit, whether it is trusted. Pure.

A surrogate changes at ticks' edges only, by what the tick's asks were answered, in the order of ids.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec

from populace.agents.surrogate.audit import MAIN, Audit
from populace.agents.surrogate.logit import Logit, fit_logit
from populace.agents.surrogate.policy import Observed, Policy
from populace.agents.surrogate.table import Table, fit_table

Fit: TypeAlias = Table | Logit
GROWTH: Final = 1.25
"""Cells are added to a table once there are so many times the answers that it had seen."""


class Closed(msgspec.Struct, frozen=True):
    """What a tick came to for a surrogate: `surprise` and `expected` are sums over its `audits`."""

    audits: int
    surprise: float
    expected: float
    alarms: int
    evidence: float


class Surrogate(msgspec.Struct):
    """The asks of one type and purpose.

    `sample` are facts and shares of the newest answers, oldest first, since trust was last withdrawn; `answers` counts
    all of these. `fit` is what was fitted to them, `fitted` when there were so many, and `audit` the test of it; both
    None while it is not trusted. `alarms` counts how often trust was withdrawn. A fit that is trusted does not change,
    so the audit is of one thing; a table takes in facts that it did not cover.
    """

    policy: Policy
    sample: list[tuple[str, dict[str, int]]] = []
    answers: int = 0
    fitted: int = 0
    fit: Table | Logit | None = None
    audit: Audit | None = None
    alarms: int = 0

    @property
    def needed(self) -> int:
        """How many answers a first fit takes: twice as many each time that trust was withdrawn."""
        return self.policy.sample << min(self.alarms, 20)

    @property
    def limit(self) -> float:
        """At what evidence trust is withdrawn: over all fits of a run the chance of a false alarm is `policy.alarm`."""
        return (self.alarms + 1) * (self.alarms + 2) / self.policy.alarm

    def close(self, observed: Sequence[Observed]) -> Closed:
        """Take what a tick's asks were answered by the model, in the order of (agent, nth)."""
        audits, alarms, surprise, expected, evidence = 0, 0, 0.0, 0.0, 0.0
        kept = deque(self.sample, max(self.policy.window, self.needed))
        for one in observed:
            audit, fit = self.audit, self.fit
            if one.audited and audit is not None and fit is not None:
                q = fit.predict(one.facts)
                if q is not None:
                    before = audit.surprise, audit.expected
                    audit.take(one.facts, one.shares, q)
                    audits += 1
                    surprise += audit.surprise - before[0]
                    expected += audit.expected - before[1]
                    evidence = audit.evidence
                    if evidence >= self.limit:
                        alarms += 1
                        self.alarms += 1
                        self.fit = self.audit = None
                        self.answers = self.fitted = 0
                        kept.clear()
                        continue  # what gave the alarm away is no part of what is learnt anew
            if not isinstance(self.fit, Logit):
                kept.append((one.facts, one.shares))
                self.answers += 1
        self.sample = list(kept)
        self._fit_anew()
        return Closed(audits, surprise, expected, alarms, evidence or (self.audit.evidence if self.audit else 0.0))

    def _fit_anew(self) -> None:
        if isinstance(self.fit, Table):
            if self.answers >= self.fitted * GROWTH:
                more = fit_table(self.sample, self.policy.cell)
                self.fit = Table({**({} if more is None else more.cells), **self.fit.cells})
                self.fitted = self.answers
            return
        if self.fit is not None or self.answers < self.needed or not self.sample:
            return
        table = self.policy.kind == "table"
        found: Fit | None = fit_table(self.sample, self.policy.cell) if table else fit_logit(self.sample)
        if found is not None:
            self.fit, self.fitted = found, self.answers
            self.audit = Audit(self.policy.tolerance, _main(self.sample))
            self.sample = self.sample if table else []


def _main(sample: Sequence[tuple[str, dict[str, int]]]) -> list[str]:
    """The most frequent categories."""
    sums: dict[str, int] = {}
    for _, shares in sample:
        for category, share in shares.items():
            sums[category] = sums.get(category, 0) + share
    return sorted(sums, key=lambda category: (-sums[category], category))[:MAIN]
