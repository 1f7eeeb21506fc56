"""What agents ask of `go`, as columns: where to, how, chosen in which way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.city.places import NONE, Int32, Places
from populace.env.part import Batch

WAYS: Final = ("nearest", "gravity")

REASONS: Final = (
    "", "bad_arguments", "unknown_place", "unknown_kind", "unknown_mode", "nowhere", "on_the_way", "no_service",
    "already_there", "impassable", "closed", "full",
)  # fmt: skip
"""Why a trip is refused, by its number; 0 is not at all."""

REASON: Final[Mapping[str, int]] = {word: at for at, word in enumerate(REASONS)}

_ARGUMENTS: Final = frozenset({"place", "kind", "mode", "choice"})
_UNKNOWN: Final = -2


class Mode(msgspec.Struct, frozen=True):
    """A way to travel: its speed in metres a second, and what it takes besides (to wait, to park) in seconds."""

    speed_m_s: float
    access_s: float = 0.0


MODES: Final[Mapping[str, Mode]] = {"walk": Mode(1.3), "car": Mode(8.0, 120.0), "transit": Mode(6.0, 420.0)}
"""Assumed: a brisk walk, a car in town with two minutes to park, a bus every ten minutes or so with stops to walk to.
"""


class Wishes(msgspec.Struct):
    """Trips that are asked for, a row each: place (NONE where a kind is meant), kind, mode, way of choosing, reason."""

    place: Int32
    kind: Int32
    mode: Int32
    way: Int32
    reason: Int32


def check_modes(modes: Mapping[str, Mode], where: str) -> dict[str, Mode]:
    """The modes. Raises ScenarioError where there are none, or one is not above zero in speed."""
    for name, mode in modes.items():
        if not isinstance(mode, Mode) or not 0 < mode.speed_m_s < np.inf or not 0 <= mode.access_s < np.inf:
            raise ScenarioError(f"{where}: mode {name!r} is Mode(speed_m_s above 0, access_s of 0 or more), not {mode}")
    if not modes:
        raise ScenarioError(f"{where}: there has to be a mode, such as {{'walk': Mode(1.3)}}")
    return dict(modes)


def read_wishes(batch: Batch, places: Places, modes: Sequence[str], usual: str) -> Wishes:
    """A batch of `go` as columns. Rows that cannot be read have a reason."""
    names = batch.in_columns()
    if names is not None and names <= _ARGUMENTS and names & {"place", "kind"}:
        found = _columns(batch, names, places, modes, usual)
        if found is not None:
            return found
    rows = [_read(args, places, modes, usual) for args in batch.args]
    table = np.array(rows, np.int32).reshape(-1, 5)
    return Wishes(*(table[:, at].copy() for at in range(5)))


def _columns(batch: Batch, names: frozenset[str], places: Places, modes: Sequence[str], usual: str) -> Wishes | None:
    """The same without Python for each; None where a value needs a closer look."""
    size = len(batch)
    place = batch.column("place") if "place" in names else np.full(size, NONE)
    if place.dtype.kind not in "iu":
        return None
    codes = [
        _codes(batch.column(name), known) if name in names else np.full(size, missing, np.int32)
        for name, known, missing in (
            ("kind", places.kinds, NONE), ("mode", modes, 0), ("choice", WAYS, WAYS.index(usual)),
        )
    ]  # fmt: skip
    if any((one == _UNKNOWN).any() for one in codes):
        return None
    good = (place >= 0) & (place < len(places)) | (place == NONE) & (codes[0] != NONE)
    if not good.all():
        return None
    kind = np.where(place == NONE, codes[0], NONE).astype(np.int32)
    return Wishes(place.astype(np.int32), kind, codes[1], codes[2], np.zeros(size, np.int32))


def _codes(given: NDArray[Any], known: Sequence[str]) -> Int32:
    found = np.full(len(given), _UNKNOWN, np.int32)
    if given.dtype.kind == "U":
        for code, name in enumerate(known):
            found[given == name] = code
    return found


def _read(args: Mapping[str, Any], places: Places, modes: Sequence[str], usual: str) -> tuple[int, int, int, int, int]:
    place, kind = args.get("place"), args.get("kind")
    mode, way = args.get("mode"), args.get("choice")
    by_kind = place is None or (place == NONE and type(place) is int)
    if not args.keys() <= _ARGUMENTS or (by_kind and kind is None) or type(place) not in (int, str, type(None)):
        return _refused("bad_arguments")
    if way not in (None, *WAYS) or not isinstance(kind, str | None) or not isinstance(mode, str | None):
        return _refused("bad_arguments")
    if mode is not None and mode not in modes:
        return _refused("unknown_mode")
    found, code = NONE, NONE
    if by_kind:
        code = places.code_of(kind or "")
        if code == NONE:
            return _refused("unknown_kind")
    else:
        found = places.by_name.get(place, NONE) if isinstance(place, str) else int(place or 0)
        if not 0 <= found < len(places):
            return _refused("unknown_place")
    return found, code, 0 if mode is None else modes.index(mode), WAYS.index(way or usual), 0


def _refused(reason: str) -> tuple[int, int, int, int, int]:
    return NONE, NONE, 0, 0, REASON[reason]
