"""What stands at a place of the settings: which keys, and whether it may change later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from populace.settings.schema import RESUME, MayChange, Settings


def may_change(key: str, on: Literal["resume", "fork"]) -> bool:
    """Whether the setting 'section.key' may change when a run is resumed, or in a fork of it."""
    mark = next((mark for mark in reversed([*_marks(key.split("."))])), None)
    return mark is not None and (mark == RESUME or on == "fork")


def keys_of(path: list[str]) -> list[str]:
    """The keys that there are in the section at this path, in order; none where it is no section."""
    model: Any = Settings
    for step in path:
        model = _inside(model, step)
    return sorted(getattr(model, "model_fields", {}))


def _marks(path: list[str]) -> Iterator[MayChange]:
    """The marks that a setting stands under, the outermost first."""
    model: Any = Settings
    for step in path:
        if get_origin(model) is dict:
            model = get_args(model)[1]
            continue
        field = getattr(model, "model_fields", {}).get(step)
        if field is None:
            return
        yield from (mark for mark in field.metadata if isinstance(mark, MayChange))
        model = field.annotation


def _inside(model: Any, step: str) -> Any:
    """What stands under a key of a section, a table or a list."""
    if get_origin(model) is dict:
        return get_args(model)[1]
    if get_origin(model) is tuple:
        return get_args(model)[0]
    field = getattr(model, "model_fields", {}).get(step)
    return None if field is None else field.annotation
