"""A run's folder: `run.json` says what the run is, `journal/` what the model said, `checkpoints/` how far it came.

`run.json` is written before anything else, whole or not at all. From these three everything else can be had again:
a run that ended in any way goes on from its newest good checkpoint, and what came after it is recomputed from the
journal without a call. Shell: files.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

from populace.core.errors import CheckpointDamaged, SettingsError
from populace.core.trace import TRACE_VERSION, WorldHashes
from populace.data.societies import Origin, files_read, parted
from populace.files import write_whole
from populace.kernel.blocks import Block, Rows
from populace.kernel.snapshot import Era, Past, RunState, from_blocks, to_blocks
from populace.models.dialect import EndpointForm
from populace.settings import Settings, migrated
from populace.store.checkpoint.file import Piece
from populace.store.checkpoint.frozen import Frozen
from populace.store.checkpoint.generations import Checkpoints, latest, load
from populace.store.checkpoint.pieces import world_blocks
from populace.store.journal.batches import after_batches
from populace.store.journal.write import next_attempt
from populace.store.kept import keep, kept_ticks
from populace.store.place import check_new, remove_own
from populace.store.register import named_whole
from populace.store.remote.mirror import journal_place
from populace.store.storage import make_folder
from populace.store.tables.files import lost_parts

RUN_FILE: Final = "run.json"
ENDPOINTS: Final = "endpoints.json"
JOURNAL: Final = "journal"
CHECKPOINTS: Final = "checkpoints"
_COST_SHARE: Final = 10.0
"""A checkpoint is not begun before this many times what the last one took have passed."""


class Parent(msgspec.Struct, frozen=True):
    """The run that another was forked from, before which tick they part, and what of its journal is damaged.

    With `new_code` the fork runs other code than its parent, which gave the same trace before that tick.
    """

    run: str
    folder: str
    at_tick: int
    trace_hash: str
    salvaged: list[str] = []
    new_code: bool = False


class Graft(msgspec.Struct, frozen=True):
    """A state that a fork begins with in place of tick 0: its parent's before `tick`, kept in the folder `kept`.

    `parent` is the parent's folder, `run` its name, and `salvaged` what of its journal is known to be damaged.
    """

    tick: int
    kept: Path
    parent: Path
    run: str
    salvaged: tuple[str, ...] = ()


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """What `run.json` holds: all that a run is, besides the model's answers. It holds no key.

    `source` is the scenario's text and what the run executes; runs of a scenario that ships have none where an older
    populace began them. `fingerprint` is the BLAKE2b-128 of the scenario's text in any case. `eras` are those of a
    fork's past. A file that says no `trace_version` is of a run of version 1. `salvaged` are segments of the journal
    that are known to be damaged. `files` are those that the society's code read beside it, each with its digest.
    """

    run: str
    populace: str
    origin: str
    source: str | None
    fingerprint: str
    settings: dict[str, Any]
    parent: Parent | None = None
    eras: list[Era] = []
    trace_version: int = 1
    salvaged: list[str] = []
    files: dict[str, str] = {}

    def read_settings(self) -> Settings:
        """The settings, brought up to date where an older populace wrote them. Raises SettingsError."""
        try:
            return Settings.model_validate_json(msgspec.json.encode(migrated(self.settings)))
        except ValueError as error:
            raise SettingsError(f"{RUN_FILE}: its settings are not ones of this populace: {error}") from None

    @property
    def society(self) -> Origin:
        """Where the society comes from, as it was when the run began."""
        return Origin(self.origin, self.source)


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """What stands behind a run: nothing (it is fresh), itself (it is gone on with), or another's journal.

    A run that is gone on with begins at its newest checkpoint. A replay calls no model and keeps no record; it begins
    at the state `standing`, where there is one. The first
    ticks must give the trace hashes `expected`, and should give the world's hashes `expected_world`: see `core.trace`.
    A fork with a `graft` takes its parent's state over where that is good, and recomputes it from tick 0 where not.
    """

    file: RunFile
    resumed: bool = False
    replay: bool = False
    pasts: tuple[Past, ...] = ()
    expected: tuple[str, ...] = ()
    expected_world: WorldHashes = WorldHashes()
    graft: Graft | None = None
    standing: RunState | None = None


def fresh_course(origin: Origin, settings: Settings) -> Course:
    """A run with nothing behind it."""
    return Course(file=run_file(origin, settings))


def run_file(
    origin: Origin,
    settings: Settings,
    parent: Parent | None = None,
    eras: Sequence[Era] = (),
    trace_version: int = TRACE_VERSION,
) -> RunFile:
    """What `run.json` of a new run will hold; a fork has its parent's `trace_version`."""
    return RunFile(
        run=new_run_id(),
        populace=version("populace"),
        origin=origin.name,
        source=origin.source,
        fingerprint=fingerprint(origin),
        settings=kept_settings(settings),
        parent=parent,
        eras=list(eras),
        trace_version=trace_version,
        files=files_read(origin),
    )


