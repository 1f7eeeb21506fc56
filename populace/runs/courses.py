"""What resume, replay and fork begin with: the settings and the past of a run that goes on from a run's folder."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from populace.cluster.job import terms_of
from populace.core.errors import CheckpointDamaged, ScenarioError, SettingsError
from populace.core.records import DEFAULT_ROLE
from populace.core.trace import WorldHashes
from populace.data.societies import (
    Origin,
    files_changed,
    find_society,
    is_file,
    is_of_cells,
    load_society,
    module_origin,
    parted,
)
from populace.interventions.levers import SetLever, parse_lever, past_of
from populace.kernel.snapshot import Era, Past, RunState, from_blocks
from populace.settings import Assignment, Settings, changed_keys, may_change, revise_settings
from populace.settings.minds import plain_minds, policy_of, with_minds
from populace.store.checkpoint.generations import latest
from populace.store.folder import (
    CHECKPOINTS,
    JOURNAL,
    Course,
    Graft,
    Parent,
    RunFile,
    fingerprint,
    kept_settings,
    read_run_file,
    run_file,
)
from populace.store.journal.check import check_journal, check_lengths
from populace.store.journal.salvage import salvage_journal
from populace.store.journal.writers import PATIENCE_S, outlast_writers
from populace.store.kept import kept_ticks
from populace.store.manifest import MANIFEST, is_complete, journal_files, read_manifest
from populace.store.remote.mirror import is_remote, journal_place, local_folder

_UNSET: Final = object()
_CHANGED: Final = "the scenario's file has changed since"


class Going(msgspec.Struct, frozen=True):
    """All that a coordinator is to be made with; `notes` say what a person should know of the code that will run."""

    origin: Origin
    settings: Settings
    course: Course
    notes: tuple[str, ...] = ()


def resume_course(
    folder: Path,
    assignments: Iterable[Assignment] = (),
    *,
    anyway: bool = False,
    salvage: bool = False,
    settings: Settings | None = None,
    society: Origin | None = None,
    say: Callable[[str], object] = lambda _: None,
    **options: Any,
) -> Going:
    """Go on with the run in `folder`, with some settings changed; with `salvage`, without what its journal has lost.

    `settings` are all of them, in place of those on record and of changes to these. `society` is the one on record,
    where it stands now with what it reads beside it. `say` is told what is waited for.
    Raises JournalDamaged where a checkpoint counts on what the journal does not hold, SettingsError for a run that is
    complete or keeps no journal and for a setting that must not change now, and ScenarioError where the scenario's code
    is not what the run was begun with (unless `anyway`).
    """
    file = read_run_file(folder)
    if is_complete(folder):
        raise SettingsError(
            f"{folder}: this run is complete. `populace fork {folder} --at-tick T` goes on from it in another folder."
        )
    former = file.read_settings()
    if former.journal == "off":
        raise SettingsError(f"{folder}: this run kept no journal (journal = 'off'), so it cannot be resumed.")
    if settings is None:
        settings = revise_settings(former, assignments, **options)
    _refuse(changed_keys(former, settings), "resume")
    if settings.journal == "off":
        raise SettingsError(
            f"{folder}: journal = 'off': a resumed run goes on from its journal, and puts on record what is new."
        )
    if society is not None:
        file = msgspec.structs.replace(file, origin=society.name, source=society.source)
    origin = file.society
    if not anyway:
        _check_code(file, "go on with --anyway")
        _check_files(file)
    ledger = settings.budget.ledger
    if ledger is not None and (folder / JOURNAL).exists() and not ledger.exists():
        raise SettingsError(
            f"{ledger}: the ledger of this run's experiment is not there, and a new one would lend its money again. "
            "Put it back, or say where it is: --set budget.ledger=FILE"
        )
    left = outlasted(folder, say)
    file, lost = _salvaged(folder, file, salvage=salvage)
    file = msgspec.structs.replace(file, settings=kept_settings(settings))
    expected, world = _inherited(file)
    course = Course(file=file, resumed=True, pasts=_parents(file), expected=expected, expected_world=world)
    return Going(origin, settings, course, (*_kept_code(origin, "resumed"), *left, *lost))


def replay_course(folder: Path, *, shards: int = 1, code: Literal["recorded", "new"] = "new") -> Going:
    """Recompute the run in `folder` from its journal, with the scenario's code as it is now, or with that on record.

    Where its file is gone the recorded code is taken; wherever the two differ, a note says which one ran.
    Raises SettingsError where there is nothing to replay, and ScenarioError where recorded code is asked for and is not
    to be had.
    """
    file = read_run_file(folder)
    former = file.read_settings()
    if former.journal == "off":
        raise SettingsError(f"{folder}: this run kept no journal (journal = 'off'), so it cannot be replayed.")
    hashes, world = recorded_traces(folder)
    if not hashes:
        raise SettingsError(
            f"{folder}: no tick of this run is on record yet, so there is nothing to replay.{_unfinished(folder)}"
        )
    # A run that failed by too many failed turns is recomputed to its end all the same.
    settings = revise_settings(former, shards=shards, transport="local", ticks=len(hashes), limits__failed_turns=1.0)
    _salvaged(folder, file, salvage=False)
    pasts = (_past(str(folder.resolve()), file.run, file.salvaged),)
    course = Course(file=file, replay=True, pasts=pasts, expected=tuple(hashes), expected_world=world)
    kept = file.society
    lost = (f"of the journal's {', '.join(file.salvaged)} a part is known to be lost",) if file.salvaged else ()
    if code == "recorded":
        _check_code(file, "replay it as it is now (--code new)")
        return Going(kept, settings, course, (*_kept_code(kept, "replayed"), *_other_files(file), *lost))
    now = _as_it_is_now(kept)
    if now is None:
        return Going(kept, settings, course, (*_kept_code(kept, "replayed"), *_other_files(file), *lost))
    changed = fingerprint(now) != file.fingerprint
    notes = (f"{kept.name}: {_CHANGED}, and the code as it is now is replayed.",) if changed else ()
    return Going(now, settings, course, (*notes, *_other_files(file), *lost))


def fork_course(
    place: str | Path,
    at_tick: int,
    assignments: Iterable[Assignment] = (),
    levers: Sequence[str | Mapping[str, Any]] = (),
    *,
    salvage: bool = False,
    code: Origin | None = None,
    anew: bool = False,
    **options: Any,
) -> Going:
    """Branch off from the run in `place` before tick `at_tick`: its answers hold wherever the same is asked.

    The place is a folder, or a remote one's address; with `salvage` its journal may be damaged, and what it has lost is
    asked anew. With other `code` than the run's own, that is what the fork runs from its first tick on, and its past
    still has to be the run's. With `anew` the run's levers that take effect at `at_tick` or later are left out.
    Parameters of the scenario (`society.`) change from `at_tick` on. Raises SettingsError for a tick that is not on
    record and for a setting by which the past would be another.
    """
    folder = local_folder(place)
    named = str(place) if is_remote(place) else str(folder.resolve())
    file = read_run_file(folder)
    former, given = file.read_settings(), list(assignments)
    if former.journal == "off":
        raise SettingsError(f"{folder}: this run kept no journal (journal = 'off'), so it cannot be forked.")
    hashes, world = recorded_traces(folder)
    if not 0 <= at_tick <= len(hashes):
        had = f"{len(hashes)} tick{'s' if len(hashes) > 1 else ''}" if hashes else "no tick"
        choice = f"Choose one from 0 to {len(hashes)}." if hashes else "It can be forked at tick 0 only."
        raise SettingsError(
            f"--at-tick {at_tick}: {folder} has {had} on record. {choice}{_unfinished(folder, str(place))}"
        )
    settings = fork_settings(former, at_tick, given, levers, anew=anew, **options)
    _refuse(changed_keys(former, settings), "fork")
    file, lost = _salvaged(folder, file, salvage=salvage)
    kept = file.society
    origin = code or (kept if kept.source is not None else _as_it_is_now(kept) or kept)
    changed = revise_settings(former, given).society
    if changed:  # from `at_tick` on a lever sets them: nobody wrote that
        load_society(origin).with_parameters(changed)
    new_code = fingerprint(origin) != file.fingerprint
    parent = Parent(file.run, named, at_tick, hashes[at_tick - 1] if at_tick else "", file.salvaged, new_code)
    was = with_minds(former, load_society(kept).classes)
    eras = _eras(file.eras, at_tick, was, with_minds(settings, load_society(origin).classes))
    own = run_file(origin, settings, parent, eras, file.trace_version)
    expected = tuple(hashes[:at_tick])
    course = Course(
        file=own, pasts=_parents(own), expected=expected, expected_world=_first(world, at_tick),
        graft=_graft(folder, file, at_tick, former, settings) if not new_code and not is_remote(place) else None,
    )  # fmt: skip
    now = (f"{kept.name}: {_CHANGED}, and the code as it is now is forked.",) if code is None else ()
    notes = now if new_code else _kept_code(kept, "forked")
    other = [name for name, value in changed.items() if former.society.get(name, _UNSET) != value]
    return Going(origin, settings, course, (*notes, *_other_files(file), *lost, *_where_read(other, at_tick)))


def code_now(folder: Path) -> Origin:
    """The code of a run's scenario as it is now. Raises ScenarioError where its file is not there (any more)."""
    kept = read_run_file(folder).society
    now = _as_it_is_now(kept)
    if now is None:
        raise ScenarioError(f"{kept.name}: the scenario's file is not there (any more), so it has no newer code.")
    return now


