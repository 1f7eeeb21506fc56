"""How well a limit is kept and used: four shards, one account, a server on loopback that enforces the limit.

    python benchmarks/limits.py [--seconds 70] [--requests 600] [--tokens 30000] [--shards 4]

The server (tests/misbehaving.py) holds two token buckets of one second's worth, and answers 429 beyond them. Printed:
requests refused, and the share of the quota used after the first second, for a central quota and for equal shares; and
for a central quota whose shards ask in turn: one at a time, for half a second each. Then the same for three separate
runs, each with a quota of its own: that share the limits in a folder, that have a third of them each, that have all.
The first of them has as much to ask as the others together, and the second is killed half-way (it asks no more, and
does not leave).
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.misbehaving import Misbehaving, RateLimit, slow
from support.sections import sectioned

from populace.agents.answers import compile_answer
from populace.budget.service import AccountService, LocalLink, account_for
from populace.cluster.shared_limits import shared_account
from populace.core.records import Ask
from populace.models.build import build_gateway

SWITCH_S = 0.5
RUNS = 3


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


async def separate(server: Misbehaving, options: argparse.Namespace, how: str) -> None:
    """Three runs, each with its own account as in a process of its own; the second ends without leaving."""
    part = 3 if how == "a third each" else 1
    limits = {"requests_per_minute": options.requests / part, "tokens_per_minute": options.tokens / part}
    with tempfile.TemporaryDirectory() as folder:
        settings = sectioned(
            kind="openai", name="test-model", base_url=server.base_url, seed=1, shards=1, **limits,
            share_limits=folder if how == "shared" else None,
        )  # fmt: skip
        accounts: list[AccountService] = []
        gateways: list[Any] = []
        for _ in range(RUNS):
            account = await asyncio.to_thread(shared_account, settings)
            assert account is not None
            accounts.append(account)
            gateways.append(build_gateway(settings, link=LocalLink(account)))
            await gateways[-1].open()
        began = time.monotonic()
        worth = int(options.requests / 60 * options.seconds)
        for nth, gateway in enumerate(gateways):
            count = 2 * worth if nth == 0 else worth
            gateway.offer([ask(nth * 10**6 + n, options.words) for n in range(count)], lambda _answers: None)
        await asyncio.sleep(options.seconds / 2)
        gateways[1].dispatcher.drain()
        if accounts[1]._sharing is not None:
            accounts[1]._sharing._ended.set()  # its thread renews nothing more, as if it had been killed
        await asyncio.sleep(began + options.seconds - time.monotonic())
        for gateway in gateways:
            await gateway.close()
        for account in accounts:
            account.close()
    seen = [one for one in server.seen if one.arrived_s < began + options.seconds]
    passed = sum(not one.limited for one in seen)
    minutes = options.seconds / 60
    used = (server.billed.tokens_in + server.billed.tokens_out) / (options.tokens * minutes)
    print(
        f"three runs, {how + ':':13} {passed} requests passed, {len(seen) - passed} refused "
        f"({(len(seen) - passed) / max(1, len(seen)):.2%}); used {passed / (options.requests * minutes):.1%} of the "
        f"requests, {used:.1%} of the tokens"
    )


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
    for how in ("shared", "a third each", "all each"):
        with Misbehaving(limit=RateLimit(options.requests, options.tokens), base=slow(0.05)) as server:
            asyncio.run(separate(server, options, how))


if __name__ == "__main__":
    main()
