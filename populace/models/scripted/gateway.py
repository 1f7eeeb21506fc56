"""Deterministic answers without a model: for tests, for studies of scale, and by a society's rules.

The scripted model's answer is drawn from the stream (seed, agent, tick, "scripted:<nth>") to fit the type that the ask
names: a placebo, blind to what was asked. Or it comes from a function of the society's:

```python
def answer(ask, draw):
    if ask.purpose == "vote":
        return "yes" if draw.bernoulli(0.6) else "no"
    return Opinion(attitude=draw.integer(11), why="as before")
```

It returns a str for text, a label or `Chosen` for a `Choice`, a value of the type otherwise, or `Abstained`. A rule of
the society returns the same, see `rules`; what is wrong with one ends the run.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

from populace.agents.answers import AnswerSpec
from populace.agents.embedding import write_vectors
from populace.budget.amounts import PICO_USD, Rate
from populace.core.draws import Stream
from populace.core.errors import ScenarioError
from populace.core.places import defined_at, raised_at
from populace.core.records import REASONS, Abstained, Answer, Ask, Reason
from populace.models.protocol import Deliver, Pressure
from populace.models.scripted.embed import placebo_vector
from populace.models.scripted.encode import encode, to_json
from populace.models.scripted.generate import compile_schema, plain_text
from populace.models.scripted.rules import Rules
from populace.settings import Latency

AnswerFunction: TypeAlias = Callable[[Ask, Stream], Any]
Writer: TypeAlias = Callable[[Stream], str]

_FREE: Final = Rate()


class Scripted:
    """A gateway that answers at once, inside `offer`, or after a latency drawn for each ask.

    It answers by `rules` where there are any, by the society's function `answer`, or by lot.
    Embeddings are the placebo's (`embed`) in any case.
    Each answer counts as one call of about a token for four characters, so that a study of scale sees calls,
    tokens and costs. It takes no permits: any number of asks is answered at the same time.
    """

    def __init__(
        self,
        *,
        seed: int,
        answer: AnswerFunction | None = None,
        rules: Rules | None = None,
        latency: Latency | None = None,
        rate: Rate = _FREE,
    ) -> None:
        self._seed = seed
        self._function = answer
        self._rules = rules
        self._failure: ScenarioError | None = None
        self._latency = latency if latency is not None and latency.median_s > 0.0 else None
        self._usd_in = rate.pico_usd_in / PICO_USD
        self._usd_out = rate.pico_usd_out / PICO_USD
        self._writers: dict[bytes, Writer] = {}
        self._pending: dict[tuple[int, int, int], tuple[asyncio.TimerHandle, Ask, Deliver]] = {}

    async def open(self) -> None:
        """Nothing has to be made ready."""

    @property
    def failure(self) -> Exception | None:
        """What is wrong with the society's rules or its answer function, once it has been found."""
        return self._failure

    def pressure(self) -> Pressure:
        """Nothing waits; in flight is what its latency holds back."""
        return Pressure(waiting=0, in_flight=len(self._pending))

    def offer(self, asks: Sequence[Ask], deliver: Deliver) -> None:
        """Answer the asks: all at once before this returns, or each after its latency."""
        reply = self._reply
        if self._latency is None:
            deliver([reply(ask) for ask in asks])
            return
        loop = asyncio.get_running_loop()
        for ask in asks:
            answer = reply(ask)
            answer.latency_s = self._latency_s(ask, self._latency)
            key = (ask.tick, ask.agent, ask.nth)
            timer = loop.call_later(answer.latency_s, self._deliver, key, answer)
            self._pending[key] = (timer, ask, deliver)

    def wind_down(self) -> None:
        """Abstain for what its latency still holds back: it costs nothing."""
        self._abstain()

    def abort(self) -> None:
        """Nothing is in flight: `wind_down` has ended all."""

    async def close(self) -> None:
        """Abstain for what its latency still holds back."""
        self._abstain()

    def _abstain(self) -> None:
        pending, self._pending = self._pending, {}
        for timer, ask, deliver in pending.values():
            timer.cancel()
            deliver([Answer(ask.agent, ask.tick, ask.nth, "abstained", reason="interrupted")])

    def _deliver(self, key: tuple[int, int, int], answer: Answer) -> None:
        _, _, deliver = self._pending.pop(key)
        deliver([answer])

    def _latency_s(self, ask: Ask, latency: Latency) -> float:
        draw = Stream(self._seed, ask.agent, ask.tick, f"latency:{ask.nth}")
        return latency.median_s * math.exp(draw.normal(0.0, latency.sigma))

    def _reply(self, ask: Ask) -> Answer:
        if ask.spec.kind == "embedding":
            vectors = [placebo_vector(text) for _, text in ask.messages]
            return self._answered(ask, write_vectors(vectors), says=False)
        if self._rules is not None:
            return self._ruled(ask, self._rules)
        return self._drawn(ask) if self._function is None else self._told(ask)

    def _ruled(self, ask: Ask, rules: Rules) -> Answer:
        """The answer of the society's rule; one that is wrong ends the run."""
        if self._failure is not None:
            return Answer(ask.agent, ask.tick, ask.nth, "abstained", reason="interrupted")
        try:
            said = rules(ask)
        except ScenarioError as error:
            self._failure = error
            return _abstained(ask, "error", str(error))
        return _abstained(ask, said.reason, said.detail) if isinstance(said, Abstained) else self._answered(ask, said)

    def _drawn(self, ask: Ask) -> Answer:
        """An answer drawn to fit the ask's type."""
        spec: AnswerSpec = ask.spec
        writer = self._writers.get(spec.key)
        if writer is None:
            writer = self._writers[spec.key] = answer_writer(spec)
        try:
            text = writer(Stream(self._seed, ask.agent, ask.tick, _purpose(ask.nth)))
        except ValueError as error:
            return _abstained(ask, "error", str(error))
        return self._answered(ask, text)

    def _told(self, ask: Ask) -> Answer:
        """The answer of the user's function."""
        assert self._function is not None
        try:
            value = self._function(ask, Stream(self._seed, ask.agent, ask.tick, _purpose(ask.nth)))
            if isinstance(value, Abstained):
                if value.reason not in REASONS:
                    known = ", ".join(REASONS)
                    return self._wrong(ask, "error", f"no reason to abstain is called {value.reason!r}: {known}")
                return _abstained(ask, value.reason, value.detail)
            text = encode(ask.spec, value)
            text.encode()  # half a pair of surrogates is no text that can be kept
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever the user's function raises ends this ask only
            return self._wrong(ask, "error", f"{type(error).__name__}: {error}", error)
        try:
            ask.read(text)
        except ValueError as error:
            return self._wrong(ask, "schema", f"its answer {text[:200]} is no {ask.spec.name}: {error}")
        return self._answered(ask, text)

    def _wrong(self, ask: Ask, reason: Reason, why: str, error: BaseException | None = None) -> Answer:
        """The user's function is at fault, not a model: it ends the run, since every run would go the same way."""
        assert self._function is not None
        place = defined_at(self._function) if error is None else raised_at(error, self._function)
        where = f"{place}: " if place else ""
        detail = f"{where}scripted(ask, draw), asked for {ask.purpose!r}: {why}"
        if self._failure is None:
            kind = "a str" if ask.spec.kind == "text" else f"a value of {ask.spec.name}"
            if "'Ask' object has no attribute" in why:
                detail += " (an ask has agent, tick, purpose, messages)"
            self._failure = ScenarioError(f"{detail}. It has to give {kind}, or Abstained(reason).")
        return _abstained(ask, reason, detail)

    def _answered(self, ask: Ask, text: str, *, says: bool = True) -> Answer:
        """The answer; what says nothing, as an embedding, has no tokens out."""
        characters = 0
        for _, content in ask.messages:
            characters += len(content)
        tokens_in, tokens_out = (characters + 3) >> 2, (len(text) + 3) >> 2 if says else 0
        cost = tokens_in * self._usd_in + tokens_out * self._usd_out
        return Answer(ask.agent, ask.tick, ask.nth, "answered", text, "", "", 1, tokens_in, tokens_out, cost)


