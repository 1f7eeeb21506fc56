"""The invariants as one call: what keeps them passes, and what breaks one on purpose is caught and named."""

from __future__ import annotations

import asyncio

import pytest
from support.villages import AGENTS, FILE, IMPORTS, KNOBS, OUTCOMES, SOCIETY

from populace.core.errors import ScenarioError, SettingsError
from populace.kernel import bus, tick_end
from populace.testing import InvariantBroken, check_society

HEARD = "        self.heard = self.heard or bool(ctx.inbox)\n"
PART = """
from populace.env import Part, World, action


class Tally(Part):
    name = "tally"

    def __init__(self):
        self.steps = 0

    def state(self):
        return {"steps": self.steps}

    def restore(self, state):
        self.steps = int(state["steps"])

    def advance(self, draw):
        self.steps += STEP
        return ()


def world(setup, people):
    return World(Tally())
"""
WORLDLY = SOCIETY.replace("population=villagers,", "population=villagers, world=world,")


@pytest.fixture
def society(tmp_path):
    """Writes a society's text into a file and gives its path."""

    def write(text):
        path = tmp_path / "village.py"
        path.write_text(text)
        return path

    return write


def with_turn(line: str, before: str = "") -> str:
    """The village with a line put first into its turn."""
    return IMPORTS + KNOBS + before + AGENTS.replace(HEARD, f"        {line}\n{HEARD}") + OUTCOMES + SOCIETY


def test_a_society_that_keeps_them_passes_and_the_report_says_what_was_done(society):
    checked = check_society(society(FILE), seed=4)
    assert (checked.society, checked.agents, checked.ticks, checked.shards) == ("village", 8, 6, (1, 2, 5))
    assert 1 <= checked.interrupted_at < 6
    assert 0 <= checked.forked_at <= 6
    assert checked.asks > 0
    assert checked.messages > 0
    assert checked.trace_hash
    assert checked.world_hash
    assert check_society(society(FILE), seed=4, model="placebo", shards=(3,)).trace_hash == checked.trace_hash


def test_the_shipped_scenario_and_its_parameters(tmp_path):
    checked = check_society(
        "polarization", agents=6, ticks=2, shards=(1, 3), levers=["at=1, block={sender=[1]}"], out=tmp_path / "kept"
    )
    assert checked.ticks == 2
    assert (tmp_path / "kept" / f"resumed-{checked.interrupted_at}" / "manifest.json").exists()


def test_a_part_that_keeps_its_state_passes(society):
    check_society(society(IMPORTS + KNOBS + PART.replace("STEP", "1") + AGENTS + OUTCOMES + WORLDLY), shards=(1, 2))


def test_where_an_event_loop_runs_it_is_the_same(society):
    path = society(FILE)

    async def test():
        return check_society(path, shards=(1,))

    assert asyncio.run(test()).ticks == 6


BROKEN = {
    "repeat": with_turn("self.belief = random.random()", "import random\n"),
    "shards": with_turn("SEEN.append(ctx.id); self.belief = float(len(SEEN))", "SEEN = []\n"),
    "resume": with_turn(
        "COUNTS[ctx.id] = COUNTS.get(ctx.id, 0) + 1; self.belief = float(COUNTS[ctx.id])", "COUNTS = {}\n"
    ),
    "outcomes": FILE.replace('return float(world.columns["belief"].mean())', "return __import__('random').random()"),
    "kept": with_turn("self.notes = (1, 2)").replace(
        "    belief: Public", "    notes: 'typing.Any' = None\n    belief: Public"
    ).replace("import populace\n", "import typing\nimport populace\n"),
}  # fmt: skip


@pytest.mark.parametrize("invariant", BROKEN)
def test_what_breaks_one_is_caught_and_named(society, invariant):
    with pytest.raises(InvariantBroken) as caught:
        check_society(society(BROKEN[invariant]), shards=(1, 2))
    assert caught.value.invariant == invariant, caught.value
    assert f"invariant '{invariant}'" in str(caught.value)
    if invariant == "outcomes":
        assert "Outcome 'belief' at tick 0" in str(caught.value)
    elif invariant == "kept":
        assert "Villager.notes" in str(caught.value)
    else:
        assert caught.value.tick is not None
        assert "First difference, in tick" in str(caught.value)
        assert " of agent " in str(caught.value)


def test_a_part_with_hidden_state_is_caught(society):
    hidden = PART.replace("STEP", "1").replace('{"steps": self.steps}', "{}").replace('int(state["steps"])', "0")
    with pytest.raises(InvariantBroken, match=r"'kept'.*\n.*part 'tally'"):
        check_society(society(IMPORTS + KNOBS + hidden + AGENTS + OUTCOMES + WORLDLY), shards=(1,))


def test_a_part_whose_state_is_a_variable_of_the_module_is_caught_at_the_resume(society):
    hidden = PART.replace("self.steps += STEP", "ADVANCED.append(1); self.steps = len(ADVANCED)")
    text = IMPORTS + KNOBS + "ADVANCED = []\n" + hidden + AGENTS + OUTCOMES + WORLDLY
    told = r"'resume'.*\n.*world's state differs from tick \d on, in: tally"
    with pytest.raises(InvariantBroken, match=told) as caught:
        check_society(society(text), shards=(1,), seed=1)
    assert caught.value.tick is not None


def test_a_lost_message_is_caught(society, monkeypatch):
    route = bus.route
    monkeypatch.setattr(tick_end, "route", lambda out, **how: route(out, **how)[:-1])
    with pytest.raises(InvariantBroken, match=r"'conservation' \(on 2 shards\)"):
        check_society(society(FILE), shards=(2,))


PLAYED = """
import sys


def is_played(where):
    for frame in sys._current_frames().values():
        while frame is not None:
            for value in (frame.f_locals.get("out"), frame.f_locals.get("place")):
                if str(getattr(value, "folder", value)).endswith(where):
                    return True
            frame = frame.f_back
    return False

"""


def test_a_fork_and_a_replay_that_differ_are_caught(society):
    """Turns that look up the stack whose run they are in, and do something else in one of them."""
    for played, named in (("replayed", "replay"), ("forked", "fork")):
        odd = f"self.belief = float(is_played({played!r}))"
        with pytest.raises(InvariantBroken) as caught:
            check_society(society(with_turn(odd, PLAYED)), shards=(1,))
        assert caught.value.invariant == named


def test_what_cannot_be_checked_or_loaded_is_said(society):
    with pytest.raises(SettingsError, match="'scripted', 'rules' or 'placebo'"):
        check_society(society(FILE), model="openai")
    with pytest.raises(ScenarioError, match="cannot be loaded"):
        check_society(society("import nothing_of_this_name\n"))
    with pytest.raises(SettingsError, match="on which numbers of shards"):
        check_society(society(FILE), shards=())
