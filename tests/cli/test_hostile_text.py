"""What agents write can do nothing to who reads it in a terminal or a log: control characters, escapes, huge lines."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from populace.cli.app import app
from populace.core import text

HOSTILE = (
    "<script>alert(1)</script>\x1b]0;pwned\x07\x1b[31m\x1b[2J\u202egnp.exe\u2066\x9b1m\x00\r=cmd|'/C calc'!A0\u2028"
)
SEEN = set("\x1b\x07\x9b\x00\r\u202e\u2066\u2028")

FILE = f"""
import warnings
from populace import Agent, Population, Public, Society

HOSTILE = {HOSTILE!a}
HUGE = HOSTILE + "x" * 1_000_000

class Troll(Agent):
    said: Public[str] = ""

    async def turn(self, ctx):
        answer = await ctx.ask("What do you say?", purpose="say")
        self.said = str(answer)
        ctx.send(0, str(answer))
        if ctx.id == 1:
            raise ValueError(HUGE)
        if ctx.id == 2:
            raise type(HOSTILE, (Exception,), {{}})(HOSTILE)

def outcome(world):
    warnings.warn(HOSTILE, stacklevel=1)
    return float(len(world.columns["said"][0]))

def population(setup):
    return Population({{"n": [0] * setup.agents}}, extra=("n",))

def answer(ask, draw):
    return HUGE if "long" in str(ask.messages) else HOSTILE

society = Society(name="trolls", agent=Troll, population=population, size=4, ticks=3, scripted=answer,
                  outcomes={{"length": outcome}})
"""
RUN = ("run", "trolls.py", "--model", "scripted", "--set", "limits.failed_turns=1", "--log", "log.jsonl")

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def trolls(tmp_path_factory):
    """A folder with a run of trolls; gives what the command that made it said."""
    folder = tmp_path_factory.mktemp("trolls")
    (folder / "trolls.py").write_text(FILE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        said = shown(*RUN, "--out", "runs/run", "--set", "log.texts=true")
    return folder, said


def shown(*command: str, answers: str = "", code: int = 0) -> str:
    """What a command says, on stdout and stderr."""
    done = CliRunner().invoke(app, list(command), input=answers)
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def harmless(said: str) -> bool:
    """Whether a terminal would act on nothing of it but line ends and tabs."""
    return not SEEN & set(said.replace("\r\n", "\n"))


def test_run_tells_of_hostile_failures_harmlessly_and_briefly(trolls):
    _, said = trolls
    assert "alert(1)" in said, "it is told, or nothing would be shown here"
    assert harmless(said)
    assert max(map(len, said.splitlines())) < 20_000


def test_the_escaping_is_what_makes_it_harmless(trolls, monkeypatch):
    """The control: without it the same commands would hand the terminal what agents wrote."""
    folder, _ = trolls
    monkeypatch.chdir(folder)
    monkeypatch.setattr(text, "_NOT_IN_TEXT", re.compile("(?!)"))
    monkeypatch.setattr(text, "_NOT_IN_LINE", re.compile("(?!)"))
    said = shown("interview", "runs/run", "--agent", "0", "--at-tick", "1", answers="How are you?\n")
    assert not harmless(said)


@pytest.mark.parametrize(
    ("command", "answers"),
    [
        (("runs", "runs"), ""),
        (("watch", "runs/run", "--plain"), ""),
        (("interview", "runs/run", "--agent", "0", "--at-tick", "1"), "How are you?\nA long one?\n"),
        (("survey", "runs/run", "--instrument", "open.toml", "--at-tick", "1"), ""),
        (("diff", "runs/run", "runs/other"), ""),
        (("costs", "runs"), ""),
        (("replay", "runs/run"), ""),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_commands_show_it_harmlessly(trolls, monkeypatch, command, answers):
    folder, _ = trolls
    monkeypatch.chdir(folder)
    if command[0] == "diff" and not Path("runs/other").exists():
        Path("other.py").write_text(FILE.replace("gnp", "exe"), encoding="utf-8")
        shown("run", "other.py", *RUN[2:-1], "other.jsonl", "--out", "runs/other")
    if command[0] == "survey":
        Path("open.toml").write_text(
            'name = "open"\n[[items]]\nkind = "open"\nname = "why"\ntext = "Why?"\n', encoding="utf-8"
        )
    said = shown(*command, answers=answers)
    assert harmless(said), command
    assert said


def test_a_log_with_texts_is_lines_of_json_that_no_terminal_acts_on(trolls):
    folder, _ = trolls
    raw = (folder / "log.jsonl").read_text(encoding="utf-8")
    assert harmless(raw)
    lines = [json.loads(line) for line in raw.splitlines()]
    assert any(HOSTILE in line.get("answer", "") for line in lines), "it is there, escaped"
    assert max(map(len, raw.splitlines())) < 100_000


def test_on_a_terminal_it_neither_moves_the_cursor_nor_sets_the_title(trolls, tmp_path):
    folder, _ = trolls
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "populace.cli", *RUN[:-1], str(tmp_path / "log"), "--out", str(tmp_path / "out")]
    run = subprocess.Popen(command, cwd=folder, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    said = b""
    while True:
        try:
            more = os.read(ours, 65536)
        except OSError:
            break
        if not more:
            break
        said += more
    assert run.wait() == 0
    os.close(ours)
    shown = said.decode("utf-8", "replace")
    assert "alert(1)" in shown
    assert "\x1b]0;pwned" not in shown
    assert "\x1b[31m\x1b[2J" not in shown
    assert not set("\u202e\u2066\x9b\x00\x07") & set(shown)
