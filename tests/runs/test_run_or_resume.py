"""`populace run --or-resume`, the command of a job: given again and again, it comes to one run."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest
from support.attempts import same_tables
from support.chaos import Command, Provider, options_of, run_here
from support.command import populace
from support.killing import armed_scenario, set_trap
from support.running import SOCIETIES, settings_of
from support.villages import FILE
from typer.testing import CliRunner

from populace.cli.app import app
from populace.core.errors import Interrupted, SettingsError, StorageError
from populace.runs.fork import fork_run
from populace.runs.once import run_or_resume
from populace.runs.stop import Stop
from populace.store.lock import held
from populace.store.manifest import read_manifest, write_manifest

SMALL = {"agents": 12, "ticks": 4, "endpoint__concurrency": 4}
IN_FLIGHT = 4


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The run that all others must come to."""
    out = tmp_path_factory.mktemp("undisturbed")
    with Provider() as provider:
        return run_here(out, **options_of(provider, **SMALL)), out


def job(scenario: object, out: object, provider: Provider) -> list[str]:
    """The command of a job, whole."""
    said = {"limits.failed_turns": 1.0}
    said |= {key.replace("__", "."): value for key, value in options_of(provider, **SMALL).items()}
    settings = [word for key, value in said.items() for word in ("--set", f"{key}={value}")]
    return ["run", str(scenario), "--out", str(out), "--seed", "7", *settings, "--or-resume"]


def judge(out: Path, provider: Provider, undisturbed) -> None:
    whole, folder = undisturbed
    manifest = read_manifest(out)
    assert manifest["status"] == "complete"
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    assert manifest["calls_billed"] == whole["calls_billed"]
    assert whole["calls_billed"] <= provider.calls <= whole["calls_billed"] + 2 * IN_FLIGHT, "paid for once more"
    same_tables(out, folder)


def test_a_job_that_is_killed_twice_comes_to_the_undisturbed_run(tmp_path, undisturbed):
    """SIGKILL in the middle of a tick, and again as a checkpoint has its name."""
    scenario, out = armed_scenario(tmp_path / "traps"), tmp_path / "run"
    with Provider() as provider:
        command = job(scenario, out, provider)
        for moment, nth in (("committed", 20), ("saved", 1)):
            set_trap(tmp_path / "traps", moment, nth)
            assert Command(*command, cwd=tmp_path).wait() == -9
        last = Command(*command, cwd=tmp_path, POPULACE_STATE=str(tmp_path / "another machine"))
        assert last.wait() == 0, last.errors
        judge(out, provider, undisturbed)
        assert read_manifest(out)["attempt"] == 2
        calls = provider.calls
        again = populace(*command, cwd=tmp_path)
        assert (again.returncode, provider.calls) == (0, calls)
        assert "this run is complete" in again.stderr
        assert read_manifest(out)["attempt"] == 2
        # One that begins anew, where it should go on, would be seen.
        shutil.rmtree(out)
        assert populace(*command, cwd=tmp_path).returncode == 0
        with pytest.raises(AssertionError, match="paid for once more"):
            judge(out, provider, undisturbed)


def test_of_two_that_overlap_one_works_and_the_other_is_refused(tmp_path, undisturbed):
    with Provider(stretch=4.0) as provider:
        command = job(SOCIETIES, tmp_path / "run", provider)
        first = Command(*command, cwd=tmp_path)
        until_s = time.monotonic() + 240
        while not (tmp_path / "run" / "run.json").exists() and time.monotonic() < until_s:
            time.sleep(0.02)
        with pytest.raises(
            StorageError, match=f"process {first.process.pid} on {gethostname()} is at work in it"
        ) as refused:
            run_or_resume(SOCIETIES, settings_of(**options_of(provider, **SMALL)), tmp_path / "run")
        assert refused.value.exit_code == 6
        assert first.wait() == 0, first.errors
        judge(tmp_path / "run", provider, undisturbed)


def test_the_refused_one_leaves_the_folder_as_it_is(tmp_path):
    with held(tmp_path / "run"):
        with pytest.raises(StorageError, match="is at work in it"):
            run_or_resume("polarization", settings_of(), tmp_path / "run")
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


@pytest.fixture
def village(tmp_path):
    (tmp_path / "village.py").write_text(FILE)
    return str(tmp_path / "village.py")


