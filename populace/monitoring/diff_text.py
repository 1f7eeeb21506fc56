"""A comparison of two runs, for a person."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final, TextIO, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from populace.monitoring.diff import Diff, Difference

Row = TypeVar("Row")

_ROWS: Final = 12
_TEXT_CHARS: Final = 2_000
_PLAIN_WIDTH: Final = 120


def print_diff(diff: Diff, stream: TextIO) -> None:
    """Print what two runs have in common and where they part, with tables of the ticks and of the outcomes."""
    width = None if stream.isatty() else _PLAIN_WIDTH
    console = Console(file=stream, highlight=False, width=width)

    def say(text: str, style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=width is not None)

    say(f"A  {diff.a}  ({_ticks(diff.ticks_a)})")
    say(f"B  {diff.b}  ({_ticks(diff.ticks_b)})")
    for key, (a, b) in diff.settings.items():
        say(f"   {key}: {json.dumps(a)} in A, {json.dumps(b)} in B", "dim")
    shared = min(diff.ticks_a, diff.ticks_b)
    both = "" if diff.ticks_a == diff.ticks_b else " that both have"
    if diff.parted_at is None:
        say(f"The two are identical in the {_ticks(shared)}{both}.", "bold")
    else:
        before = f"; the {_ticks(diff.parted_at)} before are identical" if diff.parted_at else ""
        say(f"The two part in tick {diff.parted_at}{before}.", "bold")
    if diff.first is not None:
        console.print()
        say(heading(diff.first), "bold")
        for side, text in (("A", diff.first.text_a), ("B", diff.first.text_b)):
            for n, line in enumerate((_cut(text) if text is not None else "(nothing)").split("\n")):
                say(f"  {side if n == 0 else ' '}  {line}")
    if diff.ticks:
        console.print()
        console.print(_of_ticks(diff))
    if any(row.a != row.b and not _both_nan(row.a, row.b) for row in diff.outcomes):
        console.print()
        console.print(_of_outcomes(diff))
    for note in diff.notes:
        say(note, "yellow")


def heading(first: Difference) -> str:
    """The first difference in a line."""
    when = f"in tick {first.tick}" if first.tick >= 0 else "before tick 0"
    match first.what:
        case "ask":
            what = f"ask {first.nth} of agent {first.agent} ({first.about})"
        case "answer":
            what = f"the answer to ask {first.nth} of agent {first.agent} ({first.about}), whose content is the same"
        case "action":
            what = f"action {first.about} of agent {first.agent}"
        case "message":
            world = first.about == "the world"
            what = f"a message of the world to agent {first.agent}" if world else f"a message of {first.about}"
        case "field":
            what = f"field {first.about} of agent {first.agent}"
        case "failure":
            what = f"how the turn of agent {first.agent} failed"
        case _:
            who = f" on agent {first.agent}" if first.agent >= 0 else ""
            what = f"lever {first.about}{who}"
    return f"First difference, {when}: {what}"


def _of_ticks(diff: Diff) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", title="What differs", title_justify="left")
    for name in (
        "tick", "agents touched", "so far", "asks: other content", "only A", "only B", "other answer", "actions",
        "messages", "fields", "levers",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for row in _sampled(diff.ticks):
        cells = (
            row.tick, row.touched, row.touched_so_far, row.asks_other, row.asks_only_a, row.asks_only_b,
            row.answers_other, row.actions, row.messages, row.fields, row.levers,
        )  # fmt: skip
        table.add_row(*(f"{cell:,}" for cell in cells))
    return table


def _of_outcomes(diff: Diff) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", title="Outcomes at the start of", title_justify="left")
    for name in ("tick", "outcome", "A", "B", "B - A"):
        table.add_column(name, justify="left" if name == "outcome" else "right")
    for name in dict.fromkeys(row.name for row in diff.outcomes):
        for row in _sampled([row for row in diff.outcomes if row.name == name]):
            table.add_row(str(row.tick), Text(name), *map(_number, (row.a, row.b, row.difference)))
    return table


def _sampled(rows: Sequence[Row]) -> list[Row]:
    """The first row, the last, and some between, evenly."""
    if len(rows) <= _ROWS:
        return list(rows)
    return [rows[n * (len(rows) - 1) // (_ROWS - 1)] for n in range(_ROWS)]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if math.isfinite(value) else "undefined"


def _both_nan(a: Any, b: Any) -> bool:
    return a is not None and b is not None and math.isnan(a) and math.isnan(b)


def _ticks(count: int) -> str:
    return f"{count:,} tick" if count == 1 else f"{count:,} ticks"


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_CHARS else f"{text[:_TEXT_CHARS]}… ({len(text):,} characters)"
