"""The invariants of a run, checked on a society as one call."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np

from populace.core.draws import Stream
from populace.core.errors import ConservationError, Diverged, Interrupted, NotKept, SettingsError
from populace.core.text import shown_text
from populace.data.societies import Origin, forget, load_society
from populace.runs.courses import replay_course
from populace.runs.diff import diff_runs
from populace.runs.diff_text import heading
from populace.runs.fork import fork_run
from populace.runs.front import Given, Lever, given_origin, settings_of
from populace.runs.replay import replay_run
from populace.runs.resume import resume_run
from populace.runs.run import run_society
from populace.runs.stop import Stop, in_background
from populace.settings import Settings, with_levers
from populace.store.manifest import read_manifest
from populace.store.tables.tables import read_table
from populace.testing.interrupting import Interrupting
from populace.testing.variants import varied

Invariant = Literal["repeat", "shards", "resume", "replay", "fork", "conservation", "kept", "outcomes", "favoured"]

_MEANS: Final[Mapping[Invariant, str]] = {
    "repeat": "the same run twice is not the same. Turns, parts or the population go by something else than scenario, "
    "settings and seed: `random`, a clock, a variable of the module, the order of a set",
    "shards": "another number of shards gives another run. Turns go by what other agents of their shard left behind "
    "(a variable of the module or of a class) or by the order in which turns come",
    "resume": "a run that was interrupted and resumed is another than the undisturbed one. Something that later ticks "
    "go by is in no field of an agent and in no state of a part, such as a variable of the module",
    "replay": "a replay is another run than the one on record",
    "fork": "a fork without a lever is another run than its parent",
    "conservation": "asks or messages do not add up",
    "kept": "an agent or a part holds what a resumed run would not have",
    "outcomes": "outcomes of one and the same run differ. An outcome function goes by something else than the world",
    "favoured": "what becomes of an agent goes by its id, although the population's rows were dealt to ids by lot",
}


class InvariantBroken(AssertionError):
    """A run was not what it has to be. `invariant` says in which way, `tick` where; None where no one tick is."""

    def __init__(self, invariant: Invariant, where: str, detail: str, tick: int | None = None) -> None:
        super().__init__(invariant, where, detail, tick)
        self.invariant = invariant
        self.where = where
        self.detail = detail
        self.tick = tick

    def __str__(self) -> str:
        text = f"invariant {self.invariant!r} ({self.where}): {_MEANS[self.invariant]}.\n{self.detail}"
        return shown_text(text.rstrip())


class Checked(msgspec.Struct, frozen=True):
    """What was found to hold. `interrupted_at` and `forked_at` are the ticks drawn from the seed; 0: before any."""

    society: str
    agents: int
    ticks: int
    shards: tuple[int, ...]
    interrupted_at: int
    forked_at: int
    trace_hash: str
    world_hash: str
    asks: int
    messages: int


def check_society(
    society: Given,
    *,
    agents: int | None = None,
    ticks: int | None = None,
    model: Literal["scripted", "rules", "placebo"] = "scripted",
    seed: int = 0,
    shards: Sequence[int] = (1, 2, 5),
    parameters: Mapping[str, Any] | None = None,
    levers: Sequence[Lever] = (),
    settings: str | Path | Mapping[str, Any] | None = None,
    out: str | Path | None = None,
) -> Checked:
    """Check that a society's runs can be trusted; raises InvariantBroken, with the first difference, where not.

    It runs the society on each number of `shards`, interrupts it at a tick drawn from `seed` and resumes it on another
    number, replays it, and forks it without a lever: all must have one trace hash, one world hash and the same
    outcomes, replay and fork without a call; and asks and messages must add up in each. Before each the society's text
    is run anew, as in another process.

    `society`, `parameters`, `levers` and `settings` are those of `populace.run`. The answers are scripted, those of the
    society's rules, or with `placebo` drawn by lot even where the society has a script. `out` keeps the runs' folders.
    Raises PopulaceError where the society cannot be run.
    """
    if not shards:
        raise SettingsError("shards=(): say on which numbers of shards to run it, for example (1, 2, 5)")
    kind = "scripted" if model == "placebo" else model
    if kind not in ("scripted", "rules"):
        raise SettingsError(
            f"model={model!r}: a model may answer the same ask differently, so two runs need not be one. Check with "
            "'scripted', 'rules' or 'placebo'."
        )
    options = {"agents": agents, "ticks": ticks, "model__kind": kind, "seed": seed}
    chosen = with_levers(settings_of(settings, parameters, **options), levers)
    origin = varied(given_origin(society), "without_script" if model == "placebo" else "as_is")
    load_society(origin)
    place: AbstractContextManager[str | Path]
    place = tempfile.TemporaryDirectory(prefix="populace-check-") if out is None else nullcontext(Path(out))
    with place as folder:
        return _Check(origin, chosen, Path(folder), tuple(shards)).all()


class _Check:
    """One society's runs, each compared with the first."""

    def __init__(self, origin: Origin, settings: Settings, folder: Path, shards: tuple[int, ...]) -> None:
        self._origin = origin
        self._settings = settings
        self._folder = folder
        self._shards = shards
        self._base = folder / "run"

    def all(self) -> Checked:
        """Check everything. Raises InvariantBroken."""
        base = self._run(self._base, self._shards[0])
        done = int(base["ticks"])
        draw = Stream(self._settings.seed, 0, 0, "populace.testing: ticks")
        for number in self._shards[1:]:
            self._shards_agree(number)
        interrupted_at = self._resumes(1 + draw.integer(done - 1) if done > 1 else 0)
        self._replays()
        forked_at = draw.integer(done + 1)
        self._forks(forked_at)
        return Checked(
            society=base["scenario"], agents=base["agents"], ticks=done, shards=self._shards,
            interrupted_at=interrupted_at, forked_at=forked_at, trace_hash=base["trace_hash"],
            world_hash=base["world_hash"], asks=base["asks"]["made"], messages=base["messages"]["sent"],
        )  # fmt: skip

    def _shards_agree(self, number: int) -> None:
        where = f"{number} shards against {self._shards[0]}"
        other = self._folder / f"shards-{number}"
        self._run(other, number)
        try:
            self._same(other, "shards", where)
        except InvariantBroken:
            again = self._folder / "again"
            self._run(again, self._shards[0])
            self._same(again, "repeat", f"{self._shards[0]} shards, twice")
            raise

    def _resumes(self, tick: int) -> int:
        """Interrupt a run at an edge of ticks and go on with it on another number of shards; gives the tick."""
        number, other = self._shards[-1], self._shards[0]
        folder = self._folder / f"resumed-{tick}"
        try:
            self._run(folder, number, Interrupting(tick))
        except Interrupted:
            where = f"interrupted at tick {tick} on {number} shards, resumed on {other}"
            self._guarded(lambda: resume_run(folder, shards=other, trust=True), where)
            self._balanced(folder, where)
            self._same(folder, "resume", where)
            return tick
        if tick == 0:
            raise SettingsError("ticks: the run has none at which it could be interrupted")
        return self._resumes(tick - 1)  # it was over before it could be stopped

    def _replays(self) -> None:
        number = self._shards[-1]
        folder, where = self._folder / "replayed", f"on {number} shards"
        going = replay_course(self._base, shards=number, code="recorded")
        replayed = self._guarded(lambda: replay_run(going, self._base, folder), where)
        if replayed.diverged is not None:
            raise InvariantBroken("replay", where, f"{replayed.diverged}\n{replayed.why}", replayed.diverged.tick)
        if read_manifest(folder)["calls_billed"]:
            raise InvariantBroken("replay", where, f"{read_manifest(folder)['calls_billed']} calls were made.")
        self._balanced(folder, where)
        self._outcomes_agree(folder, where)

    def _forks(self, tick: int) -> None:
        folder, where = self._folder / "forked", f"at tick {tick}"
        try:
            manifest = self._guarded(lambda: fork_run(self._base, tick, out=folder, trust=True), where)
        except Diverged as diverged:
            raise InvariantBroken("fork", where, str(diverged), diverged.tick) from None
        self._same(folder, "fork", where)
        if manifest["calls_billed"]:
            raise InvariantBroken("fork", where, f"{manifest['calls_billed']} calls were made.")
        self._balanced(folder, where)

    def _run(self, folder: Path, shards: int, interrupting: Interrupting | None = None) -> dict[str, Any]:
        where = f"on {shards} shards"
        settings = self._settings.model_copy(update={"shards": shards})
        stop, observers = Stop(), []
        if interrupting is not None:
            interrupting.stop = stop
            observers = [interrupting]
        manifest = self._guarded(lambda: run_society(self._origin, settings, folder, observers, stop=stop), where, stop)
        self._balanced(folder, where)
        return dict(manifest)

    def _guarded(self, work: Callable[[], Any], where: str, stop: Stop | None = None) -> Any:
        """Do it with the society's text run anew; what breaks an invariant at once is told as that."""
        forget(self._origin)
        try:
            return in_background(work, stop or Stop(), lambda: None)
        except NotKept as error:
            raise InvariantBroken("kept", where, str(error)) from error
        except ConservationError as error:
            raise InvariantBroken("conservation", where, str(error)) from error

    def _balanced(self, folder: Path, where: str) -> None:
        manifest = read_manifest(folder)
        for what, whole, parts in (
            ("asks", "made", ("answered", "cached", "replayed", "surrogate", "abstained")),
            ("messages", "sent", ("delivered", "expired", "refused")),
        ):
            counts = manifest[what]
            if counts[whole] != sum(counts[part] for part in parts):
                of = ", ".join(f"{counts[part]} {part}" for part in parts)
                raise InvariantBroken("conservation", where, f"{what}: {counts[whole]} {whole}, {of}")

    def _same(self, folder: Path, invariant: Invariant, where: str) -> None:
        mine, theirs = read_manifest(self._base), read_manifest(folder)
        if all(mine[key] == theirs[key] for key in ("trace_hash", "world_hash", "trace_hashes", "world_hashes")):
            self._outcomes_agree(folder, where)
            return
        diff = diff_runs(self._base, folder)
        lines, tick = [], diff.parted_at
        if diff.first is not None:
            one, other = _shown(diff.first.text_a), _shown(diff.first.text_b)
            lines = [heading(diff.first), f"  one: {one}", f"  other: {other}"]
        if diff.world_parted_at is not None:
            parts = ", ".join(diff.world_parts) or "unknown"
            lines.append(f"The world's state differs from tick {diff.world_parted_at} on, in: {parts}.")
            tick = diff.world_parted_at if tick is None else tick
        if diff.ticks_a != diff.ticks_b:
            lines.append(f"One has {diff.ticks_a} ticks, the other {diff.ticks_b}.")
        raise InvariantBroken(invariant, where, "\n".join([*lines, *diff.notes]), tick)

    def _outcomes_agree(self, folder: Path, where: str) -> None:
        one, other = (read_table(run, "outcomes").to_pydict() for run in (self._base, folder))
        for tick, name, a, b in zip(one["tick"], one["name"], one["value"], other["value"], strict=True):
            if not np.array_equal(a, b, equal_nan=True):
                raise InvariantBroken("outcomes", where, f"Outcome {name!r} at tick {tick}: {a} and {b}.", tick)


def _shown(text: str | None) -> str:
    return "nothing" if text is None else text
