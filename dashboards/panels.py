"""What the dashboards show, as data: rows of panels, each with its expressions in PromQL."""

from __future__ import annotations

from typing import Final, NamedTuple


class Panel(NamedTuple):
    """A panel: its expressions, each with its legend. `now`: one number, as of now; else lines over time."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    about: str = ""
    now: bool = False
    least: float | None = 0.0


class Row(NamedTuple):
    """Panels under a title, four beside each other at most."""

    title: str
    panels: list[Panel]


_STAGES: Final = "turns|resolve|record|checkpoint"


def _now(title: str, unit: str, expression: str, about: str = "") -> Panel:
    return Panel(title, unit, ((expression, ""),), about, now=True)


def _rate(metric: str, by: str = "", of: str = 'run="$run"') -> str:
    inner = f"rate({metric}{{{of}}}[$__rate_interval])"
    return f"sum by ({by}) ({inner})" if by else f"sum({inner})"


def _quantiles(metric: str) -> tuple[tuple[str, str], ...]:
    inner = f'sum by (le) (rate({metric}_bucket{{run="$run"}}[$__rate_interval]))'
    return tuple((f"histogram_quantile({q / 100}, {inner})", f"p{q}") for q in (50, 95, 99))


_STAGE_S: Final = _rate("populace_tick_seconds_sum", "stage")
_STAGE_N: Final = _rate("populace_tick_seconds_count", "stage")

RUN: Final[list[Row]] = [
    Row(
        "Progress",
        [
            _now("Ticks", "percentunit", 'sum(populace_tick{run="$run"}) / sum(populace_ticks_planned{run="$run"})'),
            _now(
                "To go",
                "s",
                f'sum(populace_ticks_planned{{run="$run"}} - populace_tick) * sum(populace_tick_seconds_sum'
                f'{{run="$run",stage=~"{_STAGES}"}}) / sum(populace_tick_seconds_count{{run="$run",stage="turns"}})',
                "At the pace of the ticks so far.",
            ),
            _now("Agents", "short", 'sum(populace_agents{run="$run"})'),
            _now("Cost", "currencyUSD", 'sum(populace_cost_usd_total{run="$run"})'),
        ],
    ),
    Row(
        "Pace",
        [
            Panel("Turns a second", "short", ((_rate("populace_turns_total"), "turns"),)),
            Panel(
                "Simulated time a second",
                "s",
                ((_rate("populace_simulated_seconds_total"), "simulated"),),
                "Simulated seconds in one second of the wall's.",
            ),
            Panel(
                "A tick by stage",
                "s",
                ((f"{_STAGE_S} / {_STAGE_N}", "{{stage}}"),),
                "observe and exchange lie within turns.",
            ),
            Panel(
                "Critical path",
                "percentunit",
                (('max(populace_critical_path_ratio{run="$run"})', "largest shard"),),
                "Of a tick's wall time, the share of the shard whose turns took longest.",
            ),
        ],
    ),
    Row(
        "The model",
        [
            Panel("Asks by outcome", "reqps", ((_rate("populace_asks_total", "outcome"), "{{outcome}}"),)),
            Panel("From ask to answer", "s", _quantiles("populace_model_latency_seconds")),
            Panel("Waiting for a call", "s", _quantiles("populace_ask_wait_seconds"), "For each call of an ask."),
            Panel(
                "Permits",
                "short",
                (
                    ('sum by (endpoint) (populace_permits{run="$run"})', "{{endpoint}} allowed"),
                    ('sum by (endpoint) (populace_permits_in_use{run="$run"})', "{{endpoint}} in use"),
                    ('sum(populace_asks_waiting{run="$run"})', "asks that wait"),
                ),
            ),
            Panel("Retries", "reqps", ((_rate("populace_retries_total", "reason"), "{{reason}}"),)),
            Panel("Calls by endpoint", "reqps", ((_rate("populace_calls_total", "endpoint"), "{{endpoint}}"),)),
            Panel(
                "Breakers",
                "short",
                (('sum by (endpoint) (populace_breakers_open{run="$run"})', "{{endpoint}}"),),
                "How many shards only probe the endpoint.",
            ),
            Panel(
                "Asks that cost no call",
                "reqps",
                (
                    (_rate("populace_asks_total", of='run="$run",outcome="cached"'), "cached"),
                    (_rate("populace_asks_joined_total"), "shared a call in flight"),
                ),
            ),
        ],
    ),
    Row(
        "Money",
        [
            Panel("Dollars an hour", "currencyUSD", ((f"3600 * {_rate('populace_cost_usd_total')}", "cost"),)),
            Panel("Tokens a second", "short", ((_rate("populace_tokens_total", "direction"), "{{direction}}"),)),
            Panel(
                "Cost by purpose",
                "currencyUSD",
                (('sum by (purpose) (populace_purpose_cost_usd_total{run="$run"})', "{{purpose}}"),),
            ),
            Panel(
                "Of what is allowed",
                "percentunit",
                (
                    ('populace:budget:used_ratio{run="$run"}', "of the budget"),
                    ('populace:budget:projected_ratio{run="$run"}', "of the budget, by the last tick"),
                    ('populace:quota:used_ratio{run="$run"}', "of the requests a minute"),
                ),
                "Nothing where the run has no budget.usd, or its endpoint no requests_per_minute.",
            ),
        ],
    ),
    Row(
        "The society",
        [
            Panel("Outcomes", "short", (('populace_outcome{run="$run"}', "{{name}}"),), least=None),
            Panel("Messages", "short", ((_rate("populace_messages_total", "fate"), "{{fate}}"),), "A second, by fate."),
            Panel("Actions", "short", ((_rate("populace_actions_total", "fate"), "{{fate}}"),), "A second, by fate."),
            Panel("Failed turns", "short", (('sum(populace_turns_failed_total{run="$run"})', "failed"),)),
        ],
    ),
    Row(
        "Health",
        [
            Panel("Memory", "bytes", (('populace_resident_memory_bytes{run="$run"}', "{{process}}"),)),
            Panel("Event-loop lag", "s", (('populace_event_loop_lag_seconds{run="$run"}', "{{process}}"),)),
            Panel(
                "Bytes written a second",
                "Bps",
                (
                    (_rate("populace_journal_bytes_total"), "journal"),
                    (_rate("populace_checkpoint_bytes_total"), "checkpoints"),
                ),
            ),
            Panel(
                "Checkpoints, of the time",
                "percentunit",
                (
                    (_rate("populace_checkpoint_seconds_total"), "being written"),
                    (_rate("populace_checkpoint_waited_seconds_total"), "ticks wait"),
                ),
                "They are written behind the turns of the ticks that follow.",
            ),
            Panel(
                "Losses",
                "short",
                (
                    ('sum by (who) (populace_deaths_total{run="$run"})', "{{who}}"),
                    ('sum(populace_recoveries_total{run="$run"})', "recoveries"),
                ),
            ),
        ],
    ),
]
"""One run, `$run`."""

_IN: Final = 'experiment=~"$experiment"'
_BURN: Final = f"sum by (arm) (populace:cost_usd:per_hour15m{{{_IN}}})"

FLEET: Final[list[Row]] = [
    Row(
        "Now",
        [
            _now("Runs", "short", f"count(populace_run_info{{{_IN}}})"),
            _now(
                "Progress",
                "percentunit",
                f"sum(populace_tick{{{_IN}}}) / sum(populace_ticks_planned{{{_IN}}})",
                "Of the ticks of all runs that go on now.",
            ),
            _now("Cost of these runs", "currencyUSD", f"sum(populace_cost_usd_total{{{_IN}}})"),
            _now("Losses", "short", f"sum(populace_deaths_total{{{_IN}}})"),
        ],
    ),
    Row(
        "By arm",
        [
            Panel(
                "Progress of runs",
                "percentunit",
                ((f"populace_tick{{{_IN}}} / populace_ticks_planned", "{{arm}} {{run}}"),),
            ),
            Panel("Turns a second", "short", ((f"sum by (arm) (populace:turns:rate5m{{{_IN}}})", "{{arm}}"),)),
            Panel(
                "Dollars an hour",
                "currencyUSD",
                ((_BURN, "{{arm}}"),),
            ),
            Panel(
                "Asks without an answer",
                "percentunit",
                ((f"max by (arm) (populace:abstained:ratio10m{{{_IN}}})", "{{arm}}"),),
                "The largest share of any run of the arm: arms that differ in it are hard to compare.",
            ),
            Panel(
                "Outcomes",
                "short",
                ((f"avg by (arm, name) (populace_outcome{{{_IN}}})", "{{arm}} {{name}}"),),
                "Means over the runs that go on now.",
                least=None,
            ),
            Panel(
                "Since the last tick",
                "s",
                ((f"populace:tick:idle_seconds{{{_IN}}}", "{{arm}} {{run}}"),),
            ),
            Panel("Memory", "bytes", ((f"sum by (arm) (populace_resident_memory_bytes{{{_IN}}})", "{{arm}}"),)),
            Panel(
                "Open breakers", "short", ((f"sum by (endpoint) (populace_breakers_open{{{_IN}}})", "{{endpoint}}"),)
            ),
        ],
    ),
]
"""All runs of an experiment, by arm."""
