"""What a report is made of: text, tables and figures, as data that a page and Markdown show alike.

Every text is plain: whoever shows it escapes it, so names and texts of anybody's making are never markup.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Lines as they are typed."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table. The first column heads its rows; `folded` ones are opened by the reader of a page."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False


@dataclass(frozen=True)
class Figure:
    """A picture by the name of its files, in words (`alt`), as SVG and PNG, with what it shows as a table under it."""

    name: str
    alt: str
    caption: str
    svg: str = field(repr=False)
    png: bytes = field(repr=False)
    table: Table


Block: TypeAlias = Text | Items | Code | Table | Figure


@dataclass(frozen=True)
class Section:
    """A part of the report under a heading."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Lead:
    """One of the first lines: what differs from what was expected, what was found, for whom, what to beware of."""

    kind: Literal["differs", "found", "whom", "beware"]
    text: str


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    leads: tuple[Lead, ...]
    sections: tuple[Section, ...]

    @property
    def figures(self) -> list[Figure]:
        """All its figures, in their order."""
        return [block for section in self.sections for block in section.blocks if isinstance(block, Figure)]
