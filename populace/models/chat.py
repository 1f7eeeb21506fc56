"""The chat-completions protocol: an ask to the bytes of a request, an answer's bytes to an outcome. Pure.

Dialects differ in small things only. `OPENAI` is what the protocol says, `LLAMA` what llama.cpp's server does better:
a compact grammar instead of `response_format`, probabilities of the tokens that a grammar of labels lets through, and
no prefix cache, because with it an answer depends, in its last digits, on what was asked before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from populace.agents.answers import AnswerSpec
from populace.budget.prices import credible
from populace.core.records import Ask
from populace.models.bodies import DECODE_ERRORS, contents, count, number, objects, plain_body, text_or_none
from populace.models.choices import label_probabilities
from populace.models.dialect import EndpointForm, Form, is_of_one_schema
from populace.models.endings import Ending, Exhausted, Fault, Refused, Said, Unsupported
from populace.models.reading import without_thinking
from populace.models.refusals import excerpt, read_error_in_answer
from populace.models.schemas import guidance_grammar, label_grammar, strict_schema

Mode: TypeAlias = Literal["text", "schema", "labels", "embedding"]
"""What a request asks for: text, JSON that fits the schema, or probabilities over a choice's labels."""

Turns: TypeAlias = tuple[tuple[str, str], ...]


class Dialect(msgspec.Struct, frozen=True):
    """How a kind of server wants to be asked."""

    grammar: bool
    top_logprobs: int
    extra: dict[str, Any] = {}


OPENAI: Final = Dialect(grammar=False, top_logprobs=20)
LLAMA: Final = Dialect(grammar=True, top_logprobs=200, extra={"cache_prompt": False})

_TO_JSON: Final = msgspec.json.Encoder().encode
_FIRST: Final = Form()
_WITH_SCHEMA: Final = "\n\nAnswer with one JSON value and nothing else. It has to fit this JSON schema:\n"


class _Turn(msgspec.Struct):
    role: str
    content: str


