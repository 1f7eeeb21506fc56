"""A sealed study as folders again: an experiment's folder whose runs can be replayed and forked. Shell."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from populace.core.errors import SealBroken
from populace.data.societies import Origin, is_file, named, parted
from populace.experiments.design import FILE, Design, write_design
from populace.experiments.sealing.archive import Received
from populace.experiments.sealing.listed import DESIGN, SEAL, Seal
from populace.files import naming, write_whole
from populace.store.folder import RUN_FILE, RunFile

RUNS = "runs"
_T = TypeVar("_T")


def unpack(archive: Received, seal: Seal, folder: Path) -> Design:
    """Write an archive that was checked into a folder, with the code put back to where it is referred to.

    Gives its design. Raises SealBroken where something refers to what is not there, and StorageError.
    """
    folder = folder.resolve()
    for name in sorted({*seal.members, SEAL}):
        path = folder / name
        with naming(path, "written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                for chunk in archive.chunks(name):
                    file.write(chunk)
    design = _decoded(folder / DESIGN, Design)
    code = [one.member for one in seal.code]
    societies = [_whole(origin, at, folder, code) for at, origin in enumerate(design.societies)]
    design = msgspec.structs.replace(design, societies=societies)
    (folder / RUNS / FILE).unlink()
    write_design(folder / RUNS, design)
    _complete(folder / RUNS, design)
    return design


def _complete(runs: Path, design: Design) -> None:
    """Have every run's file hold its code, and name its parent where that stands now."""
    for task in design.tasks():
        path = runs / task.run / RUN_FILE
        if not path.exists():
            continue
        file = _decoded(path, RunFile)
        society = design.societies[design.arm(task.arm).society]
        parent = file.parent
        if parent is not None:
            parent = msgspec.structs.replace(parent, folder=str(runs / task.parent))
        file = msgspec.structs.replace(file, origin=society.name, source=society.source, parent=parent)
        write_whole(path, msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n")


def _decoded(path: Path, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        raise SealBroken(f"{path.name}: is not in the archive") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SealBroken(f"{path.parent.name}/{path.name}: is not what populace wrote: {error}") from None


def _whole(origin: Origin, at: int, folder: Path, code: list[str]) -> Origin:
    """A society's origin with its text from the archive."""
    place, variable = parted(origin.name)
    member = place if is_file(origin.name) else f"society/{at}/{place.split('.')[-1]}.py"
    if member not in code:
        raise SealBroken(f"{DESIGN}: names the society {origin.name[:80]!r}, and no code of the archive is that")
    text = (folder / member).read_text(encoding="utf-8-sig")
    return Origin(named(str(folder / member), variable), text) if is_file(origin.name) else Origin(origin.name, text)


@contextmanager
def own_modules(folder: Path, names: Collection[str]) -> Iterator[None]:
    """Have imports of these names find the modules in a folder, and not others so called, which come back after."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in names}
    for name in before:
        del sys.modules[name]
    finder = _Own(folder, names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] in names]:
            del sys.modules[name]
        sys.modules.update(before)


class _Own(MetaPathFinder):
    """Finds some modules in one folder."""

    def __init__(self, folder: Path, names: Collection[str]) -> None:
        self._folder = str(folder)
        self._names = names

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The module where it is one of them."""
        if path is not None or fullname not in self._names:
            return None
        return PathFinder.find_spec(fullname, [self._folder], target)


def names_beside(seal: Seal, member: str) -> set[str]:
    """The names under which a society's text imports the modules that were sealed beside it."""
    place = f"{member.rpartition('/')[0]}/"
    others = [one.member.removeprefix(place) for one in seal.code if one.member != member]
    return {name.partition("/")[0].removesuffix(".py") for name in others if not name.startswith("society/")}
