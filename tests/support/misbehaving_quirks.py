"""Endpoints as they are: each quirk as a plan of the misbehaving server, with what a run on it must come to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from support.misbehaving import OK, Act, Plan, Seen

Answer: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Quirk:
    """One quirk. `lost` asks abstain, by reason; `more` calls are billed beyond one an ask, at most.

    `stops` are words of the error that ends the run; without any it ends well. `counts` are those of the manifest's
    asks that must not be 0, `left_out` what was left out of how many.
    """

    plan: Plan
    lost: Mapping[str, int] = field(default_factory=dict)
    more: int = 0
    stops: tuple[str, ...] = ()
    calls: int = 60
    counts: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    reasoning: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


def shaped(shape: Callable[[Answer, dict[str, Any]], Any], content_type: str = "application/json") -> Plan:
    """Every good answer in another form: `shape` gets it and the request, and gives plain data or bytes."""
    act = Act(shape=shape, content_type=content_type)
    return lambda _seen: act


def said(change: Callable[[str], Any]) -> Plan:
    """Every answer's content changed."""

    def shape(answer: Answer, _request: dict[str, Any]) -> Answer:
        for choice in answer["choices"]:
            choice["message"]["content"] = change(choice["message"]["content"])
        return answer

    return shaped(shape)


def error(status: int, message: str, **fields: Any) -> Act:
    """An error in the usual form."""
    body = json.dumps({"error": {"message": message, **fields}}).encode()
    return Act(kind="status", status=status, body=body)


def refusing(holds: Callable[[dict[str, Any]], bool], act: Act) -> Plan:
    """Every request that holds something is refused."""
    return lambda seen: act if holds(seen.body or {}) else OK


def has(name: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a request has a parameter."""
    return lambda body: name in body


def _thought_beside(name: str) -> Plan:
    def shape(answer: Answer, _request: dict[str, Any]) -> Answer:
        for choice in answer["choices"]:
            choice["message"][name] = "Let me see {...} and [so on]."
        return answer

    return shaped(shape)


def _usage(change: Callable[[dict[str, Any]], Any]) -> Plan:
    return shaped(lambda answer, _request: {**answer, "usage": change(answer["usage"])})


def _labels(top: Any) -> Plan:
    """Probabilities of labels as `top` has them, where they are asked for."""

    def shape(answer: Answer, request: dict[str, Any]) -> Answer:
        if request.get("logprobs"):
            position = {"token": "agree", "logprob": -0.1, "top_logprobs": top}
            answer["choices"][0]["logprobs"] = {"content": [position]}
        return answer

    return shaped(shape)


def _surrogates(answer: Answer, request: dict[str, Any]) -> bytes:
    if "response_format" not in request:
        answer["choices"][0]["message"]["content"] += " \ud83d"
    return json.dumps({**answer, "system_fingerprint": "\udc00"}).encode()


def _stream(answer: Answer, _request: dict[str, Any]) -> bytes:
    text = answer["choices"][0]["message"]["content"]
    parts = [{"role": "assistant"}, {"content": text[:5]}, {"content": text[5:]}]
    chunks = [{"choices": [{"index": 0, "delta": part, "finish_reason": None}]} for part in parts]
    chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    chunks += [{"choices": [], "usage": answer["usage"]}]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode() + b"data: [DONE]\n\n"


def _other_types(text: str) -> str:
    if not text.startswith("{"):
        return text
    found = {name: value.upper() if name in ("label", "mood") else value for name, value in json.loads(text).items()}
    return json.dumps({name: str(part) if isinstance(part, int | float) else part for name, part in found.items()})


def _cut(answer: Answer, request: dict[str, Any]) -> Answer:
    if "response_format" not in request:
        answer["choices"][0]["finish_reason"] = "length"
    return answer


def _spent_on_reasoning(answer: Answer, request: dict[str, Any]) -> Answer:
    answer["choices"][0] = {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": None}}
    answer["usage"]["completion_tokens"] = request["max_tokens"]
    answer["usage"]["completion_tokens_details"] = {"reasoning_tokens": request["max_tokens"]}
    return answer


def _of_agent(agent: int, act: Act) -> Plan:
    """One agent's free text is refused, every other ask answered."""
    return lambda seen: act if _asks(seen, f"You are agent {agent} ") and _asks(seen, "do you say") else OK


def _asks(seen: Seen, words: str) -> bool:
    return words in (seen.body or {})["messages"][-1]["content"]


_NO_MAX_TOKENS = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
)
_FIXED = "Unsupported value: 'temperature' does not support 0.8 with this model. Only the default (1) is supported."
_EXTRA = b'{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}'
_FENCED = "```json\n%s\n```"
_PROBABLE = {"model__choice_probabilities": True}
_TOP = [{"token": "agree", "logprob": -0.1}, {"token": "disagree", "logprob": -2.4}]


def _for_json(form: str) -> Plan:
    return said(lambda text: form % text if text.startswith("{") else text)


def _both(seen: Seen) -> Act:
    body = seen.body or {}
    if "max_tokens" in body:
        return error(400, _NO_MAX_TOKENS, code="unsupported_parameter", param="max_tokens")
    if "temperature" in body:
        return error(400, _FIXED, code="unsupported_value", param="temperature")
    return OK


def _no_format(seen: Seen) -> Act:
    kind = ((seen.body or {}).get("response_format") or {}).get("type")
    if kind == "json_schema":
        return error(400, "'response_format.type' : json_schema is not one of the allowed values (unsupported)")
    if kind == "json_object":
        return error(422, "This model does not support the response_format parameter.")
    return OK


