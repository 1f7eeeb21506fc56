"""How fast a run goes and how long it still has, from what the run itself reports. Pure: no clock is read here."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

_STEP: Final = 0.01  # points closer together than this share of the run so far are one
_STEP_S: Final = 0.1
_EVIDENCE_S: Final = 1.0
_SPREAD: Final = 1.15


class _Point(NamedTuple):
    wall_s: float
    share: float
    turns: float


class Left(NamedTuple):
    """How long a run still has, in seconds of wall time: somewhere between `low_s` and `high_s`."""

    low_s: float
    high_s: float


class Pace:
    """Watches how the share of a run that is done grows with wall time.

    Speeds are taken over the later half of the run so far, so that a slow start (a model that loads) or a fast one
    (answers from a cache) is forgotten in time.
    """

    def __init__(self) -> None:
        self._points: deque[_Point] = deque([_Point(0.0, 0.0, 0.0)])
        self._now = self._points[0]

    def see(self, wall_s: float, share: float, turns: float) -> None:
        """At `wall_s` seconds since the run began, `share` (0 to 1) of it is done and `turns` were taken."""
        self._now = _Point(wall_s, share, turns)
        if wall_s - self._points[-1].wall_s >= max(_STEP_S, _STEP * wall_s):
            self._points.append(self._now)
        while len(self._points) > 1 and self._points[1].wall_s <= wall_s / 2:
            self._points.popleft()

    @property
    def turns_per_s(self) -> float:
        """Turns a second of wall time, over the later half of the run so far; 0.0 before there are any."""
        then = self._points[0]
        seconds = self._now.wall_s - then.wall_s
        return (self._now.turns - then.turns) / seconds if seconds > 0.0 else 0.0

    def left(self) -> Left | None:
        """How long the run still has; None as long as nothing can be said honestly.

        One end is from the speed of the run so far, the other from that of its later half.
        """
        now, then = self._now, self._points[0]
        if now.wall_s < _EVIDENCE_S or now.share <= 0.0 or now.share <= then.share:
            return None
        whole = now.wall_s * (1.0 - now.share) / now.share
        later = (now.wall_s - then.wall_s) * (1.0 - now.share) / (now.share - then.share)
        return Left(min(whole, later), max(whole, later))


def left_text(left: Left | None) -> str:
    """For a person: 'about 6 min left', '4 min to 6 min left', or why there is no estimate yet."""
    if left is None:
        return "no estimate yet"
    if left.high_s < 1.0:
        return "about 1 s left"
    if left.high_s <= left.low_s * _SPREAD:
        return f"about {duration_text((left.low_s + left.high_s) / 2)} left"
    low, high = duration_text(left.low_s), duration_text(left.high_s)
    return f"about {high} left" if low == high else f"{low} to {high} left"


def counted(number: int, noun: str) -> str:
    """So many of them, in words: '1 tick', '1,200 ticks'."""
    return f"{number:,} {noun}" + "s" * (number != 1)


def duration_text(seconds: float) -> str:
    """A duration as a person says it: '8 s', '2 min 05 s', '47 min', '3 h 20 min', '4 d 03 h'."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} d {hours % 24:02d} h"
