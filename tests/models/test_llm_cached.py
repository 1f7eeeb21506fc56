"""The cache layer: what is kept is not asked for again, and identical asks in flight share one call."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.misbehaving import MALFORMED, OK, Act, Holding, Misbehaving, Seen, slow
from support.sections import sectioned

from populace.agents.answers import Choice, compile_answer, content_key
from populace.core.errors import SettingsError
from populace.core.records import Answer, Ask
from populace.models.build import build_gateway
from populace.settings import Settings


def ask(agent: int, persona: int, answer: Any = str, tick: int = 0) -> Ask:
    messages = (("user", f"You are of kind {persona}. How do you feel?"),)
    spec = compile_answer(answer)
    return Ask(agent, tick, 0, "feel", messages, spec, 60, 0.8, content_key("m", messages, spec, 60, 0.8))


def run(settings: Settings, *batches: Sequence[Ask], seed: int = 7, cut_short: bool = False) -> list[Answer]:
    async def session() -> list[Answer]:
        gateway = build_gateway(settings.model_copy(update={"seed": seed}))
        await gateway.open()
        got: list[Answer] = []
        try:
            for batch in batches:
                done = asyncio.Event()
                size = len(got) + len(batch)

                def deliver(answers: Sequence[Answer], size: int = size, done: asyncio.Event = done) -> None:
                    got.extend(answers)
                    if len(got) >= size:
                        done.set()

                gateway.offer(batch, deliver)
                if not cut_short:
                    await asyncio.wait_for(done.wait(), 240)
        finally:
            await gateway.close()
        assert len(got) == len({(answer.agent, answer.tick, answer.nth) for answer in got})
        return sorted(got, key=lambda answer: (answer.tick, answer.agent))

    return asyncio.run(session())


def fates(answers: list[Answer]) -> Counter[str]:
    return Counter(answer.reason or answer.settled for answer in answers)


def model(server: Misbehaving, **settings: Any) -> Settings:
    return sectioned(kind="openai", base_url=server.base_url, **{"name": "test-model", "timeout_s": 10.0, **settings})


def test_own_samples_are_kept_for_the_same_seed_only(tmp_path: Path) -> None:
    asks = [ask(agent, agent % 3) for agent in range(30)]
    with Misbehaving() as server:
        settings = model(server, cache=tmp_path / "answers.db")
        first = run(settings, asks)
        assert (fates(first), server.billed.calls) == ({"answered": 30}, 30)
        again = run(settings, asks[::-1])
        assert (fates(again), server.billed.calls) == ({"cached": 30}, 30)
        other = run(settings, asks, seed=8)
        assert (fates(other), server.billed.calls) == ({"answered": 30}, 60)
    assert [answer.text for answer in again] == [answer.text for answer in first]
    assert sum(answer.calls + answer.tokens_in + answer.tokens_out for answer in again) == 0
    assert len({answer.text for answer in first}) > 20


@pytest.mark.parametrize("kept", [False, True], ids=["in flight", "on disk"])
def test_shared_content_is_asked_for_once_whoever_asks(tmp_path: Path, kept: bool) -> None:
    asks = [ask(agent, agent % 3, Choice("yes", "no")) for agent in range(30)]
    later = [ask(agent, agent % 3, Choice("yes", "no"), tick=1) for agent in range(30)]
    with Misbehaving(base=slow(0.05)) as server:
        settings = model(server, sampling="shared", cache=tmp_path / "answers.db" if kept else None)
        answers = run(settings, asks, later)
        assert server.billed.calls == (3 if kept else 6)
        backwards = run(model(server, sampling="shared"), asks[::-1], seed=8)
    assert fates(answers) == ({"answered": 3, "cached": 57} if kept else {"answered": 6, "cached": 54})
    assert len({answer.text for answer in answers}) <= 3
    for answer in answers:
        assert answer.text == answers[answer.agent % 3].text
    assert [answer.text for answer in backwards] == [answer.text for answer in answers[:30]]


def test_abstentions_are_shared_and_never_kept(tmp_path: Path) -> None:
    def plan(seen: Seen) -> Act:
        return MALFORMED if seen.nth == 0 else OK

    asks = [ask(agent, 0) for agent in range(5)]
    with Misbehaving(plan) as server:
        settings = model(server, sampling="shared", cache=tmp_path / "answers.db", retries=0)
        first = run(settings, asks)
        second = run(settings, asks)
        assert len(server.seen) == 2
    assert fates(first) == {"error": 5}
    assert fates(second) == {"answered": 1, "cached": 4}
    assert sum(answer.calls for answer in first) == 1


def test_two_processes_that_ask_at_once_get_the_answer_that_stands(tmp_path: Path) -> None:
    asks = [ask(agent, 0) for agent in range(4)]
    with Holding(lambda _: len(server.seen) == 2, lambda seen: Act(text=f"answer {seen.nth}")) as server:
        settings = model(server, sampling="shared", cache=tmp_path / "answers.db")

        async def shards() -> list[list[Answer]]:
            gateways = [build_gateway(settings.model_copy(update={"shards": 2})) for _ in range(2)]
            got: list[list[Answer]] = [[], []]
            done = asyncio.Event()

            def deliver_to(at: int) -> Any:
                def deliver(answers: Sequence[Answer]) -> None:
                    got[at].extend(answers)
                    if len(got[0]) + len(got[1]) == 4:
                        done.set()

                return deliver

            for at, gateway in enumerate(gateways):
                await gateway.open()
                gateway.offer(asks[2 * at : 2 * at + 2], deliver_to(at))
            await asyncio.wait_for(done.wait(), 240)
            for gateway in gateways:
                await gateway.close()
            return got

        got = asyncio.run(shards())
    assert len(server.seen) == 2
    assert len({answer.text for answers in got for answer in answers}) == 1


def test_closing_keeps_what_was_paid_for_and_interrupts_the_rest(tmp_path: Path) -> None:
    with Misbehaving(base=slow(5.0)) as server:
        asks = [ask(agent, agent) for agent in range(5)]
        cut = run(model(server, cache=tmp_path / "answers.db"), asks, cut_short=True)
    assert fates(cut) == {"interrupted": 5}


def test_a_file_that_is_no_cache_is_an_error_before_anything_is_asked(tmp_path: Path) -> None:
    other = tmp_path / "thesis.txt"
    other.write_text("my only copy")
    with Misbehaving() as server, pytest.raises(SettingsError, match=r"thesis\.txt"):
        build_gateway(model(server, cache=other))
    assert other.read_text() == "my only copy"
