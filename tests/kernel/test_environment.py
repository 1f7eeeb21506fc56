"""The environment service: what it shows leaves it packed, actions come in one order, outcomes are numbers."""

from __future__ import annotations

import math
import re
import warnings
from typing import Any

import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.env_support import opened
from support.environments import AGENTS, Acts, Fund, action_frames, environment, handed

from populace.core.draws import WORLD
from populace.core.errors import ScenarioError
from populace.core.records import Look
from populace.env import Part, World, query
from populace.env import world as world_module
from populace.env.acts import Acting
from populace.env.part import as_it_stands
from populace.env.plain import plain_column
from populace.kernel.actions import taken_singly
from populace.kernel.bus import Mail, gather, route
from populace.kernel.environment import Environment
from populace.kernel.order import fair_actions
from populace.kernel.packing import read_seen, read_values
from populace.kernel.reports import Reports
from populace.kernel.rows import action_rows

"""(agent, amount), in each agent's own order."""


ACTS = st.lists(st.tuples(st.integers(0, AGENTS - 1), st.integers(-2, 5)), max_size=20)


@given(ACTS, st.integers(1, 4), st.sampled_from([1, 2]), st.randoms())
def test_actions_are_applied_in_one_order_over_any_number_of_shards(
    acts: Acts, shards: int, version: int, random: Any
) -> None:
    frames = action_frames(acts, shards)
    random.shuffle(frames)
    one = environment(shards=shards, trace_version=version)
    everybody = np.arange(AGENTS, dtype=np.int32)
    agents = fair_actions(one.world.draw, ["fund"] * AGENTS, everybody, 0 * everybody) if version == 2 else everybody
    done = one.close_tick(0, handed(frames, []))
    wanted = [act for agent in agents.tolist() for act in acts if act[0] == agent]
    good = [act for act in wanted if act[1] > 0]
    assert one.world.fund.log == good
    assert (done.counts.applied, sum(done.counts.acts_refused.values())) == (len(good), len(acts) - len(good))
    assert set(done.counts.acts_refused) <= {"not_positive"}
    assert done.counts.sent == sum(map(len, done.frames)) == len(good)
    thanks = []
    for shard in range(shards):
        mail = Mail([frame for frame in done.frames if frame.destination == shard], 100)
        assert (mail.sender == WORLD).all()
        thanks += [(agent, one.body["thanks"]) for agent in mail.receivers.tolist() for one in mail.inbox(agent)]
    assert sorted(thanks) == sorted(good)
    again = environment(trace_version=version)
    assert done.digest == again.close_tick(0, handed(action_frames(acts, 1), [])).digest


def test_actions_are_recorded_with_their_fates_by_agent() -> None:
    acts = [(3, 5), (1, -2), (1, 4)]
    frames = action_frames(acts, 1)
    assert environment().close_tick(0, handed(frames, [])).rows == {}, "unless it is told to"
    done = environment(record_actions=True).close_tick(0, handed(frames, []))
    assert done.rows["actions"]["agent"].tolist() == [1, 1, 3]
    assert done.rows["actions"]["fate"] == ["refused:not_positive", "applied", "applied"]
    assert [msgpack.unpackb(args)["amount"] for args in done.rows["actions"]["args"]] == [-2, 4, 5]
    assert done.rows["actions"]["kind"] == ["fund.pay"] * 3
    assert done.digest == environment().close_tick(0, handed(frames, [])).digest


def test_a_table_has_the_arguments_as_they_were_packed() -> None:
    """What came packed and what is packed again are the same bytes, in the order (agent, nth)."""
    args = [{"text": "\u00e9" * 40, "to": [1, None, 2.5]}, {}, {"amount": 2**40, "raw": b"x" * 300}, {"k" * 40: True}]
    sent = [(agent, [WORLD], [msgpack.packb((f"fund.{'pay' * (1 + agent)}", args[agent]))]) for agent in range(4)]
    frames = [
        frame
        for part in (sent[::2], sent[1::2])
        for frame in route(gather(0, part), source=0, shards=1, attempt=0, frame_bytes=100)
    ]
    singly = taken_singly(frames)
    everybody = np.arange(4)
    assert singly.args_of(everybody) == args
    packed = [msgpack.packb(one) for one in args]
    again = Acting(msgspec.structs.replace(singly, args=args), [])
    rows, other = (action_rows(0, one, {2: "no"}) for one in (Acting(singly, []), again))
    assert rows["args"] == other["args"] == packed
    assert (rows["agent"].tolist(), rows["fate"]) == ([0, 1, 2, 3], ["applied", "applied", "refused:no", "applied"])


def test_the_digest_depends_on_what_was_sent_and_on_what_was_refused() -> None:
    digests = {
        environment().close_tick(0, handed(action_frames(acts, 1), [])).digest
        for acts in ([], [(0, 1)], [(0, 2)], [(1, 1)], [(0, 0)], [(1, 0)], [(0, 0), (0, 0)])
    }
    assert len(digests) == 7


