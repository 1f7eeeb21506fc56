"""Failures as data: abstentions by kind, refusals and exceptions an arm, and whether arms differ in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from populace.core.errors import ScenarioError
from populace.experiments.inference.arrays import one_each
from populace.experiments.inference.multiplicity import holm
from populace.experiments.inference.randomisation import sign_flip_p


@dataclass(frozen=True)
class FailureRate:
    """How often one kind of failure came in one arm, against the control, by replicate.

    `rate` is the mean over replicates of failures for each thing tried (an ask, a turn), `difference` that rate less
    the control's; `p` is of the sign flips, `p_adjusted` by Holm over arms and kinds.
    """

    arm: str
    kind: str
    failures: int
    tried: int
    rate: float
    difference: float
    p: float
    p_adjusted: float


@dataclass(frozen=True)
class Failures:
    """All rates, those of the control among them (their difference is 0), and whether any arm differs.

    `differ` is true where an adjusted p-value is at most `1 - level`: then effects need bounds beside them. It being
    false does not show that arms fail alike; `largest` is the largest difference of any rate, to be read with it.
    """

    rates: tuple[FailureRate, ...]
    differ: bool
    largest: float


def failures(
    failed: Mapping[str, Mapping[str, Any]], tried: Mapping[str, Any], control: str = "control", level: float = 0.95
) -> Failures:
    """Rates of failures by arm and kind: `failed[arm][kind]` and `tried[arm]` are counts, (replicates,).

    Kinds are free: an ask's reasons to abstain (`refusal`, `schema`, `error`, `timeout`), `exception` for turns. A kind
    that an arm does not name did not come there. Raises ScenarioError for a control that is no arm, and for more
    failures than tries.
    """
    if control not in failed or set(failed) != set(tried):
        raise ScenarioError(f"control={control!r}: failed has arms {sorted(failed)}, tried has {sorted(tried)}")
    kinds = list(dict.fromkeys(kind for kinds in failed.values() for kind in kinds))
    chances = {}
    for arm in failed:
        asked = one_each(tried[arm], f"tried of arm {arm}")
        for kind in kinds:
            counts = one_each(failed[arm].get(kind, np.zeros(len(asked))), f"{kind} of arm {arm}")
            if len(counts) != len(asked) or (counts > asked).any() or (counts < 0).any():
                raise ScenarioError(f"{kind} of arm {arm}: counts from 0 to what was tried, one a replicate")
            chances[arm, kind] = counts / np.maximum(asked, 1.0)
    differences = {key: chances[key] - chances[control, key[1]] for key in chances}
    tested = [key for key in chances if key[0] != control]
    p = {key: sign_flip_p(differences[key]) for key in tested}
    raised = dict(zip(tested, holm([p[key] for key in tested]).tolist(), strict=True))
    rates = tuple(
        FailureRate(
            arm=arm,
            kind=kind,
            failures=int(np.sum(failed[arm].get(kind, 0))),
            tried=int(np.sum(tried[arm])),
            rate=float(rate.mean()),
            difference=float(differences[arm, kind].mean()),
            p=p.get((arm, kind), 1.0),
            p_adjusted=raised.get((arm, kind), 1.0),
        )
        for (arm, kind), rate in chances.items()
    )
    differ = any(one.p_adjusted <= 1.0 - level for one in rates)
    return Failures(rates, differ, max((abs(one.difference) for one in rates), default=0.0))
