"""A society whose agents have every part of a mind: each feeds the next, and what they come to is sent and public."""

from __future__ import annotations

import msgspec

from populace import Agent, Context, Population, Public, Setup, Society
from populace.mind import (
    Attitude,
    DeltaTrust,
    Emotion,
    Experiences,
    Habits,
    Intensity,
    Memory,
    Needs,
    Plan,
    Risk,
    Routine,
    Step,
    Trust,
)


def routine() -> Routine:
    work = [Step(0.0, 7.0, "sleep", "home"), Step(9.0, 17.0, "work", "office")]
    return Routine(usual=work, days={6: [Step(0.0, 10.0, "sleep", "home")]})


class Person(Agent):
    """Hears of a danger, weighs it by trust, and does what its needs, habits and plan say."""

    memory: Memory = msgspec.field(default_factory=lambda: Memory(max_entries=8))
    needs: Needs = msgspec.field(default_factory=Needs)
    emotion: Emotion = msgspec.field(default_factory=Emotion)
    intensity: Intensity = msgspec.field(default_factory=Intensity)
    attitude: Attitude = msgspec.field(default_factory=lambda: Attitude(remembers=5))
    routine: Routine = msgspec.field(default_factory=routine)
    plan: Plan = msgspec.field(default_factory=Plan)
    habits: Habits = msgspec.field(default_factory=lambda: Habits(adapt=0.1))
    cases: Experiences = msgspec.field(default_factory=lambda: Experiences(most=6))
    trust: Trust = msgspec.field(default_factory=lambda: Trust(keep=0.9, most=4))
    delta: DeltaTrust = msgspec.field(default_factory=lambda: DeltaTrust(most=4))
    risk: Risk = msgspec.field(default_factory=Risk)
    state: Public[str] = ""

    async def turn(self, ctx: Context) -> None:
        draw, hour = ctx.draw("day"), float(ctx.tick * 5 % 24)
        self.needs.pass_time(5.0)
        if not self.plan.steps or hour < 5.0:
            self.plan = self.routine.plan(ctx.tick % 7)
        for message in ctx.inbox:
            position, danger = message.body
            self.attitude.hear(position, self.trust.of(message.sender))
            self.attitude.weigh(f"{danger:.1f}", position, position)
            self.risk.warn(danger, self.delta.of(message.sender))
            self.emotion.feel(-danger, danger, 0.3)
            came = draw.bernoulli(0.5)
            self.trust.learn(message.sender, float(came))
            self.delta.learn(message.sender, float(came))
            self.memory.note(ctx.tick, f"{message.sender} warned of {danger:.2f}", 10.0 * danger)
        self.risk.resolve(draw.bernoulli(0.3))
        self.intensity.step(len(ctx.inbox), draw)
        mode = self.habits.best(["car", "tram"], draw, 0.2)
        self.habits.learn(mode, draw.normal())
        self.cases.add([self.emotion.arousal, self.risk.probability], mode)
        need = self.needs.urgent()
        if need:
            self.plan.put(Step(hour, min(hour + 1.5, 24.0), need))
            self.needs.use({"hunger": "meal", "energy": "sleep", "safety": "shelter", "social": "talk"}[need])
        self.emotion.pass_tick()
        self.risk.pass_tick()
        parts = (
            self.needs,
            self.emotion,
            self.intensity,
            self.attitude,
            self.plan,
            self.habits,
            self.cases,
            self.trust,
        )
        self.state = "; ".join(one.describe() for one in (*parts, self.delta, self.risk))
        self.state += f"; {self.cases.vote([0.1, 0.2], 3)}; {self.memory.retrieve(ctx.tick, 'warned', 2)}"
        ctx.send(draw.integer(7), [0.9 * self.attitude.position + draw.uniform(-0.1, 0.1), draw.random()])


def population(setup: Setup) -> Population:
    draw = setup.draw("people")
    return Population({"attitude": [Attitude(draw.uniform(-0.8, 0.8), remembers=5) for _ in range(setup.agents)]})


def mean_length(world: object) -> float:
    return float(sum(map(len, world.columns["state"])))  # type: ignore[attr-defined]


society = Society(
    name="faculties", agent=Person, population=population, outcomes={"mean_length": mean_length}, size=7, ticks=8
)
