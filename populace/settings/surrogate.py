"""The settings of surrogates."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic import ConfigDict, Field

_Count = Annotated[int, Field(gt=0, lt=2**31)]


class SurrogateSettings(pydantic.BaseModel):
    """How surrogates go, of types and purposes whose mind is `surrogate`: see `docs/minds.md`.

    `kind` is what is fitted to the model's answers, a frequency `table` by facts or multinomial logistic regression on
    them (`logit`), once there are `sample` answers. A table covers facts that have `cell` of them; the newest
    `window` are kept. `audit` is the share of asks that go to the model all the same; `tolerance` the total variation
    between surrogate and model that is put up with, and `alarm` the chance over a run that the audit withdraws trust
    from one that keeps to it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    kind: Literal["table", "logit"] = "table"
    sample: _Count = 200
    window: _Count = 5000
    cell: _Count = 30
    audit: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    tolerance: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    alarm: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.01
