"""The settings of a run: one pydantic model, read from TOML and `--set key=value`, unknown keys refused.

A settings file mirrors the model. `[model]` says what is asked and how, `[endpoint]` where, `[budget]` what it costs
and may cost:

```toml
agents = 200
ticks = 20
seed = 7

[model]
kind = "openai"
name = "Qwen/Qwen2.5-1.5B-Instruct"

[endpoint]
base_url = "http://127.0.0.1:8000/v1"
concurrency = 32

[budget]
tokens = 2_000_000

[society]            # the society's own parameters
homophily = 0.9

[[levers]]           # interventions; see `populace.interventions.levers`
at = 10
set = { "society.openness" = 0.1 }

[[surveys]]          # asked between ticks, without a trace in the run; see `populace.probes.Survey`
instrument = "cesd"
at = [0, 10, 20]
sample = 0.1
```

`schema` holds the model, `load` reads it, `paths` knows what stands where, `moved` where settings stood in older
versions.
"""

from populace.settings.batching import BatchSettings
from populace.settings.load import Assignment, changed_keys, load_settings, revise_settings, with_levers
from populace.settings.moved import migrated
from populace.settings.paths import may_change
from populace.settings.schema import (
    OPENAI,
    Budget,
    Bus,
    CheckpointSettings,
    EndpointSettings,
    Latency,
    LimitSettings,
    Model,
    Price,
    Record,
    RemoteSettings,
    Replica,
    RoleEndpoint,
    RoleSettings,
    Settings,
    setting_of,
)
from populace.settings.surveys import SurveySettings

__all__ = [
    "OPENAI",
    "Assignment",
    "BatchSettings",
    "Budget",
    "Bus",
    "CheckpointSettings",
    "EndpointSettings",
    "Latency",
    "LimitSettings",
    "Model",
    "Price",
    "Record",
    "RemoteSettings",
    "Replica",
    "RoleEndpoint",
    "RoleSettings",
    "Settings",
    "SurveySettings",
    "changed_keys",
    "load_settings",
    "may_change",
    "migrated",
    "revise_settings",
    "setting_of",
    "with_levers",
]
