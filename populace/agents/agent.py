"""An agent: typed state and a turn.

State is what the class declares as fields, and nothing else: an agent is a `msgspec.Struct`, so it is small, its
types are checked when it is made, and a snapshot of it is plain data.
"""

from __future__ import annotations

import dis
import inspect
import sys
import typing
from collections.abc import Mapping
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

import msgspec

from populace.core.errors import ScenarioError

if TYPE_CHECKING:
    from populace.agents.context import Context
    from populace.agents.probes.persona import Probe

T = TypeVar("T")

_PUBLIC = msgspec.Meta(extra={"populace": "public"})

Public = Annotated[T, _PUBLIC]
"""Marks a field that the world and the tables see: `attitude: Public[float]` (float, int, bool or str)."""

_COMBINED = ("BINARY_OP", "COMPARE_OP", "CONTAINS_OP")

_COLUMN_TYPES = (float, int, bool, str)

RESERVED = ("id", "tick", "type", "agent")
"""What tables and frames label agents by, so that no field of theirs can be called so."""


class Agent(msgspec.Struct, kw_only=True):
    """Subclass it, declare its state as fields, and say in `turn` what it does when it is due.

    ```python
    class Citizen(Agent):
        profile: str
        attitude: Public[float] = 5.0

        async def turn(self, ctx):
            answer = await ctx.ask(f"{self.profile} ...", Opinion)
    ```

    A turn is straight-line code. It may await effects only (`ctx.ask`, `ctx.look`); what it sends and does takes
    effect at the end of the tick. An exception ends this turn: its messages and actions are dropped, what it
    changed in its own fields stays, and the run goes on.

    Between its turns an agent holds what a checkpoint would give back, in a run that is never resumed too. So fields
    hold plain data of the types that they declare, and a list, dict, set or Struct that can change stands in one place
    of one agent. What a resume would change (a tuple under `Any`, an int in a float field, `self.recent = self.log`)
    ends the run when the tick ends, naming class, field and agent. A field that is a set comes as an `OrderedSet`
    (`core.containers`), read in the order of its elements; what is made of it with `|`, `&`, `-` and `^` likewise. A
    plain set that a turn makes (`set(...)`, `{a for a in ...}`) is in Python's own order, which for text differs from
    process to process unless PYTHONHASHSEED is 0; where it is not, such a turn is refused when the run begins.

    `mind` says what answers its asks unless the settings say otherwise (`[minds]`): "model", "rules" (those of the
    society), "archetypes", "surrogate", or a model role; or by purpose, `mind = {"vote": "rules"}`.
    """

    mind: ClassVar[str | Mapping[str, str]] = "model"

    async def turn(self, ctx: Context) -> None:
        """What the agent does in a tick in which it is due."""

    def interviewed(self, probe: Probe) -> str | Mapping[str, Any]:
        """What a survey or an interview is told of the agent, a text or facts by name; override it to say it better.

        It is called on a copy of the agent, which goes afterwards. Without one of its own, an agent is its fields, and
        the memories that bear on the question (`populace.agents.probes.persona`).
        """
        from populace.agents.probes.persona import described

        return described(self, probe)


def check_agent(agent_type: Any, given: str = "agent=") -> None:
    """Raise ScenarioError, naming class, file and line, for what is no class of agents, and for fields.

    `given` is how it was given, to begin a message with.
    """
    if isinstance(agent_type, Agent):
        kind = type(agent_type).__name__
        raise ScenarioError(f"{given}{kind}(...): it has to be the class and not one of its agents: {given}{kind}")
    if not (isinstance(agent_type, type) and issubclass(agent_type, Agent)):
        many = isinstance(agent_type, list | tuple | set | dict)
        shown = f"a {type(agent_type).__name__}" if many else getattr(agent_type, "__name__", repr(agent_type))
        raise ScenarioError(
            f"{given}{shown}: it has to be one class of agents, a subclass of populace.Agent. Several types of agents "
            'are given by name: types={"firm": Firm, "household": Household} in place of agent=.'
        )
    for name in agent_type.__struct_fields__:
        if name in RESERVED:
            raise ScenarioError(
                f"{defined_in(agent_type)}{agent_type.__name__}.{name}: no field can be called {name!r}, by which "
                f"tables label agents (reserved are {', '.join(RESERVED)}). Give it another name, such as "
                f"'own_{name}'; an agent's own id and the tick are ctx.id and ctx.tick."
            )


