"""`populace costs`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TextIO

import msgspec
import typer

from populace.budget.ledger import Entry, Ledger, amount_text
from populace.cli.printing import print_rows
from populace.core.errors import SettingsError
from populace.monitoring.progress import money
from populace.runs.costs import SUMS, Cost, costs_of, folders_of, probe_costs
from populace.store.manifest import read_manifest


def costs(
    runs: Annotated[list[Path] | None, typer.Argument(help="Runs, or folders that hold runs.")] = None,
    ledger: Annotated[Path | None, typer.Option(help="An experiment's ledger (budget.ledger): its runs.")] = None,
    release: Annotated[
        str | None, typer.Option(help="A killed run in --ledger, by name or folder: give back what it did not spend.")
    ] = None,
) -> None:
    """Add up what runs cost by experiment, arm, purpose and model role; or look after an experiment's ledger."""
    if not runs and ledger is None:
        raise SettingsError("say what to add up: populace costs RUN..., or populace costs --ledger FILE")
    if release is not None and ledger is None:
        raise SettingsError("--release needs --ledger FILE, the file that budget.ledger names")
    if runs:
        print_costs(runs, sys.stdout)
    if ledger is not None:
        print_ledger(ledger, release, sys.stdout)


def print_costs(runs: Iterable[Path], stream: TextIO) -> None:
    """Print what these runs, and then probes of them, cost: tables with totals on a terminal, else lines of JSON.

    Each is a run's folder, or one that holds runs. Raises SettingsError for a run that is given twice or has not ended.
    """
    folders = [folder for run in runs for folder in folders_of(run.resolve())]
    twice = [str(folder) for folder in folders if folders.count(folder) > 1]
    if twice:
        raise SettingsError(f"{twice[0]}: is given twice, so its cost would count twice.")
    ended = [(folder, read_manifest(folder)) for folder in folders]
    rows = []
    for found in (costs_of(manifest for _, manifest in ended), probe_costs(ended)):
        part = [msgspec.to_builtins(one) for one in found]
        rows += part
        if part and stream.isatty():
            total = {name: sum(row[name] for row in part) for name in (*SUMS, "cost_usd")}
            blank = dict.fromkeys(("arm", "purpose", "model_role"), "")
            rows.append({"experiment": "total", **blank, "runs": None, "abstained": {}, **total, "of": part[0]["of"]})
    headings = (
        "experiment", "arm", "purpose", "role", "runs", "asks", "calls", "tokens in", "tokens out", "cost", "abstained",
        "of",
    )  # fmt: skip
    print_rows(stream, dict(zip(Cost.__struct_fields__, headings, strict=True)), rows, _text)


def _text(name: str, value: Any) -> str:
    if name == "cost_usd":
        return money(value)
    if name == "abstained":
        return ", ".join(f"{reason} {n:,}" for reason, n in value.items())
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


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
    state = "ended" if not entry.open else "at work" if entry.is_at_work else "open"
    row: dict[str, Any] = {name: getattr(entry, name) for name in ("experiment", "arm", "run", "folder", "changed")}
    row |= {"state": state, "spent": f"{'at most ' if entry.open else ''}{amount_text(entry.spent)}"}
    row |= {"spent_tokens": entry.spent.tokens, "spent_usd": entry.spent.usd}
    row["reserved"] = amount_text(entry.reserved) if entry.open else ""
    return row
