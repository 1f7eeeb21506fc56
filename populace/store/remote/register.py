"""A small text in an object store that changes by compare-and-swap. Shell: S3.

The store must know conditional writes: a PUT with `If-None-Match: *`, and one with `If-Match` and an ETag, which it
refuses (412) where the object is another. Amazon's S3 does (since November 2024), and so do MinIO, Cloudflare R2 and
others. A store that ignores them would let two runs write over each other, so each run tries first, on an object of
its own, whether they are heeded.
"""

from __future__ import annotations

import secrets
from typing import Final

from populace.core.errors import SettingsError, StorageError
from populace.store.remote.objects import ObjectStore, check_address

PATIENCE_S: Final = 4.0


class ObjectRegister:
    """The text `name` below an address. Any thread may call, one at a time; see `populace.budget.shares.Register`."""

    def __init__(self, store: ObjectStore, name: str) -> None:
        self._store = store
        self._name = name
        self.place = f"{store.address}/{name}"

    def read(self) -> tuple[bytes | None, object]:
        """One request."""
        return self._store.read(self._name)

    def write(self, text: bytes, mark: object) -> bool:
        """One request."""
        return self._store.replace(self._name, text, str(mark))


def open_store(address: str) -> ObjectStore:
    """A store whose small texts may be swapped. Raises SettingsError for one that cannot be used so, StorageError."""
    address = check_address(address)
    if not address.startswith("s3:"):
        raise SettingsError(
            f"{address}: populace knows no conditional writes (If-Match) but S3's, and without them two runs would "
            "take the same share. Name an s3:// address, or a folder that all machines see."
        )
    store = ObjectStore(address)
    store.patience_s = PATIENCE_S
    check_conditions(store)
    return store


def check_conditions(store: ObjectStore) -> None:
    """Raise SettingsError where a store does not heed conditions; leaves nothing there. Five small requests."""
    name = f"try-{secrets.token_hex(8)}"
    try:
        made = store.replace(name, b"1", "")
        twice = store.replace(name, b"2", "")
        wrong = store.replace(name, b"3", '"00000000000000000000000000000000"')
        text, etag = store.read(name)
        right = bool(etag) and store.replace(name, b"4", etag)
    except StorageError as error:
        if "NotImplemented" in str(error) or "not implemented" in str(error):
            raise _unconditional(store) from error
        raise
    finally:
        store.delete([name])
    if not made or twice or wrong or text != b"1" or not right:
        raise _unconditional(store)


def _unconditional(store: ObjectStore) -> SettingsError:
    return SettingsError(
        f"{store.address}: this store does not heed If-Match and If-None-Match in a PUT, so runs cannot share limits "
        "there. Use one that does (Amazon's S3, MinIO, Cloudflare R2), or a folder that all machines see."
    )
