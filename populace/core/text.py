"""Text from anywhere (names, notes, what a model said) as it is safe to show in a terminal."""

from __future__ import annotations

import re
from typing import Final

_UNSEEN: Final = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
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


def shown_json(text: str) -> str:
    r"""JSON as it is shown: the same data, with what a terminal would act on written as JSON's escapes.

    >>> shown_json('"a\x9bb"')
    '"a\\u009bb"'
    """
    return _NOT_IN_TEXT.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _escaped(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode()
