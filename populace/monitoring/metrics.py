"""One `/metrics` for the run, in Prometheus' text format. The only importer of prometheus_client.

A scrape comes in its own thread. Everything that it shows is one frozen value, which the run replaces whole at
each tick's end and at each pulse, so a scrape sees a tick entirely or not at all, and no lock is held.

Counters rise at a tick's end; a run shorter than the scrape interval may end between two scrapes. The run's totals
stand in `manifest.json`; this page is for watching a run while it goes on. No label carries an agent's id.
"""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import msgspec
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from populace.core.errors import SettingsError
from populace.core.records import LATENCY_BUCKETS_S, Counts
from populace.monitoring.report import Pulse, TickReport

STAGE_BUCKETS_S: Final = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
"""Upper edges, in seconds, of the buckets of a tick's stages (the last bucket is +Inf)."""

SCRAPER_TIMEOUT_S: Final = 5.0
"""How long a scraper may take to say what it wants, and to take what it gets."""


class _Stage(msgspec.Struct, frozen=True):
    """The wall seconds of one stage over the ticks so far: how many ticks fell in each bucket, and the sum."""

    buckets: tuple[int, ...] = (0,) * (len(STAGE_BUCKETS_S) + 1)
    sum_s: float = 0.0

    def and_also(self, seconds: float) -> _Stage:
        at = bisect_left(STAGE_BUCKETS_S, seconds)
        buckets = (*self.buckets[:at], self.buckets[at] + 1, *self.buckets[at + 1 :])
        return _Stage(buckets, self.sum_s + seconds)


class _Seen(msgspec.Struct, frozen=True):
    """What a scrape shows. Never changed once made."""

    scenario: str
    model: str
    labels: dict[str, str]
    shards: int
    agents: int
    ticks: int
    tick: int = 0
    total: Counts = msgspec.field(default_factory=Counts)
    stages: dict[str, _Stage] = {}
    outcomes: dict[str, float] = {}
    asks_waiting: int = 0
    asks_in_flight: int = 0


class Metrics:
    """An observer that serves the run's numbers over HTTP from `begin` to `end`.

    `port` 0 takes a free one; from `begin` on, `port` and `url` are the true ones. Nothing listens and no thread
    runs after `end` or `close`. `begin` raises SettingsError when the address cannot be had.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, experiment: str = "", arm: str = "") -> None:
        self.host = host
        self.port = port
        self._labels = {"experiment": experiment, "arm": arm}
        self._seen: _Seen | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where a scraper finds the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/metrics"

    def begin(self, scenario: str, agents: int, ticks: int, shards: int, model: str) -> None:
        """Start to serve. Raises SettingsError when the address cannot be had."""
        self._seen = _Seen(scenario, model, self._labels, shards, agents, ticks)
        registry = CollectorRegistry()
        registry.register(_Page(self))
        try:
            self._server = _Server(self.host, self.port)
        except OSError as error:
            raise SettingsError(
                f"metrics_port = {self.port}: cannot listen on {self.host}:{self.port} ({error.strerror}). "
                "Choose another port with --metrics-port, or 0 to have a free one picked."
            ) from None
        self._server.set_app(make_wsgi_app(registry))
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="populace-metrics", daemon=True
        )
        self._thread.start()

    def pulse(self, pulse: Pulse) -> None:
        """Show what waits for the model now."""
        if self._seen is not None:
            self._seen = msgspec.structs.replace(
                self._seen, asks_waiting=pulse.asks_waiting, asks_in_flight=pulse.asks_in_flight
            )

    def tick(self, report: TickReport) -> None:
        """Show the totals after this tick."""
        seen = self._seen
        if seen is None:
            return
        total = Counts()
        total.add(report.total)  # a copy: the run goes on adding to its own
        stages = dict(seen.stages)
        for stage, seconds in report.stages_s.items():
            stages[stage] = stages.get(stage, _Stage()).and_also(seconds)
        self._seen = msgspec.structs.replace(
            seen,
            tick=report.tick,
            ticks=report.ticks,
            agents=report.agents,
            total=total,
            stages=stages,
            outcomes=dict(report.outcomes),
            asks_waiting=0,
            asks_in_flight=0,
        )

    def note(self, text: str) -> None:
        """Notes are for persons; a failed turn is counted."""

    def end(self, status: str, manifest: Mapping[str, Any]) -> None:
        """Stop to serve."""
        self.close()

    def close(self) -> None:
        """Stop listening and wait for the threads; a second call does nothing."""
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is None or thread is None:
            return
        server.shutdown()
        thread.join()
        server.hang_up()
        server.server_close()

    def families(self) -> Iterator[Metric]:
        """Everything that a scrape shows; called in the scraper's thread."""
        if self._seen is not None:
            yield from _families(self._seen)