def fork_settings(
    former: Settings,
    at_tick: int,
    assignments: Iterable[Assignment],
    levers: Sequence[str | Mapping[str, Any]],
    *,
    anew: bool = False,
    **options: Any,
) -> Settings:
    """The settings of a fork. What is set under `society.`, and a lever that says no `at`, begins at `at_tick`.

    With `anew` what the run's own levers would do from that tick on is not done.

    In a fork at tick 0 the society is built with what is set. Raises SettingsError, also for levers that would act in
    the past, or are missing from it.
    """
    given = list(assignments)
    settings = revise_settings(former, given, **options)
    added = []
    if at_tick:
        named = {one.partition("=")[0].strip() if isinstance(one, str) else one[0] for one in given}
        moved = {key for lever in former.levers if isinstance(lever, SetLever) for key in lever.set} & named
        now = {f"society.{key}": value for key, value in settings.society.items()}
        was = {f"society.{key}": value for key, value in former.society.items()}
        changed = {key: value for key, value in now.items() if was.get(key) != value or key in moved}
        added = [SetLever(at=at_tick, set=changed)] if changed else []
        settings = settings.model_copy(update={"society": former.society})
    for text in levers:
        lever = parse_lever(text, at_tick)
        if lever.at < at_tick:
            raise SettingsError(f"lever {text!r}: acts in tick {lever.at}, and the fork begins at tick {at_tick}.")
        added.append(lever)
    kept = tuple(lever for lever in settings.levers if not anew or lever.at < at_tick)
    settings = settings.model_copy(update={"levers": (*kept, *added)})
    if past_of(settings.levers, at_tick) != past_of(former.levers, at_tick):
        raise SettingsError(f"levers: those before tick {at_tick} cannot change in a fork: its past would be another.")
    return settings


