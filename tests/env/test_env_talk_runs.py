"""Societies that talk: the same run on any number of shards, after a kill, in a replay; leavers hang nobody."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.running import run_local

from populace.testing import check_society

TALKERS = "tests/support/talkers.py:society"


def outcome(run: Path, name: str) -> float:
    table = pq.read_table(run / "outcomes.parquet").to_pandas()
    return float(table[table["name"] == name]["value"].iloc[-1])


@pytest.mark.parametrize("by", ["rounds", "acts"])
def test_the_invariants_hold(by):
    check_society(
        TALKERS, agents=7, ticks=4, shards=(1, 3), parameters={"by": by}, settings={"limits.failed_turns": 1.0}
    )


@pytest.mark.parametrize("by", ["rounds", "acts"])
def test_who_abstains_raises_or_retires_ends_its_conversation_and_hangs_nobody(by, tmp_path):
    calm = run_local(tmp_path / "calm", TALKERS, society__by=by, society__break_off=0.0)
    rough = run_local(tmp_path / "rough", TALKERS, society__by=by, society__break_off=0.9, society__retire=3)
    assert rough["turns_failed"] > calm["turns_failed"] == 0
    assert outcome(tmp_path / "rough", "left") > 0
    assert outcome(tmp_path / "rough", "lines") < outcome(tmp_path / "calm", "lines")


def test_by_acts_who_has_the_floor_is_due_without_mail_from_anybody(tmp_path):
    made = run_local(
        tmp_path / "mail", TALKERS.replace(":society", ":on_mail"), society__break_off=0.0, society__by="acts"
    )
    assert outcome(tmp_path / "mail", "lines") > 10
    assert made["turns"] < 10 * made["ticks"]
