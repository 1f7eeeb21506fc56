"""Where in an author's file a piece of an experiment stands, so that errors name the line. It reads source text."""

from __future__ import annotations

import ast
import dataclasses
import linecache
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

_ROOM: Final = str(Path(__file__).parent)
_NAME: Final = "Experiment"


class Place(NamedTuple):
    """A line of a file in which an experiment is made."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def caller() -> Place:
    """Where the code outside this room stands that is calling."""
    frame = sys._getframe(1)  # noqa: SLF001  # the only way to know who calls
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith(_ROOM) or frame.f_code.co_filename in ("<string>", dataclasses.__file__)
    ):
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno)


def line_of(place: Place, path: Sequence[str | int]) -> str:
    """`file:line` of what stands at a path of keywords, keys and numbers in the call at this place.

    As far as it can be told: what a function made stands where that is called.
    """
    call = _call_at(place)
    return f"{place.file}:{place.line if call is None else _line(call, path)}"


def _call_at(place: Place) -> ast.Call | None:
    """The call that makes the experiment: of those around the line, the innermost of its name."""
    linecache.checkcache(place.file)
    try:
        tree = ast.parse("".join(linecache.getlines(place.file)))
    except (SyntaxError, ValueError):
        return None
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and node.lineno <= place.line <= (node.end_lineno or 0)
    ]
    named = [node for node in found if _called(node) == _NAME]
    return max(named or found, key=lambda node: node.lineno, default=None)


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _line(node: ast.expr, path: Sequence[str | int]) -> int:
    line = node.lineno
    for step in path:
        inner = _inside(node, step)
        if inner is None:
            return line
        line, node = inner
    return line


def _inside(node: ast.expr, step: str | int) -> tuple[int, ast.expr] | None:
    """What stands in an expression under a keyword, a key or a number, and the line of its name."""
    match node:
        case ast.Call():
            return next(((one.value.lineno, one.value) for one in node.keywords if one.arg == step), None)
        case ast.Dict():
            return next(
                (
                    (key.lineno, value)
                    for key, value in zip(node.keys, node.values, strict=True)
                    if isinstance(key, ast.Constant) and key.value == step
                ),
                None,
            )
        case ast.List() | ast.Tuple():
            return (
                (node.elts[step].lineno, node.elts[step]) if isinstance(step, int) and step < len(node.elts) else None
            )
    return None
