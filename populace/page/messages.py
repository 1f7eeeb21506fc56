"""Messages, asks and actions as a page lists them: searched, newest first, each with the number of its row."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from populace.page.rows import Group, Rows
from populace.page.scan import plain_text, scan, shortened
from populace.page.shelf import NotThere

WHOLE: Final = {
    "messages": ("body",),
    "asks": ("prompt", "facts", "answer", "reasoning", "detail"),
    "actions": ("args",),
    "rounds": ("said", "heard"),
    "failures": ("error", "story"),
}
"""Columns of text, by table, of which a page may ask for all."""
MOST_LETTERS: Final = 2_000_000
_SHOWN: Final = ("tick_sent", "tick_read", "sender", "receiver", "body", "fate")
_ASK: Final = (
    "tick", "agent", "nth", "purpose", "model_role", "settled", "reason", "answer", "tokens_in", "tokens_out",
    "cost_usd", "latency_s",
)  # fmt: skip


def messages(
    folder: Path, *, text: str, agent: int | None, other: int | None, before: int | None, want: int
) -> dict[str, Any]:
    """Messages that hold a text (in whichever case), of an agent, between two: newest first."""
    rows = Rows(folder, "messages")
    low = text.casefold()

    def match(table: Any) -> NDArray[np.bool_]:
        mask = np.ones(table.num_rows, np.bool_)
        if agent is not None:
            sender, receiver = table.column("sender").to_numpy(), table.column("receiver").to_numpy()
            mask &= (sender == agent) | (receiver == agent)
            if other is not None:
                mask &= (sender == other) | (receiver == other)
        if low and mask.any():
            mask &= _holds(table.column("body"), low)
        return mask

    by = [*(("sender", "receiver") if agent is not None else ()), *(("body",) if low else ())] or ["tick_sent"]
    found = scan(rows, by, match, _SHOWN, want=want, before=before)
    return {"messages": [shortened(one, "body") for one in found.rows], "before": found.before, "of": len(rows)}


def asks(folder: Path, *, agent: int | None, text: str, before: int | None, want: int) -> dict[str, Any]:
    """Asks, newest first: those of an agent, and whose answer holds a text."""
    rows = Rows(folder, "asks")
    low = text.casefold()

    def match(table: Any) -> NDArray[np.bool_]:
        mask = np.ones(table.num_rows, np.bool_) if agent is None else table.column("agent").to_numpy() == agent
        return mask & _holds(table.column("answer"), low) if low else mask

    by = ["agent", *(("answer",) if low else ())]
    found = scan(rows, by, match, _ASK, want=want, before=before, may_hold=_of(rows, agent))
    return {"asks": [shortened(one, "answer") for one in found.rows], "before": found.before, "of": len(rows)}


def actions(folder: Path, *, agent: int, before: int | None, want: int) -> dict[str, Any]:
    """What an agent did, newest first."""
    rows = Rows(folder, "actions")
    found = scan(
        rows, ("agent",), lambda table: table.column("agent").to_numpy() == agent,
        ("tick", "nth", "kind", "args", "fate"), want=want, before=before, may_hold=_of(rows, agent),
    )  # fmt: skip
    return {"actions": [shortened(one, "args") for one in found.rows], "before": found.before}


def whole(folder: Path, table: str, row: int) -> dict[str, Any]:
    """All the text of one row. Raises NotThere."""
    if table not in WHOLE:
        raise NotThere(f"there is no table {table!r} with texts")
    found = Rows(folder, table).row(row, WHOLE[table])
    texts = {name: plain_text(text)[:MOST_LETTERS] for name, text in found.items() if text is not None}
    return {"row": row, "texts": texts}


def _of(rows: Rows, agent: int | None) -> Any:
    def may_hold(group: Group) -> bool:
        return agent is None or rows.may_hold(group, "agent", agent, agent)

    return may_hold


def _holds(column: Any, low: str) -> NDArray[np.bool_]:
    """Which texts hold this one. JSON may write a letter as an escape, so what is looked for is tried that way too."""
    import json

    spellings = {low, json.dumps(low, ensure_ascii=False)[1:-1], json.dumps(low)[1:-1]}
    masks = [pc.fill_null(pc.match_substring(column, one, ignore_case=True), False) for one in sorted(spellings)]
    mask = masks[0]
    for one in masks[1:]:
        mask = pc.or_(mask, one)
    if isinstance(mask, pa.ChunkedArray):
        mask = mask.combine_chunks()
    return np.asarray(mask.to_numpy(zero_copy_only=False), np.bool_)
