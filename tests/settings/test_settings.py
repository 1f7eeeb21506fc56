"""Settings: later sources win, unknown keys are refused by name and file, values are read as TOML or as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.core.errors import SettingsError
from populace.settings import Settings, load_settings


def written(folder: Path, text: str) -> Path:
    file = folder / "my.toml"
    file.write_text(text, encoding="utf-8")
    return file


def problem(*args: Any, **options: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(*args, **options)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_nothing_given_is_the_defaults() -> None:
    assert load_settings() == Settings()


def test_later_sources_win_key_by_key(tmp_path: Path) -> None:
    tables = '[model]\nname = "a"\ntemperature = 0.1\n[society]\nx = 1\ny = [1, 2]\n'
    file = written(tmp_path, "seed = 1\nshards = 2\n" + tables)
    assigned = ["model.name=b", "society.y=3", "ticks=5"]
    settings = load_settings(file, assigned, ticks=9, seed=None, model__kind="scripted")
    assert (settings.seed, settings.shards, settings.ticks) == (1, 2, 9)
    assert (settings.model.name, settings.model.temperature, settings.model.kind) == ("b", 0.1, "scripted")
    assert settings.society == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x=3", 3),
        ("x=0.5", 0.5),
        ("x=true", True),
        ('x="3"', "3"),
        ("x=[1, 2]", [1, 2]),
        ("x={a = 1}", {"a": 1}),
        ("x=plain text, really", "plain text, really"),
        ("x=a=b", "a=b"),
        ("x=", ""),
        ("x =3", 3),
        ("x=True", "True"),
        ("x=C:\\models\\m.gguf", "C:\\models\\m.gguf"),
        ("x=1\ny = 2", "1\ny = 2"),
        ("a.b.x=3", {"b": {"x": 3}}),
    ],
)
def test_assignments_are_read_as_toml_and_else_as_text(text: str, value: Any) -> None:
    society = load_settings(assignments=[f" society.{text}"]).society
    assert list(society.values()) == [value]


@given(st.text(max_size=12).filter(lambda text: "=" not in text))
def test_an_assignment_without_a_key_and_a_value_is_refused(text: str) -> None:
    assert "write it as key=value" in problem(assignments=[text])
    assert "write it as key=value" in problem(assignments=["=" + text])


def test_an_unknown_key_names_key_source_and_the_keys_there_are(tmp_path: Path) -> None:
    file = written(tmp_path, "sed = 1\n[model]\ntemprature = 0.5\n")
    said = problem(file).splitlines()
    assert len(said) == 2
    top = next(line for line in said if "'sed'" in line)
    deep = next(line for line in said if "'model.temprature'" in line)
    assert str(file) in top
    assert str(file) in deep
    assert " seed," in top
    assert " temperature," in deep
    by_set = problem(assignments=["bus.body=3"])
    assert by_set.startswith("--set bus.body: unknown key 'bus.body'. Keys there are: body_bytes, ")


def test_a_models_name_given_as_its_kind_is_told_where_it_goes() -> None:
    said = problem(model__kind="gpt-4")
    assert said.startswith('--model: "gpt-4" is no kind of model: there are embedded, openai, rules, scripted. ')
    assert said.endswith("--set model.name=gpt-4")
    assert "meant" not in said
    assert ". Is 'rules' meant? What a model is called" in problem(model__kind="rule")
    assert problem(assignments=["model.kind=3"]).startswith("--set model.kind: 3 is no kind of model")


def test_keys_of_a_table_of_prices_are_named() -> None:
    said = problem(assignments=["budget.prices.small.usd=3"])
    assert "unknown key 'budget.prices.small.usd'" in said
    assert "usd_per_million_tokens_in" in said


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("agents=0", "greater than 0"),
        ("agents=many", '"many"'),
        ("seed=-1", "greater than or equal to 0"),
        (f"seed={2**63}", "less than"),
        ("transport=carrier-pigeon", "'local' or 'ray'"),
        ("limits.failed_turns=1.5", "less than or equal to 1"),
        ("model.temperature=-0.1", "greater than or equal to 0"),
        ("model.repairs=9", "less than or equal to 2"),
        ("model=3", "is a section. Set one of its keys: model.cache, "),
        ("agents=100000000000000000000", "less than"),
        ("ticks=100000000000000000000", "less than"),
        ("endpoint.timeout_s=inf", "finite"),
        ("society=3", "has to be a table"),
        ("metrics_port=70000", "65535"),
    ],
)
def test_a_value_that_cannot_be_names_key_value_and_source(assignment: str, says: str) -> None:
    key = assignment.partition("=")[0]
    said = problem(assignments=[assignment])
    assert said.startswith(f"--set {key}: '{key}' = ")
    assert says in said


def test_the_source_named_is_the_one_that_gave_the_value(tmp_path: Path) -> None:
    file = written(tmp_path, "ticks = 0\nseed = -1\n[bus]\nframe_bytes = 0\n")
    said = problem(file, ["seed=-2"], agents=0)
    by_key = {line.split("'")[1]: line for line in said.splitlines()}
    assert set(by_key) == {"ticks", "seed", "bus.frame_bytes", "agents"}
    assert by_key["ticks"].startswith(f"{file}: ")
    assert by_key["bus.frame_bytes"].startswith(f"{file}: ")
    assert by_key["seed"].startswith("--set seed: ")
    assert by_key["agents"].startswith("--agents: ")


def test_a_section_given_as_a_value_is_told_wherever_it_stands() -> None:
    told = "--set model: 'model' = 3: is a section. Set one of its keys: model.cache, "
    assert problem(assignments=["model=3", "model.name=x"]).startswith(told)
    assert problem(assignments=["model=3"], model__kind="scripted").startswith(told)
    assert problem(assignments=["model.name=x", "model=3"]).startswith(told)
    assert load_settings(assignments=["society.x=3", "society.x.y=4"]).society == {"x": {"y": 4}}


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path / 'none.toml'}: cannot be read" in problem(tmp_path / "none.toml")
    assert f"{tmp_path}: cannot be read" in problem(tmp_path)
    said = problem(written(tmp_path, "seed = \n"))
    assert said.startswith(f"{tmp_path / 'my.toml'}: is not valid TOML")
    assert "line 1" in said
    (tmp_path / "my.toml").write_bytes(b"seed = 1 # \xff\n")
    assert "is not valid TOML" in problem(tmp_path / "my.toml")


def test_a_key_in_the_wrong_place_is_refused_without_showing_it() -> None:
    said = problem(assignments=["endpoint.api_key=sk-very-secret"])
    assert "unknown key 'endpoint.api_key'" in said
    assert "api_key_env" in said
    assert "sk-very-secret" not in said


def test_settings_cross_to_another_process_as_json(tmp_path: Path) -> None:
    settings = load_settings(assignments=[f"model.path={tmp_path}/m.gguf", "society.x=[1, 2]", "record.agents=all"])
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
    assert settings.model.label == "m"
    with pytest.raises(ValueError, match="frozen"):
        settings.seed = 3
