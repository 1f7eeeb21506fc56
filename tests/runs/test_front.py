"""Runs from Python: scripts, modules, event loops; each gives what the command line gives."""

from __future__ import annotations

import asyncio
import importlib
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from support.villages import FILE, SOCIETY

import populace
from populace.core.errors import PopulaceError, ScenarioError, SettingsError

pytestmark = pytest.mark.usefixtures("elsewhere")
SCRIPTED = {"model": "scripted", "quiet": True, "seed": 3}


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Runs go to the test's own folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def village(tmp_path) -> Path:
    path = tmp_path / "village.py"
    path.write_text(FILE)
    return path


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that holds the society and that others import it from."""
    (tmp_path / "hamlet.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "hamlet", raising=False)
    return importlib.import_module("hamlet")


def test_a_file_a_variable_of_it_and_a_society_of_a_module_give_one_run(village, module):
    runs = [populace.run(what, **SCRIPTED) for what in (str(village), village, f"{village}:village", module.village)]
    assert {run.manifest["trace_hash"] for run in runs} == {runs[0].manifest["trace_hash"]}
    assert [run.status for run in runs] == ["complete"] * 4
    assert len({run.folder for run in runs}) == 4
    assert runs[0].valid
    assert repr(runs[0]).startswith("Run('runs/village-1'): complete, village, 8 agents, 6 ticks, ")


def test_the_same_on_shards_and_by_the_command_line(village, module):
    whole = populace.run(module.village, **SCRIPTED)
    parted = populace.run(module.village, shards=3, **SCRIPTED)
    command = [sys.executable, "-m", "populace.cli", "run", str(village), "--model", "scripted", "--seed", "3"]
    subprocess.run([*command, "--out", "cli"], check=True, capture_output=True)
    assert populace.load("cli").manifest["trace_hash"] == whole.manifest["trace_hash"]
    assert parted.manifest["trace_hash"] == whole.manifest["trace_hash"]


@pytest.mark.ray
def test_on_ray_from_a_running_loop(module, ray_cluster):
    whole = populace.run(module.village, **SCRIPTED)

    async def cell():
        return populace.run(module.village, transport="ray", shards=2, **SCRIPTED)

    assert asyncio.run(cell()).manifest["trace_hash"] == whole.manifest["trace_hash"]
    assert ray_cluster.is_initialized()


def test_settings_parameters_and_levers_are_those_of_the_run(village):
    lever = {"at": 2, "block": {"sender": [0]}}
    settings = {"limits.failed_turns": 0.5, "model": {"temperature": 0.25}}
    dials = {"parameters": {"pull": 0.25}, "settings": settings, "agents": 5, "ticks": 4}
    run = populace.run(village, levers=[lever], **dials, **SCRIPTED)
    manifest = run.manifest
    assert (manifest["agents"], manifest["ticks"], manifest["parameters"]["pull"]) == (5, 4, 0.25)
    assert manifest["settings"]["model"]["temperature"] == 0.25
    assert manifest["settings"]["limits"]["failed_turns"] == 0.5
    assert manifest["messages"]["refused"] > 0
    text = populace.run(village, levers=["at=2, block={sender=[0]}"], **dials, **SCRIPTED)
    assert text.manifest["trace_hash"] == manifest["trace_hash"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"parameters": {"pul": 1}}, r"unknown key 'society.pul'.*pull"),
        ({"settings": {"modl.name": "x"}}, r"settings\['modl.name'\].*modl"),
        ({"settings": {"agents": "many"}}, r"settings\['agents'\].*many"),
        ({"levers": [{"at": 1, "blok": {}}]}, "lever .*blok"),
        ({"model": "gpt"}, "gpt"),
        ({"out": "taken"}, "taken: is not empty"),
    ],
)
def test_what_is_wrong_is_told_before_a_folder_is_made(village, given, said):
    Path("taken").mkdir()
    Path("taken/mine.txt").write_text("mine")
    with pytest.raises(SettingsError, match=said):
        populace.run(village, **SCRIPTED | given)
    assert not Path("runs").exists()


def test_a_society_without_a_name_or_in_a_function_is_refused_with_a_next_step(module):
    made = populace.Society(name="mine", agent=module.Villager, population=module.villagers)
    with pytest.raises(ScenarioError, match=r"is no variable of a module or a cell.*give it a name"):
        populace.run(made, **SCRIPTED)


def test_a_script_runs_its_own_society_under_the_guard_and_only_there(tmp_path):
    call = "run = populace.run(village, model='scripted', quiet=True)\nprint(run.status, run.outcomes.share.iloc[-1])\n"
    script = tmp_path / "guarded.py"
    script.write_text(f"{FILE}\nif __name__ == '__main__':\n    " + call.replace("\n", "\n    "))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.startswith("complete 0.75")
    bare = tmp_path / "bare.py"
    bare.write_text(f"{FILE}\n{call}")
    done = subprocess.run([sys.executable, bare], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert re.search(r'bare.py:\d+: cannot be loaded: .* under `if __name__ == "__main__":`', last), done.stderr
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_a_file_may_hold_several_societies(tmp_path):
    path = tmp_path / "two.py"
    town = SOCIETY.replace("village =", "town =").replace('"village"', '"town"').replace("ticks=6", "ticks=2")
    path.write_text(FILE + town)
    with pytest.raises(ScenarioError, match=r"holds 2 societies: say which one, for example .*two.py:village"):
        populace.run(path, **SCRIPTED)
    with pytest.raises(ScenarioError, match=r"holds no society 'twn'. It holds: village, town"):
        populace.run(f"{path}:twn", **SCRIPTED)
    town = populace.run(f"{path}:town", **SCRIPTED)
    assert (town.manifest["scenario"], town.manifest["ticks"]) == ("town", 2)
    assert populace.replay(town, quiet=True).diverged is None
    assert populace.fork(town, 1, quiet=True).manifest["trace_hash"] == town.manifest["trace_hash"]


def test_where_an_event_loop_runs_it_is_the_same(village):
    whole = populace.run(village, **SCRIPTED)

    async def cell():
        return populace.run(village, **SCRIPTED)

    async def script():
        ticking = 0

        async def tick():
            nonlocal ticking
            while True:
                ticking += 1
                await asyncio.sleep(0.001)

        beside = asyncio.create_task(tick())
        run = await populace.run_async(village, **SCRIPTED)
        beside.cancel()
        return run, ticking

    assert asyncio.run(cell()).manifest["trace_hash"] == whole.manifest["trace_hash"]
    run, ticking = asyncio.run(script())
    assert run.manifest["trace_hash"] == whole.manifest["trace_hash"]
    assert ticking > 3, "the loop stood still"
    with pytest.raises(TypeError, match="tick_s"):
        asyncio.run(populace.run_async(village, tick_s=3, **SCRIPTED))


def test_runs_side_by_side_in_one_process_are_what_they_are_alone(village):
    whole = populace.run(village, **SCRIPTED)

    async def both():
        (Path("b.py")).write_text(FILE.replace("size=SIZE", "size=SIZE, about='another'"))
        return await asyncio.gather(*(populace.run_async(path, out=f"{n}", **SCRIPTED)
                                      for n, path in enumerate((village, "b.py", village))))  # fmt: skip

    assert {run.manifest["trace_hash"] for run in asyncio.run(both())} == {whole.manifest["trace_hash"]}


SLOW = {"settings": {"model.latency.median_s": 0.5}}


def once_at_work(folder: str) -> None:
    """Wait until a run is at work in a folder and has asked something."""
    while not list(Path(folder).glob("journal/*")):
        time.sleep(0.01)


def test_an_interrupt_saves_what_is_committed_and_resume_goes_on(village):
    """What a notebook's stop button does: KeyboardInterrupt in the thread that waits."""
    import _thread

    whole = populace.run(village, **SCRIPTED)

    def press():
        once_at_work("runs/village-2")
        _thread.interrupt_main()

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt, match=r"populace.resume\('runs/village-2'\)"):
        populace.run(village, **SCRIPTED | SLOW)
    stopped = populace.load("runs/village-2")
    assert stopped.status == "interrupted"
    assert populace.resume(stopped, settings={"model.latency.median_s": 0.0}, quiet=True).status == "complete"
    assert stopped.manifest["trace_hash"] == whole.manifest["trace_hash"]


