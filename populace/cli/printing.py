"""Answers of the command line to a question: a table on a terminal, JSON lines anywhere else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TextIO

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from populace.core.text import shown_json, shown_line


def print_rows(
    stream: TextIO,
    columns: Mapping[str, str],
    rows: Sequence[Mapping[str, Any]],
    text: Callable[[str, Any], str],
    right: Collection[str] = (),
) -> None:
    """Print rows to `stream`: with `columns` (name: heading) on a terminal, where `text(name, value)` writes a value.

    Anywhere else each row is a line of JSON, with all that it holds. Numbers and columns of `right` stand to the right.
    """
    if not stream.isatty():
        stream.writelines(shown_json(msgspec.json.encode(row).decode()) + "\n" for row in rows)
        stream.flush()
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, heading in columns.items():
        number = name in right or any(isinstance(row.get(name), int | float) for row in rows)
        table.add_column(heading, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(Text(shown_line(text(name, row.get(name)))) for name in columns))
    Console(file=stream, highlight=False).print(table)
