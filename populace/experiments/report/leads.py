"""The first lines of a report: what differs from what was expected, what was found, for whom, what to beware of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from populace.experiments.effects import Effects
from populace.experiments.report.document import Lead
from populace.experiments.report.minds import claims_of, minds_of
from populace.experiments.report.sections import audits_lead
from populace.experiments.report.shown_gains import gains_lead
from populace.experiments.report.shown_looks import looks_lead
from populace.experiments.report.words import against, counted, finding, share, some
from populace.experiments.results import Results

FEW: Final = 10
"""Pairs below which a report says that they are few."""


def leads_of(
    results: Results, effects: Effects | None, manifests: Mapping[str, Sequence[Mapping[str, Any]]]
) -> tuple[Lead, ...]:
    """The first lines, those that say what differs from what was expected first of all."""
    found = list[Lead]()
    if effects is not None:
        found += (
            _on_the_placebo(effects)
            if any(one.placebo for one in effects.found)
            else [*_differs(effects), *_found(results, effects)]
        )
    found.append(Lead("whom", _whom(results, effects, manifests)))
    found += [Lead("whom", text) for text in claims_of(manifests)]
    found += [Lead("beware", text) for text in audits_lead(results)]
    return (*found, *(Lead("beware", text) for text in _beware(results, effects)))


def _differs(effects: Effects) -> list[Lead]:
    ordered = sorted(effects.found, key=lambda one: (not one.clear, one.outcome != effects.primary))
    return [Lead("differs", text) for one in ordered for text in against(one, effects.control, effects.level)]


def _on_the_placebo(effects: Effects) -> list[Lead]:
    clear = [f"{one.arm!r} on {one.outcome!r}" for one in effects.found if one.clear]
    text = (
        f"On the placebo nothing is claimed: {len(clear)} of {counted(len(effects.found), 'difference')} are clear of 0"
    )
    return [Lead("found", f"{text}: {some(clear)}. Arms do this whatever is answered." if clear else f"{text}.")]


def _found(results: Results, effects: Effects) -> list[Lead]:
    primary = [one for one in effects.found if one.outcome == effects.primary]
    said = [finding(one, effects.control, effects.level) for one in primary]
    other = [one for one in effects.found if one.outcome != effects.primary]
    said += [finding(one, effects.control, effects.level) for one in other if one.clear]
    rest = [f"{one.arm!r} on {one.outcome!r}" for one in other if not one.clear]
    if rest:
        said.append(f"Not shown, which is not the same as absent: {some(rest)}.")
    said += looks_lead(results, effects)
    said += gains_lead(results, effects)
    return [Lead("found", text) for text in said]


def _whom(results: Results, effects: Effects | None, manifests: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    design = results.design
    held = f"{counted(len(effects.replicates), 'replicate')}" if effects else "no replicate yet that is whole"
    answered = minds_of(manifests) if any(manifests.values()) else "nothing yet"
    return (
        f"This holds for the society {design.society!r} ({counted(design.agents, 'agent')}, "
        f"{counted(design.ticks, 'tick')}), over {held} from seed {design.seed} on, answered by {answered}."
    )


def _beware(results: Results, effects: Effects | None) -> list[str]:
    design, said, runs = results.design, list[str](), results.runs
    if effects is None:
        said.append(
            f"Fewer than two replicates are complete in every arm, so no difference can be told (the experiment is "
            f"{results.status})."
        )
    elif len(effects.replicates) < design.replicates:
        said.append(
            f"{len(effects.replicates)} of {design.replicates} replicates are complete in every arm; the others are "
            f"left out as whole pairs (the experiment is {results.status})."
        )
    if effects is not None and len(effects.replicates) < FEW:
        said.append(
            f"{counted(len(effects.replicates), 'replicate')} are few: intervals are wide, and hold less surely."
        )
    if (failed := runs["status"] == "failed").any():
        arms = [f"{arm!r} {n}" for arm, n in runs[failed]["arm"].value_counts(sort=False).items()]
        said.append(f"Runs that failed, by arm: {some(arms)}.")
    if "valid" in runs and (bad := runs["valid"] == False).any():  # noqa: E712 - the column has None too
        why = dict.fromkeys(str(one) for one in runs[bad]["why_invalid"])
        said.append(
            f"{counted(int(bad.sum()), 'run')} of {len(runs)} are marked as not valid. They stand in the figures all "
            f"the same, since leaving them out would choose among replicates. The first: {next(iter(why))}"
        )
    if effects is None:
        return said
    if effects.failures_differ:
        worst = max(effects.failures, key=lambda one: abs(one.difference))
        said.append(
            f"Arms fail differently: {worst.kind!r} ended {share(worst.rate)} of {worst.of}s in {worst.arm!r}, "
            f"{share(abs(worst.difference))} {'more' if worst.difference > 0 else 'fewer'} than in {effects.control!r}."
            " Read the bounds under Failures beside the effects."
        )
    left = {(one.arm, one.outcome): len(one.left_out) for one in effects.found if one.left_out}
    if left:
        told = [f"{n} of {arm!r} on {outcome!r}" for (arm, outcome), n in left.items()]
        said.append(f"Pairs without a value in one of their arms are left out: {some(told)}.")
    if effects.missing:
        said.append(f"Nothing can be said of {'; of '.join(effects.missing)}.")
    return said
