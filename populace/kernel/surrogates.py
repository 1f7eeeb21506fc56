"""All surrogates of a run, where the world is: they learn as a tick ends, in the order of ids. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec

from populace.agents.surrogate.policy import Observed, Policy
from populace.agents.surrogate.surrogate import Closed, Surrogate
from populace.core.records import Counts
from populace.core.tables import TableRows
from populace.kernel.standing_in import Learnt, Standing, pack_standing

_Known = dict[str, dict[str, Surrogate]]
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Known).decode
_whose: Final = attrgetter("agent", "nth")
STATE: Final = "surrogates"
"""Under which name they stand in a world's state."""


class Surrogates:
    """By type and purpose. In ticks without a policy there are none; with another policy they begin anew."""

    def __init__(self) -> None:
        self.known: _Known = {}
        self.counts = Counts()
        """What the tick that was closed last came to."""
        self.rows: TableRows = {}

    def close(self, tick: int, policy: Policy | None, learnt: Sequence[Learnt]) -> None:
        """Take what the shards' asks of a tick came to."""
        self.counts, self.rows = Counts(), {}
        self.known = {
            of: {purpose: one for purpose, one in purposes.items() if one.policy == policy}
            for of, purposes in self.known.items()
        }
        if policy is None:
            return
        told: dict[tuple[str, str], tuple[int, list[Observed]]] = {}
        for one in learnt:
            answered, observed = told.get((one.type, one.purpose), (0, []))
            told[one.type, one.purpose] = answered + one.answered, [*observed, *one.observed]
        rows = []
        for (of, purpose), (answered, observed) in sorted(told.items()):
            surrogate = self.known.setdefault(of, {}).setdefault(purpose, Surrogate(policy))
            closed = surrogate.close(in_order(observed))
            self._count(closed)
            rows.append(_row(tick, of, purpose, surrogate, answered, len(observed), closed))
        if rows:
            self.rows = {name: [row[name] for row in rows] for name in rows[0]}

    def _count(self, closed: Closed) -> None:
        self.counts.audits += closed.audits
        self.counts.surprise += closed.surprise
        self.counts.expected += closed.expected
        self.counts.alarms += closed.alarms

    def covered(self) -> list[Any]:
        """What stands in the trace of them: whole numbers only."""
        return [
            (of, purpose, one.answers, one.fitted, one.fit is not None, one.alarms)
            for of, purposes in sorted(self.known.items())
            for purpose, one in sorted(purposes.items())
        ]

    def standing(self, policy: Policy | None) -> bytes:
        """What shards are told before a tick of this policy."""
        fits = {
            of: found
            for of, purposes in sorted(self.known.items())
            if (found := {name: one.fit for name, one in sorted(purposes.items()) if one.fit and one.policy == policy})
        }
        return pack_standing(Standing(0.0 if policy is None else policy.audit, fits))

    def state(self) -> dict[str, Any]:
        """What is to be saved, in a state of the world."""
        return {STATE: _encode(self.known)} if self.known else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what `state` gave."""
        packed = state.get(STATE)
        self.known = {} if packed is None else _decode(packed)


def in_order(observed: list[Observed]) -> list[Observed]:
    """In the order of agents and their asks, in which no shard and no answer has a say."""
    return sorted(observed, key=_whose)


def _row(
    tick: int, of: str, purpose: str, one: Surrogate, answered: int, observed: int, closed: Closed
) -> dict[str, Any]:
    return {
        "tick": tick, "type": of, "purpose": purpose, "answered": answered, "asked": observed, "audits": closed.audits,
        "surprise": closed.surprise, "expected": closed.expected, "evidence": closed.evidence,
        "trusted": one.fit is not None, "answers": one.answers, "alarms": one.alarms,
    }  # fmt: skip
