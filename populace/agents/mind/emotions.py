"""Emotions: a point of valence and arousal, and intensity in three levels."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from populace.agents.mind.limits import clip, within
from populace.core.draws import Stream
from populace.core.leaving import only_checks

Level = Literal["calm", "moderate", "intense"]
LEVELS: Final[tuple[Level, ...]] = ("calm", "moderate", "intense")


class Emotion(msgspec.Struct):
    """Core affect (Russell 1980): `valence` from -1 (bad) to 1 (good), `arousal` from 0 (still) to 1 (stirred).

    Each tick it comes nearer to where it rests: x := rest + keep (x - rest).
    """

    valence: float = 0.0
    arousal: float = 0.0
    rest_valence: float = 0.0
    rest_arousal: float = 0.0
    keep: float = 0.8
    moderate: float = 1 / 3
    intense: float = 2 / 3

    @only_checks
    def __post_init__(self) -> None:
        if (
            -1.0 <= self.valence <= 1.0
            and -1.0 <= self.rest_valence <= 1.0
            and 0.0 <= self.arousal <= 1.0
            and 0.0 <= self.rest_arousal <= 1.0
            and 0.0 <= self.keep <= 1.0
        ):
            return
        for name, low in (
            ("valence", -1.0),
            ("rest_valence", -1.0),
            ("arousal", 0.0),
            ("rest_arousal", 0.0),
            ("keep", 0.0),
        ):
            within(f"Emotion: {name}", getattr(self, name), low, 1.0)

    def feel(self, valence: float, arousal: float, weight: float = 0.5) -> None:
        """Meet an event of this valence and arousal: x := x + weight (event - x)."""
        if not (-1.0 <= valence <= 1.0 and 0.0 <= arousal <= 1.0 and 0.0 <= weight <= 1.0):
            within("Emotion.feel: valence", valence, -1.0, 1.0)
            within("Emotion.feel: arousal", arousal, 0.0, 1.0)
            within("Emotion.feel: weight", weight, 0.0, 1.0)
        met, stirred = (
            self.valence + weight * (valence - self.valence),
            self.arousal + weight * (arousal - self.arousal),
        )
        self.valence = -1.0 if met < -1.0 else 1.0 if met > 1.0 else met  # noqa: FURB136  # `clip`, for each message
        self.arousal = 0.0 if stirred < 0.0 else 1.0 if stirred > 1.0 else stirred  # noqa: FURB136

    def pass_tick(self, ticks: int = 1) -> None:
        """Let a tick pass, or several at once."""
        left = 1.0
        for _ in range(ticks):
            left *= self.keep
        self.valence = clip(self.rest_valence + left * (self.valence - self.rest_valence), -1.0, 1.0)
        self.arousal = clip(self.rest_arousal + left * (self.arousal - self.rest_arousal), 0.0, 1.0)

    @property
    def level(self) -> Level:
        """Calm below `moderate` of arousal, intense from `intense`."""
        return LEVELS[(self.arousal >= self.moderate) + (self.arousal >= self.intense)]

    def describe(self) -> str:
        """For a prompt: 'intense, feeling bad'."""
        tone = "good" if self.valence > 0.2 else "bad" if self.valence < -0.2 else "neither good nor bad"
        return f"{self.level}, feeling {tone}"


class Intensity(msgspec.Struct):
    """An emotion in three levels as a Markov chain that exposure drives (as in S3, Gao et al. 2023; figures your own).

    Each stimulus raises it by one level with chance `up`, so n of them do with 1 - (1 - up)^n; a tick without any
    lowers it by one with chance `down`. It moves by one level a tick at most.
    """

    level: Level = "calm"
    up: float = 0.2
    down: float = 0.3

    @only_checks
    def __post_init__(self) -> None:
        within("Intensity: up", self.up, 0.0, 1.0)
        within("Intensity: down", self.down, 0.0, 1.0)

    def step(self, stimuli: int, draw: Stream) -> None:
        """A tick with so many stimuli. One number is drawn, whatever happens."""
        mark, at = draw.random(), LEVELS.index(self.level)
        stays = 1.0
        for _ in range(stimuli):
            stays *= 1.0 - self.up
        if stimuli > 0 and mark < 1.0 - stays:
            at += 1
        elif stimuli <= 0 and mark < self.down:
            at -= 1
        self.level = LEVELS[min(max(at, 0), 2)]

    def describe(self) -> str:
        """For a prompt: the level."""
        return self.level
