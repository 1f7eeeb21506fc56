"""What was found: trajectories, effects, and failures with the bounds that they leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from populace.experiments.bounding import Bounded
from populace.experiments.design import Design
from populace.experiments.effects import Effects, Found, figure_of
from populace.experiments.inference.bounds import Bounds
from populace.experiments.report import figures
from populace.experiments.report.document import Block, Figure, Section, Table, Text
from populace.experiments.report.words import counted, number, p_value, share, signed, some, span
from populace.experiments.results import Results
from populace.experiments.values import Floats

MOST_OPEN: Final = 14
"""Rows of a table that stand open on a page; longer ones are folded."""


def trajectories(results: Results, effects: Effects) -> Section:
    """Every outcome by tick, with bands."""
    design, arms = results.design, [arm.name for arm in results.design.treatments]
    begins = min((arm.treated_at or 0 for arm in design.treatments), default=0)
    few = not any(np.isfinite(one.course.low).any() for one in effects.found)
    text = (
        "To the left means over the replicates, to the right differences from the control. "
        + (
            "There are too few replicates for bands."
            if few
            else f"A band holds the whole of its arm's true difference with a chance of {100 * effects.level:g} % "
            "(bootstrap of the largest t); it does not adjust for there being several arms and outcomes. Ticks at "
            "which nearly all pairs differ alike have none."
        )
        + (f" The dotted line is where the earliest treatment begins, tick {begins}." if begins else "")
    )
    blocks: list[Block] = [Text(text)]
    for at, outcome in enumerate(one.name for one in design.outcomes):
        found = [one for one in effects.found if one.outcome == outcome]
        if not found:
            continue
        svg, png = figures.trajectories(found, design.control, arms, begins, effects.level)
        blocks.append(Figure(
            f"trajectory-{at + 1}", _course_in_words(outcome, found, design.control),
            f"{outcome} by tick, and its difference from {design.control}.", svg, png,
            _course_table(outcome, found, design.control),
        ))  # fmt: skip
    return Section("Trajectories", tuple(blocks))


def _course_in_words(outcome: str, found: Sequence[Found], control: str) -> str:
    ends = [f"{one.arm} {number(_last(one.course.treated))}" for one in found]
    return f"{outcome} at its last tick: {control} {number(_last(found[0].course.control))}, {', '.join(ends)}."


def _last(values: Floats) -> float:
    there = values[np.isfinite(values)]
    return float(there[-1]) if len(there) else float("nan")


def _course_table(outcome: str, found: Sequence[Found], control: str) -> Table:
    columns = ["tick", control]
    for one in found:
        columns += [one.arm, f"{one.arm}, difference (band)"]
    rows = []
    for tick in range(len(found[0].course.control)):
        row = [str(tick), number(found[0].course.control[tick])]
        for one in found:
            course = one.course
            band = (
                f" ({number(course.low[tick])} to {number(course.high[tick])})" if np.isfinite(course.low[tick]) else ""
            )
            row += [number(course.treated[tick]), f"{signed(course.difference[tick])}{band}"]
        rows.append(tuple(row))
    return Table(f"{outcome} by tick", tuple(columns), tuple(rows), folded=len(rows) > MOST_OPEN)


def effects_section(of: Effects, design: Design) -> Section:
    """The forest plot, and every effect as a row."""
    ordered = [
        one for name in dict.fromkeys(one.outcome for one in of.found) for one in of.found if one.outcome == name
    ]
    text = (
        f"Means of paired differences. The experiment ended by what it showed (see Stopping), so intervals and p are "
        f"anytime-valid, {100 * of.level:g} %, p adjusted by Holm over all arms and outcomes with bounds; of outcomes "
        "without bounds the interval is of a fixed number of replicates and claims nothing. An effect is called clear "
        f"where its interval leaves 0 out and the adjusted p is at most {1 - of.level:.2g}."
        if of.looked is not None
        else f"Means of paired differences, with {100 * of.level:g} % intervals by the studentised bootstrap "
        "(Student's t below five pairs, or where the bootstrap has no ends). p is of Student's paired test, adjusted "
        f"by Holm over {counted(len(of.found), 'comparison')}. An effect is called clear where its interval leaves 0 "
        f"out and the adjusted p is at most {1 - of.level:.2g}."
    )
    clear = [f"{one.arm} on {one.outcome} {signed(one.effect.difference)}" for one in of.found if one.clear]
    alt = f"{counted(len(of.found), 'effect')} with intervals; clear of 0: {some(clear) or 'none'}."
    svg, png = figures.forest(of.found, design.control, [arm.name for arm in design.treatments], of.level)
    marks = "Filled marks are clear, hollow ones are not"
    marks += "; diamonds are published differences." if any(one.published is not None for one in of.found) else "."
    beside = {(one.arm, one.outcome): one for one in of.bounds}
    columns: tuple[str, ...] = (
        "outcome: arm", f"in {design.control}", "in the arm", "difference", "interval", "p (Holm)", "predicted",
        "published", *(("bounds, since arms fail differently",) if beside else ()), "verdict",
    )  # fmt: skip
    rows = tuple(
        (
            f"{one.outcome}: {one.arm}", number(one.effect.mean_control), number(one.effect.mean_treated),
            signed(one.effect.difference), span(one.interval), p_value(one.effect.p_adjusted), one.predicted or "-",
            "-" if one.published is None else signed(one.published),
            *((_widest(beside.get((one.arm, one.outcome))),) if beside else ()), one.verdict,
        )
        for one in ordered
    )  # fmt: skip
    caption = f"Effects against {design.control}. {marks}"
    blocks: list[Block] = [Text(text), Figure("effects", alt, caption, svg, png, Table("Effects", columns, rows))]
    levels = published(design, of)
    return Section("Effects", (*blocks, *([] if levels is None else [levels]), *_sizes(ordered)))


LEAST_OF_FLIPS: Final = 0.05
"""Where even pairs that all agree have a p by sign flips above this, a report says so."""


def _sizes(found: Sequence[Found]) -> tuple[Block, ...]:
    text = (
        "d_z is in standard deviations of the paired differences, and grows with the pairing; g (Hedges) is in "
        "standard deviations of the outcome between replicates, and compares with other studies. The variance ratio is "
        "how many times as many replicates unpaired runs would need for the same standard error."
    )
    columns = (
        "outcome: arm", "pairs", "d_z", "g", "variance ratio", "Student's t", "studentised", "p (t)", "p (sign flips)",
    )  # fmt: skip
    rows = tuple(
        (
            f"{one.outcome}: {one.arm}", str(one.effect.replicates), number(one.effect.d_z),
            number(one.effect.hedges_g), number(one.effect.variance_ratio), span(one.effect.t),
            span(one.effect.studentised), p_value(one.effect.p_t), p_value(one.effect.p_sign_flip),
        )
        for one in found
    )  # fmt: skip
    table = Table("Sizes, other intervals and other tests", columns, rows)
    fewest = min(one.effect.replicates for one in found)
    floor = 2.0 ** (1 - fewest)
    if floor <= LEAST_OF_FLIPS:
        return Text(text), table
    return (
        Text(text),
        table,
        Text(f"With {fewest} pairs p by sign flips cannot be lower than {floor:g}, whatever they show."),
    )


def published(design: Design, of: Effects) -> Table | None:
    """Published figures beside ours, with their source; None where there are none."""
    ours = {(one.outcome, one.arm): one.effect.mean_treated for one in of.found}
    ours |= {(one.outcome, design.control): one.effect.mean_control for one in of.found}
    rows = [
        (f"{outcome}: {arm}", number(figure), number(ours.get((outcome, arm))), str(given.get("source", "-")))
        for outcome, given in design.published.items()
        for arm, figure in ((arm, figure_of(value)) for arm, value in given.items())
        if figure is not None
    ]
    columns = ("outcome: arm", "published", "here", "source")
    return Table("Published figures beside these", columns, tuple(rows)) if rows else None


def failures(of: Effects) -> Section:
    """Failures by kind and arm, and the bounds of effects where arms differ in them."""
    if not of.failures:
        return Section("Failures", (Text("No ask abstained and no turn ended by an exception, in any arm."),))
    rows = tuple(
        (
            f"{one.kind}: {one.arm}", f"{one.failures:,} of {one.tried:,} {one.of}s", share(one.rate),
            "-" if one.arm == of.control else share(one.difference),
            "-" if one.arm == of.control else p_value(one.p_adjusted),
        )
        for kind in dict.fromkeys(one.kind for one in of.failures) for one in of.failures if one.kind == kind
    )  # fmt: skip
    columns = ("kind and arm", "failures", "rate", f"less that of {of.control}", "p (Holm)")
    told = (
        "Arms fail differently, so each effect stands beside bounds that hold whatever the missing answers were: by "
        "the outcome's range alone (worst case, Manski 1990), and where treatment moves answering one way (Lee 2009)."
        if of.failures_differ
        else "No arm is shown to fail more or less than the control, which does not show that they fail alike: the "
        f"largest difference is {share(max(abs(one.difference) for one in of.failures))}."
    )
    blocks: list[Block] = [Table("Failures by kind and arm", columns, rows), Text(told)]
    if of.bounds:
        blocks.append(Table(
            "Bounds of effects", ("outcome and arm", "of agents'", "worst case (interval)", "Lee (interval)", "note"),
            tuple((f"{one.outcome}: {one.arm}", one.of or "-", _bounds(one.worst), _bounds(one.trimmed), one.why or "-")
                  for one in of.bounds),
        ))  # fmt: skip
    return Section("Failures", tuple(blocks))


def _widest(one: Bounded | None) -> str:
    """The interval of what an effect may be where arms fail differently, by the weakest assumption that there is."""
    found = None if one is None else one.worst or one.trimmed
    if one is None or found is None:
        return "none" if one is not None else "-"
    return f"{number(found.interval_low)} to {number(found.interval_high)} ({found.method})"


def _bounds(one: Bounds | None) -> str:
    if one is None:
        return "-"
    ends = f"{number(one.interval_low)} to {number(one.interval_high)}"
    return f"{number(one.low)} to {number(one.high)} ({ends})"
