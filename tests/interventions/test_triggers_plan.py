"""What triggers may say: errors before a run begins, names that there are, and conditions on columns."""

from __future__ import annotations

import numpy as np
import pytest
from support.running import run_local
from support.triggers import WATCHED

from populace.core.draws import Draws
from populace.core.errors import NotKept, ScenarioError, SettingsError
from populace.env import Opening, Part, World, signal
from populace.interventions.levers import parse_lever
from populace.interventions.readings import fits
from populace.kernel.trial import check_parts

SEND = 'send={to="matching", body=1}'
SET = "set={society.transfer=0}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"when={{}}, {SET}", "say agents = "),
        (
            f"when={{agnts={{x=1}}}}, {SET}",
            r"unknown key 'when\.agnts'\. Keys there are: agents, among, outcomes, world",
        ),
        (f"when={{outcomes={{x={{mn=1}}}}}}, {SET}", r"'when\.outcomes\.x'.*a range is"),
        (f"at=0, when={{outcomes={{x=1}}}}, {SET}", "a trigger is first read at the edge after tick 0"),
        (f"when={{outcomes={{x=1}}}}, lasts=0, {SET}", "'lasts' = 0"),
        (f"when={{outcomes={{x=1}}}}, again=0, {SET}", "'again' = 0"),
        (f"when={{outcomes={{x=1}}}}, lasts=2, {SEND}", "unknown key 'lasts'"),
        (f"when={{outcomes={{x=1}}}}, {SEND}", 'conditions of agents and the group "matching" go together'),
        (f"when={{agents={{x=1}}}}, {SET}", 'conditions of agents and the group "matching" go together'),
        (f"at=1, {SEND}", '"matching" are those who meet a trigger'),
        (f"at=1, lasts=2, {SET}", "lasts is of levers with a trigger"),
        (f"at=1, again=2, {SET}", "again is of levers with a trigger"),
        (f'when={{outcomes={{x=1}}, among="all"}}, {SET}', "among says which agents"),
        (f'when={{agents={{x=1}}, among="matching"}}, {SEND}', "among is a group of its own"),
        (f"when={{world={{wind=1}}}}, {SET}", "'wind': a value of the world is"),
        (f'when={{agents={{"a.b.c"=1}}}}, {SEND}', "a condition of agents is on"),
        ('when={agents={x=1}}, change={group="matching", each={x=[1]}}', "how many are"),
    ],
)
def test_a_trigger_that_cannot_be_read_is_named_with_its_key(text, says):
    with pytest.raises(SettingsError, match=says):
        parse_lever(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            f"when={{agents={{strike={{min=1}}}}}}, {SEND}",
            "no public field of agents 'strike'; there are: heard, pay, str",
        ),
        (f"when={{agents={{heat={{min=1}}}}}}, {SEND}", "no public field of agents 'heat'"),
        (f"when={{agents={{office.post={{min=1}}}}}}, {SEND}", "no signal 'office.post'; there are: office.posted"),
        (f"when={{agents={{office.weather={{min=1}}}}}}, {SEND}", "is one value, of no agent: it is for when.world"),
        (f"when={{world={{office.posted={{min=1}}}}}}, {SET}", "has a value for each agent: it is for when.agents"),
        (f"when={{world={{office.wind={{min=1}}}}}}, {SET}", "no signal 'office.wind'"),
        (f"when={{outcomes={{post={{min=1}}}}}}, {SET}", "no outcome 'post'; there are: pay, posts"),
        (f"when={{outcomes={{posts='many'}}}}, {SET}", '\'"many" is text|"many" is text'),
        (f"when={{world={{office.season={{min=1}}}}}}, {SET}", "1 is numbers, and what it is compared with is text"),
        (f"when={{agents={{strikes=true}}}}, {SEND}", "true is true or false, and what it is compared with is numbers"),
        (f"when={{agents={{strikes=1}}, among={{where={{group='z'}}}}}}, {SEND}", r"when\.among: no agent has group"),
        (f"at=8, when={{outcomes={{posts={{min=1}}}}}}, {SET}", "at = 8, and the run has 8 ticks"),
        ("when={outcomes={posts={min=1}}}, set={society.transfr=0}", "transfr"),
        ("when={outcomes={posts={min=1}}}, set={world.office.bonus='x'}", "world.office.bonus"),
        ("when={agents={strikes={min=1}}}, set={world.office.bonus='matching'}", "world.office.bonus.*`array`|array"),
        ("when={agents={strikes={min=1}}}, change={group='matching', fields={strike=0}}", "no such field"),
    ],
)
def test_what_can_never_be_read_or_done_is_an_error_before_the_run_begins(tmp_path, text, says):
    with pytest.raises(SettingsError, match=f"lever 'x': .*({says})"):
        run_local(tmp_path, WATCHED, levers=[parse_lever(f"name='x', {text}")])
    assert not (tmp_path / "agents").exists()


