"""What spans a tick's report gives, as plain data. Pure: it is told what time it is.

A report says how long stages, shards' turns and asks took, and not when each began. So spans have their true lengths,
and places that follow from the order of things: stages one after another up to the report, a turn from where its stage
begins (or the world has been seen), its asks one after another, as a turn awaits them; those of the world at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec
import numpy as np

from populace.core.draws import column
from populace.core.records import DEFAULT_ROLE
from populace.monitoring.report import TickReport

MOST_TURNS: Final = 1000
"""Turns of one tick that have a span at most, whatever the share."""
_STAGES: Final = ("turns", "resolve", "record")
"""Stages of a tick that come one after another."""


class Span(msgspec.Struct, frozen=True):
    """One span: times in nanoseconds of Unix time, ids as hexadecimal digits; `parent` '' has none.

    `asks_model` marks a call to a model (a span of the kind CLIENT), `error` a span that failed.
    """

    name: str
    id: str
    parent: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any] = {}
    asks_model: bool = False
    error: bool = False


class Named(msgspec.Struct, frozen=True):
    """How the spans of an attempt are named and chosen. `models` and `providers` are by model role."""

    run: str
    attempt: int
    seed: int
    share: float
    models: dict[str, str]
    providers: dict[str, str]

    @property
    def trace(self) -> str:
        """The id of the attempt's trace."""
        return blake2b(f"{self.run}|{self.attempt}".encode(), digest_size=16).hexdigest()

    def id(self, *what: object) -> str:
        """The id of a span of this attempt."""
        said = "|".join(map(str, (self.run, self.attempt, *what)))
        return blake2b(said.encode(), digest_size=8).hexdigest()


def tick_spans(named: Named, report: TickReport, now_ns: int) -> list[Span]:
    """The spans of a tick that has just ended, the tick's own first. Without its checkpoint, which comes after it."""
    took = {name: int(report.stages_s.get(name, 0.0) * 1e9) for name in (*_STAGES, "observe", "exchange")}
    began_ns = now_ns - sum(took[name] for name in _STAGES)
    own = named.id("tick", report.tick)
    counts = report.counts
    about = {
        "populace.tick": report.tick, "populace.turns": counts.turns, "populace.turns_failed": counts.turns_failed,
        "populace.asks": counts.asked, "populace.abstained": sum(counts.abstained.values()),
        "populace.messages_sent": counts.sent, "populace.cost_usd": counts.cost_usd,
    }  # fmt: skip
    stages, at = [], began_ns
    places = {}
    for name in _STAGES:
        span = Span(name, named.id(name, report.tick), own, at, at + took[name])
        places[name], at = span, span.end_ns
        stages.append(span)
    turns = places["turns"]
    if took["observe"]:
        stages.append(_within(named, "observe", report.tick, turns, turns.start_ns, took["observe"]))
    if took["exchange"]:
        stages.append(_within(named, "exchange", report.tick, turns, turns.end_ns - took["exchange"], took["exchange"]))
    for one in report.vitals:
        if one.shard >= 0:
            end_ns = turns.start_ns + int(one.turns_s * 1e9)
            said = {"populace.shard": one.shard}
            name = named.id("shard", report.tick, one.shard)
            stages.append(Span(f"shard {one.shard}", name, turns.id, turns.start_ns, end_ns, said))
    sampled, left_out = _sampled(named, report)
    if left_out:
        about["populace.turns_left_out"] = left_out
    asked = [
        span for agent, rows in sampled.items()
        for span in _turn(named, report.tick, agent, rows, turns if agent != -1 else places["resolve"], took["observe"])
    ]  # fmt: skip
    return [Span("tick", own, named.id("run"), began_ns, at, about), *stages, *asked]


def _within(named: Named, name: str, tick: int, stage: Span, start_ns: int, took_ns: int) -> Span:
    return Span(name, named.id(name, tick), stage.id, start_ns, start_ns + took_ns)


def _sampled(named: Named, report: TickReport) -> tuple[dict[int, list[Mapping[str, Any]]], int]:
    """The asks of the turns that are chosen, by agent in order, and how many turns more were chosen than are told."""
    chosen: dict[int, list[Mapping[str, Any]]] = {}
    for rows in report.asks:
        if not len(rows["agent"]):
            continue
        agents = np.unique(np.asarray(rows["agent"], np.int64))
        kept = agents[column(named.seed, report.tick - 1, "populace.traces", agents) < named.share]
        if not len(kept):
            continue
        for at in np.flatnonzero(np.isin(np.asarray(rows["agent"], np.int64), kept)).tolist():
            row = {name: rows[name][at] for name in _OF_AN_ASK}
            chosen.setdefault(int(rows["agent"][at]), []).append(row)
    told = sorted(chosen)[:MOST_TURNS]
    return {agent: sorted(chosen[agent], key=lambda row: row["nth"]) for agent in told}, len(chosen) - len(told)


_OF_AN_ASK: Final = (
    "nth", "purpose", "model_role", "settled", "reason", "calls", "tokens_in", "tokens_out", "cost_usd", "latency_s",
)  # fmt: skip


def _turn(
    named: Named, tick: int, agent: int, rows: Sequence[Mapping[str, Any]], stage: Span, seen_ns: int
) -> Iterator[Span]:
    """The span of a turn with those of its asks."""
    start_ns = stage.start_ns + (seen_ns if agent != -1 else 0)
    lengths = [int(row["latency_s"] * 1e9) for row in rows]
    length = max(lengths, default=0) if agent == -1 else sum(lengths)
    own = named.id("turn", tick, agent)
    about = {"populace.agent": agent, "populace.asks": len(rows)}
    yield Span("turn" if agent >= 0 else "consult", own, stage.id, start_ns, start_ns + length, about)
    at = start_ns
    for row, took_ns in zip(rows, lengths, strict=True):
        yield _ask(named, named.id("ask", tick, agent, row["nth"]), own, at, took_ns, row)
        at += 0 if agent == -1 else took_ns


def _ask(named: Named, own: str, parent: str, start_ns: int, took_ns: int, row: Mapping[str, Any]) -> Span:
    """The span of an ask, with the attributes of the semantic conventions for generative AI."""
    role = row["model_role"] or DEFAULT_ROLE
    model = named.models.get(role, named.models[DEFAULT_ROLE])
    does = "embeddings" if role == "embed" else "chat"
    about: dict[str, Any] = {
        "gen_ai.operation.name": does,
        "gen_ai.provider.name": named.providers.get(role, named.providers[DEFAULT_ROLE]),
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": int(row["tokens_in"]),
        "gen_ai.usage.output_tokens": int(row["tokens_out"]),
        "populace.purpose": row["purpose"],
        "populace.model_role": role,
        "populace.settled": row["settled"],
        "populace.calls": int(row["calls"]),
        "populace.cost_usd": float(row["cost_usd"]),
    }
    if row["reason"]:
        about["error.type"] = row["reason"]
    failed = row["settled"] == "abstained"
    return Span(f"{does} {model}", own, parent, start_ns, start_ns + took_ns, about, asks_model=True, error=failed)
