"""Asks put to a client whose server is on loopback."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from populace.agents.answers import compile_answer
from populace.core.records import Answer, Ask
from populace.models.build import build_gateway
from populace.settings import Settings
from support.sections import sectioned


class Opinion(msgspec.Struct):
    attitude: Annotated[int, msgspec.Meta(ge=0, le=10)]
    why: str


def ask(agent: int, answer: Any = Opinion, tick: int = 0) -> Ask:
    messages = (("system", "You are a voter."), ("user", f"You are number {agent}. How do you feel?"))
    return Ask(agent, tick, 0, "feel", messages, compile_answer(answer), 60, 0.8, agent.to_bytes(16, "big"))


def model(server: Any, **settings: Any) -> Settings:
    settings = {"timeout_s": 60.0, "name": "test-model", **settings}
    return sectioned(kind="openai", base_url=server.base_url, **settings)


class ClockAhead(asyncio.SelectorEventLoop):
    """A loop whose clock a test sets forward: calls are late when that is so, however slow the machine is."""

    ahead_s = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_s


async def answers_of(
    gateway: Any, asks: list[Ask], told: Callable[[dict[int, Answer]], object] = lambda _got: None
) -> dict[int, Answer]:
    """Offer the asks and wait until each is delivered; fails when one is delivered twice."""
    got: dict[int, Answer] = {}
    done = asyncio.Event()

    def deliver(batch: Any) -> None:
        for answer in batch:
            assert answer.agent not in got
            got[answer.agent] = answer
        told(got)
        if len(got) == len(asks):
            done.set()

    gateway.offer(asks, deliver)
    await asyncio.wait_for(done.wait(), 240)
    return got


TIMEOUT_S = 60.0
"""The deadline of calls that are late once a test says so."""


async def asked(
    settings: Settings,
    asks: list[Ask],
    then: Callable[[Any], None] = lambda _gateway: None,
    told: Callable[[dict[int, Answer]], object] = lambda _got: None,
) -> dict[int, Answer]:
    """The answers that a gateway of these settings gives."""
    gateway = build_gateway(settings)
    await gateway.open()
    try:
        got = await answers_of(gateway, asks, told)
        assert gateway.pressure().waiting == 0
        then(gateway)
        return got
    finally:
        await gateway.close()


def run(
    settings: Settings,
    asks: list[Ask],
    then: Callable[[Any], None] = lambda _gateway: None,
    late_once: Callable[[dict[int, Answer]], bool] = lambda _got: False,
) -> dict[int, Answer]:
    """The answers. `late_once` says of those so far whether all open calls have had TIMEOUT_S, from then on."""
    loop = ClockAhead()

    def told(got: dict[int, Answer]) -> None:
        if not loop.ahead_s and late_once(got):
            loop.ahead_s = TIMEOUT_S

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(asked(settings, asks, then, told))


def fates(got: dict[int, Answer]) -> Counter[str]:
    return Counter(answer.reason or answer.settled for answer in got.values())
