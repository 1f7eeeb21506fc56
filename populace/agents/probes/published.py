"""Published instruments of several items, with their keys; wordings only where they may be passed on."""

from __future__ import annotations

from typing import Final, Literal

from populace.agents.probes.instrument import Instrument, Item, Scale

_DAYS: Final = {
    0.0: "rarely or none of the time (less than 1 day)",
    1.0: "some or a little of the time (1-2 days)",
    2.0: "occasionally or a moderate amount of time (3-4 days)",
    3.0: "most or all of the time (5-7 days)",
}
_CESD: Final = (
    "I was bothered by things that usually don't bother me.",
    "I did not feel like eating; my appetite was poor.",
    "I felt that I could not shake off the blues even with help from my family or friends.",
    "I felt that I was just as good as other people.",
    "I had trouble keeping my mind on what I was doing.",
    "I felt depressed.",
    "I felt that everything I did was an effort.",
    "I felt hopeful about the future.",
    "I thought my life had been a failure.",
    "I felt fearful.",
    "My sleep was restless.",
    "I was happy.",
    "I talked less than usual.",
    "I felt lonely.",
    "People were unfriendly.",
    "I enjoyed life.",
    "I had crying spells.",
    "I felt sad.",
    "I felt that people disliked me.",
    'I could not get "going".',
)
_SHORT: Final = (1, 5, 6, 7, 8, 10, 11, 12, 14, 20)
_WEEK: Final = "How often have you felt or behaved this way during the past week?"
_NIMH: Final = "Made at the National Institute of Mental Health of the United States; in the public domain."


def _key(numbers: str, stem: str = "") -> dict[str, Literal[1, -1]]:
    """A key from numbers or names of items, those that count reversed with a minus before them."""
    return {f"{stem}{one.lstrip('-')}": -1 if one.startswith("-") else 1 for one in numbers.split()}


CESD: Final = Instrument(
    name="cesd",
    title="Center for Epidemiologic Studies Depression Scale",
    source=(
        "Radloff (1977), The CES-D scale: a self-report depression scale for research in the general population, "
        "Applied Psychological Measurement 1, 385-401."
    ),
    status=_NIMH,
    instruction=_WEEK,
    items=[Item(f"cesd{at}", text, 0, 3, _DAYS) for at, text in enumerate(_CESD, 1)],
    scales=[
        Scale(
            "depression",
            _key("1 2 3 -4 5 6 7 -8 9 10 11 -12 13 14 15 -16 17 18 19 20", "cesd"),
            "sum",
            most_missing=4,
            cutoffs={"depressed": 16},
        )
    ],
)
"""CES-D, 20 items: a sum of 0 to 60, items 4, 8, 12 and 16 reversed; no score with more than four left out."""

CESD10: Final = Instrument(
    name="cesd10",
    title="CES-D, ten items",
    source=(
        "Andresen, Malmgren, Carter and Patrick (1994), Screening for depression in well older adults, American "
        "Journal of Preventive Medicine 10, 77-84."
    ),
    status=f"Ten items of the CES-D. {_NIMH}",
    instruction=_WEEK,
    items=[Item(f"cesd10_{at}", _CESD[of - 1], 0, 3, _DAYS) for at, of in enumerate(_SHORT, 1)],
    scales=[
        Scale(
            "depression",
            _key("1 2 3 4 -5 6 7 -8 9 10", "cesd10_"),
            "sum",
            most_missing=2,
            cutoffs={"depressed": 10},
        )
    ],
)
"""CESD-10: a sum of 0 to 30, items 5 and 8 reversed; no score with more than two left out."""

BFI10: Final = Instrument(
    name="bfi10",
    title="Big Five Inventory, ten items",
    source=(
        "Rammstedt and John (2007), Measuring personality in one minute or less, Journal of Research in "
        "Personality 41, 203-212."
    ),
    status=(
        "Open for research that is not commercial, not for commercial use (GESIS, Items und Skalen, BFI-10); so its "
        "wording is not passed on here, only its key: take the items from the article."
    ),
    items=[Item(f"bfi{at}", None, 1, 5) for at in range(1, 11)],
    scales=[
        Scale("extraversion", _key("-1 6", "bfi")),
        Scale("agreeableness", _key("2 -7", "bfi")),
        Scale("conscientiousness", _key("-3 8", "bfi")),
        Scale("neuroticism", _key("-4 9", "bfi")),
        Scale("openness", _key("-5 10", "bfi")),
    ],
)
"""BFI-10: two items a scale, each answered from 1 to 5; scores are means."""

