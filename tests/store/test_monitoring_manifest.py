"""The manifest: whole or not at all, and never with a key in it."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.monitoring_support import whole_manifest

from populace.core.errors import DiskFull, SettingsError, StorageError
from populace.settings import Settings
from populace.store.manifest import (
    MANIFEST,
    REDACTED,
    REQUIRED,
    peak_rss_mb,
    read_manifest,
    redact,
    versions,
    write_manifest,
)

HASH = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, whole_manifest())
    assert [file.name for file in tmp_path.iterdir()] == [MANIFEST]
    assert read_manifest(tmp_path) == read_manifest(path) == whole_manifest()
    assert set(REQUIRED) <= read_manifest(tmp_path).keys()


def test_the_counts_of_a_manifest_are_those_that_were_asked_for(tmp_path: Path) -> None:
    write_manifest(tmp_path, whole_manifest(4))
    manifest = read_manifest(tmp_path)
    messages, asks = manifest["messages"], manifest["asks"]
    assert {fate: messages[fate] for fate in ("sent", "delivered", "expired", "refused")} == {
        "sent": 40,
        "delivered": 24,
        "expired": 4,
        "refused": 12,
    }
    assert {how: asks[how] for how in ("answered", "cached", "replayed", "abstained", "by_reason")} == {
        "answered": 4,
        "cached": 4,
        "replayed": 4,
        "abstained": 4,
        "by_reason": {"deadline": 2, "schema": 2},
    }
    assert asks["by_purpose"]["revise"]["tokens_in"] == manifest["tokens_in"] == 8 * 247


def test_paths_numpy_numbers_and_nan_become_plain(tmp_path: Path) -> None:
    outcomes = {"variance": np.float64(2.5), "n": np.int64(3), "r": float("nan")}
    write_manifest(tmp_path, whole_manifest(outcomes=outcomes))
    assert read_manifest(tmp_path)["outcomes"] == {"variance": 2.5, "n": 3, "r": None}
    assert redact(Path("runs/a"), "out") == "runs/a"
    with pytest.raises(TypeError, match="'model' holds a object, which is not plain data"):
        redact({"model": object()})


def test_a_manifest_that_lacks_a_key_is_not_written(tmp_path: Path) -> None:
    manifest = whole_manifest()
    del manifest["trace_hash"], manifest["seed"]
    with pytest.raises(ValueError, match="manifest lacks trace_hash, seed"):
        write_manifest(tmp_path, manifest)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk_leaves_the_manifest_of_before(tmp_path: Path) -> None:
    write_manifest(tmp_path, whole_manifest(seed=1))
    (tmp_path / f"{MANIFEST}.part").symlink_to("/dev/full")
    with pytest.raises(DiskFull, match=r"manifest\.json: cannot be written: No space left on device"):
        write_manifest(tmp_path, whole_manifest(seed=2))
    assert read_manifest(tmp_path)["seed"] == 1
    assert [file.name for file in tmp_path.iterdir()] == [MANIFEST]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, r"manifest\.json: there is no such file\. Give the folder that a run was told with --out"),
        (b"", "is not JSON"),
        (b'{"seed": 7, "ag', r"is not JSON .*It was cut or edited"),
        (b"\xff\xfe", "is not JSON"),
        (b"[1, 2]", "is not the manifest of a run: it lacks trace_hash, scenario"),
        (b'{"seed": 7}', "is not the manifest of a run: it lacks trace_hash, scenario, settings, versions"),
    ],
)
def test_what_is_no_manifest_is_a_clear_error(tmp_path: Path, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(SettingsError if content is None else StorageError, match=says):
        read_manifest(tmp_path)


SECRETS = {
    "openai": "sk-proj-Zx81kQpWvT3BlbkFJh2Mabcdefgh_9",
    "anthropic": "sk-ant-api03-q8rT-zzzzzzzzzzzzzzzzzzzz",
    "hugging face": "hf_AbCdEfGhIjKlMnOpQrStUvWx12",
    "groq": "gsk_1234567890abcdefghijABCDEFGHIJ",
    "google": "AIzaSyA-1234567890_abcdefghijklmnopqrst",
    "amazon": "AKIAIOSFODNN7EXAMPLE",
    "github": "github_pat_11ABCDEFG0aBcDeFgHiJkL_mNoPqRsTuV",
    "web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP",
    "azure": "0123456789abcdef0123456789abcdef",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
    "no prefix": "qT7xZ2mN9vB4cL6kJ1hG3fD5",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
@pytest.mark.parametrize("place", ["api_key_env", "name", "base_url", "prices", "notes"])
def test_no_key_reaches_the_disk_wherever_it_was_put_by_mistake(tmp_path: Path, secret: str, place: str) -> None:
    settings = Settings().model_dump(mode="json")
    match place:
        case "base_url":
            settings["model"]["base_url"] = f"https://someone:{secret}@host/v1?api_key={secret}&version=2"
        case "prices":
            settings["model"]["prices"] = {"m": {"header": f"Authorization: Bearer {secret}"}}
        case "notes":
            pass
        case _:
            settings["model"][place] = secret
    said = {"notes": [secret]} if place == "notes" else {}
    write_manifest(tmp_path, whole_manifest(settings=settings, **said))
    text = (tmp_path / MANIFEST).read_text()
    assert secret not in text
    assert REDACTED in text


def test_what_is_no_key_stays_as_it_is() -> None:
    plain = {
        "name": "Qwen/Qwen2.5-1.5B-Instruct",
        "other": "meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8",
        "path": f"/home/ann/.cache/populace/{HASH}/SmolLM2-135M-Instruct.Q4_K_M.gguf",
        "base_url": "http://127.0.0.1:8000/v1?version=2",
        "api_key_env": "OPENAI_API_KEY",
        "api_key_file": "/run/secrets/openai",
        "tokens_per_minute": 10_000,
        "max_tokens": 200,
        "trace_hash": HASH,
        "sha256": HASH,
        "mood": "risk-seeking-in-all-weather, task-oriented",
        "platform": "Linux-6.1.0-21-amd64-x86_64-with-glibc2.36",
        "nothing": None,
        "key": "",
    }
    assert redact(plain) == plain


def test_default_settings_stay_as_they_are() -> None:
    settings = Settings().model_dump(mode="json")
    assert redact(settings) == settings
    assert redact(Settings().model_dump()) == settings


LOT = {"at": 1, "send": {"to": {"share": 0.5, "key": "qT7xZ2mN9vB4cL6kJ1hG3fD5"}, "body": "Vote."}}


@given(st.dictionaries(st.sampled_from(["key", "token", "password", "api_key", "secret", "hash"]), st.text()))
def test_what_belongs_to_the_society_stays_to_the_letter(named: dict[str, str]) -> None:
    """A run that is begun with a manifest's settings draws the same people, whatever a parameter is called."""
    found = redact({"settings": {"society": named, "levers": [LOT]}, "parameters": named, "levers": [LOT]})
    assert found["settings"] == {"society": named, "levers": [LOT]}
    assert found["parameters"] == named
    assert found["levers"] == [LOT]


