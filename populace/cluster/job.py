"""Builds a run's pieces from plain data, the same in every process: a job says all that a shard has to know."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from populace.agents.agent import Agent, public_fields, sets_in_turn
from populace.agents.columnar import ColumnarAgent
from populace.agents.context import Scope, Terms
from populace.agents.population import Population, check_columns, make_agents, make_columns, make_newborns
from populace.agents.society import Setup, Society
from populace.agents.types import activation_of, counts_of, split
from populace.budget.amounts import NOTHING, Amount
from populace.cluster.early import declared_influence, ticks_ahead
from populace.cluster.parts import ShardPart, own_columns
from populace.cluster.wire import pack
from populace.core.draws import Draws
from populace.core.errors import PopulaceError, ScenarioError, SettingsError
from populace.core.places import defined_at, raised_at
from populace.core.records import DEFAULT_ROLE
from populace.core.roster import ONE, Roster
from populace.core.tables import PART_TABLES, TABLES
from populace.core.trace import TRACE_VERSION
from populace.data.societies import Origin, load_society, renew
from populace.env import Opening, World
from populace.env.turnover import Newborn
from populace.interventions.at_work import NO_LEVERS, Levers
from populace.interventions.groups import Members, Membership
from populace.interventions.levers import SetLever, label_of
from populace.interventions.resolve import check_ticks, resolve_levers
from populace.kernel.barrier import MOST_TICKS
from populace.kernel.environment import Environment
from populace.kernel.influence import Influence
from populace.kernel.plan import Hosted, ShardPlan
from populace.kernel.residents import NOBODY
from populace.kernel.shard import Shard
from populace.kernel.snapshot import Era, Past
from populace.kernel.trial import kept_copy
from populace.models.batch_record import BatchLog, Unkept
from populace.models.build import check_model
from populace.models.dialect import EndpointForm
from populace.settings import Settings
from populace.settings.minds import plain_minds, policy_of, with_minds
from populace.store.journal.batches import KeptBatches
from populace.store.journal.recording import open_journal
from populace.store.journal.write import Journal
from populace.store.remote.lease import Ticket

_SKETCHED_AGENTS: Final = 100


class Job(msgspec.Struct, frozen=True):
    """A run, as plain data: where its society comes from, its settings as JSON, and where its model answers.

    `agents` (`counts` by type) and `ticks` are what settings and society came to. It holds no secret: a process reads
    the model's key from its own environment. `attempt` counts the times that it was taken up; answers go to the folder
    `journal` under the name `run`, and are first looked up in `pasts`; a `replay` calls no model. `spent` is what the
    model had cost before. `eras` are those of a fork's past. `trace_version` is the run's, see `core.trace`. `forms` is
    what has been learnt of the model's endpoints. `lease` is that under which it may ask, where its folder is remote.
    """

    origin: str
    source: str | None
    settings: str
    agents: int
    counts: dict[str, int]
    ticks: int
    base_url: str | None = None
    spent: Amount = NOTHING
    run: str = ""
    attempt: int = 0
    journal: str | None = None
    pasts: list[Past] = []
    eras: list[Era] = []
    replay: bool = False
    trace_version: int = TRACE_VERSION
    forms: dict[str, EndpointForm] = {}
    lease: Ticket | None = None

    def society(self) -> Society:
        """The society. Raises ScenarioError."""
        return load_society(Origin(self.origin, self.source))

    def read_settings(self) -> Settings:
        """The settings."""
        return Settings.model_validate_json(self.settings)


def plan_job(origin: Origin, settings: Settings, *, whole: bool = True, trace_version: int = TRACE_VERSION) -> Job:
    """The job of a run, its settings with the minds of the society's agents worked out (`settings.minds`).

    Raises ScenarioError and SettingsError for what could not run.

    Where levers are to be checked, population and world are built for it. Unless the run is `whole` it is a replay: it
    asks no model, and levers may take effect after its end.
    """
    renew(origin)
    society = load_society(origin)
    society.with_parameters(settings.society)
    settings = with_minds(settings, society.classes)
    roles = (DEFAULT_ROLE, *settings.model.roles)
    if whole and not society.rules and any(settings.of_role(role).model.kind == "rules" for role in roles):
        raise ScenarioError(
            f"{origin.name}: the society has no rules that could answer: declare them by purpose, "
            "Society(rules={'opinion': rule}) with `def rule(facts, draw)`, or choose another model.kind. "
            "A society that asks nothing runs on `--model scripted`."
        )
    if whole:
        check_model(settings)
    counts = counts_of(society, settings.agents)
    job = Job(
        origin=origin.name,
        source=origin.source,
        settings=settings.model_dump_json(),
        agents=sum(counts.values()),
        counts=counts,
        ticks=settings.ticks or (society.ticks if settings.until_interactions is None else MOST_TICKS),
        trace_version=trace_version,
    )
    if settings.levers:
        if whole:
            check_ticks(settings.levers, job.ticks)
        build_run(job).environment.rehearse()
    return job


def lever_notes(job: Job) -> list[str]:
    """What to know of a run's levers: those that set a parameter from which the society is built, and so cannot undo.

    A small population and world are built once as the settings say, and once for each parameter with a lever's value.
    Raises ScenarioError where a part keeps such a parameter, so that the lever would not reach it.
    """
    settings = job.read_settings()
    sets = [(label_of(lever, at), lever.set) for at, lever in enumerate(settings.levers) if isinstance(lever, SetLever)]
    moved = [(label, key.removeprefix("society."), value) for label, values in sets for key, value in values.items()
             if key.startswith("society.")]  # fmt: skip
    if not moved:
        return []
    usual, world = _sketch(job, settings, {})
    notes = []
    for label, name, value in moved:
        built, other = _sketch(job, settings, {name: value})
        if world is not None and other is not None and job.trace_version > 1:
            before, after = (getattr(one.parameters, name) for one in (world, other))
            where = None if before == after else kept_copy(world, other, before, after)
            if where is not None:
                raise ScenarioError(
                    f"lever {label!r}: {where}, keeps society.{name} as it was when the world was built, so the lever "
                    f"would not reach it. Read `self.world.parameters.{name}` where it is used, or make the attribute "
                    "`settable` and have the lever set that of the part."
                )
        if usual is not None and built != usual:
            notes.append(
                f"lever {label!r}: society.{name} shapes what population(setup) and world(setup, people) build, and "
                "that stays as it was built; the lever changes only what turns and parts read of it."
            )
    return notes


def _sketch(job: Job, settings: Settings, changes: dict[str, Any]) -> tuple[bytes | None, World | None]:
    """A small society as it is built with these parameters, packed, and its world; None where it cannot be built."""
    other = settings.model_copy(update={"society": settings.society | changes, "levers": ()})
    agents = max(min(job.agents, _SKETCHED_AGENTS), sum(count > 0 for count in job.counts.values()))
    counts = split(agents, job.counts)
    small = msgspec.structs.replace(job, agents=agents, counts=counts, settings=other.model_dump_json(), attempt=0)
    try:
        built = build_run(small)
        world = built.environment.world
        return pack(({of: one.columns for of, one in built.people.items()}, world.state())), world
    except (PopulaceError, TypeError):
        return None, None


def job_journal(job: Job, shard: int) -> Journal | None:
    """A new journal for a shard of this job; None where nothing is to be put on record. Raises StorageError."""
    policy = job.read_settings().journal
    if job.journal is None or policy == "off":
        return None
    return open_journal(job.journal, run=job.run, shard=shard, attempt=job.attempt, policy=policy)


def job_batches(job: Job, shard: int) -> BatchLog:
    """Where a shard of this job writes down which batches are out: nowhere, where it keeps no journal."""
    writer = f"s{shard:04}-a{job.attempt:04}"
    if job.journal is None or job.read_settings().journal == "off":
        return Unkept(job.run, writer)
    return KeptBatches(job.journal, run=job.run, shard=shard, attempt=job.attempt)


class Built:
    """A run's populations by type and its world, built once: its environment service, and what each shard is given."""

    def __init__(
        self,
        environment: Environment,
        people: dict[str, Population],
        society: Society,
        members: list[Members],
        influence: Influence | None = None,
    ) -> None:
        self.environment = environment
        self.people = people
        self._influence = influence
        self._society = society
        self._members = members

    def part(self, index: int, shards: int) -> ShardPart:
        """What shard `index` of `shards` is given. Raises ScenarioError, naming the column, for what cannot travel."""
        world, columns, first = self.environment.world, {}, 0
        for of, kind in self._society.classes.items():
            columns[of] = own_columns(self.people[of], kind.__struct_fields__, index, shards, first)
            first += len(self.people[of])
        return ShardPart(
            columns=columns,
            actions=sorted(world.actions),
            queries=sorted(world.queries),
            observes=self.environment.observes,
            rounds=[part.name for part in world.exchanging],
            members=self._members,
            influence=self._influence,
        )