def test_an_action_that_the_world_does_not_have_is_refused_and_counted() -> None:
    bodies = [msgpack.packb((kind, {})) for kind in ("fund.steal", "nothing.at_all")]
    frames = route(gather(0, [(2, [WORLD] * 2, bodies)]), source=0, shards=1, attempt=0, frame_bytes=2**20)
    done = environment().close_tick(0, handed(frames, []))
    assert (done.counts.applied, done.counts.acts_refused) == (0, {"unknown_action": 2})


def test_what_the_world_shows_is_a_copy_of_plain_data() -> None:
    one = environment()
    seen = read_seen(one.observe(np.array([1, 4], np.int32)))
    assert seen == [{"fund.tick": 0, "fund.inner": {"paid": [1, 2]}, "fund.me": agent} for agent in (1, 4)]
    assert type(seen[0]["fund.me"]) is int
    seen[0]["fund.inner"]["paid"].append("changed by a turn")
    (held,) = read_values(one.look([Look(0, "fund.held", {})]))
    held["paid"].append("changed by a turn")
    assert one.world.fund.inner == {"paid": [1, 2]}
    assert seen[1]["fund.inner"] == {"paid": [1, 2]}
    assert read_seen(one.observe(np.empty(0, np.int32))) == []


def test_looks_keep_their_places_and_a_bad_one_fails_alone() -> None:
    looks = [
        Look(0, "fund.paid", {"of": 3}),
        Look(1, "columns.of", {"agents": [1]}),
        Look(2, "fund.paid", {}),
        Look(3, "fund.paid", {"of": 5}),
    ]
    one = environment()
    one.close_tick(0, handed(action_frames([(5, 4)], 1), []))
    first, second, bad, last = read_values(one.look(looks))
    assert (first, last) == ({"of": 3, "paid": 0.0}, {"of": 5, "paid": 4.0})
    assert second == {"mood": [0.5]}
    assert isinstance(bad, LookupError)
    assert bad.args == ("fund.paid: say of whom",)
    assert read_values(one.look([])) == []


class Shelf(Part):
    """A part that shows what it is given, copied and as it stands."""

    shown: Any = None

    @query
    def copy(self, agents: Any, args: Any) -> list[Any]:
        return [self.shown] * len(agents)

    @query
    @as_it_stands
    def own(self, agents: Any, args: Any) -> list[Any]:
        return [self.shown] * len(agents)


@pytest.mark.parametrize(
    "shown", [[{"id": 1, "of": None}, "text"], (1, 2.5), np.float64(2.5), np.arange(3), {"at": [np.int32(4)]}, b"raw"]
)
def test_what_a_part_gives_as_it_stands_is_read_as_its_copy_is(shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world, copied = opened(2, Shelf()), []
    world.shelf.shown = shown
    monkeypatch.setattr(world_module, "plain_column", lambda *given: copied.append(given) or plain_column(*given))
    one = Environment(world, {}, shards=1, frame_bytes=100)
    looks = [Look(agent, f"shelf.{which}", {}) for which in ("copy", "own") for agent in (0, 1)]
    of_copy, _, own, _ = read_values(one.look(looks))
    assert repr(of_copy) == repr(own)
    plain = not isinstance(shown, np.generic | np.ndarray | dict)
    assert len(copied) == (1 if plain else 3)  # where one is not plain, all are looked for again and copied


def test_what_cannot_be_shown_is_named_where_it_is_given_as_it_stands() -> None:
    world = opened(1, Shelf())
    world.shelf.shown = [1, object()]
    with pytest.raises(ScenarioError, match=r"query 'shelf.own', agent 0 .*: object is not plain data"):
        Environment(world, {}, shards=1, frame_bytes=100).look([Look(0, "shelf.own", {})])


def test_reported_fields_reach_the_world_before_its_parts_act_and_changes_are_told() -> None:
    seen: list[list[float]] = []

    class Watcher(Part):
        def advance(self, tick: int) -> None:
            seen.append(self.world.columns["mood"].tolist())

    world = opened(AGENTS, Watcher(), columns={"mood": [0.5] * AGENTS}, fields={"mood": float})
    one = Environment(world, {"mean": lambda world: world.columns["mood"].mean()}, shards=2, frame_bytes=2**20)
    reports = [
        Reports(np.array([0, 2], np.int32), {"agent": {"mood": [0.5, 3.5]}}),
        Reports(np.array([1], np.int32), {"agent": {"mood": [-0.5]}}),
        Reports(np.empty(0, np.int32), {"agent": {"mood": []}}),
    ]
    done = one.close_tick(0, handed([], reports))
    assert seen == [[0.5, -0.5, 3.5, 0.5, 0.5, 0.5]]
    assert done.changed.tolist() == [1, 2]
    assert {name: list(column) for name, column in done.fields.items()} == {"mood": [-0.5, 3.5]}
    assert done.changed.dtype == np.int32
    assert done.outcomes == {"mean": pytest.approx(5.0 / 6)}
    again = one.close_tick(1, handed([], reports))
    assert again.changed.tolist() == list(again.fields["mood"]) == []


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (lambda world: world.columns["hope"].mean(), ": KeyError: 'hope'"),
        (lambda world: None, ".*one number, and gives None: is a `return` missing"),
        (lambda world: "high", ".*one number, and gives a str"),
        (lambda world: [1.0], ".*one number, and gives a list"),
        (lambda world: 1 // 0, ": ZeroDivisionError"),
    ],
)
def test_an_outcome_that_is_no_number_is_named(outcome: Any, says: str) -> None:
    one = environment({"fine": lambda world: 1.0, "odd": outcome})
    with pytest.raises(ScenarioError, match=f"outcome 'odd'{says}"):
        one.measure()


