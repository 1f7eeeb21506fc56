"""Where a run stands: its folder, held for one process at a time, and what uploads it where that is a remote one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from populace.core.errors import PopulaceError
from populace.files import naming
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
def new_place(
    out: str | Path | None, say: Callable[[str], None] = lambda _: None, fresh: Callable[[], Path] | None = None
) -> Iterator[Place]:
    """A folder, or an address (s3://...), for a new run; without `out` the folder that `fresh` names.

    Where another process takes that name meanwhile, it is asked for the next. Raises SettingsError where there is a
    run.
    """
    if out is None or out == "":
        assert fresh is not None
        with _fresh_place(fresh) as place:
            yield place
    elif is_remote(out):
        with Mirror(str(out)).held() as mirror, mirror.owned(say):
            mirror.begin()
            yield Place(mirror.local, mirror)
    else:
        with held(Path(out)):
            check_new(Path(out))
            yield Place(Path(out))


@contextmanager
def _fresh_place(fresh: Callable[[], Path]) -> Iterator[Place]:
    with ExitStack() as stack:
        while True:
            folder = fresh()
            try:
                stack.enter_context(held(folder))
                check_new(folder)
            except PopulaceError:
                if fresh() == folder:
                    raise
                stack.close()
            else:
                break
        yield Place(folder)


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


def reserved_beside(run: str | Path, what: str) -> Path:
    """As `folder_beside`, and the folder is made, empty: nobody else is given its name."""
    while True:
        folder = folder_beside(run, what)
        with naming(folder, "made"), suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder


def folder_beside(run: str | Path, what: str) -> Path:
    """A fresh folder for what comes of a run ('fork'): beside it, or in runs/ where that is a remote one."""
    if is_remote(run):
        return fresh_folder(f"{str(run).rstrip('/').rpartition('/')[2]}-{what}")
    return fresh_folder(f"{Path(run).resolve().name}-{what}", Path(run).parent)