def build_run(job: Job) -> Built:
    """The population, and the environment service with its world opened. Raises ScenarioError."""
    society, settings = job.society(), job.read_settings()
    setup, people = people_of(job)
    columns = {of: {**one.columns, **_defaults(society, of, one)} for of, one in people.items()}
    fields = {of: public_fields(kind) for of, kind in society.classes.items()}
    membership = Membership(settings.levers, columns, Roster(job.counts), settings.seed)
    members = membership.at_start
    ahead, _ = ticks_ahead(society, settings, job.trace_version)
    influences: list[Influence | None] = []

    def anew() -> Environment:
        world = _world(society, setup, people)
        levers = _levers(job, members, world)
        world.open(
            Opening(
                agents=job.agents,
                seed=settings.seed,
                tick_seconds=society.tick_seconds,
                parameters=setup.parameters,
                columns=columns if society.types else columns[ONE],
                draw=Draws(settings.seed),
                fields=fields if society.types else fields[ONE],
                counts=job.counts if society.types else {},
                newborn=_newborn(society, people),
            )
        )
        _refuse_blocks(levers, world)
        influences.append(declared_influence(society, settings, world, ahead=ahead))
        return Environment(
            world, society.outcomes, shards=settings.shards, frame_bytes=settings.bus.frame_bytes,
            attempt=job.attempt, levers=levers, membership=membership if settings.levers else None,
            record_actions=settings.record.actions, record_asks=settings.record.asks,
            record_rounds=settings.record.rounds, part_tables=_part_tables(settings), trace_version=job.trace_version,
            scope=_scope(job, society, settings, world.actions, world.queries), eras=job.eras,
        )  # fmt: skip

    try:
        environment = anew()
    except ScenarioError:
        for of, one in people.items():
            _agents(society, of, one.columns, range(len(one)))  # which names a row that fits no agent
        raise
    if job.trace_version > 1:
        environment.anew = anew
        environment.try_parts()
    return Built(environment, people, society, members, influences[0])


