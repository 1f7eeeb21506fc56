"""Files in an object store: listed, put, fetched, deleted and verified. The only importer of fsspec.

An address is `s3://bucket/folder`, or any other that fsspec knows. Credentials and endpoint are the library's own
business: it reads them in each process from the environment and from AWS's files (`AWS_ACCESS_KEY_ID`,
`AWS_PROFILE`, `AWS_ENDPOINT_URL_S3`, ...). No address, no error's text and nothing that is kept has any of it.

What is put takes effect whole or not at all (that is how S3 works), and is verified: by its size, and by its ETag,
which is an MD5, or the MD5 of its parts' MD5s. Where a store's ETags are something else (encryption by KMS) the
first object is read back, and after it sizes are compared only: the library's own checksum goes with each request.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from populace.core.errors import SettingsError, StorageError
from populace.store.manifest import redact
from populace.store.storage import naming

T = TypeVar("T")

BLOCK_BYTES: Final = 16 * 2**20
"""What is longer goes up in parts of this size."""

PATIENCE_S: Final = 60.0
"""How long a store that fails for the moment is tried again."""

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0
_SMALL_S: Final = 10.0
"""How long a request for a small object may take."""
_NOT_THAT: Final = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "OperationAborted", "409"})
_MD5: Final = re.compile(r"[0-9a-f]{32}(-\d+)?")
_AGAIN: Final = frozenset({"BadDigest", "IncompleteBody", "RequestTimeout", "XAmzContentSHA256Mismatch"})
_UNKNOWN: Final = frozenset({"NotImplemented", "501"})
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_S3: Final = ("s3", "s3a")


class Object(msgspec.Struct, frozen=True):
    """A file in the store: its length in bytes, and its ETag ('' where the store gives none)."""

    size: int
    etag: str


class Put(msgspec.Struct, frozen=True):
    """What became of a conditional put: the new ETag, or None where another object stands there.

    `heeded`: whether the store is one that heeds conditions.
    """

    etag: str | None
    heeded: bool = True


class Missing(StorageError):
    """There is no such object, or no such bucket."""


class _Garbled(Exception):
    """What arrived is not what was sent."""


def check_address(address: str) -> str:
    """The address in its one spelling. Raises SettingsError for one that cannot be used; no secret is repeated."""
    scheme, _, rest = address.partition("://")
    parts = urlsplit(address)
    if "@" in rest.partition("/")[0]:
        raise SettingsError(
            f"{scheme}://...: credentials do not belong into an address. Put them into the environment "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or into ~/.aws/credentials."
        )
    if parts.query or parts.fragment:
        raise SettingsError(f"{scheme}://{parts.netloc}{parts.path}: an address has no '?' and no '#'.")
    for name in _ENDPOINTS:
        if "@" in urlsplit(os.environ.get(name, "")).netloc:
            raise SettingsError(
                f"{name} holds credentials. Put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead."
            )
    rest = rest.rstrip("/")
    if scheme in _S3:
        bucket, _, folder = rest.partition("/")
        if not bucket or not folder:
            raise SettingsError(f"{address}: name a bucket and a folder in it, as in s3://bucket/runs/first.")
        scheme = "s3"
    if not rest or any(step in ("", ".", "..") for step in rest.lstrip("/").split("/")):
        raise SettingsError(f"{address}: is no folder's address. Write it as in s3://bucket/runs/first.")
    return f"{scheme}://{rest}"


def endpoint() -> str:
    """The S3 endpoint that the environment names; '' for Amazon's own."""
    return next((found for name in _ENDPOINTS if (found := os.environ.get(name))), "")


