"""A pilot of a run, and what it says the whole run will come to: calls, tokens, money and wall time. A shell.

The pilot is a run of few agents and ticks in this process, in a folder that goes when it ends. It asks the model of
the settings, under their ceilings, and costs what it costs; or its answers are scripted and cost nothing: then calls
and tokens in follow from the scenario alone, and tokens out from what the script says. Prices, limits and concurrency
are those of the settings in any case.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final

import msgspec

from populace.agents.types import counts_of, split
from populace.budget.accounts import accounts_of
from populace.budget.prices import rate_of
from populace.cluster.coordinator import Coordinator
from populace.cluster.job import plan_job
from populace.cluster.local import LocalTransport
from populace.cluster.surveying import NO_PROBES, AtEdge
from populace.core.draws import WORLD
from populace.core.errors import PopulaceError, SettingsError
from populace.core.records import DEFAULT_ROLE
from populace.data.societies import Origin, load_society
from populace.models.build import sharing
from populace.monitoring.pace import counted, duration_text
from populace.monitoring.progress import money
from populace.monitoring.report import Observer, Pulse, TickReport
from populace.runs.estimate_probes import ProbesExpected, Sizing
from populace.runs.prediction import Bound, Estimate, Interval, PilotTurn, Plan, Used, extrapolate, part_name
from populace.runs.shown import Shown
from populace.runs.stop import Stop
from populace.settings import Budget, Latency, Model, Record, Settings
from populace.settings.watching import UNWATCHED

AGENTS: Final = 20
TICKS: Final = 6
_COLUMNS: Final = ("agent", "for_type", "purpose", "model_role", "calls", "tokens_in", "tokens_out", "latency_s")
_ALL_AT_ONCE: Final = 10**9
_LARGER: Final = 8
_TOGETHER: Final = 2_000  # agents: a scripted pilot of as many has most archetypes, and takes a moment
_FEW_ASKS: Final = 30


def _whole(value: float) -> str:
    return f"{value:,.0f}"


_SHOWN: Final[tuple[tuple[str, str, Callable[[float], str]], ...]] = (
    ("calls", "calls", _whole), ("tokens in", "tokens_in", _whole), ("tokens out", "tokens_out", _whole),
    ("cost", "usd", money), ("wall time", "wall_s", duration_text),
)  # fmt: skip


class Pilot(msgspec.Struct, frozen=True):
    """What a pilot saw. `turns` holds every agent in every tick, with nothing used where it was not due.

    `latencies_s` has an entry for each ask that was billed; `chains_s` one for each tick: how long the turn that waited
    longest for the model waited; `ticks_s` what each took in all. `cost_usd` is what the pilot cost itself. `born`
    counts agents who were born in it, of whom `turns` holds none. `by_world` counts what the world's parts asked, which
    `turns` holds as dealt out to the agents; so does it what columnar types asked for agents together (`together`).
    """

    agents: int
    ticks: int
    scripted: bool
    turns: list[PilotTurn]
    latencies_s: list[float]
    chains_s: list[float]
    ticks_s: list[float]
    abstained: int
    asks: int
    cost_usd: float
    born: int = 0
    by_world: int = 0
    together: int = 0


class Expected(Shown, msgspec.Struct, frozen=True):
    """What the whole run is expected to come to, with the pilot that says so, and what to know before believing it.

    `probes` is what its surveys come to, apart from that; None where it declares none.
    """

    scenario: str
    model: str
    agents: int
    ticks: int
    pilot: Pilot
    estimate: Estimate
    notes: list[str]
    probes: ProbesExpected | None = None

    def text(self) -> str:
        """What is expected of the whole run, a line a figure, each with its interval."""
        how = "scripted" if self.pilot.scripted else f"with the model, at {money(self.pilot.cost_usd)}"
        pilot = f"{counted(self.pilot.agents, 'agent')} and {counted(self.pilot.ticks, 'tick')} ({how})"
        run = f"{self.scenario}, {counted(self.agents, 'agent')}, {counted(self.ticks, 'tick')}, model {self.model}"
        lines = [f"{run}, by a pilot of {pilot}:"]
        for name, figure, shown in _SHOWN:
            found: Interval = getattr(self.estimate, figure)
            low, mid, high = (shown(value) for value in (found.low, found.mid, found.high))
            lines.append(f"  {name:<10} {mid} ({low} to {high})")
        probes = [] if self.probes is None else [self.probes.text()]
        return "\n".join([*lines, *probes, *self.notes])


class _Clock:
    """Keeps how long each tick took, and its asks."""

    def __init__(self) -> None:
        self.ticks_s: dict[int, float] = {}
        self.asks: list[tuple[int, list[dict[str, Any]]]] = []

    def begin(self, scenario: str, agents: int, ticks: int, shards: int, model: str) -> None:
        """It is the ticks that count."""

    def pulse(self, pulse: Pulse) -> None:
        """Nor does it matter how far a tick has come."""

    def note(self, text: str) -> None:
        """Notes are for persons."""

    def end(self, status: str, manifest: Mapping[str, Any]) -> None:
        """Nothing has to be closed."""

    def tick(self, report: TickReport) -> None:
        """Keep it; the report after the last tick is of no tick."""
        if report.tick not in self.ticks_s:
            of_tick = (took_s for stage, took_s in report.stages_s.items() if stage != "checkpoint")
            self.ticks_s[report.tick] = math.fsum(of_tick)
            self.asks.append((report.tick - 1, report.asks))


def expect(
    origin: Origin,
    settings: Settings,
    *,
    agents: int = AGENTS,
    ticks: int = TICKS,
    scripted: bool = False,
    confidence: float = 0.9,
    out: Path | None = None,
    observers: Sequence[Observer] = (),
    stop: Stop | None = None,
) -> Expected:
    """Play a pilot of `agents` and `ticks` (no more than the run has) and say what the whole run will come to.

    With `out` the pilot's folder is kept there; from another thread, `stop` ends it. Raises SettingsError for a pilot
    or a confidence that says nothing, and what ends a run early.
    """
    if agents < 2 or ticks < 1 or not 0.0 < confidence < 1.0:
        raise SettingsError(
            "a pilot needs two agents or more, to tell how unlike they are, and a tick; its confidence is between 0 "
            f"and 1. Given were {agents} agents, {ticks} ticks and {confidence:g}."
        )
    if settings.until_interactions is not None and settings.ticks is None:
        raise SettingsError("until_interactions ends this run, after no one knows how many ticks: set ticks, too")
    job = plan_job(origin, settings)
    settings = job.read_settings()
    if job.agents < 2:
        raise SettingsError("a run of one agent cannot be estimated from a pilot: it would be the run itself.")
    agents = max(agents, sum(count > 0 for count in job.counts.values()))
    society, ticks = job.society(), min(ticks, job.ticks)
    minded = job.read_settings()
    sizing = Sizing(society, minded, ticks, job.ticks)
    pilot = play(origin, settings, min(agents, job.agents), ticks, scripted, out, observers, stop, sizing)
    plan = plan_of(settings, job.agents, job.ticks, pilot)
    shares = shares_of(origin, settings, pilot, job.agents)
    guess = extrapolate(pilot.turns, msgspec.structs.replace(plan, shares=shares), confidence)
    notes = [*_few_asks(pilot, job.agents), *_notes(settings, pilot, guess), *guess.notes]
    if shares:
        notes.append(f"Does not grow in proportion to the agents, by two scripted sizes: {', '.join(sorted(shares))}.")
    probes = sizing.expected(minded, job.agents, job.counts)
    return Expected(society.name, settings.model.label, job.agents, job.ticks, pilot, guess, notes, probes)


def shares_of(origin: Origin, settings: Settings, pilot: Pilot, agents: int) -> dict[str, float]:
    """The purposes of which a run of so many agents does not ask in proportion to them: see `Plan.shares`.

    Two scripted pilots, which cost nothing, are compared: one as large as the pilot, one eight times as large (or as
    the run). Where agents ask together larger ones follow, until more agents are hardly more archetypes. A purpose
    whose calls grow less than by the square root of the agents, that is nearer to not at all than to in proportion, is
    taken to grow on a line through the largest two.
    """
    sizes = [pilot.agents]
    while sizes[-1] < agents and (len(sizes) == 1 or (pilot.together and sizes[-1] < _TOGETHER)):
        sizes.append(min(agents, _LARGER * sizes[-1]))
    if len(sizes) == 1:
        return {}
    try:
        seen = [_calls(play(origin, settings, size, pilot.ticks, scripted=True).turns) for size in sizes]
    except PopulaceError:  # a society that cannot be played so tells nothing of itself
        return {}
    (small, large), (few, many) = sizes[-2:], seen[-2:]
    shares = {}
    for purpose, first in seen[0].items():
        calls = max(few.get(purpose, 0), first)
        more = max(many.get(purpose, 0), calls)
        if more < calls * math.sqrt(large / small):
            each = (more - calls) / (large - small)
            shares[purpose] = (calls + each * (agents - small)) * pilot.agents / (first * agents)
    return shares


def _calls(turns: Sequence[PilotTurn]) -> Counter[str]:
    calls: Counter[str] = Counter()
    for turn in turns:
        for purpose, used in turn.used.items():
            calls[purpose] += used.calls
    return calls


def play(
    origin: Origin,
    settings: Settings,
    agents: int,
    ticks: int,
    scripted: bool,
    out: Path | None = None,
    observers: Sequence[Observer] = (),
    stop: Stop | None = None,
    probe: AtEdge = NO_PROBES,
) -> Pilot:
    """Play a pilot; its folder goes when it ends, unless `out` says where it is to stay. It asks no survey."""
    clock = _Clock()
    with tempfile.TemporaryDirectory(prefix="populace-pilot-") as place:
        folder = Path(place) / "run" if out is None else out
        society = load_society(origin)
        size: int | dict[str, int] = agents
        if society.types:
            size = split(agents, counts_of(society, settings.agents))
        settings = pilot_settings(settings, size, ticks, scripted)
        coordinator = Coordinator(origin, settings, LocalTransport(), folder, (*observers, clock), probe=probe)
        manifest = asyncio.run((stop or Stop()).played(coordinator))
    used, latencies_s, chains_s, by_world, together = _used(clock.asks, agents)
    turns = [PilotTurn(agent, tick, used.get((agent, tick), {})) for tick in range(ticks) for agent in range(agents)]
    asks = manifest["asks"]
    scripted = settings.asks_nobody
    ticks_s = list(clock.ticks_s.values())
    figures = asks["abstained"], asks["made"], manifest["cost_usd"]
    return Pilot(
        agents,
        ticks,
        scripted,
        turns,
        latencies_s,
        chains_s,
        ticks_s,
        *figures,
        manifest.get("born", 0),
        by_world,
        together,
    )


def pilot_settings(settings: Settings, agents: int | dict[str, int], ticks: int, scripted: bool) -> Settings:
    """The settings of a pilot: one shard, no cache (it would hide costs), no batches, no journal, no levers."""
    settings = settings.all_direct()
    model: dict[str, Any] = {"cache": None}
    changes: dict[str, Any] = {}
    if scripted or settings.asks_nobody:
        model |= {"kind": settings.model.kind if settings.model.asks_nobody else "scripted", "latency": Latency()}
        kinds = {role: settings.of_role(role).model for role in settings.model.roles}
        model["roles"] = {
            role: own.model_copy(update={"kind": kinds[role].kind if kinds[role].asks_nobody else "scripted"})
            for role, own in settings.model.roles.items()
        }
        changes["budget"] = Budget()
    changes |= {"agents": agents, "ticks": ticks, "shards": 1, "transport": "local", "journal": "off", "levers": ()}
    changes |= {
        "until_interactions": None,
        **UNWATCHED,
        "record": Record(agents="none", messages=False, asks=True),
    }
    changes["model"] = settings.model.model_copy(update=model)
    return settings.model_copy(update=changes)


def plan_of(settings: Settings, agents: int, ticks: int, pilot: Pilot) -> Plan:
    """The whole run, as the estimate takes it: on the settings' prices and limits, at the latency that was seen."""
    model = settings.model
    endpoint = settings.endpoint
    limits = (None, None) if settings.asks_nobody else (endpoint.requests_per_minute, endpoint.tokens_per_minute)
    latency_s, low_s, high_s, chain_s = _latency(model, pilot)
    own_s = [max(0.0, a - b) for a, b in zip(pilot.ticks_s, pilot.chains_s, strict=True)]
    larger = agents / pilot.agents
    return Plan(
        turns=float(agents * ticks),
        ticks=ticks,
        rate=rate_of(settings),
        concurrency=_concurrency(settings),
        latency_s=latency_s,
        requests_per_minute=limits[0],
        tokens_per_minute=limits[1],
        agents=agents,
        latency_low_s=low_s,
        latency_high_s=high_s,
        chain_s=chain_s,
        # A part of a small tick does not grow with the agents; all of it or none of it are the ends.
        tick_s=Interval(min(own_s), median(own_s) * larger, max(own_s) * larger),
        rates={role: rate_of(settings.of_role(role)) for role in settings.model.roles},
        bounds=_bounds(settings) if settings.model.roles else (),
    )


