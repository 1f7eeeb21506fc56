"""A report as one page of HTML: no script, nothing loaded, light and dark, on paper too. All text is escaped."""

from __future__ import annotations

import html
import re
from typing import Final

from populace.core.text import shown_line, shown_text
from populace.experiments.report.document import Block, Code, Document, Figure, Items, Table, Text
from populace.experiments.report.figures import inline
from populace.experiments.report.style import STYLE

_NUMBER: Final = re.compile(r"^(-|(< )?[+-]?[\d.,]+(e[+-]?\d+)?( %| to .*| \(.*)?|-?infinite)$")
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_KINDS: Final = {"differs": "Differs", "found": "Found", "whom": "For whom", "beware": "Beware"}


def page_of(document: Document) -> str:
    """The whole page."""
    title = escaped(document.title)
    leads = "\n".join(
        f'<p class="lead {one.kind}"><b>{_KINDS[one.kind]}</b> <span>{escaped(one.text)}</span></p>'
        for one in document.leads
    )
    contents = "\n".join(
        f'<li><a href="#{anchor(one.title)}">{escaped(one.title)}</a></li>' for one in document.sections
    )
    parts = "\n".join(
        f'<section aria-labelledby="{anchor(one.title)}">\n<h2 id="{anchor(one.title)}">{escaped(one.title)}</h2>\n'
        + "\n".join(map(_block, one.blocks)) + "\n</section>"
        for one in document.sections
    )  # fmt: skip
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{STYLE}
</style>
</head>
<body>
<main>
<header>
<h1>{title}</h1>
<div class="leads">
{leads}
</div>
</header>
<nav aria-label="Sections"><ul>
{contents}
</ul></nav>
{parts}
</main>
</body>
</html>
"""


def escaped(text: str) -> str:
    """A text as a page shows it: never markup, and no character that moves or hides others."""
    return html.escape(shown_line(text))


def anchor(title: str) -> str:
    """What a heading is linked to by."""
    return re.sub(r"[^a-z]+", "-", title.lower()).strip("-")


def _block(block: Block) -> str:
    match block:
        case Text(text):
            return f"<p>{escaped(text)}</p>"
        case Items(items):
            return "<ul>" + "".join(f"<li>{escaped(one)}</li>" for one in items) + "</ul>"
        case Code(text):
            return f'<pre tabindex="0"><code>{html.escape(shown_text(text))}</code></pre>'
        case Table():
            return _table(block)
        case Figure():
            return _figure(block)


def _figure(figure: Figure) -> str:
    named = f"{figure.name}-alt"
    return (
        f'<figure>\n<span class="unseen" id="{named}">{escaped(figure.alt)}</span>\n'
        f"{inline(figure.svg, figure.name, named)}\n<figcaption>{escaped(figure.caption)}</figcaption>\n</figure>\n"
        f"{_table(figure.table)}"
    )


def _table(table: Table) -> str:
    caption = escaped(table.caption)
    head = "".join(f'<th scope="col">{escaped(one)}</th>' for one in table.columns)
    body = "\n".join(
        "<tr>" + f'<th scope="row">{escaped(row[0])}</th>' + "".join(map(_cell, row[1:])) + "</tr>"
        for row in table.rows
    )
    inner = (
        f'<div class="wide" role="region" tabindex="0" aria-label="{caption}"><table>'
        f"<caption>{caption}</caption><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )
    if not table.folded:
        return inner
    return f"<details><summary>{caption}: {len(table.rows)} rows</summary>{inner}</details>"


def _cell(text: str) -> str:
    kind = ' class="n"' if _NUMBER.match(text) else ""
    return f"<td{kind}>{escaped(text)}</td>"
