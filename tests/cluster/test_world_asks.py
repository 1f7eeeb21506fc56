"""What parts of the world ask as a tick ends: the invariants of a run hold for it, each with a control."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import moderated
from support.attempts import Counting, Stopper, go, go_until, same_tables
from support.command import populace
from support.killing import armed_scenario, set_trap
from support.running import Shuffled, run_local, settings_of, wrap_gateways

from populace.cluster import world_host
from populace.cluster.coordinator import Coordinator
from populace.core.draws import WORLD
from populace.core.errors import Interrupted, ScenarioError
from populace.data.societies import find_society
from populace.kernel import consulting
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.runs.replay import replay_run
from populace.store.journal.index import JournalIndex
from populace.store.manifest import read_manifest
from populace.store.tables.tables import read_table

MODERATED = str(moderated.__file__)
TICKS = 6


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return run_local(out, MODERATED), out


def same_run(manifest: dict[str, Any], whole: dict[str, Any]) -> None:
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    assert manifest["world_hashes"] == whole["world_hashes"]
    for key in ("messages", "asks", "actions", "turns", "calls_billed", "tokens_in", "tokens_out"):
        assert manifest[key] == whole[key], key


def of_world(asked: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    return [one for one in asked if one[0] == WORLD]


@pytest.mark.parametrize("shards", [2, 5])
def test_any_number_of_shards_gives_one_trace(tmp_path, whole, shards):
    same_run(run_local(tmp_path, MODERATED, shards=shards), whole[0])
    same_tables(tmp_path, whole[1])


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.integers(0, 2**32), shards=st.sampled_from([1, 2, 5]))
def test_any_order_of_answers_gives_one_trace(tmp_path_factory, whole, order, shards):
    with pytest.MonkeyPatch.context() as patch:
        wrap_gateways(patch, lambda gateway: Shuffled(gateway, order))
        manifest = run_local(tmp_path_factory.mktemp("shuffled"), MODERATED, shards=shards)
    same_run(manifest, whole[0])


def test_control_answers_in_the_order_in_which_they_arrive_give_another_trace(tmp_path, whole, monkeypatch):
    real = consulting.Consulting.answer

    def careless(self, answers):
        for one in answers:
            self._came = [*getattr(self, "_came", []), one.nth]
        asks = self._open()
        if len(asks) > 1 and len(self._came) >= len(asks):
            came = self._came[-len(asks) :]
            self._awaited.asks = sorted(asks, key=lambda ask: came.index(ask.nth) if ask.nth in came else -1)
        return real(self, answers)

    monkeypatch.setattr(consulting.Consulting, "answer", careless)
    wrap_gateways(monkeypatch, lambda gateway: Shuffled(gateway, 3))
    assert run_local(tmp_path, MODERATED)["world_hashes"] != whole[0]["world_hashes"]


def test_what_the_world_asks_is_counted_and_stands_in_tables_with_agent_minus_1(whole):
    manifest, out = whole
    rows = [row for row in read_table(out, "asks").to_pylist() if row["agent"] == WORLD]
    purposes = manifest["asks"]["by_purpose"]
    assert {row["purpose"] for row in rows} == {"moderate", "appeal", "panel"}
    assert len(rows) == sum(purposes[one]["asks"] for one in ("moderate", "appeal", "panel")) > 60
    assert [(row["tick"], row["nth"]) for row in rows] == sorted((row["tick"], row["nth"]) for row in rows)
    assert purposes["moderate"]["abstained"]["refusal"] > 0
    assert all(row["facts"] for row in rows if row["purpose"] == "moderate")
    assert manifest["messages"]["sent"] > 0, "the moderator's own messages"


def test_a_moderator_puts_its_asks_all_at_once(tmp_path, monkeypatch):
    sizes = []

    class Sizes(Counting):
        def offer(self, asks, deliver) -> None:
            sizes.append((asks[0].purpose, len(asks)))
            self.inner.offer(asks, deliver)

    wrap_gateways(monkeypatch, lambda gateway: Sizes(gateway, []))
    run_local(tmp_path, MODERATED)
    assert sum(purpose == "moderate" for purpose, _ in sizes) == TICKS


def test_an_answer_that_only_the_world_has_seen_is_in_the_trace(tmp_path, whole):
    source = Path(MODERATED).read_text()
    scenario = tmp_path / "mine.py"
    scenario.write_text(source.replace("question {nth}", "Question {nth}"))
    other = run_local(tmp_path / "run", str(scenario))
    assert other["world_hashes"] == whole[0]["world_hashes"]
    assert other["trace_hashes"][0] != whole[0]["trace_hashes"][0]


@pytest.mark.parametrize(("shards", "later", "every"), [(1, 3, 1), (3, 1, 4), (2, 5, 100)])
def test_a_run_ended_amid_the_worlds_asks_goes_on_to_the_same_end(
    tmp_path, whole, asked, monkeypatch, shards, later, every
):
    def of(ask):
        return ask.agent == WORLD and (ask.tick, ask.purpose) == (3, "moderate")

    ended = go_until(tmp_path, MODERATED, of, 2, shards=shards, checkpoint__every_ticks=every)
    assert ended["ticks"] == 3
    on_record = of_world(asked)
    assert {tick for _, tick, _ in on_record} == {0, 1, 2, 3}
    assert ended["calls_billed"] == len(asked), "what was paid for in the tick that is not whole is counted"
    manifest = go(tmp_path, going=resume_course(tmp_path, shards=later))
    same_run(manifest, whole[0])
    same_tables(tmp_path, whole[1])
    assert len(asked) == len(set(asked)) == manifest["asks"]["made"]


def test_a_process_killed_amid_the_worlds_asks_is_gone_on_with(tmp_path, whole):
    scenario = armed_scenario(tmp_path / "armed", "moderated")
    set_trap(tmp_path / "armed", "committed", 7)  # of tick 1: the moderator's answers, which it has not seen
    out = tmp_path / "run"
    args = ("run", str(scenario), "--out", str(out), "--seed", "7", "--model", "scripted", "--quiet")
    assert populace(*args, cwd=tmp_path).returncode == -9
    manifest = go(out, going=resume_course(out, shards=3))
    same_run(manifest, whole[0])
    same_tables(out, whole[1])


def test_control_without_the_worlds_journal_its_answers_are_paid_for_twice(tmp_path, asked, monkeypatch):
    real = world_host.build_stack

    def forgetful(job, *rest):
        stack = real(job, *rest)
        if stack.journal is not None:
            stack.journal.close()
            stack.journal = None
        return stack

    monkeypatch.setattr(world_host, "build_stack", forgetful)
    assert go(tmp_path, stop_at=4, scenario=MODERATED, ticks=TICKS, checkpoint__every_ticks=100) is None
    shutil.rmtree(tmp_path / "checkpoints")
    go(tmp_path, going=resume_course(tmp_path))
    assert len(of_world(asked)) > len(set(of_world(asked)))


@pytest.mark.parametrize("shards", [1, 3])
def test_a_replay_gives_every_hash_and_calls_nobody(tmp_path, whole, asked, shards):
    replayed = replay_run(replay_course(whole[1], shards=shards), whole[1], tmp_path)
    assert replayed.diverged is None
    assert asked == []
    manifest = read_manifest(tmp_path)
    assert manifest["trace_hashes"] == whole[0]["trace_hashes"]
    assert manifest["world_hashes"] == whole[0]["world_hashes"]
    assert manifest["saved"]["calls"] == whole[0]["calls_billed"]


def test_a_replay_of_a_changed_part_names_what_the_world_asks_now(tmp_path):
    source = Path(MODERATED).read_text()
    scenario = tmp_path / "mine.py"
    scenario.write_text(source)
    go(tmp_path / "run", scenario=str(scenario), ticks=4)
    scenario.write_text(source.replace("question {nth}", "question {nth}{'?' * (ctx.tick > 1)}"))
    replayed = replay_run(replay_course(tmp_path / "run"), tmp_path / "run", tmp_path / "again")
    assert replayed.diverged is not None
    assert replayed.diverged.tick == 2
    assert "of the world in tick 2 (panel)" in replayed.why


def test_a_fork_without_a_lever_calls_nobody(tmp_path, whole, asked):
    manifest = go(tmp_path, going=fork_course(whole[1], 3))
    assert asked == []
    assert manifest["trace_hashes"] == whole[0]["trace_hashes"]
    assert manifest["saved"]["calls"] == whole[0]["calls_billed"]


def contents(out: Path) -> set[tuple[int, int, str]]:
    return {(row["agent"], row["tick"], row["key"]) for row in read_table(out, "asks").to_pylist()}


def test_a_fork_with_a_lever_pays_for_what_the_world_asks_anew_and_for_nothing_else(tmp_path, whole, asked):
    """Some posts are not judged any more: the other posts' asks have other numbers, and the answers of before."""
    manifest = go(tmp_path, going=fork_course(whole[1], 5, ["society.spared=8"]))
    assert manifest["trace_hashes"][:5] == whole[0]["trace_hashes"][:5]
    assert manifest["trace_hashes"][5] != whole[0]["trace_hashes"][5]
    rows = [row for row in read_table(tmp_path, "asks").to_pylist() if row["tick"] == 5]
    judged = [row for row in rows if row["purpose"] == "moderate"]
    assert judged
    assert {row["settled"] for row in judged} <= {"replayed", "abstained"}
    new = [row for row in rows if (row["agent"], row["tick"], row["key"]) not in contents(whole[1])]
    assert sorted(asked) == sorted((row["agent"], row["tick"], row["nth"]) for row in new)