def build_shard(job: Job, index: int, part: ShardPart) -> Shard:
    """Shard `index` with its agents, from its part of the run. Raises ScenarioError."""
    society, settings = job.society(), job.read_settings()
    plan = ShardPlan(
        index=index,
        shards=settings.shards,
        attempt=job.attempt,
        observes=part.observes,
        live_turns=settings.limits.live_turns,
        inbox_messages=settings.bus.inbox_messages,
        frame_bytes=settings.bus.frame_bytes,
        record_messages=settings.record.messages,
        record_asks=settings.record.asks,
        eras=tuple(job.eras),
        saved=job.journal is not None,
        rounds=bool(part.rounds),
        trace_version=job.trace_version,
        influence=part.influence,
        ahead=ticks_ahead(society, settings, job.trace_version)[0],
        ticks=job.ticks,
    )
    scope = _scope(job, society, settings, part.actions, part.queries, part.rounds)
    if job.trace_version > 1 and sys.flags.hash_randomization:
        _refuse_sets(society)
    roster = Roster(job.counts)
    scope = msgspec.structs.replace(scope, model_roles=society.model_roles, roster=roster)
    agents: list[Agent] = []
    types = {}
    for of, kind in society.classes.items():
        ids = roster.own(of, index, settings.shards)
        rows = roster.places(ids).tolist()
        columns = None
        if issubclass(kind, ColumnarAgent):
            columns = make_columns(kind, part.columns[of], rows)
            agents += [NOBODY] * len(rows)
        else:
            agents += _agents(society, of, part.columns[of], rows)
        types[of] = Hosted(kind, public_fields(kind), activation_of(society, of), columns)
    return Shard(plan, scope, agents, types, _levers(job, part.members, None), roster)


