"""Model roles as settings: what they say goes before [model] and [endpoint], which give what they leave out."""

from __future__ import annotations

from pathlib import Path

import pytest

from populace.core.errors import SettingsError
from populace.settings import Settings, load_settings, may_change, revise_settings

FILE = """
[model]
kind = "openai"
name = "gpt-small"
temperature = 0.7

[endpoint]
base_url = "http://127.0.0.1:8000/v1"
api_key_file = "key.txt"
requests_per_minute = 60
timeout_s = 20

[model.roles.judge]
name = "gpt-large"
temperature = 0.0

[model.roles.judge.endpoint]
api_key_env = "JUDGES_KEY"
timeout_s = 90

[model.roles.embed]
name = "embedder"
endpoint = { base_url = "http://127.0.0.1:8001/v1" }
"""


def settings(tmp_path: Path, *assignments: str, **options: object) -> Settings:
    file = tmp_path / "settings.toml"
    file.write_text(FILE)
    return load_settings(file, assignments, **options)


def test_a_role_has_what_it_says_and_else_what_the_model_has(tmp_path: Path) -> None:
    found = settings(tmp_path, "model.roles.judge.max_tokens=900", "model.roles.judge.endpoint.retries=1")
    judge = found.of_role("judge")
    assert (judge.model.name, judge.model.temperature, judge.model.max_tokens) == ("gpt-large", 0.0, 900)
    assert (judge.model.kind, judge.model.repairs) == ("openai", 2)
    assert (judge.endpoint.base_url, judge.endpoint.timeout_s) == ("http://127.0.0.1:8000/v1", 90)
    assert (judge.endpoint.retries, judge.endpoint.requests_per_minute) == (1, 60)
    assert (judge.endpoint.api_key_env, judge.endpoint.api_key_file) == ("JUDGES_KEY", None), "the key it names is its"
    embed = found.of_role("embed")
    assert (embed.model.name, embed.model.temperature) == ("embedder", 0.7)
    assert (embed.endpoint.base_url, embed.endpoint.api_key_file) == ("http://127.0.0.1:8001/v1", Path("key.txt"))
    for role in ("default", "nobody"):
        plain = found.of_role(role)
        assert (plain.model.name, plain.endpoint) == ("gpt-small", found.endpoint)
    assert not judge.model.roles
    assert not plain.model.roles


def test_the_kind_that_is_chosen_for_a_run_is_that_of_every_role(tmp_path: Path) -> None:
    mixed = "model.roles.judge.kind=embedded"
    assert settings(tmp_path, mixed).of_role("judge").model.kind == "embedded"
    assert settings(tmp_path, mixed).of_role("judge").model.name == "gpt-large"
    scripted = settings(tmp_path, mixed, model__kind="scripted")
    assert [scripted.of_role(role).model.kind for role in ("default", "judge", "embed")] == ["scripted"] * 3
    assert scripted.asks_nobody
    assert not settings(tmp_path, "model.kind=scripted", mixed).asks_nobody, "a setting is that of [model]"


def test_a_model_of_another_kind_has_no_name_of_its_own(tmp_path: Path) -> None:
    assert settings(tmp_path, "model.roles.guess.kind=scripted").of_role("guess").model.label == "scripted"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("model.roles.judge.nmae=x", ["unknown key 'model.roles.judge.nmae'", "Is 'name' meant?"]),
        ("model.roles.judge.endpoint.base_ulr=x", ["base_ulr'", "Is 'base_url' meant?"]),
        ("model.roles.judge.cache=x.sqlite", ["unknown key 'model.roles.judge.cache'"]),
        ("model.roles.judge.temperature=true", ["'model.roles.judge.temperature' = true", "a number"]),
        ("model.roles.judge=gpt", ["--set model.roles.judge", "is a section", "model.roles.judge.name"]),
        ('model.roles."a b".name=x', ["model.roles.a b"]),
        ("model.roles.default.name=x", ["'default' is the role of [model] itself"]),
        ('model.roles.judge.endpoint={base_url="http://a/v1", replicas=[{base_url="http://b/v1"}]}', ["both set"]),
        ("model.roles.judge.endpoint={base_url=\"https://api.openai.com/v1\", batch_prompts=4}",
         ["model.roles.judge.endpoint.batch_prompts = 4", "servers of your own"]),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_role_is_named(tmp_path: Path, given: str, says: list[str]) -> None:
    with pytest.raises(SettingsError) as raised:
        settings(tmp_path, given)
    for text in says:
        assert text in str(raised.value)


def test_a_role_with_an_address_of_its_own_leaves_the_replicas() -> None:
    values = {"model": {"kind": "openai", "name": "m", "roles": {"judge": {"endpoint": {"base_url": "http://c/v1"}}}}}
    values["endpoint"] = {"replicas": [{"base_url": "http://a/v1"}, {"base_url": "http://b/v1"}]}
    found = Settings(**values)
    assert found.of_role("judge").endpoint.urls == ["http://c/v1"]
    assert found.of_role("default").endpoint.urls == ["http://a/v1", "http://b/v1"]


def test_what_of_a_role_may_change_later() -> None:
    assert may_change("model.roles.judge.name", "fork")
    assert not may_change("model.roles.judge.name", "resume")
    assert may_change("model.roles.judge.repairs", "resume")
    assert may_change("model.roles.judge.endpoint.base_url", "resume")
    assert not may_change("model.roles.judge.endpoint.batch_prompts", "resume")


def test_settings_written_down_and_read_again_are_the_same(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert Settings.model_validate_json(found.model_dump_json()) == found
    assert revise_settings(found, ["model.roles.judge.name=other"]).of_role("judge").model.name == "other"