class Writer:
    """Writes requests; what does not depend on the agent is written once for each kind of ask.

    `known` is how the endpoint takes them, as far as that is known, and is added to here; a schema of its own that it
    refuses is written in another way without changing the others. With `shared_first` a schema in words stands with
    what the system says, which agents share, and not behind what the user says.
    """

    def __init__(
        self, model: str, dialect: Dialect, known: EndpointForm | None = None, *, shared_first: bool = False
    ) -> None:
        self.dialect = dialect
        self._shared_first = shared_first
        self._known = EndpointForm() if known is None else known
        self._head = b'{"model":' + _TO_JSON(model) + b',"messages":'
        self._tails: dict[tuple[bytes, Mode, int, float, Form], bytes] = {}
        self._schema_bytes: dict[tuple[bytes, int, float], int] = {}

    @property
    def form(self) -> Form:
        """How the endpoint takes requests, as far as that is known."""
        return self._known.form

    def form_of(self, ask: Ask) -> Form:
        """How an ask is put now."""
        return self._known.of(ask.spec.key)

    def request(self, ask: Ask, mode: Mode, seed: int, more: Turns = ()) -> bytes:
        """The body of a request: the ask's messages, then `more` of the conversation."""
        form = self.form_of(ask)
        said = ask.messages
        if mode == "schema" and form.response_format != "json_schema" and not self.dialect.grammar:
            said = with_schema(said, ask.spec.schema, shared_first=self._shared_first)
        turns = [_Turn(role, content) for role, content in (*said, *more)]
        tail = self._known_tail(ask, mode, form)
        if not form.seed:
            return b"%b%b%b}" % (self._head, _TO_JSON(turns), tail)
        return b'%b%b%b,"seed":%d}' % (self._head, _TO_JSON(turns), tail, seed)

    def schema_bytes(self, ask: Ask) -> int:
        """How many bytes of an ask's request its schema and parameters are, wherever the schema stands."""
        key = (ask.spec.key, ask.max_tokens, ask.temperature)
        size = self._schema_bytes.get(key)
        if size is None:
            size = self._schema_bytes[key] = len(self._known_tail(ask, "schema", _FIRST)) + len(_WITH_SCHEMA)
        return size

    def learn(self, ask: Ask, sent: Form, refused: Unsupported) -> bool:
        """Learn from a refused parameter how this endpoint wants to be asked; True when another try makes sense.

        `sent` is how the refused request was put: where another answer has taught the same since, nothing more is
        learnt from it.
        """
        now = self.form_of(ask)
        if getattr(now, refused.parameter) != getattr(sent, refused.parameter):
            return True
        form = now.without(refused.parameter)
        if form is None or (self.dialect.grammar and refused.parameter == "response_format"):
            return False
        known = self._known
        if refused.parameter != "response_format":
            known.form = msgspec.structs.replace(known.form, **{refused.parameter: getattr(form, refused.parameter)})
        elif is_of_one_schema(refused.detail):
            known.schemas[ask.spec.key.hex()] = form.response_format
        else:
            known.schemas.pop(ask.spec.key.hex(), None)
            known.form = msgspec.structs.replace(known.form, response_format=form.response_format)
        return True

    def _known_tail(self, ask: Ask, mode: Mode, form: Form) -> bytes:
        key = (ask.spec.key, mode, ask.max_tokens, ask.temperature, form)
        tail = self._tails.get(key)
        if tail is None:
            tail = self._tails[key] = self._tail(ask, mode, form)
        return tail

    def _tail(self, ask: Ask, mode: Mode, form: Form) -> bytes:
        fields: dict[str, Any] = {form.max_tokens: 1 if mode == "labels" else ask.max_tokens}
        if form.temperature:
            fields["temperature"] = ask.temperature
        fields |= self.dialect.extra
        if mode == "labels":
            fields |= {"logprobs": True, "top_logprobs": min(form.logprobs, self.dialect.top_logprobs)}
            if self.dialect.grammar:
                # The model's own probabilities, of those tokens that can begin a label: a small model's first choice
                # is seldom a label, and its labels are far down the list.
                fields |= {"grammar": label_grammar(ask.spec.labels), "post_sampling_probs": True}
                fields |= {"top_logprobs": self.dialect.top_logprobs}
                fields |= {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
        elif mode == "schema":
            spec: AnswerSpec = ask.spec
            assert spec.schema is not None
            if self.dialect.grammar:
                fields["grammar"] = guidance_grammar(spec.schema)
            elif form.response_format == "json_schema":
                schema, strict = strict_schema(spec.schema)
                named = {"name": "answer", "schema": schema, "strict": strict}
                fields["response_format"] = {"type": "json_schema", "json_schema": named}
            elif form.response_format == "json_object":
                fields["response_format"] = {"type": "json_object"}
        return b"," + _TO_JSON(fields)[1:-1]


def with_schema(messages: Turns, schema: Mapping[str, Any], *, shared_first: bool = False) -> Turns:
    """The messages with a schema at the end of the last one that the user says, or of what the system says first."""
    asked = f"{_WITH_SCHEMA}{_TO_JSON(schema).decode()}"
    if shared_first:
        if messages and messages[0][0] == "system":
            return (("system", messages[0][1] + asked), *messages[1:])
        return (("system", asked.strip()), *messages)
    at = max((place for place, (role, _) in enumerate(messages) if role == "user"), default=-1)
    if at < 0:
        return (*messages, ("user", asked.strip()))
    role, content = messages[at]
    return (*messages[:at], (role, content + asked), *messages[at + 1 :])


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Token(msgspec.Struct):
    token: str = ""
    logprob: float = -1e9


class _Sampled(msgspec.Struct):
    token: str = ""
    prob: float = 0.0


class _Position(msgspec.Struct):
    top_logprobs: list[_Token] = []
    top_probs: list[_Sampled] = []

    def tokens(self) -> Iterator[tuple[str, float]]:
        """(token, logarithm of its probability) pairs."""
        for token in self.top_logprobs:
            yield token.token, token.logprob
        for sampled in self.top_probs:
            if sampled.prob > 0.0:
                yield sampled.token, math.log(min(1.0, sampled.prob))


class _Logprobs(msgspec.Struct):
    content: list[_Position] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None
    error: Any = None


class Usage(msgspec.Struct):
    """The tokens that a server says it counted; -1 where it does not."""

    prompt_tokens: int = -1
    completion_tokens: int = -1
    completion_tokens_details: Any = None

    def reasoning(self) -> int:
        """How many of the completion's tokens went to reasoning, as far as that is told."""
        details = self.completion_tokens_details
        return max(0, count(details.get("reasoning_tokens"))) if isinstance(details, dict) else 0


class _Completion(msgspec.Struct):
    choices: list[_Choice] = []
    usage: Usage | None = None
    error: Any = None


_COMPLETION: Final = msgspec.json.Decoder(_Completion, strict=False)


def read_completion(body: bytes, labels: tuple[str, ...], sent_characters: int, content_type: str = "") -> Ending:
    """Read the body of a 200. `labels` are those of a choice whose probabilities were asked for.

    Where a server does not say what it used, or says what cannot be true of texts so long (`credible`), tokens are
    counted as a quarter of the characters.
    """
    try:
        completion = _COMPLETION.decode(body)
    except DECODE_ERRORS:
        plain = plain_body(body, content_type)
        if isinstance(plain, Fault):
            return plain
        completion = _completion_of(plain)
    choice = completion.choices[0] if completion.choices else None
    error = completion.error or (choice.error if choice is not None else None)
    if error and (choice is None or not choice.message.content):
        return read_error_in_answer(error)
    if choice is None:
        return Fault(f"the answer has no choices: {excerpt(body)}", billed=True)
    message = choice.message
    text, thought = without_thinking(message.content or "")
    thinking = message.reasoning_content or message.reasoning or thought
    usage = completion.usage or Usage()
    written = len(message.content or "") + len(message.reasoning_content or message.reasoning or "")
    tokens_in, told_in = credible(usage.prompt_tokens, sent_characters)
    tokens_out, told_out = credible(usage.completion_tokens, written)
    counted = told_in and told_out
    if message.refusal:
        return Refused(message.refusal, tokens_in, tokens_out, thinking, counted)
    if choice.finish_reason == "content_filter":
        return Refused("stopped by the endpoint's content filter", tokens_in, tokens_out, thinking, counted)
    probabilities = None
    if labels and choice.logprobs is not None and choice.logprobs.content:
        probabilities = label_probabilities(labels, choice.logprobs.content[0].tokens())
    cut = choice.finish_reason == "length"
    if cut and not labels and not text.strip():
        used = (
            f"all {tokens_out} tokens went to reasoning"
            if thinking or usage.reasoning()
            else (f"{tokens_out} tokens were used up without a word of an answer")
        )
        return Exhausted(f"{used}: raise model.max_tokens", tokens_in, tokens_out, thinking, counted)
    return Said(text, tokens_in, tokens_out, cut, probabilities, thinking, counted)


def _completion_of(plain: Mapping[str, Any]) -> _Completion:
    """A completion from what of a body can be read."""
    choices = []
    for choice in objects(plain.get("choices"))[:1]:
        message = choice.get("message")
        if not isinstance(message, dict) and "text" not in choice:
            continue
        given: Mapping[str, Any] = message if isinstance(message, dict) else choice
        said, thought = contents(given)
        positions = (
            objects((choice.get("logprobs") or {}).get("content")) if isinstance(choice.get("logprobs"), dict) else []
        )
        choices.append(
            _Choice(
                _Message(said, text_or_none(given.get("refusal")), thought),
                text_or_none(choice.get("finish_reason")),
                _Logprobs([_position_of(position) for position in positions[:1]]),
                choice.get("error"),
            )
        )
    return _Completion(choices, usage_of(plain.get("usage")), plain.get("error"))


def _position_of(position: Mapping[str, Any]) -> _Position:
    tokens = [
        _Token(token, logprob)
        for one in objects(position.get("top_logprobs"))
        if (token := text_or_none(one.get("token"))) is not None and (logprob := number(one.get("logprob"))) is not None
    ]
    return _Position(tokens)


def usage_of(usage: Any) -> Usage:
    """What a server says it used; what can't be read of it counts as not said."""
    if not isinstance(usage, dict):
        return Usage()
    return Usage(count(usage.get("prompt_tokens")), count(usage.get("completion_tokens")))


def repair_turns(text: str, error: str, schema: Mapping[str, Any] | None = None) -> Turns:
    """What is added to the conversation when an answer does not fit: the answer, and what is wrong with it."""
    shown = text if len(text) <= 2000 else text[:2000] + " ..."
    asked = "" if schema is None else f"{_WITH_SCHEMA}{_TO_JSON(schema).decode()}"
    return (
        ("assistant", shown),
        ("user", f"That answer cannot be used: {error[:500]}. Answer again, in exactly the form asked for.{asked}"),
    )