def _part_tables(settings: Settings) -> tuple[str, ...]:
    """The tables of parts that the settings have kept."""
    return tuple(name for name in PART_TABLES if getattr(settings.record, str(TABLES[name].record)))


def _scope(
    job: Job,
    society: Society,
    settings: Settings,
    actions: Iterable[str],
    queries: Iterable[str],
    rounds: Iterable[str] = (),
) -> Scope:
    """What turns, and parts that ask, read of the run."""
    return Scope(
        seed=settings.seed,
        tick_seconds=society.tick_seconds,
        parameters=society.with_parameters(settings.society),
        population=job.agents,
        model=settings.model.label,
        max_tokens=settings.model.max_tokens,
        temperature=settings.model.temperature,
        body_bytes=settings.bus.body_bytes,
        sends_per_turn=settings.bus.sends_per_turn,
        actions=frozenset(actions),
        queries=frozenset(queries),
        rounds=frozenset(rounds),
        forms=settings.of_role(DEFAULT_ROLE).forms,
        by_rules=settings.model.kind == "rules",
        roles={role: terms_of(settings.of_role(role)) for role in settings.model.roles},
        minds=plain_minds(settings),
        surrogate=policy_of(settings),
    )


def terms_of(settings: Settings) -> Terms:
    """How asks are put by these settings, which are those of a role (`Settings.of_role`)."""
    model = settings.model
    return Terms(model.label, model.max_tokens, model.temperature, settings.forms, model.kind == "rules")


def _refuse_sets(society: Society) -> None:
    """Raise ScenarioError where a turn makes a plain set: the order of its text differs from process to process."""
    for where in filter(None, map(sets_in_turn, society.classes.values())):
        raise ScenarioError(
            f"{where}: a turn makes a set, and Python orders a set of text at random in each process. Start Python "
            "with PYTHONHASHSEED=0, as the command line does, or make an OrderedSet, which is read in the order of its "
            "elements: `from populace import OrderedSet`."
        )


def people_of(job: Job) -> tuple[Setup, dict[str, Population]]:
    """What populations and world are made from, and the populations, of each type."""
    society, settings = job.society(), job.read_settings()
    parameters = society.with_parameters(settings.society)
    counts = job.counts if society.types else {}
    setup = Setup(job.agents, settings.seed, parameters, society.tick_seconds, counts)
    given = _call("population", society.population, setup)
    where = f"{defined_at(society.population)}: population(setup)"
    people = _populations(society, given, job.counts, where) if society.types else {ONE: given}
    for of, one in people.items():
        wanted = f"setup.count({of!r})" if society.types else "setup.agents"
        if not isinstance(one, Population) or len(one) != job.counts[of]:
            has = str(len(one)) if isinstance(one, Population) else _given(one)
            whose = f" for {of!r}" if society.types else ""
            raise ScenarioError(f"{where} must give a Population of {wanted} = {job.counts[of]}{whose}, not {has}")
        if job.trace_version > 1:
            try:
                check_columns(society.classes[of], one)
            except ScenarioError as error:
                raise ScenarioError(f"{defined_at(society.population)}: {error}") from None
    return setup, people