def test_in_a_society_with_types_nobody_may_be_able_to_meet_a_condition(tmp_path):
    from support.births import __file__ as births

    def plan(text: str) -> None:
        run_local(tmp_path, str(births), levers=[parse_lever(text)])

    with pytest.raises(SettingsError, match="nobody can meet it: only type firm has this field"):
        plan('when={agents={price={min=1}}, among={type="household"}}, send={to="matching", body=1}')
    with pytest.raises(SettingsError, match=r"has no such field.*says who can meet the trigger"):
        plan('when={agents={"sold"={min=1}}}, change={group="matching", fields={wealth=1.0}}')


class Odd(Part):
    given: object = 1

    @signal
    def value(self):
        return self.given


def read(value: object) -> object:
    part = Odd()
    part.given = value
    world = World(part)
    world.open(Opening(agents=3, seed=1, tick_seconds=1.0, parameters=None, columns={}, draw=Draws(1)))
    assert world.signals == {"odd.value"}
    return world.signal("odd.value")


def test_a_signal_is_one_plain_value_or_one_an_agent():
    assert [read(one) for one in (True, 2, 0.5, "x", np.float64(0.5), np.int32(3))] == [True, 2, 0.5, "x", 0.5, 3]
    for given, dtype in (
        ([1, 2, 3], np.int64),
        (np.ones(3), np.float64),
        (["a", "b", "c"], object),
        ([True] * 3, bool),
    ):
        column = read(given)
        assert isinstance(column, np.ndarray)
        assert column.dtype == dtype
        assert not column.flags.writeable


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "gives a NoneType"),
        ({1, 2}, "gives a set"),
        ([1, 2], r"an array of shape \(2,\) for 3 agents"),
        ([None, 1, 2], "an array of object"),
        (np.ones((3, 2)), r"of shape \(3, 2\)"),
    ],
)
def test_a_signal_that_is_neither_is_named(value, says):
    with pytest.raises(ScenarioError, match=f"signal 'odd.value'.*{says}"):
        read(value)


def test_a_signal_that_changes_its_part_is_found():
    class Sly(Part):
        @signal
        def value(self) -> int:
            self.reads = 1
            return 1

    world = World(Sly())
    world.open(Opening(agents=3, seed=1, tick_seconds=1.0, parameters=None, columns={}, draw=Draws(1)))
    with pytest.raises(NotKept, match=r"signal value changes self\.reads"):
        check_parts(world, None)


def test_columns_fit_conditions_by_value_list_and_range():
    numbers = np.array([1.0, 2.0, np.nan, 3.0])
    assert fits(numbers, {"min": 2}).tolist() == [False, True, False, True]
    assert fits(numbers, {"max": 2}).tolist() == [True, True, False, False]
    assert fits(numbers, [1, 3]).tolist() == [True, False, False, True]
    assert fits(np.array(["a", "b"], object), "b").tolist() == [False, True]
    assert fits(np.array([True, False]), False).tolist() == [False, True]
    assert fits(np.array([1, 0]), True).tolist() == [False, False]
