"""All runs of an experiment: what they share, how they are gone on with, and what is read of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command import populace as command
from support.experiments import SMALL, Seen, changed, run_here
from typer.testing import CliRunner

import populace
from populace.cli.app import app
from populace.core.errors import AskedToEnd, Interrupted, RunFailed, SettingsError
from populace.experiments import design as designs
from populace.experiments import front, playing
from populace.experiments.design import read_design
from populace.experiments.playing import settings_of
from populace.experiments.schedule import Schedule
from populace.runs.run import run_society
from populace.runs.stop import Stop
from populace.store.control import want
from populace.store.manifest import read_manifest


def hashes(folder: Path) -> dict[str, str]:
    return {path.parent.name: json.loads(path.read_text())["trace_hash"] for path in folder.glob("*/manifest.json")}


def test_every_arm_is_what_a_run_by_itself_with_the_same_seed_would_be(ran, tmp_path):
    """Forks from a kept state, and forks before tick 0, share answers and nothing else."""
    design = ran.design
    for arm in design.arms:
        alone = run_society(design.societies[0], settings_of(design, arm, 1), tmp_path / arm.folder)
        assert alone["trace_hash"] == ran.run(arm.name, 1).manifest["trace_hash"], arm.name


def test_arms_begin_where_the_control_kept_its_state_and_pay_for_what_changed(ran):
    runs = ran.runs.set_index("run")
    assert dict(runs.loc[["control-000", "silenced-000", "moved-000", "open-000"], "began_at_tick"]) == {
        "control-000": 0, "silenced-000": 2, "moved-000": 3, "open-000": 0,
    }  # fmt: skip
    assert runs.loc["control-000", "replayed"] == 0
    for arm in ("silenced", "moved", "open"):
        of = runs[runs["arm"] == arm]
        assert (of["replayed"] > 0).all()
        assert (of["calls"] + of["replayed"] == of["asks"]).all()
    assert runs.loc["moved-000", "calls"] < runs.loc["control-000", "calls"]
    asks = ran.table("asks")
    paid = asks[(asks["arm"] == "moved") & (asks["calls"] > 0)]
    assert len(paid) > 0
    assert paid["tick"].min() >= 4


def test_the_design_is_on_record_as_it_was_declared(ran):
    design = read_design(ran.folder)
    assert design == ran.design
    assert [(arm.name, arm.base, arm.at_tick, arm.treated_at) for arm in design.arms] == [
        ("control", "", 0, None), ("silenced", "control", 3, 3), ("moved", "control", 4, 4), ("open", "control", 0, 0),
    ]  # fmt: skip
    assert (design.control, design.primary, design.replicates, design.ticks) == ("control", "spread", 3, 6)
    assert design.outcome("spread").direction == {"silenced": "up"}
    assert design.kept_at(design.arm("control")) == [2, 3]


def test_one_long_table_and_arrays_in_pairs(ran):
    long = ran.outcomes
    assert list(long.columns) == ["run", "arm", "replicate", "tick", "outcome", "value"]
    assert len(long) == 4 * 3 * 7 * 4
    there = long[(long["arm"] == "moved") & (long["outcome"] == "mean") & (long["replicate"] == 2)]
    assert np.array_equal(there["value"], ran.trajectories("mean", "moved")[2])
    assert ran.trajectories("mean", "moved").shape == (3, 7)
    assert np.array_equal(ran.values("mean", "moved"), ran.trajectories("mean", "moved")[:, -1])
    assert np.allclose(ran.paired("mean", "moved"), ran.values("mean", "moved") - ran.values("mean", "control"))
    before = ran.trajectories("mean", "moved")[:, :4] - ran.trajectories("mean", "control")[:, :4]
    assert not before.any()
    assert (ran.paired("mean", "moved") > 0).all()
    panel = ran.panel("attitude")
    assert len(panel) == 4 * 3 * 16
    last = panel[(panel["arm"] == "moved") & (panel["replicate"] == 0)]["value"]
    assert last.mean() == pytest.approx(ran.values("mean", "moved")[0])
    with pytest.raises(SettingsError, match=r"no outcome 'men'.*spread, mean, heard"):
        ran.values("men", "moved")


def test_whom_each_lever_touched_and_when(ran):
    frame = ran.fidelity.set_index(["arm", "replicate"])
    assert frame.loc[("moved", 1), "agents"] == 16
    assert (frame.loc[("moved", 1), ["first", "last"]] == 4).all()
    silenced = frame.loc[("silenced", 0)]
    assert (silenced["kind"], silenced["agents"], silenced["first"], silenced["last"]) == ("block", 5, 3, 5)
    assert ran.dry_pass.mind == "the society's rules"
    assert {one.lever for one in ran.dry_pass.touched} == {"levers[0]"}


def test_python_loads_it_and_the_command_adds_up_its_costs(ran):
    loaded = populace.load(ran.folder)
    assert loaded.status == "complete"
    assert "4 arms x 3 replicates, complete, 12 of 12 runs" in repr(loaded)
    assert isinstance(populace.load(ran.folder / "control-000"), populace.Run)
    done = command("costs", str(ran.folder), cwd=ran.folder)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["arm"]: row["runs"] for row in rows} == {"control": 3, "silenced": 3, "moved": 3, "open": 3}


class _After(Seen):
    """Stops the experiment once so many runs have ended, or in the midst of the one after."""

    def __init__(self, runs: int, tick: int, stop: Stop) -> None:
        super().__init__()
        self._runs, self._tick, self._stop = runs, tick, stop

    def ticked(self, task: Any, tick: int, ticks: int) -> None:
        if len(self.ended_) == self._runs and tick == self._tick:
            self._stop()


@pytest.mark.parametrize(("runs", "tick"), [(0, 2), (1, 4), (5, 5)])
def test_ended_anywhere_and_given_again_it_goes_on_to_the_same(ran, tmp_path, runs, tick):
    stop = Stop()
    with pytest.raises(Interrupted):
        run_here(SMALL, tmp_path / "out", seen=_After(runs, tick, stop), stop=stop, dry=False, replicates=2)
    before = Schedule(tmp_path / "out", read_design(tmp_path / "out")).before
    assert len(before) == runs
    seen = Seen()
    again = run_here(SMALL, tmp_path / "out", seen=seen, replicates=2)
    assert len(seen.ended_) == 8 - runs
    assert not before & {one.task.run for one in seen.ended_}
    assert len(hashes(again.folder)) == 8
    assert hashes(again.folder).items() <= hashes(ran.folder).items()


def test_a_process_that_was_killed_while_it_made_a_runs_folder_leaves_nothing_in_the_way(ran, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("populace.cluster.coordinator.take_over", kill)
        with pytest.raises(Killed):
            run_here(SMALL, tmp_path / "out", dry=False, replicates=1)
    assert (tmp_path / "out" / "silenced-000" / "run.json").exists()
    run_here(SMALL, tmp_path / "out", replicates=1)
    assert hashes(tmp_path / "out").items() <= hashes(ran.folder).items()


def test_in_several_processes_it_is_the_same(ran, tmp_path):
    several = run_here(SMALL, tmp_path / "out", jobs=2, replicates=1, dry=False)
    assert hashes(several.folder).items() <= hashes(ran.folder).items()
    assert len(hashes(several.folder)) == 4


def test_more_replicates_can_be_asked_for_later_and_fewer_not(ran, tmp_path):
    run_here(SMALL, tmp_path / "out", replicates=1, dry=False)
    with pytest.raises(SettingsError, match="holds another experiment than this one: ticks"):
        run_here(SMALL, tmp_path / "out", settings={"ticks": 5})
    more = run_here(SMALL, tmp_path / "out", replicates=2)
    assert hashes(more.folder).items() <= hashes(ran.folder).items()
    with pytest.raises(SettingsError, match="has 2 replicates already"):
        run_here(SMALL, tmp_path / "out", replicates=1)


def test_a_run_that_fails_ends_that_run_and_those_forked_from_it(tmp_path):
    line = "        self.heard += len(ctx.inbox)\n"
    file = changed(tmp_path, (line, f"{line}        assert self.attitude < 8.5 or ctx.tick < 5\n"))
    seen = Seen()
    with pytest.raises(RunFailed):
        run_here(file, tmp_path / "out", seen=seen, dry=False, replicates=2, settings={"limits.failed_turns": 0.0})
    status = {one.task.run: one.status for one in seen.ended_}
    assert {run for run, how in status.items() if how == "failed"} == {"moved-000", "moved-001"}
    assert len(status) == 8


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_experiment_says_how_all_of_it_goes_on(tmp_path, jobs):
    stop = Stop()
    with pytest.raises(Interrupted) as ended:
        run_here(SMALL, tmp_path / "out", seen=_After(0, 1, stop), stop=stop, dry=False, replicates=1, jobs=jobs)
    assert ended.value.__notes__ == [f"to go on: populace resume {tmp_path / 'out'}"]


class _Asks(Seen):
    """Asks one run in its folder to end."""

    def __init__(self, folder: Any) -> None:
        super().__init__()
        self._folder = folder

    def ticked(self, task: Any, tick: int, ticks: int) -> None:
        if task.run == self._folder.name and tick == 4:
            want(self._folder, "stop")


def test_a_run_that_is_asked_to_end_ends_alone(ran, tmp_path):
    seen = _Asks(tmp_path / "out" / "moved-000")
    with pytest.raises(AskedToEnd, match="moved-000: the run was asked to end before tick 4") as ended:
        run_here(SMALL, tmp_path / "out", seen=seen, dry=False, replicates=1)
    assert ended.value.__notes__ == [f"to go on: populace resume {tmp_path / 'out'}"]
    assert {one.task.run for one in seen.ended_ if one.status == "complete"} == {
        "control-000",
        "silenced-000",
        "open-000",
    }
    again = run_here(SMALL, tmp_path / "out", replicates=1)
    assert len(hashes(again.folder)) == 4
    assert hashes(again.folder).items() <= hashes(ran.folder).items()


def test_the_command_runs_resumes_and_watches(ran, tmp_path):
    done = command("experiment", "run", SMALL, "--out", "out", "--replicates", "1", "--jobs", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 replicates, complete, 4 of 4 runs" in done.stdout
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [one["event"] for one in events] == ["begin", *["run"] * 4]
    assert events[-1]["done"] == events[-1]["runs"] == 4
    assert events[-2]["cost_to_come_usd"] == 0.0
    (tmp_path / "out" / "open-000" / "manifest.json").unlink()
    done = command("watch", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout)["status"] == "unfinished"
    done = command("resume", "out", "--jobs", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.splitlines()[0])["jobs"] == 1, "no more than there are runs to play"
    assert hashes(tmp_path / "out").items() <= hashes(ran.folder).items()
    assert command("watch", "out", cwd=tmp_path).returncode == 0


def test_jobs_are_of_experiments_only_and_are_handed_on(ran, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(front, "go_on", lambda *_, jobs, **__: asked.append(jobs))
    shutil.copytree(ran.folder, tmp_path / "out")
    for given in (["--jobs", "2"], []):
        done = CliRunner().invoke(app, ["resume", str(tmp_path / "out"), "--trust", *given])
        assert done.exit_code == 0, done.output
    assert asked == [2, None]
    refused = CliRunner().invoke(app, ["resume", str(tmp_path / "out" / "open-000"), "--jobs", "2"])
    assert isinstance(refused.exception, SettingsError)
    assert "--jobs is how many of an experiment's runs" in str(refused.exception)


def test_what_somebody_else_wrote_is_not_gone_on_with(ran, tmp_path):
    run_here(SMALL, tmp_path / "out", replicates=1, dry=False)
    path = tmp_path / "out" / designs.FILE
    path.write_text(path.read_text().replace("Are you moved?", "Are you not moved?"))
    done = command("resume", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "was not written here by you" in done.stderr


def test_control_an_arm_that_is_not_forked_from_its_control_pays_for_all(tmp_path, monkeypatch):
    def by_itself(folder, design, task, bounds=(), **ways):
        arm = design.arm(task.arm)
        return run_society(design.societies[0], settings_of(design, arm, task.replicate), folder / task.run)

    monkeypatch.setattr("populace.experiments.conducting.play", by_itself)
    results = run_here(SMALL, tmp_path / "out", dry=False, replicates=1)
    assert playing.play is not by_itself
    assert results.runs["replayed"].sum() == 0
    assert read_manifest(results.folder / "moved-000")["began_at_tick"] == 0
