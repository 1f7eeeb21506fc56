"""The client against a real server on loopback that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from typing import Any

import pytest
from support.client import TIMEOUT_S, ask, asked, fates, model, run
from support.limited import Limited
from support.misbehaving import (
    BOMB,
    CLOSING,
    CUT,
    DRIP,
    DROP,
    HANG,
    MALFORMED,
    NO_QUOTA,
    OK,
    REFUSE,
    TO_ITSELF,
    UNSCHEMATIC,
    WRONG_TYPE,
    Act,
    Holding,
    Misbehaving,
    RateLimit,
    Seen,
    redirect,
    slow,
    status,
)
from support.sections import sectioned

from populace.agents.answers import Choice, compile_answer
from populace.core.errors import ModelError, SettingsError
from populace.core.records import Answer
from populace.models.build import ModelHost, build_gateway
from populace.models.client import Client
from populace.settings import Settings

KEY = "sk-canary-0123456789"


def test_every_ask_is_answered_once_and_counted() -> None:
    asks = [ask(agent) for agent in range(100)]
    with Holding(lambda _: server.open_peak > 10, base=slow(0.02)) as server:
        got = run(model(server), asks)
    assert fates(got) == {"answered": 100}
    for answer in got.values():
        assert 0 <= asks[0].spec.read(answer.text).attitude <= 10
        assert answer.latency_s > 0
    assert sum(answer.calls for answer in got.values()) == server.billed.calls == 100
    assert sum(answer.tokens_in for answer in got.values()) == server.billed.tokens_in
    assert sum(answer.tokens_out for answer in got.values()) == server.billed.tokens_out
    assert len({seen.body["seed"] for seen in server.seen if seen.body}) == 100
    assert server.open_peak > 10


def test_answers_are_the_same_whatever_the_order_and_the_concurrency() -> None:
    asks = [ask(agent) for agent in range(40)]
    with Misbehaving() as server:
        one = run(model(server, concurrency=1), asks)
        many = run(model(server), asks[::-1])
    assert {agent: answer.text for agent, answer in one.items()} == {a: answer.text for a, answer in many.items()}


def test_the_earliest_tick_goes_first_and_the_concurrency_holds() -> None:
    asks = [ask(agent, tick=5 - agent % 5) for agent in range(30)]
    with Misbehaving(base=slow(0.005)) as server:
        run(model(server, concurrency=2), asks)
        order = [int(seen.body["messages"][1]["content"].split()[3].rstrip(".")) for seen in server.seen if seen.body]
    assert server.open_peak <= 2
    # The two permits may overtake each other on the way to the server, so only the tick's order is certain.
    ticks = [5 - agent % 5 for agent in order]
    assert all(later >= earlier - 1 for earlier, later in itertools.pairwise(ticks))
    assert ticks[0] == 1
    assert ticks[-1] == 5


def test_faults_are_mended_by_another_try() -> None:
    plan = [status(500), DROP, status(503), CUT, MALFORMED, WRONG_TYPE, status(429), CLOSING]
    with Misbehaving(plan) as server:
        got = run(model(server, concurrency=4, retries=8), [ask(agent) for agent in range(8)])
    assert fates(got) == {"answered": 8}
    assert len(server.seen) == 8 + 7


def test_faults_that_last_end_as_an_abstention_with_a_reason() -> None:
    with Misbehaving(lambda seen: MALFORMED) as server:
        got = run(model(server, retries=1), [ask(agent) for agent in range(4)])
    assert fates(got) == {"error": 4}
    assert {answer.calls for answer in got.values()} == {2}
    assert all("no completion" in answer.detail for answer in got.values())


def test_a_fifth_malformed_is_counted_by_reason_and_agent() -> None:
    def plan(seen: Seen) -> Act:
        agent = int(seen.body["messages"][1]["content"].split()[3].rstrip(".")) if seen.body else 0
        return MALFORMED if agent % 5 == 0 else OK

    with Misbehaving(plan) as server:
        got = run(model(server, retries=0), [ask(agent) for agent in range(50)])
    assert fates(got) == {"answered": 40, "error": 10}
    assert all(got[agent].reason == ("error" if agent % 5 == 0 else "") for agent in got)


def test_answers_that_break_the_schema_are_repaired_with_another_seed() -> None:
    with Misbehaving([UNSCHEMATIC]) as server:
        got = run(model(server), [ask(0)])
    assert fates(got) == {"answered": 1}
    assert got[0].calls == 2
    first, second = (seen.body for seen in server.seen)
    assert first is not None
    assert second is not None
    assert second["seed"] != first["seed"]
    assert [turn["role"] for turn in second["messages"]] == ["system", "user", "assistant", "user"]
    assert "attitude" in second["messages"][3]["content"]


def test_answers_that_go_on_breaking_the_schema_abstain() -> None:
    with Misbehaving(base=UNSCHEMATIC) as server:
        got = run(model(server, repairs=2), [ask(0)])
    assert (got[0].reason, got[0].calls) == ("schema", 3)
    assert got[0].tokens_out == server.billed.tokens_out


def test_refusals_are_recognised() -> None:
    with Misbehaving([REFUSE]) as server:
        got = run(model(server), [ask(0)])
    assert (got[0].reason, got[0].detail, got[0].calls) == ("refusal", "I can't help with that.", 1)


@pytest.mark.parametrize("act", [HANG, DRIP], ids=["hang", "drip"])
def test_slow_servers_end_at_the_deadline_and_delay_nobody_else(act: Act) -> None:
    def plan(seen: Seen) -> Act:
        return act if seen.nth < 3 else OK

    with Misbehaving(plan) as server:
        settings = model(server, timeout_s=TIMEOUT_S)
        got = run(settings, [ask(agent) for agent in range(30)], late_once=lambda got: len(got) == 27)
    assert fates(got) == {"deadline": 3, "answered": 27}
    assert all(answer.latency_s >= TIMEOUT_S for answer in got.values() if answer.reason)


@pytest.mark.parametrize("asks", [1, 30])
@pytest.mark.parametrize("where", ["_call", "_conclude"])
def test_a_bug_about_a_call_ends_the_run_and_leaves_nobody_waiting(monkeypatch, where, asks) -> None:
    def wrong(*_: object) -> None:
        raise NameError("something is missing here")

    monkeypatch.setattr(Client, where, wrong)
    failures: list[Exception | None] = []
    with Misbehaving() as server:
        got = run(
            model(server), [ask(agent) for agent in range(asks)], lambda gateway: failures.append(gateway.failure)
        )
    assert sum(fates(got).values()) == asks
    assert all(answer.reason for answer in got.values())
    assert "NameError: something is missing here. This is a bug in populace" in str(failures[0])


def test_a_bomb_is_not_read_and_a_redirect_is_not_followed() -> None:
    with Misbehaving([BOMB, TO_ITSELF, redirect("http://169.254.169.254/latest")]) as server:
        got = run(model(server, concurrency=1, retries=0), [ask(agent) for agent in range(4)])
    assert [got[agent].reason or "answered" for agent in range(4)] == ["error", "error", "error", "answered"]
    assert "larger than" in got[0].detail
    assert "redirect" in got[1].detail
    assert server.followed == []


def test_retry_after_is_obeyed_by_everybody() -> None:
    def plan(seen: Seen) -> Act:
        return status(429, retry_after="0.4") if seen.nth == 0 else OK

    with Misbehaving(plan) as server:
        got = run(model(server, concurrency=1), [ask(agent) for agent in range(5)])
    assert fates(got) == {"answered": 5}
    arrivals = [seen.arrived_s for seen in server.seen]
    assert arrivals[1] - arrivals[0] >= 0.4


def test_a_storm_opens_the_breaker_and_loses_nobody() -> None:
    storm = 14

    def plan(seen: Seen) -> Act:
        return status(500) if seen.nth < storm else OK

    def opened(gateway: Client) -> None:
        assert gateway.dispatcher.lanes[0].breaker.opened == 1
        assert not gateway.dispatcher.lanes[0].breaker.is_open

    with Misbehaving(plan) as server:
        got = run(model(server, concurrency=4), [ask(agent) for agent in range(60)], opened)
    assert fates(got) == {"answered": 60}
    assert len(server.seen) == 60 + storm


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (status(401, error="invalid_api_key"), ["refused the API key", "OPENAI_API_KEY"]),
        (status(404, error="model_not_found"), ["no model 'test-model'", "model.name"]),
        (NO_QUOTA, ["no quota left", "resume"]),
    ],
    ids=["key", "model", "quota"],
)
def test_what_no_call_can_mend_stops_everything_and_says_what_to_do(act: Act, words: list[str]) -> None:
    failures = []

    def all_but_those_that_hang(got: dict[int, Answer]) -> bool:
        return fates(got)["answered"] == 5 and fates(got)["error"] > 0

    def then(gateway: Client) -> None:
        failures.append(gateway.failure)
        late: list[Answer] = []
        gateway.offer([ask(1000)], late.extend)
        assert [answer.settled for answer in late] == ["abstained"]

    with Misbehaving(lambda seen: act if seen.nth == 5 else (HANG if seen.nth > 5 else OK)) as server:
        settings = model(server, concurrency=3, timeout_s=TIMEOUT_S)
        got = run(settings, [ask(agent) for agent in range(40)], then, all_but_those_that_hang)
    assert isinstance(failures[0], ModelError)
    for word in words:
        assert word in str(failures[0])
    # Those in flight at that moment, two at most, are paid for: they had their time.
    late = len(server.seen) - 6
    assert 0 <= late <= 2
    assert fates(got) == Counter({"answered": 5, "error": 35 - late, "deadline": late})


def test_closing_delivers_everything_as_interrupted() -> None:
    async def session(settings: Settings, server: Misbehaving) -> list[Answer]:
        gateway = build_gateway(settings)
        await gateway.open()
        got: list[Answer] = []
        gateway.offer([ask(agent) for agent in range(50)], got.extend)
        while server.open_now < 4:
            await asyncio.sleep(0.001)
        await gateway.close()
        gateway.offer([ask(99)], got.extend)
        return got

    with Misbehaving(base=HANG) as server:
        got = asyncio.run(session(model(server, concurrency=4), server))
    assert sorted(answer.agent for answer in got) == [*range(50), 99]
    assert {answer.reason for answer in got} == {"interrupted"}


def test_a_key_is_sent_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    echo = Act(kind="status", status=400, body=json.dumps({"error": f"what is {KEY}?"}).encode())
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    shown: list[str] = []
    with Misbehaving([echo], key=KEY) as server:
        got = run(model(server, api_key_file=file), [ask(0)], lambda gateway: shown.append(repr(vars(gateway))))
        assert server.seen[0].authorized
        assert "what is ***?" in got[0].detail
        monkeypatch.setenv("MY_KEY", KEY)
        assert fates(run(model(server, api_key_env="MY_KEY"), [ask(0)])) == {"answered": 1}
    out = capfd.readouterr()
    assert KEY not in out.out + out.err + caplog.text + repr(got) + shown[0]


def test_an_endpoint_elsewhere_needs_a_key_and_link_local_addresses_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ModelError, match="OPENAI_API_KEY"):
        build_gateway(sectioned(kind="openai", name="m"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for url in ("http://169.254.169.254/v1", "ftp://127.0.0.1/v1", "http://[fe80::1]/v1"):
        with pytest.raises(SettingsError):
            build_gateway(sectioned(kind="openai", name="m", base_url=url))
    with pytest.raises(SettingsError, match=r"model\.name"):
        build_gateway(sectioned(kind="openai", base_url="http://127.0.0.1:1/v1"))


def test_choices_are_sent_as_an_enum_where_probabilities_are_off() -> None:
    with Misbehaving() as server:
        got = run(model(server), [ask(0, Choice("yes", "no"))])
    assert compile_answer(Choice("yes", "no")).read(got[0].text).probabilities is None


def test_choices_are_read_from_probabilities_where_they_are_on() -> None:
    top = [{"token": " Yes", "logprob": -1.0}, {"token": "no", "logprob": -1.0}, {"token": "I", "logprob": -0.5}]
    choice = {
        "message": {"content": "I"},
        "finish_reason": "length",
        "logprobs": {"content": [{"token": "I", "logprob": -0.5, "top_logprobs": top}]},
    }
    body = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}).encode()
    with Misbehaving(base=Act(body=body)) as server:
        got = run(model(server, choice_probabilities=True), [ask(agent, Choice("yes", "no")) for agent in range(20)])
    read = [json.loads(answer.text) for answer in got.values()]
    assert {tuple(one["probabilities"].items()) for one in read} == {(("yes", 0.5), ("no", 0.5))}
    assert {one["label"] for one in read} == {"yes", "no"}


def test_choices_without_readable_probabilities_fall_back_to_the_enum() -> None:
    with Misbehaving() as server:
        got = run(model(server, choice_probabilities=True), [ask(0, Choice("yes", "no"))])
        modes = ["logprobs" in seen.body for seen in server.seen if seen.body]
    assert (got[0].settled, got[0].calls) == ("answered", 2)
    assert modes == [True, False]


def test_a_limit_is_kept_without_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Limited(monkeypatch, RateLimit(requests_per_minute=1200, tokens_per_minute=1e9, slack_s=0.5))
    settings = model(provider, requests_per_minute=1200.0)
    got = provider.run(asked(settings, [ask(agent) for agent in range(50)]))
    assert fates(got) == {"answered": 50}
    assert provider.refused == 0
    # 50 requests at 20 a second cannot take less than about two seconds.
    assert provider.times_s[-1] - provider.times_s[0] > 1.8


def test_tokens_are_limited_as_well() -> None:
    with Misbehaving() as server:
        throttle = {"tokens_per_minute": 30_000.0}
        got = run(model(server, **throttle), [ask(agent) for agent in range(20)])
    assert fates(got) == {"answered": 20}
    used = server.billed.tokens_in + server.billed.tokens_out
    assert server.seen[-1].arrived_s - server.seen[0].arrived_s > (used - 600) / 500 - 1


def test_the_host_says_what_is_wrong_before_the_run() -> None:
    async def opened(settings: Settings) -> None:
        host = ModelHost(settings)
        await host.open()
        await host.close()

    with Misbehaving(key=KEY) as server:
        with pytest.raises(ModelError, match="wants an API key"):
            asyncio.run(opened(model(server, api_key_env="NO_SUCH_KEY")))
        url = server.base_url
    with pytest.raises(ModelError, match="Start its server"):
        asyncio.run(opened(sectioned(kind="openai", name="m", base_url=url)))


def test_the_hosts_probe_finds_a_model_that_is_there_and_one_that_is_not() -> None:
    async def probed(settings: Settings) -> Any:
        (probe,) = (await ModelHost(settings).probe_roles())["default"]
        return probe

    with Misbehaving(models=["a", "b"]) as server:
        assert asyncio.run(probed(model(server, name="a"))).ok
        other = asyncio.run(probed(model(server, name="c")))
    assert "'c'" in other.found
    assert "a, b" in other.next_step
    assert asyncio.run(probed(sectioned(kind="scripted"))).ok


def test_no_call_is_begun_while_the_fence_says_no() -> None:
    """What waits in the queue waits on, and so does a second try; a call in flight ends."""
    allowed = asyncio.Event()

    async def session(server: Misbehaving, fenced: bool) -> tuple[int, int]:
        fence = allowed.is_set if fenced else None
        gateway = build_gateway(model(server, concurrency=1, retries=2), fence=fence)
        await gateway.open()
        got: list[Answer] = []

        def deliver(batch: Any) -> None:
            got.extend(batch)
            if len(got) == 2:
                allowed.clear()

        allowed.set()
        try:
            gateway.offer([ask(agent) for agent in range(6)], deliver)
            while len(got) < (2 if fenced else 6):
                await asyncio.sleep(0.01)
            for _ in range(20):  # long enough for the others, had they not to wait
                await asyncio.sleep(0.01)
            while gateway.pressure().in_flight:
                await asyncio.sleep(0.01)
            began = len(server.seen)
            allowed.set()
            while len(got) < 6:
                await asyncio.sleep(0.01)
            return began, len(server.seen)
        finally:
            await gateway.close()

    with Misbehaving(base=slow(0.02)) as server:
        began, all_of_them = asyncio.run(session(server, fenced=True))
        assert began <= 3, "one may have been in flight"
        assert all_of_them == 6
    with Misbehaving(base=slow(0.02)) as server:
        assert asyncio.run(session(server, fenced=False)) == (6, 6)
