"""A part of the world that a resume would make another is found, as early as can be; a sound one is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.attempts import go
from support.running import settings_of

from populace.cluster.job import build_run, lever_notes, plan_job
from populace.core.errors import ScenarioError
from populace.data.societies import find_society
from populace.env import World
from populace.kernel.trial import is_sample, try_world
from populace.runs.courses import resume_course

SOCIETY = """
import msgspec
import numpy as np
from populace import Agent, Parameters, Population, Public, Society, World
from populace.env import Part, action

class Dials(Parameters):
    rate: float = 0.1
    names: list[str] = msgspec.field(default_factory=lambda: ["a"])

class Payer(Agent):
    paid: Public[float] = 0.0

    async def turn(self, ctx):
        self.paid = ctx.seen["fund.paid"]
        ctx.act("fund.pay", amount=1.0)

class Fund(Part):
    def open(self, opening):
        self.paid = np.zeros(opening.agents)
        pass  # open

    def observe(self, tick, agents):
        return {"paid": self.paid[agents]}

    @action
    def pay(self, tick, batch):
        for agent, args in zip(batch.agents, batch.args):
            self.paid[agent] += args["amount"] * (1 + self.world.parameters.rate)
            pass  # pay

    def state(self):
        return {"paid": self.paid}

    def restore(self, state):
        self.paid = state["paid"].copy()

