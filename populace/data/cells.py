"""Finds the statements that a variable of a notebook needs, among all that its cells have run. Pure."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from populace.core.errors import ScenarioError


@dataclass(frozen=True)
class Statement:
    """A statement of a cell, by what it does with the names of the notebook.

    It gives values to `binds`, and changes those of `touches` in place; `now` it reads when it runs, and `later` when a
    function that it defines is called.
    """

    text: str
    cell: int
    binds: frozenset[str]
    touches: frozenset[str]
    now: frozenset[str]
    later: frozenset[str]
    by_import: bool
    all_of_a_module: bool
    by_magic: bool


class Cells:
    """The statements of a notebook's cells, in the order in which they ran. A cell that is no Python is left out."""

    def __init__(self, cells: Iterable[str]) -> None:
        self._statements = [one for number, text in enumerate(cells) for one in _statements(text, number)]

    def needed(self, name: str, known: Callable[[str], bool], told: Callable[[str], str]) -> str:
        """The text of all statements without which the newest `name` would not be what it is, in order.

        Names that are `known` need no statement; `told` says for an error what stands under a name. Raises
        ScenarioError, naming it, for a name that no statement's text gives a value to.
        """
        last = self._binding(name, len(self._statements))
        if last is None:
            raise ScenarioError(f"{name}: no cell gives it a value{told(name).rstrip(',')}.")
        kept: set[int] = set()
        waiting = [last]
        while waiting:
            at = waiting.pop()
            if at in kept:
                continue
            one = self._statements[at]
            if one.by_magic:
                bound = ", ".join(sorted(one.binds)) or one.text
                raise ScenarioError(
                    f"{bound}: is made by a magic or a shell command in cell {one.cell}, which shards cannot run. "
                    "Make it in Python, or read it from a file."
                )
            kept.add(at)
            waiting += self._touching(one, at)
            for read in sorted(one.now | one.later):
                waiting += self._giving(read, at, read in one.later, last, known, told, one)
        return "\n\n".join(self._statements[at].text for at in sorted(kept)) + "\n"

    def _binding(self, name: str, before: int) -> int | None:
        """The last statement before a place that gives a name its value."""
        return next((at for at in range(before - 1, -1, -1) if name in self._statements[at].binds), None)

    def _touching(self, one: Statement, at: int) -> list[int]:
        """The statements that change in place what this one has made, until something else is made of the name."""
        found = []
        for name in () if one.by_import else one.binds:
            for after in range(at + 1, len(self._statements)):
                if name in self._statements[after].binds:
                    break
                if name in self._statements[after].touches:
                    found.append(after)
        return found

    def _giving(
        self,
        name: str,
        at: int,
        later: bool,
        last: int,
        known: Callable[[str], bool],
        told: Callable[[str], str],
        of: Statement,
    ) -> list[int]:
        """The statements that give `name` the value that the statement at `at` reads: when it runs, or when called.

        What a function reads is read when it is called: by then the newest, but perhaps before the society was made.
        """
        readers = (at, last, len(self._statements)) if later else (at,)
        places = {self._binding(name, reader) for reader in readers}
        found = sorted(place for place in places if place is not None)
        if found or name in of.binds or known(name):
            return found
        stars = [n for n, one in enumerate(self._statements) if one.all_of_a_module and n < at]
        if stars:
            return stars
        first = of.text.partition("\n")[0]
        raise ScenarioError(
            f"{name}: cell {of.cell} reads it ({first}), and no cell's text gives it a value{told(name)} that shards "
            "could make again. Make it in a cell, or keep it in a file that the society reads."
        )


def _statements(text: str, number: int) -> list[Statement]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return []
    return [_statement(_text_of(node, text), node, number) for node in tree.body]


def _text_of(node: ast.stmt, text: str) -> str:
    """The text of a statement, with its decorators."""
    decorators: Sequence[ast.expr] = getattr(node, "decorator_list", ())
    if not decorators:
        return ast.get_source_segment(text, node) or ast.unparse(node)
    first = min(one.lineno for one in decorators)
    return "\n".join(text.splitlines()[first - 1 : node.end_lineno])


def _statement(text: str, node: ast.stmt, number: int) -> Statement:
    table = symtable.symtable(text, f"cell {number}", "exec")
    binds = {one.get_name() for one in table.get_symbols() if one.is_assigned() or one.is_imported()}
    now = {one.get_name() for one in table.get_symbols() if one.is_referenced()}
    later: set[str] = set()
    for child in table.get_children():
        _reads(child, now, later, called=False)
    if isinstance(node, ast.AugAssign):
        now |= binds
    return Statement(
        text=text,
        cell=number,
        binds=frozenset(binds),
        touches=frozenset(_touched(node)),
        now=frozenset(now),
        later=frozenset(later),
        by_import=isinstance(node, ast.Import | ast.ImportFrom),
        all_of_a_module=isinstance(node, ast.ImportFrom) and any(one.name == "*" for one in node.names),
        by_magic="get_ipython" in now,
    )


def _reads(table: symtable.SymbolTable, now: set[str], later: set[str], *, called: bool) -> None:
    """Collect the notebook's names that a scope reads: a class body at once, a function when it is called."""
    called = called or table.get_type() == "function"
    for one in table.get_symbols():
        if one.is_referenced() and one.is_global():
            (later if called else now).add(one.get_name())
    for child in table.get_children():
        _reads(child, now, later, called=called)


def _touched(node: ast.stmt) -> set[str]:
    """The names whose values a statement changes in place: a part of one assigned or deleted, or a method called."""
    targets: list[ast.expr] = []
    match node:
        case ast.Assign(targets=given) | ast.Delete(targets=given):
            targets = [one for one in given if not isinstance(one, ast.Name)]
        case ast.AugAssign(target=target) if not isinstance(target, ast.Name):
            targets = [target]
        case ast.Expr(value=ast.Call(func=ast.Attribute() as method)):
            targets = [method]
    return {root.id for target in targets if isinstance(root := _root(target), ast.Name)}


def _root(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node