def _latency(model: Model, pilot: Pilot) -> tuple[float, float, float, Interval | None]:
    """Mean latency of a call, with ends; and a tick's longest wait. A scripted pilot tells neither."""
    if pilot.scripted:
        mean_s = model.latency.median_s * math.exp(model.latency.sigma**2 / 2)
        return mean_s, mean_s, mean_s, None
    if not pilot.latencies_s:
        return 0.0, 0.0, 0.0, None
    mean_s = fmean(pilot.latencies_s)
    seen_s = sorted(pilot.latencies_s)
    # The middle half of what was seen: a provider's latency moves with the hour more than a pilot can tell.
    low_s, high_s = seen_s[len(seen_s) // 4], seen_s[(3 * len(seen_s)) // 4]
    chain_s = Interval(min(pilot.chains_s), fmean(pilot.chains_s), max(pilot.chains_s))
    return mean_s, min(mean_s, low_s), max(mean_s, high_s), chain_s


def _concurrency(settings: Settings) -> int:
    match settings.model.kind:
        case "rules" | "scripted":
            return _ALL_AT_ONCE
        case "embedded":
            return 1
    return settings.endpoint.concurrency


def _bounds(settings: Settings) -> list[Bound]:
    """What bounds the calls of which model roles: open at once, and by the limits of their accounts.

    Roles that the settings do not name are the default one's, and so is what they are bounded by.
    """

    def named(roles: Sequence[str]) -> tuple[str, ...]:
        return tuple("" if role == DEFAULT_ROLE else role for role in roles)

    bounds = [Bound(named(roles), _concurrency(settings.of_role(roles[0]))) for roles in sharing(settings)]
    for account in accounts_of(settings):
        limits = account.requests_per_minute, account.tokens_per_minute
        bounds.append(Bound(named(account.roles), None, *(None if math.isinf(one) else one for one in limits)))
    return bounds


def _used(
    ticks: Sequence[tuple[int, list[dict[str, Any]]]], agents: int
) -> tuple[dict[tuple[int, int], dict[str, Used]], list[float], list[float], int, int]:
    """What each agent's turn used by purpose and model role; the latencies of billed asks; each tick's longest wait.

    What the world asks as a tick ends is dealt out to the agents' turns of that tick, as if it grew with their number,
    and so is what columnar types ask for agents together; the last figures say how often both asked.
    """
    by_world = together = 0
    used: dict[tuple[int, int], dict[str, Used]] = defaultdict(dict)
    latencies_s: list[float] = []
    chains_s = []
    for tick, shards in ticks:
        waited_s: dict[int, float] = defaultdict(float)
        world_s, dealt = 0.0, 0
        for asks in shards:
            columns = [asks[name] for name in _COLUMNS]
            for agent, of, purpose, role, calls, tokens_in, tokens_out, latency_s in zip(*columns, strict=True):
                payer, name = agent, part_name(purpose, role)
                if agent == WORLD:
                    payer, dealt, world_s = dealt % agents, dealt + 1, max(world_s, latency_s)
                    together += bool(of)
                else:
                    waited_s[agent] += latency_s
                turn = used[payer, tick]
                before = turn.get(name, Used())
                turn[name] = Used(
                    before.calls + calls, before.tokens_in + tokens_in, before.tokens_out + tokens_out, role
                )
                if calls:
                    latencies_s.append(latency_s / calls)
        chains_s.append(max(waited_s.values(), default=0.0) + world_s)
        by_world += dealt
    return used, latencies_s, chains_s, by_world - together, together


def _few_asks(pilot: Pilot, agents: int) -> list[str]:
    """That a pilot of which hardly an agent was due tells little, and how large one would tell more."""
    if pilot.asks >= _FEW_ASKS or pilot.by_world or pilot.together or pilot.agents >= agents:
        return []
    enough = min(agents, pilot.agents * (math.ceil(100 / pilot.asks) if pilot.asks else 100))
    more = f"Play a larger pilot: --pilot-agents {enough} (pilot_agents={enough} from Python)."
    if pilot.asks:
        return [f"The pilot asked {counted(pilot.asks, 'time')} only: so few say little of a larger run. {more}"]
    seen = (
        f"where few of the agents are due in a tick, {pilot.agents:,} are too few to tell, and the zeros are no bound"
    )
    return [f"The pilot asked nothing, so nothing is known of what asks cost: {seen}. {more}"]


def _notes(settings: Settings, pilot: Pilot, guess: Estimate) -> list[str]:
    notes = []
    model = settings.model
    if pilot.scripted and not settings.asks_nobody:
        most = guess.calls.high * model.max_tokens
        notes.append(
            "The pilot's answers were scripted, so tokens out are those of the script, and what agents do with other "
            f"answers is not in it. A model that always writes model.max_tokens would write {most:,.0f} tokens."
        )
        if not model.latency.median_s:
            notes.append(
                "A scripted pilot knows no latency: the time leaves the model out but for its limits per minute. Set "
                "model.latency.median_s to what the endpoint takes, or play the pilot with the model."
            )
    if settings != settings.all_direct():
        notes.append(
            "Asks go in batches, and the wall time is that of direct calls. A tick waits for as many batches as a turn "
            "asks one after another, each of minutes to a day: see docs/models.md."
        )
    if pilot.abstained * 10 > pilot.asks:
        notes.append(f"{pilot.abstained:,} of the pilot's {pilot.asks:,} asks have no answer: see to that first.")
    if pilot.by_world:
        notes.append(
            f"The world's parts asked {pilot.by_world:,} times in the pilot: that is taken to grow with the agents."
        )
    if pilot.together:
        notes.append(
            f"Columnar types asked {pilot.together:,} times for agents together in the pilot. Among more agents there "
            "are more archetypes, until all are there: they are taken to grow on a line, which is rather too many."
        )
    if pilot.born:
        notes.append(f"In the pilot {pilot.born:,} agents were born: what such will cost is not in the estimate.")
    if settings.levers:
        notes.append("The pilot was played without the levers.")
    if model.sampling == "shared" or model.cache is not None:
        notes.append("Answers that the run shares or finds in model.cache cost less than the pilot says.")
    return notes
