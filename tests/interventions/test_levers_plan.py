"""Levers as data: how they are read and refused, who is in a group, and what a restored or forked world has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.environments import handed
from support.kernel_support import doing, end_run, make_shard, run_tick, send
from support.levers import AGENTS, RESIDENTS
from support.long import cases
from support.running import run_local, settings_of

from populace.cluster.job import build_run, build_shard, plan_job
from populace.core.errors import ScenarioError, SettingsError
from populace.core.roster import Roster
from populace.data.societies import find_society
from populace.env import Clock, Feed, Network, Part, World
from populace.interventions.at_work import set_parameter
from populace.interventions.groups import Membership
from populace.interventions.levers import ChangeLever, SetLever, parse_lever
from populace.kernel.environment import Environment
from populace.kernel.events import AskModel, OpenTick
from populace.kernel.reports import Reports
from populace.monitoring.summary import caveats
from populace.settings import load_settings, with_levers


def plan(*levers: str, **options: Any) -> Any:
    return plan_job(find_society(RESIDENTS), settings_of(levers=[parse_lever(one) for one in levers], **options))


def members(group: str, seed: int = 7, name: str = "x", agents: int = AGENTS) -> list[int]:
    """Whom a lever would change."""
    job = plan(f'at=0, name="{name}", change={{group={group}, fields={{trust=2}}}}', seed=seed, agents=agents)
    columns = build_run(job).environment.world.columns
    return np.flatnonzero(columns["trust"] == 2.0).tolist()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("at=1", "exactly one of set, send, block and change"),
        ("at=1, block={sender=[1]}, set={society.x=1}", "exactly one of set, send, block and change"),
        ("at=1, ", "is not the inside of a TOML table"),
        ("at=1, block={sender=[1]", "is not the inside of a TOML table"),
        ("at=1, block={sender=[1]} }\nx = {", "is not the inside of a TOML table|more than one"),
        ("set={society.x=1}", "'at' is missing"),
        ("at=-1, block={sender=[1]}", "'at' = -1"),
        ("at=1, bolck={sender=[1]}", "exactly one of"),
        (
            "at=1, tick=2, block={sender=[1]}",
            "unknown key 'tick'. Keys there are: again, at, block, lasts, name, until, when",
        ),
        ("at=1, block={sender=[1], to=[2]}", r"unknown key 'block\.to'. Keys there are: receiver, sender"),
        ("at=1, block={sender={were={a=1}}}", r"unknown key 'block\.sender\.were'. Keys there are: key, share, type,"),
        ("at=1, block={sender={share=0}}", r"'block\.sender\.share' = 0: .*greater than 0"),
        ("at=1, block={sender={share=1.5}}", r"'block\.sender\.share'"),
        ("at=1, block={sender={}}", "for everybody write"),
        ("at=1, block={sender={where={a=1}, key='k'}}", "it needs a share"),
        ("at=1, block={sender=[]}", r"'block\.sender' = \[\]"),
        ("at=1, block={sender='everybody'}", r"'block\.sender' = \"everybody\""),
        ("at=1, block={sender=3}", 'a group is "all", a list of ids, or'),
        ("at=1, block={sender={where={a={mn=1}}}}", r"'block\.sender\.where\.a'.*a range is"),
        ("at=1, block={sender={where={a={min='x'}}}}", "a range is"),
        ("at=1, block={sender={where={a=[]}}}", "matches nobody"),
        ("at=1, block={sender={where={a=[[1]]}}}", "a condition is"),
        ("at=3, until=3, block={sender=[1]}", "it comes after at = 3"),
        ("at=3, until=5, send={to=[1], body=1}", "until is of what holds for a while"),
        ("at=1, send={to=[1]}", r"'send\.body' is missing"),
        ("at=1, send={to=[1], body=nan}", "numbers are finite"),
        ("at=1, send={to=[1], body=[{a=inf}]}", "numbers are finite"),
        ("at=1, send={to=[1], body=2024-01-01}", r"'send\.body'"),
        ("at=1, set={}", "'set' = {}"),
        ("at=1, set={reach=3}", "'reach': a lever sets \"society.<parameter>\""),
        ("at=1, set={world.feed=3}", "a lever sets"),
        ("at=1, set={society.a.b=3, world.x=1}", "a lever sets"),
        ("at=1, change={group=[1]}", "say which fields"),
        ("at=1, change={group=[1], fields={a=1}, each={a=[1]}}", "a stands in fields and in each"),
        ("at=1, name='', block={sender=[1]}", "'name'"),
    ],
)
def test_a_lever_that_cannot_be_read_is_named_with_its_key(text, says):
    with pytest.raises(SettingsError, match=says) as caught:
        parse_lever(text)
    assert str(caught.value).startswith(f"--lever '{text}'")


@pytest.mark.parametrize(
    ("lever", "says"),
    [
        ("at=96, block={sender=[1]}", r"'levers\[0\]': at = 96, and the run has 5 ticks, 0 to 4"),
        ("at=5, name='late', block={sender=[1]}", "'late': at = 5"),
        ("at=1, set={society.dail=3}", "unknown key 'society.dail'. The parameters of residents are: dial"),
        ("at=1, set={society.dial='x'}", r"society.*Expected `float`, got `str`.*dial"),
        ("at=1, set={world.fnd.rate=1}", "no part 'fnd'; there are: clock, network, fund, columns"),
        ("at=1, set={world.fund.total=1}", "a lever cannot set that; of part 'fund' it can set: rate"),
        ("at=1, set={world.columns.x=1}", "it can set: nothing"),
        ("at=1, set={world.fund.rate='x'}", "'world.fund.rate' = \"x\": Expected `float`"),
        ("at=1, set={world.fund.rate=-1}", r"'levers\[0\]': set 'world.fund.rate' = -1.0: a rate is not below zero"),
        ("at=1, set={world.clock.start='soon'}", "write it as 2024-01-31"),
        ("at=1, change={group=[1], fields={trsut=1}}", "change.fields.trsut: Resident has no such field"),
        ("at=1, change={group=[1], fields={trust='x'}}", 'change.fields.trust = "x": Expected `float`'),
        ("at=1, change={group=[1], fields={pages=1.5}}", "change.fields.pages = 1.5: Expected `int`"),
        ("at=1, change={group=[1], fields={pages=9223372036854775808}}", "holds 64 bits"),
        ("at=1, change={group=[1], fields={notes=[1]}}", r"Expected `str`, got `int` - at `\$\[0\]`"),
        ("at=1, change={group=[1, 2], each={trust=[1]}}", "change.each.trust: 1 values for a group of 2"),
        ("at=1, change={group=[1, 2], each={trust=[1, 'x']}}", "Expected `float`"),
        ("at=1, change={group=[1, 40], fields={trust=1}}", "there is no agent 40; ids go from 0 to 39"),
        ("at=1, change={group=[1, 1], fields={trust=1}}", "an agent is listed twice"),
        ("at=1, send={to={where={prty='R'}}, body=1}", "send.to.where.prty: the population has no column 'prty'"),
        ("at=1, send={to={where={party=3}}, body=1}", "3 is numbers, and the column holds text"),
        ("at=1, send={to={where={age='x'}}, body=1}", '"x" is text, and the column holds numbers'),
        ("at=1, send={to={where={age=true}}, body=1}", "true is true or false, and the column holds numbers"),
        ("at=1, send={to={where={party={min=3}}}, body=1}", "3 is numbers, and the column holds text"),
        ("at=1, send={to={where={odd=1}}, body=1}", "the column holds a list"),
        ("at=1, send={to={where={party='G', age={min=3}}}, body=1}", 'no agent has party = "G" and age = {"min":3}'),
        ("at=1, block={sender=[1], receiver={where={age={min=300}}}}", "block.receiver: no agent has"),
        ("at=1, send={to={where={party='Gr'}}, body=1}", 'no agent has party = "Gr" at tick 0; party is "D", "R"'),
        ("at=1, send={to={where={age={min=300}}}, body=1}", r"at tick 0; age is from \d+ to \d+"),
        ("at=1, block={sender={where={age=[20, 21]}, share=0.1}}", "a share of 0.1 of 2 agents is nobody"),
        ("at=1, send={to=[1], body='" + "x" * 70_000 + "'}", "takes 70005 bytes, and bus.body_bytes is 65536"),
        ("at=1, send={to=[1], body=99999999999999999999}", "send.body: cannot be sent"),
    ],
)
def test_a_lever_that_this_run_cannot_have_is_refused_before_it_begins(lever, says):
    with pytest.raises((SettingsError, ScenarioError), match=says) as caught:
        plan(lever)
    assert "lever '" in str(caught.value)
    assert caught.value.exit_code == 2


PIECES = (
    "at=1", "block=", "sender=", "{", "}", "[", "]", "1", ",", '"all"', "share=0.5", "where=", "send=", "to=", "body=",
    "change=", "group=", "fields=", "set=", "society.dial", "=", "\n", "é", '"', "'", "#", "true", "nan", "-1",
)  # fmt: skip


def refusal(text: str) -> str:
    """What is said against a lever; nothing where it is one."""
    try:
        assert parse_lever(text).at >= 0
    except SettingsError as error:
        return str(error)
    return ""


@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=14).map(" ".join)))
def test_whatever_is_written_is_a_lever_or_refused_in_words(text):
    said = refusal(text)
    assert not said or said.startswith("--lever '")


@pytest.mark.parametrize("depth", [50, 400, 5000])
def test_deep_data_is_a_lever_or_refused_in_words(depth):
    text = f"at=1, send={{to=[1], body={'[' * depth}{']' * depth}}}"
    said = refusal(text)
    assert said.startswith("--lever '") or depth < 1000
    if not said:
        assert plan(text).ticks == 5


def test_two_levers_of_one_name_are_refused_and_a_part_of_a_run_may_end_before_a_lever():
    two = ("at=1, name='a', block={sender=[1]}", "at=2, name='a', block={sender=[1]}")
    with pytest.raises(SettingsError, match="two levers are named 'a'"):
        plan(*two)
    settings = settings_of(levers=[parse_lever(two[0])], ticks=1)
    with pytest.raises(SettingsError, match="at = 1, and the run has 1 tick, tick 0"):
        plan_job(find_society(RESIDENTS), settings)
    assert plan_job(find_society(RESIDENTS), settings, whole=False).ticks == 1


@pytest.mark.parametrize(
    ("scenario", "lever", "noted"),
    [
        ("polarization", "at=1, set={society.homophily=9}", ["homophily"]),
        ("polarization", "at=1, set={society.mean_degree=2, world.network.frozen=true}", ["mean_degree"]),
        ("polarization", "at=1, set={society.openness=0.9, society.issue='Taxes.'}", []),
        (RESIDENTS, "at=1, set={society.dial=9}", []),
        ("polarization", "at=1, block={sender=[1]}", []),
    ],
)
def test_a_parameter_that_only_shapes_what_is_built_is_told_of(tmp_path, scenario, lever, noted):
    seen = Notes()
    manifest = run_local(tmp_path, scenario, [seen], levers=[parse_lever(lever)], agents=12, ticks=2)
    assert [note.partition("society.")[2].partition(" ")[0] for note in manifest["lever_notes"]] == noted
    assert [note for note in seen.notes if "lever" in note] == manifest["lever_notes"]
    assert set(manifest["lever_notes"]) <= set(caveats(manifest))


class Notes:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self, *_: object) -> None: ...
    def pulse(self, _: object) -> None: ...
    def tick(self, _: object) -> None: ...
    def end(self, *_: object) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_settings_read_levers_and_name_file_lever_and_key(tmp_path: Path):
    file = tmp_path / "my.toml"
    file.write_text('[[levers]]\nat = 1\nset = { society.dial = 3, "world.fund.rate" = 1.5 }\n')
    settings = with_levers(load_settings(file), ["at=2, change={group='all', fields={trust=1}}"])
    first, second = settings.levers
    assert isinstance(first, SetLever)
    assert first.set == {"society.dial": 3, "world.fund.rate": 1.5}
    assert isinstance(second, ChangeLever)
    assert type(settings).model_validate_json(settings.model_dump_json()) == settings
    file.write_text("[[levers]]\nat = 1\nblock = { sender = [1] }\n[[levers]]\nat = 1\nblock = { sendr = [1] }\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    said = str(caught.value)
    assert str(file) in said
    assert "unknown key 'levers.1.block.sendr'. Keys there are: receiver, sender." in said
    with pytest.raises(SettingsError, match=r"--set levers: 'levers\.0' = .*exactly one of set"):
        load_settings(assignments=["levers=[{at=1}]"])


def test_a_group_is_by_list_by_columns_by_lot_or_all():
    assert members('"all"') == list(range(AGENTS))
    assert members("[7, 3]") == [3, 7]
    assert members("{where={party='D', age={min=55}}}") == [35, 37, 39]
    assert members("{where={age={max=21}}}") == [0, 1]
    assert members("{where={age=[20, 25, 900]}}") == [0, 5]
    assert members("{where={wealth={max=2}}}") == [1, 2], "who has none is in no range"
    assert members("{where={wealth=3}}") == [3], "a whole number is also a float"
    assert members("{where={trust=1.0, party='R'}}") == list(range(0, AGENTS, 2)), "defaults of public fields count"


@settings(max_examples=cases(100, 30))
@given(st.integers(0, 2**40), st.floats(0.05, 1.0), st.floats(0.05, 1.0))
def test_a_lot_is_exact_nested_and_a_function_of_seed_and_name(seed, one, other):
    small, large = sorted((one, other))
    few, many = (members(f"{{share={share}}}", seed) for share in (small, large))
    assert len(few) == int(small * AGENTS + 0.5)
    assert set(few) <= set(many)
    assert members(f"{{share={small}}}", seed) == few


def test_lots_differ_by_seed_and_name_and_agree_by_key():
    half = members("{share=0.5}")
    assert len(half) == AGENTS // 2
    assert half != members("{share=0.5}", seed=8)
    assert half != members("{share=0.5}", name="y")
    keyed = members("{share=0.5, key='treated'}")
    assert keyed == members("{share=0.5, key='treated'}", name="y")
    assert keyed != members("{share=0.5, key='others'}")
    assert set(members("{where={party='R'}, share=0.5}")) < set(range(0, AGENTS, 2))


def test_a_lot_is_fair():
    """Over 200 seeds each of 40 agents is drawn about half of the time: within 5 standard errors."""
    lever = parse_lever("at=0, change={group={share=0.5}, fields={trust=2}}")
    drawn = np.zeros(AGENTS)
    for seed in range(200):
        (members,) = Membership([lever], {"agent": {"x": [0] * AGENTS}}, Roster({"agent": AGENTS}), seed).at_start
        drawn[members.group] += 1
    assert drawn.sum() == 200 * AGENTS / 2
    assert np.abs(drawn - 100).max() < 5 * np.sqrt(200 * 0.25)


HELD = (
    "at=1, until=3, set={society.dial=7, world.fund.rate=2.5, world.clock.start='2030-05-01'}",
    "at=2, change={group=[3], fields={trust=4.0}}",
)


def closed(environment: Environment, ticks: int) -> Environment:
    """Moved on, while agents 3 and 4 report a trust of their own after the first tick."""
    for tick in range(ticks):
        trust = [2.0, 2.0] if tick == 0 else environment.world.columns["trust"][[3, 4]].tolist()
        fields = {name: column[[3, 4]].tolist() for name, column in environment.world.columns.items()}
        reports = Reports(np.array([3, 4], np.int32), {"agent": fields | {"trust": trust}})
        environment.close_tick(tick, handed([], [reports]))
    return environment


def shown(environment: Environment) -> Any:
    world = environment.world
    columns = {name: column.tolist() for name, column in world.columns.items()}
    return world.tick, columns, world.fund.rate, world.clock.reading(world.tick), world.parameters


@pytest.mark.parametrize("tick", range(5))
def test_a_restored_world_has_what_holds_in_its_tick(tick):
    job = plan(*HELD)
    went = closed(build_run(job).environment, tick)
    fresh = build_run(job).environment
    fresh.world.restore(went.world.state())
    assert shown(fresh) == shown(went)
    _, columns, rate, reading, parameters = shown(fresh)
    assert (rate, parameters.dial) == ((2.5, 7.0) if tick in (1, 2) else (0.5, 1.0))
    assert reading["time"].startswith("2030-05") == (tick in (1, 2))
    assert columns["trust"][3] == (1.0 if tick == 0 else 2.0 if tick == 1 else 4.0)
    again, other = (one.close_tick(tick, handed([], [])) for one in (fresh, went))
    assert (again.digest, again.outcomes, again.rows) == (other.digest, other.outcomes, other.rows)


@pytest.mark.parametrize("tick", [1, 2])
def test_a_fork_without_a_lever_of_its_tick_has_nothing_of_it_and_one_with_it_has_all(tick):
    with_them, without = plan(*HELD), plan()
    went, plain = closed(build_run(with_them).environment, tick), closed(build_run(without).environment, tick)
    state, plain_state = went.world.state(), plain.world.state()
    if tick == 1:
        encode = msgspec.msgpack.Encoder(enc_hook=np.ndarray.tolist).encode
        assert encode(state) == encode(plain_state), "a state tells nothing of the levers of its own tick"
    assert went.world.columns["trust"][3] == (4.0 if tick == 2 else 2.0), "and taking it changes nothing"
    without_it, with_it = build_run(without).environment, build_run(with_them).environment
    without_it.world.restore(state)
    with_it.world.restore(plain_state)
    assert shown(without_it) == shown(plain)
    assert shown(with_it) == shown(went)


def test_control_a_state_that_keeps_the_changes_of_its_tick_is_seen(monkeypatch):
    went = closed(build_run(plan(*HELD)).environment, 2)
    went.world._edge.clear()
    without_it = build_run(plan()).environment
    without_it.world.restore(went.world.state())
    assert without_it.world.columns["trust"][3] == 4.0


def test_a_tick_that_is_abandoned_leaves_nothing_of_its_levers_in_the_books():
    async def asks(self: Any, ctx: Any) -> None:
        await ctx.ask("what?")

    job = plan("at=0, send={to=[0], body=1}")
    shard = make_shard([doing(asks)])
    shard.levers = build_shard(job, 0, build_run(job).part(0, 1)).levers
    (asked,) = send(shard, OpenTick(0))
    assert isinstance(asked, AskModel)
    assert len(shard.open.mail) == 1
    done = end_run(shard)
    assert (done.counts.sent, done.counts.delivered, done.counts.expired) == (0, 0, 0)


def test_a_shard_without_levers_sends_and_blocks_nothing():
    async def tells(self: Any, ctx: Any) -> None:
        ctx.send(0, 1)

    done = run_tick(make_shard([doing(tells)]))
    assert (done.counts.sent, done.counts.refused, "levers" in done.rows) == (1, {}, False)


def test_what_the_shipped_parts_let_levers_set(tmp_path):
    world = World(Clock(), Network([0], [1], size=3), Feed(keep=5, show=2))
    feed = world.feed
    for name, value, then in (
        ("show", 5, 5), ("sees", "popular", "popular"), ("sees", "nothing", None),
        ("sees", "from_followed", "from_followed"), ("sees", None, None), ("text_chars", 3, 3), ("notify", True, True),
    ):  # fmt: skip
        assert msgspec.convert(value, feed.settable[name]) == value
        feed.set_parameter(name, value)
        assert getattr(feed, name) == then
    for name, value in (("show", 6), ("show", 0), ("text_chars", 0)):
        with pytest.raises(ScenarioError, match="at least 1"):
            feed.set_parameter(name, value)
    with pytest.raises(ScenarioError, match="needs a Network"):
        World(Feed()).feed.set_parameter("sees", "from_followed")


def test_a_frozen_network_refuses_and_thaws():
    from support.env_support import acts, opened

    world = opened(3, Network([0], [1], size=3))
    world.network.set_parameter("frozen", True)
    resolved = world.resolve(acts((0, "network.unfollow", {"target": 1}), (1, "network.follow", {"target": 2})))
    assert [reason for _, reason in resolved.refused] == ["frozen", "frozen"]
    world.network.set_parameter("frozen", False)
    assert world.resolve(acts((0, "network.unfollow", {"target": 1}))).applied == 1


@pytest.mark.parametrize("error", [SystemExit(0), KeyError("rates")])
def test_what_a_part_raises_where_a_lever_sets_it_is_told_with_its_kind(error):
    class Closing(Part):
        def set_parameter(self, name: str, value: Any) -> None:
            raise error

    with pytest.raises(ScenarioError, match=rf"lever 'dear': set 'world.closing.rate' = 3: {type(error).__name__}: "):
        set_parameter(World(Closing()), "closing", "rate", 3, "dear")
