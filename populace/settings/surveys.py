"""The settings of a survey that is asked while a run is played. It stands in no trace."""

from __future__ import annotations

from typing import Annotated

import pydantic
from pydantic import ConfigDict, Field

from populace.agents.probes.survey import Survey
from populace.core.errors import ScenarioError


class _Section(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class SurveySettings(_Section):
    """A survey that is asked while the run is played, before each tick of `at`; see `populace.probes.Survey`.

    `instrument` is the name of one that ships or a TOML file. It stands in no trace.
    """

    instrument: str
    at: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(strict=False)]
    sample: Annotated[tuple[int, ...], Field(strict=False)] | int | float | None = None
    name: str = ""
    type: str | None = None
    shuffle: bool = False
    weight: str | None = None
    together: bool = False
    model_role: str = ""

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> SurveySettings:
        """What a survey refuses is refused here."""
        try:
            self.survey()
        except ScenarioError as error:
            raise ValueError(str(error)) from None
        return self

    def survey(self) -> Survey:
        """The survey. Raises ScenarioError."""
        return Survey(**{name: getattr(self, name) for name in type(self).model_fields})
