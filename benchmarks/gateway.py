"""What the model gateway and the whole engine cost, beside a bare aiohttp loop and the openai SDK.

    python benchmarks/gateway.py [--calls 4000] [--concurrency 64] [--rounds 3] [--profile]

The server is a process of its own on loopback that answers every request with the same bytes, at once or after
200 ms. All in one run on one machine, alternating, best of the rounds: the ratios mean something, the absolute numbers
are this machine's. `engine` is a whole run of a society (coordinator, barrier, one shard, environment service, tables,
journal): its agents build a prompt, ask, have the answer parsed, act on it, and are recorded; a decision is such a
turn, timed from the end of the first tick. The SDK's row needs `pip install openai`.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import json
import multiprocessing
import pstats
import statistics
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from figures import figure

from populace.agents.answers import compile_answer
from populace.cluster.collector import tune_collector
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.records import Ask
from populace.data.societies import Origin
from populace.models.build import build_gateway
from populace.monitoring.report import Pulse, TickReport
from populace.settings import EndpointSettings, Model, Settings

TEXT = '{"attitude":7,"why":"because of what my neighbours say about it"}'
USAGE = {"prompt_tokens": 250, "completion_tokens": 20}
TICKS = 4
LIMITS = {"requests_per_minute": 1e7, "tokens_per_minute": 1e10}

SOCIETY = """
import msgspec

from populace.agents.agent import Agent, Public
from populace.agents.population import Population
from populace.env import Feed, World
from populace.agents.society import Society

SYSTEM = "You take part in a study. " * 20

class Opinion(msgspec.Struct):
    attitude: int
    why: str

class Voter(Agent):
    attitude: Public[int] = 0

    async def turn(self, ctx):
        prompt = f"You are {ctx.id}. " + "What do you think of it? " * 10
        opinion = await ctx.ask(prompt, Opinion, system=SYSTEM, purpose="feel")
        self.attitude = opinion.attitude
        ctx.act("feed.post", text=opinion.why)

society = Society(name="deciders", agent=Voter, world=lambda setup, people: World(Feed(keep=100)),
                  population=lambda setup: Population({"attitude": [0] * setup.agents}))
