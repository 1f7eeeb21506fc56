"""What a run has written down of its batches, so that one that is out is found again whatever ended the run. Pure.

Before anything is sent, a batch's name and the names of its calls are written (`gathered`); before it is created, that
it is about to be (`creating`); and afterwards, what the endpoint calls it (`made`). So of every batch it is known
that it was never created, or what it is called, or that its fate is unknown: then it is looked for by its metadata, and
declared void where the endpoint has none. Void is, too, what failed its validation: nothing of it was run or billed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal, Protocol

import msgspec

RUN: Final = "populace_run"
NAME: Final = "populace_batch"
"""The keys of a batch's metadata: its run, and its name in the run's record."""


class BatchLog(Protocol):
    """Where entries are kept. `writer` names whoever writes, apart from all others of the run, former attempts too."""

    run: str
    writer: str

    def read(self) -> list[bytes]:
        """All entries of all writers of the run, each writer's in their order. Raises StorageError."""

    def put(self, entry: bytes) -> None:
        """Keep one more, so that it outlives the machine. Blocks. Raises StorageError."""


class Entry(msgspec.Struct, omit_defaults=True):
    """One thing that happened to a batch, at `at_s` (Unix seconds)."""

    kind: Literal["gathered", "creating", "made", "void"]
    name: str
    at_s: float = 0.0
    server: str = ""
    calls: list[str] = []
    id: str = ""
    why: str = ""


class Sent(msgspec.Struct):
    """A batch by its name: the `calls` that it carries by their custom_ids, in the order of its lines.

    `id` is the endpoint's name for it, '' before that is known; `since_s` (Unix seconds) is when its creation was begun
    last, None where it never was.
    """

    name: str
    server: str
    calls: list[str]
    id: str = ""
    since_s: float | None = None
    void: bool = False


class BatchRecord:
    """What is known of a run's batches, and the log that keeps it."""

    def __init__(self, log: BatchLog, server: str, group: int = 0) -> None:
        self.run = log.run
        self.sent: dict[str, Sent] = {}
        self._server = server
        self._by_call: dict[str, Sent] = {}
        self._prefix = f"{log.writer}-{group}"
        self._count = 0
        self._log = log

    def read(self) -> None:
        """Read what former attempts wrote. Raises StorageError."""
        for content in self._log.read():
            entry = msgspec.msgpack.decode(content, type=Entry)
            if entry.kind == "gathered":
                self._add(Sent(entry.name, entry.server, entry.calls))
            elif entry.name in self.sent:
                self._apply(entry)

    def find(self, call: str) -> Sent | None:
        """The batch that carries a call, at this server; None where it is to be put into one."""
        sent = self._by_call.get(call)
        return None if sent is None or sent.void or sent.server != self._server else sent

    def gathered(self, calls: list[str], now_s: float) -> Sent:
        """A new batch of these calls is about to be sent. Blocks. Raises StorageError, as all that follow."""
        name = f"{self._prefix}-{self._count:06}"
        self._count += 1
        self._put(Entry("gathered", name, now_s, self._server, calls))
        sent = Sent(name, self._server, calls)
        self._add(sent)
        return sent

    def creating(self, sent: Sent, now_s: float) -> None:
        """It is about to be created."""
        self._keep(Entry("creating", sent.name, now_s))

    def made(self, sent: Sent, batch: str, now_s: float) -> None:
        """It was created, and is called so."""
        self._keep(Entry("made", sent.name, now_s, id=batch))

    def void(self, sent: Sent, why: str, now_s: float) -> None:
        """It never was, or nothing of it was run: its calls may be put again."""
        self._keep(Entry("void", sent.name, now_s, why=why[:500]))

    def _keep(self, entry: Entry) -> None:
        self._put(entry)
        self._apply(entry)

    def _put(self, entry: Entry) -> None:
        self._log.put(msgspec.msgpack.encode(entry))

    def _add(self, sent: Sent) -> None:
        self.sent[sent.name] = sent
        for call in sent.calls:
            held = self._by_call.get(call)
            if held is None or held.void or not held.id:
                self._by_call[call] = sent

    def _apply(self, entry: Entry) -> None:
        sent = self.sent[entry.name]
        match entry.kind:
            case "creating":
                sent.since_s = entry.at_s
            case "made":
                sent.id = entry.id
                sent.since_s = entry.at_s if sent.since_s is None else sent.since_s
            case "void":
                sent.void = True


def states_of(statuses: Iterable[str], sending: int) -> dict[str, int]:
    """How many batches are in which state: the endpoint's, `created` before it tells of one, `sending` before that."""
    return {**({"sending": sending} if sending else {}), **Counter(statuses)}


class Unkept:
    """A log for a run that keeps no journal: nothing of it can be resumed."""

    def __init__(self, run: str, writer: str) -> None:
        self.run = run
        self.writer = writer

    def read(self) -> list[bytes]:
        """Nothing."""
        return []

    def put(self, entry: bytes) -> None:
        """Forget it."""
