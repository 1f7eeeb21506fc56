"""How one call to a model can end. Data only: made by `http` and the readers, judged by `dispatch.retry`."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec


class Said(msgspec.Struct, frozen=True):
    """The model answered. `probabilities` are over a choice's labels, where they were asked for and could be read.

    `cut` says that the answer ended at `max_tokens`.
    """

    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    cut: bool = False
    probabilities: dict[str, float] | None = None


class Refused(msgspec.Struct, frozen=True):
    """The model, or a filter before it, declined to answer."""

    detail: str
    tokens_in: int = 0
    tokens_out: int = 0


class Limited(msgspec.Struct, frozen=True):
    """The endpoint works, and told us to come back later (429, or 503 with Retry-After)."""

    detail: str
    wait_s: float | None = None


class Fault(msgspec.Struct, frozen=True):
    """Something that another try may mend: a lost connection, a 500, a body that is no answer.

    `billed` is True where the call may have been billed all the same: its answer was on its way.
    """

    detail: str
    billed: bool = False


class Late(msgspec.Struct, frozen=True):
    """The deadline passed; another try would be as late."""

    detail: str


class Rejected(msgspec.Struct, frozen=True):
    """The endpoint won't take this ask, however often it is sent; others may pass."""

    detail: str
    billed: bool = False


class Fatal(msgspec.Struct, frozen=True):
    """No call at all will succeed: `kind` says why, for the one who has to say what to do about it."""

    kind: Literal["key", "model", "quota", "parameter", "address", "certificate"]
    detail: str


Ending: TypeAlias = Said | Refused | Limited | Fault | Late | Rejected | Fatal


def endpoint_works(outcome: Ending) -> bool:
    """Whether the outcome shows an endpoint that answers, whatever it says: what a breaker wants to know."""
    return not isinstance(outcome, Fault | Late)


def tokens_used(outcome: Ending) -> tuple[int, int] | None:
    """(in, out) tokens of a call as the endpoint counts them; None where nobody can know, (0, 0) where none."""
    if isinstance(outcome, Said | Refused):
        return outcome.tokens_in, outcome.tokens_out
    if isinstance(outcome, Late) or (isinstance(outcome, Fault | Rejected) and outcome.billed):
        return None
    return 0, 0
