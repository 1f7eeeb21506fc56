"""What an endpoint can do, found out by asking it: one small ask of each kind, and what would be used instead.

Requests are written, learnt from, read and tried again as in a run. What is found is told to a person (`populace
doctor`); a run learns for itself, since an endpoint may change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from populace.agents.answers import AnswerSpec, Choice, Chosen, compile_answer
from populace.agents.embedding import EMBEDDING, read_vectors
from populace.core.errors import PopulaceError
from populace.core.records import Ask
from populace.models.batch_http import BatchApi
from populace.models.chat import OPENAI, Mode, Writer, read_completion
from populace.models.dispatch.backoff import Backoff, asked_wait_s, never_fits, rate_headers
from populace.models.embeddings import embedding_request, read_embeddings
from populace.models.endings import Ending, Exhausted, Fault, Limited, Refused, Said, Unsupported
from populace.models.http import Http, Reply
from populace.models.keys import Access, is_loopback, read_key
from populace.models.reading import read_as
from populace.models.refusals import read_error
from populace.settings import Settings

_STEPS: Final = 12
_SEED: Final = 7
_BACKOFF: Final = Backoff()


_Read: TypeAlias = Callable[[bytes, str], Ending]
"""Reads the body of a 200 and its content type."""


class _Sample(msgspec.Struct):
    attitude: Annotated[int, msgspec.Meta(ge=0, le=10)]
    mood: Literal["calm", "angry"]
    why: str


class Trial(NamedTuple):
    """One thing tried at an endpoint: whether it works, what was found, what to do ('' where nothing has to be)."""

    what: str
    good: bool
    found: str
    next_step: str = ""


async def try_endpoint(settings: Settings, access: Access, now_s: float, *, embeds: bool = False) -> list[Trial]:
    """Ask an endpoint for a text, a struct and a choice, twice with one seed, and read what it says of its limits.

    Where it is there for embeddings (`embeds`), it is asked for those of two texts, twice.

    Makes about six calls of at most `model.max_tokens` each, more where it refuses a form; they are billed. Where it
    asks to wait, it is waited for, up to `endpoint.outage_s` in all. `now_s` is Unix time. Raises nothing: what goes
    wrong is a trial that is not good.
    """
    if not settings.model.name:
        return [Trial("asks", False, "No model is named.", "Set model.name to one that the endpoint serves.")]
    try:
        key = read_key(access, required=not is_loopback(access.base_url))
        http = Http(
            access.base_url, key=key, connections=1, timeout_s=settings.endpoint.timeout_s, setting=access.setting
        )
    except PopulaceError as error:
        return [Trial("asks", False, str(error))]
    await http.open()
    try:
        trying = _Trying(settings, http, now_s)
        return await (trying.embeddings() if embeds else trying.all())
    finally:
        await http.close()


class _Trying:
    """One endpoint's trials; what one teaches, the next begins with."""

    def __init__(self, settings: Settings, http: Http, now_s: float) -> None:
        self._model = model = settings.model
        self._endpoint = settings.endpoint
        self._http = http
        self._now_s = now_s
        self._writer = Writer(model.label, OPENAI)
        self._headers: Mapping[str, str] = {}
        self._counted = True
        self._waits = 0
        self._waited_s = 0.0

    async def all(self) -> list[Trial]:
        """Every trial; only the first where that already fails."""
        text = await self._ask("text", "Say good morning in one short sentence.", compile_answer(str))
        if not isinstance(text, Said):
            return [_failed("text", text)]
        trials = [Trial("text", True, f"{_shown(text.text)}{_thought(text)}")]
        trials.append(await self._try_schema())
        trials.append(await self._try_choice())
        trials.append(await self._try_seed())
        if self._endpoint.batches.on:
            trials.append(await self._try_batches())
        return trials + self._told()

    async def embeddings(self) -> list[Trial]:
        """What it makes of two texts, and whether that is the same the second time."""
        texts = ("A neighbour plays loud music at noon.", "Bread is baked before dawn.")
        ask = Ask(0, 0, 0, "doctor", tuple([("text", text) for text in texts]), EMBEDDING, 0, 0.0, bytes(16))
        found = []
        for _ in range(2):
            ending: Ending = Refused("no form of this ask was taken", billed=False)
            for _ in range(_STEPS):
                form = self._writer.form_of(ask)
                request = embedding_request(self._model.label, texts, form)
                ending = await self._call(
                    "/embeddings", request, lambda body, kind: read_embeddings(body, [texts], kind)[0]
                )
                if not (isinstance(ending, Unsupported) and self._writer.learn(ask, form, ending)):
                    break
            if not isinstance(ending, Said):
                return [_failed("embeddings", ending)]
            self._counted = self._counted and ending.counted
            found.append(read_vectors(ending.text))
        same = (
            "equal texts have equal vectors" if (found[0] == found[1]).all() else "equal texts differ in their digits"
        )
        return [Trial("embeddings", True, f"It gives vectors of {found[0].shape[1]} numbers; {same}."), *self._told()]

    def _told(self) -> list[Trial]:
        """What it has said beside its answers: of its limits, and of the form that it takes."""
        trials = [self._limits()]
        if self._waits:
            found = f"It had to be waited for {self._waits} times, {self._waited_s:.1f} s in all; a run waits as well."
            trials.append(Trial("waits", True, found))
        if not self._counted:
            step = "Costs are estimates from the texts' lengths; a ceiling books the worst case of each call."
            trials.append(Trial("usage", True, "It does not say how many tokens a call took.", step))
        trials += [Trial("form", True, f"It {note}.") for note in self._writer.form.notes()]
        return trials

    async def _try_schema(self) -> Trial:
        spec = compile_answer(_Sample)
        said = await self._ask("schema", "A neighbour plays loud music at noon. How do you feel about it?", spec)
        if not isinstance(said, Said):
            return _failed("schema", said)
        try:
            _, reading = read_as(spec, said.text, lenient=self._model.lenient)
        except ValueError as error:
            step = "Asks with a type will abstain often: use another model, or ask for text."
            return Trial("schema", False, f"Its answer does not fit: {error}: {_shown(said.text)}", step)
        how = {
            "": "as it stood",
            "extracted": "out of a longer text",
            "coerced": "after a case or a number was put right",
        }
        return Trial("schema", True, f"Read {how[reading]}: {_shown(said.text)}{_thought(said)}")

    async def _try_choice(self) -> Trial:
        spec = compile_answer(Choice("agree", "disagree"))
        question = "Music should be quiet at night. Do you agree or disagree? Answer with that word."
        said = await self._ask("labels", question, spec)
        if isinstance(said, Said) and said.probabilities is not None:
            step = (
                "" if self._model.choice_probabilities else "model.choice_probabilities = true makes choices from them."
            )
            return Trial("choice", True, f"It gives probabilities: {said.probabilities}.", step)
        said = await self._ask("schema", question, spec)
        if not isinstance(said, Said):
            return _failed("choice", said)
        try:
            text, _ = read_as(spec, said.text, lenient=self._model.lenient)
        except ValueError as error:
            return Trial("choice", False, f"Its answer is no label: {error}: {_shown(said.text)}")
        chosen: Chosen = spec.read(text)
        return Trial("choice", True, f"It gives no probabilities of labels; by schema it says {chosen.label!r}.")

    async def _try_seed(self) -> Trial:
        texts = []
        for _ in range(2):
            said = await self._ask("text", "Name any town and what it is like.", compile_answer(str))
            if not isinstance(said, Said):
                return _failed("seed", said)
            texts.append(said.text)
        if not self._writer.form.seed:
            return Trial(
                "seed", True, "It takes no seed. Its answers are on record, so a run can be replayed all the same."
            )
        if texts[0] == texts[1]:
            return Trial("seed", True, "The same seed gives the same text.")
        return Trial("seed", True, "The same seed gives different texts. A replay goes by the record, not by the seed.")

    async def _try_batches(self) -> Trial:
        """Whether it has batches. None is sent, since that takes hours."""
        said = await BatchApi(self._http).offered()
        if said is None:
            return Trial("batches", True, "It takes batches; whether of this model, the first one tells.")
        return Trial("batches", False, f"{getattr(said, 'detail', '')}", "Set endpoint.batches.on = false.")

    def _limits(self) -> Trial:
        limits = rate_headers(self._headers)
        found = [
            f"{value:,} {unit}"
            for value, unit in ((limits.limit_requests, "requests"), (limits.limit_tokens, "tokens"))
            if value is not None
        ]
        if found:
            return Trial("limits", True, f"It says that it takes {' and '.join(found)} in a window; a run keeps to it.")
        step = "If it has any, set endpoint.requests_per_minute and endpoint.tokens_per_minute."
        return Trial("limits", True, "It says nothing of its limits.", step)

    async def _ask(self, mode: Mode, question: str, spec: AnswerSpec) -> Ending:
        """One ask, put in other forms as long as one is refused for its form."""
        model = self._model
        ask = Ask(0, 0, 0, "doctor", (("user", question),), spec, model.max_tokens, model.temperature, bytes(16))
        ending: Ending = Refused("no form of this ask was taken", billed=False)
        for _ in range(_STEPS):
            if mode == "labels" and not self._writer.form.logprobs:
                return ending
            form = self._writer.form_of(ask)
            labels = spec.labels if mode == "labels" else ()
            read = partial(_read_completion, labels, len(question))
            ending = await self._call("/chat/completions", self._writer.request(ask, mode, _SEED), read)
            if not (isinstance(ending, Unsupported) and self._writer.learn(ask, form, ending)):
                break
        if isinstance(ending, Said):
            self._counted = self._counted and ending.counted
        return ending

    async def _call(self, path: str, request: bytes, read: _Read) -> Ending:
        """One request, put again where it is to be waited for: a rate limit, or a fault, as often as a run would."""
        limits = faults = 0
        while True:
            ending = await self._try(path, request, read)
            match ending:
                case Limited(detail, asked_s) if not never_fits(detail):
                    pause_s = _BACKOFF.pause_s(_SEED, 0, 0, self._waits, limits, asked_s)
                    limits += 1
                case Fault(foreign=False) if faults < self._endpoint.retries:
                    pause_s = _BACKOFF.pause_s(_SEED, 0, 0, self._waits, faults)
                    faults += 1
                case _:
                    return ending
            if self._waited_s + pause_s > self._endpoint.outage_s:
                return ending
            self._waits += 1
            self._waited_s += pause_s
            await asyncio.sleep(pause_s)

    async def _try(self, path: str, request: bytes, read: _Read) -> Ending:
        reply = await self._http.post(path, request)
        if not isinstance(reply, Reply):
            return reply
        self._headers = {**self._headers, **reply.headers}
        if reply.status == 200:
            return read(reply.body, reply.headers.get("Content-Type", ""))
        body = self._http.scrub(reply.body.decode(errors="replace")).encode()
        return read_error(reply.status, body, asked_wait_s(reply.headers, body, self._now_s))


def _read_completion(labels: tuple[str, ...], sent: int, body: bytes, content_type: str) -> Ending:
    return read_completion(body, labels, sent, content_type)


def _failed(what: str, ending: Ending) -> Trial:
    detail: Any = getattr(ending, "detail", "")
    if isinstance(ending, Exhausted):
        return Trial(what, False, f"No answer: {detail}.", "Reasoning models want thousands of tokens.")
    return Trial(what, False, f"No answer ({type(ending).__name__.lower()}): {detail}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _thought(said: Said) -> str:
    return f" (it thought before, {len(said.reasoning):,} characters, which are kept apart)" if said.reasoning else ""
