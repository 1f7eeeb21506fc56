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

[[levers]]                      # whoever has three strikes is silenced for 24 ticks, each time anew
when = { agents = { strikes = { min = 3 } } }
lasts = 24
again = 24
block = { sender = "matching" }
```

`at` is the tick at whose start a lever takes effect, `until` the first tick in which a `set` or a `block` holds no
longer; without it they hold to the run's end. Of two levers that set the same, the one with the later `at` wins, and
then the later in the list.

A lever with a trigger, `when`, takes effect at the start of each tick in which the condition is met, from `at` (1,
where it is not said) to before `until`: once, for each agent where it is about agents, or again no sooner than `again`
ticks after. What it sets or blocks holds for `lasts` ticks. All triggers of an edge are read on one state: that as the
tick begins, once the levers without a trigger have acted.

A `send` reaches its group as mail of the world (-1) from the tick before. A `block` concerns what is sent in its ticks,
from agents to agents: not their actions, and not what the world sends. A `change` is in the agents and in the world's
columns before anybody looks, and in the rows of tick `at` of agents and outcomes, which are the state as it begins.
What `world(setup, people)` and `population(setup)` made of a parameter stays as it was made: turns, parts
(`self.world.parameters`) and outcomes see `society.` parameters move.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Final, TypeAlias

import pydantic
from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, NonNegativeInt, PositiveInt, Tag

from populace.core.errors import SettingsError
from populace.interventions.conditions import MATCHING, Among, Data, Group, Name, Plain, When

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


class Send(Data):
    """A message to each of a group, from the world (-1); `body` is plain data."""

    to: Group
    body: Plain


class BlockRule(Data):
    """Messages that `sender` send, to `receiver` or to anybody, are refused with the reason 'blocked'."""

    sender: Group
    receiver: Group | None = None


class Change(Data):
    """Fields of a group's agents: `fields` sets one value for all, `each` a list of values, one an agent.

    The values of `each` follow the group's order: as written for a list of ids, by id for any other.
    """

    group: Group
    fields: dict[str, Plain] = Field(default={})
    each: dict[str, Annotated[list[Plain], Field(min_length=1)]] = Field(default={})

    @pydantic.model_validator(mode="after")
    def _says_something(self) -> Change:
        if not self.fields and not self.each:
            raise ValueError("say which fields = {name = value}, or each = {name = [values]}")
        if both := sorted(self.fields.keys() & self.each.keys()):
            raise ValueError(f"{', '.join(both)} stands in fields and in each")
        return self


class _Lever(Data):
    at: NonNegativeInt
    name: Name | None = None
    when: When | None = None
    until: NonNegativeInt | None = None
    again: PositiveInt | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _begins_after_tick_0(cls, given: Any) -> Any:
        triggered = isinstance(given, Mapping) and given.get("when") is not None
        return {"at": 1, **given} if triggered else given

    @pydantic.model_validator(mode="after")
    def _fits_its_trigger(self) -> _Lever:
        if self.until is not None and self.until <= self.at:
            raise ValueError(f"until = {self.until} is the first tick without it: it comes after at = {self.at}")
        groups = self.groups()
        if self.when is None:
            if MATCHING in groups:
                raise ValueError(f'"{MATCHING}" are those who meet a trigger: say when = {{agents = {{...}}}}, too')
            for key in ("again", "lasts"):
                if getattr(self, key, None) is not None:
                    raise ValueError(f"{key} is of levers with a trigger: say when = {{...}}, too")
            return self
        if self.at == 0:
            raise ValueError("a trigger is first read at the edge after tick 0: at = 1 or later")
        if bool(self.when.agents) != (MATCHING in groups):
            raise ValueError(
                f'conditions of agents and the group "{MATCHING}" go together: name it where the lever names a group, '
                "or as the value of a parameter of a part that is a list of ids"
            )
        return self

    def groups(self) -> list[Any]:
        """The groups that it names."""
        return []


class _Held(_Lever):
    lasts: PositiveInt | None = None


class _AtOnce(_Lever):
    @pydantic.model_validator(mode="after")
    def _takes_no_time(self) -> _AtOnce:
        if self.until is not None and self.when is None:
            raise ValueError("until is of what holds for a while (set, block), and of levers with a trigger (when)")
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

    def groups(self) -> list[Any]:
        """See `_Lever.groups`: those who meet its trigger, where they are a value."""
        return [MATCHING] if self.of_matching() else []

    def of_matching(self) -> list[str]:
        """What is set to the ids of those who meet its trigger."""
        if self.when is None or not self.when.agents:
            return []
        return [key for key, value in self.set.items() if value == MATCHING and key.startswith("world.")]


class SendLever(_AtOnce):
    """Sends a message."""

    send: Send

    def groups(self) -> list[Any]:
        """See `_Lever.groups`."""
        return [self.send.to]


class BlockLever(_Held):
    """Blocks a sender or a pair."""

    block: BlockRule

    def groups(self) -> list[Any]:
        """See `_Lever.groups`."""
        return [self.block.sender, self.block.receiver]


class ChangeLever(_AtOnce):
    """Changes fields of agents."""

    change: Change

    @pydantic.model_validator(mode="after")
    def _has_so_many(self) -> ChangeLever:
        if self.change.each and self.change.group == MATCHING:
            raise ValueError(f'each has a value for each of a group, and how many are "{MATCHING}" shows in the run')
        return self

    def groups(self) -> list[Any]:
        """See `_Lever.groups`."""
        return [self.change.group]


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
        custom_error_message="a lever has exactly one of set, send, block and change, and an at or a when",
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
        lever.setdefault("at", at if lever.get("when") is None else max(at, 1))
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
        (index, lever.model_dump() | {"until": min(lever.until or tick, tick)})
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
        known = {"at", "until", "name", "when", "lasts", "again", *KINDS}
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
            model = {"send": Send, "block": BlockRule, "change": Change, "when": When}.get(kind)
    return [] if model is None else sorted(model.model_fields)
