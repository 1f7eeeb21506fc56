"""The rule mind of `smalltown`: tells what comes to mind, plans what it remembers, goes where the plan says.

It reads what came to mind, what was just heard, and the usual day. Whether that comes from a memory, from reflection or
from nowhere is nothing that it can tell. After Park et al. 2023 (arXiv:2304.03442), whose villagers are a language
model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from populace.core.draws import Stream
from populace.core.fences import unfence
from populace.env import BASIC_VERBS, Stage, Verb, words_rule
from populace.mind import memory_rules
from populace.scenarios._data import prompts

TEXTS = prompts("smalltown")
PLACES: Final = tuple(one["name"] for one in TEXTS["places"])
if TYPE_CHECKING:
    Place = str
else:
    Place = Literal[PLACES]
PARTY_HOUR: Final = 17
PARTY: Final = re.compile(r"\w+ \w+ gives a party at the (\w+) on (\w+) from (\d+) to (\d+), and all are invited\.")
CANDIDACY: Final = re.compile(r"(\w+ \w+) stands for mayor in the spring\.")


class Slot(msgspec.Struct):
    """A step of a plan: from one hour to another (0 to 24), what is done and at which place."""

    start: int
    end: int
    what: str
    where: Place


class Day(msgspec.Struct):
    """What is left of a day, in steps."""

    steps: list[Slot]


class Next(msgspec.Struct):
    """The place for the next hour."""

    where: Place


class Told(msgspec.Struct):
    """An answer to an interviewer."""

    knows: bool
    says: str


def minded(facts: Mapping[str, Any]) -> list[str]:
    """All that the mind has before it, the clearest first: its own aim, what was just heard, what came to mind."""
    heard = [text for _, text in unfence(facts["heard"])]
    return [one for one in (facts["aim"], *heard, *facts["remembered"]) if one]


def news(texts: list[str], pattern: re.Pattern[str]) -> re.Match[str] | None:
    """The first piece of news of a kind."""
    return next((found for text in texts if (found := pattern.search(text))), None)


def plan(facts: Mapping[str, Any], draw: Stream) -> Day:
    """The usual day, with what is remembered of today in its place (Park et al. 2023, section 4.3).

    Who is fond of company, 0.5 or more, goes to a party that it has in mind.
    """
    steps = [Slot(one["start"], one["end"], one["what"], one["where"]) for one in facts["usual"]]
    party = news(minded(facts), PARTY)
    if party is not None and party[2] == facts["weekday"] and facts["sociable"] >= 0.5:
        steps.append(Slot(int(party[3]), int(party[4]), "party", party[1]))
    return Day(steps)


def go(facts: Mapping[str, Any], draw: Stream) -> Next:
    """Where one usually is at this hour, unless something else comes to mind that is on now."""
    party = news(minded(facts), PARTY)
    likes = facts["sociable"] >= 0.5
    if party is not None and likes and party[2] == facts["weekday"] and int(party[3]) <= facts["hour"] < int(party[4]):
        return Next(party[1])
    usual = [one["where"] for one in facts["usual"] if one["start"] <= facts["hour"] < one["end"]]
    return Next(usual[0] if usual else facts["place"])


def say(facts: Mapping[str, Any], draw: Stream) -> str:
    """Pass on news that comes to mind, now and then, any of it as likely; else talk about nothing.

    An hour that is passed on is now and then wrong by one.
    """
    texts = minded(facts)
    known = [found[0] for pattern in (PARTY, CANDIDACY) if (found := news(texts, pattern))]
    if not known or not draw.bernoulli(facts["talkative"]):
        return f"Nice to see you at the {facts['place']}."
    told = str(draw.choice(known))
    if (party := PARTY.search(told)) and draw.bernoulli(facts["slip"]):
        return told.replace(f"from {party[3]} ", f"from {int(party[3]) + draw.choice([-1, 1])} ")
    return told


def interview(facts: Mapping[str, Any], draw: Stream) -> Told:
    """What comes to mind about the question, and nothing else."""
    found = news(minded(facts), PARTY if "party" in facts["question"] else CANDIDACY)
    return Told(found is not None, found[0] if found else "I have heard of none.")


def importance(facts: Mapping[str, Any], draw: Stream) -> Any:
    """News of what is to come is important, the rest is mundane (Park et al. 2023: 1 to 10)."""
    text = facts["memory"]
    return {"importance": 8.0 if PARTY.search(text) else 6.0 if CANDIDACY.search(text) else 2.0}


def attempt(facts: Mapping[str, Any], draw: Stream) -> str:
    """Take something that there is in town, or lay down what one holds; whether it is here, it may not know."""
    if facts["holds"] and draw.bernoulli(0.5):
        return f"lay down the {facts['holds'][0]}"
    return f"take the {draw.choice(facts['goods'])}"


def _lets_pass(verb: Verb) -> Verb:
    """The verb without its preconditions; where one of them would have refused, the conflict is counted."""
    if verb.does is None:
        return verb
    does, needs = verb.does, verb.needs

    def anyhow(stage: Stage, agent: int, args: dict[str, Any]) -> None:
        if not all(holds(stage, agent, args) for holds in needs.values()):
            stage.set_number("conflicts", agent, stage.number("conflicts", agent) + 1.0)
        does(stage, agent, args)

    return msgspec.structs.replace(verb, needs={}, does=anyhow)


def verbs(*, plausible: bool) -> tuple[Verb, ...]:
    """The verbs of the town, with their preconditions or without."""
    return BASIC_VERBS if plausible else tuple(_lets_pass(one) for one in BASIC_VERBS)


RULES: Final = {
    **memory_rules(), "memory_importance": importance, "plan": plan, "next": go, "say": say, "interview": interview,
    "try": attempt, "resolve": words_rule(BASIC_VERBS),
}  # fmt: skip


def is_true(topic: str, says: str, truth: str, known: list[str]) -> bool:
    """Whether an answer gives what is so, and something that its giver has heard speaks of the matter."""
    word = {"party": "party", "candidate": "mayor"}[topic]
    return truth in says and any(word in text for text in known)