def kept_settings(settings: Settings) -> dict[str, Any]:
    """Settings as `run.json` holds them. Files are named whole: a run may be gone on with from another folder."""
    surveys = [
        one.model_copy(update={"instrument": str(Path(one.instrument).absolute())})
        if one.instrument.endswith(".toml")
        else one
        for one in settings.surveys
    ]
    settings = settings.model_copy(update={"surveys": tuple(surveys)})
    budget = settings.budget
    if budget.ledger is not None:
        budget = budget.model_copy(update={"ledger": budget.ledger.absolute()})
        settings = settings.model_copy(update={"budget": budget})
    return named_whole(settings).model_dump(mode="json")


def fingerprint(origin: Origin) -> str:
    """BLAKE2b-128 of a scenario's text, in hexadecimal digits; of a module's file as it is now."""
    text = origin.source.encode() if origin.source is not None else b""
    if origin.source is None:
        spec = importlib.util.find_spec(parted(origin.name)[0])
        if spec is not None and spec.origin is not None:
            text = Path(spec.origin).read_bytes()
    return blake2b(text, digest_size=16).hexdigest()


def new_run_id() -> str:
    """A name for a run that no other has: 16 hexadecimal digits."""
    return os.urandom(8).hex()


def write_endpoint_forms(folder: Path, known: dict[str, EndpointForm]) -> None:
    """Keep what a run has learnt of its model's endpoints. Raises StorageError."""
    write_whole(folder / ENDPOINTS, msgspec.json.format(msgspec.json.encode(known), indent=2) + b"\n")


def read_endpoint_forms(folder: Path) -> dict[str, EndpointForm]:
    """What a run's attempts so far have learnt of its model's endpoints; nothing where that cannot be read.

    It is learnt again then, at the price of some calls that are refused.
    """
    try:
        return msgspec.json.decode((folder / ENDPOINTS).read_bytes(), type=dict[str, EndpointForm])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def write_run_file(folder: Path, file: RunFile) -> None:
    """Write `run.json`. Raises StorageError, and SettingsError where the folder is not this run's."""
    make_folder(folder)
    if not (folder / RUN_FILE).exists() or read_run_file(folder).run != file.run:
        check_new(folder, empty=False)
    write_whole(folder / RUN_FILE, msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n")


def read_run_file(folder: Path) -> RunFile:
    """Read `run.json`. Raises SettingsError, naming the file, where there is none or it is not one."""
    path = folder / RUN_FILE
    try:
        file = msgspec.json.decode(path.read_bytes(), type=RunFile)
    except FileNotFoundError:
        what = "Give the folder that a run was told with --out."
        if (folder / "outcomes.parquet").exists():  # what `populace export` writes has tables, and is no run
            what = (
                "A copy for publication is no run any more: read its tables as files, "
                f"pandas.read_parquet({str(folder / 'outcomes.parquet')!r})."
            )
        elif held := sorted(one.parent for one in folder.glob(f"*/{RUN_FILE}")):
            what = (
                f"It is a folder of runs: give one of them, such as {held[0]}. `populace watch --page` shows them all."
            )
        raise SettingsError(f"{path}: there is no such file. {what}") from None
    except NotADirectoryError:
        raise SettingsError(
            f"{folder}: is a file. Give a run's folder, which `populace run` names in its last lines."
        ) from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}).") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is not what populace wrote: {error}. Put a good copy back.") from None
    if not 1 <= file.trace_version <= TRACE_VERSION:
        raise SettingsError(
            f"{path}: the run is of trace version {file.trace_version}, and this populace computes versions 1 to "
            f"{TRACE_VERSION}. Use the populace that began it, {file.populace}."
        )
    return file


