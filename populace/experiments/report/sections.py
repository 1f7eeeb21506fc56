"""What was asked, what was done, and whether it was done: a report's first sections, and its audits."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from populace.core.errors import SettingsError
from populace.experiments.audits.record import read_audits
from populace.experiments.audits.shown import claim_line
from populace.experiments.design import Design, DesignedArm
from populace.experiments.report.document import Block, Items, Section, Table, Text
from populace.experiments.report.words import counted
from populace.experiments.results import Results


def question(design: Design) -> Section:
    """What was asked."""
    said = design.question or f"What do the arms of {design.name!r} do to {design.primary!r}?"
    return Section("Question", (Text(said), Text(f"It is decided by {design.primary!r}, as registered beforehand.")))


def design(of: Design) -> Section:
    """Arms, outcomes, replicates: what was registered."""
    arms = Table(
        "Arms",
        ("arm", "differs from the control by", "about", "treated from tick", "begins"),
        tuple((arm.name, _differs(of, arm), arm.about or "-", _tick(arm), _begins(arm)) for arm in of.arms),
    )
    outcomes = Table(
        "Outcomes, with what was predicted before anything was run",
        ("outcome", "read", "predicted", "about"),
        tuple(
            (one.name, _read(one.at, one.read, of.ticks), _predicted(one.direction), one.about or "-")
            for one in of.outcomes
        ),
    )
    text = (
        f"{counted(of.replicates, 'replicate')} of {len(of.arms)} arms: each replicate is a draw of the society with a "
        f"seed of its own ({of.seed} to {of.seed + of.replicates - 1}), played in every arm with the same draws. The "
        f"replicate is the unit, and an arm is compared with {of.control!r} within each."
    )
    registered = f"Registered {of.made or 'without a date'} as {of.digest}."
    blocks: list[Block] = [Text(text), arms, outcomes, Text(registered)]
    if of.randomised:
        lots = tuple(json.dumps(one, ensure_ascii=False) for one in of.randomised)
        blocks += [Text("Drawn within each run:"), Items(lots)]
    return Section("Design", tuple(blocks))


def _differs(of: Design, arm: DesignedArm) -> str:
    if arm.name == of.control:
        return "- (the control)"
    said = [json.dumps({k: v for k, v in one.items() if k != "name"}, ensure_ascii=False) for one in arm.levers]
    said += [
        f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in {**arm.parameters, **arm.settings}.items()
    ]
    if arm.society != of.arm(of.control).society:
        said.append("another society")
    return "; ".join(said) or "-"


def _from_to(low: float, high: float) -> str:
    return f"{int(low)}" if low == high else f"{int(low)} to {int(high)}"


def _tick(arm: DesignedArm) -> str:
    return "-" if arm.treated_at is None else str(arm.treated_at)


def _begins(arm: DesignedArm) -> str:
    return f"forked from {arm.base!r} before tick {arm.at_tick}" if arm.base else "by itself"


def _read(at: int | None, read: str, ticks: int) -> str:
    if at is not None:
        return f"before tick {at}"
    return "mean over ticks from the treatment on" if read == "mean" else f"at the end (after tick {ticks - 1})"


def _predicted(direction: Mapping[str, str]) -> str:
    return "; ".join(f"{arm}: {which}" for arm, which in direction.items()) or "-"


def fidelity(results: Results) -> Section:
    """Whom the levers touched, and when; what the dry pass before it found."""
    blocks = list[Block]()
    frame = results.fidelity
    if len(frame):
        rows = []
        for (arm, lever), of in frame.groupby(["arm", "lever"], sort=False):
            acted = of[of["rows"] > 0]
            ticks = _from_to(acted["first"].min(), acted["last"].max()) if len(acted) else "-"
            who = _from_to(of["agents"].min(), of["agents"].max()) if of["agents"].any() else "no agent in particular"
            rows.append((str(arm), str(lever), str(of["kind"].iloc[0]), f"{len(acted)} of {len(of)}", who, ticks))
        columns = ("arm", "lever", "kind", "runs in which it acted", "agents touched in a run", "ticks")
        blocks.append(Table("Whom levers touched", columns, tuple(rows)))
    else:
        blocks.append(Text("No arm has a lever: arms differ from their start, by parameters, settings or society."))
    dry = results.dry_pass
    if dry is None:
        blocks.append(Text("There was no dry pass."))
    else:
        said = f"A dry pass on {dry.mind} ({counted(dry.replicates, 'replicate')}) came before it"
        blocks.append(Text(f"{said}, and found nothing amiss." if not dry.notes else f"{said}, and noted:"))
        if dry.notes:
            blocks.append(Items(tuple(dry.notes)))
    return Section("Treatment fidelity", tuple(blocks))


class Audits(msgspec.Struct, frozen=True):
    """What `audits.json` of an experiment's folder says for its report: paragraphs, and a table."""

    text: list[str] = []
    columns: list[str] = []
    rows: list[list[str]] = []


def audits_lead(results: Results) -> list[str]:
    """What a report's first lines say of its audits; nothing where there are none that can be read."""
    try:
        audited = read_audits(results.folder)
    except SettingsError:
        return []
    return [] if audited is None else [f"Audits: {claim_line(one, audited.level)}" for one in audited.claims]


def audits(results: Results) -> Section | None:
    """What audits came to, where the folder holds any."""
    path = results.folder / "audits.json"
    if not path.exists():
        return None
    try:
        said = msgspec.json.decode(path.read_bytes(), type=Audits)
    except (msgspec.MsgspecError, OSError) as error:
        return Section("Audits", (Text(f"audits.json cannot be read: {error}"),))
    blocks: list[Block] = [Text(text) for text in said.text]
    if said.rows:
        blocks.append(Table("Audits", tuple(said.columns), tuple(map(tuple, said.rows))))
    return Section("Audits", tuple(blocks)) if blocks else None
