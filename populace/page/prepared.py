"""Work that takes longer than an answer may: done once in the background, while views say how far it is."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final, Generic, TypeVar

T = TypeVar("T")

PATIENCE_S: Final = 0.04
"""How long a view waits for work that may be done in a moment."""


class Prepared(Generic[T]):
    """A value made by `make` in the background, again whenever what it is made of (`of`) is another.

    While it is made again, the one before is given.
    """

    def __init__(self, pool: ThreadPoolExecutor, make: Callable[[], T]) -> None:
        self._pool, self._make = pool, make
        self._value: T | None = None
        self._of: Hashable = None
        self._work: Future[T] | None = None
        self._work_of: Hashable = None

    def get(self, of: Hashable = True, patience_s: float = PATIENCE_S) -> T | None:
        """The value; None where there is none yet. Raises what `make` raised, and makes it anew the next time."""
        if self._work is None and self._of != of:
            self._work, self._work_of = self._pool.submit(self._make), of
        if self._work is not None:
            wait([self._work], patience_s)
            if self._work.done():
                work, self._work = self._work, None
                self._value, self._of = work.result(), self._work_of
        return self._value
