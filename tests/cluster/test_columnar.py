"""Types of agents in columns: one run in every life, beside coroutine agents, and what breaks it found out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from support import wealth
from support.attempts import go, same_tables
from support.running import run_local

import populace
import populace.core.trace as trace_module
from populace import ColumnarAgent, EveryTick, Population, Public, Society
from populace.agents.columnar_context import ColumnarContext, ColumnStream, Letters
from populace.agents.context import Scope
from populace.core.errors import BadAction, PopulaceError, ScenarioError
from populace.core.roster import Roster
from populace.env.acts import Acting
from populace.kernel import columnar_tick
from populace.kernel.bus import Mail
from populace.kernel.column_turns import Type
from populace.kernel.columnar import ColumnarTypes
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.runs.replay import replay_run
from populace.store.tables.tables import read_table
from populace.testing import InvariantBroken, check_society

TRADERS = str(Path(__file__).parent.parent / "support" / "traders.py")
TICKS = 7
LEVERS = (
    "at=2, change={group={type='trader', share=0.5}, fields={wealth=9, mood=0.0}}",
    "at=3, until=5, block={sender={type='trader', share=0.5}, receiver={type='trader'}}",
    "at=4, send={to={type='trader'}, body=2}",
    "at=1, set={'world.bank.most'=9}",
)


def hashes(manifest: dict[str, Any]) -> tuple[Any, ...]:
    return manifest["trace_hashes"], manifest["world_hashes"], manifest["messages"], manifest["actions"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[dict[str, Any], Path]:
    """A run with levers, births and exits, on one shard."""
    out = tmp_path_factory.mktemp("traders") / "whole"
    run = populace.run(TRADERS, model="scripted", seed=7, levers=LEVERS, out=out, quiet=True)
    return run.manifest, out


@pytest.mark.parametrize("levers", [(), LEVERS])
def test_a_society_with_a_columnar_type_is_one_in_every_life(levers) -> None:
    found = check_society(TRADERS, levers=levers, seed=1)
    assert found.asks > 10
    assert found.messages > 50


def test_columnar_agents_do_all_that_the_society_has(whole) -> None:
    """Or the tests of this file would show nothing."""
    manifest, out = whole
    assert manifest["born"] == 6
    assert manifest["left"] == 2
    assert manifest["turns_failed"] == 0
    fates = set(read_table(out, "messages").to_pandas().fate)
    assert fates >= {"delivered", "refused:retired", "refused:blocked", "expired"}
    actions = read_table(out, "actions").to_pandas()
    assert set(zip(actions.kind, actions.fate, strict=True)) >= {
        ("bank.give", "applied"), ("bank.give", "refused:too_poor"), ("bank.tip", "applied"),
        ("bank.tip", "refused:too_much"),
    }  # fmt: skip
    assert actions[["tick", "agent", "nth"]].equals(
        actions[["tick", "agent", "nth"]].sort_values(["tick", "agent", "nth"])
    )
    givers = actions[(actions.kind == "bank.give") & (actions.tick == 2)].agent
    assert (givers < 3).any() or (actions[actions.agent < 3].kind == "bank.give").any()
    assert (givers >= 3).any()
    agents = read_table(out, "agents").to_pandas()
    touched = read_table(out, "levers").to_pandas()
    touched = touched[touched.lever == "levers[0]"].agent
    assert (agents[(agents.tick == 2) & agents.agent.isin(touched)].wealth == 9).all()


@pytest.mark.parametrize(
    ("stop_at", "shards"), [(1, (1, 3)), (2, (3, 2)), (3, (2, 5)), (4, (3, 1)), (5, (5, 2)), (6, (2, 3))]
)
def test_ended_at_any_tick_and_resumed_on_other_shards(whole, stop_at, shards, tmp_path: Path) -> None:
    manifest, out = whole
    before, after = shards
    options = {"scenario": TRADERS, "ticks": TICKS, "levers": manifest["settings"]["levers"], "shards": before}
    assert go(tmp_path, stop_at=stop_at, checkpoint__every_ticks=2, **options) is None
    assert hashes(go(tmp_path, going=resume_course(tmp_path, shards=after))) == hashes(manifest)
    same_tables(tmp_path, out)


def test_replay_and_forks(whole, tmp_path: Path) -> None:
    manifest, out = whole
    again = replay_run(replay_course(out), out, tmp_path / "replay")
    assert again.ticks == again.recorded
    same = go(tmp_path / "same", going=fork_course(out, 4, [], []))
    assert hashes(same) == hashes(manifest)
    levers = ["change={group={type='trader'}, fields={mood=-5.0}}"]
    fork = go(tmp_path / "fork", going=fork_course(out, 4, [], levers))
    assert fork["trace_hashes"][:4] == manifest["trace_hashes"][:4]
    assert fork["trace_hashes"][4:] != manifest["trace_hashes"][4:]


@pytest.mark.ray
def test_columnar_types_on_ray(whole, tmp_path: Path) -> None:
    manifest, _ = whole
    run = populace.run(TRADERS, model="scripted", seed=7, levers=LEVERS, shards=2, transport="ray",
                       out=tmp_path / "ray", quiet=True)  # fmt: skip
    assert hashes(run.manifest) == hashes(manifest)


def test_control_columns_that_are_lost_at_resume_are_another_run(whole, monkeypatch, tmp_path: Path) -> None:
    restore = ColumnarTypes.restore

    def forgetting(self: ColumnarTypes, state: Any, own: Any) -> None:
        restore(self, state, own)
        for one in self.types.values():
            one.columns["mood"] = np.zeros_like(one.columns["mood"])

    monkeypatch.setattr(ColumnarTypes, "restore", forgetting)
    options = {"scenario": TRADERS, "ticks": TICKS, "levers": whole[0]["settings"]["levers"], "shards": 2}
    assert go(tmp_path, stop_at=3, **options) is None
    with pytest.raises((PopulaceError, AssertionError)):
        assert hashes(go(tmp_path, going=resume_course(tmp_path, shards=3))) == hashes(whole[0])


def test_control_sums_that_do_not_add_up_are_another_run_on_other_shards(monkeypatch) -> None:
    commit = trace_module.Trace.commit

    def last_only(self: Any, tick: int, turns: Any, world: bytes, sums: Any = ()) -> str:
        return commit(self, tick, turns, world, list(sums)[-1:])

    monkeypatch.setattr(trace_module.Trace, "commit", last_only)
    with pytest.raises(InvariantBroken, match="shards"):
        check_society(TRADERS)


def test_control_actions_that_act_as_they_come_are_another_run_on_other_shards(monkeypatch) -> None:
    monkeypatch.setattr("populace.kernel.actions.fair_places", lambda *given: np.arange(len(given[3])))
    with pytest.raises(InvariantBroken, match="shards"):
        check_society(TRADERS)


def test_control_draws_by_the_row_are_another_run_on_other_shards(monkeypatch) -> None:
    purpose = ColumnStream._next

    def by_row(self: ColumnStream) -> str:
        self._ids = np.arange(len(self._ids), dtype=np.int32)
        return purpose(self)

    monkeypatch.setattr(ColumnStream, "_next", by_row)
    with pytest.raises(InvariantBroken, match="shards"):
        check_society(TRADERS)


@pytest.mark.parametrize("what", ["acts", "sent", "fields"])
def test_control_each_thing_that_turns_do_is_in_the_digest(what, monkeypatch, tmp_path: Path) -> None:
    before = run_local(tmp_path / "before", TRADERS)["trace_hashes"]
    add = columnar_tick._add

    def changed(total: Any, table: str, index: Any, columns: Any) -> None:
        names = {"acts": "acts\0", "sent": "sent", "fields": "turns\0"}
        if table.startswith(names[what]):
            columns = {
                name: column if name != next(iter(columns)) else column[::-1] for name, column in columns.items()
            }
        add(total, table, index, columns)

    monkeypatch.setattr(columnar_tick, "_add", changed)
    assert run_local(tmp_path / "after", TRADERS)["trace_hashes"] != before


SOME = """
import numpy as np
from populace import ColumnarAgent, Population, Public, Society


