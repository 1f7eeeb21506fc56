"""Every benchmark runs, as small as it goes, and hands figures over: that they run is held here, not how fast."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
QUICK = (
    "kernel", "gateway", "memory", "startup", "saving", "column_saving", "coordinator", "rounds", "feed_ranking",
    "minds", "wealth", "mesa_models", "out_of_order", "headline",
)  # fmt: skip
SLOW = (
    "crowd",
    "long_run",
    "scaling",
    "bus",
    "slow_calls",
    "page",
)  # many agents, a Ray, deadlines, a page over a recorded run


def gathered(out: Path, *names: str) -> tuple[subprocess.CompletedProcess[str], dict[str, list[float]]]:
    """How the command over these benchmarks ended, and the figures of each."""
    command = [sys.executable, str(BENCHMARKS / "all.py"), "--smoke", "--out", str(out), "--only", *names]
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS.parent)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, env=environment)
    found: dict[str, list[float]] = {}
    for line in (out / "figures.jsonl").read_text().splitlines():
        one = json.loads(line)
        found.setdefault(one["benchmark"], []).append(one["value"])
    return done, found


def holds(out: Path, *names: str) -> None:
    """All of them end well, with figures, a table and a picture."""
    done, found = gathered(out, *names)
    assert done.returncode == 0, done.stdout[-2000:] + "".join(
        (out / f"{one}.txt").read_text()[-2000:] for one in names
    )
    assert set(found) == set(names)
    table = (out / "figures.md").read_text()
    assert all(f"| {one} |" in table for one in names)


@pytest.mark.parametrize("name", QUICK)
def test_a_benchmark_runs(name: str, tmp_path: Path) -> None:
    holds(tmp_path, name)


@pytest.mark.scale
@pytest.mark.parametrize("name", SLOW)
def test_a_slow_benchmark_runs(name: str, tmp_path: Path) -> None:
    holds(tmp_path, name)


def test_all_benchmarks_of_the_command_are_tried() -> None:
    listed = subprocess.run(
        [sys.executable, "-c", "import all as them; print(*them.SCRIPTS)"], cwd=BENCHMARKS, text=True,
        capture_output=True, check=True,
    ).stdout.split()  # fmt: skip
    assert {*listed} == {*QUICK, *SLOW}


def test_a_benchmark_that_fails_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    for name in ("all", "figures", "coordinator"):
        (tmp_path / f"{name}.py").write_text((BENCHMARKS / f"{name}.py").read_text())
    (tmp_path / "minds.py").write_text("raise SystemExit('no such part')")
    command = [sys.executable, "all.py", "--smoke", "--out", "out", "--only", "minds", "coordinator"]
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS.parent)}
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False, env=environment
    )
    assert done.returncode == 1
    assert "minds: 0 figures" in done.stdout
    assert "FAILED" in done.stdout
    assert "no such part" in (tmp_path / "out" / "minds.txt").read_text()
    assert "coordinator" in (tmp_path / "out" / "figures.md").read_text()


@pytest.mark.scale
def test_a_rival_that_fails_is_shown_and_the_others_are_measured(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "rivals.py"), "--agents", "4", "--ticks", "2", "--rounds", "1"]
    command += ["--oasis", str(tmp_path / "none"), "--concordia", sys.executable]
    places = os.pathsep.join(str(one) for one in (BENCHMARKS, BENCHMARKS.parent))
    environment = {**os.environ, "PYTHONPATH": places, "POPULACE_FIGURES": str(tmp_path / "figures.jsonl")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, env=environment)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "oasis failed: " in done.stdout
    assert "No module named 'concordia'" in done.stdout
    found = {
        one["what"]: one["value"] for one in map(json.loads, (tmp_path / "figures.jsonl").read_text().splitlines())
    }
    assert found.keys() == {
        f"{name}, {what} a decision" for name in ("bare aiohttp loop", "populace") for what in ("CPU", "calls")
    }
    assert found["populace, calls a decision"] == found["bare aiohttp loop, calls a decision"] == 1.0
