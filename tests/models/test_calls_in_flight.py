"""Whatever ends a gateway, no call is begun any more, and what was in flight is answered: it is paid for."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from support.asking import asking, here
from support.chaos import resume_here
from support.client import ask, fates, model
from support.misbehaving import Act, Holding, Seen, slow, status

from populace.core.errors import ModelError
from populace.core.records import Answer
from populace.models.build import build_gateway
from populace.models.client import Client
from populace.models.dispatch.dispatcher import Dispatcher
from populace.store.manifest import read_manifest

IN_FLIGHT = 19
ENDINGS = {
    "key": status(401),
    "credit": status(402),
    "model": status(404, error="model_not_found"),
    "a wait without end": status(429, retry_after="100000"),
}


class Ending(Holding):
    """Answers the twentieth call with what ends all; those before it late, and not before the test lets it."""

    def __init__(self, end: Act) -> None:
        super().__init__(lambda seen: seen.nth == IN_FLIGHT or self.let_go.is_set(), self._act_on)
        self.end = end
        self.let_go = threading.Event()

    def _act_on(self, seen: Seen) -> Act:
        return self.end if seen.nth == IN_FLIGHT else slow(0.4)


def session(end: Act) -> tuple[dict[int, Answer], Any, int, int]:
    """Sixty asks, twenty at once; what was delivered, the failure, requests seen when it came and at the end."""

    async def main() -> tuple[dict[int, Answer], Any, int, int]:
        with Ending(end) as server:
            gateway = build_gateway(model(server, concurrency=20, timeout_s=60.0))
            await gateway.open()
            got: dict[int, Answer] = {}
            asks = [ask(agent) for agent in range(60)]
            gateway.offer(asks, lambda batch: got.update({one.agent: one for one in batch}))
            async with asyncio.timeout(240):
                while gateway.failure is None:
                    await asyncio.sleep(0.01)
                begun = len(server.seen)
                server.let_go.set()
                while gateway.pressure().in_flight:
                    await asyncio.sleep(0.01)
            late: list[Answer] = []
            gateway.offer([ask(100)], late.extend)
            assert [one.reason for one in late] == ["error"]
            await gateway.close()
            return got, gateway.failure, begun, len(server.seen)

    return asyncio.run(main())


@pytest.mark.parametrize("end", ENDINGS)
def test_a_fatal_answer_begins_no_call_and_loses_none_that_is_paid(end: str) -> None:
    got, failure, begun, seen = session(ENDINGS[end])
    assert failure is not None
    assert seen == begun == IN_FLIGHT + 1
    assert fates(got) == {"answered": IN_FLIGHT, "error": 60 - IN_FLIGHT}


@pytest.mark.parametrize("shards", [1, 3])
def test_a_resume_makes_no_call_again_that_was_in_flight(tmp_path: Path, shards: int) -> None:
    """Nineteen were, and were all made again. Over both lives every ask is paid for once."""
    with Ending(ENDINGS["credit"]) as server:
        server.let_go.set()
        with pytest.raises(ModelError, match="no quota left"):
            here(tmp_path, **asking(server, agents=60, ticks=1, shards=shards, endpoint__concurrency=20))
        assert read_manifest(tmp_path)["calls_billed"] == server.billed.calls >= IN_FLIGHT
        server.plan = ()
        assert resume_here(tmp_path)["status"] == "complete"
        assert server.billed.calls == 60


def test_control_a_gateway_that_aborts_them_loses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Client._fail

    def aborting(self: Client, failure: Exception) -> None:
        kept(self, failure)
        self._abstain(Dispatcher.abort(self.dispatcher), "error", "")

    monkeypatch.setattr(Client, "_fail", aborting)
    got, _, _, _ = session(ENDINGS["key"])
    assert fates(got)["answered"] == 0
