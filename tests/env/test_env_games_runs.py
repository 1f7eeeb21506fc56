"""Societies that play: the same run on any number of shards, after a kill, in a replay; leavers hang nobody."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from support.running import run_local

from populace.testing import check_society

PLAYERS = "tests/support/players.py"


@pytest.mark.parametrize("by", ["rounds", "acts"])
def test_the_invariants_hold(by):
    check_society(
        PLAYERS, agents=6, ticks=3, shards=(1, 3), parameters={"by": by}, settings={"limits.failed_turns": 1.0}
    )


@pytest.mark.parametrize("by", ["rounds", "acts"])
def test_who_abstains_raises_or_retires_ends_its_play_and_hangs_nobody(by, tmp_path):
    calm = run_local(tmp_path / "calm", PLAYERS, society__by=by, society__break_off=0.0)
    rough = run_local(tmp_path / "rough", PLAYERS, society__by=by, society__break_off=0.4, society__retire=3)
    assert rough["turns_failed"] > calm["turns_failed"] == 0
    found = [pq.read_table(tmp_path / run / "outcomes.parquet").to_pandas() for run in ("calm", "rough")]
    plays, missing = ([one[one["name"] == name]["value"].iloc[-1] for one in found] for name in ("plays", "missing"))
    assert plays[0] > plays[1] > 0 if by == "rounds" else plays[0] == plays[1] > 0
    assert missing[1] > missing[0]


def test_players_in_columns_play_the_same_on_any_number_of_shards(tmp_path):
    check_society("tests/support/copiers.py", agents=9, ticks=3, shards=(1, 3))
    made = run_local(tmp_path / "run", "tests/support/copiers.py", ticks=3)
    assert made["actions"] == {"taken": 60, "applied": 60, "refused": 0, "refused_by_reason": {}}
