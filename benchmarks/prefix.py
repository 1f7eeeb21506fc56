"""What prompts whose shared part stands first save at a server that keeps prefixes, and which answers they change.

Run it as `python benchmarks/prefix.py [--scenarios NAME ...] [--seeds N] [--agents N] [--ticks N] [--slots N]
[--path FILE.gguf]`.

llama.cpp's server (the `embedded` extra) serves the embedded model, or another GGUF file, on loopback with its prefix
cache on. Each scenario runs against it at temperature 0, by its real engine, with each of some seeds, which draw its
people: once with prompts as they are written and once with `model.prompt_order = "shared_first"`; with the first seed,
once more as they are written. A proxy notes what the server says of each request: how many tokens of the prompt it took
from its cache, how many it evaluated, and how long that took. The server starts anew for each run. What an ask takes is
the mean over the seeds' runs, with its 95 % interval by Student's t; what is saved is the mean over seeds of the share
of tokens that the same seed's run as written evaluated. `changed` is the share of asks that got another answer than as
written, among those of the same seed, agent, tick and number that were made of the same facts: for the second run it
says what the cache alone changes, since with it an answer depends, in its last digits, on what was asked before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import multiprocessing
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from figures import figure
from rich.console import Console
from rich.table import Table
from scipy.stats import t

import populace
from populace.models.embedded.weights import weights_path
from populace.store.tables.tables import read_table

ORDERS = {"as written": "written", "as written, again": "written", "shared first": "shared_first"}
AGAIN = "as written, again"


class Asked(NamedTuple):
    """A run: answers by (tick, agent, nth), with the facts; and what its requests took."""

    answers: dict[tuple[int, int, int], tuple[str | None, str | None]]
    requests: int
    cached: int
    evaluated: int
    evaluated_s: float

    @property
    def each(self) -> float:
        """Tokens evaluated an ask."""
        return self.evaluated / max(1, self.requests)


def serve_model(path: str, slots: int, threads: int, pipe: Connection) -> None:
    """Serve the model until the parent ends the process."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = slots
    params.n_ctx = 2048 * slots
    params.cache_prompt = True
    params.cache_ram_mib = 0
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.verbosity = 0
    params.ui = False
    server = xllamacpp.Server(params)
    pipe.send(urlsplit(server.listening_address).port)
    pipe.recv()


