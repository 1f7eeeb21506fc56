"""Failures of an experiment's runs by arm and kind, and whether arms differ in them. Shell: reads manifests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from populace.experiments.inference.failures import failures
from populace.experiments.inference.multiplicity import holm

if TYPE_CHECKING:
    from populace.experiments.results import Results

EXCEPTION: Final = "exception"
"""The kind of a turn that an exception ended; other kinds are an ask's reasons to abstain."""


@dataclass(frozen=True)
class FailedRate:
    """How often one kind of failure came in one arm. `of` is what was tried: an ask, or a turn.

    `rate` is the mean over replicates, `difference` that rate less the control's. `p` is of the sign flips of the
    replicates' differences, `p_adjusted` by Holm over all arms and kinds; both are 1 for the control.
    """

    arm: str
    kind: str
    of: Literal["ask", "turn"]
    failures: int
    tried: int
    rate: float
    difference: float
    p: float
    p_adjusted: float


def failed_rates(results: Results, level: float = 0.95) -> tuple[FailedRate, ...]:
    """Rates of every kind of failure that came at all, by arm, of the replicates that are complete in all arms."""
    manifests = {arm: [results.run(arm, one).manifest for one in results.complete] for arm in results.arms}
    kinds = dict.fromkeys(kind for of in manifests.values() for one in of for kind in one["asks"]["by_reason"])
    asked = {arm: _counts(of, lambda one: one["asks"]["made"]) for arm, of in manifests.items()}
    abstained = {
        arm: {kind: _counts(of, lambda one, kind=kind: one["asks"]["by_reason"].get(kind, 0)) for kind in kinds}
        for arm, of in manifests.items()
    }
    turns = {arm: _counts(of, lambda one: one["turns"]) for arm, of in manifests.items()}
    raised = {arm: {EXCEPTION: _counts(of, lambda one: one["turns_failed"])} for arm, of in manifests.items()}
    control = results.design.control
    found = [(one, "ask") for one in failures(abstained, asked, control, level).rates] if kinds else []
    if any(one[EXCEPTION].any() for one in raised.values()):
        found += [(one, "turn") for one in failures(raised, turns, control, level).rates]
    tested = [at for at, (one, _) in enumerate(found) if one.arm != control]
    p = dict(zip(tested, holm([found[at][0].p for at in tested]).tolist(), strict=True))
    return tuple(
        FailedRate(
            one.arm, one.kind, "turn" if of == "turn" else "ask", one.failures, one.tried, one.rate, one.difference,
            one.p, p.get(at, 1.0),
        )
        for at, (one, of) in enumerate(found)
    )  # fmt: skip


def _counts(manifests: list[dict[str, Any]], read: Any) -> Any:
    return np.array([read(one) for one in manifests], np.float64)
