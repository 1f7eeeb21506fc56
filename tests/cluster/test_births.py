"""Agents who are born and leave: one run in every life, what becomes of their mail and timers, groups of levers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from support.attempts import go, same_tables
from support.running import run_local, settings_of

import populace
from populace.agents.context import Context
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.draws import Draws
from populace.core.errors import ActorLost, PopulaceError, ScenarioError, SettingsError
from populace.core.roster import Roster
from populace.data.societies import find_society
from populace.kernel.shard import Shard
from populace.kernel.snapshot import RunState
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.runs.replay import replay_run
from populace.store.tables.tables import read_table
from populace.testing import InvariantBroken, check_society

BIRTHS = str(Path(__file__).parent.parent / "support" / "births.py")
TICKS = 8
LEVERS = (
    "at=4, change={group={type='household', where={age={max=3}}}, fields={wealth=9.5}}",
    "at=3, until=7, block={sender={type='firm', share=0.6}}",
    "at=5, send={to={share=0.5}, body='lever'}",
    "at=2, change={group='all', fields={sold=40}}",
    "at=6, change={group=[4,5,6,0], each={sold=[1,2,3,4]}}",
    "at=6, block={sender=[4, 5], receiver={type='household'}}",
)


def hashes(manifest: dict[str, Any]) -> tuple[Any, ...]:
    return manifest["trace_hashes"], manifest["world_hashes"], manifest["messages"], manifest["actions"]


def rows(folder: Path, name: str) -> Any:
    return read_table(folder, name).to_pandas()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[dict[str, Any], Path]:
    """A run with births, exits and levers, on one shard."""
    out = tmp_path_factory.mktemp("births") / "whole"
    run = populace.run(BIRTHS, model="scripted", seed=7, levers=LEVERS, out=out, quiet=True)
    return run.manifest, out


@pytest.mark.parametrize("levers", [(), LEVERS])
def test_a_society_with_births_and_exits_is_one_in_every_life(levers) -> None:
    found = check_society(BIRTHS, levers=levers, seed=1)
    assert found.asks > 50


def test_agents_are_born_and_leave(whole) -> None:
    """Or the tests of this file would show nothing."""
    manifest, out = whole
    turnover = rows(out, "turnover")
    assert set(zip(turnover.type, turnover.what, strict=True)) == {
        ("firm", "born"), ("firm", "left"), ("household", "born"), ("household", "left")
    }  # fmt: skip
    assert (manifest["born"], manifest["left"]) == tuple((turnover.what == what).sum() for what in ("born", "left"))


def test_newborns_follow_all_others_and_no_id_comes_again(whole) -> None:
    _, out = whole
    turnover = rows(out, "turnover")
    born = turnover[turnover.what == "born"]
    assert born.agent.tolist() == list(range(15, 15 + len(born)))
    left = turnover[turnover.what == "left"]
    assert left.agent.is_unique
    until = dict(zip(left.agent, left.tick, strict=True))
    since = dict(zip(born.agent, born.tick, strict=True))
    for name, who, when in (
        ("asks", "agent", "tick"),
        ("actions", "agent", "tick"),
        ("messages", "sender", "tick_sent"),
    ):
        table = rows(out, name)
        table = table[table[who] >= 0]
        assert all(
            since.get(one, 0) <= at < until.get(one, 99) for one, at in zip(table[who], table[when], strict=True)
        )
    changed = rows(out, "agents")
    assert set(born.agent) <= set(changed.agent)
    assert changed[changed.agent.isin(born.agent)].groupby("agent").tick.min().to_dict() == since


def test_mail_to_one_who_left_is_refused_with_that_reason(whole) -> None:
    manifest, out = whole
    turnover, messages = rows(out, "turnover"), rows(out, "messages")
    left = turnover[turnover.what == "left"]
    until = dict(zip(left.agent, left.tick, strict=True))
    refused = messages[messages.fate == "refused:retired"]
    assert len(refused) == manifest["messages"]["refused_by_reason"]["retired"] > 10
    assert all(sent + 1 >= until[one] for one, sent in zip(refused.receiver, refused.tick_sent, strict=True))
    read = messages[messages.fate == "delivered"]
    assert all(at < until.get(one, 99) for one, at in zip(read.receiver, read.tick_read, strict=True))
    welcome = messages[messages.body.str.contains("welcome")]
    assert set(welcome.fate) <= {"delivered", "expired", "refused:retired"}
    assert "delivered" in set(welcome.fate)


@pytest.mark.parametrize(
    ("stop_at", "shards"), [(1, (1, 3)), (2, (3, 2)), (3, (2, 5)), (4, (3, 1)), (5, (1, 3)), (6, (5, 2)), (7, (2, 3))]
)
def test_ended_at_any_tick_and_resumed_on_other_shards(whole, stop_at, shards, tmp_path: Path) -> None:
    manifest, out = whole
    before, after = shards
    levers = manifest["settings"]["levers"]
    options = {"scenario": BIRTHS, "ticks": TICKS, "levers": levers, "shards": before, "checkpoint__every_ticks": 2}
    assert go(tmp_path, stop_at=stop_at, **options) is None
    assert hashes(go(tmp_path, going=resume_course(tmp_path, shards=after))) == hashes(manifest)
    same_tables(tmp_path, out)
    assert rows(tmp_path, "turnover").equals(rows(out, "turnover"))


def resumed(tmp_path: Path) -> dict[str, Any]:
    assert go(tmp_path / "run", stop_at=4, scenario=BIRTHS, ticks=TICKS, shards=2) is None
    found: dict[str, Any] = go(tmp_path / "run", going=resume_course(tmp_path / "run", shards=3))
    return found


def test_control_a_birth_that_is_lost_at_resume_is_another_run(monkeypatch, tmp_path: Path) -> None:
    undisturbed = run_local(tmp_path / "one", BIRTHS)
    assert hashes(resumed(tmp_path / "a")) == hashes(undisturbed)
    monkeypatch.setattr(RunState, "edge", property(lambda _: b""))
    with pytest.raises((PopulaceError, KeyError, AssertionError)):
        assert hashes(resumed(tmp_path / "b")) == hashes(undisturbed)


def test_control_who_left_is_forgotten_at_resume(monkeypatch, tmp_path: Path) -> None:
    undisturbed = run_local(tmp_path / "one", BIRTHS)
    restore = Roster.restore
    none = np.empty(0, np.int32)
    monkeypatch.setattr(Roster, "restore", lambda self, state: restore(
        self, state if state is None else {**state, "gone": none, "left": none}
    ))  # fmt: skip
    with pytest.raises((PopulaceError, AssertionError)):
        assert hashes(resumed(tmp_path)) == hashes(undisturbed)


def test_control_a_newborn_who_draws_by_its_place_on_the_shard_is_another_on_others(monkeypatch) -> None:
    monkeypatch.setattr(Context, "draw", property(
        lambda self: Draws(self._scope.seed, self.id if self.id < 15 else self._scope.population, self.tick)
    ))  # fmt: skip
    check_society(BIRTHS, seed=1)  # by what is the same on any shards: all newborns alike, and still one run
    places = Shard._pass_edge

    def passing(self: Shard, tick: int, edge: Any) -> None:
        places(self, tick, edge)
        self._scope = replace(self._scope, population=len(self.agents))

    monkeypatch.setattr(Shard, "_pass_edge", passing)
    with pytest.raises(InvariantBroken, match="shards"):
        check_society(BIRTHS, seed=1)


def test_control_ids_that_each_shard_gives_by_itself_are_others(monkeypatch) -> None:
    passing = Shard._pass_edge

    def other(self: Shard, tick: int, edge: Any) -> Any:
        return passing(self, tick, replace(edge, born=edge.born[::-1]) if self.plan.index else edge)

    monkeypatch.setattr(Shard, "_pass_edge", other)
    with pytest.raises((InvariantBroken, PopulaceError, KeyError)):
        check_society(BIRTHS, seed=1)


def test_replay_has_births_and_exits_with_no_call(whole, tmp_path: Path) -> None:
    _, out = whole
    again = replay_run(replay_course(out), out, tmp_path / "replay")
    assert again.ticks == again.recorded
    assert rows(tmp_path / "replay", "turnover").equals(rows(out, "turnover"))


def test_a_fork_with_a_lever_is_the_same_up_to_it(whole, tmp_path: Path) -> None:
    manifest, out = whole
    same = go(tmp_path / "same", going=fork_course(out, 4, [], []))
    assert hashes(same) == hashes(manifest)
    assert same["calls_billed"] == 0
    levers = ["change={group={type='household'}, fields={wealth=1.0}}"]
    fork = go(tmp_path / "fork", going=fork_course(out, 4, [], levers))
    assert fork["trace_hashes"][:4] == manifest["trace_hashes"][:4]
    assert fork["trace_hashes"][4:] != manifest["trace_hashes"][4:]
    one, other = rows(out, "turnover"), rows(tmp_path / "fork", "turnover")
    assert one[one.tick <= 4].equals(other[other.tick <= 4])
    assert len(other[(other.tick == 5) & (other.what == "left") & (other.type == "household")]) > 5


def test_groups_are_fixed_at_their_levers_tick(whole) -> None:
    """Of those who live then, newborns among them; by what each was as it began."""
    _, out = whole
    turnover, levers = rows(out, "turnover"), rows(out, "levers")
    born = turnover[(turnover.what == "born") & (turnover.type == "household")]
    left = turnover[turnover.what == "left"]

    def living(tick: int) -> set[int]:
        return (set(range(3, 15)) | set(born[born.tick <= tick].agent)) - set(left[left.tick <= tick].agent)

    young = {one for one in range(3, 15) if (one - 3) % 7 <= 3} | set(born.agent)  # a newborn's age is 0
    touched = set(levers[levers.lever == "levers[0]"].agent)
    assert touched == young & living(4)
    assert touched & set(born.agent)
    assert set(levers[levers.lever == "levers[2]"].agent) <= living(5) | set(range(3)) | set(
        turnover[(turnover.what == "born") & (turnover.type == "firm")].agent
    )


class Losing(LocalTransport):
    """Loses its first shard once, as a tick is opened."""

    lost = False

    async def open_tick(self, shard: int, tick: int, envelope: Any) -> Any:
        if (shard, tick, self.lost) == (0, 5, False):
            self.lost = True
            raise ActorLost(["shard 0"], "shard 0 is lost")
        return await super().open_tick(shard, tick, envelope)


def test_a_run_that_goes_back_after_a_loss_is_the_same(whole, tmp_path: Path) -> None:
    manifest, _ = whole
    transport = Losing()
    settings = settings_of(ticks=TICKS, shards=3, levers=manifest["settings"]["levers"], checkpoint__every_ticks=3)
    found = asyncio.run(Coordinator(find_society(BIRTHS), settings, transport, tmp_path).run())
    assert transport.lost
    assert hashes(found) == hashes(manifest)


EVERYBODY_LEAVES = """
from populace import Agent, OnMail, Population, Public, Society, World
from populace.env import Part

