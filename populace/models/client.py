"""The gateway to one or more OpenAI-compatible endpoints: the innermost layer of the stack.

Its parts are no layers: a dispatcher that says when a call starts, `Http` that makes it, readers that say how it ended,
and the rules (`Retry`) for what follows from that.

```
offer(asks) -> Pending -> Dispatcher (lanes, quota, throttle) -> Http.post -> read -> Retry.after
                          ^                                                           |
                          +------ again, after a wait that holds no permit -----------+--> deliver(answer)
```
Which endpoint answered stands in no answer, key or trace.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from populace.budget.amounts import worst_case, worst_tokens_in
from populace.budget.prices import tokens_of
from populace.core.errors import ActorLost, BudgetSpent, ModelError
from populace.core.records import Answer, Ask, Reason
from populace.core.text import without_texts
from populace.models.batch_chat import Chat
from populace.models.batching import Batching
from populace.models.cache.keys import model_seed
from populace.models.chat import Mode, read_completion
from populace.models.completions import Prompts, prompt_of, read_completions
from populace.models.dispatch.backoff import asked_wait_s, never_fits, rate_headers
from populace.models.dispatch.dispatcher import Batches, Dispatcher
from populace.models.dispatch.lanes import Lane, Lanes
from populace.models.dispatch.retry import Again, Pending
from populace.models.dispatch.throttle import Limiter
from populace.models.embeddings import MOST_TEXTS, embedding_request, read_embeddings
from populace.models.endings import Ending, Exhausted, Fatal, Fault, Late, Limited, Refused, Rejected, Said, Unsupported
from populace.models.http import Reply
from populace.models.protocol import Deliver, Fence, Pressure
from populace.models.refusals import is_of_length, read_error
from populace.models.role_model import RoleModel, Server, explain

_CHAT: Final = "/chat/completions"
_COMPLETIONS: Final = "/completions"
_EMBEDDINGS: Final = "/embeddings"
_BEHIND_S: Final = 0.01
_LIMITS: Final = "x-ratelimit-remaining-requests"


class Client:
    """A gateway that asks one or more endpoints, for one model role or several whose calls share what bounds them.

    `models` holds the model of each role; every one has a server for each of `lanes`, in their order. A role that does
    not stand there is the first one's. `batching` puts batches before the dispatcher, for chats; with `weighs` calls
    are paid for, whatever `limiter` is.
    """

    def __init__(
        self,
        *,
        models: Mapping[str, RoleModel],
        lanes: Sequence[Lane],
        outage_s: float,
        limiter: Limiter | None = None,
        batch: int = 1,
        fence: Fence | None = None,
        batching: Callable[[Dispatcher, Chat], Batching] | None = None,
        weighs: bool = False,
    ) -> None:
        self._models = dict(models)
        self._model = next(iter(self._models.values()))
        self._servers = self._model.servers
        self._outage_s = outage_s
        self._weighs = limiter is not None or weighs
        self._batch = batch
        self._failure: Exception | None = None
        self._trouble = ""
        self._winding_down = False
        self._closed = False
        self.dispatcher: Dispatcher | Batching
        direct = Dispatcher(
            call=self._call,
            done=self._conclude,
            stop=self._stop,
            lanes=Lanes(lanes),
            outage_s=outage_s,
            pause_s=self._model.retry.pause_s,
            limiter=limiter,
            batches=Batches(batch, self._kind, self._filled),
            fence=fence,
        )
        self.dispatcher = direct
        if batching is not None:
            chat = Chat(self._written, self._begun, self._read, self._conclude, self._stop, self._fail, self._label)
            self.dispatcher = batching(direct, chat)

    async def open(self) -> None:
        """Make the sessions and start the dispatcher; nothing is sent."""
        for server in self._servers:
            await server.http.open()
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
        batch = [self._pending(ask, deliver) for ask in asks]
        if self._failure is not None or self._winding_down:
            deliver([pending.abstained(*_reason(self._failure)) for pending in batch])
            return
        for pending in batch:
            self.dispatcher.put(pending)

    def wind_down(self) -> None:
        """Start no further call; asks that wait are delivered as abstained('interrupted')."""
        self._winding_down = True
        self._abstain(self.dispatcher.drain(), *_reason(self._failure))

    def abort(self) -> None:
        """Break off what is in flight; it may be billed all the same, so it counts."""
        self._break_off("interrupted", "")

    async def close(self) -> None:
        """Stop; asks still open are delivered as abstained('interrupted')."""
        self._winding_down = self._closed = True
        self._abstain(self.dispatcher.drain(), "interrupted", "")
        self.abort()
        await self.dispatcher.close()
        for server in self._servers:
            await server.http.close()

    def _of(self, ask: Ask) -> RoleModel:
        """The model that an ask is put to."""
        return self._models.get(ask.model_role, self._model)

    def _pending(self, ask: Ask, deliver: Deliver) -> Pending:
        model = self._of(ask)
        match ask.spec.kind:
            case "text":
                mode: Mode = "text"
            case "choice":
                mode = model.choice_mode
            case "embedding":
                mode = "embedding"
            case _:
                mode = "schema"
        rate = model.retry.rate if model.batch_rate is None or mode == "embedding" else model.batch_rate
        pending = Pending(ask, deliver, mode, rate)
        if self._weighs:
            self._weigh(pending)
        return pending

    def _weigh(self, pending: Pending) -> None:
        """What a call for this ask will take, about and at most: for the quota and the budget."""
        ask = pending.ask
        model = self._of(ask)
        turns = (*ask.messages, *pending.more)
        text = "".join(content for _, content in turns)
        if model.prompts is not None and pending.mode in ("text", "labels"):
            text = prompt_of(turns, model.prompts.form)
        size, schema = len(text) if text.isascii() else len(text.encode()), 0
        if pending.mode == "schema" and ask.spec.schema is not None:
            schema = model.servers[0].writer.schema_bytes(ask)
        pending.estimate = tokens_of(len(text)) + 4 * len(turns) + ask.max_tokens
        pending.worst = worst_case(pending.rate, size, len(turns), ask.max_tokens, schema)
        pending.worst_in = worst_tokens_in(size, len(turns), schema)

    async def _call(self, batch: list[Pending], lane: Lane) -> Sequence[Ending]:
        pending = batch[0]
        model = self._of(pending.ask)
        server, prompts = model.servers[lane.index], model.prompts
        if pending.mode == "embedding":
            return await self._embed(batch, lane, server, model.label)
        if prompts is not None and pending.mode != "schema":
            return await self._complete(batch, lane, server, prompts)
        reply = await server.http.post(_CHAT, self._written(pending, server))
        if not isinstance(reply, Reply):
            return (reply,)
        if (outcome := self._look_at(reply, lane, server, pending.estimate)) is not None:
            return (outcome,)
        return (self._read(pending, reply.body, reply.headers.get("Content-Type", "")),)

    def _written(self, pending: Pending, server: Server | None = None) -> bytes:
        """The body of an ask's next chat, which is put now."""
        ask, model = pending.ask, self._of(pending.ask)
        writer = (model.servers[0] if server is None else server).writer
        if pending.mode == "labels" and not writer.form.logprobs:
            pending.mode = "schema"
        pending.form = writer.form_of(ask)
        self._begun(pending, server)
        seed = model_seed(model.retry.sampling, model.retry.seed, ask, pending.repairs)
        return writer.request(ask, pending.mode, seed, pending.more)

    def _begun(self, pending: Pending, server: Server | None = None) -> None:
        """An ask is put."""
        server = self._of(pending.ask).servers[0] if server is None else server
        server.history.begun(_kinds(pending), _name(pending))

    def _read(self, pending: Pending, body: bytes, content_type: str = "") -> Ending:
        """Read the body of a chat's 200."""
        sent = sum(len(content) for _, content in pending.ask.messages)
        labels = pending.ask.spec.labels if pending.mode == "labels" else ()
        return read_completion(body, labels, sent, content_type)

    def _label(self, pending: Pending) -> str:
        """The name of the model that an ask is put to."""
        return self._of(pending.ask).label

    async def _complete(self, batch: list[Pending], lane: Lane, server: Server, prompts: Prompts) -> Sequence[Ending]:
        """One request for several asks of the same kind."""
        if len(batch) == 1:
            batch[0].alone = True
        texts = [prompt_of((*pending.ask.messages, *pending.more), prompts.form) for pending in batch]
        ask, labels = batch[0].ask, batch[0].mode == "labels"
        form = server.writer.form
        for pending in batch:
            pending.form = form
            server.history.begun(_kinds(pending), _name(pending))
        body = prompts.request(texts, ask.max_tokens, ask.temperature, labels=labels, taken=form)
        reply = await server.http.post(_COMPLETIONS, body)
        if not isinstance(reply, Reply):
            return [reply] * len(batch)
        outcome = self._look_at(reply, lane, server, sum(pending.estimate for pending in batch))
        if outcome is not None:
            return [outcome] * len(batch)
        each = [pending.ask.spec.labels if labels else () for pending in batch]
        return read_completions(reply.body, texts, each, reply.headers.get("Content-Type", ""))

    async def _embed(self, batch: list[Pending], lane: Lane, server: Server, label: str) -> Sequence[Ending]:
        """One request for the embeddings of several asks."""
        form = server.writer.form
        for pending in batch:
            pending.form = form
            pending.alone = pending.alone or len(batch) == 1
            server.history.begun(_kinds(pending), _name(pending))
        asks = [[text for _, text in pending.ask.messages] for pending in batch]
        body = embedding_request(label, [text for ask in asks for text in ask], form)
        reply = await server.http.post(_EMBEDDINGS, body)
        if not isinstance(reply, Reply):
            return [reply] * len(batch)
        outcome = self._look_at(reply, lane, server, sum(pending.estimate for pending in batch))
        if outcome is not None:
            return [outcome] * len(batch)
        return read_embeddings(reply.body, asks, reply.headers.get("Content-Type", ""))

    def _look_at(self, reply: Reply, lane: Lane, server: Server, estimate: int) -> Ending | None:
        """What every reply says, whatever was asked: to wait, or that it went wrong; None for an answer to read."""
        if _LIMITS in reply.headers:
            pause_s = rate_headers(reply.headers).pause_s(max(1, estimate))
            if pause_s > 0.0:
                self.dispatcher.hold(lane, pause_s)
        if reply.status == 200:
            return None
        wait_s = asked_wait_s(reply.headers, reply.body, time.time())
        outcome = read_error(reply.status, server.http.scrub(reply.body.decode(errors="replace")).encode(), wait_s)
        if isinstance(outcome, Limited):
            if never_fits(outcome.detail):
                return Rejected(outcome.detail)
            if wait_s is not None and wait_s > self._outage_s and not self.dispatcher.elsewhere(lane):
                return Fatal("quota", f"{outcome.detail}; it asks to wait {wait_s:.0f} s")
        return outcome

    def _conclude(self, pending: Pending, outcome: Ending, lane: Lane, probe: bool) -> None:
        if self._closed:
            return
        model = self._of(pending.ask)
        server, retry = model.servers[lane.index], model.retry
        if not isinstance(outcome, Said):  # a server may repeat what it was told, and errors are shown
            told = [("prompt", content) for _, content in pending.ask.messages]
            outcome = msgspec.structs.replace(outcome, detail=without_texts(outcome.detail, told))
        if isinstance(outcome, Said):
            server.history.answered(_kinds(pending))
            step = retry.after(pending, outcome, probe=probe)
        else:
            if isinstance(outcome, Unsupported) and server.writer.learn(pending.ask, pending.form, outcome):
                # Every call that was sent in the old form is sent anew, whichever of them taught the new one.
                if pending.mode == "labels" and not server.writer.form.logprobs:
                    pending.mode = "schema"
                self._put_again(pending, 0.0, "form")
                return
            shares = not pending.alone and self._kind(pending) is not None
            if shares and _of_one_prompt(outcome):
                # It may be another prompt of the request that was refused.
                if isinstance(outcome, Rejected) and outcome.billed:
                    retry.bill_unknown(pending)
                pending.alone = True
                self._put_again(pending, 0.0, "batch")
                return
            judged = self._judged(pending, outcome, server)
            pending.failed_at = lane.index
            if judged is None:
                ask = pending.ask
                self._put_again(pending, retry.backoff.wait_s(retry.seed, ask.agent, ask.tick, ask.nth, 0), "denied")
                return
            outcome = judged
            if isinstance(outcome, Fault | Limited | Late):
                self._trouble = outcome.detail
            if isinstance(outcome, Limited) and self._limited_for_ever(pending, lane):
                pending.deliver([pending.abstained("error", f"{outcome.detail} (for more than {self._outage_s:g} s)")])
                return
            step = retry.after(pending, outcome, probe=probe, elsewhere=self.dispatcher.elsewhere(lane))
        if isinstance(step, Answer):
            pending.deliver([step])
        elif isinstance(step, Again):
            # Behind those that wait for the same limit: one ask that is refused for ever must not try for all others.
            held_s = self.dispatcher.held_s(lane) + _BEHIND_S if isinstance(outcome, Limited) and step.after_s else 0.0
            self._put_again(pending, max(step.after_s, held_s), _why_again(outcome))
        else:
            if isinstance(step, Fatal) and self._failure is None:
                self._fail(ModelError(explain(step, model, server, pending.ask.model_role)))
            self._abstain([pending], *_reason(self._failure))

    def _limited_for_ever(self, pending: Pending, lane: Lane) -> bool:
        """Whether rate limits have refused this ask for as long as an outage may last, while others were taken."""
        now_s = asyncio.get_running_loop().time()
        if pending.limited_since_s is None:
            pending.limited_since_s = now_s
        others = lane.limits_since_s is None or lane.limits_since_s > pending.limited_since_s
        return others and now_s - pending.limited_since_s > self._outage_s

    def _judged(self, pending: Pending, outcome: Ending, server: Server) -> Ending | None:
        """What a call came to in the light of those before it: one ask that is refused, or the end of all.

        None where that is not known yet: an ask that is denied what others were given is asked again, until others
        are answered (then it is its own) or none is (then it is the end, and no ask has been told anything).
        """
        history, kinds, ask = server.history, _kinds(pending), _name(pending)
        match outcome:
            case Unsupported():
                refused = Rejected(outcome.detail, status=outcome.status, parameter=outcome.parameter)
                if not history.works:
                    return Fatal("refused", outcome.detail, outcome.status, outcome.parameter)
                return self._judged(pending, refused, server)
            case Fatal("key" | "model") if history.works and not outcome.plain:
                if history.denied():
                    return outcome
                if pending.denied_at is None:
                    pending.denied_at = history.answers
                return None if pending.denied_at == history.answers else Rejected(outcome.detail, status=outcome.status)
            case Rejected(status=status) if status:
                own = status == 413 or is_of_length(outcome.detail)
                if history.refused(kinds, status, ask, own=own) or (300 <= status < 400 and history.denied()):
                    return Fatal("refused", outcome.detail, status, outcome.parameter)
            case Fault(foreign=True):
                if not history.works and history.refused(kinds, "foreign", ask):
                    return Fatal("refused", outcome.detail, 200)
            case Exhausted():
                if history.refused(kinds, "tokens", ask):
                    return Fatal("tokens", outcome.detail)
            case Refused() | Late():
                history.left(kinds, ask)
        return outcome

    def _put_again(self, pending: Pending, after_s: float, why: str) -> None:
        if self._failure is not None or self._winding_down:
            self._abstain([pending], *_reason(self._failure))
            return
        if self._weighs:
            self._weigh(pending)
        self.dispatcher.traffic.retried(why)
        self.dispatcher.put(pending, after_s)

    def _stop(self, why: str, detail: str) -> None:
        """The dispatcher won't start another call."""
        if self._failure is not None:
            self._abstain(self.dispatcher.drain(), *_reason(self._failure))
            return
        match why:
            case "budget":
                self._failure = BudgetSpent(
                    "the run's budget is spent: the worst case of the next call does not fit under the ceiling. "
                    "Everything up to the last whole tick is saved. To go on, raise budget.usd or "
                    "budget.tokens, whichever is set, and resume the run."
                )
                self._abstain(self.dispatcher.drain(), *_reason(self._failure))
            case "outage":
                self._fail(
                    ModelError(
                        f"{' and '.join(server.http.base_url for server in self._servers)} "
                        f"{'is' if len(self._servers) == 1 else 'are'} out: {detail}"
                        f"{f' (the last said: {self._trouble})' if self._trouble else ''}. See whether the server runs "
                        f"and what it allows; endpoint.outage_s says how long to wait for it."
                    )
                )
            case "account":
                self._failure = ActorLost(["the quota"], detail)
                self._abstain(self.dispatcher.drain(), *_reason(self._failure))
            case "attempt":
                self._fail(ModelError("a newer attempt of this shard runs, so this one makes no more calls."))
                self._break_off(*_reason(self._failure))
            case _:
                self._fail(ModelError(f"the model gateway failed: {detail}. This is a bug in populace: report it."))

    def _fail(self, failure: Exception) -> None:
        """No call is begun any more. Those in flight are paid for: they end as they end, and are delivered."""
        self._failure = failure
        self._abstain(self.dispatcher.drain(), *_reason(failure))

    def _break_off(self, reason: Reason, detail: str) -> None:
        batch = self.dispatcher.abort()
        for pending in batch:
            self._of(pending.ask).retry.bill_unknown(pending)
        self._abstain(batch, reason, detail)

    def _abstain(self, batch: list[Pending], reason: Reason, detail: str) -> None:
        for pending in batch:
            if pending.in_batches:
                pending.forget_bills()
            pending.deliver([pending.abstained(reason, detail)])

    def _kind(self, pending: Pending) -> object:
        """What asks have in common that one request can carry; None for an ask that goes alone."""
        ask = pending.ask
        if pending.mode == "schema" or pending.alone:
            return None
        if pending.mode != "embedding" and self._of(ask).prompts is None:
            return None
        return ask.model_role, pending.mode, ask.max_tokens, ask.temperature

    def _filled(self, pending: Pending) -> float:
        """Which part of a request an ask fills: 1 or more where it goes alone."""
        return len(pending.ask.messages) / MOST_TEXTS if pending.mode == "embedding" else 1.0 / self._batch


def _why_again(outcome: Ending) -> str:
    """The word by which a retry is counted: a rate limit, a fault, too late, or an answer that needs repair."""
    match outcome:
        case Limited():
            return "rate_limit"
        case Fault():
            return "fault"
        case Late():
            return "late"
        case _:
            return "repair"


def _of_one_prompt(outcome: Ending) -> bool:
    """Whether a request was refused for what one of its prompts may hold."""
    return isinstance(outcome, Rejected) or (isinstance(outcome, Refused) and not outcome.billed)


def _kinds(pending: Pending) -> tuple[object, object]:
    """What an ask is one of, for an endpoint's history: those of its mode, those of its type."""
    return pending.mode, (pending.mode, pending.ask.spec.key)


def _name(pending: Pending) -> tuple[int, int, int]:
    return pending.ask.agent, pending.ask.tick, pending.ask.nth


def _reason(failure: Exception | None) -> tuple[Reason, str]:
    if failure is None:
        return "interrupted", ""
    return ("budget" if isinstance(failure, BudgetSpent) else "error", str(failure))
