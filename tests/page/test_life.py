"""The page through a run's lives: at work, killed, resumed, complete; and the page's own: closed and begun again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from support.command import Begun, populace
from support.paging import paged, until

SOCIETY = """
import os
import time

from populace import Agent, Population, Public, Society

class Citizen(Agent):
    support: Public[float] = 0.0
    diary: list[str] = []

    async def turn(self, ctx):
        self.diary = [*self.diary, f"day {ctx.tick}"]
        while ctx.tick == 6 and not os.path.exists(os.environ["GO"]):
            time.sleep(0.01)
        await ctx.ask("Well?")
        self.support += 1.0

society = Society(name="watched", agent=Citizen, outcomes={"mean": lambda world: world.columns["support"].mean()},
                  population=lambda setup: Population({"support": [0.0] * setup.agents}))
"""
TICKS, GATE = 10, 6


@pytest.fixture
def begun(tmp_path):
    """A run at work that saves a checkpoint at each tick, and stands at tick 6 until there is a file `go`."""
    (tmp_path / "society.py").write_text(SOCIETY, encoding="utf-8")
    options = ("--set", "model.latency.median_s=0.25", "--set", "checkpoint.every_ticks=1", "--ticks", str(TICKS))
    command = ["run", "society.py", "--model", "scripted", "--agents", "3", *options, "--out", "run"]
    run = Begun(*command, cwd=tmp_path, env=env(tmp_path), stdout=subprocess.DEVNULL)
    parts = tmp_path / "run" / "parts"
    until(lambda: len([*parts.glob("outcomes-*.parquet")]) >= GATE)
    yield run, tmp_path / "run"
    run.kill()
    run.communicate()


def env(folder: Path) -> dict[str, str]:
    return {**os.environ, "GO": str(folder / "go")}


def test_ticks_are_told_as_they_end_and_the_stream_ends_with_the_run(begun):
    run, folder = begun
    with paged(folder) as page:
        told: list = []
        listening = threading.Thread(target=lambda: told.extend(page.events()))
        listening.start()
        until(lambda: page.page.listeners == 1)
        (folder.parent / "go").touch()
        listening.join(240)
        assert run.wait(timeout=240) == 0
        kinds = [kind for kind, _ in told]
        assert kinds == ["seen"] * (len(kinds) - 1) + ["end"]
        seen = [one for _, one in told]
        assert (seen[0]["status"], seen[0]["tick"]) == ("at work", GATE)
        assert (seen[-1]["status"], seen[-1]["tick"]) == ("complete", TICKS)
        ticks = [tick for one in seen for tick in one["curves"]["ticks"]]
        assert ticks == list(range(TICKS + 1)), "each tick is told once, in order, also those that no table has yet"
        values = [value for one in seen for value in one["curves"]["values"][0]]
        assert values == [float(tick) for tick in range(TICKS + 1)]


def test_a_killed_run_is_shown_as_it_was_and_one_that_goes_on_as_it_goes(begun):
    run, folder = begun
    with paged(folder) as page:
        seen: list = []
        listening = threading.Thread(target=lambda: seen.extend(page.events()))
        listening.start()
        until(lambda: page.page.listeners == 1)
        assert page.get("overview")["status"] == "at work"
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        listening.join(240)
        assert seen[-1][0] == "end"
        killed = page.get("overview")
        assert killed["status"] == seen[-1][1]["status"] == "killed"
        assert killed["tick"] == GATE
        held = page.get("agent", agent=1)["held"]
        assert held["fields"]["diary"].count("day") == held["tick"], "what an agent holds is in its checkpoint"
    with paged(folder) as page:  # the page was ended and begun again
        assert {**page.get("overview"), "now_s": 0.0} == {**killed, "now_s": 0.0}
        (folder.parent / "go").touch()
        done = populace("resume", "run", cwd=folder.parent, GO=str(folder.parent / "go"))
        assert done.returncode == 0, done.stderr
        after = page.get("overview")
        assert (after["status"], after["tick"]) == ("complete", TICKS)
        assert after["curves"]["values"] == [[float(tick) for tick in range(TICKS + 1)]]
        data, _ = page.columns("frames", field="support", start=0, count=100, exact="true")
        assert len(data) == 4 * 3 * (TICKS + 1), "the field is read anew where its files are others"


def test_the_command_serves_it_and_leaves_the_run_alone(begun):
    run, folder = begun
    watching = Begun("watch", "run", "--page", "--port", "0", cwd=folder.parent)
    name, _, url = watching.stdout.readline().strip().partition(": ")
    assert name == "run"
    from urllib.request import urlopen

    assert b"populace" in urlopen(url).read()
    assert json.load(urlopen(f"{url}api/overview"))["status"] == "at work"
    watching.send_signal(signal.SIGINT)
    _, said = watching.communicate(timeout=240)
    assert watching.returncode == 130
    assert "Traceback" not in said
    assert run.poll() is None
    (folder.parent / "go").touch()
    assert run.wait(timeout=240) == 0


def test_control_a_run_that_tells_nothing_of_itself_moves_at_checkpoints_only(begun):
    _, folder = begun
    (folder / "progress.jsonl").unlink()
    with paged(folder) as page:
        seen = page.get("overview")
        assert seen["told_s"] is None
        assert seen["curves"]["ticks"], "tables in parts are there all the same"


def test_a_place_with_no_run_is_named(tmp_path):
    Path(tmp_path / "empty").mkdir()
    seen = populace("watch", "empty", "--page", cwd=tmp_path)
    assert seen.returncode == 2
    assert "holds no run" in seen.stderr