def test_control_the_same_text_elsewhere_is_taken_for_a_key() -> None:
    assert redact({"settings": {"model": {"name": LOT["send"]["to"]["key"]}}})["settings"]["model"]["name"] == REDACTED


@given(st.recursive(st.none() | st.integers() | st.text(max_size=40), lambda inner: st.dictionaries(st.text(), inner)))
def test_redacting_twice_changes_nothing_more(value: object) -> None:
    assert redact(redact(value)) == redact(value)


def test_versions_are_those_of_what_runs() -> None:
    found = versions()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["numpy"] == np.__version__
    assert found["msgspec"] == msgspec.__version__
    assert found["populace"]
    assert "ray" in found


def test_asking_for_versions_imports_nothing_heavy() -> None:
    script = """
        import sys
        from populace.store.manifest import versions
        versions()
        print(sorted({"ray", "pyarrow", "igraph", "aiohttp"} & sys.modules.keys()))
    """
    found = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_peak_memory_counts_what_was_freed_and_what_children_hold() -> None:
    script = """
        import subprocess, sys
        from populace.store.manifest import peak_rss_mb
        start = peak_rss_mb()
        held = bytearray(b"x") * 100_000_000
        del held
        alone = peak_rss_mb()
        child = subprocess.Popen(
            [sys.executable, "-c", "held = bytearray(b'x') * 200_000_000; print(flush=True); input()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        child.stdout.readline()
        both = peak_rss_mb()
        child.communicate(b"\\n")
        print([start, alone, both])
    """
    found = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    start, alone, both = json.loads(found.stdout)
    assert start < 100
    assert 90 < alone - start < 130
    assert 195 < both - alone < 240
    assert peak_rss_mb() > 10