def test_a_failing_outcome_is_placed_in_the_users_code() -> None:
    def misspelt(world: World) -> float:
        return float(world.columns["suport"].mean())

    world = opened(AGENTS, Fund(), fields={"support": float}, columns={"support": [0.5] * AGENTS})
    outcomes = {"mean": misspelt, "through numpy": lambda world: np.linalg.inv(world.columns["support"])}
    for name, says in (("mean", "KeyError: 'suport'"), ("through numpy", "LinAlgError: ")):
        with pytest.raises(ScenarioError) as caught:
            Environment(world, {name: outcomes[name]}, shards=1, frame_bytes=4096).measure()
        line = outcomes[name].__code__.co_firstlineno + (name == "mean")
        assert str(caught.value).startswith(f"outcome {name!r}: {says}")
        assert f"{__file__}:{line} in {outcomes[name].__name__}" in str(caught.value)
        assert ("The columns there are: support" in str(caught.value)) == (name == "mean")


def test_an_outcome_whose_own_key_is_missing_is_not_told_of_columns() -> None:
    world = opened(AGENTS, Fund(), fields={"support": float}, columns={"support": [0.5] * AGENTS})
    made = Environment(world, {"mean": lambda world: {}["support"]}, shards=1, frame_bytes=4096)
    with pytest.raises(ScenarioError, match="KeyError") as caught:
        made.measure()
    assert "columns" not in str(caught.value).replace(__file__, "")


def test_outcomes_are_plain_floats_and_may_be_undefined() -> None:
    one = environment({"n": lambda world: np.int64(3), "undefined": lambda world: math.nan})
    values = one.measure()
    assert {type(value) for value in values.values()} == {float}
    assert values["n"] == 3.0
    assert math.isnan(values["undefined"])


def test_what_an_outcome_warns_of_is_told_once_with_its_name_and_tick(capfd: pytest.CaptureFixture[str]) -> None:
    """NumPy's own warning would name a line of NumPy's."""
    world = opened(AGENTS, Fund(), fields={"support": float}, columns={"support": [0.5] * AGENTS})
    nobody = {"mean of nobody": lambda world: world.columns["support"][:0].mean()}
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        one = Environment(world, nobody, shards=1, frame_bytes=4096)
        told = [one.close_tick(tick, handed([], [])).warnings for tick in range(3)]
    assert told[1:] == [[], []]
    assert re.search("outcome 'mean of nobody': RuntimeWarning: Mean of empty slice.*tick 1 it is nan", told[0][0])
    assert "empty slice" not in capfd.readouterr().err


@pytest.mark.parametrize(("value", "why"), [(2**64, "more than 64 bits"), ("\ud800", "lone surrogates")])
def test_what_agents_cannot_be_shown_is_told_with_its_column(value: Any, why: str) -> None:
    class Showing(Part):
        name = "showing"

        def observe(self, tick: int, agents: Any) -> Any:
            return {"odd": [0, *[value] * (len(agents) - 1)], "good": agents}

        @query
        def odd(self, agents: Any, args: Any) -> list[Any]:
            return [0, *[value] * (len(agents) - 1)]

    one = Environment(opened(AGENTS, Showing()), {}, shards=1, frame_bytes=2**20)
    with pytest.raises(ScenarioError, match=rf"'showing.odd'.*{why}"):
        one.observe(np.arange(2, dtype=np.int32))
    with pytest.raises(ScenarioError, match=rf"showing\.odd.*{why}"):
        one.look([Look(0, "showing.odd", {}), Look(1, "showing.odd", {})])


def test_an_outcome_that_forgets_the_types_is_told_of_them() -> None:
    counts = {"firm": 2, "home": 1}
    columns = {"firm": {"price": [1.0, 2.0]}, "home": {}}
    world = opened(3, fields={"firm": {"price": float}, "home": {}}, columns=columns, counts=counts)
    for outcome in (lambda world: world.columns["price"].mean(), lambda world: world.columns["home"]["price"].mean()):
        made = Environment(world, {"mean": outcome}, shards=1, frame_bytes=4096)
        with pytest.raises(
            ScenarioError, match=r"'price'.*world\.columns\['firm'\] has price; world.*'home'\] has none"
        ):
            made.measure()