def test_control_a_fork_that_finds_the_worlds_asks_by_their_numbers_pays_too_much(tmp_path, whole, asked, monkeypatch):
    monkeypatch.setattr(JournalIndex, "find_alike", lambda *_: None)
    go(tmp_path, going=fork_course(whole[1], 5, ["society.spared=8"]))
    assert any(tick < 5 for _, tick, _ in asked)


PANEL = 'said = await ctx.ask(f"{strikes} strikes, question {nth}", str, purpose="panel")'


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ("judged = [", "judged = 1 / 0 or [", r"'moderator', consult: ZeroDivisionError.*mine\.py:\d+ in consult"),
        (PANEL, "await ctx.ask('?', object())", r"'panel', consult: BadAsk"),
        (PANEL, "said = ''; ctx.ask('?')", r"'panel', consult .*2 ask\(s\) made and never awaited"),
        (PANEL, "await asyncio.sleep(0)", r"'panel', consult .*awaited something else, which yielded a NoneType"),
        (PANEL, "one = ctx.ask('?'); await ctx.ask_all([one, one])", r"'panel', consult .*each ask once"),
        ("async def consult(self, ctx: Consultation) -> None:\n",
         "def consult(self, ctx) -> None: return\n    async def other(self, ctx):\n",
         r"part 'panel', consult .*write it as `async def consult"),
        ("        return [(one, {", "        return [('all', {", r"'moderator', consult .*emits \(to_agent, body\)"),
    ],
)  # fmt: skip
def test_a_part_that_fails_as_it_asks_ends_the_run_and_is_named(tmp_path, was, now, message):
    source = Path(MODERATED).read_text()
    assert was in source
    scenario = tmp_path / "mine.py"
    scenario.write_text(source.replace(was, now).replace("from typing", "import asyncio\nfrom typing", 1))
    with pytest.raises(ScenarioError, match=message):
        run_local(tmp_path / "run", str(scenario))


