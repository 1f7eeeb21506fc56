"""What runs cost, added up over their manifests by experiment, arm and purpose of the ask."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from populace.budget.ledger import Entry, Ledger, amount_text
from populace.core.errors import SettingsError
from populace.monitoring.printing import print_rows
from populace.monitoring.progress import money
from populace.store.manifest import read_manifest

UNFINISHED: Final = "(unfinished ticks)"
"""Stands for a purpose where a run ended in the midst of a tick: what was billed for turns that were not committed."""


class Cost(msgspec.Struct, frozen=True):
    """What the asks of one purpose came to, over the runs of one arm of an experiment; both '' where runs named none.

    `runs` counts those that had any such ask, `abstained` the asks without an answer, by reason.
    """

    experiment: str
    arm: str
    purpose: str
    runs: int
    asks: int
    calls: int
    tokens_in: int
    tokens_out: int
    cost_usd: float
    abstained: dict[str, int]


_SUMS: Final = ("asks", "calls", "tokens_in", "tokens_out")


def costs(manifests: Iterable[Mapping[str, Any]]) -> list[Cost]:
    """The costs of these runs, by experiment, arm and purpose; their sums are the sums of the runs' own totals."""
    parts: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for manifest in manifests:
        settings = manifest["settings"]
        labels = str(settings.get("experiment", "")), str(settings.get("arm", ""))
        purposes = dict(manifest["asks"]["by_purpose"])
        rest = _rest(manifest, purposes.values())
        if rest["calls"] or rest["tokens_in"] or rest["tokens_out"]:
            purposes[UNFINISHED] = rest
        for purpose, part in purposes.items():
            parts[*labels, purpose].append(part)
    return [_cost(*key, parts[key]) for key in sorted(parts)]


def print_costs(runs: Iterable[Path], stream: TextIO) -> None:
    """Print what these runs (their folders) cost: a table with its total on a terminal, else a line of JSON each.

    Raises SettingsError for a folder that is given twice or holds no manifest.
    """
    folders = [run.resolve() for run in runs]
    twice = [str(folder) for folder in folders if folders.count(folder) > 1]
    if twice:
        raise SettingsError(f"{twice[0]}: is given twice, so its cost would count twice.")
    found = costs(read_manifest(folder) for folder in folders)
    rows = [msgspec.to_builtins(one) for one in found]
    if stream.isatty():
        total = {name: sum(row[name] for row in rows) for name in (*_SUMS, "cost_usd")}
        rows.append({"experiment": "total", "arm": "", "purpose": "", "runs": None, "abstained": {}, **total})
    headings = ("experiment", "arm", "purpose", "runs", "asks", "calls", "tokens in", "tokens out", "cost", "abstained")
    print_rows(stream, dict(zip(Cost.__struct_fields__, headings, strict=True)), rows, _text)


def _text(name: str, value: Any) -> str:
    if name == "cost_usd":
        return money(value)
    if name == "abstained":
        return ", ".join(f"{reason} {n:,}" for reason, n in value.items())
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _cost(experiment: str, arm: str, purpose: str, parts: list[Mapping[str, Any]]) -> Cost:
    abstained: dict[str, int] = defaultdict(int)
    for part in parts:
        for reason, n in part.get("abstained", {}).items():
            abstained[reason] += n
    sums = {name: sum(int(part[name]) for part in parts) for name in _SUMS}
    usd = math.fsum(part["cost_usd"] for part in parts)
    return Cost(experiment, arm, purpose, len(parts), **sums, cost_usd=usd, abstained=dict(sorted(abstained.items())))


def _rest(manifest: Mapping[str, Any], purposes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What stands in a run's totals and under none of its purposes."""
    listed = list(purposes)
    rest: dict[str, Any] = {"asks": 0, "calls": manifest["calls_billed"] - sum(part["calls"] for part in listed)}
    for name in ("tokens_in", "tokens_out"):
        rest[name] = manifest[name] - sum(part[name] for part in listed)
    usd = manifest["cost_usd"] - math.fsum(part["cost_usd"] for part in listed)
    return {**rest, "cost_usd": usd if rest["calls"] or rest["tokens_in"] else 0.0}


def print_ledger(path: Path, release: str | None, stream: TextIO) -> None:
    """Print a ledger's runs, after giving back what the run `release` did not spend; see `Ledger.release`.

    A table on a terminal, else a line of JSON each. Raises SettingsError and StorageError.
    """
    ledger = Ledger(path)
    shown = ledger.entries() if release is None else ledger.release(release)
    rows = [_row(entry) for entry in shown]
    headings = {"experiment": "experiment", "arm": "arm", "run": "run", "state": "state", "spent": "spent"}
    print_rows(stream, {**headings, "reserved": "reserved", "folder": "folder"}, rows, lambda _, value: str(value))


def _row(entry: Entry) -> dict[str, Any]:
    state = "ended" if not entry.open else "at work" if entry.lives else "open"
    row: dict[str, Any] = {name: getattr(entry, name) for name in ("experiment", "arm", "run", "folder", "changed")}
    row |= {"state": state, "spent": f"{'at most ' if entry.open else ''}{amount_text(entry.spent)}"}
    row |= {"spent_tokens": entry.spent.tokens, "spent_usd": entry.spent.usd}
    row["reserved"] = amount_text(entry.reserved) if entry.open else ""
    return row
