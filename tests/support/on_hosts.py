"""Run in a process on one of several hosts: a run of the tests' society on the Ray that RAY_ADDRESS names.

    python on_hosts.py RUN_FOLDER OPTIONS_JSON [SCENARIO [forgetting]]

Prints a line of JSON for each tick that ends and each note, with the time of the machine's monotonic clock in seconds;
the last says how the run ended. With `forgetting` a recovery gives the agents nothing of what they were.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from populace.cluster.coordinator import Coordinator
from populace.cluster.ray import RayTransport
from populace.core.errors import PopulaceError
from populace.data.societies import find_society
from support.running import SOCIETIES, settings_of


def say(**what: Any) -> None:
    print(json.dumps({"at_s": time.monotonic(), **what}), flush=True)


class Telling:
    def begin(self, *_: object) -> None: ...
    def pulse(self, _: object) -> None: ...
    def end(self, *_: object) -> None: ...

    def note(self, text: str) -> None:
        say(note=text)

    def tick(self, report: Any) -> None:
        say(tick=report.tick)


class Forgetting(RayTransport):
    """Makes lost agents anew, as if they had never taken a turn."""

    async def restore(self, state):  # type: ignore[no-untyped-def]
        return await super().restore(msgspec.structs.replace(state, agents={}))


def main(out: str, options: str, scenario: str = SOCIETIES, forgetting: str = "") -> None:
    settings = settings_of(transport="ray", **json.loads(options))
    transport = Forgetting() if forgetting else RayTransport()
    error, code = "", 0
    try:
        coordinator = Coordinator(find_society(scenario), settings, transport, Path(out), [Telling()])
        asyncio.run(coordinator.run())
    except PopulaceError as failed:
        error, code = str(failed), failed.exit_code
    say(error=error, code=code)


if __name__ == "__main__":
    main(*sys.argv[1:])
