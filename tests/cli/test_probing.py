"""`populace survey` and `populace interview`: what they print, on a terminal and piped, and what they refuse."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import populace
from populace.cli.app import app
from populace.cli.interview import hold, typed
from populace.core.errors import SettingsError
from populace.core.records import Abstained
from populace.monitoring.summary import SURVEY_PLACEBO_CAVEAT

FILE = str(Path(__file__).parent.parent / "support" / "respondents.py")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> str:
    return str(populace.run(FILE, out=tmp_path_factory.mktemp("cli") / "run", model="rules", quiet=True).folder)


def said(capsys, *words: str) -> str:
    app([*words, "-q"], standalone_mode=False)
    return capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_survey_prints_scores_costs_and_its_table_and_a_run_what_was_asked(run, capsys):
    command = ("survey", run, "--instrument", "cesd10", "--at-tick", "2", "--sample", "0.25", "--model", "scripted")
    first = said(capsys, *command)
    lines = first.splitlines()
    assert lines[0] == "cesd10, wave 0 before tick 2: 3 agents"
    assert lines[1].startswith("  depression  mean ")
    assert lines[2] == SURVEY_PLACEBO_CAVEAT
    assert lines[3] == "30 asks; 30 calls, $0"
    assert lines[4] == f"table: {Path(run) / 'probes' / 'cesd10.parquet'}"
    assert "30 asks; no call: all of it was on record" in said(capsys, *command)
    assert said(capsys, "survey", run) == "\n".join(lines[:2]) + "\n"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--instrument", "cesdd"), "Is 'cesd' meant"),
        (("--instrument", "cesd", "--sample", "some"), "--sample some: is a share"),
        (("--instrument", "cesd", "--sample", "70,71"), "sample names agents 70, 71"),
        (("--instrument", "cesd", "--at-tick", "7"), "--at-tick 7.*from 0 to 6"),
        (("--instrument", "cesd", "--code", "old"), "--code old"),
    ],
)
def test_what_a_survey_refuses(run, words, why):
    with pytest.raises(SettingsError, match=why):
        app(["survey", run, *words, "-q", "--model", "scripted"], standalone_mode=False)


def test_an_interview_answers_a_line_each_and_goes_on_from_what_was_said(run, capsys, monkeypatch):
    mood = populace.load(run).panel("mood").loc[3, 4]
    monkeypatch.setattr("sys.stdin", io.StringIO("How are you?\n\n  Since when?\n"))
    piped = said(capsys, "interview", run, "--agent", "4", "--at-tick", "3")
    assert piped.splitlines() == [
        f"0 before; my mood is {mood}: How are you?", f"1 before; my mood is {mood}: Since when?"
    ]  # fmt: skip
    asked = said(capsys, "interview", run, "--agent", "4", "--at-tick", "3", "--ask", "How are you?")
    assert asked.splitlines() == piped.splitlines()[:1]
    with pytest.raises(SettingsError, match=r"no agent 44 before tick 3: ids go from 0 to 11"):
        said(capsys, "interview", run, "--agent", "44", "--at-tick", "3", "--ask", "How?")


def test_on_a_terminal_it_says_who_speaks_and_an_empty_line_ends_it(run):
    talk = populace.interview(run, 4, 3, quiet=True)
    stdin, stdout = Terminal("How are you?\n\nnever read\n"), Terminal()
    hold(talk, typed(stdin, stdout), stdout)
    assert stdout.getvalue() == f"you: agent 4: {talk.transcript[0][1]}\nyou: "
    assert len(talk.transcript) == 1


def test_an_answer_that_is_not_had_is_said_and_stands_in_no_transcript(run, monkeypatch):
    talk = populace.interview(run, 4, 3, quiet=True)
    monkeypatch.setattr(talk, "answer", lambda *_: Abstained("refusal", "would rather\nnot"))
    out = io.StringIO()
    hold(talk, ["How are you?"], out)
    assert out.getvalue().startswith("(no answer, refusal: would rather")
    assert out.getvalue().count("\n") == 1, "a line an answer, whatever it holds"
    assert talk.transcript == []
