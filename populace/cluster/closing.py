"""What a run's manifest says of it, whatever its lives: the last may have ended before it came as far as the others.

Shell: files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from populace.agents.society import Society
from populace.budget.amounts import NOTHING, Amount, pico_usd
from populace.core.errors import BudgetSpent, Interrupted, PopulaceError, SettingsError
from populace.kernel.barrier import Barrier
from populace.kernel.snapshot import RunState
from populace.settings import Settings
from populace.store.manifest import MANIFEST, read_manifest, redact, tally, verdict

_OF_THE_LIFE: Final = (
    "status", "error", "origin", "settings", "parameters", "versions", "peak_rss_mb", "attempt", "began_at_tick",
    "lost", "experiment", "arm",
)  # fmt: skip
"""What a manifest says of a run's last life; the rest is about the run as far as it came in any."""


def former_manifest(out: Path, run: str) -> dict[str, Any]:
    """The manifest that a former life of this run left; empty where there is none that can be read."""
    try:
        found = read_manifest(out) if (out / MANIFEST).exists() else {}
    except SettingsError:
        return {}
    return found if found.get("run") == run else {}


def spent_by(manifest: dict[str, Any]) -> Amount:
    """What a manifest says that its run spent."""
    if not manifest:
        return NOTHING
    return Amount(manifest["tokens_in"] + manifest["tokens_out"], pico_usd(manifest["cost_usd"]))


def ended(failure: PopulaceError | None) -> dict[str, Any]:
    """How a run ended, for its manifest."""
    return {"status": _status(failure), "error": None if failure is None else str(failure)}


def _status(failure: PopulaceError | None) -> str:
    match failure:
        case None:
            return "complete"
        case Interrupted():
            return "interrupted"
        case BudgetSpent():
            return "budget"
    return "failed"


def going_on(tick: int, on_record: dict[int, int]) -> str:
    """What to tell of a run that goes on before `tick`, with so many answers on record by the tick they belong to."""
    n = sum(count for of, count in on_record.items() if of >= tick)
    known = "no answer" if not n else "1 answer" if n == 1 else f"{n:,} answers"
    return f"going on before tick {tick}: {known} after it {'are' if n > 1 else 'is'} on record"


def barrier_at(state: RunState | None, shards: int, ticks: int) -> Barrier:
    """A barrier that says how far a run came, before it goes on from this state."""
    barrier = Barrier(shards, ticks, 0 if state is None else state.tick)
    if state is not None:
        barrier.restore(state.hashes, state.total, {}, {}, state.world_hashes)
    return barrier


def facts(society: Society, settings: Settings, barrier: Barrier) -> dict[str, Any]:
    """What a manifest says of settings, ticks and counts."""
    total, world = barrier.total, barrier.world_trace.record
    return {
        "trace_hash": barrier.trace.hash,
        "trace_hashes": barrier.trace.ticks,
        "world_hash": world.hashes[-1] if world.hashes else None,
        "world_hashes": world.hashes,
        "world_parts": world.parts,
        "scenario": society.name,
        "experiment": settings.experiment,
        "arm": settings.arm,
        "settings": redact(settings.model_dump(mode="json"), "settings"),
        "parameters": redact(msgspec.to_builtins(society.with_parameters(settings.society)), "parameters"),
        "seed": settings.seed,
        "model": settings.model.label,
        "ticks": barrier.tick,
        **tally(total),
        **verdict(total, settings.limits),
        "saved": {"calls": total.saved_calls, "usd": total.saved_usd},
    }


def keep_former(manifest: dict[str, Any], former: dict[str, Any]) -> dict[str, Any]:
    """A life's manifest; what is told of ticks is the former's where this life did not come so far.

    A run that is taken up goes over ticks again that were committed before. When it ends there, or before it began,
    hashes and costs of the run are still those of the furthest tick.
    """
    if manifest["status"] == "complete" or former.get("ticks", 0) <= manifest["ticks"]:
        return manifest
    return former | {key: manifest[key] for key in _OF_THE_LIFE}
