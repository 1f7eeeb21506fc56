"""Does at a run's edges what is asked of it in its folder: pause, go on, end. A shell: files, waiting.

Nothing of it stands in a hash: between two ticks no turn is alive, and what waits there changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from populace.core.errors import AskedToEnd
from populace.store.control import CONTROL, Done, Watch, Wish, controlled, forget, record

LOOK_S: Final = 0.2
"""How often a run that is paused looks whether it is to go on."""


class Controlled:
    """What is asked of one run, over all its attempts. `note` is told what is done."""

    def __init__(self, folder: Path, note: Callable[[str], None]) -> None:
        self._folder = folder
        self._note = note
        self._watch = Watch(folder)

    def begin(self) -> None:
        """What was asked of a life of the run that is over is void."""
        forget(self._folder)

    def end(self) -> None:
        """The run has ended: nothing can be asked of it any more."""
        forget(self._folder)

    @property
    def done(self) -> list[Done]:
        """What was done so far, in all lives of the run."""
        return controlled(self._folder)

    async def at_edge(
        self, tick: int, hurry: asyncio.Event, save: Callable[[], Coroutine[Any, Any, None]]
    ) -> AskedToEnd | None:
        """Do before `tick` what is asked; what ends the run, if that is asked.

        Before it waits, the run is saved, so that it can be forked from there and its agents asked. A signal (`hurry`)
        ends the waiting.
        """
        paused = False
        while True:
            wish = self._wish()
            if wish == "stop":
                self._did("stop", tick, f"ended before tick {tick}, as {CONTROL} asks")
                return AskedToEnd(
                    f"the run was asked to end before tick {tick}; everything up to the last whole tick is saved"
                )
            if wish == "pause" and not paused:
                paused = True
                await save()
                self._did("pause", tick, f"paused before tick {tick}, as {CONTROL} asks")
            elif wish == "go" and paused:
                self._did("go", tick, f"going on with tick {tick}")
                return None
            if not paused or hurry.is_set():
                return None
            try:
                async with asyncio.timeout(LOOK_S):
                    await hurry.wait()
            except TimeoutError:
                continue

    def _wish(self) -> Wish | None:
        found = self._watch.new()
        if isinstance(found, str):
            self._note(found)
            return None
        return None if found is None else found.wish

    def _did(self, wish: Wish, tick: int, text: str) -> None:
        record(self._folder, wish, tick)
        self._note(text)
