"""Runs from Python: what a script or a notebook calls. Each of these does what the command of its name does.

They play in a thread of their own, so they work where an event loop runs already. A KeyboardInterrupt (a notebook's
stop button) ends a run with what is committed saved, and `resume` goes on with it.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypedDict, TypeVar, Unpack

import msgspec

from populace.agents.probes.instrument import Instrument
from populace.agents.probes.survey import Sample, Survey
from populace.agents.society import Society
from populace.core.errors import Interrupted, PopulaceError, ScenarioError
from populace.data.from_python import origin_of
from populace.data.societies import Origin, being_loaded, find_society
from populace.monitoring.progress import choose_progress
from populace.runs.conduct import STOPPING
from populace.runs.courses import replay_course
from populace.runs.diff import Diff, diff_runs
from populace.runs.estimate import AGENTS, TICKS, Expected, expect
from populace.runs.fork import fork_run
from populace.runs.place import Place
from populace.runs.probing import Interview, interview_run, survey_run
from populace.runs.replay import Replayed, replay_run
from populace.runs.result import Run, is_run
from populace.runs.resume import resume_run, resume_with_new_code
from populace.runs.run import run_society
from populace.runs.stop import Stop, awaited, in_background
from populace.runs.surveyed import Surveyed
from populace.settings import Assignment, Settings, load_settings, with_levers
from populace.store.remote.mirror import RECORD, local_folder
from populace.store.trust import check_trust

T = TypeVar("T")

Given: TypeAlias = Society | str | Path
"""A society, or where one is: a file (`path.py`, `path.py:variable`), a module, or a scenario that ships."""
Lever: TypeAlias = str | Mapping[str, Any]
"""A lever as on the command line (`'at=3, block={sender=[1]}'`), or as a mapping."""


class RunOptions(TypedDict, total=False):
    """What `run` takes besides the society."""

    agents: int | Mapping[str, int] | None
    ticks: int | None
    model: str | None
    seed: int | None
    parameters: Mapping[str, Any] | None
    levers: Sequence[Lever]
    settings: str | Path | Mapping[str, Any] | None
    shards: int | None
    transport: Literal["local", "ray"] | None
    out: str | Path | None


def run(
    society: Given,
    *,
    agents: int | Mapping[str, int] | None = None,
    ticks: int | None = None,
    model: str | None = None,
    seed: int | None = None,
    parameters: Mapping[str, Any] | None = None,
    levers: Sequence[Lever] = (),
    settings: str | Path | Mapping[str, Any] | None = None,
    shards: int | None = None,
    transport: Literal["local", "ray"] | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Run a society in the folder (or at the address) `out`, by default a new one in runs/, and give the run.

    `parameters` are the society's own; `settings` is a file of settings, or a mapping such as
    `{"endpoint.base_url": "http://127.0.0.1:8000/v1", "budget.usd": 5}`. Progress goes to stderr unless it is `quiet`.
    Raises PopulaceError for what ends the run early, with a note of how to go on, and KeyboardInterrupt.
    """
    begin = _prepared(
        society, agents=agents, ticks=ticks, model=model, seed=seed, parameters=parameters, levers=levers,
        settings=settings, shards=shards, transport=transport, out=out,
    )  # fmt: skip
    return _Played(quiet).run(begin)


async def run_async(society: Given, *, quiet: bool = False, **options: Unpack[RunOptions]) -> Run:
    """The same as `run`, for code that must not block; cancelled, it stops the run and waits for it to be saved."""
    return await _Played(quiet).run_async(_prepared(society, **options))


