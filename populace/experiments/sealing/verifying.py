"""Checks a sealed study, and recomputes every run of it from its journal: no key, no call. Shell.

Nothing of the archive is executed before its checksums hold and whoever asked has agreed to run its code.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from populace.core.errors import Interrupted, PopulaceError, SealBroken, Untrusted, WorldDiverged
from populace.data.societies import is_file, parted
from populace.experiments.design import Design, Task
from populace.experiments.sealing.archive import MOST_BYTES, Received, received
from populace.experiments.sealing.comparing import alike, figures_of, first_other, read_figures, strays
from populace.experiments.sealing.listed import FIGURES, SEAL, Seal, SealedRun
from populace.experiments.sealing.unpacking import RUNS, names_beside, own_modules, unpack
from populace.experiments.trust import remember_design
from populace.runs.courses import replay_course
from populace.runs.replay import replay_run
from populace.store.folder import RUN_FILE, fingerprint, read_run_file
from populace.store.manifest import is_complete, read_manifest, versions
from populace.store.place import check_new
from populace.store.trust import remember

Say = Callable[[str], None]
Figures = dict[tuple[int, str], float]


class Difference(msgspec.Struct, frozen=True):
    """What is not as it was sealed: the member of the archive, the run and the tick that show it, and why."""

    member: str
    run: str
    tick: int | None
    why: str


class Recomputed(msgspec.Struct, frozen=True):
    """A run recomputed: `ticks` that came to the sealed hashes of `sealed_ticks`, and how its figures compare.

    Figures are `close` where they differ in their last digits only. `world` is None where no hash of it was sealed.
    """

    run: str
    arm: str
    replicate: int
    ticks: int
    sealed_ticks: int
    trace: bool
    world: bool | None
    figures: int
    same: int
    close: int


class Verified(msgspec.Struct, frozen=True):
    """What a verification came to. `here` are the versions of this machine that differ from the sealed ones."""

    seal: Seal
    runs: list[Recomputed]
    differences: list[Difference]
    here: dict[str, str]
    folder: str = ""

    @property
    def holds(self) -> bool:
        """Whether every hash and every figure is the sealed one."""
        return not self.differences

    def text(self) -> str:
        """It in words and a table, as it is safe to show."""
        from populace.experiments.sealing.shown import verified_text

        return verified_text(self)


def verify(
    archive: str | Path,
    *,
    trust: bool = False,
    out: str | Path | None = None,
    digest: str = "",
    agree: Callable[[Seal], bool] | None = None,
    say: Say | None = None,
    most_bytes: int = MOST_BYTES,
) -> Verified:
    """Check a sealed study and recompute all its runs, with no call.

    Before any code of it runs, `agree` is asked about it unless it is to be `trust`ed. `out` keeps the study as a
    folder with its recomputed tables: its runs can then be forked. `digest` is the one that was published: another
    study is refused. `say` is told of each run. Raises SealBroken for an archive that is not safe to unpack, unpacks to
    more than `most_bytes`, or does not hold what was sealed; Untrusted where nobody agrees.
    """
    path = Path(archive)
    if out is not None:
        check_new(Path(out))
    with received(path, most_bytes) as opened:
        seal = opened.seal()
        if digest and digest.strip().lower() != seal.digest:
            raise SealBroken(f"{path}: is another study than the one asked for: its digest is {seal.digest}.")
        opened.check(seal)
        if not (trust or (agree is not None and agree(seal))):
            raise Untrusted(
                f"{path}: to verify it executes {sum(one.lines for one in seal.code):,} lines of code that "
                f"{seal.author or 'nobody named'} sealed, with your rights. Read the members under society/ of it; if "
                f"you trust them: populace experiment verify {path} --trust"
            )
        with _place(out) as folder:
            return _recompute(opened, seal, folder, keep=out is not None, say=say or _nobody)


def _nobody(text: str) -> None:
    """Where nobody listens."""


@contextmanager
def _place(out: str | Path | None) -> Iterator[Path]:
    if out is not None:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory(prefix="populace-sealed-") as place:
        yield Path(place)


def _recompute(opened: Received, seal: Seal, folder: Path, *, keep: bool, say: Say) -> Verified:
    design = unpack(opened, seal, folder)
    figures = read_figures((folder / FIGURES).read_bytes())
    tasks = {task.run: task for task in design.tasks()}
    found: list[Difference] = _unknown(seal, design)
    runs: list[Recomputed] = []
    for one in seal.runs:
        if one.run not in tasks:
            continue
        member = _code_of(seal, design, tasks[one.run])
        with own_modules((folder / member).parent, names_beside(seal, member)):
            run, differences = _one(
                folder.resolve(), design, tasks[one.run], member, one, figures.get(one.run, {}), keep=keep
            )
        runs.append(run)
        found += differences
        say(f"{one.run}: {'the same' if not differences else 'differs'} ({len(runs)} of {len(seal.runs)})")
    if keep and not found:
        for one in seal.runs:
            remember(read_run_file(folder / RUNS / one.run))
        remember_design(design)
    now = versions()
    here = {name: now.get(name, "not installed") for name, was in seal.versions.items() if now.get(name) != was}
    return Verified(seal, runs, found, here, str(folder) if keep else "")


def _unknown(seal: Seal, design: Design) -> list[Difference]:
    """Runs that are listed and not of the design, or of the design and not listed (unless their parent failed)."""
    wanted = {task.run: task for task in design.tasks()}
    listed = {one.run: one for one in seal.runs}
    said = [Difference(SEAL, run, None, "is no run of the design") for run in listed if run not in wanted]
    lost = {run for run, one in listed.items() if one.status == "failed"}
    for run, task in wanted.items():
        if run not in listed and task.parent in lost:
            lost.add(run)
        elif run not in listed:
            said.append(Difference(SEAL, run, None, "is a run of the design, and was not sealed"))
    return said


def _code_of(seal: Seal, design: Design, task: Task) -> str:
    """The member that holds the text of a run's society."""
    at = design.arm(task.arm).society
    place, _ = parted(design.societies[at].name)
    stem = Path(place).stem if is_file(place) else place.split(".")[-1]
    return f"society/{at}/{stem}.py"