class Odd(ColumnarAgent):
    held: Public[int] = 0

    def turns(self, ctx):
        {does}


some = Society(name="some", agent=Odd, population=lambda setup: Population({columns}), size=10, ticks=2)
"""


def run_some(tmp_path: Path, does: str, columns: str = '{"held": [1] * 10}') -> None:
    place = tmp_path / "some.py"
    place.write_text(SOME.format(does=does, columns=columns))
    populace.run(place, model="scripted", out=tmp_path / f"run{len(list(tmp_path.iterdir()))}", quiet=True)


FORBIDDEN = """
import numpy as np
from populace import ColumnarAgent, Population, Public, Society


class Levelled(ColumnarAgent):
    wealth: Public[float] = 1.0

    def turns(self, ctx):
        self.wealth += ctx.draw("more").random()
        self.wealth += 0.5 * (self.wealth.mean() - self.wealth)


some = Society(name="some", agent=Levelled, population=lambda setup: Population.of_defaults(setup.agents), size=10,
               ticks=2)
"""


def test_turns_that_go_by_who_is_in_the_same_call_are_found_out(tmp_path: Path) -> None:
    place = tmp_path / "levelled.py"
    place.write_text(FORBIDDEN)
    with pytest.raises(InvariantBroken, match="another number of shards gives another run"):
        check_society(place)
    place.write_text(FORBIDDEN.replace("self.wealth.mean()", "1.0"))
    check_society(place)


def test_coroutines_and_columns_come_to_the_same(tmp_path: Path) -> None:
    one, other = (
        populace.run(which, model="scripted", seed=3, shards=shards, out=tmp_path / which.name, quiet=True)
        for which, shards in ((wealth.coroutines, 1), (wealth.columns, 2))
    )
    assert one.outcomes.equals(other.outcomes)
    assert one.outcomes.richest.iloc[-1] > 3
    assert one.manifest["world_hashes"] == other.manifest["world_hashes"]
    assert one.manifest["actions"] == other.manifest["actions"]
    tables = [read_table(tmp_path / name, "actions").to_pandas() for name in ("coroutines", "columns")]
    assert tables[0].equals(tables[1])


def test_turns_that_fail_end_the_run_and_say_where(tmp_path: Path) -> None:
    says = r"some.py:\d+ in turns: tick 1, Odd.turns: KeyError: 'bank.owned'; in ctx.seen there are: none"
    with pytest.raises(ScenarioError, match=says):
        run_some(tmp_path, 'ctx.tick == 1 and ctx.seen["bank.owned"]')


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("self.held[2:] = 1.5", "Odd.held of agent 2 holds a whole number of 64 bits, and turns put 1.5 into it"),
        ("self.held[ctx.ids > 6] = np.array([1.0, np.nan, 2.0])", "Odd.held of agent 8 .* put nan"),
        ("self.held[[4, 9]] = np.array([1, 2**63], np.uint64)", "Odd.held of agent 9 .* put 9223372036854775808"),
        ("self.held[5] = 1e19", "Odd.held of agent 5 .* put 1e"),
        ("self.held[ctx.ids == 1] *= 0.5", "Cannot cast ufunc"),
        ("ctx.send(0, np.arange(10, dtype=np.uint64) * 2**60)", "64 bits, and of agent 8 it is"),
    ],
)
def test_what_would_be_cut_in_a_field_is_named_with_its_agent(does, says, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=says):
        run_some(tmp_path, does)
    run_some(tmp_path, "self.held[3:] = np.full(7, 2.0); self.held[self.held > 1] = True; self.held[:2] = ctx.ids[:2]")


def test_newborns_and_levers_that_do_not_fit_are_named() -> None:
    one = Type(Own, ["held"], EveryTick(), np.arange(4, dtype=np.int32), {"held": np.zeros(4, np.int64)})
    types = ColumnarTypes({"own": one}, Roster({"own": 4}))
    for given_, says in (
        (
            [1, 2**63],
            "Own: agent 3, as a lever changes it, does not fit: held = 9223372036854775808: an int has 64",
        ),
        ([1, 1.5], "agent 3, .*: held = 1.5: Expected `int`, got `float`"),
    ):
        with pytest.raises(ScenarioError, match=says):
            types.change(np.array([1, 3], np.int32), "held", given_)
    with pytest.raises(ScenarioError, match=r"Own: spawn: agent 5 does not fit: held = 1\.5"):
        types.spawn("own", np.array([4, 5], np.int32), {"held": [1, 1.5]})
    assert one.columns["held"].tolist() == [0] * 4


class Own(ColumnarAgent):
    held: Public[int] = 0

    def turns(self, ctx: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("left", "says"),
    [
        ("np.ones(3)", r"of float64, \(3,\) in it, for 10 agents"),
        ("np.ones(len(ctx))", "Odd.held is int, and turns left an array of float64"),
        ("'text'", "put an array of int64 with a value for each"),
        ("np.full(len(ctx), 2**64 - 1, np.uint64)", "holds 64 bits"),
    ],
)
def test_what_does_not_fit_a_field_is_named(left, says, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=says):
        run_some(tmp_path, f"self.held = {left}")
    run_some(tmp_path, "self.held = 7")


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("ctx.act('fund.pay', amount=1)", "the world has no action 'fund.pay'"),
        ("ctx.send(0, np.array(['a'] * len(ctx)))", "a column of numbers, not of <U1"),
        ("ctx.send(0, 1, who=np.array([2, 1]))", "rows come in their order"),
        ("ctx.send(0, 1, who=np.array([12]))", "rows go from 0 to 9"),
        ("ctx.send(0, 1, who=np.ones(3, bool))", "a mask of"),
        ("ctx.send(np.zeros(3, int), 1)", r"\(3,\) values for 10"),
        ("ctx.send(0, [1, 2])", "2 bodies for 10 messages"),
        ("ctx.send(0, 'x' * 10**6)", "bus.body_bytes"),
        ("ctx.send(0, 1, who=np.zeros(50_000, int))", "bus.sends_per_turn"),
        ("ctx.wake_at(0)", "it is tick 0 already"),
        ("ctx.draw('x').integer(0)", "at least 1"),
    ],
)
def test_what_cannot_be_done_is_named(does, says, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=says):
        run_some(tmp_path, does)


def test_classes_that_cannot_be_used_are_named() -> None:
    class NoTurns(ColumnarAgent):
        pass

    class Waiting(ColumnarAgent):
        def turns(self, ctx: Any) -> Any:
            yield ctx

    class Text(ColumnarAgent):
        name: str = ""

        def turns(self, ctx: Any) -> None:
            pass

    class Both(ColumnarAgent):
        def turns(self, ctx: Any) -> None:
            pass

        async def turn(self, ctx: Any) -> None:
            pass

    class Lacking(ColumnarAgent):
        def turns(self) -> None:  # type: ignore[override]
            pass

    for kind, says in (
        (NoTurns, "NoTurns has no turns: write `def turns"),
        (Waiting, "Waiting.turns: write `def turns.* without yield"),
        (Text, "Text.name: a field of a ColumnarAgent is a float, int or bool, not str"),
        (Both, "Both: a ColumnarAgent has `turns"),
        (Lacking, r"Lacking.turns: is called as turns\(self, ctx\)"),
    ):
        with pytest.raises(ScenarioError, match=says):
            Society(name="some", agent=kind, population=lambda setup: Population.of_defaults(setup.agents))


def test_rows_of_the_population_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="Odd: row 1 of the population does not fit"):
        run_some(tmp_path, "pass", '{"held": [1, "two"] * 5}')
    with pytest.raises(ScenarioError, match="held"):
        run_some(tmp_path, "pass", '{"held": [1, 2**70] * 5}')


def test_what_columns_held_before_a_tick_can_be_had_until_the_next() -> None:
    class Owner(ColumnarAgent):
        owns: Public[int] = 0

        def turns(self, ctx: Any) -> None:
            self.owns += 1

    roster = Roster({"owner": 4})
    own = Type(Owner, ["owns"], EveryTick(), roster.ids().copy(), {"owns": np.arange(4)})
    types = ColumnarTypes({"owner": own}, roster)
    scope = Scope(seed=1, tick_seconds=1.0, parameters=None, population=4, model="", max_tokens=1, temperature=0.0,
                  body_bytes=99, sends_per_turn=9, actions=frozenset(), queries=frozenset())  # fmt: skip
    own.keeps = True
    types.keep_before(0)
    roster.spawn([("owner", 1)], 1)
    roster.retire(np.array([2], np.int32), 1)
    types.retire()
    types.spawn("owner", np.array([4], np.int32), {"owns": [40]})
    types.change(np.array([1, 3], np.int32), "owns", [10, 30])
    tick = types.tick(scope)
    tick.open(Mail([], 9, 1), np.empty(0, np.int32))
    tick.take({})
    assert tick.commit().turns == 4
    assert {name: one.tolist() for name, one in types.state(1)["owner"].items()} == {
        "id": [0, 1, 3, 4], "owns": [1, 11, 31, 41]
    }  # fmt: skip
    assert {name: one.tolist() for name, one in types.state(0)["owner"].items()} == {
        "id": [0, 1, 2, 3], "owns": [0, 1, 2, 3]
    }  # fmt: skip


def test_what_agents_do_is_counted_for_each_of_them_over_all_calls() -> None:
    scope = Scope(seed=1, tick_seconds=1.0, parameters=None, population=4, model="", max_tokens=1, temperature=0.0,
                  body_bytes=99, sends_per_turn=4, actions=frozenset({"a.go"}), queries=frozenset())  # fmt: skip
    ids = np.array([2, 3, 5, 8], np.int32)
    first = [np.array([True, False, True, True]), np.array([0, 0, 2]), None]
    for of in first:
        ctx = ColumnarContext(scope, ids, {}, Letters(ids, ids[:0], ids[:0], list))
        for who in (of, [1, 1, 3], np.array([True, True, False, False])):
            ctx.act("a.go", who=who)
        done = [(one, at) for act in ctx.acts for one, at in zip(act.agents.tolist(), act.nth.tolist(), strict=True)]
        made = {one: [at for whose, at in done if whose == one] for one in ids.tolist()}
        assert all(given == list(range(len(given))) for given in made.values())
        assert len(done) == 5 + (len(ids) if of is None else 3)
        with pytest.raises(BadAction, match="sends_per_turn = 4"):
            ctx.act("a.go", who=[1, 1, 1])


@pytest.mark.parametrize("kind", [np.bool_, np.int64, np.float64])
def test_what_was_done_stays_what_it_was_where_the_author_goes_on_with_the_column(kind: type) -> None:
    scope = Scope(seed=1, tick_seconds=1.0, parameters=None, population=4, model="", max_tokens=1, temperature=0.0,
                  body_bytes=99, sends_per_turn=4, actions=frozenset({"a.go"}), queries=frozenset())  # fmt: skip
    ids, column = np.arange(3, dtype=np.int32), np.array([0, 1, 1], kind)
    for who in (None, np.array([True, True, True])):
        ctx = ColumnarContext(scope, ids, {}, Letters(ids, ids[:0], ids[:0], list))
        ctx.act("a.go", who=who, to=column)
        ctx.send(ids, column, who=who)
        was = column.tolist()
        column[:] = column[::-1].copy() == 0
        assert column.tolist() != was
        assert ctx.acts[0].columns["to"].tolist() == was
        assert ctx.sent[0].packed() == list(map(msgpack.packb, was))


def test_a_batch_of_both_kinds_of_agents_reads_as_columns_and_as_arguments() -> None:
    from populace.env import Action
    from populace.env.acts import Acts

    whole = [
        Acts("a.go", np.array([4, 6], np.int32), np.array([0, 0], np.int32), {"to": np.array([7, 8])}, {"by": 2}),
        Acts(
            "a.go", np.array([5], np.int32), np.array([0], np.int32), {"to": np.array([9]), "by": np.array([1.5])}, {}
        ),
    ]
    acting = Acting([Action(1, 0, "a.go", {"to": 3, "by": 4}), Action(2, 0, "b.no", {})], whole)
    assert [one.agent for one in acting] == [1, 2, 4, 6, 5]
    assert acting.unknown(frozenset({"a.go"})) == [1]
    assert acting.unknown(frozenset({"a.go", "b.no", "c.else"})) == []
    acting.order = np.array([4, 0, 3, 1, 2])
    (places, first), _, (rest, second) = acting.runs(acting.order)
    assert (acting.kind_of(4), places.tolist(), rest.tolist()) == ("a.go", [4, 0, 3], [2])
    assert first.column("to").tolist() == [9, 3, 8]
    assert first.column("by").tolist() == [1.5, 4, 2]
    assert first.args == [{"to": 9, "by": 1.5}, {"to": 3, "by": 4}, {"to": 8, "by": 2}]
    assert second.args == [{"to": 7, "by": 2}]
    assert [one.args for one in acting] == [
        {"to": 3, "by": 4},
        {},
        *({"to": to, "by": 2} for to in (7, 8)),
        first.args[0],
    ]
    with pytest.raises(KeyError):
        first.column("none")
    first.refuse_all(np.array([False, True, True]), "no")
    assert first.refused == {1: "no", 2: "no"}
