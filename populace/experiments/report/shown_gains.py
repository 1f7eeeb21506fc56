"""Who gains and who loses: effects by subgroup and by quantile, and of those who were drawn within runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from populace.experiments.effects import Effects
from populace.experiments.gains import Gained, Gains, Quantiles, Within, differing
from populace.experiments.inference.effects import interval_of
from populace.experiments.report import figures
from populace.experiments.report.document import Block, Figure, Section, Table, Text
from populace.experiments.report.words import chance, counted, number, p_value, signed, some, span
from populace.experiments.results import Results


def gains(results: Results, effects: Effects) -> Section | None:
    """Effects by subgroup and quantile; None where no outcome says what it is of each agent."""
    of = effects.gains
    if of is None or not (of.groups or of.quantiles or of.within or of.missing):
        return None
    arms = [arm.name for arm in results.design.treatments]
    blocks: list[Block] = []
    if of.groups:
        blocks.append(Text(_of_groups(of, effects.level)))
        blocks += _groups(results, effects, arms)
    if of.quantiles:
        blocks.append(Text(_of_quantiles(of, effects.level)))
        blocks += _quantiles(results, effects, arms)
    if of.within:
        blocks += _within(of.within)
    blocks += [Text(f"Nothing can be said of {one}.") for one in of.missing]
    return Section("Who gains and who loses", tuple(blocks))


def _gains(effects: Effects) -> Gains:
    assert effects.gains is not None
    return effects.gains


def _of_groups(of: Gains, level: float) -> str:
    columns = {(one.outcome, one.column) for one in of.groups}
    said = (
        "Groups are those of the population before tick 0, so no treatment moves who is in which; of each replicate a "
        f"group has one mean. p is of Student's paired test, adjusted by Holm over all {len(of.groups)} rows of "
        f"{counted(len(columns), 'comparison')} of groups, and an effect is clear where its interval leaves 0 out too "
        "(filled). Whether groups differ is shown by the last two columns, how unlike the other groups' mean a group's "
        "effect is (a diamond where that is clear), and not by one group being clear and another not."
    )
    if not of.registered:
        said += " These groups were not registered before the experiment was run: they explore, and decide nothing."
    return said + _no_claims(of)


def _no_claims(of: Gains) -> str:
    if of.claims:
        return ""
    return (
        " The experiment stopped by what was seen, and these intervals are of a fixed number of replicates: nothing "
        "is claimed by them."
    )


def _told(results: Results, outcome: str) -> str:
    """An outcome, and what it is of each agent where that is not plain."""
    each = results.design.outcome(outcome).each
    return outcome if each is None or each.words == outcome else f"{outcome} (of each agent {each.words})"


def _groups(results: Results, effects: Effects, arms: Sequence[str]) -> Iterator[Block]:
    of = _gains(effects)
    places = dict.fromkeys((one.outcome, one.column) for one in of.groups)
    for at, (outcome, column) in enumerate(places):
        groups = [one for one in of.groups if (one.outcome, one.column) == (outcome, column)]
        svg, png = figures.gains(groups, effects.control, arms, effects.level)
        clear = [f"{one.group} in {one.arm} ({signed(one.effect.difference)})" for one in groups if one.clear]
        yield Figure(
            f"gains-{at + 1}", f"Effects on {outcome} by {column}. Clear: {some(clear) or 'none'}.",
            f"Effects on {_told(results, outcome)} by {column}: an interval a group, filled where clear, a diamond "
            "where the group is clearly unlike the others.", svg, png,
            _group_table(outcome, column, groups, effects.control),
        )  # fmt: skip


def _group_table(outcome: str, column: str, groups: Sequence[Gained], control: str) -> Table:
    columns = (
        f"{column}: arm", "agents a run", f"in {control}", "in the arm", "difference", "interval", "p (Holm)",
        "less the other groups'", "p of that (Holm)",
    )  # fmt: skip
    rows = tuple(
        (
            f"{one.group}: {one.arm}", number(round(one.agents, 1)), number(one.effect.mean_control),
            number(one.effect.mean_treated), signed(one.effect.difference), span(one.interval),
            p_value(one.effect.p_adjusted), signed(one.found.unlike_others), p_value(one.found.p_unlike),
        )
        for one in groups
    )  # fmt: skip
    return Table(f"Effects on {outcome} by {column}", columns, rows)


def _of_quantiles(of: Gains, level: float) -> str:
    many = sum(len(one.found.effects) for one in of.quantiles)
    return (
        "Quantiles are over the agents of a run: how far the worst-off tenth's edge moves, the middle, the best-off "
        "tenth's. Agents may have changed places, so this is what became of the distribution. A band holds all of an "
        f"arm's quantiles with a chance of {100 * level:g} %; p is adjusted by Holm over all {many} quantiles."
        + _no_claims(of)
    )


def _quantiles(results: Results, effects: Effects, arms: Sequence[str]) -> Iterator[Block]:
    of = _gains(effects)
    for at, outcome in enumerate(dict.fromkeys(one.outcome for one in of.quantiles)):
        moved = [one for one in of.quantiles if one.outcome == outcome]
        svg, png = figures.quantiles(moved, effects.control, arms, effects.level)
        words = [f"{one.arm} {', '.join(signed(part.difference) for part in one.found.effects)}" for one in moved]
        yield Figure(
            f"quantiles-{at + 1}", f"How far quantiles of agents' {outcome} move: {'; '.join(words)}.",
            f"How far quantiles of agents' {_told(results, outcome)} move against {effects.control}.", svg, png,
            _quantile_table(outcome, moved, effects.control),
        )  # fmt: skip


def _quantile_table(outcome: str, moved: Sequence[Quantiles], control: str) -> Table:
    columns = ("quantile: arm", f"in {control}", "in the arm", "difference", "interval", "p (Holm)", "clear")
    rows = tuple(
        (
            f"{one.found.quantiles[at]:g}: {one.arm}", number(of.mean_control), number(of.mean_treated),
            signed(of.difference), span(interval_of(of)), p_value(of.p_adjusted), "yes" if one.clear[at] else "no",
        )
        for one in moved for at, of in enumerate(one.found.effects)
    )  # fmt: skip
    return Table(f"Quantiles of agents' {outcome}", columns, rows)


def _quoted(results: Results, outcome: str) -> str:
    told = _told(results, outcome)
    return repr(outcome) + told.removeprefix(outcome)


def _within(found: Sequence[Within]) -> tuple[Block, ...]:
    text = (
        "Of those whom a lot treats, less the others of the same runs. Agents of one run share its course, so standard "
        "errors are clustered by run; the interval that takes agents for independent stands beside it to show what "
        "that would have claimed. Where the treated reach the others (mail, markets, feeds) the others are no control: "
        "what spills over is in neither interval, and arms are what compares with an untreated society."
    )
    columns = (
        "outcome: arm", "drawn", "agents", "runs", "treated less others", "interval, clustered by run", "p",
        "were agents independent",
    )  # fmt: skip
    rows = tuple(
        (
            f"{one.outcome}: {one.arm}", f"{one.by} ({one.key})", f"{one.found.agents:,}", str(one.found.runs),
            signed(one.found.difference), span(one.found.interval), p_value(one.found.p), span(one.found.naive),
        )
        for one in found
    )  # fmt: skip
    return Text(text), Table("Agents drawn within runs", columns, rows)


def gains_lead(results: Results, effects: Effects) -> list[str]:
    """What a report's first lines say of who gains and who loses."""
    of = effects.gains
    if of is None or not of.groups or not of.claims:
        return []
    said = []
    for (arm, outcome, column), groups in differing(of.groups).items():
        ordered = sorted(groups, key=lambda one: one.effect.difference)
        least, most = ordered[0], ordered[-1]
        p = min(one.found.p_unlike for one in groups)
        said.append(
            f"Who gains and who loses: what {arm!r} does to {_quoted(results, outcome)} differs by {column!r}, from "
            f"{signed(least.effect.difference)} ({least.group}) to {signed(most.effect.difference)} ({most.group}); "
            f"{chance(p)} after Holm{'' if of.registered else ', not registered beforehand'}."
        )
    if said:
        return said
    columns = dict.fromkeys(repr(one.column) for one in of.groups)
    return [f"That effects differ by {', '.join(columns)} is not shown, which is not the same as absent."]
