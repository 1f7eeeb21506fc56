"""Conditions, groups of agents and triggers, as settings hold them.

```toml
when = { agents = { strikes = { min = 3 } } }               # each agent whose public field is 3 or more
when = { agents = { "moderation.flags" = { min = 3 } } }    # ... for whom a part's signal is
when = { world = { "weather.wind" = { min = 30 } } }        # a part's signal of the whole state
when = { outcomes = { unemployment = { max = 0.05 } } }     # an outcome of the society
```

All that a trigger says has to hold at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import pydantic
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, JsonValue, NonNegativeInt, Tag

MATCHING: Final = "matching"
"""Names the agents who meet a lever's trigger, where it names a group."""


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


class Data(pydantic.BaseModel):
    """What settings hold: nothing else, and of the types that it says."""

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


class Among(Data):
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
    Annotated[Literal["all", "matching"], Tag("<all>")]
    | Annotated[Ids, Tag("<ids>")]
    | Annotated[Among, Tag("<among>")],
    Discriminator(
        _which_group,
        custom_error_type="group",
        custom_error_message=(
            'a group is "all", a list of ids, or {where = {column = value}, share = 0.1, type}, or "matching"'
        ),
    ),
]
"""Some of the agents."""


def _flat(value: Any) -> Any:
    """`{part = {signal = ...}}`, which is how TOML reads `part.signal = ...`, as `{"part.signal": ...}`."""
    if not isinstance(value, Mapping):
        return value
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner and not inner.keys() & {"min", "max"}:
            flat |= {f"{key}.{name}": one for name, one in inner.items()}
        else:
            flat[str(key)] = inner
    return flat


def _signals(value: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in value:
        if name.count(".") != 1 or not all(name.split(".")):
            raise ValueError(f"'{name}': a value of the world is \"<part>.<signal>\"")
    return value


def _fields(value: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in value:
        if name.count(".") > 1 or not all(name.split(".")):
            raise ValueError(f'\'{name}\': a condition of agents is on "<public field>" or "<part>.<signal>"')
    return value


class When(Data):
    """A condition of the state, read at the edge between two ticks: all that it says has to hold.

    `agents` holds conditions on what each agent is: public fields by name, and signals of parts, 'part.signal', that
    have a value an agent. Whoever meets all of them is in the group "matching"; `among` bounds who can. `world` has
    conditions on signals that are one value, and `outcomes` on outcomes of the society.
    """

    agents: Annotated[dict[str, Condition], BeforeValidator(_flat), AfterValidator(_fields)] = {}
    world: Annotated[dict[str, Condition], BeforeValidator(_flat), AfterValidator(_signals)] = {}
    outcomes: dict[str, Condition] = {}
    among: Group | None = None

    @pydantic.model_validator(mode="after")
    def _says_something(self) -> When:
        if not (self.agents or self.world or self.outcomes):
            raise ValueError("say agents = {field = {min = 3}}, world = {part.signal = ...}, outcomes = {...}, or more")
        if self.among is not None and not self.agents:
            raise ValueError("among says which agents can meet the conditions under agents: there are none")
        if self.among == MATCHING:
            raise ValueError('among is a group of its own: "matching" are those who meet the conditions')
        return self
