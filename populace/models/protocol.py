"""The one seam between the kernel and whatever answers: a `Gateway` takes asks and gives answers back.

Asks come in batches and answers go back in batches, each as soon as it is there and in any order: the kernel does
not depend on the order. A layer of the stack is a gateway that holds another: a run's record
(`store.journal.recording`) holds the cache (`models.cache.layer`), which holds the client or the scripted model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import msgspec

from populace.core.records import Answer, Ask
from populace.core.traffic import EndpointLoad, Traffic

Deliver: TypeAlias = Callable[[Sequence[Answer]], None]
"""Takes a batch of answers; called in the event loop's thread, possibly before `offer` returns."""

Fence: TypeAlias = Callable[[], bool]
"""Whether a call may be begun now; where not, what would be asked waits."""


def add_states(states: dict[str, int], others: Mapping[str, int]) -> None:
    """Add how many of others are in which state."""
    for state, n in others.items():
        states[state] = states.get(state, 0) + n


class Pressure(msgspec.Struct):
    """What a gateway has on its hands at this moment: all together, and by endpoint.

    `traffic` is what it has counted since it was made; it goes on counting there. None where it counts nothing.
    `batches` says how many batches of asks are out in which state.
    """

    waiting: int = 0
    in_flight: int = 0
    endpoints: dict[str, EndpointLoad] = {}
    traffic: Traffic | None = None
    batches: dict[str, int] = {}

    def add(self, other: Pressure) -> None:
        """Add what another gateway has on its hands; neither's `traffic` is changed."""
        self.waiting += other.waiting
        self.in_flight += other.in_flight
        for name, load in other.endpoints.items():
            self.endpoints.setdefault(name, EndpointLoad()).add(load)
        add_states(self.batches, other.batches)
        if other.traffic is not None:
            mine, self.traffic = self.traffic, Traffic()
            self.traffic.add(other.traffic)
            if mine is not None:
                self.traffic.add(mine)


class Gateway(Protocol):
    """Answers asks. Every ask offered is delivered exactly once, as an answer or an abstention.

    Only failures that no later call could mend (an unknown key, an unknown model, no quota left) are errors: they
    are raised as ModelError by `failure`, and every ask still open is delivered as abstained first.
    """

    async def open(self) -> None:
        """Make ready: connect, start what has to be started. Raises ModelError."""

    def offer(self, asks: Sequence[Ask], deliver: Deliver) -> None:
        """Take a batch of asks; never blocks and never raises for an ask."""

    def pressure(self) -> Pressure:
        """How much is waiting and in flight now."""

    @property
    def failure(self) -> Exception | None:
        """Why no further ask can succeed, or None."""

    def wind_down(self) -> None:
        """Begin no further call: asks that wait are delivered as abstained('interrupted'), calls in flight may end."""

    def abort(self) -> None:
        """After `wind_down`: what is in flight is delivered as abstained('interrupted'), with what it may cost."""

    async def close(self) -> None:
        """Stop everything that `open` started; asks still open are delivered as abstained('interrupted')."""