class _Page(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return self._metrics.families()


def _families(seen: _Seen) -> Iterator[Metric]:
    total = seen.total
    info = {"scenario": seen.scenario, "model": seen.model, **seen.labels}
    yield InfoMetricFamily("populace_run", "The run that this page is about.", info)
    yield GaugeMetricFamily("populace_agents", "Agents in the society.", seen.agents)
    yield GaugeMetricFamily("populace_shards", "Shards that host the agents.", seen.shards)
    yield GaugeMetricFamily("populace_ticks_planned", "Ticks that the run is to have.", seen.ticks)
    yield GaugeMetricFamily("populace_tick", "Ticks completed.", seen.tick)
    yield GaugeMetricFamily("populace_asks_in_flight", "Asks that are with the model now.", seen.asks_in_flight)
    yield GaugeMetricFamily("populace_asks_waiting", "Asks that wait for a permit now.", seen.asks_waiting)
    yield _gauges("populace_outcome", "Outcomes of the society as of the last tick.", "name", seen.outcomes)

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
    yield _counters("populace_actions_refused", "Actions refused, by reason.", "reason", total.acts_refused)

    yield CounterMetricFamily("populace_rounds", "Rounds that parts of the world held within ticks.", total.rounds)
    said = {"made": total.said, "heard": total.heard, "closed": sum(total.unheard.values())}
    yield _counters("populace_contributions", "Contributions to rounds, and by how they ended.", "fate", said)
    yield _counters(
        "populace_contributions_closed", "Contributions that no round took, by reason.", "reason", total.unheard
    )

    yield CounterMetricFamily("populace_asks_made", "Questions put to the model stack.", total.asked)
    outcomes = {
        "answered": total.answered,
        "cached": total.cached,
        "replayed": total.replayed,
        "abstained": sum(total.abstained.values()),
    }
    yield _counters("populace_asks", "Asks ended, by how they ended.", "outcome", outcomes)
    yield _counters("populace_asks_abstained", "Asks without a usable answer, by reason.", "reason", total.abstained)
    yield CounterMetricFamily("populace_calls_billed", "Model calls billed, repairs and retries included.", total.calls)
    tokens = {"in": total.tokens_in, "out": total.tokens_out}
    yield _counters("populace_tokens", "Tokens billed, by direction.", "direction", tokens)
    yield CounterMetricFamily("populace_cost_usd", "Money spent on the model, in US dollars.", total.cost_usd)

    yield from _purposes(total)
    yield from _roles(total)
    latency = HistogramMetricFamily("populace_model_latency_seconds", "Wall time from ask to answer of billed asks.")
    latency.add_metric([], _edges(LATENCY_BUCKETS_S, total.latency), total.latency_s)
    yield latency
    stages = HistogramMetricFamily("populace_tick_seconds", "Wall time of a tick, by stage.", labels=["stage"])
    for name, stage in sorted(seen.stages.items()):
        stages.add_metric([name], _edges(STAGE_BUCKETS_S, stage.buckets), stage.sum_s)
    yield stages


def _purposes(total: Counts) -> Iterator[Metric]:
    """What each purpose of an ask came to; `populace_run_info` says of which experiment and arm."""
    parts = sorted(total.purposes.items())
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
            for name, part in sorted(parts.items()):
                family.add_metric([role, name], getattr(part, field))
        yield family


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


class _Quiet(WSGIRequestHandler):
    timeout = SCRAPER_TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        pass


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """A thread a scraper, each of them joined by `server_close`."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((host, port), _Quiet)

    def server_bind(self) -> None:
        """Bind without the look-up of the host's full name, which may ask a name server and wait for it."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Close idle connections; a scrape that is being answered gets its page."""
        with self._lock:
            for request in self._open:
                try:
                    request.shutdown(socket.SHUT_RD)
                except OSError:  # it hung up first
                    continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scraper that says nothing or hangs up is no concern of the run; anything else is a bug and shows."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
