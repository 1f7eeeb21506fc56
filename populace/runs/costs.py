"""What runs cost, added up over their manifests by experiment, arm and purpose of the ask."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from populace.core.errors import SettingsError
from populace.core.records import DEFAULT_ROLE
from populace.store.manifest import MANIFEST
from populace.store.probes import billed_by, probes_of

UNFINISHED: Final = "(unfinished ticks)"
"""Stands for a purpose in manifests of an older populace: what was billed for turns of a tick that was not committed.

Today's manifests count that under the purpose it was asked for, in `calls`, tokens and cost, and not in `asks`.
"""


class Cost(msgspec.Struct, frozen=True):
    """What the asks of one purpose came to, over the runs of one arm of an experiment; both '' where runs named none.

    `model_role` is that of the asks, '' for the default one. `runs` counts those that had any such ask, `abstained` the
    asks without an answer, by reason. `of` is `run` for what the runs themselves asked, and `probes` for surveys and
    interviews of them, which are no part of their totals.
    """

    experiment: str
    arm: str
    purpose: str
    model_role: str
    runs: int
    asks: int
    calls: int
    tokens_in: int
    tokens_out: int
    cost_usd: float
    abstained: dict[str, int]
    of: Literal["run", "probes"] = "run"


SUMS: Final = ("asks", "calls", "tokens_in", "tokens_out")


def costs_of(manifests: Iterable[Mapping[str, Any]]) -> list[Cost]:
    """The costs of these runs, by experiment, arm, purpose and model role; their sums are the runs' own totals."""
    parts: dict[tuple[str, str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for manifest in manifests:
        settings = manifest["settings"]
        labels = str(settings.get("experiment", "")), str(settings.get("arm", ""))
        purposes = manifest["asks"]["by_purpose"]
        rest = _rest(manifest, purposes.values())
        roles = dict(manifest["asks"].get("by_role", {}))
        default = dict(roles.pop(DEFAULT_ROLE, purposes))
        if rest["calls"] or rest["tokens_in"] or rest["tokens_out"]:
            default[UNFINISHED] = rest
        for role, of_role in (("", default), *roles.items()):
            for purpose, part in of_role.items():
                parts[*labels, purpose, role].append(part)
    return [_cost(*key, parts[key]) for key in sorted(parts)]


def probe_costs(runs: Iterable[tuple[Path, Mapping[str, Any]]]) -> list[Cost]:
    """What surveys and interviews of these runs came to, each given by its folder and manifest. Raises StorageError."""
    parts: dict[tuple[str, str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for folder, manifest in runs:
        settings = manifest["settings"]
        labels = str(settings.get("experiment", "")), str(settings.get("arm", ""))
        for (purpose, role), part in billed_by(probes_of(folder), manifest["run"]).items():
            parts[*labels, purpose, role].append(msgspec.structs.asdict(part))
    return [msgspec.structs.replace(_cost(*key, parts[key]), of="probes") for key in sorted(parts)]


def folders_of(folder: Path) -> list[Path]:
    """The runs that a folder stands for: itself, or those in it where it is none. Raises SettingsError for neither."""
    if (folder / MANIFEST).exists() or (folder / "run.json").exists():
        return [folder]
    found = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    if not found:
        raise SettingsError(f"{folder}: is no run that has ended and holds none. Give the folder of a run, or of runs.")
    return found


def _cost(experiment: str, arm: str, purpose: str, role: str, parts: list[Mapping[str, Any]]) -> Cost:
    abstained: dict[str, int] = defaultdict(int)
    for part in parts:
        for reason, n in part.get("abstained", {}).items():
            abstained[reason] += n
    sums: dict[str, Any] = {name: sum(int(part[name]) for part in parts) for name in SUMS}
    usd = math.fsum(part["cost_usd"] for part in parts)
    reasons = dict(sorted(abstained.items()))
    return Cost(experiment, arm, purpose, role, len(parts), **sums, cost_usd=usd, abstained=reasons)


def _rest(manifest: Mapping[str, Any], purposes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What stands in a run's totals and under none of its purposes."""
    listed = list(purposes)
    rest: dict[str, Any] = {"asks": 0, "calls": manifest["calls_billed"] - sum(part["calls"] for part in listed)}
    for name in ("tokens_in", "tokens_out"):
        rest[name] = manifest[name] - sum(part[name] for part in listed)
    usd = manifest["cost_usd"] - math.fsum(part["cost_usd"] for part in listed)
    return {**rest, "cost_usd": usd if rest["calls"] or rest["tokens_in"] else 0.0}
