"""How many calls may be in flight at one endpoint: additive increase, multiplicative decrease.

The rules, per endpoint:

- **Increase.** When a window of calls (as many as the limit) succeeded and the limit was in use, it rises by one;
  until the first decrease by a window's worth, that is, it doubles each round trip (TCP's slow start).
- **Decrease on rate limits**, by `cut`, at most once a round trip: only a call that *began after* the last decrease
  may cause another, since those that began before it tell of the limit that was already cut.
- **Decrease on rising latency**, by `ease`, once a window: when the window's median exceeds `tolerance` times the
  least median known. The least median is the endpoint without a queue; what exceeds it waits in its queue, where
  more concurrency only adds delay (the gradient of Netflix's concurrency-limits; Vegas in TCP).
- **Measuring anew.** The least median is measured again, by one window at a quarter of the limit, when it is 64
  windows old or when eight decreases in a row did not help: else a queue that never drains would become the new
  least, or an endpoint that got slower for good would be taken for a queue (as BBR probes its round trip in TCP).
- **Transient faults** (500s, lost connections) free their permit and change nothing: they are the breaker's.

Pure: time is an argument, in monotonic seconds.
"""

from __future__ import annotations

import math
from statistics import median
from typing import Final, Literal, TypeAlias

Signal: TypeAlias = Literal["ok", "limited", "fault"]
"""How a call ended: with an answer; told to slow down (429, 503 with Retry-After); or failed in another way."""

_OLD_WINDOWS: Final = 64
_EASED_WINDOWS: Final = 8
_PROBE: Final = 0.25
_LEAST_WINDOW: Final = 10


class Concurrency:
    """The number of permits of one endpoint, and how many are taken.

    `ceiling` bounds the limit from above and `floor` from below; `start` is the limit at first. Raises ValueError
    unless 1 <= floor <= start <= ceiling, cut and ease are in (0, 1), and tolerance is above 1.
    """

    __slots__ = (
        "_cut",
        "_cut_at_s",
        "_ease",
        "_eased",
        "_floor",
        "_full",
        "_latencies",
        "_least_age",
        "_least_s",
        "_restore",
        "_slow_start",
        "_tolerance",
        "_window_s",
        "ceiling",
        "decreases",
        "in_flight",
        "limit",
    )

    def __init__(
        self,
        ceiling: int,
        floor: int = 1,
        start: int | None = None,
        cut: float = 0.5,
        ease: float = 0.9,
        tolerance: float = 2.0,
    ) -> None:
        start = max(floor, min(ceiling, 16)) if start is None else start
        if not 1 <= floor <= start <= ceiling:
            raise ValueError(f"concurrency needs 1 <= floor <= start <= ceiling, got {floor}, {start}, {ceiling}")
        if not (0.0 < cut < 1.0 and 0.0 < ease < 1.0 and tolerance > 1.0):
            raise ValueError(f"concurrency needs cut and ease in (0, 1), tolerance > 1: {cut}, {ease}, {tolerance}")
        self.ceiling = ceiling
        self.limit = float(start)
        self.in_flight = 0
        self.decreases = {"limited": 0, "latency": 0}
        self._floor = floor
        self._cut = cut
        self._ease = ease
        self._tolerance = tolerance
        self._slow_start = True
        self._full = False
        self._cut_at_s = -math.inf
        self._window_s = -math.inf
        self._latencies: list[float] = []
        self._least_s = math.inf
        self._least_age = 0
        self._eased = 0
        self._restore: float | None = None

    @property
    def room(self) -> int:
        """How many more calls may start now."""
        return max(0, int(self.limit) - self.in_flight)

    def start(self) -> None:
        """Take a permit. Raises RuntimeError when there is none: look at `room` first."""
        limit = int(self.limit)
        if self.in_flight >= limit:
            raise RuntimeError(
                f"no permit is free: {self.in_flight} calls are in flight, the limit is {self.limit:.1f}"
            )
        self.in_flight += 1
        self._full = self._full or self.in_flight == limit

    def finish(self, outcome: Signal, began_s: float, now_s: float) -> None:
        """Give a permit back, and learn from how the call that began at `began_s` ended."""
        if self.in_flight == 0:
            raise RuntimeError("a permit was given back that nobody took")
        self.in_flight -= 1
        if outcome == "limited" and began_s > self._cut_at_s:
            self._decrease("limited", self._cut, now_s)
        elif outcome == "ok" and began_s >= self._window_s:
            # Calls from before the window began saw another limit, so neither their success nor their time counts.
            self._latencies.append(now_s - began_s)
            if len(self._latencies) >= max(_LEAST_WINDOW, int(self.limit)):
                self._close_window(now_s)

    def _close_window(self, now_s: float) -> None:
        typical = median(self._latencies)
        if self._restore is not None:
            self._least_s, self._least_age, self._eased = typical, 0, 0
            self.limit, self._restore = self._restore, None
        elif typical <= self._least_s:
            self._least_s, self._least_age, self._eased = typical, 0, 0
            self._raise()
        elif typical > self._tolerance * self._least_s:
            self._least_age += 1
            self._eased += 1
            self._decrease("latency", self._ease, now_s)
            self._probe_if_due()
        else:
            self._least_age += 1
            self._eased = 0
            self._raise()
            self._probe_if_due()
        self._begin_window(now_s)

    def _raise(self) -> None:
        if self._full:
            step = len(self._latencies) if self._slow_start else 1
            self.limit = min(float(self.ceiling), self.limit + step)

    def _probe_if_due(self) -> None:
        if self._least_age >= _OLD_WINDOWS or self._eased >= _EASED_WINDOWS:
            self._restore = self.limit
            self.limit = max(float(self._floor), self.limit * _PROBE)

    def _decrease(self, why: str, factor: float, now_s: float) -> None:
        self.limit = max(float(self._floor), (self._restore or self.limit) * factor)
        self.decreases[why] += 1
        self._slow_start = False
        self._restore = None
        self._cut_at_s = now_s
        self._begin_window(now_s)

    def _begin_window(self, now_s: float) -> None:
        self._latencies.clear()
        self._window_s = now_s
        self._full = self.room == 0
