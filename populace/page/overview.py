"""The first view: how far a run is, how it fares, what it costs, and what went wrong."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec

from populace.core.errors import PopulaceError
from populace.monitoring.minds import mind_of
from populace.page.history import History
from populace.page.panels import fields_of
from populace.page.rows import Rows
from populace.runs.result import run_status
from populace.settings import Settings
from populace.store.control import Done, controlled, wanted
from populace.store.folder import RunFile, read_run_file
from populace.store.manifest import read_manifest

_FAILURES: Final = 12
_FAILURE_ROWS: Final = 20_000
_NOTES: Final = 50


class Failure(msgspec.Struct, frozen=True):
    """What went wrong in one way: a reason for which asks abstained, or an error that ended turns."""

    kind: str
    reason: str
    count: int


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """A run at a moment; `now_s` and `told_s` are Unix seconds by the clock of the page's server.

    `status` is at work, killed, or as the manifest has it; `paused_at` is the tick before which a run at work is
    paused, `asked` what it is asked in its folder and has not done, `controlled` what it has. Counts are the run's so
    far. `left_s` is between two bounds in seconds; money is US dollars, `budget_usd` None without a ceiling. `curves`
    are the outcomes (see `History`).
    `model` says what answers, all minds in words. `experiment` and `arm` say what the run belongs to.
    """

    name: str
    scenario: str
    status: str
    tick: int
    ticks: int
    agents: int
    model: str
    shards: int
    seed: int | None
    now_s: float
    told_s: float | None
    wall_s: float
    turns_per_s: float
    left_s: tuple[float, float] | None
    cost_usd: float
    budget_usd: float | None
    tokens_in: int
    tokens_out: int
    turns: int
    turns_failed: int
    messages: int
    asks: int
    abstained: int
    due: int
    done: int
    waiting: int
    in_flight: int
    failures: list[Failure]
    notes: list[str]
    error: str
    why_invalid: str
    paused_at: int | None
    asked: str
    controlled: list[Done]
    curves: dict[str, Any]
    fields: list[str]
    tables: dict[str, int]
    parent: str | None
    at_tick: int | None
    experiment: str
    arm: str


def status_of(folder: Path) -> str:
    """What a run is at, as `Run.status` has it."""
    try:
        return run_status(folder)
    except PopulaceError:
        return "unreadable"


def overview(folder: Path, name: str, history: History, after: int = -1) -> Overview:
    """A run as it stands, with its outcomes after the tick `after`. Raises SettingsError where `run.json` is none."""
    status = status_of(folder)
    file = read_run_file(folder)
    settings = file.read_settings()
    history.update()
    ended: dict[str, Any] = {}
    if status not in ("at work", "killed", "unreadable"):
        ended = read_manifest(folder)
    told, began = history.last, history.began
    pulse = history.pulse if status == "at work" else None
    tick = int(ended.get("ticks", history.ticks))
    held = {
        name: Rows(folder, name) for name in ("agents", "messages", "asks", "actions", "rounds", "ties", "failures")
    }
    counts = _counts(ended, told)
    left = history.left if status == "at work" else None
    return Overview(
        name=name,
        scenario=str(ended.get("scenario") or (began.scenario if began else file.origin.rpartition("/")[2])),
        status=status,
        tick=tick,
        ticks=settings.ticks or (told.ticks if told else began.ticks if began else tick),
        agents=int(ended.get("agents") or (told.agents if told else began.agents if began else 0)),
        model=_answered(ended, settings),
        shards=settings.shards,
        seed=settings.seed,
        now_s=time.time(),
        told_s=told.at_s if told else began.at_s if began else None,
        wall_s=float(ended.get("wall_s") or (history.sign.wall_s if history.sign else 0.0)),
        turns_per_s=history.turns_per_s if status == "at work" else _rate(ended),
        left_s=(left.low_s, left.high_s) if left else None,
        budget_usd=settings.budget.usd,
        due=pulse.turns_due if pulse else 0,
        done=pulse.turns_done if pulse else 0,
        waiting=pulse.waiting if pulse else 0,
        in_flight=pulse.in_flight if pulse else 0,
        failures=_failures(held["failures"], counts.pop("reasons")),
        notes=history.notes,
        error=str(ended.get("error") or ""),
        **_control(folder, began.at_s if began else 0.0, at_work=status == "at work"),
        why_invalid=str(ended.get("why_invalid") or ""),
        curves=history.curves(after),
        fields=fields_of(held["agents"]),
        tables={name: len(rows) for name, rows in held.items() if rows.stamps},
        experiment=settings.experiment,
        arm=settings.arm,
        **_parent(file),
        **counts,
    )


def _control(folder: Path, began_s: float, *, at_work: bool) -> dict[str, Any]:
    done = controlled(folder)
    last = done[-1] if done and done[-1].at_s >= began_s else None  # what a life before did holds no longer
    asked = wanted(folder) if at_work else None
    is_new = asked is not None and (last is None or asked.at_s > last.at_s)
    return {
        "paused_at": last.tick if at_work and last is not None and last.wish == "pause" else None,
        "asked": asked.wish if asked is not None and is_new else "",
        "controlled": done[-_NOTES:],
    }


def _parent(file: RunFile) -> dict[str, Any]:
    parent = file.parent
    return {"parent": parent.run if parent else None, "at_tick": parent.at_tick if parent else None}


def _rate(ended: dict[str, Any]) -> float:
    wall_s, turns = float(ended.get("wall_s") or 0.0), _turns(ended)
    return turns / wall_s if wall_s > 0.0 else 0.0


def _turns(ended: dict[str, Any]) -> int:
    turns = ended.get("turns", 0)
    return int(turns if isinstance(turns, int) else 0)


def _counts(ended: dict[str, Any], told: Any) -> dict[str, Any]:
    """The run's counts, from its manifest where it has ended, else from what it told last."""
    if ended:
        asks = ended.get("asks", {})
        reasons: Counter[str] = Counter()
        for purpose in asks.get("by_purpose", {}).values():
            reasons.update(purpose.get("abstained", {}))
        return {
            "cost_usd": float(ended.get("cost_usd", 0.0)), "tokens_in": int(ended.get("tokens_in", 0)),
            "tokens_out": int(ended.get("tokens_out", 0)), "turns": _turns(ended),
            "turns_failed": int(ended.get("turns_failed", 0)),
            "messages": int(ended.get("messages", {}).get("sent", 0)),
            "asks": int(asks.get("made", 0)), "abstained": int(asks.get("abstained", 0)), "reasons": reasons,
        }  # fmt: skip
    if told is None:
        keys = ("tokens_in", "tokens_out", "turns", "turns_failed", "messages", "asks", "abstained")
        return {"cost_usd": 0.0, "reasons": Counter(), **dict.fromkeys(keys, 0)}
    return {
        "cost_usd": told.cost_usd, "tokens_in": told.tokens_in, "tokens_out": told.tokens_out, "turns": told.turns,
        "turns_failed": told.turns_failed, "messages": told.messages, "asks": told.asks,
        "abstained": sum(told.abstained.values()), "reasons": Counter(told.abstained),
    }  # fmt: skip


def _answered(ended: dict[str, Any], settings: Settings) -> str:
    """What answers, or answered, in words."""
    if "answers" in ended:
        return mind_of(ended)
    plain = settings.model_dump(mode="json", include={"minds"})
    kind = settings.model.kind
    roles = {
        name: {"model": own.label, "answers": "" if own.kind == "scripted" else own.kind}
        for name in settings.model.roles for own in (settings.of_role(name).model,)
    }  # fmt: skip
    answers = "" if kind == "scripted" else kind
    return mind_of({"answers": answers, "model": settings.model.label, "settings": plain, "roles": roles})


def _failures(rows: Rows, reasons: Counter[str]) -> list[Failure]:
    """What went wrong, by reason, the most frequent first: of very many failed turns, the first some thousands."""
    errors: Counter[str] = Counter()
    read = 0
    for group in rows.groups:
        if read >= _FAILURE_ROWS:
            break
        errors.update(rows.read(group, ("error",)).column("error").to_pylist())
        read += group.rows
    found = [Failure("ask", reason, count) for reason, count in reasons.items()]
    found += [Failure("turn", error[:500], count) for error, count in errors.most_common(_FAILURES)]
    return sorted(found, key=lambda one: -one.count)[:_FAILURES]
