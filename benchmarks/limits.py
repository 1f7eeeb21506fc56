"""How well a limit is kept and used: four shards, one account, a server on loopback that enforces the limit.

    python benchmarks/limits.py [--seconds 70] [--requests 600] [--tokens 30000] [--shards 4]

The server (tests/misbehaving.py) holds two token buckets of one second's worth, and answers 429 beyond them. Printed:
requests refused, and the share of the quota used after the first second, for a central quota and for equal shares; and
for a central quota whose shards ask in turn: one at a time, for half a second each.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.misbehaving import Misbehaving, RateLimit, slow
from support.sections import sectioned

from populace.agents.answers import compile_answer
from populace.budget.service import LocalLink, account_for
from populace.core.records import Ask
from populace.models.build import build_gateway

SWITCH_S = 0.5


def ask(agent: int, words: int) -> Ask:
    text = "How do you feel about it? " * words
    messages = (("system", "You are a voter."), ("user", f"{agent}: {text}"))
    return Ask(agent, 0, 0, "feel", messages, compile_answer(str), 20, 0.8, agent.to_bytes(16, "big"))


async def run(server: Misbehaving, options: argparse.Namespace, central: bool) -> None:
    limits = {"requests_per_minute": options.requests, "tokens_per_minute": options.tokens}
    settings = sectioned(
        kind="openai", name="test-model", base_url=server.base_url, seed=1, shards=options.shards, **limits
    )
    account = account_for(settings) if central else None
    gateways = []
    for shard in range(options.shards):
        link = None if account is None else LocalLink(account)
        gateway = build_gateway(settings, link=link, shard=shard)
        await gateway.open()
        gateways.append(gateway)
    began = time.monotonic()
    first, used = len(server.seen), server.billed.tokens_in + server.billed.tokens_out
    # An uneven load: the first shard has as much to do as all the others.
    share = int(options.requests / 60 * options.seconds * 2)
    for shard, gateway in enumerate(gateways):
        count = share if shard == 0 else share // options.shards
        gateway.offer([ask(shard * 10**6 + n, options.words) for n in range(count)], lambda _answers: None)
    await asyncio.sleep(options.seconds)
    for gateway in gateways:
        await gateway.close()
    seen = [one for one in server.seen[first:] if one.arrived_s < began + options.seconds]
    passed = sum(not one.limited for one in seen)
    used = server.billed.tokens_in + server.billed.tokens_out - used
    minutes = options.seconds / 60
    print(
        f"{'central quota' if central else 'equal shares':14} {passed} requests passed, {len(seen) - passed} refused "
        f"({(len(seen) - passed) / max(1, len(seen)):.2%}); used {passed / (options.requests * minutes):.1%} of the "
        f"requests, {used / (options.tokens * minutes):.1%} of the tokens"
    )


async def switch(server: Misbehaving, options: argparse.Namespace) -> None:
    """Each half second another shard has as much to ask as the limit yields in it; what it has not put is dropped."""
    settings = sectioned(
        kind="openai", name="test-model", base_url=server.base_url, seed=1, shards=options.shards, concurrency=400,
        requests_per_minute=options.requests,
    )  # fmt: skip
    account = account_for(settings)
    assert account is not None
    gateways: list[Any] = []
    for shard in range(options.shards):
        gateways.append(build_gateway(settings, link=LocalLink(account), shard=shard))
        await gateways[-1].open()
    worth, agent = math.ceil(options.requests / 60 * SWITCH_S), 0
    began = time.monotonic()
    for nth in range(int(options.seconds / SWITCH_S)):
        gateway = gateways[nth % options.shards]
        gateway.offer([ask(agent + n, options.words) for n in range(worth)], lambda _answers: None)
        agent += worth
        await asyncio.sleep(max(0.0, began + (nth + 1) * SWITCH_S - time.monotonic()))
        gateway.dispatcher.drain()
    for gateway in gateways:
        await gateway.close()
    passed = sum(not one.limited for one in server.seen)
    refused = len(server.seen) - passed
    print(f"{'in turn':14} {passed} requests passed, {refused} refused; used {passed / agent:.1%} of the requests")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=70.0)
    parser.add_argument("--requests", type=float, default=600.0)
    parser.add_argument("--tokens", type=float, default=30_000.0)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--words", type=int, default=1, help="length of prompts; at 8, tokens are the tighter limit")
    options = parser.parse_args()
    for central in (True, False):
        limit = RateLimit(options.requests, options.tokens)
        with Misbehaving(limit=limit, base=slow(0.05)) as server:
            asyncio.run(run(server, options, central))
    with Misbehaving(limit=RateLimit(options.requests, math.inf), base=slow(0.05)) as server:
        asyncio.run(switch(server, options))


if __name__ == "__main__":
    main()