def _one_schema(seen: Seen) -> Act:
    form = (seen.body or {}).get("response_format") or {}
    if "attitude" in str(form):
        return error(400, "Invalid schema for response_format 'answer': In context=(), 'maximum' is not permitted.")
    return OK


QUIRKS: dict[str, Quirk] = {
    "think block": Quirk(said(lambda text: f"<think>\nIs it {{}}? No.\n</think>\n\n{text}"), reasoning=True),
    "think block without its beginning": Quirk(said(lambda text: f"Is it so?\n</think>\n{text}"), reasoning=True),
    "reasoning_content": Quirk(_thought_beside("reasoning_content"), reasoning=True),
    "reasoning": Quirk(_thought_beside("reasoning"), reasoning=True),
    "fences": Quirk(_for_json(_FENCED), counts=("extracted",)),
    "prose": Quirk(_for_json("Sure! As asked [1]: %s Is {that} all right?"), counts=("extracted",)),
    "trailing text": Quirk(_for_json("%s\n\nI hope this helps."), counts=("extracted",)),
    "other cases and types": Quirk(said(_other_types), counts=("coerced",)),
    "content in parts": Quirk(said(lambda text: [{"type": "text", "text": text}])),
    "usage null": Quirk(_usage(lambda _usage: None)),
    "usage of nulls": Quirk(_usage(lambda usage: dict.fromkeys(usage))),
    "usage of strings": Quirk(_usage(lambda usage: {name: str(n) for name, n in usage.items()})),
    "usage in part": Quirk(_usage(lambda usage: {"total_tokens": usage["total_tokens"]})),
    "top_logprobs null": Quirk(_labels(None), more=18, settings=_PROBABLE),
    "logprob of -Infinity": Quirk(_labels([_TOP[0], {"token": "x", "logprob": -float("inf")}]), settings=_PROBABLE),
    "surrogates": Quirk(shaped(_surrogates)),
    "a stream of events": Quirk(shaped(_stream, "text/event-stream")),
    "cut text": Quirk(shaped(_cut), counts=("cut",)),
    "max_tokens": Quirk(refusing(has("max_tokens"), error(400, _NO_MAX_TOKENS, param="max_tokens"))),
    "max_tokens, 500": Quirk(refusing(has("max_tokens"), error(500, _NO_MAX_TOKENS))),
    "max_tokens and temperature": Quirk(_both, left_out={"temperature": 54}),
    "temperature": Quirk(refusing(has("temperature"), error(422, _FIXED)), left_out={"temperature": 54}),
    "seed": Quirk(refusing(has("seed"), error(400, "Unrecognized argument supplied: seed")), left_out={"seed": 54}),
    "seed, 422": Quirk(refusing(has("seed"), Act(kind="status", status=422, body=_EXTRA)), left_out={"seed": 54}),
    "logprobs": Quirk(
        refusing(has("logprobs"), error(400, "logprobs is not supported by this model")), settings=_PROBABLE
    ),
    "top_logprobs of five": Quirk(
        lambda seen: error(400, "top_logprobs must be less than or equal to 5")
        if (seen.body or {}).get("top_logprobs", 0) > 5
        else _labels(_TOP)(seen),  # type: ignore[operator]
        settings=_PROBABLE,
    ),
    "json_schema, json_object": Quirk(_no_format, left_out={"json_schema": 36}),
    "one schema": Quirk(_one_schema, left_out={"json_schema": 18}),
    "a flagged prompt, 403": Quirk(
        _of_agent(2, error(403, "Your input was flagged", code=403, metadata={"reasons": ["violence"]})),
        lost={"refusal": 3},
    ),
    "a flagged prompt, 400": Quirk(
        _of_agent(2, error(400, "The response was filtered by the content management policy", code="content_filter")),
        lost={"refusal": 3},
    ),
    "one 403 for nothing": Quirk(_of_agent(2, error(403, "Forbidden")), lost={"error": 3}),
    "a key that is revoked in the midst": Quirk(
        lambda seen: error(403, "Forbidden") if seen.nth >= 20 else OK, stops=("refused the API key", "Forbidden"),
    ),
    "an address that moves in the midst": Quirk(
        lambda seen: Act(kind="redirect", to="https://new.example/v1") if seen.nth >= 20 else OK,
        stops=("redirect", "new.example", "endpoint.base_url"),
    ),
    "max_tokens spent on reasoning": Quirk(
        shaped(_spent_on_reasoning), stops=("went to reasoning", "model.max_tokens"), calls=18
    ),
    "credit spent, in a 200": Quirk(
        lambda _seen: Act(body=b'{"error": {"code": 402, "message": "Insufficient credits"}}'),
        stops=("no quota left", "Insufficient credits"), calls=18,
    ),
    "a misspelt model behind a proxy": Quirk(
        lambda _seen: error(400, "/chat/completions: Invalid model name passed in model=test-model"),
        stops=("Invalid model name", "model.name"), calls=18,
    ),
    "a schema that is refused in every form": Quirk(
        lambda seen: error(400, "No tool for this") if _asks(seen, "view") else OK, stops=("No tool for this",)
    ),
    "a parameter that is refused in every form": Quirk(
        lambda _seen: error(400, "Unsupported parameter: 'max_tokens' and 'max_completion_tokens'", param="max_tokens"),
        stops=("max_tokens",), calls=36,
    ),
    "a redirect": Quirk(lambda _seen: Act(kind="redirect", to="https://elsewhere.example/v1"),
                        stops=("redirect", "elsewhere.example", "endpoint.base_url"), calls=18),
    "a web page": Quirk(
        lambda _seen: Act(body=b"<html>Welcome</html>", content_type="text/html"),
        stops=("text/html", "Welcome", "endpoint.base_url"), calls=18,
    ),
}  # fmt: skip
