"""Levers: interventions as data, each taking effect at a tick's edge.

```toml
[[levers]]                      # a parameter of the society, or of a part of the world, for a while
at = 10
until = 20
set = { "society.openness" = 0.1, "world.feed.show" = 3 }

[[levers]]                      # a message to a group, read in tick 12
name = "appeal"
at = 12
send = { to = { where = { party = "R" }, share = 0.1 }, body = "Vote." }

[[levers]]                      # messages refused, from a group or between two
at = 5
block = { sender = [3, 4], receiver = { where = { age = { min = 65 } } } }

[[levers]]                      # fields of agents
at = 0
change = { group = "all", fields = { attitude = 5.0 } }
```

`at` is the tick at whose start a lever takes effect, `until` the first tick in which a `set` or a `block` holds no
longer; without it they hold to the run's end. Of two levers that set the same, the one with the later `at` wins, and
then the later in the list.

A `send` reaches its group as mail of the world (-1) from the tick before. A `block` concerns what is sent in its ticks,
from agents to agents: not their actions, and not what the world sends. A `change` is in the agents and in the world's
columns before anybody looks, and in the rows of tick `at` of agents and outcomes, which are the state as it begins.
What `world(setup, people)` and `population(setup)` made of a parameter stays as it was made: turns, parts
(`self.world.parameters`) and outcomes see `society.` parameters move.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Final, Literal, TypeAlias

import pydantic
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, JsonValue, NonNegativeInt, Tag

from populace.core.errors import SettingsError

KINDS: Final = ("set", "send", "block", "change")
_WORDS: Final = {
    "Input should be a valid integer, got a number with a fractional part": "it has to be a whole number",
    "Input should be a valid integer": "it has to be a whole number",
    "Input should be a valid number": "it has to be a number",
    "Input should be a valid boolean": "it has to be true or false",
    "Input should be a valid string": "it has to be a text",
    "Input should be a valid dictionary": "it has to be a table, { key = value }",
    "Input should be a valid list": "it has to be a list, [ ... ]",
    "Input should be a valid tuple": "it has to be a list, [ ... ]",
    "Input is not a valid path for <class 'pathlib.Path'>": "it has to be a path, as a text",
    "Input should be": "it has to be",
}
"""What pydantic says, and what a person is told."""


def _check_finite(value: Any) -> Any:
    """Plain data goes through JSON, which has no NaN and no infinities."""
    given = value
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a lever's numbers are finite")
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            _check_finite(one)
    return given


Plain = Annotated[JsonValue, AfterValidator(_check_finite)]
Name = Annotated[str, Field(min_length=1, max_length=100)]


class _Data(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _condition(value: Any) -> Any:
    if isinstance(value, Mapping):
        ends = [value[end] for end in ("min", "max") if end in value]
        if not ends or len(ends) != len(value) or not all(_is_number(end) for end in ends):
            raise ValueError("a range is {min = number, max = number}, or one of them; both ends belong to it")
        return value
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, bool | int | float | str):
            raise ValueError("a condition is a value, a list of values, or a range {min = ..., max = ...}")  # noqa: TRY004 - pydantic reads it
    if value == []:
        raise ValueError("an empty list of values matches nobody")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


Condition = Annotated[Plain, AfterValidator(_condition)]


class Among(_Data):
    """A group by what its members are at tick 0, by type, by lot, or by several of these.

    `type` names a type of agents of a society that has types, or several. `where` holds a condition for each of some
    columns of the population: a value, a list of values, or a range {min, max}. `share` is the part of those that is
    drawn: exactly so many, rounded, the same ones in every run with the same seed, and a smaller share is part of a
    larger one. The lot is drawn under the lever's name; groups with the same `key` share their lot.
    """

    type: Name | Annotated[list[Name], Field(min_length=1)] | None = None
    where: dict[str, Condition] = {}
    share: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    key: Name | None = None

    @pydantic.model_validator(mode="after")
    def _says_something(self) -> Among:
        if not self.where and self.share is None and self.type is None:
            raise ValueError('say where = {column = value}, share = 0.1, type, or more; for everybody write "all"')
        if self.key is not None and self.share is None:
            raise ValueError("a key names a lot: it needs a share")
        return self


def _which_group(value: Any) -> str | None:
    if isinstance(value, str):
        return "<all>"
    if isinstance(value, list | tuple):
        return "<ids>"
    return "<among>" if isinstance(value, Mapping | Among) else None


Ids = Annotated[list[NonNegativeInt], Field(min_length=1)]
Group = Annotated[
    Annotated[Literal["all"], Tag("<all>")] | Annotated[Ids, Tag("<ids>")] | Annotated[Among, Tag("<among>")],
    Discriminator(
        _which_group,
        custom_error_type="group",
        custom_error_message='a group is "all", a list of ids, or {where = {column = value}, share = 0.1, type}',
    ),
]
"""Some of the agents."""


class Send(_Data):
    """A message to each of a group, from the world (-1); `body` is plain data."""

    to: Group
    body: Plain


class BlockRule(_Data):
    """Messages that `sender` send, to `receiver` or to anybody, are refused with the reason 'blocked'."""

    sender: Group
    receiver: Group | None = None


class Change(_Data):
    """Fields of a group's agents: `fields` sets one value for all, `each` a list of values, one an agent.

    The values of `each` follow the group's order: as written for a list of ids, by id for any other.
    """

    group: Group
    fields: dict[str, Plain] = {}
    each: dict[str, Annotated[list[Plain], Field(min_length=1)]] = {}

    @pydantic.model_validator(mode="after")
    def _says_something(self) -> Change:
        if not self.fields and not self.each:
            raise ValueError("say which fields = {name = value}, or each = {name = [values]}")
        if both := sorted(self.fields.keys() & self.each.keys()):
            raise ValueError(f"{', '.join(both)} stands in fields and in each")
        return self


class _Lever(_Data):
    at: NonNegativeInt
    name: Name | None = None


class _Held(_Lever):
    until: NonNegativeInt | None = None

    @pydantic.model_validator(mode="after")
    def _ends_after_it_begins(self) -> _Held:
        if self.until is not None and self.until <= self.at:
            raise ValueError(f"until = {self.until} is the first tick without it: it comes after at = {self.at}")
        return self


def _flat(value: Any) -> Any:
    """`{society = {x = 1}}`, which is how TOML reads `society.x = 1`, as `{"society.x": 1}`; world has a part, too."""
    if not isinstance(value, Mapping):
        return value
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        depth = {"society": 1, "world": 2}.get(key, 0)
        nested = {str(key): inner}
        for _ in range(depth):
            nested = {
                path if name is None else f"{path}.{name}": one
                for path, branch in nested.items()
                for name, one in (branch.items() if isinstance(branch, Mapping) else [(None, branch)])
            }
        flat.update(nested)
    return flat


def _keys(value: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in value:
        room, *names = key.split(".")
        if {"society": 1, "world": 2}.get(room) != len(names) or not all(names):
            raise ValueError(f'\'{key}\': a lever sets "society.<parameter>" or "world.<part>.<name>"')
    return value


class SetLever(_Held):
    """Sets parameters: `society.<parameter>`, as turns read it, or `world.<part>.<name>`."""

    set: Annotated[dict[str, Plain], Field(min_length=1), BeforeValidator(_flat), AfterValidator(_keys)]


class SendLever(_Lever):
    """Sends a message."""

    send: Send


class BlockLever(_Held):
    """Blocks a sender or a pair."""

    block: BlockRule


class ChangeLever(_Lever):
    """Changes fields of agents."""

    change: Change


_LEVERS: Final[Mapping[str, type[_Lever]]] = {
    "set": SetLever, "send": SendLever, "block": BlockLever, "change": ChangeLever,
}  # fmt: skip


def _which_lever(value: Any) -> str | None:
    has = value if isinstance(value, Mapping) else type(value).model_fields if isinstance(value, _Lever) else ()
    kinds = [kind for kind in KINDS if kind in has]
    return f"<{kinds[0]}>" if len(kinds) == 1 else None


Lever: TypeAlias = Annotated[
    Annotated[SetLever, Tag("<set>")]
    | Annotated[SendLever, Tag("<send>")]
    | Annotated[BlockLever, Tag("<block>")]
    | Annotated[ChangeLever, Tag("<change>")],
    Discriminator(
        _which_lever,
        custom_error_type="lever",
        custom_error_message="a lever has exactly one of set, send, block and change, and an at",
    ),
]
"""One intervention."""

_READER: Final[pydantic.TypeAdapter[Any]] = pydantic.TypeAdapter(Lever)


def label_of(lever: Any, index: int) -> str:
    """What a lever is called in tables and errors: its name, or its place in the list."""
    return lever.name or f"levers[{index}]"


def parse_lever(given: str | Mapping[str, Any], at: int | None = None) -> Any:
    """Read a lever as a person writes it on a command line, the inside of a TOML inline table, or as a mapping.

    For example `at=3, block={sender={where={party="R"}}}`; `at` is what holds where the lever does not say. Raises
    SettingsError that names lever and key.
    """
    named = f"--lever '{given}'" if isinstance(given, str) else f"lever {dict(given)}"
    lever = _read_table(given, named) if isinstance(given, str) else dict(given)
    if at is not None:
        lever.setdefault("at", at)
    try:
        return _READER.validate_python(lever)
    except pydantic.ValidationError as error:
        raise SettingsError("\n".join(f"{named}: {line}" for line in explain(error))) from None


def _read_table(text: str, named: str) -> dict[str, Any]:
    example = "--lever 'at=3, block={sender=[1, 2]}'"
    try:
        read = tomllib.loads(f"lever = {{ {text.strip()} }}")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{named}: is not the inside of a TOML table: {error}. Write {example}") from None
    if set(read) != {"lever"}:
        raise SettingsError(f"{named}: holds more than one table. Write {example}")
    return dict(read["lever"])


def past_of(levers: Sequence[Any], tick: int) -> list[tuple[int, Any]]:
    """What levers do before a tick, as data that can be compared: each with its place, none that comes later."""
    return [
        (index, lever.model_dump() | ({"until": min(lever.until or tick, tick)} if hasattr(lever, "until") else {}))
        for index, lever in enumerate(levers)
        if lever.at < tick
    ]


def explain(error: pydantic.ValidationError) -> list[str]:
    """What is wrong with a lever, in a line for each problem that names the key."""
    lines = []
    for problem in error.errors():
        name = ".".join(plain_path(problem["loc"]))
        if problem["type"] == "extra_forbidden":
            lines.append(unknown_key(name, keys_at(problem["loc"])))
        elif problem["type"] == "missing":
            lines.append(missing_key(name))
        else:
            given = json.dumps(problem["input"], default=str)
            said = sentence(in_words(problem))
            lines.append(f"'{name}' = {given}: {said}" if name else said)
    return lines


def in_words(problem: Mapping[str, Any]) -> str:
    """What pydantic finds wrong with a value, in plain words; of a lever without a kind, what key was meant."""
    said = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "lever" and isinstance(problem["input"], Mapping):
        known = {"at", "until", "name", *KINDS}
        odd = [str(key) for key in problem["input"] if key not in known]
        return "; ".join([said, *(unknown_key(key, sorted(known)).removesuffix(".") for key in odd)])
    for theirs, ours in _WORDS.items():
        said = said.replace(theirs, ours)
    return said


def sentence(said: str) -> str:
    """What was said, with a full stop where it does not end with a question."""
    return said if said.endswith("?") else f"{said}."


def unknown_key(name: str, known: Sequence[str]) -> str:
    """What to say of a key that there is not: the nearest, and all that there are."""
    near = get_close_matches(name.rpartition(".")[2], known, 1)
    meant = f" Is '{near[0]}' meant?" if near else ""
    return f"unknown key '{name}'. Keys there are: {', '.join(known) or 'none'}.{meant}"


def missing_key(name: str) -> str:
    """What to say of a key that has to be there."""
    room, _, key = name.rpartition(".")
    hint = ": the tick at whose start the lever takes effect, for example at = 3" if key == "at" else ""
    return f"'{name}' is missing{f' in {room}' if room else ''}{hint}."


def plain_path(loc: Sequence[int | str]) -> list[str]:
    """Where a problem lies, without the marks of which kind of lever or group was tried."""
    return [str(step) for step in loc if not (isinstance(step, str) and step.startswith("<"))]


def keys_at(loc: Sequence[int | str]) -> list[str]:
    """The keys that there are beside the one at `loc`."""
    model: Any = None
    for step in loc[:-1]:
        kind = str(step).strip("<>")
        if step == "<among>":
            model = Among
        elif str(step).startswith("<"):
            model = _LEVERS.get(kind)
        elif model is not None and step in model.model_fields:
            model = {"send": Send, "block": BlockRule, "change": Change}.get(kind)
    return [] if model is None else sorted(model.model_fields)
