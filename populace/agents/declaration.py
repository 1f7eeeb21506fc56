"""Whether what a society declares can be used: each argument by its kind, with what to write instead."""

from __future__ import annotations

import enum
import inspect
import math
import re
import typing
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import msgspec

from populace.agents.probes.survey import Survey
from populace.agents.types import check_size, check_types
from populace.core.errors import ScenarioError
from populace.core.records import ROLE_NAME
from populace.core.roster import ONE

if TYPE_CHECKING:
    from populace.agents.society import Society

MOST: Final = 2**31 - 1
"""The most agents and ticks there can be: ids and ticks are 32-bit numbers."""


def check_society(society: Society) -> None:
    """Raise ScenarioError, naming the argument, for one that is not of the kind that it has to be."""
    if not isinstance(society.name, str) or not re.fullmatch(r"(?!\.)[^\x00-\x1f\x7f/\\]{1,100}", society.name):
        raise _wrong("name", society.name, 'a name of 1 to 100 letters, without / and \\: name="my_society"')
    if not isinstance(society.about, str):
        raise _wrong("about", society.about, "a text")
    check_types(society)
    _check_function("population", society.population, ("setup",))
    _check_function("world", society.world, ("setup", "population"))
    if society.scripted is not None:
        _check_function("scripted", society.scripted, ("ask", "draw"))
    _check_rules(society.rules)
    check_model_roles(society.model_roles, tuple(society.types) or (ONE,))
    _check_outcomes(society.outcomes)
    _check_parameters(society.parameters)
    _check_activations(society)
    check_size(society, MOST)
    if isinstance(society.ticks, bool) or not isinstance(society.ticks, int) or not 1 <= society.ticks <= MOST:
        raise _wrong("ticks", society.ticks, f"a whole number from 1 to {MOST:,}")
    _check_surveys(society.surveys)
    if isinstance(society.influence, str) or society.influence is None:
        if society.influence == "":
            raise _wrong("influence", society.influence, 'the name of a network: influence="network"')
    else:
        _check_function("influence", society.influence, ("world",))
    seconds = society.tick_seconds
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not math.isfinite(seconds) or seconds <= 0:
        raise _wrong("tick_seconds", seconds, "a number of seconds above 0")


def allowed_values(kind: Any) -> list[Any]:
    """The values of an Enum or a Literal, also where None is one; none for any other type."""
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return [one.value for one in kind]
    if typing.get_origin(kind) is typing.Literal:
        return list(typing.get_args(kind))
    return [value for one in typing.get_args(kind) for value in allowed_values(one)]


def explain_value(error: msgspec.ValidationError, kind: type) -> str:
    """What is wrong with a value for a class of fields; with the values there are where it is none of them."""
    text = str(error)
    path = re.search(r"`\$\.(\w+)", text)
    if path is None or not text.startswith("Invalid enum value"):
        return text
    values = allowed_values(typing.get_type_hints(kind).get(path.group(1)))
    return f"{text}; there are {', '.join(map(repr, values))}" if values else text


def _check_function(name: str, value: Any, takes: tuple[str, ...]) -> None:
    call = f"{name}({', '.join(takes)})"
    if not callable(value) or isinstance(value, type):
        raise _wrong(name, value, f"a function {call}, given by its name and not called: {name}={name}")
    try:
        inspect.signature(value).bind(*takes)
    except TypeError as error:
        raise ScenarioError(f"{name}={_shown(value)}: is called as {call}, and cannot be: {error}.") from None
    except ValueError:  # a builtin that does not tell
        return


def _check_rules(rules: Any) -> None:
    if not isinstance(rules, Mapping):
        raise _wrong("rules", rules, 'a dictionary of functions by purpose: rules={"opinion": opinion}')
    _check_functions("rules", rules, "a purpose", ("facts", "draw"))


def check_model_roles(model_roles: Any, types: Sequence[str]) -> None:
    """Raise ScenarioError, naming the key, for what are no model roles by type of agent."""
    if not isinstance(model_roles, Mapping):
        raise _wrong(
            "model_roles", model_roles, f'a dictionary of roles by type of agent: model_roles={{"{types[0]}": "judge"}}'
        )
    for name, role in model_roles.items():
        if name not in types:
            near = get_close_matches(str(name), types, 1)
            meant = f" Is {near[0]!r} meant?" if near else ""
            raise ScenarioError(
                f"model_roles: the society has no type of agents {name!r}; there are {', '.join(types)}.{meant}"
            )
        if not isinstance(role, str) or not re.fullmatch(ROLE_NAME, role):
            raise ScenarioError(
                f"model_roles[{name!r}]: {_shown(role)} is no role's name: it is a word of letters, digits, _ and -, "
                'such as "judge".'
            )


def _check_outcomes(outcomes: Any) -> None:
    if not isinstance(outcomes, Mapping):
        raise _wrong("outcomes", outcomes, 'a dictionary of functions of the world: outcomes={"mean": mean}')
    _check_functions("outcomes", outcomes, "an outcome's name", ("world",))


def _check_functions(where: str, functions: Mapping[Any, Any], key: str, takes: tuple[str, ...]) -> None:
    for name, function in functions.items():
        if not isinstance(name, str) or not name:
            raise ScenarioError(f"{where}: {key} is a text, not {name!r}.")
        _check_function(f"{where}[{name!r}]", function, takes)


def _check_surveys(surveys: Any) -> None:
    if isinstance(surveys, str) or not isinstance(surveys, Sequence):
        raise _wrong("surveys", surveys, 'a list of surveys: surveys=[Survey("cesd", at=[0, 10])]')
    for survey in surveys:
        if not isinstance(survey, Survey):
            raise _wrong("surveys", survey, 'a survey: Survey("cesd", at=[0, 10])')


def _check_parameters(parameters: Any) -> None:
    if isinstance(parameters, type):
        made = f"parameters={parameters.__name__}()"
        raise _wrong("parameters", parameters, f"an instance with the defaults, not the class: write {made}")
    if not isinstance(parameters, msgspec.Struct):
        fields = parameters.items() if isinstance(parameters, Mapping) else ()
        declared = "; ".join(f"{key}: {type(value).__name__} = {value!r}" for key, value in fields) or "k: int = 2"
        raise _wrong(
            "parameters", parameters,
            f"an instance of a class of typed fields: `class Dials(Parameters): {declared}`, and parameters=Dials()",
        )  # fmt: skip


def _check_activations(society: Society) -> None:
    given: Any = society.activation
    if not isinstance(given, Mapping):
        _check_activation("activation", given)
        return
    for name, activation in given.items():
        if name not in society.types:
            there = ", ".join(society.types) or "none: the society has one class of agents"
            raise ScenarioError(f"activation: there is no type of agents {name!r}; there are {there}.")
        _check_activation(f"activation[{name!r}]", activation)


def _check_activation(where: str, activation: Any) -> None:
    if isinstance(activation, type) or not callable(getattr(activation, "due", None)):
        kinds = "EveryTick(), OnMail(), Every(period) or Sometimes(p)"
        raise _wrong(where, activation, f"one of {kinds}, or an object with a method `due(seed, tick, ids)`")


def _wrong(name: str, value: Any, right: str) -> ScenarioError:
    return ScenarioError(f"{name}={_shown(value)}: it has to be {right}.")


def _shown(value: Any) -> str:
    text = getattr(value, "__name__", None) or repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
