"""An event loop whose waits take no time: where nobody is at work, its clock goes on to what is due next."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    now_s = 0.0
    at_work = 0
    """How many calls the loop's executors have and have not ended."""

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is not None and timeout > 0.0 and self.at_work:
            return super().select()  # whoever ends wakes the loop
        events: list[Any] = super().select(None if timeout is None else 0.0)
        if not events and timeout is not None:
            self.now_s += max(0.0, timeout)
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`time` is what was waited for, and nothing of what work takes, here or in the threads of its executors.

    Threads of others it does not know: it goes on without them.
    """

    def __init__(self) -> None:
        self._waiting = _Selector()
        super().__init__(self._waiting)

    def time(self) -> float:
        return self._waiting.now_s

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        future = super().run_in_executor(executor, func, *args)
        self._waiting.at_work += 1
        future.add_done_callback(self._ended)
        return future

    def _ended(self, _: object) -> None:
        self._waiting.at_work -= 1


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)
