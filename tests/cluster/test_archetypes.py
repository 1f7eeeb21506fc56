"""Columnar agents that ask by archetype: the invariants of a run hold for it, each with a control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import voters
from support.attempts import go, same_tables
from support.killing import armed_scenario, set_trap
from support.running import Shuffled, run_local, wrap_gateways

import populace
from populace.agents import archetypes
from populace.core.errors import PopulaceError, ScenarioError
from populace.kernel.sharing import Sharing
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.runs.replay import replay_run
from populace.store.tables.tables import read_table
from populace.testing import FakeEndpoint, InvariantBroken, check_society

VOTERS = str(voters.__file__)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("voters") / "whole"
    return run_local(out, VOTERS), out


def same_run(manifest: dict[str, Any], whole: dict[str, Any]) -> None:
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    assert manifest["world_hashes"] == whole["world_hashes"]
    for key in ("messages", "asks", "turns", "calls_billed", "tokens_in", "tokens_out"):
        assert manifest[key] == whole[key], key


def shared(out: Path) -> Any:
    asks = read_table(out, "asks").to_pandas()
    return asks[asks.for_type.notna()]


@pytest.mark.parametrize(("shards", "order"), [(2, 1), (5, 2)])
def test_any_number_of_shards_and_order_of_answers_give_one_run(tmp_path, whole, monkeypatch, shards, order) -> None:
    wrap_gateways(monkeypatch, lambda gateway: Shuffled(gateway, order))
    same_run(run_local(tmp_path, VOTERS, shards=shards), whole[0])
    same_tables(tmp_path, whole[1])
    rows = shared(tmp_path)
    assert rows[["tick", "nth", "purpose", "key", "stands_for"]].equals(
        shared(whole[1])[["tick", "nth", "purpose", "key", "stands_for"]]
    )


def test_an_archetype_is_asked_once_and_counted(whole) -> None:
    manifest, out = whole
    rows = shared(out)
    assert set(rows.agent) == {-1}
    assert set(rows.for_type) == {"voter"}
    purposes = manifest["asks"]["by_purpose"]
    assert len(rows) == purposes["vote"]["asks"] + purposes["give"]["asks"] > 40
    first = rows[(rows.purpose == "vote") & rows.facts.notna()].drop_duplicates(["tick", "prompt"])
    assert first.groupby("tick").stands_for.sum().min() > 15, "each stands for many"
    assert len(rows[rows.purpose == "vote"]) < first.stands_for.sum() / 2
    assert purposes["vote"]["abstained"]["refusal"] > 0
    agents = read_table(out, "agents").to_pandas()
    assert agents.silent.max() > 0
    named = read_table(out, "asks").to_pandas()
    assert not named.duplicated(["tick", "agent", "nth"]).any(), "beside the board's own asks"


def test_rows_of_an_archetype_draw_for_themselves(whole) -> None:
    """Of those who are offered 0.7, some vote and some do not, and about that share does."""
    agents = read_table(whole[1], "agents").to_pandas()
    old = agents[(agents.age >= 60) & (agents.tick == agents.tick.max())]
    assert 0 < (old.votes == 0).sum() + (old.votes == 1).sum() < len(old)


def test_check_society_with_every_invariant() -> None:
    found = check_society(VOTERS, seed=3)
    assert found.asks > 60


@pytest.mark.parametrize(("stop_at", "before", "after"), [(1, 1, 3), (2, 3, 2), (4, 2, 5)])
def test_ended_and_resumed_on_other_shards_nothing_is_asked_twice(
    whole, asked, tmp_path, stop_at, before, after
) -> None:
    options = {"scenario": VOTERS, "ticks": 6, "shards": before, "checkpoint__every_ticks": 100}
    assert go(tmp_path, stop_at=stop_at, **options) is None
    same_run(go(tmp_path, going=resume_course(tmp_path, shards=after)), whole[0])
    same_tables(tmp_path, whole[1])
    assert len(asked) == len(set(asked)) == whole[0]["asks"]["made"]


def test_replay_calls_nobody_and_a_fork_pays_for_what_changed(whole, asked, tmp_path) -> None:
    again = replay_run(replay_course(whole[1], shards=3), whole[1], tmp_path / "replay")
    assert again.diverged is None
    same = go(tmp_path / "same", going=fork_course(whole[1], 3))
    assert same["trace_hashes"] == whole[0]["trace_hashes"]
    assert asked == []
    fork = go(tmp_path / "fork", going=fork_course(whole[1], 5, ["society.tone=warm"]))
    assert fork["trace_hashes"][:5] == whole[0]["trace_hashes"][:5]
    assert {tick for _, tick, _ in asked} == {5}
    keys = set(shared(whole[1]).key)
    new = [key for key in shared(tmp_path / "fork").key if key not in keys]
    assert len([one for one in asked if one[0] < -1]) == len(new)


def test_a_replay_of_other_code_names_who_asked(tmp_path) -> None:
    scenario = tmp_path / "mine.py"
    source = Path(VOTERS).read_text()
    scenario.write_text(source)
    run_local(tmp_path / "run", str(scenario), ticks=3)
    scenario.write_text(source.replace("A {mood} voter", "The {mood} voter"))
    replayed = replay_run(replay_course(tmp_path / "run"), tmp_path / "run", tmp_path / "again")
    assert replayed.diverged is not None
    assert "of agents together in tick 0 (give)" in replayed.why


def test_control_a_shard_that_asks_for_itself_asks_more(whole, monkeypatch, tmp_path) -> None:
    def each(self: Sharing, shard: int, claims: Any) -> Any:
        claim(self, shard, claims)
        return [(one.agent, one.nth) for one in claims]

    claim = Sharing.claim
    monkeypatch.setattr(Sharing, "claim", each)
    manifest = run_local(tmp_path, VOTERS, shards=3)
    assert manifest["asks"]["made"] > whole[0]["asks"]["made"]


@pytest.mark.parametrize("what", ["identity", "draws"])
def test_control_asks_or_draws_by_the_place_are_another_run_on_other_shards(monkeypatch, what) -> None:
    real = archetypes.words
    if what == "draws":
        monkeypatch.setattr(archetypes, "words", lambda seed, tick, purpose, ids: real(seed, tick, purpose, ids * 0))
        rows = archetypes.ArchetypeAsk._words
        monkeypatch.setattr(archetypes.ArchetypeAsk, "_words", lambda self, at: rows(self, at) * (at + 1).astype("u8"))
    else:
        seen: list[Any] = []

        def numbered(*content: Any) -> tuple[int, int]:
            seen.append(content)
            return -2, len(seen)

        monkeypatch.setattr(archetypes, "identity", numbered)
    with pytest.raises((InvariantBroken, PopulaceError, AssertionError)):
        check_society(VOTERS, seed=3)


def test_an_answer_that_changes_no_field_is_in_the_trace(whole, tmp_path) -> None:
    scenario = tmp_path / "mine.py"
    scenario.write_text(Path(VOTERS).read_text().replace("draw.bernoulli(0.5))", "draw.bernoulli(0.4))"))
    other = run_local(tmp_path / "run", str(scenario))
    same = (read_table(out, "agents").to_pandas() for out in (tmp_path / "run", whole[1]))
    assert next(same).equals(next(same))
    assert other["trace_hashes"] != whole[0]["trace_hashes"]


def test_rules_answer_archetypes(tmp_path) -> None:
    rules = (
        "rules={'vote': lambda facts, draw: Chosen('yes', {'yes': 0.5, 'no': 0.5}) if facts['heard'] else 'no',\n"
        "           'give': lambda facts, draw: Plan(facts['votes'] / 8, True), 'write': lambda facts, draw: 'x',\n"
        "           'board': lambda facts, draw: 'fine'},"
    )
    scenario = tmp_path / "mine.py"
    scenario.write_text(Path(VOTERS).read_text().replace("scripted=scripted,", rules))
    here = run_local(tmp_path / "one", str(scenario), model__kind="rules")
    same_run(run_local(tmp_path / "three", str(scenario), model__kind="rules", shards=3), here)
    assert read_table(tmp_path / "one", "agents").to_pandas().votes.max() > 0


def test_a_ceiling_ends_the_run_and_it_goes_on(tmp_path) -> None:
    """Over HTTP, with probabilities from nobody: a label is shared, and what was answered is not paid for again."""
    with FakeEndpoint() as endpoint:
        options = {
            "model__kind": "openai",
            "model__max_tokens": 20,
            **{key.replace(".", "__"): one for key, one in endpoint.settings.items()},
        }
        undisturbed = run_local(tmp_path / "whole", VOTERS, shards=3, **options)
        calls = endpoint.billed.calls
        assert calls == undisturbed["calls_billed"] == undisturbed["asks"]["made"]
        most = (undisturbed["tokens_in"] + undisturbed["tokens_out"]) // 2
        with pytest.raises(PopulaceError, match=r"budget\.tokens"):
            run_local(tmp_path / "run", VOTERS, shards=2, budget__tokens=most, **options)
        going = resume_course(tmp_path / "run", ["budget.tokens=10000000"], shards=3)
        same_run(go(tmp_path / "run", going=going), undisturbed)
        assert endpoint.billed.calls == 2 * calls


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ("who=yes, purpose", "most=1, who=yes, purpose", r"voters.*: ctx.ask: agents of 'voter' have more than 1"),
        ("plan = await ctx.ask(", "ctx.ask(", r"mine\.py:\d+ in turns: tick 0, Voter.turns: .*plan"),
        ("        again = await", "        ctx.ask('?')\n        again = await", "ctx.ask.* was never awaited"),
        ("yes = vote", "import asyncio; await asyncio.sleep(0); yes = vote", "may await ctx.ask.* only, .* a NoneType"),
        ("self.age // 20,", "self.age[:2],", "the fact band has 2 values for"),
        ('chose("yes")', 'chose("maybe")', "the labels are yes, no"),
        ("ctx.ids % 3 == 0", "[1, 1]", "an agent asks once in a call"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, was, now, message) -> None:
    source = Path(VOTERS).read_text()
    assert was in source
    scenario = tmp_path / "mine_voters.py" if "voters" in message else tmp_path / "mine.py"
    scenario.write_text(source.replace(was, now, 1))
    with pytest.raises(ScenarioError, match=message):
        run_local(tmp_path / "run", str(scenario))


def test_too_many_archetypes_are_found_out_on_any_number_of_shards(tmp_path) -> None:
    scenario = tmp_path / "mine.py"
    source = Path(VOTERS).read_text()
    for most, wrong in ((4, True), (60, False)):
        scenario.write_text(source.replace("who=yes, purpose", f"most={most}, who=yes, purpose"))
        for shards in (1, 5):
            if not wrong:
                run_local(tmp_path / f"run{most}{shards}", str(scenario), shards=shards)
                continue
            with pytest.raises(ScenarioError, match="have more than 4 different sets of facts for 'give'"):
                run_local(tmp_path / f"run{most}{shards}", str(scenario), shards=shards)


@pytest.mark.ray
def test_a_shard_of_columnar_agents_killed_on_ray_comes_to_the_same_end(whole, ray_cluster, tmp_path) -> None:
    """SIGKILL of a shard's process, in a run with births and exits: as its answers are put on record."""
    scenario = armed_scenario(tmp_path / "armed", "voters")
    set_trap(tmp_path / "armed", "committed", 9)
    run = populace.run(scenario, model="scripted", seed=7, shards=2, transport="ray", out=tmp_path / "run",
                       settings={"checkpoint.every_ticks": 2}, quiet=True)  # fmt: skip
    assert (tmp_path / "armed" / "committed.done").exists(), "nobody was killed"
    assert run.manifest["born"] == 6
    assert run.manifest["left"] == 2
    same_run(run.manifest, whole[0])
    same_tables(tmp_path / "run", whole[1])
