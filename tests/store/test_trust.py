"""The code of a run that somebody else made runs only after its user has said so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.attempts import go
from support.command import populace

from populace.core.errors import Untrusted
from populace.store.trust import check_trust

EVIL = "\nimport pathlib; pathlib.Path('ran').touch()\n"
RECORDING = Path(__file__).parents[1] / "recordings" / "polarization"
COMMANDS = {"resume": (), "fork": ("--at-tick", "0"), "replay": ()}


@pytest.fixture
def received(tmp_path) -> Path:
    """A folder that came from elsewhere: it runs code of its own."""
    assert go(tmp_path / "run", stop_at=1, ticks=2, checkpoint__every_ticks=1) is None
    file = tmp_path / "run" / "run.json"
    about = json.loads(file.read_text())
    about |= {"origin": str(tmp_path / "not-there.py"), "source": about["source"] + EVIL}
    file.write_text(json.dumps(about))
    return tmp_path / "run"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_received_runs_code_runs_only_once_it_is_trusted(received, command):
    more = (*COMMANDS[command], *(("--anyway",) if command == "resume" else ()))
    refused = populace(command, "run", *more, cwd=received.parent)
    assert refused.returncode == 2
    assert f"{Path('run') / 'run.json'}: was not written here by you" in refused.stderr
    assert f"populace {command} run --trust" in refused.stderr
    assert not (received.parent / "ran").exists()
    done = populace(command, "run", *more, "--trust", cwd=received.parent)
    assert done.returncode == 0, done.stderr
    assert (received.parent / "ran").exists(), "control: that code does run"


def test_what_was_trusted_once_stays_so_until_it_changes(received):
    with pytest.raises(Untrusted):
        check_trust(received, "fork")
    check_trust(received, "fork", trust=True)
    check_trust(received, "fork")
    file = received / "run.json"
    about = json.loads(file.read_text())
    about["settings"]["endpoint"] = {"base_url": "http://127.0.0.1:1/v1"}
    file.write_text(json.dumps(about))
    with pytest.raises(Untrusted):
        check_trust(received, "fork")


def test_a_run_of_ones_own_is_trusted_wherever_it_is_moved(tmp_path):
    assert go(tmp_path / "run", stop_at=1, ticks=2) is None
    shutil.move(tmp_path / "run", tmp_path / "there")
    for what in COMMANDS:
        check_trust(tmp_path / "there", what)


def test_a_folder_cannot_vouch_for_itself(tmp_path, monkeypatch):
    """The same run, its maker's marks with it, on a machine of somebody else."""
    monkeypatch.setenv("POPULACE_STATE", str(tmp_path / "maker"))
    assert go(tmp_path / "run", stop_at=1, ticks=2) is None
    check_trust(tmp_path / "run", "resume")
    monkeypatch.setenv("POPULACE_STATE", str(tmp_path / "user"))
    assert go(tmp_path / "other", stop_at=1, ticks=2) is None
    shutil.copy(tmp_path / "maker" / "trust" / "made", tmp_path / "user" / "trust" / "made")
    with pytest.raises(Untrusted):
        check_trust(tmp_path / "run", "resume")


def test_a_run_of_a_scenario_as_it_ships_is_replayed_and_not_resumed(tmp_path, monkeypatch):
    """Where its code is another than what ships, a replay too executes what somebody else wrote."""
    assert go(tmp_path / "run", scenario="polarization", agents=4, ticks=1)["status"] == "complete"
    monkeypatch.setenv("POPULACE_STATE", str(tmp_path / "nobody"))
    check_trust(tmp_path / "run", "replay")
    for what in ("resume", "fork"):
        with pytest.raises(Untrusted):
            check_trust(tmp_path / "run", what)
    file = tmp_path / "run" / "run.json"
    about = json.loads(file.read_text())
    file.write_text(json.dumps({**about, "source": None}))
    check_trust(tmp_path / "run", "replay")
    file.write_text(json.dumps({**about, "source": about["source"] + EVIL}))
    with pytest.raises(Untrusted, match=r"lines of code in it"):
        check_trust(tmp_path / "run", "replay")
    with pytest.raises(Untrusted):
        check_trust(RECORDING, "replay")


def test_where_nothing_can_be_remembered_a_run_runs_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("POPULACE_STATE", str(tmp_path / "file"))
    assert go(tmp_path / "run", ticks=1)["status"] == "complete"
    with pytest.raises(Untrusted):
        check_trust(tmp_path / "run", "fork")
