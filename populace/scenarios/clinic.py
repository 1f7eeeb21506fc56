"""Doctors question patients and name a disease: how many questions help, and what biases and forgetting do.

Each tick is a consultation: the doctor asks, the patient tells, in rounds, until the doctor answers. Cases are sampled
from a Bayesian network; `--set society.book=hepar2` has real disorders of the liver. After AgentClinic (Schmidgall et
al. 2024, arXiv:2405.07960) and MediQ (Li et al. 2024, arXiv:2406.00922). Arms, by `--set society.`: `habit`,
`questions`, `bias` and `fear`, `memory`, `notes`, `chatty` with `filtered`.

The check is of theory where memory is short: the rule mind is Bayes with a memory of the last findings, so more
questions first inform and then push out what was heard first; with all in mind they never hurt. A bias is a parameter
of the mind (log-odds), so that it cuts accuracy says little; with a model, the run measures how much.
"""

from typing import Any, Literal

import numpy as np

from populace import Abstained, Agent, Context, Parameters, Population, Public, Setup, Society, World
from populace.env.cases import Cases, CaseSet, Criterion, attend, solve
from populace.scenarios import _clinic_rules as rules
from populace.scenarios._data import Share, prompts

TEXTS = prompts("clinic")


class Dials(Parameters, frozen=True):
    """`questions` that may be asked of a case; a doctor who asks `until sure` answers when it is `threshold` sure.

    `bias`: log-odds of a first impression of a random disease; `fear` is the patient's share of answers by one.
    `judged`: two judges mark each case, good, fair or poor.

    `memory` is how many findings a doctor has in mind, 0 for all; `notes` whether it keeps the diseases of past cases;
    `wrong` the share of what patients say that is wrong; `chatty` the share of answers with something beside the point,
    which takes a place in mind unless it is `filtered`; `given` how many findings are known from the start.
    """

    book: Literal["drawn", "hepar2"] = "drawn"
    habit: Literal["ask until sure", "always ask", "never ask"] = "ask until sure"
    questions: int = 20
    threshold: Share = 0.8
    memory: int = 10
    notes: bool = True
    bias: float = 0.0
    fear: Share = 0.0
    wrong: Share = 0.1
    chatty: Share = 0.2
    filtered: bool = False
    given: int = 3
    judged: bool = False


class Doctor(Agent):
    """`seen` are the true diseases of its last cases, `sure` how sure it was of its last answer (0 to 1)."""

    seen: list[str] = []  # noqa: RUF012
    sure: Public[float] = 0.0

    async def turn(self, ctx: Context) -> None:
        """Note how the last case ended, then question the patient and answer."""
        p = ctx.parameters
        ended = [message.body["truth"] for message in ctx.inbox if "truth" in message.body]
        self.seen = [*self.seen, *ended][-50:] if p.notes else []
        impression = ctx.draw("impression").choice(rules.textbook(p.book).diseases) if p.bias else "none"
        mind: list[dict[str, Any]] = []

        async def choose(now: dict[str, Any]) -> dict[str, Any] | None:
            nonlocal mind
            aside = [{"key": "beside the point", "level": now["said"]}] if now["said"] and not p.filtered else []
            mind = [*mind, *({"key": one["key"], "level": one["level"]} for one in now["told"]), *aside]
            mind = mind[-p.memory :] if p.memory else mind
            facts = {
                "book": p.book, "impression": impression, "pull": p.bias, "notes": self.seen, "mind": mind,
                "wrong": p.wrong, "open": now["open"]["ask"], "left": now["left"], "habit": p.habit,
                "threshold": p.threshold,
            }  # fmt: skip
            system = TEXTS["doctor"].format(handbook=rules.handbook(p.book))
            one = await ctx.ask(TEXTS["step"], rules.step_type(p.book), facts=facts, system=system, purpose="step")
            if isinstance(one, Abstained):
                return None
            self.sure = float(min(max(one.sure, 0.0), 1.0))
            asks = one.do == "ask" and now["open"]["ask"] and now["left"] > 0
            return {"ask": one.question} if asks else {"answer": one.diagnosis}

        await solve(ctx, choose)


class Patient(Agent):
    """Tells what it is asked, as well as it can."""

    async def turn(self, ctx: Context) -> None:
        """Answer until the doctor has an answer."""
        p, book = ctx.parameters, rules.textbook(ctx.parameters.book)
        fear = ctx.draw("fear").choice(book.diseases) if p.fear else "nothing"

        async def tell(heard: dict[str, Any]) -> dict[str, Any]:
            ((question, level),) = heard["facts"].items()
            levels = list(book.net.levels[question])
            facts = {
                "question": question, "level": level, "levels": levels, "fear": fear, "conviction": p.fear,
                "wrong": p.wrong, "chatty": p.chatty, "book": p.book,
            }  # fmt: skip
            told = await ctx.ask(TEXTS["tell"], rules.Told, facts=facts, system=TEXTS["patient"], purpose="tell")
            if isinstance(told, Abstained) or told.level not in levels:
                return {"tell": {question: None}, "say": ""}
            return {"tell": {question: told.level}, "say": told.aside}

        await attend(ctx, tell)


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


society = Society(
    name="clinic",
    about="Doctors question patients, with a budget, a memory and biases, and name a disease.",
    types={"doctor": Doctor, "patient": Patient},
    population=lambda setup: {},
    world=world,
    parameters=Dials(),
    rules={"step": rules.step, "tell": rules.tell, "judge": rules.judge},
    size={"doctor": 10, "patient": 10},
    ticks=10,
    outcomes={
        "accuracy": lambda world: world.cases.mean("correct"),
        "questions": lambda world: world.cases.mean("questions"),
        "answered": lambda world: float(world.cases.records.written),
        "sure": lambda world: float(np.mean(world.columns["doctor"]["sure"])),
        "kappa": lambda world: world.cases.agreement("quality") if world.cases.rubric else float("nan"),
    },
)
