"""Clerks serve customers by calling tools on a small database: how reliably do they do what is wanted and allowed.

Each tick is a task: the customer says what it wants, the clerk calls tools, in rounds, and the state that is left is
graded. Tasks come up again and again, so that pass^k can be told. After tau-bench (Yao et al. 2024, arXiv:2406.12045).
"""

from typing import Any, Literal

import msgspec
import numpy as np

from populace import Abstained, Agent, Closed, Context, Parameters, Population, Public, Setup, Society, World
from populace.env import Tools
from populace.scenarios import _helpdesk_rules as rules
from populace.scenarios._data import prompts

TEXTS = prompts("helpdesk")


class Dials(Parameters, frozen=True):
    """`slip`: the mean chance that a step goes wrong, which differs by task with `spread`.

    `show_policy`: whether clerks see the rules of the house; else they recall each with a chance of `recall`.
    `user_slip` is the share of ids that customers say wrong, `patience` how many rounds they wait.
    """

    desk: Literal["shop", "airline"] = "shop"
    show_policy: bool = True
    recall: float = 0.7
    slip: float = 1 / 15
    spread: bool = True
    user_slip: float = 0.02
    patience: int = 40
    tasks: int = 10


class Step(msgspec.Struct):
    """A clerk's next step."""

    do: Literal["call", "say", "done"]
    tool: str
    args: dict[str, str | int]
    text: str


class Said(msgspec.Struct):
    """What a customer says."""

    text: str


class Clerk(Agent):
    """Listens, then calls, asks or is done."""

    async def turn(self, ctx: Context) -> None:
        """Serve one customer."""
        p = ctx.parameters
        manual = await ctx.look("tools.manual")
        said: list[str] = []
        calls: list[dict[str, Any]] = []
        heard = await ctx.round("tools", None)
        while not isinstance(heard, Closed) and not heard["over"]:
            said = [*said, *([heard["said"]] if "said" in heard else [])]
            facts = {
                "desk": p.desk, "tools": manual["tools"], "policy": manual["policy"] if p.show_policy else "",
                "recall": p.recall, "hard": ctx.seen["tools.hard"], "said": said, "calls": calls,
            }  # fmt: skip
            one = await ctx.ask(TEXTS["step"], Step, facts=facts, system=TEXTS["clerk"], purpose="step")
            if isinstance(one, Abstained):
                return
            body = {
                "call": {"call": one.tool, "args": one.args}, "say": {"say": one.text}, "done": {"done": True},
            }[one.do]  # fmt: skip
            heard = await ctx.round("tools", body)
            if not isinstance(heard, Closed) and one.do == "call":
                came = {name: heard[name] for name in ("result", "refused") if name in heard}
                calls = [*calls, {"tool": one.tool, "args": one.args, **came}]


class Customer(Agent):
    """Says what it wants, answers what it is asked, and leaves when its patience is at an end.

    `slips` counts ids that it should have said and didn't.
    """

    slips: Public[int] = 0

    async def turn(self, ctx: Context) -> None:
        """Be served."""
        p, task = ctx.parameters, await ctx.look("tools.wish")
        if not task:
            return
        facts = {"desk": p.desk, **task["facts"]}
        told = await ctx.ask(
            TEXTS["wish"], Said, facts={**facts, "slip": p.user_slip}, system=TEXTS["user"], purpose="wish"
        )
        text = task["wish"] if isinstance(told, Abstained) else told.text
        ids = [one["args"][rules.DESKS[p.desk].ID] for one in facts["wanted"]]
        self.slips += sum(one not in text for one in ids)
        heard, waited = await ctx.round("tools", {"say": text}), 1
        while not isinstance(heard, Closed) and not heard["over"]:
            body: dict[str, Any] | None = {"done": True} if waited >= p.patience else None
            if body is None and "said" in heard:
                given = {**facts, "said": heard["said"]}
                answer = await ctx.ask(TEXTS["reply"], Said, facts=given, system=TEXTS["user"], purpose="reply")
                body = None if isinstance(answer, Abstained) else {"say": answer.text}
            heard, waited = await ctx.round("tools", body), waited + 1


def world(setup: Setup, people: dict[str, Population]) -> World:
    """One desk a clerk, with tasks that all clerks share."""
    p = setup.parameters
    desk = rules.DESKS[p.desk].domain(setup.draw("helpdesk/tables"))
    tasks = rules.tasks(p.desk, desk, p.tasks, setup.draw, slip=p.slip, spread=p.spread)
    agents, users = setup.ids("clerk"), setup.ids("customer")
    return World(Tools(desk, tasks, agents=agents, users=users, series=None, within_tick=True))


def pass_hat(k: int) -> Any:
    """pass^k so far."""
    return lambda world: world.tools.pass_hat(k)


def per_task(column: str) -> Any:
    """The mean of a column of the tasks that were ended."""
    return lambda world: float(np.mean(world.tools.records.columns()[column] if world.tools.records.written else 0.0))


society = Society(
    name="helpdesk",
    about="Clerks serve customers by calling tools under a policy; tasks are graded by the state they leave.",
    types={"clerk": Clerk, "customer": Customer},
    population=lambda setup: {},
    world=world,
    parameters=Dials(),
    rules={"wish": rules.wish, "step": rules.step, "reply": rules.reply},
    size={"clerk": 10, "customer": 10},
    ticks=8,
    outcomes={
        **{f"pass_{k}": pass_hat(k) for k in range(1, 9)},
        "breaks": per_task("breaks"),
        "calls": per_task("calls"),
        "user_slips": lambda world: float(np.mean(world.columns["customer"]["slips"]) / (world.tick + 1)),
    },
)