_IPIP: Final = {
    "A1": "Am indifferent to the feelings of others.",
    "A2": "Inquire about others' well-being.",
    "A3": "Know how to comfort others.",
    "A4": "Love children.",
    "A5": "Make people feel at ease.",
    "C1": "Am exacting in my work.",
    "C2": "Continue until everything is perfect.",
    "C3": "Do things according to a plan.",
    "C4": "Do things in a half-way manner.",
    "C5": "Waste my time.",
    "E1": "Don't talk a lot.",
    "E2": "Find it difficult to approach others.",
    "E3": "Know how to captivate people.",
    "E4": "Make friends easily.",
    "E5": "Take charge.",
    "N1": "Get angry easily.",
    "N2": "Get irritated easily.",
    "N3": "Have frequent mood swings.",
    "N4": "Often feel blue.",
    "N5": "Panic easily.",
    "O1": "Am full of ideas.",
    "O2": "Avoid difficult reading material.",
    "O3": "Carry the conversation to a higher level.",
    "O4": "Spend time reflecting on things.",
    "O5": "Will not probe deeply into a subject.",
}
_ACCURATE: Final = dict(
    zip(
        (1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
        ("very inaccurate", "moderately inaccurate", "slightly inaccurate",
         "slightly accurate", "moderately accurate", "very accurate"),
        strict=True,
    )
)  # fmt: skip

IPIP25: Final = Instrument(
    name="ipip25",
    title="Twenty-five items of the International Personality Item Pool, five a factor",
    source=(
        "Goldberg (1999), A broad-bandwidth, public domain, personality inventory; the selection and the key of data "
        "set `bfi` in Revelle's package psych."
    ),
    status="The items of the International Personality Item Pool (ipip.ori.org) are in the public domain.",
    instruction="How accurately does this describe you?",
    items=[Item(name, text, 1, 6, _ACCURATE) for name, text in _IPIP.items()],
    scales=[
        Scale("agreeableness", _key("-A1 A2 A3 A4 A5"), most_missing=2),
        Scale("conscientiousness", _key("C1 C2 C3 -C4 -C5"), most_missing=2),
        Scale("extraversion", _key("-E1 -E2 E3 E4 E5"), most_missing=2),
        Scale("neuroticism", _key("N1 N2 N3 N4 N5"), most_missing=2),
        Scale("openness", _key("O1 -O2 O3 O4 -O5"), most_missing=2),
    ],
)
"""Five scales of five items, each answered from 1 to 6; scores are means of at least three items."""

PANAS: Final = Instrument(
    name="panas",
    title="Positive and Negative Affect Schedule",
    source=(
        "Watson, Clark and Tellegen (1988), Development and validation of brief measures of positive and negative "
        "affect: the PANAS scales, Journal of Personality and Social Psychology 54, 1063-1070."
    ),
    status=(
        "Copyright 1988 American Psychological Association: its words are not passed on here, only its key, by "
        "the order of the items in the article."
    ),
    items=[Item(f"panas{at}", None, 1, 5) for at in range(1, 21)],
    scales=[
        Scale("positive", _key("1 3 5 9 10 12 14 16 17 19", "panas"), "sum"),
        Scale("negative", _key("2 4 6 7 8 11 13 15 18 20", "panas"), "sum"),
    ],
)
"""PANAS: two sums of ten items, 10 to 50 each."""

_OFTEN: Final = dict(
    zip(
        (1.0, 2.0, 3.0, 4.0, 5.0),
        ("very rarely or never", "rarely", "sometimes", "often", "very often or always"),
        strict=True,
    )
)
_POSITIVE: Final = ("positive", "good", "pleasant", "happy", "joyful", "contented")
_NEGATIVE: Final = ("negative", "bad", "unpleasant", "sad", "afraid", "angry")

SPANE: Final = Instrument(
    name="spane",
    title="Scale of Positive and Negative Experience",
    source=(
        "Diener, Wirtz, Tov, Kim-Prieto, Choi, Oishi and Biswas-Diener (2010), New well-being measures, Social "
        "Indicators Research 97, 143-156."
    ),
    status=(
        "Copyright Ed Diener and Robert Biswas-Diener, January 2009. Its authors let anybody use it without asking, if "
        "credit is given (eddiener.com)."
    ),
    instruction="How much have you experienced each of these feelings during the past four weeks?",
    items=[
        Item(word, word, 1, 5, _OFTEN)
        for word in (
            "positive", "negative", "good", "bad", "pleasant", "unpleasant",
            "happy", "sad", "afraid", "joyful", "angry", "contented",
        )
    ],
    scales=[
        Scale("positive_feelings", dict.fromkeys(_POSITIVE, 1), "sum"),
        Scale("negative_feelings", dict.fromkeys(_NEGATIVE, 1), "sum"),
    ],
    differences={"balance": ("positive_feelings", "negative_feelings")},
)  # fmt: skip
"""SPANE: sums of six items, 6 to 30 each, and their balance, -24 to 24."""
