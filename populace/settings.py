"""The settings of a run: one pydantic model, read from TOML and `--set key=value`, unknown keys refused.

A settings file mirrors the model:

```toml
agents = 200
ticks = 20
seed = 7

[model]
kind = "openai"
base_url = "http://127.0.0.1:8000/v1"
name = "Qwen/Qwen2.5-1.5B-Instruct"

[society]            # the scenario's own parameters
homophily = 0.9

[[levers]]           # interventions; see `populace.interventions.levers`
at = 10
set = { "society.openness" = 0.1 }
```
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import pydantic
from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from populace.core.errors import SettingsError
from populace.interventions.levers import Lever, keys_at, parse_lever, plain_path

_OPENAI: Final = "https://api.openai.com/v1"

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Label = Annotated[str, Field(max_length=100)]


class _Section(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Latency(_Section):
    """Latency of the scripted model: lognormal, drawn for each ask from its own keyed stream."""

    median_s: NonNegativeFloat = 0.0
    sigma: NonNegativeFloat = 0.0


class Price(_Section):
    """What a model costs."""

    usd_per_million_tokens_in: NonNegativeFloat = 0.0
    usd_per_million_tokens_out: NonNegativeFloat = 0.0


class Throttle(_Section):
    """Limits on model calls, for the whole run: the shards share the rates as they need them, `concurrency` equally."""

    concurrency: PositiveInt = 64
    requests_per_minute: PositiveFloat | None = None
    tokens_per_minute: PositiveFloat | None = None


class Budget(_Section):
    """Hard ceilings on what the model may cost, for the whole run: the worst case of a call is reserved before it.

    `tokens` counts those in and out together. At a ceiling the run saves what it has and stops.

    `experiment_usd` and `experiment_tokens` are ceilings for all runs of an `experiment` together. They need `ledger`,
    a file that those runs share: each reserves there what it may spend, before its first call, and at its end gives
    back what it did not spend. Runs that go side by side need ceilings of their own, or the first reserves all.
    """

    usd: NonNegativeFloat | None = None
    tokens: NonNegativeInt | None = None
    experiment_usd: NonNegativeFloat | None = None
    experiment_tokens: NonNegativeInt | None = None
    ledger: Path | None = None


class Endpoint(_Section):
    """One of several endpoints that serve the same model.

    Its share of the asks follows `weight`. The key comes from the environment variable `api_key_env` or the file
    `api_key_file`; without either, it is the model's own. `concurrency` is how many calls it takes at once, over the
    whole run; without it, its part of `throttle.concurrency`, by weight.
    """

    base_url: str
    weight: PositiveFloat = 1.0
    api_key_env: str | None = None
    api_key_file: Path | None = None
    concurrency: PositiveInt | None = None


class Model(_Section):
    """Which model answers, and how it is asked.

    `kind` is `embedded` (a small model on this machine), `openai` (any OpenAI-compatible endpoint at `base_url`)
    or `scripted` (deterministic answers, no model). `path` gives the embedded model other weights (a GGUF file).
    The key for `openai` comes from the environment variable that `api_key_env` names, or from the file
    `api_key_file`; it is never a setting. `timeout_s` is the deadline of one call; `outage_s` is how long an endpoint
    may answer nothing at all (or ask us to wait) before the run stops. With `sampling = "own"` each agent, tick and
    seed has its own sample; with `shared`, asks of the same content share one answer (agents as archetypes). `cache`
    names a file in which answers are kept by the same rule, for other runs as well; without it nothing is kept.

    `endpoints` names several, which serve the same model, in place of `base_url`. Asks that begin alike go to the same
    one, an endpoint that fails is left out until it works again, and limits and budget hold for all together.

    `batch_prompts` above 1 puts up to so many prompts into one request to `/completions`: for servers of one's own
    (vLLM, SGLang, llama.cpp), which batch them. Text goes this way, and choices where their probabilities are read
    (`choice_probabilities = true`); what has a schema stays a chat. That endpoint applies no chat template, so
    messages are written as `prompt_form` says: `plain`, `chatml` or `llama3`. Name the form that the model was tuned
    on; it stands in the asks' content keys. Concurrency then counts requests; every prompt counts as a request to
    the rates, and pays for itself. Where each agent has its own sample no seed is sent, since a request has only one.
    """

    kind: Literal["embedded", "openai", "scripted"] = "embedded"
    name: str = ""
    base_url: str = _OPENAI
    path: Path | None = None
    api_key_env: str = "OPENAI_API_KEY"
    api_key_file: Path | None = None
    temperature: NonNegativeFloat = 0.8
    max_tokens: PositiveInt = 200
    timeout_s: PositiveFloat = 60.0
    retries: NonNegativeInt = 3
    outage_s: PositiveFloat = 300.0
    repairs: Annotated[int, Field(ge=0, le=2)] = 2
    choice_probabilities: bool | None = None
    sampling: Literal["own", "shared"] = "own"
    cache: Path | None = None
    threads: PositiveInt | None = None
    context_tokens: PositiveInt = 4096
    latency: Latency = Latency()
    prices: dict[str, Price] = {}
    throttle: Throttle = Throttle()
    budget: Budget = Budget()
    endpoints: tuple[Endpoint, ...] = ()
    batch_prompts: PositiveInt = 1
    prompt_form: Literal["plain", "chatml", "llama3"] = "plain"

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Model:
        """Several endpoints and one do not go together, and many prompts in a request need a server of one's own."""
        if self.endpoints and self.base_url != _OPENAI:
            raise ValueError("base_url and endpoints are both set: name every endpoint in endpoints, and no base_url")
        urls = [endpoint.base_url.rstrip("/") for endpoint in self.endpoints]
        if len(set(urls)) < len(urls):
            raise ValueError("endpoints names an address twice: give it one entry with a larger weight")
        if self.batch_prompts > 1 and self.kind == "openai" and _OPENAI in (urls or [self.base_url.rstrip("/")]):
            raise ValueError(
                f"batch_prompts = {self.batch_prompts} is for servers of your own, and {_OPENAI} is none: set base_url"
            )
        return self

    @property
    def forms(self) -> dict[str, str]:
        """How asks of a kind of answer ('text', 'choice', 'json') are put, where that is not as a chat."""
        if self.batch_prompts == 1 or self.kind != "openai":
            return {}
        form = f"completions/{self.prompt_form}"
        return {"text": form, "choice": form} if self.choice_probabilities else {"text": form}

    @property
    def label(self) -> str:
        """The name that stands in content keys, tables and price look-ups."""
        return self.name or (self.path.stem if self.path else self.kind)


