"""Ends a run: its tables, its manifest. The last attempt may have ended before it came as far as those before it.

Shell: files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from populace.agents.society import Society
from populace.budget.amounts import NOTHING, Amount, pico_usd
from populace.budget.sharing import SharedWith
from populace.cluster.job import Job
from populace.cluster.standing import Standing
from populace.core.errors import BudgetSpent, Interrupted, PopulaceError, SettingsError, StorageError
from populace.core.records import DEFAULT_ROLE, Counts
from populace.interventions.at_work import summarize
from populace.kernel.barrier import Barrier
from populace.kernel.snapshot import RunState
from populace.settings import Settings
from populace.store.control import Done
from populace.store.folder import Course, Store
from populace.store.journal.check import lengths
from populace.store.manifest import MANIFEST, read_manifest, redact, tally, verdict, versions, write_manifest
from populace.store.tables.tables import agents_touched

_OF_THE_ATTEMPT: Final = (
    "status", "error", "origin", "settings", "parameters", "versions", "peak_rss_mb", "attempt", "began_at_tick",
    "lost", "experiment", "arm", "answers", "salvaged", "controlled",
)  # fmt: skip
"""What a manifest says of a run's last attempt; the rest is about the run as far as it came in any."""
_BILLED: Final = ("calls_billed", "tokens_in", "tokens_out", "cost_usd", "estimated_tokens", "estimated_usd")


def former_manifest(out: Path, run: str) -> dict[str, Any]:
    """The manifest that a former attempt of this run left; empty where there is none that can be read."""
    try:
        found = read_manifest(out) if (out / MANIFEST).exists() else {}
    except (SettingsError, StorageError):
        return {}
    return found if found.get("run") == run else {}


def spent_by(manifest: dict[str, Any]) -> Amount:
    """What a manifest says that its run spent at most: what its account had booked, where there was one."""
    if not manifest:
        return NOTHING
    counted = Amount(manifest["tokens_in"] + manifest["tokens_out"], pico_usd(manifest["cost_usd"]))
    booked = manifest.get("booked")
    return counted if booked is None else counted.at_least(Amount(booked["tokens"], pico_usd(booked["usd"])))


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
    """What to tell of a run that is resumed at `tick`, with so many answers on record by the tick they belong to."""
    n = sum(count for of, count in on_record.items() if of >= tick)
    known = "no answer" if not n else "1 answer" if n == 1 else f"{n:,} answers"
    where = f"continuing from tick {tick}" if tick else "starting again from tick 0, as no later tick was saved"
    return f"{where}: {known} after it {'are' if n > 1 else 'is'} on record"


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
        "answers": _answers(society, settings.of_role(DEFAULT_ROLE)) if total.asked or not total.turns else "nothing",
        "roles": _roles(society, settings, total),
        "ticks": barrier.tick,
        **tally(total),
        **({"born": total.born, "left": total.left} if total.born or total.left else {}),
        **verdict(total, settings.limits),
        "saved": {"calls": total.saved_calls, "usd": total.saved_usd},
    }


def _answers(society: Society, settings: Settings) -> str:
    """Where the answers come from: the kind of model; 'placebo' where they are drawn by lot."""
    placebo = settings.model.kind == "scripted" and society.scripted is None
    return "placebo" if placebo else settings.model.kind


def _roles(society: Society, settings: Settings, total: Counts) -> dict[str, Any]:
    """Which model answered which model role: for those that the settings name or that were asked; none for no role.

    `set` says that the settings name it; the default role's model stands in for one that they do not.
    """
    named = list(settings.model.roles)
    asked = [role for role in sorted(total.roles) if role not in named]
    if not named and not asked:
        return {}
    return {
        role: {
            "model": own.model.label,
            "answers": _answers(society, own),
            "set": role not in asked,
        }
        for role in (DEFAULT_ROLE, *named, *asked)
        for own in (settings.of_role(role),)
    }


def keep_former(manifest: dict[str, Any], former: dict[str, Any]) -> dict[str, Any]:
    """An attempt's manifest; what is told of ticks is the former's where this one did not come so far.

    A resumed run goes over ticks again that were committed before. When it ends there, or before it began,
    hashes and costs of the run are still those of the furthest tick; what it has been billed more since then counts.
    """
    if manifest["status"] == "complete" or not former:
        return manifest
    if _how_far(former) <= _how_far(manifest):
        return manifest
    kept = former | {key: manifest[key] for key in _OF_THE_ATTEMPT if key in manifest}
    if manifest["calls_billed"] > former["calls_billed"]:
        kept |= {key: manifest[key] for key in _BILLED if key in manifest}
        was, now = former["asks"], manifest["asks"]
        roles = was.get("by_role", {}), now["by_role"]
        kept["asks"] = was | {
            "by_purpose": _billed_by_purpose(was["by_purpose"], now["by_purpose"]),
            "by_role": {
                role: _billed_by_purpose(*(one.get(role, {}) for one in roles)) for role in (roles[0] | roles[1])
            },
        }
    return kept


