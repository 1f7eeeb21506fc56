"""What a page may do where it was begun with `--control`: ask a run to pause, go on or end, interview, fork.

Who asks has the token, which was printed once with the page's address. A run is asked by a file in its folder; a fork
is a process of its own, which outlives the page; an interview recomputes the run from its record and changes nothing of
it. Shell: files, processes.
"""

from __future__ import annotations

import contextlib
import hmac
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from populace.core.errors import SettingsError
from populace.core.records import Abstained
from populace.page.minds import find_mind
from populace.page.overview import status_of
from populace.page.shelf import Shelf
from populace.runs.place import reserved_beside
from populace.runs.probing import answer
from populace.store.control import want
from populace.store.folder import RUN_FILE

READ_ONLY: Final = "this page only shows: to control runs, begin it with populace watch PLACE --control"
_UNKNOWN: Final = (
    "this needs the token of the page: open the address with #token=... that populace watch --control printed when it "
    "began"
)
_BEGINS_S: Final = 60.0
"""How long a fork may take to begin before the page says that it is on its way."""
_LOOK_S: Final = 0.05
_TOLD_LETTERS: Final = 2000
_at_work: Final[set[subprocess.Popen[bytes]]] = set()
"""Forks that were begun and have not ended: kept, so that none is taken for a process that nobody waits for."""

Tick = Annotated[int, Meta(ge=0, le=2**53)]
Said = Annotated[str, Meta(min_length=1, max_length=4000)]


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask a run at work to pause at its next edge, to go on, or to end there."""

    wish: Literal["pause", "go", "stop"]
    run: str = ""


class Interview(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask an agent as it stood before a tick (None: the last on record), after these questions and answers.

    `mind` is a name of `populace.page.minds.minds_of`: who answers.
    """

    agent: Annotated[int, Meta(ge=0, le=2**31)]
    question: Said
    run: str = ""
    tick: Tick | None = None
    mind: Annotated[str, Meta(max_length=100)] = ""
    transcript: Annotated[list[tuple[Said, Annotated[str, Meta(max_length=100_000)]]], Meta(max_length=50)] = []


class Fork(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fork a run before a tick, with a lever (as on a command line) from there on, and `ticks` in all."""

    at_tick: Tick
    run: str = ""
    lever: Annotated[str, Meta(max_length=4000)] = ""
    ticks: Annotated[int, Meta(ge=1, le=2**53)] | None = None


class Control:
    """What may be done to the runs of a shelf, and the token that it needs."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self.token = secrets.token_urlsafe(32)
        self._interviewing = threading.Lock()

    def refusal(self, authorization: str) -> str | None:
        """Why a request with this header `Authorization` is refused; None where it has the token."""
        given = authorization.removeprefix("Bearer ").encode("utf-8", "replace")
        return None if hmac.compare_digest(given, self.token.encode()) else _UNKNOWN

    def wish(self, asked: Wish) -> dict[str, Any]:
        """Write it into the run's folder. Raises SettingsError for a run that is not at work."""
        folder = self._shelf.folder(asked.run)
        status = status_of(folder)
        if status != "at work":
            raise SettingsError(f"the run is {status}: only one that is at work can be paused, go on or be ended")
        want(folder, asked.wish)
        return {"wish": asked.wish}

    def interview(self, asked: Interview) -> dict[str, Any]:
        """The agent's answer, or why there is none. Blocks. Raises what `populace.runs.probing.answer` does."""
        folder = self._shelf.folder(asked.run)
        who = find_mind(folder, asked.mind)
        with self._interviewing:
            said = answer(
                folder, asked.agent, asked.tick, asked.question, asked.transcript, model=who.kind, mind=who.mind
            )
        return {"abstained": said.reason} if isinstance(said, Abstained) else {"answer": said}

    def fork(self, asked: Fork) -> dict[str, Any]:
        """Begin a fork in a folder beside and in a process of its own; gives its name here. Blocks until it has begun.

        Raises SettingsError with what the process said where it did not begin.
        """
        folder = self._shelf.folder(asked.run)
        out = reserved_beside(folder, "fork")
        command = [sys.executable, "-m", "populace.cli", "fork", str(folder), f"--at-tick={asked.at_tick}", "--quiet"]
        command += [f"--out={out}"]
        command += [f"--lever={asked.lever}"] if asked.lever.strip() else []
        command += [f"--ticks={asked.ticks}"] if asked.ticks is not None else []
        with tempfile.TemporaryFile() as told:
            # A session of its own: neither Ctrl-C in the page's terminal nor the page's end reaches it.
            process = subprocess.Popen(  # noqa: S603 - data, each in one argument behind its option's name
                command, stdin=subprocess.DEVNULL, stdout=told, stderr=told, start_new_session=True
            )
            _waited_for(process)
            ends_s = time.monotonic() + _BEGINS_S
            while not (out / RUN_FILE).exists() and process.poll() is None and time.monotonic() < ends_s:
                time.sleep(_LOOK_S)
            if not (out / RUN_FILE).exists() and process.poll() is not None:
                with contextlib.suppress(OSError):
                    out.rmdir()
                told.seek(0)
                said = told.read()[-_TOLD_LETTERS:].decode("utf-8", "replace").strip()
                raise SettingsError(f"the fork did not begin: {said or f'exit code {process.returncode}'}")
        return {"run": self._shelf.add(out)}


class Action(NamedTuple):
    """What an action takes, what does it, and whether that may take long: few of those are done at once."""

    takes: type[Any]
    do: Callable[[Control, Any], dict[str, Any]]
    is_long: bool = True


ACTIONS: Final = {
    "wish": Action(Wish, Control.wish, is_long=False),
    "interview": Action(Interview, Control.interview),
    "fork": Action(Fork, Control.fork),
}
"""Actions by their names in addresses."""


def _waited_for(process: subprocess.Popen[bytes]) -> None:
    def wait() -> None:
        process.wait()
        _at_work.discard(process)

    _at_work.add(process)
    threading.Thread(target=wait, name="populace-fork", daemon=True).start()