class Bus(_Section):
    """Bounds on messages, at the sender and at the receiver."""

    body_bytes: PositiveInt = 65_536
    sends_per_turn: PositiveInt = 10_000
    inbox_messages: PositiveInt = 10_000
    frame_bytes: PositiveInt = 33_554_432


class Limits(_Section):
    """When a run has failed, and how much it may hold at once.

    `failed_turns` is the share of turns that may end in an exception, over the run so far: above it the run ends.
    `abstained` is the share of asks that may stay without an answer: above it a run goes on to its end, and its
    manifest calls it invalid. `live_turns` is how many turns a shard keeps open at once while they wait for the model.
    """

    failed_turns: Share = 0.05
    abstained: Share = 0.2
    live_turns: PositiveInt = 10_000


class Record(_Section):
    """What the run's tables hold. `agents` is every agent at every tick (`all`), or only rows that changed."""

    agents: Literal["changed", "all", "none"] = "changed"
    messages: bool = True
    asks: bool = True
    actions: bool = True


class Checkpoint(_Section):
    """When a run is saved at a tick's edge: every so many ticks, or else every so many seconds; `keep` generations.

    What comes after a checkpoint is recomputed from the journal, so a rare one costs time at a resume and no answer.
    """

    every_ticks: PositiveInt | None = None
    every_s: NonNegativeFloat | None = 10.0
    keep: Annotated[int, Field(ge=2)] = 2


class Settings(_Section):
    """Everything about a run but the scenario.

    `journal` says when an answer is safe before its turn sees it: `process` outlives the process however it ends,
    `machine` a lost machine too (each batch of answers waits for the disk), `off` keeps neither answers nor
    checkpoints, so that the run can't be resumed, replayed or forked.

    `experiment` and `arm` say what the run belongs to: they stand in its manifest and its metrics, so that costs can
    be added up by them, and change nothing of what it does.
    """

    experiment: Label = ""
    arm: Label = ""
    agents: PositiveInt | None = None
    ticks: PositiveInt | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    shards: PositiveInt = 1
    transport: Literal["local", "ray"] = "local"
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    metrics_host: str = "127.0.0.1"
    model: Model = Model()
    bus: Bus = Bus()
    limits: Limits = Limits()
    record: Record = Record()
    checkpoint: Checkpoint = Checkpoint()
    journal: Literal["process", "machine", "off"] = "process"
    society: dict[str, Any] = {}
    levers: tuple[Lever, ...] = ()


