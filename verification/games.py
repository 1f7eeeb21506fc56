"""Games against exact scores, level-k reasoning and a plain simulation; against `axelrod` where there is one.

`POPULACE_AXELROD=/path/to/python python -m verification games` plays more strategies against PyPI's `axelrod`, in the
Python given, which has it installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np

import populace
from populace.core.draws import Draws
from populace.env import Action, Games, Opening, World
from populace.env.games import guessing, prisoners_dilemma
from populace.scenarios import _games_rules as rules
from verification.verdicts import Verdict, check

Strategy = Callable[[list[dict[str, Any]]], str]

AXELROD = "axelrod (PyPI), by name of strategy"
NAMES = {
    "tit for tat": "TitForTat",
    "all d": "Defector",
    "all c": "Cooperator",
    "grudger": "Grudger",
    "alternator": "Alternator",
    "tit for two tats": "TitFor2Tats",
}
"""The strategies here, and what `axelrod` calls them."""

STRATEGIES: Mapping[str, Strategy] = {
    "tit for tat": lambda past: past[-1]["others"][0] if past else "cooperate",
    "all d": lambda past: "defect",
    "all c": lambda past: "cooperate",
    "grudger": lambda past: "defect" if any(one["others"] == ["defect"] for one in past) else "cooperate",
    "alternator": lambda past: "cooperate" if len(past) % 2 == 0 else "defect",
    "tit for two tats": lambda past: (
        "defect" if len(past) > 1 and all(one["others"] == ["defect"] for one in past[-2:]) else "cooperate"
    ),
}


def opened(agents: int, part: Games, seed: int = 1) -> World:
    """A world of one part."""
    world = World(part)
    world.open(Opening(agents=agents, seed=seed, tick_seconds=60.0, parameters=None, columns={}, draw=Draws(seed)))
    return world


def play_out(part: Games, agents: int, ticks: int, choose: Callable[[int, dict[str, Any]], Any]) -> World:
    """Let `choose(agent, history)` move for every agent, tick after tick."""
    world = opened(agents, part)
    for _ in range(ticks):
        seen = world.observe(list(range(agents)))
        made = [choose(agent, one) for agent, one in enumerate(seen)]
        world.resolve([Action(agent, 0, f"{part.name}.move", {"move": move}) for agent, move in enumerate(made)])
    return world


def pairing(one: str, other: str, turns: int) -> list[float]:
    """The scores of two strategies over so many plays, as the part has them."""
    part = Games(prisoners_dilemma(), matching="fixed", memory=turns, keep=turns)
    both = [STRATEGIES[one], STRATEGIES[other]]
    world = play_out(part, 2, turns, lambda agent, seen: both[agent](seen[f"{part.name}.history"]))
    found: list[float] = world.game.score.tolist()
    return found


@check("games: Axelrod's pairings score by score")
def pairings(full: bool) -> list[Verdict]:
    """All-C, all-D and tit for tat by hand; with `axelrod` at hand, six strategies against its own matches."""
    n = 200 if full else 12
    by_hand = {
        ("tit for tat", "tit for tat"): (3 * n, 3 * n),
        ("tit for tat", "all d"): (n - 1, n + 4),
        ("tit for tat", "all c"): (3 * n, 3 * n),
        ("all c", "all d"): (0, 5 * n),
        ("all d", "all d"): (n, n),
    }
    source = f"payoffs 5, 3, 1, 0 summed over {n} plays (Axelrod 1980)"
    verdicts = []
    for (one, other), expected in by_hand.items():
        for name, found, value in zip((one, other), pairing(one, other, n), expected, strict=True):
            verdicts.append(Verdict(f"{name} in {one} against {other}", found, value, 0.0, source))
    python = os.environ.get("POPULACE_AXELROD")
    if full and python:
        verdicts += against_axelrod(python, n)
    elif full:
        print("games: skipped the comparison with axelrod; POPULACE_AXELROD names no Python that has it")  # noqa: T201
    return verdicts


def against_axelrod(python: str, turns: int) -> list[Verdict]:
    """All pairs of six strategies, against the matches of `axelrod`."""
    pairs = list(combinations_with_replacement(NAMES, 2))
    code = (
        "import axelrod, json\n"
        f"for a, b in {[(NAMES[a], NAMES[b]) for a, b in pairs]!r}:\n"
        f"    match = axelrod.Match((getattr(axelrod, a)(), getattr(axelrod, b)()), turns={turns})\n"
        "    match.play()\n    print(json.dumps(list(map(float, match.final_score()))))\n"
    )
    said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    verdicts = []
    for (one, other), line in zip(pairs, said.stdout.splitlines(), strict=True):
        found = pairing(one, other, turns)
        far = max(abs(mine - theirs) for mine, theirs in zip(found, json.loads(line), strict=True))
        verdicts.append(Verdict(f"{one} against {other}: largest difference of scores", far, 0.0, 0.0, AXELROD))
    return verdicts


@check("games: guesses fall to p times the last mean, again and again")
def beauty(full: bool) -> list[Verdict]:
    """Players who answer the last mean guess p of it: after k plays the mean is 50 p^k (Nagel 1995, level k)."""
    verdicts = []
    for p in (0.5, 2 / 3) if full else (2 / 3,):
        for k in (1, 4, 12) if full else (3,):
            part = Games(guessing(4, p), matching="random", memory=1)

            def level(agent: int, seen: dict[str, Any], p: float = p) -> float:
                past = seen["game.history"]
                return p * float(np.mean([past[-1]["own"], *past[-1]["others"]])) if past else 50.0

            world = play_out(part, 8, k + 1, level)
            mean = float(world.game.plays()["moves"][-2:].mean())
            verdicts.append(Verdict(f"mean guess after {k}, p = {p:.3g}", mean, 50 * p**k, 1e-9, "50 p^k (Nagel 1995)"))
    return verdicts


@check("games: share of draws in rock-paper-scissors by loss aversion")
def locked(full: bool) -> list[Verdict]:
    """The society's draws against a plain simulation of the same rule; without loss aversion about a third."""
    pairs, ticks = (200, 40) if full else (20, 14)
    error = 4 * float(np.sqrt(0.25 / (pairs * 4)))  # a pair's ten plays are alike: they count as four
    none, averse = (share_of_draws(aversion, pairs, ticks) for aversion in (0.0, 5.0))
    return [
        Verdict("share of draws, loss aversion 0", none, plain_draws(0.0, 2_000, ticks), error, "plain simulation"),
        Verdict("share of draws, loss aversion 5", averse, plain_draws(5.0, 2_000, ticks), error, "plain simulation"),
        Verdict("share of draws, loss aversion 0", none, 1 / 3, 0.07 if full else 0.12, "chance"),
    ]


