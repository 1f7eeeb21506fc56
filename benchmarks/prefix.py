"""What prompts whose shared part stands first save at a server that keeps prefixes, and which answers they change.

Run it as `python benchmarks/prefix.py [--scenarios NAME ...] [--agents N] [--ticks N] [--slots N] [--path FILE.gguf]`.

llama.cpp's server (the `embedded` extra) serves the embedded model, or another GGUF file, on loopback with its prefix
cache on. Each scenario runs against it three times at temperature 0, by its real engine: twice with prompts as they are
written, and once with `model.prompt_order = "shared_first"`. A proxy notes what the server says of each request:
how many tokens of the prompt it took from its cache, how many it evaluated, and how long that took. The server starts
anew for each run. `changed` is the share of asks that got another answer than in the first run, among those of the same
agent, tick and number that were made of the same facts: for the second run it says what the cache alone changes, since
with it an answer depends, in its last digits, on what was asked before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from figures import figure
from rich.console import Console
from rich.table import Table

import populace
from populace.models.embedded.weights import weights_path
from populace.store.tables.tables import read_table

ORDERS = {"as written": "written", "as written, again": "written", "shared first": "shared_first"}


class Asked(NamedTuple):
    """A run: answers by (tick, agent, nth), with the facts; and what its requests took."""

    answers: dict[tuple[int, int, int], tuple[str | None, str | None]]
    requests: int
    cached: int
    evaluated: int
    evaluated_s: float


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


def asked(scenario: str, order: str, options: argparse.Namespace, path: Path) -> Asked:
    """Run a scenario against a server of its own."""
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe()
    child = context.Process(target=serve_model, args=(str(path), options.slots, options.threads, its), daemon=True)
    child.start()
    try:
        return asyncio.run(_asked(scenario, order, options, mine.recv()))
    finally:
        child.kill()
        child.join()


async def _asked(scenario: str, order: str, options: argparse.Namespace, port: int) -> Asked:
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
            populace.run, scenario, agents=options.agents, ticks=options.ticks, seed=1, settings=settings, out=out,
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", nargs="+", default=["newsfeed", "outrage"])
    parser.add_argument("--agents", type=int, default=24)
    parser.add_argument("--ticks", type=int, default=2)
    parser.add_argument("--slots", type=int, default=2, help="prompts that the server keeps, and calls open at once")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-tokens", type=int, default=24, help="where the scenario says none")
    parser.add_argument("--path", type=Path, help="a GGUF file; without it the embedded model's, fetched once (93 MB)")
    options = parser.parse_args()
    path = weights_path(options.path)
    table = Table(
        "scenario", "prompts", "asks", "tokens of prompts", "evaluated", "evaluated an ask", "s of it", "changed",
        title=f"{path.name}, {options.agents} agents, {options.ticks} ticks, {options.slots} slots, temperature 0",
    )  # fmt: skip
    for scenario in options.scenarios:
        runs = {name: asked(scenario, order, options, path) for name, order in ORDERS.items()}
        first = runs["as written"]
        for name, run in runs.items():
            others, both = changed(first, run)
            each = run.evaluated / max(1, run.requests)
            table.add_row(
                scenario, name, f"{run.requests}", f"{run.cached + run.evaluated:,}", f"{run.evaluated:,}",
                f"{each:.1f}", f"{run.evaluated_s:.2f}", "" if run is first else f"{others} of {both}",
            )  # fmt: skip
            figure(f"{scenario}, {name}: prompt tokens evaluated an ask", each, "tokens", up=False)
            if run is not first and both:
                figure(f"{scenario}, {name}: answers changed", others / both, "of all", up=False)
    Console().print(table)


if __name__ == "__main__":
    main()
