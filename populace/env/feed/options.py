"""What may be set of a platform: the settings, what each may be, and how it is told that a value cannot be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Literal, TypedDict, get_type_hints

import msgspec

from populace.core.errors import ScenarioError

Moderation = Literal["none", "community", "third_party", "hybrid"]
Removal = Literal["nothing", "checked", "labelled"]


class PlatformSettings(TypedDict, total=False):
    """The settings of a platform, which levers may set as they may `show`; `Platform` says what each does."""

    sees: str
    text_chars: int
    notify: bool
    reactions: int
    hop_limit: int
    learning: float
    rules: dict[str, str]
    suspended: list[int]
    false_share: float | None
    moderation: Moderation
    flags_to_label: int
    check_share: float
    check_delay: int
    check_accuracy: float
    downrank: float
    removal: Removal
    strikes_to_suspend: int
    suspension_ticks: int


SETTABLE: Final[Mapping[str, Any]] = {"show": int, **get_type_hints(PlatformSettings)}
"""What a lever may set, each with its type."""

_MOST: Final = 1_000_000_000
"""The most that a whole number may be: ticks from now stay within 32 bits."""
_AT_LEAST: Final = {
    "show": 1,
    "text_chars": 1,
    "reactions": 0,
    "hop_limit": 0,
    "flags_to_label": 1,
    "check_delay": 0,
    "strikes_to_suspend": 0,
    "suspension_ticks": 0,
}
_SHARES: Final = ("learning", "check_share", "check_accuracy", "downrank", "false_share")


@dataclass(frozen=True)
class Community:
    """A place for posts, with rules that are shown, and moderators (ids) who may remove what is posted there."""

    name: str
    rules: str = ""
    moderators: Sequence[int] = ()


def check_setting(where: str, name: str, value: Any) -> None:
    """Raises ScenarioError, beginning with `where`, for a name that is no setting, or a value that it cannot have."""
    if name not in SETTABLE:
        near = get_close_matches(name, SETTABLE, 1)
        meant = f"did you mean {near[0]}?" if near else f"there are: {', '.join(SETTABLE)}"
        raise ScenarioError(f"{where} has no setting '{name}'; {meant}")
    try:
        msgspec.convert(value, SETTABLE[name])
    except msgspec.ValidationError as error:
        raise ScenarioError(f"{where}: {name}={value!r}: {error}") from None
    if value is not None and name in _AT_LEAST and value < _AT_LEAST[name]:
        raise ScenarioError(f"{where}: {name} is at least {_AT_LEAST[name]}, got {value!r}")
    if name in _AT_LEAST and value > _MOST:
        raise ScenarioError(f"{where}: {name} is at most {_MOST}, got {value!r}")
    if value is not None and name in _SHARES and not 0.0 <= value <= 1.0:
        raise ScenarioError(f"{where}: {name} is a share from 0 to 1, got {value!r}")


def check_communities(where: str, communities: Sequence[Community]) -> dict[str, int]:
    """The communities' numbers by name. Raises ScenarioError where two have one name, or one has none."""
    numbers: dict[str, int] = {}
    for at, one in enumerate(communities):
        if not isinstance(one, Community) or type(one.name) is not str or not one.name or one.name in numbers:
            raise ScenarioError(
                f"{where}: communities are Community(name=...), each with a name of its own; got {one!r}"
            )
        numbers[one.name] = at
    return numbers
