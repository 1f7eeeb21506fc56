"""Reading places from a file: GeoJSON, or a table with a row a place."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError

EARTH_M: Final = 6_371_008.8
"""The mean radius of the Earth (IUGG)."""

_GEO: Final = {".geojson", ".json"}
_TEXT: Final = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_PARQUET: Final = {".parquet", ".pq"}
_REST: Final = ("name", "capacity", "opens", "closes", "days", "attraction")
_MOST: Final = {"lon": 360.0, "lat": 90.0, "x": float("inf"), "y": float("inf")}
_NUMBERS: Final = ("lon", "lat", "x", "y", "capacity", "attraction")


def read_places(
    path: str | Path,
    *,
    kind: str = "kind",
    kinds: Mapping[str, str] | None = None,
    origin: tuple[float, float] | None = None,
) -> dict[str, list[Any]]:
    """Read places from .geojson, .csv, .tsv or .parquet, as columns: `Places(**read_places(path))`.

    A table has the columns `kind`, and `x` and `y` in metres or `lon` and `lat` in degrees; of GeoJSON the positions
    are points, or the centroids of polygons, in longitude and latitude. Further columns, or properties, are `name`,
    `capacity`, `opens`, `closes`, `days` and `attraction`, as in `Places`; others are left out, and so are those that
    no place has. `kind` is the column or property that holds the kind. With `kinds`, {"supermarket": "shop"}, places
    are called by the kinds on its right, and places of other kinds are left out.

    Degrees become metres by the equirectangular projection about `origin`, (lon, lat), the middle of the places unless
    given: x = R cos(lat0) (lon - lon0), y = R (lat - lat0), angles in radians, R = 6,371,008.8 m. Distances of points
    up to D metres north or south of the origin are wrong by a share of about tan(lat0) D / R at most: 0.2 % for 10 km
    at 50 degrees. Raises ScenarioError, naming file, row and value.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending in _GEO:
        rows = _geojson(path)
    elif ending in _TEXT:
        rows = _text(path, _TEXT[ending])
    elif ending in _PARQUET:
        rows = _parquet(path)
    else:
        raise ScenarioError(f"{path}: places are read from .geojson, .csv, .tsv or .parquet, not '{ending}'")
    chosen = []
    for at, row in enumerate(rows):
        called = row.get(kind)
        if kinds is not None:
            called = kinds.get(str(called))
            if called is None:
                continue
        if not isinstance(called, str) or not called:
            raise ScenarioError(f"{path}, row {at}: {kind} is {called!r}; it has to say what kind of place that is")
        chosen.append((at, called, row))
    if not chosen:
        raise ScenarioError(f"{path}: none of its {len(rows)} rows is a place of the kinds wanted")
    x, y = _positions(path, [(at, row) for at, _, row in chosen], origin)
    columns: dict[str, list[Any]] = {"kind": [called for _, called, _ in chosen], "x": x.tolist(), "y": y.tolist()}
    for name in _REST:
        values = [row.get(name) for _, _, row in chosen]
        if any(one is not None for one in values):
            columns[name] = [1.0 if one is None and name == "attraction" else one for one in values]
    return columns


