"""Audits in words: a line that says what became of each claim, and a table of what each audit found. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from populace.experiments.audits.record import Audited, AuditFound, ClaimAudited
from populace.experiments.audits.sensitivity import Sensitivity

_WORDS: Final = {
    "survived": "holds in it too",
    "vanished": "no effect that matters is left",
    "reversed": "the effect goes the other way",
    "open": "not decided by these replicates",
    "remains": "the effect is there all the same",
    "holds": "no effect can be claimed, as it should be",
    "idle": "changed nothing, so it tried nothing",
    "not done": "not done",
}


def as_text(audited: Audited) -> str:
    """All claims with their audits, for a terminal or a page in Markdown."""
    parts = [_claim(one, audited.level) for one in audited.claims]
    return "\n\n".join([*parts, _cost(audited)]) + "\n"


def in_words(audited: Audited) -> Audited:
    """The same with its text, and with one table of all claims' audits, as a report shows them."""
    level = f"{audited.level:.0%}"
    rows = [[claim.arm, *_cells(one)] for claim in audited.claims for one in claim.audits]
    return msgspec.structs.replace(
        audited, text=[*(claim_line(one, audited.level) for one in audited.claims), _cost(audited)], rows=rows,
        columns=["arm", "audit", "what became of it", "replicates", "effect", f"{level} sequence", "calls", "USD"],
    )  # fmt: skip


def _cost(audited: Audited) -> str:
    model = ", ".join(audited.model) or "no model"
    return f"Knowing it took {audited.calls:,} calls and {audited.cost_usd:.4f} US dollars (answers by {model})."


def claim_line(claim: ClaimAudited, level: float = 0.95) -> str:
    """What became of a claim, in a sentence or two."""
    if claim.direction is None:
        said = (
            f"{claim.arm}, {claim.outcome}: no claim: no direction was declared, and the sequential rule finds none in "
        )
        said += f"{_replicates(claim)}."
    else:
        whose = "declared" if claim.declared else "found, not declared beforehand"
        said = f"{claim.arm} moves {claim.outcome} {claim.direction} ({whose})."
        if not claim.shown:
            said += f" {_not_shown(claim, level)}"
        said += f" It survives {claim.survived} of {claim.of} perturbations"
        more = [f"{count} {what}" for count, what in ((claim.reversed, "reversed"), (claim.open, "open")) if count]
        said += f" ({', '.join(more)})." if more else "."
        said += f" Effects from {claim.range[0]:.4g} to {claim.range[1]:.4g}."
    remain = [one.name for one in claim.audits if one.status == "remains"]
    if remain:
        said += f" Under {', '.join(remain)} an effect remains: it is not what this control took away that makes it."
    elif claim.controls_hold:
        said += " Under the controls no effect can be claimed."
    return said


def _not_shown(claim: ClaimAudited, level: float) -> str:
    by = f"{_replicates(claim)} ({level:.0%} confidence sequence)"
    if claim.original.verdict != "open":
        return f"The experiment itself does not show it: by {by} it shows otherwise."
    return (
        f"Not decided by the sequential rule with {by}. It asks for more than an interval at the end of a fixed number "
        "of replicates does, so the report's interval may leave 0 out all the same."
    )


def _replicates(claim: ClaimAudited) -> str:
    return f"{claim.original.replicates} replicates"


def sensitivity_text(found: Sensitivity) -> str:
    """What an outcome is sensitive to, the most first."""
    sobol = found.method == "sobol"
    shares = sorted(found.shares, key=lambda one: -((one.total if sobol else one.effect) or 0.0))
    columns = "first order | total" if sobol else "mean absolute effect over the range | its spread"
    lines = [
        f"{found.outcome}, by {found.method} at {found.points:,} points (variance {found.variance:.4g}):", "",
        f"| parameter | range | {columns} |", "|---|---|---|---|",
    ]  # fmt: skip
    for one in shares:
        if sobol:
            said = f"{_with(one.first, one.first_error)} | {_with(one.total, one.total_error)}"
        else:
            said = f"{_with(one.effect, one.effect_error)} | {one.spread:.4g}"
        lines.append(f"| {one.parameter} | {one.low:g} to {one.high:g} | {said} |")
    return "\n".join(lines) + "\n"


def _with(value: float | None, error: float | None) -> str:
    return f"{value or 0.0:.4g} ± {error or 0.0:.2g}"


def _claim(claim: ClaimAudited, level: float) -> str:
    what = "mean difference" if claim.bounds is not None else "balance of signs"
    head = f"| audit | what became of it | replicates | effect | {level:.0%} sequence ({what}) | calls | USD |"
    found = claim.original
    lines = [head, "|---|---|---|---|---|---|---|"]
    lines.append(
        f"| the experiment | {'shown' if claim.shown else 'not shown'} | {found.replicates} | {found.mean:.4g} | "
        f"{found.low:.3g} to {found.high:.3g} | | |"
    )
    return "\n".join([claim_line(claim, level), "", *lines, *map(_row, claim.audits)])


def _row(one: AuditFound) -> str:
    return f"| {' | '.join(_cells(one))} |"


def _cells(one: AuditFound) -> list[str]:
    name = one.name if one.kind == "perturbation" else f"{one.name} (control)"
    said = f"{one.status}: {one.why}" if one.status == "not done" else f"{one.status}: {_WORDS[one.status]}"
    found = ["", "", ""]
    if one.effect is not None:
        of = one.effect
        found = [str(of.replicates), f"{of.mean:.4g}", f"{of.low:.3g} to {of.high:.3g}"]
    return [name, said, *found, f"{one.calls:,}", f"{one.cost_usd:.4f}"]
