"""What of paired differences may be claimed, looked at after each replicate. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from populace.core.errors import ScenarioError
from populace.experiments.audits.record import AuditFound, Found, Status
from populace.experiments.inference.sequential import stop

Direction: TypeAlias = Literal["up", "down"]
MARGIN_OF_SIGNS: Final = 0.3
"""A balance of signs that lies within plus and minus this counts as none."""
MOST_LOOKS: Final = 200
"""Replicates up to which it is looked how many could decide."""
_SAYS: Final[dict[str, Direction]] = {"above": "up", "below": "down"}


def found_in(
    differences: Any,
    bounds: tuple[float, float] | None,
    *,
    margin: float = 0.0,
    level: float = 0.95,
    to_the_end: bool = False,
) -> Found:
    """What paired differences (replicates,) say, in the order in which they were made, up to where it is decided.

    With `to_the_end` all of them are looked at, decided or not.

    With the `bounds` of the outcome, a confidence sequence of the mean difference; without, one of the signs, which are
    bounded whatever the outcome is: whether the arm lies above in more replicates than below. `margin` is the
    difference that does not matter, in the unit of the outcome, and is taken with bounds only. Raises ScenarioError for
    differences that are not finite or leave the bounds.
    """
    given = np.asarray(differences, np.float64)
    if given.ndim != 1 or not len(given) or not np.isfinite(given).all():
        raise ScenarioError("an audit compares one finite number a replicate; an outcome that is NaN cannot be audited")
    fewest = len(given) if to_the_end else 2
    if bounds is None:
        at = stop(np.sign(given), -1.0, 1.0, margin=MARGIN_OF_SIGNS, level=level, fewest=fewest)
    else:
        width = bounds[1] - bounds[0]
        at = stop(given, -width, width, margin=margin, level=level, fewest=fewest)
    seen = given[: at.replicates]
    return Found(
        replicates=at.replicates, mean=float(seen.mean()), median=float(np.median(seen)), low=at.low, high=at.high,
        verdict=at.verdict,
    )  # fmt: skip


def fewest_to_decide(bounds: tuple[float, float] | None, *, margin: float = 0.0, level: float = 0.95) -> int | None:
    """How many replicates it takes to decide at best: where all differ as much as they can, or not at all.

    None where over 200. Bounds do not lower it: the largest difference that they allow tells no more than a sign.
    """
    for looks in (12, 40, MOST_LOOKS):
        if fewest := decided_at_best(looks, bounds, margin=margin, level=level):
            return fewest
    return None


def decided_at_best(
    looks: int, bounds: tuple[float, float] | None, *, margin: float = 0.0, level: float = 0.95
) -> int | None:
    """After how many of so many replicates it can be decided at best; None where after none."""
    most = 1.0 if bounds is None else bounds[1] - bounds[0]
    found = [found_in(one, bounds, margin=margin, level=level) for one in (np.full(looks, most), np.zeros(looks))]
    return min((one.replicates for one in found if one.verdict != "open"), default=None)


def direction_of(found: Found) -> Direction | None:
    """Which way what was found goes; None where that is not decided."""
    return _SAYS.get(found.verdict)


def status_of(found: Found, kind: Literal["perturbation", "control"], claimed: Direction | None) -> Status:
    """What became of a claim in an audit of this kind."""
    says = direction_of(found)
    if kind == "control":
        return "remains" if says is not None else "holds"
    if says is None:
        return "vanished" if found.verdict == "negligible" else "open"
    return "survived" if says == claimed else "reversed"


def tally(original: Found, audits: Sequence[AuditFound]) -> dict[str, Any]:
    """Of a claim's audits: how many it survived, of how many, the range of effects, whether the controls hold."""
    tried = [one for one in audits if one.kind == "perturbation" and one.status not in ("idle", "not done")]
    controls = [one.status for one in audits if one.kind == "control" and one.status in ("holds", "remains")]
    means = [original.mean, *(one.effect.mean for one in tried if one.effect is not None)]
    return {
        "survived": sum(one.status == "survived" for one in tried),
        "of": len(tried),
        "reversed": sum(one.status == "reversed" for one in tried),
        "open": sum(one.status == "open" for one in tried),
        "range": (min(means), max(means)),
        "controls_hold": all(one == "holds" for one in controls) if controls else None,
    }