def test_a_cancelled_run_is_saved(village):
    async def cancelled():
        running = asyncio.create_task(populace.run_async(village, out="it", **SCRIPTED | SLOW))
        await asyncio.to_thread(once_at_work, "it")
        assert populace.load("it").status == "at work"
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    assert populace.load("it").status == "interrupted"


def test_what_ended_a_run_early_is_raised_here(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(FILE.replace("self.heard = self.heard or", "raise RuntimeError('no')\n        self.heard ="))
    with pytest.raises(PopulaceError, match="8 of 8 turns failed") as caught:
        populace.run(path, out="broken", **SCRIPTED)
    assert len(caught.traceback) <= 4, "the machine's own frames say nothing to whoever wrote the society"
    assert populace.load("broken").status == "failed"
    path.write_text(FILE)
    mended = populace.resume("broken", new_code=True, quiet=True)
    assert mended.status == "complete"
    assert mended.folder != Path("broken")


def test_tables_are_frames_of_every_kind(village):
    import polars as pl
    import pyarrow as pa

    run = populace.run(village, **SCRIPTED)
    asks = run.table("asks")
    assert isinstance(asks, pd.DataFrame)
    assert len(asks) == run.manifest["asks"]["made"]
    assert isinstance(run.table("asks", "arrow"), pa.Table)
    assert isinstance(run.table("asks", "polars"), pl.DataFrame)
    assert run.outcomes.index.name == "tick"
    assert list(run.outcomes.columns) == ["share", "belief"]
    assert run.outcomes["share"].tolist() == [max(n, 1) / 8 for n in range(7)]
    heard = run.panel("heard")
    assert heard.shape == (7, 8)
    assert heard.index.tolist() == run.outcomes.index.tolist() == list(range(7))
    assert heard.loc[heard.index[-1]].mean() == pytest.approx(run.outcomes["share"].iloc[-1])
    with pytest.raises(SettingsError, match="no such table"):
        run.table("ask")
    with pytest.raises(SettingsError, match="'pandas', 'arrow' or 'polars'"):
        run.table("asks", "excel")


def test_outcomes_are_drawn_with_arms_in_one_picture(village, monkeypatch):
    import matplotlib as mpl

    mpl.use("agg")
    control = populace.run(village, **SCRIPTED)
    banned = populace.fork(control, 2, levers=[{"block": {"sender": [2]}}], quiet=True)
    ax = control.plot("share", label="control")
    assert banned.plot("share", ax=ax, label="ban") is ax
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["control", "ban"]
    assert [line.get_ydata().tolist() for line in ax.lines] == [
        control.outcomes["share"].tolist(), banned.outcomes["share"].tolist()
    ]  # fmt: skip
    assert control.outcomes["share"].iloc[-1] > banned.outcomes["share"].iloc[-1]
    assert len(control.plot().lines) == 2
    with pytest.raises(SettingsError, match=r"no outcome 'shares'\. It has: share, belief\.$"):
        control.plot("shares")
    with pytest.raises(SettingsError, match=r"It has: share, belief\. .*run\.panel\('heard'\)"):
        control.plot("heard")


def test_diff_replay_and_estimate_are_those_of_the_command_line(village):
    control = populace.run(village, **SCRIPTED)
    other = populace.fork(control, 3, parameters={"pull": 0.9}, quiet=True)
    found = populace.diff(control, other)
    assert found.parted_at == 3
    assert populace.diff(control, str(control.folder)).identical
    replayed = populace.replay(other, shards=2, quiet=True)
    assert (replayed.ticks, replayed.diverged) == (6, None)
    expected = populace.estimate(village, scripted=True, quiet=True, agents=100, ticks=20, seed=3)
    assert (expected.agents, expected.ticks) == (100, 20)
    assert "The two part in tick 3; the 3 ticks before are identical." in str(found)
    asks = other.manifest["asks"]["made"]
    assert str(replayed) == f"replayed 6 ticks with no call: every trace hash agrees ({asks} asks from record)\n"
    assert re.search(r"\n  calls +[\d,]+ \([\d,]+ to [\d,]+\)\n", str(expected))


def test_what_is_no_run_is_said(tmp_path):
    with pytest.raises(SettingsError, match="there is no such file"):
        populace.load(tmp_path)
    society = tmp_path / "mine.py"
    society.write_text("")
    with pytest.raises(SettingsError, match=r"mine\.py: is a file\. Give a run's folder"):
        populace.replay(society)


def test_progress_goes_to_stderr_unless_quiet(village, capsys):
    populace.run(village, model="scripted")
    assert capsys.readouterr().err.count("\n") > 2
    populace.run(village, **SCRIPTED)
    assert capsys.readouterr() == ("", "")


def noted(error: PopulaceError) -> str:
    return " ".join(getattr(error, "__notes__", ()))


def test_errors_of_runs_begun_from_python_say_what_to_give_from_python(module):
    with pytest.raises(SettingsError, match="--ticks") as caught:
        populace.run(module.village, **SCRIPTED, ticks=0)
    assert "from Python: `--ticks` is `ticks=...`" in noted(caught.value)
    with pytest.raises(SettingsError, match="--lever") as caught:
        populace.run(module.village, **SCRIPTED, levers=["at=1, block={}"])
    assert "`--lever` is `levers=[...]`" in noted(caught.value)
    with pytest.raises(SettingsError, match="--set") as caught:
        populace.run(module.village, model="gpt", quiet=True)
    assert "`--set model.name=...` is `settings={'model.name': ...}`" in noted(caught.value)


def test_a_fork_with_a_parameter_that_there_is_not_is_told_so_and_not_as_a_lever(module):
    town = populace.run(module.village, **SCRIPTED)
    with pytest.raises(SettingsError, match=r"unknown key 'society\.pul'.*Is 'society\.pull' meant") as caught:
        populace.fork(town, 2, parameters={"pul": 0.9}, quiet=True)
    assert "lever" not in str(caught.value)
    with pytest.raises(SettingsError, match=r"\[society\].*pull") as caught:
        populace.fork(town, 2, parameters={"pull": "much"}, quiet=True)
    assert "lever" not in str(caught.value)
