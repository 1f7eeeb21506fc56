"""What the model gateway costs: calls a second against a zero-latency server on loopback, beside a bare aiohttp loop.

    python benchmarks/gateway.py [--calls 4000] [--concurrency 64]

All in one run on one machine, alternating, best of three: the ratios mean something, the absolute numbers are this
machine's. The server is a process of its own that answers every request with the same bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any

import aiohttp
import msgspec

from populace.agents.answers import compile_answer
from populace.agents.llm.build import build_gateway
from populace.core.records import Ask
from populace.settings import Model

TEXT = '{"attitude":7,"why":"because of what my neighbours say about it"}'
USAGE = {"prompt_tokens": 250, "completion_tokens": 20}


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


def serve(pipe: Connection, latency_s: float) -> None:
    message = {"role": "assistant", "content": TEXT}
    body = json.dumps(
        {"id": "x", "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
         "usage": USAGE}
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
        Ask(n, 0, 0, "feel", (("system", system), ("user", f"You are {n}. " + "What do you think of it? " * 10)), spec,
            60, 0.8, n.to_bytes(16, "big"))
        for n in range(calls)
    ]


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
    model = Model(
        kind="openai", name="m", base_url=url, throttle={"concurrency": concurrency, **throttle}  # type: ignore[arg-type]
    )
    gateway = build_gateway(model, seed=1, shards=1, scripted=None)
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


async def waiting(url: str, seconds: float) -> float:
    """CPU, as a share of a core, of 20,000 asks that wait on a throttle which lets one through every ten seconds."""
    model = Model(
        kind="openai", name="m", base_url=url, throttle={"concurrency": 64, "requests_per_minute": 6.0}  # type: ignore[arg-type]
    )
    gateway = build_gateway(model, seed=1, shards=1, scripted=None)
    await gateway.open()
    gateway.offer(asks(20_000), lambda _batch: None)
    await asyncio.sleep(0.5)
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    share = (time.process_time() - cpu) / (time.perf_counter() - began)
    await gateway.close()
    return share


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--concurrency", type=int, default=64)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for latency_s in (0.0, 0.2):
        mine, theirs = context.Pipe()
        server = context.Process(target=serve, args=(theirs, latency_s), daemon=True)
        server.start()
        url = f"http://127.0.0.1:{mine.recv()}/v1"
        if latency_s:
            calls, concurrency = 256 * 20, 256
            ideal = calls / concurrency * latency_s
            for name, run in (("bare aiohttp loop", bare), ("gateway", ours)):
                took, _ = asyncio.run(run(url, asks(calls), concurrency))
                print(f"{name}: {calls} calls of 200 ms, 256 at once: {took:.2f} s, {took / ideal:.3f} of the least")
            print(f"20,000 asks waiting on the throttle: {asyncio.run(waiting(url, 3.0)):.1%} of a core")
        else:
            todo, rows = asks(options.calls), {}
            kinds: list[tuple[str, Any, dict[str, float]]] = [
                ("bare aiohttp loop", bare, {}),
                ("gateway", ours, {}),
                ("gateway, with limits", ours, {"requests_per_minute": 1e7, "tokens_per_minute": 1e10}),
            ]
            for _ in range(3):
                for name, run, more in kinds:
                    took, cpu = asyncio.run(run(url, todo, options.concurrency, **more))
                    rows[name] = min(rows.get(name, (9e9, 0.0)), (took, cpu))
            base = rows["bare aiohttp loop"][0]
            for name, (took, cpu) in rows.items():
                each = f"{took / options.calls * 1e3:.3f} ms a call, {cpu / options.calls * 1e3:.3f} ms of CPU"
                print(f"{name:22} {options.calls / took:7.0f} calls/s   {each}   {base / took:.2f} of bare")
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
