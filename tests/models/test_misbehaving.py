"""The misbehaving server misbehaves as its plan says, and counts what it did."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import msgspec
import pytest
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
    Misbehaving,
    RateLimit,
    http_date,
    slow,
    status,
)

from populace.agents.answers import Choice, compile_answer


class Said(msgspec.Struct):
    stance: int
    why: str
    tags: list[str] = []
    mood: str | None = None


def chat(text: str = "hello", schema: Any = None, **more: Any) -> dict[str, Any]:
    body = {"model": "test-model", "messages": [{"role": "user", "content": text}], **more}
    if schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    return body


def using(server: Misbehaving, work: Callable[[aiohttp.ClientSession], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with aiohttp.ClientSession(base_url=server.base_url + "/") as session:
            return await work(session)

    return asyncio.run(main())


def post(server: Misbehaving, *bodies: dict[str, Any], path: str = "chat/completions", **more: Any) -> list[Any]:
    async def work(session: aiohttp.ClientSession) -> list[Any]:
        replies = []
        for body in bodies:
            async with session.post(path, json=body, allow_redirects=False, **more) as reply:
                data = await reply.read()
                replies.append((reply.status, reply.headers, data))
        return replies

    return using(server, work)


def content(reply: Any) -> str:
    return msgspec.json.decode(reply[2])["choices"][0]["message"]["content"]


@pytest.mark.parametrize("answer", [Said, Choice("agree", "disagree"), list[int], dict])
def test_answers_satisfy_the_schema_and_follow_from_the_content(answer: Any) -> None:
    if answer is dict:
        spec_schema: Any = {"type": "object"}
        read = msgspec.json.decode
    else:
        spec = compile_answer(answer)
        spec_schema, read = spec.schema, spec.read
    with Misbehaving() as server:
        asks = [chat("a", spec_schema), chat("a", spec_schema), chat("b", spec_schema, seed=3)]
        first, again, other = post(server, *asks)
        read(content(first))
        read(content(other))
        assert content(first) == content(again)
        usage = msgspec.json.decode(first[2])["usage"]
        assert server.billed.calls == 3
        assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]


def test_one_request_with_many_prompts() -> None:
    with Misbehaving() as server:
        body = {"model": "test-model", "prompt": ["a", "b", "a"]}
        ((code, _, data),) = post(server, body, path="completions")
        texts = [choice["text"] for choice in msgspec.json.decode(data)["choices"]]
        assert code == 200
        assert texts[0] == texts[2] != texts[1]


def test_refusals_schemas_and_statuses() -> None:
    schema = compile_answer(Said).schema
    later = status(429, retry_after=http_date(0))
    plan = [REFUSE, UNSCHEMATIC, MALFORMED, status(500), later, NO_QUOTA, WRONG_TYPE, TO_ITSELF]
    with Misbehaving(plan) as server:
        replies = post(server, *[chat(schema=schema)] * 9)
        assert msgspec.json.decode(replies[0][2])["choices"][0]["message"]["refusal"]
        with pytest.raises(msgspec.ValidationError):
            compile_answer(Said).read(content(replies[1]))
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(replies[2][2])
        assert [reply[0] for reply in replies] == [200, 200, 200, 500, 429, 429, 200, 308, 200]
        assert replies[4][1]["retry-after"] == "Thu, 01 Jan 1970 00:00:00 GMT"
        assert msgspec.json.decode(replies[5][2])["error"]["code"] == "insufficient_quota"
        assert replies[6][1]["content-type"].startswith("text/html")
        assert replies[7][1]["location"].startswith("/elsewhere")
        assert server.followed == []
        assert server.billed.calls == 4
        assert [seen.status for seen in server.seen] == [reply[0] for reply in replies]


def test_a_followed_redirect_is_known() -> None:
    async def work(session: aiohttp.ClientSession) -> None:
        async with session.post("chat/completions", json=chat()) as reply:
            await reply.read()

    with Misbehaving([TO_ITSELF]) as server:
        using(server, work)
        assert server.followed == ["/elsewhere/v1/chat/completions"]


def test_key_model_and_list() -> None:
    async def work(session: aiohttp.ClientSession) -> list[Any]:
        async with session.get("models", headers={"Authorization": "Bearer k"}) as reply:
            return [model["id"] for model in (await reply.json())["data"]]

    with Misbehaving(key="k", models=["a", "b"]) as server:
        ((code, _, _),) = post(server, chat())
        assert code == 401
        ((code, _, data),) = post(server, chat(), headers={"Authorization": "Bearer k"})
        assert (code, msgspec.json.decode(data)["error"]["code"]) == (404, "model_not_found")
        assert using(server, work) == ["a", "b"]
        assert "Authorization" in server.seen[1].header_names
        assert server.billed.calls == 0


@pytest.mark.parametrize(("act", "billed"), [(DROP, 0), (CUT, 1)])
def test_disconnects(act: Act, billed: int) -> None:
    with Misbehaving([act]) as server:
        with pytest.raises(aiohttp.ClientError):
            post(server, chat())
        assert server.billed.calls == billed


@pytest.mark.parametrize("act", [HANG, DRIP, slow(60.0)])
def test_only_a_total_deadline_ends_these(act: Act) -> None:
    with Misbehaving([act]) as server, pytest.raises(TimeoutError):
        post(server, chat(), timeout=aiohttp.ClientTimeout(total=0.3))


def test_a_small_answer_inflates_beyond_bounds() -> None:
    with Misbehaving([BOMB]) as server:

        async def raw() -> bytes:
            async with (
                aiohttp.ClientSession(auto_decompress=False) as session,
                session.post(server.base_url + "/chat/completions", json=chat()) as reply,
            ):
                return await reply.read()

        packed = asyncio.run(raw())
        assert len(packed) < 100_000
        assert len(gzip.decompress(packed)) > 2**22


@pytest.mark.parametrize(("act", "connections"), [(OK, 1), (CLOSING, 2)])
def test_a_connection_closes_behind_a_good_answer(act: Act, connections: int) -> None:
    async def work(session: aiohttp.ClientSession) -> None:
        answers = 0
        while answers < 2:
            try:
                async with session.post("chat/completions", json=chat()) as reply:
                    await reply.read()
                    answers += 1
            except aiohttp.ClientError:
                continue

    with Misbehaving([act]) as server:
        using(server, work)
        assert len({seen.connection for seen in server.seen}) == connections


def test_the_rate_limit_is_honest() -> None:
    limit = RateLimit(requests_per_minute=60, tokens_per_minute=6000, slack_s=2.0)
    assert [limit.take(1, 100.0) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert limit.take(1, 100.5) == 0.5
    assert limit.take(1, 101.0) == 0.0
    assert limit.take(200, 110.0) == 0.0
    assert limit.take(150, 111.0) == 0.5
    assert limit.headers()["x-ratelimit-remaining-tokens"] == "100"
    taken = sum(limit.take(10, 200.0 + step / 100) == 0.0 for step in range(6000))
    assert 60 <= taken <= 62, "a minute's worth and the slack, whatever the storm"


def test_the_server_enforces_the_limit() -> None:
    with Misbehaving(limit=RateLimit(60, 60_000, slack_s=2.0)) as server:
        replies = post(server, *[chat()] * 8)
        codes = [reply[0] for reply in replies]
        assert codes[:2] == [200, 200]
        assert 429 in codes
        refused = replies[codes.index(429)]
        assert 0.0 < float(refused[1]["retry-after"]) <= 1.0
        assert refused[1]["x-ratelimit-limit-requests"] == "60"
        assert sum(seen.limited for seen in server.seen) == codes.count(429)


def test_a_plan_may_be_a_function() -> None:
    with Misbehaving(lambda seen: status(500) if "boom" in str(seen.body) else OK) as server:
        assert [reply[0] for reply in post(server, chat("boom"), chat("calm"))] == [500, 200]
