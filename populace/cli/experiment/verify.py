"""`populace experiment verify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from populace.cli.shown import QUIET

if TYPE_CHECKING:
    from populace.experiments.sealing.listed import Seal

DIFFERS: Final = 9
_MOST_BYTES: Final = 4 * 2**30


def verify(
    archive: Annotated[Path, typer.Argument(help="The archive that `populace experiment seal` wrote.")],
    trust: Annotated[bool, typer.Option(help="Run the code in it.")] = False,
    out: Annotated[Path | None, typer.Option(help="Keep the study here; its runs can then be forked.")] = None,
    digest: Annotated[str, typer.Option(help="The digest that was published; another study is refused.")] = "",
    most_bytes: Annotated[int, typer.Option(min=1, help="How much it may unpack to, in bytes.")] = _MOST_BYTES,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET)] = False,
) -> None:
    """Check a sealed study and recompute every run of it, with no key and no call, hash by hash and figure by figure.

    Nothing in it is executed before you were told whose code it is and agreed: --trust, or a question at a terminal.
    """
    from populace.experiments.sealing.verifying import verify as verify_archive

    def agreed(seal: Seal) -> bool:
        from populace.experiments.sealing.shown import seal_text

        sys.stderr.write(seal_text(seal))
        if trust or not (sys.stdin.isatty() and sys.stderr.isatty()):
            return trust
        return typer.confirm("Run this code, with your rights?", err=True)

    def say(text: str) -> None:
        if not quiet:
            sys.stderr.write(f"{text}\n")

    found = verify_archive(archive, out=out, digest=digest, agree=agreed, say=say, most_bytes=most_bytes)
    sys.stdout.write(found.text())
    if not found.holds:
        raise typer.Exit(DIFFERS)
