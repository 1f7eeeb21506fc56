"""What follows from how a call ended: the answer, another try after a wait, a repair, or the end of all calls. Pure.

Whatever happens, an ask ends as an answer or as `Abstained` with a reason:

- `deadline`: no whole answer within `timeout_s`; it is not tried again, since it would be as late;
- `refusal`: the model or a filter declined;
- `schema`: the answer did not fit its type, nor did its repairs;
- `error`: everything else, after its retries.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from populace.budget.amounts import PICO_USD, Amount, Rate
from populace.budget.prices import tokens_of
from populace.core.draws import WORLD, Stream
from populace.core.records import Answer, Ask, Reading, Reason
from populace.models.cache.keys import Mode as Sampling
from populace.models.chat import Mode, Turns, repair_turns
from populace.models.choices import choose
from populace.models.dialect import Form
from populace.models.dispatch.backoff import Backoff
from populace.models.endings import (
    Ending,
    Exhausted,
    Fatal,
    Fault,
    Late,
    Limited,
    Refused,
    Rejected,
    Said,
    Unsupported,
)
from populace.models.protocol import Deliver
from populace.models.reading import read_as


class Pending(msgspec.Struct):
    """An ask on its way through the client, over all its calls, which are billed at `rate`.

    `failed_at` is the number of the endpoint that failed it last, -1 for none; `alone` keeps it out of requests that
    carry several prompts; `form` is how its last request was put. `limits` is how often a rate limit refused it,
    `limited_since_s` when that was first; `denied_at` is how many answers its endpoint had given when it first denied
    this ask its key, its model or its address. `queued_at_s` is when it last began to wait for a call; `in_batches` is
    how often it was put into a batch.
    """

    ask: Ask
    deliver: Deliver
    mode: Mode
    rate: Rate = Rate()
    more: Turns = ()
    tries: int = 0
    repairs: int = 0
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    spent: Amount = Amount()
    estimated: Amount = Amount()
    latency_s: float = 0.0
    estimate: int = 0
    worst: Amount = Amount()
    worst_in: int = 0
    failed_at: int = -1
    alone: bool = False
    limits: int = 0
    limited_since_s: float | None = None
    denied_at: int | None = None
    form: Form = Form()
    reasoning: str = ""
    cut: bool = False
    reading: Reading = ""
    queued_at_s: float = 0.0
    in_batches: int = 0

    def forget_bills(self) -> None:
        """Count none of its calls: the next attempt finds them all again, and counts them then."""
        self.calls = self.tokens_in = self.tokens_out = 0
        self.spent = self.estimated = Amount()

    def answered(self, text: str) -> Answer:
        """The ask's answer."""
        return self._ended("answered", text, "", "")

    def abstained(self, reason: Reason, detail: str) -> Answer:
        """The ask's abstention."""
        return self._ended("abstained", "", reason, detail)

    def _ended(self, settled: Literal["answered", "abstained"], text: str, reason: str, detail: str) -> Answer:
        ask = self.ask
        return Answer(
            ask.agent,
            ask.tick,
            ask.nth,
            settled,
            text,
            reason,
            detail,
            self.calls,
            self.tokens_in,
            self.tokens_out,
            self.spent.pico_usd / PICO_USD,
            self.latency_s,
            self.reasoning,
            self.cut,
            self.reading,
            estimated_tokens=self.estimated.tokens,
            estimated_usd=self.estimated.pico_usd / PICO_USD,
            left_out="" if self.mode == "embedding" else self.form.left_out(self.mode == "schema"),
        )


class Again(msgspec.Struct, frozen=True):
    """Put the ask back into the queue after so many seconds."""

    after_s: float


