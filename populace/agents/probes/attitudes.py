"""Instruments that are made to measure: Likert scales, feeling thermometers; and single questions of surveys."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal

from populace.agents.probes.instrument import Instrument, Item, Scale
from populace.core.errors import ScenarioError

AGREEMENT: Final = {
    5: ("strongly disagree", "disagree", "neither agree nor disagree", "agree", "strongly agree"),
    7: (
        "strongly disagree",
        "disagree",
        "somewhat disagree",
        "neither agree nor disagree",
        "somewhat agree",
        "agree",
        "strongly agree",
    ),
}
"""Labels of agreement, from 1 on, for scales of five and of seven points."""


def likert(
    name: str,
    items: Mapping[str, str],
    *,
    points: int = 5,
    labels: Sequence[str] | None = None,
    reverse: Collection[str] = (),
    scales: Mapping[str, Collection[str]] | None = None,
    how: Literal["sum", "mean"] = "mean",
    most_missing: int = 0,
    title: str = "",
    source: str = "one's own",
    status: str = "one's own wording",
) -> Instrument:
    """A Likert scale of one's own: `items` are texts by name, answered from 1 to `points`.

    `labels` are those of agreement for 5 and 7 points unless given. Items in `reverse` count reversed. `scales` says
    which items belong to which scale; without it all belong to one, called by `name`. Raises ScenarioError for labels
    that are not one a point and for reversed items that there are not.
    """
    called = tuple(labels) if labels is not None else AGREEMENT.get(points, ())
    if called and len(called) != points:
        raise ScenarioError(f"likert {name!r}: {len(called)} labels for {points} points")
    foreign = sorted(set(reverse) - items.keys())
    if foreign:
        raise ScenarioError(f"likert {name!r}: reverse={foreign}: there is no such item; they are {', '.join(items)}")
    numbered = {float(at): label for at, label in enumerate(called, 1)}
    return Instrument(
        name=name,
        title=title or name,
        source=source,
        status=status,
        items=[Item(one, text, 1, points, numbered) for one, text in items.items()],
        scales=[
            Scale(scale, {one: -1 if one in reverse else 1 for one in members}, how, most_missing)
            for scale, members in (scales or {name: list(items)}).items()
        ],
    )


def feeling_thermometers(groups: Sequence[str], *, gap: tuple[str, str] | None = None) -> Instrument:
    """A feeling thermometer, 0 (cold) to 100 (warm) degrees, for each of these groups; a scale a group.

    With `gap=(own, other)`, of two of the groups, `gap` is warmth to the one less warmth to the other: affective
    polarisation (Iyengar, Sood and Lelkes 2012, Public Opinion Quarterly 76, 405-431).
    """
    return Instrument(
        name="feeling_thermometers",
        title="Feeling thermometers",
        source="The form has been in the American National Election Studies since 1964.",
        status="The form is free to use; the wording here is populace's own.",
        instruction=(
            "Rate each on a thermometer from 0 to 100 degrees: above 50 is warm, below 50 is cold, 50 is neither."
        ),
        items=[Item(group, f"How warm or cold do you feel towards {group}?", 0, 100) for group in groups],
        scales=[Scale(group, {group: 1}) for group in groups],
        differences={} if gap is None else {"gap": gap},
    )


TRUST: Final = Instrument(
    name="trust",
    title="Generalised trust",
    source=(
        "Rosenberg (1956), Misanthropy and political ideology, American Sociological Review 21, 690-695; the question "
        "`trust` of the General Social Survey."
    ),
    status="One question, in public questionnaires since 1948; quoted from the codebook of the General Social Survey.",
    items=[
        Item(
            "trust",
            "Generally speaking, would you say that most people can be trusted or that you can't be too careful in "
            "dealing with people?",
            1,
            3,
            {1.0: "most people can be trusted", 2.0: "can't be too careful", 3.0: "it depends"},
        )
    ],
    scales=[Scale("trusting", {"trust": 1}, recode={1.0: 1.0, 2.0: 0.0, 3.0: 0.0})],
)
"""Generalised trust: `trusting` is 1 for 'most people can be trusted' and 0 for the rest; its mean is the share."""

NET_PROMOTER: Final = Instrument(
    name="net_promoter",
    title="Net promoter score",
    source="Reichheld (2003), The one number you need to grow, Harvard Business Review 81(12), 46-54.",
    status=(
        "Net Promoter is a registered trademark of Bain & Company, NICE Systems and F. Reichheld; the arithmetic is "
        "free, and the wording here is populace's own."
    ),
    items=[Item("recommend", "From 0 (never) to 10 (surely): would you recommend it to a friend?", 0, 10)],
    scales=[
        Scale(
            "net_promoter",
            {"recommend": 1},
            recode={float(at): 100.0 if at >= 9 else 0.0 if at >= 7 else -100.0 for at in range(11)},
        )
    ],
)
"""Promoters (9, 10) count 100, passives (7, 8) nothing, detractors (0 to 6) -100: the mean is the net promoter "
"score."""

LIBERAL_CONSERVATIVE: Final = Instrument(
    name="liberal_conservative",
    title="Liberal-conservative self-placement",
    source="American National Election Studies, seven-point scale since 1972.",
    status="Labels of the scale as published; the question here is in populace's own words.",
    items=[
        Item(
            "placement",
            "Where would you place yourself on this scale?",
            1,
            7,
            {
                1.0: "extremely liberal",
                2.0: "liberal",
                3.0: "slightly liberal",
                4.0: "moderate, middle of the road",
                5.0: "slightly conservative",
                6.0: "conservative",
                7.0: "extremely conservative",
            },
        )
    ],
    scales=[Scale("conservative", {"placement": 1})],
)
"""Political self-placement of the American National Election Studies, from 1 (liberal) to 7 (conservative)."""

LEFT_RIGHT: Final = Instrument(
    name="left_right",
    title="Left-right self-placement",
    source="Eleven points from 0 to 10, as in the European Social Survey since 2002 (its item `lrscale`).",
    status="The form is free to use; the wording here is populace's own.",
    items=[Item("placement", "From 0 (left) to 10 (right): where would you place yourself in politics?", 0, 10)],
    scales=[Scale("right", {"placement": 1})],
)
"""Political self-placement from 0 (left) to 10 (right)."""