society = Society(
    name="payers", agent=Payer, population=lambda setup: Population({"paid": [0.0] * setup.agents}),
    world=lambda setup, people: World(Fund()), parameters=Dials(), outcomes={"sum": lambda w: w.fund.paid.sum()},
    size=20, ticks=6,
)
"""
STATE = SOCIETY[SOCIETY.index("    def state") : SOCIETY.index("society = ")]


def written(folder: Path, **changes: str) -> str:
    """The society with its marked lines replaced; its path."""
    text = SOCIETY
    for mark, line in changes.items():
        old = STATE if mark == "state" else f"pass  # {mark}"
        assert old in text
        text = text.replace(old, line)
    path = folder / "payers.py"
    path.write_text(text)
    return str(path)


def built(scenario: str, **options: object) -> None:
    build_run(plan_job(find_society(scenario), settings_of(**{"agents": 20, "ticks": 6, **options})))


PAID = "self.paid}"
GIVEN = 'state["paid"].copy()'
NO_STATE = r"pay changes self\.paid \(.*payers\.py:29\), and the part has no state\(\)"

AT_THE_START = {
    "no state": ({"state": ""}, NO_STATE),
    "no restore": ({"state": STATE[: STATE.index("    def restore")]}, r"has state\(\) and no restore\(\)"),
    "a forgotten array": ({"open": "self.n = np.zeros(3)", "pay": "self.n[0] += 1"}, r"self\.n .*leaves it out"),
    "a forgotten list": ({"open": "self.log = []", "pay": "self.log.append(1)"}, r"changes self\.log "),
    "a forgotten number": ({"open": "self.n = 0", "pay": "self.n += 1"}, r"changes self\.n "),
    "a set": ({"state": STATE.replace(PAID, 'self.paid, "met": {1}}')}, r"state \(.*payers\.py:32\): .*'fund/met'"),
    "an object": ({"state": STATE.replace(PAID, 'self.paid, "o": object()}')}, r"'fund/o'"),
    "a restore that errs": ({"state": STATE.replace(GIVEN, "self.paid + 1.0")}, r"state\(\) gives as 'paid'"),
    "a restore that errs in what nobody writes to": (
        {
            "open": "self.q = np.arange(3.0); self.q.flags.writeable = False",
            "state": STATE.replace(PAID, 'self.paid, "q": self.q}').replace(GIVEN, GIVEN + '; self.q = state["q"] + 1'),
        },
        r"state\(\) gives as 'q'",
    ),
    "a constant that is drawn anew": ({"open": "self.place = id(opening)"}, r"self\.place is another"),
    "kept parameters": ({"open": "self.dials = opening.parameters"}, r"keeps .* parameters, as self\.dials"),
    "kept in a function": ({"open": "self.f = {'x': [lambda: opening.parameters]}"}, r"as self\.f\['x'\]\[0\]"),
}


@pytest.mark.parametrize("case", AT_THE_START)
def test_a_part_that_would_come_back_as_another_is_refused_before_the_first_tick(tmp_path: Path, case: str) -> None:
    changes, said = AT_THE_START[case]
    with pytest.raises(ScenarioError, match=said) as found:
        built(written(tmp_path, **changes))
    assert "fund" in str(found.value)


def test_code_that_is_alike_but_for_where_it_stands_is_named_there(tmp_path: Path) -> None:
    loop = "        for agent, args in zip"
    for name, before, line in (("one", "", 29), ("two", "", 29), ("lower", "\n", 30)):
        (tmp_path / name).mkdir()
        scenario = Path(written(tmp_path / name, state=""))
        scenario.write_text(scenario.read_text().replace(loop, before + loop))
        with pytest.raises(ScenarioError, match=rf"pay changes self\.paid \(.*{name}/payers\.py:{line}\)"):
            built(str(scenario))


@pytest.mark.parametrize("case", ["a forgotten array", "kept parameters"])
def test_control_what_the_trial_would_have_said_is_not_said_without_it(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("populace.kernel.environment.Environment.try_parts", lambda _: None)
    built(written(tmp_path, **AT_THE_START[case][0]))


def test_what_the_code_does_not_show_is_found_after_the_first_tick(tmp_path: Path) -> None:
    scenario = written(tmp_path, open="self.n = np.zeros(3)", pay="np.add.at(self.n, [0], 1)")
    built(scenario)
    with pytest.raises(ScenarioError, match=r"part 'fund': self\.n is another once the part is restored"):
        go(tmp_path / "run", scenario=scenario, agents=20, ticks=1)


@pytest.mark.parametrize("declared", [False, True])
def test_a_sound_part_is_left_alone_and_resumes_as_it_was(tmp_path: Path, declared: bool) -> None:
    scenario = written(tmp_path, **({"open": "self.n = 0", "pay": "self.n += 1"} if declared else {}))
    if declared:
        text = Path(scenario).read_text()
        Path(scenario).write_text(text.replace("class Fund(Part):", "class Fund(Part):\n    unsaved = ('n',)\n"))
    whole = go(tmp_path / "whole", scenario=scenario, agents=20, ticks=6)
    assert go(tmp_path / "run", scenario=scenario, agents=20, ticks=6, stop_at=3, checkpoint__every_ticks=1) is None
    resumed = go(tmp_path / "run", going=resume_course(tmp_path / "run"))
    assert resumed["trace_hashes"] == whole["trace_hashes"]


def test_an_error_of_a_part_says_file_and_line(tmp_path: Path) -> None:
    scenario = written(tmp_path, pay='args["target"]')
    with pytest.raises(ScenarioError, match=r"action 'fund\.pay', .*KeyError: 'target', at .*payers\.py:30 in pay"):
        go(tmp_path / "run", scenario=scenario, agents=20, ticks=2)


def test_a_part_that_copies_a_parameter_which_a_lever_sets_is_refused(tmp_path: Path) -> None:
    lever = {"at": 2, "set": {"society.rate": 0.5}}
    keeping = written(tmp_path, open="self.rate = opening.parameters.rate")
    with pytest.raises(ScenarioError, match=r"part 'fund', as self\.rate, keeps society\.rate"):
        lever_notes(plan_job(find_society(keeping), settings_of(agents=20, ticks=6, levers=[lever])))
    sound = tmp_path / "sound"
    sound.mkdir()
    assert lever_notes(plan_job(find_society(written(sound)), settings_of(agents=20, ticks=6, levers=[lever]))) == []


def test_a_world_is_tried_after_the_first_tick_and_ever_more_seldom() -> None:
    assert [tick for tick in range(70) if is_sample(tick)] == [1, 4, 16, 64]


def test_an_array_that_nobody_can_write_to_is_no_copy_in_the_world_that_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = STATE.replace(PAID, 'self.paid, "q": self.q}').replace(GIVEN, GIVEN + '; self.q = state["q"]')
    scenario = written(tmp_path, open="self.q = np.arange(3.0); self.q.flags.writeable = False", state=keep)
    tried: list[tuple[World, World]] = []

    def noted(world: World, again: World) -> None:
        try_world(world, again)
        tried.append((world, again))

    monkeypatch.setattr("populace.kernel.environment.try_world", noted)
    built(scenario)
    ((world, again),) = tried
    assert again.fund.q is world.fund.q
    assert again.fund.paid is not world.fund.paid


def test_what_a_part_makes_only_when_it_is_asked_for_is_made_before_there_is_another_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network of a million takes a gigabyte while it is drawn: no second world's columns stand beside it."""
    told: list[str] = []
    open_, state = World.open, World.state
    monkeypatch.setattr(World, "open", lambda self, opening: (told.append("open"), open_(self, opening))[1])
    monkeypatch.setattr(World, "state", lambda self: (told.append("state"), state(self))[1])
    built(written(tmp_path))
    assert told[:3] == ["open", "state", "open"]
