"""What an endpoint says when it does not answer: the status and the body of an error, read. Pure.

The message decides before the status where both speak: proxies answer 400, 403, 404 and 500 to the same thing, and
some put the error into a 200.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import msgspec

from populace.models.dialect import refused_parameter
from populace.models.endings import Ending, Fatal, Fault, Limited, Refused, Rejected, Unsupported

_SPENT_CODES: Final = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "insufficient_balance",
        "credits_exhausted",
    }
)
_SPENT: Final = re.compile(
    r"insufficient (?:credit|balance|fund)|credit balance is too low|out of credits?|no credits? (?:left|remaining)"
    r"|billing hard limit",
    re.IGNORECASE,
)
_MODERATED_CODES: Final = frozenset(
    {"content_filter", "content_policy_violation", "moderation_blocked", "data_inspection_failed", "invalid_prompt"}
)
_MODERATED: Final = re.compile(
    r"content[ _](?:filter|policy)|content management policy|moderation|\bflagged\b|safety (?:system|policy|guideline)"
    r"|inappropriate content|responsible ?ai",
    re.IGNORECASE,
)
_OF_ACCOUNT: Final = re.compile(r"\baccount\b|api[ _-]?key|organi[sz]ation", re.IGNORECASE)
_KEY_CODES: Final = frozenset({"invalid_api_key", "authentication_error", "account_deactivated", "unauthorized"})
_OF_KEY: Final = re.compile(
    r"api[ _-]?key|credential|authenticat|unauthori[sz]ed|token (?:has |is )?(?:expired|invalid|revoked)|expired"
    r"|revoked|suspended|deactivated|permission",
    re.IGNORECASE,
)
_OF_LENGTH: Final = re.compile(
    r"context[ _](?:length|window|size)|too (?:long|large|many tokens)|maximum (?:prompt|input)|context_length",
    re.IGNORECASE,
)
_NO_MODEL: Final = re.compile(
    r"\bmodel\b[^.]{0,80}(?:not found|does not exist|doesn't exist|not exist|unknown|not available|no longer)"
    r"|(?:unknown|invalid|no such|not a valid) model\b",
    re.IGNORECASE,
)
_STATUS_OF_CODE: Final = {
    "rate_limit_exceeded": 429, "too_many_requests": 429, "server_error": 500, "overloaded": 503,
    "overloaded_error": 529, "invalid_api_key": 401, "model_not_found": 404,
}  # fmt: skip


class ErrorBody(NamedTuple):
    """What an error's body says: its code, its message, the parameter it points at; '' for what it does not say."""

    code: str
    message: str
    parameter: str = ""
    status: int = 0


def read_error(status: int, body: bytes, wait_s: float | None) -> Ending:
    """Read an answer that is not a 200; `wait_s` is what the endpoint asks to wait, if it does."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return judge(status, ErrorBody("", excerpt(body)), wait_s)
    return judge(status, error_of(found), wait_s)


def read_error_in_answer(error: Any) -> Ending:
    """Read an error that came in the body of a 200, as the status that it names."""
    said = error_of(error)
    status = said.status or _STATUS_OF_CODE.get(said.code, 500)
    return judge(status, said, None)


def judge(status: int, said: ErrorBody, wait_s: float | None) -> Ending:
    """What a status and what is said with it come to."""
    code, message = said.code, said.message
    detail = f"{status}: {message[:500]}"
    if status == 402 or code in _SPENT_CODES or _SPENT.search(message):
        return Fatal("quota", detail, status)
    if _is_moderated(status, said):
        return Refused(detail, billed=False)
    if status not in (401, 403, 408, 429) and (parameter := refused_parameter(message, said.parameter)) is not None:
        return Unsupported(parameter, detail, status)
    if status == 429 or (status in (503, 529) and wait_s is not None):
        return Limited(detail, wait_s)
    if status in (401, 403):
        return Fatal("key", detail, status, plain=code in _KEY_CODES or _OF_KEY.search(message) is not None)
    if status == 404 or code == "model_not_found" or (status < 500 and _NO_MODEL.search(message)):
        plain = code == "model_not_found" or _NO_MODEL.search(message) is not None
        return Fatal("model", detail, status, plain=plain)
    if status in (408, 409, 425) or status >= 500:
        return Fault(detail)
    return Rejected(detail, status=status, parameter=said.parameter)


def _is_moderated(status: int, said: ErrorBody) -> bool:
    """Whether it is this prompt that is declined, by a filter, and not the account that sends it."""
    if status >= 500 or _OF_ACCOUNT.search(said.message):
        return False
    return said.code in _MODERATED_CODES or (status in (400, 403, 422, 451) and bool(_MODERATED.search(said.message)))


def is_of_length(detail: str) -> bool:
    """Whether a refusal is about how long one ask is."""
    return _OF_LENGTH.search(detail) is not None


def error_of(found: Any) -> ErrorBody:
    """What an error says, in any of the forms that servers use."""
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if isinstance(found, dict):
        found = found.get("error") or found
    if not isinstance(found, dict):
        return ErrorBody("", str(found))
    codes = [found.get("code"), found.get("type"), found.get("status")]
    inner = found.get("innererror") or found.get("inner_error")
    if isinstance(inner, dict) and "content" in str(inner.get("code", "")).casefold():
        codes.insert(0, "content_filter")
    named = [code for code in codes if isinstance(code, str)]
    code = next((name for name in named if name in _SPENT_CODES), named[0] if named else "")
    message, parameter = found.get("message") or found.get("detail") or found, found.get("param")
    metadata = found.get("metadata")
    if isinstance(metadata, dict) and metadata.get("reasons"):  # OpenRouter, of a prompt that its moderation flagged
        code = "content_filter"
    if isinstance(message, list) and message and isinstance(message[0], dict) and "loc" in message[0]:
        place = message[0]["loc"]
        parameter = str(place[-1]) if isinstance(place, list) and place else None
        message = f"{parameter}: {message[0].get('msg', '')}"
    status = next((_number(code) for code in codes if _number(code)), 0)
    return ErrorBody(code, str(message), parameter if isinstance(parameter, str) else "", status)


def _number(code: Any) -> int:
    """The HTTP status that a code is, or 0."""
    if isinstance(code, str) and re.fullmatch(r"[45]\d\d", code, re.ASCII):
        code = int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600 else 0


def excerpt(body: bytes) -> str:
    """The first bytes of a body, as one can print them."""
    text = body[:200].decode(errors="replace").strip()
    return f"{text!r}" if text else "an empty body"
