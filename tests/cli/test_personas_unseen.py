"""A persona with a distinctive text lives through whole runs, and is found in the run's data and nowhere else."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.misbehaving import Act, Misbehaving, Seen
from typer.testing import CliRunner

from populace.cli.app import app
from populace.core.text import shown_value, without_texts
from populace.kernel import turn
from populace.models import client

PERSONA = "A widow of 71 who hides zanzibar-heliotrope under her bed.\nShe trusts nobody's bank."
MARK = "heliotrope"
DATA = {"asks.parquet", "agents.parquet", "failures.parquet"}
"""Tables of the run that hold what was asked, and public fields: what a person asks for who reads them."""

FILE = """
from populace import Agent, Population, Public, Society, World
from populace.env import Part
import msgspec

class Widow(Agent):
    profile: str
    age: Public[int] = 0
    quirks: dict[str, str] = {{}}

    async def turn(self, ctx):
        await ctx.ask("{{profile}} What do you say?", facts={{"profile": self.profile}})
        {body}

def population(setup):
    return Population({{"profile": [{persona!r}[::-1]] * setup.agents{extra}}})

society = Society(name="widows", agent=Widow, population=population, size=3, ticks=2,
                  outcomes={{"age": lambda world: float(world.columns["age"].mean())}})
"""
BODIES = {
    "quiet": ("pass", "", 0),
    "python's own error": ("float(self.profile)", "", 1),
    "a missing key": ("{}[self.profile]", "", 1),
    "a public field of a wrong type": ("self.age = self.profile", "", 1),
    "an action that there is not": ("ctx.act(self.profile)", "", 1),
    "a body that is not plain": ("ctx.send(0, {self.profile: {1, 2}})", "", 1),
    "facts that do not fit": ('await ctx.ask("{" + self.profile + "}", facts={})', "", 1),
    "a role that is no name": ('await ctx.ask("x", model_role=self.profile)', "", 1),
    "a recipient": ("ctx.send(self.profile, 1)", "", 1),
    "a column of another type": ("pass", ', "age": [PERSONA] * setup.agents', 1),
}


@pytest.fixture
def shown(tmp_path, monkeypatch, capfd, caplog):
    """Run the society on the command line; what a person, a log and the run's folder then show beside its data."""
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)

    def run(body: str, extra: str, *options: str) -> tuple[int, str]:
        text = FILE.format(body=body, persona=PERSONA[::-1], extra=extra.replace("PERSONA", f"{PERSONA[::-1]!r}[::-1]"))
        (tmp_path / "widows.py").write_text(text)  # which spells the persona backwards: run.json holds the source
        done = CliRunner().invoke(app, ["run", "widows.py", "--out", "out", *options])
        said = (
            done.output + (done.stderr or "") + repr(done.exception or "") + caplog.text + "".join(capfd.readouterr())
        )
        aside = [
            path for path in Path("out").rglob("*")
            if path.is_file() and path.name not in DATA and path.suffix not in (".journal", ".parquet")
            and "checkpoints" not in path.parts and "source" not in path.parts
        ]  # fmt: skip
        return done.exit_code, said + "".join(path.read_text(errors="replace") for path in aside)

    return run


@pytest.mark.parametrize("kind", BODIES)
def test_no_error_tells_a_persona(shown, kind):
    body, extra, code = BODIES[kind]
    ended, said = shown(body, extra, "--model", "scripted", "--set", "limits.failed_turns=0")
    assert (ended != 0) == bool(code), said
    assert MARK not in said, around(said)
    assert "widows" in said, "control: the same search finds what is shown"


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_no_server_has_a_persona_shown_that_it_repeats(shown, status):
    said = echoed(shown, status)
    assert MARK not in said, around(said)


def test_control_what_a_server_repeats_is_found_where_it_is_not_taken_out(shown, monkeypatch):
    monkeypatch.setattr(client, "without_texts", lambda text, texts: text)
    assert MARK in echoed(shown, 401)


def echoed(shown, status: int) -> str:
    """What is shown of a run whose server answers with an error that repeats the prompt."""

    def echo(seen: Seen) -> Act:
        said = json.dumps({"error": {"message": f"cannot read {(seen.body or {}).get('messages')}"}})
        return Act(kind="status", status=status, body=said.encode())

    with Misbehaving(echo) as server:
        model = ["--set", "model.kind=openai", "--set", "model.name=test-model", "--set", "endpoint.retries=0"]
        _, said = shown("pass", "", *model, "--set", f"endpoint.base_url={server.base_url}")
        assert any(MARK in str(seen.body) for seen in server.seen), "the server was told the persona"
    return said


def around(said: str) -> str:
    return said[max(said.find(MARK) - 400, 0) : said.find(MARK) + 100]


def test_control_without_the_care_that_is_taken_the_persona_is_found(shown, monkeypatch):
    monkeypatch.setattr(turn, "without_texts", lambda text, texts: text)
    _, said = shown("float(self.profile)", "", "--model", "scripted", "--set", "limits.failed_turns=0")
    assert MARK in said


def test_texts_are_told_by_name_or_length_and_short_words_as_they_are():
    assert shown_value("calm") == "'calm'"
    assert shown_value(PERSONA) == "a text of 84 characters"
    said = f"no {PERSONA!r}; {PERSONA}"
    assert without_texts(said, [("profile", PERSONA), ("mood", "no")]) == 'no "<profile>"; <profile>'
    said = f"no {PERSONA[7:50]} and {json.dumps(PERSONA)[:40]}"
    assert without_texts(said, [("profile", PERSONA)]) == 'no <profile> and "<profile>'


@given(st.text("ab", max_size=90), st.text("ab", max_size=90))
def test_what_is_left_has_no_run_in_common_with_a_text_and_what_has_none_is_left(text, other):
    left = without_texts(text, [("it", other)])
    runs = {other[at : at + 24] for at in range(len(other) - 23)}
    assert (left != text) == any(run in text for run in runs)
    assert not any(run in piece for piece in left.split("<it>") for run in runs)


def test_a_long_run_in_common_is_found_wherever_it_stands():
    for at in range(40):
        for long in (24, 30):
            said = f"{'-' * at}{PERSONA[3 : 3 + long]}{'-' * 7}"
            assert without_texts(said, [("it", PERSONA)]) == f"{'-' * at}<it>{'-' * 7}"
        short = f"{'-' * at}{PERSONA[3:26]}"
        assert without_texts(short, [("it", PERSONA)]) == short
