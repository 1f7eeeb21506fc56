"""A run's folder in an object store: written on this machine first, uploaded at ticks' edges. Shell: files, S3.

A remote folder has one staging folder in the user's cache, and a run works in that as in any folder. `Mirror.push`
uploads what is new or grew, in an order in which a reader of the remote folder never finds a checkpoint that refers
to something missing: journals, tables and their parts, checkpoints from the oldest, small files; last it deletes
what is gone here. `Mirror.pull` fetches the other way round. Of a journal's segment that is still written, what is
there is uploaded, again at each push (S3 cannot append); one that has ended goes up once.

On a cluster each shard writes its journal in its own process, on its own machine: it has a mirror of its own, which
includes nothing else. Two runs at once in one remote folder are refused on one machine; on two machines, at the next
push, where something that this mirror had put was put by another; a run owns its folder by a lease besides (`lease`).
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec

from populace.core.errors import SettingsError, StorageError
from populace.files import cache_folder
from populace.store.control import CONTROL
from populace.store.lock import is_locked, lock_soon
from populace.store.remote.lease import OWNER, Lease, lease_store
from populace.store.remote.objects import PATIENCE_S, Missing, Object, ObjectStore, check_address, checksums, endpoint
from populace.store.storage import make_folder, naming

REMOTE_SEGMENT_BYTES: Final = 8 * 2**20
"""How long a journal's segment should become in a remote run: the one that grows is uploaded again each time."""

RECORD: Final = (
    "run.json", "manifest.json", "endpoints.json", "progress.jsonl", "journal/*", "checkpoints/*", "parts/*"
)  # fmt: skip
"""What resume, replay and fork read of a run, and what it goes on telling: all but its finished tables."""

SHOWN: Final = (*RECORD, "*.parquet", "probes/*", "controlled.json")
"""What a page shows of a run."""

BATCHES: Final = ".batches"
"""How files end that say which batches are out (`journal.batches`)."""
_JOURNAL: Final = "/journal"
JOURNALS: Final = ("journal/*",)
_STAGES: Final = (JOURNALS, ("*.parquet", "parts/*"), ("checkpoints/*",))
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")
_TABLES: Final = 1
_THREADS: Final = 8
_LISTINGS: Final = 4


class Pushed(msgspec.Struct, frozen=True):
    """What a push did: the names of files, in order, and how many bytes went up."""

    uploaded: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    uploaded_bytes: int = 0


class _Known(msgspec.Struct, frozen=True):
    """A file here that is the same as an object there."""

    size: int
    mtime_ns: int
    remote: Object


def is_remote(place: str | os.PathLike[str]) -> bool:
    """Whether a run's folder is named by an address, such as `s3://bucket/folder`."""
    return _ADDRESS.match(str(place)) is not None


def staging_folder(remote: str) -> Path:
    """The folder on this machine for a remote one: below the user's cache (or POPULACE_CACHE). Raises SettingsError.

    It differs by S3 endpoint too, where the environment names one.
    """
    address = check_address(remote)
    mark = blake2b(f"{endpoint()}\n{address}".encode(), digest_size=6).hexdigest()
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", address.rpartition("/")[2])[:40]
    return cache_folder() / "runs" / f"{name}-{mark}"


def local_folder(place: str | Path, patterns: Sequence[str] = RECORD) -> Path:
    """A run's folder to read: itself, or the staging folder of a remote one once these files are fetched.

    Where a run on this machine works in the staging folder right now, it is ahead of the remote one and is read as it
    is. Raises SettingsError, StorageError.
    """
    if not is_remote(place):
        return Path(place)
    mirror = Mirror(str(place))
    if not is_locked(mirror.lock_file):
        mirror.pull(*patterns)
    return mirror.local


def past_journal(place: str) -> Path:
    """The same for the journal of a run that was, named as by `journal_place`."""
    if not is_remote(place):
        return Path(place)
    return local_folder(run_of(place), JOURNALS) / "journal"


def own_journal(place: str) -> Path:
    """Where a process on this machine writes to the journal that is named so. Raises SettingsError."""
    return staging_folder(run_of(place)) / "journal" if is_remote(place) else Path(place)


