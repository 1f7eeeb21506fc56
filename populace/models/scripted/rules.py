"""The rule mind: a society's own rules, by purpose, which go by an ask's facts and a keyed draw and by nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from populace.core.draws import Stream
from populace.core.errors import NoRule, ScenarioError
from populace.core.places import defined_at, raised_at
from populace.core.records import REASONS, Abstained, Ask, who
from populace.models.scripted.encode import encode

Rule: TypeAlias = Callable[[dict[str, Any], Stream], Any]

_facts_of = msgspec.json.Decoder(dict[str, Any]).decode


class Rules:
    """Answers asks by the rules of a society.

    A rule has to give the same answer for the same facts and draws, so the first ask of each purpose, the second, the
    fourth and so on are answered twice, and two answers that differ are an error.
    """

    def __init__(self, seed: int, rules: Mapping[str, Rule]) -> None:
        self._seed = seed
        self._rules = rules
        self._asked: Counter[str] = Counter()

    def __call__(self, ask: Ask) -> str | Abstained:
        """The text of the answer. Raises ScenarioError, naming the rule's file and line, for whatever is wrong."""
        rule = self._rules.get(ask.purpose)
        if rule is None:
            raise NoRule(
                f"No rule answers the purpose {ask.purpose!r} ({_of(ask)}). There are rules for: "
                f"{', '.join(sorted(self._rules))}. Add one: Society(rules={{{ask.purpose!r}: rule}}), with "
                "`def rule(facts, draw)`."
            )
        answer = self._answer(rule, ask)
        self._asked[ask.purpose] += 1
        if self._asked[ask.purpose].bit_count() == 1 and self._answer(rule, ask) != answer:
            raise _wrong(rule, ask, "gave two answers for the same facts and draws: it may go by nothing else")
        return answer

    def _answer(self, rule: Rule, ask: Ask) -> str | Abstained:
        facts = _facts_of(ask.facts) if ask.facts else {}
        draw = Stream(self._seed, ask.agent, ask.tick, f"rule:{ask.nth}")
        try:
            value = rule(facts, draw)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise _wrong(rule, ask, f"raised {type(error).__name__}: {error}", error) from error
        if isinstance(value, Abstained):
            if value.reason not in REASONS:
                known = ", ".join(REASONS)
                raise _wrong(rule, ask, f"abstained, and no reason is called {value.reason!r}: {known}")
            return value
        try:
            text = encode(ask.spec, value)
            text.encode()  # half a pair of surrogates is no text that can be kept
            ask.read(text)
        except Exception as error:
            shown = repr(value)
            shown = shown if len(shown) <= 200 else f"{shown[:197]}..."
            what = f"gave {shown}, which is no answer of the type {ask.spec.name}: {error}"
            raise _wrong(rule, ask, what) from error
        return text


def _wrong(rule: Rule, ask: Ask, what: str, error: BaseException | None = None) -> ScenarioError:
    place = defined_at(rule) if error is None else raised_at(error, rule)
    return ScenarioError(
        f"{place or repr(rule)}: the rule for {ask.purpose!r} {what} ({_of(ask)}, facts {ask.facts or 'none'}). Mend "
        "it and run anew, or go on from the last checkpoint with `populace resume RUN --code new`."
    )


def _of(ask: Ask) -> str:
    return f"{who(ask.agent)}, tick {ask.tick}"