class Stopping:
    """Stops a run after its first tick."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def begin(self, *_: object) -> None: ...
    def pulse(self, _: object) -> None: ...
    def note(self, _: str) -> None: ...
    def end(self, *_: object) -> None: ...

    def tick(self, _: object) -> None:
        self._stop()


@pytest.fixture
def begun(village, tmp_path):
    """A run that was stopped: its folder."""
    stop = Stop()
    with pytest.raises(Interrupted):
        run_or_resume(village, settings_of(ticks=6), tmp_path / "run", [Stopping(stop)], stop=stop)
    assert read_manifest(tmp_path / "run")["status"] != "complete"
    return tmp_path / "run"


def test_what_may_change_on_resume_is_taken_from_the_command_and_needs_no_trust(begun, village, monkeypatch, tmp_path):
    monkeypatch.setenv("POPULACE_STATE", str(tmp_path / "another machine"))
    manifest = run_or_resume(village, settings_of(ticks=6, shards=3, checkpoint__every_ticks=1), begun)
    assert (manifest["status"], manifest["attempt"], manifest["settings"]["shards"]) == ("complete", 1, 3)
    whole = run_or_resume(village, settings_of(ticks=6), tmp_path / "whole")
    assert manifest["trace_hash"] == whole["trace_hash"]


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"seed": 8}, FILE, "not the same seed"),
        ({"ticks": 7}, FILE, "not the same ticks"),
        ({}, f"{FILE}\n# mended\n", "is not the same code"),
    ],
)
def test_another_run_is_never_taken_for_this_one(begun, village, changes, code, said):
    Path(village).write_text(code)
    before = {path: path.read_bytes() for path in begun.rglob("*") if path.is_file()}
    with pytest.raises(SettingsError, match=said):
        run_or_resume(village, settings_of(**{"ticks": 6, **changes}), begun)
    assert {path: path.read_bytes() for path in begun.rglob("*") if path.is_file()} == before


def test_a_fork_is_not_taken_for_a_run(begun, village, tmp_path):
    fork_run(begun, 1, out=tmp_path / "fork")
    with pytest.raises(SettingsError, match="a fork"):
        run_or_resume(village, settings_of(ticks=6), tmp_path / "fork")


READS = "from pathlib import Path\n\nNOTE = (Path(__file__).parent / 'note.txt').read_text()\n"


def test_a_society_in_a_volume_that_moves_with_each_pod_is_the_same(tmp_path):
    """Files of a ConfigMap are links through a folder whose name is new in each pod."""

    def pod(name: str, note: str, ticks: int = 4, **ways: Any) -> dict[str, Any]:
        mount = tmp_path / "etc"
        shutil.rmtree(mount, ignore_errors=True)
        (mount / name).mkdir(parents=True)
        (mount / "..data").symlink_to(name)
        for file, text in (("village.py", FILE + READS), ("note.txt", note)):
            (mount / name / file).write_text(text)
            (mount / file).symlink_to(f"..data/{file}")
        return run_or_resume(str(mount / "village.py"), settings_of(ticks=ticks), tmp_path / "run", **ways)

    stop = Stop()
    with pytest.raises(Interrupted):
        pod("..2026_01", "a", observers=[Stopping(stop)], stop=stop)
    with pytest.raises(SettingsError, match=r"note\.txt changed since"):
        pod("..2026_02", "b")
    assert pod("..2026_03", "a")["status"] == "complete"


def test_a_complete_run_that_is_not_valid_says_so_each_time(tmp_path, village):
    out = tmp_path / "run"
    command = ["run", village, "--model", "scripted", "--ticks", "1", "--out", str(out), "--or-resume"]
    assert CliRunner().invoke(app, command).exit_code == 0
    write_manifest(out, {**read_manifest(out), "valid": False, "why_invalid": "for the test"})
    assert CliRunner().invoke(app, command).exit_code == 10


def test_a_process_killed_as_it_writes_run_json_leaves_nothing_in_the_way(tmp_path, village):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").touch()
    (tmp_path / "run" / "run.json.part").write_text('{"run": "5')
    assert run_or_resume(village, settings_of(ticks=2), tmp_path / "run")["status"] == "complete"


def test_it_needs_a_folder_to_find_the_run_in_again():
    done = CliRunner().invoke(app, ["run", "polarization", "--or-resume"])
    assert isinstance(done.exception, SettingsError)
    assert "--or-resume: needs --out" in str(done.exception)


def test_in_an_object_store_it_is_found_from_another_machine(village, tmp_path, monkeypatch):
    said: list[str] = []
    address = f"memory://jobs/{tmp_path.name}"
    for machine in ("one", "another"):
        monkeypatch.setenv("POPULACE_CACHE", str(tmp_path / machine))
        manifest = run_or_resume(village, settings_of(ticks=2), address, say=said.append)
    assert manifest["status"] == "complete"
    assert said == [f"{address}: this run is complete; nothing is left to do"]
