"""`populace runs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

_COLUMNS: Final = {
    "run": "run", "status": "status", "scenario": "scenario", "agents": "agents", "ticks": "ticks", "asks": "asks",
    "cost_usd": "cost", "age_s": "age",
}  # fmt: skip


def runs(folder: Annotated[Path, typer.Argument(help="A folder of runs.")] = Path("runs")) -> None:
    """List the runs in a folder, an experiment's among them: state, scenario, ticks, cost and age.

    Of a run at work or killed it is what the run last told. Without a terminal it is a line of JSON each.
    """
    import msgspec

    from populace.cli.printing import print_rows
    from populace.runs.listing import runs_in

    rows = [msgspec.structs.asdict(one) for one in runs_in(folder)]
    if sys.stdout.isatty():
        for row in rows:
            row["status"] = row["error"] or f"{row['status']}{', not valid' if row['valid'] is False else ''}"
            done, planned = row["ticks"], row["planned"]
            row["ticks"] = f"{done:,}/{planned:,}" if done is not None and planned and done < planned else done
    print_rows(sys.stdout, _COLUMNS, rows, _text, right=("ticks", "age_s"))


def _text(name: str, value: Any) -> str:
    from populace.monitoring.pace import duration_text
    from populace.monitoring.progress import money

    if value is None:
        return ""
    if name == "age_s":
        return duration_text(value)
    return money(value) if name == "cost_usd" else f"{value:,}" if isinstance(value, int) else str(value)
