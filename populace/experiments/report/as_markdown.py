"""A report as Markdown: names and texts are escaped, so that none of them is markup."""

from __future__ import annotations

import re
from typing import Final

from populace.core.text import shown_line, shown_text
from populace.experiments.report.document import Block, Code, Document, Figure, Items, Table, Text

MOST_ROWS: Final = 25
"""Rows of a folded table that are shown; of more, as many that are evenly apart."""
_SPECIAL: Final = re.compile(r"([\\`*_\[\]<>|~$#])")
_BEGINS: Final = re.compile(r"^(\s*)([-+=]|\d+[.)])")
_HEADS: Final = {"differs": "**Differs.** ", "found": "", "whom": "", "beware": "**Beware.** "}


def markdown_of(document: Document) -> str:
    """The whole report; figures are read from `figures/`."""
    lines = [f"# {escaped(document.title)}", ""]
    lines += [f"- {_HEADS[one.kind]}{escaped(one.text)}" for one in document.leads]
    for section in document.sections:
        lines += ["", f"## {escaped(section.title)}"]
        for block in section.blocks:
            lines += ["", *_block(block)]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """A text of one line that Markdown shows as it is."""
    shown = _SPECIAL.sub(r"\\\1", shown_line(text).replace("&", "&amp;"))
    return _BEGINS.sub(lambda match: f"{match[1]}{match[2][:-1]}\\{match[2][-1]}", shown)


def _block(block: Block) -> list[str]:
    match block:
        case Text(text):
            return [escaped(text)]
        case Items(items):
            return [f"- {escaped(one)}" for one in items]
        case Code(text):
            shown = shown_text(text)
            fence = "`" * (2 + max([1, *(len(run) + 1 for run in re.findall("`+", shown))]))
            return [f"{fence}sh", *shown.splitlines(), fence]
        case Table():
            return _table(block)
        case Figure():
            picture = f"![{escaped(block.alt)}](figures/{block.name}.svg)"
            return [picture, "", escaped(block.caption), "", *_table(block.table)]


def _table(table: Table) -> list[str]:
    rows = table.rows
    note = ""
    if table.folded and len(rows) > MOST_ROWS:
        kept = sorted({round(at * (len(rows) - 1) / (MOST_ROWS - 1)) for at in range(MOST_ROWS)})
        rows, note = tuple(rows[at] for at in kept), f" ({len(kept)} of {len(table.rows)} rows)"
    head = [_row(table.columns), "|" + "---|" * len(table.columns)]
    return [f"{escaped(table.caption)}{note}:", "", *head, *(_row(row) for row in rows)]


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(_cell(one) for one in cells) + " |"


def _cell(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", shown_line(text).replace("&", "&amp;"))
