"""Probes of a run that was: surveys and interviews of its agents as they stood before any tick. A shell.

The run is recomputed from its journal, from the nearest checkpoint on, without a call, and compared hash by hash; then
the agents that stand there are asked. Nothing of the run changes: what is asked goes into `probes/` in its folder.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from populace.agents.minds import MODEL, RULES, resolve_minds
from populace.agents.probes import asking
from populace.agents.probes.survey import Survey
from populace.agents.society import Society
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.cluster.probing import AsTheyStood, Planned, Prober, Tally, check_rules, look, planned
from populace.cluster.surveying import parents_probes
from populace.cluster.transport import Transport
from populace.core.errors import Diverged, ScenarioError, SettingsError, StorageError
from populace.core.records import Abstained
from populace.data.societies import load_society
from populace.kernel.snapshot import RunState, from_blocks
from populace.models.protocol import Fence
from populace.monitoring.report import Observer
from populace.runs.courses import Going, recorded_hashes, replay_course
from populace.runs.stop import Stop, in_background
from populace.runs.surveyed import Surveyed
from populace.settings import Assignment, Record, Settings, revise_settings
from populace.settings.minds import with_minds
from populace.settings.watching import UNWATCHED
from populace.store.checkpoint.file import generations, read_contents
from populace.store.checkpoint.generations import load
from populace.store.folder import CHECKPOINTS, read_run_file
from populace.store.kept import kept_ticks
from populace.store.probes import probes_of
from populace.store.remote.mirror import RECORD, is_remote, local_folder
from populace.store.trust import check_trust

Code = Literal["recorded", "new"]
Transcript = Sequence[tuple[str, str]]
"""The questions of an interview so far, each with its answer."""

_NO_TABLES: Final = Record(agents="none", messages=False, asks=False, actions=False, rounds=False)


@dataclass(frozen=True)
class Opened:
    """A run that is to be probed: its folder, what recomputes it, its society, and the settings by which it is asked.

    `ticks` is how many of its ticks are on record.
    """

    folder: Path
    going: Going
    society: Society
    settings: Settings
    prober: Prober
    ticks: int


def open_run(
    run: str | Path,
    assignments: Iterable[Assignment] = (),
    *,
    code: Code = "new",
    trust: bool = False,
    what: str = "survey",
    mind: str = "",
    **options: Any,
) -> Opened:
    """A run, to be probed by its own settings with some changed (another model, say).

    A model that the options choose answers for all types, also for those whose mind is another in the run, unless the
    assignments say otherwise; so does a `mind` (model, rules, or a model role). Its code is that of now, or that on
    record; either has to give the trace that is on record. Raises SettingsError
    where there is nothing to recompute, Untrusted for a run of somebody else, and ScenarioError.
    """
    folder = local_folder(run, RECORD)
    check_trust(folder, what, trust=trust, named=str(run))
    if is_remote(run):
        raise SettingsError(f"{run}: what is asked is kept in the run's folder: copy the run to this machine first.")
    going = replay_course(folder, code=code)
    file = read_run_file(folder)
    society = load_society(going.origin)
    own = file.read_settings()
    mind = MODEL if options.get("model__kind") is not None else mind
    if mind:
        ruled = mind == RULES
        roles = {name: one for name, one in own.model.roles.items() if ruled or name != RULES or one.kind != RULES}
        minds = resolve_minds(society.classes, dict.fromkeys(society.classes, mind))
        own = own.model_copy(update={"minds": minds, "model": own.model.model_copy(update={"roles": roles})})
    settings = with_minds(revise_settings(own, assignments, **options), society.classes)
    prober = Prober(society, settings, probes_of(folder), file.run, parents_probes(file))
    return Opened(folder, going, society, settings, prober, len(going.course.expected))


def stand(
    opened: Opened,
    at_tick: int | None,
    agents: Iterable[int] = (),
    survey: Planned | None = None,
    observers: Sequence[Observer] = (),
    stop: Stop | None = None,
) -> AsTheyStood:
    """These agents, or those of a survey, as they stood before `at_tick` (None: at the end), recomputed without a call.

    Raises SettingsError for a tick that is not on record and for agents that are not there, and ScenarioError where
    the code as it is now gives another trace.
    """
    tick = opened.ticks if at_tick is None else at_tick
    if not 0 <= tick <= opened.ticks:
        raise SettingsError(
            f"--at-tick {tick}: {opened.folder} has {opened.ticks} ticks on record. Choose one from 0 to "
            f"{opened.ticks}, which is its end."
        )
    state = _nearest(opened.folder, opened.going.course.file.run, tick)
    settings = opened.going.settings.model_copy(update={"ticks": max(tick, 1), "record": _NO_TABLES, **UNWATCHED})
    course = msgspec.structs.replace(opened.going.course, standing=state)
    looking = _Looking(tick, [*agents], survey, opened.settings.seed)
    with tempfile.TemporaryDirectory(prefix="populace-probe-") as place:
        coordinator = Coordinator(
            opened.going.origin, settings, LocalTransport(), Path(place), observers, course, probe=looking
        )
        try:
            asyncio.run((stop or Stop()).played(coordinator))
        except Diverged as diverged:
            raise ScenarioError(
                f"{opened.folder}: the code as it is now gives another trace in tick {diverged.tick} than the one on "
                "record, so these would be other agents. Use the code of the run: --code recorded"
            ) from None
    if looking.failure is not None:
        raise looking.failure
    assert looking.found is not None
    return looking.found


def survey_run(
    run: str | Path,
    wanted: Survey,
    at_tick: int | Sequence[int] | None = None,
    assignments: Iterable[Assignment] = (),
    *,
    code: Code = "new",
    trust: bool = False,
    observers: Sequence[Observer] = (),
    stop: Stop | None = None,
    **options: Any,
) -> Surveyed:
    """Ask a survey of a run's agents before `at_tick`, or before each of several; None is the run's end.

    What is `wanted` says all but when. Gives the survey as its table holds it, with all waves so far.
    Raises SettingsError and ScenarioError for what cannot be asked, and what ends all asking of the model.
    """
    opened = open_run(run, assignments, code=code, trust=trust, **options)
    at = [opened.ticks] if at_tick is None else [at_tick] if isinstance(at_tick, int) else list(at_tick)
    one = planned(replace(wanted, at=at), opened.society, opened.settings)
    tally = Tally()
    for tick, repeat in one.survey.waves():
        standing = stand(opened, tick, survey=one, observers=observers, stop=stop)
        _, more = asyncio.run((stop or Stop()).done(opened.prober.wave(one, standing, repeat)))
        tally.asks += more.asks
        tally.spent.add(more.spent)
    return Surveyed(opened.folder, one.name, tally, placebo=opened.settings.model.kind == "scripted")


@dataclass
class Interview:
    """A conversation with an agent as it stood before a tick: `interview.ask("How was your week?")`.

    `transcript` has what was asked, each with its answer; `tally` what it came to. What was asked before in the same
    words, after the same words, is on record and costs nothing.
    """

    agent: int
    tick: int
    prober: Prober
    standing: AsTheyStood
    transcript: list[tuple[str, str]] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    def ask(self, question: str) -> str | Abstained:
        """The agent's answer, which goes into the transcript, or `Abstained`, which does not.

        It may be called where an event loop runs. Raises what ends all asking of the model.
        """
        stop = Stop()
        answer = in_background(lambda: self.answer(question, self.transcript, stop), stop, lambda: None)
        if isinstance(answer, str):
            self.transcript.append((question.strip(), answer))
        return answer

    def answer(self, question: str, transcript: Transcript, stop: Stop | None = None) -> str | Abstained:
        """The agent's answer to a question after these, which changes nothing here but the tally."""
        if not question.strip():
            raise SettingsError("an interview needs a question that says something")
        asked = self.prober.interview(self.standing, self.agent, question.strip(), list(transcript))
        answer, more = asyncio.run((stop or Stop()).done(asked))
        self.tally.asks += more.asks
        self.tally.spent.add(more.spent)
        return answer


