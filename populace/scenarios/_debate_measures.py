"""What `debate` measures: spread within groups, length, who gives in, and the weights of the mind that spoke.

Debates are those of the tick just over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from populace import World
from populace.env.talk import measures
from populace.scenarios._debate_text import stances

NAN = float("nan")
INNER = (1.5, 5.5)
"""Between these, noise hardly ever meets an end of the scale."""


def spread(now: str, before: str) -> Callable[[World], float]:
    """The change of the standard deviation within groups, mean over groups, between two fields."""
    return lambda world: measures.spread_change(
        world.talk, world.tick - 1, world.ids(), world.columns[now], world.columns[before]
    )


def to_prior(world: World) -> float:
    """How much nearer to the prior private stances are than at the start, mean over debaters."""
    prior, columns = world.parameters.prior, world.columns
    return float((np.abs(columns["start"] - prior) - np.abs(columns["stance"] - prior)).mean())


def weights(world: World) -> dict[str, float]:
    """Anchoring, the others' weight and the prior's pull, by least squares over what was said in public.

    The step of a stance from one turn to the next on (start - now), (mean - now), now and a constant: the coefficients
    are anchoring, the weight of what others say (conformity times (1 - anchoring), and what dissent aloud costs), and
    minus the prior's pull. Stances near the ends of the scale, which cut steps off, are left out.
    Where debaters differ in their weights, the estimates are a few hundredths low.
    """
    table = world.talk.transcript()
    start = dict(zip(world.ids().tolist(), world.columns["start"].tolist(), strict=True))
    said: dict[int, dict[int, dict[int, float]]] = {}
    keys = zip(table["conversation"].tolist(), table["turn"].tolist(), table["speaker"].tolist(), strict=True)
    for (talk, turn, speaker), text in zip(keys, table["texts"], strict=True):
        for stance in stances([text]):
            said.setdefault(talk, {}).setdefault(turn, {})[speaker] = stance
    rows, steps = [], []
    for turns in said.values():
        for turn, now in turns.items():
            after, mean = turns.get(turn + 1, {}), float(np.mean(list(now.values())))
            for speaker, stance in now.items():
                inside = INNER[0] <= min(stance, start[speaker]) and max(stance, start[speaker]) <= INNER[1]
                if speaker in after and len(now) > 1 and inside:
                    rows.append((start[speaker] - stance, mean - stance, stance, 1.0))
                    steps.append(after[speaker] - stance)
    if len(rows) < 8:
        return {}
    anchoring, others, prior, _ = np.linalg.lstsq(np.array(rows), np.array(steps), rcond=None)[0].tolist()
    return {"anchoring": anchoring, "others_weight": others, "prior_pull": -prior}


def weight(name: str) -> Callable[[World], float]:
    """One of `weights`; NaN where too little was said, or in debates in which one speaks at a time."""
    return lambda world: weights(world).get(name, NAN)


OUTCOMES: Mapping[str, Callable[[World], float]] = {
    "private_sd_change": spread("stance", "before"),
    "public_sd_change": spread("public_stance", "first_said"),
    "messages": lambda world: measures.lines(world.talk, world.tick - 1),
    "first_gives_in": lambda world: measures.first_speaker_agrees(world.talk, world.tick - 1),
    "to_prior": to_prior,
    "anchoring": weight("anchoring"),
    "others_weight": weight("others_weight"),
    "prior_pull": weight("prior_pull"),
}
