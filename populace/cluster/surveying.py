"""Surveys that are asked while a run is played, between its ticks. A shell.

They change nothing of the run: what they cannot do is told, and the run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from populace.agents.probes.survey import Survey
from populace.agents.society import Society
from populace.cluster.probing import Planned, Prober, Tally, look, planned
from populace.cluster.transport import Transport
from populace.core.errors import ActorLost, PopulaceError, SettingsError
from populace.kernel.snapshot import Past
from populace.models.protocol import Fence
from populace.monitoring.pace import counted
from populace.monitoring.progress import money
from populace.settings import Settings
from populace.store.folder import Course, RunFile
from populace.store.probes import Reply, past_of, probes_of


class AtEdge(Protocol):
    """What looks at a run between its ticks."""

    base_url: str | None
    """Where the embedded model of the run is served."""
    fence: Fence | None
    """Whether a call may be begun now, where that may not be."""

    def due(self, tick: int) -> bool:
        """Whether it looks at the run before `tick`."""

    async def at(self, transport: Transport, tick: int) -> None:
        """Look at the run as it stands before `tick`. Raises ActorLost, and what is to end the run."""


class _NoProbes:
    """Asks nothing, whatever is declared."""

    base_url: str | None = None
    fence: Fence | None = None

    def due(self, tick: int) -> bool:
        """Never."""
        return False

    async def at(self, transport: Transport, tick: int) -> None:
        """Nothing is asked."""


NO_PROBES: Final = _NoProbes()
"""For runs that ask no survey, whatever is declared."""


class Surveys:
    """The surveys of a run, each asked before its ticks."""

    def __init__(self, surveys: Sequence[Planned], prober: Prober, note: Callable[[str], None]) -> None:
        self._waves: dict[int, list[tuple[Planned, int]]] = {}
        for one in surveys:
            for tick, repeat in one.survey.waves():
                self._waves.setdefault(tick, []).append((one, repeat))
        self._prober = prober
        self._note = note
        self.base_url: str | None = None
        self.fence: Fence | None = None

    def due(self, tick: int) -> bool:
        """Whether a survey has a wave before `tick`."""
        return tick in self._waves

    async def at(self, transport: Transport, tick: int) -> None:
        """Ask what is due. What goes wrong with it is noted, but for a loss of what carries the run."""
        for one, repeat in self._waves.get(tick, ()):
            self._prober.base_url, self._prober.fence = self.base_url, self.fence
            try:
                standing = await look(transport, tick, None, one, self._prober.settings.seed)
                replies, tally = await self._prober.wave(one, standing, repeat)
            except ActorLost:
                raise
            except PopulaceError as error:
                self._note(
                    f"survey {one.name!r} before tick {tick} was not asked to its end, and the run goes on: {error} "
                    "Ask it afterwards: populace survey RUN"
                )
            else:
                self._note(told(one.name, tick, replies, tally))


def surveys_of(
    society: Society,
    settings: Settings,
    out: Path,
    course: Course,
    note: Callable[[str], None],
    ticks: int,
) -> Surveys | None:
    """The surveys that a run's settings and its society declare; None where there are none.

    A fork finds the answers of its parent's probes. Raises SettingsError and ScenarioError for what cannot be asked.
    """
    found = declared(society, settings, note, ticks)
    if not found:
        return None
    prober = Prober(society, settings, probes_of(out), course.file.run, parents_probes(course.file), hosted=True)
    return Surveys(found, prober, note)


def declared(society: Society, settings: Settings, note: Callable[[str], None], ticks: int) -> list[Planned]:
    """The surveys of a run of so many ticks. Raises SettingsError and ScenarioError for what cannot be asked."""
    found: dict[str, Planned] = {}
    for survey in [*_reached(society.surveys, ticks, note), *(one.survey() for one in settings.surveys)]:
        one = planned(survey, society, settings)
        check_ticks(one, ticks)
        if one.name in found:
            raise SettingsError(f"two surveys are called {one.name!r}: give each a name of its own, name = '...'")
        found[one.name] = one
    return list(found.values())


def parents_probes(file: RunFile) -> list[Past]:
    """The journal of the probes of the run that a fork comes from, where there is one."""
    parent = file.parent
    if parent is None:
        return []
    past = past_of(probes_of(Path(parent.folder)), parent.run)
    return [] if past is None else [past]


def _reached(surveys: Sequence[Survey], ticks: int, note: Callable[[str], None]) -> list[Survey]:
    """The surveys that a society declares, without the waves that a run of so few ticks does not come to."""
    found = []
    for survey in surveys:
        at = [tick for tick in survey.at if tick <= ticks]
        if at or not survey.at:
            found.append(replace(survey, at=at))
        if late := [tick for tick in survey.at if tick > ticks]:
            note(f"the society's survey {_name_of(survey)} is not asked at {late}: the run ends before")
    return found


def _name_of(survey: Survey) -> str:
    return repr(survey.name or (survey.instrument if isinstance(survey.instrument, str) else survey.instrument.name))


def check_ticks(one: Planned, ticks: int) -> None:
    """Raise SettingsError for a wave that no tick of the run comes to, and for a survey without any."""
    survey: Survey = one.survey
    if not survey.at:
        raise SettingsError(f"survey {one.name!r}: say before which ticks it is asked: at = [10, 20]")
    if late := [tick for tick in survey.at if tick > ticks]:
        raise SettingsError(
            f"survey {one.name!r}: at={late}: the run ends after {counted(ticks, 'tick')}; {ticks} asks at its end"
        )


def told(name: str, tick: int, replies: Sequence[Reply], tally: Tally) -> str:
    """What a wave came to, in a line."""
    agents = len({one.agent for one in replies})
    none: Mapping[str, int] = _abstained(replies)
    without = "" if not none else f", {sum(none.values())} of {len(replies)} without an answer ({_listed(none)})"
    paid = f"{tally.spent.calls} calls, {money(tally.spent.cost_usd)}" if tally.spent.calls else "no call"
    return (
        f"survey {name!r} before tick {tick}: {counted(agents, 'agent')}, {counted(tally.asks, 'ask')}{without}; {paid}"
    )


def _abstained(replies: Sequence[Reply]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in replies:
        if one.abstained is not None:
            found[one.abstained] = found.get(one.abstained, 0) + 1
    return found


def _listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {n}" for reason, n in sorted(reasons.items()))