def _positions(
    path: Path, rows: Sequence[tuple[int, Mapping[str, Any]]], origin: tuple[float, float] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Metres east and north."""
    metres = all("x" in row and "y" in row for _, row in rows)
    names = ("x", "y") if metres else ("lon", "lat")
    columns = []
    for name in names:
        column = np.empty(len(rows))
        for place, (at, row) in enumerate(rows):
            value = row.get(name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < _MOST[name]:
                raise ScenarioError(
                    f"{path}, row {at}: {name} is {value!r}. Places have x and y in metres, or lon and lat in degrees"
                )
            column[place] = value
        columns.append(column)
    first, second = columns
    if metres:
        return first, second
    lon0, lat0 = origin or ((first.min() + first.max()) / 2, (second.min() + second.max()) / 2)
    return EARTH_M * np.cos(np.radians(lat0)) * np.radians(first - lon0), EARTH_M * np.radians(second - lat0)


def _opened(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read ({error.strerror}). Check the path.") from None
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: is not UTF-8 text: {error}") from None


def _geojson(path: Path) -> list[dict[str, Any]]:
    try:
        given = json.loads(_opened(path))
    except ValueError as error:
        raise ScenarioError(f"{path}: is not JSON: {error}") from None
    if not isinstance(given, dict) or given.get("type") != "FeatureCollection" or "features" not in given:
        raise ScenarioError(f"{path}: has to be a GeoJSON FeatureCollection (RFC 7946)")
    rows = []
    for at, feature in enumerate(given["features"]):
        try:
            lon, lat = _middle(feature["geometry"])
            row = dict(feature.get("properties") or {})
        except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
            raise ScenarioError(
                f"{path}, row {at}: has to be a feature whose geometry is a Point, a Polygon or a MultiPolygon"
            ) from None
        rows.append({name: one for name, one in row.items() if name not in ("x", "y")} | {"lon": lon, "lat": lat})
    return rows


def _middle(geometry: Mapping[str, Any]) -> tuple[float, float]:
    """A point, or the centroid of polygons without their holes."""
    kind, where = geometry["type"], geometry["coordinates"]
    if kind == "Point":
        return float(where[0]), float(where[1])
    if kind not in ("Polygon", "MultiPolygon"):
        raise ValueError(kind)
    parts = [_centroid(rings) for rings in ([where] if kind == "Polygon" else where)]
    area = sum(part[2] for part in parts)
    if area == 0:
        return parts[0][0], parts[0][1]
    return sum(part[0] * part[2] for part in parts) / area, sum(part[1] * part[2] for part in parts) / area


def _centroid(rings: Sequence[Any]) -> tuple[float, float, float]:
    """The centroid of a polygon's outer ring by the shoelace formula, and its area in square degrees."""
    ring = np.array([one[:2] for one in rings[0]], np.float64)
    begin = ring[0]
    x, y = (ring[:-1] - begin).T
    next_x, next_y = (ring[1:] - begin).T
    cross = x * next_y - next_x * y
    twice = float(cross.sum())
    if twice == 0:
        middle = ring[:-1].mean(axis=0)
        return float(middle[0]), float(middle[1]), 0.0
    return (
        float(begin[0] + ((x + next_x) * cross).sum() / (3 * twice)),
        float(begin[1] + ((y + next_y) * cross).sum() / (3 * twice)),
        abs(twice) / 2,
    )


def _text(path: Path, separator: str) -> list[dict[str, Any]]:
    rows = []
    lines = csv.DictReader(_opened(path).splitlines(), delimiter=separator, strict=True)
    try:
        for line in lines:
            if None in line or None in line.values():
                raise ScenarioError(f"{path}, line {lines.line_num}: has not as many values as there are columns")
            row: dict[str, Any] = {str(name).strip(): (text.strip() or None) for name, text in line.items()}
            for name in _NUMBERS:
                if row.get(name) is not None:
                    row[name] = _number(path, lines.line_num, name, row[name])
            rows.append(row)
    except csv.Error as error:
        raise ScenarioError(f"{path}, line {lines.line_num}: {error}") from None
    return rows


def _number(path: Path, line: int, name: str, text: str) -> float | int:
    try:
        return int(text) if name == "capacity" else float(text)
    except ValueError:
        raise ScenarioError(f"{path}, line {line}: {name} is {text!r}, and has to be a number") from None


def _parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa  # here, since only a Parquet file needs it
    import pyarrow.parquet as parquet

    try:
        with path.open("rb") as file:  # by a path Arrow would open it past Python, and `read_files` would not hear
            rows: list[dict[str, Any]] = parquet.read_table(file).to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise ScenarioError(f"{path}: cannot be read as Parquet: {error}") from None
    return rows
