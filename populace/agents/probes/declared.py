"""Instruments as plain data, as a file of TOML holds them, and back; short ways to make items. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from populace.agents.probes.instrument import (
    Instrument,
    Item,
    MultipleChoice,
    OpenText,
    Question,
    Ranking,
    Scale,
)
from populace.core.errors import ScenarioError

Kind: TypeAlias = Literal["scale", "single", "number", "multiple", "ranking", "open"]
"""What an item of a file is: steps with labels, one of several options, a number, several options, an order, a text."""


class _Item(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An item as a file has it; which keys it may have goes by its kind."""

    name: str
    text: str | None = None
    kind: Kind | None = None
    labels: list[str] | dict[str, str] | None = None
    options: list[str] | None = None
    low: float | None = None
    high: float | None = None
    whole: bool | None = None
    at_least: int | None = None
    at_most: int | None = None
    page: str = ""


class _Scale(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A scale as a file has it: its items by name, with a minus before those that count reversed."""

    name: str
    items: list[str]
    how: Literal["sum", "mean"] = "mean"
    most_missing: int = 0
    recode: dict[str, float] = {}
    cutoffs: dict[str, float] = {}


class _Instrument(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An instrument as a file has it."""

    name: str
    items: list[_Item]
    title: str = ""
    source: str = "one's own"
    status: str = "one's own wording"
    instruction: str | None = None
    scales: list[_Scale] = []
    differences: dict[str, tuple[str, str]] = {}


_FITS: Final[dict[str, tuple[str, ...]]] = {
    "scale": ("labels", "low", "high", "whole"),
    "single": ("options",),
    "number": ("low", "high", "whole"),
    "multiple": ("options", "at_least", "at_most"),
    "ranking": ("options",),
    "open": (),
}
_KEYS: Final = ("labels", "options", "low", "high", "whole", "at_least", "at_most")


def single_choice(name: str, text: str, options: Sequence[str], *, page: str = "") -> Item:
    """A question to which one of `options` is the answer; they have no order, and are numbered from 1."""
    return Item(name, text, 1, len(options), dict(enumerate(options, 1)), nominal=True, page=page)


def matrix(name: str, rows: Mapping[str, str], labels: Sequence[str], *, low: int = 1) -> list[Item]:
    """Rows of a table with the same labels, from `low` on: items called `name.row`, asked in one question."""
    steps = {float(at): label for at, label in enumerate(labels, low)}
    return [Item(f"{name}.{row}", text, low, low + len(labels) - 1, steps, page=name) for row, text in rows.items()]


def instrument_of(given: Any, where: str = "instrument") -> Instrument:
    """An instrument from plain data (what a TOML file holds). Raises ScenarioError, naming `where` and the key.

    ```toml
    name = "canteen"
    instruction = "Think of this week."

    [[items]]
    name = "taste"
    text = "How did the food taste?"
    labels = ["bad", "fair", "good"]                # steps from `low` (1) on

    [[items]]
    name = "dish"
    kind = "single"                                 # also: number, multiple, ranking, open
    text = "Which dish did you like best?"
    options = ["soup", "rice", "stew"]

    [[scales]]
    name = "liking"
    items = ["taste"]                               # "-taste" would count reversed
    ```
    """
    try:
        read = msgspec.convert(given, _Instrument)
    except msgspec.ValidationError as error:
        raise ScenarioError(f"{where}: {error}") from None
    items = [_item(one, f"{where}: item {one.name!r}") for one in read.items]
    try:
        return Instrument(
            name=read.name, title=read.title or read.name, source=read.source, status=read.status, items=items,
            scales=[_scale(one, where) for one in read.scales], instruction=read.instruction,
            differences=read.differences,
        )  # fmt: skip
    except ScenarioError as error:
        raise ScenarioError(f"{where}: {error}") from None


def plain(instrument: Instrument) -> dict[str, Any]:
    """An instrument as plain data, which `instrument_of` reads."""
    scales = [
        _Scale(
            one.name, [name if sign > 0 else f"-{name}" for name, sign in one.key.items()], one.how, one.most_missing,
            {repr(float(value)): score for value, score in one.recode.items()}, dict(one.cutoffs),
        )
        for one in instrument.scales
    ]  # fmt: skip
    made = _Instrument(
        instrument.name, [_plain_item(one) for one in instrument.items], instrument.title, instrument.source,
        instrument.status, instrument.instruction, scales, dict(instrument.differences),
    )  # fmt: skip
    found: dict[str, Any] = _without_none(msgspec.to_builtins(made))
    return found


def _item(one: _Item, where: str) -> Question:
    bounds = one.low is not None or one.high is not None
    kind = one.kind or ("scale" if one.labels is not None else "number" if bounds else None)
    if kind is None:
        raise ScenarioError(f"{where}: says not how it is answered: give labels = [...], or kind = {list(_FITS)}")
    for key in _KEYS:
        if getattr(one, key) is not None and key not in _FITS[kind]:
            raise ScenarioError(f"{where}: is of kind {kind!r}, which has no {key!r}; it has {_listed(_FITS[kind])}")
    if kind in ("single", "multiple", "ranking") and one.options is None:
        raise ScenarioError(f"{where}: is of kind {kind!r} and has no options: say options = [...]")
    if kind not in ("scale", "number") and one.text is None:
        raise ScenarioError(f"{where}: has no text: say text = '...'")
    text, options = one.text or "", one.options or []
    match kind:
        case "single":
            return single_choice(one.name, text, options, page=one.page)
        case "multiple":
            return MultipleChoice(one.name, text, options, one.at_least or 0, one.at_most, one.page)
        case "ranking":
            return Ranking(one.name, text, options, one.page)
        case "open":
            return OpenText(one.name, text, one.page)
    return _number(one, kind, where)


def _number(one: _Item, kind: Kind, where: str) -> Item:
    if kind == "scale" and not one.labels:
        raise ScenarioError(f"{where}: is of kind 'scale' and has no labels: say labels = [...]")
    if isinstance(one.labels, list):
        low = 1.0 if one.low is None else one.low
        labels = {low + at: label for at, label in enumerate(one.labels)}
        high = low + len(one.labels) - 1
        if one.high is not None and one.high != high:
            raise ScenarioError(f"{where}: {len(labels)} labels from {low:g} on end at {high:g} and not {one.high:g}")
        return Item(one.name, one.text, low, high, labels, bool(one.whole), page=one.page)
    try:
        labels = {float(value): label for value, label in (one.labels or {}).items()}
    except ValueError as error:
        raise ScenarioError(f"{where}: labels are by number: {error}") from None
    low = min(labels) if one.low is None and labels else -float("inf") if one.low is None else one.low
    high = max(labels) if one.high is None and labels else float("inf") if one.high is None else one.high
    return Item(one.name, one.text, low, high, labels, bool(one.whole), page=one.page)


def _scale(one: _Scale, where: str) -> Scale:
    key: dict[str, Literal[1, -1]] = {name.removeprefix("-"): -1 if name.startswith("-") else 1 for name in one.items}
    try:
        recode = {float(value): score for value, score in one.recode.items()}
    except ValueError as error:
        raise ScenarioError(f"{where}: scale {one.name!r}: recode is by number: {error}") from None
    return Scale(one.name, key, one.how, one.most_missing, recode, one.cutoffs)


def _plain_item(item: Question) -> _Item:
    if isinstance(item, OpenText):
        return _Item(item.name, item.text, "open", page=item.page)
    if isinstance(item, Ranking):
        return _Item(item.name, item.text, "ranking", options=list(item.options), page=item.page)
    if isinstance(item, MultipleChoice):
        return _Item(
            item.name, item.text, "multiple", options=list(item.options), at_least=item.at_least,
            at_most=item.at_most, page=item.page,
        )  # fmt: skip
    if item.nominal:
        return _Item(item.name, item.text, "single", options=list(item.labels.values()), page=item.page)
    low, high = (None if abs(one) == float("inf") else float(one) for one in (item.low, item.high))
    labels = {repr(float(value)): label for value, label in item.labels.items()}
    kind: Kind = "scale" if labels else "number"
    return _Item(item.name, item.text, kind, labels or None, None, low, high, item.whole, page=item.page)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return [_without_none(one) for one in value] if isinstance(value, list | tuple) else value


def _listed(keys: Sequence[str]) -> str:
    return ", ".join(keys) or "none of its own"