def _how_far(manifest: dict[str, Any]) -> list[int]:
    """In the same tick, whether the shards closed their books tells, and then what the open tick was billed."""
    billed = (manifest[key] for key in ("calls_billed", "tokens_in", "tokens_out"))
    return [manifest["ticks"], manifest["messages"]["expired"], *billed]


def _billed_by_purpose(asked: dict[str, Any], billed: dict[str, Any]) -> dict[str, Any]:
    """The asks of a former manifest by purpose, with what they have been billed by now."""
    untold = {"asks": 0, "abstained": {}}
    return {
        name: billed.get(name, {}) | {key: asked.get(name, untold)[key] for key in untold}
        if billed.get(name, {}).get("calls", 0) >= asked.get(name, {}).get("calls", 0)
        else asked[name]
        for name in sorted(asked.keys() | billed.keys())
    }


class Closer:
    """Finishes a run's folder, and says in its manifest how it ended, whatever moment that was."""

    def __init__(self, job: Job, settings: Settings, out: Path, course: Course) -> None:
        self._society = job.society()
        self._agents = job.agents
        self._origin = job.origin
        self._settings = settings
        self._out = out
        self._course = course
        self._former = former_manifest(out, course.file.run) if course.resumed else {}
        self.lost: list[str] = []
        self.lever_notes: list[str] = []
        self.peak_rss_mb = 0.0
        self.controlled: list[Done] = []

    @property
    def spent_before(self) -> Amount:
        """What the run had spent before it was resumed, as far as its manifest says."""
        return spent_by(self._former)

    def settle(
        self, manifest: dict[str, Any], spent: Amount | None, store: Store | None, shared: SharedWith | None = None
    ) -> None:
        """Put in what is known once all is closed: what was booked, the journal's lengths, who shared the limits.

        What the run's account has booked counts a call whose fate is unknown at its worst; a later attempt goes on from
        it, so that it is booked for all of the run. By its lengths a journal that has lost its end is known as such.
        """
        if self._course.replay or not (self._out / MANIFEST).exists():
            return
        late: dict[str, Any] = {}
        if spent is not None and self._settings.budget.is_bounded:
            late["booked"] = {"tokens": spent.tokens, "usd": spent.usd}
        if shared is not None:
            late["shared_limits"] = msgspec.to_builtins(shared)
        if store is not None:
            late["journal"] = lengths(store.journal)
        if late:
            manifest |= late
            write_manifest(self._out, {**read_manifest(self._out), **late})

    @property
    def former_ticks(self) -> int:
        """How far the run had come in the attempts before, as far as its manifest says."""
        return int(self._former.get("ticks", 0))

    def close(
        self, standing: Standing | None, reached: Barrier, store: Store | None, failure: PopulaceError | None
    ) -> tuple[dict[str, Any], PopulaceError | None]:
        """Finish the tables, then the manifest, then delete what a complete run does not need.

        Whatever moment this ends at, the run is complete by its manifest or can be resumed. `reached` says how far it
        came. Gives the manifest, and what has failed: the run, or else what is done here.
        """
        tables = None if standing is None else standing.tables
        if tables is not None:
            try:
                tables.close(reached.tick, complete=failure is None)
            except PopulaceError as error:
                failure = failure or error
        manifest: dict[str, Any] = {
            **ended(failure),
            **facts(self._society, self._settings, reached),
            "origin": self._origin,
            "versions": versions(),
            "agents": self._agents,
            "wall_s": 0.0 if standing is None else round(standing.wall_s(), 3),
            "peak_rss_mb": self.peak_rss_mb,
            "run": self._course.file.run,
            "trace_version": self._course.file.trace_version,
            "attempt": reached.world_attempt,
            "began_at_tick": 0 if standing is None else standing.began_at_tick,
            "lost": self.lost,
            "parent": msgspec.to_builtins(self._course.file.parent),
            "salvaged": self._course.file.salvaged,
            **({"controlled": msgspec.to_builtins(self.controlled)} if self.controlled else {}),
        }
        if tables is not None:
            levers = summarize(self._settings.levers, agents_touched(self._out))
            manifest |= {"levers": levers, "lever_notes": self.lever_notes}
        manifest = keep_former(manifest, self._former)
        try:
            write_manifest(self._out, manifest)
        except PopulaceError as error:
            failure = failure or error
            manifest |= ended(failure)
        if failure is None:
            if store is not None:
                store.discard()
            if tables is not None:
                tables.forget()
        return manifest, failure