@lru_cache(maxsize=1024)
def _purpose(nth: int) -> str:
    return f"scripted:{nth}"


def _abstained(ask: Ask, reason: Reason, detail: str) -> Answer:
    return Answer(ask.agent, ask.tick, ask.nth, "abstained", reason=reason, detail=detail, calls=1)


def answer_writer(spec: AnswerSpec) -> Writer:
    """What writes the texts for one answer type; it raises ValueError where that type cannot be drawn."""
    if spec.kind == "text":
        return plain_text
    if spec.kind == "choice":
        return _choice_writer(spec.labels)
    assert spec.schema is not None
    try:
        value = compile_schema(spec.schema)
    except ValueError as error:
        message = f"{spec.name}: {error}. Give the scripted model a function `answer(ask, draw)`."

        def cannot(_draw: Stream) -> str:
            raise ValueError(message)

        return cannot
    return lambda draw: to_json(value(draw)).decode()


def _choice_writer(labels: tuple[str, ...]) -> Writer:
    """Probabilities from a flat Dirichlet distribution, then a label drawn from them; as JSON of `Chosen`."""
    names = [to_json(label).decode().replace("%", "%%") for label in labels]
    probabilities = ",".join(f"{name}:%.6f" for name in names)
    forms = [f'{{"label":{name},"probabilities":{{{probabilities}}}}}' for name in names]
    if len(forms) == 2:
        yes, no = forms

        def toss(draw: Stream) -> str:
            p = draw.random()
            return (yes if draw.random() < p else no) % (p, 1.0 - p)

        return toss
    log = math.log1p

    def write(draw: Stream) -> str:
        weights = [-log(-draw.random()) for _ in forms]
        total = sum(weights)
        mark = draw.random() * total
        at = 0
        for at, weight in enumerate(weights):  # noqa: B007 - `at` is read after the loop
            mark -= weight
            if mark < 0.0:
                break
        return forms[at] % tuple([weight / total for weight in weights])

    return write
