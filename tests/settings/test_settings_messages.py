"""What is wrong with a setting or a lever is told with its source, its key, what was given and what may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from populace.core.errors import SettingsError
from populace.settings import Settings, load_settings, revise_settings, with_levers

WRONG = [
    ("agents=true", ["--set agents: 'agents' = true", "a whole number"]),
    ("agents=1.5", ["'agents' = 1.5", "a whole number"]),
    ('agents="5"', ["'agents' = \"5\"", "a whole number"]),
    ("budget.usd=true", ["'budget.usd' = true", "a number"]),
    ("model.temperature=false", ["'model.temperature' = false", "a number"]),
    ("model.lenient=1", ["'model.lenient' = 1", "true or false"]),
    ('record.asks="yes"', ["'record.asks'", "true or false"]),
    ("model.path=3", ["'model.path' = 3", "a path"]),
    ("model.max_token=3", ["unknown key 'model.max_token'", "Is 'max_tokens' meant?", "context_tokens"]),
    ("modl.name=3", ["unknown key 'modl'", "Is 'model' meant?"]),
    ("limits.failed_turns=2", ["'limits.failed_turns' = 2", "less than or equal to 1"]),
    (
        "endpoint.requests_per_minute=1e-300",
        ["endpoint.requests_per_minute", "1e-300 a minute is less than one request"],
    ),
    (
        "endpoint.requests_per_minute=0.0006",
        ["endpoint.requests_per_minute", "0.0006 a minute is less than one request"],
    ),
    ("endpoint.tokens_per_minute=0.9", ["endpoint.tokens_per_minute", "0.9 a minute is less than one token"]),
    ("model.roles.judge.endpoint.requests_per_minute=1e-9", ["requests_per_minute", "less than one request a day"]),
    ('journal="offf"', ["'journal' = \"offf\"", "'process', 'machine' or 'off'"]),
    ("society=3", ["'society' = 3", "a table"]),
    ("endpoint.replicas=[{weight=1}]", ["'endpoint.replicas.0.base_url' is missing"]),
]
WRONG_LEVERS = [
    ("blok={sender=[1]}, at=3", ["unknown key 'blok'", "Is 'block' meant?", "exactly one of set, send, block"]),
    ("block={sender=[1]}", ["at' is missing", "at = 3"]),
    ("at=true, block={sender=[1]}", ["at' = true", "a whole number"]),
    ("at=1, block={sendr=[1]}", ["block.sendr'", "Is 'sender' meant?"]),
    ("at=3, send={to='all'}", ["send.body' is missing in "]),
    ("at=3, block={sender={share=true}}", ["share", "true", "a number"]),
]


@pytest.mark.parametrize(("given", "says"), WRONG, ids=[given for given, _ in WRONG])
def test_a_setting(given: str, says: list[str], tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(None, [given])
    for part in says:
        assert part in str(raised.value)
    assert "Input should" not in str(raised.value)
    assert "Field required" not in str(raised.value)
    key, _, value = given.partition("=")
    if "{" not in value:  # in a file it is the same, with the file's name
        file = tmp_path / "mine.toml"
        file.write_text(f"{key} = {value}\n")
        with pytest.raises(SettingsError, match=r"mine\.toml: "):
            load_settings(file)


@pytest.mark.parametrize(("given", "says"), WRONG_LEVERS, ids=[given for given, _ in WRONG_LEVERS])
def test_a_lever(given: str, says: list[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f"levers = [{{ {given} }}]\n")
    for where, read in (
        (f"--lever '{given}'", lambda: with_levers(Settings(), [given])),
        ("mine.toml", lambda: load_settings(file)),
    ):
        with pytest.raises(SettingsError) as raised:
            read()
        assert where in str(raised.value)
        assert not str(raised.value).endswith("?.")
        for part in says:
            assert part in str(raised.value)


def test_settings_of_every_kind_are_read_again_from_what_is_kept_of_them() -> None:
    given = [
        "budget.usd=1", 'model.cache="x"', "endpoint.replicas=[{base_url='http://a', weight=2}]",
        "levers=[{at=1, send={to=[1], body='x'}}, {at=2, change={group={share=1}, fields={x=1}}}]",
    ]  # fmt: skip
    settings = load_settings(None, given, agents=3)
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
    assert revise_settings(settings) == settings
