"""One gateway for several roles: who is asked, what they share (open calls, limits, money), and what is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from support.asking import busiest
from support.client import answers_of, ask, fates
from support.limited import Limited
from support.misbehaving import Act, Holding, Misbehaving, RateLimit, Seen, slow

from populace.budget.accounts import accounts_of
from populace.budget.service import LocalLink, account_for
from populace.cli import examine
from populace.core.errors import BudgetSpent, ModelError, SettingsError
from populace.core.records import Answer, Ask
from populace.models.build import ModelHost, build_gateway, check_model
from populace.models.dialect import EndpointForms
from populace.settings import Settings

MODELS = ("test-model", "large")


def roled(server: Any, judge: dict[str, Any], **sections: Any) -> Settings:
    """Settings of a model at this server and of a judge."""
    model = {"kind": "openai", "name": "test-model", "roles": {"judge": {"name": "large", **judge}}}
    endpoint = {"base_url": server.base_url, "timeout_s": 60.0, **sections.pop("endpoint", {})}
    return Settings(seed=7, model=model | sections.pop("model", {}), endpoint=endpoint, **sections)


def asks(n: int) -> list[Ask]:
    """So many asks, every second one of the judge."""
    return [msgspec.structs.replace(ask(agent, str), model_role="judge" if agent % 2 else "") for agent in range(n)]


def put(
    settings: Settings, batch: list[Ask], *, shards: int = 1, forms: EndpointForms | None = None,
    play: Callable[..., Any] = asyncio.run,
) -> Any:  # fmt: skip
    """The answers to these asks, parted over shards that share the run's accounts; the account; the failure."""

    async def session() -> tuple[dict[int, Answer], Any, Exception | None]:
        account = account_for(settings)
        link = None if account is None else LocalLink(account)
        gateways = [build_gateway(settings, link=link, shard=at, forms=forms) for at in range(shards)]
        got: dict[int, Answer] = {}
        for gateway in gateways:
            await gateway.open()
        try:
            parts = [[one for one in batch if one.agent // 2 % shards == at] for at in range(shards)]
            found = await asyncio.gather(*(answers_of(*pair) for pair in zip(gateways, parts, strict=True)))
            for part in found:
                got |= part
        finally:
            for gateway in gateways:
                await gateway.close()
        return got, account, next((one.failure for one in gateways if one.failure is not None), None)

    return play(session())


def models_of(server: Misbehaving) -> list[str]:
    return [one.body["model"] for one in server.seen if one.body is not None]


def test_each_role_is_asked_of_its_model_and_a_role_that_is_not_set_of_the_default_one() -> None:
    with Misbehaving(models=MODELS) as server:
        batch = [*asks(6), msgspec.structs.replace(ask(6, str), model_role="nobody")]
        got, _, failure = put(roled(server, {}), batch)
    assert failure is None
    assert fates(got) == {"answered": 7}
    assert sorted(models_of(server)) == ["large"] * 3 + ["test-model"] * 4


@pytest.mark.parametrize(
    ("judge", "most"), [({}, 4), ({"endpoint": {"concurrency": 4}}, 4), ({"endpoint": {"concurrency": 3}}, 7)]
)
def test_roles_at_one_endpoint_share_its_concurrency_unless_they_have_their_own(judge, most) -> None:
    """A role that says what [endpoint] says anyway is on the same account; one that says something else is not."""
    with Holding(lambda _: server.open_peak >= most, models=MODELS, base=slow(0.05)) as server:
        got, _, _ = put(roled(server, judge, endpoint={"concurrency": 4}), asks(40))
        assert fates(got) == {"answered": 40}
        assert server.open_peak == most


def test_accounts_are_told_by_address_key_and_limits() -> None:
    with Misbehaving() as server:

        def roles(judge: dict[str, Any]) -> list[tuple[tuple[str, ...], float]]:
            limits = {"requests_per_minute": 60.0}
            found = accounts_of(roled(server, {"endpoint": judge}, endpoint=limits))
            return [(one.roles, one.requests_per_minute) for one in found]

        shared = [(("default", "judge"), 60.0)]
        assert roles({}) == roles({"timeout_s": 99.0, "retries": 0, "concurrency": 1}) == shared
        assert roles({"base_url": server.base_url + "/"}) == shared
        for own in ({"base_url": "http://127.0.0.1:1/v1"}, {"api_key_env": "OTHER"}):
            assert roles(own) == [(("default",), 60.0), (("judge",), 60.0)]
        assert roles({"requests_per_minute": 6.0}) == [(("default",), 60.0), (("judge",), 6.0)]
    assert accounts_of(Settings(model={"kind": "scripted", "roles": {"judge": {"kind": "openai", "name": "m"}}})) == [
        (("judge",), float("inf"), float("inf"))
    ]


@pytest.mark.parametrize("timeout", [{}, {"timeout_s": 50.0}], ids=["one dispatcher", "one each"])
def test_two_roles_on_one_account_keep_to_one_limit_on_two_shards(monkeypatch, timeout) -> None:
    """600 a minute for both; with a deadline of its own the judge has its own dispatcher, and still the same quota."""
    provider = Limited(monkeypatch, RateLimit(600, 10**9, slack_s=1.0))
    settings = roled(provider, {"endpoint": timeout}, endpoint={"requests_per_minute": 600.0}, shards=2)
    got, _, failure = put(settings, asks(40), shards=2, play=provider.run)
    assert failure is None
    assert fates(got) == {"answered": 40}
    assert provider.refused == 0
    assert busiest(provider.times_s, 1.0) <= 16


def test_control_a_quota_for_each_dispatcher_breaks_the_limit(monkeypatch) -> None:
    from populace.budget import service

    real = service.AccountService.exchange
    quotas: dict[int, service.AccountService] = {}

    def of_its_own(self: Any, want: Any) -> Any:
        return real(quotas.setdefault(want.shard, service.AccountService(settings)), want)

    monkeypatch.setattr(service.AccountService, "exchange", of_its_own)
    provider = Limited(monkeypatch, RateLimit(600, 10**9, slack_s=1.0))
    own, limits = {"endpoint": {"timeout_s": 50.0}}, {"requests_per_minute": 600.0}
    settings = roled(provider, own, endpoint=limits, shards=2)
    put(settings, asks(40), shards=2, play=provider.run)
    assert provider.refused > 0


def test_roles_with_limits_of_their_own_do_not_wait_for_one_another() -> None:
    """The judge's twenty asks are answered while the default's wait, for more than three minutes in all."""

    async def session(settings: Settings) -> None:
        gateway = build_gateway(settings, link=LocalLink(account_for(settings)))
        await gateway.open()
        batch, waiting = asks(40), list[Answer]()
        gateway.offer(batch[::2], waiting.extend)
        assert fates(await answers_of(gateway, batch[1::2])) == {"answered": 20}
        assert len(waiting) < 20
        await gateway.close()

    with Misbehaving(models=MODELS) as server:
        judge = {"endpoint": {"requests_per_minute": 100_000.0}}
        asyncio.run(session(roled(server, judge, endpoint={"requests_per_minute": 6.0})))


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("own", [{}, {"requests_per_minute": 1e6}], ids=["one account", "two accounts"])
def test_one_ceiling_of_money_holds_over_all_accounts(own, shards) -> None:
    prices = {
        "test-model": {"usd_per_million_tokens_in": 1.0, "usd_per_million_tokens_out": 1.0},
        "large": {"usd_per_million_tokens_in": 100.0, "usd_per_million_tokens_out": 100.0},
    }
    usd = 0.1
    with Misbehaving(models=MODELS) as server:
        settings = roled(server, {"endpoint": own}, budget={"usd": usd, "prices": prices}, shards=shards)
        got, account, failure = put(settings, asks(60), shards=shards)
    assert isinstance(failure, BudgetSpent)
    spent = sum(answer.cost_usd for answer in got.values())
    assert 0.0 < spent <= usd
    assert account.allowance.spent.usd == pytest.approx(spent)
    assert account.allowance.overruns == 0
    by_model = {"large": 0.0, "test-model": 0.0}
    for one in got.values():
        by_model["large" if one.agent % 2 else "test-model"] += (one.tokens_in + one.tokens_out) / 1e6
    assert spent == pytest.approx(by_model["large"] * 100 + by_model["test-model"])
    assert by_model["large"] > 0.0


def test_without_a_central_quota_a_shards_part_holds_for_all_roles() -> None:
    async def session(server: Misbehaving) -> Exception | None:
        own = {"endpoint": {"requests_per_minute": 1e6}}
        gateway = build_gateway(roled(server, own, budget={"tokens": 2000}))
        await gateway.open()
        try:
            await answers_of(gateway, asks(60))
            return gateway.failure
        finally:
            await gateway.close()

    with Misbehaving(models=MODELS) as server:
        assert isinstance(asyncio.run(session(server)), BudgetSpent)
        assert 1000 < server.billed.tokens_in + server.billed.tokens_out <= 2000


def test_what_one_model_does_not_take_is_not_left_out_of_the_others_asks() -> None:
    """The large model refuses a temperature, as reasoning models do; the other one's asks keep theirs."""

    def plan(seen: Seen) -> Any:
        if seen.body["model"] == "large" and "temperature" in seen.body:
            said = {"message": "Unsupported parameter: temperature", "param": "temperature"}
            return Act(kind="status", status=400, body=json.dumps({"error": said}).encode())
        return slow(0.0)

    forms = EndpointForms()
    with Misbehaving(plan, models=MODELS) as server:
        got, _, _ = put(roled(server, {}), asks(20), forms=forms)
        url = server.base_url
    assert fates(got) == {"answered": 20}
    assert {one.left_out for one in got.values() if one.agent % 2} == {"temperature"}
    assert {one.left_out for one in got.values() if not one.agent % 2} == {""}
    assert [*forms.learnt()] == [f"{url} large"]


def test_errors_name_the_roles_own_settings(monkeypatch) -> None:
    with Misbehaving(models=("test-model",)) as server:
        _, _, failure = put(roled(server, {}), asks(4))
        assert isinstance(failure, ModelError)
        assert "has no model 'large'" in str(failure)
        assert "Set model.roles.judge.name to one" in str(failure)
        with pytest.raises(SettingsError, match=r"model\.roles\.judge\.name is empty"):
            check_model(roled(server, {"name": ""}))
        priced = {"usd": 1.0, "prices": {"test-model": {"usd_per_million_tokens_in": 1.0}}}
        with pytest.raises(SettingsError, match=r"no price is known for 'large'"):
            check_model(roled(server, {}, budget=priced))
        bad = roled(server, {"endpoint": {"base_url": "ftp://here"}})
        with pytest.raises(SettingsError, match=r"model\.roles\.judge\.endpoint\.base_url"):
            build_gateway(bad)
        away = roled(server, {"endpoint": {"base_url": "http://127.0.0.1:9/v1"}})
        with pytest.raises(ModelError, match=r"the model role 'judge'.*model\.roles\.judge\.endpoint\.base_url"):
            asyncio.run(ModelHost(away).open())
        findings = {one.what: one for one in asyncio.run(examine._model(away, ask=False))}
        assert [*findings] == ["model (openai)", "model (judge: openai)"]
        assert findings["model (openai)"].good
        assert not findings["model (judge: openai)"].good


def test_a_shared_cache_keeps_what_models_say_and_nothing_that_was_drawn(tmp_path) -> None:
    with Misbehaving(models=MODELS) as server:
        model = {"kind": "scripted", "cache": tmp_path / "cache.sqlite"}
        settings = roled(server, {"kind": "openai"}, model=model)
        got, _, _ = put(settings, asks(10))
        again, _, _ = put(settings, asks(10))
        assert len(server.seen) == 5
    assert {one.settled for one in again.values() if one.agent % 2} == {"cached"}
    assert {one.settled for one in again.values() if not one.agent % 2} == {"answered"}, "drawn anew"
    assert [got[at].text for at in range(10)] == [again[at].text for at in range(10)]
