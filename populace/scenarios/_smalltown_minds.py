"""What a villager of `smalltown` is and holds, how it takes in what it hears, and how it answers an interviewer."""

from __future__ import annotations

from typing import Any

import msgspec

from populace import Abstained, Agent, Context, Public, fence
from populace.core.fences import FENCE_RULE
from populace.mind import Memory, Plan, Routine
from populace.scenarios import _smalltown_people as people
from populace.scenarios import _smalltown_rules as rules

TEXTS = rules.TEXTS
SYSTEM = f"{TEXTS['system'].strip()} {FENCE_RULE}"


class Remembering(Agent):
    """`aim` is news of its own making, `told` what it has heard before the start; `truth` is what answers have to say.

    `sociable` (0 to 1) is how fond of company it is. `planned` is the day of its plan, `met` who has spoken to it.
    """

    name: Public[str]
    persona: str
    aim: str
    told: list[tuple[str, str]]
    talkative: float
    sociable: float
    truth: dict[str, str]
    routine: Routine
    memory: Memory = msgspec.field(default_factory=lambda: Memory(max_entries=300))
    plan: Plan = msgspec.field(default_factory=Plan)
    planned: int = -1
    met: list[int] = []  # noqa: RUF012
    knows_party: Public[bool] = False
    knows_candidate: Public[bool] = False
    came: Public[bool] = False
    answers: Public[int] = 0
    made_up: Public[int] = 0
    reflections: Public[int] = 0

    async def note(self, ctx: Context, heard: list[tuple[str, str]], place: str, here: list[int]) -> bool:
        """Remember what was heard and who is here; gives whether something important was heard for the first time."""
        struck = False
        for who, said in heard:
            text = f"{who} told me: {said}"
            if text not in self.memory.texts:
                rated = await self.memory.rate(ctx, text)
                weight = 3.0 if isinstance(rated, Abstained) else rated
                self.memory.note(ctx.tick, text, weight)
                struck = struck or weight >= 6.0
        if here:
            names = ", ".join(people.name_of(one) for one in here[:3])
            self.memory.note(ctx.tick, f"I was at the {place} with {names}.", 1.0)
        return struck

    def facts(self, ctx: Context, query: str, heard: list[tuple[str, str]], *, use: bool = True) -> dict[str, Any]:
        """What every ask is told: who one is, what comes to mind for a query, what was just heard."""
        p = ctx.parameters
        found = self.memory.retrieve(ctx.tick, query, p.recalled, use=use) if p.memory else []
        said = "\n".join(fence(text, who) for who, text in heard)
        return {
            "persona": self.persona, "aim": self.aim, "remembered": [one.text for one in found],
            "heard": said or "nothing",
        }  # fmt: skip

    def today(self, ctx: Context, place: str = "") -> dict[str, Any]:
        """The day and the hour, the usual day and the places there are."""
        usual = [msgspec.to_builtins(one) for one in self.routine.usual]
        steps = [{**one, "start": int(one["start"]), "end": int(one["end"])} for one in usual]
        now = {"weekday": ctx.seen["clock.weekday"], "hour": ctx.seen["clock.hour"]}
        return {**now, "usual": steps, "places": list(rules.PLACES), **({"place": place} if place else {})}

    async def answer(self, ctx: Context, heard: list[tuple[str, str]]) -> None:
        """Be asked about both pieces of news. What one says that is not so, or that one cannot know, is made up."""
        for topic in ("party", "candidate"):
            question = TEXTS[f"{topic}_question"]
            facts = {**self.facts(ctx, question, heard, use=False), "question": question}
            told = await ctx.ask(TEXTS["interview"], rules.Told, facts=facts, system=SYSTEM, purpose="interview")
            if not isinstance(told, Abstained):
                known = [self.aim, *(text for _, text in heard), *(self.memory.texts if ctx.parameters.memory else [])]
                true = told.knows and rules.is_true(topic, told.says, self.truth[topic], known)
                setattr(self, f"knows_{topic}", true)
                self.answers, self.made_up = self.answers + 1, self.made_up + (told.knows and not true)
