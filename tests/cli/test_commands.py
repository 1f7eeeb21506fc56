"""What the command line shows, run in this process: its help, --quiet, the list of runs."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import msgspec
import pytest
from support.villages import FILE
from typer.testing import CliRunner

from populace.cli.app import app
from populace.runs.listing import runs_in
from populace.store.lock import held


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def village(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "village.py").write_text(FILE)

    def run(*args):
        return CliRunner().invoke(app, [*args])

    return run


def test_help_names_the_commands_in_the_order_of_use() -> None:
    said = CliRunner().invoke(app, ["--help"]).stdout
    listed = said.partition("Commands:")[2].splitlines()
    commands = [line.split()[0] for line in listed if line.startswith("  ") and line[2] != " "]
    wanted = [
        "run",
        "resume",
        "replay",
        "fork",
        "diff",
        "estimate",
        "scale",
        "costs",
        "runs",
        "survey",
        "interview",
        "watch",
        "dashboards",
        "export",
        "new",
        "doctor",
    ]
    wanted += ["scenarios", "experiment"]
    assert commands == wanted


def test_quiet_shows_neither_progress_nor_notes_and_still_the_summary(village) -> None:
    loud = village("run", "village.py", "--model", "scripted")
    assert '"event":"tick"' in loud.stderr
    for command in (
        ("run", "village.py", "--model", "scripted"),
        ("fork", "runs/village-1", "--at-tick", "2"),
        ("replay", "runs/village-1"),
        ("estimate", "village.py", "--scripted"),
    ):
        done = village(*command, "--quiet")
        assert done.exit_code == 0, done.output
        assert done.stderr == "", command
        assert done.stdout
    Path("village.py").write_text(f"{FILE}\n# changed\n")
    assert "note: " in village("fork", "runs/village-1", "--at-tick", "2").stderr
    assert village("fork", "runs/village-1", "--at-tick", "2", "-q").stderr == ""
    assert "complete" in str(village("resume", "runs/village-1", "-q").exception), "errors are told"


def test_runs_are_listed_with_what_became_of_them(village) -> None:
    assert "holds no run" in str(village("runs").exception)
    for _ in range(2):
        village("run", "village.py", "--model", "scripted", "-q")
    village("run", "village.py", "--model", "scripted", "-q", "--out", "runs/village-10")
    names = [json.loads(line)["run"] for line in village("runs").stdout.splitlines()]
    assert names == ["runs/village-1", "runs/village-2", "runs/village-10"]
    first = json.loads(village("runs", "runs/village-1").stdout)
    assert (first["status"], first["scenario"], first["ticks"], first["cost_usd"]) == ("complete", "village", 6, 0.0)
    assert first["planned"] == 6, "by the society, where no setting says how many"


def test_a_run_without_a_manifest_and_one_that_cannot_be_read_are_listed_too(village, tmp_path) -> None:
    village("run", "village.py", "--model", "scripted", "-q")
    (tmp_path / "runs" / "village-1" / "manifest.json").unlink()
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "run.json").write_text("{")
    broken, killed = runs_in(tmp_path / "runs")
    assert (broken.status, killed.status, killed.ticks, killed.planned) == ("unreadable", "killed", 6, 6)
    assert (killed.scenario, killed.agents) == ("village", 8), "as it last told"
    assert 0 <= killed.told_s <= killed.age_s < 3600
    assert "run.json" in broken.error
    (tmp_path / "runs" / "village-1" / "progress.jsonl").unlink()
    _, silent = runs_in(tmp_path / "runs")
    assert (silent.status, silent.ticks, silent.cost_usd, silent.told_s) == ("killed", None, None, None)
    assert msgspec.json.encode(killed)


def test_a_run_at_work_is_listed_as_it_last_told(village, tmp_path) -> None:
    village("run", "village.py", "--model", "scripted", "-q")
    folder = tmp_path / "runs" / "village-1"
    lines = (folder / "progress.jsonl").read_bytes().splitlines(keepends=True)
    ticks = [line for line in lines if json.loads(line)["event"] == "tick"]
    told = json.loads(ticks[0])
    (folder / "progress.jsonl").write_bytes(lines[0] + ticks[0] + b'{"event":"pulse","at_s":1.0}\n{"event":"ti')
    with held(folder):  # as while it is resumed: its manifest is of the attempt before
        (one,) = runs_in(tmp_path / "runs")
    assert (one.status, one.ticks, one.planned, one.asks) == ("at work", told["tick"], 6, told["asks"])
    (ended,) = runs_in(tmp_path / "runs")
    assert (ended.status, ended.ticks) == ("complete", 6)


def test_the_runs_of_experiments_in_a_folder_are_listed(village, tmp_path) -> None:
    for arm in ("a-000", "a-001"):
        village("run", "village.py", "--model", "scripted", "-q", "--out", f"runs/trial/{arm}", "--set", "arm=a")
    village("run", "village.py", "--model", "scripted", "-q")
    assert [one.run for one in runs_in(Path("runs"))] == ["runs/village-1"], "a folder of something else"
    (tmp_path / "runs" / "trial" / "experiment.json").write_text("{}")
    found = [(one.run, one.arm) for one in runs_in(Path("runs"))]
    assert found == [("runs/village-1", ""), ("runs/trial/a-000", "a"), ("runs/trial/a-001", "a")]


def test_on_a_terminal_it_is_a_table(village, monkeypatch) -> None:
    from populace.cli.runs import runs

    village("run", "village.py", "--model", "scripted", "-q")
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")
    runs()
    head, row = sys.stdout.getvalue().splitlines()
    assert head.split() == ["run", "status", "scenario", "agents", "ticks", "asks", "cost", "age"]
    assert row.split()[:5] == ["runs/village-1", "complete", "village", "8", "6"]
