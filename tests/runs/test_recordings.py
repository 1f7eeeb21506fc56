"""Every scenario that ships stands here as a recorded run of a real model, and is recomputed with no call.

A recording holds the source that it was made with, and gives its hashes by that source, so that a scenario may change;
a change in what a trace covers, or in a prompt's file, fails here. `tests/recordings/record.py` makes a recording.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path

import pytest
from support.attempts import go

import populace.scenarios
from populace.core.errors import ScenarioError
from populace.data import societies
from populace.data.societies import Origin, shipped
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.runs.replay import replay_run
from populace.scenarios import polarization
from populace.store.folder import fingerprint, read_run_file
from populace.store.manifest import read_manifest

RECORDINGS = Path(__file__).parents[1] / "recordings"


@pytest.fixture
def changed_scenario(tmp_path_factory, monkeypatch):
    """Another polarization is installed: it begins its prompts with a greeting."""
    place = tmp_path_factory.mktemp("installed")
    text = Path(polarization.__file__).read_text(encoding="utf-8")
    changed = text.replace('prompt = TEXTS["reason"]', 'prompt = "Hello! " + TEXTS["reason"]')
    assert changed != text
    (place / "polarization.py").write_text(changed, encoding="utf-8")
    name = "populace.scenarios.polarization"
    monkeypatch.setattr(populace.scenarios, "__path__", [str(place), *populace.scenarios.__path__])
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(populace.scenarios, "polarization", polarization)  # importing it sets this
    monkeypatch.setattr(societies, "_LOADED", {})
    importlib.invalidate_caches()
    yield
    sys.modules.pop(name, None)


def test_every_scenario_has_a_recording():
    assert sorted(path.parent.name for path in RECORDINGS.glob("*/run.json")) == shipped()


def replayed_as(code, recording, out, shards=1):
    return replay_run(replay_course(recording, shards=shards, code=code), recording, out)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("scenario", shipped())
def test_a_recording_is_recomputed_hash_for_hash_by_its_own_source(tmp_path, scenario, shards):
    replayed = replayed_as("recorded", RECORDINGS / scenario, tmp_path, shards)
    assert replayed.diverged is None, replayed.text()
    recorded, again = read_manifest(RECORDINGS / scenario), read_manifest(tmp_path)
    assert again["trace_hashes"] == recorded["trace_hashes"]
    assert again["messages"] == recorded["messages"]
    assert again["calls_billed"] == 0
    assert again["asks"]["replayed"] == recorded["asks"]["answered"] > 0


@pytest.mark.parametrize("scenario", shipped())
def test_a_recording_holds_the_source_it_was_made_with(scenario):
    file = read_run_file(RECORDINGS / scenario)
    assert file.source is not None
    assert fingerprint(file.society) == file.fingerprint
    assert fingerprint(Origin(file.origin, f"{file.source}\n")) != file.fingerprint, "control"


def test_a_scenario_may_change_and_its_recording_still_holds(tmp_path, changed_scenario):
    """Control: as it is now, the changed scenario asks something else, and the replay says which code ran."""
    recording = RECORDINGS / "polarization"
    kept = replayed_as("recorded", recording, tmp_path / "kept")
    assert kept.diverged is None, kept.text()
    said = "populace.scenarios.polarization: the scenario's file has changed since, and the code"
    assert kept.notes == (f"{said} on record is replayed.",)
    now = replayed_as("new", recording, tmp_path / "now")
    assert now.diverged is not None
    assert now.notes == (f"{said} as it is now is replayed.",)
    assert "now, user: Hello! " in now.why


def test_a_run_of_a_scenario_that_ships_goes_on_by_its_own_code(tmp_path, request):
    options = {"scenario": "polarization", "agents": 6, "ticks": 4}
    whole = go(tmp_path / "whole", **options)
    assert go(tmp_path / "run", stop_at=2, **options) is None
    file = read_run_file(tmp_path / "run")
    assert file.source == Path(polarization.__file__).read_text(encoding="utf-8")
    request.getfixturevalue("changed_scenario")
    said = f"{file.origin}: the scenario's file has changed since, and the code on record is"
    forked = fork_course(tmp_path / "whole", 2)
    assert forked.notes == (f"{said} forked.",)
    assert go(tmp_path / "fork", going=forked)["trace_hashes"] == whole["trace_hashes"]
    resumed = resume_course(tmp_path / "run")
    assert resumed.notes == (f"{said} resumed.",)
    assert go(tmp_path / "run", going=resumed)["trace_hashes"] == whole["trace_hashes"]
    assert replayed_as("recorded", tmp_path / "run", tmp_path / "again").diverged is None
    assert go(tmp_path / "new", **options)["trace_hashes"] != whole["trace_hashes"], "control: it did change"


def test_a_run_that_kept_no_source_is_not_taken_for_one_of_the_code_as_it_is_now(tmp_path):
    """As an older populace wrote it, and begun with other code than is installed."""
    recording = tmp_path / "recording"
    shutil.copytree(RECORDINGS / "polarization", recording)
    about = json.loads((recording / "run.json").read_text())
    (recording / "run.json").write_text(json.dumps({**about, "source": None}))
    with pytest.raises(ScenarioError, match=r"its code is not what this run was begun with.*--code new"):
        replay_course(recording, code="recorded")
    replayed = replayed_as("new", recording, tmp_path / "again")
    assert replayed.diverged is None
    assert "the code as it is now is replayed" in replayed.notes[0]
    assert "the code as it is now is forked" in fork_course(recording, 1).notes[0]


def test_control_a_changed_prompt_is_named_with_both_texts(tmp_path, monkeypatch):
    texts = {**polarization.TEXTS, "reason": "Hello! " + polarization.TEXTS["reason"]}
    monkeypatch.setattr(polarization, "TEXTS", texts)
    recording = RECORDINGS / "polarization"
    replayed = replay_run(replay_course(recording), recording, tmp_path)
    assert replayed.diverged is not None
    assert replayed.diverged.tick == 0
    assert "ask 0 of agent 0 in tick 0 (reason)" in replayed.why
    assert "on record, user: " in replayed.why
    assert "now, user: Hello! " in replayed.why


def test_a_recording_of_a_real_model_can_be_forked_without_it(tmp_path):
    """The embedded model is not started: nothing of what a fork without a lever asks is new."""
    going = fork_course(RECORDINGS / "polarization", 2)
    assert going.settings.model.kind == "embedded"
    recorded = read_manifest(RECORDINGS / "polarization")
    assert going.course.expected == tuple(recorded["trace_hashes"][:2])
