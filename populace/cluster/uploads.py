"""When a run's folder is uploaded: before anything is asked, behind each checkpoint, and at the end. A shell: asyncio.

Between these the answers are uploaded, every so many seconds: what a lost machine loses of them is paid for again.

Behind a checkpoint the upload goes on in a thread while the next ticks run, and only the next checkpoint waits for it.
A store that is away for a while does not end a run: what is here is whole, the observers are told, and the next upload
goes on from there. At the run's end a failure is an error, since somebody has to act.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from populace.cluster.transport import Transport
from populace.core.errors import StorageError, TransportError
from populace.store.remote.lease import Ticket
from populace.store.remote.mirror import JOURNALS, Mirror

_PATIENCE_S: Final = 20.0
_PATIENCE_AFTER_FAILURE_S: Final = 2.0
_PATIENCE_AT_LAST_S: Final = 60.0
_LEASE_POLL_S: Final = 0.25


class Uploads:
    """The uploads of one run; without a mirror, nothing happens. Answers go every `every_s` seconds, where set."""

    def __init__(
        self, mirror: Mirror | None, transport: Transport, note: Callable[[str], None], every_s: float | None = None
    ) -> None:
        self._mirror = mirror
        self._transport = transport
        self._note = note
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None
        self._answers: asyncio.Task[None] | None = None
        self._one = asyncio.Lock()
        self._failing = False

    async def begin(self) -> None:
        """Upload what there is before anything is paid for. Raises StorageError, where no run could be kept there."""
        if self._mirror is not None:
            await asyncio.to_thread(self._mirror.push)

    @property
    def ticket(self) -> Ticket | None:
        """The lease under which the run may ask; None where its folder is here."""
        return None if self._mirror is None or self._mirror.lease is None else self._mirror.lease.ticket

    async def taken_over(self) -> StorageError:
        """Wait until another run has taken over the remote folder; says meanwhile where asks wait for the lease."""
        waiting = False
        while True:
            lease = None if self._mirror is None else self._mirror.lease
            if lease is not None and lease.lost:
                return StorageError(lease.lost)
            if lease is not None and lease.holds() == waiting:
                waiting = not waiting
                self._note(
                    f"nothing is asked until the run's lease can be renewed: {lease.trouble}"
                    if waiting
                    else "the lease is renewed, and the run goes on"
                )
            await asyncio.sleep(_LEASE_POLL_S)

    async def go_on(self) -> None:
        """The shards are at work: from now on, upload what they put on record every so many seconds."""
        if self._mirror is not None and self._mirror.lease is not None:
            await asyncio.to_thread(self._mirror.lease.renew)  # those elsewhere ask once they have seen a renewal
        if self._mirror is not None and self._every_s is not None and self._answers is None:
            work = self._upload_answers(self._mirror, self._every_s)
            self._answers = asyncio.create_task(work, name="populace answers")

    async def settled(self) -> None:
        """Wait for the upload that is under way."""
        if self._task is not None:
            await asyncio.wait([self._task])  # whoever is cancelled here cancels no upload
            self._task = None

    def start(self) -> None:
        """Upload behind a checkpoint that was just saved."""
        if self._mirror is not None:
            self._task = asyncio.create_task(self._upload(self._mirror), name="populace upload")

    async def recover(self) -> None:
        """After a loss: fetch what shards on other machines put down, as far as it was uploaded."""
        await self.settled()
        if self._mirror is not None:
            try:
                await asyncio.to_thread(self._mirror.pull, *JOURNALS)
            except StorageError as error:
                self._note(f"some answers may be asked for again: {error}")

    async def before_close(self) -> None:
        """While the shards are still there: have them upload what they put down."""
        if self._answers is not None:
            self._answers.cancel()
            await asyncio.wait([self._answers])
        await self.settled()
        if self._mirror is not None:
            try:
                await self._transport.upload()
            except (StorageError, TransportError) as error:
                self._note(f"a shard's journal may not be uploaded to its end: {error}")

    async def last(self) -> None:
        """Upload all of it. Raises StorageError."""
        if self._mirror is None:
            return
        try:
            await asyncio.to_thread(self._mirror.finish, patience_s=_PATIENCE_AT_LAST_S)
        except StorageError as error:
            raise StorageError(
                f"{error}\nThe run's files are whole in {self._mirror.local}; `populace resume {self._mirror.remote}` "
                "on this machine uploads them, and goes on where the run has not ended."
            ) from error

    async def _upload_answers(self, mirror: Mirror, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            await self._upload(mirror, only=JOURNALS)

    async def _upload(self, mirror: Mirror, only: Sequence[str] = ("*",)) -> None:
        async with self._one:
            patience_s = _PATIENCE_AFTER_FAILURE_S if self._failing else _PATIENCE_S
            try:
                # A checkpoint refers to the shards' journals, so these go first.
                apart = await self._transport.upload()
                if not (apart and only == JOURNALS):
                    without = JOURNALS if apart else ()
                    await asyncio.to_thread(partial(mirror.push, only=only, without=without, patience_s=patience_s))
            except TransportError:
                return  # the run's own loop meets it, and goes back
            except StorageError as error:
                if not self._failing:
                    self._note(f"not uploaded, and tried again: {error}")
                self._failing = True
            else:
                if self._failing:
                    self._note("uploads work again")
                self._failing = False
