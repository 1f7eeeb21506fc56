"""When an experiment had seen enough: its anytime-valid intervals after each replicate, and the looks at them."""

from __future__ import annotations

from typing import Final

from populace.experiments.design import Design
from populace.experiments.effects import Effects
from populace.experiments.looking import Looked
from populace.experiments.report import figures
from populace.experiments.report.document import Block, Figure, Section, Table, Text
from populace.experiments.report.words import counted, number, p_value, signed, some
from populace.experiments.results import Results

_SAYS: Final = {
    "above": "above 0", "below": "below 0", "negligible": "within the margin of 0", "narrow": "narrow enough",
    "open": "open",
}  # fmt: skip


def looks(results: Results, effects: Effects) -> Section | None:
    """The sequence over looks; None where the number of replicates was fixed."""
    looked = effects.looked
    if looked is None:
        return None
    text = (
        f"The experiment went on in batches of {looked.stopping.batch} {looked.stopping.told()}, or until "
        f"{looked.stopping.most} replicates or its money. {_ended(results.design, looked)} The intervals are "
        "anytime-valid (confidence sequences by betting, Waudby-Smith and Ramdas 2024): all of them, after every "
        "replicate, hold the mean difference at once with their chance, so ending because of what was seen costs "
        "nothing. They rest on the outcome's bounds and are wider than an interval that may be looked at once only. p "
        "holds at every look, too, and is adjusted by Holm over all arms and outcomes with bounds. The intervals of a "
        "fixed number of replicates that stand elsewhere in this report claim nothing here."
    )
    arms = [arm.name for arm in results.design.treatments]
    svg, png = figures.sequences(looked, effects.control, arms, effects.level)
    last = [one for one in looked.looks if one.replicates == looked.replicates]
    ends = [f"{one.arm} {number(one.low)} to {number(one.high)}" for one in last]
    columns = ("replicates: arm", "mean difference", "anytime-valid interval", "p (Holm)", "says")
    rows = tuple(
        (
            f"{one.replicates}: {one.arm}", signed(one.estimate), f"{number(one.low)} to {number(one.high)}",
            p_value(one.p_adjusted), _SAYS[one.says],
        )
        for one in looked.looks
    )  # fmt: skip
    blocks: tuple[Block, ...] = (
        Text(text),
        Figure(
            "looks", f"Anytime-valid intervals of {looked.outcome} after {looked.replicates} replicates: "
            f"{', '.join(ends)}.", f"{looked.outcome}: the anytime-valid interval of each arm's difference from "
            f"{effects.control} after each replicate; dotted lines are looks.", svg, png,
            Table("Looks", columns, rows, folded=len(rows) > 14),
        ),
    )  # fmt: skip
    return Section("Stopping", blocks)


def looks_lead(results: Results, effects: Effects) -> list[str]:
    """What a report's first lines say of it."""
    looked = effects.looked
    if looked is None:
        return []
    bare = [repr(one.name) for one in results.design.outcomes if one.bounds is None]
    said = (
        f"{_ended(results.design, looked)} Intervals are anytime-valid: they hold at every look, so that it ended by "
        "what was seen costs nothing."
    )
    if bare:
        said += f" Nothing is claimed of {some(bare)}, for which no bounds are declared."
    return [said]


def _ended(design: Design, looked: Looked) -> str:
    after = f"after {counted(looked.replicates, 'replicate')} of at most {looked.stopping.most}"
    why = "decided" if looked.decided else looked.stopping.ended
    return {
        "decided": f"It ended {after}: every arm was decided on {looked.outcome!r}.",
        "replicates": f"It ended {after}, not decided in every arm on {looked.outcome!r}.",
        "money": f"It ended {after}, since its money would not have lasted for another batch; not every arm is decided "
        f"on {looked.outcome!r}.",
        "": f"It has not ended: this is {after}.",
    }[why]
