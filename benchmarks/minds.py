"""Parts of a mind: what each takes of an agent in bytes, and of a turn in microseconds.

Run it as `python benchmarks/minds.py [--rounds N]`.

Times are the least of N rounds in one process. `keep` is what the end of a turn does with such a field: it is packed,
read back and packed again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from figures import figure
from rich.console import Console
from rich.table import Table

from populace.core.draws import Stream
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
    Prompt,
    Risk,
    Routine,
    Step,
    Trust,
)

VOCABULARY = [f"word{n}" for n in range(5000)]


def least_us(call: Callable[[], Any], rounds: int) -> float:
    found = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        found = min(found, time.perf_counter() - start)
    return found * 1e6


def texts(draw: np.random.Generator, many: int, words: int) -> list[str]:
    return [" ".join(VOCABULARY[int(n) % 5000] for n in draw.zipf(1.3, words)) for _ in range(many)]


def kept(value: msgspec.Struct) -> Callable[[], Any]:
    encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(type(value)).decode
    return lambda: encode(decode(encode(value)))


def memories(table: Table, rounds: int, many: int) -> None:
    draw = np.random.default_rng(0)
    memory = Memory(max_entries=many, max_tokens=10**6)
    for tick, text in enumerate(texts(draw, many, 20)):
        memory.note(tick, text, float(draw.integers(11)))
    queries = texts(draw, 20, 10)
    name = f"memory of {many}"

    def row(what: str, us: float) -> None:
        table.add_row(name, what, f"{len(msgspec.msgpack.encode(memory)):,}", f"{us:.1f}")

    def found(query: str) -> float:
        return least_us(lambda: memory.retrieve(many, query, 8), rounds)

    row("retrieve 8 by 10 words (median of 20 queries)", float(np.median(list(map(found, queries)))))
    row("keep", least_us(kept(memory), rounds))
    news = texts(draw, rounds, 20)
    start = time.perf_counter()
    for text in news:
        memory.note(many, text, 5.0)
    row("note at the limit (mean)", (time.perf_counter() - start) / rounds * 1e6)
    memory.put_vectors(range(len(memory)), draw.normal(size=(len(memory), 384)))
    vector = draw.normal(size=384)
    row("retrieve 8 by a vector of 384", least_us(lambda: memory.retrieve(many, k=8, vector=vector), rounds))
    items = [one.text for one in memory.retrieve(many, queries[0], 30)]
    build = least_us(lambda: Prompt(400).add("You", "A nurse.").add("You remember", items, 1).build(), rounds)
    table.add_row("prompt", "30 memories to 400 tokens", "0", f"{build:.1f}")


def faculties(table: Table, rounds: int) -> None:
    draw = Stream(0, 0, 0, "minds")
    arguments, trust, delta = [f"argument {n}" for n in range(100)], Trust(), DeltaTrust()
    for source in range(150):
        trust.learn(source, draw.random())
        delta.learn(source, draw.random())
    cases = Experiences()
    for _ in range(500):
        cases.add([draw.random() for _ in range(8)], draw.choice(["a", "b", "c"]))
    habits = Habits(values={f"action {n}": draw.normal() for n in range(10)})
    usual = [Step(float(hour), hour + 1.0, f"step {hour}", "somewhere") for hour in range(0, 24, 2)]
    needs, emotion, intensity, attitude, risk = Needs(), Emotion(), Intensity(), Attitude(arguments=arguments), Risk()
    plan, ten = Plan(list(usual)), list(habits.values)
    routine = Routine(usual)

    def row(part: msgspec.Struct, what: str, turn: Callable[[], Any]) -> None:
        size = len(msgspec.msgpack.encode(part))
        name = type(part).__name__
        took_us = least_us(turn, rounds)
        figure(f"{name}: {what}", took_us, "us")
        table.add_row(name, what, f"{size:,}", f"{took_us:.1f}")
        table.add_row(name, "keep", f"{size:,}", f"{least_us(kept(part), rounds):.1f}")

    row(needs, "pass_time, urgent, use", lambda: (needs.pass_time(1.0), needs.urgent(), needs.use("meal")))
    row(emotion, "feel, pass_tick, describe", lambda: (emotion.feel(0.5, 0.5), emotion.pass_tick(), emotion.describe()))
    row(intensity, "step of 3 stimuli", lambda: intensity.step(3, draw))
    row(attitude, "hear, weigh (100 heard)", lambda: (attitude.hear(0.2), attitude.weigh("argument 99", 1.0)))
    row(plan, "at, after, put (12 steps)", lambda: (plan.at(9.5), plan.after(9.5), plan.put(Step(9.0, 9.5, "call"))))
    row(routine, "plan (12 steps)", lambda: routine.plan(3))
    row(habits, "choose, learn (10 actions)", lambda: habits.learn(habits.choose(ten, draw), 0.5))
    row(cases, "vote of 5 (500 cases of 8)", lambda: cases.vote([0.5] * 8))
    row(cases, "add at the limit", lambda: cases.add([0.5] * 8, "a"))
    row(trust, "of, learn (150 sources)", lambda: (trust.of(7), trust.learn(7, 1.0)))
    row(delta, "of, learn (150 sources)", lambda: (delta.of(7), delta.learn(7, 1.0)))
    row(risk, "warn, pass_tick, protects", lambda: (risk.warn(0.5, 0.5), risk.pass_tick(), risk.protects()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    table = Table("part", "what", "bytes an agent", "µs")
    memories(table, rounds, 100)
    memories(table, rounds, 1000)
    faculties(table, rounds)
    Console().print(table)


if __name__ == "__main__":
    main()
