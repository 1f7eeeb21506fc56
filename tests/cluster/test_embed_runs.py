"""Runs that embed: one trace on any shards, through stops, replays and forks, vectors to the bit; money by role.

Each with a control that breaks the property on purpose.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
from support import embedders
from support.attempts import go, same_tables
from support.chaos import run_elsewhere
from support.killing import armed_scenario, set_trap
from support.misbehaving import Act, Misbehaving, Seen
from support.running import Shuffled, run_local, settings_of, wrap_gateways

from populace.agents import embedding
from populace.agents.embedding import read_vectors
from populace.cluster.coordinator import Coordinator
from populace.data.societies import find_society
from populace.models.scripted.embed import placebo_vector
from populace.monitoring.summary import summary_text
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.runs.replay import replay_run
from populace.store.manifest import read_manifest
from populace.store.tables.tables import read_table

EMBEDDERS = str(embedders.__file__)
PRICES = {
    name: {"usd_per_million_tokens_in": usd, "usd_per_million_tokens_out": 2 * usd}
    for name, usd in (("talker", 1.0), ("arbiter", 30.0), ("embedder", 0.1))
}
LEVER = 'at = 3, send = {to = [2], body = {said = "a lever speaks"}}'


@pytest.fixture
def servers():
    with Misbehaving(models=("talker", "arbiter")) as talker, Misbehaving(models=("embedder",)) as embedder:
        yield talker, embedder


def three(servers: Any, **options: Any) -> dict[str, Any]:
    talker, embedder = servers
    embed = {"name": "embedder", "endpoint": {"base_url": embedder.base_url}}
    return {
        "model__kind": "openai",
        "model__name": "talker",
        "model__roles": {"judge": {"name": "arbiter"}, "embed": embed},
        "endpoint__base_url": talker.base_url,
        "budget__prices": PRICES,
        **options,
    }


def forget(servers: Any) -> None:
    for server in servers:
        server.seen.clear()
        server.billed.calls = server.billed.tokens_in = server.billed.tokens_out = 0


def check_money(manifest: dict[str, Any], servers: Any) -> None:
    """By role, the manifest's tokens are those that the servers have counted."""
    talker, embedder = servers
    roles = manifest["asks"]["by_role"]
    assert roles.keys() == {"default", "judge", "embed"}
    tokens = {
        role: [sum(one[name] for one in parts.values()) for name in ("tokens_in", "tokens_out")]
        for role, parts in roles.items()
    }
    assert tokens["embed"] == [embedder.billed.tokens_in, 0]
    assert np.add(tokens["default"], tokens["judge"]).tolist() == [talker.billed.tokens_in, talker.billed.tokens_out]
    for role, model in (("default", "talker"), ("judge", "arbiter")):
        calls = sum(one.body["model"] == model for one in talker.seen)
        assert sum(one["calls"] for one in roles[role].values()) == calls
    for role, model in (("default", "talker"), ("judge", "arbiter"), ("embed", "embedder")):
        usd = (tokens[role][0] + 2 * tokens[role][1]) * PRICES[model]["usd_per_million_tokens_in"] / 1e6
        assert sum(one["cost_usd"] for one in roles[role].values()) == pytest.approx(usd)


def hashes(manifest: dict[str, Any]) -> tuple[Any, ...]:
    return manifest["trace_hashes"], manifest["world_hashes"]


def test_invariant_1_one_trace_on_any_shards_and_each_role_is_paid_for(tmp_path, servers):
    seen = []
    for shards in (1, 2, 5):
        forget(servers)
        manifest = run_local(tmp_path / str(shards), EMBEDDERS, **three(servers, shards=shards))
        check_money(manifest, servers)
        assert manifest["asks"]["abstained"] == 0
        seen.append(hashes(manifest))
    assert seen[0] == seen[1] == seen[2]
    same_tables(tmp_path / "1", tmp_path / "5")
    asks = read_table(tmp_path / "5", "asks")
    rows = [row for row in asks.to_pylist() if row["model_role"] == "embed"]
    assert len(rows) == 7 * 5 + 5
    assert {row["purpose"] for row in rows} == {"embed", "archive"}
    archived = next(row for row in rows if row["agent"] == -1 and row["tick"] == 4)
    expected = placebo_vector("the archive in tick 4")
    assert read_vectors(archived["answer"]).tobytes() == expected.tobytes()
    requests = [one for one in servers[1].seen if one.path == "/v1/embeddings"]
    assert len(requests) < len(rows), "agents' asks share requests"
    assert "embed embedder: 40 asks, $" in summary_text(manifest, {}, tmp_path)


