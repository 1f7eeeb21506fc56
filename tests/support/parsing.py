"""Reads an answer as its type."""

from __future__ import annotations

import re

OPEN = re.compile(r"<<<data ([0-9a-f]{12}) from (.*)")


def parse(prompt: str) -> list[tuple[str, str]]:
    """Read fences as the rule tells a model to: from an opening line to the first closing line with its mark."""
    found, lines, at = [], prompt.split("\n"), 0
    while at < len(lines):
        opening = OPEN.fullmatch(lines[at])
        assert opening, f"text outside a fence: {lines[at]!r}"
        end = lines.index(f"end of data {opening[1]}>>>", at)
        found.append((opening[2], "\n".join(lines[at + 1 : end])))
        at = end + 1
    return found