def recorded_hashes(folder: Path) -> list[str]:
    """The trace hashes that a run left, one a tick; see `recorded_traces`."""
    return recorded_traces(folder)[0]


def recorded_traces(folder: Path) -> tuple[list[str], WorldHashes]:
    """The hashes that a run left, one a tick, of its trace and of its world: in its manifest, or newest checkpoint."""
    hashes: list[str] = []
    world = WorldHashes()
    state = _newest_state(folder)  # first: a run that completes meanwhile has its manifest before it has none of these
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder)
        hashes = list(manifest.get("trace_hashes", ()))
        world = WorldHashes(manifest.get("world_hashes", []), manifest.get("world_parts", {}))
    if state is not None and state.tick > len(hashes):
        hashes, world = state.hashes, state.world_hashes
    return hashes, world


def _newest_state(folder: Path) -> RunState | None:
    """The state in the newest good checkpoint of a run, where there is one."""
    if not (folder / CHECKPOINTS).exists():
        return None
    try:
        found = latest(folder / CHECKPOINTS)
        return None if found is None else from_blocks(found.tick, found.blocks)
    except CheckpointDamaged:
        return None


def _first(world: WorldHashes, ticks: int) -> WorldHashes:
    """Those of the first `ticks` ticks."""
    return WorldHashes(world.hashes[:ticks], {name: digests[:ticks] for name, digests in world.parts.items()})


