"""What an experiment cost, by arm, and what the same certainty would have cost without pairing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from populace.experiments.effects import Effects
from populace.experiments.report.document import Block, Section, Table, Text
from populace.experiments.report.words import share

Manifests = Mapping[str, Sequence[Mapping[str, Any]]]
_PER_RUN: Final[Mapping[str, Callable[[Mapping[str, Any]], int]]] = {
    "calls": lambda one: int(one["calls_billed"]), "asks": lambda one: int(one["asks"]["made"]),
}  # fmt: skip


def cost(manifests: Manifests, effects: Effects | None) -> Section:
    """Asks, calls, money and time by arm; calls beside those of independent runs with the same standard error."""
    rows = [_row(arm, of) for arm, of in manifests.items()]
    rows.append(_row("all", [one for of in manifests.values() for one in of]))
    columns = (
        "arm", "runs", "asks", "calls", "taken over", "tokens in", "tokens out", "US dollars", "seconds of runs",
    )  # fmt: skip
    blocks: list[Block] = [Table("Cost by arm", columns, tuple(rows))]
    if effects is not None and (saved := _saved(manifests, effects)):
        blocks += [
            Text(
                "Calls for the same standard error: what this experiment called for its pairs, against what "
                "independent runs would, each asking all of its asks, and as many of them as the variance ratio says."
            ),
            Table(
                "Calls beside those of independent runs",
                ("outcome and arm", "called", "independent runs", "share"),
                saved,
            ),
        ]
    return Section("Cost", tuple(blocks))


def _row(name: str, of: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    asks = sum(one["asks"]["made"] for one in of)
    sums = {
        key: sum(one[key] for one in of) for key in ("calls_billed", "tokens_in", "tokens_out", "cost_usd", "wall_s")
    }
    return (
        name, str(len(of)), f"{asks:,}", f"{sums['calls_billed']:,}", f"{sum(one['asks']['replayed'] for one in of):,}",
        f"{sums['tokens_in']:,}", f"{sums['tokens_out']:,}", f"{sums['cost_usd']:.4f}", f"{sums['wall_s']:.0f}",
    )  # fmt: skip


def _saved(manifests: Manifests, effects: Effects) -> tuple[tuple[str, ...], ...]:
    rows = []
    mean = {
        key: {arm: sum(read(one) for one in of) / len(of) for arm, of in manifests.items() if of}
        for key, read in _PER_RUN.items()
    }
    for one in effects.found:
        ratio, pairs = one.effect.variance_ratio, one.effect.replicates
        if not math.isfinite(ratio) or not ratio:
            continue
        called = pairs * (mean["calls"][effects.control] + mean["calls"][one.arm])
        alone = pairs * ratio * (mean["asks"][effects.control] + mean["asks"][one.arm])
        if alone:
            rows.append((f"{one.outcome}: {one.arm}", f"{called:,.0f}", f"{alone:,.0f}", share(called / alone)))
    return tuple(rows)
