"""Rounds within a tick in whole runs: the invariants of a run hold for them, each with a control."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import conversing
from support.attempts import Stopper, go, go_until, same_tables
from support.command import populace
from support.killing import armed_scenario, set_trap
from support.running import Shuffled, run_local, settings_of, wrap_gateways

from populace.cluster.coordinator import Coordinator
from populace.core.errors import ConservationError, Interrupted, ScenarioError, SettingsError
from populace.data.societies import find_society
from populace.kernel import rounds as rounds_module
from populace.kernel.rounds import Rounds
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.runs.replay import replay_run
from populace.store.manifest import read_manifest
from populace.store.tables.tables import read_table

CONVERSING = str(conversing.__file__)
TICKS = 5


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return run_local(out, CONVERSING), out


def same_run(manifest: dict[str, Any], whole: dict[str, Any]) -> None:
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    assert manifest["world_hashes"] == whole["world_hashes"]
    for key in ("messages", "asks", "rounds", "turns", "turns_failed", "calls_billed", "tokens_in", "tokens_out"):
        assert manifest[key] == whole[key], key


def same_rounds(one: Path, other: Path) -> None:
    same_tables(one, other)
    assert read_table(one, "rounds").equals(read_table(other, "rounds"))


def test_the_society_of_these_tests_does_everything(whole):
    manifest, out = whole
    held = manifest["rounds"]
    assert held["held"] > 100
    assert held["contributions"] == held["heard"] + held["closed"] > 200
    assert {"limit", "farewell", "agreed", "no_group"} <= set(held["closed_by_reason"])
    assert manifest["turns_failed"] > 0
    assert manifest["asks"]["made"] > 50
    rows = read_table(out, "rounds").to_pylist()
    assert len(rows) == held["heard"]
    assert {row["part"] for row in rows} == {"talk", "bargain"}
    assert any(len(json.loads(row["heard"])) == 5 for row in rows if row["part"] == "talk"), "all four were there"
    assert len(read_table(out, "failures")) == manifest["turns_failed"]


@pytest.mark.parametrize(("shards", "live"), [(2, 10_000), (5, 10_000), (1, 1), (3, 2)])
def test_any_number_of_shards_and_of_live_turns_gives_one_trace(tmp_path, whole, shards, live):
    """Groups are larger than the window of live turns: who waits in a round takes no place in it."""
    same_run(run_local(tmp_path, CONVERSING, shards=shards, limits__live_turns=live), whole[0])
    same_rounds(tmp_path, whole[1])


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.integers(0, 2**32), shards=st.sampled_from([1, 2, 5]), live=st.sampled_from([1, 3, 10_000]))
def test_any_order_of_answers_gives_one_trace(tmp_path_factory, whole, order, shards, live):
    with pytest.MonkeyPatch.context() as patch:
        wrap_gateways(patch, lambda gateway: Shuffled(gateway, order))
        out = tmp_path_factory.mktemp("shuffled")
        manifest = run_local(out, CONVERSING, shards=shards, limits__live_turns=live)
    same_run(manifest, whole[0])


def shuffled(tmp_path: Path) -> set[str]:
    hashes = set()
    for order in range(3):
        with pytest.MonkeyPatch.context() as patch:
            wrap_gateways(patch, lambda gateway, order=order: Shuffled(gateway, order))
            hashes.add(run_local(tmp_path / str(order), CONVERSING, shards=2)["trace_hash"])
    return hashes


def test_control_contributions_in_the_order_of_arrival_give_another_trace(tmp_path, monkeypatch):
    monkeypatch.setattr(rounds_module, "sorted", lambda waiting, key=None: list(waiting), raising=False)
    assert len(shuffled(tmp_path)) > 1


def test_control_a_round_that_does_not_wait_for_a_member_gives_another_trace(tmp_path, monkeypatch):
    real = Rounds._end_round

    def hasty(self, group):
        there, group.present = group.present, set(group.waiting)
        real(self, group)
        group.present = there

    monkeypatch.setattr(Rounds, "_end_round", hasty)
    assert len(shuffled(tmp_path)) > 1


def test_control_a_contribution_that_is_not_counted_is_noticed(tmp_path, monkeypatch):
    real = Rounds._refuse

    def forgetful(self, *args):
        real(self, *args)
        self.counts.unheard.clear()

    monkeypatch.setattr(Rounds, "_refuse", forgetful)
    with pytest.raises(ConservationError, match="contributions to rounds were made"):
        run_local(tmp_path, CONVERSING)


def test_what_is_heard_stands_in_the_turns_digest(tmp_path, whole):
    """A part tells a member something else, and the member makes nothing of it."""
    source = Path(CONVERSING).read_text()
    scenario = tmp_path / "mine.py"
    scenario.write_text(source.replace("len(now.before)]", "7 + len(now.before)]"))
    other = run_local(tmp_path / "run", str(scenario))
    assert other["world_hashes"] == whole[0]["world_hashes"]
    assert other["trace_hashes"][0] != whole[0]["trace_hashes"][0]


@pytest.mark.parametrize(("shards", "later", "every"), [(1, 3, 1), (3, 1, 4), (2, 5, 100)])
def test_a_run_ended_amid_a_round_goes_on_to_the_same_end(tmp_path, whole, asked, shards, later, every):
    def of(ask):
        return ask.tick == 2

    ended = go_until(tmp_path, CONVERSING, of, 4, shards=shards, checkpoint__every_ticks=every)
    assert ended["ticks"] == 2
    assert ended["calls_billed"] == len(asked), "what was paid for in the tick that is not whole is counted"
    manifest = go(tmp_path, going=resume_course(tmp_path, shards=later))
    same_run(manifest, whole[0])
    same_rounds(tmp_path, whole[1])
    assert len(asked) == len(set(asked)) == manifest["asks"]["made"]


def test_a_process_killed_amid_a_round_is_gone_on_with(tmp_path, whole):
    scenario = armed_scenario(tmp_path / "armed", "conversing")
    set_trap(tmp_path / "armed", "committed", 9)
    out = tmp_path / "run"
    args = ("run", str(scenario), "--out", str(out), "--seed", "7", "--model", "scripted", "--quiet")
    done = populace(*args, "--set", "limits.failed_turns=1.0", "--set", "limits.live_turns=3", cwd=tmp_path)
    assert done.returncode == -9
    manifest = go(out, going=resume_course(out, shards=3))
    same_run(manifest, whole[0])
    same_rounds(out, whole[1])


@pytest.mark.parametrize("shards", [1, 3])
def test_a_replay_gives_every_hash_and_calls_nobody(tmp_path, whole, asked, shards):
    replayed = replay_run(replay_course(whole[1], shards=shards), whole[1], tmp_path)
    assert replayed.diverged is None
    assert asked == []
    manifest = read_manifest(tmp_path)
    assert manifest["trace_hashes"] == whole[0]["trace_hashes"]
    assert manifest["world_hashes"] == whole[0]["world_hashes"]
    assert manifest["rounds"] == whole[0]["rounds"]


def test_a_replay_of_a_changed_part_names_the_first_round_in_which_another_thing_is_heard(tmp_path):
    source = Path(CONVERSING).read_text()
    scenario = tmp_path / "mine.py"
    scenario.write_text(source)
    go(tmp_path / "run", scenario=str(scenario), ticks=3)
    scenario.write_text(source.replace("len(now.before)]", "7 * (self.world.tick > 1) + len(now.before)]"))
    replayed = replay_run(replay_course(tmp_path / "run"), tmp_path / "run", tmp_path / "again")
    assert replayed.diverged is not None
    assert replayed.diverged.tick == 2
    assert "first difference: round " in replayed.why
    assert " in tick 2 (bargain, group " in replayed.why
    recorded, now = re.findall(r"said (\S+), heard \[\S+?(\d+)\]", replayed.why)
    assert recorded[0] == now[0]
    assert int(now[1]) - int(recorded[1]) == 7


def test_a_fork_without_a_lever_calls_nobody(tmp_path, whole, asked):
    manifest = go(tmp_path, going=fork_course(whole[1], 3))
    assert asked == []
    assert manifest["trace_hashes"] == whole[0]["trace_hashes"]


def test_a_fork_with_a_lever_shares_its_past_and_pays_for_what_changed(tmp_path, whole, asked):
    manifest = go(tmp_path, going=fork_course(whole[1], 3, ["society.rounds=2"]))
    assert manifest["trace_hashes"][:3] == whole[0]["trace_hashes"][:3]
    assert manifest["trace_hashes"][3] != whole[0]["trace_hashes"][3]
    assert asked
    known = {(row["agent"], row["tick"], row["nth"]): row["key"] for row in read_table(whole[1], "asks").to_pylist()}
    for row in read_table(tmp_path, "asks").to_pylist():
        name = row["agent"], row["tick"], row["nth"]
        assert (name in asked) == (known.get(name) != row["key"])


def test_a_part_that_fails_in_a_round_ends_the_run_and_is_named(tmp_path):
    source = Path(CONVERSING).read_text()
    scenario = tmp_path / "mine.py"
    scenario.write_text(source.replace("low, high = sorted", "1 / 0; low, high = sorted"))
    with pytest.raises(ScenarioError, match=r"part 'bargain', round 0 of group '\d+-\d+': ZeroDivisionError.*mine\.py"):
        run_local(tmp_path / "run", str(scenario), shards=2)


def test_a_part_that_holds_no_rounds_is_named_in_the_turns_failure(tmp_path):
    source = Path(CONVERSING).read_text()
    scenario = tmp_path / "mine.py"
    scenario.write_text(source.replace('ctx.round("talk"', 'ctx.round("tulk"'))
    run_local(tmp_path / "run", str(scenario), ticks=1)
    (error, *_) = read_table(tmp_path / "run", "failures").to_pydict()["error"]
    assert "no part called 'tulk' holds rounds; these do: bargain, talk" in error


@pytest.mark.parametrize("group", [repr(2**64), repr("\ud800"), "True"])
def test_a_group_that_cannot_be_written_is_named_in_the_turns_failure(tmp_path, group):
    source = Path(CONVERSING).read_text()
    scenario = tmp_path / "mine.py"
    scenario.write_text(source.replace("self.price, group=group", f"self.price, group={group}"))
    run_local(tmp_path / "run", str(scenario), ticks=1, limits__failed_turns=1.0)
    errors = read_table(tmp_path / "run", "failures").to_pydict()["error"]
    assert any("ctx.round('bargain'): a group's name is a text" in error for error in errors)


GROWING = """
from populace import Abstained, Agent, Choice, Population, Public, Society, World
from populace.env import Part

