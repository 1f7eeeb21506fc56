"""Verbs: what can be tried, when it can be done, and what it does; those that most stages need; a rule for texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from populace.core.errors import ScenarioError
from populace.env.master.stage import Stage

Kind = Literal["place", "thing", "agent", "text", "number"]
Named = dict[str, Any]
"""A verb's arguments: names of places, things and agents, text, numbers."""

KINDS: Final = ("place", "thing", "agent", "text", "number")
NO_VERB: Final = "none"


class Verb(msgspec.Struct, frozen=True, kw_only=True):
    """A verb that agents may use.

    `means` tells a model what it is; `words` are words for it, by which the rule finds it. `args` names its arguments,
    each a 'place', 'thing' or 'agent' by name, 'text' or a 'number'. `needs` are its preconditions by the word that
    refuses: `test(stage, agent, args)`. Where all hold, `does(stage, agent, args)` has its effect. `told` is what the
    agent hears, a template of its arguments and {actor}; `told_to` is what others in the same place hear, '' for
    nothing.
    """

    name: str
    means: str
    args: Mapping[str, Kind] = {}
    words: tuple[str, ...] = ()
    needs: Mapping[str, Callable[[Stage, int, Named], bool]] = {}
    does: Callable[[Stage, int, Named], None] | None = None
    told: str = "done"
    told_to: str = ""

    def __post_init__(self) -> None:
        """Raises ScenarioError for a name or a refusal that is no single word, and an argument of an unknown kind."""
        if not all(one.isidentifier() for one in (self.name, *self.needs, *self.args)) or self.name == NO_VERB:
            raise ScenarioError(
                f"Verb('{self.name}'): name, arguments and refusals are single words, the name not 'none'"
            )
        if unknown := [kind for kind in self.args.values() if kind not in KINDS]:
            there = ", ".join(KINDS)
            raise ScenarioError(f"Verb('{self.name}'): '{unknown[0]}' is no kind of argument; there are {there}")


GO: Final = Verb(
    name="go", means="walk to a place next to this one", args={"place": "place"}, words=("go", "walk", "run", "enter"),
    needs={"no_way": lambda stage, agent, args: args["place"] in stage.ways_from(stage.place_of(agent))},
    does=lambda stage, agent, args: stage.move(agent, args["place"]),
    told="you are in the {place}", told_to="{actor} goes to the {place}",
)  # fmt: skip
TAKE: Final = Verb(
    name="take", means="pick up a thing that lies here", args={"thing": "thing"}, words=("take", "grab", "pick"),
    needs={"not_here": lambda stage, agent, args: stage.lies_in(args["thing"]) == stage.place_of(agent)},
    does=lambda stage, agent, args: stage.give(args["thing"], agent),
    told="you have the {thing}", told_to="{actor} takes the {thing}",
)  # fmt: skip
DROP: Final = Verb(
    name="drop", means="lay down a thing that one holds", args={"thing": "thing"}, words=("drop", "lay", "leave"),
    needs={"not_held": lambda stage, agent, args: stage.holder(args["thing"]) == agent},
    does=lambda stage, agent, args: stage.lay(args["thing"], stage.place_of(agent)),
    told="you lay down the {thing}", told_to="{actor} lays down the {thing}",
)  # fmt: skip
HAND: Final = Verb(
    name="hand", means="give a thing that one holds to somebody here", args={"thing": "thing", "agent": "agent"},
    words=("give", "hand", "offer"),
    needs={
        "not_held": lambda stage, agent, args: stage.holder(args["thing"]) == agent,
        "nobody_here": lambda stage, agent, args: (
            stage.agent_id(args["agent"]) != agent
            and stage.place_of(stage.agent_id(args["agent"])) == stage.place_of(agent)
        ),
    },
    does=lambda stage, agent, args: stage.give(args["thing"], stage.agent_id(args["agent"])),
    told="you give the {thing} to {agent}", told_to="{actor} gives the {thing} to {agent}",
)  # fmt: skip
SAY: Final = Verb(
    name="say", means="say something to all who are here", args={"text": "text"}, words=("say", "tell", "shout", "ask"),
    told="you are heard", told_to="{actor} says: {text}",
)  # fmt: skip
BASIC_VERBS: Final = (GO, TAKE, DROP, HAND, SAY)
"""go, take, drop, hand and say."""


def reading_type(verbs: Sequence[Verb]) -> type[msgspec.Struct]:
    """The answer type of a reading: the verb, and all arguments that any of the verbs has."""
    names = (*(one.name for one in verbs), NO_VERB)
    args: dict[str, Any] = {}
    for verb in verbs:
        for name, kind in verb.args.items():
            args[name] = float if kind == "number" else str
    fields: list[Any] = [("verb", Literal[names])]
    fields += [(name, kind, kind()) for name, kind in sorted(args.items())]
    return msgspec.defstruct("Reading", fields)


def words_rule(verbs: Sequence[Verb] = BASIC_VERBS) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """Map a text to a verb by its words: what it gives is a rule for the purpose 'resolve'.

    The verb is that of the first word that any has among its `words` or as its name. Places, things and agents are
    those of the facts whose names stand in the text, the longest first; where there is none, the text's last word. A
    number is the last one.
    """
    by_word = {word: verb for verb in reversed(verbs) for word in (verb.name, *verb.words)}

    def rule(facts: dict[str, Any], draw: Any) -> dict[str, Any]:
        text = facts["text"].lower()
        said = re.findall(r"[\w']+", text)
        verb = next((by_word[word] for word in said if word in by_word), None)
        if verb is None:
            return {"verb": NO_VERB}
        known = {
            "place": [facts["place"], *facts["exits"]],
            "thing": [*facts["things"], *facts["holds"]],
            "agent": facts["people"],
        }
        found: dict[str, Any] = {"verb": verb.name}
        for name, kind in verb.args.items():
            if kind == "number":
                found[name] = next((float(one) for one in reversed(said) if one.isdigit()), 0.0)
            elif kind == "text":
                found[name] = facts["text"].partition(" ")[2] or facts["text"]
            else:
                standing = [one for one in known[kind] if re.search(rf"\b{re.escape(one.lower())}\b", text)]
                found[name] = max(standing, key=len, default=said[-1])
        return found

    return rule


def telling_rule(facts: dict[str, Any], draw: Any) -> str:
    """What happened, as it is: a rule for the purpose 'tell'."""
    return str(facts["outcome"])
