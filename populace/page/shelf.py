"""Which runs a page shows: the one in a folder, or all that stand in it. Shell: files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from populace.core.errors import SettingsError
from populace.store.folder import RUN_FILE

_PATTERNS: Final = (f"*/{RUN_FILE}", f"*/*/{RUN_FILE}")
_MOST: Final = 2000


class NotThere(SettingsError):
    """There is no such run, agent or row at this address."""


class Shelf:
    """The runs at one place, by name: the folder's name, or the path below the place.

    A request names a run, never a path, and only names of this list are found. A link that leads out of the place is
    left out. Raises SettingsError where there is no run.
    """

    def __init__(self, place: Path) -> None:
        self.root = place.resolve()
        self._one = (self.root / RUN_FILE).is_file()
        self._forks: dict[str, Path] = {}
        if not self.runs():
            raise SettingsError(
                f"{place}: holds no run. Give a run's folder, or a folder of runs; `populace run` makes them in runs/."
            )

    @property
    def alone(self) -> bool:
        """Whether it is one run that is shown."""
        return self._one and not self._forks

    def add(self, folder: Path) -> str:
        """Show a fork that was begun here too, beside the place where it is one run's folder; gives its name."""
        if self._one:
            self._forks[folder.name] = folder.resolve()
            return folder.name
        return folder.resolve().relative_to(self.root).as_posix()

    def runs(self) -> dict[str, Path]:
        """The runs there are now, each with its folder, in the order of their names; of very many the first."""
        if self._one:
            return {self.root.name: self.root, **self._forks}
        found = {}
        for pattern in _PATTERNS:
            for file in self.root.glob(pattern):
                folder = file.parent
                if folder.resolve().is_relative_to(self.root) and file.is_file():
                    found[folder.relative_to(self.root).as_posix()] = folder
        return dict(sorted(found.items(), key=lambda one: _by_number(one[0]))[:_MOST])

    def folder(self, name: str) -> Path:
        """The folder of a run. Raises NotThere."""
        if self._one and not name:
            return self.root
        try:
            return self.runs()[name]
        except KeyError:
            raise NotThere(f"there is no run of this name in {self.root.name}") from None


def _by_number(name: str) -> tuple[str, int, str]:
    stem, _, number = name.rpartition("-")
    return (stem, int(number), "") if number.isdecimal() and len(number) < 10 else (name, 0, "")
