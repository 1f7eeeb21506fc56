"""Where in an author's own code something is, as file and line, for error messages. Pure."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable
from typing import Any


def defined_at(function: Callable[..., Any]) -> str:
    """Where a function is defined, as `file:line in name`; '' for one without code."""
    code = _code(function)
    return f"{code.co_filename}:{code.co_firstlineno} in {code.co_name}" if code else ""


def raised_at(error: BaseException, function: Callable[..., Any]) -> str:
    """Where in the file of a function an error came from that it raised: the innermost line; else its definition."""
    code = _code(function)
    if code is None:
        return ""
    own = [
        (frame.f_code.co_name, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename == code.co_filename
    ]
    return f"{code.co_filename}:{own[-1][1]} in {own[-1][0]}" if own else defined_at(function)


def _code(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    return getattr(function, "__code__", None)