def resume(
    run: Run | str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    shards: int | None = None,
    transport: Literal["local", "ray"] | None = None,
    new_code: bool = False,
    anyway: bool = False,
    salvage: bool = False,
    trust: bool = False,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Go on with a run that ended early, however it ended; no answer is paid for twice.

    With `new_code` it goes on by its society's code as it is now, in a new folder (`out`). Raises as `run` does.
    """
    options: dict[str, Any] = {"salvage": salvage, "trust": trust, "shards": shards, "transport": transport}
    name, changes = _name(run), _assignments(settings)
    if new_code:
        return _Played(quiet).run(partial(resume_with_new_code, name, changes, out, **options))
    return _Played(quiet, name).run(partial(resume_run, name, changes, anyway=anyway, **options))


def fork(
    run: Run | str | Path,
    at_tick: int,
    *,
    levers: Sequence[Lever] = (),
    parameters: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    ticks: int | None = None,
    shards: int | None = None,
    transport: Literal["local", "ray"] | None = None,
    salvage: bool = False,
    trust: bool = False,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Branch a counterfactual off from a run: identical up to `at_tick`, then only what differs is asked anew.

    `levers` and `parameters` act from `at_tick` on. Raises as `run` does.
    """
    changes = [*_assignments(settings), *_parameters(parameters)]
    work = partial(
        fork_run, _name(run), at_tick, changes, levers, out, salvage=salvage, trust=trust, ticks=ticks, shards=shards,
        transport=transport,
    )  # fmt: skip
    return _Played(quiet).run(work)


def replay(
    run: Run | str | Path,
    *,
    shards: int = 1,
    code: Literal["recorded", "new"] = "new",
    trust: bool = False,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Replayed:
    """Recompute a run without a call, by default with its society's code as it is now, and compare all hashes.

    `diverged` of what it gives is None where all agree. Raises as `run` does.
    """
    folder = local_folder(_name(run), (*RECORD, "asks.parquet"))
    check_trust(folder, "replay", trust=trust, named=_name(run))
    going = replay_course(folder, shards=shards, code=code)
    with tempfile.TemporaryDirectory(prefix="populace-replay-") as place:
        target = Path(place) if out is None else Path(out)
        return _Played(quiet).work(lambda ways: replay_run(going, folder, target, ways["observers"], stop=ways["stop"]))


def diff(a: Run | str | Path, b: Run | str | Path) -> Diff:
    """Say where two runs part, whom it touched, and what became of the outcomes."""
    one, other = (local_folder(_name(run), (*RECORD, "*.parquet")) for run in (a, b))
    return msgspec.structs.replace(diff_runs(one, other), a=_name(a), b=_name(b))


def estimate(
    society: Given,
    *,
    agents: int | Mapping[str, int] | None = None,
    ticks: int | None = None,
    model: str | None = None,
    seed: int | None = None,
    parameters: Mapping[str, Any] | None = None,
    settings: str | Path | Mapping[str, Any] | None = None,
    pilot_agents: int = AGENTS,
    pilot_ticks: int = TICKS,
    scripted: bool = False,
    confidence: float = 0.9,
    quiet: bool = False,
) -> Expected:
    """Say from a small pilot what a run will come to: calls, tokens, money and time, each with an interval.

    With `scripted` the pilot's answers are scripted, and it costs nothing. Raises as `run` does.
    """
    origin = given_origin(society)
    chosen = settings_of(settings, parameters, agents=agents, ticks=ticks, model__kind=model, seed=seed)
    return _Played(quiet).work(
        lambda ways: expect(
            origin, chosen, agents=pilot_agents, ticks=pilot_ticks, scripted=scripted, confidence=confidence,
            observers=ways["observers"], stop=ways["stop"],
        )
    )  # fmt: skip


def survey(
    run: Run | str | Path,
    instrument: Instrument | str,
    at_tick: int | Sequence[int] | None = None,
    *,
    sample: Sample = None,
    name: str = "",
    type: str | None = None,  # noqa: A002
    shuffle: bool = False,
    weight: str | None = None,
    together: bool = False,
    model_role: str = "",
    model: str | None = None,
    settings: Mapping[str, Any] | None = None,
    code: Literal["recorded", "new"] = "new",
    trust: bool = False,
    quiet: bool = False,
) -> Surveyed:
    """Ask a survey of a run's agents as they stood before `at_tick` (None: at its end), without a trace in the run.

    `instrument` is one, the name of one that ships, or a TOML file. Several ticks are several waves, and one that is
    given twice is a retest. `populace.probes.Survey` says what the rest is. `model` and `settings` have another model
    answer than the run's. What is on record already costs nothing. Raises as `run` does.
    """
    wanted = Survey(instrument, (), sample, name, type, shuffle, weight, together, model_role)
    return _Played(quiet).work(
        lambda ways: survey_run(
            _name(run), wanted, at_tick, _assignments(settings), code=code, trust=trust, model__kind=model,
            observers=ways["observers"], stop=ways["stop"],
        )
    )  # fmt: skip


def interview(
    run: Run | str | Path,
    agent: int,
    at_tick: int | None = None,
    *,
    model: str | None = None,
    settings: Mapping[str, Any] | None = None,
    code: Literal["recorded", "new"] = "new",
    trust: bool = False,
    quiet: bool = False,
) -> Interview:
    """Talk with an agent as it stood before a tick: `interview(run, 7, 10).ask("How are you?")`. Raises as `run` does.

    What is said leaves no trace in the run, and stands on record apart from it.
    """
    return _Played(quiet).work(
        lambda ways: interview_run(
            _name(run), agent, at_tick, _assignments(settings), code=code, trust=trust, observers=ways["observers"],
            stop=ways["stop"], model__kind=model,
        )
    )  # fmt: skip


_OPTIONS: Final = ("agents", "ticks", "model", "seed", "shards", "transport", "out", "trust", "salvage", "anyway")


@contextmanager
def _said_in_python() -> Iterator[None]:
    """Where an error speaks of the command line's options, note how Python is given the same."""
    try:
        yield
    except PopulaceError as error:
        said = "\n".join([str(error), *getattr(error, "__notes__", ())])
        keys = dict.fromkeys(re.findall(r"--set '?([\w.]+)(?==)", said))
        notes = [f"`--set {key}=...` is `settings={{{key!r}: ...}}`" for key in keys if not key.startswith("society.")]
        notes += [f"`--{one}` is `{one}=...`" for one in _OPTIONS if re.search(rf"--{one}\b", said)]
        notes += ["`--lever` is `levers=[...]`"] if re.search(r"--lever\b", said) else []
        if notes:
            error.add_note(f"from Python: {', '.join(notes)}")
        raise


class _Played:
    """Plays one run in a thread, shows its progress, and gives the run that came of it."""

    def __init__(self, quiet: bool, name: str | None = None) -> None:
        self._quiet = quiet
        self._name = name
        self._stop = Stop()
        self._progress = None if quiet else choose_progress(sys.stderr)

    @property
    def _ways(self) -> dict[str, Any]:
        observers = () if self._progress is None else (self._progress,)
        return {"observers": observers, "ended": self._ended, "say": self._say, "stop": self._stop}

    def run(self, begin: Callable[..., Any]) -> Run:
        """What `begin` makes, played while this thread waits."""
        self.work(lambda ways: begin(**ways))
        return self._made()

    async def run_async(self, begin: Callable[..., Any]) -> Run:
        """What `begin` makes, played while this event loop goes on."""
        try:
            with _said_in_python():
                await awaited(lambda: begin(**self._ways), self._stop)
        except PopulaceError as error:
            raise error.with_traceback(None)  # noqa: B904
        finally:
            self._close()
        return self._made()

    def work(self, work: Callable[[dict[str, Any]], T]) -> T:
        """What `work` comes to in a thread, while this one waits. Raises KeyboardInterrupt where it was stopped."""
        try:
            with _said_in_python():
                return in_background(lambda: work(self._ways), self._stop, lambda: self._say(STOPPING))
        except Interrupted as error:
            if not self._stop.asked:
                raise
            there = self._name is not None and is_run(local_folder(self._name))
            on = f". To go on: populace.resume({self._name!r})" if there else ""
            raise KeyboardInterrupt(f"{error}{on}") from None
        except PopulaceError as error:
            raise error.with_traceback(None)  # noqa: B904  # its text names the place, the machine's frames hide it
        finally:
            self._close()

    def _made(self) -> Run:
        assert self._name is not None
        return Run(self._name)

    def _ended(self, place: Place) -> None:
        self._name = place.name

    def _say(self, text: str) -> None:
        if not self._quiet:
            sys.stderr.write(f"{text}\n")

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.close()


def _prepared(
    society: Given,
    *,
    levers: Sequence[Lever] = (),
    parameters: Mapping[str, Any] | None = None,
    settings: str | Path | Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    model: str | None = None,
    agents: int | Mapping[str, int] | None = None,
    ticks: int | None = None,
    seed: int | None = None,
    shards: int | None = None,
    transport: str | None = None,
) -> Callable[..., Any]:
    """What begins a run; what is wrong with society and settings is told before anything is made."""
    with _said_in_python():
        chosen = settings_of(
            settings, parameters, agents=agents, ticks=ticks, model__kind=model, seed=seed, shards=shards,
            transport=transport,
        )  # fmt: skip
        return partial(run_society, given_origin(society), with_levers(chosen, levers), out)


def given_origin(society: Given) -> Origin:
    """Where a society comes from. Raises ScenarioError while one is being loaded, and for one without a source."""
    if (place := being_loaded()) is not None:
        raise ScenarioError(
            f"{place} begins a run while it is loaded as a society, which would never end. Put what it does by itself "
            'under `if __name__ == "__main__":`.'
        )
    return origin_of(society) if isinstance(society, Society) else find_society(str(society))


def settings_of(
    settings: str | Path | Mapping[str, Any] | None, parameters: Mapping[str, Any] | None, **options: Any
) -> Settings:
    """The settings of a run begun from Python. Raises SettingsError."""
    file = Path(settings) if isinstance(settings, str | Path) else None
    changes = _assignments(settings) if isinstance(settings, Mapping) else []
    return load_settings(file, [*changes, *_parameters(parameters)], **options)


def _assignments(settings: Mapping[str, Any] | None) -> list[Assignment]:
    return list((settings or {}).items())


def _parameters(parameters: Mapping[str, Any] | None) -> list[Assignment]:
    return [(f"society.{key}", value) for key, value in (parameters or {}).items()]


def _name(run: Run | str | Path) -> str:
    return run.name if isinstance(run, Run) else str(run)
