"""A circuit breaker with probes, for one endpoint: a storm of failures stops calls, and a probe finds its end.

```
          threshold failures among the last `window` outcomes
 closed ───────────────────────────────────────────────────────▶ open: one probe every `probe_every_s`
    ▲                                                              │
    └────────────── `successes` probes in a row answered ──────────┘
```
Rate limits (429) are no failures here: they say that the endpoint works. Outcomes of calls that began before the
breaker last changed its mind tell of the past and count for nothing; a ticket carries the generation it began in.
Pure: time is an argument, in monotonic seconds.
"""

from __future__ import annotations

import math
from collections import deque

import msgspec


class Ticket(msgspec.Struct, frozen=True):
    """Leave to make one call; hand it back with `report`. `probe` is True when the breaker is open."""

    generation: int
    probe: bool = False


class Breaker:
    """The breaker of one endpoint.

    It opens at the `failures`-th failure among the last `window` outcomes: at the latest at the `failures`-th in a
    row. A probe that is never reported back is given up after `patience_s`. After a probe that fails or
    is given up, the next comes twice as late as that one did, at most `probe_most_s` later (without it they come every
    `probe_every_s`). Raises
    ValueError on settings that make no sense.
    """

    __slots__ = (
        "_answered",
        "_failures",
        "_generation",
        "_next_s",
        "_outcomes",
        "_patience_s",
        "_probe_every_s",
        "_probe_in_s",
        "_probe_most_s",
        "_probe_until_s",
        "_successes",
        "opened",
        "opened_at_s",
        "probes",
    )

    def __init__(
        self,
        failures: int = 10,
        window: int = 20,
        probe_every_s: float = 1.0,
        successes: int = 2,
        patience_s: float = 10.0,
        probe_most_s: float | None = None,
    ) -> None:
        if not 1 <= failures <= window or successes < 1 or not 0.0 < probe_every_s <= patience_s:
            raise ValueError(
                f"a breaker needs 1 <= failures <= window, successes >= 1, 0 < probe_every_s <= patience_s; got "
                f"{failures}, {window}, {successes}, {probe_every_s}, {patience_s}"
            )
        self._failures = failures
        self._probe_every_s = self._probe_in_s = probe_every_s
        self._probe_most_s = probe_every_s if probe_most_s is None else max(probe_every_s, probe_most_s)
        self._successes = successes
        self._patience_s = patience_s
        self._outcomes: deque[bool] = deque(maxlen=window)
        self._generation = 0
        self._answered = 0
        self._next_s = -math.inf
        self._probe_until_s = -math.inf
        self.opened_at_s: float | None = None
        self.opened = 0
        self.probes = 0

    @property
    def is_open(self) -> bool:
        """True while only probes are let through."""
        return self.opened_at_s is not None

    def admits_at_s(self, now_s: float) -> float:
        """When `admit` will next give a ticket, as things stand: `now_s` itself or later."""
        if not self.is_open:
            return now_s
        return max(now_s, self._next_s, self._probe_until_s)

    def admit(self, now_s: float) -> Ticket | None:
        """Leave to make a call now, or None."""
        if not self.is_open:
            return Ticket(self._generation)
        if now_s < self.admits_at_s(now_s):
            return None
        self.probes += 1
        if self._probe_until_s > -math.inf:  # the last one was given up
            self._probe_in_s = min(self._probe_most_s, 2.0 * self._probe_in_s)
        self._next_s = now_s + self._probe_in_s
        self._probe_until_s = now_s + self._patience_s
        return Ticket(self._generation, probe=True)

    def report(self, ticket: Ticket, answered: bool, now_s: float) -> None:
        """How the ticket's call ended. Any answer counts as `answered`, a 429 and a refusal among them."""
        if ticket.generation != self._generation:
            return
        if not ticket.probe:
            self._outcomes.append(answered)
            if not answered and self._outcomes.count(False) >= self._failures:
                self._turn(now_s)
            return
        self._probe_until_s = -math.inf
        self._answered = self._answered + 1 if answered else 0
        if answered:
            self._probe_in_s = self._probe_every_s
            self._next_s = min(self._next_s, now_s + self._probe_every_s)
        elif self._probe_most_s > self._probe_every_s:
            self._probe_in_s = min(self._probe_most_s, 2.0 * self._probe_in_s)
            self._next_s = max(self._next_s, now_s + self._probe_in_s)
        if self._answered >= self._successes:
            self._turn(None)

    def _turn(self, opened_at_s: float | None) -> None:
        self._generation += 1
        self._outcomes.clear()
        self._answered = 0
        self._probe_until_s = -math.inf
        self.opened_at_s = opened_at_s
        self._probe_in_s = self._probe_every_s
        if opened_at_s is not None:
            self.opened += 1
            self._next_s = opened_at_s + self._probe_every_s
