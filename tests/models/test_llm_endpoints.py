"""Several endpoints: real servers on loopback, one or more of which misbehave."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.client import answers_of, ask, fates, run
from support.misbehaving import DROP, HANG, OK, Act, Holding, Misbehaving, Seen, slow, status
from support.running import SOCIETIES, run_local
from support.sections import sectioned

from populace.cli.examine import examine
from populace.core.errors import ModelError, SettingsError
from populace.core.records import Ask
from populace.models.build import ModelHost, build_gateway
from populace.settings import Settings, load_settings

CLOSED = "http://127.0.0.1:9/v1"


def several(*servers: Misbehaving | str, more: Any = (), **settings: Any) -> Settings:
    urls = [server if isinstance(server, str) else server.base_url for server in servers]
    each = list(more) or [{}] * len(urls)
    replicas = [{"base_url": url, **extra} for url, extra in zip(urls, each, strict=True)]
    return sectioned(**{"kind": "openai", "name": "test-model", "timeout_s": 60.0, "replicas": replicas, **settings})


def persona(agent: int, personas: int = 40) -> Ask:
    one = ask(agent)
    one.messages = (("system", f"You are like persona {agent % personas}."), *one.messages[1:])
    return one


def personas_at(server: Misbehaving) -> set[str]:
    return {seen.body["messages"][0]["content"] for seen in server.seen if seen.body}


def test_shares_follow_weights_and_asks_that_begin_alike_stay_together() -> None:
    with Misbehaving() as one, Misbehaving() as three:
        settings = several(one, three, more=[{"weight": 1.0}, {"weight": 3.0}], concurrency=400)
        got = run(settings, [persona(agent) for agent in range(200)])
        assert fates(got) == {"answered": 200}
        assert personas_at(one) & personas_at(three) == set()
        assert len(personas_at(one)) < len(personas_at(three))
        assert len(one.seen) + len(three.seen) == 200


def test_which_endpoint_answers_changes_no_answer() -> None:
    asks = [persona(agent) for agent in range(60)]
    with ExitStack() as stack:
        servers = [stack.enter_context(Misbehaving()) for _ in range(3)]
        alone = run(several(servers[0]), asks)
        together = run(several(*servers), asks)
        assert all(server.seen for server in servers)
    assert {n: a.text for n, a in alone.items()} == {n: a.text for n, a in together.items()}


def test_a_run_over_two_endpoints_has_the_trace_of_one(tmp_path: Path) -> None:
    with Misbehaving() as one, Misbehaving() as two:
        settings: dict[str, Any] = {"model__kind": "openai", "model__name": "test-model", "agents": 12, "ticks": 2}
        alone = run_local(tmp_path / "a", SOCIETIES, **settings, endpoint__base_url=one.base_url)
        before = len(one.seen)
        both = [{"base_url": one.base_url}, {"base_url": two.base_url}]
        # Few permits each, so that the one prefix that all share spreads.
        together = run_local(tmp_path / "b", SOCIETIES, **settings, endpoint__replicas=both, endpoint__concurrency=4)
        assert len(one.seen) > before
        assert two.seen
    assert together["trace_hash"] == alone["trace_hash"]


def test_an_endpoint_that_is_down_takes_only_probes_and_nobody_is_lost() -> None:
    def opened(gateway: Any) -> None:
        down, up = gateway.dispatcher.lanes
        assert down.breaker.is_open
        assert not up.breaker.is_open

    with Misbehaving(lambda _: DROP) as down, Misbehaving() as up:
        got = run(several(down, up, retries=2), [persona(agent) for agent in range(300)], opened)
        assert fates(got) == {"answered": 300}
        # Those in flight before the breaker opened, and a probe or two.
        assert len(down.seen) < 64
        assert len(up.seen) == 300
    with Misbehaving() as up:
        got = run(several(CLOSED, up, retries=2), [persona(agent) for agent in range(300)], opened)
    assert fates(got) == {"answered": 300}


def test_control_the_same_endpoint_alone_loses_asks() -> None:
    with Misbehaving(lambda _: DROP) as down:
        got = run(several(down, retries=0), [persona(agent) for agent in range(4)])
    assert fates(got) == {"error": 4}


def test_an_endpoint_that_recovers_is_used_again() -> None:
    async def session(settings: Settings, flaky: Misbehaving) -> None:
        gateway: Any = build_gateway(settings)
        await gateway.open()
        await answers_of(gateway, [persona(agent) for agent in range(100)])
        lane = gateway.dispatcher.lanes[0]
        assert lane.breaker.is_open
        flaky.plan = ()
        deadline_s = asyncio.get_running_loop().time() + 240.0
        nth = 1000
        while lane.breaker.is_open and asyncio.get_running_loop().time() < deadline_s:
            await answers_of(gateway, [persona(nth)])
            nth += 1
            await asyncio.sleep(0.05)
        assert not lane.breaker.is_open
        before = len(flaky.seen)
        await answers_of(gateway, [persona(agent) for agent in range(5000, 5100)])
        assert len(flaky.seen) - before > 10
        await gateway.close()

    with Misbehaving(lambda _: status(500)) as flaky, Misbehaving() as up:
        asyncio.run(session(several(flaky, up, retries=2), flaky))


def test_retry_after_holds_one_endpoint_and_not_the_others() -> None:
    def plan(seen: Seen) -> Act:
        return status(429, retry_after="200") if seen.nth < 1 else OK

    with Misbehaving(plan) as held, Misbehaving() as free:
        settings = several(held, free, concurrency=2)
        # Nobody waits: the other takes them all.
        loop_s = asyncio.run(_timed(settings, [persona(agent) for agent in range(40)]))
        assert len(held.seen) == 1
        assert len(free.seen) == 40
    assert loop_s < 150.0


async def _timed(settings: Settings, asks: list[Ask]) -> float:
    gateway = build_gateway(settings)
    await gateway.open()
    began_s = asyncio.get_running_loop().time()
    assert fates(await answers_of(gateway, asks)) == {"answered": len(asks)}
    took_s = asyncio.get_running_loop().time() - began_s
    await gateway.close()
    return took_s


def test_each_endpoint_keeps_to_its_own_concurrency() -> None:
    with Misbehaving(base=slow(0.03)) as small, Holding(lambda _: large.open_peak > 2, base=slow(0.03)) as large:
        settings = several(small, large, more=[{"concurrency": 2}, {"concurrency": 9}])
        got = run(settings, [ask(agent) for agent in range(120)])
        assert fates(got) == {"answered": 120}
        assert small.open_peak <= 2
        assert 2 < large.open_peak <= 9


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (
            status(401, error="invalid_api_key"),
            ["refused the API key", "endpoint.replicas[1].api_key_env", "OTHER_KEY"],
        ),
        (status(404, error="model_not_found"), ["no model 'test-model'", "model.name"]),
    ],
    ids=["key", "model"],
)
def test_a_fatal_answer_names_its_endpoint(act: Act, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_KEY", "sk-other")
    failures: list[Any] = []
    with Misbehaving(base=slow(0.01)) as good, Misbehaving(lambda _: act) as bad:
        settings = several(good, bad, more=[{}, {"api_key_env": "OTHER_KEY"}])
        run(settings, [persona(agent) for agent in range(60)], lambda gateway: failures.append(gateway.failure))
        for word in (bad.base_url, *words):
            assert word in str(failures[0])
        assert good.base_url not in str(failures[0])
    assert isinstance(failures[0], ModelError)


def test_each_endpoint_gets_its_own_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-one")
    (tmp_path / "key").write_text("sk-two\n")
    with Misbehaving(key="sk-one") as one, Misbehaving(key="sk-two") as two:
        settings = several(one, two, more=[{}, {"api_key_file": tmp_path / "key"}])
        got = run(settings, [persona(agent) for agent in range(60)])
        assert fates(got) == {"answered": 60}
        assert one.seen
        assert two.seen


def test_the_quota_is_the_accounts_and_not_each_endpoints() -> None:
    with Misbehaving() as one, Misbehaving() as two:
        settings = several(one, two, requests_per_minute=1200.0)
        run(settings, [persona(agent) for agent in range(50)])
        arrivals = sorted(seen.arrived_s for server in (one, two) for seen in server.seen)
    assert len(arrivals) == 50
    # 50 requests at 20 a second cannot take less than about two seconds, however many endpoints there are.
    assert arrivals[-1] - arrivals[0] > 1.8


def test_all_out_for_too_long_ends_the_run_and_names_them_all() -> None:
    failures: list[Any] = []
    with Misbehaving(lambda _: DROP) as one, Misbehaving(lambda _: DROP) as two:
        settings = several(one, two, retries=100, outage_s=1.0)
        run(settings, [persona(agent) for agent in range(100)], lambda gateway: failures.append(gateway.failure))
        assert one.base_url in str(failures[0])
        assert two.base_url in str(failures[0])
    assert "are out" in str(failures[0])


def test_a_probe_that_hangs_costs_its_ask_nothing() -> None:
    def probes(seen: Seen) -> bool:
        return seen.arrived_s - sick.seen[0].arrived_s > 0.9

    with (
        Misbehaving(lambda seen: HANG if probes(seen) else status(500)) as sick,
        Misbehaving(base=slow(0.02)) as up,
    ):
        settings = several(sick, up, timeout_s=1.5, retries=3, concurrency=8)
        got = run(settings, [persona(agent) for agent in range(700)])
        hung = [seen for seen in sick.seen if probes(seen)]
        assert len(up.seen) >= 700
    assert hung
    assert fates(got) == {"answered": 700}


def test_the_host_tolerates_one_that_is_down_and_no_wrong_key() -> None:
    async def opened(settings: Settings) -> None:
        host = ModelHost(settings)
        await host.open()
        await host.close()

    with Misbehaving() as up, Misbehaving(key="sk-right") as keyed:
        asyncio.run(opened(several(up, CLOSED)))
        with pytest.raises(ModelError, match=r"endpoint\.replicas\[1\]\.api_key_env"):
            asyncio.run(opened(several(up, keyed, api_key_env="NO_SUCH_KEY")))
        with pytest.raises(ModelError, match="Start its server"):
            asyncio.run(opened(several(CLOSED, "http://localhost:9/v1")))


def test_doctor_probes_every_endpoint() -> None:
    with Misbehaving() as up:
        settings = several(up, CLOSED)
        findings = [one for one in asyncio.run(examine(settings)) if one.what.startswith("model")]
        assert [(one.what, one.good) for one in findings] == [("model (openai, 1)", True), ("model (openai, 2)", False)]
        assert up.base_url in findings[0].found
    assert "endpoint.replicas[1].base_url" in findings[1].remedy


def test_endpoints_that_cannot_be_are_refused() -> None:
    for url in ("http://169.254.169.254/v1", "ftp://127.0.0.1/v1", "http://user:pw@host/v1"):
        with pytest.raises(SettingsError, match=r"endpoint\.replicas\[1\]\.base_url"):
            build_gateway(several("http://127.0.0.1:1/v1", url))
    both = ["endpoint.base_url=http://127.0.0.1:2/v1", 'endpoint.replicas=[{base_url="http://127.0.0.1:1/v1"}]']
    with pytest.raises(SettingsError, match="both set"):
        load_settings(assignments=both)
    with pytest.raises(SettingsError, match="twice"):
        load_settings(assignments=['endpoint.replicas=[{base_url="http://a/v1"}, {base_url="http://a/v1/"}]'])
    known = r"api_key_env, .*base_url, concurrency, weight"
    with pytest.raises(SettingsError, match=r"endpoint\.replicas\.0\.wait.*" + known):
        load_settings(assignments=['endpoint.replicas=[{base_url="http://a/v1", wait=3}]'])
    with pytest.raises(SettingsError, match=r"endpoint\.replicas\.0\.weight"):
        load_settings(assignments=['endpoint.replicas=[{base_url="http://a/v1", weight=0}]'])
