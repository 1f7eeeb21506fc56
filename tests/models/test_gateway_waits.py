"""The dispatcher's waits: what kept a call from starting may end at any moment, also between two looks at it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from populace.agents.answers import compile_answer
from populace.core.records import Ask
from populace.models.dispatch.breaker import Breaker
from populace.models.dispatch.concurrency import Concurrency
from populace.models.dispatch.dispatcher import Dispatcher
from populace.models.dispatch.lanes import Lane, Lanes
from populace.models.dispatch.retry import Pending
from populace.models.endings import Ending, Fault

HELD_S = 0.05


class SlowToLookAgain(Lanes):
    """Whoever finds that nothing may start takes so long to look again that the wait has ended."""

    looks = 0

    def next(self, now_s: float) -> tuple[Lane, Lane] | None:
        found = super().next(now_s)
        if found is None and len(self):
            self.looks += 1
            time.sleep(HELD_S)
        return found


@pytest.mark.parametrize("kept_by", ["its server", "its breaker"])
def test_a_call_begins_where_its_wait_ends_between_two_looks(kept_by: str) -> None:
    async def main() -> tuple[list[str], list[Pending], int]:
        stopped: list[str] = []
        called: list[Pending] = []
        ended = asyncio.Event()

        async def call(batch: list[Pending], _: Lane) -> Sequence[Ending]:
            called.extend(batch)
            return [Fault("of no matter", billed=False)] * len(batch)

        def stop(reason: str, detail: str) -> None:
            stopped.append(f"{reason}: {detail}")
            ended.set()

        lane = Lane("http://a/v1", Concurrency(4, start=4), Breaker(1, 1, HELD_S))
        lanes = SlowToLookAgain([lane])
        dispatcher = Dispatcher(call=call, done=lambda *_: ended.set(), stop=stop, lanes=lanes, outage_s=9.0,
                                pause_s=lambda *_: 0.0)  # fmt: skip
        dispatcher.open()
        if kept_by == "its server":
            dispatcher.hold(lane, HELD_S)
        else:
            now_s = asyncio.get_running_loop().time()
            ticket: Any = lane.breaker.admit(now_s)
            lane.breaker.report(ticket, False, now_s)
            assert lane.breaker.is_open
        spec = compile_answer(str)
        ask = Ask(1, 0, 0, "say", (("user", "hello"),), spec, 9, 0.5, bytes(16))
        dispatcher.put(Pending(ask, lambda _answers: None, "text"))
        async with asyncio.timeout(240):
            await ended.wait()
        dispatcher.drain()
        dispatcher.abort()
        await dispatcher.close()
        return stopped, called, lanes.looks

    stopped, called, looks = asyncio.run(main())
    assert looks >= 1
    assert stopped == []
    assert len(called) == 1
