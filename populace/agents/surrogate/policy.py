"""How surrogates are fitted, audited and given up, as plain data."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["table", "logit"]


class Policy(msgspec.Struct, frozen=True):
    """What `[surrogate]` of the settings says.

    `kind` is what is fitted, after `sample` answers of the model, to the newest `window` of them at most. A `table`
    answers for facts of which it has `cell` answers or more. `audit` is the share of asks that go to the model all the
    same; `tolerance` is the total variation (0 to 1) between surrogate and model that is put up with, and `alarm` the
    chance over a whole run that trust is withdrawn from surrogates of a type and purpose that keep to it.
    """

    kind: Kind = "table"
    sample: int = 200
    window: int = 5000
    cell: int = 30
    audit: float = 0.1
    tolerance: float = 0.1
    alarm: float = 0.01


class Observed(msgspec.Struct, frozen=True, array_like=True):
    """An answer of the model to an ask that a surrogate might have answered.

    `facts` are the ask's, as JSON text. `shares` are what the answer says of each category, out of `UNIT`: all of it
    for the one that was answered, or the model's probabilities of a `Choice`. `audited` says that a fit that is trusted
    covers these facts, and the ask went to the model as a part of the audit.
    """

    agent: int
    nth: int
    facts: str
    shares: dict[str, int]
    audited: bool = False


UNIT = 1 << 20
"""What the shares of an answer add up to, about: they are whole numbers, so that their sums are exact."""