class Retry(msgspec.Struct, frozen=True):
    """The rules: how often, and after what wait."""

    seed: int
    retries: int
    repairs: int
    rate: Rate
    backoff: Backoff = Backoff()
    sampling: Sampling = "own"
    lenient: bool = True

    def after(
        self, pending: Pending, outcome: Ending, *, probe: bool = False, elsewhere: int = 0
    ) -> Answer | Again | Fatal:
        """What follows from a call's outcome. Counts calls, tokens and money on the ask.

        A probe of an open breaker costs its ask none of its tries, unless it may have been billed. `elsewhere` is how
        many other endpoints work: the first tries go there at once, and so does what a probe was too late for.
        """
        match outcome:
            case Said():
                self._bill(pending, outcome)
                return self._judge(pending, outcome)
            case Refused():
                if outcome.billed:
                    self._bill(pending, outcome)
                pending.reasoning = outcome.reasoning
                return pending.abstained("refusal", outcome.detail)
            case Exhausted():
                self._bill(pending, outcome)
                pending.reasoning = outcome.reasoning
                return pending.abstained("error", outcome.detail)
            case Late():
                if outcome.billed:
                    self.bill_unknown(pending)
                if probe and elsewhere and pending.tries < self.retries:
                    pending.tries += 1
                    return Again(0.0)
                return pending.abstained("deadline", outcome.detail)
            case Unsupported():
                return pending.abstained("error", outcome.detail)
            case Rejected():
                if outcome.billed:
                    self.bill_unknown(pending)
                return pending.abstained("error", outcome.detail)
            case Limited():
                # Waiting for room is no failure and costs no try.
                pending.limits += 1
                return Again(0.0 if elsewhere else self.pause_s(pending, pending.limits - 1, outcome.wait_s))
            case Fault():
                if outcome.billed:
                    self.bill_unknown(pending)
                return self._again(pending, outcome, probe, elsewhere)
        return outcome

    def pause_s(self, pending: Pending, refused: int, asked_for_s: float | None) -> float:
        """For how long to leave an endpoint alone that refused this call by a rate limit, after `refused` others."""
        ask = pending.ask
        return self.backoff.pause_s(self.seed, ask.agent, ask.tick, ask.nth, refused, asked_for_s)

    def _judge(self, pending: Pending, said: Said) -> Answer | Again:
        """Read the answer as its type; when it does not fit, ask again and say why."""
        ask = pending.ask
        pending.reasoning = said.reasoning
        if pending.mode == "labels":
            if said.probabilities is not None:
                return pending.answered(choose(said.probabilities, self._choice_stream(ask)))
            # The labels are nowhere among the likely first tokens, or cannot be told apart by them.
            pending.mode = "schema"
            return Again(0.0)
        try:
            text, pending.reading = read_as(ask.spec, said.text, lenient=self.lenient, read=ask.read)
        except ValueError as error:
            reason = str(error)
        else:
            pending.cut = said.cut and pending.mode == "text"
            return pending.answered(text)
        if said.cut and pending.mode == "schema":
            reason = f"it was cut off at {ask.max_tokens} tokens ({reason})"
        if pending.repairs >= self.repairs or pending.mode == "embedding":
            return pending.abstained("schema", f"{reason}: {said.text[:200]!r}")
        pending.repairs += 1
        pending.more = repair_turns(said.text, reason, ask.spec.schema)
        return Again(0.0)

    def _choice_stream(self, ask: Ask) -> Stream:
        """The stream that a label is drawn from: the ask's own, or that of its content where content is shared."""
        if self.sampling == "shared":
            return Stream(int.from_bytes(ask.key[:8], "little"), WORLD, 0, "llm.choice/shared")
        return Stream(self.seed, ask.agent, ask.tick, f"choice:{ask.nth}")

    def _again(self, pending: Pending, fault: Fault, probe: bool, elsewhere: int) -> Answer | Again:
        ask, free = pending.ask, probe and not fault.billed
        if pending.tries >= self.retries and not free:
            tried = f" (tried {pending.tries + 1} times)" if pending.tries else ""
            return pending.abstained("error", f"{fault.detail}{tried}")
        at_once = elsewhere and (probe or pending.tries < elsewhere)
        after_s = 0.0 if at_once else self.backoff.wait_s(self.seed, ask.agent, ask.tick, ask.nth, pending.tries)
        pending.tries += not free
        return Again(after_s)

    def bill_unknown(self, pending: Pending) -> None:
        """Count a call that broke off, and that was billed all the same as far as anybody here can know.

        An estimate, and rather too much: its prompt by its length, its answer as long as it may be.
        """
        ask = pending.ask
        sent = sum(len(content) for _, content in (*ask.messages, *pending.more))
        most_out = 1 if pending.mode == "labels" else ask.max_tokens
        self._bill(pending, Said("", tokens_of(sent), most_out, counted=False))

    def _bill(self, pending: Pending, outcome: Said | Refused | Exhausted) -> None:
        cost = pending.rate.cost(outcome.tokens_in, outcome.tokens_out)
        pending.calls += 1
        pending.tokens_in += outcome.tokens_in
        pending.tokens_out += outcome.tokens_out
        pending.spent += cost
        if not outcome.counted:
            pending.estimated += cost
