"""Every setting, given a value of a wrong type, is a SettingsError that names key and source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from populace.core.errors import SettingsError
from populace.settings import Settings, load_settings, revise_settings


def leaves(model: Any, at: str = "") -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        found += leaves(inner, f"{at}{name}.") if hasattr(inner, "model_fields") else [f"{at}{name}"]
    return found


LEAVES = [*leaves(Settings), "budget.prices.m.usd_per_million_tokens_in", "endpoint.replicas"]
TABLES = {"society", "budget.prices"}
WRONG = ["[[1], {x = 2}]", "{ neither = [1] }", "[{ a = 1 }]", "3.5e300", "true", '""', '"\\u0000"', "-1", "inf", "nan"]


def test_the_sweep_is_of_every_setting() -> None:
    assert len(LEAVES) > 45
    assert {"model.kind", "endpoint.base_url", "budget.usd", "levers", "society", "bus.frame_bytes"} <= set(LEAVES)


@pytest.mark.parametrize("key", LEAVES)
def test_a_value_of_a_wrong_type_names_key_and_source(key: str, tmp_path: Path) -> None:
    refused = 0
    for value in WRONG:
        file = tmp_path / "my.toml"
        file.write_text(f"{key} = {value}\n", encoding="utf-8")
        for source in ((None, [f"{key}={value}"]), (file, [])):
            try:
                settings = load_settings(*source)
            except SettingsError as error:
                refused += 1
                said = str(error)
                assert said.startswith((f"--set {key}", f"{file}: "))
                assert key.partition(".")[0] in said
            else:
                again = Settings.model_validate_json(settings.model_dump_json())
                assert again == settings, "what is taken is what every process reads"
    assert refused >= 2 or key in TABLES


def test_what_an_option_of_a_wrong_type_says_names_the_option() -> None:
    with pytest.raises(SettingsError, match=r"^--shards: 'shards' = 0"):
        load_settings(shards=0)
    with pytest.raises(SettingsError, match=r"^--set ticks: "):
        revise_settings(Settings(), ["ticks=x"])


def test_a_settings_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_bytes(b"\xef\xbb\xbfseed = 5\n")
    assert load_settings(file).seed == 5


def test_control_an_unbounded_number_would_be_taken() -> None:
    class Loose(Settings):
        ticks: int | None = None

    assert Loose.model_validate({"ticks": 10**20}).ticks == 10**20
    assert json.loads(Settings().model_dump_json())["ticks"] is None
