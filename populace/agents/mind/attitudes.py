"""An attitude that moves by social judgement and by arguments that are new."""

from __future__ import annotations

import msgspec

from populace.agents.mind.limits import clip, finite, within
from populace.core.leaving import only_checks


class Attitude(msgspec.Struct):
    """A position from -1 (against) to 1 (for), and how far off a message may be (Sherif and Hovland 1961).

    `acceptance` and `rejection` are distances: a position nearer than the first is assimilated, one farther than the
    second repels, and between them nothing happens (Jager and Amblard 2005). `arguments` are the last `remembers` that
    were heard, by which a new one is told (persuasive-arguments theory, Burnstein and Vinokur 1977).
    """

    position: float = 0.0
    acceptance: float = 0.5
    rejection: float = 1.2
    rate: float = 0.1
    repulsion: float = 0.1
    remembers: int = 100
    arguments: list[str] = []

    @only_checks
    def __post_init__(self) -> None:
        if (
            -1.0 <= self.position <= 1.0
            and 0.0 <= self.acceptance <= 2.0
            and self.acceptance <= self.rejection
            and 0.0 <= self.rate <= 1.0
            and 0.0 <= self.repulsion <= 1.0
            and self.remembers >= 1
        ):
            return
        within("Attitude: position", self.position, -1.0, 1.0)
        within("Attitude: acceptance", self.acceptance, 0.0, 2.0)
        within("Attitude: rejection", self.rejection, self.acceptance, float("inf"))
        within("Attitude: rate", self.rate, 0.0, 1.0)
        within("Attitude: repulsion", self.repulsion, 0.0, 1.0)
        if self.remembers < 1:
            raise ValueError(f"Attitude: remembers={self.remembers} has to be at least 1")

    def judge(self, position: float) -> str:
        """How a message of this position is met: 'accepted', 'ignored' or 'rejected'."""
        distance = abs(position - self.position)
        return "accepted" if distance <= self.acceptance else "rejected" if distance > self.rejection else "ignored"

    def hear(self, position: float, weight: float = 1.0) -> float:
        """Hear where another stands. Gives how far the own position moved.

        Accepted: rate weight (message - own); rejected: -repulsion weight (message - own); else 0. `weight`, 0 to 1, is
        for example trust in the speaker. The position stays from -1 to 1.
        """
        if not (-1.0 <= position <= 1.0 and 0.0 <= weight <= 1.0):
            within("Attitude.hear: position", position, -1.0, 1.0)
            within("Attitude.hear: weight", weight, 0.0, 1.0)
        before = self.position
        distance = abs(position - before)
        rate = self.rate if distance <= self.acceptance else -self.repulsion if distance > self.rejection else 0.0
        now = before + rate * weight * (position - before)
        self.position = now = -1.0 if now < -1.0 else 1.0 if now > 1.0 else now  # noqa: FURB136  # `clip`, once for each message
        return now - before

    def weigh(self, argument: str, strength: float, position: float | None = None) -> float:
        """Hear an argument, for (strength above 0) or against. Gives how far the own position moved: rate strength fit.

        One that is remembered moves nothing. `fit` goes by the speaker's `position`: 1 within `acceptance`, 0 from
        `rejection`, linear between; without one it is 1.
        """
        finite("Attitude.weigh: strength", strength)
        if argument in self.arguments:
            return 0.0
        self.arguments = [*self.arguments, argument][-self.remembers :]
        return self._move(self.rate * strength * (1.0 if position is None else self._fit(position)))

    def describe(self) -> str:
        """For a prompt: 'rather for it (0.35 from -1 against to 1 for)'."""
        size = abs(self.position)
        side = "for" if self.position > 0.0 else "against"
        words = "undecided" if size < 0.1 else f"{'rather' if size < 0.6 else 'strongly'} {side} it"
        return f"{words} ({self.position:.2f} from -1 against to 1 for)"

    def _fit(self, position: float) -> float:
        distance = abs(position - self.position)
        if distance <= self.acceptance:
            return 1.0
        if distance >= self.rejection:
            return 0.0
        return (self.rejection - distance) / (self.rejection - self.acceptance)

    def _move(self, by: float) -> float:
        before, self.position = self.position, clip(self.position + by, -1.0, 1.0)
        return self.position - before
