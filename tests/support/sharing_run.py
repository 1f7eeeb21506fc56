"""A run of the askers in a process of its own, which shares its account's limits; or, on a Ray, its gateway alone.

    python sharing_run.py OUT URL PLACE RPM ASKS

Says `ready` once it has joined the others, waits for a line, and then asks. Each time at which it begins a call stands
in OUT.starts, a line each, by the clock that all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from populace.agents.answers import compile_answer
from populace.budget.lease import Purse
from populace.budget.service import LocalLink
from populace.budget.shares import Terms
from populace.cluster import local, shared_limits
from populace.core.records import Ask
from populace.models.build import build_gateway
from support.asking import ASKERS
from support.running import run_local, settings_of


def main() -> None:
    out, url, place, rpm, asks = Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5])
    shared_limits.TERMS["store"] = Terms(0.5, 0.05)
    options: dict[str, Any] = {
        "model__kind": "openai", "model__name": "test-model", "endpoint__base_url": url,
        "endpoint__requests_per_minute": rpm, "endpoint__share_limits": None if place == "none" else place,
    }  # fmt: skip
    take = Purse.take
    with out.with_suffix(".starts").open("w", buffering=1) as starts:

        def taking(purse: Purse, *what: Any) -> None:
            take(purse, *what)
            starts.write(f"{time.monotonic()!r}\n")

        Purse.take = taking  # type: ignore[method-assign]
        if place == "ray":
            import ray

            ray.init(log_to_driver=False, configure_logging=False)
        opened = shared_limits.shared_account

        def opening(*what: Any) -> Any:
            account = opened(*what)
            print("ready", flush=True)
            sys.stdin.readline()
            return account

        local.shared_account = shared_limits.shared_account = opening  # type: ignore[attr-defined]
        if place == "ray":
            told = asyncio.run(gateway(options, asks))
        else:
            society = {"asks": asks // 50}
            manifest = run_local(out, ASKERS, agents=50, ticks=1, society=society, **options)
            told = {"answered": manifest["asks"]["answered"], "shared": manifest.get("shared_limits")}
    print(json.dumps(told), flush=True)


async def gateway(options: dict[str, Any], asks: int) -> dict[str, Any]:
    settings = settings_of(transport="ray", **options)
    account = await asyncio.to_thread(shared_limits.shared_account, settings)
    assert account is not None
    one, answers = build_gateway(settings, link=LocalLink(account)), []
    await one.open()
    messages = (("system", "You are a voter."), ("user", "How do you feel about it?"))
    spec = compile_answer(str)
    one.offer(
        [Ask(n, 0, 0, "feel", messages, spec, 20, 0.8, n.to_bytes(16, "big")) for n in range(asks)], answers.extend
    )
    while len(answers) < asks:
        await asyncio.sleep(0.05)
    await one.close()
    await asyncio.to_thread(account.close)
    shared = account.shared_with
    assert shared is not None
    return {"answered": sum(bool(answer.text) for answer in answers), "shared": {"runs": shared.runs}}


main()