"""


class Opinion(msgspec.Struct):
    attitude: int
    why: str


class _Server(asyncio.Protocol):
    """Answers each request as soon as its body is whole; `latency_s` later when there is one."""

    latency_s = 0.0
    answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            if self.latency_s:
                asyncio.get_running_loop().call_later(self.latency_s, self.transport.write, self.answer)
            else:
                self.transport.write(self.answer)


AIMS = {"engine, with limits": 0.80}  # of the bare loop, by CPU time
AIM_OF_LEAST = 1.10


def serve(pipe: Connection, latency_s: float) -> None:
    message = {"role": "assistant", "content": TEXT}
    body = json.dumps(
        {
            "id": "x",
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": USAGE,
        }
    ).encode()
    _Server.latency_s = latency_s
    _Server.answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(_Server, "127.0.0.1", 0, backlog=4096)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    asyncio.run(main())


def asks(calls: int) -> list[Ask]:
    system = "You take part in a study. " * 20
    spec = compile_answer(Opinion)
    return [
        Ask(
            n,
            0,
            0,
            "feel",
            (("system", system), ("user", f"You are {n}. " + "What do you think of it? " * 10)),
            spec,
            60,
            0.8,
            n.to_bytes(16, "big"),
        )
        for n in range(calls)
    ]


def asking(url: str, **endpoint: Any) -> Settings:
    model = Model(kind="openai", name="m", max_tokens=60)
    return Settings(seed=1, model=model, endpoint=EndpointSettings(base_url=url, **endpoint))


async def bare(url: str, todo: list[Ask], concurrency: int) -> tuple[float, float]:
    """What a script would do: a session, workers, json in and out."""
    left = iter(todo)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:

        async def worker() -> None:
            for ask in left:
                messages = [{"role": role, "content": content} for role, content in ask.messages]
                body = {"model": "m", "messages": messages, "max_tokens": 60, "temperature": 0.8, "seed": ask.agent}
                async with session.post(url + "/chat/completions", json=body) as response:
                    answer = await response.json()
                json.loads(answer["choices"][0]["message"]["content"])

        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(worker() for _ in range(concurrency)))
        return time.perf_counter() - began, time.process_time() - cpu


async def ours(url: str, todo: list[Ask], concurrency: int, **throttle: float) -> tuple[float, float]:
    gateway = build_gateway(asking(url, concurrency=concurrency, **throttle))
    await gateway.open()
    done = asyncio.Event()
    count = 0

    def deliver(batch: Any) -> None:
        nonlocal count
        for answer in batch:
            assert answer.settled == "answered", answer
            count += 1
        if count == len(todo):
            done.set()

    began, cpu = time.perf_counter(), time.process_time()
    gateway.offer(todo, deliver)
    await done.wait()
    took = time.perf_counter() - began, time.process_time() - cpu
    await gateway.close()
    return took


class Clock:
    """An observer that notes wall and CPU time from the end of the first tick on, and the decisions made since."""

    def __init__(self) -> None:
        self.began: tuple[float, float] | None = None
        self.took = (0.0, 0.0)
        self.decisions = 0

    def begin(self, scenario: str, agents: int, ticks: int, shards: int, model: str) -> None: ...

    def pulse(self, pulse: Pulse) -> None: ...

    def note(self, text: str) -> None:
        raise RuntimeError(text)

    def end(self, status: str, manifest: Mapping[str, Any]) -> None: ...

    def tick(self, report: TickReport) -> None:
        now = time.perf_counter(), time.process_time()
        if self.began is None:
            self.began = now
        else:
            self.decisions += report.counts.answered
            self.took = now[0] - self.began[0], now[1] - self.began[1]


async def engine(
    url: str, todo: list[Ask], concurrency: int, ticks: int = TICKS, **throttle: float
) -> tuple[float, float]:
    """A whole run that makes as many decisions after its first tick as there are asks; seconds of wall and of CPU."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        settings = asking(url, concurrency=concurrency, **throttle)
        settings = settings.model_copy(update={"agents": len(todo) // (ticks - 1), "ticks": ticks})
        run = Coordinator(Origin("deciders", SOCIETY), settings, LocalTransport(), Path(out) / "run", [clock])
        await run.run()
    assert clock.decisions == len(todo) // (ticks - 1) * (ticks - 1), clock.decisions
    each = len(todo) / clock.decisions
    return clock.took[0] * each, clock.took[1] * each


async def sdk(url: str, todo: list[Ask], concurrency: int) -> tuple[float, float]:
    """What most scripts do: the openai SDK, gather and a semaphore."""
    from openai import AsyncOpenAI

    permit = asyncio.Semaphore(concurrency)
    async with AsyncOpenAI(base_url=url, api_key="none") as client:

        async def one(ask: Ask) -> None:
            messages: Any = [{"role": role, "content": content} for role, content in ask.messages]
            async with permit:
                answer = await client.chat.completions.create(
                    model="m", messages=messages, max_tokens=60, temperature=0.8, seed=ask.agent
                )
            json.loads(answer.choices[0].message.content or "")

        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(one(ask) for ask in todo))
        return time.perf_counter() - began, time.process_time() - cpu


async def waiting(url: str, seconds: float) -> float:
    """CPU, as a share of a core, of 20,000 asks that wait on a throttle which lets one through every ten seconds."""
    gateway = build_gateway(asking(url, concurrency=64, requests_per_minute=6.0))
    await gateway.open()
    gateway.offer(asks(20_000), lambda _batch: None)
    await asyncio.sleep(0.5)
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    share = (time.process_time() - cpu) / (time.perf_counter() - began)
    await gateway.close()
    return share


def rows(url: str, calls: int, concurrency: int, rounds: int) -> None:
    """Everything against the server that answers at once."""
    kinds: list[tuple[str, Any, int, dict[str, float]]] = [
        ("bare aiohttp loop", bare, calls, {}),
        ("gateway", ours, calls, {}),
        ("gateway, with limits", ours, calls, LIMITS),
        ("engine", engine, calls, {}),
        ("engine, with limits", engine, calls, LIMITS),
    ]
    try:
        import openai  # noqa: F401

        kinds.append(("openai SDK, gather", sdk, max(200, calls // 5), {}))
    except ImportError:
        print("openai is not installed: its row is left out")
    each: dict[str, list[tuple[float, float]]] = {name: [] for name, *_ in kinds}
    for _ in range(rounds):
        for name, run, many, more in kinds:
            todo = asks(many)
            tune_collector()
            took, cpu = asyncio.run(run(url, todo, concurrency, **more))
            gc.unfreeze()
            each[name].append((took / many, cpu / many))
    best = {name: (min(took for took, _ in found), min(cpu for _, cpu in found)) for name, found in each.items()}
    base, slow = best["bare aiohttp loop"], best.get("openai SDK, gather")
    for name, (took, cpu) in best.items():
        print(
            f"{name:22} {1 / took:7.0f}/s   {took * 1e3:.3f} ms of wall, {cpu * 1e3:.3f} ms of CPU each   "
            f"{base[0] / took:.2f} of bare (CPU {base[1] / cpu:.2f})"
            + (f"   {slow[0] / took:5.1f} times the SDK (CPU {slow[1] / cpu:.1f})" if slow else "")
        )
    print("Of bare by CPU time, round by round, median (least and most):")
    for name, found in each.items():
        pairs = zip(each["bare aiohttp loop"], found, strict=True)
        ratios = [bare_cpu / cpu for (_, bare_cpu), (_, cpu) in pairs]
        print(f"{name:22} {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        if name != "bare aiohttp loop":
            figure(
                f"{name}, of the bare loop by CPU", statistics.median(ratios), "", least=min(ratios), most=max(ratios),
                aim=AIMS.get(name),
            )  # fmt: skip


def delayed(url: str, rounds: int) -> None:
    """Calls that take 200 ms, 256 at once: the least is calls / 256 * 0.2 s.

    The bare loop and the gateway open their connections in the time that is measured; the engine has its from the
    first tick. Each of the engine's three ticks holds seven whole rounds of 256, and ends when its last call does; of
    its many ticks each holds one round, so all that a tick's end takes comes to a round's 200 ms.
    """
    calls, concurrency, latency_s = 256 * 21, 256, 0.2
    ideal = calls / concurrency * latency_s
    kinds: list[tuple[str, Any]] = [("bare aiohttp loop", bare), ("gateway", ours), ("engine", engine)]
    kinds.append(("engine, many ticks", partial(engine, ticks=1 + calls // concurrency)))
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, run in kinds:
            todo = asks(calls)
            tune_collector()
            took, _ = asyncio.run(run(url, todo, concurrency))
            best[name] = min(best.get(name, 9e9), took)
            gc.unfreeze()
    for name, took in best.items():
        figure(
            f"{name}, 200 ms a call, 256 at once", took / ideal, "of the least", up=False,
            aim=AIM_OF_LEAST if name.startswith("engine") else None,
        )  # fmt: skip
        print(f"{name:22} {calls:,} calls of 200 ms, 256 at once: {took:.2f} s, {took / ideal:.3f} of the least")
    print(f"20,000 asks waiting on the throttle: {asyncio.run(waiting(url, 3.0)):.1%} of a core")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--no-delay", action="store_true", help="only against the server that answers at once")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for latency_s in (0.0,) if options.no_delay else (0.0, 0.2):
        mine, theirs = context.Pipe()
        server = context.Process(target=serve, args=(theirs, latency_s), daemon=True)
        server.start()
        url = f"http://127.0.0.1:{mine.recv()}/v1"
        if options.profile:
            profile = cProfile.Profile()
            profile.enable()
            asyncio.run(engine(url, asks(options.calls), options.concurrency))
            profile.disable()
            pstats.Stats(profile).sort_stats("tottime").print_stats(40)
            break
        if latency_s:
            delayed(url, options.rounds)
        else:
            rows(url, options.calls, options.concurrency, options.rounds)
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
