"""The same decisions in other frameworks for agents with language models, which the reader has installed.

    python benchmarks/rivals.py [--mesa-llm PYTHON] [--agentscope PYTHON] [--concordia PYTHON] [--oasis PYTHON]
        [--agentsociety PYTHON] [--agents 100] [--ticks 4] [--at-once 32] [--rounds 3]

Each option is a Python that has the framework (`python -m venv V && V/bin/pip install mesa-llm`, then
`--mesa-llm V/bin/python`; the packages are mesa-llm, agentscope, gdm-concordia[openai], agentsociety and camel-oasis
with mcp<2). The work of all: in each tick each agent decides once between `a` and `b` from about 200 tokens, its
profile and what it last saw, with at most `--at-once` decisions under way. One server on loopback answers every
request at once with `a` and counts them.

Every kind, populace and a bare aiohttp loop among them, is a process of its own in each round, one after another. CPU
and wall are of the ticks after the first, so that start-up is left out; CPU is of the process with its children.
Memory is what a further agent adds to the process: what it holds after the last tick, less what it holds so with a
quarter of the agents (run once more for that, in the end). `calls` are the requests that a decision took, as the
server counted them. An error of a framework is shown, and so is an answer that is not `a`. Linux only.

The frameworks do different things for a decision, by their own defaults, which are left as they are: see `DOES`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from figures import figure
from gateway import USAGE, _Server
from rich.console import Console
from rich.table import Table
from rivals_programs import BARE, DOES, POPULACE, PRELUDE, PROGRAMS

LIMIT_S = 300.0


class _Counting(_Server):
    """Answers each request as the server of `gateway.py` does and counts; `GET /calls` says how many there were."""

    calls = 0
    said = b""

    @property
    def answer(self) -> bytes:  # type: ignore[override]
        _Counting.calls += 1
        return self.said

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"GET /calls"):
            body = b"%d" % self.calls
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
            )
            self.transport.close()
        else:
            super().data_received(data)


def serve(pipe: Connection) -> None:
    message = {"role": "assistant", "content": "a"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {**USAGE, "total_tokens": sum(USAGE.values())}
    answer = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    body = json.dumps(answer).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    _Counting.said = head % len(body) + body

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(_Counting, "127.0.0.1", 0, backlog=4096)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    asyncio.run(main())


def measured(python: str, program: str, url: str, agents: int, ticks: int, at_once: int) -> dict[str, Any]:
    """What a program found in a process of its own, or `{"failed": the end of what it said}`."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "program.py").write_text(PRELUDE + program, encoding="utf-8")
        paths = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
        environment = {
            **os.environ,
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": url,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no look-up of prices on the network as it is imported
            "PYTHONPATH": os.pathsep.join(paths) if python == sys.executable else "",
        }
        command = [python, "program.py", str(agents), str(ticks), str(at_once), url]
        with (here / "said.txt").open("w") as said:
            try:
                ended = subprocess.run(
                    command, cwd=here, stdout=said, stderr=subprocess.STDOUT, timeout=LIMIT_S, check=False,
                    env=environment,
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                return {"failed": f"not done after {LIMIT_S:.0f} s"}
            except OSError as error:
                return {"failed": str(error)}
        if ended or not (here / "found.json").exists():
            lines = [line for line in (here / "said.txt").read_text(errors="replace").splitlines() if line.strip()]
            return {"failed": f"ended with {ended}: " + " / ".join(lines[-2:])[-400:]}
        found: dict[str, Any] = json.loads((here / "found.json").read_text())
        return found


def table(
    rows: dict[str, list[dict[str, Any]]], fewer: dict[str, dict[str, Any]], options: argparse.Namespace
) -> Table:
    shown = Table(
        "framework", "version", "CPU ms a decision", "range", "of the bare loop's", "wall ms", "calls a decision",
        "kB an agent",
        title=f"{options.agents} agents, {options.ticks} ticks, {options.at_once} at once, {options.rounds} rounds",
    )  # fmt: skip
    base = [found["cpu_ms"] for found in rows["bare aiohttp loop"] if "cpu_ms" in found]
    for name, all_found in rows.items():
        good = [found for found in all_found if "cpu_ms" in found]
        if not good:
            continue
        cpu = [found["cpu_ms"] for found in good]
        middle = {key: statistics.median(one[key] for one in good) for key in ("wall_ms", "calls")}
        more = options.agents - max(1, options.agents // 4)
        small = fewer.get(name, {}).get("held_kb")
        each = f"{(good[0]['held_kb'] - small) / more:.0f}" if small is not None and more else ""
        ratio = statistics.median(cpu) / statistics.median(base) if base else float("nan")
        shown.add_row(
            name, good[0]["version"], f"{statistics.median(cpu):.2f}", f"{min(cpu):.2f} to {max(cpu):.2f}",
            f"{ratio:.1f}", f"{middle['wall_ms']:.2f}", f"{middle['calls']:.2f}", each,
        )  # fmt: skip
        figure(f"{name}, CPU a decision", statistics.median(cpu), "ms", up=False, least=min(cpu), most=max(cpu))
        figure(f"{name}, calls a decision", middle["calls"], "", up=False)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in PROGRAMS:
        parser.add_argument(f"--{name}", metavar="PYTHON", help=f"a Python that has {name}: {DOES[name]}")
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--ticks", type=int, default=4, help="the first is not measured; 2 or more")
    parser.add_argument("--at-once", type=int, default=32, help="decisions under way at a time")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.ticks < 2:
        parser.error("--ticks must be 2 or more: the first tick is start-up and is not measured")
    kinds = {"bare aiohttp loop": (sys.executable, BARE), "populace": (sys.executable, POPULACE)}
    for name, program in PROGRAMS.items():
        if python := getattr(options, name.replace("-", "_")):
            kinds[name] = (python, program)
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{mine.recv()}/v1"
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in kinds}
    console = Console(width=150)
    few = max(1, options.agents // 4)
    fewer: dict[str, dict[str, Any]] = {}
    for number in range(options.rounds):
        for name, (python, program) in kinds.items():
            found = measured(python, program, url, options.agents, options.ticks, options.at_once)
            rows[name].append(found)
            said = found.get("failed") or (
                f"a decision: {found['cpu_ms']:.2f} ms of CPU, {found['wall_ms']:.2f} of wall, {found['calls']:.2f} "
                f"calls; {found['errors']} errors"
            )
            console.print(f"round {number + 1}, {name}: {said}", markup=False)
    for name, (python, program) in kinds.items():
        if "failed" not in rows[name][0]:
            fewer[name] = measured(python, program, url, few, options.ticks, options.at_once)
    server.terminate()
    server.join()
    console.print(table(rows, fewer, options))
    failed = False
    for name, all_found in rows.items():
        for found in all_found:
            if "failed" in found:
                failed = True
                console.print(f"{name} failed: {found['failed']}", markup=False)
            elif found["errors"]:
                failed = True
                console.print(f"{name}: {found['errors']} errors, the first: {found['first_error']}", markup=False)
        if name in DOES and any("cpu_ms" in found for found in all_found):
            console.print(f"{name} {DOES[name]}.", markup=False)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
