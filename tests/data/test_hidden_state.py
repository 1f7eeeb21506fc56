"""What the text of a society's file tells of state and draws that no run keeps; and no false alarm."""

from __future__ import annotations

from pathlib import Path

import pytest

import populace.scenarios
from populace.data.hidden_state import hidden_state

HEAD = """
import os, random, time, uuid
import numpy as np
from datetime import datetime
from random import choice
from populace import Agent, Population, Society
SEEN = []
COUNT = 0
JOBS = ["nurse"]
"""
CITIZEN = """
class Citizen(Agent):
    met = []
    async def turn(self, ctx):
        {line}
    async def other(self, ctx):
        pass
society = Society(agent=Citizen)
"""


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("x = random.random()", "random.random() is not keyed"),
        ("x = choice(JOBS)", "choice() is not keyed"),
        ("x = np.random.rand(3)", "np.random.rand() is not keyed"),
        ("x = np.random.default_rng().random()", "np.random.default_rng() has no seed"),
        ("x = time.time()", "`ctx.time_s`"),
        ("x = datetime.now()", "datetime.now() is not keyed"),
        ("x = os.urandom(3), 1", "os.urandom() is not keyed"),
        ("x = uuid.uuid4()", "uuid.uuid4() is not keyed"),
        ("SEEN.append(self)", "SEEN is changed here"),
        ("SEEN[0] = 1", "SEEN is changed here"),
        ("global COUNT; COUNT += 1", "COUNT is changed here"),
        ("self.met.append(1)", "Citizen.met is one for all"),
        ("self.other(ctx)", "write `await self.other(...)`"),
    ],
)
def test_what_no_run_keeps_is_told_with_its_line(line: str, says: str) -> None:
    source = HEAD + CITIZEN.format(line=line)
    [found] = hidden_state(source)
    assert says in found.what
    assert line.rpartition("; ")[2] in source.splitlines()[found.line - 1]


@pytest.mark.parametrize(
    "line",
    [
        "x = random.Random(ctx.tick).random()",
        "x = np.random.default_rng(ctx.tick)",
        "random = ctx.draw('x'); y = random.random()",
        "SEEN = []; SEEN.append(1)",
        "seen = [*SEEN]; seen.append(1)",
        "self.known.append(1)",
        "await self.other(ctx)",
        "x = JOBS[0]",
    ],
)
def test_what_is_keyed_or_of_the_agent_is_no_matter(line: str) -> None:
    assert hidden_state(HEAD + CITIZEN.format(line=line)) == ()


def test_what_a_run_never_calls_is_no_matter() -> None:
    unused = "\ndef unused():\n    return random.random()\n\nif __name__ == '__main__':\n    print(time.time())\n"
    assert hidden_state(HEAD + CITIZEN.format(line="pass") + unused) == ()


def test_a_helper_of_a_turn_is_looked_at_too() -> None:
    helper = "\ndef helper():\n    return random.random()\n"
    [found] = hidden_state(HEAD + helper + CITIZEN.format(line="x = helper()"))
    assert "random.random()" in found.what


def test_no_scenario_that_ships_is_blamed() -> None:
    files = sorted(Path(populace.scenarios.__path__[0]).glob("*.py"))
    assert files
    assert [hit for file in files for hit in hidden_state(file.read_text())] == []


def test_a_file_that_cannot_be_read_is_left_to_its_loading() -> None:
    assert hidden_state("def f(:") == ()