def test_control_an_embedding_that_is_not_billed_is_found(tmp_path, servers, monkeypatch):
    from populace.models import client
    from populace.models.embeddings import read_embeddings

    def unbilled(*args: Any) -> Any:
        import msgspec

        return [msgspec.structs.replace(one, tokens_in=0) for one in read_embeddings(*args)]

    monkeypatch.setattr(client, "read_embeddings", unbilled)
    manifest = run_local(tmp_path, EMBEDDERS, **three(servers))
    with pytest.raises(AssertionError):
        check_money(manifest, servers)


@pytest.mark.parametrize("kind", ["scripted", "rules"])
def test_invariant_1_placebo_vectors_in_any_order_of_answers(tmp_path, monkeypatch, kind):
    whole = run_local(tmp_path / "whole", EMBEDDERS, model__kind=kind)
    embedded = whole["asks"]["by_role"]["embed"]["embed"]
    assert (embedded["asks"], embedded["tokens_out"]) == (35, 0)
    assert embedded["tokens_in"] > 0
    wrap_gateways(monkeypatch, lambda gateway: Shuffled(gateway, 5))
    for shards in (2, 5):
        again = run_local(tmp_path / str(shards), EMBEDDERS, shards=shards, model__kind=kind)
        assert hashes(again) == hashes(whole)
    # Control: vectors that are another in their last bit make another run.
    real = embedding.EMBEDDING.read
    monkeypatch.setattr(embedding.EMBEDDING, "read", lambda text: np.nextafter(real(text), np.float32(2.0)))
    other = run_local(tmp_path / "other", EMBEDDERS, model__kind=kind)
    assert hashes(other) != hashes(whole)


@pytest.mark.parametrize(("stop_at", "shards"), [(1, 5), (3, 1)])
def test_invariant_2_stopped_and_resumed_on_other_shards_nothing_is_paid_twice(tmp_path, servers, stop_at, shards):
    whole = go(tmp_path / "whole", scenario=EMBEDDERS, **three(servers, shards=2, ticks=5))
    texts = sorted(text for one in servers[1].seen for text in one.body["input"])
    forget(servers)
    options = three(servers, shards=2, ticks=5, checkpoint__every_ticks=2)
    assert go(tmp_path / "run", scenario=EMBEDDERS, stop_at=stop_at, **options) is None
    check_money(read_manifest(tmp_path / "run"), servers)
    manifest = go(tmp_path / "run", going=resume_course(tmp_path / "run", shards=shards))
    assert hashes(manifest) == hashes(whole)
    check_money(manifest, servers)
    assert sorted(text for one in servers[1].seen for text in one.body["input"]) == texts
    for name in ("agents", "messages", "outcomes"):
        assert read_table(tmp_path / "run", name).equals(read_table(tmp_path / "whole", name)), name


@pytest.mark.parametrize(("moment", "nth"), [("arrived", 31), ("torn", 40), ("committed", 52)])
def test_invariant_2_killed_and_resumed_on_other_shards(tmp_path, servers, moment, nth):
    """Killed as an answer arrives, or is half put down, or has not been seen yet, somewhere in the third tick or so."""
    talker, embedder = servers
    options = three(servers, shards=2, ticks=5, checkpoint__every_ticks=2, endpoint__concurrency=4)
    whole = run_local(tmp_path / "whole", EMBEDDERS, **options)
    calls = [len(server.seen) for server in servers]
    texts = sorted(text for one in embedder.seen for text in one.body["input"])
    forget(servers)
    scenario = armed_scenario(tmp_path / "traps", "embedders")
    set_trap(tmp_path / "traps", moment, nth)
    assert run_elsewhere(tmp_path / "run", str(scenario), **options) == -9
    manifest = go(tmp_path / "run", going=resume_course(tmp_path / "run", shards=5))
    assert hashes(manifest) == hashes(whole)
    assert manifest["asks"]["made"] == whole["asks"]["made"]
    assert len(talker.seen) - calls[0] <= 8, "calls in flight alone are put again: four a model and shard"
    again = sorted(text for one in embedder.seen for text in one.body["input"])
    assert set(again) == set(texts)
    assert len(again) - len(texts) <= 7 * 4, "those of one tick at most"
    for name in ("agents", "messages", "outcomes"):
        assert read_table(tmp_path / "run", name).equals(read_table(tmp_path / "whole", name)), name


