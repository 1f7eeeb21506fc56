"""How what Python is given of runs shows itself: `print` and a notebook's cell give what the command line prints."""

from __future__ import annotations

from typing import Any


class Shown:
    """Mixed into results that have a `text`: it is their `str`, and what IPython shows of them."""

    __slots__ = ()

    def text(self) -> str:
        """What it says, in words."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.text()

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(self.text().rstrip("\n"))