class One(Agent):
    turns: Public[int] = 0

    async def turn(self, ctx):
        self.turns += 1
        ctx.wake_at(ctx.tick + 3)

class Fate(Part):
    def advance(self, tick):
        if tick == 1:
            self.world.retire(self.world.ids())
        if tick == 4:
            return [(int(one), "welcome") for one in self.world.spawn("agent", n=2)]

society = Society(name="fate", agent=One, population=lambda setup: Population({"turns": [0] * setup.agents}),
                  world=lambda setup, people: World(Fate()), activation=OnMail(), size=4, ticks=9,
                  outcomes={"living": lambda world: len(world.columns["turns"])})
"""


def test_everybody_may_leave_with_their_timers_and_others_come(tmp_path: Path) -> None:
    (tmp_path / "fate.py").write_text(EVERYBODY_LEAVES, encoding="utf-8")
    check_society(tmp_path / "fate.py")
    run = populace.run(tmp_path / "fate.py", model="scripted", out=tmp_path / "run", quiet=True)
    assert run.outcomes.living.tolist() == [4, 4, 0, 0, 0, 2, 2, 2, 2, 2]
    assert run.manifest["turns"] == 4 + 2 + 2, "the first in tick 0, newborns as they are welcomed and as they wake"
    panel = run.panel("turns")
    assert panel.notna().sum(axis=1).tolist() == run.outcomes.living.tolist()
    assert panel[5].dropna().tolist() == [0, 1, 1, 1, 2]


def test_control_timers_that_are_kept_would_be_seen(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "fate.py").write_text(EVERYBODY_LEAVES, encoding="utf-8")
    monkeypatch.setattr(Roster, "anyone_left", property(lambda _: False))
    with pytest.raises((PopulaceError, AttributeError)):
        populace.run(tmp_path / "fate.py", model="scripted", out=tmp_path / "run", quiet=True)


TABLE = """
from populace import Agent, Population, Public, Society, World
from populace.env import Part

