"""An event loop whose waits take no time: where nothing happens, its clock goes on to what is due next."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_THREADS_S = 0.03
"""How long threads have for what they are at work on, before the clock goes on without them."""


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    skipped_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        events: list[Any] = super().select(timeout if timeout is None else min(timeout, _THREADS_S))
        if not events and timeout is not None and timeout > _THREADS_S:
            self.skipped_s += timeout - _THREADS_S
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`time` is the real one, with what was skipped."""

    def __init__(self) -> None:
        self._skipping = _Selector()
        super().__init__(self._skipping)

    def time(self) -> float:
        return super().time() + self._skipping.skipped_s


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)