def _one(
    folder: Path, design: Design, task: Task, code: str, sealed: SealedRun, figures: Figures, *, keep: bool
) -> tuple[Recomputed, list[Difference]]:
    """Recompute one run and hold it against what was sealed of it."""
    place, run = f"{RUNS}/{task.run}", folder / RUNS / task.run
    nothing = Recomputed(task.run, task.arm, task.replicate, 0, sealed.ticks, False, None, len(figures), 0, 0)
    with tempfile.TemporaryDirectory(prefix="populace-recomputed-") as name:
        now = Path(name) / "run"
        try:
            file = read_run_file(run)
            strange = strays(design, task, file.read_settings())
            own = fingerprint(file.society) == file.fingerprint or not is_file(file.origin)
            replayed = replay_run(replay_course(run, code="recorded" if own else "new"), run, now)
        except Interrupted:
            raise
        except (PopulaceError, OSError) as error:
            return nothing, [Difference(place, task.run, None, str(error))]
        at = f"{place}/{RUN_FILE}"
        found = [] if own else [Difference(code, task.run, None, "is not the code that the run was begun with")]
        found += [Difference(at, task.run, None, f"its settings are not the design's: {one}") for one in strange]
        diverged = replayed.diverged
        if diverged is not None:
            found.append(Difference(place, task.run, diverged.tick, f"{diverged}\n{replayed.why}"))
        if diverged is not None and not isinstance(diverged, WorldDiverged):
            return msgspec.structs.replace(nothing, ticks=replayed.ticks), found
        trace, world = _hashes(read_manifest(now), sealed)
        values = _values(now, design, task) if is_complete(run) else {}
        if keep:
            for table in now.glob("*.parquet"):
                shutil.move(table, run / table.name)
    if not trace:
        found.append(Difference(SEAL, task.run, None, f"the trace hash is not the sealed {sealed.trace_hash}"))
    if world is False and diverged is None:
        found.append(Difference(SEAL, task.run, None, f"the world's hash is not the sealed {sealed.world_hash}"))
    if (other := first_other(figures, values)) is not None:
        tick, outcome, was, is_now = other
        found.append(Difference(FIGURES, task.run, tick, f"{outcome} was sealed as {was!r}, and is {is_now!r}"))
    compared = [alike(figures[key], values[key]) for key in figures.keys() & values.keys()]
    recomputed = msgspec.structs.replace(
        nothing, ticks=replayed.ticks, trace=trace, world=world, figures=len(figures | values),
        same=compared.count("same"), close=compared.count("close"),
    )  # fmt: skip
    return recomputed, found


def _hashes(now: dict[str, Any], sealed: SealedRun) -> tuple[bool, bool | None]:
    """Whether a recomputed run came to the sealed hashes, of its trace and of its world."""
    trace = now["trace_hash"] == sealed.trace_hash and now["ticks"] == sealed.ticks
    return trace, now.get("world_hash") == sealed.world_hash if sealed.world_hash else None


def _values(run: Path, design: Design, task: Task) -> Figures:
    return {(tick, name): value for _, _, _, tick, name, value in figures_of(run, design, task)}
