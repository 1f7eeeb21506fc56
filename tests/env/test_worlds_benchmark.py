"""The benchmark of all parts runs, small: each part is acted on and timed, and the picture is drawn."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from populace.env import World
from populace.env.acts import Acting

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "worlds.py"
PARTS = {"network", "feed", "city", "economy", "book", "directory", "game", "talk", "cases", "tools"}


def test_each_part_is_measured_and_drawn(tmp_path: Path) -> None:
    rows, picture = tmp_path / "rows.json", tmp_path / "worlds.svg"
    command = [sys.executable, str(BENCHMARK), "--smoke", "--rows", str(rows), "--plot", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(rows.read_text())
    assert {row["part"] for row in found} == PARTS
    for part in PARTS:
        of = [row for row in found if row["part"] == part]
        assert [(row["agents"], row["active"]) for row in of] == [
            (50, 50), (500, 50), (5_000, 5), (5_000, 50), (5_000, 500)
        ]  # fmt: skip
        assert all(row["acts"] >= row["active"] and row["all_s"] > 0 for row in of)
    assert "ranking by engagement for 50 readers" in done.stdout
    assert picture.read_text().startswith("<?xml")


def test_control_a_part_that_refuses_everything_is_not_a_fast_one(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARK.parent))
    worlds, cases = importlib.import_module("worlds"), importlib.import_module("worlds_cases")
    (case,) = (one for one in cases.ALL if one.part == "network")

    def themselves(_: World, who: Any, __: Any) -> Acting:
        return Acting([], [cases.columns("network.follow", who, target=who)])

    with pytest.raises(RuntimeError, match="network: 0 of 20 actions were applied"):
        worlds.ticks(msgspec.structs.replace(case, acts=themselves), case.make(100), 10, 2)
    assert worlds.ticks(case, case.make(100), 10, 2)["acts"] == 10
