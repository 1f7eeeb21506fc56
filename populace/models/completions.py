"""The completions protocol: many prompts in one request to a server of one's own. Pure.

`/v1/completions` takes raw prompts, not messages: no chat template is applied by the server, so the messages become a
prompt here, in a form that the settings name (`model.prompt_form`), and the form stands in the content key of every
ask that is put so:

- `plain` - "System: ...", "User: ..." and "Assistant:" in paragraphs, for base models;
- `chatml` - <|im_start|>role ... <|im_end|>, as Qwen and many others are tuned on;
- `llama3` - <|start_header_id|>role<|end_header_id|> ... <|eot_id|>.

A form that the model was not tuned on makes worse answers, and nothing here can tell; the chat endpoint always knows.
Marks of the form are broken up inside of the text, so that no text can forge a turn.

One request has one seed. A seed common to several prompts would give alike agents the same sample, so none is sent
where each agent has its own (`model.sampling = "own"`): the server draws. With `shared`, whose asks differ in content,
it is the run's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from populace.budget.prices import credible, share_out, tokens_of
from populace.core.fences import disarm
from populace.models.bodies import DECODE_ERRORS, contents, count, number, objects, plain_body, text_or_none
from populace.models.chat import Turns, Usage, usage_of
from populace.models.choices import label_probabilities
from populace.models.dialect import Form
from populace.models.endings import Ending, Exhausted, Fault, Refused, Said
from populace.models.reading import without_thinking
from populace.models.refusals import read_error_in_answer

PromptForm: TypeAlias = Literal["plain", "chatml", "llama3"]

TOP_LOGPROBS: Final = 20
"""How many first tokens' probabilities are asked for: as many as vLLM gives unless it is told otherwise."""

_ROLE: Final = re.compile(r"^(?=(?:System|User|Assistant):)", re.MULTILINE)
_STOPS: Final[dict[str, list[str]]] = {
    "plain": ["\nUser:", "\nSystem:"],
    "chatml": ["<|im_end|>"],
    "llama3": ["<|eot_id|>"],
}
_TO_JSON: Final = msgspec.json.Encoder().encode
_FIRST: Final = Form()


def prompt_of(turns: Turns, form: PromptForm) -> str:
    """The prompt that messages become; it ends where the model is to answer."""
    match form:
        case "plain":
            said = [f"{role.capitalize()}: {_ROLE.sub(' ', content)}\n\n" for role, content in turns]
            return "".join(said) + "Assistant:"
        case "chatml":
            said = [f"<|im_start|>{role}\n{disarm(content)}<|im_end|>\n" for role, content in turns]
            return "".join(said) + "<|im_start|>assistant\n"
        case "llama3":
            said = [
                f"<|start_header_id|>{role}<|end_header_id|>\n\n{disarm(content)}<|eot_id|>" for role, content in turns
            ]
            return "".join(said) + "<|start_header_id|>assistant<|end_header_id|>\n\n"


class Prompts:
    """Writes requests that carry several prompts. `seed` is sent where it is given."""

    def __init__(self, model: str, form: PromptForm, seed: int | None) -> None:
        self.form = form
        self._model = model
        self._seed = seed

    def request(
        self, prompts: Sequence[str], max_tokens: int, temperature: float, *, labels: bool, taken: Form = _FIRST
    ) -> bytes:
        """The body of a request. With `labels`, one token of each answer is asked for, and its probabilities.

        `taken` is how the endpoint takes its requests, as far as that is known.
        """
        fields: dict[str, Any] = {"model": self._model, "prompt": prompts}
        fields |= {taken.max_tokens: 1 if labels else max_tokens, "stop": _STOPS[self.form]}
        if taken.temperature:
            fields["temperature"] = temperature
        if labels:
            fields["logprobs"] = min(TOP_LOGPROBS, taken.logprobs)
        if self._seed is not None and taken.seed:
            fields["seed"] = self._seed
        return _TO_JSON(fields)


class _Logprobs(msgspec.Struct):
    top_logprobs: list[dict[str, float] | None] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    text: str = ""
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice] = []
    usage: Usage | None = None
    error: Any = None


_COMPLETION: Final = msgspec.json.Decoder(_Completion, strict=False)


def read_completions(
    body: bytes, prompts: Sequence[str], labels: Sequence[tuple[str, ...]], content_type: str = ""
) -> list[Ending]:
    """An outcome for each prompt, from the body of a 200. `labels` are those of each prompt's choice, or ().

    A server tells what all prompts together used. Each has a part of that in proportion to its length, in whole
    tokens that add up to what the server said. A prompt whose answer is missing is a fault that may have been billed.
    """
    try:
        completion = _COMPLETION.decode(body)
    except DECODE_ERRORS:
        plain = plain_body(body, content_type)
        if isinstance(plain, Fault):
            return [plain] * len(prompts)
        completion = _completion_of(plain)
    if completion.error and not completion.choices:
        return [read_error_in_answer(completion.error)] * len(prompts)
    found: dict[int, _Choice] = {}
    for choice in completion.choices:
        found.setdefault(choice.index, choice)
    usage = completion.usage or Usage()
    answered = [index for index in range(len(prompts)) if index in found]
    total_in, told_in = credible(usage.prompt_tokens, sum(map(len, prompts)))
    total_out, told_out = credible(usage.completion_tokens, sum(len(found[index].text) for index in answered))
    counted = told_in and told_out
    sent = share_out(total_in if told_in else -1, [tokens_of(len(prompt)) for prompt in prompts])
    said = share_out(total_out if told_out else -1, [tokens_of(len(found[index].text)) for index in answered])
    out = dict(zip(answered, said, strict=True))
    endings: list[Ending] = []
    for index in range(len(prompts)):
        if index in out:
            endings.append(_read(found[index], sent[index], out[index], labels[index], counted))
        else:
            endings.append(Fault(f"the server answered {len(answered)} of {len(prompts)} prompts", billed=True))
    return endings


def _completion_of(plain: Mapping[str, Any]) -> _Completion:
    """A completion from what of a body can be read."""
    choices = []
    for nth, choice in enumerate(objects(plain.get("choices"))):
        said, _ = contents(choice)
        index, logprobs = count(choice.get("index", nth)), choice.get("logprobs")
        choices.append(_Choice(max(0, index), said, text_or_none(choice.get("finish_reason")), _logprobs_of(logprobs)))
    return _Completion(choices, usage_of(plain.get("usage")), plain.get("error"))


def _logprobs_of(logprobs: Any) -> _Logprobs | None:
    first = logprobs.get("top_logprobs") if isinstance(logprobs, dict) else None
    tokens = objects(first)[:1]
    if not tokens:
        return None
    return _Logprobs([{token: read for token, one in tokens[0].items() if (read := number(one)) is not None}])


def _read(choice: _Choice, tokens_in: int, tokens_out: int, labels: tuple[str, ...], counted: bool) -> Ending:
    text, thinking = without_thinking(choice.text)
    if choice.finish_reason == "content_filter":
        return Refused("stopped by the endpoint's content filter", tokens_in, tokens_out, thinking, counted)
    cut = choice.finish_reason == "length"
    if cut and thinking and not text:
        return Exhausted(
            f"all {tokens_out} tokens went to reasoning: raise model.max_tokens",
            tokens_in,
            tokens_out,
            thinking,
            counted,
        )
    probabilities = None
    if labels and choice.logprobs is not None and choice.logprobs.top_logprobs:
        probabilities = label_probabilities(labels, (choice.logprobs.top_logprobs[0] or {}).items())
    return Said(text, tokens_in, tokens_out, cut, probabilities, thinking, counted)
