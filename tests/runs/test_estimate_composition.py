"""A society of a few firms and many households: what does not grow with the agents is not scaled by them."""

from __future__ import annotations

from pathlib import Path

import pytest

from populace.data.societies import find_society
from populace.runs.estimate import expect, play, shares_of
from populace.settings import Model, Settings

TEXT = """
from populace import Agent, Population, Society

class One(Agent):
    role: str

    async def turn(self, ctx):
        await ctx.ask("What do you pay?" if self.role == "firm" else "What do you buy?", str,
                      purpose="wage" if self.role == "firm" else "spend")

def people(setup):
    return Population({"role": [ROLE for i in range(setup.agents)]})

society = Society(name="mine", agent=One, population=people, size=100, ticks=50)
"""
SETTINGS = Settings(agents=500, ticks=50, model=Model(kind="scripted"))


def society(folder: Path, role: str) -> Path:
    file = folder / "mine.py"
    file.write_text(TEXT.replace("ROLE", role), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "role", ['"firm" if i < 5 else "household"', '"household" if i < setup.agents - 5 else "firm"']
)
def test_five_firms_among_many_ask_as_five(tmp_path: Path, role: str) -> None:
    guess = expect(find_society(str(society(tmp_path, role))), SETTINGS).estimate
    assert guess.purposes["wage"].calls.mid == pytest.approx(250)
    assert guess.purposes["wage"].calls.low <= 250 <= guess.purposes["wage"].calls.high < 1_000
    assert guess.purposes["spend"].calls.high >= 495 * 50 * 0.75
    assert guess.calls.mid == pytest.approx(guess.purposes["wage"].calls.mid + guess.purposes["spend"].calls.mid)


def test_control_one_in_four_of_them_ask_as_one_in_four(tmp_path: Path) -> None:
    origin = find_society(str(society(tmp_path, '"firm" if i % 4 == 0 else "household"')))
    assert expect(origin, SETTINGS).estimate.purposes["wage"].calls.mid == pytest.approx(6_250)
    assert shares_of(origin, SETTINGS, play(origin, SETTINGS, 20, 2, scripted=True), 500) == {}


def test_a_central_bank_and_a_share_of_one_in_twenty_are_told_apart(tmp_path: Path) -> None:
    """In the pilot of twenty each is one agent; only in the larger of the two sizes do they differ."""
    for role, calls in (('"firm" if i == 0 else "household"', 50), ('"firm" if i % 20 == 0 else "household"', 1_250)):
        found = Path(tmp_path / str(calls))
        found.mkdir()
        guess = expect(find_society(str(society(found, role))), SETTINGS).estimate
        assert guess.purposes["wage"].calls.mid == pytest.approx(calls)


BANDS = """
from populace import Choice, ColumnarAgent, Population, Society

class Voter(ColumnarAgent):
    band: int

    async def turns(self, ctx):
        await ctx.ask("Band {band}: do you vote?", Choice("yes", "no"), facts={"band": self.band}, purpose="vote")

society = Society(name="bands", agent=Voter, size=100, ticks=50,
                  population=lambda setup: Population({"band": [i % 60 for i in range(setup.agents)]}))
"""


def test_archetypes_run_out_though_in_small_pilots_each_agent_is_one(tmp_path: Path) -> None:
    (tmp_path / "bands.py").write_text(BANDS, encoding="utf-8")
    settings = SETTINGS.model_copy(update={"agents": 20_000})
    guess = expect(find_society(str(tmp_path / "bands.py")), settings).estimate
    assert guess.purposes["vote"].calls.mid == pytest.approx(60 * 50)
