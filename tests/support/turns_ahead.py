"""What tests see of turns that begin before their tick is open."""

from __future__ import annotations

from typing import Any

import pytest

from populace.kernel.ahead import Ahead


def noted_ahead(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """By how many ticks each turn that begins early from now on is ahead of the open one."""
    found: list[int] = []
    begin = Ahead._begin

    def noting(self: Ahead, room: int) -> Any:
        begun = begin(self, room)
        found.extend(led.number - self._base for led, n in begun for _ in range(n))
        return begun

    monkeypatch.setattr(Ahead, "_begin", noting)
    return found
