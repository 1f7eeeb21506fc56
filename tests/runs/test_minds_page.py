"""The page on minds: its society runs as the page says, and what it says of templates holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.pages import blocks_of
from support.running import run_local

from populace.agents.facts import fill
from populace.core.errors import BadAsk
from populace.store.tables.tables import outcome_series, read_table

PAGE = (Path(__file__).parents[2] / "docs" / "minds.md").read_text(encoding="utf-8")


def blocks() -> list[str]:
    return [block.text for block in blocks_of(PAGE) if block.kind == "python"]


@pytest.fixture(scope="module")
def averaging(tmp_path_factory) -> Path:
    code = blocks()[0]
    file: Path = tmp_path_factory.mktemp("page") / "averaging.py"
    file.write_text(code, encoding="utf-8")
    return file


def test_the_pages_society_runs_on_its_rules_and_on_the_placebo(tmp_path, averaging):
    by_rules = run_local(tmp_path / "rules", str(averaging), model__kind="rules")
    placebo = run_local(tmp_path / "placebo", str(averaging))
    assert (by_rules["answers"], placebo["answers"]) == ("rules", "placebo")
    for manifest in (by_rules, placebo):
        assert manifest["asks"]["answered"] == manifest["asks"]["made"] == 200
        assert manifest["turns_failed"] == 0
    spread = {name: outcome_series(tmp_path / name)["spread"] for name in ("rules", "placebo")}
    assert spread["rules"][-1] < 0.6 * spread["rules"][0], "averaging brings opinions together"
    assert spread["placebo"][-1] > 0.8 * spread["placebo"][0], "control: the placebo does not"


def test_the_table_of_asks_holds_the_pages_facts(tmp_path, averaging):
    run_local(tmp_path, str(averaging), model__kind="rules", ticks=1)
    row = read_table(tmp_path, "asks").to_pylist()[0]
    assert set(json.loads(row["facts"])) == {"job", "topic", "support", "heard"}


@pytest.mark.parametrize("wrong", ["{a.b}", "{a[0]}", "{a!r}", "{a:.1f}"])
def test_what_the_page_calls_an_error_is_one(wrong):
    assert f"`{wrong}`" in PAGE
    with pytest.raises(BadAsk, match="line 1, column 1"):
        fill([wrong], {"a": 1})


@pytest.mark.parametrize("shown", [0.1, 2.0, True, None, [1, 2.5]])
def test_what_the_page_shows_of_values_is_what_stands_in_a_prompt(shown):
    assert f"`{fill(['{a}'], {'a': shown})[0][0]}`" in PAGE


def test_the_pages_witness_is_asked_in_a_conversation_that_grows(tmp_path):
    head = "from populace import Abstained, Agent, Population, Society\n\n\n"
    tail = """

society = Society(name="court", agent=Witness, population=lambda setup: Population({"told": [[]] * setup.agents}),
                  scripted=lambda ask, draw: f"Fact {ask.tick}.", size=2, ticks=3)
"""
    (tmp_path / "court.py").write_text(head + blocks()[1] + tail, encoding="utf-8")
    run_local(tmp_path / "run", str(tmp_path / "court.py"))
    last = read_table(tmp_path / "run", "asks").to_pylist()[-1]
    said = [(one["role"], one["content"]) for one in json.loads(last["prompt"])]
    assert said == [
        ("system", "You are a witness of few words."), ("user", "What did you see?"), ("assistant", "Fact 0."),
        ("assistant", "Fact 1."), ("user", "And then?"),
    ]  # fmt: skip
