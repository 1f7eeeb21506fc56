"""Looks for keys in what is to be sealed: none belongs there, and a sealed study is given away. Shell: environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from populace.core.errors import SettingsError
from populace.settings import Settings
from populace.store.manifest import redact

_SECRET: Final = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$")
_SHORTEST: Final = 8
_CHUNK: Final = 2**20


def check_settings(where: str, settings: Mapping[str, Any]) -> None:
    """Raise SettingsError where a value among settings looks like a key."""
    found = sorted(_changed(settings, redact({"settings": settings})["settings"], "settings"))
    if found:
        raise SettingsError(
            f"{where}: {', '.join(found)}: looks like a key or a password, and a sealed study is given away. A key "
            "belongs into an environment variable or a file, of which the settings name the name."
        )


def _changed(was: Any, now: Any, at: str) -> Iterator[str]:
    if isinstance(was, Mapping):
        for key, value in was.items():
            yield from _changed(value, now[key], f"{at}.{key}")
    elif isinstance(was, list | tuple):
        for n, value in enumerate(was):
            yield from _changed(value, now[n], f"{at}.{n}")
    elif was != now and str(was) != now:
        yield at


def known_secrets(*settings: Settings) -> dict[str, bytes]:
    """The keys that this process can see, by where they stand: variables by their names, and files of settings."""
    names = {name for name in os.environ if _SECRET.search(name.upper())}
    files: set[Path] = set()
    for one in settings:
        plain = one.model_dump(mode="json")
        names |= {value for key, value in _leaves(plain) if key.endswith("_env") and isinstance(value, str)}
        files |= {Path(value) for key, value in _leaves(plain) if key.endswith("key_file") and isinstance(value, str)}
    found = {f"the variable {name}": os.environ.get(name, "").strip().encode() for name in sorted(names)}
    for path in sorted(files):
        if path.is_file():
            found[f"the file {path}"] = path.read_bytes().strip()
    return {where: value for where, value in found.items() if len(value) >= _SHORTEST}


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, key)
    else:
        yield key, value


def check_members(members: Mapping[str, bytes | Path], secrets: Mapping[str, bytes]) -> None:
    """Raise SettingsError, naming the member, where one of these keys stands in it."""
    for name, content in members.items():
        for chunk in _pieces(content, max(map(len, secrets.values()), default=0)):
            for where, secret in secrets.items():
                if secret in chunk:
                    raise SettingsError(
                        f"{name}: holds the text of {where}, and a sealed study is given away. Take it out, or begin "
                        "another experiment without it."
                    )


def _pieces(content: bytes | Path, overlap: int) -> Iterator[bytes]:
    """It in pieces, each with the end of the one before, so that nothing falls between two."""
    if isinstance(content, bytes):
        yield content
        return
    before = b""
    with content.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield before + chunk
            before = chunk[-overlap:] if overlap else b""