class Table(Part):
    def open(self, opening):
        self.words = 0

    def groups(self, tick):  # of all that ever were, those who left too
        ids = list(range(self.world.agents))
        self.world.draw("seats").shuffle(ids)
        return {f"table {at // 4}": ids[at : at + 4] for at in range(0, len(ids), 4)}

    def round(self, now):
        return {agent: sorted(now.said.values()) for agent in now.said}

    def rounds_ended(self, tick, exchanges):
        for one in exchanges:
            self.words += sum(len(said) for said in one.said)
            if tick in (1, 3):
                self.world.spawn("agent", {"met": [len(one.said)]})
        ids = self.world.ids()
        self.world.retire(ids[self.world.draw.column("table.leave", ids) < 0.2])

    def state(self):
        return {"words": self.words}

    def restore(self, state):
        self.words = state["words"]

class Friend(Agent):
    met: Public[int] = 0

    async def turn(self, ctx):
        for _ in range(3):
            said = await ctx.ask(f"{self.met}?", purpose="talk")
            heard = await ctx.round("table", f"{ctx.id}: {said}"[:9])
            self.met += len(heard)

society = Society(name="table", agent=Friend, population=lambda setup: Population({"met": [0] * setup.agents}),
                  world=lambda setup, people: World(Table()), outcomes={"words": lambda world: world.table.words},
                  size=10, ticks=6)
