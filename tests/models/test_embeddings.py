"""Embeddings from an endpoint: requests that carry several asks, every way a reply may be wrong, what is billed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import numpy as np
import pytest
from support.client import answers_of, ask
from support.misbehaving import CUT, DROP, HANG, MALFORMED, OK, WRONG_TYPE, Act, Misbehaving, Seen, slow, status

from populace.agents.embedding import EMBEDDING, read_vectors, write_vectors
from populace.budget.service import LocalLink, account_for
from populace.cli import examine
from populace.core.errors import BudgetSpent, ModelError
from populace.core.records import Answer, Ask
from populace.models.build import build_gateway
from populace.models.dialect import EndpointForms
from populace.models.embeddings import MOST_TEXTS, read_embeddings
from populace.models.endings import Fault, Said
from populace.models.scripted.embed import DIMENSION, placebo_vector
from populace.settings import Settings


def settings_for(server: Misbehaving, **sections: Any) -> Settings:
    embed = {"name": "embedder", **sections.pop("embed", {})}
    model = {"kind": "openai", "name": "test-model", "roles": {"embed": embed}, **sections.pop("model", {})}
    endpoint = {"base_url": server.base_url, "timeout_s": 2.0, "retries": 1, **sections.pop("endpoint", {})}
    return Settings(seed=7, model=model, endpoint=endpoint, **sections)


def embed(agent: int, *texts: str) -> Ask:
    said = tuple([("text", text) for text in texts or (f"what agent {agent} says",)])
    return Ask(agent, 0, 0, "embed", said, EMBEDDING, 0, 0.0, repr(said).encode()[-16:], "", "embed")


def put(settings: Settings, batch: list[Ask], forms: EndpointForms | None = None) -> tuple[dict[int, Answer], Any]:
    async def session() -> tuple[dict[int, Answer], Any]:
        account = account_for(settings)
        gateway = build_gateway(settings, link=None if account is None else LocalLink(account), forms=forms)
        await gateway.open()
        try:
            return await answers_of(gateway, batch), gateway.failure
        finally:
            await gateway.close()

    return asyncio.run(session())


def serving(plan: Any = (), **options: Any) -> Misbehaving:
    return Misbehaving(plan, models=("test-model", "embedder"), **options)


def same(answer: Answer, *texts: str) -> None:
    assert answer.settled in ("answered", "cached"), answer
    expected = np.stack([placebo_vector(text) for text in texts])
    assert read_vectors(answer.text).tobytes() == expected.tobytes()


def test_asks_of_many_agents_go_in_few_requests_and_each_gets_its_own_vectors() -> None:
    with serving(base=slow(0.02)) as server:
        batch = [embed(at, f"first of {at}", f"second of {at}") for at in range(100)]
        chats = [ask(200 + at, str) for at in range(5)]
        got, failure = put(settings_for(server, endpoint={"concurrency": 4}), [*batch, *chats])
    assert failure is None
    for at in range(100):
        same(got[at], f"first of {at}", f"second of {at}")
    bodies = [one.body for one in server.seen if one.path == "/v1/embeddings"]
    assert sum(len(body["input"]) for body in bodies) == 200
    assert max(len(body["input"]) for body in bodies) <= MOST_TEXTS
    assert len(bodies) < 20, "about 200 / 32 of them"
    assert {(body["model"], body["encoding_format"]) for body in bodies} == {("embedder", "base64")}
    assert all(body.keys() == {"model", "input", "encoding_format"} for body in bodies)
    assert len(server.seen) - len(bodies) == 5
    billed = server.billed
    assert sum(one.tokens_in for one in got.values()) == billed.tokens_in
    assert all(one.tokens_out == 0 and not one.estimated_tokens for at, one in got.items() if at < 200)


def test_more_texts_than_a_request_shares_are_one_ask_of_its_own() -> None:
    texts = [f"text {nth}" for nth in range(3 * MOST_TEXTS)]
    with serving() as server:
        got, _ = put(settings_for(server), [embed(0, *texts), embed(1), embed(2)])
    same(got[0], *texts)
    assert sorted(len(one.body["input"]) for one in server.seen) == [2, 3 * MOST_TEXTS]


def test_equal_texts_at_once_are_one_call_and_a_cache_keeps_them(tmp_path) -> None:
    with serving(base=slow(0.05)) as server:
        got, _ = put(settings_for(server), [embed(at, "the same") for at in range(50)])
        assert len(server.seen) == 1
        assert sum(one.calls for one in got.values()) == 1
        for one in got.values():
            same(one, "the same")
        kept = settings_for(server, model={"cache": tmp_path / "cache.sqlite"})
        put(kept, [embed(0, "kept")])
        again, _ = put(kept, [msgspec.structs.replace(embed(9, "kept"), tick=4)])
        same(again[9], "kept")
        assert (again[9].settled, len(server.seen)) == ("cached", 2)


def refusing(parameter: str) -> Any:
    def plan(seen: Seen) -> Act:
        if seen.body is not None and parameter in seen.body:
            said = {"message": f"Unknown parameter: {parameter}", "param": parameter}
            return Act(kind="status", status=400, body=json.dumps({"error": said}).encode())
        return OK

    return plan


def test_an_endpoint_without_an_encoding_format_sends_numbers_and_the_same_vectors_come_of_them() -> None:
    forms = EndpointForms()
    with serving(refusing("encoding_format")) as server:
        got, _ = put(settings_for(server), [embed(at) for at in range(5)], forms)
        url = server.base_url
    for at in range(5):
        same(got[at], f"what agent {at} says")
        assert got[at].left_out == ""
    assert [name for name, one in forms.learnt().items() if not one.form.encoding_format] == [f"{url} embedder"]


@pytest.mark.parametrize(
    ("act", "reason", "calls"),
    [
        (MALFORMED, "error", 2), (CUT, "error", 2), (DROP, "error", 0), (status(500), "error", 0),
        (WRONG_TYPE, "error", 2), (HANG, "deadline", 1),
    ],
    ids=["malformed", "cut", "drop", "500", "no JSON", "hang"],
)  # fmt: skip
def test_what_fails_abstains_by_its_kind_and_what_may_be_billed_counts(act, reason, calls) -> None:
    with serving(base=act) as server:
        got, failure = put(settings_for(server, endpoint={"timeout_s": 0.4}), [embed(0)])
    assert failure is None
    assert (got[0].settled, got[0].reason) == ("abstained", reason)
    assert got[0].calls == calls
    assert bool(got[0].estimated_tokens) == bool(calls)


def test_what_fails_once_is_tried_again() -> None:
    with serving([status(503), MALFORMED, OK]) as server:
        got, _ = put(settings_for(server, endpoint={"retries": 3}), [embed(0)])
    same(got[0], "what agent 0 says")
    assert got[0].calls == 2


def test_one_text_that_a_filter_refuses_is_one_asks_abstention() -> None:
    def plan(seen: Seen) -> Act:
        bad = seen.body is not None and "bad" in seen.body.get("input", ())
        said = {"error": {"message": "flagged", "code": "content_filter"}}
        return Act(kind="status", status=400, body=json.dumps(said).encode()) if bad else OK

    with serving(plan) as server:
        got, failure = put(settings_for(server), [embed(0), embed(1, "bad"), embed(2)])
    assert failure is None
    assert [got[at].reason for at in range(3)] == ["", "refusal", ""]


def test_a_model_that_gives_none_ends_the_run_and_the_message_names_the_role() -> None:
    with Misbehaving(models=("test-model",)) as server:
        plain = Settings(seed=7, model={"kind": "openai", "name": "no-such"}, endpoint={"base_url": server.base_url})
        _, failure = put(plain, [embed(0)])
        assert isinstance(failure, ModelError)
        assert "set model.roles.embed.name to one that gives embeddings" in str(failure)
        _, failure = put(settings_for(server), [embed(0)])
    assert "has no model 'embedder'" in str(failure)
    assert "Set model.roles.embed.name to one" in str(failure)


@pytest.mark.parametrize("usd", [0.01, 1.0])
def test_money_is_reserved_and_booked_at_the_roles_price(usd) -> None:
    prices = {name: {"usd_per_million_tokens_in": usd_in, "usd_per_million_tokens_out": 10.0}
              for name, usd_in in (("test-model", 1.0), ("embedder", 100.0))}  # fmt: skip
    with serving() as server:
        settings = settings_for(server, budget={"usd": usd, "prices": prices})
        got, failure = put(settings, [embed(at) for at in range(100)])
        spent = sum(one.cost_usd for one in got.values())
        assert spent == pytest.approx(server.billed.tokens_in * 100 / 1e6)
        assert spent <= usd
    assert isinstance(failure, BudgetSpent) == (usd < 1.0)


VECTOR = write_vectors([placebo_vector("a")])


def body(*items: Any, **more: Any) -> bytes:
    data = [{"embedding": item, "index": at} for at, item in enumerate(items)]
    return json.dumps({"data": data, "usage": {"prompt_tokens": 6}, **more}).encode()


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (body([1.0, 2.0]), "there are 1 for 2 texts"),
        (body([1.0], [2.0], [3.0]), "there are 3 for 2 texts"),
        (body([1.0, 2.0], [1.0]), "of different lengths"),
        (body([], []), "array of shape"),
        (body([1.0, 2.0], "AAAA!"), "cannot be read"),
        (body("AAA=", "AAA="), "cannot be read"),
        (body([1e39], [1.0]), "not finite"),
        (body(None, None), "cannot be read"),
        (body({"a": 1}, [1.0]), "cannot be read"),
        (b'{"data": [{"embedding": [1.0]}, {"embedding": [NaN]}]}', "not finite"),
        (b"<html>hello</html>", "no completion"),
        (b'{"object": "list"}', "there are 0"),
    ],
)
def test_a_reply_that_holds_no_good_vector_for_each_text_is_a_fault(reply, said) -> None:
    with np.errstate(over="ignore"):
        endings = read_embeddings(reply, [["one"], ["two"]])
    assert len(endings) == 2
    for ending in endings:
        assert isinstance(ending, Fault)
        assert said in ending.detail
        assert ending.billed


def test_items_in_any_order_and_tokens_parted_by_length() -> None:
    items = [{"embedding": [2.0], "index": 1}, {"embedding": [3.0], "index": 2}, {"embedding": [1.0], "index": 0}]
    reply = json.dumps({"data": items, "usage": {"prompt_tokens": 10, "total_tokens": 10}}).encode()
    one, two = read_embeddings(reply, [["abcd" * 3], ["efgh", "ijkl"]])
    assert isinstance(one, Said)
    assert isinstance(two, Said)
    assert read_vectors(one.text).tolist() == [[1.0]]
    assert read_vectors(two.text).tolist() == [[2.0], [3.0]]
    assert (one.tokens_in, two.tokens_in) == (6, 4)
    (lone,) = read_embeddings(json.dumps({"data": [{"embedding": [1.0]}]}).encode(), [["abcd"]])
    assert isinstance(lone, Said)
    assert (lone.tokens_in, lone.counted) == (1, False), "no index, no usage: an estimate"


def test_the_placebo_is_a_unit_vector_of_its_text_alone() -> None:
    vectors = np.stack([placebo_vector(f"text {at}") for at in range(200)])
    assert vectors.shape == (200, DIMENSION)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    cosines = (vectors @ vectors.T)[np.triu_indices(200, 1)]
    assert abs(cosines.mean()) < 0.01
    assert abs(cosines.std() - DIMENSION**-0.5) < 0.01
    # To the bit, on every machine.
    assert placebo_vector("a")[:3].tolist() == [0.2035759538412094, -0.12844328582286835, 0.14530634880065918]
    assert placebo_vector("a", 8).shape == (8,)


def test_the_doctor_asks_an_embedder_for_vectors_and_no_chat() -> None:
    with serving(refusing("encoding_format")) as server:
        findings = {one.what: one for one in asyncio.run(examine._model(settings_for(server), ask=True))}
        asked = {one.path for one in server.seen if one.body is not None and one.body["model"] == "embedder"}
    found = findings["model (embed: openai), embeddings"]
    assert found.good
    assert found.found == f"It gives vectors of {DIMENSION} numbers; equal texts have equal vectors."
    assert findings["model (embed: openai), form"].found == (
        "It takes no encoding_format: embeddings come as lists of numbers."
    )
    assert asked == {"/v1/embeddings"}
    assert findings["model (openai), text"].good
    with Misbehaving(
        plan=lambda seen: status(501) if "embed" in seen.path else OK, models=("test-model", "embedder")
    ) as one:
        bad = {
            one.what: one for one in asyncio.run(examine._model(settings_for(one, endpoint={"retries": 0}), ask=True))
        }
    assert not bad["model (embed: openai), embeddings"].good
