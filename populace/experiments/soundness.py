"""Whether what is declared can be written down and read again as it is: types, and numbers that are none. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from populace.core.text import shown_line

Path: TypeAlias = tuple[str | int, ...]
_PLACE: Final = re.compile(r" - at `\$(?P<path>.*)`$")
_STEP: Final = re.compile(r"\.(\w+)|\[(\d+)\]")


def what_is_wrong(value: msgspec.Struct) -> tuple[Path, str] | None:
    """Where something in a Struct is not of the type that it declares, or no finite number, and what; None if nothing.

    JSON has neither NaN nor infinity: they would come back as nothing at all.
    """
    try:
        plain = msgspec.to_builtins(value)
        msgspec.convert(plain, type(value))
    except (TypeError, ValueError, OverflowError, msgspec.ValidationError) as error:
        said, place = str(error), _PLACE.search(str(error))
        path = () if place is None else _steps(place["path"])
        return path, (said if place is None else said[: place.start()]).replace("`", "")
    endless = next(_endless(plain, ()), None)
    return None if endless is None else (endless[0], f"{endless[1]} is no finite number")


def shown_path(path: Path) -> str:
    """A path as Python writes it: `cuts[0]`."""
    return "".join(f"[{one}]" if isinstance(one, int) else f".{shown_line(one)}" for one in path).lstrip(".")


def _steps(path: str) -> Path:
    return tuple(name or int(at) for name, at in _STEP.findall(path))


def _endless(plain: Any, path: Path) -> Iterator[tuple[Path, float]]:
    if isinstance(plain, float) and not math.isfinite(plain):
        yield path, plain
    elif isinstance(plain, Mapping):
        for key, one in plain.items():
            yield from _endless(one, (*path, key))
    elif isinstance(plain, list | tuple):
        for at, one in enumerate(plain):
            yield from _endless(one, (*path, at))