def _unfinished(folder: Path, place: str = "") -> str:
    """How to have more ticks of a run that is not complete; empty for one that is."""
    if is_complete(folder):
        return ""
    return f" If it is not at work, go on with it first: populace resume {shlex.quote(place or str(folder))}"


def _graft(folder: Path, file: RunFile, at_tick: int, former: Settings, settings: Settings) -> Graft | None:
    """The last state that a run kept for good before the tick that leads to `at_tick`; None where it cannot be used.

    That tick is computed anew: at its end the fork's levers read the world, and what they change is in its rows.
    """
    ticks = [tick for tick in kept_ticks(folder) if tick < at_tick]
    if not ticks or former.record != settings.record or files_changed(file.society, file.files):
        return None
    kept = kept_ticks(folder)[max(ticks)]
    return Graft(max(ticks), kept, folder.resolve(), file.run, tuple(file.salvaged))


def _eras(parents: Sequence[Era], at_tick: int, was: Settings, now: Settings) -> list[Era]:
    """Which models a fork asks before those of its settings: its parent's, which may have changed them too.

    Where the fork changes nothing it follows its parent, also beyond `at_tick`.
    """
    present = _era(at_tick, was)
    if present == _era(at_tick, now):
        return list(parents)
    last = next((era for era in parents if at_tick <= era.until), present)
    return [*(era for era in parents if era.until < at_tick), msgspec.structs.replace(last, until=at_tick)]


def _era(until: int, settings: Settings) -> Era:
    """What stands of the settings in the content keys of asks before tick `until`."""
    terms = terms_of(settings.of_role(DEFAULT_ROLE))
    roles = {role: terms_of(settings.of_role(role)) for role in settings.model.roles}
    return Era(
        until,
        terms.model,
        terms.max_tokens,
        terms.temperature,
        dict(terms.forms),
        terms.by_rules,
        roles,
        plain_minds(settings),
        policy_of(settings),
    )


def _salvaged(folder: Path, file: RunFile, *, salvage: bool) -> tuple[RunFile, tuple[str, ...]]:
    """The run's file with the segments that are known to be damaged, and what is lost. Raises JournalDamaged."""
    state = _newest_state(folder)
    since = [] if state is None else state.positions
    files = journal_files(folder)
    if not salvage:
        check_journal(folder / JOURNAL, file.run, since, files, file.salvaged)
        return file, ()
    tick = 0 if state is None else state.tick
    found = salvage_journal(folder / JOURNAL, file.run, tick, since, files, file.salvaged)
    return msgspec.structs.replace(file, salvaged=found.segments), found.notes


def outlasted(folder: Path, say: Callable[[str], object]) -> tuple[str, ...]:
    """What to say of shards that outlive a driver which was killed; usually they end while they are waited for."""
    wait = f"note: waiting up to {PATIENCE_S:g} s for processes of the attempt before, which still write to its journal"
    if not (still := outlast_writers(folder / JOURNAL, waiting=lambda _: say(wait))):
        return ()
    note = (
        f"{folder / JOURNAL}: a process of the attempt before still writes ({', '.join(still)}). What it asks from now "
        "on is asked again, and paid for twice: end it (ray stop)."
    )
    return (note,)


