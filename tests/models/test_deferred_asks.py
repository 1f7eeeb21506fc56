"""Asks in batches, against a real server on loopback that misbehaves on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from support.client import Opinion, answers_of, ask, fates, model
from support.client import run as run_directly

from populace.agents.answers import Choice
from populace.budget.service import AccountService, LocalLink
from populace.core.errors import BudgetSpent, ModelError, StorageError
from populace.core.records import Answer, Ask
from populace.models.batch_record import Unkept
from populace.models.build import build_gateway
from populace.models.keys import Access
from populace.models.probing import try_endpoint
from populace.settings import Settings
from populace.store.journal.batches import KeptBatches
from populace.testing.batch_server import BatchAct, BatchEndpoint
from populace.testing.endpoint import FakeEndpoint

TERMS = {"on": True, "quiet_s": 0.3, "poll_s": 0.05, "poll_most_s": 0.2}


def deferred(server: Any, terms: dict[str, Any] | None = None, **settings: Any) -> Settings:
    return model(server, batches={**TERMS, **(terms or {})}, timeout_s=settings.pop("timeout_s", 2.0), **settings)


def run(
    settings: Settings, asks: list[Ask], then: Callable[[Any], None] = lambda _gateway: None, **options: Any
) -> dict[int, Answer]:
    async def session() -> dict[int, Answer]:
        gateway = build_gateway(settings, batches=options.pop("log", Unkept("run", "s0")), **options)
        await gateway.open()
        try:
            got = await answers_of(gateway, asks)
            assert gateway.pressure().waiting == gateway.pressure().in_flight == 0
            then(gateway)
            return got
        finally:
            await gateway.close()

    return asyncio.run(session())


def sizes(server: BatchEndpoint) -> list[int]:
    return [len(batch.lines) for batch in server.batches]


def serving(*acts: BatchAct, **options: Any) -> BatchEndpoint:
    return BatchEndpoint(acts=acts, **options)


def paid_once(server: BatchEndpoint) -> bool:
    return set(server.paid.values()) == {1}


def test_asks_go_in_one_batch_and_come_to_what_they_come_to_directly() -> None:
    kinds = (str, Opinion, Choice("agree", "disagree"))
    asks = [ask(agent, kinds[agent % 3]) for agent in range(60)]
    with serving() as server:
        got = run(deferred(server), asks)
        assert sizes(server) == [60]
        assert server.seen == []
        assert paid_once(server)
        directly = run_directly(model(server), asks)
        assert len(server.seen) == 60
    assert fates(got) == fates(directly) == {"answered": 60}
    assert {n: one.text for n, one in got.items()} == {n: one.text for n, one in directly.items()}
    assert len({one.text for one in got.values()}) > 30


def test_a_batch_is_sent_once_no_ask_came_for_a_while_or_there_are_enough() -> None:
    with serving() as server:
        got = run(deferred(server, {"most_requests": 25}), [ask(agent, str) for agent in range(60)])
        assert sizes(server) == [25, 25, 10]
        assert fates(got) == {"answered": 60}
        assert paid_once(server)


def test_answers_cost_the_batchs_part_of_the_price() -> None:
    price = {"test-model": {"usd_per_million_tokens_in": 4.0, "usd_per_million_tokens_out": 8.0}}
    asks = [ask(agent, str) for agent in range(5)]
    with serving() as server:
        got = run(deferred(server, prices=price), asks)
        whole = run(deferred(server, {"price_factor": 1.0}, prices=price), asks)
        billed = server.billed.tokens_in * 4e-6 + server.billed.tokens_out * 8e-6
    cost_usd = sum(answer.cost_usd for answer in got.values())
    assert cost_usd == pytest.approx(sum(answer.cost_usd for answer in whole.values()) / 2)
    assert cost_usd == pytest.approx(billed / 4)  # billed counts both runs
    assert all(answer.calls == 1 and not answer.estimated_tokens for answer in got.values())


def test_lines_in_another_order_twice_or_of_nobody_and_usage_that_is_missing() -> None:
    asks = [ask(agent, str) for agent in range(12)]
    with serving(BatchAct(shuffled=True, doubled=(0, 5), usage=False)) as server:
        got = run(deferred(server), asks)
        directly = run_directly(model(server), asks)
    assert {n: one.text for n, one in got.items()} == {n: one.text for n, one in directly.items()}
    assert all(one.calls == 1 and one.estimated_tokens == one.tokens_in + one.tokens_out for one in got.values())


def test_what_went_wrong_with_a_line_goes_into_the_next_batch_and_what_is_refused_does_not() -> None:
    asks = [ask(agent, str) for agent in range(10)]
    with serving(BatchAct(wrong=(2, 7))) as server:
        got = run(deferred(server, retries=2), asks)
        assert sizes(server) == [10, 2]
        assert fates(got) == {"answered": 10}
        assert paid_once(server)
    with serving(BatchAct(wrong=(2, 7), status=400)) as server:
        got = run(deferred(server), asks)
        assert sizes(server) == [10]
        assert {n: one.reason for n, one in got.items() if one.reason} == {2: "error", 7: "error"}


def test_an_answer_that_does_not_fit_is_repaired_in_a_second_batch() -> None:
    def answer(asked: Any) -> Any:
        return {"attitude": 5, "why": "so"} if len(asked.messages) > 2 else {"attitude": "very much"}

    with BatchEndpoint(answer) as server:
        got = run(deferred(server), [ask(agent) for agent in range(6)])
        assert sizes(server) == [6, 6]
        assert fates(got) == {"answered": 6}
        assert {one.calls for one in got.values()} == {2}
        assert len(server.paid) == 12, "a repair is another call"


def test_a_line_that_is_in_no_file_may_have_been_billed_and_is_put_again() -> None:
    with serving(BatchAct(missing=(3,))) as server:
        got = run(deferred(server), [ask(agent, str) for agent in range(5)])
        assert sizes(server) == [5, 1]
    assert fates(got) == {"answered": 5}
    assert {n for n, one in got.items() if one.calls == 2 and one.estimated_tokens} == {3}


def test_an_expired_batchs_answers_are_taken_and_the_rest_is_put_again() -> None:
    with serving(BatchAct(ends="expired", answered=0.6)) as server:
        got = run(deferred(server), [ask(agent, str) for agent in range(10)])
        assert sizes(server) == [10, 4]
        assert fates(got) == {"answered": 10}
        assert paid_once(server)
    with serving(usual=BatchAct(ends="expired", answered=0.0)) as server:
        got = run(deferred(server, retries=1), [ask(agent, str) for agent in range(3)])
        assert sizes(server) == [3, 3]
        assert fates(got) == {"error": 3}
        assert not server.paid


def test_a_batch_that_stays_out_too_long_is_cancelled_and_its_answers_are_taken() -> None:
    with serving(BatchAct(stuck=True, answered=0.5)) as server:
        got = run(deferred(server, {"give_up_s": 0.5}), [ask(agent, str) for agent in range(8)])
        assert server.batches[0].cancelled
        assert sizes(server) == [8]
    assert fates(got) == {"answered": 4, "deadline": 4}
    assert {one.calls for one in got.values() if one.reason} == {0}


def test_lines_that_fail_validation_are_refused_and_the_others_go_again() -> None:
    invalid = [{"code": "invalid_request", "message": "this one is bad", "line": 2}]
    with serving(BatchAct(invalid=invalid)) as server:
        got = run(deferred(server), [ask(agent, str) for agent in range(5)])
        assert sizes(server) == [5, 4]
        assert paid_once(server)
    assert {n: one.reason for n, one in got.items() if one.reason} == {1: "error"}
    assert "this one is bad" in got[1].detail


def test_a_batch_that_is_too_large_for_the_queue_goes_in_parts() -> None:
    full = [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached", "line": None}]
    with serving(BatchAct(invalid=full), BatchAct(invalid=full)) as server:
        got = run(deferred(server), [ask(agent, str) for agent in range(8)])
        assert sizes(server) == [8, 4, 4, 2, 2]
        assert paid_once(server)
    assert fates(got) == {"answered": 8}


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (BatchAct(ends="failed"), "does not take batches as they are sent"),
        (BatchAct(invalid=[{"code": "whatever", "message": "no such file kind", "line": None}]), "no such file kind"),
        (BatchAct(create="refused"), "endpoint.batches.on = false"),
    ],
)
def test_what_no_batch_will_do_better_ends_the_run(act: BatchAct, said: str) -> None:
    def failed(gateway: Any) -> None:
        assert isinstance(gateway.failure, ModelError)
        assert said in str(gateway.failure)

    with serving(act) as server:
        got = run(deferred(server), [ask(agent, str) for agent in range(5)], failed)
        assert not server.paid
    assert fates(got) == {"error": 5}


def test_an_endpoint_without_batches_is_named_with_the_setting() -> None:
    def failed(gateway: Any) -> None:
        assert "404" in str(gateway.failure)
        assert "endpoint.batches.on" in str(gateway.failure)

    with FakeEndpoint() as server:
        got = run(deferred(server), [ask(0, str)], failed)
    assert fates(got) == {"error": 1}


def test_a_model_that_batches_do_not_have_is_named() -> None:
    with serving(models=["test-model"]) as server:
        settings = deferred(server, name="another")
        got = run(settings, [ask(0, str)], lambda gateway: pytest.fail(str(gateway.failure)) if "has no model 'another'"
                  not in str(gateway.failure) else None)  # fmt: skip
    assert fates(got) == {"error": 1}


@pytest.mark.parametrize("fate", ["lost", "dropped", "limited"])
def test_a_creation_of_unknown_fate_is_looked_for_before_anything_is_sent_again(fate: Any) -> None:
    with serving(BatchAct(create=fate)) as server:
        got = run(deferred(server, timeout_s=0.6), [ask(agent, str) for agent in range(6)])
        assert fates(got) == {"answered": 6}
        assert paid_once(server)
        assert len(server.batches) == 1
        assert server.creations == (1 if fate == "lost" else 2)


def test_an_endpoint_that_takes_no_batch_is_given_up() -> None:
    failures: list[Any] = []
    with serving(usual=BatchAct(create="limited")) as server:
        run(deferred(server, {"give_up_s": 0.4}), [ask(0, str)], lambda gateway: failures.append(gateway.failure))
        assert server.batches == []
    assert isinstance(failures[0], ModelError)
    assert "endpoint.batches.give_up_s (0.4 s)" in str(failures[0])


def test_without_looking_a_creation_of_unknown_fate_is_paid_twice(monkeypatch) -> None:
    async def nothing(*_: Any) -> None:
        return None

    monkeypatch.setattr("populace.models.batch_http.BatchApi.find", nothing)
    with serving(BatchAct(create="lost")) as server:
        got = run(deferred(server, timeout_s=0.3), [ask(agent, str) for agent in range(6)])
        assert fates(got) == {"answered": 6}
        server._shown(server.batches[0])
        assert min(server.paid.values()) > 1, "the control"


def test_a_file_has_one_model_and_roles_share_no_batch() -> None:
    roles = {"judge": {"name": "other"}}
    with serving(models=["test-model", "other"]) as server:
        settings = deferred(server, model={"roles": roles})
        asks = [msgspec.structs.replace(ask(n, str), model_role="judge" if n % 2 else "") for n in range(10)]
        got = run(settings, asks)
        assert sizes(server) == [5, 5]
        assert [{line["body"]["model"] for line in one.lines} for one in server.batches] in (
            [{"test-model"}, {"other"}],
            [{"other"}, {"test-model"}],
        )
    assert fates(got) == {"answered": 10}


def test_embeddings_go_directly_and_at_the_whole_price() -> None:
    from populace.agents.embedding import EMBEDDING

    price = {"test-model": {"usd_per_million_tokens_in": 4.0, "usd_per_million_tokens_out": 8.0}}
    text = msgspec.structs.replace(ask(1, str), spec=EMBEDDING, messages=(("text", "a thought"),), max_tokens=0)
    with serving() as server:
        got = run(deferred(server, prices=price), [text, ask(2, str)])
        assert sizes(server) == [1]
        assert [seen.path for seen in server.seen] == ["/v1/embeddings"]
    assert got[1].cost_usd == pytest.approx(got[1].tokens_in * 4e-6)
    assert got[2].cost_usd == pytest.approx((got[2].tokens_in * 4e-6 + got[2].tokens_out * 8e-6) / 2)


def test_a_ceiling_holds_for_batches_since_worst_cases_are_reserved() -> None:
    price = {"test-model": {"usd_per_million_tokens_in": 1.0, "usd_per_million_tokens_out": 1.0}}
    asks = [ask(agent, str) for agent in range(30)]
    with serving() as server:
        settings = deferred(server, prices=price, budget={"usd": 0.0006})
        account = AccountService(settings)
        got = run(settings, asks, lambda gateway: None, link=LocalLink(account))
        spent = (server.billed.tokens_in + server.billed.tokens_out) * 0.5e-6
        assert len(sizes(server)) > 1, "the rest waits for what the first did not spend"
        assert 0.0 < spent <= 0.0006
        assert account.allowance.spent.usd == pytest.approx(spent)
        assert account.allowance.overruns == 0
        assert paid_once(server)
        counts = fates(got)
        assert counts["answered"] == len(server.paid)
        assert set(counts) <= {"answered", "budget"}


def test_a_ceiling_too_low_for_one_call_stops_before_anything_is_sent() -> None:
    def failed(gateway: Any) -> None:
        assert isinstance(gateway.failure, BudgetSpent)

    with serving() as server:
        got = run(deferred(server, budget={"tokens": 50}), [ask(0, str), ask(1, str)], failed)
        assert server.batches == []
        assert server.files == {}
    assert fates(got) == {"budget": 2}


def test_rates_of_direct_calls_do_not_bound_batches() -> None:
    with serving() as server:
        settings = deferred(server, requests_per_minute=60.0)
        got = run(settings, [ask(agent, str) for agent in range(40)], link=LocalLink(AccountService(settings)))
        assert sizes(server) == [40]
    assert fates(got) == {"answered": 40}


def test_a_run_that_ends_leaves_its_batch_out_and_its_next_attempt_finds_it(tmp_path) -> None:
    asks = [ask(agent, str) for agent in range(7)]

    async def stopped(settings: Settings, log: Any, server: BatchEndpoint) -> list[Answer]:
        gateway = build_gateway(settings, batches=log)
        await gateway.open()
        got: list[Answer] = []
        gateway.offer(asks, got.extend)
        while not server.batches or not gateway.pressure().in_flight:
            await asyncio.sleep(0.01)
        gateway.wind_down()
        while gateway.pressure().in_flight:
            await asyncio.sleep(0.01)
        gateway.abort()
        await gateway.close()
        return got

    with serving(BatchAct(stuck=True)) as server:
        settings = deferred(server)
        got = asyncio.run(stopped(settings, KeptBatches(str(tmp_path), run="r", shard=0, attempt=0), server))
        assert {(one.reason, one.calls) for one in got} == {("interrupted", 0)}
        server.batches[0].act = BatchAct()
        again = run(settings, asks, log=KeptBatches(str(tmp_path), run="r", shard=0, attempt=1), attempt=1)
        assert fates(again) == {"answered": 7}
        assert len(server.batches) == 1
        assert paid_once(server)
        forgetful = run(settings, asks, log=KeptBatches(str(tmp_path / "no"), run="r", shard=0, attempt=1))
        assert fates(forgetful) == {"answered": 7}
        assert set(server.paid.values()) == {2}, "the control: without the record all is paid for again"


def test_what_is_found_again_is_booked_whatever_the_ceiling_has_left(tmp_path) -> None:
    asks = [ask(agent, str) for agent in range(4)]
    with serving() as server:
        settings = deferred(server)
        run(settings, asks, log=KeptBatches(str(tmp_path), run="r", shard=0, attempt=0))
        tight = deferred(server, budget={"tokens": 60})
        account = AccountService(tight)
        log = KeptBatches(str(tmp_path), run="r", shard=0, attempt=1)
        again = run(tight, asks, log=log, link=LocalLink(account), attempt=1)
        assert fates(again) == {"answered": 4}
        assert len(server.batches) == 1
        assert account.allowance.spent.tokens == server.billed.tokens_in + server.billed.tokens_out > 60


def test_one_more_repair_in_the_next_attempt_takes_up_both_batches(tmp_path) -> None:
    def answer(asked: Any) -> Any:
        return {"attitude": 5, "why": "so"} if len(asked.messages) > 2 else {"attitude": "very much"}

    asks = [ask(agent) for agent in range(3)]
    with BatchEndpoint(answer) as server:
        for attempt in range(3):
            log = KeptBatches(str(tmp_path), run="r", shard=0, attempt=attempt)
            got = run(deferred(server), asks, log=log, attempt=attempt)
            assert fates(got) == {"answered": 3}
            assert sizes(server) == [3, 3]
        assert paid_once(server)


def test_a_record_that_cannot_be_written_sends_nothing(tmp_path) -> None:
    (tmp_path / "file").write_bytes(b"")

    def failed(gateway: Any) -> None:
        assert isinstance(gateway.failure, StorageError)

    with serving() as server:
        log = KeptBatches(str(tmp_path / "file"), run="r", shard=0, attempt=0)
        got = run(deferred(server), [ask(0, str)], failed, log=log)
        assert server.files == {}
    assert fates(got) == {"error": 1}


@pytest.mark.parametrize("has", [True, False])
def test_the_doctor_says_whether_there_are_batches_and_sends_none(has: bool) -> None:
    with BatchEndpoint() if has else FakeEndpoint() as server:
        access = Access(server.base_url, "endpoint.base_url", "NO_KEY", None)
        trials = asyncio.run(try_endpoint(deferred(server), access, 0.0))
        found = next(one for one in trials if one.what == "batches")
        assert found.good is has
        assert getattr(server, "files", {}) == {}
    assert ("batches.on = false" in found.next_step) is not has


def test_what_is_out_is_said_with_its_state() -> None:
    seen: list[dict[str, int]] = []

    async def session(settings: Settings, server: BatchEndpoint) -> None:
        gateway = build_gateway(settings, batches=Unkept("run", "s0"))
        await gateway.open()
        try:
            asking = asyncio.ensure_future(answers_of(gateway, [ask(agent, str) for agent in range(6)]))
            while not asking.done():
                if (now := gateway.pressure().batches) and now not in seen:
                    seen.append(now)
                    if now == {"in_progress": 2}:
                        for batch in server.batches:
                            batch.act = BatchAct()
                await asyncio.sleep(0.005)
            assert gateway.pressure().batches == {}
        finally:
            await gateway.close()

    with serving(usual=BatchAct(stuck=True)) as server:
        asyncio.run(session(deferred(server, {"most_requests": 3}), server))
    states = {state for one in seen for state in one}
    assert states >= {"created", "in_progress"}, seen
    assert states <= {"sending", "created", "validating", "in_progress", "finalizing", "completed"}, "those that last"
    assert {"in_progress": 2} in seen, "two batches are out at a time"
