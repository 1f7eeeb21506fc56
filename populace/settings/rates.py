"""The rates of an account: what is so little that a run would wait for ever is refused."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, PositiveFloat

_MINUTES_OF_DAY = 24 * 60


def _a_request_a_day(per_minute: float) -> float:
    """Raise ValueError where more than a day would go by between two calls."""
    if per_minute * _MINUTES_OF_DAY < 1:
        raise ValueError(_too_little(per_minute, "request a day"))
    return per_minute


def _a_token_a_minute(per_minute: float) -> float:
    """Raise ValueError where even a short prompt would wait for days."""
    if per_minute < 1:
        raise ValueError(_too_little(per_minute, "token a minute"))
    return per_minute


def _too_little(per_minute: float, least: str) -> str:
    return (
        f"{per_minute:g} a minute is less than one {least}, so a run would wait for ever. Give the account's limit, or "
        "leave it out where there is none"
    )


RequestRate: TypeAlias = Annotated[PositiveFloat, AfterValidator(_a_request_a_day)]
"""Requests per minute: at least one a day."""
TokenRate: TypeAlias = Annotated[PositiveFloat, AfterValidator(_a_token_a_minute)]
"""Tokens per minute: at least one."""