def interview_run(
    run: str | Path,
    agent: int,
    at_tick: int | None = None,
    assignments: Iterable[Assignment] = (),
    *,
    code: Code = "new",
    trust: bool = False,
    observers: Sequence[Observer] = (),
    stop: Stop | None = None,
    mind: str = "",
    **options: Any,
) -> Interview:
    """Open a conversation with an agent as it stood before a tick (None: at the run's end). Raises as `survey_run`.

    A `mind` (model, rules, or a model role) answers in place of the agent's own.
    """
    opened = open_run(run, assignments, code=code, trust=trust, what="interview", mind=mind, **options)
    standing = stand(opened, at_tick, [agent], observers=observers, stop=stop)
    check_rules(opened.society, opened.settings, [standing.type_of(agent)], "", asking.INTERVIEW)
    return Interview(agent, standing.tick, opened.prober, standing)


_MOST_KEPT: Final = 64
_kept: dict[tuple[str, str, int, int, str | None, str], Interview] = {}
"""Agents that were interviewed in this process, as they stood, so that they are not recomputed for each question."""


def answer(
    run: str | Path,
    agent: int,
    at_tick: int | None,
    question: str,
    transcript: Transcript = (),
    *,
    model: str | None = None,
    mind: str = "",
    trust: bool = False,
) -> str | Abstained:
    """An agent's answer to one question, after these: for a page that holds an interview and keeps its own transcript.

    `model` is a kind of model that is to answer in place of the agent's own mind, `mind` one of the run's minds.
    It blocks, and must not be called where an event loop runs: call it in a thread. Raises as `interview_run` does.
    """
    folder = Path(run).resolve()
    tick = len(recorded_hashes(folder)) if at_tick is None else at_tick
    key = (str(folder), read_run_file(folder).run, agent, tick, model, mind)
    interview = _kept.get(key)
    if interview is None:
        interview = interview_run(folder, agent, tick, trust=trust, mind=mind, model__kind=model)
        if len(_kept) >= _MOST_KEPT:
            del _kept[next(iter(_kept))]
        _kept[key] = interview
    return interview.answer(question, transcript)


