"""Recomputes a run without a call, and says where it differs from what is on record. A shell."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import msgspec

from populace.cluster.coordinator import Coordinator
from populace.cluster.courses import Going
from populace.cluster.local import LocalTransport
from populace.cluster.recording import Missed
from populace.core.errors import Diverged, SettingsError
from populace.core.records import Ask
from populace.monitoring.diff import first_difference
from populace.monitoring.progress import choose_progress
from populace.monitoring.tables import recorded_prompt


class Replayed(msgspec.Struct, frozen=True):
    """What a replay came to: `ticks` whose hashes agree, of `recorded`; `why` tells of the first difference."""

    ticks: int
    recorded: int
    asks: int
    diverged: Diverged | None = None
    why: str = ""

    def text(self) -> str:
        """It in words."""
        if self.diverged is None:
            return f"replayed {self.ticks} ticks with no call: every trace hash agrees ({self.asks} asks from record)\n"
        return f"{self.diverged}; the {self.ticks} ticks before agree\n{self.why}\n"


def replay_run(going: Going, recorded: Path, out: Path, stream: TextIO | None = None) -> Replayed:
    """Replay the run in the folder `recorded` into the folder `out`.

    Raises what ends a run early, but for Diverged, which is told of.
    """
    observers: Sequence[Any] = () if stream is None else (choose_progress(stream),)
    transport = _Kept()
    coordinator = Coordinator(going.origin, going.settings, transport, out, observers, going.course)
    total = len(going.course.expected)
    try:
        manifest = asyncio.run(coordinator.run())
    except Diverged as diverged:
        why = _explain(diverged, recorded, out, transport.all_missed, going.course.expected)
        return Replayed(diverged.tick, total, 0, diverged, why)
    finally:
        for one in observers:
            one.close()
    return Replayed(total, total, manifest["asks"]["made"])


class _Kept(LocalTransport):
    """Keeps what was missed when it is closed."""

    all_missed: Sequence[Missed] = ()

    async def close(self) -> None:
        self.all_missed = (*self.all_missed, *self.missed)
        await super().close()


def _explain(
    diverged: Diverged, recorded: Path, out: Path, missed: Sequence[Missed], expected: Sequence[str]
) -> str:
    """The first ask or action that differs, with both texts."""
    tick = diverged.tick
    mine = sorted((one for one in missed if one.ask.tick == tick), key=lambda one: (one.ask.agent, one.ask.nth))
    if mine:
        ask = mine[0].ask
        said = f"first difference: ask {ask.nth} of agent {ask.agent} in tick {tick} ({ask.purpose})"
        now = "\n".join(f"  now, {role}: {text}" for role, text in ask.messages)
        if mine[0].recorded is None:
            return f"{said} is not on record.\n{now}"
        return f"{said} is another than the one on record.\n{_recorded_prompt(recorded, ask)}\n{now}"
    try:
        found = first_difference(recorded, out, expected)
    except SettingsError as error:
        return f"No ask differs: what agents did with the answers does, and the run's tables cannot show it: {error}"
    if found is None:
        return "No ask differs: what agents did with the answers does, and the run's tables do not hold it."
    where = f"before tick {tick}" if found.tick < 0 else f"in tick {found.tick}"
    which = f"{found.what} {found.nth}" if found.nth >= 0 else found.what
    about = f" ({found.about})" if found.about else ""
    return (
        f"first difference: {which} of agent {found.agent} {where}{about}\n"
        f"  on record: {_shown(found.text_a)}\n  now: {_shown(found.text_b)}"
    )


def _shown(text: str | None) -> str:
    return "nothing" if text is None else text


def _recorded_prompt(recorded: Path, ask: Ask) -> str:
    """The prompt on record, from the run's table of asks; the journal holds keys and no prompts."""
    try:
        prompt = recorded_prompt(recorded, ask.tick, ask.agent, ask.nth)
    except SettingsError:
        return "  on record: only its content key (the run kept no table of asks: record.asks)"
    if prompt is None:
        return "  on record: only its content key (the run ended before this tick was in its tables)"
    return "\n".join(f"  on record, {one['role']}: {one['content']}" for one in prompt)
