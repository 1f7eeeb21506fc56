"""What a page shows of all agents over a run's ticks: a record a tick, in a file without a name. Shell: files.

Where all ticks would take more than they may, every `every`th is kept. What agents have between two ticks of which
something is said is what they had last.
"""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

from populace.page.rows import Stamp
from populace.page.shelf import NotThere


class OverTime:
    """Records of `ticks` ticks from `first` on, of `agents` agents; who reads it may be in another thread."""

    def __init__(self, folder: Path, cache: Path, most_bytes: int) -> None:
        self.folder = folder
        self.ticks = self.agents = self.first = 0
        self.every = 1
        self.share = 0.0
        self._cache, self._most_bytes = cache, most_bytes
        self._file = -1
        self._width = 0
        self._lock = threading.Lock()
        self._read: list[Stamp] = []
        self._at = -1
        """The tick whose record is written next; -1 before the first."""
        self._gone: dict[int, list[int]] = {}

    def close(self) -> None:
        """Let go of the file."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    __del__ = close

    def _open(self, agents: int, agent_bytes: int, first: int, ticks: int) -> None:
        """Begin a file for so many ticks, with so many bytes of each agent in a record."""
        with tempfile.TemporaryFile(dir=self._cache) as file:
            self._file = os.dup(file.fileno())
        self.agents, self.first, self.ticks, self._at = agents, first, 0, -1
        self._width = agent_bytes * agents
        self.every = max(1, -(-ticks * self._width // self._most_bytes))

    def _record(self, tick: int) -> bytes:
        """The record of a tick, of what is known now."""
        raise NotImplementedError

    def _let_go(self, agent: int) -> None:
        """An agent has left."""
        raise NotImplementedError

    def _forward(self, tick: int) -> None:
        """Write all ticks before this one that are not written."""
        self._at = tick if self._at < 0 else self._at
        while self._at < tick:
            self._write()
            self._at += 1
            for gone in self._gone.get(self._at, ()):
                if gone < self.agents:
                    self._let_go(gone)

    def _write(self) -> None:
        at = self._at - self.first
        if at % self.every == 0:
            os.pwrite(self._file, self._record(self._at), self._width * (at // self.every))
        self.ticks = max(self.ticks, at + 1)

    def _stored(self, tick: int, begin: int, size: int) -> bytes:
        """So many bytes from `begin` on of the record of a tick, or of the last one ready before it; none of none."""
        if not self.ticks:
            return b""
        at = min(max(0, tick - self.first), self.ticks - 1) // self.every
        return os.pread(self._file, size, self._width * at + begin)

    def _stored_of(self, agent: int, begin: int, size: int) -> tuple[list[int], bytes]:
        """The ticks that are kept, and the bytes of one agent in each, where they lie from `begin` on. NotThere."""
        if not 0 <= agent < self.agents:
            raise NotThere(f"there is no agent {agent}")
        kept = range(-(-self.ticks // self.every))
        read = b"".join(os.pread(self._file, size, self._width * at + begin + size * agent) for at in kept)
        return [self.first + at * self.every for at in kept], read