def share_of_draws(aversion: float, pairs: int, ticks: int) -> float:
    """Of the society `games` on its rules, over the last ten plays."""
    with tempfile.TemporaryDirectory() as out:
        run = populace.run(
            "games", model="rules", agents=2 * pairs, ticks=ticks, seed=1, quiet=True, out=Path(out) / "run",
            parameters={"loss_aversion": aversion},
        )  # fmt: skip
        return float(run.outcomes["draws"].iloc[-1])


def plain_draws(aversion: float, pairs: int, ticks: int, depth: int = 10) -> float:
    """The rule written anew over whole arrays, without the part and without asks."""
    random, rows = np.random.default_rng(1), np.arange(pairs)
    weights = aversion * np.exp(random.normal(0.0, 0.2, (pairs, 2)))
    past: list[np.ndarray] = []
    for _ in range(ticks):
        worth = np.zeros((pairs, 2, 3))
        for age, made in enumerate(reversed(past[-depth:])):
            fades = rules.DECAY**age
            for me in (0, 1):
                mine, theirs = made[:, me], made[:, 1 - me]
                gain = np.array([0.0, 1.0, -1.0])[(mine - theirs) % 3]
                lost = fades * weights[:, me] * (gain < 0)
                drawn = fades * rules.DRAW * weights[:, me] * (gain == 0)
                worth[rows, me, mine] += fades * (gain > 0) - lost + drawn
                worth[rows, me, theirs] += lost
        chances = np.exp(worth / rules.TEMPERATURE)
        chances /= chances.sum(axis=2, keepdims=True)
        past.append((chances.cumsum(axis=2) < random.random((pairs, 2, 1))).sum(axis=2))
    last = np.stack(past[-10:])
    return float((last[..., 0] == last[..., 1]).mean())
