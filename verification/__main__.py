"""`python -m verification [--short] [--markdown] [WORD ...]`: run checks whose titles hold a word, print a table."""

from __future__ import annotations

import argparse
import sys
import time

from rich import box
from rich.console import Console
from rich.table import Table

from verification.verdicts import Skipped, load


def main() -> int:
    """Run and print; 1 where a verdict does not hold."""
    parser = argparse.ArgumentParser(prog="python -m verification", description=__doc__)
    parser.add_argument("words", nargs="*", help="only checks whose titles hold one of these")
    parser.add_argument("--short", action="store_true", help="the small form that the suite runs")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    options = parser.parse_args()
    table = Table("check", "figure", "found", "expected", "within", "holds", "s", "source",
                  box=box.MARKDOWN if options.markdown else box.HEAVY_HEAD)  # fmt: skip
    failed = False
    for title, run in load().items():
        if options.words and not any(word.lower() in title.lower() for word in options.words):
            continue
        began = time.perf_counter()
        try:
            verdicts = run(not options.short)
        except Skipped as skipped:
            table.add_row(title, "", "", "", "", "skipped", "", str(skipped))
            continue
        took_s = f"{time.perf_counter() - began:.1f}"
        for one in verdicts:
            failed |= not one.holds
            figures = (f"{one.found:.5g}", f"{one.expected:.5g}", f"{one.tolerance:.2g}")
            table.add_row(title, one.what, *figures, "yes" if one.holds else "NO", took_s, one.source)
            title = took_s = ""
    width = 1000 if options.markdown else None if sys.stdout.isatty() else 200
    Console(width=width).print(table)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
