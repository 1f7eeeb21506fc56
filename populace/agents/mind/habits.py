"""Habits learnt from outcomes, in which losses count for more than gains."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from populace.agents.mind.limits import finite, within
from populace.core.draws import Stream
from populace.core.leaving import only_checks


class Habits(msgspec.Struct):
    """What each action has been worth: value := value + rate (u - value), after each outcome (Bush and Mosteller 1955).

    u = payoff - reference where that is a gain, loss_aversion (payoff - reference) where it is a loss (Kahneman and
    Tversky 1979; 2.25 is Tversky and Kahneman's median of 1992). The reference moves to payoffs by `adapt` an outcome.
    Payoffs are in the author's unit, values in the same. An action never tried is worth `first`.
    """

    rate: float = 0.2
    loss_aversion: float = 2.25
    reference: float = 0.0
    adapt: float = 0.0
    first: float = 0.0
    values: dict[str, float] = {}

    @only_checks
    def __post_init__(self) -> None:
        within("Habits: rate", self.rate, 0.0, 1.0)
        within("Habits: adapt", self.adapt, 0.0, 1.0)
        within("Habits: loss_aversion", self.loss_aversion, 0.0, float("inf"))
        finite("Habits: reference", self.reference)

    def utility(self, payoff: float) -> float:
        """What a payoff is felt as."""
        gain = finite("Habits: payoff", payoff) - self.reference
        return gain if gain >= 0.0 else self.loss_aversion * gain

    def learn(self, action: str, payoff: float) -> None:
        """Meet the outcome of an action."""
        felt, before = self.utility(payoff), self.value(action)
        self.values[action] = before + self.rate * (felt - before)
        self.reference += self.adapt * (payoff - self.reference)

    def value(self, action: str) -> float:
        """What an action is worth now."""
        return self.values.get(action, self.first)

    def best(self, actions: Sequence[str], draw: Stream, explore: float = 0.0) -> str:
        """One of those that are worth most, drawn among equals; with chance `explore` any of all. Two numbers drawn."""
        within("Habits.best: explore", explore, 0.0, 1.0)
        mark = draw.random()
        most = max(self.value(one) for one in actions)
        return draw.choice(actions if mark < explore else [one for one in actions if self.value(one) == most])

    def choose(self, actions: Sequence[str], draw: Stream, temperature: float = 1.0) -> str:
        """An action with chance in proportion to exp(value / temperature) (logit choice, Luce 1959)."""
        if not temperature > 0.0:
            raise ValueError(f"Habits.choose: temperature={temperature!r} has to be above 0")
        most = max(self.value(one) for one in actions)
        return draw.weighted(actions, [math.exp((self.value(one) - most) / temperature) for one in actions])

    def describe(self) -> str:
        """For a prompt, the best first: 'tram: went well (1.20), car: went badly (-0.40)'."""
        ranked = sorted(self.values.items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{name}: went {'well' if worth >= 0.0 else 'badly'} ({worth:.2f})" for name, worth in ranked)
