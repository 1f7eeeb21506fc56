"""Settings of asks that go in batches."""

from __future__ import annotations

from typing import Annotated, Final

import pydantic
from pydantic import ConfigDict, Field, PositiveFloat

MOST_REQUESTS: Final = 50_000
"""How many requests the batch protocol takes in one file."""


class BatchSettings(pydantic.BaseModel):
    """Whether asks go in batches (`POST /batches`): cheaper, and answered within hours. See `docs/models.md`.

    With `on`, asks are gathered until none came for `quiet_s` seconds or there are `most_requests`, and go together.
    A batch is looked after every `poll_s` seconds, more seldom as it lasts, up to every `poll_most_s`. `window` is the
    time in which the endpoint promises it; one that is still out after `give_up_s` is cancelled, and what it has not
    answered by then abstains ('deadline'). `price_factor` is what a call in a batch costs, as a part of the model's
    price in `budget.prices`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    on: bool = False
    quiet_s: PositiveFloat = 5.0
    most_requests: Annotated[int, Field(gt=0, le=MOST_REQUESTS)] = MOST_REQUESTS
    poll_s: PositiveFloat = 10.0
    poll_most_s: PositiveFloat = 300.0
    window: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,3}[hd]$")] = "24h"
    give_up_s: PositiveFloat = 93_600.0
    price_factor: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5

    @pydantic.model_validator(mode="after")
    def _slows_down(self) -> BatchSettings:
        if self.poll_s > self.poll_most_s:
            raise ValueError(
                f"poll_s = {self.poll_s:g} is longer than poll_most_s = {self.poll_most_s:g}, up to which it grows: "
                "set poll_most_s to as much at least"
            )
        return self
