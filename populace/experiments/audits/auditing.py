"""Plays the audits of an experiment, each as long as it takes, and tells what became of its claims. Shell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from populace.core.errors import PopulaceError, RunFailed, ScenarioError, SettingsError
from populace.data.societies import load_society
from populace.experiments.audits.arms import PLACE, Pair, chosen, generic_audits, settings_audit, with_audit
from populace.experiments.audits.claims import (
    MOST_LOOKS,
    decided_at_best,
    direction_of,
    fewest_to_decide,
    found_in,
    status_of,
    tally,
)
from populace.experiments.audits.declared import DesignedAudit
from populace.experiments.audits.record import Audited, AuditFound, ClaimAudited, Found, write_audits
from populace.experiments.audits.shown import in_words
from populace.experiments.design import Design, DesignedOutcome, Task, folder_of
from populace.experiments.playing import play
from populace.experiments.results import Results
from populace.experiments.schedule import Schedule
from populace.experiments.values import Floats, series_of, value_of
from populace.runs.stop import Stop
from populace.store.lock import held
from populace.store.storage import make_folder

_ENOUGH: Final = 3
"""Replicates that are all as they were, after which what goes by no word is not tried further."""


def silent(_: str) -> None:
    """Tell nobody."""


def audit(
    folder: str | Path,
    *,
    only: Sequence[str] = (),
    also: Sequence[str] = (),
    arms: Sequence[str] = (),
    outcome: str = "",
    replicates: int | None = None,
    margin: float = 0.0,
    level: float = 0.95,
    out: str | Path | None = None,
    anyway: bool = False,
    note: Callable[[str], None] = silent,
    stop: Stop | None = None,
) -> Audited:
    """Audit the claims of the experiment in `folder`: of each of the `arms` (all but the control) on one outcome.

    The audits are the generic ones, those that the experiment declares, and `also`: settings and parameters by
    key=value; of the others `only` names those that are played. Each goes on until the claim is decided in it, over at
    most so many `replicates` (those that are complete). `margin` is the difference that does not matter, for an outcome
    with bounds. What they come to is written to `audits.json`, and their runs to `audits/`, in the experiment's folder
    or in `out`; what is there already is not played again. Raises SettingsError and ScenarioError for what cannot be
    audited, and what ends a run early. Replicates that are too few to decide whatever they show are refused before
    anything is played, unless it is to be played `anyway`.
    """
    place = Path(folder)
    results = Results(place)
    design = results.design
    of = design.outcome(outcome or design.primary)
    names = [design.arm(name).name for name in arms] or [arm.name for arm in design.treatments]
    if design.control in names:
        raise SettingsError(f"{design.control!r} is the control: a claim is of another arm")
    seen = results.complete[:replicates]
    if not seen:
        raise SettingsError(f"{place}: no replicate is complete in every arm. Go on with it: populace resume {place}")
    audits = [*chosen([*generic_audits(design), *design.audits], only), *map(settings_audit, also)]
    if too_few := _too_few(place, of, len(seen), margin, level):
        if not anyway:
            raise SettingsError(f"{too_few} To see effects without a verdict: --anyway.")
        note(too_few)
    target = place if out is None else Path(out)
    where = PLACE if out is None else str(target.resolve() / PLACE)
    make_folder(target)
    with held(place):
        auditor = _Auditor(place, design, of, seen, level, margin, stop)
        originals = {name: auditor.original(name) for name in names}
        found: dict[str, list[AuditFound]] = {name: [] for name in names}
        for one in audits:
            for name, what in auditor.play_all(one, names, {n: originals[n][1] for n in names}, where):
                note(f"{one.name}, {name}: {what.status}{f' ({what.why})' if what.why else ''}")
                found[name].append(what)
    claims = [_claim(of, name, *originals[name], found[name]) for name in names]
    audited = Audited(
        experiment=design.name, model=sorted(auditor.models), level=level,
        made=datetime.now(UTC).isoformat(timespec="seconds"), calls=sum(one[0] for one in auditor.paid.values()),
        cost_usd=sum(one[1] for one in auditor.paid.values()), claims=claims,
    )  # fmt: skip
    audited = in_words(audited)
    write_audits(target, audited)
    return audited


def _too_few(folder: Path, of: DesignedOutcome, replicates: int, margin: float, level: float) -> str:
    """Why so many replicates can decide nothing, and what would help; empty where they can."""
    if decided_at_best(replicates, of.bounds, margin=margin, level=level):
        return ""
    fewest = fewest_to_decide(of.bounds, margin=margin, level=level)
    needs = f"over {MOST_LOOKS}" if fewest is None else f"at least {fewest}"
    said = (
        f"{folder}: {replicates} replicates cannot decide any audit, not even if all of them agree: the sequential "
        f"rule at --level {level:g} needs {needs}."
    )
    if fewest is not None:
        said += f" Play more (populace experiment run FILE --out {folder} --replicates {fewest}; none is played twice)"
        levels = (one / 100 for one in range(int(level * 100), 49, -1))
        tried = (one for one in levels if decided_at_best(replicates, of.bounds, margin=margin, level=one))
        lower = next(tried, None)
        said += "." if lower is None else f", or claim less surely: --level {lower:g}."
    return said


def _claim(of: DesignedOutcome, arm: str, original: Found, claimed: Any, audits: Sequence[AuditFound]) -> ClaimAudited:
    return ClaimAudited(
        arm=arm, outcome=of.name, direction=claimed, declared=arm in of.direction,
        measure="sign" if of.bounds is None else "difference", bounds=of.bounds, original=original,
        shown=claimed is not None and direction_of(original) == claimed, audits=list(audits),
        **tally(original, audits),
    )  # fmt: skip


class _Auditor:
    """Plays the runs of audits in an experiment's folder; `paid` has the calls and dollars of each run."""

    def __init__(
        self, folder: Path, design: Design, of: DesignedOutcome, seen: Sequence[int], level: float, margin: float,
        stop: Stop | None,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.design = design
        self.of = of
        self.seen = seen
        self.level = level
        self.margin = margin
        self.stop = stop
        self.paid: dict[str, tuple[int, float]] = {}
        self.models: set[str] = set()
        self._begins = min((one.treated_at or 0 for one in design.treatments), default=0)
        self._unread = _goes_by_no_word(design)
        self._bounds = Schedule(folder, design).bounds(1)

    def original(self, arm: str) -> tuple[Found, Any]:
        """What the experiment itself shows of an arm, and what is claimed: as declared, or else as found."""
        whole = np.array([self._difference(self.design, Pair(self.design.control, arm), one) for one in self.seen])
        found = found_in(whole, self.of.bounds, margin=self.margin, level=self.level, to_the_end=True)
        return found, self.of.direction.get(arm) or direction_of(found)

    def play_all(
        self, audit: DesignedAudit, arms: Sequence[str], claimed: dict[str, Any], where: str
    ) -> list[tuple[str, AuditFound]]:
        """An audit of the claims on these arms."""
        try:
            design, pairs = with_audit(self.design, audit, arms, where)
            return [(arm, self._play(design, audit, arm, pairs[arm], claimed[arm])) for arm in arms]
        except (ScenarioError, SettingsError, RunFailed) as error:
            what = AuditFound(
                name=audit.name, kind=audit.kind, about=audit.about, status="not done", why=_first_line(error)
            )
            return [(arm, what) for arm in arms]

    def _play(self, design: Design, audit: DesignedAudit, arm: str, pair: Pair, claimed: Any) -> AuditFound:
        """One audit of one claim: replicate by replicate, until it is decided."""
        differences: list[float] = []
        asks, anew, billed, usd, same = 0, 0, 0, 0.0, True
        found = None
        for replicate in self.seen:
            for name in dict.fromkeys(pair):
                if name == design.control:
                    continue
                ran = self._run(design, name, replicate)
                asks += ran["asks"]["made"]
                anew += ran["asks"]["made"] - ran["asks"]["replayed"]
                billed += ran["calls_billed"]
                usd += float(ran["cost_usd"])
            same = same and self._same(design, pair, arm, replicate)
            differences.append(self._difference(design, pair, replicate))
            found = found_in(np.array(differences), self.of.bounds, margin=self.margin, level=self.level)
            if found.verdict != "open" or (self._unread and same and len(differences) >= _ENOUGH):
                break
        assert found is not None
        status, why = status_of(found, audit.kind, claimed), ""
        if audit.kind == "perturbation":
            if same and (self._unread or not anew or status == "open"):
                status, why = "idle", "every run is as it was: what answers does not go by it"
            elif claimed is None:
                status, why = "open", "nothing is claimed: no direction was declared, and none was found"
        return AuditFound(
            name=audit.name, kind=audit.kind, about=audit.about, status=status, why=why, effect=found, asks=asks,
            asked_anew=anew, calls=billed, cost_usd=usd,
        )  # fmt: skip

    def _run(self, design: Design, arm: str, replicate: int) -> dict[str, Any]:
        of = design.arm(arm)
        run = folder_of(of, replicate)
        parent = folder_of(design.arm(of.base), replicate) if of.base else ""
        (self.folder / run).parent.mkdir(parents=True, exist_ok=True)
        task = Task(run, arm, replicate, design.seed + replicate, parent)
        manifest = play(self.folder, design, task, self._bounds, stop=self.stop)
        if manifest["status"] != "complete":
            raise RunFailed(f"{run}: {manifest['error'] or manifest['status']}")
        self.paid[run] = int(manifest["calls_billed"]), float(manifest["cost_usd"])
        self.models.add(str(manifest["model"]))
        return manifest

    def _series(self, design: Design, arm: str, replicate: int) -> Floats:
        return series_of(self.folder / folder_of(design.arm(arm), replicate), self.of)

    def _difference(self, design: Design, pair: Pair, replicate: int) -> float:
        treated, control = (
            value_of(self._series(design, arm, replicate), self.of, self._begins)
            for arm in (pair.treated, pair.control)
        )
        return treated - control

    def _same(self, design: Design, pair: Pair, arm: str, replicate: int) -> bool:
        """Whether outcomes are those of the experiment's own arms."""
        couples = ((pair.control, design.control), (pair.treated, arm))
        return all(
            np.array_equal(self._series(design, one, replicate), self._series(design, other, replicate), equal_nan=True)
            for one, other in couples
        )


def _goes_by_no_word(design: Design) -> bool:
    """Whether what answers reads no prompt: rules, and the placebo."""
    kind = design.read_settings().model.kind
    societies = [load_society(origin) for origin in design.societies]
    return kind == "rules" or (kind == "scripted" and not any(one.scripted for one in societies))


def _first_line(error: PopulaceError) -> str:
    return str(error).partition("\n")[0][:300]
