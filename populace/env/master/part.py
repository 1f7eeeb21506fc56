"""A game master as a part of the world."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.core.records import Abstained
from populace.env.digest import join_digests, state_digest
from populace.env.master.stage import Stage
from populace.env.master.verbs import BASIC_VERBS, NO_VERB, Named, Verb, reading_type
from populace.env.part import Batch, Opening, Part, action
from populace.env.wholes import check_whole

RESOLVE: Final = """In the {place}, {actor} tries: "{text}"
From there one can go to {exits}. There lie {things}; there are {people}; {actor} holds {holds}.
The verbs are:
{verbs}
Which verb is meant, with which names? Use the names as they are written above. Say none where no verb fits."""

TELL: Final = """In the {place}, {actor} tried: "{text}"
What came of it: {outcome}
Tell {actor} so in one sentence. Add nothing that changes what came of it."""


class Master(Part):
    """Agents try things in their own words; the master reads each as a verb, and does what can be done.

    Agents act with `attempt(text=)`, up to `tries` times a tick. As the tick ends the model is asked, of all attempts
    at once, which of `verbs` each means (purpose 'resolve'; the verb 'none' where none fits); then they are done one
    after another in the fair order of the tick, each on the stage as those before it left it. What cannot be is
    refused, whatever the model says: `no_verb`, `unclear` (the model gave no answer), `unknown_place`, `unknown_thing`,
    `unknown_agent`, or the word of the precondition that does not hold; it changes nothing. Each hears {'tried',
    'verb', 'refused' ('' where it was done), 'told'}, others in the place {'seen': text}. With `narrate` the model
    words what is told (purpose 'tell'); what it says changes nothing.

    Refusals of `attempt` itself are `bad_arguments`, `empty_text`, `long_text` and `too_many`.

    Agents see `master.place`, `master.exits`, `master.things`, `master.people` and `master.holds`, by name. With
    `--model rules`, `words_rule(verbs)` and `telling_rule` answer the purposes.

    Levers may set `tries` and `narrate`.
    """

    name = "master"
    settable: Mapping[str, Any] = {"tries": int, "narrate": bool}
    unsaved = ("_made",)

    def __init__(
        self,
        stage: Stage,
        verbs: Sequence[Verb] = BASIC_VERBS,
        *,
        names: Sequence[str] | None = None,
        tries: int = 1,
        text_chars: int = 500,
        narrate: bool = False,
        prompt: str = RESOLVE,
        tell_prompt: str = TELL,
        name: str | None = None,
    ) -> None:
        """`names` are the agents', 'agent 0' and so on where none are given. ScenarioError for verbs that clash."""
        super().__init__(name)
        if len({one.name for one in verbs}) < len(verbs) or not verbs:
            raise ScenarioError("Master: it needs verbs, with different names")
        check_whole(type(self).__name__, 1, tries=tries, text_chars=text_chars)
        self.stage = stage
        self._blank = stage
        self.verbs = {one.name: one for one in verbs}
        self.tries = tries
        self.text_chars = text_chars
        self.narrate = narrate
        self.prompt = prompt
        self.tell_prompt = tell_prompt
        self._names = names
        self._reading = reading_type(verbs)
        self._shown = "\n".join(f"- {one.name}({', '.join(one.args)}): {one.means}" for one in verbs)

    def open(self, opening: Opening) -> None:
        """Let the agents in at the start."""
        given = self._names
        names = [f"agent {at}" for at in range(opening.agents)] if given is None else list(given)
        if len(names) != opening.agents:
            raise ScenarioError(f"part '{self.name}': {len(names)} names for {opening.agents} agents")
        self.stage = deepcopy(self._blank)
        self.stage.enter(names)
        self.done = dict.fromkeys(self.verbs, 0)
        """How often each verb was done."""
        self.refused: dict[str, int] = {}
        """How often attempts were refused, by the word."""
        self.queue: list[list[Any]] = []
        self._made: dict[int, int] = {}

    def grow(self, ids: NDArray[np.int32]) -> None:
        """The newborns come in at the start."""
        self.stage.enter([f"agent {one}" for one in ids.tolist()])

    def shrink(self, ids: NDArray[np.int32]) -> None:
        """What those who leave hold lies where they stood."""
        for agent in ids.tolist():
            self.stage.leave(agent)

    def set_parameter(self, name: str, value: Any) -> None:
        """Take a value of `settable`."""
        if name == "tries" and value < 1:
            raise ScenarioError("tries is at least 1")
        setattr(self, name, value)

    @action
    def attempt(self, tick: int, batch: Batch) -> None:
        """`attempt(text=)`: try something, in one's own words."""
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            text = args.get("text")
            made = self._made.get(agent, 0)
            if args.keys() != {"text"} or type(text) is not str:
                batch.refuse(i, "bad_arguments")
            elif not text.strip():
                batch.refuse(i, "empty_text")
            elif len(text) > self.text_chars:
                batch.refuse(i, "long_text")
            elif made >= self.tries:
                batch.refuse(i, "too_many")
            else:
                self._made[agent] = made + 1
                self.queue.append([agent, text])

    async def consult(self, ctx: Any) -> list[tuple[int, Any]]:
        """Read the attempts, do them in their order, and tell what came of each."""
        queue, self.queue, self._made = self.queue, [], {}
        if not queue:
            return []
        before = [self._facts(agent, text) for agent, text in queue]
        asks = [_asked(ctx, self.prompt, facts, "resolve", self._reading) for facts in before]
        readings = await ctx.ask_all(asks)
        outcomes = [self._resolve(agent, reading) for (agent, _), reading in zip(queue, readings, strict=True)]
        told = [one["told"] for one in outcomes]
        if self.narrate:
            asks = [
                _asked(ctx, self.tell_prompt, {**facts, "outcome": one}, "tell", str)
                for facts, one in zip(before, told, strict=True)
            ]
            worded = await ctx.ask_all(asks)
            told = [one if isinstance(new, Abstained) else new for one, new in zip(told, worded, strict=True)]
        sent: list[tuple[int, Any]] = []
        for (agent, text), one, words in zip(queue, outcomes, told, strict=True):
            sent.append((agent, {"tried": text, "verb": one["verb"], "refused": one["refused"], "told": words}))
            sent += [(other, {"seen": one["seen"]}) for other in one["by"]]
        return sent

    def _facts(self, agent: int, text: str) -> dict[str, Any]:
        stage, place = self.stage, self.stage.place_of(agent)
        people = [one for one in stage.present_in(place) if one != stage.names[agent]]
        return {
            "place": place, "actor": stage.names[agent], "text": text, "exits": stage.ways_from(place),
            "things": stage.lying_in(place), "people": people, "holds": stage.held_by(agent), "verbs": self._shown,
        }  # fmt: skip

    def _resolve(self, agent: int, reading: Any) -> dict[str, Any]:
        """Do what a reading says, where it can be done; gives what came of it."""
        verb = None if isinstance(reading, Abstained) or reading.verb == NO_VERB else self.verbs[reading.verb]
        args: Named = {} if verb is None else {name: getattr(reading, name) for name in verb.args}
        if refused := "unclear" if isinstance(reading, Abstained) else self._obstacle(agent, verb, args):
            self.refused[refused] = self.refused.get(refused, 0) + 1
            why = f"that cannot be done: {refused.replace('_', ' ')}"
            return {"verb": verb.name if verb else NO_VERB, "refused": refused, "told": why, "seen": "", "by": []}
        assert verb is not None
        named = {"actor": self.stage.names[agent], **args}
        place = self.stage.place_of(agent)
        by = [self.stage.agent_id(one) for one in self.stage.present_in(place)] if verb.told_to else []
        if verb.does is not None:
            verb.does(self.stage, agent, args)
        self.done[verb.name] += 1
        return {
            "verb": verb.name,
            "refused": "",
            "told": verb.told.format(**named),
            "seen": verb.told_to.format(**named),
            "by": [one for one in by if one != agent],
        }

    def _obstacle(self, agent: int, verb: Verb | None, args: Named) -> str:
        """Why a verb cannot be done, in a word; '' where it can."""
        if verb is None:
            return "no_verb"
        for name, kind in verb.args.items():
            if kind in ("place", "thing", "agent") and not self.stage.knows(kind, args[name]):
                return f"unknown_{kind}"
        return next((word for word, holds in verb.needs.items() if not holds(self.stage, agent, args)), "")

    def observe(self, tick: int, agents: NDArray[np.int32]) -> dict[str, list[Any]]:
        """What each has before its eyes: `place`, `exits`, `things`, `people` and `holds`."""
        stage, ids = self.stage, agents.tolist()
        places = [stage.place_of(agent) for agent in ids]
        lying = {place: stage.lying_in(place) for place in set(places)}
        present = {place: stage.present_in(place) for place in set(places)}
        return {
            "place": places,
            "exits": [stage.ways_from(place) for place in places],
            "things": [lying[place] for place in places],
            "people": [
                [one for one in present[place] if one != stage.names[agent]]
                for agent, place in zip(ids, places, strict=True)
            ],
            "holds": [stage.held_by(agent) for agent in ids],
        }

    def digest(self) -> bytes:
        """16 bytes over all that `state` gives; costs what was touched."""
        rest = state_digest({"done": self.done, "refused": self.refused, "queue": self.queue})
        return join_digests(self.stage.digest(), rest)

    def state(self) -> dict[str, Any]:
        """Where all things and agents are, and the counts."""
        return {
            "stage": self.stage.state(),
            "done": dict(self.done),
            "refused": [[word, count] for word, count in self.refused.items()],
            "queue": [list(one) for one in self.queue],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of a master of the same stage and verbs."""
        self.stage.enter([f"agent {one}" for one in range(len(self.stage.here), len(state["stage"]["here"]))])
        self.stage.restore(state["stage"])
        self.done = {name: int(state["done"][name]) for name in self.verbs}
        self.refused = {word: int(count) for word, count in state["refused"]}
        self.queue = [list(one) for one in state["queue"]]
        self._made = {}


def _asked(ctx: Any, prompt: str, facts: dict[str, Any], purpose: str, answer: Any) -> Any:
    """An ask by those of the facts that the template names."""
    named = set(re.findall(r"(?<!\{)\{(\w+)\}", prompt))
    used = {name: value for name, value in facts.items() if name in named}
    return ctx.ask(prompt, answer, facts=used, purpose=purpose)
