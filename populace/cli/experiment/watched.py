"""`populace watch` of an experiment's folder."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import typer


def watch_experiment(folder: Path, every_s: float) -> None:
    """Say how far an experiment is until nobody is at work in it: a line of JSON whenever it has come further.

    The exit code is 0 where it is complete, else 1.
    """
    import msgspec

    told: Any = None
    try:
        while True:
            seen = _seen(folder)
            if seen != told:
                told = seen
                sys.stdout.write(msgspec.json.encode(seen).decode() + "\n")
                sys.stdout.flush()
            if seen["status"] != "at work":
                break
            time.sleep(every_s)
    except KeyboardInterrupt:
        sys.stderr.write(f"populace: {folder} is watched no more; it is left as it is\n")
        raise typer.Exit(130) from None
    if seen["status"] != "complete":
        raise typer.Exit(1)


def _seen(folder: Path) -> dict[str, Any]:
    """What can be seen of an experiment: status, runs done and in all, what they cost and what is to come."""
    from populace.experiments.results import Results
    from populace.experiments.schedule import Schedule

    status = Results(folder).status  # before its runs: what ends meanwhile is seen whole the next time
    schedule = Schedule(folder, Results(folder).design)
    to_come = schedule.to_come()
    return {
        "status": status,
        "experiment": schedule.design.name,
        "done": len(schedule.done),
        "runs": len(schedule.tasks),
        "cost_usd": round(schedule.cost_usd, 6),
        "cost_to_come_usd": None if to_come is None else round(to_come[0], 6),
    }
