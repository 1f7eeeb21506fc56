"""`populace watch` on a run that another process is at: what it sees, when it ends, and that it changes nothing."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import Begun, populace

from populace.cli.watch import sparkline
from populace.store.manifest import read_manifest

SOCIETY = """
import os
import time

from populace import Agent, Population, Public, Society

class Citizen(Agent):
    support: Public[float] = 0.0

    async def turn(self, ctx):
        while ctx.tick == 4 and not os.path.exists(os.environ["GO"]):
            time.sleep(0.01)
        await ctx.ask("Well?")
        self.support += 1.0

society = Society(name="watched", agent=Citizen, population=lambda setup: Population({"support": [0.0] * setup.agents}),
                  outcomes={"mean": lambda world: world.columns["support"].mean(), "of [red]": lambda world: 0.5})
"""
SLOW = ("--set", "model.latency.median_s=0.4", "--set", "checkpoint.every_ticks=1", "--ticks", "12", "--agents", "3")


@pytest.fixture
def begun(tmp_path, request):
    """A run at work; `gated` it stands at tick 4 until there is a file `go`, `long` it has very many ticks."""
    kind = getattr(request, "param", "")
    (tmp_path / "society.py").write_text(SOCIETY, encoding="utf-8")
    command = ["run", "society.py", "--model", "scripted", *SLOW, "--out", "run"]
    if kind == "long":
        command[command.index("--ticks") + 1] = "1000"
    if kind != "gated":
        (tmp_path / "go").touch()
    env = {**os.environ, "GO": str(tmp_path / "go")}
    run = Begun(*command, cwd=tmp_path, env=env, text=False)
    until(lambda: (tmp_path / "run" / "checkpoints").is_dir() and any((tmp_path / "run" / "checkpoints").iterdir()))
    yield run, tmp_path
    run.kill()
    run.communicate()


def until(there, tries: int = 2400) -> None:
    from time import sleep

    for _ in range(tries):
        if there():
            return
        sleep(0.1)
    raise AssertionError("it did not come")


@pytest.mark.parametrize("begun", ["gated"], indirect=True)
def test_a_run_is_seen_to_come_further_until_it_ends(begun):
    run, folder = begun
    watching = Begun("watch", "run", "--every-s", "0.2", cwd=folder, stderr=subprocess.DEVNULL)
    first = watching.stdout.readline()
    (folder / "go").touch()
    rest, _ = watching.communicate(timeout=240)
    assert watching.returncode == 0
    lines = [json.loads(line) for line in (first, *rest.splitlines())]
    assert lines[0]["status"] == "at work"
    assert 0 < lines[0]["tick"] <= 4
    ticks = [line["tick"] for line in lines]
    assert ticks == sorted(ticks)
    assert len(ticks) > 1
    assert lines[-1] == {"status": "complete", "tick": 12, "ticks": 12, "outcomes": {"mean": 12.0, "of [red]": 0.5}}
    assert run.wait(timeout=240) == 0
    assert all(line["outcomes"]["mean"] == line["tick"] for line in lines)


@pytest.mark.parametrize("begun", ["long"], indirect=True)
def test_a_run_that_is_interrupted_is_not_complete(begun):
    run, folder = begun
    watching = Begun("watch", "run", "--every-s", "0.2", cwd=folder, stderr=subprocess.DEVNULL)
    assert json.loads(watching.stdout.readline())["status"] == "at work"
    run.send_signal(signal.SIGINT)
    out, _ = watching.communicate(timeout=240)
    assert watching.returncode == 1
    assert json.loads(out.splitlines()[-1])["status"] == "interrupted"


@pytest.mark.parametrize("begun", ["gated"], indirect=True)
def test_to_end_the_watching_leaves_the_run_alone(begun):
    run, folder = begun
    watching = Begun("watch", "run", "--every-s", "0.2", cwd=folder)
    watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, said = watching.communicate(timeout=240)
    assert (watching.returncode, said) == (130, "populace: run is watched no more; it is left as it is\n")
    (folder / "go").touch()
    assert run.wait(timeout=240) == 0
    assert read_manifest(Path(folder, "run"))["status"] == "complete"


def test_on_a_terminal_outcomes_are_drawn(begun):
    run, folder = begun
    assert run.wait(timeout=240) == 0
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "populace.cli", "watch", "run", "--plain"]
    env = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    done = subprocess.run(command, cwd=folder, stdout=slave, env=env, timeout=120, check=False)
    os.close(slave)
    drawn = os.read(master, 100_000).decode()
    os.close(master)
    assert done.returncode == 0
    assert "run: complete, tick 12 of 12" in drawn
    assert "of [red]" in drawn, "a name is no markup"
    assert sparkline([float(tick) for tick in range(13)]) in drawn


def test_what_is_no_run_is_named(tmp_path):
    seen = populace("watch", "nowhere", cwd=tmp_path)
    assert seen.returncode == 2
    assert "nowhere" in seen.stderr
    assert "Traceback" not in seen.stderr


@pytest.mark.parametrize("command", [("watch", "runs"), ("replay", "runs")])
def test_a_folder_of_runs_is_told_from_one_that_is_none(tmp_path, command):
    (tmp_path / "runs" / "mine-1").mkdir(parents=True)
    (tmp_path / "runs" / "mine-1" / "run.json").touch()
    seen = populace(*command, cwd=tmp_path)
    assert seen.returncode == 2
    assert "give one of them, such as runs/mine-1" in seen.stderr
    assert "--page" in seen.stderr


def test_an_option_of_the_page_asks_for_the_page(tmp_path):
    done = populace(
        "run", "polarization", "--model", "scripted", "--agents", "2", "--out", "run", "--quiet", cwd=tmp_path
    )
    assert done.returncode == 0
    watching = Begun("watch", "run", "--port", "0", cwd=tmp_path)
    try:
        assert "http://127.0.0.1:" in watching.stdout.readline()
    finally:
        watching.kill()
        watching.communicate()


def test_a_sparkline_has_a_bar_for_each_value_and_at_most_sixty():
    assert sparkline([0.0, 7.0]) == "▁█"
    assert sparkline([3.0, 3.0, 3.0]) == "▁▁▁"
    assert sparkline([0.0, float("nan"), 1.0, float("inf")]) == "▁ █ "
    assert sparkline([]) == ""
    assert len(sparkline([float(n) for n in range(1000)])) == 60
    assert sparkline([float(n) for n in range(1000)])[-1] == "█"