"""


def test_who_has_left_is_waited_for_in_no_round(tmp_path: Path) -> None:
    (tmp_path / "table.py").write_text(TABLE, encoding="utf-8")
    assert check_society(tmp_path / "table.py").asks > 60
    run = populace.run(tmp_path / "table.py", model="scripted", out=tmp_path / "run", quiet=True)
    assert set(run.table("turnover").what) == {"born", "left"}
    assert run.manifest["turns_failed"] == 0


@pytest.mark.ray
def test_births_and_exits_on_ray(whole, tmp_path: Path) -> None:
    manifest, _ = whole
    run = populace.run(BIRTHS, model="scripted", seed=7, levers=LEVERS, shards=2, transport="ray",
                       out=tmp_path / "ray", quiet=True)  # fmt: skip
    assert hashes(run.manifest) == hashes(manifest)


def test_panels_are_of_those_who_live_and_have_the_field(whole) -> None:
    _, out = whole
    run = populace.load(out)
    turnover = run.table("turnover")
    prices, sold = run.panel("price"), run.panel("sold")
    assert prices.columns.names == ["type", "agent"]
    assert set(prices.columns.get_level_values("type")) == {"firm"}
    assert set(sold.columns.get_level_values("type")) == {"firm", "household"}
    assert run.panel("sold", type="firm").columns.tolist() == prices["firm"].columns.tolist()
    born = dict(zip(*turnover[turnover.what == "born"][["agent", "tick"]].to_numpy().T, strict=True))
    left = dict(zip(*turnover[turnover.what == "left"][["agent", "tick"]].to_numpy().T, strict=True))
    for (_, agent), column in sold.items():
        lives = (column.index >= born.get(agent, 0)) & (column.index < left.get(agent, 99))
        assert column.notna().tolist() == lives.tolist()
    count = sold["household"].notna().sum(axis=1)
    assert count.tolist() == run.outcomes.households.tolist()
    assert np.allclose(run.panel("price").mean(axis=1), run.outcomes.price)
    asks = run.table("asks")
    assert asks.columns[:3].tolist() == ["tick", "agent", "type"]
    assert set(asks.type) == {"household"}, "firms ask nothing"
    assert set(run.table("actions", "arrow").column("type").to_pylist()) == {"firm", "household"}
    with pytest.raises(SettingsError, match=r"no agents of type 'bank' have the field 'sold'\. Types that have it"):
        run.panel("sold", type="bank")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ('{"welth": args["wealth"]}', r"spawn: 'welth' is no field of Household; the nearest is 'wealth'"),
        (
            '{"wealth": args["wealth"], "trade": 3}',
            r"Household: spawn: agent 15 does not fit: Expected `str`, got `int`",
        ),
        ('{"trade": "a"}', r"Household: spawn: agent 15 does not fit: .*missing required field `wealth`"),
    ],
)
def test_newborns_who_cannot_be_are_named(row: str, says: str, tmp_path: Path) -> None:
    text = Path(BIRTHS).read_text(encoding="utf-8")
    begin, end = text.index('row = {"wealth"'), text.index("(born,) =")
    (tmp_path / "bad.py").write_text(f"{text[:begin]}row = {row}\n            {text[end:]}", encoding="utf-8")
    with pytest.raises(ScenarioError, match=rf"action 'registry.child', agent \d+: {says}"):
        populace.run(tmp_path / "bad.py", model="scripted", out=tmp_path / "run", quiet=True)
