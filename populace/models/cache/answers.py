"""Answers kept on disk by their content, for several processes at once, and asks in flight that share one call.

What counts as the same answer is said in `populace.models.cache.keys`.

The store is one SQLite file in WAL mode: a batch is one transaction, so a killed process leaves all of it or none;
the first answer stored for a key stays, whoever else comes. Each row carries a checksum over key and content: a row
that fails it is no answer, but a miss. A file that is damaged beyond reading is moved aside, never deleted, and the
cache starts anew; a file that never was a cache is an error and stays as it is. Not for network file systems, whose
locks SQLite can't trust.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from hashlib import blake2b
from itertools import count, islice
from pathlib import Path
from typing import Final, Generic, Self, TypeVar

import msgspec

from populace.core.errors import SettingsError

T = TypeVar("T")

_APPLICATION: Final = 0x706F7063  # 'popc'
_VERSION: Final = 1
_MAGIC: Final = b"SQLite format 3\x00"
_CHUNK: Final = 500
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """An answer as it is kept: its text, and what it cost when it was made."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0


class Cache:
    """The store on disk. Open it in the process that uses it; a context manager.

    `bad_rows` counts rows that failed their checksum, `moved_aside` names the damaged files moved away. Raises
    SettingsError where the file is not a cache of this version or can't be opened.
    """

    def __init__(self, path: Path, busy_s: float = 30.0) -> None:
        self.path = path
        self.bad_rows = 0
        self.moved_aside: list[Path] = []
        self._busy_s = busy_s
        self._db = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was put is there already."""
        self._db.close()

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Kept]:
        """The answers kept for these keys; those without one are left out."""
        try:
            return self._get(keys := list(keys))
        except sqlite3.DatabaseError as error:
            self._recover(error)
            return self._get(keys)

    def put(self, answers: Mapping[bytes, Kept]) -> dict[bytes, Kept]:
        """Keep these answers, in one transaction, and give those that stand: the first kept for a key wins.

        Hand on what this gives back rather than what was put, and agents that share content share the answer even
        when two processes asked at once. Raises SettingsError when the disk is full or read-only.
        """
        if not answers:
            return {}
        try:
            return self._put(answers)
        except sqlite3.DatabaseError as error:
            self._recover(error)
            return self._put(answers)

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM answers").fetchone()[0])

    def _get(self, keys: Iterable[bytes]) -> dict[bytes, Kept]:
        found: dict[bytes, Kept] = {}
        rest = iter(keys)
        while chunk := list(islice(rest, _CHUNK)):
            marks = ",".join("?" * len(chunk))
            query = f"SELECT key, content, check_ FROM answers WHERE key IN ({marks})"  # noqa: S608 - only marks
            for key, content, check in self._db.execute(query, chunk):
                kept = _read(key, content, check)
                if kept is None:
                    self.bad_rows += 1
                else:
                    found[key] = kept
        return found

    def _put(self, answers: Mapping[bytes, Kept]) -> dict[bytes, Kept]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            standing = self._get(answers)
            # Replaced is only a row that failed its checksum: one that reads well is in `standing`.
            rows = [(key, *_write(key, kept)) for key, kept in answers.items() if key not in standing]
            self._db.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", rows)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return {**answers, **standing}

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _Lock(self.path, self._busy_s):
                return self._open_locked()
        except (OSError, sqlite3.Error) as error:
            raise SettingsError(
                f"{self.path}: the cache cannot be opened ({error}). Check the path and the disk."
            ) from None

    def _open_locked(self) -> sqlite3.Connection:
        if self.path.exists() and self.path.stat().st_size:
            with self.path.open("rb") as file:
                if file.read(len(_MAGIC)) != _MAGIC:
                    raise SettingsError(
                        f"{self.path}: is no answer cache (no SQLite file, or its head is damaged), so it was left as "
                        f"it is. Name another path for the cache, or move the file away."
                    )
        db = self._connect()
        try:
            _prepare(db, self.path)
        except sqlite3.DatabaseError as error:
            db.close()
            if error.sqlite_errorcode & 0xFF not in _DAMAGED:
                raise
            self._move_aside()
            db = self._connect()
            _prepare(db, self.path)
        except BaseException:
            db.close()
            raise
        return db

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=self._busy_s, isolation_level=None, check_same_thread=False)

    def _recover(self, error: sqlite3.DatabaseError) -> None:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code not in _DAMAGED:
            raise SettingsError(
                f"{self.path}: the cache cannot be used ({error}). Is the disk full, or read-only?"
            ) from None
        mine = self.path.stat().st_ino if self.path.exists() else None
        self._db.close()
        with _Lock(self.path, self._busy_s):
            if mine is not None and self.path.exists() and self.path.stat().st_ino == mine:
                self._move_aside()  # else another process was first
            self._db = self._open_locked()

    def _move_aside(self) -> None:
        beside = next(
            path for nth in count(1) if not (path := self.path.with_name(f"{self.path.name}.damaged-{nth}")).exists()
        )
        self.path.rename(beside)
        self.moved_aside.append(beside)
        for end in ("-wal", "-shm"):
            part = self.path.with_name(self.path.name + end)
            if part.exists():
                part.rename(beside.with_name(beside.name + end))


class _Lock:
    """Only one process opens or moves a cache at a time: a lock that SQLite keeps and a dead process loses."""

    def __init__(self, path: Path, busy_s: float) -> None:
        self._path = path.with_name(path.name + ".lock")
        self._busy_s = busy_s

    def __enter__(self) -> None:
        self._db = sqlite3.connect(self._path, timeout=self._busy_s, isolation_level=None)
        try:
            self._db.execute("BEGIN EXCLUSIVE")
        except BaseException:
            self._db.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._db.close()


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    with closing(db.cursor()) as cursor:
        application = cursor.execute("PRAGMA application_id").fetchone()[0]
        version = cursor.execute("PRAGMA user_version").fetchone()[0]
        tables = cursor.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if (tables or application) and (application, version) != (_APPLICATION, _VERSION):
            what = f"version {version}" if application == _APPLICATION else "another program's database"
            raise SettingsError(
                f"{path}: is no answer cache of version {_VERSION} but {what}, so it was left as it is. "
                f"Name another path for the cache, or move the file away."
            )
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")  # safe against killed processes; a power cut may lose a moment
        cursor.execute(f"PRAGMA application_id={_APPLICATION}")
        cursor.execute(f"PRAGMA user_version={_VERSION}")
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, content BLOB NOT NULL, check_ BLOB NOT NULL) "
            "WITHOUT ROWID"
        )


def _check(key: bytes, content: bytes) -> bytes:
    return blake2b(key + content, digest_size=8, person=b"populace.kept1").digest()


def _write(key: bytes, kept: Kept) -> tuple[bytes, bytes]:
    content = msgspec.msgpack.encode(kept)
    return content, _check(key, content)


def _read(key: bytes, content: object, check: object) -> Kept | None:
    if not isinstance(content, bytes) or check != _check(key, content):
        return None
    return msgspec.msgpack.decode(content, type=Kept)


class InFlight(Generic[T]):
    """Identical asks in flight share one call: the first to join a key leads and calls, the others follow. Pure.

    Members are anything that tells one ask from another.
    """

    __slots__ = ("_members",)

    def __init__(self) -> None:
        self._members: dict[bytes, list[T]] = {}

    def join(self, key: bytes, member: T) -> bool:
        """Join; True when the member leads, and so has to make the call."""
        members = self._members.setdefault(key, [])
        members.append(member)
        return len(members) == 1

    def settle(self, key: bytes) -> Sequence[T]:
        """The call ended: all who wait for it, the leader first; the next to join leads again."""
        return self._members.pop(key, [])

    def leave(self, key: bytes, member: T) -> T | None:
        """A member stops waiting. When it led and others follow, gives the one that leads now and has to call.

        Raises ValueError for one that is no member.
        """
        members = self._members.get(key, [])
        led = bool(members) and members[0] == member
        members.remove(member)
        if not members:
            del self._members[key]
        return members[0] if led and members else None

    def __len__(self) -> int:
        return len(self._members)
