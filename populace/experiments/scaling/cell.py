"""One cell of a scaling study in a process of its own: `python -m populace.experiments.scaling.cell FOLDER`. Shell.

What to run comes on its input as a line of JSON: the society and the settings. What ends it early is its exit code, and
a line on its errors.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from populace.core.errors import PopulaceError
from populace.data.societies import find_society
from populace.experiments.scaling.watching import Watching
from populace.runs.once import run_or_resume
from populace.settings import Settings


class Order(msgspec.Struct, frozen=True):
    """A cell's run."""

    society: str
    settings: Any


def main() -> int:
    """Run it, or go on with it."""
    folder = Path(sys.argv[1])
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    settings = Settings.model_validate_json(msgspec.json.encode(order.settings))
    try:
        run_or_resume(find_society(order.society), settings, folder, [Watching(folder)], say=_say)
    except PopulaceError as error:
        _say("\n".join((str(error), *getattr(error, "__notes__", ()))))
        return error.exit_code
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
