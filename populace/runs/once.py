"""One run in one folder, however often it is asked for: begun, gone on with, or complete already.

It is for whatever starts a process again when it ends: a RayJob, a Kubernetes Job, systemd, a queue. What is asked for
is always the whole command of the run; what the folder holds decides what is left to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from populace.core.errors import SettingsError
from populace.data.societies import Origin, files_changed, find_society, is_file, parted
from populace.monitoring.report import Observer
from populace.runs.conduct import Ended, Say, nobody
from populace.runs.resume import resume_run
from populace.runs.run import run_society
from populace.runs.stop import Stop
from populace.settings import Settings, changed_keys, may_change
from populace.store.folder import RUN_FILE, RunFile, kept_settings, read_run_file
from populace.store.manifest import is_complete, read_manifest
from populace.store.remote.mirror import Mirror, is_remote, local_folder


def run_or_resume(
    society: str | Origin,
    settings: Settings,
    out: str | Path,
    observers: Sequence[Observer] = (),
    ended: Ended = nobody,
    say: Say = nobody,
    stop: Stop | None = None,
) -> dict[str, Any]:
    """Run the society in `out`, a folder or an address, or go on with the run that stands there; give the manifest.

    A run that is complete is left as it is, and `say` is told. A run that another process is at is refused by its
    lock, as anywhere (StorageError). What stands there has to be what is asked for, with the same code and, but for
    what may change on resume, the same settings: else SettingsError. So what would be executed is what the caller
    brought, and no mark of trust is needed on a machine that has never seen the run. Raises what ends a run early.
    """
    origin = society if isinstance(society, Origin) else find_society(society)
    folder = _where_it_stands(out)
    if folder is None:
        return run_society(origin, settings, out, observers, ended, say, stop)
    _check_same(folder, read_run_file(folder), origin, settings, str(out))
    if is_complete(folder):
        say(f"{out}: this run is complete; nothing is left to do")
        return read_manifest(folder)
    ways: dict[str, Any] = {"observers": observers, "ended": ended, "say": say, "stop": stop}
    return resume_run(out, trust=True, settings=settings, society=origin, **ways)


def _where_it_stands(out: str | Path) -> Path | None:
    """The folder here with `run.json` and manifest of the run that stands in `out`; None where there is none."""
    if is_remote(out):
        return local_folder(out, (RUN_FILE, "manifest.json")) if Mirror(str(out)).holds_run() else None
    return Path(out) if (Path(out) / RUN_FILE).exists() else None


def _check_same(folder: Path, file: RunFile, origin: Origin, settings: Settings, out: str) -> None:
    """Raise SettingsError where the run that stands in a folder is not the one that is asked for."""
    other = f"{out}: holds another run than this one"
    if file.parent is not None:
        raise SettingsError(f"{other}: a fork. Choose another folder with --out, or: populace resume {out}")
    if not _same_society(file.society, origin):
        raise SettingsError(
            f"{other}: {file.origin} is on record, and {origin.name} is not the same code. Put that code back, choose "
            f"another folder with --out, or go on with the code as it is now: populace resume {out} --code new"
        )
    if changed := files_changed(origin, file.files):
        raise SettingsError(
            f"{other}: {', '.join(changed)} changed since. Put back what was there, or choose another folder."
        )
    asked = Settings.model_validate_json(_json(kept_settings(settings)))
    if wrong := [key for key in changed_keys(file.read_settings(), asked) if not may_change(key, "resume")]:
        raise SettingsError(
            f"{other}: not the same {', '.join(wrong)}. Ask for the run as it was begun ({folder / RUN_FILE}), or "
            "choose another folder with --out."
        )


def _same_society(kept: Origin, now: Origin) -> bool:
    """Whether two origins are one society: a file may have moved, as one of a ConfigMap does with every pod."""
    if kept.source is None or kept.source != now.source:
        return kept == now
    (was, of), (place, variable) = parted(kept.name), parted(now.name)
    if is_file(kept.name) and is_file(now.name):
        return (PurePath(was).name, of) == (PurePath(place).name, variable)
    return kept.name == now.name


def _json(settings: dict[str, Any]) -> bytes:
    import msgspec

    return msgspec.json.encode(settings)
