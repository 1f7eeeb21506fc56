"""How thoroughly tests look: a default run takes some of many cases, `POPULACE_LONG_TESTS=1` all of them."""

from __future__ import annotations

import os
from typing import Final

LONG: Final = bool(os.environ.get("POPULACE_LONG_TESTS"))


def cases(all_of_them: int, some: int) -> int:
    """How many of so many cases to try."""
    return all_of_them if LONG else some
