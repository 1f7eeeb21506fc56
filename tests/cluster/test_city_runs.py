"""A society in a city is one in every life: on any shards, interrupted, replayed, forked, with levers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.attempts import go

import populace
from populace.env.city.part import City
from populace.runs.courses import resume_course
from populace.testing import InvariantBroken, check_society

TOWN = str(Path(__file__).parent.parent / "support" / "townsfolk.py")
LEVERS = (
    "at=2, until=4, set={'world.city.closed'=['shop']}",
    "at=1, until=6, set={'world.city.hazard_factor'=2.0, 'world.city.stopped'=['transit']}",
    "when={world={city.level={min=6.5}}}, lasts=2, set={'world.city.closed'=['leisure']}",
    "at=5, set={'world.city.evacuation'={x=0, y=0, radius_m=900}, 'world.city.capacity_factor'=0.5}",
)


def test_a_day_in_town_is_one_in_every_life():
    checked = check_society(TOWN, levers=LEVERS, seed=3)
    assert checked.messages > 50


def hashes(manifest):
    return manifest["trace_hashes"], manifest["world_hashes"]


def test_on_three_shards_ended_and_resumed_on_two(tmp_path: Path):
    whole = populace.run(TOWN, model="scripted", seed=7, levers=LEVERS, out=tmp_path / "whole", quiet=True)
    options = {"scenario": TOWN, "ticks": 9, "levers": whole.manifest["settings"]["levers"], "shards": 3}
    assert go(tmp_path / "parted", stop_at=5, checkpoint__every_ticks=2, **options) is None
    again = go(tmp_path / "parted", going=resume_course(tmp_path / "parted", shards=2))
    assert hashes(again) == hashes(whole.manifest)
    actions = whole.table("actions")
    fates = {"applied", *(f"refused:{why}" for why in ("closed", "full", "on_the_way", "no_service"))}
    assert fates <= set(actions.fate)
    assert "levers[2]" in set(whole.table("levers").lever)
    agents = whole.table("agents")
    assert agents.wind.max() > 0
    assert whole.manifest["born"] == whole.manifest["left"] == 1
    assert whole.outcomes.left_home.max() > 0.5


def test_a_lever_that_closes_shops_keeps_people_out(tmp_path: Path):
    open_, shut = (
        populace.run(TOWN, model="scripted", seed=5, levers=levers, out=tmp_path / str(len(levers)), quiet=True)
        for levers in ((), ["at=0, set={'world.city.closed'=['shop', 'leisure']}"])
    )
    assert open_.outcomes.shopping.max() > 3
    assert shut.outcomes.shopping.max() == 0
    assert (open_.outcomes.shopping.iloc[:1] == shut.outcomes.shopping.iloc[:1]).all()


def test_control_arrivals_that_are_forgotten_at_a_resume_are_another_run(monkeypatch, tmp_path: Path):
    restore = City.restore

    def forgetting(self, state):
        restore(self, state)
        self.trips._due.clear()

    whole = populace.run(TOWN, model="scripted", seed=7, out=tmp_path / "whole", quiet=True)
    assert go(tmp_path / "parted", stop_at=4, scenario=TOWN, ticks=9, checkpoint__every_ticks=1) is None
    monkeypatch.setattr(City, "restore", forgetting)
    assert hashes(go(tmp_path / "parted", going=resume_course(tmp_path / "parted"))) != hashes(whole.manifest)


def test_control_a_choice_by_ones_place_in_the_batch_is_found_out(monkeypatch):
    from populace.env.city.choosing import Choosing

    def by_row(self, kind, origins, agents, candidates, law, draw):
        return gravity(self, kind, origins, np.arange(len(agents), dtype=np.int32), candidates, law, draw)

    gravity = Choosing.gravity
    monkeypatch.setattr(Choosing, "gravity", by_row)
    monkeypatch.setattr("populace.kernel.actions.fair_places", lambda *given: np.arange(len(given[3])))
    with pytest.raises(InvariantBroken, match="shards"):
        check_society(TOWN, seed=3)
