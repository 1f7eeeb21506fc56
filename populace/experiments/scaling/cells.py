"""The cells of a scaling study, each a run. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from populace.core.errors import SettingsError


class Cell(msgspec.Struct, frozen=True, order=True):
    """One run of a study: so many agents on so many shards, for the `repeat`-th time (from 0)."""

    agents: int
    shards: int
    repeat: int = 0

    @property
    def name(self) -> str:
        """The run's folder in the study's."""
        return f"agents-{self.agents}-shards-{self.shards}-{self.repeat}"


def cells_of(agents: Sequence[int], shards: Sequence[int], repeats: int) -> list[Cell]:
    """All cells, repeats outermost: what a machine does meanwhile then falls on all sizes alike.

    Raises SettingsError for what is no study.
    """
    for what, given in (("agents", agents), ("shards", shards)):
        if not given or min(given) < 1:
            raise SettingsError(f"--{what}: give whole numbers of at least 1, with commas between them: 1e3,1e4")
        if len(set(given)) < len(given):
            raise SettingsError(f"--{what}: {', '.join(map(str, given))} names a size twice")
    if repeats < 1:
        raise SettingsError("--repeat: at least 1")
    return [Cell(size, of, nth) for nth in range(repeats) for size in sorted(agents) for of in sorted(shards)]


def sizes_of(text: str) -> list[int]:
    """Whole numbers with commas between them, as `1e3,1e4` or `1000,10_000`. Raises SettingsError."""
    sizes = []
    for part in text.split(","):
        try:
            size = float(part)
        except ValueError:
            size = float("nan")
        if not size.is_integer():
            raise SettingsError(f"{part.strip()!r} is no whole number: give sizes as 1e3,1e4 or 1000,10000")
        sizes.append(int(size))
    return sizes