def _past(place: str, run: str, salvaged: Sequence[str] = ()) -> Past:
    journal = journal_place(place) if is_remote(place) else str(Path(place) / JOURNAL)
    return Past(journal, run, own=False, salvaged=list(salvaged))


def _parents(file: RunFile) -> tuple[Past, ...]:
    if file.parent is None:
        return ()
    folder = local_folder(file.parent.folder)
    if not (folder / JOURNAL).exists():
        raise SettingsError(
            f"{file.parent.folder}: the run that this one was forked from is not there, and answers are still to be "
            "read from its journal. Put it back."
        )
    check_lengths(folder / JOURNAL, journal_files(folder), file.parent.salvaged)
    return (_past(file.parent.folder, file.parent.run, file.parent.salvaged),)


def _inherited(file: RunFile) -> tuple[tuple[str, ...], WorldHashes]:
    """The hashes that a fork's first ticks must give, of its trace and of its world."""
    if file.parent is None:
        return (), WorldHashes()
    hashes, world = recorded_traces(local_folder(file.parent.folder))
    at_tick = file.parent.at_tick
    return tuple(hashes[:at_tick]), _first(world, at_tick)


def _as_it_is_now(origin: Origin) -> Origin | None:
    """The society with its file's or module's text of now; None where that is gone. Raises ScenarioError."""
    if not is_file(origin.name):
        return module_origin(origin.name)
    return find_society(origin.name) if Path(parted(origin.name)[0]).is_file() else None


def _check_code(file: RunFile, otherwise: str) -> None:
    """Raise ScenarioError where a run's file holds no code and the installed one is not what the run was begun with."""
    if fingerprint(file.society) != file.fingerprint:
        raise ScenarioError(
            f"{file.origin}: its code is not what this run was begun with, so it would not be the same run. Put that "
            f"code back, or {otherwise}."
        )


def _check_files(file: RunFile) -> None:
    """Raise ScenarioError where a file that the society's code read when the run began holds something else now."""
    if changed := files_changed(file.society, file.files):
        raise ScenarioError(
            f"{', '.join(changed)}: changed since this run began, and its society reads from there, so it would not be "
            "the same run. Put back what was there, or continue with what is there now: --code new (in a new folder, "
            "where nothing is paid for twice) or --anyway (in this one)."
        )


def _other_files(file: RunFile) -> tuple[str, ...]:
    """What to say where such a file holds something else now."""
    changed = files_changed(file.society, file.files)
    return (f"{', '.join(changed)}: changed since the run began, and is read as it is now.",) if changed else ()


def _where_read(names: Sequence[str], at_tick: int) -> tuple[str, ...]:
    """What a person should know who forks with other parameters."""
    if not names:
        return ()
    others = ", ".join(f"society.{name}" for name in names)
    holds = f"{others}: from tick {at_tick} on, where turns and parts read it. What population and world made of it at"
    return (f"{holds} the start stays as it is; for another start, begin another run.",)


def _kept_code(origin: Origin, done: str) -> tuple[str, ...]:
    """What to say where the code on record is not what the scenario's file holds now; cells keep no other."""
    if is_of_cells(origin.name):
        return ()
    try:
        now = _as_it_is_now(origin)
    except ScenarioError:
        now = Origin(origin.name)
    if now is None:
        return (f"{origin.name}: the scenario's file is not there (any more), so the code on record is {done}.",)
    if origin.source is not None and now != origin:
        return (f"{origin.name}: {_CHANGED}, and the code on record is {done}.",)
    return ()


def _refuse(changed: Iterable[str], on: Literal["resume", "fork"]) -> None:
    wrong = [key for key in changed if not may_change(key, on)]
    if wrong:
        what = "a resumed run" if on == "resume" else "a fork"
        raise SettingsError(
            f"{', '.join(wrong)}: cannot change in {what}, since its past would be another. Begin a new run with it."
        )
