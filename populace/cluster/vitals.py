"""Measures how a host fares, while its run's metrics are on. A shell: a clock, the event loop, the system."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
from functools import cache
from typing import Final

import psutil

from populace.core.traffic import Traffic, Vitals
from populace.models.protocol import Gateway

_LAG_EVERY_S: Final = 0.25
"""How often the event loop is asked for the time."""
_MEMORY_EVERY_S: Final = 0.5
"""How often the system is asked for the memory."""


@cache
def this_process() -> str:
    """A name of this process that no other process of the run has."""
    return f"{socket.gethostname()}/{os.getpid()}"


class _Memory:
    """The process' resident memory, asked for seldom: the system takes its time to tell."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._at_s = -math.inf
        self._rss_bytes = 0

    def rss_bytes(self) -> int:
        if (now_s := time.monotonic()) - self._at_s >= _MEMORY_EVERY_S:
            self._at_s, self._rss_bytes = now_s, self._process.memory_info().rss
        return self._rss_bytes


@cache
def _memory() -> _Memory:
    return _Memory()


class Meter:
    """Measures one host: shard `shard` (-1: the world), whose model stack is `gateway` where it has one."""

    def __init__(self, shard: int, gateway: Gateway | None) -> None:
        self._gateway = gateway
        self._counted = Traffic()
        self._vitals = Vitals(shard, this_process())
        self._lag_s = 0.0
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Begin to measure how late the event loop is; a second call does nothing."""
        if self._timer is None:
            self._await_next(asyncio.get_running_loop())

    def close(self) -> None:
        """Stop measuring."""
        if self._timer is not None:
            self._timer.cancel()

    def take_traffic(self) -> Traffic | None:
        """What was counted since the last time."""
        now = None if self._gateway is None else self._gateway.pressure().traffic
        if now is None:
            return None
        more = now.since(self._counted)
        self._counted.add(more)
        return more

    def ticked(self, turns_s: float, observe_s: float) -> None:
        """A tick has ended here: what it took."""
        self._vitals.turns_s, self._vitals.observe_s = turns_s, observe_s

    def read(self) -> Vitals:
        """How it fares now."""
        late_s = 0.0
        if self._timer is not None and not self._timer.cancelled():
            late_s = asyncio.get_running_loop().time() - self._due_s
        vitals = self._vitals
        vitals.lag_s, self._lag_s = max(self._lag_s, late_s), 0.0
        vitals.rss_bytes = _memory().rss_bytes()
        vitals.endpoints = {} if self._gateway is None else self._gateway.pressure().endpoints
        return Vitals(
            vitals.shard, vitals.process, vitals.rss_bytes, vitals.lag_s, vitals.turns_s, vitals.observe_s,
            vitals.endpoints,
        )  # fmt: skip

    def _await_next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due_s = loop.time() + _LAG_EVERY_S
        self._timer = loop.call_at(self._due_s, self._woken, loop)

    def _woken(self, loop: asyncio.AbstractEventLoop) -> None:
        self._lag_s = max(self._lag_s, loop.time() - self._due_s)
        self._await_next(loop)
