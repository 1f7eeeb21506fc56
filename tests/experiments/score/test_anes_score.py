"""`populace experiment score anes`: an ordinary run that is scored, gone on with, replayed; what a mind is worth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import populace
from populace.cli.app import app
from populace.core.errors import SettingsError
from populace.experiments.score import anes

PARTS = ("score", "anes", "--respondents", "150", "-q")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def scored(out: str, *more: str) -> str:
    done = CliRunner().invoke(app, ["experiment", *PARTS, "--out", out, *more])
    assert done.exit_code == 0, done.output
    return str(done.output)


def test_a_mind_of_party_lines_beats_marginals_of_the_vote_and_a_placebo_beats_nothing():
    assert "it beats 0 of 8" in scored("placebo", "--model", "scripted")
    scored("rules", "--model", "rules")
    card = json.loads(Path("rules/score.json").read_text(encoding="utf-8"))
    vote = {one["baseline"]: one for one in card["items"][0]["against"]}
    assert vote["marginals"]["verdict"] == "beats"
    assert vote["regression"]["verdict"] == "is not told from"
    assert card["items"][0]["worth"]["humans_saved"] > 0
    assert card["items"][0]["stereotyping"] > 1
    assert card["effects"]["r"] > 0.5


def test_given_again_the_command_scores_what_is_there_and_the_run_replays(tmp_path):
    scored("one", "--model", "rules")
    first = Path("one/score.md").read_text(encoding="utf-8")
    assert "this run is complete" in scored("one", "--model", "rules")
    assert Path("one/score.md").read_text(encoding="utf-8") == first
    assert populace.load("one/run").manifest["asks"]["answered"] == 600
    replayed = CliRunner().invoke(app, ["replay", "one/run", "--out", str(tmp_path / "again"), "-q"])
    assert replayed.exit_code == 0, replayed.output


def test_what_a_run_was_told_goes_into_the_regression_that_it_has_to_beat():
    table = anes.study()
    with_party, without = anes.baselines(table), anes.baselines(table, party=False)
    right = [(one["regression"]["vote"] == table["vote"]).mean() for one in (with_party, without)]
    assert right[0] > 0.88 > 0.75 > right[1]
    assert (with_party["marginals"]["vote"] == 0).all()
    assert np.mean(with_party["marginals"]["DoleLR"] == 6) > 0.9


def test_what_is_no_run_of_the_study_is_refused(tmp_path):
    few = populace.run("anes", model="rules", agents=5, quiet=True, out=tmp_path / "few")
    with pytest.raises(SettingsError, match="5 respondents; 20 or more"):
        anes.score_anes(few.folder)
    other = populace.run("polarization", model="scripted", agents=5, ticks=1, quiet=True, out=tmp_path / "other")
    with pytest.raises(SettingsError, match="a complete run of 'anes'"):
        anes.score_anes(other.folder)
    refused = CliRunner().invoke(app, ["experiment", "score", "gss", "--out", "x"])
    assert isinstance(refused.exception, SettingsError)
