"""The helpdesk's rule mind: a plan of steps, each of which may slip; and the tasks."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec
import numpy as np

from populace.core.draws import Draws, Stream
from populace.env import Domain, Task
from populace.scenarios import _airline, _shop


class Step(msgspec.Struct):
    """A clerk's next step."""

    do: Literal["call", "say", "done"]
    tool: str
    args: dict[str, str | int]
    text: str


class Said(msgspec.Struct):
    """What a customer says."""

    text: str


DESKS: dict[str, Any] = {"shop": _shop, "airline": _airline}


def tasks(name: str, desk: Domain, n: int, draws: Draws, *, slip: float, spread: bool) -> list[Task]:
    """`n` tasks of 3, 5, ... 13 steps: find who it is, then for each thing wanted read and change.

    `hard`, the chance that a step slips, is drawn from Beta(1, 1 / slip - 1), whose mean is `slip`; without `spread` it
    is the mean for all. The goal is what the policy allows of what is wanted.
    """
    kit, marks = DESKS[name], draws.column("helpdesk/hard", np.arange(n))
    made = []
    for at in range(n):
        draw = draws(f"helpdesk/task/{at}")
        who, wanted = kit.requests(desk, draw, 1 + draw.integer(6))
        goal = [(kit.FIND, who)]
        for one in wanted:
            row = desk.base.row(f"{kit.ID}s", one["args"][kit.ID])
            goal.append((kit.READ, {kit.ID: one["args"][kit.ID]}))
            goal += [call] if (call := kit.within_policy(one["tool"], one["args"], row)) else []
        hard = (1.0 - (1.0 - marks[at]) ** (slip / (1.0 - slip))) if spread else slip
        facts = {"who": who, "wanted": wanted}
        made.append(Task(wish=in_words(who, wanted), facts=facts, goal=tuple(goal), hard=float(hard)))
    return made


def in_words(who: dict[str, Any], wanted: list[dict[str, Any]]) -> str:
    """A wish in the words that `heard` reads."""
    asked = [f"{one['tool']}: " + ", ".join(f"{key}={value}" for key, value in one["args"].items()) for one in wanted]
    return f"I am {next(iter(who.values()))}. Please " + "; ".join(asked) + "."


def heard(text: str) -> tuple[str, list[dict[str, Any]]]:
    """Who speaks, and what is wanted, as `in_words` put it."""
    found = re.match(r"I am (\S+)\. Please (.*)\.", text)
    if found is None:
        return "", []
    wanted = []
    for one in found.group(2).split("; "):
        tool, _, rest = one.partition(": ")
        pairs = dict(pair.split("=", 1) for pair in rest.split(", "))
        wanted.append({"tool": tool, "args": {key: int(one) if one.isdigit() else one for key, one in pairs.items()}})
    return found.group(1), wanted


def wish(facts: dict[str, Any], draw: Stream) -> dict[str, Any]:
    """Say who one is and what one wants; now and then another id than the right one slips out."""
    kit, wanted = DESKS[facts["desk"]], []
    for one in facts["wanted"]:
        args = dict(one["args"])
        if draw.bernoulli(facts["slip"]):
            letter, number = args[kit.ID][0], int(args[kit.ID][1:])
            args[kit.ID] = f"{letter}{number + draw.choice([-2, 2])}"
        wanted.append({"tool": one["tool"], "args": args})
    return {"text": in_words(facts["who"], wanted)}


def step(facts: dict[str, Any], draw: Stream) -> dict[str, Any]:
    """The next step of the plan: find who it is, then read and change in turn. Each step may slip.

    Who slips when it reads takes another id, and then works on what it has read; who slips when it changes reads again
    instead, and the change is left out. A rule that is neither shown nor recalled is not kept: nobody is identified
    then, and what the customer wants is done as it is wanted.
    """
    kit, calls = DESKS[facts["desk"]], facts["calls"]
    who, wanted = heard(facts["said"][0]) if facts["said"] else ("", [])
    key = "email" if facts["desk"] == "shop" else "passenger"
    place = len(calls)
    remembers = draw.bernoulli(facts["recall"])
    recalls = remembers or bool(facts["policy"])
    slips = draw.bernoulli(facts["hard"])
    if place == 0 and recalls and not slips and wanted:
        return _call(kit.FIND, {key: who})
    if place == 0 and wanted:
        return _call(kit.READ, {kit.ID: wanted[0]["args"][kit.ID]})
    at, changing = divmod(place - 1, 2)
    if at >= len(wanted):
        return {"do": "done", "tool": "", "args": {}, "text": ""}
    one = wanted[at]
    if not changing:
        others = [other["args"][kit.ID] for other in wanted if other is not one]
        slipped = draw.choice(others) if others else f"{one['args'][kit.ID]}0"
        return _call(kit.READ, {kit.ID: slipped if slips else one["args"][kit.ID]})
    row = calls[-1].get("result")
    allowed = (one["tool"], {**one["args"], kit.ID: row[kit.ID]}) if isinstance(row, dict) else None
    if allowed and recalls:
        allowed = kit.within_policy(*allowed, row)
    return _call(*allowed) if allowed and not slips else _call(kit.READ, {kit.ID: one["args"][kit.ID]})


def _call(tool: str, args: dict[str, Any]) -> dict[str, Any]:
    return {"do": "call", "tool": tool, "args": args, "text": ""}


def reply(facts: dict[str, Any], draw: Stream) -> dict[str, Any]:
    """Say again what is wanted."""
    return {"text": in_words(facts["who"], facts["wanted"])}
