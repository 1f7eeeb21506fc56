"""Plays the audits of an experiment, each as long as it takes, and tells what became of its claims. Shell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from populace.core.errors import AskedToEnd, PopulaceError, ScenarioError, SettingsError
from populace.data.societies import load_society
from populace.experiments.audits.arms import PLACE, Pair, chosen, generic_audits, settings_audit, with_audit
from populace.experiments.audits.claims import (
    MOST_LOOKS,
    decided_at_best,
    direction_of,
    fewest_to_decide,
    found_in,
    tally,
)
from populace.experiments.audits.declared import DesignedAudit
from populace.experiments.audits.lines import AuditSchedule, Claims, Line
from populace.experiments.audits.record import Audited, AuditFound, ClaimAudited, Found, write_audits
from populace.experiments.audits.shown import in_words
from populace.experiments.conducting import Watcher, conduct_all
from populace.experiments.design import Design, DesignedOutcome
from populace.experiments.progress import Silent
from populace.experiments.results import Results
from populace.runs.stop import Stop
from populace.store.lock import held
from populace.store.storage import make_folder


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
    watcher: Watcher | None = None,
    jobs: int = 1,
    stop: Stop | None = None,
) -> Audited:
    """Audit the claims of the experiment in `folder`: of each of the `arms` (all but the control) on one outcome.

    The audits are the generic ones, those that the experiment declares, and `also`: settings and parameters by
    key=value; of the others `only` names those that are played. Each goes on until the claim is decided in it, over at
    most so many `replicates` (those that are complete). `margin` is the difference that does not matter, for an outcome
    with bounds. What they come to is written to `audits.json`, and their runs to `audits/`, in the experiment's folder
    or in `out`; what is there already is not played again. `jobs` runs go side by side, each in a process of its own.
    Raises SettingsError and ScenarioError for what cannot be audited, and what ends a run early. Replicates that are
    too few to decide whatever they show are refused before anything is played, unless it is to be played `anyway`.
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
    begins = min((one.treated_at or 0 for one in design.treatments), default=0)
    claims = Claims(place, of, list(seen), level, margin, begins, _goes_by_no_word(design))
    with held(place):
        originals = {name: _original(claims, design, name) for name in names}
        lines = [
            line for one in audits
            for line in _lines(claims, design, one, {name: originals[name][1] for name in names}, where)
        ]  # fmt: skip
        schedule = AuditSchedule(place, design, lines)
        (place / where).mkdir(parents=True, exist_ok=True)
        try:
            conduct_all(schedule, jobs, watcher or Silent(), stop or Stop())
        except PopulaceError as error:
            if isinstance(error, AskedToEnd) or not schedule.failed or not schedule.forgives(error):
                raise
    found: dict[str, list[AuditFound]] = {name: [] for name in names}
    for line in lines:
        assert line.found is not None
        found[line.arm].append(line.found)
        note(f"{line.audit.name}, {line.arm}: {line.found.status}{f' ({line.found.why})' if line.found.why else ''}")
    paid = {run: one for line in lines for run, one in line.paid.items()}
    audited = Audited(
        experiment=design.name, model=sorted({one[2] for one in paid.values()}), level=level,
        made=datetime.now(UTC).isoformat(timespec="seconds"), calls=sum(one[0] for one in paid.values()),
        cost_usd=sum(one[1] for one in paid.values()),
        claims=[_claim(of, name, *originals[name], found[name]) for name in names],
    )  # fmt: skip
    audited = in_words(audited)
    write_audits(target, audited)
    return audited


def _original(claims: Claims, design: Design, arm: str) -> tuple[Found, Any]:
    """What the experiment itself shows of an arm, and what is claimed: as declared, or else as found."""
    whole = np.array([claims.difference(design, Pair(design.control, arm), one) for one in claims.seen])
    found = found_in(whole, claims.of.bounds, margin=claims.margin, level=claims.level, to_the_end=True)
    return found, claims.of.direction.get(arm) or direction_of(found)


def _lines(claims: Claims, design: Design, audit: DesignedAudit, claimed: dict[str, Any], where: str) -> list[Line]:
    """An audit of the claims on these arms; of one that cannot be played it says so."""
    try:
        derived, pairs = with_audit(design, audit, list(claimed), where)
    except (ScenarioError, SettingsError) as error:
        lines = [Line(claims, design, audit, arm, None, one) for arm, one in claimed.items()]
        for line in lines:
            line.fail(str(error))
        return lines
    return [Line(claims, derived, audit, arm, pairs[arm], one) for arm, one in claimed.items()]


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


def _goes_by_no_word(design: Design) -> bool:
    """Whether what answers reads no prompt: rules, and the placebo."""
    kind = design.read_settings().model.kind
    societies = [load_society(origin) for origin in design.societies]
    return kind == "rules" or (kind == "scripted" and not any(one.scripted for one in societies))
