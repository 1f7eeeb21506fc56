"""What there is to see of a run: every metric, with its name, its help, its labels.

No label carries an agent's id: how many series there are does not depend on how many agents there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from populace.core.records import LATENCY_BUCKETS_S, Counts, Purpose
from populace.core.traffic import RETRIED, WAITING_BUCKETS_S, Traffic
from populace.monitoring.metrics.seen import STAGE_BUCKETS_S, Seen

MOST_VALUES: Final = 20
"""Values of one label whose words a society chooses (purposes, reasons); later ones are `other`."""
OTHER: Final = "other"


def families(seen: Seen) -> Iterator[Metric]:
    """Everything that is shown of a run."""
    total = seen.total
    info = {"scenario": seen.scenario, "model": seen.model, **seen.labels}
    yield InfoMetricFamily("populace_run", "The run that this page is about.", info)
    yield GaugeMetricFamily("populace_agents", "Agents in the society.", seen.agents)
    yield GaugeMetricFamily("populace_shards", "Shards that host the agents.", seen.shards)
    yield GaugeMetricFamily("populace_ticks_planned", "Ticks that the run is to have.", seen.ticks)
    yield GaugeMetricFamily("populace_tick", "Ticks completed.", seen.tick)
    yield GaugeMetricFamily("populace_asks_in_flight", "Asks that are with the model now.", seen.asks_in_flight)
    yield GaugeMetricFamily("populace_asks_waiting", "Asks that wait for a permit now.", seen.asks_waiting)
    yield _gauges(
        "populace_outcome",
        "Outcomes of the society as of the last tick.",
        "name",
        seen.outcomes,
    )

    yield CounterMetricFamily("populace_turns", "Turns taken, failed ones among them.", total.turns)
    yield CounterMetricFamily("populace_turns_failed", "Turns ended by an exception.", total.turns_failed)
    fates = {
        "sent": total.sent,
        "delivered": total.delivered,
        "expired": total.expired,
        "refused": sum(total.refused.values()),
    }
    yield _counters("populace_messages", "Messages sent, and by how they ended.", "fate", fates)
    yield _counters("populace_messages_refused", "Messages refused, by reason.", "reason", total.refused)
    actions = {"taken": total.acted, "applied": total.applied, "refused": sum(total.acts_refused.values())}
    yield _counters("populace_actions", "Actions taken, and by how they ended.", "fate", actions)
    yield _counters("populace_actions_refused", "Actions refused, by reason.", "reason", _few(total.acts_refused))

    yield CounterMetricFamily("populace_rounds", "Rounds that parts of the world held within ticks.", total.rounds)
    said = {"made": total.said, "heard": total.heard, "closed": sum(total.unheard.values())}
    yield _counters("populace_contributions", "Contributions to rounds, and by how they ended.", "fate", said)
    yield _counters(
        "populace_contributions_closed", "Contributions that no round took, by reason.", "reason", _few(total.unheard)
    )

    yield CounterMetricFamily("populace_asks_made", "Questions put to the model stack.", total.asked)
    outcomes = {
        "answered": total.answered,
        "cached": total.cached,
        "replayed": total.replayed,
        "surrogate": total.surrogate,
        "abstained": sum(total.abstained.values()),
    }
    yield _counters("populace_asks", "Asks ended, by how they ended.", "outcome", outcomes)
    yield _counters("populace_asks_abstained", "Asks without a usable answer, by reason.", "reason", total.abstained)
    yield CounterMetricFamily("populace_calls_billed", "Model calls billed, repairs and retries included.", total.calls)
    tokens = {"in": total.tokens_in, "out": total.tokens_out}
    yield _counters("populace_tokens", "Tokens billed, by direction.", "direction", tokens)
    yield CounterMetricFamily("populace_cost_usd", "Money spent on the model, in US dollars.", total.cost_usd)

    yield from _ceilings(seen)
    yield from _traffic(total.traffic or Traffic())
    yield from _purposes(total)
    yield from _roles(total)
    latency = HistogramMetricFamily("populace_model_latency_seconds", "Wall time from ask to answer of billed asks.")
    latency.add_metric([], _edges(LATENCY_BUCKETS_S, total.latency), total.latency_s)
    yield latency
    stages = HistogramMetricFamily("populace_tick_seconds", "Wall time of a tick, by stage.", labels=["stage"])
    for name, stage in sorted(seen.stages.items()):
        stages.add_metric([name], _edges(STAGE_BUCKETS_S, stage.buckets), stage.sum_s)
    yield stages
    yield from _pace(seen)
    yield from _endpoints(seen)
    yield from _processes(seen)


def _pace(seen: Seen) -> Iterator[Metric]:
    """How fast the run goes, and which shard it waits for."""
    yield GaugeMetricFamily(
        "populace_last_tick_timestamp_seconds", "When the last tick ended, or the run began.", seen.ticked_at_s
    )
    yield CounterMetricFamily(
        "populace_simulated_seconds", "Simulated time, by the society's tick_seconds.", seen.simulated_s
    )
    turns = {str(shard): took_s for shard, took_s in seen.turns_s.items()}
    yield _counters("populace_shard_turns_seconds", "Wall time that each shard's turns took.", "shard", turns)
    if seen.critical_share is not None:
        yield GaugeMetricFamily(
            "populace_critical_path_ratio",
            "Of the last tick's wall time, the share of the shard whose turns took longest.",
            seen.critical_share,
        )


def _ceilings(seen: Seen) -> Iterator[Metric]:
    """What the run may use, where it is limited: what it used stands in the counters of cost, tokens and calls."""
    ceilings = seen.ceilings
    named = (
        ("populace_budget_usd", "The run's ceiling on money, in US dollars.", ceilings.usd),
        ("populace_budget_tokens", "The run's ceiling on tokens.", ceilings.tokens),
        ("populace_quota_requests_per_minute", "Requests a minute that the accounts allow.",
         ceilings.requests_per_minute),
        ("populace_quota_tokens_per_minute", "Tokens a minute that the accounts allow.", ceilings.tokens_per_minute),
    )  # fmt: skip
    for name, text, value in named:
        if value is not None:
            yield GaugeMetricFamily(name, text, value)


def _traffic(traffic: Traffic) -> Iterator[Metric]:
    """Calls, tries and waits."""
    yield _counters("populace_calls", "Calls begun, answered or not, by endpoint.", "endpoint", traffic.calls)
    yield _counters("populace_breaker_opened", "How often a circuit breaker opened.", "endpoint", traffic.opened)
    yield _counters(
        "populace_retries",
        "Further calls for an ask, by reason.",
        "reason",
        {**dict.fromkeys(RETRIED, 0), **traffic.retries},
    )
    yield CounterMetricFamily(
        "populace_asks_joined", "Asks that shared the call of an identical one in flight.", traffic.joined
    )
    waiting = HistogramMetricFamily("populace_ask_wait_seconds", "Wall time that an ask waited for a call to begin.")
    waiting.add_metric([], _edges(WAITING_BUCKETS_S, traffic.waiting), traffic.waiting_s)
    yield waiting
    yield CounterMetricFamily("populace_journal_bytes", "Bytes written to the journal.", traffic.journal_bytes)


def _endpoints(seen: Seen) -> Iterator[Metric]:
    """The endpoints as they are now, over all shards."""
    loads = seen.endpoints
    permits = {name: load.permits for name, load in loads.items()}
    in_use = {name: load.in_use for name, load in loads.items()}
    is_open = {name: load.breakers_open for name, load in loads.items()}
    yield _gauges("populace_permits", "Calls that may be open at once, by endpoint.", "endpoint", permits)
    yield _gauges("populace_permits_in_use", "Calls that are open, by endpoint.", "endpoint", in_use)
    yield _gauges(
        "populace_breakers_open",
        "Circuit breakers that are open, by endpoint; each shard has one.",
        "endpoint",
        is_open,
    )


def _processes(seen: Seen) -> Iterator[Metric]:
    """How the processes fare, and what was done to keep the run."""
    yield _gauges(
        "populace_resident_memory_bytes", "Resident memory, by process of the run.", "process", seen.rss_bytes
    )
    yield _gauges(
        "populace_event_loop_lag_seconds", "The most that the event loop was late since it last told.", "process",
        seen.lag_s,
    )  # fmt: skip
    upkeep = seen.upkeep
    lost = {"shard": 0, "world": 0, "quota": 0}
    for name, n in upkeep.losses.items():
        who = name.removeprefix("the ").split()[0]
        lost[who if who in lost else "shard"] += n
    yield _counters("populace_deaths", "Processes of the run that were lost, by what was in them.", "who", lost)
    yield CounterMetricFamily(
        "populace_recoveries", "How often the run went back to a checkpoint after a loss.", upkeep.recoveries
    )
    yield CounterMetricFamily("populace_checkpoints", "Checkpoints saved.", upkeep.checkpoints)
    yield CounterMetricFamily("populace_checkpoint_bytes", "Bytes written to checkpoints.", upkeep.checkpoint_bytes)
    yield CounterMetricFamily(
        "populace_checkpoint_seconds", "Wall time from checkpoints' edges until they were whole.", upkeep.checkpoint_s
    )
    yield CounterMetricFamily(
        "populace_checkpoint_waited_seconds", "What of it ticks waited for.", upkeep.checkpoint_waited_s
    )


def _purposes(total: Counts) -> Iterator[Metric]:
    """What each purpose of an ask came to; `populace_run_info` says of which experiment and arm."""
    parts = sorted(_few_purposes(total.purposes).items())
    named = {"asks": "Asks ended", "calls": "Model calls billed", "cost_usd": "Money spent, in US dollars"}
    for field, text in named.items():
        values = {name: getattr(part, field) for name, part in parts}
        yield _counters(f"populace_purpose_{field}", f"{text}, by purpose of the ask.", "purpose", values)
    tokens = CounterMetricFamily(
        "populace_purpose_tokens", "Tokens billed, by purpose and direction.", labels=["purpose", "direction"]
    )
    abstained = CounterMetricFamily(
        "populace_purpose_abstained", "Asks without an answer, by purpose and reason.", labels=["purpose", "reason"]
    )
    for name, part in parts:
        tokens.add_metric([name, "in"], part.tokens_in)
        tokens.add_metric([name, "out"], part.tokens_out)
        for reason, n in sorted(part.abstained.items()):
            abstained.add_metric([name, reason], n)
    yield tokens
    yield abstained


def _roles(total: Counts) -> Iterator[Metric]:
    """What the asks of each model role came to, by purpose; nothing where no ask named one."""
    named = {"asks": "Asks ended", "calls": "Model calls billed", "tokens_in": "Tokens billed, in",
             "tokens_out": "Tokens billed, out", "cost_usd": "Money spent, in US dollars"}  # fmt: skip
    for field, text in named.items():
        family = CounterMetricFamily(
            f"populace_role_{field}", f"{text}, by model role and purpose.", labels=["role", "purpose"]
        )
        for role, parts in total.by_role().items():
            for name, part in sorted(_few_purposes(parts).items()):
                family.add_metric([role, name], getattr(part, field))
        yield family


def _few(counts: Mapping[str, int]) -> dict[str, int]:
    """The first `MOST_VALUES` counts by name, in the order in which they came up, and what the others come to."""
    few = dict(islice(counts.items(), MOST_VALUES))
    if len(counts) > MOST_VALUES:
        few[OTHER] = few.get(OTHER, 0) + sum(islice(counts.values(), MOST_VALUES, None))
    return few


def _few_purposes(parts: Mapping[str, Purpose]) -> dict[str, Purpose]:
    """The same of purposes."""
    if len(parts) <= MOST_VALUES:
        return dict(parts)
    few, other = dict(islice(parts.items(), MOST_VALUES)), Purpose()
    for part in (few.get(OTHER, Purpose()), *islice(parts.values(), MOST_VALUES, None)):
        other.add(part)
    return {**few, OTHER: other}


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


def _edges(edges: tuple[float, ...], counts: tuple[int, ...] | list[int]) -> list[tuple[str, float]]:
    """Buckets as Prometheus wants them: cumulative, each named by its upper edge."""
    rows: list[tuple[str, float]] = []
    running = 0
    for edge, n in zip((*map(str, edges), "+Inf"), counts or [0] * (len(edges) + 1), strict=True):
        running += n
        rows.append((edge, running))
    return rows
