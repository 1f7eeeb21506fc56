"""A comparison of two runs, for a person."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final, TextIO, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from populace.core.records import who
from populace.core.text import shown_line
from populace.monitoring.pace import counted
from populace.runs.diff import Diff
from populace.runs.differences import Difference

Row = TypeVar("Row")

_ROWS: Final = 16
"""Up to so many ticks are shown whole; of more, evenly chosen ones."""
_TEXT_CHARS: Final = 2_000
_LEGEND: Final = (
    "asks other: another content; reply: another answer to the same; acts: actions; mail: messages; fails: failed turns"
)
SAME_PROMPT: Final = (
    "  The prompt is the same: its answer type, model or parameters (max_tokens, temperature) differ. Where rules "
    "answered, its purpose or the type of a fact may."
)
_PLAIN_WIDTH: Final = 120


def print_diff(diff: Diff, stream: TextIO) -> None:
    """Print what two runs have in common and where they part, with tables of the ticks and of the outcomes."""
    width = None if stream.isatty() else _PLAIN_WIDTH
    console = Console(file=stream, highlight=False, width=width)

    def say(text: str, style: str = "") -> None:
        console.print(Text(shown_line(text), style=style), soft_wrap=width is not None)

    say(f"A  {diff.a}  ({counted(diff.ticks_a, 'tick')})")
    say(f"B  {diff.b}  ({counted(diff.ticks_b, 'tick')})")
    for key, (a, b) in diff.settings.items():
        alike, a, b = _only_what_differs(a, b)
        more = f" (and {alike:,} in both)" if alike else ""
        say(f"   {key}: {setting_text(a)} in A, {setting_text(b)} in B{more}", "dim")
    shared = min(diff.ticks_a, diff.ticks_b)
    both = "" if diff.ticks_a == diff.ticks_b else " that both have"
    world = diff.world_parted_at
    if diff.parted_at is None:
        what = "The two are" if world is None else "What agents did is"
        say(f"{what} identical in the {counted(shared, 'tick')}{both}.", "bold")
    else:
        are = "is" if diff.parted_at == 1 else "are"
        before = f"; the {counted(diff.parted_at, 'tick')} before {are} identical" if diff.parted_at else ""
        say(f"The two part in tick {diff.parted_at}{before}.", "bold")
    if world is not None:
        parts = ", ".join(diff.world_parts)
        where = f", in part{'s' if len(diff.world_parts) > 1 else ''} {parts}" if parts else ""
        say(f"The world's state differs from the end of tick {world} on{where}.", "bold")
    if diff.first is not None:
        console.print()
        say(heading(diff.first), "bold")
        same_prompt = diff.first.what == "ask" and diff.first.text_a == diff.first.text_b
        if same_prompt:
            say(SAME_PROMPT)
        sides = ((" ", diff.first.text_a),) if same_prompt else (("A", diff.first.text_a), ("B", diff.first.text_b))
        for side, text in sides:
            for n, line in enumerate((_cut(text) if text is not None else "(nothing)").split("\n")):
                say(f"  {side if n == 0 else ' '}  {line}")
    if diff.ticks:
        console.print()
        say(_title("What differs", diff.ticks))
        console.print(_of_ticks(diff))
        say(_LEGEND, "dim")
    apart = {row.name: False for row in diff.outcomes}
    for row in diff.outcomes:
        if row.difference is not None or row.tick < shared:  # that only the longer run went on is no difference
            apart[row.name] |= row.a != row.b and not _both_nan(row.a, row.b)
    if any(apart.values()):
        console.print()
        names = [name for name, differs in apart.items() if differs]
        say(_title("Outcomes at the start of", [row for row in diff.outcomes if row.name == names[0]]))
        console.print(_of_outcomes(diff, names))
    if diff.parted_at is not None and not all(apart.values()):
        equal = ", ".join(name for name, differs in apart.items() if not differs)
        say(f"Outcomes that are equal throughout{both and ' the ticks'}{both}: {equal}", "dim")
    for note in diff.notes:
        say(note, "yellow")


def heading(first: Difference) -> str:
    """The first difference in a line."""
    when = f"in tick {first.tick}" if first.tick >= 0 else "before tick 0"
    match first.what:
        case "ask":
            what = f"ask {first.nth} of {who(first.agent)} ({first.about})"
        case "answer":
            what = f"the answer to ask {first.nth} of {who(first.agent)} ({first.about}), whose content is the same"
        case "round":
            what = f"what agent {first.agent} said or heard ({first.about})"
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
            whom = f" on agent {first.agent}" if first.agent >= 0 else ""
            what = f"lever {first.about}{whom}"
    return f"First difference, {when}: {what}"


def _of_ticks(diff: Diff) -> Table:
    rows = _sampled(diff.ticks)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    counts = {
        "asks\nother": [row.asks_other for row in rows],
        "asks\nonly A": [row.asks_only_a for row in rows],
        "asks\nonly B": [row.asks_only_b for row in rows],
        "asks\nreply": [row.answers_other for row in rows],
        "\nacts": [row.actions for row in rows],
        "\nmail": [row.messages for row in rows],
        "\nfields": [row.fields for row in rows],
        "\nrounds": [row.rounds for row in rows],
        "\nfails": [row.failures for row in rows],
        "\nlever": [row.levers for row in rows],
    }
    columns = {
        "\ntick": [row.tick for row in rows],
        "agents\ntouched": [row.touched for row in rows],
        "\nso far": [row.touched_so_far for row in rows],
        **{name: column for name, column in counts.items() if any(column)},
    }
    for name in columns:
        table.add_column(name, justify="right", overflow="fold")
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*(f"{cell:,}" for cell in cells))
    return table


def _of_outcomes(diff: Diff, names: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("tick", "outcome", "A", "B", "B - A"):
        table.add_column(name, justify="left" if name == "outcome" else "right", overflow="fold")
    for name in names:
        for row in _sampled([row for row in diff.outcomes if row.name == name]):
            table.add_row(str(row.tick), Text(shown_line(name)), *map(_number, (row.a, row.b, row.difference)))
    return table


def _title(title: str, rows: Sequence[object]) -> str:
    """A table's title, which says when only some of the rows are in it."""
    step = _step(len(rows))
    return title if step == 1 else f"{title} (every {step} ticks, and the last; --json has them all)"