@pytest.mark.parametrize("kind", ["rules", "scripted"])
def test_rules_and_the_placebo_answer_the_world(tmp_path, kind):
    source = Path(MODERATED).read_text()
    rules = (
        "rules={'moderate': lambda facts, draw: Verdict(len(facts['text']) % 2 == 0, 'length'),\n"
        "           'appeal': lambda facts, draw: 'no', 'panel': lambda facts, draw: 'fine',\n"
        "           'write': lambda facts, draw: 'x' * (1 + draw.integer(9))},"
    )
    scenario = tmp_path / "mine.py"
    scenario.write_text(source.replace("    scripted=scripted,\n", f"    {rules}\n"))
    here = run_local(tmp_path / "one", str(scenario), model__kind=kind)
    there = run_local(tmp_path / "three", str(scenario), model__kind=kind, shards=3)
    same_run(there, here)
    judged = [row for row in read_table(tmp_path / "one", "asks").to_pylist() if row["purpose"] == "moderate"]
    assert judged
    if kind == "rules":
        assert {row["answer"] for row in judged} == {
            '{"fit":true,"why":"length"}', '{"fit":false,"why":"length"}'
        }  # fmt: skip


@pytest.mark.ray
def test_the_world_asks_on_ray_as_in_one_process(tmp_path, ray_cluster, whole):
    from populace.cluster.ray import RayTransport

    options = settings_of(transport="ray", shards=2, checkpoint__every_ticks=2)
    stopper = Stopper(3)
    first = Coordinator(find_society(MODERATED), options, RayTransport(), tmp_path, [stopper])
    stopper.coordinator = first
    with pytest.raises(Interrupted):
        asyncio.run(first.run())
    going = resume_course(tmp_path, shards=3)
    manifest = asyncio.run(Coordinator(going.origin, going.settings, RayTransport(), tmp_path, [], going.course).run())
    same_run(manifest, whole[0])
    same_tables(tmp_path, whole[1])
    names = {path.name[:5] for path in (tmp_path / "journal").iterdir()}
    assert {"s0002", "s0003"} <= names, "the world's own journal, of two attempts"
