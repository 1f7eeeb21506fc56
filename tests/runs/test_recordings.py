"""Every scenario that ships stands here as a recorded run of a real model, and is recomputed with no call.

A change that alters what a scenario does, or what a trace covers, fails here and says which ask is another.
`tests/recordings/record.py` makes a recording.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from populace.data.societies import shipped
from populace.runs.courses import fork_course, replay_course
from populace.runs.replay import replay_run
from populace.scenarios import polarization
from populace.store.manifest import read_manifest

RECORDINGS = Path(__file__).parents[1] / "recordings"


def test_every_scenario_has_a_recording():
    assert sorted(path.parent.name for path in RECORDINGS.glob("*/run.json")) == shipped()


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("scenario", shipped())
def test_a_recording_is_recomputed_hash_for_hash(tmp_path, scenario, shards):
    replayed = replay_run(replay_course(RECORDINGS / scenario, shards=shards), RECORDINGS / scenario, tmp_path)
    assert replayed.diverged is None, replayed.text()
    recorded, again = read_manifest(RECORDINGS / scenario), read_manifest(tmp_path)
    assert again["trace_hashes"] == recorded["trace_hashes"]
    assert again["messages"] == recorded["messages"]
    assert again["calls_billed"] == 0
    assert again["asks"]["replayed"] == recorded["asks"]["answered"] > 0


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