class Checksums:
    """The ETags that bytes could have, fed in any pieces: as one piece, or in parts of `BLOCK_BYTES`."""

    def __init__(self) -> None:
        self._whole = hashlib.md5(usedforsecurity=False)
        self._part = hashlib.md5(usedforsecurity=False)
        self._parts: list[bytes] = []
        self._in_part = 0

    def update(self, data: bytes) -> None:
        """Take in the next bytes."""
        self._whole.update(data)
        view = memoryview(data)
        while len(view):
            take = view[: BLOCK_BYTES - self._in_part]
            self._part.update(take)
            self._in_part += len(take)
            view = view[len(take) :]
            if self._in_part == BLOCK_BYTES:
                self._end_part()

    @property
    def md5(self) -> str:
        """The MD5 of all of it, in hexadecimal digits."""
        return self._whole.hexdigest()

    def _end_part(self) -> None:
        self._parts.append(self._part.digest())
        self._part = hashlib.md5(usedforsecurity=False)
        self._in_part = 0

    def fits(self, etag: str) -> bool | None:
        """Whether an object with this ETag has these bytes; None where the ETag does not say."""
        if not _MD5.fullmatch(etag):
            return None
        if "-" not in etag:
            return self.md5 == etag
        parts = [*self._parts, self._part.digest()] if self._in_part else self._parts
        if etag.rpartition("-")[2] != str(len(parts)):
            return None  # put there by another program, in parts of another size
        return hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest() == etag.partition("-")[0]


def checksums(path: Path, size: int) -> Checksums:
    """That of the first `size` bytes of a file. Raises StorageError."""
    found = Checksums()
    with naming(path, "read"), path.open("rb") as file:
        left = size
        while left and (data := file.read(min(left, 2**20))):
            found.update(data)
            left -= len(data)
    return found


