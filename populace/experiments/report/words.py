"""Numbers and findings in words. Pure."""

from __future__ import annotations

import math

from populace.experiments.effects import Found
from populace.experiments.inference.intervals import Interval


def number(value: float | None) -> str:
    """Three significant digits; a dash for what is not there."""
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def signed(value: float) -> str:
    """A difference with its sign."""
    shown = number(value)
    return f"+{shown}" if value > 0 else shown


def chance(p: float) -> str:
    """A p-value: `p = 0.012`, `p < 0.001`; `no p` for none."""
    if math.isnan(p):
        return "no p"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def p_value(p: float) -> str:
    """A p-value in a table: `0.012`, `< 0.001`."""
    return "-" if math.isnan(p) else chance(p).removeprefix("p ").removeprefix("= ")


def span(interval: Interval | None) -> str:
    """An interval: `0.1 to 0.4`."""
    return "-" if interval is None else f"{number(interval.low)} to {number(interval.high)}"


def share(value: float) -> str:
    """A share as per cent."""
    return f"{100 * value:.3g} %"


def some(names: list[str], most: int = 6) -> str:
    """Names in a row, the first few of many."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def counted(n: int, one: str) -> str:
    """`1 pair`, `3 pairs`."""
    return f"{n:,} {one}" if n == 1 else f"{n:,} {one}s"


def finding(one: Found, control: str, level: float) -> str:
    """A sentence on one effect: what was found, how sure, and whether it was expected."""
    of = one.effect
    alone = "" if one.clear or one.interval.covers(0.0) else " (which by itself leaves 0 out)"
    valid = "anytime-valid " if one.anytime else ""
    evidence = (
        f"{100 * level:g} % {valid}interval {span(one.interval)}{alone}, {chance(of.p_adjusted)} after Holm, "
        f"{counted(of.replicates, 'pair')}"
    )
    means = f"{number(of.mean_treated)} and {number(of.mean_control)}"
    if one.clear:
        verb = "raises" if of.difference > 0 else "lowers"
        after = f": {one.verdict}" if one.predicted else ""
        by = number(abs(of.difference))
        return f"{of.arm!r} {verb} {of.outcome!r} by {by} against {control!r} ({means}; {evidence}){after}."
    wanted = f", though {'a rise' if one.predicted == 'up' else 'a fall'} was predicted" if one.predicted else ""
    return (
        f"No effect of {of.arm!r} on {of.outcome!r} is shown{wanted}: {signed(of.difference)} against {control!r} "
        f"({means}; {evidence})."
    )


def against(one: Found, control: str, level: float) -> list[str]:
    """What of an effect differs from what was predicted or published: a sentence each."""
    said = []
    of = one.effect
    how = "clearly" if one.clear else "though not clearly"
    here = f"here it is {signed(of.difference)} ({100 * level:g} % interval {span(one.interval)})"
    if one.differs_from_predicted:
        said.append(
            f"Against the prediction, {how}: {of.arm!r} was to move {of.outcome!r} {one.predicted} against "
            f"{control!r}, and {here}."
        )
    if one.differs_from_published and one.published is not None:
        said.append(
            f"Otherwise than published, {how}: {of.arm!r} less {control!r} on {of.outcome!r} is published as "
            f"{signed(one.published)}, and {here}."
        )
    return said