class _Looking:
    """Looks at agents as a run that is recomputed comes to a tick. Errors of the question end no recomputation."""

    def __init__(self, tick: int, agents: Sequence[int], survey: Planned | None, seed: int) -> None:
        self._tick = tick
        self._agents = agents
        self._survey = survey
        self._seed = seed
        self.base_url: str | None = None
        self.fence: Fence | None = None
        self.found: AsTheyStood | None = None
        self.failure: SettingsError | None = None

    def due(self, tick: int) -> bool:
        """Whether it is the tick."""
        return tick == self._tick and self.found is None

    async def at(self, transport: Transport, tick: int) -> None:
        """Look."""
        try:
            self.found = await look(transport, tick, self._agents, self._survey, self._seed, strict=True)
        except SettingsError as error:
            self.failure = error


def _nearest(folder: Path, run: str, tick: int) -> RunState | None:
    """The nearest good state on record at or before a tick, without its tables; None where there is none.

    Of a run that ended early there are checkpoints, and of any those that it kept for good (`checkpoint.kept_at`).
    """
    paths = [*generations(folder / CHECKPOINTS).values()] if (folder / CHECKPOINTS).exists() else []
    paths += [path for kept in kept_ticks(folder).values() for path in generations(kept).values()]
    there = []
    for path in paths:
        with suppress(StorageError):
            there.append((read_contents(path).tick, path))
    for at, path in sorted(there, reverse=True):
        with suppress(StorageError):
            if at <= tick:
                found = load(path, run=run)
                return msgspec.structs.replace(from_blocks(found.tick, found.blocks), parts=0, rows=None)
    return None
