"""Plays a run from its beginning, or from where it stands, to its end. A shell: signals, an event loop."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from populace.cluster.collector import tuned_collector
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import ConservationError, Diverged, JournalDamaged, PopulaceError, RunFailed, ScenarioError
from populace.data.hidden_state import hidden_state
from populace.data.societies import parted
from populace.monitoring.report import Observer
from populace.runs.courses import Going, recorded_hashes
from populace.runs.place import Place
from populace.runs.stop import Stop
from populace.runs.watchers import watchers_of
from populace.settings import Settings
from populace.store.manifest import is_complete
from populace.store.place import remove_unbegun

STOPPING: Final = "stopping: what is committed is being saved (once more to quit at once)"


Ended: TypeAlias = Callable[[Place], None]
"""Told when a run has ended, however it did, while its folder is still held."""
Say: TypeAlias = Callable[[str], None]
"""Told, a line at a time, what to know of a run before it begins, and that a signal is ending it."""


def nobody(_: object) -> None:
    """Nobody listens."""


def conduct(
    going: Going,
    place: Place,
    observers: Sequence[Observer] = (),
    ended: Ended = nobody,
    say: Say = nobody,
    stop: Stop | None = None,
) -> dict[str, Any]:
    """Play a run in its place and give its manifest.

    Metrics, a log and traces go where the settings say. The first SIGINT or SIGTERM ends the run with what is committed
    saved, as `say` is told; a second ends the process. In another thread than the main one, which gets no signals,
    `stop` ends it. Raises what ends a run early, with a note that says how to go on where that would help. Nothing is
    left of a run that ended before its first tick began.
    """
    for note in going.notes:
        say(f"note: {note}")
    for found in () if going.course.resumed else hidden_state(going.origin.source or ""):
        say(f"note: {parted(going.origin.name)[0]}:{found.line}: {found.what}")
    settings = going.settings
    own = watchers_of(settings, going.course.file.run, place.folder, say)
    watching = [*observers, *own]
    if place.mirror is not None and place.mirror.lease is not None:
        place.mirror.lease.keep_to(settings.remote.lease_s, alone=settings.transport == "local")
    transport = make_transport(settings)
    coordinator = Coordinator(going.origin, settings, transport, place.folder, watching, going.course, place.mirror)
    try:
        with tuned_collector():
            return asyncio.run(_until_stopped(coordinator, say, stop or Stop()))
    except PopulaceError as error:
        if not coordinator.has_begun and place.mirror is None and not going.course.replay:
            remove_unbegun(place.folder)
        if settings.journal != "off":
            for step in _next_steps(error, place):
                error.add_note(step)
        raise
    finally:
        for watcher in own:
            watcher.close()
        ended(place)


def make_transport(settings: Settings) -> Any:
    """The transport that the settings name; Ray is imported only for Ray."""
    if settings.transport == "ray":
        from populace.cluster.ray import RayTransport

        return RayTransport()
    return LocalTransport()


async def _until_stopped(coordinator: Coordinator, say: Say, stop: Stop) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    pressed = 0

    def signalled() -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1:
            os._exit(130)
        say(f"\n{STOPPING}")
        coordinator.stop()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, signalled)
    return await stop.played(coordinator)


def _next_steps(error: PopulaceError, place: Place) -> list[str]:
    """How the run that this error ended can be gone on with; nothing where its record is wrong or it is complete."""
    out, resume = place.folder, f"populace resume {shlex.quote(place.name)}"
    if isinstance(error, Diverged | ConservationError | JournalDamaged) or not (out / "run.json").exists():
        return []
    if is_complete(out):
        return []
    if not isinstance(error, ScenarioError | RunFailed):
        return [f"to go on: {resume}"]
    mended = f"to go on once the scenario's code is mended: {resume} --code new (in a new folder; no answer paid twice)"
    if isinstance(error, RunFailed):
        return [mended, f"to go on with the code as it was: {resume} --set limits.failed_turns=1"]
    return [mended] if recorded_hashes(out) else []
