"""Going on with mended code: a fork where it does otherwise, the trace before it verified, no answer paid twice."""

from __future__ import annotations

import re
from pathlib import Path

from support.command import populace

from populace.runs.courses import replay_course
from populace.runs.replay import replay_run
from populace.store.folder import read_run_file
from populace.store.manifest import read_manifest

TEXT = """
from populace import Agent, Population, Public, Society

class Citizen(Agent):
    mood: Public[float] = 0.5

    async def turn(self, ctx):
        said = await ctx.ask(f"How are you in tick {ctx.tick}?", str)
        if ctx.tick == 3:
            FAULT
        self.mood = float(ctx.tick)

def people(setup):
    return Population({"mood": [0.5] * setup.agents})

society = Society(name="mine", agent=Citizen, population=people, size=5, ticks=6)
"""


def write(folder: Path, fault: str) -> None:
    (folder / "mine.py").write_text(TEXT.replace("FAULT", fault), encoding="utf-8")


def test_a_failed_run_goes_on_with_mended_code(tmp_path: Path) -> None:
    write(tmp_path, "raise KeyError('of the author')")
    run = ["run", "mine.py", "--model", "scripted", "--seed", "7", "--set", "checkpoint.every_ticks=1"]
    done = populace(*run, "--out", "a", cwd=tmp_path)
    assert done.returncode == 3
    steps = done.stderr.splitlines()[-2:]
    assert steps[0].startswith("to go on once the scenario's code is mended: populace resume a --code new")
    assert steps[1] == "to go on with the code as it was: populace resume a --set limits.failed_turns=1"

    write(tmp_path, "self.mood = 1.0")
    done = populace("resume", "a", "--code", "new", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "note: with the code as it is now the trace is the same for 3 ticks; forked there" in done.stderr
    went_on, parent = read_manifest(tmp_path / "a-fork-1"), read_manifest(tmp_path / "a")
    assert went_on["status"] == "complete"
    assert went_on["turns_failed"] == 0
    assert went_on["trace_hashes"][:3] == parent["trace_hashes"][:3]
    assert went_on["trace_hashes"][3] != parent["trace_hashes"][3], "the fault and its mending are told apart"
    assert went_on["parent"]["new_code"] is True
    assert went_on["parent"]["at_tick"] == 3
    assert went_on["asks"]["replayed"] == parent["asks"]["made"] == 20, "no answer on record is asked for again"
    assert read_run_file(tmp_path / "a-fork-1").source == (tmp_path / "mine.py").read_text(encoding="utf-8")
    assert read_run_file(tmp_path / "a").source == TEXT.replace("FAULT", "raise KeyError('of the author')")

    populace(*run, "--out", "b", cwd=tmp_path)
    assert read_manifest(tmp_path / "b")["trace_hash"] == went_on["trace_hash"], "as if it had been so from the start"
    folder = tmp_path / "a-fork-1"
    assert replay_run(replay_course(folder), folder, tmp_path / "again").diverged is None


def test_code_that_changes_nothing_goes_on_after_the_last_tick(tmp_path: Path) -> None:
    write(tmp_path, "raise KeyError('of the author')")
    populace("run", "mine.py", "--model", "scripted", "--seed", "7", "--out", "a", cwd=tmp_path)
    write(tmp_path, "raise KeyError('of the author')  # as before")
    done = populace("resume", "a", "--code", "new", "--set", "limits.failed_turns=1", "--out", "b", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_manifest(tmp_path / "b")["parent"]["at_tick"] == 4
    again = populace("resume", "a", "--set", "limits.failed_turns=1", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert read_manifest(tmp_path / "a")["trace_hash"] == read_manifest(tmp_path / "b")["trace_hash"]


def test_a_word_that_is_no_code_is_told(tmp_path: Path) -> None:
    assert "--code old: is recorded" in populace("resume", "a", "--code", "old", cwd=tmp_path).stderr
    assert re.search("--out is for --code new", populace("resume", "a", "--out", "b", cwd=tmp_path).stderr)
