"""Coroutine agents that ask by archetype: the invariants of a run hold for it, each with a control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from support import mixed
from support.attempts import asked, go, same_tables
from support.running import Shuffled, wrap_gateways

import populace
from populace.agents.answers import Choice, Chosen, compile_answer
from populace.core.errors import PopulaceError
from populace.core.records import Answer, Ask
from populace.kernel import archetypes
from populace.kernel.archetypes import Archetypes
from populace.kernel.columnar_tick import ColumnarTick
from populace.kernel.sharing import Sharing
from populace.kernel.turn import Turn
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.runs.replay import replay_run
from populace.store.tables.tables import read_table

__all__ = ["asked"]

MIXED = str(Path(mixed.__file__))
TOGETHER: dict[str, Any] = {"scenario": MIXED, "minds": {"citizen": "archetypes"}, "ticks": 6}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("together") / "whole"
    return go(out, **TOGETHER), out


def shared(out: Path) -> Any:
    rows = read_table(out, "asks").to_pandas()
    return rows[rows.for_type.notna()]


def same_run(manifest: dict[str, Any], whole: dict[str, Any]) -> None:
    for key in ("trace_hashes", "world_hashes", "messages", "asks", "turns", "calls_billed"):
        assert manifest[key] == whole[key], key


def test_an_archetype_is_asked_once_and_stands_for_all_who_asked(whole, tmp_path) -> None:
    manifest, out = whole
    rows = shared(out)
    assert set(rows.for_type) == {"citizen"}
    assert not rows.duplicated(["tick", "key", "purpose", "facts", "stands_for", "nth"]).any()
    alone = go(tmp_path, **TOGETHER | {"minds": {}})
    own = read_table(tmp_path, "asks").to_pandas()
    assert manifest["asks"]["made"] < 0.7 * alone["asks"]["made"]
    first = rows[rows.tick == 0]
    assert first.stands_for.sum() == len(own[(own.tick == 0) & (own.agent < 14)]), "each who asked is counted"
    assert len(own[own.agent >= 14]) == len(read_table(out, "asks").to_pandas().query("agent >= 14"))


def test_agents_of_an_archetype_draw_for_themselves(whole) -> None:
    """The young are offered 0.7 at tick 0: some of them vote and some do not."""
    agents = read_table(whole[1], "agents").to_pandas().query("tick == 1 and type == 'citizen'")
    young = agents[agents.age < 30]
    assert 0 < (young.votes > 0).sum() < len(young)


def test_control_without_draws_of_their_own_all_are_alike(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(archetypes, "own_label", lambda chosen, labels, seed, ask: chosen.label)
    go(tmp_path, **TOGETHER)
    agents = read_table(tmp_path, "agents").to_pandas().query("tick == 1 and type == 'citizen'")
    assert set(agents[agents.age < 30].votes > 0) == {True}


@pytest.mark.parametrize(("shards", "order"), [(2, 1), (5, 2)])
def test_invariant_1_any_number_of_shards_and_order_of_answers(tmp_path, whole, monkeypatch, shards, order) -> None:
    wrap_gateways(monkeypatch, lambda gateway: Shuffled(gateway, order))
    same_run(go(tmp_path, shards=shards, **TOGETHER), whole[0])
    same_tables(tmp_path, whole[1])
    columns = ["tick", "nth", "purpose", "key", "stands_for"]
    assert shared(tmp_path)[columns].equals(shared(whole[1])[columns])


@pytest.mark.parametrize(("stop_at", "before", "after"), [(1, 1, 3), (3, 3, 2)])
def test_invariant_2_ended_and_resumed_nothing_is_asked_twice(whole, asked, tmp_path, stop_at, before, after) -> None:
    assert go(tmp_path, stop_at=stop_at, shards=before, checkpoint__every_ticks=100, **TOGETHER) is None
    same_run(go(tmp_path, going=resume_course(tmp_path, shards=after)), whole[0])
    same_tables(tmp_path, whole[1])
    assert len(asked) == len(set(asked)) == whole[0]["asks"]["made"]


def test_invariants_3_and_4_replayed_and_forked(whole, asked, tmp_path) -> None:
    assert replay_run(replay_course(whole[1], shards=3), whole[1], tmp_path / "replay").diverged is None
    assert go(tmp_path / "same", going=fork_course(whole[1], 3))["trace_hashes"] == whole[0]["trace_hashes"]
    assert asked == []
    fork = go(tmp_path / "fork", going=fork_course(whole[1], 4, ["minds.citizen=model"]))
    assert fork["trace_hashes"][:4] == whole[0]["trace_hashes"][:4]
    assert {tick for _, tick, _ in asked} == {4, 5}
    assert set(shared(tmp_path / "fork").tick) == {0, 1, 2, 3}


def test_control_a_shard_that_asks_for_itself_asks_more(whole, monkeypatch, tmp_path) -> None:
    claim = Sharing.claim

    def each(self: Sharing, shard: int, claims: Any) -> Any:
        claim(self, shard, claims)
        return [(one.agent, one.nth) for one in claims]

    monkeypatch.setattr(Sharing, "claim", each)
    assert go(tmp_path, shards=3, **TOGETHER)["asks"]["made"] > whole[0]["asks"]["made"]


@pytest.mark.parametrize("what", ["identity", "draws", "counts"])
def test_control_names_draws_or_counts_by_the_order_are_another_run(whole, monkeypatch, tmp_path, what) -> None:
    seen: list[Any] = []
    claims = Archetypes.claims

    def numbered(*content: Any) -> tuple[int, int]:
        seen.append(content)
        return -2 - len(seen), 0

    def in_turn(chosen: Chosen, labels: Any, seed: int, ask: Ask) -> str:
        seen.append(ask)
        return str(labels[len(seen) % 3 > 0])

    if what == "identity":
        monkeypatch.setattr(archetypes, "identity", numbered)
    elif what == "draws":
        monkeypatch.setattr(archetypes, "own_label", in_turn)
    else:
        monkeypatch.setattr(Archetypes, "claims", lambda self: [replace(one, rows=1) for one in claims(self)])
    runs = []
    for shards in (1, 3):
        try:
            runs.append(go(tmp_path / str(shards), shards=shards, **TOGETHER)["trace_hashes"])
        except (PopulaceError, AssertionError):
            runs.append([])
    assert runs[0] != runs[1] or runs[0] != whole[0]["trace_hashes"]


def ask_of(agent: int, again: int = 0) -> Ask:
    spec = compile_answer(Choice("yes", "no"))
    return Ask(agent, 4, 0, "vote", (("user", "vote?"),), spec, 9, 0.0, b"k" * 16, "", "", again)


def turn_of(agent: int) -> Turn:
    return Turn(mixed.Citizen(), agent, 4)


def test_who_comes_late_is_counted_and_answered_at_once_and_early_answers_are_kept() -> None:
    tick = Archetypes(7, 4, None)
    assert tick.join(turn_of(0), ask_of(0)) is None
    assert tick.join(turn_of(2), ask_of(2, again=1)) is None, "asked again it is another"
    claims = tick.claims()
    names = [(one.agent, one.nth) for one in claims]
    assert [one.rows for one in claims] == [1, 1]
    assert tick.claims() == []
    early = Answer(*names[1][:1], 4, names[1][1], "answered", '{"label":"no"}')
    assert tick.answer([early], heard=True) == ([], [])
    asks = tick.claimed([names[0]], names)
    assert [(one.agent, one.nth) for one in asks] == [names[0]]
    assert tick.claimed([names[0]], names) == [], "said twice"
    assert tick.elsewhere
    _, going = tick.answer(tick.take_early(), heard=True)
    assert [(turn.id, value.label) for turn, _, value in going] == [(2, "no")]
    assert not tick.elsewhere
    text = '{"label":"no","probabilities":{"yes":0.5,"no":0.5}}'
    known, going = tick.answer([Answer(*names[0][:1], 4, names[0][1], "answered", text)], heard=False)
    assert [answer.text for answer, _ in known] == [text]
    assert tick.waiting == 0
    labels = {tick.join(turn_of(agent), ask_of(agent))[1].label for agent in range(3, 40)}  # type: ignore[index]
    assert labels == {"yes", "no"}
    assert [one.rows for one in tick.claims()] == [38]


def test_claims_on_their_way_together_are_each_settled_by_their_own_reply() -> None:
    tick = Archetypes(7, 4, None)
    tick.join(turn_of(0), ask_of(0))
    first = [(one.agent, one.nth) for one in tick.claims()]
    tick.join(turn_of(1), ask_of(1, again=1))
    second = [(one.agent, one.nth) for one in tick.claims()]
    assert len(tick.claimed([], first)) == 0
    assert len(tick.claimed(second, second)) == 1
    columns: Any = ColumnarTick.__new__(ColumnarTick)
    columns._unclaimed, columns._elsewhere, columns._own = {(-2, 0): "a", (-3, 0): "a"}, {}, {}
    columns.claimed([], [(-2, 0)])
    assert columns._unclaimed == {(-3, 0): "a"}


def test_a_part_asks_for_itself() -> None:
    from support.kernel_support import make_scope

    from populace.agents.context import Context, Draft
    from populace.core.errors import BadAsk

    with pytest.raises(BadAsk, match="a part asks for itself"):
        Context(-1, 0, make_scope(0), Draft()).ask("?", archetype=True)


@pytest.mark.ray
def test_invariant_1_on_ray(whole, ray_cluster, tmp_path) -> None:
    run = populace.run(MIXED, model="scripted", seed=7, ticks=6, shards=2, transport="ray", out=tmp_path / "run",
                       settings={"minds.citizen": "archetypes", "limits.failed_turns": 1.0}, quiet=True)  # fmt: skip
    same_run(run.manifest, whole[0])
