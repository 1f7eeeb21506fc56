"""What a person sees of a run: its progress on stderr, its summary on stdout, and the exit code of an invalid one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

import typer

from populace.core.text import shown_text

if TYPE_CHECKING:
    from types import TracebackType

    from populace.runs.place import Place

QUIET: Final = "No progress and no notes; errors go to stderr and the summary to stdout as ever."
INVALID: Final = 10
"""The exit code of a run that came to its end and is marked as not valid."""


@contextmanager
def watched(*, quiet: bool) -> Iterator[tuple[Any, ...]]:
    """The observers that show a run's progress on stderr; none where it is to be quiet."""
    from populace.monitoring.progress import choose_progress

    if quiet:
        yield ()
        return
    progress = choose_progress(sys.stderr)
    try:
        yield (progress,)
    finally:
        progress.close()


class Shown:
    """Shows one run; `ways` is what the functions of `populace.runs` take to be shown by.

    With `quiet` neither progress nor notes are shown.
    A run that came to nothing is not summed up, unless it was `resumed`: then there is what it had before.
    """

    def __init__(self, *, resumed: bool = False, quiet: bool = False) -> None:
        from populace.monitoring.progress import choose_progress

        self._resumed = resumed
        self._quiet = quiet
        self._progress = None if quiet else choose_progress(sys.stderr)
        self._valid = True
        observers = () if self._progress is None else (self._progress,)
        self.ways: dict[str, Any] = {"observers": observers, "ended": self._ended, "say": self._say}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        if error is None and not self._valid:
            raise typer.Exit(INVALID)

    def of(self, manifest: dict[str, Any]) -> None:
        """Take what a manifest says of whether its run is valid, where no run of this process has ended with it."""
        self._valid = bool(manifest.get("valid", True))

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.close()

    def _say(self, text: str) -> None:
        if not (self._quiet and text.startswith("note: ")):
            sys.stderr.write(f"{shown_text(text)}\n")

    def _ended(self, place: Place) -> None:
        from populace.monitoring.summary import print_summary
        from populace.store.manifest import MANIFEST, read_manifest
        from populace.store.tables.tables import outcome_series

        self._close()
        if not (place.folder / MANIFEST).exists():
            return
        manifest = read_manifest(place.folder)
        self._valid = bool(manifest.get("valid", True))
        if _came_to_something(manifest) or self._resumed:
            outcomes = outcome_series(place.folder) if (place.folder / "outcomes.parquet").exists() else {}
            print_summary(manifest, outcomes, place.name, sys.stdout)


def _came_to_something(manifest: dict[str, Any]) -> bool:
    done = manifest["ticks"] or manifest["asks"]["made"] or manifest["calls_billed"]
    return bool(done) or manifest.get("status") == "complete"