class Store:
    """The journal and checkpoints of one run, as its coordinator uses them.

    `due` says whether a checkpoint is to be saved at the edge before `tick`. `journal_place` is how processes on any
    machine are told of the journal: its folder, or an address where the run's folder has one (`remote`).
    """

    def __init__(
        self, folder: Path, run: str, settings: Settings, remote: str | None = None, salvaged: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self._salvaged = list(salvaged)
        self.journal_place = str(folder / JOURNAL) if remote is None else journal_place(remote)
        self.run = run
        self._every_ticks = settings.checkpoint.every_ticks
        self._every_s = settings.checkpoint.every_s
        self._keep = settings.checkpoint.keep
        self._kept_at = frozenset(settings.checkpoint.kept_at)
        self._checkpoints: Checkpoints | None = None
        self._last_tick = 0
        self._last_s = time.monotonic()
        self._took_s = 0.0
        self._frozen_s: float | None = None
        """When the save that is under way was begun."""
        self._attempt = -1
        self.saved_bytes = 0
        """How many bytes `save` has written so far."""
        self.skipped: tuple[str, ...] = ()

    @property
    def journal(self) -> Path:
        """The journal's folder."""
        return self.folder / JOURNAL

    def next_attempt(self) -> int:
        """A number above all attempts so far. Raises StorageError."""
        self._attempt = max(next_attempt(self.journal), after_batches(self.journal), self._attempt + 1)
        return self._attempt

    def latest(self) -> RunState | None:
        """The newest state that is good, or None where the run has to begin again, from its journal.

        `skipped` then says which were not good, and why: also where parts of the tables that it counts on are lost.
        Where it was to be kept for good, and a kill came between, it is kept now. Raises StorageError, also where the
        checkpoints are another run's.
        """
        folder = self.folder / CHECKPOINTS
        self.skipped = ()
        self._checkpoints = self._frozen_s = None
        if not folder.exists():
            return None
        try:
            found = latest(folder, run=self.run)
        except CheckpointDamaged as error:
            self.skipped = (str(error),)
            return None
        if found is None:
            return None
        self.skipped = found.skipped
        state = from_blocks(found.tick, found.blocks)
        if lost := lost_parts(self.folder, state.parts, state.rows or {}):
            self.skipped = (*self.skipped, *(f"{what}. The run is recomputed from its journal" for what in lost))
            return None
        if self.keeps(state.tick):
            self.saved_bytes += keep(self.folder, self.run, state.tick, to_blocks(state))
        self._last_tick = state.tick
        self._attempt = max(self._attempt, *(at.attempt for at in state.positions), -1)
        return state

    def past(self, state: RunState | None, before: int | None = None) -> Past:
        """The run's own journal, from a state on, as written by the attempts `before` one, or by all."""
        since = [] if state is None else state.positions
        return Past(self.journal_place, self.run, own=True, since=since, before=before, salvaged=self._salvaged)

    @property
    def checkpoints(self) -> Path:
        """The checkpoints' folder."""
        return self.folder / CHECKPOINTS

    @property
    def whole(self) -> bool:
        """Whether the next save must hold the whole state."""
        return self._checkpoints is None or self._checkpoints.whole

    def next_generation(self) -> int:
        """The number of the generation that `save` writes next. Raises StorageError."""
        return self._opened().next_number

    def due(self, tick: int) -> bool:
        """Whether enough ticks or seconds have passed since the last save, or a checkpoint is to be kept here."""
        if self.keeps(tick):
            return True
        if self._every_ticks is not None:
            return tick - self._last_tick >= self._every_ticks
        if self._every_s is None or self._frozen_s is not None:
            return False
        return time.monotonic() - self._last_s >= max(self._every_s, _COST_SHARE * self._took_s)

    def keeps(self, tick: int) -> bool:
        """Whether a checkpoint before `tick` is to be kept for good, and none is yet."""
        return tick in self._kept_at and tick not in kept_ticks(self.folder)

    def freeze(self, tick: int, world: dict[str, Any]) -> dict[str, Frozen | Rows]:
        """The world's state before `tick`, for the next `save`: what becomes of it until then changes nothing of it.

        Raises StorageError.
        """
        self._last_tick, self._frozen_s = tick, time.monotonic()
        return self._opened().freeze(world_blocks(world))

    def save(self, state: RunState, world: Mapping[str, Frozen | Rows], pieces: Sequence[Piece] = ()) -> None:
        """Save a state, or what is no part of the `pieces` that hosts have written of it.

        Its `world` is as it was frozen, and stands in the place of the state's own.

        Raises StorageError; then the one before is as it was. May run in a thread, while the run goes on.
        """
        began_s = time.monotonic() if self._frozen_s is None else self._frozen_s
        blocks: dict[str, Block | Frozen] = {**to_blocks(msgspec.structs.replace(state, world={}))}
        del blocks["world"]
        blocks.update(world)
        saved = self._opened().save(state.tick, blocks, pieces=pieces)
        self.saved_bytes += saved.written_bytes
        if self.keeps(state.tick):
            if pieces:
                blocks = {**to_blocks(from_blocks(state.tick, load(saved.path, run=self.run).blocks))}
            self.saved_bytes += keep(self.folder, self.run, state.tick, blocks)
        self._last_s, self._frozen_s = time.monotonic(), None
        self._took_s = self._last_s - began_s

    def _opened(self) -> Checkpoints:
        if self._checkpoints is None:
            self._checkpoints = Checkpoints(self.checkpoints, run=self.run, keep=self._keep)
        return self._checkpoints

    def discard(self) -> None:
        """Remove the checkpoints of a run that is complete; its journal stays."""
        remove_own(self.folder / CHECKPOINTS)
