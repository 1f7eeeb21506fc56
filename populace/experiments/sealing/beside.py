"""What a society's file needs beside it: modules that it imports from there, and files that it reads. Shell."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from populace.cluster.job import build_run, plan_job
from populace.core.errors import SettingsError
from populace.data.read_files import noted
from populace.data.societies import Origin, files_read, forget, is_file, parted
from populace.experiments.design import Design
from populace.experiments.playing import settings_of

SHIPS = "populace."


def folder_of_code(origin: Origin) -> Path | None:
    """The folder of a society's file; None for one that ships with populace. Raises SettingsError for other modules."""
    if is_file(origin.name):
        return Path(parted(origin.name)[0]).parent
    if origin.name.startswith(SHIPS):
        return None
    raise SettingsError(
        f"{origin.name}: is a module of a package that is installed here and maybe nowhere else. A study can be sealed "
        "whose society is a file, or ships with populace."
    )


def modules_beside(origin: Origin) -> list[str]:
    """The files of the modules beside a society that its text imports, and that these import, by their names there.

    Of a package all modules are taken. Raises SettingsError as `folder_of_code`.
    """
    folder = folder_of_code(origin)
    if folder is None:
        return []
    found: set[Path] = set()
    waiting = [origin.source or ""]
    while waiting:
        for name in _imported(waiting.pop()):
            for path in _files_of(folder, name):
                if path not in found:
                    found.add(path)
                    waiting.append(path.read_text(encoding="utf-8-sig"))
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _imported(text: str) -> Iterator[str]:
    """The first parts of the names of modules that a text imports absolutely."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]


def _files_of(folder: Path, name: str) -> list[Path]:
    """The files of a module of the folder; none where the name is that of a module that is installed."""
    package, module = folder / name, folder / f"{name}.py"
    if not module.is_file() and not (package / "__init__.py").is_file():
        return []
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if (
        spec is not None
        and spec.origin is not None
        and not Path(spec.origin).resolve().is_relative_to(folder.resolve())
    ):
        return []
    return sorted(package.rglob("*.py")) if (package / "__init__.py").is_file() else [module]


def files_beside(design: Design, at: int) -> dict[str, str]:
    """The files that a society of a design reads as it is loaded and as its runs are built, by name, with digests."""
    origin = design.societies[at]
    forget(origin)
    found = dict(files_read(origin))
    folder = folder_of_code(origin)
    if folder is not None:
        for arm in (one for one in design.arms if one.society == at):
            with noted(folder) as read:
                build_run(plan_job(origin, settings_of(design, arm, 0)))
            found.update(read)
    return found