class House(Part):
    rounds_per_tick = 2

    def groups(self, tick):
        return {"all": range(self.world.agents)}

    def round(self, now):
        return dict.fromkeys(now.said, sorted(now.said))

    def rounds_ended(self, tick, exchanges):
        for one in exchanges:
            if len(one.said) == 2 and tick > 1:
                self.world.retire(min(one.said[1]))

    async def consult(self, ctx):
        births = [ctx.ask(f"{n}, tick {ctx.tick}: a child?", Choice("yes", "no")) for n in range(3)]
        n = sum(answer == "yes" for answer in await ctx.ask_all(births))
        return [(int(one), "welcome") for one in self.world.spawn("agent", n=n)]

class Guest(Agent):
    met: Public[int] = 0

    async def turn(self, ctx):
        for _ in range(2):
            self.met += sum(await ctx.round("house", ctx.id))

society = Society(name="growing", agent=Guest, population=lambda setup: Population({"met": [0] * setup.agents}),
                  world=lambda setup, people: World(House()), size=5, ticks=6)
"""


def test_who_is_born_or_leaves_by_what_was_said_is_in_the_next_ticks_rounds(tmp_path):
    scenario = tmp_path / "growing.py"
    scenario.write_text(GROWING)
    one = run_local(tmp_path / "1", str(scenario))
    for shards in (2, 5):
        same_run(run_local(tmp_path / str(shards), str(scenario), shards=shards), one)
        same_rounds(tmp_path / "1", tmp_path / str(shards))
    rows = read_table(tmp_path / "1", "rounds").to_pylist()
    members = [{row["agent"] for row in rows if row["tick"] == tick} for tick in range(6)]
    assert members[0] == set(range(5))
    assert max(members[5]) > 8, "some were born"
    assert 0 not in members[3], "the first has left"


def test_the_worlds_actor_has_threads_and_no_loops():
    """With one async method Ray would let one shard at a time wait to hear, and the others for ever."""
    from populace.cluster.ray_actors import EnvironmentActor

    assert not [name for name, method in vars(EnvironmentActor).items() if inspect.iscoroutinefunction(method)]


@pytest.mark.ray
def test_rounds_are_held_on_ray_as_in_one_process(tmp_path, ray_cluster, whole):
    from populace.cluster.ray import RayTransport

    options = settings_of(transport="ray", shards=3, checkpoint__every_ticks=2)
    stopper = Stopper(3)
    first = Coordinator(find_society(CONVERSING), options, RayTransport(), tmp_path, [stopper])
    stopper.coordinator = first
    with pytest.raises(Interrupted):
        asyncio.run(first.run())
    going = resume_course(tmp_path, shards=2)
    manifest = asyncio.run(Coordinator(going.origin, going.settings, RayTransport(), tmp_path, [], going.course).run())
    same_run(manifest, whole[0])
    same_rounds(tmp_path, whole[1])


@pytest.mark.ray
def test_the_world_and_a_shard_that_are_lost_amid_rounds_are_made_anew(tmp_path, ray_cluster, whole):
    from populace.cluster.ray import RayTransport

    class Killing(RayTransport):
        killed = 0

        async def open_tick(self, shard, tick, envelope):
            if shard == 1 and tick == self.killed + 1 <= 2:
                victim = (self._environment, self._shards[0])[self.killed]
                asyncio.get_running_loop().call_later(0.1, ray_cluster.kill, victim)
                self.killed += 1
            return await super().open_tick(shard, tick, envelope)

    options = settings_of(transport="ray", shards=2, checkpoint__every_ticks=2, model__latency={"median_s": 0.05})
    manifest = asyncio.run(Coordinator(find_society(CONVERSING), options, Killing(), tmp_path).run())
    assert [lost.split(" was lost")[0] for lost in manifest["lost"]] == ["the world", "shard 0"]
    same_run(manifest, whole[0])
    same_rounds(tmp_path, whole[1])


CHOIR = """
from populace import Agent, Population, Public, Society, World
from populace.env import Part