def check_turn(agent_type: type[Agent]) -> None:
    """Raise ScenarioError, naming class, file and line, for a class of agents without a usable turn."""
    turn = agent_type.turn
    if turn is Agent.turn:
        raise ScenarioError(
            f"{defined_in(agent_type)}{agent_type.__name__} has no turn: write `async def turn(self, ctx):` in it."
        )
    code = getattr(turn, "__code__", None)
    if code is None:
        return
    where = f"{code.co_filename}:{code.co_firstlineno}: {agent_type.__name__}.turn"
    try:
        inspect.signature(turn).bind("self", "ctx")
    except TypeError as error:
        raise ScenarioError(f"{where}: is called as turn(self, ctx), and cannot be: {error}.") from None
    if inspect.iscoroutinefunction(turn):
        return
    if inspect.isgeneratorfunction(turn) or inspect.isasyncgenfunction(turn) or not _gives_something(code):
        yields = code.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR)
        why = "has a `yield`" if yields else "is no coroutine"
        raise ScenarioError(f"{where} {why}: write `async def turn(self, ctx):`, and `await` what it asks.")


def defined_in(kind: type) -> str:
    """Where a class is defined, to begin a message with; '' where that is not known."""
    try:
        return f"{inspect.getsourcefile(kind)}:{inspect.findsource(kind)[1] + 1}: "
    except (OSError, TypeError):
        return ""


def _gives_something(code: CodeType) -> bool:
    """Whether a function returns anything but None: a plain one may return another's coroutine."""
    before = None
    for step in dis.get_instructions(code):
        none = before is not None and before.opname == "LOAD_CONST" and before.argval is None
        if step.opname == "RETURN_VALUE" and not none:
            return True
        before = step
    return False


def sets_in_turn(agent_type: type[Agent]) -> str | None:
    """Where the code of a turn makes a plain set, as file and line; None where it makes none.

    The turn, and the functions and methods of its module that it names, directly or through others. A set that is at
    once compared or combined with another, as in `self.met | {other}`, is none: the other one is an OrderedSet.
    """
    module = sys.modules.get(agent_type.__module__)
    space: dict[str, Any] = {} if module is None else vars(module)
    todo: list[Any] = [getattr(agent_type, "turns", agent_type.turn)]
    seen: set[Any] = set()
    while todo:
        code = getattr(inspect.unwrap(todo.pop()), "__code__", None)
        codes = [] if code is None or code in seen else [code]
        while codes:
            code = codes.pop()
            seen.add(code)
            line = code.co_firstlineno
            steps = list(dis.get_instructions(code))
            for at, step in enumerate(steps):
                line = (step.positions.lineno if step.positions else None) or line
                called = step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval in ("set", "frozenset")
                shown = step.opname == "BUILD_SET" and steps[at + 1].opname not in _COMBINED
                if called or shown or step.opname == "SET_ADD":
                    return f"{code.co_filename}:{line}"
            codes += [one for one in code.co_consts if isinstance(one, CodeType)]
            for name in code.co_names:
                found = getattr(agent_type, name, None) or space.get(name)
                if isinstance(found, FunctionType) and found.__module__ == agent_type.__module__:
                    todo.append(found)
    return None


def public_fields(agent_type: type[Agent]) -> dict[str, type]:
    """The public fields of an agent type, in order of declaration, each with float, int, bool or str.

    Raises ScenarioError, naming class and field, for a public field of any other type, and for a class whose
    fields cannot be written down as plain data.
    """
    fields: dict[str, type] = {}
    for name, hint in typing.get_type_hints(agent_type, include_extras=True).items():
        if _PUBLIC in getattr(hint, "__metadata__", ()):
            declared: Any = hint.__origin__
            if declared not in _COLUMN_TYPES:
                raise ScenarioError(
                    f"{agent_type.__name__}.{name}: a public field is a float, int, bool or str, not {declared}. "
                    "Keep other state in fields that are not Public."
                )
            fields[name] = declared
    try:
        msgspec.msgpack.Decoder(agent_type)
    except TypeError as error:
        raise ScenarioError(f"{agent_type.__name__}: its fields must be plain data: {error}") from None
    return fields