def load_settings(file: Path | None = None, assignments: Iterable[str] = (), **options: Any) -> Settings:
    """Read settings from a TOML file, then `key=value` assignments, then options (None ones are skipped).

    A value of an assignment is read as TOML (`3`, `true`, `[1, 2]`, `"text"`) and, failing that, as plain text.
    Later sources win. Raises SettingsError, naming key and source, with the keys there are.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    if file is not None:
        _merge(values, _read_toml(file), sources, str(file))
    return _finish(values, sources, assignments, options)


def revise_settings(settings: Settings, assignments: Iterable[str] = (), **options: Any) -> Settings:
    """Settings with some changed, by assignments and options as in `load_settings`. Raises SettingsError."""
    return _finish(settings.model_dump(mode="json"), {}, assignments, options)


def changed_keys(before: Settings, after: Settings) -> list[str]:
    """The keys, as 'section.key', under which two settings differ, in order."""
    was, now = (_leaves(one.model_dump(mode="json")) for one in (before, after))
    return sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))


def _leaves(values: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            leaves.update(_leaves(value, f"{at}{key}."))
        else:
            leaves[f"{at}{key}"] = value
    return leaves


def _finish(
    values: dict[str, Any], sources: dict[str, str], assignments: Iterable[str], options: Mapping[str, Any]
) -> Settings:
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise SettingsError(f"--set {assignment}: write it as key=value, for example --set model.temperature=0.2")
        _merge(values, _nest(key.strip(), _read_value(text)), sources, f"--set {key.strip()}")
    for key, value in options.items():
        if value is not None:
            name = key.replace("__", ".")
            option = "model" if name == "model.kind" else name.rpartition(".")[2].replace("_", "-")
            _merge(values, _nest(name, value), sources, f"--{option}")
    try:
        return Settings.model_validate(values)
    except pydantic.ValidationError as error:
        raise SettingsError(_explain(error, sources)) from None


def with_levers(settings: Settings, levers: Iterable[str]) -> Settings:
    """The settings with more levers, each as `interventions.levers.parse_lever` reads it. Raises SettingsError."""
    return settings.model_copy(update={"levers": (*settings.levers, *map(parse_lever, levers))})


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read ({error.strerror}). Check the path given to --settings.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: is not valid TOML: {error}") from None


def _read_value(text: str) -> Any:
    try:
        read = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return read["value"] if len(read) == 1 else text


def _nest(key: str, value: Any) -> dict[str, Any]:
    for name in reversed(key.split(".")):
        value = {name: value}
    return dict(value)


def _merge(into: dict[str, Any], new: Mapping[str, Any], sources: dict[str, str], source: str, at: str = "") -> None:
    for key, value in new.items():
        path = f"{at}{key}"
        if isinstance(value, Mapping) and isinstance(into.get(key, {}), dict):
            _merge(into.setdefault(key, {}), value, sources, source, f"{path}.")
        else:
            into[key] = value
        sources[path] = source


def _explain(error: pydantic.ValidationError, sources: Mapping[str, str]) -> str:
    lines = []
    for problem in error.errors():
        path = plain_path(problem["loc"])
        source = next((sources[key] for n in range(len(path), 0, -1) if (key := ".".join(path[:n])) in sources), "")
        name = ".".join(path)
        if problem["type"] == "extra_forbidden":
            known = ", ".join(keys_at(problem["loc"]) if path[0] == "levers" else _keys_at(path[:-1]))
            lines.append(f"{source}: unknown key '{name}'. Keys there are: {known}.")
        elif list(path) == ["model", "kind"]:
            kinds = ", ".join(get_args(Model.model_fields["kind"].annotation))
            given = problem["input"]
            named = given if isinstance(given, str) else "NAME"
            lines.append(
                f"{source}: {json.dumps(given, default=str)} is no kind of model: there are {kinds}. What the model is "
                f"called goes to model.name: --model openai --set model.name={named}"
            )
        else:
            value = "" if problem["type"] == "value_error" else f" = {json.dumps(problem['input'], default=str)}"
            lines.append(f"{source}: '{name}'{value}: {problem['msg']}.")
    return "\n".join(lines)


def _keys_at(path: list[str]) -> list[str]:
    model: Any = Settings
    for step in path:
        if get_origin(model) is dict:
            model = get_args(model)[1]
            continue
        if get_origin(model) is tuple:
            model = get_args(model)[0]
            continue
        field = model.model_fields.get(step) if hasattr(model, "model_fields") else None
        if field is None:
            return []
        model = field.annotation
    return sorted(getattr(model, "model_fields", {}))