class ObjectStore:
    """The objects below one address, by their names relative to it. Blocks; any thread may call.

    Every method raises StorageError, naming the object and the next step: at once for what will not mend by itself
    (no such bucket, no right to it), after `patience_s` for what may.
    """

    def __init__(self, address: str) -> None:
        self.address = check_address(address)
        self.patience_s = PATIENCE_S
        self._etags_tell = True
        self._whole_puts = self.address.startswith("s3:")
        self._fs, self._root = _connect(self.address)
        self._root = self._root.rstrip("/")

    def list(self, folder: str = "") -> dict[str, Object]:
        """What is there, sorted by name, in the whole of it or in one folder of it."""
        at = f"{self._root}/{folder}".rstrip("/")
        try:
            found = self._patiently(folder, "listed", lambda: self._fs.find(at, detail=True))
        except Missing:
            if self.address.startswith("s3:"):
                raise
            return {}
        objects = {}
        for path, about in found.items():
            if about.get("type") != "directory" and path.startswith(f"{self._root}/"):
                objects[path[len(self._root) + 1 :]] = _object(about)
        return dict(sorted(objects.items()))

    def put(self, name: str, path: Path, size: int) -> Object:
        """Put the first `size` bytes of a file, and verify what arrived."""
        return self._patiently(name, "uploaded", lambda: self._put(name, path, size))

    def get(self, name: str, path: Path) -> Object:
        """Fetch an object into a file, verified, which may exist. Raises Missing where the object is gone."""
        return self._patiently(name, "fetched", lambda: self._get(name, path))

    def read(self, name: str) -> tuple[bytes | None, str]:
        """All of a small object, and its ETag in quotes; None and '' where there is none. S3 only."""
        try:
            return self._patiently(name, "fetched", lambda: self._read(name))
        except Missing:
            return None, ""

    def replace(self, name: str, data: bytes, etag: str) -> bool:
        """Put a small object in the place of the one with this ETag ('': of none), in one step; False for another.

        False too where nobody knows whether it was this call that did it. S3 only, and stores that know `If-Match` and
        `If-None-Match` in a PUT.
        """
        where = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}

        def put() -> bool:
            try:
                self._call_s3("put_object", name, Body=data, **where)
            except Exception as error:
                if _code(error) in _NOT_THAT:
                    return False
                raise
            return True

        try:
            return self._patiently(name, "written", put)
        except Missing:  # it was deleted meanwhile
            if etag:
                return False
            raise

    def _read(self, name: str) -> tuple[bytes, str]:
        from fsspec.asyn import sync

        found = self._call_s3("get_object", name)
        return sync(self._fs.loop, found["Body"].read, timeout=_SMALL_S), str(found["ETag"])

    def _call_s3(self, method: str, name: str, **how: Any) -> Any:
        bucket, _, key = self._path(name).partition("/")
        return self._fs.call_s3(method, Bucket=bucket, Key=key, timeout=_SMALL_S, **how)

    def find(self, name: str) -> tuple[bytes, str] | None:
        """A small object's bytes and its ETag; None where there is none."""

        def once() -> tuple[bytes, str]:
            self._fs.invalidate_cache()
            before, data = _object(self._fs.info(self._path(name))), self._fs.cat_file(self._path(name))
            if before != _object(self._fs.info(self._path(name))):
                raise _Garbled("it changed while it was read")
            return data, before.etag

        try:
            return self._patiently(name, "read", once)
        except Missing:
            if self.address.startswith("s3:"):
                self.list()  # raises where the bucket is what is missing
            return None

    def put_if(self, name: str, data: bytes, etag: str | None) -> Put:
        """Put a small object in the place of that with this ETag, or of none (None).

        A store other than S3 knows no conditions: it is looked first, which does not hold against others.
        """
        return self._patiently(name, "uploaded", lambda: self._put_if(name, data, etag))

    def _put_if(self, name: str, data: bytes, etag: str | None) -> Put:
        target = self._path(name)
        if not self._whole_puts:
            self._fs.invalidate_cache()
            there = _object(self._fs.info(target)).etag if self._fs.exists(target) else None
            if there != etag:
                return Put(None, heeded=False)
            self._fs.pipe_file(target, data)
            return Put(_object(self._fs.info(target)).etag, heeded=False)
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        try:
            given = self._fs.pipe_file(target, data, **condition)
        except Exception as error:
            code = _code(error)
            if code in _NOT_THAT or (etag is not None and code in ("NoSuchKey", "404")):
                return Put(None)
            if code in _UNKNOWN:
                return Put(str(self._fs.pipe_file(target, data).get("ETag", "")).strip('"'), heeded=False)
            raise
        return Put(str(given["ETag"]).strip('"'))

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; those that are gone are no error."""
        for name in names:
            try:
                self._patiently(name, "deleted", partial(self._fs.rm_file, self._path(name)))
            except Missing:
                continue

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _put(self, name: str, path: Path, size: int) -> Object:
        marks = Checksums()
        target = self._path(name)
        with naming(path, "read"):
            file = path.open("rb")
        with file:
            if size <= BLOCK_BYTES and self._whole_puts:
                data = _read(file, path, size)
                marks.update(data)
                self._fs.pipe_file(target, data)
            else:
                self._put_parts(file, path, size, target, marks)
        found = _object(self._fs.info(target))
        if found.size != size:
            raise _Garbled(f"{found.size} bytes arrived of {size}")
        fits = marks.fits(found.etag)
        if fits is False and self._etags_tell:
            if self._read_back(target).md5 != marks.md5:
                raise _Garbled("what arrived differs from what was sent")
            self._etags_tell = False
        return found

    def _put_parts(self, file: Any, path: Path, size: int, target: str, marks: Checksums) -> None:
        """The same in parts; nothing is there before `commit`."""
        out = self._fs.open(target, "wb", block_size=BLOCK_BYTES, autocommit=False)
        try:
            left = size
            while left:
                data = _read(file, path, min(left, BLOCK_BYTES))
                marks.update(data)
                out.write(data)
                left -= len(data)
            out.close()
            out.commit()
        except BaseException:
            with suppress(Exception):
                out.close()
            with suppress(Exception):
                out.discard()
            raise

    def _read_back(self, target: str) -> Checksums:
        marks = Checksums()
        with self._fs.open(target, "rb", block_size=BLOCK_BYTES) as file:
            while data := file.read(2**20):
                marks.update(data)
        return marks

    def _get(self, name: str, path: Path) -> Object:
        source = self._path(name)
        about = _object(self._fs.info(source))
        self._fs.get_file(source, str(path))
        with naming(path, "read"):
            size = path.stat().st_size
        if size != about.size or (self._etags_tell and checksums(path, size).fits(about.etag) is False):
            after = _object(self._fs.info(source))
            if after != about:
                raise _Garbled("it changed while it was fetched")
            if size != about.size:
                raise _Garbled(f"{size} bytes arrived of {about.size}")
            if self._read_back(source).md5 != checksums(path, size).md5:
                raise _Garbled("what arrived differs from what is there")
        return about

    def _patiently(self, name: str, doing: str, call: Callable[[], T]) -> T:
        until_s = time.monotonic() + self.patience_s
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return call()
            except StorageError:
                raise
            except Exception as error:  # what may come depends on the store's library
                wait_s = pause_s * random.uniform(0.5, 1.0)  # noqa: S311  # so that shards do not come back at once
                if _is_final(error) or time.monotonic() + wait_s > until_s:
                    raise self._failure(error, name, doing) from error
                time.sleep(wait_s)
                pause_s = min(2.0 * pause_s, _LONGEST_PAUSE_S)

    def _failure(self, error: Exception, name: str, doing: str) -> StorageError:
        where = f"{self.address}/{name}".rstrip("/")
        why = redact(" ".join(str(error).split())[:400]) or type(error).__name__
        kind = type(error).__name__
        if isinstance(error, FileNotFoundError):
            return Missing(f"{where}: cannot be {doing}: {why}. Check that the bucket exists and how it is spelled.")
        if isinstance(error, PermissionError) or kind in ("NoCredentialsError", "PartialCredentialsError"):
            return StorageError(
                f"{where}: cannot be {doing}: {why}. Check the credentials (AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE) and that they may list, read, write and delete there."
            )
        return StorageError(
            f"{where}: cannot be {doing}: {why}. Check that the store can be reached (AWS_ENDPOINT_URL_S3 where it is "
            "not Amazon's) and try again."
        )


def _connect(address: str) -> tuple[Any, str]:
    scheme = address.partition("://")[0]
    extra = "pip install 'populace[s3]'"
    try:
        import fsspec
    except ImportError:
        raise SettingsError(f"{address}: a run's folder in a store needs s3fs. Install it: {extra}") from None
    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    if scheme == "s3":
        config = {"connect_timeout": 5, "read_timeout": 30, "retries": {"mode": "standard", "max_attempts": 2}}
        options.update(fixed_upload_size=True, config_kwargs=config)
    elif scheme == "file":
        options = {"auto_mkdir": True}
    elif scheme == "memory":
        options = {}
    try:
        fs, root = fsspec.core.url_to_fs(address, **options)
    except ImportError as error:
        what = f"s3fs. Install it: {extra}" if scheme == "s3" else f"another package: {error}"
        raise SettingsError(f"{address}: needs {what}") from None
    except ValueError as error:
        raise SettingsError(f"{address}: {error}. Write it as in s3://bucket/runs/first.") from None
    return fs, str(root)


def _object(about: dict[str, Any]) -> Object:
    return Object(int(about["size"]), str(about.get("ETag") or "").strip('"'))


def _read(file: Any, path: Path, size: int) -> bytes:
    with naming(path, "read"):
        data: bytes = file.read(size)
    if len(data) != size:
        raise StorageError(f"{path}: became shorter while it was uploaded. Let nothing else write there.")
    return data


def _code(error: BaseException) -> str:
    """What S3 calls an error; '' for another."""
    for one in (error, error.__cause__, error.__context__):
        if (response := getattr(one, "response", None)) is not None:
            return str(response.get("Error", {}).get("Code", ""))
    return ""


def _is_final(error: Exception) -> bool:
    """Whether another try would end the same way."""
    if isinstance(error, _Garbled | TimeoutError | ConnectionError):
        return False
    if isinstance(error, OSError):
        if _code(error) in _AGAIN:
            return False
        final = (PermissionError, FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
        return isinstance(error, final) or error.errno in (errno.EINVAL, errno.EPERM, errno.ENOSYS)
    kind = type(error).__name__
    return not (kind.endswith("ConnectionError") or "Timeout" in kind or kind in _PASSING)


_PASSING: Final = frozenset(
    {"ConnectionClosedError", "HTTPClientError", "ResponseParserError", "IncompleteReadError", "ClientPayloadError",
     "ReadTimeoutError", "ProxyConnectionError", "SSLError", "ResponseStreamingError", "ClientError",
     "EndpointConnectionError", "CredentialRetrievalError", "MetadataRetrievalError", "IncompleteRead"}
)  # fmt: skip
