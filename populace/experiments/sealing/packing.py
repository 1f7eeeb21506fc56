"""Puts an experiment into one archive: code, design, its runs' settings and journals, hashes and figures. Shell.

Nothing of the machine that it was made on is in it but what is meant to be: its name and its author's. Code stands in
it once, in the open; `run.json` and `experiment.json` refer to it.
"""

from __future__ import annotations

import getpass
import importlib.util
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from populace.core.errors import SettingsError
from populace.data.read_files import digests
from populace.data.societies import Origin, is_file, is_of_cells, named, parted
from populace.experiments.design import Design, Task, read_design
from populace.experiments.results import DRY
from populace.experiments.sealing.archive import measured, write_archive
from populace.experiments.sealing.beside import files_beside, folder_of_code, modules_beside
from populace.experiments.sealing.canaries import check_members, check_settings, known_secrets
from populace.experiments.sealing.comparing import figures_of, strays, written
from populace.experiments.sealing.listed import DESIGN, FIGURES, SEAL, Seal, SealedCode, SealedRun, encoded
from populace.monitoring.minds import mind_of
from populace.store.folder import ENDPOINTS, JOURNAL, RUN_FILE, read_run_file
from populace.store.lock import is_held
from populace.store.manifest import MANIFEST, is_complete, read_manifest, versions

_ENDED: Final = ("complete", "failed")
_NOBODYS: Final[dict[str, Any]] = {"metrics_port": None, "metrics_targets": ""}
_NOBODYS_IN: Final[dict[str, dict[str, Any]]] = {
    "budget": {"ledger": None},
    "endpoint": {"api_key_file": None, "share_limits": None},
    "model": {"cache": None},
    "log": {"file": ""},
    "traces": {"file": "", "endpoint": ""},
}
"""Settings that name what is on their author's machine, as they stand in an archive."""
Members = dict[str, bytes | Path]


def seal(folder: str | Path, out: str | Path, *, author: str | None = None, sealed: datetime | None = None) -> Seal:
    """Seal the experiment in `folder` into the new archive `out`, and give what `SEAL.json` in it holds.

    `author` is who vouches for it (by default the user's name on this machine), `sealed` is when (now). The same
    folder, author and time give the same bytes. Raises SettingsError where runs are still to come or are not those of
    the design, where what the society read has changed since, and where a key would be given away; and StorageError.
    """
    folder, out = Path(folder), Path(out)
    design = read_design(folder)
    if is_held(folder):
        raise SettingsError(f"{folder}: is still at work. Seal it when it has ended.")
    tasks = _ended(folder, design)
    code = [_member_of(origin, at) for at, origin in enumerate(design.societies)]
    members: Members = {}
    for at in range(len(code)):
        members |= _code(folder, design, at, code[at], tasks)
    for task in tasks:
        members |= _run(folder, design, task, code)
    check_settings(str(folder), design.settings)
    members[DESIGN] = _text(portable_design(design, code))
    if (folder / DRY).exists():
        members[f"runs/{DRY}"] = folder / DRY
    complete = [task for task in tasks if is_complete(folder / task.run)]
    rows = [row for task in complete for row in figures_of(folder / task.run, design, task)]
    members[FIGURES] = written(rows)
    settings = [read_run_file(folder / task.run).read_settings() for task in tasks]
    check_members(members, known_secrets(design.read_settings(), *settings))
    whole = Seal(
        study=design.name,
        question=design.question,
        author=author or getpass.getuser(),
        host=platform.node(),
        registered=design.made,
        sealed=(sealed or datetime.now(UTC)).isoformat(timespec="seconds"),
        versions=versions(),
        code=_listed_code(design, code, members),
        runs=[_sealed_run(folder, task) for task in tasks],
        members={name: measured(members[name]) for name in sorted(members)},
    ).signed()
    write_archive(out, {**members, SEAL: encoded(whole)})
    return whole


def _ended(folder: Path, design: Design) -> list[Task]:
    """The runs of an experiment, all of which have ended; those that would be forked from a failed one are left out."""
    ended: list[Task] = []
    to_come: list[str] = []
    failed: set[str] = set()
    for task in design.tasks():
        there = (folder / task.run / MANIFEST).exists()
        status = read_manifest(folder / task.run).get("status") if there else ""
        if status == "failed" or task.parent in failed:
            failed.add(task.run)
        if status in _ENDED:
            ended.append(task)
        elif task.parent not in failed:
            to_come.append(task.run)
    if to_come or not ended:
        raise SettingsError(
            f"{folder}: {len(to_come):,} of its runs are still to come ({', '.join(to_come[:3])}). Go on with it "
            f"first: populace resume {folder}"
        )
    return ended


def _member_of(origin: Origin, at: int) -> str:
    """The member that holds the text of a society."""
    place, _ = parted(origin.name)
    stem = "cells" if is_of_cells(origin.name) else Path(place).stem if is_file(origin.name) else place.split(".")[-1]
    return f"society/{at}/{stem}.py"