def test_invariants_3_and_4_a_replay_asks_nobody_and_a_fork_with_a_lever_what_it_changes(tmp_path, servers):
    whole = go(tmp_path / "run", scenario=EMBEDDERS, **three(servers, shards=2, ticks=5))
    before = [len(server.seen) for server in servers]
    replayed = replay_run(replay_course(tmp_path / "run"), tmp_path / "run", tmp_path / "again")
    assert replayed.diverged is None
    same = go(tmp_path / "same", going=fork_course(tmp_path / "run", 3))
    assert hashes(same) == hashes(whole)
    assert [len(server.seen) for server in servers] == before
    forked = go(tmp_path / "fork", going=fork_course(tmp_path / "run", 3, levers=[LEVER]))
    assert forked["trace_hashes"][:3] == whole["trace_hashes"][:3]
    assert forked["trace_hashes"][3] != whole["trace_hashes"][3]
    assert len(servers[0].seen) == before[0], "what agents say and how it is judged is as it was"
    asked = [text for one in servers[1].seen[before[1] :] for text in one.body["input"]]
    assert "2 hears: a lever speaks" in asked
    assert not [text for text in asked if text.startswith("the archive")]
    assert forked["asks"]["by_role"]["embed"]["embed"]["tokens_in"] == sum(-(-len(text) // 4) for text in asked)
    replayed = replay_run(replay_course(tmp_path / "fork"), tmp_path / "fork", tmp_path / "replay")
    assert replayed.diverged is None


def test_a_fork_may_embed_with_another_model(tmp_path, servers):
    whole = go(tmp_path / "run", scenario=EMBEDDERS, **three(servers, ticks=4))
    servers[1].models = ("embedder", "better")
    forked = go(tmp_path / "fork", going=fork_course(tmp_path / "run", 2, ["model.roles.embed.name=better"]))
    assert forked["trace_hashes"][:2] == whole["trace_hashes"][:2]
    asked = [one.body["model"] for one in servers[1].seen]
    assert asked.count("better") == sum(one == "better" for one in asked) > 0
    assert "embedder" not in asked[asked.index("better") :]


def test_what_the_endpoint_refuses_is_an_abstention_by_its_kind_and_others_go_on(tmp_path, servers):
    """A filter takes offence at what agents 1 and 4 say; requests that carry others' texts too are put again."""
    said = json.dumps({"error": {"message": "flagged", "code": "content_filter"}}).encode()
    offence = Act(kind="status", status=400, body=said)

    def plan(seen: Seen) -> Act:
        return offence if any(text.startswith(("1: ", "4: ")) for text in seen.body["input"]) else Act()

    talker, _ = servers
    with Misbehaving(plan, models=("embedder",)) as filtering:
        manifest = run_local(tmp_path, EMBEDDERS, **three((talker, filtering), limits__abstained=1.0, shards=2))
        check_money(manifest, (talker, filtering))
    embedded = manifest["asks"]["by_role"]["embed"]["embed"]
    assert (embedded["asks"], embedded["abstained"]) == (35, {"refusal": 10})
    assert manifest["turns_failed"] == 0
    missed = {row["agent"]: row["missed"] for row in read_table(tmp_path, "agents").to_pylist()}
    assert missed == {agent: 5 * (agent in (1, 4)) for agent in range(7)}


@pytest.mark.ray
def test_invariant_1_ray_gives_the_trace_of_one_process(tmp_path, ray_cluster, servers):
    from populace.cluster.ray import RayTransport

    limits = {"endpoint__requests_per_minute": 60_000.0, "budget__tokens": 10**7}
    whole = run_local(tmp_path / "here", EMBEDDERS, **three(servers, **limits))
    forget(servers)
    settings = settings_of(**three(servers, shards=2, transport="ray", **limits))
    manifest = asyncio.run(Coordinator(find_society(EMBEDDERS), settings, RayTransport(), tmp_path / "there").run())
    assert hashes(manifest) == hashes(whole)
    check_money(manifest, servers)
    assert manifest["booked"]["tokens"] == manifest["tokens_in"] + manifest["tokens_out"]
