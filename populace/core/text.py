"""Text from anywhere (names, notes, what a model said) as it is safe to show in a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

_UNSEEN: Final = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_TEXT_SHOWN: Final = 24
_NOT_IN_TEXT: Final = re.compile(f"[{_UNSEEN}]")
_NOT_IN_LINE: Final = re.compile(f"[{_UNSEEN}\t\n]")


def shown_line(text: str) -> str:
    r"""A name or a line as it is shown: what would move the cursor, change colours or turn the text round is escaped.

    >>> shown_line("a\x1b[31mb\n")
    'a\\x1b[31mb\\n'
    """
    return _NOT_IN_LINE.sub(_escaped, text)


def shown_text(text: str) -> str:
    """`shown_line` for text of several lines, which keeps its line ends and tabs."""
    return _NOT_IN_TEXT.sub(_escaped, text)


def shown_value(value: Any) -> str:
    r"""A value as an error names it. A text of more than 24 characters is told by its length: it may be a persona.

    >>> shown_value("calm"), shown_value("A nurse of 34 who lives alone in Delft.")
    ("'calm'", 'a text of 39 characters')
    """
    if isinstance(value, str) and len(value) > _TEXT_SHOWN:
        return f"a text of {len(value):,} characters"
    return (
        ascii(value)[:100] if isinstance(value, str | int | float | None) else f"a value of type {type(value).__name__}"
    )


def without_texts(text: str, texts: Iterable[tuple[str, str]]) -> str:
    r"""A message in which every 24 characters in a row that stand in one of `texts` too are gone, its name in place.

    Each is a name and a text, which is found as it is and as Python and JSON write it. Shorter texts stay.

    >>> without_texts("no number: 'A nurse of 34 who lives", [("profile", "A nurse of 34 who lives in Delft.")])
    "no number: '<profile>"
    """
    for name, value in texts:
        forms = {value, repr(value)[1:-1], ascii(value)[1:-1], json.dumps(value)[1:-1]}
        half = _TEXT_SHOWN // 2  # of that many in a row one chunk of half of them is whole: a quick first look
        chunks = [text[at : at + half] for at in range(0, len(text) - half + 1, half)]
        if not any(chunk in one for one in forms for chunk in chunks):
            continue
        runs = {one[at : at + _TEXT_SHOWN] for one in forms for at in range(len(one) - _TEXT_SHOWN + 1)}
        kept, at, end = [], 0, 0
        while at < len(text):
            if runs and text[at : at + _TEXT_SHOWN] in runs:
                if not end or at > end:
                    kept.append(f"<{name}>")
                end = at + _TEXT_SHOWN
            if at >= end:
                kept.append(text[at])
            at += 1
        text = "".join(kept)
    return text


def shown_json(text: str) -> str:
    r"""JSON as it is shown: the same data, with what a terminal would act on written as JSON's escapes.

    >>> shown_json('"a\x9bb"')
    '"a\\u009bb"'
    """
    return _NOT_IN_TEXT.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _escaped(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode()
