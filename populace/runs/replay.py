"""Recomputes a run without a call, and says where it differs from what is on record. A shell."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import Diverged, SettingsError, StorageError, WorldDiverged
from populace.core.records import Ask, place_in_tick, who
from populace.core.text import shown_text
from populace.monitoring.pace import counted
from populace.monitoring.report import Observer
from populace.runs.courses import Going
from populace.runs.diff import first_difference
from populace.runs.diff_text import SAME_PROMPT
from populace.runs.shown import Shown
from populace.runs.stop import Stop
from populace.store.journal.recording import Missed
from populace.store.tables.tables import recorded_prompt, table_files


class Replayed(Shown, msgspec.Struct, frozen=True):
    """What a replay came to: `ticks` whose trace hashes agree, of `recorded`; `why` tells of the first difference.

    `diverged` says where it differs from what is on record; a `WorldDiverged` that the world's state alone does.
    `notes` say which code was replayed where it is not the scenario's file as it is now.
    """

    ticks: int
    recorded: int
    asks: int
    diverged: Diverged | None = None
    why: str = ""
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """It in words, as it is safe to show."""
        return shown_text(self._text())

    def _text(self) -> str:
        notes = "".join(f"{note}\n" for note in self.notes)
        if self.diverged is None or isinstance(self.diverged, WorldDiverged):
            ticks, asks = counted(self.ticks, "tick"), counted(self.asks, "ask")
            agree = f"{notes}replayed {ticks} with no call: every trace hash agrees ({asks} from record)\n"
            return agree if self.diverged is None else f"{agree}{self.diverged}\n{self.why}\n"
        before = f"; the {counted(self.ticks, 'tick')} before agree"
        agree = {0: "", 1: "; the tick before agrees"}.get(self.ticks, before)
        return f"{notes}{self.diverged}{agree}\n{self.why}\n"


def replay_run(
    going: Going, recorded: Path, out: Path, observers: Sequence[Observer] = (), stop: Stop | None = None
) -> Replayed:
    """Replay the run in the folder `recorded` into the folder `out`; from another thread, `stop` ends it.

    Raises what ends a run early, but for Diverged, which is told of.
    """
    transport = LocalTransport()
    coordinator = Coordinator(going.origin, going.settings, transport, out, observers, going.course)
    total = len(going.course.expected)
    try:
        manifest = asyncio.run((stop or Stop()).played(coordinator))
    except Diverged as diverged:
        why = _explain(diverged, recorded, out, transport.missed, going.course.expected)
        if (world := coordinator.world_diverged) is not None and world.tick < diverged.tick:
            why = f"{world}\n{why}"
        return Replayed(diverged.tick, total, 0, diverged, why, going.notes)
    why = "" if coordinator.world_diverged is None else _WORLD_ALONE
    return Replayed(total, total, manifest["asks"]["made"], coordinator.world_diverged, why, going.notes)


_WORLD_ALONE: Final = (
    "Nothing that agents did or were asked differs. A part's code is another, or a sum of floating-point numbers came "
    "out otherwise on this machine."
)


def _explain(diverged: Diverged, recorded: Path, out: Path, missed: Sequence[Missed], expected: Sequence[str]) -> str:
    """The first ask or action that differs, with both texts."""
    tick = diverged.tick
    mine = sorted((one for one in missed if one.ask.tick == tick), key=lambda one: place_in_tick(one.ask))
    if mine:
        ask = mine[0].ask
        said = f"first difference: ask {ask.nth} of {who(ask.agent)} in tick {tick} ({ask.purpose})"
        now = "\n".join(f"  now, {role}: {text}" for role, text in ask.messages)
        if mine[0].recorded is None:
            return f"{said} is not on record.\n{now}"
        prompt = _recorded_prompt(recorded, ask)
        if prompt is not None and [(one["role"], one["content"]) for one in prompt] == list(ask.messages):
            return f"{said} is another than the one on record.\n{SAME_PROMPT}\n{now.replace('  now, ', '  ')}"
        return f"{said} is another than the one on record.\n{_on_record(prompt, recorded)}\n{now}"
    try:
        found = first_difference(recorded, out, expected)
    except (SettingsError, StorageError) as error:
        return f"No ask differs: what agents did with the answers does, and the run's tables cannot show it: {error}"
    if found is None:
        return "No ask differs: what agents did with the answers does, and the run's tables do not hold it."
    where = f"before tick {tick}" if found.tick < 0 else f"in tick {found.tick}"
    which = f"{found.what} {found.nth}" if found.nth >= 0 else found.what
    about = f" ({found.about})" if found.about else ""
    return (
        f"first difference: {which} of {who(found.agent)} {where}{about}\n"
        f"  on record: {_shown(found.text_a)}\n  now: {_shown(found.text_b)}"
    )


def _shown(text: str | None) -> str:
    return "nothing" if text is None else text


def _recorded_prompt(recorded: Path, ask: Ask) -> list[dict[str, str]] | None:
    """The prompt on record, from the run's table of asks; the journal holds keys and no prompts."""
    try:
        return recorded_prompt(recorded, ask.tick, ask.agent, ask.nth)
    except (SettingsError, StorageError):
        return None


def _on_record(prompt: Sequence[Mapping[str, str]] | None, recorded: Path) -> str:
    if prompt is None:
        kept = bool(table_files(recorded, "asks"))
        why = "ended before this tick was in its tables" if kept else "kept no table of asks: record.asks"
        return f"  on record: only its content key (the run {why})"
    return "\n".join(f"  on record, {one['role']}: {one['content']}" for one in prompt)
