"""Runs whose asks go in batches: their settings, and what kills them as their endpoint passes a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from populace.testing.batch_server import BatchEndpoint
from support.chaos import Command
from support.running import SOCIETIES

ASKERS = str(Path(SOCIETIES).parent / "three_asks.py")
PRICES = {"test-model": {"usd_per_million_tokens_in": 1.0, "usd_per_million_tokens_out": 1.0}}
TERMS = {"on": True, "quiet_s": 0.3, "poll_s": 0.05, "poll_most_s": 0.2}


def options(server: BatchEndpoint, *, batches: bool = True, **more: Any) -> dict[str, Any]:
    terms = {f"endpoint__batches__{name}": value for name, value in TERMS.items()} if batches else {}
    return {
        "model__kind": "openai", "model__name": "test-model", "endpoint__base_url": server.base_url,
        "endpoint__timeout_s": 2.0, "budget__prices": PRICES, "agents": 4, "ticks": 2, **terms, **more,
    }  # fmt: skip


def arguments(server: BatchEndpoint, **more: Any) -> list[str]:
    """The same as arguments of `populace run`."""
    prices = {f"budget__prices__test-model__{name}": value for name, value in PRICES["test-model"].items()}
    chosen = {key: value for key, value in options(server, **more).items() if key != "budget__prices"} | prices
    pairs = [
        f"{key.replace('__', '.')}={str(value).lower() if value is True else value}" for key, value in chosen.items()
    ]
    return [word for pair in pairs for word in ("--set", pair)]


class Killing:
    """Kills the process of a run as its server passes a moment."""

    def __init__(self) -> None:
        self.moment = ""
        self.victim: Command | None = None

    def __call__(self, what: str) -> None:
        if what == self.moment and self.victim is not None:
            self.moment = ""
            self.victim.process.kill()
            self.victim.process.wait(240)
