"""The command line, as a person or a script meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import Begun, populace
from support.running import SOCIETIES
from support.villages import FILE

from populace.store.manifest import REQUIRED, read_manifest
from populace.store.tables.tables import read_table


def test_a_run_leaves_tables_and_a_manifest(tmp_path):
    done = populace(
        "run", "polarization", "--agents", "30", "--ticks", "3", "--model", "scripted", "--seed", "7", "--shards", "2",
        "--out", "a", "--set", "society.homophily=2.5", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(tmp_path / "a")
    assert set(REQUIRED) <= set(manifest)
    assert manifest["status"] == "complete"
    assert manifest["parameters"]["homophily"] == 2.5
    assert manifest["trace_hash"] in done.stdout
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert events[0]["event"] == "begin"
    assert events[-1]["event"] == "end"
    assert manifest["trace_hashes"][-1] == manifest["trace_hash"]
    assert [event["tick"] for event in events if event["event"] == "tick"] == [1, 2, 3]
    assert read_table(tmp_path / "a", "asks").num_rows == manifest["asks"]["made"]
    again = populace("run", "polarization", "--out", "a", cwd=tmp_path)
    assert again.returncode == 2
    assert "holds a run already" in again.stderr


def test_settings_errors_name_key_and_file(tmp_path):
    (tmp_path / "mine.toml").write_text("[model]\nkindd = 'scripted'\n")
    done = populace("run", "polarization", "--settings", "mine.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "mine.toml" in done.stderr
    assert "model.kindd" in done.stderr
    done = populace("run", "polarization", "--set", "society.homophili=3", "--model", "scripted", cwd=tmp_path)
    assert done.returncode == 2
    assert "society.homophili" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_an_unknown_scenario_lists_those_there_are(tmp_path):
    done = populace("run", "polarisation", cwd=tmp_path)
    assert done.returncode == 2
    assert "polarization" in done.stderr
    assert "polarization" in populace("scenarios", cwd=tmp_path).stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly_with_what_is_there_saved(tmp_path, number):
    """The model takes half a minute for each answer of the second tick, so the signal comes in the middle of it."""
    command = ["run", SOCIETIES, "--model", "scripted", "--out", "a", "--ticks", "500",
               "--set", "model.latency.median_s=0.2", "--set", "limits.failed_turns=1.0"]  # fmt: skip
    with Begun(*command, cwd=tmp_path) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if json.loads(line)["event"] == "tick":
                break
        process.send_signal(number)
        out, err = process.communicate(timeout=240)
    assert process.returncode == 130, err
    manifest = read_manifest(tmp_path / "a")
    assert manifest["status"] == "interrupted"
    assert 1 <= manifest["ticks"] < 500
    messages = manifest["messages"]
    assert messages["sent"] == messages["delivered"] + messages["expired"] + messages["refused"]
    assert read_table(tmp_path / "a", "messages").num_rows == messages["sent"]
    assert manifest["trace_hash"] in out
    assert err.splitlines()[-1] == "to go on: populace resume a"


def test_a_run_that_came_to_nothing_says_only_why(tmp_path):
    """No key: nothing was asked, so there is nothing to sum up, to keep or to go on with."""
    done = populace("run", SOCIETIES, "--model", "openai", "--set", "model.name=m", "--out", "a", cwd=tmp_path,
                    OPENAI_API_KEY="")  # fmt: skip
    assert done.returncode == 4
    assert not done.stdout
    assert "needs an API key" in done.stderr
    assert "resume" not in done.stderr
    assert not (tmp_path / "a").exists()


def test_a_scenario_that_fails_is_not_to_be_resumed(tmp_path):
    source = Path(SOCIETIES).read_text()
    (tmp_path / "wrong.py").write_text(f"{source}\nsociety.outcomes['wrong'] = lambda world: world.columns['suport']\n")
    done = populace("run", "wrong.py", "--model", "scripted", "--out", "a", cwd=tmp_path)
    assert done.returncode == 2
    assert not done.stdout
    assert f"wrong.py:{len(source.splitlines()) + 2} in <lambda>" in done.stderr
    assert "The columns there are: " in done.stderr
    assert "populace resume" not in done.stderr


def test_doctor_looks_at_everything(tmp_path):
    done = populace("doctor", "--model", "scripted", cwd=tmp_path)
    for what in ("Python", "packages", "memory", "disk", "Ray", "model (scripted)"):
        assert what in done.stdout
    assert done.returncode == 0, done.stdout
    done = populace("doctor", "--model", "openai", "--set", "endpoint.base_url=http://127.0.0.1:9/v1", cwd=tmp_path)
    assert done.returncode == 1
    assert "wrong" in done.stdout


def test_no_ray_is_imported_for_a_local_run(tmp_path):
    code = (
        "import sys; sys.argv = 'populace run polarization --model scripted --ticks 1 --out a'.split();"
        "import populace.cli as cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "assert 'ray' not in sys.modules, 'ray was imported'"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True,
        text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a" / "manifest.json").exists()


def test_modules_beside_a_society_are_its_own_whatever_they_are_called(tmp_path):
    """The command line begins once more to fix the order of sets, and must not put its own folder first."""
    (tmp_path / "trust.py").write_text("SHARE = 0.25\n")
    (tmp_path / "mine.py").write_text(FILE.replace("import populace\n", "import populace\nfrom trust import SHARE\n"))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    command = [sys.executable, "-m", "populace.cli", "run", "mine.py", "--model", "scripted", "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_package_is_a_program_too(tmp_path):
    shown = [subprocess.run([sys.executable, "-m", module, "scenarios"], cwd=tmp_path, capture_output=True, text=True)
             for module in ("populace", "populace.cli")]  # fmt: skip
    assert shown[0].returncode == 0, shown[0].stderr
    assert shown[0].stdout == shown[1].stdout != ""


@pytest.mark.parametrize(("named", "said"), [("audit", "it is `populace experiment audit`"), ("nothing", "'nothing'.")])
def test_a_command_of_experiments_is_found_where_it_is(named, said, tmp_path):
    done = populace(named, cwd=tmp_path)
    assert done.returncode == 2
    assert f"No such command '{named}'" in done.stderr
    assert said in done.stderr