class Choir(Part):
    rounds_per_tick = 2
    heeds_blocks = True

    def groups(self, tick):
        return {"all": range(self.world.agents)}

    def round(self, now):
        return {agent: sorted(now.reaching(agent)) for agent in now.said}

class Singer(Agent):
    heard: Public[str] = ""

    async def turn(self, ctx):
        for _ in range(2):
            self.heard = f"{ctx.tick}{await ctx.round('choir', ctx.id)}"

society = Society(name="choir", agent=Singer, population=lambda setup: Population({"heard": [""] * setup.agents}),
                  world=lambda setup, people: World(Choir()), size=4, ticks=4)
"""
BLOCK = {"at": 1, "until": 3, "block": {"sender": [2], "receiver": [0, 3]}}


def test_a_block_keeps_what_is_said_in_rounds_from_those_it_is_on(tmp_path):
    scenario = tmp_path / "choir.py"
    scenario.write_text(CHOIR)
    one = run_local(tmp_path / "1", str(scenario), levers=[BLOCK])
    same_run(run_local(tmp_path / "3", str(scenario), levers=[BLOCK], shards=3), one)
    agents = read_table(tmp_path / "1", "agents").to_pandas().set_index(["tick", "agent"]).heard
    free = ["[1, 2, 3]", "[0, 2, 3]", "[0, 1, 3]", "[0, 1, 2]"]
    for tick, others in enumerate((free, ["[1, 3]", *free[1:3], "[0, 1]"], ["[1, 3]", *free[1:3], "[0, 1]"], free)):
        assert [agents[tick + 1, agent] for agent in range(4)] == [f"{tick}{one}" for one in others]


def test_a_block_where_a_part_would_let_the_blocked_hear_is_refused_and_named(tmp_path):
    scenario = tmp_path / "choir.py"
    scenario.write_text(CHOIR.replace("    heeds_blocks = True\n", ""))
    with pytest.raises(SettingsError, match=r"lever 'levers\[0\]': block keeps mail back, and the part 'choir' holds"):
        run_local(tmp_path / "run", str(scenario), levers=[BLOCK])
    run_local(tmp_path / "other", str(scenario), levers=[{"at": 1, "send": {"to": [1], "body": 1}}])


LIBRARY = """
from populace import Agent, Population, Society, World
from populace.env.talk import Talk

class One(Agent):
    async def turn(self, ctx):
        ctx.send((ctx.id + 1) % 4, "hello")

society = Society(name="one", agent=One, population=lambda setup: Population.of_defaults(setup.agents),
                  world=lambda setup, people: World(Talk(by="acts")), size=4, ticks=3)
"""


def test_parts_of_the_library_say_whether_a_block_fits_them(tmp_path):
    """Talk by acts holds no rounds; in rounds it would let the blocked hear."""
    scenario = tmp_path / "one.py"
    scenario.write_text(LIBRARY)
    assert run_local(tmp_path / "acts", str(scenario), levers=[BLOCK])["messages"]["refused"]
    scenario.write_text(LIBRARY.replace('by="acts"', 'by="rounds"'))
    with pytest.raises(SettingsError, match="the part 'talk' holds rounds"):
        run_local(tmp_path / "rounds", str(scenario), levers=[BLOCK])