def journal_place(remote: str) -> str:
    """How a remote run's journal is named in a job, for processes on any machine."""
    return check_address(remote) + _JOURNAL


def run_of(place: str) -> str:
    """The remote folder of the run whose journal is named so."""
    return place.removesuffix(_JOURNAL)


def shard_mirror(place: str | None, shard: int) -> Mirror | None:
    """What a shard uploads its own journal with; None where that is in a plain folder."""
    if place is None or not is_remote(place):
        return None
    return Mirror(run_of(place), include=(f"journal/s{shard:04}-*",))


class Mirror:
    """One remote folder and its folder here. `include` are patterns of names relative to these, for what is uploaded.

    Raises SettingsError for an address that cannot be used, or where s3fs is not installed.
    """

    def __init__(self, remote: str, local: Path | None = None, *, include: Sequence[str] = ("*",)) -> None:
        self.store = ObjectStore(remote)
        self.remote = self.store.address
        self.local = staging_folder(remote) if local is None else local
        self.include = tuple(include)
        self._busy = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._lock: int | None = None
        self.lease: Lease | None = None
        """What makes sure that nobody else works there, while a run does; see `owned`."""

    @property
    def lock_file(self) -> Path:
        """The file that is locked while a run works in the staging folder; its process's id stands in it."""
        return self.local.with_name(f"{self.local.name}.lock")

    @property
    def _done_file(self) -> Path:
        return self.local.with_name(f"{self.local.name}.uploaded")

    @contextmanager
    def held(self) -> Iterator[Mirror]:
        """Keep the staging folder for one run. Raises StorageError where another run on this machine has it."""
        make_folder(self.local.parent)
        with naming(self.lock_file, "opened"):
            descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not lock_soon(descriptor):
                holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "another process"
                raise StorageError(
                    f"{self.remote}: process {holder} on this machine is working in it already. Wait for it or end it."
                )
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            self._lock = descriptor
            yield self
        finally:
            self._lock = None
            os.close(descriptor)

    @contextmanager
    def owned(self, say: Callable[[str], None] = lambda _: None) -> Iterator[Mirror]:
        """Own the remote folder while the staging folder is held. Raises StorageError where another run is at work.

        The last owner that had the same staging folder is gone: it held that.
        """
        lease, last = Lease(lease_store(self.remote)), self.local.with_name(f"{self.local.name}.owner")
        with naming(last, "read"):
            dead = last.read_text() if last.exists() else ""
        lease.take(dead, say)
        try:
            with naming(last, "written"):
                last.write_text(lease.holder)
            self.lease = lease
            yield self
        finally:
            self.lease = None
            lease.release()

    def holds_run(self) -> bool:
        """Whether a run stands there, or here where it was not uploaded to its end. Raises StorageError."""
        if "run.json" in self.store.list():
            return True
        return (self.local / "run.json").exists() and not self._done_file.exists()

    def begin(self) -> None:
        """Make ready for a run that is new. Raises SettingsError where there is one already, there or here.

        The staging folder of a former run that was uploaded to its end is emptied.
        """
        used = [name for name in ("run.json", "manifest.json") if name in self.store.list()]
        if used:
            raise SettingsError(
                f"{self.remote}: holds a run already. Choose another folder with --out, or go on with that run: "
                f"populace resume {self.remote}"
            )
        if self.local.exists() and any(self.local.iterdir()):
            if not self._done_file.exists():
                raise SettingsError(
                    f"{self.local}: holds files of a run that were not all uploaded to {self.remote}, where no run is "
                    f"now. Go on with it (populace resume {self.remote}), or remove that folder."
                )
            with naming(self.local, "emptied"):
                shutil.rmtree(self.local)
        self._done_file.unlink(missing_ok=True)

    def pull(self, *patterns: str) -> list[str]:
        """Fetch what fits these patterns (all, where there are none) and is not here yet; the names of it.

        A segment of a journal that is longer here stays: it has answers that were not uploaded. One that is another
        than the remote one is set aside (`.aside`), as nothing is ever lost; other files are overwritten. Raises
        StorageError, and where the folder here is another run's.
        """
        make_folder(self.local)
        with self._busy, self._alone():
            for _ in range(_LISTINGS):
                wanted = {name: at for name, at in self.store.list().items() if _fits(name, patterns or ("*",))}
                there = {name: at for name, at in wanted.items() if name != OWNER}
                if "run.json" in there:
                    self._same_run()
                # The other way round than a push: whatever a checkpoint refers to was there before it.
                ordered = sorted(there, key=_stage, reverse=True)
                try:
                    with ThreadPoolExecutor(_THREADS) as pool:
                        fetched = list(pool.map(partial(self._fetch, there), ordered))
                except Missing:
                    continue  # a run is pushing there right now, and it deleted something: look again
                return [name for name, new in zip(ordered, fetched, strict=True) if new]
        raise StorageError(f"{self.remote}: changes faster than it can be fetched. Try again once its run has ended.")

    def push(
        self, *, only: Sequence[str] = ("*",), without: Sequence[str] = (), patience_s: float | None = None
    ) -> Pushed:
        """Upload what is new or grew, of `only` but for `without`, then delete there what it knew and is gone here.

        A store that fails for the moment is tried again for `patience_s`. Raises StorageError, naming the object; then
        what is here is whole, and the next push goes on from where this one came to.
        """
        if self.lease is not None:
            self.lease.check()
        with self._busy:
            self.store.patience_s = PATIENCE_S if patience_s is None else patience_s
            return self._push(only, without)

    def _push(self, only: Sequence[str], without: Sequence[str]) -> Pushed:
        here = self._look_here().items()
        sizes = {name: about for name, about in here if _fits(name, only) and not _fits(name, without)}
        there = self.store.list()
        new = [name for name in sizes if not self._is_there(name, sizes[name], there.get(name))]
        new.sort(key=lambda name: (_stage(name), name))
        known = [name for name in self._known if _fits(name, only)]
        gone = [name for name in known if name not in sizes and not (self.local / name).exists()]
        gone.sort(key=lambda name: (_stage(name), name), reverse=True)
        with ThreadPoolExecutor(_THREADS) as pool:
            for stage, names in groupby(new, _stage):
                # A segment goes up after those before it, and so does a checkpoint; tables know no order.
                each = pool.map if stage == _TABLES else map
                list(each(partial(self._put, sizes), names))
            for stage, names in groupby(gone, _stage):
                each = pool.map if stage == _TABLES else map
                list(each(self._delete, names))
        return Pushed(tuple(new), tuple(gone), sum(sizes[name][0] for name in new))

    def _put(self, sizes: dict[str, tuple[int, int]], name: str) -> None:
        self._known[name] = _Known(*sizes[name], self.store.put(name, self.local / name, sizes[name][0]))

    def _delete(self, name: str) -> None:
        self.store.delete([name])
        del self._known[name]

    def finish(self, *, patience_s: float | None = None) -> Pushed:
        """The last push of a run: the staging folder holds nothing then that is not there too."""
        pushed = self.push(patience_s=patience_s)
        with naming(self._done_file, "written"):
            self._done_file.touch()
        return pushed

    def resume(self) -> None:
        """Make ready for a run that is gone on with: fetch all that it needs. Raises StorageError."""
        self._done_file.unlink(missing_ok=True)
        self.pull(*RECORD)

    def _look_here(self) -> dict[str, tuple[int, int]]:
        """The files that are to be there, with their lengths and times.

        What a checkpoint refers to was written before it, so the checkpoints are listed before the rest; and all
        names before any length, so that a segment with a successor is whole.
        """
        names: list[str] = []
        for folder in ("checkpoints", "."):
            base = self.local / folder
            with naming(base, "listed"):
                for path in sorted(base.rglob("*")) if base.exists() else ():
                    name = path.relative_to(self.local).as_posix()
                    if folder == "." and name.startswith("checkpoints/"):
                        continue
                    if path.is_file() and self._mine(name):
                        names.append(name)
        found = {}
        for name in names:
            with naming(self.local / name, "read"):
                about = (self.local / name).stat()
            found[name] = (about.st_size, about.st_mtime_ns)
        return found

    def _mine(self, name: str) -> bool:
        hidden = any(step.startswith(".") for step in name.split("/"))
        unfinished = name.endswith((".part", ".aside", ".tmp"))
        # What is asked of the run is asked here, where it works, and goes once it is done.
        own = name in (OWNER, CONTROL) or name.endswith(BATCHES)  # those go up as they are written
        return not hidden and not unfinished and not own and _fits(name, self.include)

    def _is_there(self, name: str, here: tuple[int, int], there: Object | None) -> bool:
        """Whether a file needs no upload. Raises StorageError where another run writes the same object."""
        known = self._known.get(name)
        if there is None:
            return False
        if known is not None and known.remote == there:
            return (known.size, known.mtime_ns) == here
        if known is not None and not (_fits(name, JOURNALS) and there.size > known.size):
            raise self._another(name)
        size = here[0]
        if _fits(name, JOURNALS) and there.size > size:
            return True  # another machine's shard wrote it, and it grew since it was fetched
        fits = checksums(self.local / name, size).fits(there.etag) if there.size == size else False
        if fits:
            self._known[name] = _Known(*here, there)
        elif fits is False and name.startswith("checkpoints/"):
            raise self._another(name)
        return bool(fits)

    def _another(self, name: str) -> StorageError:
        return StorageError(
            f"{self.remote}/{name}: was put there by another run or process. Only one may work in a folder: end the "
            f"other, then resume. What this one has is in {self.local}."
        )

    def _fetch(self, there: dict[str, Object], name: str) -> bool:
        """Fetch one file, unless it is here; whether it was fetched."""
        if not _is_plain(name):
            raise StorageError(f"{self.remote}/{name}: is no name of a run's file. Remove that object.")
        path, remote = self.local / name, there[name]
        journal, size = _fits(name, JOURNALS), -1
        if path.exists():
            with naming(path, "read"):
                about = path.stat()
            size = about.st_size
            if size == remote.size or (journal and size > remote.size):
                fits = checksums(path, remote.size).fits(remote.etag)
                if fits and size == remote.size:
                    self._known[name] = _Known(size, about.st_mtime_ns, remote)
                if fits or (journal and fits is None):
                    return False
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        make_folder(path.parent)
        try:
            got = self.store.get(name, part)
            if journal and size >= 0 and not (size < got.size and _begins_with(part, path, size)):
                path.rename(_free(path))
            with naming(path, "written"):
                part.replace(path)
                about = path.stat()
        finally:
            part.unlink(missing_ok=True)
        self._known[name] = _Known(about.st_size, about.st_mtime_ns, got)
        return True

    def _same_run(self) -> None:
        """Raises StorageError where the folder here holds another run's files than the remote one."""
        here = self.local / "run.json"
        if not here.exists():
            return
        part = here.with_name(f".run.json.{os.getpid()}.part")
        try:
            self.store.get("run.json", part)
            mine, other = (_run_in(path) for path in (here, part))
        finally:
            part.unlink(missing_ok=True)
        if mine != other:
            raise StorageError(
                f"{self.local}: holds run {mine}, and {self.remote} holds run {other}. Move that folder away, or "
                "remove it."
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One pull at a time into one folder on this machine."""
        import fcntl

        path = self.local.with_name(f"{self.local.name}.pulling")
        with naming(path, "opened"):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _stage(name: str) -> int:
    """When it is uploaded: a later stage may refer to an earlier one."""
    for stage, patterns in enumerate(_STAGES):
        if _fits(name, patterns):
            return stage
    return len(_STAGES) if name.endswith(".json") else _TABLES


def _is_plain(name: str) -> bool:
    return all(step not in ("", ".", "..") and "\\" not in step and "\0" not in step for step in name.split("/"))


def _begins_with(longer: Path, shorter: Path, size: int) -> bool:
    return checksums(longer, size).md5 == checksums(shorter, size).md5


def _free(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.{number}.aside")).exists():
        number += 1
    return aside


def _run_in(path: Path) -> str:
    class Named(msgspec.Struct):
        run: str

    try:
        return msgspec.json.decode(path.read_bytes(), type=Named).run
    except (OSError, msgspec.MsgspecError) as error:
        raise StorageError(f"{path}: cannot be read: {error}. Remove it.") from None
