"""Prompts whose shared part stands first: which lines move, that the asks are others, and what is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.misbehaving import Misbehaving
from support.running import run_local

from populace.agents.answers import compile_answer
from populace.agents.facts import fill, shared_first
from populace.core.records import Ask
from populace.models.chat import OPENAI, Writer
from populace.models.dialect import EndpointForm, Form
from populace.settings import load_settings
from populace.store.tables.tables import read_table

SOCIETY = """
from populace import Agent, Choice, Population, Public, Society


class Person(Agent):
    age: int
    said: Public[str] = ""

    async def turn(self, ctx):
        prompt = "A person of {age}.\\nIt is day {day}.\\nWork or rest?\\nAnswer with one word."
        facts = {"age": self.age, "day": ctx.tick}
        self.said = str(await ctx.ask(prompt, Choice("work", "rest"), facts=facts, system="You play a person."))


society = Society(
    name="shift", agent=Person,
    population=lambda setup: Population({"age": list(range(20, 20 + setup.agents))}),
)
"""


class Opinion(msgspec.Struct):
    attitude: int


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("A person of {age}.\nWhat now?", "What now?\n\nA person of {age}."),
        ("Hear:\n{a}\nand\n{b}.\nWhat now?\nOne word.\n", "What now?\nOne word.\n\nHear:\n{a}\nand\n{b}."),
        ("A {a} with {{braces}}\nin {{json}}.", "in {{json}}.\n\nA {a} with {{braces}}"),
        ("A person of {age}. What now?", "A person of {age}. What now?"),
        ("What now?\nA person of {age}.\n", "What now?\nA person of {age}.\n"),
        ("No facts.\nAt all.", "No facts.\nAt all."),
    ],
)
def test_the_lines_behind_the_last_fact_come_first(written: str, expected: str) -> None:
    assert shared_first(written) == expected
    facts = {name: "{x}" for name in ("a", "b", "age") if f"{{{name}}}" in written}
    if facts:
        (one,), (other,) = (fill([text], facts)[0] for text in (written, shared_first(written)))
        assert sorted(filter(None, one.splitlines())) == sorted(filter(None, other.splitlines()))


def test_a_schema_in_words_stands_with_what_the_system_says() -> None:
    ask = Ask(3, 2, 1, "feel", (("system", "Be brief."), ("user", "Hm?")), compile_answer(Opinion), 100, 0.8, b"k" * 16)
    sent = {}
    for shared in (False, True):
        writer = Writer("m", OPENAI, EndpointForm(Form(response_format="json_object")), shared_first=shared)
        sent[shared] = json.loads(writer.request(ask, "schema", 1))["messages"]
    assert sent[False][0]["content"] == "Be brief."
    assert "JSON schema" in sent[False][1]["content"]
    assert sent[True][0]["content"].startswith("Be brief.\n\nAnswer with one JSON value")
    assert sent[True][1]["content"] == "Hm?"
    bare = msgspec.structs.replace(ask, messages=ask.messages[1:])
    messages = json.loads(writer.request(bare, "schema", 1))["messages"]
    assert [one["role"] for one in messages] == ["system", "user"]
    assert messages[0]["content"].startswith("Answer with one JSON value")


def test_the_order_stands_in_content_keys_of_all_kinds_and_of_roles() -> None:
    model: dict[str, Any] = {"kind": "openai", "name": "m", "roles": {"judge": {"prompt_order": "shared_first"}}}
    settings = load_settings(model=model, endpoint={"base_url": "http://127.0.0.1:1/v1"})
    assert settings.forms == {}
    assert settings.of_role("judge").forms == dict.fromkeys(("text", "choice", "json"), ", shared first")


def test_a_run_sends_what_is_shared_first_and_takes_no_answer_to_other_prompts(tmp_path: Path) -> None:
    society = tmp_path / "shift_of_prompts.py"
    society.write_text(SOCIETY)
    found: dict[str, Any] = {}
    with Misbehaving() as server:
        for name, order in (("one", "written"), ("two", "shared_first"), ("three", "shared_first")):
            manifest = run_local(
                tmp_path / name, str(society), agents=5, ticks=2, model__kind="openai", model__name="test-model",
                endpoint__base_url=server.base_url, model__cache=tmp_path / "cache", model__prompt_order=order,
            )  # fmt: skip
            rows = read_table(tmp_path / name, "asks").to_pylist()
            prompts = [[message["content"] for message in json.loads(row["prompt"])] for row in rows]
            found[name] = (
                prompts,
                {row["key"] for row in rows},
                {row["settled"] for row in rows},
                manifest["trace_hash"],
            )
    written, moved, again = found["one"], found["two"], found["three"]
    assert written[0][0] == [
        "You play a person.",
        "A person of 20.\nIt is day 0.\nWork or rest?\nAnswer with one word.",
    ]
    assert moved[0][0] == [
        "You play a person.",
        "Work or rest?\nAnswer with one word.\n\nA person of 20.\nIt is day 0.",
    ]
    assert not written[1] & moved[1]
    assert moved[2] == {"answered"}
    assert again[2] == {"cached"}
    assert moved[3] == again[3] != written[3]
