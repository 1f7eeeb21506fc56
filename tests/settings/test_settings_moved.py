"""Settings that moved: old runs are read with each where it stands now; an old key given anew is told its new name."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.core.errors import SettingsError
from populace.settings import Settings, load_settings, may_change, migrated
from populace.settings.moved import MOVED, moved_to
from populace.settings.paths import keys_of
from populace.settings.schema import RESUME
from populace.store.folder import read_run_file

RECORDING = Path(__file__).parents[1] / "recordings" / "polarization"

OLD: dict[str, Any] = {
    "seed": 3,
    "model": {
        "kind": "openai", "name": "m", "base_url": "http://127.0.0.1:1/v1", "api_key_env": "KEY", "api_key_file": "f",
        "temperature": 0.1, "timeout_s": 9.0, "retries": 1, "outage_s": 7.0, "batch_prompts": 4, "endpoints": [],
        "prices": {"m": {"usd_per_million_tokens_in": 1.0, "usd_per_million_tokens_out": 2.0}},
        "throttle": {"concurrency": 3, "requests_per_minute": 5.0, "tokens_per_minute": None},
        "budget": {"usd": 1.5, "tokens": None, "experiment_usd": 4.0, "experiment_tokens": None, "ledger": "l"},
    },
}  # fmt: skip
NEW: dict[str, Any] = {
    "seed": 3,
    "model": {"kind": "openai", "name": "m", "temperature": 0.1},
    "endpoint": {
        "base_url": "http://127.0.0.1:1/v1", "api_key_env": "KEY", "api_key_file": "f", "timeout_s": 9.0, "retries": 1,
        "outage_s": 7.0, "batch_prompts": 4, "replicas": [], "concurrency": 3, "requests_per_minute": 5.0,
        "tokens_per_minute": None,
    },
    "budget": {
        "usd": 1.5, "tokens": None, "experiment_usd": 4.0, "experiment_tokens": None, "ledger": "l",
        "prices": {"m": {"usd_per_million_tokens_in": 1.0, "usd_per_million_tokens_out": 2.0}},
    },
}  # fmt: skip


def leaves(values: Any, at: str = "") -> dict[str, Any]:
    if not isinstance(values, dict) or not values:
        return {at: values}
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= leaves(value, f"{at}.{name}".lstrip("."))
    return found


def test_every_setting_of_an_old_run_is_where_it_stands_now() -> None:
    before = copy.deepcopy(OLD)
    assert migrated(OLD) == NEW
    assert before == OLD, "what was read is left as it was"
    assert migrated(NEW) == NEW
    assert Settings.model_validate(migrated(OLD)).endpoint.concurrency == 3


def test_the_settings_of_a_recorded_old_run_are_read_and_none_is_lost() -> None:
    on_file = json.loads((RECORDING / "run.json").read_bytes())["settings"]
    assert {"base_url", "throttle", "budget", "prices"} <= on_file["model"].keys(), "it is an old one"
    read = leaves(read_run_file(RECORDING).read_settings().model_dump(mode="json"))
    for key, value in leaves(on_file).items():
        assert read[moved_to(key) or key] == value


@given(st.data())
def test_any_old_settings_are_read_as_the_new_ones(data: st.DataObject) -> None:
    kept = data.draw(st.sets(st.sampled_from(sorted(OLD["model"]))))
    old = {"seed": 3, "model": {key: OLD["model"][key] for key in sorted(kept | {"base_url"})}}
    moved = leaves(migrated(old))
    for key, value in leaves(old).items():
        if key != "model":
            assert moved[moved_to(key) or key] == value
    assert Settings.model_validate(migrated(old))


@pytest.mark.parametrize("old", MOVED)
def test_an_old_key_is_an_error_that_names_the_new_one(old: str, tmp_path: Path) -> None:
    value = leaves(OLD["model"][old.partition(".")[2]])
    for name, inner in value.items():
        key = f"{old}.{name}" if name else old
        text = json.dumps(inner) if inner is not None else "1"
        with pytest.raises(SettingsError) as caught:
            load_settings(assignments=[f"{key}={text}"])
        assert f"'{moved_to(key)}'" in str(caught.value)
        file = tmp_path / "old.toml"
        file.write_text(f"{key} = {text}\n")
        with pytest.raises(SettingsError) as caught:
            load_settings(file)
        assert str(caught.value).startswith(f"{file}: '")
        assert f"'{moved_to(key)}'" in str(caught.value)


def test_what_an_old_key_is_renamed_to_is_a_setting() -> None:
    for new in MOVED.values():
        section, _, name = new.rpartition(".")
        assert name in keys_of(section.split(".") if section else [])


CHANGES = {
    "resume": ["shards", "limits.abstained", "endpoint.base_url", "endpoint.replicas", "budget.usd", "model.repairs",
               "budget.prices.m.usd_per_million_tokens_in", "checkpoint.keep", "model.latency.median_s", "journal"],
    "fork": ["ticks", "model.name", "model.temperature", "endpoint.batch_prompts", "record.asks", "society.x",
             "levers"],
    "": ["agents", "seed", "bus.inbox_messages", "nothing.of.the.kind"],
}  # fmt: skip


@pytest.mark.parametrize(("on", "key"), [(on, key) for on, keys in CHANGES.items() for key in keys])
def test_a_setting_says_itself_when_it_may_change(on: str, key: str) -> None:
    assert may_change(key, "resume") is (on == "resume")
    assert may_change(key, "fork") is (on != "")


def test_what_bears_no_mark_may_not_change() -> None:
    unmarked = [name for name, field in Settings.model_fields.items() if RESUME not in field.metadata]
    assert {"agents", "seed", "bus"} <= set(unmarked)
    assert not any(may_change(name, "resume") for name in unmarked)
