"""A file of lines that begins anew at a size, with the one before beside it. Shell: files."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path


class LineFile(RotatingFileHandler):
    """Lines appended to `path`; at `most_bytes` it becomes `path.1`. `failed` once one could not be written.

    Raises OSError where it cannot be opened.
    """

    def __init__(self, path: Path, most_bytes: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, maxBytes=most_bytes, backupCount=1, encoding="utf-8", errors="backslashreplace")
        self.failed = False

    def say(self, line: str) -> None:
        """Append a line."""
        self.emit(logging.makeLogRecord({"msg": line}))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # as the library names it
        """A line could not be written."""
        self.failed = True
