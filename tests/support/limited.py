"""A provider in virtual time: what counts is when calls are sent, however slow the machine is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from asyncio_throttle import throttler

from populace.budget import service
from populace.models.http import Http, Reply
from support.misbehaving import OK, Billed, Misbehaving, RateLimit
from support.virtual_time import run_virtually

T = TypeVar("T")


@dataclass(frozen=True)
class Sent:
    """One call: when it was sent, whether the limit refused it, and whether the provider failed."""

    at_s: float
    refused: bool
    failed: bool


class Limited:
    """Answers every call of `run`'s work 20 ms after it was sent; nothing leaves the process.

    It enforces a limit, and fails (500) at the times, in seconds of the loop's clock, that `fails` says.
    """

    base_url = "http://127.0.0.1:9/v1"

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        limit: RateLimit | None = None,
        fails: Callable[[float], bool] = lambda _at_s: False,
    ) -> None:
        self.limit = limit
        self.fails = fails
        self.sent: list[Sent] = []
        self.billed = Billed()
        self._model = Misbehaving()
        clock = SimpleNamespace(monotonic=lambda: asyncio.get_running_loop().time())
        monkeypatch.setattr(service, "time", clock)
        monkeypatch.setattr(throttler, "time", clock)
        monkeypatch.setattr(Http, "post", lambda _http, _path, body: self._post(json.loads(body)))
        monkeypatch.setattr(Http, "get", lambda _http, _path: self._models())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work comes to."""
        return run_virtually(work)

    @property
    def refused(self) -> int:
        """How many calls were refused."""
        return sum(one.refused for one in self.sent)

    @property
    def times_s(self) -> list[float]:
        """When each call was sent."""
        return [one.at_s for one in self.sent]

    async def _models(self) -> Reply:
        return Reply(200, {}, json.dumps({"data": [{"id": name} for name in self._model.models]}).encode())

    async def _post(self, body: dict[str, Any]) -> Reply:
        answer = self._model._answer(body, OK, 0)
        usage, now_s = answer["usage"], asyncio.get_running_loop().time()
        wait_s = 0.0 if self.limit is None else self.limit.take(usage["total_tokens"], now_s)
        failed = bool(self.sent) and self.fails(now_s)
        self.sent.append(Sent(now_s, wait_s > 0.0, failed))
        await asyncio.sleep(0.02)
        if wait_s > 0.0:
            return Reply(429, {"retry-after": f"{wait_s:.3f}"}, b'{"error": {"code": "rate_limit_exceeded"}}')
        if failed:
            return Reply(500, {}, b'{"error": {"code": "status_500"}}')
        self.billed.calls += 1
        self.billed.tokens_in += usage["prompt_tokens"]
        self.billed.tokens_out += usage["completion_tokens"]
        return Reply(200, {}, json.dumps(answer).encode())
