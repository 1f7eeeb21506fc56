"""For authors of societies: the invariants of a run as one call, the placebo model, an endpoint that answers in tests.

Nothing here needs a plugin; in pytest, `check_society("my_society.py")` is a test.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from populace.testing.acts import Act, Plan, RateLimit, Seen, slow, status
    from populace.testing.endpoint import Asked, FakeEndpoint
    from populace.testing.favoured import Favoured, check_no_favoured_id
    from populace.testing.invariants import Checked, InvariantBroken, check_society
    from populace.testing.variants import placebo, relabelled, without_script

__all__ = [
    "Act",
    "Asked",
    "Checked",
    "FakeEndpoint",
    "Favoured",
    "InvariantBroken",
    "Plan",
    "RateLimit",
    "Seen",
    "check_no_favoured_id",
    "check_society",
    "placebo",
    "relabelled",
    "slow",
    "status",
    "without_script",
]

_FOUND_IN: Final = {
    "acts": ("Act", "Plan", "RateLimit", "Seen", "slow", "status"),
    "endpoint": ("Asked", "FakeEndpoint"),
    "favoured": ("Favoured", "check_no_favoured_id"),
    "invariants": ("Checked", "InvariantBroken", "check_society"),
    "variants": ("placebo", "relabelled", "without_script"),
}
_ROOM_OF: Final = {name: room for room, names in _FOUND_IN.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_ROOM_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