def portable(origin: Origin, member: str) -> str:
    """The name of a society's origin as it stands in an archive: by its member, or its module where that ships."""
    return named(member, parted(origin.name)[1]) if is_file(origin.name) else origin.name


def _code(folder: Path, design: Design, at: int, member: str, tasks: Sequence[Task]) -> Members:
    """A society's text with what it needs beside it, all as it was when the runs began."""
    origin = design.societies[at]
    if origin.source is None:
        raise SettingsError(f"{origin.name}: has no text that could be sealed (it is compiled).")
    beside = folder_of_code(origin)
    read = files_beside(design, at)
    for task in tasks:
        if design.arm(task.arm).society == at:
            known = read_run_file(folder / task.run).files
            now = digests(_beside(origin, beside), known)
            if changed := [name for name in known if now.get(name) != known[name]]:
                raise SettingsError(
                    f"{', '.join(changed)}: changed since {task.run} began, and its society reads from there. Put back "
                    "what was there, and seal it then."
                )
            read |= known
    place = f"society/{at}"
    found: Members = {f"{place}/{name}": _beside(origin, beside) / name for name in read}
    found |= {f"{place}/{name}": _beside(origin, beside) / name for name in modules_beside(origin)}
    return found | {member: origin.source.encode()}


def _beside(origin: Origin, folder: Path | None) -> Path:
    if folder is not None:
        return folder
    spec = importlib.util.find_spec(parted(origin.name)[0])
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _run(folder: Path, design: Design, task: Task, code: Sequence[str]) -> Members:
    """A run's settings, journal and hashes. Raises SettingsError where it is not the run that the design says."""
    run = folder / task.run
    file, society = read_run_file(run), design.arm(task.arm).society
    if file.source != design.societies[society].source:
        raise SettingsError(f"{run / RUN_FILE}: holds other code than the experiment, so it is no run of it.")
    if file.salvaged:
        raise SettingsError(
            f"{run}: has lost a part of its journal ({', '.join(file.salvaged)}): it cannot be replayed."
        )
    if other := strays(design, task, file.read_settings()):
        raise SettingsError(f"{run / RUN_FILE}: is not the run that the design declares: {', '.join(other)} differ.")
    check_settings(str(run / RUN_FILE), file.settings)
    place = f"runs/{task.run}"
    origin = portable(design.societies[society], code[society])
    parent = file.parent
    if parent is not None:
        parent = msgspec.structs.replace(parent, folder=f"runs/{task.parent}")
    plain = msgspec.structs.replace(
        file, origin=origin, source=None, settings=_portable_settings(file.settings), parent=parent
    )
    manifest = read_manifest(run)
    manifest |= {"origin": origin, "settings": _portable_settings(manifest["settings"])}
    if manifest.get("parent"):
        manifest["parent"] = {**manifest["parent"], "folder": f"runs/{task.parent}"}
    found: Members = {f"{place}/{RUN_FILE}": _text(plain), f"{place}/{MANIFEST}": _text(manifest)}
    if (run / ENDPOINTS).exists():
        found[f"{place}/{ENDPOINTS}"] = run / ENDPOINTS
    kept = manifest.get("journal") or {}
    return found | {f"{place}/{JOURNAL}/{name}": run / JOURNAL / name for name in kept}


def portable_design(design: Design, code: Sequence[str]) -> Design:
    """A design whose societies' texts stand in members of the archive."""
    societies = [Origin(portable(origin, code[at])) for at, origin in enumerate(design.societies)]
    return msgspec.structs.replace(design, societies=societies, settings=_portable_settings(design.settings))


def _portable_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without the files that only their author has, and without what watched the run there."""
    plain = {key: _NOBODYS.get(key, value) for key, value in settings.items()}
    for section, keys in _NOBODYS_IN.items():
        if isinstance(plain.get(section), Mapping):
            plain[section] = {key: keys.get(key, value) for key, value in plain[section].items()}
    return plain


def _listed_code(design: Design, code: Sequence[str], members: Members) -> list[SealedCode]:
    """All Python that a verification executes."""
    found = []
    for name in sorted(members):
        if name.startswith("society/") and name.endswith(".py"):
            origin = portable(design.societies[code.index(name)], name) if name in code else name
            content = members[name]
            text = content if isinstance(content, bytes) else content.read_bytes()
            found.append(SealedCode(name, origin, len(text.splitlines())))
    return found


def _sealed_run(folder: Path, task: Task) -> SealedRun:
    of = read_manifest(folder / task.run)
    return SealedRun(
        task.run, task.arm, task.replicate, task.seed, of["status"], of["ticks"], of["trace_hash"],
        of.get("world_hash") or "", mind_of(of),
    )  # fmt: skip


def _text(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
