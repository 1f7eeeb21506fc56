"""What an audit came to, as `audits.json` in an experiment's folder holds it. Shell: one file.

The file is one JSON object, an `Audited`:

```json
{"version": 1, "experiment": "polarization", "model": ["scripted"], "level": 0.95, "made": "2026-11-29T15:00:00+00:00",
 "calls": 812, "cost_usd": 0.0,
 "claims": [{
   "arm": "silenced", "outcome": "variance", "direction": "up", "declared": true, "measure": "sign", "bounds": null,
   "original": {"replicates": 20, "mean": 0.8, "median": 0.7, "low": 0.2, "high": 1.0, "verdict": "above"},
   "shown": true, "survived": 4, "of": 5, "reversed": 0, "open": 1, "range": [0.4, 1.1], "controls_hold": true,
   "audits": [{"name": "option order", "kind": "perturbation", "about": "...", "status": "survived", "why": "",
               "effect": {"replicates": 11, "mean": 0.6, ...}, "asks": 900, "asked_anew": 120, "calls": 120,
               "cost_usd": 0.0}]}]}
```
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from populace.core.errors import SettingsError
from populace.files import write_whole

FILE: Final = "audits.json"
VERSION: Final = 1

Status: TypeAlias = Literal["survived", "vanished", "reversed", "open", "remains", "holds", "idle", "not done"]
"""What became of the claim. Of a perturbation: `survived`, `reversed`, `vanished` (the interval lies within the
margin), `open` (not decided by the replicates there are). Of a control: `holds` (no claim can be made of it: what it
should show) or `remains` (a claim can, so it does not rest on what the control took away). `idle`: every run is as it
was, so nothing was tried; `not done`: it could not be played, `why` says for what reason."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The paired difference of an arm and its control, after as many replicates as it took.

    `mean` and `median` are in the unit of the outcome. `low` and `high` are the ends of the confidence sequence: of the
    mean difference where the outcome has bounds, else of the balance of signs, the share of replicates in which the arm
    lies above less that in which it lies below (-1 to 1). `verdict` is the sequence's.
    """

    replicates: int
    mean: float
    median: float
    low: float
    high: float
    verdict: Literal["above", "below", "negligible", "open"]


class AuditFound(msgspec.Struct, frozen=True, kw_only=True):
    """What one audit came to. `asked_anew` are the asks that no record answered; `calls` are those that were billed."""

    name: str
    kind: Literal["perturbation", "control"]
    about: str
    status: Status
    why: str = ""
    effect: Found | None = None
    asks: int = 0
    asked_anew: int = 0
    calls: int = 0
    cost_usd: float = 0.0


class ClaimAudited(msgspec.Struct, frozen=True, kw_only=True):
    """A claim and its audits.

    `declared` says whether the direction was on record before the experiment was run; else it is what was found, or
    None where nothing was. `shown` says whether the experiment itself shows the claim, by the same rule. The claim
    `survived` so many perturbations `of` those that tried it; `range` has the least and the largest effect (means)
    among them and the original. `controls_hold` is None where no control was played.
    """

    arm: str
    outcome: str
    direction: Literal["up", "down"] | None
    declared: bool
    measure: Literal["difference", "sign"]
    bounds: tuple[float, float] | None
    original: Found
    shown: bool
    survived: int
    of: int
    reversed: int
    open: int
    range: tuple[float, float]
    controls_hold: bool | None
    audits: list[AuditFound]


class Audited(msgspec.Struct, frozen=True, kw_only=True):
    """All claims of an experiment, audited; what knowing it took. `made` is when, in UTC.

    `text`, `columns` and `rows` say the same in words and as one table, which is what a report shows.
    """

    experiment: str
    model: list[str]
    level: float
    made: str
    calls: int
    cost_usd: float
    claims: list[ClaimAudited]
    text: list[str] = []
    columns: list[str] = []
    rows: list[list[str]] = []
    version: int = VERSION


def write_audits(folder: Path, audited: Audited) -> None:
    """Write `audits.json`. Raises StorageError."""
    write_whole(folder / FILE, msgspec.json.format(msgspec.json.encode(audited), indent=2) + b"\n")


def read_audits(folder: str | Path) -> Audited | None:
    """Read `audits.json`; None where there is none. Raises SettingsError, naming the file, for what is not one."""
    path = Path(folder) / FILE
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Audited)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is not what populace wrote: {error}. Give the audit again.") from None
