"""Doctors question patients and name a disease: how many questions help, and what biases and forgetting do.

Each tick is a consultation: the doctor asks, the patient tells, in rounds, until the doctor answers. Cases are sampled
from a Bayesian network; `--set society.book=hepar2` has real disorders of the liver. After AgentClinic (Schmidgall et
al. 2024, arXiv:2405.07960) and MediQ (Li et al. 2024, arXiv:2406.00922).
"""

from typing import Any, Literal

import msgspec
import numpy as np

from populace import Abstained, Agent, Closed, Context, Parameters, Population, Public, Setup, Society, World
from populace.env import Cases, CaseSet, Criterion
from populace.scenarios import _clinic_rules as rules
from populace.scenarios._data import prompts

TEXTS = prompts("clinic")


class Dials(Parameters, frozen=True):
    """`bias`: log-odds of a first impression of a random disease; `fear` is the patient's share of answers by one.

    `memory` is how many findings a doctor has in mind, 0 for all; `notes` whether it keeps the diseases of past cases;
    `wrong` the share of what patients say that is wrong; `chatty` the share of answers with something beside the point,
    which takes a place in mind unless it is `filtered`; `given` how many findings are known from the start.
    """

    book: Literal["drawn", "hepar2"] = "drawn"
    habit: Literal["ask until sure", "always ask", "never ask"] = "ask until sure"
    questions: int = 20
    threshold: float = 0.8
    memory: int = 10
    notes: bool = True
    bias: float = 0.0
    fear: float = 0.0
    wrong: float = 0.1
    chatty: float = 0.2
    filtered: bool = False
    given: int = 3
    judged: bool = False


class Told(msgspec.Struct):
    """What a patient tells: the finding's level, and what it adds."""

    level: str
    aside: str


class Doctor(Agent):
    """`seen` are the true diseases of its last cases, `sure` how sure it was of its last answer."""

    seen: list[str] = []  # noqa: RUF012
    sure: Public[float] = 0.0

    async def turn(self, ctx: Context) -> None:
        """Note how the last case ended, then question the patient and answer."""
        p = ctx.parameters
        ended = [message.body["truth"] for message in ctx.inbox if "truth" in message.body]
        self.seen = [*self.seen, *ended][-50:] if p.notes else []
        chart = await ctx.look("cases.chart")
        if not chart:
            return
        mind = [{"key": key, "level": level} for key, level in chart["known"].items()]
        impression = ctx.draw("impression").choice(chart["answers"]) if p.bias else "none"
        open_now, left = chart["open"]["ask"], chart["left"]
        while True:
            mind = mind[-p.memory :] if p.memory else mind
            facts = {
                "book": p.book, "impression": impression, "pull": p.bias, "notes": self.seen, "mind": mind,
                "wrong": p.wrong, "open": open_now, "left": left, "habit": p.habit, "threshold": p.threshold,
            }  # fmt: skip
            system = TEXTS["doctor"].format(handbook=rules.handbook(p.book))
            one = await ctx.ask(TEXTS["step"], rules.step_type(p.book), facts=facts, system=system, purpose="step")
            if isinstance(one, Abstained):
                return
            self.sure = float(min(max(one.sure, 0.0), 1.0))
            if one.do == "answer" or not open_now or left <= 0:
                await ctx.round("cases", {"answer": one.diagnosis})
                return
            open_now = [name for name in open_now if name != one.question]
            heard = await ctx.round("cases", {"ask": one.question})
            if isinstance(heard, Closed) or heard["over"] or "refused" in heard:
                continue
            reply = await ctx.round("cases", None)
            if isinstance(reply, Closed):
                return
            left = reply["left"]
            mind = [*mind, *({"key": told["key"], "level": told["level"]} for told in reply.get("told", []))]
            if reply.get("said") and not p.filtered:
                mind = [*mind, {"key": "beside the point", "level": reply["said"]}]


class Patient(Agent):
    """Tells what it is asked, as well as it can."""

    async def turn(self, ctx: Context) -> None:
        """Listen and answer until the doctor has an answer."""
        p = ctx.parameters
        fear = ctx.draw("fear").choice(rules.textbook(p.book).diseases) if p.fear else "nothing"
        heard = await ctx.round("cases", None)
        while not isinstance(heard, Closed) and not heard["over"]:
            body: dict[str, Any] | None = None
            for question, level in heard.get("facts", {}).items():
                levels = list(rules.textbook(p.book).net.levels[question])
                facts = {
                    "question": question, "level": level, "levels": levels, "fear": fear, "conviction": p.fear,
                    "wrong": p.wrong, "chatty": p.chatty, "book": p.book,
                }  # fmt: skip
                told = await ctx.ask(TEXTS["tell"], Told, facts=facts, system=TEXTS["patient"], purpose="tell")
                known = not isinstance(told, Abstained) and told.level in levels
                body = {"tell": {question: told.level if known else None}, "say": told.aside if known else ""}
            heard = await ctx.round("cases", body)


def population(setup: Setup) -> dict[str, Population]:
    """Doctors and patients have what their classes say."""
    return {}


def world(setup: Setup, people: dict[str, Population]) -> World:
    """Patients sampled from the network; a doctor sees one a tick."""
    p, book = setup.parameters, rules.textbook(setup.parameters.book)
    sample = book.net.sample(2_000, setup.draw, "clinic/patients")
    cases = CaseSet.from_network(book.net, book.diagnosis, sample, book.facts(p.given))
    rubric = [Criterion(name="quality")] if p.judged else []
    return World(
        Cases(
            cases, solvers=setup.ids("doctor"), holders=setup.ids("patient"), questions=p.questions, series=None,
            feedback=True, within_tick=True, rubric=rubric,
        )
    )  # fmt: skip


def per_case(column: str) -> Any:
    """The mean of a sum over all cases that were answered."""
    at = ("answered", "correct", "questions", "spent").index(column)

    def mean(world: World) -> float:
        totals = world.cases.work.totals.sum(axis=0)
        return float(totals[at] / max(totals[0], 1.0))

    return mean


society = Society(
    name="clinic",
    about="Doctors question patients, with a budget, a memory and biases, and name a disease.",
    types={"doctor": Doctor, "patient": Patient},
    population=population,
    world=world,
    parameters=Dials(),
    rules={"step": rules.step, "tell": rules.tell, "judge": rules.judge},
    size={"doctor": 10, "patient": 10},
    ticks=10,
    outcomes={
        "accuracy": per_case("correct"),
        "questions": per_case("questions"),
        "answered": lambda world: float(world.cases.records.written),
        "sure": lambda world: float(np.mean(world.columns["doctor"]["sure"])),
        "kappa": lambda world: world.cases.agreement("quality") if world.cases.rubric else float("nan"),
    },
)
