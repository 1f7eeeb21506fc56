"""How an endpoint takes its requests, and what is learnt of that when it refuses one. Pure.

A `Form` begins as the protocol has it and only ever gets narrower, one step for each refusal: `without` gives the next
form, or None where there is none. The message decides which parameter is meant (`refused_parameter`), not the status:
endpoints answer 400, 404, 422 and 500 to the same thing.

| parameter       | first                 | then                                                                |
|-----------------|-----------------------|---------------------------------------------------------------------|
| max_tokens      | `max_tokens`          | `max_completion_tokens`                                             |
| temperature     | sent                  | left out: the endpoint's default, which is 1 at those that fix it   |
| seed            | sent                  | left out: the endpoint draws                                        |
| logprobs        | 20 of the first token | 5; then choices are asked by schema                                 |
| response_format | `json_schema`         | `json_object` and the schema in the prompt; the prompt alone        |
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

import msgspec

Parameter: TypeAlias = Literal["max_tokens", "temperature", "seed", "logprobs", "response_format"]
SchemaStep: TypeAlias = Literal["json_schema", "json_object", "prompt"]

_NAMES: Final[dict[Parameter, re.Pattern[str]]] = {
    "max_tokens": re.compile(r"\bmax_(?:completion_)?tokens\b", re.IGNORECASE),
    "temperature": re.compile(r"\btemperature\b", re.IGNORECASE),
    "seed": re.compile(r"\bseed\b", re.IGNORECASE),
    "logprobs": re.compile(r"\b(?:top_)?logprobs\b", re.IGNORECASE),
    "response_format": re.compile(
        r"\bresponse[_ ]?format\b|\bjson_schema\b|\bstructured outputs?\b|\bjson mode\b", re.IGNORECASE
    ),
}
_REFUSES: Final = re.compile(
    r"unsupport|not support|n't support|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed|forbidden|invalid"
    r"|deprecated|not available|unavailable|not enabled|cannot be|can't be|must not|only\b[^.]*(?:default|\b1\b)"
    r"|may only|not accept|n't accept|must be (?:exactly )?1\b",
    re.IGNORECASE,
)
_OF_VALUE: Final = re.compile(
    r"too (?:large|long|small|high|low|big|many)|context (?:length|window|size)|greater than|less than|between"
    r"|at (?:most|least)|exceed|out of range|must be (?:[<>]|positive|in\b|an? )",
    re.IGNORECASE,
)
_ONLY_DEFAULT: Final = re.compile(r"only\b[^.]*(?:default|\b1(?:\.0)?\b)|does(?: not|n't) support", re.IGNORECASE)
_OF_SCHEMA: Final = re.compile(r"invalid schema|in context=|schema (?:is |was )?(?:invalid|too)|keyword", re.IGNORECASE)


class Form(msgspec.Struct, frozen=True):
    """What requests to an endpoint hold. `top_logprobs` is how many are asked for, 0 for none."""

    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True
    seed: bool = True
    logprobs: int = 20
    response_format: SchemaStep = "json_schema"

    def without(self, parameter: str) -> Form | None:
        """The form with one thing less, or None where there is no other way to ask."""
        match parameter:
            case "max_tokens" if self.max_tokens == "max_tokens":
                return msgspec.structs.replace(self, max_tokens="max_completion_tokens")
            case "temperature" if self.temperature:
                return msgspec.structs.replace(self, temperature=False)
            case "seed" if self.seed:
                return msgspec.structs.replace(self, seed=False)
            case "logprobs" if self.logprobs:
                return msgspec.structs.replace(self, logprobs=5 if self.logprobs > 5 else 0)
            case "response_format" if self.response_format != "prompt":
                step: SchemaStep = "json_object" if self.response_format == "json_schema" else "prompt"
                return msgspec.structs.replace(self, response_format=step)
        return None

    def left_out(self, schema: bool) -> str:
        """What is left out of an ask that is put in this form, with a comma between; `schema`: whether it has one."""
        if self == _WHOLE:
            return ""
        names = ("temperature", "seed")
        left = [name for name in names if not getattr(self, name)]
        if schema and self.response_format != "json_schema":
            left.append("json_schema")
        return ", ".join(left)

    def notes(self) -> list[str]:
        """What is other than the protocol has it, as sentences."""
        found = []
        if self.max_tokens != "max_tokens":
            found.append(f"takes {self.max_tokens} for max_tokens")
        if not self.temperature:
            found.append("takes no temperature, and samples at its own")
        if not self.seed:
            found.append("takes no seed, and draws by itself")
        if self.logprobs == 0:
            found.append("gives no probabilities: choices are asked by schema")
        if self.response_format == "json_object":
            found.append("takes no JSON schema: it is asked for JSON, and the prompt holds the schema")
        elif self.response_format == "prompt":
            found.append("takes no response_format: the prompt holds the schema")
        return found


_WHOLE: Final = Form()


def refused_parameter(message: str, named: str = "") -> Parameter | None:
    """Which parameter a refusal's message is about, by what it says; `named` is what the error itself points at.

    None where it is about a value ("max_tokens is too large: the context has 4096"), or about something else.
    """
    text = named or message
    places = {name: found.start() for name, pattern in _NAMES.items() if (found := pattern.search(text)) is not None}
    if not places:
        return None
    parameter = min(places, key=lambda name: places[name])
    if _OF_VALUE.search(message) and not _ONLY_DEFAULT.search(message):
        return parameter if parameter == "logprobs" else None
    return parameter if _REFUSES.search(message) else None


def is_of_one_schema(message: str) -> bool:
    """Whether a refused `response_format` is about the schema that was sent, and not about schemas at all."""
    return _OF_SCHEMA.search(message) is not None