def _step(rows: int) -> int:
    """Show each so manieth of that many rows."""
    return 1 if rows <= _ROWS else math.ceil((rows - 1) / (_ROWS - 1))


def _sampled(rows: Sequence[Row]) -> list[Row]:
    """All rows, or evenly chosen ones and the last."""
    step = _step(len(rows))
    return [row for n, row in enumerate(rows) if n % step == 0 or n == len(rows) - 1]


def _only_what_differs(a: Any, b: Any) -> tuple[int, Any, Any]:
    """Of two lists (levers, replicas) how many entries both begin with, and the rest of each; else both as they are."""
    if not (isinstance(a, list) and isinstance(b, list)):
        return 0, a, b
    n = next((at for at, (one, other) in enumerate(zip(a, b, strict=False)) if one != other), min(len(a), len(b)))
    return n, a[n:], b[n:]


def setting_text(value: Any) -> str:
    """A setting as JSON, without what it leaves unsaid."""
    if value is None:
        return "not set"
    return "none" if value in ([], {}) else json.dumps(_said(value), ensure_ascii=False)


def _said(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _said(one) for key, one in value.items() if one is not None}
    return [_said(one) for one in value] if isinstance(value, list) else value


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if math.isfinite(value) else "undefined"


def _both_nan(a: Any, b: Any) -> bool:
    return a is not None and b is not None and math.isnan(a) and math.isnan(b)


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_CHARS else f"{text[:_TEXT_CHARS]}… ({len(text):,} characters)"
