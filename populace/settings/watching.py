"""The settings of what a run tells those who watch it: its log and its traces. They change nothing of what it does."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import pydantic
from pydantic import ConfigDict, Field


class _Section(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class LogSettings(_Section):
    """A log of the run, in lines of JSON: see `docs/guides/logs.md`.

    `file` is where it goes; `{run}` in it stands for the run's name, which tells runs side by side apart. `level` is
    the least that is told. No prompt, answer, persona or text of an error is in it, unless `texts` asks for them. At
    `most_bytes` the file is put aside as `FILE.1` and a new one is begun, so a run never takes more than twice that.
    """

    file: str = ""
    level: Literal["debug", "info", "warning", "error"] = "info"
    texts: bool = False
    most_bytes: Annotated[int, Field(ge=65_536, lt=2**40)] = 67_108_864


class TraceSettings(_Section):
    """Traces in OpenTelemetry's form: see `docs/guides/logs.md`. A collector needs `pip install 'populace[traces]'`.

    They go to `file` as lines of OTLP/JSON (`{run}` stands for the run's name; at `most_bytes` it begins anew, as a log
    does), and over OTLP/HTTP to the collector at `endpoint` (`http://127.0.0.1:4318`). `share` of the turns that ask
    are in them, chosen by keyed draws: the same turns in every attempt, fork and arm. No text is in them.
    """

    file: str = ""
    endpoint: str = ""
    share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    most_bytes: Annotated[int, Field(ge=65_536, lt=2**40)] = 67_108_864

    @property
    def wanted(self) -> bool:
        """Whether traces go anywhere."""
        return bool(self.file or self.endpoint)


UNWATCHED: Final[dict[str, Any]] = {
    "metrics_port": None, "metrics_targets": "", "log": LogSettings(), "traces": TraceSettings(),
}  # fmt: skip
"""The settings of a run that nobody watches from outside: a pilot, a look at another run's agents."""
