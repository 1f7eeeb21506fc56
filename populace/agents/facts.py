"""Facts: the plain data that a prompt is made of, in the template that holds their names.

A template is text in which `{name}` stands for the fact of that name, and `{{` and `}}` for one brace. There is nothing
else to it: no attributes, indices, conversions or formats, and what a fact says is never read as a template. So text
that a model or another agent wrote can be a fact as it is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from populace.core.errors import BadAsk

SHARED_FIRST: Final = ", shared first"
"""At the end of the form of asks whose templates `shared_first` puts in another order."""

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_to_text: Final = json.JSONEncoder(ensure_ascii=False).encode
_TO_JSON: Final = msgspec.json.Encoder(order="deterministic").encode
_LEAST: Final = -(2**63)
_MOST: Final = 2**64 - 1


def fill(templates: Sequence[str], facts: Mapping[str, Any]) -> tuple[list[str], str]:
    """The templates of an ask with its facts in place, and the facts as JSON text, by name.

    A fact is a str, float, int, bool, None, or a list (tuple) or dict of such with keys of text. In the text a str
    stands as it is, a float as the shortest decimal that reads back as the same number, and anything else as JSON
    (`true`, `null`, `[1, 2.5]`, `{"a": 1}`). Raises BadAsk, naming line and column or the fact, for a brace that is no
    name and no doubled brace, a name without a fact, a fact that no template uses, and what is no plain data.
    """
    if not isinstance(facts, Mapping):
        raise BadAsk(f"ctx.ask: facts is a dictionary of facts by name, not a {type(facts).__name__}")
    names: dict[str, str] = {}
    parsed = []
    for nth, template in enumerate(templates):
        pieces, found = _parse(template, f" of message {nth}" if len(templates) > 1 else "")
        parsed.append(pieces)
        names = found if not names else {**found, **names}
    given = {}
    for name, value in facts.items():
        if name not in names:
            there = f"it holds {_listed(names)}" if names else "it holds no name in braces"
            raise BadAsk(
                f"ctx.ask: the template does not use the fact {name!r}; {there}. What a rule is told a model is told "
                f"too: write {{{name}}} where it belongs, or leave the fact out"
            )
        given[name] = _plain(value, name)
    for name, where in names.items():
        if name not in given:
            there = f"the facts are {_listed(given)}" if given else "there are no facts"
            raise BadAsk(f"ctx.ask: {where}: no fact is called {name!r}; {there}")
    shown = {name: _shown(value) for name, value in given.items()}
    texts = ["".join([text + shown[name] if name else text for text, name in pieces]) for pieces in parsed]
    return texts, _TO_JSON(given).decode()


@lru_cache(maxsize=1024)
def shared_first(template: str) -> str:
    """A template with the lines that come after its last fact, which all agents share, before all others.

    So what a server keeps of one prompt serves the next one up to its first fact. Lines between facts stay where they
    are, since they may be about what is beside them. A template that ends with a fact, or has none, stays as it is.
    """
    last = max((found.end() for found in _TOKEN.finditer(template) if found[1]), default=0)
    end = template.find("\n", last)
    if not last or end < 0 or not template[end:].strip():
        return template
    return f"{template[end:].strip()}\n\n{template[:end].strip()}"


@lru_cache(maxsize=1024)
def _parse(template: str, of: str) -> tuple[tuple[tuple[str, str], ...], dict[str, str]]:
    """Pieces of a template, each a text and the name that follows it ('' for none); and where each name stands first.

    `of` says which message of several it is. Raises BadAsk.
    """
    pieces: list[tuple[str, str]] = []
    names: dict[str, str] = {}
    text, at = "", 0
    for found in _TOKEN.finditer(template):
        text += template[at : found.start()]
        at = found.end()
        token, name = found[0], found[1]
        if token in ("{{", "}}"):
            text += token[0]
            continue
        where = f"{_place(template, found.start())} of the template{of}"
        if name is None:
            raise BadAsk(
                f"ctx.ask: {where}: a single {token!r}. With facts, braces hold a fact's name; for a "
                f"brace in the text write {token * 2!r}"
            )
        if not name.isidentifier():
            raise BadAsk(
                f"ctx.ask: {where}: {token!r} is no fact's name. Braces hold a name alone: make what "
                f"is to stand there a fact of its own, and for braces in the text write {'{' + token + '}'!r}"
            )
        names.setdefault(name, where)
        pieces.append((text, name))
        text = ""
    pieces.append((text + template[at:], ""))
    return tuple(pieces), names


def _place(template: str, at: int) -> str:
    line = template.count("\n", 0, at) + 1
    return f"line {line}, column {at - template.rfind(chr(10), 0, at)}"


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(sorted(names))


def _plain(value: Any, name: str) -> Any:
    """A copy of a fact as plain data. Raises BadAsk, naming the fact."""
    kind = type(value)
    if kind is str or kind is bool or value is None or (kind is float and math.isfinite(value)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadAsk(f"ctx.ask: the fact {name} is {float(value)!r}, which is no number: say it in words, or None")
        return float(value)
    if isinstance(value, int):
        if not _LEAST <= value <= _MOST:
            raise BadAsk(f"ctx.ask: the fact {name} is an int of more than 64 bits: make it a float or a text")
        return int(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list | tuple):
        return [_plain(item, f"{name}[{at}]") for at, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise BadAsk(f"ctx.ask: the fact {name} has the key {key!r}: keys of a fact are text (str)")
        return {str.__str__(key): _plain(item, f"{name}[{key!r}]") for key, item in value.items()}
    raise BadAsk(
        f"ctx.ask: the fact {name} is of the type {kind.__name__}; facts are str, float, int, bool, None, and lists "
        "and dicts of such (from NumPy: .tolist())"
    )


def _shown(value: Any) -> str:
    if type(value) is str:
        return value
    if type(value) is float:
        return repr(value)
    return _to_text(value)
