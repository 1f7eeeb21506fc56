"""A run of the command line in processes of its own, watched from outside: memory, CPU, and what it told of its ticks.

Linux only: memory is read from /proc. The kernel walks all pages of a process to tell its share of them, some 20 ms of
CPU each, on the cores that the run is on: so memory is looked at as seldom as a share of the time allows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

SAMPLE_S: Final = 0.5
MEMORY_SHARE: Final = 0.05
"""How much of the time the looks at memory may take."""


class Held(NamedTuple):
    """What all processes of a run held at a moment (Unix time); of shared pages, PSS counts each one's share."""

    at_s: float
    rss_bytes: int
    pss_bytes: int


class Watched:
    """A run and all that it starts: what they hold, sample by sample, and the CPU seconds of each.

    `out` is the run's folder, `log` its log. `begun_cpu_s` is CPU by kind of process once its
    first tick had ended, None before; `wall_s` is set when the command has ended. Looks at memory take `memory_share`
    of the time at most, at 0 there are none.
    """

    def __init__(self, pid: int, out: Path, log: Path, memory_share: float = MEMORY_SHARE) -> None:
        self.out = out
        self.began_s = time.time()
        self.wall_s = 0.0
        self.held: list[Held] = []
        self.begun_cpu_s: dict[str, float] | None = None
        self._pid = pid
        self._log = log
        self._memory_share = memory_share
        self._next_memory_s = 0.0
        self._cpu_s: dict[int, tuple[str, float]] = {}

    def sample(self) -> None:
        """Look at all processes that there are now."""
        try:
            family = [psutil.Process(self._pid), *psutil.Process(self._pid).children(recursive=True)]
        except psutil.Error:
            return
        for one in family:
            try:
                spent, name = one.cpu_times(), _kind_of(one, self._pid)
            except psutil.Error:
                continue
            known, _ = self._cpu_s.get(one.pid, (name, 0.0))
            self._cpu_s[one.pid] = (known if name in ("other", "worker") else name), spent.user + spent.system
        if self._memory_share and time.time() >= self._next_memory_s:
            self._look_at_memory(family)
        if self.begun_cpu_s is None and self._has_begun():
            self.begun_cpu_s = self.cpu_s()

    @property
    def rss_bytes(self) -> int:
        """The most that all held together."""
        return max((one.rss_bytes for one in self.held), default=0)

    @property
    def pss_bytes(self) -> int:
        """The same, shared pages counted once."""
        return max((one.pss_bytes for one in self.held), default=0)

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds by kind of process, the most first."""
        found: Counter[str] = Counter()
        for name, spent_s in self._cpu_s.values():
            found[name] += spent_s  # type: ignore[assignment]
        return dict(sorted(found.items(), key=itemgetter(1), reverse=True))

    def ticks(self) -> list[dict[str, Any]]:
        """What the run's log tells of each tick, in order: `tick`, `wall_s`, `stages_s`, counts."""
        told = map(json.loads, self._log.read_text().splitlines())
        return [one for one in told if one["event"] == "tick"]

    def progress(self) -> list[dict[str, Any]]:
        """What the run told those who watch: not of each tick."""
        return [json.loads(line) for line in (self.out / "progress.jsonl").read_text().splitlines()]

    def stages_s(self, first: int = 0) -> dict[str, float]:
        """Seconds by stage of the ticks from the `first` told of."""
        found: dict[str, float] = {}
        for one in self.ticks():
            for stage, took_s in one["stages_s"].items() if one["tick"] >= first else ():
                found[stage] = found.get(stage, 0.0) + took_s
        return found

    def manifest(self) -> dict[str, Any]:
        """The run's manifest."""
        found: dict[str, Any] = json.loads((self.out / "manifest.json").read_text())
        return found

    def written_bytes(self) -> Counter[str]:
        """Bytes of the run's folder by what they are: a table or folder by its name, other files by theirs."""
        found: Counter[str] = Counter()
        for path in self.out.rglob("*"):
            try:
                size = path.stat().st_size if path.is_file() else 0
            except OSError:  # a checkpoint that was pruned meanwhile
                continue
            first, *inside = path.relative_to(self.out).parts
            is_table = path.suffix == ".parquet" if not inside else first == "parts"
            found[f"table {path.name.split('-')[0].split('.')[0]}" if is_table else first] += size
        return found

    def _look_at_memory(self, family: Sequence[psutil.Process]) -> None:
        at_s, rss, pss = time.time(), 0, 0
        for one in family:
            try:
                rss += one.memory_info().rss
                pss += _pss_bytes(one.pid)
            except (psutil.Error, OSError):
                continue
        self.held.append(Held(at_s, rss, pss))
        self._next_memory_s = time.time() + (time.time() - at_s) / self._memory_share

    def _has_begun(self) -> bool:
        told = self.out / "progress.jsonl"
        return told.exists() and '"event":"tick"' in told.read_text()


def watch(
    arguments: Sequence[str],
    folder: Path,
    *,
    out: Path | None = None,
    sample_s: float = SAMPLE_S,
    each: Callable[[Watched], None] | None = None,
    limit_s: float = float("inf"),
    most_bytes: float = float("inf"),
    memory_share: float = MEMORY_SHARE,
) -> Watched:
    """Do `populace run ARGUMENTS` in `folder`, to its end; the run's own folder is `out`, else one in there.

    `each` is called after each sample. Looks at memory take `memory_share` of the time at most. A run past `limit_s` is
    told to end; one that holds more than `most_bytes` is killed. Raises SystemExit with what a failed run said last.
    """
    out = (out or folder / "out").resolve()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1]), "PYTHONHASHSEED": "0"}
    log, said, ended = folder / "log.jsonl", folder / "said.txt", False
    command = [sys.executable, "-m", "populace.cli", "run", *arguments, "--out", str(out), "--log", str(log)]
    with said.open("w") as file:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)
        watched = Watched(process.pid, out, log, memory_share)
        while process.poll() is None:
            watched.sample()
            if each is not None:
                each(watched)
            if time.time() - watched.began_s > limit_s:
                process.terminate()
                process.wait(60)
                ended = True
            if watched.held and watched.held[-1].pss_bytes > most_bytes:
                process.kill()
                raise SystemExit(f"stopped: it held more than {most_bytes / 2**30:.1f} GiB")
            time.sleep(sample_s)
    watched.wall_s = time.time() - watched.began_s
    if (process.returncode and not ended) or not (out / "manifest.json").exists():
        raise SystemExit(said.read_text()[-4000:])
    return watched


def _kind_of(process: psutil.Process, driver: int) -> str:
    """What a process is: the driver, one of its actors, or a part of Ray."""
    if process.pid == driver:
        return "driver"
    words = " ".join(process.cmdline()).lower()
    kinds = (
        ("ray::shard", "shards"), ("ray::environment", "world"), ("ray::quota", "account"),
        ("raylet", "raylet"), ("gcs_server", "gcs"), ("ray::", "worker"),
    )  # fmt: skip
    return next((kind for part, kind in kinds if part in words), "other")


def _pss_bytes(pid: int) -> int:
    """What a process holds, of shared pages its share."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
