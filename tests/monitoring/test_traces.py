"""A run's traces: spans of ticks, stages, sampled turns and asks, in a file and at a collector."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Self

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.monitoring_support import reports
from support.running import SOCIETIES, settings_of

import populace
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import ActorLost, SettingsError
from populace.data.societies import find_society
from populace.monitoring.report import TickReport
from populace.monitoring.traces import Traces, export, spans
from populace.monitoring.traces.lines import otlp_line
from populace.monitoring.traces.spans import Named, Span, tick_spans


class Collector:
    """A real server on loopback that takes OTLP over HTTP and decodes it, or refuses it."""

    def __init__(self, status: int = 200) -> None:
        self.spans: list = []
        self.paths: set[str] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                outer.paths.add(self.path)
                if status == 200:
                    request = ExportTraceServiceRequest.FromString(body)
                    for resource in request.resource_spans:
                        for scope in resource.scope_spans:
                            outer.spans += scope.spans
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def spans_of(path: Path) -> list[dict]:
    found = []
    for line in path.read_text().splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                found += scope["spans"]
    return found


def value_of(span: dict, name: str):
    one = next((one["value"] for one in span["attributes"] if one["key"] == name), None)
    return None if one is None else next(iter(one.values()))


def run_here(out: Path, **settings) -> populace.Run:
    return populace.run(
        SOCIETIES, model="scripted", agents=30, ticks=5, shards=2, seed=3, quiet=True, out=out,
        settings={"limits.failed_turns": 1.0, "checkpoint.every_ticks": 2, **settings},
    )  # fmt: skip


def test_the_file_holds_run_ticks_stages_turns_and_asks_each_under_its_own(tmp_path):
    run = run_here(tmp_path / "out", **{"traces.file": str(tmp_path / "traces.jsonl"), "traces.share": 1.0})
    found = spans_of(tmp_path / "traces.jsonl")
    assert len({span["spanId"] for span in found}) == len(found)
    assert {len(span["traceId"]) for span in found} == {32}
    assert len({span["traceId"] for span in found}) == 1
    by_id = {span["spanId"]: span for span in found}
    names = Counter(span["name"] for span in found)
    asks = run.table("asks")
    assert (names["run"], names["tick"], names["turns"], names["resolve"]) == (1, 5, 5, 5)
    assert names["checkpoint"] == 2
    assert names["turn"] == len(asks.groupby(["tick", "agent"]))
    assert names["chat scripted"] == len(asks)
    parents = {"tick": "run", "turns": "tick", "resolve": "tick", "checkpoint": "tick", "turn": "turns",
               "chat scripted": "turn", "shard 0": "turns", "observe": "turns", "exchange": "turns"}  # fmt: skip
    for span in found:
        if span["name"] == "run":
            assert "parentSpanId" not in span
            continue
        parent = by_id[span["parentSpanId"]]
        assert parent["name"] == parents.get(span["name"], parent["name"])
        if span["name"] != "chat scripted":
            assert int(span["startTimeUnixNano"]) >= int(parent["startTimeUnixNano"])
        assert int(span["endTimeUnixNano"]) >= int(span["startTimeUnixNano"])
    asked = [span for span in found if span["name"] == "chat scripted"]
    assert sum(int(value_of(span, "gen_ai.usage.input_tokens")) for span in asked) == asks.tokens_in.sum()
    assert {value_of(span, "gen_ai.request.model") for span in asked} == {"scripted"}
    assert Counter(value_of(span, "error.type") for span in asked)["refusal"] == (asks.reason == "refusal").sum() > 0
    text = (tmp_path / "traces.jsonl").read_text()
    assert "I think" not in text, "no answer is in it"
    assert "say " not in text, "no prompt is in it"
    assert "I think" in "".join(asks.answer.dropna()), "the search would find one"


def test_a_collector_receives_what_the_file_holds(tmp_path):
    with Collector() as collector:
        run_here(tmp_path / "out", **{
            "traces.file": str(tmp_path / "{run}.jsonl"), "traces.endpoint": collector.url, "traces.share": 0.5,
        })  # fmt: skip
    (file,) = tmp_path.glob("*.jsonl")
    assert collector.paths == {"/v1/traces"}
    there = {(span.span_id.hex(), span.name, span.start_time_unix_nano) for span in collector.spans}
    here = {(span["spanId"], span["name"], int(span["startTimeUnixNano"])) for span in spans_of(file)}
    assert there == here
    assert any(span.kind == span.SPAN_KIND_CLIENT and span.name == "chat scripted" for span in collector.spans)


def test_a_collector_that_refuses_ends_no_run_and_is_told_of(tmp_path):
    said: list[str] = []
    with Collector(status=400) as collector:
        settings = settings_of(traces__endpoint=collector.url, traces__share=0.0)
        traces = Traces(settings, "run", said.append)
        traces.begin("a", 1, 1, 1, "m")
        traces.end("complete", {})
    assert said == ["note: 1 of 1 spans were not taken by the collector at traces.endpoint"]


def test_a_run_is_the_same_with_and_without(tmp_path):
    without = run_here(tmp_path / "without")
    traced = run_here(tmp_path / "with", **{"traces.file": str(tmp_path / "traces"), "traces.share": 1.0})
    assert traced.manifest["trace_hash"] == without.manifest["trace_hash"]
    assert traced.manifest["world_hash"] == without.manifest["world_hash"]


def turns_in(path: Path) -> dict[str, set[tuple[int, int]]]:
    """The turns in a file of traces, as (tick, agent), by trace."""
    found: dict[str, set[tuple[int, int]]] = {}
    by_id = {span["spanId"]: span for span in spans_of(path)}
    for span in by_id.values():
        if span["name"] == "turn":
            tick = by_id[by_id[span["parentSpanId"]]["parentSpanId"]]
            at = (int(value_of(tick, "populace.tick")), int(value_of(span, "populace.agent")))
            found.setdefault(span["traceId"], set()).add(at)
    return found


class Losing(LocalTransport):
    """Loses shard 1 once, as tick 4 is opened."""

    lost = False

    async def open_tick(self, shard, tick, envelope):
        if (shard, tick) == (1, 4) and not self.lost:
            self.lost = True
            raise ActorLost(["shard 1"], "its process ended")
        return await super().open_tick(shard, tick, envelope)


def lossy(folder: Path, shards: int) -> dict[str, set[tuple[int, int]]]:
    path = folder / f"{shards}.jsonl"
    settings = settings_of(
        shards=shards, agents=30, ticks=6, checkpoint__every_ticks=3, traces__file=str(path), traces__share=0.3
    )
    traces = Traces(settings, "run", lambda _: None)
    coordinator = Coordinator(find_society(SOCIETIES), settings, Losing(), folder / f"out{shards}", [traces])
    asyncio.run(coordinator.run())
    return turns_in(path)


def test_the_same_turns_are_in_every_attempt_and_on_any_number_of_shards(tmp_path):
    first, second = lossy(tmp_path, 2).values()
    again = {at for at in second if at[0] <= 4}
    assert again == {at for at in first if at[0] == 4}, "tick 4 is done again"
    (whole,) = lossy(tmp_path, 1).values()
    assert first | second == whole
    assert 10 < len(whole) < 60, "a share, and not all"


def test_another_draw_gives_other_turns(tmp_path, monkeypatch):
    """The control: were turns chosen as they come, the test above would see it."""
    calls = iter(range(10**6))

    def as_they_come(seed, tick, purpose, ids):
        return (ids + next(calls)) % 10 / 10

    monkeypatch.setattr(spans, "column", as_they_come)
    first, second = lossy(tmp_path, 2).values()
    assert {at for at in second if at[0] <= 4} != {at for at in first if at[0] == 4}


def test_a_tick_has_a_bounded_number_of_turns(monkeypatch):
    report = next(one for one in reports(1) if isinstance(one, TickReport))
    names = ("nth", "purpose", "model_role", "settled", "reason", "calls", "tokens_in", "tokens_out", "cost_usd")
    n = spans.MOST_TURNS + 7
    rows = {name: [""] * n if name in ("purpose", "model_role", "settled", "reason") else [0] * n for name in names}
    report.rows = [{"asks": {**rows, "agent": list(range(n)), "latency_s": [0.0] * n}}]
    named = Named("run", 0, 7, 1.0, {"default": "m"}, {"default": "openai"})
    found = tick_spans(named, report, 10**18)
    assert sum(span.name == "turn" for span in found) == spans.MOST_TURNS
    assert found[0].attributes["populace.turns_left_out"] == 7
    assert found[0].end_ns == 10**18


def test_the_lines_of_the_file_are_what_the_library_writes():
    named = Named("run", 0, 7, 1.0, {"default": "m"}, {"default": "openai"})
    report = next(one for one in reports(1) if isinstance(one, TickReport))
    row = {"agent": [3], "nth": [0], "purpose": ["say"], "model_role": [""], "settled": ["abstained"],
           "reason": ["late"], "calls": [1], "tokens_in": [5], "tokens_out": [0], "cost_usd": [0.5],
           "latency_s": [0.25]}  # fmt: skip
    report.rows = [{"asks": row}]
    made = [*tick_spans(named, report, 10**18), Span("run", named.id("run"), "", 1, 2, {"on": True})]
    about = {"service.name": "populace", "populace.run": "run"}
    collector = export.Collector("http://127.0.0.1:9", about)
    theirs = MessageToDict(
        encode_spans([collector.made(named.trace, span) for span in made]), use_integers_for_enums=True
    )
    assert collector.close() == ""
    for span in theirs["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for name in {"traceId", "spanId", "parentSpanId"} & span.keys():
            span[name] = base64.b64decode(span[name]).hex()
    ours = json.loads(otlp_line(named.trace, made, about))
    assert ours == theirs
    ours["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["kind"] = 3
    assert ours != theirs


def test_a_file_that_cannot_be_had_is_told_before_the_run_begins(tmp_path):
    (tmp_path / "file").write_text("")
    traces = Traces(settings_of(traces__file=str(tmp_path / "file" / "t")), "run", lambda _: None)
    with pytest.raises(SettingsError, match=r"traces\.file"):
        traces.begin("a", 1, 1, 1, "m")
