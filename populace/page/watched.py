"""One run as the page's server knows it: what it has read of it, and what is made ready in the background."""

from __future__ import annotations

from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pyarrow as pa

from populace.monitoring.progress_file import PROGRESS
from populace.page.history import History
from populace.page.network import Map, make_map
from populace.page.panels import Changed, Panel, fields_of
from populace.page.posts import Feed, read_feeds
from populace.page.prepared import Prepared
from populace.page.rows import Rows, stamps
from populace.page.shelf import NotThere
from populace.page.town import Town, read_places
from populace.store.control import CONTROL, CONTROLLED
from populace.store.folder import read_run_file
from populace.store.lock import is_held
from populace.store.manifest import MANIFEST
from populace.store.tables.files import PARTS

_PANELS: Final = 8


class Watched:
    """A run that somebody looks at. `pool` prepares what takes its time; temporary files are in `cache`."""

    def __init__(self, folder: Path, name: str, pool: ThreadPoolExecutor, cache: Path) -> None:
        self.folder, self.name = folder, name
        self._pool, self._cache = pool, cache
        self.history = History(folder)
        self._panels: dict[str, Prepared[Panel]] = {}
        self._at_work: dict[str, Panel] = {}
        self._map = Prepared[Map](pool, self._make_map)
        self._town = Prepared[Town](pool, self._make_town)
        self._town_at_work: Town | None = None
        self._feeds = Prepared[dict[str, Feed]](pool, self._make_feeds)

    @property
    def fields(self) -> list[str]:
        """The public fields of its agents."""
        return fields_of(Rows(self.folder, "agents"))

    def panel(self, field: str) -> Panel | Town | None:
        """A field over time, or the kinds of places where residents of a city are; None while it is made ready."""
        if "." in field:  # in no name of a public field
            return self.town()
        if field not in self._panels:
            while len(self._panels) >= _PANELS:
                gone = next(iter(self._panels))
                del self._panels[gone]
                self._at_work.pop(gone, None)
            self._panels[field] = Prepared(self._pool, lambda: self._make_panel(field))
        else:
            self._panels[field] = self._panels.pop(field)  # the one looked at last goes last
        return self._panels[field].get(tuple(stamps(self.folder, "agents")))

    def share(self, field: str) -> float:
        """How much of a field is ready, from 0 to 1."""
        panel = self._town_at_work if "." in field else self._at_work.get(field)
        return 0.0 if panel is None else panel.share

    def map(self) -> Map | None:
        """Where agents are drawn, and their ties; None while it is made ready."""
        return self._map.get(self._edges_of())

    def town(self) -> Town | None:
        """The city over time; None while it is made ready. Raises NotThere where the run has none on record."""
        seen = stamps(self.folder, "whereabouts")
        if not seen:
            raise NotThere("this run has no city on record")
        return self._town.get((*seen, *stamps(self.folder, "outcomes")))

    def feeds(self) -> dict[str, Feed] | None:
        """The feeds' posts; None while they are made ready."""
        return self._feeds.get(tuple(stamps(self.folder, "actions")))

    def agents(self) -> int:
        """How many agents there ever were."""
        known = Rows(self.folder, "agents").extremes("agent")
        if known is not None:
            return int(known[1]) + 1
        self.history.update()
        told = self.history.last or self.history.began
        return told.agents if told is not None else 0

    @property
    def keeps_town(self) -> bool:
        """Whether the run's settings have it keep where residents of a city are."""
        return read_run_file(self.folder).read_settings().record.whereabouts

    def seed(self) -> tuple[int, int]:
        """The run's seed, and the version of its trace."""
        file = read_run_file(self.folder)
        return file.read_settings().seed, file.trace_version

    def _edges_of(self) -> Hashable:
        """What the map follows from: it is made anew once there is a network, and when there are more agents."""
        return (self.agents(), bool(stamps(self.folder, "ties")), bool(stamps(self.folder, "messages")),
                bool(stamps(self.folder, "places")))  # fmt: skip

    def _make_map(self) -> Map:
        return make_map(self.folder, self.agents(), self.fields)

    def _make_panel(self, field: str) -> Panel:
        panel = self._at_work.get(field) or Panel(self.folder, field, self._cache)
        self._at_work[field] = panel
        try:
            panel.update()
        except Changed:
            panel = Panel(self.folder, field, self._cache)
            panel.update()
            self._at_work[field] = panel
        pa.default_memory_pool().release_unused()
        return panel

    def _make_town(self) -> Town:
        town = self._town_at_work or self._new_town()
        self._town_at_work = town
        try:
            town.update()
        except Changed:
            self._town_at_work = town = self._new_town()
            town.update()
        pa.default_memory_pool().release_unused()
        return town

    def _new_town(self) -> Town:
        places = read_places(self.folder)
        if places is None:
            raise NotThere("this run has no city on record")
        return Town(self.folder, places, self._cache)

    def _make_feeds(self) -> dict[str, Feed]:
        seed, version = self.seed()
        found = read_feeds(self.folder, seed, version)
        pa.default_memory_pool().release_unused()
        return found

    def sign(self) -> Hashable:
        """What is another once there is something new: cheap to ask for, several times a second."""
        found: list[Hashable] = [is_held(self.folder)]
        for name in (PROGRESS, MANIFEST, PARTS, CONTROL, CONTROLLED):
            try:
                about = (self.folder / name).stat()
                found.append((about.st_size, about.st_mtime_ns))
            except OSError:
                found.append(None)
        return tuple(found)
