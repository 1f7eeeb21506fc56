"""The chat-completions protocol: an ask to the bytes of a request, an answer's bytes to an outcome. Pure.

Dialects differ in small things only. `OPENAI` is what the protocol says, `LLAMA` what llama.cpp's server does better:
a compact grammar instead of `response_format`, probabilities of the tokens that a grammar of labels lets through, and
no prefix cache, because with it an answer depends, in its last digits, on what was asked before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final, Literal, TypeAlias

import msgspec

from populace.agents.answers import AnswerSpec
from populace.budget.prices import tokens_of
from populace.core.records import Ask
from populace.models.choices import label_probabilities
from populace.models.endings import Ending, Fatal, Fault, Limited, Refused, Rejected, Said
from populace.models.schemas import guidance_grammar, label_grammar, strict_schema

Mode: TypeAlias = Literal["text", "schema", "labels"]
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


class _Turn(msgspec.Struct):
    role: str
    content: str


class Writer:
    """Writes requests; what does not depend on the agent is written once for each kind of ask."""

    def __init__(self, model: str, dialect: Dialect) -> None:
        self.dialect = dialect
        self._max_tokens = "max_tokens"
        self._head = b'{"model":' + _TO_JSON(model) + b',"messages":'
        self._tails: dict[tuple[bytes, Mode, int, float], bytes] = {}

    def request(self, ask: Ask, mode: Mode, seed: int, more: Turns = ()) -> bytes:
        """The body of a request: the ask's messages, then `more` of the conversation."""
        turns = [_Turn(role, content) for role, content in ask.messages]
        turns += [_Turn(role, content) for role, content in more]
        return b'%b%b%b,"seed":%d}' % (self._head, _TO_JSON(turns), self._known_tail(ask, mode), seed)

    def schema_bytes(self, ask: Ask) -> int:
        """How many bytes of an ask's request its schema and parameters are."""
        return len(self._known_tail(ask, "schema"))

    def learn(self, detail: str) -> bool:
        """Learn from a refused parameter how this endpoint wants to be asked; True when another try makes sense.

        OpenAI's reasoning models take `max_completion_tokens` where others take `max_tokens`.
        """
        if self._max_tokens != "max_tokens" or "max_completion_tokens" not in detail:
            return False
        self._max_tokens = "max_completion_tokens"
        self._tails.clear()
        return True

    def _known_tail(self, ask: Ask, mode: Mode) -> bytes:
        key = (ask.spec.key, mode, ask.max_tokens, ask.temperature)
        tail = self._tails.get(key)
        if tail is None:
            tail = self._tails[key] = self._tail(ask, mode)
        return tail

    def _tail(self, ask: Ask, mode: Mode) -> bytes:
        fields: dict[str, Any] = {
            self._max_tokens: 1 if mode == "labels" else ask.max_tokens,
            "temperature": ask.temperature,
            **self.dialect.extra,
        }
        if mode == "labels":
            fields |= {"logprobs": True, "top_logprobs": self.dialect.top_logprobs}
            if self.dialect.grammar:
                # The model's own probabilities, of those tokens that can begin a label: a small model's first choice
                # is seldom a label, and its labels are far down the list.
                fields |= {"grammar": label_grammar(ask.spec.labels), "post_sampling_probs": True}
                fields |= {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
        elif mode == "schema":
            spec: AnswerSpec = ask.spec
            assert spec.schema is not None
            if self.dialect.grammar:
                fields["grammar"] = guidance_grammar(spec.schema)
            else:
                schema, strict = strict_schema(spec.schema)
                form = {"name": "answer", "schema": schema, "strict": strict}
                fields["response_format"] = {"type": "json_schema", "json_schema": form}
        return b"," + _TO_JSON(fields)[1:-1]


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


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


class Usage(msgspec.Struct):
    """The tokens that a server says it counted; -1 where it does not."""

    prompt_tokens: int = -1
    completion_tokens: int = -1


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: Usage | None = None


_COMPLETION: Final = msgspec.json.Decoder(_Completion, strict=False)


def read_completion(body: bytes, labels: tuple[str, ...], sent_characters: int) -> Ending:
    """Read the body of a 200. `labels` are those of a choice whose probabilities were asked for.

    Where a server does not say what it used, tokens are counted as a quarter of the characters.
    """
    try:
        completion = _COMPLETION.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Fault(f"the answer is no chat completion ({error}): {_excerpt(body)}", billed=True)
    if not completion.choices:
        return Fault(f"the answer has no choices: {_excerpt(body)}", billed=True)
    choice = completion.choices[0]
    text = choice.message.content or ""
    usage = completion.usage or Usage()
    tokens_in = usage.prompt_tokens if usage.prompt_tokens >= 0 else tokens_of(sent_characters)
    tokens_out = usage.completion_tokens if usage.completion_tokens >= 0 else tokens_of(len(text))
    if choice.message.refusal:
        return Refused(choice.message.refusal, tokens_in, tokens_out)
    if choice.finish_reason == "content_filter":
        return Refused("stopped by the endpoint's content filter", tokens_in, tokens_out)
    probabilities = None
    if labels and choice.logprobs is not None and choice.logprobs.content:
        probabilities = label_probabilities(labels, choice.logprobs.content[0].tokens())
    return Said(text, tokens_in, tokens_out, choice.finish_reason == "length", probabilities)


def read_error(status: int, body: bytes, wait_s: float | None) -> Ending:
    """Read an answer that is not a 200; `wait_s` is what its headers ask to wait, if they do."""
    code, message = _error_of(body)
    detail = f"{status}: {message}"
    if code in ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active") or status == 402:
        return Fatal("quota", detail)
    if status == 429 or (status in (503, 529) and wait_s is not None):
        return Limited(detail, wait_s)
    if status in (401, 403):
        return Fatal("key", detail)
    if status == 404 or code == "model_not_found":
        return Fatal("model", detail)
    if status in (408, 409, 425) or status >= 500:
        return Fault(detail)
    if code in ("unsupported_parameter", "unsupported_value"):
        return Fatal("parameter", detail)
    return Rejected(detail)


def _error_of(body: bytes) -> tuple[str, str]:
    """(code, message) of an error's body, in any of the forms that servers use."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "", _excerpt(body)
    if isinstance(found, dict):
        found = found.get("error", found)
    if isinstance(found, dict):
        codes = [found.get("code"), found.get("type")]
        code = next((name for name in codes if isinstance(name, str)), "")
        if "insufficient_quota" in codes:
            code = "insufficient_quota"
        message = found.get("message") or found.get("detail") or found
        return code, str(message)[:500]
    return "", str(found)[:500]


def _excerpt(body: bytes) -> str:
    text = body[:200].decode(errors="replace").strip()
    return f"{text!r}" if text else "an empty body"


def repair_turns(text: str, error: str) -> Turns:
    """What is added to the conversation when an answer does not fit: the answer, and what is wrong with it."""
    shown = text if len(text) <= 2000 else text[:2000] + " ..."
    return (
        ("assistant", shown),
        ("user", f"That answer cannot be used: {error[:500]}. Answer again, in exactly the form asked for."),
    )
