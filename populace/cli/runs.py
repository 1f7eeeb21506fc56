"""`populace runs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

_COLUMNS: Final = {
    "run": "run", "status": "status", "scenario": "scenario", "agents": "agents", "ticks": "ticks", "asks": "asks",
    "cost_usd": "cost",
}  # fmt: skip


def runs(folder: Annotated[Path, typer.Argument(help="A folder of runs.")] = Path("runs")) -> None:
    """List the runs in a folder: status, scenario, ticks and cost; without a terminal a line of JSON each."""
    import msgspec

    from populace.cli.printing import print_rows
    from populace.runs.listing import runs_in

    rows = [msgspec.structs.asdict(one) for one in runs_in(folder)]
    if sys.stdout.isatty():
        for row in rows:
            row["status"] = row["error"] or f"{row['status']}{', not valid' if row['valid'] is False else ''}"
    print_rows(sys.stdout, _COLUMNS, rows, _text)


def _text(name: str, value: Any) -> str:
    from populace.monitoring.progress import money

    if value is None:
        return ""
    return money(value) if name == "cost_usd" else f"{value:,}" if isinstance(value, int) else str(value)
