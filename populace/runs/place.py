"""Where a run stands: its folder, held for one process at a time, and what uploads it where that is a remote one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from populace.store.folder import read_run_file
from populace.store.lock import held
from populace.store.place import check_new, fresh_folder
from populace.store.remote.mirror import Mirror, is_remote


class Place(NamedTuple):
    """A run's folder on this machine, and what uploads it; None where it stays here."""

    folder: Path
    mirror: Mirror | None = None

    @property
    def name(self) -> str:
        """What a person calls it: the remote address, or the folder."""
        return str(self.folder if self.mirror is None else self.mirror.remote)


@contextmanager
def new_place(place: str | Path, say: Callable[[str], None] = lambda _: None) -> Iterator[Place]:
    """A folder, or an address (s3://...), for a new run. Raises SettingsError where there is one."""
    if is_remote(place):
        with Mirror(str(place)).held() as mirror, mirror.owned(say):
            mirror.begin()
            yield Place(mirror.local, mirror)
        return
    with held(Path(place)):
        check_new(Path(place))
        yield Place(Path(place))


@contextmanager
def old_place(place: str | Path, say: Callable[[str], None] = lambda _: None) -> Iterator[Place]:
    """The folder or address of a run that is to go on. Raises SettingsError where there is none."""
    if is_remote(place):
        with Mirror(str(place)).held() as mirror, mirror.owned(say):
            mirror.resume()
            yield Place(mirror.local, mirror)
        return
    read_run_file(Path(place))
    with held(Path(place)):
        yield Place(Path(place))


def folder_beside(run: str | Path, what: str) -> Path:
    """A fresh folder for what comes of a run ('fork'): beside it, or in runs/ where that is a remote one."""
    if is_remote(run):
        return fresh_folder(f"{str(run).rstrip('/').rpartition('/')[2]}-{what}")
    return fresh_folder(f"{Path(run).resolve().name}-{what}", Path(run).parent)
