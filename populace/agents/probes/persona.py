"""What a probe is told of an agent: its fields, and of its memory what bears on the question. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from populace.agents.mind.memory import Memory

if TYPE_CHECKING:
    from populace.agents.agent import Agent

MEMORIES: Final = 10
"""How many memories a probe is told."""
_CHARACTERS: Final = 4000
"""How much of one field a probe is told."""


@dataclass(frozen=True)
class Probe:
    """What `Agent.interviewed` is given.

    `id` is the agent's, `tick` the tick before which it is asked; `question` is the text of what is asked; `survey` and
    `item` name it ('' in an interview). `seen` is what the world's parts show the agent then; `parameters` are the
    society's, as of the run's start.
    """

    id: int
    tick: int
    question: str
    survey: str = ""
    item: str = ""
    seen: Mapping[str, Any] = field(default_factory=dict)
    parameters: Any = None


def described(agent: Agent, probe: Probe) -> dict[str, Any]:
    """The fields of an agent as facts by name: texts, numbers, truth values, and lists and dictionaries of such.

    Of a `Memory` there are the texts of the `MEMORIES` that bear on the question most. Other Structs are dictionaries
    of their fields. What is empty, bytes, or a name that begins with _ is left out.
    """
    facts: dict[str, Any] = {}
    for name in agent.__struct_fields__:
        if name.startswith("_"):
            continue
        value = getattr(agent, name)
        if isinstance(value, Memory):
            value = [one.text for one in value.retrieve(probe.tick, probe.question, k=MEMORIES)] if len(value) else None
        told = _told(value)
        if told is not None and told not in ("", [], {}):
            facts[name] = told
    return facts


def facts_of(agent: Agent, probe: Probe) -> dict[str, Any]:
    """What `agent.interviewed(probe)` gives, as facts by name; a text is called `persona`.

    Raises TypeError for what is neither a text nor plain data by name.
    """
    given = agent.interviewed(probe)
    if isinstance(given, str):
        return {"persona": given}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise TypeError(f"interviewed(probe) gives a text, or facts by name, and not {given!r:.100}")
    told: dict[str, Any] = msgspec.to_builtins(dict(given), str_keys=True)
    return told


def _told(value: Any) -> Any:
    """A value as plain data for a prompt; None for what is not told."""
    if isinstance(value, bytes | bytearray):
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value[:_CHARACTERS]
    try:
        made = msgspec.to_builtins(value, str_keys=True)
        while isinstance(made, list) and len(msgspec.json.encode(made)) > _CHARACTERS:
            made = made[len(made) // 2 + 1 :]  # the newest stand last
        return made if len(msgspec.json.encode(made)) <= _CHARACTERS else None
    except (TypeError, ValueError, OverflowError):
        return None
