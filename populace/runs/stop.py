"""Plays a run in a thread of its own, so that it can be begun where an event loop runs already. A shell: threads.

The thread that called waits. A KeyboardInterrupt that reaches it ends the run with what is committed saved, as a first
SIGINT does on the command line; a second one leaves at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeVar

from populace.cluster.coordinator import Coordinator
from populace.core.errors import Interrupted

T = TypeVar("T")

_WAIT_S: Final = 0.1
"""Python hands a KeyboardInterrupt to a waiting thread only between two waits."""


class Stop:
    """Ends a run from another thread than the one that plays it, also before it has begun."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop: Callable[[], object] | None = None
        self.asked = False

    def __call__(self) -> None:
        """End the run with what is committed saved, like a first SIGINT."""
        with self._lock:
            self.asked = True
            if self._stop is not None:
                self._stop()

    async def played(self, coordinator: Coordinator) -> dict[str, Any]:
        """Play a run in the loop that is running here, and give its manifest; this can end it meanwhile."""
        with self._over(coordinator.stop):
            return await coordinator.run()

    async def done(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work comes to in the loop that is running here. Raises Interrupted where this has ended it."""
        task = asyncio.ensure_future(work)
        try:
            with self._over(task.cancel):
                return await task
        except asyncio.CancelledError:
            if self.asked:
                raise Interrupted("it was interrupted; what was answered until then is on record") from None
            raise

    @contextmanager
    def _over(self, stop: Callable[[], object]) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        with self._lock:
            self._stop = lambda: loop.call_soon_threadsafe(stop)
            if self.asked:
                stop()
        try:
            yield
        finally:
            with self._lock:
                self._stop = None


class _Work(Generic[T]):
    """What a thread does, and what came of it."""

    def __init__(self, work: Callable[[], T], ended: Callable[[], object]) -> None:
        self._work = work
        self._ended = ended
        self._result: T | None = None
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._do, name="populace", daemon=True)

    def _do(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:  # noqa: BLE001  # it is raised where the result is asked for
            self._error = error
        self._ended()

    def result(self) -> T:
        """What it came to. Raises what ended it."""
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]


def in_background(work: Callable[[], T], stop: Stop, stopping: Callable[[], object]) -> T:
    """What `work` comes to in another thread, while this one waits. `stopping` is called when it is asked to stop."""
    ended = threading.Event()  # a join that is interrupted would take the thread for ended
    doing = _Work(work, ended.set)
    doing.thread.start()
    while True:
        try:
            while not ended.wait(_WAIT_S):
                pass
            return doing.result()
        except KeyboardInterrupt:
            if stop.asked:
                raise
            stop()
            stopping()


async def awaited(work: Callable[[], T], stop: Stop) -> T:
    """What `work` comes to in another thread, while this one's event loop goes on. Cancelled, it stops the work."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    doing = _Work(work, lambda: loop.call_soon_threadsafe(ended.set))
    doing.thread.start()
    try:
        await ended.wait()
    except asyncio.CancelledError:
        stop()
        await ended.wait()
        raise
    return doing.result()
