"""How one call to a model can end. Data only: made by `http` and the readers, judged by `dispatch.retry`."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec


class Said(msgspec.Struct, frozen=True):
    """The model answered. `probabilities` are over a choice's labels, where they were asked for and could be read.

    `cut` says that the answer ended at `max_tokens`; `reasoning` is what it thought before, where that is told.
    `counted` is False where the endpoint did not say what it used, and the tokens are estimates.
    """

    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    cut: bool = False
    probabilities: dict[str, float] | None = None
    reasoning: str = ""
    counted: bool = True


class Exhausted(msgspec.Struct, frozen=True):
    """All of `max_tokens` was used before any answer began; asking again would end in the same way."""

    detail: str
    tokens_in: int = 0
    tokens_out: int = 0
    reasoning: str = ""
    counted: bool = True


class Refused(msgspec.Struct, frozen=True):
    """The model, or a filter before it, declined to answer. `billed` is False where no answer was begun."""

    detail: str
    tokens_in: int = 0
    tokens_out: int = 0
    reasoning: str = ""
    counted: bool = True
    billed: bool = True


class Limited(msgspec.Struct, frozen=True):
    """The endpoint works, and told us to come back later (429, or 503 with Retry-After)."""

    detail: str
    wait_s: float | None = None


class Fault(msgspec.Struct, frozen=True):
    """Something that another try may mend: a lost connection, a 500, a body that is no answer.

    `billed` is True where the call may have been billed all the same: its answer was on its way. `foreign` says that
    what came is of another kind than an answer (a web page): an address may be wrong.
    """

    detail: str
    billed: bool = False
    foreign: bool = False


class Late(msgspec.Struct, frozen=True):
    """The deadline passed; another try would be as late. `billed` is False where no answer was begun."""

    detail: str
    billed: bool = True


class Rejected(msgspec.Struct, frozen=True):
    """The endpoint won't take this ask, however often it is sent; others may pass. `status` is HTTP's, 0 for none."""

    detail: str
    billed: bool = False
    status: int = 0
    parameter: str = ""


class Unsupported(msgspec.Struct, frozen=True):
    """The endpoint refuses a parameter of the request, by a name of `models.dialect`: it may be asked without."""

    parameter: str
    detail: str
    status: int = 0


class Fatal(msgspec.Struct, frozen=True):
    """No call at all will succeed: `kind` says why, for the one who has to say what to do about it.

    `key`, `model`, `quota`: the endpoint says so. `refused`: all it was asked so far was refused alike. `tokens`: all
    answers so far were used up before they began. `batches`: it takes none, or not as they are sent. `status` is
    HTTP's; `parameter` the one that is refused, if one is. `plain` is True where the endpoint says in words what is
    wrong, and False where only a status tells.
    """

    kind: Literal["key", "model", "quota", "refused", "tokens", "address", "certificate", "batches"]
    detail: str
    status: int = 0
    parameter: str = ""
    plain: bool = True


_DOWN: Final = (Fault, Late)
_COUNTED: Final = (Said, Refused, Exhausted)

Ending: TypeAlias = Said | Exhausted | Refused | Limited | Fault | Late | Rejected | Unsupported | Fatal


def endpoint_works(outcome: Ending) -> bool:
    """Whether the outcome shows an endpoint that answers, whatever it says: what a breaker wants to know."""
    return not isinstance(outcome, _DOWN)


def tokens_used(outcome: Ending) -> tuple[int, int] | None:
    """(in, out) tokens of a call as the endpoint counts them; None where it does not say, (0, 0) where none."""
    if isinstance(outcome, _COUNTED):
        return (outcome.tokens_in, outcome.tokens_out) if outcome.counted else None
    if isinstance(outcome, Late | Fault | Rejected) and outcome.billed:
        return None
    return 0, 0
