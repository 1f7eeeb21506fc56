"""Clerks serve customers by calling tools on a small database: how reliably do they do what is wanted and allowed.

Each tick is a task: the customer says what it wants, the clerk calls tools, in rounds, and the state that is left is
graded. Tasks come up again and again, so that pass^k can be told. After tau-bench (Yao et al. 2024, arXiv:2406.12045).
Arms, by `--set society.`: `desk`, `show_policy` with `recall`, `slip` with `spread`, `user_slip`, `patience`, `tasks`.

The check is of theory: pass^k falls convexly. The rule mind has a plan of steps of which each slips with the task's own
chance; where none slips, pass^k stays at 1. It knows a rule of the house that it reads or recalls, and no other.
"""

from functools import partial
from typing import Any, Literal

import numpy as np

from populace import Abstained, Agent, Context, Parameters, Population, Public, Setup, Society, World
from populace.env.tools import Tools, be_served, serve
from populace.scenarios import _helpdesk_rules as rules
from populace.scenarios._data import Count, Share, prompts

TEXTS = prompts("helpdesk")


class Dials(Parameters, frozen=True):
    """`slip`: the mean chance that a step goes wrong, which differs by task with `spread`.

    `show_policy`: whether clerks see the rules of the house; else they recall each with a chance of `recall`.
    `user_slip` is the share of ids that customers say wrong, `patience` how many rounds they wait.
    """

    desk: Literal["shop", "airline"] = "shop"
    show_policy: bool = True
    recall: Share = 0.7
    slip: Share = 1 / 15
    spread: bool = True
    user_slip: Share = 0.02
    patience: Count = 40
    tasks: Count = 10


class Clerk(Agent):
    """Listens, then calls, asks or is done."""

    async def turn(self, ctx: Context) -> None:
        """Serve one customer."""
        p = ctx.parameters

        async def step(now: dict[str, Any]) -> dict[str, Any] | None:
            facts = {
                "desk": p.desk, "tools": now["tools"], "policy": now["policy"] if p.show_policy else "",
                "recall": p.recall, "hard": now["hard"], "said": now["said"], "calls": now["calls"],
            }  # fmt: skip
            one = await ctx.ask(TEXTS["step"], rules.Step, facts=facts, system=TEXTS["clerk"], purpose="step")
            if isinstance(one, Abstained):
                return None
            call = {"call": one.tool, "args": one.args}
            return {"call": call, "say": {"say": one.text}, "done": {"done": True}}[one.do]

        await serve(ctx, step)


class Customer(Agent):
    """Says what it wants and answers what it is asked. `slips` counts ids that it should have said and didn't."""

    slips: Public[int] = 0

    async def turn(self, ctx: Context) -> None:
        """Be served, as long as patience lasts."""
        p = ctx.parameters

        async def say(now: dict[str, Any]) -> str | None:
            facts = {"desk": p.desk, **now["facts"]}
            purpose, more = ("reply", {"said": now["said"]}) if now["said"] else ("wish", {"slip": p.user_slip})
            told = await ctx.ask(
                TEXTS[purpose], rules.Said, facts={**facts, **more}, system=TEXTS["user"], purpose=purpose
            )
            if purpose == "reply":
                return None if isinstance(told, Abstained) else told.text
            text: str = now["wish"] if isinstance(told, Abstained) else told.text
            self.slips += sum(one["args"][rules.DESKS[p.desk].ID] not in text for one in now["facts"]["wanted"])
            return text

        await be_served(ctx, say, patience=p.patience)


def world(setup: Setup, people: dict[str, Population]) -> World:
    """One desk a clerk, with tasks that all clerks share."""
    p = setup.parameters
    desk = rules.DESKS[p.desk].domain(setup.draw("helpdesk/tables"))
    tasks = rules.tasks(p.desk, desk, p.tasks, setup.draw, slip=p.slip, spread=p.spread)
    agents, users = setup.ids("clerk"), setup.ids("customer")
    return World(Tools(desk, tasks, agents=agents, users=users, series=None, within_tick=True))


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
        **{f"pass_{k}": partial(lambda world, k: world.tools.pass_hat(k), k=k) for k in range(1, 9)},
        "breaks": lambda world: world.tools.mean("breaks"),
        "calls": lambda world: world.tools.mean("calls"),
        "user_slips": lambda world: float(np.mean(world.columns["customer"]["slips"]) / (world.tick + 1)),
    },
)
