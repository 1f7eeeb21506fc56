"""How an endpoint takes its requests, and what is learnt of that when it refuses one. Pure.

A `Form` begins as the protocol has it and only ever gets narrower, one step for each refusal: `without` gives the next
form, or None where there is none. What is known of each endpoint of a run (`EndpointForms`) is one for all its
processes and attempts. The message decides which parameter is meant (`refused_parameter`), not the status:
endpoints answer 400, 404, 422 and 500 to the same thing.

| parameter       | first                 | then                                                                |
|-----------------|-----------------------|---------------------------------------------------------------------|
| max_tokens      | `max_tokens`          | `max_completion_tokens`                                             |
| temperature     | sent                  | left out: the endpoint's default, which is 1 at those that fix it   |
| seed            | sent                  | left out: the endpoint draws                                        |
| logprobs        | 20 of the first token | 5; then choices are asked by schema                                 |
| response_format | `json_schema`         | `json_object` and the schema in the prompt; the prompt alone        |
| encoding_format | `base64`              | left out: embeddings come as lists of numbers                       |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

Parameter: TypeAlias = Literal["max_tokens", "temperature", "seed", "logprobs", "response_format", "encoding_format"]
SchemaStep: TypeAlias = Literal["json_schema", "json_object", "prompt"]

_NAMES: Final[dict[Parameter, re.Pattern[str]]] = {
    "max_tokens": re.compile(r"\bmax_(?:completion_)?tokens\b", re.IGNORECASE),
    "temperature": re.compile(r"\btemperature\b", re.IGNORECASE),
    "seed": re.compile(r"\bseed\b", re.IGNORECASE),
    "logprobs": re.compile(r"\b(?:top_)?logprobs\b", re.IGNORECASE),
    "response_format": re.compile(
        r"\bresponse[_ ]?format\b|\bjson_schema\b|\bstructured outputs?\b|\bjson mode\b", re.IGNORECASE
    ),
    "encoding_format": re.compile(r"\bencoding_format\b", re.IGNORECASE),
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
    encoding_format: bool = True

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
            case "encoding_format" if self.encoding_format:
                return msgspec.structs.replace(self, encoding_format=False)
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
        if not self.encoding_format:
            found.append("takes no encoding_format: embeddings come as lists of numbers")
        return found

    def and_of(self, other: Form) -> Form:
        """The form that leaves out what either does."""
        return Form(
            "max_tokens" if self.max_tokens == other.max_tokens == "max_tokens" else "max_completion_tokens",
            self.temperature and other.temperature,
            self.seed and other.seed,
            min(self.logprobs, other.logprobs),
            _further(self.response_format, other.response_format),
            self.encoding_format and other.encoding_format,
        )


_STEPS: Final[tuple[SchemaStep, ...]] = ("json_schema", "json_object", "prompt")


def _further(one: SchemaStep, other: SchemaStep) -> SchemaStep:
    return max(one, other, key=_STEPS.index)


_WHOLE: Final = Form()


class EndpointForm(msgspec.Struct):
    """How one endpoint takes its requests.

    `schemas` are answer types (their keys, in hexadecimal) whose own schema it refuses, each with its step.
    """

    form: Form = _WHOLE
    schemas: dict[str, SchemaStep] = {}

    def of(self, key: bytes) -> Form:
        """How an ask for the answer type of this key is put."""
        step = self.schemas.get(key.hex()) if self.schemas else None
        if step is None:
            return self.form
        return msgspec.structs.replace(self.form, response_format=_further(step, self.form.response_format))

    def join(self, other: EndpointForm) -> None:
        """Take over what another process has learnt."""
        self.form = self.form.and_of(other.form)
        for key, step in other.schemas.items():
            self.schemas[key] = _further(step, self.schemas.get(key, step))


class EndpointForms:
    """What is known of the endpoints of a run, by base URL. Each `at` is shared by all who ask that endpoint here.

    A role's model of its own stands under base URL and name: an endpoint may take its models' requests differently.
    """

    def __init__(self, known: Mapping[str, EndpointForm] | None = None) -> None:
        self._forms: dict[str, EndpointForm] = {}
        self.join(known or {})

    def at(self, base_url: str, model: str = "") -> EndpointForm:
        """How the endpoint at this address takes its requests, or those of a role's model; more may be learnt later."""
        return self._forms.setdefault(f"{base_url} {model}".rstrip(), EndpointForm())

    def join(self, known: Mapping[str, EndpointForm]) -> None:
        """Take over what other processes, or attempts before, have learnt."""
        for base_url, form in known.items():
            self.at(base_url).join(form)

    def learnt(self) -> dict[str, EndpointForm]:
        """What is other than the protocol has it, by base URL; a copy."""
        return {
            base_url: EndpointForm(one.form, dict(one.schemas))
            for base_url, one in sorted(self._forms.items())
            if one.schemas or one.form != _WHOLE
        }


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
