"""A domain of tools: a database, typed functions on it, the policy that calls are to keep, and tasks with goals."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

import msgspec

from populace.core.errors import ScenarioError
from populace.core.places import defined_at
from populace.env.tools.tables import Changes, Database, Refusal, View


class Call(msgspec.Struct, frozen=True):
    """A call as a rule of the policy sees it: its arguments, what the database was before and is after it.

    `history` are the names of the tools that were called before in the same task, refused calls left out.
    """

    tool: str
    args: dict[str, Any]
    before: View
    after: View
    history: tuple[str, ...]


class PolicyRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of the policy: `text` says it to people and models, `kept(call)` whether a call keeps it.

    It goes for the named `tools` (all where none are named). A call that does not keep it is refused with the rule's
    `name` where it is `enforced`; else it is done, and counted as a break.
    """

    name: str
    text: str
    kept: Callable[[Call], bool]
    tools: tuple[str, ...] = ()
    enforced: bool = False


class Done(msgspec.Struct, frozen=True):
    """What a call came to: `refused` is a word, or ''; then `result` is what it gave, `changes` the state it left.

    `broken` names the rules that it broke.
    """

    result: Any
    changes: Changes
    refused: str = ""
    broken: tuple[str, ...] = ()


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be done at a desk: `wish` says what its user wants and `facts` what the user knows.

    `goal` are the calls, (tool, arguments), that lead to the state that it is graded by. `hard` is the share of its
    steps that go wrong with those who know their work, where that is known; agents see it.
    """

    wish: str
    goal: tuple[tuple[str, dict[str, Any]], ...]
    facts: dict[str, Any] = {}
    hard: float = 0.0


class Domain:
    """A database with tools and a policy.

    A tool is a function `(db, *, name: type, ...)` that reads and changes `db`, a `View`; it gives plain data, and
    raises `Refusal("word")` for what cannot be done. Its annotations are the types of its arguments, which are checked
    before it is called: msgspec Structs, Literals, numbers, text. Its docstring tells what it does. Raises
    ScenarioError, naming the tool, for an argument without a type, and for rules of unknown tools.
    """

    def __init__(
        self,
        name: str,
        tables: Mapping[str, Mapping[str, Sequence[Any]]],
        tools: Sequence[Callable[..., Any]],
        policy: Sequence[PolicyRule] = (),
    ) -> None:
        self.name = name
        self.base = Database(tables)
        self.tools = {one.__name__: one for one in tools}
        self.policy = tuple(policy)
        self.arguments = {one.__name__: _arguments(one) for one in tools}
        for rule in self.policy:
            if not rule.name.isidentifier() or not set(rule.tools) <= set(self.tools):
                raise ScenarioError(
                    f"PolicyRule('{rule.name}'): its name is one word, and its tools are among {', '.join(self.tools)}"
                )

    def call(
        self,
        changes: Changes,
        tool: Any,
        args: Any,
        history: tuple[str, ...] = (),
        *,
        enforce: bool = False,
    ) -> Done:
        """Call a tool on the database with these changes, which stay as they are; `enforce` holds for all rules.

        It is refused as `unknown_tool`, `bad_arguments`, by the tool's own word, or by an enforced rule's name. Raises
        ScenarioError, naming the tool, for any other exception in it.
        """
        function = self.tools.get(tool) if type(tool) is str else None
        if function is None:
            return Done(None, changes, "unknown_tool")
        try:
            struct = msgspec.convert(args, self.arguments[tool], strict=True)
        except msgspec.ValidationError:
            return Done(None, changes, "bad_arguments")
        given = {name: getattr(struct, name) for name in struct.__struct_fields__}
        before, after = View(self.base, changes), View(self.base, changes)
        try:
            result = msgspec.to_builtins(function(after, **given))
        except Refusal as refusal:
            return Done(None, changes, refusal.reason)
        except Exception as error:
            where = f"domain '{self.name}', tool '{tool}' ({defined_at(function)})"
            raise ScenarioError(f"{where}: {type(error).__name__}: {error}") from error
        called = Call(tool, msgspec.to_builtins(given), before, after, history)
        broken = [rule for rule in self.policy if tool in (rule.tools or self.tools) and not rule.kept(called)]
        if strict := [rule for rule in broken if rule.enforced or enforce]:
            return Done(None, changes, strict[0].name)
        return Done(result, after.changes, "", tuple(rule.name for rule in broken))

    def after(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> Changes:
        """The state that calls lead to, from the database as it is. Raises ScenarioError where one is refused."""
        changes: Changes = {}
        history: list[str] = []
        for tool, args in calls:
            done = self.call(changes, tool, dict(args), tuple(history))
            if done.refused or done.broken:
                why = done.refused or f"it breaks {', '.join(done.broken)}"
                raise ScenarioError(
                    f"domain '{self.name}': a goal calls {tool}({dict(args)}), and that cannot be: {why}"
                )
            changes = done.changes
            history.append(tool)
        return changes

    def manual(self) -> str:
        """What the tools are, a line each: name, arguments with their types, what it does."""
        lines = []
        for name, function in self.tools.items():
            hints = get_type_hints(function)
            parameters = list(inspect.signature(function).parameters)[1:]
            shown = ", ".join(f"{one}: {_type_name(hints[one])}" for one in parameters)
            lines.append(f"{name}({shown}): {inspect.getdoc(function) or ''}".strip())
        return "\n".join(lines)

    def policy_text(self) -> str:
        """The rules' texts, a line each."""
        return "\n".join(f"- {rule.text}" for rule in self.policy)


def _arguments(function: Callable[..., Any]) -> type[msgspec.Struct]:
    """A Struct of a tool's arguments."""
    hints = get_type_hints(function)
    fields: list[Any] = []
    for name, one in list(inspect.signature(function).parameters.items())[1:]:
        if name not in hints:
            raise ScenarioError(f"tool '{function.__name__}' ({defined_at(function)}): give '{name}' a type")
        given = () if one.default is inspect.Parameter.empty else (one.default,)
        fields.append((name, hints[name], *given))
    return msgspec.defstruct(function.__name__, fields, kw_only=True, forbid_unknown_fields=True, frozen=True)


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
