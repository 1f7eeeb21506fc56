"""The gateway to a chat-completions endpoint: Retry, Throttle and HTTP put together.

```
offer(asks) -> Job -> Dispatcher (queue, permits, throttle) -> Http.post -> read -> Retry.after
                          ^                                                             |
                          +------- again, after a wait that holds no permit ------------+--> deliver(answer)
```
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from populace.agents.llm.backoff import rate_headers, retry_after_s
from populace.agents.llm.breaker import Breaker
from populace.agents.llm.budget import worst_case, worst_tokens_in
from populace.agents.llm.cache import model_seed
from populace.agents.llm.chat import Dialect, Mode, Writer, read_completion, read_error
from populace.agents.llm.concurrency import Concurrency
from populace.agents.llm.http import Http, Reply
from populace.agents.llm.outcomes import Fatal, Limited, Outcome
from populace.agents.llm.prices import tokens_of
from populace.agents.llm.protocol import Deliver, Pressure
from populace.agents.llm.retry import Again, Job, Retry
from populace.agents.llm.throttle import Account, Dispatcher
from populace.core.errors import ActorLost, BudgetSpent, ModelError
from populace.core.records import Answer, Ask

_PATH: Final = "/chat/completions"
_LIMITS: Final = "x-ratelimit-remaining-requests"


class Client:
    """A gateway that asks one endpoint.

    `label_mode` says whether choices are read from the probabilities of labels. `key_source` names, for errors, where
    the key comes from.
    """

    def __init__(
        self,
        *,
        http: Http,
        model: str,
        dialect: Dialect,
        retry: Retry,
        label_mode: bool,
        permits: Concurrency,
        outage_s: float,
        key_source: str,
        account: Account | None = None,
    ) -> None:
        self._http = http
        self._model = model
        self._writer = Writer(model, dialect)
        self._retry = retry
        self._choice_mode: Mode = "labels" if label_mode else "schema"
        self._outage_s = outage_s
        self._key_source = key_source
        self._account = account
        self._failure: Exception | None = None
        self._closed = False
        self.dispatcher = Dispatcher(
            call=self._call,
            done=self._conclude,
            stop=self._stop,
            permits=permits,
            breaker=Breaker(),
            outage_s=outage_s,
            account=account,
        )

    async def open(self) -> None:
        """Make the session and start the dispatcher; nothing is sent."""
        await self._http.open()
        self.dispatcher.open()

    @property
    def failure(self) -> Exception | None:
        """Why no further ask can succeed, or None."""
        return self._failure

    def pressure(self) -> Pressure:
        """What waits and what is in flight."""
        return self.dispatcher.pressure()

    def offer(self, asks: Sequence[Ask], deliver: Deliver) -> None:
        """Queue the asks; each is answered as soon as it is."""
        jobs = [self._job(ask, deliver) for ask in asks]
        if self._failure is not None or self._closed:
            reason, detail = ("interrupted", "") if self._failure is None else _reason(self._failure)
            deliver([job.abstained(reason, detail) for job in jobs])
            return
        for job in jobs:
            self.dispatcher.put(job)

    async def close(self) -> None:
        """Stop; asks still open are delivered as abstained('interrupted')."""
        self._closed = True
        self._abstain(self.dispatcher.drain() + self.dispatcher.abort(), "interrupted", "")
        await self.dispatcher.close()
        await self._http.close()

    def _job(self, ask: Ask, deliver: Deliver) -> Job:
        match ask.spec.kind:
            case "text":
                mode: Mode = "text"
            case "choice":
                mode = self._choice_mode
            case _:
                mode = "schema"
        job = Job(ask, deliver, mode)
        if self._account is not None:
            self._weigh(job)
        return job

    def _weigh(self, job: Job) -> None:
        """What a call of this job will take, about and at most: for the quota and the budget."""
        ask = job.ask
        turns = (*ask.messages, *job.more)
        text = "".join(content for _, content in turns)
        size, schema = len(text.encode()), 0
        if job.mode == "schema" and ask.spec.schema is not None:
            schema = self._writer.schema_bytes(ask)
        job.estimate = tokens_of(len(text)) + 4 * len(turns) + ask.max_tokens
        job.worst = worst_case(self._retry.rate, size, len(turns), ask.max_tokens, schema)
        job.worst_in = worst_tokens_in(size, len(turns), schema)

    async def _call(self, job: Job) -> Outcome:
        ask = job.ask
        seed = model_seed(self._retry.sampling, self._retry.seed, ask, job.repairs)
        reply = await self._http.post(_PATH, self._writer.request(ask, job.mode, seed, job.more))
        if not isinstance(reply, Reply):
            return reply
        if _LIMITS in reply.headers:
            pause_s = rate_headers(reply.headers).pause_s(max(1, job.estimate))
            if pause_s > 0.0:
                self.dispatcher.hold(pause_s)
        if reply.status == 200:
            sent = sum(len(content) for _, content in ask.messages)
            return read_completion(reply.body, ask.spec.labels if job.mode == "labels" else (), sent)
        wait_s = retry_after_s(reply.headers, time.time())
        outcome = read_error(reply.status, self._http.scrub(reply.body.decode(errors="replace")).encode(), wait_s)
        if isinstance(outcome, Limited) and wait_s is not None:
            if wait_s > self._outage_s:
                return Fatal("quota", f"{outcome.detail}; it asks to wait {wait_s:.0f} s")
            self.dispatcher.hold(wait_s)
        return outcome

    def _conclude(self, job: Job, outcome: Outcome, probe: bool) -> None:
        if self._closed:
            return
        if isinstance(outcome, Fatal) and self._writer.learn(outcome.detail):
            self.dispatcher.put(job)
            return
        step = self._retry.after(job, outcome, probe=probe)
        if isinstance(step, Answer):
            job.deliver([step])
        elif isinstance(step, Again) and self._failure is None:
            if self._account is not None:
                self._weigh(job)
            self.dispatcher.put(job, step.after_s)
        else:
            if isinstance(step, Fatal) and self._failure is None:
                self._fail(ModelError(self._explain(step)))
            self._abstain([job], *_reason(self._failure))

    def _stop(self, why: str, detail: str) -> None:
        """The dispatcher won't start another call."""
        if self._failure is not None:
            return
        match why:
            case "budget":
                self._failure = BudgetSpent(
                    "the run's budget is spent: the worst case of the next call does not fit under the ceiling. "
                    "Everything up to the last whole tick is saved. To go on, raise model.budget.usd or "
                    "model.budget.tokens, whichever is set, and resume the run."
                )
                # What is in flight is paid for, and ends as it ends.
                self._abstain(self.dispatcher.drain(), *_reason(self._failure))
            case "outage":
                self._fail(
                    ModelError(
                        f"{self._http.base_url} is out: {detail}. See whether its server runs; model.outage_s says how "
                        f"long to wait for it."
                    )
                )
            case "account":
                self._fail(ActorLost(["the quota"], detail))
            case "attempt":
                self._fail(ModelError("a newer attempt of this shard runs, so this one makes no more calls."))
            case _:
                self._fail(ModelError(f"the model gateway failed: {detail}. This is a bug in populace: report it."))

    def _fail(self, failure: Exception) -> None:
        self._failure = failure
        self._abstain(self.dispatcher.drain() + self.dispatcher.abort(), *_reason(failure))

    def _abstain(self, jobs: list[Job], reason: str, detail: str) -> None:
        for job in jobs:
            job.deliver([job.abstained(reason, detail)])

    def _explain(self, fatal: Fatal) -> str:
        url, detail = self._http.base_url, fatal.detail
        match fatal.kind:
            case "key":
                return f"{url} refused the API key ({detail}). Put a valid key into {self._key_source}."
            case "model":
                return (
                    f"{url} has no model {self._model!r} ({detail}). Set model.name to one that it serves: GET "
                    f"{url}/models lists them. If every path is unknown there, see whether model.base_url ends in /v1."
                )
            case "quota":
                return f"{url} has no quota left for this key ({detail}). Add credit, or use another key, and resume."
        return f"{url} refused a parameter ({detail}). Change model.temperature or model.max_tokens to what it takes."


def _reason(failure: Exception | None) -> tuple[str, str]:
    return ("budget" if isinstance(failure, BudgetSpent) else "error", str(failure))