class Proxy:
    """Hands requests on and sums up the timings that the server tells."""

    def __init__(self, port: int) -> None:
        self._to = f"http://127.0.0.1:{port}"
        self.requests = self.cached = self.evaluated = 0
        self.evaluated_ms = 0.0

    async def start(self) -> int:
        """Serve, and give the port."""
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._hand_on)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """End serving."""
        await self._runner.cleanup()
        await self._client.close()

    async def _hand_on(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {"Content-Type": "application/json"}
        async with self._client.request(request.method, self._to + request.path, data=body, headers=headers) as got:
            answer = await got.read()
        if got.status == 200 and request.method == "POST":
            timings = json.loads(answer)["timings"]
            self.requests += 1
            self.cached += timings["cache_n"]
            self.evaluated += timings["prompt_n"]
            self.evaluated_ms += timings["prompt_ms"]
        return web.Response(status=got.status, body=answer, content_type="application/json")


def asked(scenario: str, order: str, seed: int, options: argparse.Namespace, path: Path) -> Asked:
    """Run a scenario against a server of its own."""
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe()
    child = context.Process(target=serve_model, args=(str(path), options.slots, options.threads, its), daemon=True)
    child.start()
    try:
        return asyncio.run(_asked(scenario, order, seed, options, mine.recv()))
    finally:
        child.kill()
        child.join()


async def _asked(scenario: str, order: str, seed: int, options: argparse.Namespace, port: int) -> Asked:
    proxy = Proxy(port)
    url = f"http://127.0.0.1:{await proxy.start()}/v1"
    settings: dict[str, Any] = {
        "model.kind": "openai", "model.name": "m", "model.temperature": 0.0, "model.prompt_order": order,
        "model.repairs": 0, "model.max_tokens": options.max_tokens, "endpoint.base_url": url,
        "endpoint.concurrency": options.slots, "endpoint.timeout_s": 600.0,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        await asyncio.to_thread(
            populace.run, scenario, agents=options.agents, ticks=options.ticks, seed=seed, settings=settings, out=out,
            quiet=True,
        )  # fmt: skip
        rows = read_table(out, "asks").select(["tick", "agent", "nth", "facts", "answer"]).to_pylist()
    await proxy.stop()
    answers = {(one["tick"], one["agent"], one["nth"]): (one["facts"], one["answer"]) for one in rows}
    return Asked(answers, proxy.requests, proxy.cached, proxy.evaluated, proxy.evaluated_ms / 1000)


def changed(one: Asked, other: Asked) -> tuple[int, int]:
    """How many asks of the same facts got another answer, of how many."""
    both = [at for at, (facts, _) in one.answers.items() if at in other.answers and other.answers[at][0] == facts]
    return sum(one.answers[at][1] != other.answers[at][1] for at in both), len(both)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean of a value a seed, and half of its 95 % interval by Student's t; nan of one value."""
    n = len(values)
    half = float(t.ppf(0.975, n - 1)) * stdev(values) / math.sqrt(n) if n > 1 else math.nan
    return fmean(values), half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", nargs="+", default=["newsfeed"])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--agents", type=int, default=12)
    parser.add_argument("--ticks", type=int, default=2)
    parser.add_argument("--slots", type=int, default=1, help="prompts that the server keeps, and calls open at once")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-tokens", type=int, default=8, help="where the scenario says none")
    parser.add_argument("--path", type=Path, help="a GGUF file; without it the embedded model's, fetched once (93 MB)")
    options = parser.parse_args()
    path = weights_path(options.path)
    began_s = time.perf_counter()
    table = Table(
        "scenario", "prompts", "seeds", "asks", "tokens of prompts", "evaluated", "evaluated an ask", "saved, %",
        "s of it", "changed",
        title=f"{path.name}, {options.agents} agents, {options.ticks} ticks, {options.slots} slots, temperature 0",
    )  # fmt: skip
    for scenario in options.scenarios:
        seeds = range(1, options.seeds + 1)
        runs = {name: [asked(scenario, order, seed, options, path) for seed in (seeds if name != AGAIN else [1])]
                for name, order in ORDERS.items()}  # fmt: skip
        show(table, scenario, runs)
    Console(width=160).print(table)
    print(f"{time.perf_counter() - began_s:.0f} s")


def show(table: Table, scenario: str, runs: Mapping[str, Sequence[Asked]]) -> None:
    """A scenario's rows: in each order, a run a seed."""
    first = runs["as written"]
    for name, own in runs.items():
        each, half = interval([one.each for one in own])
        shares = [1.0 - one.each / other.each for one, other in zip(own, first, strict=False) if other.requests]
        saved, saved_half = interval(shares)
        found = [changed(one, other) for one, other in zip(first, own, strict=False)]
        others, both = sum(one for one, _ in found), sum(one for _, one in found)
        shows = own is not first
        table.add_row(
            scenario, name, f"{len(own)}", f"{sum(one.requests for one in own)}",
            f"{sum(one.cached + one.evaluated for one in own):,}", f"{sum(one.evaluated for one in own):,}",
            f"{each:.1f} ± {half:.1f}", f"{100 * saved:.1f} ± {100 * saved_half:.1f}" if shows else "",
            f"{sum(one.evaluated_s for one in own):.2f}", f"{others} of {both}" if shows else "",
        )  # fmt: skip
        figure(f"{scenario}, {name}: prompt tokens evaluated an ask", each, "tokens", up=False,
               least=min(one.each for one in own), most=max(one.each for one in own))  # fmt: skip
        if shows:
            figure(f"{scenario}, {name}: prompt tokens saved", saved, "of those as written")
        if shows and both:
            figure(f"{scenario}, {name}: answers changed", others / both, "of all", up=False)


if __name__ == "__main__":
    main()