def _populations(society: Society, given: Any, counts: Mapping[str, int], where: str) -> dict[str, Any]:
    """The populations of a society with types; of a type that is left out, one without columns."""
    names = ", ".join(f'"{name}": Population(...)' for name in society.types)
    if not isinstance(given, Mapping):
        raise ScenarioError(f"{where} must give a Population for each type, {{{names}}}, not {_given(given)}")
    for name in given:
        if name not in society.types:
            raise ScenarioError(f"{where} gives {name!r}, which is no type of agents; there are {{{names}}}")
    return {name: given.get(name, Population.of_defaults(counts[name])) for name in society.types}


def _agents(society: Society, of: str, columns: Mapping[str, Sequence[Any]], rows: Sequence[int]) -> list[Agent]:
    try:
        return make_agents(society.classes[of], columns, rows)
    except ScenarioError as error:
        raise ScenarioError(f"{defined_at(society.population)}: {error}") from None


def _newborn(society: Society, people: Mapping[str, Population]) -> Newborn:
    """What tries agents who are to be born, and gives their public fields."""

    def newborn(of: str, columns: dict[str, list[Any]], ids: list[int]) -> dict[str, list[Any]]:
        kind = society.classes[of]
        agents = make_newborns(kind, columns, ids, people[of].extra)
        return {name: [getattr(agent, name) for agent in agents] for name in public_fields(kind)}

    return newborn


def _given(value: Any) -> str:
    return "NoneType: is a `return` missing?" if value is None else type(value).__name__


def _levers(job: Job, members: Sequence[Members], world: World | None) -> Levers:
    """The levers of the run, resolved for its world, or for a shard (None)."""
    settings = job.read_settings()
    if not settings.levers:
        return NO_LEVERS
    society = job.society()
    return resolve_levers(
        settings.levers,
        members,
        society=society,
        settable=None if world is None else world.settable,
        values=settings.society,
        roster=Roster(job.counts),
        body_bytes=settings.bus.body_bytes,
    )


def _refuse_blocks(levers: Levers, world: World) -> None:
    """Raise SettingsError for a lever that blocks where members of a part's rounds would hear one another anyway."""
    deaf = [part for part in world.exchanging if not part.heeds_blocks]
    if levers.blocks and deaf:
        raise SettingsError(
            f"lever {levers.blocks[0]!r}: block keeps mail back, and the part '{deaf[0].name}' holds rounds, in which "
            "the blocked would still hear one another. Where its `round` gives each member `now.reaching(agent)` only, "
            "say so with `heeds_blocks = True` in the part; else use another lever."
        )


def _world(society: Society, setup: Setup, people: dict[str, Population]) -> World:
    world = _call("world", society.world, setup, people if society.types else people[ONE])
    if not isinstance(world, World):
        raise ScenarioError(f"{defined_at(society.world)}: world(setup, people) must give a World, not {_given(world)}")
    return world


def _call(name: str, function: Any, *args: Any) -> Any:
    try:
        return function(*args)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        what = str(error) if isinstance(error, ScenarioError) else f"{type(error).__name__}: {error}"
        raise ScenarioError(f"{raised_at(error, function)}: {name}: {what}") from error


def _defaults(society: Society, of: str, people: Population) -> dict[str, list[Any]]:
    """Columns of the public fields that the population of a type leaves to their defaults."""
    missing = [name for name in public_fields(society.classes[of]) if name not in people.columns]
    if not missing:
        return {}
    kind = society.classes[of]
    defaults = {one.name: one.default for one in msgspec.structs.fields(kind)}
    if hasattr(kind, "__post_init__") or any(defaults[name] is msgspec.NODEFAULT for name in missing):
        agents = _agents(society, of, people.columns, range(len(people)))
        return {name: [getattr(agent, name) for agent in agents] for name in missing}
    return {name: [defaults[name]] * len(people) for name in missing}
