"""The settings of a run as one pydantic model; every setting says itself whether it may change later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import pydantic
from pydantic import ConfigDict, Discriminator, Field, NonNegativeFloat, PositiveFloat, Tag

from populace.agents.facts import SHARED_FIRST
from populace.core.records import DEFAULT_ROLE, ROLE_NAME
from populace.interventions.levers import Lever
from populace.settings.batching import BatchSettings
from populace.settings.rates import RequestRate, TokenRate
from populace.settings.surrogate import SurrogateSettings
from populace.settings.surveys import SurveySettings
from populace.settings.watching import LogSettings, TraceSettings

OPENAI: Final = "https://api.openai.com/v1"

Count = Annotated[int, Field(gt=0, lt=2**31)]
Agents = Annotated[
    Annotated[Count, Tag("<number>")] | Annotated[dict[str, Annotated[int, Field(ge=0, lt=2**31)]], Tag("<by type>")],
    Discriminator(lambda value: "<by type>" if isinstance(value, Mapping) else "<number>"),
]
"""How many agents, or how many of each type."""
Mind = Annotated[
    Annotated[str, Tag("<mind>")] | Annotated[dict[str, str], Tag("<by purpose>")],
    Discriminator(lambda value: "<by purpose>" if isinstance(value, Mapping) else "<mind>"),
]
"""What answers the asks of a type of agents: a mind, or minds by purpose ('' for all others)."""
Share = Annotated[float, Field(ge=0.0, le=1.0)]
File = Annotated[Path, Field(strict=False)]
Label = Annotated[str, Field(max_length=100)]
Kind = Literal["embedded", "openai", "rules", "scripted"]
PromptForm = Literal["plain", "chatml", "llama3"]
PromptOrder = Literal["written", "shared_first"]
RoleName = Annotated[str, Field(pattern=ROLE_NAME)]


@dataclass(frozen=True)
class MayChange:
    """Marks a setting, or all of a section, by when it may change; what bears no mark is fixed for all of a run.

    On `resume`: it stands in no trace, so each attempt may have its own. On `fork`: it changes what a run does, so only
    a fork may change it. What may change on resume may change in a fork too.
    """

    on: Literal["resume", "fork"]


RESUME: Final = MayChange("resume")
FORK: Final = MayChange("fork")


class _Section(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False, strict=True)


class Latency(_Section):
    """Latency of the scripted model and of rules: lognormal, drawn for each ask from its own keyed stream."""

    median_s: NonNegativeFloat = 0.0
    sigma: NonNegativeFloat = 0.0


class Replica(_Section):
    """One of several endpoints that serve the same model.

    Its share of the asks follows `weight`. The key comes from the environment variable `api_key_env` or the file
    `api_key_file`; without either, it is the one that `endpoint` names. `concurrency` is how many calls it takes at
    once, over the whole run; without it, its part of `endpoint.concurrency`, by weight.
    """

    base_url: str
    weight: PositiveFloat = 1.0
    api_key_env: str | None = None
    api_key_file: File | None = None
    concurrency: Count | None = None


def _check_addresses(replicas: Sequence[Replica], base_url: str | None) -> None:
    """Raise ValueError for several endpoints beside one, and for an address that is named twice."""
    if replicas and base_url is not None:
        raise ValueError("base_url and replicas are both set: name every endpoint in replicas, and no base_url")
    urls = [one.base_url.rstrip("/") for one in replicas]
    if len(set(urls)) < len(urls):
        raise ValueError("replicas names an address twice: give it one entry with a larger weight")


class RoleEndpoint(_Section):
    """Where the model of a role is asked: what it says goes before `[endpoint]`.

    What it leaves out is taken from there, the key too, so name that of another provider. Roles with the same
    addresses, keys and limits per minute share those limits, and where the rest is the same as well (but for
    `retries`), `concurrency`.
    """

    base_url: str | None = None
    api_key_env: str | None = None
    api_key_file: File | None = None
    concurrency: Count | None = None
    requests_per_minute: RequestRate | None = None
    tokens_per_minute: TokenRate | None = None
    timeout_s: PositiveFloat | None = None
    retries: Annotated[int, Field(ge=0, le=1000)] | None = None
    outage_s: PositiveFloat | None = None
    batch_prompts: Annotated[Count | None, FORK] = None
    replicas: Annotated[tuple[Replica, ...] | None, Field(strict=False)] = None
    batches: BatchSettings | None = None

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> RoleEndpoint:
        """Several endpoints and one do not go together."""
        _check_addresses(self.replicas or (), self.base_url)
        return self


class RoleSettings(_Section):
    """The model of a role: what it says goes before `[model]`, and what it leaves out is taken from there.

    What it costs stands in `budget.prices` under its `name`. The role `embed` answers `ctx.embed`.
    """

    kind: Kind | None = None
    name: str | None = None
    temperature: NonNegativeFloat | None = None
    max_tokens: Count | None = None
    repairs: Annotated[int | None, Field(ge=0, le=2), RESUME] = None
    choice_probabilities: bool | None = None
    prompt_form: PromptForm | None = None
    prompt_order: PromptOrder | None = None
    lenient: Annotated[bool | None, RESUME] = None
    endpoint: Annotated[RoleEndpoint, RESUME] = RoleEndpoint()


class Model(_Section):
    """Which model answers, and how it is asked.

    `kind` is `embedded` (a small model on this machine), `openai` (an OpenAI-compatible endpoint, see
    `EndpointSettings`),
    `rules` (the society's own, by purpose) or `scripted` (a placebo: answers of the right types, drawn by lot; or the
    society's script). `path` gives the embedded model other weights (a GGUF file). With
    `sampling = "own"` each agent, tick and seed has its own sample; with `shared`, asks of the same content share one
    answer (agents as archetypes). `cache` names a file in which answers are kept by the same rule, for other runs as
    well; without it nothing is kept. `repairs` is how often an answer that does not fit its type is asked for again;
    `lenient` takes labels of another case and numbers written as text for what they must mean, and counts them.
    `latency` is that of the scripted model and of rules.

    `prompt_form` (`plain`, `chatml` or `llama3`) says how messages are written where no chat template is applied: in
    requests of many prompts (`endpoint.batch_prompts`). It stands in the asks' content keys.

    `prompt_order = "shared_first"` puts what agents share before what is each one's own, so that a server that keeps
    the beginnings of prompts works less: of a template with facts the lines behind the last fact come first, and a
    schema in words stands with what the system says. They are other prompts, with other content keys, and may get other
    answers.

    `roles` holds models for asks that name a role, `ctx.ask(..., model_role="judge")`: see `RoleSettings`.
    """

    kind: Kind = "embedded"
    name: str = ""
    path: File | None = None
    temperature: NonNegativeFloat = 0.8
    max_tokens: Count = 200
    repairs: Annotated[int, Field(ge=0, le=2), RESUME] = 2
    choice_probabilities: bool | None = None
    sampling: Literal["own", "shared"] = "own"
    prompt_form: PromptForm = "plain"
    prompt_order: PromptOrder = "written"
    lenient: Annotated[bool, RESUME] = True
    cache: Annotated[File | None, RESUME] = None
    threads: Annotated[Count | None, RESUME] = None
    context_tokens: Count = 4096
    latency: Annotated[Latency, RESUME] = Latency()
    roles: dict[RoleName, RoleSettings] = {}

    @pydantic.field_validator("roles")
    @classmethod
    def _own_names(cls, roles: dict[str, RoleSettings]) -> dict[str, RoleSettings]:
        """The default role has no section of its own."""
        if DEFAULT_ROLE in roles:
            raise ValueError(f"{DEFAULT_ROLE!r} is the role of [model] itself: set model.name and the like")
        return roles

    @property
    def asks_nobody(self) -> bool:
        """Whether answers are made here, without a model, so that they cost nothing."""
        return self.kind in ("rules", "scripted")

    @property
    def label(self) -> str:
        """The name that stands in content keys, tables and price look-ups."""
        return self.name or (self.path.stem if self.path else self.kind)


class EndpointSettings(_Section):
    """Where a model of kind `openai` is asked, how patiently, and what its account may be asked.

    The key comes from the environment variable that `api_key_env` names, or from the file `api_key_file`; it is never
    a setting. `concurrency` (calls open at once), `requests_per_minute` and `tokens_per_minute` bound the whole run:
    the shards share the rates as they need them, `concurrency` equally. `timeout_s` is the deadline of one call,
    `retries` how often it is tried again; `outage_s` is how long an endpoint may answer nothing at all (or ask us to
    wait) before the run stops.

    `replicas` names several endpoints that serve the same model, in place of `base_url`. Asks that begin alike go to
    the same one, one that fails is left out until it works again, and limits and budget hold for all together.

    `batch_prompts` above 1 puts up to so many prompts into one request to `/completions`: for servers of one's own
    (vLLM, SGLang, llama.cpp), which batch them. Text goes this way, and choices where their probabilities are read
    (`model.choice_probabilities = true`); what has a schema stays a chat. That path applies no chat template: name the
    form that the model was tuned on in `model.prompt_form`. Concurrency then counts requests; every prompt counts as a
    request to the rates, and pays for itself. Where each agent has its own sample no seed is sent, since a request has
    only one.

    With `share_limits` the rates bound all runs on the account that name the same place: a folder that their machines
    share, an `s3://` address, or `ray`, the cluster of RAY_ADDRESS. See docs/guides/money.md.

    `batches` says whether asks are put in batches, at a lower price and within hours: see `BatchSettings`.
    """

    base_url: str = OPENAI
    api_key_env: str = "OPENAI_API_KEY"
    api_key_file: File | None = None
    concurrency: Count = 64
    requests_per_minute: RequestRate | None = None
    tokens_per_minute: TokenRate | None = None
    timeout_s: PositiveFloat = 60.0
    retries: Annotated[int, Field(ge=0, le=1000)] = 3
    outage_s: PositiveFloat = 300.0
    batch_prompts: Annotated[Count, FORK] = 1
    replicas: Annotated[tuple[Replica, ...], Field(strict=False)] = ()
    share_limits: Annotated[str, Field(min_length=1)] | None = None
    batches: BatchSettings = BatchSettings()

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> EndpointSettings:
        """Several endpoints and one do not go together."""
        _check_addresses(self.replicas, None if self.base_url == OPENAI else self.base_url)
        return self

    @property
    def urls(self) -> list[str]:
        """The addresses of all endpoints, without a slash at the end."""
        return [url.rstrip("/") for url in ([one.base_url for one in self.replicas] or [self.base_url])]

    def of_role(self, own: RoleEndpoint) -> EndpointSettings:
        """These settings with what a role says of its own before them."""
        said = {name: value for name in RoleEndpoint.model_fields if (value := getattr(own, name)) is not None}
        if own.base_url is not None:
            said["replicas"] = ()
        elif own.replicas:
            said["base_url"] = OPENAI
        if own.api_key_env is not None:
            said.setdefault("api_key_file", None)
        return self.model_copy(update=said)


class Price(_Section):
    """What a model costs."""

    usd_per_million_tokens_in: NonNegativeFloat = 0.0
    usd_per_million_tokens_out: NonNegativeFloat = 0.0


class Budget(_Section):
    """What calls cost, and hard ceilings on it for the whole run: the worst case of a call is reserved before it.

    `prices` holds a price for each model, under the model's name. `tokens` counts those in and out together. At a
    ceiling the run saves what it has and stops.

    `experiment_usd` and `experiment_tokens` are ceilings for all runs of an `experiment` together. They need `ledger`,
    a file that those runs share: each reserves there what it may spend, before its first call, and at its end gives
    back what it did not spend. Runs that go side by side need ceilings of their own, or the first reserves all.
    """

    usd: NonNegativeFloat | None = None
    tokens: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    experiment_usd: NonNegativeFloat | None = None
    experiment_tokens: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    ledger: File | None = None
    prices: dict[str, Price] = {}

    @property
    def is_bounded(self) -> bool:
        """Whether any ceiling is set."""
        ceilings = (self.usd, self.tokens, self.experiment_usd, self.experiment_tokens)
        return any(ceiling is not None for ceiling in ceilings)


class Bus(_Section):
    """Bounds on messages, at the sender and at the receiver."""

    body_bytes: Count = 65_536
    sends_per_turn: Count = 10_000
    inbox_messages: Count = 10_000
    frame_bytes: Count = 33_554_432


class LimitSettings(_Section):
    """When a run has failed, and how much it may hold at once.

    `failed_turns` is the share of turns that may end in an exception, over the run so far: above it the run ends.
    `abstained` is the share of asks that may stay without an answer: above it a run continues to its end, and its
    manifest calls it invalid. `live_turns` is how many turns a shard keeps open at once while they wait for the model.
    `ticks_ahead` is how many ticks beyond the open one turns may begin in, where the society declares who may influence
    whom (`Society(influence=...)`); with 0 every tick waits for all of the one before.
    """

    failed_turns: Share = 0.05
    abstained: Share = 0.2
    live_turns: Count = 10_000
    ticks_ahead: Annotated[int, Field(ge=0, lt=2**31), RESUME] = 16


class Record(_Section):
    """What the run's tables hold. `agents` is every agent at every tick (`all`), or only rows that changed."""

    agents: Literal["changed", "all", "none"] = "changed"
    messages: bool = True
    asks: bool = True
    actions: bool = True
    rounds: bool = True
    ties: bool = True
    whereabouts: bool = True


class CheckpointSettings(_Section):
    """When a run is saved at a tick's edge: every so many ticks, or else every so many seconds; `keep` generations.

    What comes after a checkpoint is recomputed from the journal, so a rare one costs time at a resume and no answer.
    `kept_at` names ticks before which one is kept for good, in the run's folder `kept/`: a fork at a later tick begins
    there instead of at tick 0.
    """

    every_ticks: Count | None = None
    every_s: NonNegativeFloat | None = 10.0
    keep: Annotated[int, Field(ge=2)] = 2
    kept_at: Annotated[tuple[Annotated[int, Field(gt=0, lt=2**31)], ...], Field(strict=False)] = ()


class RemoteSettings(_Section):
    """How a run works in a folder in an object store (`--out s3://...`); without one, this changes nothing.

    Answers are uploaded every `upload_every_s` seconds beside the uploads behind checkpoints, so that a lost machine
    loses at most those that came since. None: behind checkpoints only.

    One run at a time owns the folder, by a lease of `lease_s` seconds that it renews three times as often. A run that
    cannot renew in time asks nothing from then on, until it can or another has taken over; whoever takes over one that
    ended without a word waits for that time.
    """

    upload_every_s: PositiveFloat | None = 30.0
    lease_s: Annotated[float, Field(ge=1.0)] = 60.0


class Settings(_Section):
    """Everything about a run but the society.

    `journal` says when an answer is safe before its turn sees it: `process` outlives the process however it ends,
    `machine` a lost machine too (each batch of answers waits for the disk), `off` keeps neither answers nor
    checkpoints, so that the run can't be resumed, replayed or forked.

    `minds` says, by type of agent (or its class) and, where wanted, by purpose, what answers: `model`, `rules`,
    `archetypes`, `surrogate`, or a model role; see `docs/minds.md`. It goes before what classes say.

    `experiment` and `arm` say what the run belongs to: they stand in its manifest and its metrics, so that costs can
    be added up by them, and change nothing of what it does.

    With `until_interactions` the run ends at the first edge of a tick at which so many interactions have been counted
    (messages delivered and actions applied), and `ticks`, where it is set, ends it before that.

    With a `metrics_port` (0: a free one) or `metrics_targets` the run serves its metrics at `metrics_host`, and leaves
    the last ones in its folder as metrics.prom. `metrics_targets` is a folder where a Prometheus looks for the runs
    that there are.
    """

    experiment: Annotated[Label, FORK] = ""
    arm: Annotated[Label, FORK] = ""
    agents: Agents | None = None
    ticks: Annotated[Count | None, FORK] = None
    until_interactions: Annotated[Annotated[int, Field(gt=0)] | None, FORK] = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    shards: Annotated[int, Field(gt=0, le=10_000), RESUME] = 1
    transport: Annotated[Literal["local", "ray"], RESUME] = "local"
    metrics_port: Annotated[Annotated[int, Field(ge=0, le=65535)] | None, RESUME] = None
    metrics_host: Annotated[str, RESUME] = "127.0.0.1"
    metrics_targets: Annotated[str, RESUME] = ""
    log: Annotated[LogSettings, RESUME] = LogSettings()
    traces: Annotated[TraceSettings, RESUME] = TraceSettings()
    model: Annotated[Model, FORK] = Model()
    endpoint: Annotated[EndpointSettings, RESUME] = EndpointSettings()
    budget: Annotated[Budget, RESUME] = Budget()
    bus: Bus = Bus()
    limits: Annotated[LimitSettings, RESUME] = LimitSettings()
    record: Annotated[Record, FORK] = Record()
    checkpoint: Annotated[CheckpointSettings, RESUME] = CheckpointSettings()
    remote: Annotated[RemoteSettings, RESUME] = RemoteSettings()
    journal: Annotated[Literal["process", "machine", "off"], RESUME] = "process"
    society: Annotated[dict[str, Any], FORK] = {}
    minds: Annotated[dict[str, Mind], FORK] = {}
    surrogate: Annotated[SurrogateSettings, FORK] = SurrogateSettings()
    levers: Annotated[tuple[Lever, ...], Field(strict=False), FORK] = ()
    surveys: Annotated[tuple[SurveySettings, ...], Field(strict=False), RESUME] = ()

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Settings:
        """Many prompts in a request need a server of one's own; batches have one endpoint, and chats in them."""
        for role in (DEFAULT_ROLE, *self.model.roles):
            own, at = self.of_role(role), setting_of(role, "endpoint")
            if own.endpoint.batch_prompts > 1 and own.model.kind == "openai" and OPENAI in own.endpoint.urls:
                raise ValueError(
                    f"{at}.batch_prompts = {own.endpoint.batch_prompts} is for servers of your own, and {OPENAI} is "
                    f"none: set {at}.base_url"
                )
            if own.endpoint.batches.on and (own.endpoint.replicas or own.endpoint.batch_prompts > 1):
                raise ValueError(
                    f"{at}.batches.on goes with neither replicas nor batch_prompts: a batch is one endpoint's, and its "
                    f"requests are chats. Set {at}.base_url, and {at}.batch_prompts = 1"
                )
        return self

    def of_role(self, role: str) -> Settings:
        """The settings by which the asks of a model role are put: its own before those of `[model]` and `[endpoint]`.

        A role that they do not name, the default one among them, has those of `[model]`. None of it has roles.
        """
        own = self.model.roles.get(role)
        if own is None:
            return self if not self.model.roles else self.model_copy(update={"model": self._plain_model()})
        said = {name: value for name in RoleSettings.model_fields if (value := getattr(own, name)) is not None}
        del said["endpoint"]
        if said.get("kind", self.model.kind) != self.model.kind:
            said.setdefault("name", "")  # that of a model of another kind is not its own
        return self.model_copy(
            update={"model": self._plain_model(said), "endpoint": self.endpoint.of_role(own.endpoint)}
        )

    def _plain_model(self, changes: Mapping[str, Any] | None = None) -> Model:
        return self.model.model_copy(update={"roles": {}, **(changes or {})})

    @property
    def shows_metrics(self) -> bool:
        """Whether the run shows metrics."""
        return self.metrics_port is not None or bool(self.metrics_targets)

    @property
    def is_measured(self) -> bool:
        """Whether shards count what goes to the model and how they fare, for whoever watches."""
        return self.shows_metrics or bool(self.log.file) or self.traces.wanted

    @property
    def in_batches(self) -> bool:
        """Whether asks of `[model]` go in batches."""
        return self.endpoint.batches.on and self.model.kind == "openai"

    def all_direct(self) -> Settings:
        """These settings with no ask in a batch, of whatever role."""
        off: dict[str, Any] = {"batches": BatchSettings()}
        roles = {
            role: own.model_copy(update={"endpoint": own.endpoint.model_copy(update=off)})
            for role, own in self.model.roles.items()
        }
        endpoint, model = self.endpoint.model_copy(update=off), self.model.model_copy(update={"roles": roles})
        return self.model_copy(update={"endpoint": endpoint, "model": model})

    @property
    def asks_nobody(self) -> bool:
        """Whether no role's answers cost anything: all are made here, without a model."""
        return all(self.of_role(role).model.asks_nobody for role in (DEFAULT_ROLE, *self.model.roles))

    @property
    def writes_prompts(self) -> bool:
        """Whether several prompts go into one request, and so are written here and not by a chat template."""
        return self.endpoint.batch_prompts > 1 and self.model.kind == "openai"

    @property
    def forms(self) -> dict[str, str]:
        """How asks of a kind of answer ('text', 'choice', 'json') are put, where that is not as a chat, as written."""
        forms = dict.fromkeys(("text", "choice", "json"), "")
        if self.writes_prompts:
            forms["text"] = f"completions/{self.model.prompt_form}"
            forms["choice"] = forms["text"] if self.model.choice_probabilities else ""
        if self.model.prompt_order == "shared_first":
            forms = {kind: form + SHARED_FIRST for kind, form in forms.items()}
        return {kind: form for kind, form in forms.items() if form}


def setting_of(role: str, name: str) -> str:
    """Where a setting of the model stands for a role: 'name' or 'endpoint' or 'endpoint.base_url'."""
    if role != DEFAULT_ROLE:
        return f"model.roles.{role}.{name}"
    return name if name.partition(".")[0] == "endpoint" else f"model.{name}"
